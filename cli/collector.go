package cli

import (
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// This file sets how soon the garbage collector runs: sooner than by Go's default, unless the operator has set GOGC. The heap
// of a server with very many clients hardly changes: it allocates one message per publish and frees little. So the half that
// Go leaves free for garbage by default is memory wasted, and collecting sooner costs next to nothing.
//
// Not so where a small heap meets many messages: a quarter of the four megabytes of 5,000 clients is gone within 7,000 of
// them. At 140,000 deliveries a second to pairs the collector ran 16 times a second, was at work for a sixth of the time, and
// the server needed 8 % more CPU a delivery than with GOGC=100. So the heap may grow by more while collections are frequent.
// Not while more and more of it is alive, for that is a crowd that connects and its memory stays: a floor of 4 MB, which does
// without counting, cost each of 15,000 clients 13 % more memory.
const (
	gcPercentMin = 25  // how much the heap may grow, in percent of what was alive, before the next collection
	gcPercentMax = 100 // Go's default
	// gcPeriod is how often the collections are counted, gcCyclesMax how many there are to be in it at most.
	gcPeriod    = 250 * time.Millisecond
	gcCyclesMax = 2
)

// gcPercent is how much the heap may grow from now on, when it was percent until now and there were so many collections in a
// period: as much more as they were too many, and less by and by.
func gcPercent(percent, cycles int) int {
	return min(max(gcPercentMin, percent*3/4, percent*cycles/gcCyclesMax), gcPercentMax)
}

// collections are what the collector has done so far.
type collections struct{ cycles, live uint64 }

func readCollections() collections {
	samples := []metrics.Sample{{Name: "/gc/cycles/total:gc-cycles"}, {Name: "/gc/heap/live:bytes"}}
	metrics.Read(samples)
	return collections{samples[0].Value.Uint64(), samples[1].Value.Uint64()}
}

// frequent is how many there were in a period, none where what is alive has grown by a twentieth.
func (c collections) frequent(since collections) int {
	if c.live > since.live/20*21 {
		return 0
	}
	return int(c.cycles - since.cycles)
}

// keepCollecting follows the collections for as long as the process lives.
func keepCollecting() {
	if os.Getenv("GOGC") != "" {
		return
	}
	percent, last := gcPercentMin, readCollections()
	debug.SetGCPercent(percent)
	go func() {
		for range time.Tick(gcPeriod) {
			now := readCollections()
			if next := gcPercent(percent, now.frequent(last)); next != percent {
				percent = next
				debug.SetGCPercent(percent)
			}
			last = now
		}
	}()
}
