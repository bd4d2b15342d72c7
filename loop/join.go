package loop

import (
	"ringcast/dialect"
	"ringcast/loop/order"
)

// This file is how clients join and leave groups.

// join makes c a member: at once if this loop has the group's headcount and the group has members. Else the home decides, and
// knows from then on that this loop has members. c becomes a member when the home's answer has come down, and is answered
// then: from its answer on c gets every message that is accepted. It does not become one sooner, as a client that is refused
// must not have been sent what members are. What c publishes after its add_group is sent to it all the same: it goes up the
// same lane, is put in order by the same home, and comes down after the answer.
func (s *shard) join(c *client, cmd *dialect.Command) dialect.ErrorCode {
	name := cmd.Group
	g := s.groups.Get(string(name))
	if g != nil {
		if at := c.memberOf(g); at >= 0 {
			return s.joinAgain(c, at, cmd)
		}
	}
	in, code := s.showFor(c, name, cmd.Token)
	if code != "" {
		return code
	}
	if code := s.mayJoin(c, name, in != nil); code != "" {
		return code
	}
	return s.seek(c, g, cmd, in, 0)
}

// seek is join of a client that may. g is nil if this loop does not know the group; in is what the client has for the group, nil for
// most; traits are those of its membership beside what it hears.
func (s *shard) seek(c *client, g *group, cmd *dialect.Command, in *grant, more traits) dialect.ErrorCode {
	name, id := cmd.Group, cmd.ID
	if s.hub.stopping.Load() { // lanes that fill with requests for nothing would hold up the stop
		count(&s.count.RefusedBy, refusedStopping)
		return dialect.ErrStopping
	}
	if g == nil {
		g = &group{name: string(name)}
		g.home = uint8(s.hub.homes.Of(g.name))
		s.groups.Put(g.name, g)
	}
	place, kind, asks := order.AskHome, s.kind(g), s.asksOf(c, g.name)
	if g.headcount != nil && kind.History == 0 && !kind.Presence && asks == nil && !cmd.Recover && more&traitWelcomed == 0 { // else the home alone knows the position, or who is there
		place = g.headcount.Take(kind.MembersMax)
	}
	switch place {
	case order.GroupFull:
		count(&s.count.RefusedBy, refusedMembers)
		return dialect.ErrGroupFull
	case order.Took:
		at := c.ask(g, false, false)
		if in != nil {
			s.keep(c, g, in)
		}
		s.enlist(c, at)
		s.tellJoined(c, g, more, id != nil, id, nil)
		return ""
	}
	hears := s.hears(c, g.name, &kind, cmd.Hears)
	r := request{Op: order.OpJoin, Local: g, Asks: id != nil, Hears: hears, Client: c, ID: string(id), Past: asks}
	if c.is(markBearer) || in != nil {
		in = s.identify(c, in, g, kind.Presence, &r)
	}
	if cmd.Recover {
		r.Past = &order.Ask{Recover: true, OrNone: cmd.OrNone, Since: order.Position{Offset: cmd.Since.Offset, Epoch: order.Epoch(cmd.Since.Epoch)},
			MessagesMax: s.bounds.RecoveryMax, BytesMax: s.bounds.OutboxBytesMax / 2}
	}
	if !s.request(int(g.home), r) {
		s.giveUpIfEmpty(g)
		count(&s.count.RefusedBy, refusedBusy)
		return dialect.ErrBusy
	}
	g.asked++
	at := c.ask(g, id == nil && more == 0, hears)
	c.membership(at).traits |= more
	if in != nil {
		s.keep(c, g, in)
	}
	return ""
}

// mayJoinMore checks c's bound on groups. Memberships that it has left before the home's answer do not count.
func (s *shard) mayJoinMore(c *client) bool {
	if n := c.groupCount(); n < s.bounds.GroupsPerClient || n-c.renouncedCount() < s.bounds.GroupsPerClient {
		return true
	}
	count(&s.count.RefusedBy, refusedGroupsPerClient)
	return false
}

