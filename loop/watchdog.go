package loop

import (
	"bytes"
	"fmt"
	"log/slog"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"
)

// watchdog looks at the loops from beside. A loop that is busy with one callback for long serves nobody else meanwhile, and
// nothing else would say where it is: the watchdog counts that and logs the loop's stack.
//
// It costs the loops no reading of the clock: a shard counts the steps of its callbacks, and a count that stays the same
// odd number between two looks is one callback. So with four looks per threshold what is over one and a half of it is
// seen for certain, and what is below it never.
//
// Owner: one goroutine.
type watchdog struct {
	hub        *Hub
	log        *slog.Logger
	goroutines []atomic.Int64 // of each loop, for its stack; the loop writes, 0: it has not yet
	watched    []watched      // of each loop
	logged     time.Time
}

// watched is what the watchdog knows of a loop's callback.
type watched struct {
	steps uint64        // callback.steps at the last look
	busy  time.Duration // for how long it has been seen to run
	told  bool
}

const (
	looksPerSlowTurn = 4
	// slowTurnLogPeriod bounds how often a stack is taken, which stops all goroutines for a moment. Others are only counted.
	slowTurnLogPeriod = time.Second
	// watchdogIdle is how often a watchdog that is off looks whether it still is.
	watchdogIdle  = time.Second
	stackBytesMax = 1 << 20
)

// learn has each loop say which goroutine it is. It does not wait for that: a loop may be busy already.
func (w *watchdog) learn() {
	for i, s := range w.hub.shards {
		s.calls.add(func(s *shard) { w.goroutines[s.index].Store(goroutineID()) })
		w.hub.wake(i)
	}
}

// keepWatch runs the server's watchdog. The period follows the threshold, which may be changed at any time.
func (s *Server) keepWatch(w *watchdog) {
	last := time.Now()
	for {
		threshold := time.Duration(s.hub.bounds.Load().slowTurnNanos)
		period := threshold / looksPerSlowTurn
		if threshold == 0 {
			period = watchdogIdle
		}
		select {
		case <-time.After(period):
		case <-s.done:
			return
		}
		now := time.Now()
		if threshold > 0 {
			for _, loop := range w.look(now.Sub(last), threshold) {
				w.tell(loop, now, threshold)
			}
		}
		last = now
	}
}

func newWatchdog(h *Hub, log *slog.Logger) *watchdog {
	return &watchdog{hub: h, log: log, goroutines: make([]atomic.Int64, len(h.shards)), watched: make([]watched, len(h.shards))}
}

// look finds the loops whose callback has gone over the threshold since the last look, which was elapsed ago, and counts
// them. A watchdog that comes late was itself kept from running, so the loops may have been too, by SIGSTOP, by the
// collector, by other programs: time beyond two periods does not count against them.
func (w *watchdog) look(elapsed, threshold time.Duration) (slow []int) {
	step := min(elapsed, 2*threshold/looksPerSlowTurn)
	for i, s := range w.hub.shards {
		c, steps := &w.watched[i], s.callback.steps.Load()
		if steps%2 == 0 || steps != c.steps {
			*c = watched{steps: steps}
			continue
		}
		c.busy += step
		if c.busy >= threshold && !c.told {
			c.told = true
			s.count.SlowTurns.Add(1)
			slow = append(slow, i)
		}
	}
	return slow
}

// tell logs where a loop is.
func (w *watchdog) tell(loop int, now time.Time, threshold time.Duration) {
	if now.Sub(w.logged) < slowTurnLogPeriod {
		return
	}
	w.logged = now
	s := w.hub.shards[loop]
	stack := stackOf(w.goroutines[loop].Load())
	if s.callback.steps.Load() != w.watched[loop].steps {
		stack = "none: it ended before its stack could be taken"
	}
	w.log.Warn("a loop is busy with one callback; its other clients wait", "loop", loop,
		"for_at_least", w.watched[loop].busy.String(), "slow_turn", threshold.String(),
		"slow_turns", s.count.SlowTurns.Load(), "stack", stack)
}

// goroutineID is the number of the calling goroutine, which Go tells nobody but in the first line of a stack. Here it is
// for that line's sake.
func goroutineID() (id int64) {
	var line [64]byte
	_, _ = fmt.Sscanf(string(line[:runtime.Stack(line[:], false)]), "goroutine %d ", &id)
	return id
}

// stackOf is the stack of one goroutine, cut out of all of them.
func stackOf(id int64) string {
	begin := "goroutine " + strconv.FormatInt(id, 10) + " "
	all := make([]byte, stackBytesMax)
	all = append([]byte("\n\n"), all[:runtime.Stack(all, true)]...)
	_, found, ok := bytes.Cut(all, []byte("\n\n"+begin))
	if !ok {
		return "none: not found among all"
	}
	stack, _, _ := bytes.Cut(found, []byte("\n\n"))
	return begin + string(stack)
}
