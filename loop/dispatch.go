package loop

import (
	"unsafe"

	"ringcast/wsproto"
)

// This file leads bytes to their meaning: input → request head or frames → commands → requests to homes.

// input takes what a client sent. All of p is used up; partial input is kept in c.extra, within bounds.
func (s *shard) input(c *client, p []byte) {
	c.bytesIn += uint64(len(p))
	s.count.bytesIn.Add(uint64(len(p)))
	s.heartbeat.heard(c.slot, s.tick)
	if c.state == stateHandshake {
		p = s.handshake(c, p)
	}
	if len(p) > 0 && (c.state == stateOpen || c.state == stateClosing && c.is(markUpgraded)) {
		s.frames(c, p)
	}
}

// handshake reads the request head and returns the bytes behind it, which are the first frames.
func (s *shard) handshake(c *client, p []byte) (rest []byte) {
	data, kept := p, c.extra != nil && c.extra.head != nil
	if kept {
		c.extra.head = append(c.extra.head, p...)
		data = c.extra.head
	}
	from := c.source()
	if from != nil && from.awaits {
		client, n, err := wsproto.ReadProxy(data)
		if err != nil {
			s.reject(c, err)
			return nil
		}
		if n > 0 {
			from.awaits, from.told = false, true
			if !s.name(from, client) {
				s.turnAway(c, awayAddress, wsproto.RejectProxied)
				return nil
			}
			if data = data[n:]; kept {
				c.extra.head = data
			}
		}
	}
	var req wsproto.Request
	n := 0
	if from == nil || !from.awaits {
		var err error
		if req, n, err = wsproto.ReadRequest(data, s.bounds.handshakeBytes); err != nil {
			s.reject(c, err)
			return nil
		}
	}
	if n == 0 {
		if len(data) == 0 { // a PROXY protocol header, whole, and nothing behind it
			s.dropInput(c)
			return nil
		}
		if !kept {
			c.more().head = append([]byte(nil), data...)
		}
		s.keepPartial(c, cap(c.extra.head), !kept)
		return nil
	}
	s.dropInput(c)
	if !req.Upgrade {
		s.answerHTTP(c, s.route(&req))
		return nil
	}
	if s.hub.stopping.Load() {
		s.turnAway(c, awayStopping, wsproto.RejectStopping)
		return nil
	}
	if !s.bounds.allows(req.Origin) {
		count(&s.count.handshakes, handshakeOrigin)
		s.answerRejection(c, wsproto.RejectOrigin(req.Origin))
		return nil
	}
	if from != nil && from.trusted && !s.forwarded(from, req.ForwardedFor) {
		s.turnAway(c, awayAddress, wsproto.RejectProxied)
		return nil
	}
	if rate := s.bounds.handshakesPerSecond; rate > 0 && !s.hub.handshakes.allow(s.env.now(), rate) {
		s.turnAway(c, awayRate, wsproto.RejectRate)
		return nil
	}
	count(&s.count.handshakes, handshakeOK)
	s.unfinished--
	c.state, c.marks = stateOpen, c.marks|markUpgraded
	s.count.pending.Add(-1)
	s.count.clients.Add(1)
	s.replyTo(c, wsproto.AppendUpgrade(s.outFor(c), &req))
	return data[n:]
}

// turnAway refuses a connection whose request has been read.
func (s *shard) turnAway(c *client, why turnedAway, r *wsproto.Rejection) {
	count(&s.count.handshakes, handshakeAway)
	count(&s.count.refusedClients, why)
	s.answerRejection(c, r.After(retryAfter()))
}

// reject answers a head that is wrong.
func (s *shard) reject(c *client, err error) {
	count(&s.count.handshakes, handshakeBad)
	s.answerRejection(c, s.rejection(err))
}

func (s *shard) answerRejection(c *client, r *wsproto.Rejection) {
	s.explain(c, wsproto.StatusCode(r.Status), r.Reason)
	s.answerHTTP(c, r.AppendTo(nil))
}

