package order

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// repeatable is a table whose groups have no history, in which keys are remembered for 10 ticks.
func repeatable(bytes int) (hs *table, now *uint32) {
	hs, now = newTable(2, 256), new(uint32)
	hs.config.KeyTicks, hs.config.KeysBytesMax = 10, bytes
	hs.env.Now = func() uint32 { return *now }
	return hs, now
}

func under(key, payload string) Said { return Said{Payload: []byte(payload), Key: key} }

func TestARepeatIsAnsweredAsTheFirstAndIsNotHeard(t *testing.T) {
	hs, _ := repeatable(1 << 20)
	p := openPort(t, hs)
	feed, err := hs.NewFeed()
	if err != nil {
		t.Fatal(err)
	}
	g := &part{name: "1g"}
	join(hs, 0, g, numbered(0, 1), false)
	first := said(t, p, "1g", under("k", "first"))
	said(t, p, "1g", text("between"))
	join(hs, 0, g, numbered(0, 2), false)
	want := first
	want.Repeated = true
	if got := said(t, p, "1g", under("k", "again")); got != want || first.Repeated || first.Position.Offset != 1 || first.Members != 1 {
		t.Errorf("got %+v, want the first's %+v", got, first)
	}
	r := publishTo("1g", "by a client")
	r.Keyed("k")
	if d := answer(t, hs, 0, r); d.Op != OpRepeated || d.Message != nil || d.Offset != 1 {
		t.Errorf("a client's: got %+v, want the first's number alone", d)
	}
	if r := said(t, p, "1other", under("k", "other")); r.Repeated {
		t.Errorf("another group's: got %+v, want it to be new", r)
	}
	if got := hs.Home(1).Published(); got != 3 || len(feed.Collect(nil, 10)) != 3 {
		t.Errorf("got %d in order, want 3, and as many in the feed", got)
	}
}

func TestWhatIsRepeatedIsNotHeard(t *testing.T) {
	hs, _ := repeatable(1 << 20)
	p := openPort(t, hs)
	join(hs, 0, &part{name: "1g"}, numbered(0, 1), false)
	for i := range 3 {
		said(t, p, "1g", under("k", fmt.Sprint(i)))
	}
	if got := heardBy(hs.Lanes(0)); !slices.Equal(got, []string{"0"}) {
		t.Errorf("got %q, want the first alone", got)
	}
}

func TestAKeyIsGoodForItsTime(t *testing.T) {
	hs, now := repeatable(1 << 20)
	p := openPort(t, hs)
	*now = 1<<32 - 5 // the clock may wrap around
	for i, step := range []struct {
		ticks    uint32
		repeated bool
	}{{0, false}, {9, true}, {1, false}, {9, true}, {100, false}} { // a repeat does not make it younger
		*now += step.ticks
		if got := said(t, p, "1g", under("k", "x")); got.Repeated != step.repeated {
			t.Errorf("step %d: got %+v, want repeated %v", i, got, step.repeated)
		}
		if wrong := hs.homes[1].CheckKeys(); wrong != "" {
			t.Error(wrong)
		}
	}
}

func TestAPublishThatIsRefusedLeavesItsKeyFree(t *testing.T) {
	hs, _ := repeatable(1 << 20)
	p, g := openPort(t, hs), &part{name: "1g"}
	join(hs, 0, g, numbered(0, 1), false)
	large := strings.Repeat("x", hs.config.FlightBytes/2)
	said(t, p, "1g", text(large))
	if _, err := p.Say(t.Context(), "1g", under("k", large)); err != ErrBusy {
		t.Fatalf("got %v, want ErrBusy", err)
	}
	for _, text := range heardBy(hs.Lanes(0)) {
		m, _ := NewMessage([]byte("1g"), []byte(text), nil, false)
		g.flow.Taken(m.Bytes())
	}
	hs.Lanes(0).Through(0)
	if r := said(t, p, "1g", under("k", large)); r.Repeated || r.Position.Offset != 2 {
		t.Errorf("got %+v, want it to be accepted now", r)
	}
}

