package loop

import (
	"time"

	"ringcast/dialect"
	"ringcast/loop/order"
)

// This file tells clients of the Pusher protocol how many members their channels have, where their app wants that: public and private ones;
// who is in a channel with presence they know, and in that of a user is that user alone.
//
// A group's headcount is shared by all loops, and each looks at those of its own channels once a tick, and compares. So a change costs
// nothing where it happens, and a thousand within a tick are told once. What is to be told is a number in the audience, which the next pass
// tells behind its messages: it is no message, has no place in the order, and is never kept.

const (
	headcountsPerTick = 4096 // that a loop looks at: half a millisecond. Who has more channels hears of a change that much later
	headcountOften    = 100  // members up to which each change is told at once
)

// headcountPause is from one telling to the next where there are more: there each change is told to so many, and changes are many.
const headcountPause = uint32(5 * time.Second / tickPeriod)

// headcounts are the groups of a loop whose members are told how many they are, or were when last looked at. A group knows its place.
//
// Owner: the loop.
type headcounts struct {
	list []counted
	left int // of this round: those in places below are still to be looked at, as what fills a gap comes from above
}

// counted is one of them.
type counted struct {
	group *group
	form  form   // of those that are told, or as it is with them, but deflated
	told  uint32 // number of members that was told last; 0: somebody has come since, who has heard of none
	tick  uint32 // at which that was
}

// tellsCounts says whether there is an app whose clients are told such numbers.
func (l *Limits) tellsCounts() bool {
	for _, id := range l.Apps.IDs() {
		if l.Apps.ByID(id).SubscriptionCount {
			return true
		}
	}
	return false
}

// counts says whether the members of a group are told how many they are.
func (b *bounds) counts(group string) bool {
	channel, app := b.channelOf(group)
	return app != nil && app.SubscriptionCount && !channel.Presence && !channel.User
}

// count notes that a client has become a member of a group, or was one when its app began to want this.
func (hs *headcounts) count(c *client, g *group) {
	switch s := c.shard; {
	case !s.entry(c).Channels:
	case g.counted > 0:
		hs.list[g.counted-1].told = 0
	case s.bounds.counts(g.name):
		hs.list = append(hs.list, counted{group: g, form: c.form() &^ order.Deflated, tick: s.tick - headcountPause})
		g.counted = uint32(len(hs.list))
	}
}

// drop takes a group out, if it is there.
func (hs *headcounts) drop(g *group) {
	if g.counted == 0 {
		return
	}
	last := len(hs.list) - 1
	moved := hs.list[last]
	hs.list[last] = counted{}
	hs.list = hs.list[:last]
	if at := int(g.counted) - 1; at < last {
		hs.list[at] = moved
		moved.group.counted = g.counted
	}
	if g.counted = 0; cap(hs.list) > clientsKeptMin && last < cap(hs.list)/4 {
		hs.list = append(make([]counted, 0, cap(hs.list)/2), hs.list...)
	}
}

// lookAtHeadcounts has the next passes tell what has changed. A server that stops tells nothing: its members are about to be elsewhere.
func (s *shard) lookAtHeadcounts() {
	hs := &s.headcounts
	if len(hs.list) == 0 || s.hub.stopping.Load() {
		return
	}
	for n := min(headcountsPerTick, len(hs.list)); n > 0 && len(hs.list) > 0; n-- {
		if hs.left == 0 || hs.left > len(hs.list) {
			hs.left = len(hs.list)
		}
		hs.left--
		e := &hs.list[hs.left]
		a, deflated := e.group.audience(e.form, false), e.group.audience(e.form|order.Deflated, false)
		if a == nil && deflated == nil {
			hs.drop(e.group)
			continue
		}
		members := uint32(e.group.headcount.Members())
		if members == e.told || members > headcountOften && s.tick-e.tick < headcountPause {
			continue
		}
		if !s.bounds.counts(e.group.name) { // since a reload
			hs.drop(e.group)
			continue
		}
		e.told, e.tick = members, s.tick
		s.passes.tell(e.group, a, members)
		s.passes.tell(e.group, deflated, members)
	}
}

// tell has the next pass over an audience, if there is one, tell how many members its group has.
func (ps *passes) tell(g *group, a *audience, members uint32) {
	if a != nil {
		a.tells = members
		ps.enqueue(g, a)
	}
}

// countAll has members of channels whose app wants it from now on be told how many they are.
func (s *shard) countAll(was, is *bounds) {
	for _, id := range is.Apps.IDs() {
		if app := was.Apps.ByID(id); app == nil || app.SubscriptionCount || !is.Apps.ByID(id).SubscriptionCount {
			continue // of an app that there was not there are no members
		}
		s.hub.errands.Add(1)
		s.beginErrand(&errand{result: make(chan int, 1), do: func(s *shard, c *client) bool {
			for at := range c.groupCount() {
				if m := c.membership(at); m.standing == standingMember {
					s.headcounts.count(c, m.group)
				}
			}
			return true
		}})
		return
	}
}

// appendCount appends the frame that tells an audience how many members its group has.
func (s *shard) appendCount(batch []byte, g *group, a *audience) []byte {
	o := dialect.Outcome{What: dialect.Counted, Group: g.name, Number: uint64(a.tells)}
	a.tells = 0
	return s.dialects.of[a.form.Dialect()].Answer(batch, o)
}
