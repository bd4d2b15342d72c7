package loop

import (
	"slices"

	"ringcast/dialect"
	"ringcast/loop/order"
)

// This file is who is in a group: who hears of comings and goings, who may ask, and what is told. The group's home knows it, see
// order/presence.go.

// hears says whether a client that joins a group of a kind is told who comes and goes. asked: it has asked for that. Members of a channel
// whose name says that they are known to each other always are, where their dialect has channels, and those of others never.
func (s *shard) hears(c *client, group string, kind *Kind, asked bool) bool {
	if s.entry(c).Channels {
		channel, _ := s.bounds.channelOf(group)
		return channel.Presence
	}
	return kind.Presence && s.entry(c).Hears && (kind.JoinLeave == HearAll || kind.JoinLeave == HearAsked && asked)
}

// presence asks the home who is in a group, which only members may.
func (s *shard) presence(c *client, cmd *dialect.Command) dialect.ErrorCode {
	return s.askHome(c, cmd, order.OpPresence, nil)
}

// answerPresence answers who has asked who is in a group, or how many members it has and how many users these are.
func (s *shard) answerPresence(r *replay, late bool) {
	code := s.asked(r, late)
	if s.entry(r.Client).Channels {
		s.listAgain(r, code)
		return
	}
	o := dialect.Outcome{What: dialect.Listed, Verb: dialect.Presence, ID: borrowBytes(r.ID), Present: r.Past.Present}
	if r.Op == order.OpCounted {
		o.What, o.Verb, o.Number, o.Users = dialect.Members, dialect.Stats, uint64(r.Past.Members), uint64(r.Past.Users)
	} else if code == "" && (r.Past.Crowded || !s.fitsPresent(r.Client, o)) {
		code = dialect.ErrTooManyMembers
	}
	if code == "" && r.Op == order.OpCounted && r.Past.None {
		if code = s.answerMembers(r.Client, r.Local.name, o); code == "" {
			return
		}
	}
	if code != "" {
		o = dialect.Outcome{What: dialect.Refused, Verb: o.Verb, Group: r.Local.name, ID: borrowBytes(r.ID), Code: code}
	}
	s.answer(r.Client, o)
}

// fitsPresent says whether a list takes no more than half of an outbox.
func (s *shard) fitsPresent(c *client, o dialect.Outcome) bool {
	most := 0
	for i := range o.Present {
		most += presentBytes + o.Present[i].Who.TextBytesMax()
	}
	return most <= s.bounds.OutboxBytesMax/2 || c.state != stateOpen || len(s.dialect(c).Answer(nil, o)) <= s.bounds.OutboxBytesMax/2
}

// presentBytes is more than what a list has for each member beside what is told of its user.
const presentBytes = 256

// announced is how far a shard has come with telling homes who is here, after a reload by which a kind may have got presence.
//
// Owner: the loop.
type announced struct {
	client int // clients in slots below this one are still to be looked at;
	groups int // of the last of them, so many groups
}

// announceAll has turns tell the homes of all members of groups that have presence from now on.
func (s *shard) announceAll(was, is *bounds) {
	if is.anyPresence && !samePresence(was, is) {
		s.announceFrom(len(s.clients))
	}
}

// announceFrom goes on with the client below a slot.
func (s *shard) announceFrom(slot int) {
	s.owed.announced = announced{client: slot}
	if slot > 0 {
		s.owed.announced.groups = s.clients[slot-1].groupCount()
	}
}

// mayHavePresence says whether there is a kind that has presence.
func (l *Limits) mayHavePresence() bool {
	return l.Presence || l.Apps != nil || slices.ContainsFunc(l.Kinds, func(k Kind) bool { return k.Presence })
}

// samePresence says whether every group has presence with one bounds if it has it with the other.
func samePresence(a, b *bounds) bool {
	if a.Presence != b.Presence || len(a.Kinds) != len(b.Kinds) || !slices.Equal(a.Apps.IDs(), b.Apps.IDs()) {
		return false
	}
	for i := range a.Kinds {
		if a.Kinds[i].Match != b.Kinds[i].Match || a.Kinds[i].Presence != b.Kinds[i].Presence {
			return false
		}
	}
	return true
}

// announce goes on with that for a while. It goes downwards, through clients and through their groups: what fills the gap of one that goes
// comes from above, where it was seen already, and a home may be told of a member twice.
func (s *shard) announce() {
	a := &s.owed.announced
	for n := s.bounds.announcesPerTurn; a.client > 0 && n > 0 && !s.enoughOwed(); n-- {
		if a.client > len(s.clients) {
			s.announceFrom(len(s.clients))
			continue
		}
		c := s.clients[a.client-1]
		if a.groups = min(a.groups, c.groupCount()); a.groups == 0 {
			s.announceFrom(a.client - 1)
			continue
		}
		a.groups--
		if m := c.membership(a.groups); m.standing == standingMember {
			n -= s.announceOne(c, m) / 16
		} else {
			m.setPresent(true) // the home's answer may be from before it has forgotten who is here
		}
	}
}

// announceOne tells a group's home of a member, if it wants to know. compared: so many patterns were compared for that.
func (s *shard) announceOne(c *client, m *membership) (compared int) {
	_, compared = s.kindOf(m.group)
	if s.kind(m.group).Presence {
		m.setPresent(true)
		s.owe(word{group: m.group, client: c, op: order.OpHere, hears: m.hears()})
	}
	return compared
}

// announceAgain tells homes of a member that has joined before it has said who it is.
func (s *shard) announceAgain(c *client) {
	for at := range c.groupCount() {
		if m := c.membership(at); m.standing == standingMember {
			s.announceOne(c, m)
		} else {
			m.setPresent(true) // when the home has answered
		}
	}
}
