package loop

import (
	"ringcast/dialect"
	"ringcast/loop/assert"
	"ringcast/loop/order"
)

// turn does what has gathered, in one order:
//
//	sweep    cut the doomed, bury the dead
//	work     host homes (up lanes), drain down lanes (gather), the backlog; tell homes of groups without members
//	wake     wake the loops that were given something
//	passes   send what has gathered, within the budget
//
// So a client is never closed while a members slice is walked, and a message that comes during a pass joins the next
// batch instead of making a pass of its own. A pass may doom clients, so the order is gone through until there is
// nothing left to do, or only passes that wait for a kick.
func (s *shard) turn() { s.act(!s.kicked) }

// act is a turn, which may be forbidden to make passes because a kick is under way that will.
func (s *shard) act(mayPass bool) {
	s.resting, s.relief.done = !mayPass, false
	s.advance()
	for _, f := range s.calls.take() {
		f(s)
	}
	if s.stop.begun {
		s.closeSlice()
	}
	if s.hub.outboxesOver() {
		s.relieve()
	}
	for {
		s.flushReplies()
		s.sweep()
		s.work()
		s.lanes.WakeOthers()
		s.flushReplies() // after WakeOthers: they begin while this loop writes
		if !s.runPasses() && !s.ends.waiting() {
			break
		}
	}
	assert.That(!s.ends.waiting(), "shard: a turn ended with clients unburied")
	show(&s.count.parkedBytes, s.backlog.bytes)
	show(&s.count.gatheredBytes, s.passes.gathered)
}

// advance looks at the clock and, once per tick, does what is due because time passes. Time is a number of ticks that the
// hub counts; a server that was stopped by SIGSTOP for an hour has aged by nothing, so its clients are not all dead when
// it goes on.
func (s *shard) advance() {
	now := s.hub.clock.Load()
	if now == s.tick {
		if s.deadlines.left {
			s.endLate()
		}
		return
	}
	s.tick = now
	if s.rates.on {
		s.rates.tick(s.env.now())
	}
	s.endLate()
	s.endLatePartials()
	s.lookAtSlow()
	s.pingSilent()
}

// work drains every lane that was noted, and the backlog, until nothing moves. What moves here makes at most three more
// steps on this loop (backlog or owed → up → down → owed), so it ends; should other loops keep it busy, it breaks off and a
// kick goes on.
func (s *shard) work() {
	for round := 0; ; round++ {
		moved := s.host()
		moved = s.drainDown() || moved
		moved = s.sendBacklog() || moved
		moved = s.payOwed() || moved
		if !moved {
			return
		}
		if round == workRoundsMax {
			s.kick()
			return
		}
	}
}

// workRoundsMax bounds the rounds of one work call.
const workRoundsMax = 8

// host serves the homes that were given something.
func (s *shard) host() (moved bool) {
	culprit := s.culprit
	s.culprit = nil // what a home panics over may be of any client, on any loop
	moved, busy := s.lanes.Host()
	s.culprit = culprit
	if busy {
		s.kick()
	}
	return moved
}

// drainDown gathers messages for their groups' next pass and sends answers. It stops while too much has gathered: then
// homes run out of room, and senders are refused, before memory grows. Passes go on meanwhile, they need no lane.
func (s *shard) drainDown() (moved bool) {
	return s.mayGather() && s.lanes.Drain(s.takeDown)
}

// mayGather says whether there is room for more.
func (s *shard) mayGather() bool { return s.passes.gathered < s.bounds.gatherBytes }

// deliver acts on one item of a down lane, and says whether there may be another.
func (s *shard) deliver(d delivery) (more bool) {
	if d.Op != order.OpMessage {
		s.decided(&d)
		return s.mayGather()
	}
	if g := d.Local; g != nil && !g.empty() {
		s.passes.gather(g, d.Message)
		if d.At != 0 {
			s.count.LaneWaits.observe(d.At.Until(s.env.now()))
		}
	}
	if d.Client != nil {
		s.answer(d.Client, dialect.Outcome{What: dialect.Position, Verb: dialect.SendToGroup, ID: borrowBytes(d.ID), Number: d.Message.Offset})
	}
	return s.mayGather()
}

// kick asks for another turn after the loop has looked at its sockets, once.
func (s *shard) kick() {
	if !s.kicked {
		s.kicked = true
		s.env.kick()
	}
}
