package loop

import (
	"bytes"
	"maps"
	"slices"

	"ringcast/dialect"
	"ringcast/loop/order"
)

// This file is the groups that the token of a client that connects names: it becomes a member of each, without a word of its own, and the
// reply to its connect has them, with what it has missed there.
//
// The reply is the first thing that the client hears, and nothing of a group comes before it. So the client becomes a member of none of
// them until all homes have answered: each answer waits as a replay, whose group keeps a log meanwhile. What the client says meanwhile is
// put off, and done behind the reply. After replayTicks the reply comes without the groups that are not decided, or not caught up; those
// that have refused the client are left out of it as well.

// welcome is a client whose connect waits to be answered. It is a replay in its shard's queue.
//
// Owner: the loop.
type welcome struct {
	client    *client
	id        []byte   // of its connect
	undecided int      // groups whose homes have not answered
	replays   []replay // the answers of the others, but for refusals
	ready     int      // of these, that may be told
	later     []putOff // what it has said meanwhile
	bytes     int      // of that
}

// putOff is a message of a client, or what is left of one, that waits.
type putOff struct {
	payload []byte
	binary  bool
}

// welcomes are those of a shard.
//
// Owner: the loop.
type welcomes struct {
	pending int
	bytes   int // that clients have said meanwhile
}

const (
	// putOffBytesMax bounds what clients of a loop have said while they wait for the reply to their connect. What exceeds it closes its
	// client as busy.
	putOffBytesMax = 8 << 20
	// putOffBytes is what a message that waits counts beside its own bytes.
	putOffBytes = 64
)

// invite has a client that connects ask to be a member of the groups that its token names. waits: it is answered when that is decided.
func (s *shard) invite(c *client, cmd *dialect.Command) (waits bool) {
	b := s.bearer(c)
	if b.token() == nil || len(b.token().Groups) == 0 {
		return false
	}
	w := &welcome{client: c, id: bytes.Clone(cmd.ID)}
	b.welcome = w
	s.bearers.welcomes.pending++
	for _, group := range slices.Sorted(maps.Keys(b.grant.token.Groups)) {
		ask, code := dialect.Command{Verb: dialect.AddGroup, Group: []byte(group)}, dialect.ErrorCode("")
		ask.Since, ask.Recover = cmd.Resume[group]
		switch {
		case len(group) > s.bounds.GroupBytesMax:
			code = dialect.ErrBadGroupID
		case !s.mayJoinMore(c):
			code = dialect.ErrTooManyGroups
		default:
			code = s.bring(c, s.groups.Get(group), &ask, nil)
		}
		if code != "" {
			s.noteRefused(c, dialect.AddGroup, ask.Group, code)
		}
		if code == dialect.ErrTooManyGroups {
			break // and so are all others
		}
	}
	if w.undecided == 0 {
		s.bearers.welcomes.pending, b.welcome = s.bearers.welcomes.pending-1, nil
		return false
	}
	s.replays.queue, s.replays.unready = append(s.replays.queue, replay{delivery: delivery{Client: c}, since: s.tick, welcome: w}), 0
	s.replays.weight += replayWords
	return true
}

// bring has a client that has not asked for it become a member of a group, whoever may join it, but for what is another app's. g and in are
// those of seek.
func (s *shard) bring(c *client, g *group, cmd *dialect.Command, in *grant) dialect.ErrorCode {
	if s.shuts(c, cmd.Group) {
		count(&s.count.RefusedBy, refusedForbidden)
		return dialect.ErrForbidden
	}
	w := s.welcomeOf(c)
	if w == nil {
		return s.seek(c, g, cmd, in, traitServed)
	}
	code := s.seek(c, g, cmd, in, traitWelcomed)
	if code == "" {
		w.undecided++
	}
	return code
}

// welcomeOf is c's welcome; nil: its connect does not wait.
func (s *shard) welcomeOf(c *client) *welcome {
	if s.bearers.welcomes.pending > 0 {
		if b := s.bearer(c); b.connection() != nil {
			return b.welcome
		}
	}
	return nil
}

// invited is the welcome that waits for a home's answer; nil: none does.
func (s *shard) invited(d *delivery) *welcome {
	w := s.welcomeOf(d.Client)
	if w == nil {
		return nil
	}
	if at := d.Client.memberOf(d.Local); at < 0 || d.Client.membership(at).traits&traitWelcomed == 0 {
		return nil
	}
	return w
}

// waits says whether a home's answer, which has just come, is acted on later.
func (s *shard) waits(d *delivery) bool {
	switch d.Op {
	case order.OpHistoryRead, order.OpPresent, order.OpCounted:
		return true
	}
	if w := s.invited(d); w != nil {
		w.undecided--
		s.replays.unready = 0
		return d.Op == order.OpJoined
	}
	return d.Past != nil && (s.entry(d.Client).Positions || d.Past.Present != nil || d.Past.HasCached)
}

