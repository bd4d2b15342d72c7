package client

import (
	"time"

	"golang.org/x/sys/unix"
)

var (
	started = time.Now()
	shift   int64 // from the start of this process to that of the one whose epoch it took; set before anything asks for the time
)

// Clock is nanoseconds since the start of the bench, in all of its processes: monotonic, and small enough for a stamp.
func Clock() int64 { return int64(time.Since(started)) + shift }

// Epoch is the system's monotonic time at which Clock is 0. A process that sets its clock by another's epoch can
// use the due times in that process's stamps.
func Epoch() int64 {
	best, zero := int64(1<<62), int64(0)
	for range 16 { // the closest of several readings: a thread may lose its core between the two clocks
		var ts unix.Timespec
		before := Clock()
		if unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) != nil {
			continue // every kernel has this clock
		}
		if after := Clock(); after-before < best {
			best, zero = after-before, ts.Nano()-(before+after)/2
		}
	}
	return zero
}

// SetEpoch sets this process's Clock by another's epoch. Call it before any phase.
func SetEpoch(theirs int64) { shift = Epoch() - theirs }
