//go:build !race

package order

import (
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The race detector's builds take more memory, and are slow.
//
// This file is what histories of a million groups, or of one group with very many messages, cost the loop that holds the home.
// GOGC=off leaves out of the benchmarks what the collector has a publish do.

// longest is the longest of many steps in CPU time of this thread, so that what else the machine does is not in it.
type longest time.Duration

func (l *longest) of(step func()) {
	begun := threadTime()
	step()
	*l = max(*l, longest(threadTime()-begun))
}

func threadTime() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t); err != nil {
		panic(err)
	}
	return time.Duration(t.Nano())
}

// expiresPerTurn is as many steps as the loops take in a turn.
const expiresPerTurn = 128

// expireAll has the loop's slices drop what is due, and times them.
func expireAll(l *Lanes[*part, *asker], slice *longest) {
	for more := true; more; {
		slice.of(func() { more = l.Expire(expiresPerTurn) })
	}
}

// million is a home of a million groups with a message each.
func million(publish *longest) (hs *table, now *uint32) {
	hs, now = remembering(1, 100_000, 1000)
	for i := range 1_000_000 {
		r := publishTo(fmt.Sprint("0 room ", i), "hello")
		publish.of(func() {
			hs.Lanes(0).Offer(0, r)
			hs.Lanes(0).Host()
		})
	}
	return hs, now
}

func BenchmarkAMillionGroupsComeAndExpire(b *testing.B) {
	runtime.LockOSThread()
	var publish, cool, expire longest
	for b.Loop() {
		hs, now := million(&publish)
		*now = 5
		expireAll(hs.Lanes(0), &cool)
		*now = 1000
		expireAll(hs.Lanes(0), &expire)
		if hs.HistoryBytes() != 0 {
			b.Fatal("something is left")
		}
	}
	report(b, publish, "publish")
	report(b, cool, "slice-of-forms")
	report(b, expire, "slice-of-expiry")
}

func BenchmarkALargeMessageIntoAMillionGroups(b *testing.B) {
	runtime.LockOSThread()
	var publish, first, later longest
	for b.Loop() {
		hs, _ := million(&publish)
		hs.SetHistoryMax(hs.HistoryBytes())
		for hs.Lanes(0).Expire(expiresPerTurn) {
		}
		for i := range 200 {
			r := publishTo("0large", string(make([]byte, 1<<20)))
			l := &first
			if i >= 20 { // the room for large messages is used up
				l = &later
			}
			l.of(func() {
				hs.Lanes(0).Offer(0, r)
				hs.Lanes(0).Host()
			})
		}
	}
	report(b, first, "publish")
	report(b, later, "publish-without-a-pause")
}

func BenchmarkALongHistoryComesAndExpires(b *testing.B) {
	runtime.LockOSThread()
	var publish, limit, expire longest
	for b.Loop() {
		hs, now := remembering(1, 100_000, 1000)
		for i := range 100_000 {
			r := publishTo("0g", fmt.Sprint(i))
			publish.of(func() {
				hs.Lanes(0).Offer(0, r)
				hs.Lanes(0).Host()
			})
		}
		hs.env.Kind = func(string) Kind { return Kind{Messages: 60_000, TTL: 1000} }
		hs.KindsChanged()
		limit.of(func() { say(hs, "0g", 1, 1) })
		*now = 1000
		expireAll(hs.Lanes(0), &expire)
	}
	report(b, publish, "publish")
	report(b, limit, "shorter-kind")
	report(b, expire, "slice-of-expiry")
}

func report(b *testing.B, l longest, of string) {
	b.ReportMetric(float64(time.Duration(l).Microseconds()), "µs-longest-"+of)
}

// residentBytes is the memory of this process when all that is free was given back.
func residentBytes(t *testing.T) int64 {
	debug.FreeOSMemory()
	statm, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal("the memory of this process cannot be read:", err)
	}
	var size, resident int64
	fmt.Sscan(string(statm), &size, &resident)
	return resident * int64(os.Getpagesize())
}

// The bound holds for the memory of the process, and behind each publish.
func TestAMillionHistoriesStayWithinTheirBoundByMemory(t *testing.T) {
	scale := 20
	if os.Getenv("FAULTS") == "full" {
		scale = 1
	}
	for _, c := range []struct {
		groups, messages, text int
		most                   int64
	}{
		{1_000_000, 1, 100, 1 << 30}, // all of it
		{1_000_000, 1, 100, 256 << 20},
		{1, 100_000, 1000, 1 << 30},
		{1, 100_000, 1000, 64 << 20},
	} {
		c.groups, c.messages, c.most = max(c.groups/scale, 1), max(c.messages/scale, 1), c.most/int64(scale)
		before := residentBytes(t)
		hs, now := remembering(1, 100_000, 1000)
		hs.SetHistoryMax(c.most)
		name, text := []byte(nil), make([]byte, c.text)
		for i := range c.groups * c.messages {
			name = fmt.Append(name[:0], "0 room ", i%c.groups)
			m, _ := NewMessage(name, text, nil, false) // and no garbage: it would share the spans of what is kept, and they with it
			hs.Lanes(0).Offer(0, Request[*part, *asker]{Op: OpPublish, Message: m})
			hs.Lanes(0).Host()
			if got := hs.HistoryBytes(); got > c.most {
				t.Fatalf("after %d messages: got %d bytes, bound %d", i+1, got, c.most)
			}
		}
		for *now = 5; hs.Lanes(0).Expire(expiresPerTurn); {
		}
		full := residentBytes(t) - before
		groups, messages := hs.Histories()
		booked := hs.HistoryBytes()
		for *now = 1000; hs.Lanes(0).Expire(expiresPerTurn); {
		}
		empty := residentBytes(t) - before
		t.Logf("%d groups, %d messages kept: booked %d bytes, bound %d, resident %d; when all is over %d",
			groups, messages, booked, c.most, full, empty)
		const slack = 4 << 20 // the process's own
		if full > c.most+slack || full > booked+booked/10+slack {
			t.Errorf("got %d bytes resident, booked %d, bound %d", full, booked, c.most)
		}
		if left, _ := hs.Histories(); left != 0 || empty > slack+full/10 {
			t.Errorf("when all is over: got %d groups, %d bytes resident, want none and little", left, empty)
		}
		runtime.KeepAlive(hs)
	}
}
