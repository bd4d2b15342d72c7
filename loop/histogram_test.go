package loop

import (
	"math"
	"testing"
)

func TestAHistogramPutsEachValueUnderItsBound(t *testing.T) {
	h := newHub(2, defaultBounds())
	for i, v := range []int64{-5, 0, 1, 2, 3, 4, 5, 1 << 14, 1<<14 + 1, math.MaxInt64 >> 1} {
		h.shards[i%2].count.Batches.observe(v)
	}
	got := h.Histograms().Batches
	for bound, want := range map[float64]uint64{1: 3, 2: 4, 4: 6, 8: 7, 1 << 13: 7, 1 << 14: 8} {
		if got.Buckets[bound] != want {
			t.Errorf("values of at most %v: got %d, want %d", bound, got.Buckets[bound], want)
		}
	}
	if got.Count != 10 || len(got.Buckets) != 15 {
		t.Errorf("got %d values and %d bounds, want 10 and 15", got.Count, len(got.Buckets))
	}
	h.shards[1].count.PassTimes.observe(3 << 20)
	if got := h.Histograms().PassTimes; got.Count != 1 || math.Abs(got.Sum-3*1.048576e-3) > 1e-9 || got.Buckets[(1<<22)*1e-9] != 1 || got.Buckets[(1<<21)*1e-9] != 0 {
		t.Errorf("3.1 ms: got %+v, want it once, in seconds, above 2.1 ms and below 4.2", got)
	}
}

func TestTheSampleIsOneInEightAndFallsIntoStepWithNothing(t *testing.T) {
	const turns = 10_000
	for _, period := range []uint64{1, 2, 3, 7, 8, 13, 64, 1000} {
		n := 0
		for i := range uint64(turns) {
			if sampled(i * period) {
				n++
			}
		}
		if n < turns/10 || n > turns/6 {
			t.Errorf("every %d numbers: got %d of %d in the sample, want about an eighth", period, n, turns)
		}
	}
}

func TestWhatPassesThroughTheLanesIsTimed(t *testing.T) {
	st := newStage(2, nil)
	sender, member := st.enter(0), st.enter(1)
	member.say(`{"cmd":"add_group","group_id":"1g"}`)
	st.settle()
	const messages = 800
	for range messages {
		sender.say(`{"cmd":"send_to_group","group_id":"1g","message":"x"}`)
		st.settle()
	}
	got := st.hub.Histograms()
	for name, h := range map[string]Histogram{"batches": got.Batches, "passes": got.PassTimes, "lane waits": got.LaneWaits} {
		if h.Count < messages/10 || h.Count > messages/6 {
			t.Errorf("%s: got %d, want about an eighth of %d", name, h.Count, messages)
		}
	}
	if got.Batches.Sum != float64(got.Batches.Count) {
		t.Errorf("messages in %d batches: got %v, want one each", got.Batches.Count, got.Batches.Sum)
	}
	for name, h := range map[string]Histogram{"passes": got.PassTimes, "turns": got.TurnTimes, "lane waits": got.LaneWaits} {
		if h.Sum < float64(h.Count)*busyGap*1e-9/2 { // this clock moves on by busyGap at each look
			t.Errorf("%s: got %v s in %d, want some time in each", name, h.Sum, h.Count)
		}
	}
}
