package loop

import (
	"context"
	"math"
	"runtime/debug"
	"strings"
	"testing"
	"time"
)

const testLimit, percent = 20 << 20, testLimit / 100

// weighing is a hub with a memory limit, on a runtime that a test makes up.
type weighing struct {
	*stage
	heap      heap
	after     int64 // what the next collection finds alive
	collected int
}

func newWeighing(change func(*bounds)) *weighing {
	w := &weighing{stage: newStage(1, func(b *bounds) {
		b.MemoryMax = testLimit
		if change != nil {
			change(b)
		}
	})}
	return w
}

func (w *weighing) weigh() string {
	w.hub.memory.rest = 0 // as if the last collection were long ago
	w.hub.weigh(func() heap { return w.heap }, func() {
		w.collected++
		w.heap.cycles += 2
		w.heap.live = w.after
	})
	w.settle()
	return w.hub.Snapshot().MemoryPressure
}

func TestPressureRisesAtItsBordersAndFallsLater(t *testing.T) {
	for _, c := range []struct {
		before     uint32
		used, want int64
	}{
		{pressureNone, 79, 0}, {pressureNone, 80, 1}, {pressureNone, 89, 1}, {pressureNone, 90, 2},
		{pressureRefuse, 79, 1}, {pressureRefuse, 75, 1}, {pressureRefuse, 74, 0},
		{pressureCut, 89, 2}, {pressureCut, 80, 2}, {pressureCut, 79, 1}, {pressureCut, 74, 0},
	} {
		if got := pressureOf(c.before, c.used, 100); int64(got) != c.want {
			t.Errorf("after %d at %d %%: got %d, want %d", c.before, c.used, got, c.want)
		}
	}
}

func TestNearTheMemoryLimitPublishesAreRefused(t *testing.T) {
	w := newWeighing(nil)
	c := w.enter(0)
	port, err := w.hub.NewPort()
	if err != nil {
		t.Fatal(err)
	}
	w.heap = heap{live: 85 * percent, cycles: 1}
	w.after = 85 * percent
	if got := w.weigh(); got != "refuse" {
		t.Fatalf("pressure: got %q, want refuse", got)
	}
	c.say(`{"cmd":"send_to_group","group_id":"0g","message":"x","id":1}`)
	c.heard(t, `{"id":1,"error":{"code":"busy"`)
	if err := offer(port, "0g", nil); err != ErrBusy {
		t.Errorf("a port: got %v, want ErrBusy", err)
	}
	if got := w.hub.Snapshot().Total().RefusedBy["memory"]; got != 2 {
		t.Errorf("refused for memory: got %d, want 2", got)
	}
	w.heap.live, w.heap.cycles = 10*percent, 5
	if got := w.weigh(); got != "none" {
		t.Errorf("pressure: got %q, want none", got)
	}
	if err := offer(port, "0g", nil); err != nil {
		t.Errorf("a port: got %v, want it accepted", err)
	}
}

func TestVeryNearTheMemoryLimitTheLargestOutboxesGo(t *testing.T) {
	w := newWeighing(func(b *bounds) { b.OutboxBytesMax, b.MessageBytesMax, b.laneBytes = 16<<20, 16<<20, 16<<20 })
	small, large := w.enter(0), w.enter(0)
	fill(small, "0s", 800_000)
	fill(large, "0l", 12_000_000)
	w.heap = heap{live: percent, beside: 30 * percent, cycles: 1}
	if got := w.weigh(); got != "cut" {
		t.Fatalf("pressure: got %q, want cut", got)
	}
	if small.closed || !large.closed {
		t.Errorf("cut off: the small one %v, the large one %v; want false and true", small.closed, large.closed)
	}
	if got := w.weigh(); got != "none" {
		t.Errorf("pressure afterwards: got %q, want none", got)
	}
	fill(w.enter(0), "0m", 9_000_000)
	if got := w.hub.Snapshot().Total().SlowClosed; got != 1 {
		t.Errorf("closed slow: got %d, want no more than the one", got)
	}
}

