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
// all that waits in its audience, also what was said before the join. So the client becomes a member, and is answered, when only such
// messages wait there as have come since. Until then its group keeps a log of what comes down, and the client is sent, behind the
// answer, what a pass has taken of it:
//
//	position          join                                    now
//	   │   past         │      log          │    waits          │     live
//	───┴────────────────┴───────────────────┴───────────────────┴──────────►  the group's messages
//	   └── its answer ──┘└─ sent behind it ─┘└─ sent by the next pass ───────
//
// So the answer is the home's word, whatever comes meanwhile, and what the client itself has said behind its join is not lost to it.
//
// When a pass begins over an audience, nothing but what comes then waits there, so that comes soon, however much is said. Answers are
// made one after the other within the budget for passes, or one in a turn whose passes have used it up: ten thousand clients that come
// back together hold nobody up, and their answers never exist at the same time.
//
// Not each dialect tells positions. A client of one that does not becomes a member at once, as in a group without history.

// replay is a client that is to hear of a group's past.
type replay struct {
	delivery        // the home's answer
	since    uint32 // tick at which it came
	from     int    // OpJoined: place in the group's log, counted from the log's beginning

	welcome *welcome // the replay is of all groups that its client connects to; of the home's answer there is the client alone
}

type position = dialect.Position

// replays are those of a shard, oldest first.
//
// Owner: who holds the shard; a borrower reads whether there are any.
type replays struct {
	queue   []replay
	weight  int  // of the queue, see there
	resting bool // this turn makes none, or no more
	unready int  // how many were looked at, one after the other, since one may have become ready
}

// replayLog is what a group's members have been sent since the oldest of its replays came.
type replayLog struct {
	messages []*message
	bytes    int // of these
	dropped  int // how many were at its beginning before these
	waiting  int // replays of the group
}

const (
	// replayTicks is how long a replay may take: clients wait 5 s for an answer, and then connect anew.
	replayTicks = 20
	// replaysPerTurn bounds the replays that a turn looks at.
	replaysPerTurn = 256
	// replaysWeightMax bounds the replays of a loop, to about 8 MiB. Beyond it newcomers are refused as busy: whoever waits, nobody else
	// shall wait for them.
	replaysWeightMax = 1 << 20
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
	if s.replays.weight > replaysWeightMax || d.Op != order.OpJoined && d.Client.state == stateOpen && !s.hasRoom(d.Client) {
		s.replay(&r, true)
		return
	}
	if w := s.invited(d); w != nil {
		w.replays = append(w.replays, r)
	} else {
		s.replays.queue = append(s.replays.queue, r)
	}
	s.replays.weight, s.replays.unready = s.replays.weight+r.weight(), 0
}

// weight is the memory of a replay in words: its own, a pointer for each message, which the history has, and two words for each member.
func (r *replay) weight() int {
	if r.Past == nil {
		return replayWords
	}
	return replayWords + len(r.Past.Messages) + 2*len(r.Past.Present)
}

// replayWords is that of one without a past.
const replayWords = 17

// hasRoom says whether an answer of any size that there may be fits into a client's outbox: half of it for the answer, a quarter for
// what has been said since, and so no more than a quarter may wait there.
func (s *shard) hasRoom(c *client) bool {
	return !s.stillSlow(c) || c.state == stateOpen && c.conn.OutboundBuffered() <= s.bounds.OutboxBytesMax/4
}

// keep appends a message that has come down for the group's members. Of more bytes than most only the newest half is kept, and who
// has been waiting for the others is refused.
func (l *replayLog) keep(m *message, most int) {
	l.messages = append(l.messages, m)
	if l.bytes += m.Bytes(); l.bytes <= most {
		return
	}
	n := 0
	for ; l.bytes > most/2 && n < len(l.messages)-1; n++ {
		l.bytes -= l.messages[n].Bytes()
	}
	l.dropped += n
	rest := copy(l.messages, l.messages[n:])
	clear(l.messages[rest:])
	l.messages = l.messages[:rest]
}