// joinAgain is an add_group of a client that is a member, or has asked to be. The home is asked once, so that a client that
// repeats its add_group takes one place. The home's answer then answers all repeats.
func (s *shard) joinAgain(c *client, at int, cmd *dialect.Command) dialect.ErrorCode {
	m, id := c.membership(at), cmd.ID
	if s.entry(c).JoinsOnce && m.standing != standingRenounced {
		s.count.CommandErrors.Add(1)
		return dialect.ErrAlreadyJoined
	}
	if m.standing == standingMember && cmd.Token == nil {
		s.answerOK(c, dialect.AddGroup, cmd.Group, id)
		return ""
	}
	in, code := s.showFor(c, cmd.Group, cmd.Token)
	if code != "" {
		return code
	}
	if m.standing == standingMember {
		s.keep(c, m.group, in)
		s.tellJoined(c, m.group, 0, id != nil, id, nil)
		return ""
	}
	if m.standing == standingRenounced {
		if code := s.mayJoin(c, cmd.Group, in != nil); code != "" {
			return code
		}
	}
	if id != nil {
		if code := s.answerLater(c, m.group, repeat{id: string(id), recover: cmd.Recover, orNone: cmd.OrNone}); code != "" {
			return code
		}
	}
	if m.standing == standingRenounced {
		kind := s.kind(m.group)
		if hears := s.hears(c, m.group.name, &kind, cmd.Hears); hears != m.hears() { // the home was asked for the other
			m.traits = traitIf(hears, traitHears) | traitPresent
		}
	}
	s.keep(c, m.group, in)
	c.stand(at, standingAsked)
	m.silent = m.silent || id == nil
	return ""
}

// decided acts on the home's answer to an add_group.
func (s *shard) decided(d *delivery) {
	g := d.Local
	if d.Message != nil {
		defer s.gather(d) // the client's coming, behind the answer; should that panic, others are to hear it all the same
	}
	if d.Op == order.OpJoined && g.headcount == nil {
		g.headcount = d.Headcount
	}
	if s.waits(d) {
		s.replayLater(d)
		return
	}
	var code dialect.ErrorCode
	var why refusal
	switch {
	case d.Op == order.OpJoined:
		g.headcount = d.Headcount
	case d.Why == order.RefusedGroups:
		code, why = dialect.ErrGroupsFull, refusedGroups
	case d.Why == order.RefusedBusy:
		code, why = dialect.ErrBusy, refusedTooLoud
	case d.Why == order.RefusedCrowded:
		code, why = dialect.ErrTooManyMembers, refusedMembers
	default:
		code, why = dialect.ErrGroupFull, refusedMembers
	}
	s.conclude(d, why, code, nil)
}

// conclude ends an add_group that the home has answered: the client becomes a member, if it still wants to and there is no code that
// says why not; and it is answered, with what it hears of the group's past, if anything.
func (s *shard) conclude(d *delivery, why refusal, code dialect.ErrorCode, past *dialect.Past) (joined bool) {
	g, c := d.Local, d.Client
	g.asked--
	at, wanted, silent, is := c.memberOf(g), false, false, traits(0) // at is -1 if c is dead
	if at >= 0 {
		m := c.membership(at)
		wanted, silent, is = m.standing == standingAsked, m.silent, m.traits
	}
	if joined = wanted && code == ""; joined {
		m := c.membership(at)
		anew := m.present()
		s.enlist(c, at)
		if past != nil && past.Top.Epoch != 0 && d.Asks {
			m.recall = recallTold
		}
		m.setPresent(d.Present)
		if s.bounds.anyPresence && (anew || !d.Present) { // its kind may have got presence since the home's answer
			s.announceOne(c, m)
		}
	} else {
		if d.Present {
			s.owe(word{group: g, client: c, op: order.OpGone})
		}
		past = positionOf(past, past != nil && past.WasRecovering)
		if d.Op == order.OpJoined {
			s.hub.homes.Census.GiveBack(g.headcount) // it has left meanwhile, or is dead, or is refused all the same
		}
		if at >= 0 {
			c.withdraw(at)
		}
		s.giveUpIfEmpty(g)
	}
	if is&traitServed != 0 && joined {
		s.tellJoined(c, g, is, false, nil, past)
	}
	if wanted || !s.entry(c).Channels { // else its commands have no ids, and who has left takes an answer for that to the next
		s.answerJoin(c, g, d.Asks, d.ID, why, code, past)
	}
	s.answerRepeats(c, g, why, code, past)
	if code != "" && silent {
		s.closeRefused(c, code)
	}
	if joined && is&traitOusted != 0 {
		s.oust(c, g, dialect.Removed)
		return false
	}
	return joined
}

