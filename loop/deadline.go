package loop

import "ringcast/wsproto"

// deadlines are a shard's clients that must have left a state by some tick: those in the handshake and in a close. They
// stand in a list, and not with the clients, because most clients have none. Few stand in it beside the open ones, so all
// are looked at in each tick.
//
// Owner: the loop.
type deadlines struct {
	list []deadline
	left bool // some have passed, and wait for the next turn
}

// deadline is one client's.
type deadline struct {
	client *client
	since  uint32 // tick at which it was given; what time there was then, a reload may have changed
	tick   uint32
	state  state
}

// add gives a client so many ticks from now to leave the state that it is in.
func (d *deadlines) add(c *client, now, ticks uint32) {
	d.list = append(d.list, deadline{client: c, since: now, tick: now + ticks, state: c.state})
}

// truncate lets go of all but the first n.
func (d *deadlines) truncate(n int) {
	clear(d.list[n:])
	d.list = d.list[:n]
}

// endLate ends who is in a handshake or a close for too long, and takes closing clients on whose outbox has emptied.
// Clients that came together are late together, so of those a turn ends a slice, and a kick goes on.
func (s *shard) endLate() {
	kept, ends := 0, 0
	s.deadlines.left = false
	for i := 0; i < len(s.deadlines.list); i++ { // by index: whoever is answered here gets a new deadline, behind the others
		d := s.deadlines.list[i]
		c, late := d.client, int32(s.tick-d.tick) >= 0
		if c.state != d.state {
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
		case d.state == stateClosing && late:
			if !s.settleLate(c) {
				d.tick = s.tick + s.bounds.closeTicks
			}
		case d.state == stateClosing:
			s.settle(c)
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

// endHandshake ends one that has taken too long, or that is the oldest of too many.
func (s *shard) endHandshake(c *client, evicted bool) {
	outcome, why := handshakeTimeout, wsproto.RejectTimeout.Reason
	if evicted {
		outcome, why = handshakeEvicted, "too many handshakes are unfinished, and this is the oldest"
	}
	count(&s.count.Handshakes, outcome)
	s.explain(c, 408, why)
	s.answerHTTP(c, wsproto.RejectTimeout.AppendTo(nil))
	if evicted {
		s.doom(c) // room is wanted now; and what it has sent was read, so the answer is not lost
	}
}