// runReplays answers who can be answered, within the turn's budget. What is left is for a turn after a kick, or, where a client has to
// take what waits for it first, for the next tick.
func (s *shard) runReplays() (any bool) {
	rs := &s.replays
	switch {
	case len(rs.queue) == 0:
		return false
	case rs.resting:
		s.kick()
		return false
	}
	if s.passes.deadline == 0 {
		s.passes.deadline = s.env.now() + s.bounds.passNanos
	}
	for n := min(len(rs.queue), replaysPerTurn); n > 0 && !rs.resting; n-- {
		r := rs.queue[0]
		late := s.tick-r.since >= replayTicks
		ready := late || s.mayReplay(&r) // if that panics it is here still, and its client is not open any more
		rs.queue[0] = replay{}
		if rs.queue = rs.queue[1:]; !ready {
			rs.queue = append(rs.queue, r) // behind the others, which may be ready
			rs.unready++
			continue
		}
		any, rs.unready = true, 0
		rs.weight -= r.weight()
		s.replay(&r, late)
		rs.resting = s.env.now() >= s.passes.deadline
	}
	switch {
	case len(rs.queue) == 0:
		rs.queue = nil
	case rs.resting:
		s.passes.resting = true
		s.kick()
		s.env.yield()
	case rs.unready < len(rs.queue):
		s.kick()
	}
	return any
}

// mayReplay says whether a client can be answered now, or need not be any more.
func (s *shard) mayReplay(r *replay) bool {
	c := r.Client
	if c.state != stateOpen {
		return true
	}
	s.culprit = c
	room := s.hasRoom(c)
	s.culprit = nil
	switch {
	case !room:
		return c.state != stateOpen
	case r.welcome != nil:
		return s.mayWelcome(r.welcome)
	case r.Op != order.OpJoined:
		return !c.hasAsked(r.Local) // what only members are told is told behind the answer that makes it one, or does not
	}
	return r.caughtUp()
}

// caughtUp says whether nothing waits for the audience that a client is about to be in but what has come since the home's answer. It stays
// so.
func (r *replay) caughtUp() bool { return r.Local.waiting(r.Client) <= r.Local.log.since(r.from) }

// waiting is how many messages wait for the audience that a client is about to be in.
func (g *group) waiting(c *client) int {
	if at := c.memberOf(g); at >= 0 {
		if a := g.audience(c.form(), c.membership(at).hears()); a != nil {
			return len(a.waiting)
		}
	}
	return 0
}

// since is how many messages have come down since there were so many.
func (l *replayLog) since(from int) int { return l.dropped + len(l.messages) - from }

// replay answers a client.
func (s *shard) replay(r *replay, late bool) {
	c, g, was := r.Client, r.Local, s.culprit
	s.culprit = c
	switch {
	case r.welcome != nil:
		s.endWelcome(r.welcome, late)
	case r.Op == order.OpHistoryRead:
		s.answerHistory(r, late)
	case r.Op == order.OpPresent, r.Op == order.OpCounted:
		s.answerPresence(r, late)
	default:
		log, lost := s.leaveLog(r)
		var past *dialect.Past
		if lost = late || lost; !lost {
			past = s.pastFor(c, r)
		}
		switch {
		case lost:
			s.conclude(&r.delivery, refusedBusy, dialect.ErrBusy, nil)
		case r.refuses(past):
			s.conclude(&r.delivery, refusedPosition, dialect.ErrUnrecoverable, nil)
		case r.Past.Present != nil && past.Present == nil: // the list is too long for the client
			s.conclude(&r.delivery, refusedMembers, dialect.ErrTooManyMembers, nil)
		case s.conclude(&r.delivery, 0, "", past):
			s.noteBack(c, g, past, len(r.Past.Messages))
			if past.Recovered {
				s.count.Deliveries.Add(uint64(len(r.Past.Messages)))
			}
			s.catchUp(c, g, log)
		}
	}
	s.culprit = was // not deferred: who is to be closed for a panic must be known behind it
}

// leaveLog is what passes have taken since a home's answer, for the replay that ends; lost: not all of it is there any more.
func (s *shard) leaveLog(r *replay) (log []*message, lost bool) {
	g := r.Local
	log, lost = g.log.taken(r.from, g.waiting(r.Client))
	if g.log.waiting--; g.log.waiting == 0 {
		g.log = nil
	}
	return log, lost
}

// refuses says whether the client does not want to join with a past. What it has asked for last holds, whose answer has no messages.
func (r *replay) refuses(past *dialect.Past) bool {
	if again := r.Client.askedAgain(r.Local); again != nil {
		return again.orNone && past.Top.Epoch != 0
	}
	return r.Past.OrNone && !past.Recovered
}

// taken is what has come down since there were so many messages, but for those that wait for a pass still; lost: not all of it is
// there any more.
func (l *replayLog) taken(from, waiting int) (log []*message, lost bool) {
	if from < l.dropped {
		return nil, true
	}
	return l.messages[from-l.dropped : max(from-l.dropped, len(l.messages)-waiting)], false
}

