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

// watchdog finds loops that are busy with one callback for too long. Such a loop serves no other client meanwhile, and
// nothing else would show where it is: the watchdog counts these callbacks and logs the loop's stack.
//
// It costs the loops no reading of the clock: a shard counts the beginnings and ends of its callbacks, and if the count is
// the same odd number at two looks, it is in one callback. With four looks per threshold a callback of one and a half
// thresholds is always found, and one below the threshold never.
//
// Owner: one goroutine.
type watchdog struct {
	hub        *Hub
	log        *slog.Logger
	goroutines []atomic.Int64 // the number of each loop's goroutine, for its stack; the loop writes it, 0: not yet
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
	// slowTurnLogPeriod bounds how often a stack is taken, which stops all goroutines for a moment. Further ones are only counted.
	slowTurnLogPeriod = time.Second
	// watchdogIdle is how often a watchdog looks that has a long threshold or none: who asks Hub.Busy wants to know it sooner.
	watchdogIdle  = time.Second
	stackBytesMax = 1 << 20
)

// learn has each loop store the number of its goroutine. It does not wait for that, as a loop may be busy already.
func (w *watchdog) learn() {
	for i, s := range w.hub.shards {
		s.calls.add(func(s *shard) { w.goroutines[s.index].Store(goroutineID()) })
		w.hub.wake(i)
	}
}

// keepWatch runs the server's watchdog until the server has ended. The threshold may change at any time.
func (s *Server) keepWatch(w *watchdog) {
	last := time.Now()
	for {
		threshold := time.Duration(s.hub.bounds.Load().slowTurnNanos)
		period := watchdogIdle
		if threshold > 0 {
			period = min(period, threshold/looksPerSlowTurn)
		}
		select {
		case <-time.After(period):
		case <-s.done:
			return
		}
		now := time.Now()
		for _, loop := range w.look(now.Sub(last), period, threshold) {
			w.tell(loop, now, threshold)
		}
		last = now
	}
}

func newWatchdog(h *Hub, log *slog.Logger) *watchdog {
	return &watchdog{hub: h, log: log, goroutines: make([]atomic.Int64, len(h.shards)), watched: make([]watched, len(h.shards))}
}

// look finds and counts the loops whose callback has exceeded the threshold, if there is one, since the last look, which was
// elapsed ago and was to be a period ago. A watchdog that is late was kept from running itself, by SIGSTOP, the collector or
// other programs, and the loops may have been too: so time beyond two periods does not count.
func (w *watchdog) look(elapsed, period, threshold time.Duration) (slow []int) {
	step, busiest := min(elapsed, 2*period), time.Duration(0)
	defer func() { w.hub.busiest.Store(int64(busiest)) }()
	for i, s := range w.hub.shards {
		c, steps := &w.watched[i], s.callback.steps.Load()
		if steps%2 == 0 || steps != c.steps {
			*c = watched{steps: steps}
			continue
		}
		c.busy += step
		busiest = max(busiest, c.busy)
		if threshold > 0 && c.busy >= threshold && !c.told {
			c.told = true
			s.count.SlowTurns.Add(1)
			slow = append(slow, i)
		}
	}
	return slow
}

// tell logs a loop's stack.
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

// goroutineID is the number of the calling goroutine, which Go shows only in the first line of a stack. It serves to find
// that line.
func goroutineID() (id int64) {
	var line [64]byte
	_, _ = fmt.Sscanf(string(line[:runtime.Stack(line[:], false)]), "goroutine %d ", &id)
	return id
}

// stackOf is the stack of one goroutine, cut out of the stacks of all.
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