// putOff keeps what a client says before its connect is answered; false: there is nothing to wait for.
func (s *shard) putOff(c *client, payload []byte, binary bool) bool {
	w := s.welcomeOf(c)
	if w == nil {
		return false
	}
	n := len(payload) + putOffBytes
	switch {
	case c.state != stateOpen:
	case w.bytes+n > s.bounds.MessageBytesMax+putOffBytes: // one message has room, whatever it is
		s.close(c, dialect.CauseCommandRate)
	case s.bearers.welcomes.bytes+n > putOffBytesMax:
		count(&s.count.RefusedBy, refusedBusy)
		s.close(c, dialect.CauseBusy)
	default:
		w.later = append(w.later, putOff{payload: bytes.Clone(payload), binary: binary})
		w.bytes += n
		s.bearers.welcomes.bytes += n
	}
	return true
}

// mayWelcome says whether all that a welcome waits for is decided and may be told.
func (s *shard) mayWelcome(w *welcome) bool {
	for w.undecided == 0 && w.ready < len(w.replays) && w.replays[w.ready].caughtUp() {
		w.ready++
	}
	return w.undecided == 0 && w.ready == len(w.replays)
}

// endWelcome answers a connect, and does what was put off. late: what is not decided is given up.
func (s *shard) endWelcome(w *welcome, late bool) {
	c := w.client
	s.bearers.welcomes.pending--
	s.bearers.welcomes.bytes -= w.bytes
	var data map[string][]byte
	if b := s.bearer(c); b != nil { // else it is buried
		b.welcome, data = nil, b.grant.token.Data
	}
	defer s.refuseRest(w) // of a panic
	var served []dialect.Served
	var logs [][]*message
	for room, behind := s.bounds.OutboxBytesMax/2, s.bounds.OutboxBytesMax/4; len(w.replays) > 0; {
		r := &w.replays[0]
		in := dialect.Served{Group: r.Local.name, Data: data[r.Local.name]}
		busy := late && !r.caughtUp()
		if r.Past != nil && !busy {
			in.Past = s.pastWithin(r, &room)
		}
		log, ok := s.endInvitation(w, busy, in.Past, &behind)
		if ok {
			served, logs = append(served, in), append(logs, log)
		}
	}
	if late {
		s.giveUpInvitations(c)
	}
	s.tellConnected(c, w.id, served)
	for i := range logs {
		if c.state == stateOpen {
			s.catchUp(c, s.groups.Get(served[i].Group), logs[i])
		}
	}
	for _, said := range w.later {
		if c.state == stateOpen {
			s.commands(c, said.payload, said.binary)
		}
	}
}

// endInvitation ends the first of a welcome's replays: the client becomes a member, or is refused as busy. It returns what it is to be
// sent behind the reply, of which there may be so many bytes; joined is false if it is no member.
func (s *shard) endInvitation(w *welcome, busy bool, past *dialect.Past, behind *int) (log []*message, joined bool) {
	r := w.replays[0]
	w.replays = w.replays[1:]
	s.replays.weight -= r.weight()
	log, lost := s.leaveLog(&r)
	bytes := 0
	for _, m := range log {
		bytes += m.Bytes()
	}
	if busy || lost || bytes > *behind {
		s.conclude(&r.delivery, refusedBusy, dialect.ErrBusy, nil)
		return nil, false
	}
	c := w.client
	if at := c.memberOf(r.Local); at >= 0 && c.membership(at).traits&traitOusted != 0 {
		s.renounce(c, at) // it has not heard that it is one
	}
	if !s.conclude(&r.delivery, 0, "", past) {
		return nil, false
	}
	*behind -= bytes
	if past != nil {
		s.noteBack(c, r.Local, past, len(r.Past.Messages))
		if past.Recovered {
			s.count.Deliveries.Add(uint64(len(r.Past.Messages)))
		}
	}
	return log, true
}

// pastWithin is what a client is told of a group's past, or the position alone where the rest would exceed the room that there is.
func (s *shard) pastWithin(r *replay, room *int) *dialect.Past {
	past := pastOf(r.Client, r.Past)
	if past.Messages == nil {
		return past
	}
	n := bytesMax(past)
	if n > *room && r.Client.state == stateOpen {
		n = len(s.dialect(r.Client).Answer(nil, dialect.Outcome{What: dialect.OK, Verb: dialect.AddGroup, ID: noID, Past: past}))
	}
	if n > *room {
		return positionOf(past, true)
	}
	*room -= n
	return past
}

// noID is an id for an answer that is only measured. Read only.
var noID = []byte("0")

// giveUpInvitations has a client not want to be a member of the groups that its welcome has waited for in vain. Their homes' answers give
// its places back.
func (s *shard) giveUpInvitations(c *client) {
	for at := range c.groupCount() {
		m := c.membership(at)
		if m.standing != standingAsked || m.traits&traitWelcomed == 0 {
			continue
		}
		m.traits &^= traitWelcomed | traitOusted
		count(&s.count.RefusedBy, refusedBusy)
		s.noteRefused(c, dialect.AddGroup, borrowBytes(m.group.name), dialect.ErrBusy)
		s.renounce(c, at)
	}
}

// refuseRest ends the replays that a welcome has still.
func (s *shard) refuseRest(w *welcome) {
	for none := 0; len(w.replays) > 0; {
		s.endInvitation(w, true, nil, &none)
	}
}
