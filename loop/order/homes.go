package order

import (
	"hash/maphash"
	"sync/atomic"
)

// Homes is the table of homes, with the lanes between them and the loops: what everybody shares. There is one home for
// each loop, though no loop owns one for long.
type Homes[G Part, C comparable] struct {
	// Immutable after start.
	Hash   func(group string) uint64 // chooses homes; New sets it, a test may set another before the first use
	env    Env
	homes  []*Home[G, C]
	lanes  []*Lanes[G, C]
	config Config

	// Any goroutine.
	_      [CacheLine]byte
	Census Census
	_      [CacheLine]byte
	ports  [PortsMax]atomic.Pointer[Port[G, C]]
	feed   atomic.Pointer[Feed[G, C]] // nil: none
}

// Config is the shape of a table.
type Config struct {
	Loops     int // 1 to 64: a bell has one word of bits for them
	LaneSlots int // items in a lane, a power of two
	LaneBytes int // bytes in a lane that holds more than one item
}

// Env is what a table needs of the world around it. Every function may be called by any goroutine.
type Env struct {
	Wake    func(loop int)                                 // have a loop look at its lanes soon
	Bounds  func(group string) (membersMax, groupsMax int) // of a group's members, and of groups with members; 0: none
	Admit   func(home int) error                           // whether a port may publish now; the error is returned to who wanted to, and counted by who gives it
	Busy    func(home int)                                 // a port was refused because the lane to a home is full
	Accepts func(group string, message []byte) error       // whether a port's publish is fit to be sent
	Ended   <-chan struct{}                                // closed when no loop runs any more
}

// New makes a table, with the lanes of every loop.
func New[G Part, C comparable](c Config, env Env) *Homes[G, C] {
	hs := &Homes[G, C]{Hash: newHash(), env: env, config: c}
	for i := range c.Loops {
		hs.homes = append(hs.homes, &Home[G, C]{index: i, all: hs})
		hs.lanes = append(hs.lanes, &Lanes[G, C]{index: i, all: hs})
	}
	for _, l := range hs.lanes {
		for _, h := range hs.homes {
			up, down := newLane[Request[G, C]](c.LaneSlots, c.LaneBytes), newLane[Delivery[G, C]](c.LaneSlots, c.LaneBytes)
			l.up, h.up = append(l.up, up), append(h.up, up)
			l.down, h.down = append(l.down, down), append(h.down, down)
		}
	}
	return hs
}

// newHash is the hash that chooses homes. It is different in each process: else a client could work out names that
// all fall to one home.
func newHash() func(string) uint64 {
	seed := maphash.MakeSeed()
	return func(group string) uint64 { return maphash.String(seed, group) }
}

// Of is the index of a group's home.
func (hs *Homes[G, C]) Of(group string) int { return int(hs.Hash(group) % uint64(len(hs.homes))) }

// Home is the one with an index.
func (hs *Homes[G, C]) Home(index int) *Home[G, C] { return hs.homes[index] }

// Lanes is a loop's ends of its lanes.
func (hs *Homes[G, C]) Lanes(loop int) *Lanes[G, C] { return hs.lanes[loop] }

// Depth is the number of items that wait on the way to a loop, and in the ports' and the feed's lanes of the home with its
// index, at about this moment. Any goroutine.
func (hs *Homes[G, C]) Depth(loop int) (items int) {
	for _, l := range hs.lanes {
		items += l.up[loop].len()
	}
	for _, h := range hs.homes {
		items += h.down[loop].len()
	}
	for i := range hs.ports {
		if p := hs.ports[i].Load(); p != nil {
			items += p.up[loop].lane.len()
		}
	}
	if feed := hs.feed.Load(); feed != nil {
		items += feed.lanes[loop].len()
	}
	return items
}

// Bytes is what the lanes hold at about this moment, their slots included. The messages in the down lanes of a home are the
// same ones, or nearly: of each home the fullest of them counts, once. Any goroutine.
func (hs *Homes[G, C]) Bytes() int64 {
	loops := int64(len(hs.homes))
	sum := loops * loops * int64(hs.config.LaneSlots) * int64(requestBytes+deliveryBytes)
	for i, h := range hs.homes {
		var down int64
		for loop := range hs.lanes {
			sum += h.up[loop].waiting()
			down = max(down, h.down[loop].waiting())
		}
		sum += down
		for p := range hs.ports {
			if port := hs.ports[p].Load(); port != nil {
				sum += port.up[i].lane.waiting()
			}
		}
	}
	return sum
}

// Quiesce returns when no port's publish is under way that began before the call.
func (hs *Homes[G, C]) Quiesce() {
	for i := range hs.ports {
		if p := hs.ports[i].Load(); p != nil {
			p.quiesce()
		}
	}
}

// Each gives every group that a home knows, with its headcount and the parts of the loops with members. For checks: the
// caller holds the home.
func (h *Home[G, C]) Each(f func(group string, count *Headcount, parts []G)) {
	for name, hg := range h.groups.All() {
		var parts []G
		for _, l := range hg.locals {
			parts = append(parts, l.part)
		}
		f(name, &hg.headcount, parts)
	}
}

// Waiting is the number of requests in the up lanes. For checks.
func (h *Home[G, C]) Waiting() (n int) {
	for _, up := range h.up {
		n += up.len()
	}
	return n
}

// Idle says whether nothing waits for room. For checks: nobody holds the home.
func (h *Home[G, C]) Idle() bool { return h.stalled == 0 && h.stalledPort == 0 && !h.held.Load() }

// EachWaiting gives every delivery that waits for the loop, in each lane the oldest first. For checks: no home is held.
func (l *Lanes[G, C]) EachWaiting(f func(*Delivery[G, C])) {
	for _, down := range l.down {
		for i := range down.len() {
			f(&down.slots[(down.head.Load()+uint64(i))&down.mask])
		}
	}
}
