package order

// What stands here is for checks of other packages, of loop's simulation for the most. The server calls none of it.

// Hold holds the home as a loop does that is in the middle of serving it; ok is false if a loop holds it already. letGo ends
// that, and reports whether something came meanwhile that a loop has to serve.
func (h *Home[G, C]) Hold() (letGo func() (called bool), ok bool) {
	return func() bool {
		h.letGo()
		return h.called()
	}, h.tryHold()
}

// Each gives every group that the home knows, with its headcount and the parts of the loops with members. No loop may hold the
// home meanwhile.
func (h *Home[G, C]) Each(f func(group string, count *Headcount, parts []G)) {
	for name, hg := range h.groups.All() {
		var parts []G
		for _, l := range hg.locals {
			parts = append(parts, l.part)
		}
		f(name, &hg.headcount, parts)
	}
}

// EachFlight gives every group that the home knows on every loop with members, and the bytes of it that are in flight to there as
// the home sees it. No other loop may hold the home meanwhile.
func (h *Home[G, C]) EachFlight(f func(group string, loop int, part G, inFlight int)) {
	for name, hg := range h.groups.All() {
		for _, l := range hg.locals {
			f(name, l.loop, l.part, int(l.sent-l.part.Flow().taken.Load()))
		}
	}
}

// HeldBack says whether a port's publish to a group that the home knows is held back, and goes before all others. No other loop may
// hold the home meanwhile.
func (h *Home[G, C]) HeldBack(group string) bool { return h.groups.Get(group).heldBack != 0 }

// InFlight is the bytes in flight to the loop, in all groups, as homes see it: at least as many as there are.
func (l *Lanes[G, C]) InFlight() int { return int(l.inFlight()) }

// Awaited says whether a home waits for less to be in flight to the loop.
func (l *Lanes[G, C]) Awaited() bool { return l.awaited.Load() != 0 }

// OnTooLoud has f called too where Env.TooLoud is.
func (hs *Homes[G, C]) OnTooLoud(f func(home int, m *Message)) {
	count := hs.env.TooLoud
	hs.env.TooLoud = func(home int, m *Message) {
		f(home, m)
		count(home, m)
	}
}

// Waiting is the number of requests in the up lanes from loops to the home.
func (h *Home[G, C]) Waiting() (n int) {
	for _, up := range h.up {
		n += up.len()
	}
	return n
}

// Idle says whether no loop holds the home and none of its requests waits for room in a lane.
func (h *Home[G, C]) Idle() bool { return h.stalled == 0 && h.stalledPort == 0 && !h.held.Load() }

// ToHost has the next Host serve a home.
func (l *Lanes[G, C]) ToHost(home int) { l.toHost |= 1 << home }

// EachWaiting gives every delivery that waits for the loop, in each lane the oldest first. No loop may hold a home meanwhile.
func (l *Lanes[G, C]) EachWaiting(f func(*Delivery[G, C])) {
	for _, down := range l.down {
		for i := range down.len() {
			f(&down.slots[(down.head.Load()+uint64(i))&down.mask])
		}
	}
}
