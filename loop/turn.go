package loop

import (
	"ringcast/dialect"
	"ringcast/loop/assert"
	"ringcast/loop/order"
)

// turn does what has gathered, in this order:
//
//	advance     look at the clock; once a tick, do what is due because time has passed
//	calls       call what other goroutines want called on the loop
//	errands     do what backends want done with clients at once
//	closeSlice  in a server that stops: close some clients
//	relieve     if all outboxes together exceed their bound: cut off the largest
//	expire      drop what the home of the loop's number keeps no longer
//	announce    after a reload: tell homes who is here
//
// and then, again and again until there is nothing left to do, or only passes that wait for a kick:
//
//	replies     send what clients are told (flushReplies)
//	sweep       cut doomed clients, bury dead ones
//	losers      take clients that heal out of groups (partLosers)
//	work        host homes, drain down lanes (gather), send what is owed to homes, and the backlog
//	others      serve or wake the loops that were sent something (WakeOthers)
//	replies     likewise: work has answered clients, who get the answer to a publish before the message itself
//	passes      send what was gathered, within the budget
//	replays     answer who hears of a group's past, within what is left of it (runReplays)
//	errands     when nothing waits for its members any more: do what else backends want done with clients (runErrands)
//
// So no member is removed while a pass walks over the members, and a message that comes during a pass is sent with the next
// batch and not by a pass of its own. The steps are repeated because a pass may doom clients.
func (s *shard) turn() { s.act(!s.kicked) }

// act is a turn. mayPass is false if a kick is under way, whose turn makes the passes. A read that was deferred for long enough
// makes them all the same if the kick is for what was read, see deferral.on.
func (s *shard) act(mayPass bool) {
	s.takeUp()
	s.passes.resting, s.relief.done, s.passes.elsewhere = !mayPass, false, 0
	s.replays.resting, s.ends.budget = !mayPass, s.bounds.burialsPerTurn
	s.slow.healers.resting, s.slow.healers.left = !mayPass, s.bounds.partsPerTurn
	s.bearers.acts, s.bearers.looks = errandActsPerTurn, errandLooksPerTurn
	s.advance()
	s.runCalls()
	s.runErrands(false, false)
	if s.stop.begun {
		s.closeSlice()
	}
	if s.hub.outboxesOver() {
		s.relieve()
	}
	s.expire()
	s.announce()
	for {
		s.flushReplies()
		s.sweep()
		s.partLosers()
		s.work()
		s.lanes.WakeOthers(s.methods.serve)
		s.flushReplies() // after WakeOthers, so that loops that were woken begin while this one writes
		passed := s.runPasses()
		if passed {
			s.replays.unready = 0
		}
		passed = s.runReplays() || passed
		if !passed {
			passed = s.runErrands(s.allSent(), mayPass)
		}
		called := s.lanes.Through(s.passes.gathered)
		if !passed && !s.endsWait() && !s.slow.healers.waiting() {
			if called {
				s.kick() // in a turn of its own: while other loops send more it would be called again and again
			}
			break
		}
	}
	if s.owed.announced.client > 0 && !s.enoughOwed() {
		s.kick()
	}
	assert.That(!s.endsWait(), "shard: a turn ended with clients unburied")
	assert.That(len(s.slow.healers.due) == 0 || s.kicked, "shard: a turn ended with clients in groups that have lost something, and no kick")
	show(&s.count.backlogBytes, s.backlog.bytes)
	show(&s.count.gatheredBytes, s.passes.gathered)
	show(&s.count.replayBytes, 8*s.replays.weight)
}

