package loop

import (
	"unsafe"

	"ringcast/dialect"
	"ringcast/loop/order"
	"ringcast/wsproto"
)

// This file turns a client's bytes into requests: bytes → request head or frames → commands → requests to homes.

// input reads what a client sent. All of p is used up; partial input is kept in c.extra, within bounds.
func (s *shard) input(c *client, p []byte) {
	s.takeUp()
	c.bytesIn += uint64(len(p))
	s.count.BytesIn.Add(uint64(len(p)))
	s.heartbeat.heard(c.slot, s.tick)
	if c.state == stateHandshake {
		p = s.handshake(c, p)
	}
	if len(p) > 0 && (c.state == stateOpen || c.state == stateClosing && c.is(markUpgraded)) {
		s.frames(c, p)
	}
}

// frames reads frames. A client without partial input has no reader of its own: the shared one reads for it, and becomes the
// client's when a message stays partial, or after a Close frame or a fault, as a finished reader is not idle.
func (s *shard) frames(c *client, p []byte) {
	r := c.reader()
	own, began := r != nil, false
	if !own {
		if r = s.readers.shared; c.deflates() {
			r.Inflate(s.readers.inflate())
		}
	}
	for len(p) > 0 && c.state <= stateClosing {
		n, ev := r.Next(p)
		p = p[n:]
		if s.rates.on {
			s.chargeBytes(c, n)
		}
		if ev.Kind != wsproto.EventNone && c.state <= stateClosing {
			s.event(c, &ev)
			began = began || r.Idle() // a message that is partial in the end has begun after this one
		}
	}
	switch idle := r.Idle() || c.state > stateClosing; {
	case idle && own:
		s.dropInput(c)
		s.readers.put(r)
	case idle:
		r.Reset()
	case !own:
		c.more().reader = r
		s.readers.replace()
		s.keepPartial(c, partialBytesOf(r), true)
	default:
		s.keepPartial(c, partialBytesOf(r), began)
	}
}

// event acts on one event of a reader.
func (s *shard) event(c *client, ev *wsproto.Event) {
	if c.state == stateClosing {
		if ev.Kind == wsproto.EventClose {
			s.finish(c) // the peer has answered our Close frame
		}
		return
	}
	switch ev.Kind {
	case wsproto.EventText, wsproto.EventBinary:
		s.count.MessagesIn.Add(1)
		if ev.Deflated && !s.inflated(c, ev) {
			return
		}
		if binary := ev.Kind == wsproto.EventBinary; s.bearers.welcomes.pending == 0 || !s.putOff(c, ev.Payload, binary) {
			s.commands(c, ev.Payload, binary)
		}
	case wsproto.EventPing:
		if s.rates.on && !s.mayCommand(c, false) {
			s.closeRefused(c, dialect.ErrRateLimited)
			return
		}
		s.replyTo(c, wsproto.AppendPong(s.outFor(c), ev.Payload))
	case wsproto.EventPong:
		if s.rates.on && !s.mayCommand(c, false) {
			s.closeRefused(c, dialect.ErrRateLimited)
		}
	case wsproto.EventClose:
		s.answerClose(c, ev.Code)
	case wsproto.EventFail:
		count(&s.count.ProtocolErrorsBy, closeKindOf(ev.Code))
		if ev.Code == wsproto.CloseMessageTooBig {
			s.close(c, dialect.CauseTooBig) // after a 1009 some clients never come back
			return
		}
		s.closeWith(c, ev.Code, ev.Reason)
	}
}

// commands does the commands of a message, one after the other. A command that closes the client is its last.
func (s *shard) commands(c *client, payload []byte, binary bool) {
	d := s.dialect(c)
	for n := 1; c.state == stateOpen; n++ {
		var cmd dialect.Command
		var code dialect.ErrorCode
		cmd, payload, code = d.Next(payload, binary)
		s.command(c, &cmd, code)
		switch {
		case len(payload) == 0, s.bearers.welcomes.pending > 0 && s.putOff(c, payload, binary):
			return
		case n >= commandsPerMessageMax+s.bounds.GroupsPerClient:
			s.close(c, dialect.CauseCommandRate)
		}
	}
}

// commandsPerMessageMax bounds the commands of a message, beside one for each group that a client may be in: who comes back joins all
// its groups with one message. Each command costs a microsecond or two, and more would keep the loop from its other clients.
const commandsPerMessageMax = 1024

