package loop

import (
	"sync/atomic"

	"ringcast/loop/assert"
)

// callback is the callback that a shard is in. gnet promises that no two of one loop overlap, but for closed inside a write that
// fails or inside a cut, which then begins none of its own. So the loop needs to hold its shard once for each, and that they do not
// overlap is asserted.
//
// Owner: the loop, except where a line says otherwise.
type callback struct {
	steps   atomic.Uint64 // counts beginnings and ends, so it is odd while one runs; any goroutine reads
	timed   bool          // it is one of the sample that is timed
	beganAt int64         // timed: when
}

// running says whether the shard is in a callback.
func (b *callback) running() bool { return b.steps.Load()%2 != 0 }

// beginCallback begins a callback, for c if it is not nil. endCallback is deferred; it ends the callback and recovers from
// panics.
func (s *shard) beginCallback(c *client) {
	n := s.callback.steps.Load()
	if assert.On {
		assert.That(n%2 == 0 && s.callback.steps.CompareAndSwap(n, n+1), "shard: two callbacks at once")
	} else {
		s.callback.steps.Store(n + 1)
	}
	s.hold.take()
	s.culprit = c
	if s.callback.timed = sampled(n / 2); s.callback.timed {
		s.callback.beganAt = s.env.now()
	}
}

func (s *shard) endCallback() {
	if p := recover(); p != nil {
		s.survive(p)
	}
	s.culprit = nil
	s.passes.deadline = 0
	if s.callback.timed {
		s.count.TurnTimes.observe(s.env.now() - s.callback.beganAt)
	}
	s.callback.steps.Store(s.callback.steps.Load() + 1)
	s.hold.letGo()
	if !s.kicked && s.lanes.Called() && !s.lanes.Waking() && s.hold.try() { // something came that was left to this loop; if it cannot hold, to another
		s.deferral.begin(s.env.now()) // as for what was read: it does not have to wait for the kick if that comes late
		s.kick()
		s.hold.letGo()
	}
}
