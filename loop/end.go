package loop

import (
	"ringcast/dialect"
	"ringcast/loop/assert"
	"ringcast/wsproto"
)

// This file is the end of a connection. It has three steps: send the last bytes (a Close frame or an HTTP answer), let them reach
// the peer, cut. The middle step waits until the peer ends its direction too, because a close with unread input makes the kernel
// reset the connection and drop what was sent; and it has a deadline, because a hostile peer never ends.
//
//	                opened
//	                  │
//	                  ▼          upgrade (handshake.go)
//	              handshake ─────────────────────────► open
//	                  │                                 │
//	       answerHTTP │        close: our Close frame   │
//	                  │  answerClose: the peer's, back  │
//	                  ▼                                 │
//	               closing ◄────────────────────────────┘
//	                  │
//	  settle, endLate │  ◄─── from every state above: doom, for a send that failed, a client that is cut off
//	                  ▼       to free memory, a handshake that is evicted or ends with the server
//	               doomed
//	                  │
//	            sweep │  ◄─── from every state above: closed, the peer or the network has ended it;
//	                  │       from handshake: depart, the HTTP server has it (departure.go)
//	                  ▼
//	                dead
//	                  │ sweep
//	                  ▼
//	           bury: forgotten
//
//	state       waits for                                          if that does not come
//	handshake   the whole request head                             endLate: 408 after handshakeTicks, sooner if too many wait;
//	                                                               503 within 1 s once the server stops
//	open        what the client sends                              pingSilent: 1001 after twice heartbeatTicks of silence
//	closing     1. its outbox to empty, which endLate looks at     endLate: cut after closeTicks, in 1 and in 2;
//	               each tick; then shut our direction              a server that stops gives 1 all the time that it has
//	            2. the peer to shut its own: closed;
//	               or its Close frame: finish, cut once 1 is done
//	doomed      the turn's next sweep, as no member may be removed while a pass walks over the members
//	dead        likewise
//
// The steps within closing are client.end. What comes in then is read for the Close frame alone, and nothing new goes out. Where
// the client was closed for a broken frame or in the middle of a message (giveUpOn), or where it sent its Close frame first, its
// reader is finished and sees no Close frame: only the peer's end of the stream or the deadline ends it.

// ends is a shard's clients that the next sweep ends.
//
// Owner: the loop.
type ends struct {
	doomed []*client // to be cut by the next sweep
	dead   []*client // to be buried by it, or soon, see buryDead
	buried int       // so many at the beginning of dead have been
	budget int       // burials, and groups left by them, that this turn may still do
}

// endsWait says whether there is something to sweep in this turn.
func (s *shard) endsWait() bool {
	e := &s.ends
	return len(e.doomed) > 0 || len(e.dead) > 0 && e.budget > 0 && !s.enoughOwed()
}

// become takes a client on to a later state.
func (s *shard) become(c *client, to state) {
	assert.That(c.state < to, "shard: a client's state goes back")
	if c.state == stateHandshake {
		s.handshaking--
	}
	c.state = to
}

// close ends a client for a cause that its dialect has a code for.
func (s *shard) close(c *client, why dialect.Cause) {
	code, reason := s.dialect(c).Close(why)
	s.closeWith(c, code, reason)
}

// closeWith sends a Close frame; nothing else goes out after it. In the handshake it dooms, and sends nothing.
func (s *shard) closeWith(c *client, code wsproto.StatusCode, reason string) {
	if c.state >= stateClosing {
		return
	}
	if c.state == stateHandshake {
		s.doom(c)
		return
	}
	if s.replies.to == c {
		s.flushReplies()
		if c.state >= stateClosing {
			return
		}
	}
	s.explain(c, code, reason)
	count(&s.count.Closes, closeKindOf(code))
	s.closing(c)
	var frames [dialect.GapBytesMax + 2 + 2 + 123 + 2]byte
	s.last(c, wsproto.AppendClose(s.takeGap(c, frames[:0]), code, reason))
}

