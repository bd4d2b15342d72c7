package loop

import (
	"sync/atomic"

	"ringcast/loop/assert"
)

// callback is the one that runs in a shard. No two of one shard ever overlap; that is gnet's promise and our whole reason
// to need no locks, so it is asserted.
//
// Owner: the loop, except where a line says otherwise.
type callback struct {
	steps   atomic.Uint64 // one more at the beginning and at the end of each, so odd while one runs; any goroutine reads
	timed   bool          // it is one of the sample that is timed
	beganAt int64         // timed: when
}

// running says whether there is one.
func (b *callback) running() bool { return b.steps.Load()%2 != 0 }

// beginCallback begins one, over a client if it is for one; endCallback, deferred, ends it, or survives its panic.
func (s *shard) beginCallback(c *client) {
	n := s.callback.steps.Load()
	if assert.On {
		assert.That(n%2 == 0 && s.callback.steps.CompareAndSwap(n, n+1), "shard: two callbacks at once")
	} else {
		s.callback.steps.Store(n + 1)
	}
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
}
