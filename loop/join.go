package loop

import "ringcast/wsproto"

// This file is how clients come into groups and out of them.

// join makes c a member: at once where this loop has the group's headcount, and somebody is on it. Else the home decides, and
// knows from then on that this loop has members; c becomes one when its word comes down, and is answered then: once the
// client has the answer, nothing that is accepted anywhere can miss it. Not a moment sooner, for a client that is refused
// must not have heard what members hear. It is soon enough for what c publishes behind its add_group: that goes up the
// same lane, is put in order by the same home, and comes down behind its word.
func (s *shard) join(c *client, name, id []byte) wsproto.ErrorCode {
	g := s.groups.m[string(name)]
	if g != nil {
		if at := c.memberOf(g); at >= 0 {
			return s.joinAgain(c, at, id)
		}
	}
	if !s.mayJoinMore(c) {
		return wsproto.ErrTooManyGroups
	}
	if g == nil {
		g = &group{name: string(name)}
		g.home = s.hub.homeOf(g.name)
		s.groups.put(g.name, g)
	}
	there := isEmpty
	if g.headcount != nil {
		there = g.headcount.enter(s.bounds)
	}
	switch there {
	case isFull:
		count(&s.count.refused, refusedMembers)
		return wsproto.ErrGroupFull
	case entered:
		s.enlist(c, c.ask(g, false))
		if id != nil {
			s.replyTo(c, wsproto.AppendOK(s.outFor(c), id))
		}
		return ""
	}
	if !s.request(g.home, request{op: opJoin, group: g.name, local: g, client: c, id: string(id)}) {
		s.giveUpIfEmpty(g)
		count(&s.count.refused, refusedBusy)
		return wsproto.ErrBusy
	}
	g.asked++
	c.ask(g, id == nil)
	return ""
}

// mayJoinMore holds c to its bound on groups. Those that it has left while they were asked for do not count.
func (s *shard) mayJoinMore(c *client) bool {
	if n := c.groupCount(); n < s.bounds.groupsPerClient || n-c.renouncedCount() < s.bounds.groupsPerClient {
		return true
	}
	count(&s.count.refused, refusedGroupsPerClient)
	return false
}

// joinAgain is an add_group of one who is a member, or has asked to be. The home is asked once: what one client says
// again and again must not take places that others want. Its word then answers all.
func (s *shard) joinAgain(c *client, at int, id []byte) wsproto.ErrorCode {
	m := c.membership(at)
	if m.standing == standingMember {
		if id != nil {
			s.replyTo(c, wsproto.AppendOK(s.outFor(c), id))
		}
		return ""
	}
	if m.standing == standingRenounced && !s.mayJoinMore(c) {
		return wsproto.ErrTooManyGroups
	}
	if id != nil {
		r := repeat{group: m.group, id: string(id)}
		if !s.backlog.take(r.bytes()) {
			count(&s.count.refused, refusedBusy)
			return wsproto.ErrBusy
		}
		x := c.more()
		x.repeats = append(x.repeats, r)
		m = c.membership(at)
	}
	m.standing = standingAsked
	m.silent = m.silent || id == nil
	return ""
}

// decided takes the home's word on an add_group.
func (s *shard) decided(d *delivery) {
	g, c := d.local, d.client
	g.asked--
	var code wsproto.ErrorCode
	if d.op == opJoined {
		g.headcount = d.headcount
	} else {
		code = fullCode(d.why)
	}
	at, wanted, silent := c.memberOf(g), false, false // nowhere: it died meanwhile
	if at >= 0 {
		m := c.membership(at)
		wanted, silent = m.standing == standingAsked, m.silent
	}
	switch {
	case code == "" && wanted:
		s.enlist(c, at)
	case code == "":
		s.hub.census.leave(g.headcount) // it left meanwhile, or died
		fallthrough
	default:
		if at >= 0 {
			c.withdraw(at)
		}
		s.giveUpIfEmpty(g)
	}
	s.answerJoin(c, d.id, d.why, code)
	s.answerRepeats(c, g, d.why, code)
	if code != "" && silent {
		s.closeRefused(c, code)
	}
}