// command does one command. It is answered, at once or when the home has decided, if it has an id; without one, as in the
// original, nothing is answered, and a message that is no command is ignored.
func (s *shard) command(c *client, cmd *dialect.Command, code dialect.ErrorCode) {
	if cmd.ID != nil {
		c.marks |= markAsks
	}
	if cmd.Verb == dialect.Connect || !c.is(markConnected) {
		s.connect(c, cmd)
		return
	}
	// Leaving is always possible: the client may have joined a group of a longer name when the bound was larger.
	if code == "" && len(cmd.Group) > s.bounds.GroupBytesMax && cmd.Verb != dialect.LeaveGroup {
		code = dialect.ErrBadGroupID
	}
	if s.rates.on && (code != "" || !s.subscribesAnew(c, cmd)) && !s.mayCommand(c, cmd.ID != nil) {
		code = dialect.ErrRateLimited
	} else if code == "" && s.entry(c).Channels {
		code = s.channelCommand(c, cmd)
	} else if code == "" && s.bounds.TokensOnly && cmd.Verb != dialect.Auth && !s.maySpeak(c) {
		code = dialect.ErrForbidden
	} else if code == "" {
		switch cmd.Verb {
		case dialect.AddGroup:
			code = s.join(c, cmd)
		case dialect.LeaveGroup:
			code = s.quit(c, cmd.Group, cmd.ID)
		case dialect.SendToGroup:
			code = s.publish(c, cmd)
		case dialect.Respond:
			s.answerOK(c, dialect.Respond, nil, cmd.ID)
		case dialect.Stats:
			code = s.stats(c, cmd)
		case dialect.History:
			code = s.history(c, cmd)
		case dialect.Presence:
			code = s.presence(c, cmd)
		case dialect.Auth:
			code = s.auth(c, cmd)
		case dialect.AuthGroup:
			code = s.authGroup(c, cmd)
		case dialect.Close:
			s.closeWith(c, cmd.Code, cmd.Reason)
		}
	} else if code == dialect.ErrBadJSON || code == dialect.ErrUnknownCmd {
		s.count.Ignored.Add(1)
	} else {
		s.count.CommandErrors.Add(1)
	}
	if cmd.Verb == dialect.SendToGroup {
		switch code {
		case dialect.ErrBusy, dialect.ErrStopping, dialect.ErrRateLimited, dialect.ErrForbidden:
			s.count.RefusedPublishes.Add(1)
		}
	}
	switch {
	case code == "":
	case cmd.Token != nil && s.closesFor(c, cmd.Verb, code):
	case cmd.ID != nil:
		s.noteRefused(c, cmd.Verb, cmd.Group, code)
		s.answerRefused(c, dialect.Outcome{What: dialect.Refused, Verb: cmd.Verb, Group: borrowString(cmd.Group), ID: cmd.ID, Code: code})
	default:
		s.noteRefused(c, cmd.Verb, cmd.Group, code)
		s.closeRefused(c, code)
	}
}

// connect is the first command of a client whose dialect has it so, and of no other. Before it nothing else may be said, and after it
// not again.
func (s *shard) connect(c *client, cmd *dialect.Command) {
	b := s.bearer(c)
	switch {
	case c.isGuest():
		s.count.Ignored.Add(1)
	case b.connection() != nil && b.deaf: // its library closes the connection, or endLate does
		s.count.Ignored.Add(1)
	case cmd.Verb == dialect.Close:
		s.closeWith(c, cmd.Code, cmd.Reason)
	case cmd.Verb != dialect.Connect || c.is(markConnected):
		s.count.CommandErrors.Add(1)
		s.close(c, dialect.CauseNotConnected)
	default:
		if code := s.introduce(c, cmd); code != "" {
			if !s.closesFor(c, cmd.Verb, code) {
				s.known(c).extend().deaf = true
				s.answer(c, dialect.Outcome{What: dialect.Refused, Verb: dialect.Connect, ID: cmd.ID, Code: code})
			}
			return
		}
		c.marks |= markConnected
		if !s.invite(c, cmd) {
			s.tellConnected(c, cmd.ID, nil)
		}
	}
}

// tellConnected answers a connect.
func (s *shard) tellConnected(c *client, id []byte, served []dialect.Served) {
	told := dialect.Outcome{What: dialect.OK, Verb: dialect.Connect, ID: id, Served: served}
	told.TTL = s.ttl(s.bearer(c).connection())
	if !c.is(markFramePings) { // else it would wait for pings of its dialect, which do not come
		told.Number = s.bounds.heartbeatSeconds()
	}
	s.answer(c, told)
}

// stats answers how many members a group has, which only they may ask. Who has asked to be one is answered when that is decided: SDKs
// that join, leave and join in one breath take the first answer for the last. How many users they are the home alone knows.
func (s *shard) stats(c *client, cmd *dialect.Command) dialect.ErrorCode {
	if g := s.groups.Get(string(cmd.Group)); g != nil {
		if s.kind(g).Presence {
			return s.askHome(c, cmd, order.OpCount, nil)
		}
		if at := c.memberOf(g); at >= 0 && c.membership(at).standing == standingAsked {
			return s.answerLater(c, g, repeat{id: string(cmd.ID), stats: true})
		}
		return s.answerStats(c, g, cmd.ID)
	}
	return dialect.ErrNotMember
}

// answerStats answers that to a member.
func (s *shard) answerStats(c *client, g *group, id []byte) dialect.ErrorCode {
	if at := c.memberOf(g); at < 0 || c.membership(at).standing != standingMember {
		return dialect.ErrNotMember
	}
	return s.answerMembers(c, g.name, dialect.Outcome{What: dialect.Members, Verb: dialect.Stats, ID: id, Number: uint64(g.headcount.Members())})
}

