package loop

import "ringcast/loop/order"

// group is one loop's part of a group: its own members, as one audience or several.
//
// A message touches the inline audience, which is a cache line of its own, and once a pass the flow, in the other line, which its
// home reads now and then. Groups of several loops lie side by side in memory, as
// loops take turns on the processors; where they shared cache lines, the first access to a group cost twice as much with 8 loops
// on 2 cores. 128 bytes are a size class of Go's allocator, whose objects lie at multiples of their size.
//
// Owner: who holds the shard; the flow's comment says who reads that.
type group struct {
	inline audience // its first; it stays when it has become empty, and may then be of another form

	name      string
	headcount *order.Headcount // nil: the home does not know of this loop's members, and sends nothing
	home      uint8
	owed      bool     // in the shard's list of groups whose homes may have to be told
	kind      uint16   // see shard.kindOf
	asked     int32    // OpJoins, OpHistories and OpPresences whose clients have not been answered
	further   *further // its other audiences, each with members; seldom any
	flow      order.Flow
	log       *replayLog // what came down since its oldest replay; nil: it has none
	kindsRead uint32     // generation of the bounds that kind is of; 0: of none
	counted   uint32     // its place in the shard's headcounts, from 1; 0: its members are not told how many they are
}

// Flow is what the loop tells the group's home of what waits here.
func (g *group) Flow() *order.Flow { return &g.flow }

// further is an audience beside the inline one.
type further struct {
	audience
	next *further
}

// GroupName is the name by which homes know the group.
func (g *group) GroupName() string { return g.name }

// add makes c a member, of the audience of its form and of those that hear, or do not, who comes and goes.
func (g *group) add(c *client, hears bool) (pos uint32) {
	a := g.audience(c.form(), hears)
	if a == nil {
		if a = &g.inline; a.members != nil {
			g.further = &further{next: g.further}
			g.inline.further = true
			a = &g.further.audience
		}
		a.form, a.hears = c.form(), hears
	}
	if n := len(a.members); n == cap(a.members) && n < grownMax { // append would double it: most groups are small
		a.members = append(make([]*client, 0, n+n/4+1), a.members...)
	}
	a.members = append(a.members, c)
	return uint32(len(a.members) - 1)
}

// grownMax is from how many members on an audience grows as slices do, by a quarter.
const grownMax = 256

// remove takes out the member c, which is at pos in its audience. at is the place of that membership among c's own.
func (g *group) remove(c *client, hears bool, pos uint32, at int) {
	g.audience(c.form(), hears).remove(g, pos, at)
}

// audience is the members of a form that hear, or do not, who comes and goes; nil: there are none.
func (g *group) audience(f form, hears bool) *audience {
	if g.inline.form == f && g.inline.hears == hears && g.inline.members != nil {
		return &g.inline
	}
	for a := g.further; a != nil; a = a.next {
		if a.form == f && a.hears == hears {
			return &a.audience
		}
	}
	return nil
}

// empty says whether there is no member.
func (g *group) empty() bool { return g.inline.members == nil && !g.inline.further }

// size is the number of members.
func (g *group) size() (n int) {
	if g.inline.further {
		for a := g.further; a != nil; a = a.next {
			n += len(a.members)
		}
	}
	return n + len(g.inline.members)
}

// plain says whether all members hear messages in the plain form.
func (g *group) plain() bool { return g.inline.form == order.PlainForm && !g.inline.further }

// queued says whether an audience waits for a pass.
func (g *group) queued() bool {
	if g.inline.further {
		for a := g.further; a != nil; a = a.next {
			if a.queued {
				return true
			}
		}
	}
	return g.inline.queued
}

// longest is the number of messages in the longest waiting list, of the group's audiences but for one.
func (g *group) longest(but *audience) (n int) {
	if but != &g.inline {
		n = len(g.inline.waiting)
	}
	if g.inline.further {
		for a := g.further; a != nil; a = a.next {
			if but != &a.audience {
				n = max(n, len(a.waiting))
			}
		}
	}
	return n
}

// audience is the members of a group on one loop that are sent the same bytes: they are of one form, and all hear
// who comes and goes or all do not. They are in a dense slice
// because a pass walks all of them. Each knows its place, so one that leaves is not searched for.
//
// A pass (pass.go) may take many turns, and between them members join and leave. One that joins is added after the pass's end and
// gets the next batch. For one that leaves, the last member of its region fills the gap, the last of the next region fills that
// one's place, and so on, so no member misses a batch or gets it twice.
//
//	members   [ served │ to serve │ joined since ]
//	           0      cur        end            len
//
// Owner: who holds the shard.
type audience struct {
	members []*client  // nil: none, and then nothing waits and no pass is under way
	waiting []*message // gathered for the next pass, oldest first
	pass    *pass      // under way; nil: none
	tells   uint32     // number of the group's members, which the next pass tells; 0: none is to be told
	form    form
	hears   bool // comings and goings too
	further bool // inline audience only: the group has others
	queued  bool // in the shard's queue for a pass; it may have become empty since, and have got other members
}

// remove takes the member at pos out of the slice, through both borders of a pass.
func (a *audience) remove(g *group, pos uint32, at int) {
	hole := int(pos)
	if p := a.pass; p != nil {
		if hole < p.cur {
			p.cur--
			a.move(g, p.cur, hole, at)
			hole = p.cur
		}
		if hole < p.end {
			p.end--
			a.move(g, p.end, hole, at)
			hole = p.end
		}
	}
	last := len(a.members) - 1
	a.move(g, last, hole, at)
	a.members[last] = nil
	switch a.members = a.members[:last]; {
	case last == 0:
		a.members = nil
	case cap(a.members) > membersKeptMin && last < cap(a.members)/4:
		a.members = append(make([]*client, 0, cap(a.members)/2), a.members...)
	}
}

// membersKeptMin is the capacity below which a shrinking audience keeps its slice.
const membersKeptMin = 64

// move moves a member to another place, and notes that with the client. It searches the client's memberships, of which most have
// one, because an index in each entry would double the size of the slice. It looks first at hint, the place at which the leaving
// client has the group: clients with many groups often have the same, joined in the same order (BenchmarkBury).
func (a *audience) move(g *group, from, to, hint int) {
	if from == to {
		return
	}
	c := a.members[from]
	a.members[to] = c
	at := hint
	if at >= c.groupCount() || c.membership(at).group != g {
		at = c.memberOf(g)
	}
	c.membership(at).pos = uint32(to)
}
