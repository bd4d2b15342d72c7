package loop

import (
	"iter"

	"ringcast/dialect"
	"ringcast/loop/order"
)

// This file is how a client hears of a group's past: what it has missed, inside the answer to its add_group, and what it asks to read.
//
// A resume must have no gap and no double. Its home has put the join in order: what it sends along (order.Past) goes up to the join, and
// all that comes behind it down the same lane is live. But on the loop messages wait for passes, and one who becomes a member hears
// all that waits in its audience, also what was said before its position. So the client becomes a member, and is answered, when
// nothing waits in its audience. Until then its group keeps a log of what comes down:
//
//	position          join             now: nothing waits
//	   │   past         │      log          │     live
//	───┴────────────────┴───────────────────┴──────────────►  the group's messages
//	   └─── what it is answered with ───────┘
//
// Nothing waits in an audience at the moment when a pass has taken all, so that comes soon, however much is said. Answers are made
// one after the other within the budget for passes: ten thousand clients that come back together hold nobody up, and their answers
// never exist at the same time.
//
// Not each dialect tells positions. A client of one that does not becomes a member at once, as in a group without history.

// replay is a client that is to hear of a group's past.
type replay struct {
	delivery        // the home's answer
	since    uint32 // tick at which it came
	from     int    // OpJoined: place in the group's log, counted from the log's beginning
}

type position = dialect.Position

// replays are those of a shard, oldest first.
//
// Owner: who holds the shard; a borrower reads whether there are any.
type replays struct {
	queue    []replay
	messages int // in the queue's pasts
}

// replayLog is what a group's members have been sent since the oldest of its replays came.
type replayLog struct {
	messages []*message
	dropped  int // how many were at its beginning before these
	waiting  int // replays of the group
}

const (
	// replayTicks is how long a replay may take: clients wait 5 s for an answer, and then connect anew.
	replayTicks = 20
	// replaysPerTurn bounds the replays that a turn looks at.
	replaysPerTurn = 256
	// replayMessagesMax bounds the messages of all replays of a loop, each of which is a pointer to what the history has. Beyond it the
	// loop gathers no more, as where too much is gathered.
	replayMessagesMax = 1 << 20
)

// replayLater queues a replay for the home's answer.
func (s *shard) replayLater(d *delivery) {
	r := replay{delivery: *d, since: s.tick}
	if d.Op == order.OpJoined {
		l := d.Local.log
		if l == nil {
			l = &replayLog{}
			d.Local.log = l
		}
		l.waiting++
		r.from = l.dropped + len(l.messages)
	}
	s.replays.queue = append(s.replays.queue, r)
	s.replays.messages += len(d.Past.Messages)
}

// keep appends a message that has come down for the group's members.
func (l *replayLog) keep(m *message, most int) {
	if len(l.messages) >= 2*most { // who has been waiting for longer will not get so many in any case
		l.messages = append(l.messages[:0], l.messages[most:]...)
		l.dropped += most
	}
	l.messages = append(l.messages, m)
}

// runReplays answers who can be answered, within the turn's budget. What is left is for a turn after a kick, or, where a client has to
// take what waits for it first, for the next tick.
func (s *shard) runReplays() (any bool) {
	rs := &s.replays
	if s.passes.resting || len(rs.queue) == 0 {
		return false
	}
	if s.passes.deadline == 0 {
		s.passes.deadline = s.env.now() + s.bounds.passNanos
	}
	over := false
	for n := min(len(rs.queue), replaysPerTurn); n > 0 && !over; n-- {
		r := rs.queue[0]
		rs.queue[0] = replay{}
		rs.queue = rs.queue[1:]
		late := s.tick-r.since >= replayTicks
		if !late && !s.mayReplay(&r) {
			rs.queue = append(rs.queue, r) // behind the others, which may be ready
			continue
		}
		any = true
		rs.messages -= len(r.Past.Messages)
		s.replay(&r, late)
		over = s.env.now() >= s.passes.deadline
	}
	switch {
	case len(rs.queue) == 0:
		rs.queue = nil
	case over:
		s.passes.resting = true
		s.kick()
		s.env.yield()
	case len(rs.queue) > replaysPerTurn:
		s.kick()
	}
	return any
}

// mayReplay says whether a client can be answered now, or need not be any more.
func (s *shard) mayReplay(r *replay) bool {
	c := r.Client
	switch {
	case c.state != stateOpen:
		return true
	case s.stillSlow(c):
		return c.state != stateOpen
	case r.Op != order.OpJoined:
		return true
	}
	a := r.Local.audience(c.form())
	return a == nil || len(a.waiting) == 0
}

