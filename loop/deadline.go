package loop

import "ringcast/wsproto"

// deadlines are the ticks by which clients of a shard must have left a state: the handshake, or closing; or, where the dialect has it
// so, must have connected. They are in a list of their own because most clients, the open ones, have none. The list is short, so each
// tick looks at all of it.
//
// Owner: the loop.
type deadlines struct {
	list []deadline
	left bool // some have passed that the last turn has left to the next

	expiring bool // the home of the loop's number may keep what it is to drop
}

// deadline is one client's.
type deadline struct {
	client *client
	since  uint32 // tick at which the client entered the state
	tick   uint32 // by which it must have left
	state  state
}

// add gives a client so many ticks from now to leave its state.
func (d *deadlines) add(c *client, now, ticks uint32) {
	d.list = append(d.list, deadline{client: c, since: now, tick: now + ticks, state: c.state})
}

// sooner has a deadline be no later than at a tick.
func (d *deadline) sooner(tick uint32) {
	if int32(tick-d.tick) < 0 {
		d.tick = tick
	}
}

// truncate drops all but the first n.
func (d *deadlines) truncate(n int) {
	clear(d.list[n:])
	d.list = d.list[:n]
}

// endLate ends clients that were in the handshake or closing for too long, or have not connected, and goes on with closing clients whose outbox has
// become empty. Clients that came together are late together, so a turn ends closesPerTurn of them, and a kick goes on.
func (s *shard) endLate() {
	kept, ends := 0, 0
	s.deadlines.left = false
	for i := 0; i < len(s.deadlines.list); i++ { // by index: a client that is answered here gets a new deadline at the end
		d := s.deadlines.list[i]
		c, late := d.client, int32(s.tick-d.tick) >= 0
		if c.state != d.state || d.state == stateOpen && c.is(markConnected) {
			continue
		}
		evicted := !late && d.state == stateHandshake && s.tooManyHandshakes() && s.mayEvict(d.since)
		late = late || evicted
		if late && ends == closesPerTurn {
			s.deadlines.left, late = true, false
		} else if late {
			ends++
		}
		switch {
		case d.state == stateHandshake && late:
			s.endHandshake(c, evicted)
		case d.state == stateOpen && late:
			s.close(c, s.lateCause(c))
		case d.state == stateClosing && late:
			if !s.settleLate(c) {
				d.tick = s.tick + s.closeTicks()
			}
		case d.state == stateClosing:
			was := c.end
			if s.settle(c); s.stop.begun && c.end != was { // its last bytes have just left
				d.tick = s.tick + s.closeTicks()
			}
		}
		if c.state == d.state {
			s.deadlines.list[kept] = d
			kept++
		}
	}
	s.deadlines.truncate(kept)
	if s.deadlines.left {
		s.kick()
	}
}

// endHandshake ends a handshake that has taken too long, or that is the oldest of too many.
func (s *shard) endHandshake(c *client, evicted bool) {
	if s.stop.begun {
		s.giveUpHandshake(c)
		return
	}
	outcome, how, why := handshakeTimeout, tlsLate, wsproto.RejectTimeout.Reason
	if evicted {
		outcome, how, why = handshakeEvicted, tlsEvicted, "too many handshakes are unfinished, and this is the oldest"
	}
	count(&s.count.Handshakes, outcome)
	if t := c.tunnel(); t != nil {
		s.endHello(t, how)
	}
	s.explain(c, 408, why)
	s.answerHTTP(c, wsproto.RejectTimeout.AppendTo(nil))
	if evicted {
		s.doom(c) // its place is needed now; and what it has sent was read, so the answer is not lost
	}
}