// enlist makes one whose place is taken a member.
func (s *shard) enlist(c *client, at int) {
	if len(c.membership(at).group.members) == 0 {
		s.count.groups.Add(1)
	}
	c.confirm(at)
	s.count.members.Add(1)
}

// answerJoin tells a client the home's word.
func (s *shard) answerJoin(c *client, id string, why refusal, code wsproto.ErrorCode) {
	if code != "" {
		count(&s.count.refused, why)
	}
	switch {
	case id == "":
	case code == "":
		s.replyOK(c, id)
	default:
		s.replyError(c, id, code)
	}
}

// repeat is an add_group that came while an earlier one of the same client and group was not decided.
type repeat struct {
	group *group
	id    string
}

// bytes is what a repeat counts against the bound on the backlog.
func (r *repeat) bytes() int { return repeatBytes + len(r.id) }

const repeatBytes = 24

// answerRepeats tells a client the home's word again, as often as it has asked.
func (s *shard) answerRepeats(c *client, g *group, why refusal, code wsproto.ErrorCode) {
	if c.extra == nil || len(c.extra.repeats) == 0 {
		return
	}
	x, kept := c.extra, 0
	for _, r := range x.repeats {
		if r.group != g {
			x.repeats[kept] = r
			kept++
			continue
		}
		s.backlog.release(r.bytes())
		s.answerJoin(c, r.id, why, code)
	}
	clear(x.repeats[kept:])
	x.repeats = x.repeats[:kept]
	c.shed()
}

// quit takes c out of a group at once: whatever was gathered for the group goes to the others only. Leaving a group
// that one is not in is fine.
func (s *shard) quit(c *client, name, id []byte) wsproto.ErrorCode {
	if g := s.groups.m[string(name)]; g != nil {
		if at := c.memberOf(g); at >= 0 {
			if m := c.membership(at); m.standing == standingMember {
				s.part(c, at)
			} else {
				m.standing, m.silent = standingRenounced, false
			}
		}
	}
	if id != nil {
		s.replyTo(c, wsproto.AppendOK(s.outFor(c), id))
	}
	return ""
}

// part ends c's membership at a place.
func (s *shard) part(c *client, at int) {
	member := c.membership(at).standing == standingMember
	g := c.withdraw(at)
	if !member {
		return // the home's word will find nobody
	}
	s.hub.census.leave(g.headcount)
	s.count.members.Add(-1)
	if len(g.members) == 0 {
		s.count.groups.Add(-1)
	}
	s.giveUpIfEmpty(g)
}

// forget takes a dead client out of all groups.
func (s *shard) forget(c *client) {
	for at := c.groupCount() - 1; at >= 0; at-- {
		s.part(c, at)
	}
	if c.extra != nil {
		for _, r := range c.extra.repeats {
			s.backlog.release(r.bytes())
		}
	}
}

// giveUpIfEmpty puts a group without members on the list of those that the turn releases. Not at once: who leaves and
// joins again in one breath should not make it a new group.
func (s *shard) giveUpIfEmpty(g *group) {
	if len(g.members) > 0 {
		return
	}
	for _, f := range g.waiting {
		s.gathered -= gatheredBytes(f)
	}
	g.waiting = nil
	s.keepSpare(g.finish())
	if !g.idle {
		g.idle = true
		s.idle = append(s.idle, g)
	}
}

// release tells the homes of groups without members so, and forgets the groups, unless somebody waits to become a member:
// then the home's word will bring the group here again. It stops where the way to a home is
// full; then the backlog is not empty, so there will be another turn. The list holds each group once, so it needs no other
// bound.
func (s *shard) release() (moved bool) {
	done := 0
	for _, g := range s.idle {
		if len(g.members) == 0 && g.asked == 0 {
			if g.headcount != nil && !s.request(g.home, request{op: opLeave, group: g.name, local: g}) {
				break
			}
			g.headcount = nil
			s.groups.drop(g.name)
		}
		g.idle = false
		done++
	}
	if done == 0 {
		return false
	}
	rest := copy(s.idle, s.idle[done:])
	clear(s.idle[rest:])
	s.idle = s.idle[:rest]
	return true
}
