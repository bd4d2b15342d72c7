package shrink

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// threadTime is the CPU time of this thread, so that what else the machine does is not in a step.
func threadTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		panic(err)
	}
	return time.Duration(t.Nano())
}

// What each step of a map of a million entries takes, as it fills and as it empties: on average with 0.3 µs for the clock, and the longest.
// GOGC=off leaves out what the collector has it do.
func BenchmarkAMillionComeAndGo(b *testing.B) {
	runtime.LockOSThread()
	const entries = 1_000_000
	names := make([]string, entries)
	for i := range names {
		names[i] = fmt.Sprint("a group of some length ", i)
	}
	var put, del, sum time.Duration
	timed := func(longest *time.Duration, step func()) {
		begun := threadTime()
		step()
		took := threadTime() - begun
		sum += took
		*longest = max(*longest, took)
	}
	for b.Loop() {
		var m Map[string, *int]
		for _, name := range names {
			timed(&put, func() { m.Put(name, nil) })
		}
		for _, name := range names {
			timed(&del, func() { m.Delete(name) })
		}
	}
	b.ReportMetric(float64(sum.Nanoseconds())/float64(b.N)/entries/2, "ns/step")
	b.ReportMetric(float64(put.Microseconds()), "µs-longest-put")
	b.ReportMetric(float64(del.Microseconds()), "µs-longest-delete")
}

// What each publish pays: a look-up by bytes of what has come.
func BenchmarkALookUp(b *testing.B) {
	for _, entries := range []int{1, 10, 1000, 1_000_000} {
		b.Run(fmt.Sprint(entries), func(b *testing.B) {
			var m Map[string, *int]
			names, found := make([][]byte, entries), new(int)
			for i := range names {
				names[i] = fmt.Append(nil, "room ", i)
				m.Put(string(names[i]), found)
			}
			at := 0
			for b.Loop() {
				if m.Get(string(names[at])) == nil {
					b.Fatal("lost")
				}
				if at += 7919; at >= entries {
					at %= entries
				}
			}
		})
	}
}