func TestKeysTogetherHaveABound(t *testing.T) {
	const bytes = 100 << 10
	hs, now := repeatable(bytes)
	p := openPort(t, hs)
	for i := range 2000 {
		said(t, p, fmt.Sprint(i%2, "g"), under(fmt.Sprint("key ", i), ""))
		if hs.KeyBytes() > bytes {
			t.Fatalf("after %d keys: got %d bytes, bound %d", i, hs.KeyBytes(), bytes)
		}
	}
	if hs.KeyBytes() < bytes*9/10 {
		t.Errorf("got %d bytes, want nearly %d", hs.KeyBytes(), bytes)
	}
	for i, h := range hs.homes {
		if n := int(h.keptKeys()); h.keys[keysOfPorts].oldest.name.key != fmt.Sprint("key ", 2000-2*n+i) {
			t.Errorf("home %d: got %d keys, the oldest %s: want the newest", i, n, h.keys[keysOfPorts].oldest.name.key)
		}
	}
	for i := range 500 { // one home alone may have all
		said(t, p, "1g", under(fmt.Sprintf("%0200d", i), ""))
	}
	if hs.KeyBytes() > bytes {
		t.Errorf("longer keys: got %d bytes, bound %d", hs.KeyBytes(), bytes)
	}
	*now += 10
	l, slices := hs.Lanes(1), 0
	for before := hs.homes[1].keptKeys(); l.Expire(7); slices++ {
		if after := hs.homes[1].keptKeys(); before-after != 7 {
			t.Fatalf("a slice of 7 steps has dropped %d keys", before-after)
		} else {
			before = after
		}
	}
	for hs.Lanes(0).Expire(100) {
	}
	if slices == 0 || l.Keeps() || hs.KeyBytes() != 0 {
		t.Errorf("when all are over: %d slices, keeps %v, %d bytes", slices, l.Keeps(), hs.KeyBytes())
	}
}

func TestKeysOfClientsDoNotPushOutThoseOfBackends(t *testing.T) {
	const bytes = 20 << 10
	hs, _ := repeatable(bytes)
	p := openPort(t, hs)
	said(t, p, "0g", under("of a backend", "x"))
	said(t, p, "0g", under(ClientKeyMark+"of the first client", "x"))
	for i := range 500 {
		said(t, p, fmt.Sprint(i%2, "g"), under(ClientKeyMark+fmt.Sprint("key ", i), ""))
	}
	if hs.KeyBytes() > 2*bytes {
		t.Errorf("got %d bytes, want %d at most for each of the two", hs.KeyBytes(), bytes)
	}
	if r := said(t, p, "0g", under("of a backend", "x")); !r.Repeated {
		t.Error("a backend's repeat is new: the keys of clients have pushed it out")
	}
	if r := said(t, p, "0g", under(ClientKeyMark+"of the first client", "x")); r.Repeated {
		t.Error("the oldest key of a client is remembered, though there were many more: want the test to fill the bound")
	}
	for i := range hs.homes {
		if wrong := hs.Home(i).CheckKeys(); wrong != "" {
			t.Errorf("home %d: %s", i, wrong)
		}
	}
}

// A bound on keys is one on memory.
func TestKeysTakeWhatIsBooked(t *testing.T) {
	for _, c := range []struct{ keys, length int }{{20_000, 10}, {29_000, 36}, {60_000, 36}, {10_000, 200}} {
		hs, _ := repeatable(1 << 30)
		p := openPort(t, hs)
		before := heapAlive()
		for i := range c.keys {
			said(t, p, "0g", under(fmt.Sprintf("%0*d", c.length, i), ""))
		}
		took, booked := heapAlive()-before, hs.KeyBytes()
		t.Logf("%d keys of %d bytes: %d bytes, %d each; booked %.2f of it", c.keys, c.length, took, took/int64(c.keys), float64(booked)/float64(took))
		if took > booked*110/100 || took < booked*60/100 {
			t.Errorf("%d keys of %d bytes: got %d bytes, booked %d", c.keys, c.length, took, booked)
		}
		runtime.KeepAlive(hs)
	}
}
