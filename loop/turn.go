package loop

import "math/bits"

// turn does what has gathered, in one order:
//
//	sweep    cut the doomed, bury the dead
//	work     host homes (up lanes), drain down lanes (gather), the backlog; release groups without members
//	wake    wake the loops that were given something
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
	if s.ends.stopping {
		s.closeSlice()
	}
	if s.hub.outboxesOver() {
		s.relieve()
	}
	for {
		s.flushReplies()
		s.sweep()
		s.work()
		s.wakeOthers()
		s.flushReplies() // after wakeOthers: they begin while this loop writes
		if !s.runPasses() && !s.ends.waiting() {
			break
		}
	}
	assert(!s.ends.waiting(), "shard: a turn ended with clients unburied")
	show(&s.count.parkedBytes, s.backlog.bytes)
	show(&s.count.gatheredBytes, s.gathered)
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
// steps on this loop (release → backlog → up → down), so it ends; should other loops keep it busy, it breaks off and a
// kick goes on.
func (s *shard) work() {
	for round := 0; ; round++ {
		moved := s.hostCalled()
		moved = s.drainDown() || moved
		moved = s.sendBacklog() || moved
		moved = s.release() || moved
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

// hostCalled serves the homes that this loop has given something, and the one with its index, which is where ports ring.
func (s *shard) hostCalled() (moved bool) {
	todo := s.toHost
	s.toHost = 0
	if s.home.called() {
		todo |= 1 << s.index
	}
	for ; todo != 0; todo &= todo - 1 {
		moved = s.host(bits.TrailingZeros64(todo)) || moved
	}
	return moved
}

// host serves a home on this loop, unless another loop does so at this moment; that one looks again after it has let
// go, so nothing stays behind.
func (s *shard) host(index int) (moved bool) {
	h, culprit := &s.hub.shards[index].home, s.culprit
	s.culprit = nil // what a home panics over may be of any client, on any loop
	for round := 0; h.called() && h.held.CompareAndSwap(false, true); round++ {
		s.hosted = h
		moved = h.work() || moved
		s.toWake |= h.takeWake()
		s.letGo()
		if round == hostRoundsMax { // other loops keep it busy, and this one has clients of its own
			if h.called() {
				s.toHost |= 1 << index
				s.kick()
			}
			break
		}
	}
	s.culprit = culprit
	return moved
}

// hostRoundsMax bounds the rounds for which a loop serves one home while others bring it more.
const hostRoundsMax = 8

func (s *shard) letGo() {
	h := s.hosted
	s.hosted = nil
	h.held.Store(false)
}

// drainDown gathers messages for their groups' next pass and sends answers. It stops while too much has gathered: then
// homes run out of room, and senders are refused, before memory grows. Passes go on meanwhile, they need no lane.
func (s *shard) drainDown() (moved bool) {
	todo := take(&s.bell.down) | s.held
	s.held = 0
	for ; todo != 0; todo &= todo - 1 {
		from := bits.TrailingZeros64(todo)
		lane := s.down[from]
		drained := 0
		for n := lane.len(); n > 0; n-- {
			if s.gathered >= s.bounds.gatherBytes {
				s.held |= 1 << from
				break
			}
			d := *lane.front()
			lane.done(d.bytes()) // before it is acted on: should that panic, it must not be done twice
			s.deliver(&d)
			drained++
		}
		if drained > 0 && lane.takeAwaited() { // where nothing was drained there is no room to speak of
			s.hub.shards[from].home.room.Store(true)
			s.toHost |= 1 << from
		}
		moved = moved || drained > 0
	}
	return moved
}

// deliver takes one item off a down lane.
func (s *shard) deliver(d *delivery) {
	if d.op != opMessage {
		s.decided(d)
		return
	}
	if d.frame != nil && len(d.local.members) > 0 {
		s.gather(d.local, d.frame)
		if d.at != 0 {
			s.count.laneWaits.observe(d.at.until(s.env.now()))
		}
	}
	if d.client != nil {
		s.replySeq(d.client, d.id, d.seq)
	}
}

// wakeOthers wakes the loops that were given something. This loop needs no bell: work ran until nothing moved.
func (s *shard) wakeOthers() {
	todo := s.toWake &^ (1 << s.index)
	s.toWake = 0
	for ; todo != 0; todo &= todo - 1 {
		s.hub.wake(bits.TrailingZeros64(todo))
	}
}

// kick asks for another turn after the loop has looked at its sockets, once.
func (s *shard) kick() {
	if !s.kicked {
		s.kicked = true
		s.env.kick()
	}
}