// closeRefused closes a client whose command was refused and had no id by which to answer: it must learn of it all the same. A
// command that was wrong, and not refused, is ignored.
func (s *shard) closeRefused(c *client, code dialect.ErrorCode) {
	switch code {
	case dialect.ErrBusy:
		s.close(c, dialect.CauseBusy)
	case dialect.ErrGroupsFull:
		s.close(c, dialect.CauseGroupsFull)
	case dialect.ErrUnavailable:
		s.close(c, dialect.CauseUnavailable)
	case dialect.ErrUnconfirmed:
		s.close(c, dialect.CauseUnconfirmed)
	case dialect.ErrGroupFull:
		s.close(c, dialect.CauseGroupFull)
	case dialect.ErrForbidden:
		s.close(c, dialect.CauseForbidden)
	case dialect.ErrTooManyGroups:
		s.close(c, dialect.CauseTooManyGroups)
	case dialect.ErrRateLimited:
		s.close(c, dialect.CauseCommandRate)
	case dialect.ErrStopping:
		s.close(c, s.stopCause(c))
	case dialect.ErrBadToken, dialect.ErrTokenExpired, dialect.ErrOtherToken:
		s.close(c, dialect.CauseBadToken)
	}
}

// maySpeak says whether c may do anything where only bearers of tokens may; else it is counted. Dialects that connect ask at their connect.
func (s *shard) maySpeak(c *client) bool {
	if s.hasToken(c) || s.entry(c).Connects {
		return true
	}
	count(&s.count.RefusedBy, refusedForbidden)
	return false
}

// publish copies the message and sends it to the group's home.
func (s *shard) publish(c *client, cmd *dialect.Command) dialect.ErrorCode {
	if s.bounds.guardsPublish && !s.mayPublish(c, cmd.Group) {
		return dialect.ErrForbidden
	}
	if s.hub.stopping.Load() {
		count(&s.count.RefusedBy, refusedStopping)
		return dialect.ErrStopping
	}
	if s.hub.pressure.Load() != pressureNone {
		count(&s.count.RefusedBy, refusedMemory)
		return dialect.ErrBusy
	}
	r := request{Op: order.OpPublish}
	r.Message, r.ID = order.NewMessage(cmd.Group, cmd.Message, cmd.ID, cmd.JSON)
	r.Client, r.Asks = c, cmd.ID != nil
	if cmd.Key != nil {
		r.Keyed(s.keyOf(c, cmd.Key))
	}
	entry := s.entry(c)
	named := entry.Named
	r.Soon = entry.Soon
	if c.is(markBearer) {
		named = s.sign(c, r.Message) || named
	}
	if cmd.Event != nil {
		s.asEvent(c, r.Message, cmd.Event)
	}
	if named {
		r.Message.SenderLoop, r.Message.SenderSerial = uint8(s.index), c.serial
	}
	if s.publishesTried++; sampled(s.publishesTried) {
		r.At = order.StampOf(s.env.now())
	}
	if !s.request(s.hub.homes.Of(r.Message.Group), r) {
		count(&s.count.RefusedBy, refusedBusy)
		return dialect.ErrBusy
	}
	if s.traces.on {
		s.tell(c, Trace{Kind: TracePublish, Group: borrowString(cmd.Group), Number: uint64(len(cmd.Message))})
	}
	return ""
}

// keyOf is the key that a client has given a publish, as homes know it. It is a key of the client's user, or of all clients that are none:
// else whoever guesses what another, or a backend, will say under which key could have that be taken for a repeat. What tokens and
// backends name is UTF-8, and so has no byte 0xff.
func (s *shard) keyOf(c *client, key []byte) string {
	return order.ClientKeyMark + s.bearer(c).user() + order.ClientKeyMark + string(key)
}

// tellRefused tells a client that its publish was refused when it had left this loop.
func (s *shard) tellRefused(d *delivery) {
	code, reason := dialect.ErrBusy, reasonLoud
	switch d.Why {
	case order.RefusedUnavailable:
		code, reason = dialect.ErrUnavailable, reasonUnavailable
	case order.RefusedUnconfirmed:
		code, reason = dialect.ErrUnconfirmed, reasonUnconfirmed
	case order.RefusedTooLarge:
		code, reason = dialect.ErrBadMessage, reasonTooLarge
	}
	s.note(d.Client, Trace{Kind: TraceRefuse, Code: string(code), Reason: reason})
	switch {
	case d.Asks:
		s.answerRefused(d.Client, dialect.Outcome{What: dialect.Refused, Verb: dialect.SendToGroup, ID: borrowBytes(d.ID), Code: code})
	case d.Why == order.RefusedTooLarge:
		s.close(d.Client, dialect.CauseTooBig)
	default:
		s.closeRefused(d.Client, code)
	}
}

// borrowBytes shares the memory of a string. Nobody may write it.
func borrowBytes(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// borrowString is a string over bytes that nobody writes while it is in use.
func borrowString(p []byte) string { return unsafe.String(unsafe.SliceData(p), len(p)) }
