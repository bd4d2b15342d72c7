package loop

import "ringcast/wsproto"

// This file is everything that happens because time passes. Time is a number of ticks that the hub counts; a server
// that was stopped by SIGSTOP for an hour has aged by nothing, so its clients are not all dead when it goes on.

// advance looks at the clock and, once per tick, at deadlines and heartbeats.
func (s *shard) advance() {
	now := s.hub.clock.Load()
	if now == s.tick {
		if s.overdue {
			s.deadlines()
		}
		return
	}
	s.tick = now
	if s.rates.on {
		s.rates.tick(s.env.now())
	}
	s.deadlines()
	s.endLatePartials()
	s.lookAtSlow()
	s.heartbeat()
}

// deadline is the tick at which a client must have left a state. It stands in a list of its shard, and not with the
// client, because most clients have none.
type deadline struct {
	client *client
	since  uint32 // tick at which it was given; what time there was then, a reload may have changed
	tick   uint32
	state  state
}

// time gives a client so many ticks to leave the state that it is in.
func (s *shard) time(c *client, ticks uint32) {
	s.timed = append(s.timed, deadline{client: c, since: s.tick, tick: s.tick + ticks, state: c.state})
}

// deadlines looks at every client in a handshake or a close, and takes those on whose outbox has emptied. These are few
// beside the open ones, so all are looked at in each tick. Clients that came together are late together, so of those a
// turn ends a slice, and a kick goes on.
func (s *shard) deadlines() {
	kept, ends := 0, 0
	s.overdue = false
	for i := 0; i < len(s.timed); i++ { // by index: whoever is answered here gets a new deadline, behind the others
		d := s.timed[i]
		c, late := d.client, int32(s.tick-d.tick) >= 0
		if c.state != d.state {
			continue
		}
		evicted := !late && d.state == stateHandshake && s.tooManyHandshakes() && s.mayEvict(d.since)
		late = late || evicted
		if late && ends == closesPerTurn {
			s.overdue, late = true, false
		} else if late {
			ends++
		}
		switch d.state {
		case stateHandshake:
			if late {
				outcome, why := handshakeTimeout, wsproto.RejectTimeout.Reason
				if evicted {
					outcome, why = handshakeEvicted, "too many handshakes are unfinished, and this is the oldest"
				}
				count(&s.count.handshakes, outcome)
				s.explain(c, 408, why)
				s.answerHTTP(c, wsproto.RejectTimeout.AppendTo(nil))
				if evicted {
					s.doom(c) // room is wanted now; and what it has sent was read, so the answer is not lost
				}
			}
		case stateClosing:
			switch {
			case late && s.stopping && s.stillSlow(c):
				d.tick = s.tick + s.bounds.closeTicks // how long a stop waits for its last bytes is up to who stops
			case late:
				s.count.endsCut.Add(1)
				s.doom(c)
			default:
				s.settle(c)
			}
		}
		if c.state == d.state {
			s.timed[kept] = d
			kept++
		}
	}
	clear(s.timed[kept:])
	s.timed = s.timed[:kept]
	if s.overdue {
		s.kick()
	}
}

// heartbeat pings clients that were silent for the interval and closes those that were silent for two. lastSeen is a
// dense array so that a scan of a million clients costs a millisecond and no timer wheel is needed; the scan takes a
// slice of it each tick.
func (s *shard) heartbeat() {
	interval := s.bounds.heartbeatTicks
	if interval == 0 || len(s.clients) == 0 {
		return
	}
	slices := min(max(interval/4, 1), heartbeatSlices)
	todo := len(s.clients)/int(slices) + 1
	pings := 0
	for ; todo > 0 && pings < pingsPerTickMax; todo-- {
		if s.beatFrom >= len(s.clients) {
			s.beatFrom = 0
		}
		at := s.beatFrom
		s.beatFrom++
		seen, pinged := s.lastSeen[at]>>1, s.lastSeen[at]&1 != 0
		silent := (s.tick - seen) & (1<<31 - 1)
		if silent < interval {
			continue
		}
		c := s.clients[at]
		if c.state != stateOpen {
			continue
		}
		switch {
		case silent >= 2*interval && pinged:
			s.count.heartbeatClosed.Add(1)
			s.close(c, wsproto.CloseGoingAway, "no sign of life")
			pings++
		case !pinged:
			s.lastSeen[at] |= 1
			s.replyTo(c, wsproto.AppendPing(s.outFor(c), nil))
			s.count.pings.Add(1)
			pings++
		}
	}
}

const (
	heartbeatSlices = 5     // ticks in which the whole table is scanned once
	pingsPerTickMax = 2_000 // per loop: a million clients that connected together are no burst of pings
)

// closeSlice closes the next clients of a server that stops: not all at once, so that what is accepted can still go
// out between the slices.
func (s *shard) closeSlice() {
	for n := 0; n < closesPerTurn && s.closeAt > 0; n++ {
		s.closeAt--
		if s.closeAt >= len(s.clients) {
			continue
		}
		switch c := s.clients[s.closeAt]; c.state {
		case stateOpen:
			s.close(c, wsproto.CloseGoingAway, "the server is stopping")
		case stateHandshake:
			// No waiting for its end: what it has sent was read, and a browser's spare connection never says a word.
			s.answerHTTP(c, wsproto.RejectStopping.After(retryAfter()).AppendTo(nil))
			s.doom(c)
		}
	}
	if s.closeAt > 0 {
		s.kick()
	}
}

// closesPerTurn bounds closeSlice and deadlines.
const closesPerTurn = 256