// pastOf is what a client's add_group is answered with.
func pastOf(c *client, p *order.Past) *dialect.Past {
	past := &dialect.Past{Top: position{Offset: p.Top.Offset, Epoch: uint64(p.Top.Epoch)}, WasRecovering: p.WasAsked, Recovered: p.Recovered}
	if past.Since = past.Top; len(p.Messages) > 0 {
		past.Since.Offset = p.Messages[0].Offset - 1 // whatever number was asked from, nothing of the group lies between
	}
	if p.Recovered {
		past.Messages = each(p.Messages, c)
	}
	past.Present, past.HasCached = p.Present, p.HasCached
	if p.Cached != nil {
		past.Cached = &p.Cached.Message
	}
	return past
}

// pastFor is pastOf, or the position alone where the answer would be too large in the client's dialect, in which text may be several
// times as long as it was said.
func (s *shard) pastFor(c *client, r *replay) *dialect.Past {
	past := pastOf(c, r.Past)
	for o := (dialect.Outcome{What: dialect.OK, Verb: dialect.AddGroup, Group: r.Local.name, ID: borrowBytes(r.ID), Past: past}); !s.fits(c, o); {
		if past.Cached == nil {
			return positionOf(past, past.WasRecovering)
		}
		past.Cached, past.HasCached = nil, false // then the client hears neither that there is one nor that there is none
	}
	return past
}

// fits says whether an answer takes no more than half of an outbox. One that may be larger is encoded for that, and again when it is
// sent.
func (s *shard) fits(c *client, o dialect.Outcome) bool {
	if bytesMax(o.Past) <= s.bounds.OutboxBytesMax/2 || c.state != stateOpen {
		return true
	}
	o.Client = c.Number()
	return len(s.dialect(c).Answer(nil, o)) <= s.bounds.OutboxBytesMax/2
}

// bytesMax is more than an answer has for the messages of a past.
func bytesMax(p *dialect.Past) (most int) {
	of := func(m *dialect.Message) int { return 6*len(m.Wire) + answeredBytes + m.More.TextBytesMax() } // each byte may be escaped
	if p.Messages != nil {
		for m := range p.Messages {
			most += of(m)
		}
	}
	if p.Cached != nil {
		most += of(p.Cached)
	}
	for i := range p.Present {
		most += presentBytes + 3*p.Present[i].Who.TextBytesMax() // a JSON text in a string, in which a name stands twice
	}
	return most
}

// answeredBytes is more than what an answer has for each message beside its text.
const answeredBytes = 256

// positionOf is a past without what was missed, for one who has asked for that or has not; nil: there is nothing to tell.
func positionOf(p *dialect.Past, asked bool) *dialect.Past {
	switch {
	case p != nil:
		return &dialect.Past{Top: p.Top, WasRecovering: asked}
	case asked:
		return &dialect.Past{WasRecovering: true}
	}
	return nil
}

// catchUp sends a client that has just become a member what passes have taken since the home's answer. They send it the rest.
func (s *shard) catchUp(c *client, g *group, log []*message) {
	if len(log) > 0 {
		s.flushReplies() // the answer goes first
	}
	hears := c.membership(c.memberOf(g)).hears()
	for d := s.dialect(c); len(log) > 0 && c.state == stateOpen; {
		var batch []byte
		n, of := 0, cargo{group: g}
		for ; n < len(log); n++ {
			if log[n].Sort != dialect.Said && !hears || c.excepted(log[n]) {
				continue
			}
			frame, ready := log[n].Made(c.form(), d)
			if !ready { // another loop makes it, for which a pass would wait
				frame = d.Encode(&log[n].Message)
			}
			if of.messages > 0 && len(batch)+len(frame) > s.bounds.batchBytes {
				break
			}
			if len(frame) > 0 {
				batch = append(batch, frame...)
				of.messages++
				of.unkept = of.unkept || !holds(log[n])
			}
		}
		if log = log[n:]; of.messages == 0 {
			return
		}
		s.push(c, batch, of)
		if s.passes.undelivered == 0 {
			s.count.Deliveries.Add(uint64(of.messages))
			s.count.BytesOut.Add(uint64(len(batch)))
		}
		s.passes.undelivered = 0
	}
}

// each gives messages as dialects take them, but for those that leave a client out; nil: all.
func each(messages []*message, to *client) iter.Seq[*dialect.Message] {
	return func(yield func(*dialect.Message) bool) {
		for _, m := range messages {
			if (to == nil || !to.excepted(m)) && !yield(&m.Message) {
				return
			}
		}
	}
}