// enlist makes a client for which a place was taken a member.
func (s *shard) enlist(c *client, at int) {
	if c.membership(at).group.empty() {
		s.count.Groups.Add(1)
	}
	c.confirm(at)
	if s.bounds.anyCounts {
		s.headcounts.count(c, c.membership(at).group)
	}
	s.count.Members.Add(1)
	if s.traces.on {
		s.tell(c, Trace{Kind: TraceJoin, Group: c.membership(at).group.name})
	}
}

// answerJoin answers an add_group that was decided; past: what the client hears of the group's past, if anything.
func (s *shard) answerJoin(c *client, g *group, asks bool, id string, why refusal, code dialect.ErrorCode, past *dialect.Past) {
	if code != "" {
		count(&s.count.RefusedBy, why)
		s.noteRefused(c, dialect.AddGroup, borrowBytes(g.name), code)
	}
	switch {
	case !asks:
	case code == "":
		s.tellJoined(c, g, 0, true, borrowBytes(id), past)
	default:
		s.answerRefused(c, dialect.Outcome{What: dialect.Refused, Verb: dialect.AddGroup, Group: g.name, ID: borrowBytes(id), Code: code})
	}
}

// tellJoined tells a client that it is a member: by an answer, if it asks for one, or because a server has made it one.
func (s *shard) tellJoined(c *client, g *group, is traits, asks bool, id []byte, past *dialect.Past) {
	o := dialect.Outcome{What: dialect.OK, Verb: dialect.AddGroup, Group: g.name, ID: id, Past: past}
	if is&traitServed != 0 {
		o.What = dialect.Joined
	} else if !asks {
		return
	}
	if c.is(markBearer) {
		o.TTL = s.ttlIn(c, g)
	}
	s.answer(c, o)
}

// answerOK answers a command that was carried out, if it has an id.
func (s *shard) answerOK(c *client, verb dialect.Verb, group, id []byte) {
	if id != nil {
		s.answer(c, dialect.Outcome{What: dialect.OK, Verb: verb, Group: borrowString(group), ID: id})
	}
}

// quit takes c out of a group at once: what was gathered for the group is sent to the others only. It is no error to leave a
// group that one is not in.
func (s *shard) quit(c *client, name, id []byte) dialect.ErrorCode {
	if g := s.groups.Get(string(name)); g != nil {
		if at := c.memberOf(g); at >= 0 {
			if m := c.membership(at); m.standing == standingMember {
				s.part(c, at)
			} else {
				s.renounce(c, at)
			}
		}
	}
	s.answerOK(c, dialect.LeaveGroup, name, id)
	return ""
}

// part ends c's membership at a place.
func (s *shard) part(c *client, at int) {
	m := *c.membership(at)
	g := c.withdraw(at)
	if m.standing != standingMember {
		return // decided will give its place back
	}
	if m.present() {
		s.owe(word{group: g, client: c, op: order.OpGone})
	}
	s.dropEmptyAudiences(g)
	s.hub.homes.Census.GiveBack(g.headcount)
	s.count.Members.Add(-1)
	if s.traces.on {
		s.tell(c, Trace{Kind: TraceLeave, Group: g.name})
	}
	if g.empty() {
		s.count.Groups.Add(-1)
	}
	s.giveUpIfEmpty(g)
}

// forget takes a dead client out of its groups, of so many at most; left is how many of these it did not need. done: it is in none any more.
func (s *shard) forget(c *client, most int) (left int, done bool) {
	if c.extra != nil {
		c.extra.index = nil // the last goes first, so it is not needed, and to keep it right costs more than the rest
	}
	for at := c.groupCount() - 1; at >= 0; at-- {
		if most == 0 || s.enoughOwed() {
			return most, false
		}
		s.part(c, at)
		most--
	}
	if c.extra != nil {
		for g, repeats := range c.extra.repeats {
			for _, r := range repeats {
				s.backlog.release(g.name, repeatBytesOf(r.id))
			}
		}
	}
	return most, true
}

// dropEmptyAudiences is called when a member has left: what was gathered for an audience without members is dropped. The audience
// may stay in the queue of passes for a while, where it does no harm.
func (s *shard) dropEmptyAudiences(g *group) {
	if g.inline.members == nil {
		s.passes.drop(g, &g.inline, 2*s.bounds.batchBytes)
	}
	for at := &g.further; *at != nil; {
		if a := *at; a.members == nil {
			s.passes.drop(g, &a.audience, 2*s.bounds.batchBytes)
			*at = a.next
		} else {
			at = &a.next
		}
	}
	g.inline.further = g.further != nil
}
