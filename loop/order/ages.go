package order

import "unsafe"

// ages orders the histories of a home whose messages are kept for the same time by the tick of what goes next of each, the oldest
// first. It is a heap with four children to a node. An entry's tick may be too early, since what goes next of a group only
// becomes younger: so neither a publish nor what it pushes out of its history costs anything here, and who takes the
// first entry looks whether its tick is true (rekey).
//
// Owner: the loop that holds the home.
type ages[G Part] struct {
	ttl  uint32
	turn uint32 // of the entry that was put or changed last
	heap []aged[G]
}

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
	a.heap = append(a.heap, aged[G]{})
	a.up(len(a.heap)-1, a.entry(y, tick))
}

// remove takes a history out, and gives memory back when little is left.
func (a *ages[G]) remove(y *history[G]) {
	at, last := int(y.at), len(a.heap)-1
	moved := a.heap[last]
	a.heap[last] = aged[G]{}
	a.heap = a.heap[:last]
	y.at = absent
	if at < last {
		a.down(at, moved)
		a.up(int(moved.history.at), moved)
	}
	if cap(a.heap) > agesKept && last <= cap(a.heap)/4 {
		a.heap = append(make([]aged[G], 0, 2*last), a.heap...)
	}
}

// agesKept is the capacity up to which a heap is kept as it is.
const agesKept = 64

// rekey gives the first entry its true tick.
func (a *ages[G]) rekey(tick uint32) { a.down(0, a.entry(a.heap[0].history, tick)) }

// up puts e at a free place, or nearer to the first.
func (a *ages[G]) up(at int, e aged[G]) {
	for at > 0 {
		parent := (at - 1) / 4
		if !e.before(&a.heap[parent]) {
			break
		}
		a.set(at, a.heap[parent])
		at = parent
	}
	a.set(at, e)
}

// down puts e at a free place, or farther from the first.
func (a *ages[G]) down(at int, e aged[G]) {
	for {
		least := 4*at + 1
		if least >= len(a.heap) {
			break
		}
		for child := least + 1; child < min(4*at+5, len(a.heap)); child++ {
			if a.heap[child].before(&a.heap[least]) {
				least = child
			}
		}
		if !a.heap[least].before(&e) {
			break
		}
		a.set(at, a.heap[least])
		at = least
	}
	a.set(at, e)
}

func (a *ages[G]) set(at int, e aged[G]) {
	a.heap[at] = e
	e.history.at = int32(at)
}
