package cli

import (
	"os"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// This file says how soon the collector runs: sooner than Go would by itself, unless the operator has set GOGC. A server of
// very many clients has a heap that lies still: what it allocates is a message a publish, and what it frees is little. So the
// half that Go leaves free for garbage by default is memory for nothing, and collecting sooner costs next to nothing.
//
// Not so where the heap is small. A quarter of the four megabytes of 5,000 clients is gone within some 7,000 messages; at
// 140,000 deliveries a second to pairs the collector was at work for a sixth of the time, and the server needed 8 % more CPU
// a delivery than at Go's default. Hence a floor, which a server with a large heap does not notice.
const (
	gcPercentMin = 25      // how much the heap may grow, in percent of what was alive, before the next collection
	gcPercentMax = 100     // Go's default
	gcBytesMin   = 4 << 20 // how much it may grow in any case, as far as gcPercentMax allows
	// gcPeriod is how often the heap is looked at.
	gcPeriod = 500 * time.Millisecond
)

// gcPercent is how much the heap may grow when so many bytes are alive.
func gcPercent(live uint64) int {
	return int(min(max(gcPercentMin, 100*gcBytesMin/max(live, 1)), gcPercentMax))
}

// keepCollecting follows the heap for as long as the process lives.
func keepCollecting() {
	if os.Getenv("GOGC") != "" {
		return
	}
	percent := gcPercentMin
	debug.SetGCPercent(percent)
	go func() {
		live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		for range time.Tick(gcPeriod) {
			metrics.Read(live)
			// It stops the world for a moment, so not for every little difference.
			if now := gcPercent(live[0].Value.Uint64()); max(now-percent, percent-now) > percent/8 {
				percent = now
				debug.SetGCPercent(percent)
			}
		}
	}()
}
