package order

import "unsafe"

// ages orders the histories of a home whose messages are kept for the same time by the tick of what goes next of each, the oldest
// first. It is a heap with four children to a node. An entry's tick may be too early, since what goes next of a group only
// becomes younger: so neither a publish nor what it pushes out of its history costs anything here, and who takes the
// first entry looks whether its tick is true (rekey).
//
// It lies in blocks, so no step copies it: with a million entries in one slice a put took 4 ms when that grew.
//
// Owner: who holds the home.
type ages[G Part] struct {
	ttl  uint32
	turn uint32 // of the entry that was put or changed last

	entries int
	blocks  []*[agesBlock]aged[G] // one more than is needed, at most
}

// agesBlock is the entries of a block: 4 KiB.
const agesBlock = 256

// aged is a history in ages.
type aged[G Part] struct {
	history *history[G]
	tick    uint32
	turn    uint32 // within a tick: who came first goes first, so that a message does not go before those that make its room
}

const ageBytes = unsafe.Sizeof(aged[anyPart]{})

// before says whether a tick is the older one.
func before(a, b uint32) bool { return int32(a-b) < 0 }

// before says whether an entry goes before another.
func (e *aged[G]) before(f *aged[G]) bool {
	return before(e.tick, f.tick) || e.tick == f.tick && before(e.turn, f.turn)
}

// entry is one that goes behind all others of its tick.
func (a *ages[G]) entry(y *history[G], tick uint32) aged[G] {
	a.turn++
	return aged[G]{y, tick, a.turn}
}

// put adds a history that is in no ages.
func (a *ages[G]) put(y *history[G], tick uint32) {
	if a.entries == len(a.blocks)*agesBlock {
		a.blocks = append(a.blocks, new([agesBlock]aged[G]))
	}
	a.entries++
	a.up(a.entries-1, a.entry(y, tick))
}

// at is the entry at a place; 0 is the first.
func (a *ages[G]) at(place int) *aged[G] { return &a.blocks[place/agesBlock][place%agesBlock] }

// remove takes a history out, and gives memory back when little is left.
func (a *ages[G]) remove(y *history[G]) {
	at, last := int(y.at), a.at(a.entries-1)
	moved := *last
	*last = aged[G]{}
	a.entries--
	y.at = absent
	if at < a.entries {
		a.down(at, moved)
		a.up(int(moved.history.at), moved)
	}
	if spare := len(a.blocks) - 1; spare > 0 && a.entries <= (spare-1)*agesBlock {
		a.blocks[spare] = nil
		a.blocks = a.blocks[:spare]
	}
}

// rekey gives the first entry its true tick.
func (a *ages[G]) rekey(tick uint32) { a.down(0, a.entry(a.at(0).history, tick)) }

// up puts e at a free place, or nearer to the first.
func (a *ages[G]) up(at int, e aged[G]) {
	for at > 0 {
		parent := (at - 1) / 4
		if !e.before(a.at(parent)) {
			break
		}
		a.set(at, *a.at(parent))
		at = parent
	}
	a.set(at, e)
}

// down puts e at a free place, or farther from the first.
func (a *ages[G]) down(at int, e aged[G]) {
	for {
		least := 4*at + 1
		if least >= a.entries {
			break
		}
		for child := least + 1; child < min(4*at+5, a.entries); child++ {
			if a.at(child).before(a.at(least)) {
				least = child
			}
		}
		if !a.at(least).before(&e) {
			break
		}
		a.set(at, *a.at(least))
		at = least
	}
	a.set(at, e)
}

func (a *ages[G]) set(at int, e aged[G]) {
	*a.at(at) = e
	e.history.at = int32(at)
}