// rejection is what the peer is told of a bad request head.
func (s *shard) rejection(err error) *wsproto.Rejection {
	if r, ok := err.(*wsproto.Rejection); ok {
		return r
	}
	return &wsproto.Rejection{Status: 400, Reason: "The request could not be read."}
}

// route answers plain HTTP: the demo page and a health check, nothing else. The admin side has an address of its own.
func (s *shard) route(req *wsproto.Request) []byte {
	head := req.Method == "HEAD"
	known := req.Path == "/healthz" || req.Path == "/" && s.hub.page != nil
	switch {
	case !known:
		count(&s.count.handshakes, handshakeBad)
		return wsproto.RejectNotFound(req.Path).AppendTo(nil)
	case req.Method != "GET" && !head:
		count(&s.count.handshakes, handshakeBad)
		return wsproto.RejectMethod(req.Method).AppendTo(nil)
	case req.Path == "/healthz":
		count(&s.count.handshakes, handshakeHTTP)
		return wsproto.AppendHTTP(nil, 200, "text/plain; charset=utf-8", []byte("ok\n"), head)
	default:
		count(&s.count.handshakes, handshakeHTTP)
		return wsproto.AppendHTTP(nil, 200, "text/html; charset=utf-8", s.hub.page, head)
	}
}

// frames reads frames. A client without partial input has no reader of its own: the shared one serves it, and is left to
// it when a message stays partial.
func (s *shard) frames(c *client, p []byte) {
	r := c.reader()
	own, began := r != nil, false
	if !own {
		r = s.readers.shared
	}
	for len(p) > 0 && c.state <= stateClosing {
		n, ev := r.Next(p)
		p = p[n:]
		if s.rates.on {
			s.chargeBytes(c, n)
		}
		if ev.Kind != wsproto.EventNone && c.state <= stateClosing {
			s.event(c, &ev)
			began = began || r.Idle() // what is partial in the end has begun since
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

// event acts on one thing that a client said.
func (s *shard) event(c *client, ev *wsproto.Event) {
	if c.state == stateClosing {
		if ev.Kind == wsproto.EventClose {
			s.finish(c) // the peer has answered our Close frame
		}
		return
	}
	switch ev.Kind {
	case wsproto.EventText, wsproto.EventBinary:
		s.count.messagesIn.Add(1)
		if s.hub.echo {
			s.echo(c, ev)
			return
		}
		s.command(c, ev.Payload)
	case wsproto.EventPing:
		if s.rates.on && !s.mayCommand(c, false) {
			s.closeRefused(c, wsproto.ErrRateLimited)
			return
		}
		s.replyTo(c, wsproto.AppendPong(s.outFor(c), ev.Payload))
	case wsproto.EventPong:
		if s.rates.on && !s.mayCommand(c, false) {
			s.closeRefused(c, wsproto.ErrRateLimited)
		}
	case wsproto.EventClose:
		s.answerClose(c, ev.Code)
	case wsproto.EventFail:
		count(&s.count.protocolErrors, closeKindOf(ev.Code))
		s.close(c, ev.Code, ev.Reason)
	}
}

// echo sends a message back as it came. What a conformance tool then talks to is, but for the commands, what serves.
func (s *shard) echo(c *client, ev *wsproto.Event) {
	op := wsproto.OpText
	if ev.Kind == wsproto.EventBinary {
		op = wsproto.OpBinary
	}
	s.replyTo(c, wsproto.AppendFrame(s.outFor(c), op, ev.Payload))
}

// command does what a message asks for. The seed's rule: without an id nothing is answered, and what is no command is
// ignored.
func (s *shard) command(c *client, payload []byte) {
	cmd, code := s.parser.Parse(payload)
	if cmd.ID != nil {
		c.marks |= markAsks
	}
	// Leaving is always possible: a group of a longer name may be from a time when the bound was another.
	if code == "" && len(cmd.Group) > s.bounds.groupBytes && cmd.Verb != wsproto.LeaveGroup {
		code = wsproto.ErrBadGroupID
	}
	if s.rates.on && !s.mayCommand(c, cmd.ID != nil) {
		code = wsproto.ErrRateLimited
	} else if code == "" {
		switch cmd.Verb {
		case wsproto.AddGroup:
			code = s.join(c, cmd.Group, cmd.ID)
		case wsproto.LeaveGroup:
			code = s.quit(c, cmd.Group, cmd.ID)
		case wsproto.SendToGroup:
			code = s.publish(c, &cmd)
		}
	} else if code == wsproto.ErrBadJSON || code == wsproto.ErrUnknownCmd {
		s.count.ignored.Add(1)
	} else {
		s.count.commandErrors.Add(1)
	}
	if cmd.Verb == wsproto.SendToGroup && (code == wsproto.ErrBusy || code == wsproto.ErrStopping || code == wsproto.ErrRateLimited) {
		s.count.refusedPublishes.Add(1)
	}
	switch {
	case code == "":
	case cmd.ID != nil:
		s.replyTo(c, wsproto.AppendError(s.outFor(c), cmd.ID, code))
	default:
		s.closeRefused(c, code)
	}
}

// closeRefused closes a client whose command was refused and had no id to say so by: it must hear it all the same. What
// was wrong, and not refused, is ignored.
func (s *shard) closeRefused(c *client, code wsproto.ErrorCode) {
	switch code {
	case wsproto.ErrBusy:
		s.close(c, wsproto.CloseTryAgainLater, "the server is busy, try again")
	case wsproto.ErrGroupsFull:
		s.close(c, wsproto.CloseTryAgainLater, "the server has as many groups as it may")
	case wsproto.ErrGroupFull:
		s.close(c, wsproto.ClosePolicyViolation, "the group has as many members as it may")
	case wsproto.ErrTooManyGroups:
		s.close(c, wsproto.ClosePolicyViolation, "too many groups")
	case wsproto.ErrRateLimited:
		s.close(c, wsproto.ClosePolicyViolation, "too many commands a second")
	case wsproto.ErrStopping:
		s.close(c, wsproto.CloseGoingAway, "the server is stopping")
	}
}

// publish encodes the message and sends it up to the group's home.
func (s *shard) publish(c *client, cmd *wsproto.Command) wsproto.ErrorCode {
	if s.hub.stopping.Load() {
		count(&s.count.refused, refusedStopping)
		return wsproto.ErrStopping
	}
	if s.hub.pressure.Load() != pressureNone {
		count(&s.count.refused, refusedMemory)
		return wsproto.ErrBusy
	}
	r := newPublish(cmd.Group, cmd.Message, cmd.ID)
	if cmd.ID != nil {
		r.client = c
	}
	if s.accepted++; sampled(s.accepted) {
		r.at = stampOf(s.env.now())
	}
	if !s.request(s.hub.homeOf(r.group), r) {
		count(&s.count.refused, refusedBusy)
		return wsproto.ErrBusy
	}
	return ""
}

// newPublish copies a publish out of borrowed memory and encodes its frame in the same stroke, all in one allocation:
//
//	[ frame header | message | group | id ]
func newPublish(group, message, id []byte) request {
	frameBytes := wsproto.TextFrameBytes(len(message))
	memory := make([]byte, 0, frameBytes+len(group)+len(id))
	memory = wsproto.AppendTextHeader(memory, len(message))
	memory = append(memory, message...)
	memory = append(memory, group...)
	memory = append(memory, id...)
	return request{
		op:    opPublish,
		frame: memory[:frameBytes:frameBytes],
		group: borrowString(memory[frameBytes : frameBytes+len(group)]),
		id:    borrowString(memory[frameBytes+len(group):]),
	}
}

// borrowString is a string over bytes that nobody will write again.
func borrowString(p []byte) string { return unsafe.String(unsafe.SliceData(p), len(p)) }

// borrowBytes is a view of a string that nobody may write through.
func borrowBytes(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }
