package loop

import (
	"unsafe"

	"ringcast/wsproto"
)

// This file leads bytes to their meaning: input → request head or frames → commands → requests to homes.

// input takes what a client sent. All of p is used up; what is unfinished is kept in c.extra, within bounds.
func (s *shard) input(c *client, p []byte) {
	c.bytesIn += uint64(len(p))
	s.count.bytesIn.Add(uint64(len(p)))
	s.lastSeen[c.slot] = s.tick << 1
	if c.state == stateHandshake {
		p = s.handshake(c, p)
	}
	if len(p) > 0 && (c.state == stateOpen || c.state == stateClosing && c.is(markUpgraded)) {
		s.frames(c, p)
	}
}

// handshake reads the request head and returns the bytes behind it, which are the first frames.
func (s *shard) handshake(c *client, p []byte) (rest []byte) {
	data := p
	if c.extra != nil { // before the first frame it holds nothing but a head
		c.extra.head = append(c.extra.head, p...)
		data = c.extra.head
	}
	req, n, err := wsproto.ReadRequest(data)
	if err != nil {
		count(&s.count.handshakes, handshakeBad)
		r := s.rejection(err)
		s.explain(c, wsproto.StatusCode(r.Status), r.Reason)
		s.answerHTTP(c, r.AppendTo(nil))
		return nil
	}
	if n == 0 {
		began := c.extra == nil
		if began {
			c.extra = &extra{head: append([]byte(nil), p...)}
		}
		s.hold(c, cap(c.extra.head), began)
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
	count(&s.count.handshakes, handshakeOK)
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

// frames reads frames. A client that has nothing unfinished has no reader of its own: the shard's serves it, and is
// left to it when a message stays unfinished.
func (s *shard) frames(c *client, p []byte) {
	r := c.reader()
	own, began := r != nil, false
	if !own {
		r = s.reader
	}
	for len(p) > 0 && c.state <= stateClosing {
		n, ev := r.Next(p)
		p = p[n:]
		if ev.Kind != wsproto.EventNone {
			s.event(c, &ev)
			began = began || r.Idle() // what is unfinished in the end has begun since
		}
	}
	switch idle := r.Idle() || c.state > stateClosing; {
	case idle && own:
		s.dropInput(c)
		s.keepReader(r)
	case idle:
		r.Reset()
	case !own:
		c.more().reader = r
		s.reader = s.newReader()
		s.hold(c, readerBytes+r.Held(), true)
	default:
		s.hold(c, readerBytes+r.Held(), began)
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
		s.command(c, ev.Payload)
	case wsproto.EventPing:
		s.replyTo(c, wsproto.AppendPong(s.outFor(c), ev.Payload))
	case wsproto.EventClose:
		// RFC 6455 §5.5.1: answer a Close frame with one that has the same code.
		s.replyTo(c, wsproto.AppendClose(s.outFor(c), ev.Code, ""))
		s.closing(c)
		s.finish(c)
	case wsproto.EventFail:
		count(&s.count.protocolErrors, closeKindOf(ev.Code))
		s.close(c, ev.Code, ev.Reason)
	}
}

// command does what a message asks for. The seed's rule: without an id nothing is answered, and what is no command is
// ignored.
func (s *shard) command(c *client, payload []byte) {
	cmd, code := s.parser.Parse(payload)
	if cmd.ID != nil {
		c.marks |= markAsks
	}
	if code == "" {
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
	switch {
	case code == "":
	case cmd.ID != nil:
		s.replyTo(c, wsproto.AppendError(s.outFor(c), cmd.ID, code))
	// Refused, and no id to say so by: the client must hear it all the same.
	case code == wsproto.ErrBusy:
		s.close(c, wsproto.CloseTryAgainLater, "the server is busy, try again")
	case code == wsproto.ErrTooManyGroups:
		s.close(c, wsproto.ClosePolicyViolation, "too many groups")
	case code == wsproto.ErrStopping:
		s.close(c, wsproto.CloseGoingAway, "the server is stopping")
	}
}

// join makes c a member. The answer waits for the home's word where the home does not know of this loop's members yet:
// once the client has it, nothing that is accepted anywhere can miss it.
func (s *shard) join(c *client, name, id []byte) wsproto.ErrorCode {
	g := s.groups.m[string(name)]
	if g == nil {
		g = &group{name: string(name)}
		g.home = s.hub.homeOf(g.name)
		s.groups.put(g.name, g)
	}
	at := c.memberOf(g)
	already := at >= 0
	if !already && c.groupCount() >= s.bounds.groupsPerClient {
		s.giveUpIfEmpty(g)
		count(&s.count.refused, refusedGroupsPerClient)
		return wsproto.ErrTooManyGroups
	}
	// Become a member first: should the home's answer overtake nothing, the member must be there when it comes.
	if !already {
		if len(g.members) == 0 {
			s.count.groups.Add(1)
		}
		at = c.enrol(g)
		s.count.members.Add(1)
	}
	if g.interest == interestHeld {
		if id != nil {
			s.replyTo(c, wsproto.AppendOK(s.outFor(c), id))
		}
		return ""
	}
	if g.interest == interestAsked && id == nil {
		return ""
	}
	r := request{op: opJoin, group: g.name, local: g}
	if id != nil {
		r.client, r.id = c, string(id)
	}
	if !s.request(g.home, r) {
		if !already { // else an earlier add_group was accepted, and stays so
			s.part(c, at)
		}
		count(&s.count.refused, refusedBusy)
		return wsproto.ErrBusy
	}
	g.interest = interestAsked
	return ""
}

// quit takes c out of a group at once: whatever was gathered for the group goes to the others only. Leaving a group
// that one is not in is fine.
func (s *shard) quit(c *client, name, id []byte) wsproto.ErrorCode {
	if g := s.groups.m[string(name)]; g != nil {
		if at := c.memberOf(g); at >= 0 {
			s.part(c, at)
		}
	}
	if id != nil {
		s.replyTo(c, wsproto.AppendOK(s.outFor(c), id))
	}
	return ""
}

// part ends c's membership at a place.
func (s *shard) part(c *client, at int) {
	g := c.withdraw(at)
	s.count.members.Add(-1)
	if len(g.members) == 0 {
		s.count.groups.Add(-1)
	}
	s.giveUpIfEmpty(g)
}

// giveUpIfEmpty puts a group without members on the list of those that the turn releases. Not at once: who leaves and
// joins again in one breath should cost the home nothing.
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

// release tells the homes of groups without members so, and forgets the groups. It stops where the way to a home is
// full; then parking is not empty, so there will be another turn. The list holds each group once, so it needs no other
// bound.
func (s *shard) release() (moved bool) {
	done := 0
	for _, g := range s.idle {
		if len(g.members) == 0 {
			if g.interest != interestNone && !s.request(g.home, request{op: opLeave, group: g.name, local: g}) {
				break
			}
			g.interest = interestNone
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