// explain notes why the server closes a client, and logs it, if that is logged. It is at level debug, and clients that end by themselves
// are not logged, because clients could else fill the log as fast as they connect.
func (s *shard) explain(c *client, code wsproto.StatusCode, reason string) {
	s.noteClose(c, code, reason)
	if s.env.ended != nil {
		s.env.ended(c, code, reason)
	}
}

// answerClose answers a Close frame of the peer with one that has the same code (RFC 6455 §5.5.1). It does not cut before
// the peer has ended its side (§7.1.1): if the peer sent anything more, a reset would drop what it has not read yet.
func (s *shard) answerClose(c *client, code wsproto.StatusCode) {
	if s.traces.on {
		s.tell(c, Trace{Kind: TraceClose, Code: codeText(code), Reason: reasonEnded})
	}
	s.replyTo(c, wsproto.AppendClose(s.outFor(c), code, ""))
	s.flushReplies()
	if c.state == stateOpen {
		s.closing(c)
		s.settle(c)
	}
}

// answerHTTP sends an HTTP response and ends the connection. Whose TLS handshake is not done is cut: it could read no answer, and an
// alert would tell it no more than the end does.
func (s *shard) answerHTTP(c *client, response []byte) {
	if s.dropInput(c); c.isDeaf() {
		s.endHello(c.tunnel(), tlsFailed)
		s.doom(c)
		return
	}
	s.closing(c)
	s.last(c, response)
}

// last sends a client's last bytes, also beyond the outbox's bound: they are few, and the client must be told.
func (s *shard) last(c *client, p []byte) {
	c.bytesOut += uint64(len(p))
	s.count.BytesOut.Add(uint64(len(p)))
	s.write(c, p)
	if c.state == stateClosing {
		s.settle(c)
	}
}

// closing begins the end: no message is sent any more, and there is a deadline.
func (s *shard) closing(c *client) {
	s.become(c, stateClosing)
	s.deadlines.add(c, s.tick, s.closeTicks())
}

// finish is called when the peer has answered our Close frame: cut as soon as the outbox is empty.
func (s *shard) finish(c *client) {
	c.end = endTheirs
	s.settle(c)
}

// settle goes on with a closing client whose outbox is empty: it cuts it if the peer has answered our Close frame, else shuts our
// direction of the stream down, so that the peer sees that nothing more comes and ends its own, with a Close frame or without.
func (s *shard) settle(c *client) {
	if s.stillSlow(c) || c.state != stateClosing {
		return
	}
	switch c.end {
	case endTheirs:
		s.doom(c)
	case endNone:
		if s.endTunnel(c); c.isSlow() || c.state != stateClosing {
			return // close_notify waits as all else does
		}
		c.end = endOurs
		s.env.shut(int(c.fd))
	}
}

// settleLate cuts a closing client whose time is over; false: it has more time.
func (s *shard) settleLate(c *client) (cut bool) {
	if s.stop.begun && (s.stillSlow(c) || c.end == endNone) {
		s.settle(c)
		return c.state != stateClosing // Stop's context is the deadline for its last bytes
	}
	s.count.EndsCut.Add(1)
	s.doom(c)
	return true
}

// doom has a client cut at the next sweep.
func (s *shard) doom(c *client) {
	if c.state < stateDoomed {
		s.become(c, stateDoomed)
		s.ends.doomed = append(s.ends.doomed, c)
		s.slow.drop(c) // its outbox does not count any more
	}
}

// closed is called when a connection is gone. That may be inside another callback, because a write that fails closes; then it
// only notes it, and the turn of that callback buries the client.
func (s *shard) closed(c *client) {
	if s.callback.running() {
		s.gone(c)
		return
	}
	s.beginCallback(nil)
	defer s.endCallback()
	if s.gone(c) {
		s.turn()
	}
}

