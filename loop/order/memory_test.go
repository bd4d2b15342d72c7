package order

import (
	"fmt"
	"runtime"
	"testing"
)

// heapAlive is the bytes that a collection leaves.
func heapAlive() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A bound on histories is one on memory, so what they really take must not be more than what is booked, and not much less.
func TestHistoriesTakeWhatIsBooked(t *testing.T) {
	for _, c := range []struct{ groups, messages, most, text int }{
		{20_000, 20_000, 1, 10},
		{20_000, 20_000, 100, 200},
		{29_000, 29_000, 1, 1000}, // the home's table is at its emptiest just after it has grown
		{5_000, 20_000, 3, 30},
		{1, 100_000, 100_000, 100},
		{1, 70_000, 100_000, 10},
		{100, 10_000, 100, 5000},
	} {
		hs := newTable(1, 256)
		hs.env.Kind = func(string) Kind { return Kind{Messages: c.most, TTL: 1000} }
		hs.env.Now = func() uint32 { return 1 }
		l, text := hs.Lanes(0), make([]byte, c.text)
		before := heapAlive()
		for i := range c.messages {
			r := Request[*part, *asker]{Op: OpPublish}
			r.Message, r.ID = NewMessage(fmt.Appendf(nil, "0 room %d", i%c.groups), text, []byte(`"17"`), false)
			l.Offer(0, r)
			l.Host()
		}
		for hs.env.Now = (func() uint32 { return 5 }); l.Expire(1 << 20); {
		}
		took, booked := heapAlive()-before, hs.HistoryBytes()
		groups, messages := hs.Histories()
		t.Logf("%d groups, %d messages of %d bytes: %d bytes, %d a message; booked %.3f of it", groups, messages, c.text, took, took/messages, float64(booked)/float64(took))
		if took > booked*110/100 || took < booked*80/100 {
			t.Errorf("%d groups with %d messages of %d bytes: got %d bytes, booked %d", groups, messages, c.text, took, booked)
		}
		runtime.KeepAlive(hs)
	}
}

// What was large once is so no more when it has gone: the message by which a group became known, and a ring.
func TestHistoriesGiveMemoryBack(t *testing.T) {
	const groups, large, burst = 200, 100_000, 50_000
	hs, _ := remembering(1, 1, 10)
	before := heapAlive()
	for i := range groups {
		hs.Lanes(0).Offer(0, publishTo(fmt.Sprint("0", i), string(make([]byte, large))))
		hs.Lanes(0).Host()
		say(hs, fmt.Sprint("0", i), i, i)
	}
	if took := heapAlive() - before; took > groups*1000 {
		t.Errorf("%d groups that began with large messages: got %d bytes", groups, took)
	}
	runtime.KeepAlive(hs)
	hs, now := remembering(1, burst, 10)
	say(hs, "0g", 1, burst)
	*now = 5
	say(hs, "0g", 1, 10)
	*now = 10
	for hs.Lanes(0).Expire(1000) {
	}
	if _, messages := hs.Histories(); messages != 10 || hs.HistoryBytes() > 4000 {
		t.Errorf("a burst that is over: got %d messages and %d bytes, want 10 and little", messages, hs.HistoryBytes())
	}
	runtime.KeepAlive(hs)
}