// advance looks at the clock and, once per tick, does what is due because time has passed. Time is the number of ticks that
// the hub has counted: for a server that was stopped by SIGSTOP for an hour none has passed, so not all of its clients time
// out when it goes on.
func (s *shard) advance() {
	now := s.hub.clock.Load()
	if now == s.tick {
		if s.deadlines.left {
			s.endLate()
		}
		if s.bearers.late {
			s.endGrants()
		}
		return
	}
	s.tick, s.deadlines.expiring, s.replays.unready, s.readers.inflated = now, true, 0, nil
	if s.rates.on {
		s.rates.tick(s.env.now())
	}
	s.endLate()
	s.endGrants()
	s.endLatePartials()
	s.beginHellos()
	s.lookAtSlow()
	s.pingSilent()
	s.lookAtHeadcounts()
}

// expire drops what the home of the loop's number keeps no longer, some at a time.
func (s *shard) expire() {
	if s.deadlines.expiring {
		if s.deadlines.expiring = s.lanes.Expire(expirePerTurn); s.deadlines.expiring {
			s.kick()
		}
	}
}

// expirePerTurn is what a home drops in a turn: less than the budget for passes even where a million groups expire at once, 0.6 ms at
// worst (BenchmarkAMillionGroupsComeAndExpire); with 512 it was 1.4 to 2.4.
const expirePerTurn = 128

// work serves homes, lanes, backlog and owed until nothing moves. An item takes at most three more hops on this loop (backlog or
// owed → up → down → owed), so that ends; if other loops keep it busy, it stops after some rounds and goes on after a kick.
func (s *shard) work() {
	for round := 1; ; round++ {
		moved := s.host()
		moved = s.drainDown() || moved
		moved = s.payWords() || moved
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

// host serves homes, see order.Lanes.Host.
func (s *shard) host() (moved bool) {
	culprit := s.culprit
	s.culprit = nil // a home serves requests of any client on any loop
	moved, busy := s.lanes.Host()
	s.culprit = culprit
	if busy {
		s.kick()
	}
	return moved
}

// drainDown gathers messages for their groups' next pass, and answers clients. It stops while too much is gathered: then
// down lanes become full, then up lanes, then requests are refused, so memory does not grow. Passes go on meanwhile, as they
// need no lane. That is the last resort, as it strikes all groups: a loud group is refused by its home before (order/flow.go).
func (s *shard) drainDown() (moved bool) {
	return s.mayGather() && s.lanes.Drain(nil, s.methods.takeDown)
}

// mayGather says whether more messages may be gathered.
func (s *shard) mayGather() bool {
	return s.passes.gathered < s.bounds.gatherBytes
}

// deliver acts on one item of a down lane, and says whether there may be another.
func (s *shard) deliver(d delivery) (more bool) {
	s.mustHold()
	was := s.culprit
	if d.Client != nil { // it may be another's callback
		s.culprit = d.Client
	}
	switch d.Op {
	case order.OpMessage:
		if d.Local != nil {
			s.gather(&d)
		}
		if d.Client != nil {
			s.answer(d.Client, dialect.Outcome{What: dialect.Published, Verb: dialect.SendToGroup, ID: borrowBytes(d.ID), Number: d.Offset})
		}
	case order.OpRepeated:
		s.answer(d.Client, dialect.Outcome{What: dialect.Published, Verb: dialect.SendToGroup, Repeated: true, ID: borrowBytes(d.ID), Number: d.Offset})
	case order.OpBusy:
		s.tellRefused(&d)
	default:
		s.decided(&d)
	}
	s.culprit = was // not deferred: who is to be closed for a panic must be known behind it
	return s.mayGather()
}

// gather takes a message for the members of a group.
func (s *shard) gather(d *delivery) {
	g := d.Local
	if g.log != nil {
		g.log.keep(d.Message, s.bounds.OutboxBytesMax/4)
	}
	if g.empty() {
		g.flow.Taken(d.Message.Bytes())
		return
	}
	s.passes.gather(g, d.Message)
	if d.At != 0 {
		s.count.LaneWaits.observe(d.At.Until(s.env.now()))
	}
}

// kick has the loop take another turn after it has looked at its sockets; one kick is under way at a time.
func (s *shard) kick() {
	if !s.kicked {
		s.kicked = true
		s.env.kick()
	}
}
