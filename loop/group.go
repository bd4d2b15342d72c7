package loop

import "ringcast/loop/order"

// group is one loop's part of a group: its own members, as one audience or several.
//
// What a message touches is the inline audience, a cache line by itself. Groups of several loops lie side by side in memory,
// as loops take turns on the processors; where they shared lines, the first look at a group cost twice as much with 8 loops
// on 2 cores. 128 bytes are a size class of Go's allocator, whose objects lie at multiples of their size.
//
// Owner: the loop.
type group struct {
	inline audience // the first; it stays when it has become empty, and then serves another form

	name      string
	headcount *order.Headcount // nil: the home does not know of this loop's members, and sends nothing
	home      uint8
	owed      bool     // in the shard's list of groups whose homes may have to be told
	asked     int32    // opJoins that the home has not answered
	further   *further // its other audiences, seldom any; each has members
	_         [24]byte
}

// further is an audience beside the inline one.
type further struct {
	audience
	next *further
}

// GroupName is for the homes, which know groups by it.
func (g *group) GroupName() string { return g.name }

// add makes c a member, of the audience of its form.
func (g *group) add(c *client) (pos uint32) {
	a := g.audience(c.form())
	if a == nil {
		if a = &g.inline; a.members != nil {
			g.further = &further{next: g.further}
			g.inline.further = true
			a = &g.further.audience
		}
		a.form = c.form()
	}
	a.members = append(a.members, c)
	return uint32(len(a.members) - 1)
}

// remove takes the member c out, which stands at pos in its audience. at is the place of that membership among its own.
func (g *group) remove(c *client, pos uint32, at int) { g.audience(c.form()).remove(g, pos, at) }

// audience is the members of a form, nil where there are none.
func (g *group) audience(f form) *audience {
	if g.inline.form == f && g.inline.members != nil {
		return &g.inline
	}
	for a := g.further; a != nil; a = a.next {
		if a.form == f {
			return &a.audience
		}
	}
	return nil
}

// empty says whether there is no member.
func (g *group) empty() bool { return g.inline.members == nil && !g.inline.further }

// audience is those of a group's members on one loop that hear the same bytes: they are of one form. They lie in a dense
// slice because a pass walks all of them; each knows its place, so leaving does not search them.
//
// A pass (pass.go) may take many turns, and between them members come and go: who joins lands behind its end and gets the
// next batch, who leaves moves one member of each region behind its hole across a border, so nobody misses or repeats a
// batch.
//
//	members   [ served │ to serve │ joined since ]
//	           0      cur        end            len
//
// Owner: the loop.
type audience struct {
	members []*client  // nil: none, and then nothing waits and no pass is under way
	waiting []*message // gathered for the next pass, oldest first
	pass    *pass      // under way; nil: none
	form    form
	further bool // of an inline one: its group has others
	queued  bool // in the shard's list of those that wait for a pass, perhaps from a time when there were other members
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

// move searches the moved client's own groups, of which most have one, rather than have every entry say which of them
// this is: that would double the members slice. It looks first where the leaving client had the group: those who are in
// many are mostly in the same, and joined them in the same order. (BenchmarkBury)
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