// What a collection found alive long ago may be gone; nobody loses a connection for it.
func TestNobodyIsCutOffForGarbage(t *testing.T) {
	w := newWeighing(nil)
	c := w.enter(0)
	fill(c, "0", 1000)
	w.heap, w.after = heap{live: 95 * percent}, 20*percent // no collection since the start
	if got := w.weigh(); got != "none" || w.collected != 1 || c.closed {
		t.Errorf("got pressure %q, %d collections, closed %v; want none, 1, false", got, w.collected, c.closed)
	}
	w.heap.live, w.after = 95*percent, 95*percent
	w.hub.memory.rest, w.hub.memory.collected = time.Hour, time.Now()
	w.hub.weigh(func() heap { return w.heap }, func() { t.Error("collected, want it left to rest") })
	w.settle()
	if got := w.hub.Snapshot().MemoryPressure; got != "refuse" || c.closed {
		t.Errorf("of an old collection: got pressure %q, closed %v; want refuse, false", got, c.closed)
	}
	if got := w.weigh(); got != "cut" || !c.closed {
		t.Errorf("of a fresh collection: got pressure %q, closed %v; want cut, true", got, c.closed)
	}
}

func TestWhatWaitsInLanesCountsAsMemory(t *testing.T) {
	w := newWeighing(nil)
	c := w.enter(0)
	before := w.hub.owned()
	letGo := w.hold(0)
	c.say(`{"cmd":"send_to_group","group_id":"0g","message":%q}`, strings.Repeat("x", 100_000))
	if got := w.hub.owned() - before; got < 100_000 || got > 101_000 {
		t.Errorf("a message of 100,000 bytes in an up lane: got %d bytes", got)
	}
	letGo()
	w.settle()
	if got := w.hub.owned() - before; got != 0 {
		t.Errorf("afterwards: got %d bytes, want none", got)
	}
}

func TestWithoutAMemoryLimitNothingIsRefused(t *testing.T) {
	w := newWeighing(func(b *bounds) { b.MemoryMax = 0 })
	w.heap = heap{live: 1 << 40, cycles: 1}
	if got := w.weigh(); got != "none" || w.collected != 0 {
		t.Errorf("got pressure %q, %d collections; want none", got, w.collected)
	}
}

func TestTheMemoryLimitIsGosTooAlsoWhenItIsChanged(t *testing.T) {
	s, err := Start(Config{Loops: 1, Limits: Limits{MemoryMax: 1 << 40}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop(context.Background(), nil)
	for _, c := range []struct{ set, want int64 }{{1 << 41, 1 << 41}, {0, goLimit}} {
		if err := s.Apply(context.Background(), Limits{MemoryMax: c.set}); err != nil {
			t.Fatal(err)
		}
		if got := debug.SetMemoryLimit(-1); got != c.want {
			t.Errorf("Go's limit after one of %d: got %d, want %d", c.set, got, c.want)
		}
	}
}

func TestBoundsInSumArePartsOfTheMemoryLimit(t *testing.T) {
	for _, c := range []struct {
		l                              Limits
		outboxes, fragments, histories int64
	}{
		{Limits{}, math.MaxInt64, 0, 0},
		{Limits{MemoryMax: 800}, 200, 100, 100},
		{Limits{MemoryMax: 800, OutboxesBytesMax: 300, FragmentsBytesMax: 150, HistoryBytesMax: 150}, 300, 150, 150},
		{Limits{MemoryMax: 800, OutboxesBytesMax: 700, FragmentsBytesMax: 700, HistoryBytesMax: 700}, 400, 200, 200}, // cuts by the limit come too late for that
	} {
		if err := c.l.fill(); err != nil {
			t.Fatal(err)
		}
		if b := c.l.bounds(); b.outboxesMax() != c.outboxes || b.FragmentsBytesMax != c.fragments || b.HistoryBytesMax != c.histories {
			t.Errorf("%+v: got %d, %d and %d, want %d, %d and %d", c.l, b.outboxesMax(), b.FragmentsBytesMax, b.HistoryBytesMax, c.outboxes, c.fragments, c.histories)
		}
	}
}
