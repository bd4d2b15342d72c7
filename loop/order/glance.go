package order

import "ringcast/loop/shrink"

// This file is what an operator may see of groups. It asks homes and no loops: a home knows each of its groups once, with the number of
// its members everywhere. Nothing is counted or kept for it.

// Glance is what a home knows of a group at one moment.
type Glance struct {
	Group   string
	Members int      // on all loops; 0: the group is alone, or about to end
	Loops   int      // that have members
	Top     Position // behind the newest message; an epoch of 0: it has no history, and numbers begin with its first member
	Kept    int      // messages in its history
	Bytes   int64    // that its history takes
}

// Walk is a walk over the groups of one home, in slices. A group that is there all the time comes exactly once; one that ends and begins
// again meanwhile may come twice. The zero value has yet to begin.
//
// Owner: who calls Lanes.Walk with it, one at a time.
type Walk[G Part] struct {
	over shrink.Walk[string, *homeGroup[G]]
}

// Walk looks at so many further groups of the home of the loop's own index, and gives those that are there. more: there are more of them, or another loop holds the home
// at this moment; the caller calls again in a later turn, and owes a Host, as after Expire.
func (l *Lanes[G, C]) Walk(w *Walk[G], most int, take func(Glance)) (more bool) {
	more = true
	if !l.withHome(func(h *Home[G, C]) {
		for ; more && most > 0; most-- {
			var name string
			var hg *homeGroup[G]
			var there bool
			if name, hg, there, more = w.over.Next(&h.groups); there && !h.isOver(hg) {
				take(h.glance(name, hg))
			}
		}
	}) {
		return true
	}
	return more
}

// Look gives what the home of the loop's own index knows of a group; known: it knows it. held is false if another loop holds the home at
// this moment; the caller calls again in a later turn, and owes a Host, as after Expire.
func (l *Lanes[G, C]) Look(group string) (g Glance, known, held bool) {
	held = l.withHome(func(h *Home[G, C]) {
		if hg := h.groups.Get(group); hg != nil && !h.isOver(hg) {
			g, known = h.glance(group, hg), true
		}
	})
	return g, known, held
}

// withHome calls f with the home of the loop's own index while it holds that. False: another loop holds it.
func (l *Lanes[G, C]) withHome(f func(*Home[G, C])) (held bool) {
	h := l.all.homes[l.index]
	if !h.tryHold() {
		return false
	}
	l.hosted = h // after a panic it is let go
	f(h)
	l.letGo()
	return true
}

// isOver says whether a group is one that Expire will forget, and so has gone for whoever asks.
func (h *Home[G, C]) isOver(hg *homeGroup[G]) bool {
	return hg.history != nil && hg.history.over(h.tick())
}

func (h *Home[G, C]) glance(name string, hg *homeGroup[G]) Glance {
	g := Glance{Group: name, Members: hg.headcount.Members(), Loops: len(hg.locals), Top: Position{Offset: hg.offset}}
	if y := hg.history; y != nil {
		g.Top, g.Bytes = h.top(y), y.bytes
		g.Kept = int(hg.offset + 1 - y.from(h.tick()))
	}
	return g
}
