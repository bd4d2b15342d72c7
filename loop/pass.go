package loop

// gather puts a frame with those that the group's next pass will send.
func (s *shard) gather(g *group, frame []byte) {
	g.waiting = append(g.waiting, frame)
	s.gathered += gatheredBytes(frame)
	if !g.queued {
		g.queued = true
		s.passes = append(s.passes, g)
	}
}

// gatheredBytes is what a waiting frame counts: itself and its place in the list.
func gatheredBytes(frame []byte) int { return len(frame) + 24 }

// runPasses sends what has gathered, group by group, until the turn's budget is used up; then it kicks, so that the
// loop looks at its sockets before it goes on, and yields the processor. It reports whether it did anything.
//
// While a kick is under way other callbacks start no pass: each would spend a budget of its own, and the sockets would
// wait for all of them. The budget is 1 ms because a pass over 10,000 members takes 50: in the prototype the ping of
// an unrelated client waited for 131 to 248 ms at p99 without a budget, and for 24 to 25 with it and the yield.
func (s *shard) runPasses() (any bool) {
	if s.resting || len(s.passes) == 0 {
		return false
	}
	if s.deadline == 0 {
		s.deadline = s.env.now() + s.bounds.passNanos
	}
	for done := 0; done < len(s.passes); {
		g := s.passes[done]
		done++
		finished := s.pass(g)
		if len(g.waiting) > 0 || g.passing() {
			s.passes = append(s.passes, g) // behind the others: a large group does not hold up small ones
		} else {
			g.queued = false
		}
		if !finished || s.spent() {
			s.dropPasses(done)
			if len(s.passes) > 0 {
				s.resting = true
				s.kick()
				s.env.yield()
			}
			return true
		}
		if done == len(s.passes) {
			s.dropPasses(done)
			done = 0
		}
	}
	return true
}

// dropPasses takes the first n groups off the list.
func (s *shard) dropPasses(n int) {
	rest := copy(s.passes, s.passes[n:])
	clear(s.passes[rest:])
	s.passes = s.passes[:rest]
}

// spent reads the clock every few sends and says whether the turn's budget is used up.
func (s *shard) spent() bool {
	s.sends++
	return s.sends%sendsPerClock == 0 && s.env.now() >= s.deadline
}

// sendsPerClock: a send costs microseconds, reading the clock tens of nanoseconds, so the budget is overrun by little and
// the clock costs next to nothing.
const sendsPerClock = 8

// pass sends a group's batch to its members, from the cursor on; false when the budget ended it early. It allocates
// nothing, and sends to nobody who joined after the batch was begun or has left since.
func (s *shard) pass(g *group) (finished bool) {
	if !g.passing() {
		if len(g.members) == 0 || len(g.waiting) == 0 {
			return true
		}
		before := len(g.waiting)
		taken := g.begin(s.bounds.batchBytes, s.takeSpare())
		s.gathered -= taken + 24*(before-len(g.waiting))
		if sampled(s.count.passes.Add(1)) {
			s.count.batches.observe(int64(g.batchCount))
			g.begunAt = s.env.now()
		}
	}
	batch, served := g.batch, 0
	finished = true
	for g.cur < g.end {
		c := g.members[g.cur]
		g.cur++
		if c.state != stateOpen {
			continue
		}
		s.culprit = c
		if c.slow {
			if s.stillSlow(c); c.state != stateOpen {
				continue
			}
		}
		s.push(c, batch, g.batchCount)
		served++
		if g.cur < g.end && s.spent() { // in this order: a clock reading must not be thrown away
			finished = false
			break
		}
	}
	s.culprit = nil
	served -= s.undelivered
	s.undelivered = 0
	s.count.deliveries.Add(uint64(served * g.batchCount))
	s.count.bytesOut.Add(uint64(served * len(batch)))
	if finished {
		if g.begunAt != 0 {
			s.count.passTimes.observe(s.env.now() - g.begunAt)
		}
		s.keepSpare(g.finish())
	}
	return finished
}

// takeSpare and keepSpare hand one batch buffer from pass to pass.
func (s *shard) takeSpare() []byte {
	spare := s.spare
	s.spare = nil
	return spare
}

func (s *shard) keepSpare(p []byte) {
	if cap(p) > cap(s.spare) && cap(p) <= 2*s.bounds.batchBytes {
		s.spare = p[:0]
	}
}