// gone notes that a connection is gone; false: that is known.
func (s *shard) gone(c *client) bool {
	if c.state == stateDead {
		return false
	}
	if c.state == stateHandshake {
		count(&s.count.Handshakes, handshakeGone)
	}
	if s.traces.on && c.state == stateOpen {
		s.tell(c, Trace{Kind: TraceClose, Reason: reasonGone})
	}
	s.die(c)
	return true
}

// die notes that a client's connection is gone.
func (s *shard) die(c *client) {
	s.become(c, stateDead)
	if c.isSecure() {
		s.forsake(c)
	}
	s.ends.dead = append(s.ends.dead, c)
	s.slow.forget(c) // its outbox is gone; until it is buried others would be cut off for what that has had
}

// sweep cuts the doomed and buries dead ones. Cutting calls closed, which appends to the dead.
func (s *shard) sweep() {
	for i := 0; i < len(s.ends.doomed); i++ {
		if c := s.ends.doomed[i]; c.state == stateDoomed {
			s.endDoomed(c)
			if c.state == stateDoomed {
				s.env.cut(c.socket())
			}
			if c.state != stateDead { // the connection was gone, and gnet did not call closed
				s.die(c)
			}
		}
	}
	clear(s.ends.doomed)
	s.ends.doomed = s.ends.doomed[:0]
	s.buryDead()
}

// buryDead buries as many as a turn's budget allows: with the connection of a proxy a hundred thousand clients may go at once, each of a
// thousand groups. What their homes are to be told waits in owed, which is kept short, so the rest is also left where that has to wait for
// room in lanes. Who is dead is sent nothing meanwhile, but has its place in groups until it is buried.
func (s *shard) buryDead() {
	e := &s.ends
	for e.buried < len(e.dead) && s.endsWait() {
		c := e.dead[e.buried]
		e.dead[e.buried] = nil // before bury: if that panics, no client is buried twice
		if c != nil && !s.bury(c) {
			e.dead[e.buried] = c
			break
		}
		e.buried++
	}
	if 2*e.buried >= len(e.dead) { // not when all have been: it may be long until nobody is left
		rest := copy(e.dead, e.dead[e.buried:])
		clear(e.dead[rest:])
		e.dead, e.buried = e.dead[:rest], 0
	}
	if len(e.dead) > 0 && e.budget <= 0 {
		s.kick()
	}
}

// bury takes a dead client out of all tables, as the original's onClose does; else they would grow for ever. done: that took no more
// than the turn may do; else it is called again.
func (s *shard) bury(c *client) (done bool) {
	if s.ends.budget, done = s.forget(c, s.ends.budget); !done {
		return false
	}
	s.ends.budget--
	s.forgetBearer(c)
	s.rates.events.forget(c)
	s.unseat(c.source())
	if c.isGuest() {
		s.forgetGuest()
	}
	s.partials.drop(c)
	c.extra = nil
	s.replies.drop(c)

	gap, last := s.fillGap(c.slot), len(s.clients)-1
	if int(gap) != last {
		s.clients[gap] = s.clients[last]
		s.clients[gap].slot = gap
		s.bearers.of.move(uint32(last), gap)
	}
	s.clients[last] = nil
	s.clients = s.clients[:last]
	s.heartbeat.drop(gap)
	s.rates.drop(gap)
	if cap(s.clients) > clientsKeptMin && last < cap(s.clients)/4 {
		s.clients = append(make([]*client, 0, cap(s.clients)/2), s.clients...)
	}

	if last == 0 { // the clock does not wake a loop without clients
		s.deadlines.truncate(0)
	}
	if c.is(markUpgraded) {
		s.count.Clients.Add(-1)
		if c.deflates() {
			s.count.DeflateClients.Add(-1)
		}
	} else {
		s.count.Pending.Add(-1)
	}
	if c.end != endLeft { // then its place among the connections went along, as its source did
		s.hub.gone()
	}
	return true
}

// clientsKeptMin is the capacity below which the table of clients is not made smaller.
const clientsKeptMin = 1024

// closesPerTurn bounds the clients that closeSlice closes in a turn, and those that a turn ends because they are late.
const closesPerTurn = 256