// replay answers a client.
func (s *shard) replay(r *replay, late bool) {
	c, g := r.Client, r.Local
	was := s.culprit
	s.culprit = c
	defer func() { s.culprit = was }()
	if r.Op != order.OpJoined {
		s.answerHistory(r, late)
		return
	}
	missed, lost := s.missed(r)
	if g.log.waiting--; g.log.waiting == 0 {
		g.log = nil
	}
	g.asked--
	at := c.memberOf(g)
	wanted := at >= 0 && c.membership(at).standing == standingAsked
	switch {
	case wanted && late:
		s.hub.homes.Census.GiveBack(g.headcount)
		c.withdraw(at)
		s.giveUpIfEmpty(g)
		s.answerJoin(c, g, r.Asks, r.ID, refusedBusy, dialect.ErrBusy, nil)
	case wanted:
		s.enlist(c, at)
		s.answerJoin(c, g, r.Asks, r.ID, 0, "", s.pastOf(r, missed, lost))
	default:
		s.hub.homes.Census.GiveBack(g.headcount) // it has left meanwhile, or is dead
		if at >= 0 {
			c.withdraw(at)
		}
		s.giveUpIfEmpty(g)
		s.answerJoin(c, g, r.Asks, r.ID, 0, "", nil)
	}
}

// missed is what has come down since the home's answer; lost: not all of it is in the log any more.
func (s *shard) missed(r *replay) (log []*message, lost bool) {
	l := r.Local.log
	if r.from < l.dropped {
		return l.messages, true
	}
	return l.messages[r.from-l.dropped:], false
}

// pastOf is what an add_group is answered with.
func (s *shard) pastOf(r *replay, log []*message, lost bool) *dialect.Past {
	p := r.Past
	past := &dialect.Past{Top: position{Offset: p.Top.Offset, Epoch: uint64(p.Top.Epoch)}, WasRecovering: p.WasAsked}
	past.Since = past.Top
	past.Since.Offset -= uint64(len(p.Messages)) // offsets are dense
	bytes := 0
	for _, m := range log {
		bytes += m.Bytes()
		if m.Kept {
			past.Top.Offset = m.Offset
		}
	}
	if past.Recovered = p.Recovered && !lost && len(p.Messages)+len(log) <= s.bounds.RecoveryMax; !past.Recovered {
		return past
	}
	for _, m := range p.Messages {
		bytes += m.Bytes()
	}
	if past.Recovered = bytes <= s.bounds.OutboxBytesMax/2; past.Recovered {
		past.Messages = each(p.Messages, log)
	}
	return past
}

// each gives the messages of two lists as dialects take them.
func each(lists ...[]*message) iter.Seq[*dialect.Message] {
	return func(yield func(*dialect.Message) bool) {
		for _, list := range lists {
			for _, m := range list {
				if !yield(&m.Message) {
					return
				}
			}
		}
	}
}

// history asks the home to read what is kept of a group, which only members may.
func (s *shard) history(c *client, cmd *dialect.Command) dialect.ErrorCode {
	g := s.groupOf(c, cmd.Group)
	if g == nil {
		return dialect.ErrNotMember
	}
	r := request{Op: order.OpHistory, Local: g, Asks: cmd.ID != nil, Client: c, ID: string(cmd.ID)}
	r.Past = &order.Ask{HasSince: cmd.HasSince, Reverse: cmd.Reverse, Limit: cmd.Limit, Since: order.Position{Offset: cmd.Since.Offset, Epoch: order.Epoch(cmd.Since.Epoch)},
		MessagesMax: s.bounds.RecoveryMax, BytesMax: s.bounds.OutboxBytesMax / 2}
	if !s.request(int(g.home), r) {
		count(&s.count.RefusedBy, refusedBusy)
		return dialect.ErrBusy
	}
	g.asked++ // it is not given up before the home has answered
	return ""
}

// answerHistory answers who has asked to read a group's history.
func (s *shard) answerHistory(r *replay, late bool) {
	r.Local.asked--
	s.giveUpIfEmpty(r.Local)
	var code dialect.ErrorCode
	switch {
	case late:
		count(&s.count.RefusedBy, refusedBusy)
		code = dialect.ErrBusy
	case r.Past.NoHistory:
		code = dialect.ErrNotAvailable
	case r.Past.Lost:
		code = dialect.ErrUnrecoverable
	default:
		past := &dialect.Past{Top: position{Offset: r.Past.Top.Offset, Epoch: uint64(r.Past.Top.Epoch)}, Messages: each(r.Past.Messages)}
		s.answer(r.Client, dialect.Outcome{What: dialect.Read, Verb: dialect.History, ID: borrowBytes(r.ID), Past: past})
		return
	}
	s.answer(r.Client, dialect.Outcome{What: dialect.Refused, Verb: dialect.History, Group: r.Local.name, ID: borrowBytes(r.ID), Code: code})
}
