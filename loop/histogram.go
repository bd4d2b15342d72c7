package loop

import (
	"math/bits"
	"sync/atomic"
)

// histogram counts values by powers of two: bucket k takes what is above 2^(k-1) and at most 2^k. Two atomic additions a
// value, no allocation, no lock; a reader may see a value's count before its share of the sum.
//
// Owner: as of counters.
type histogram struct {
	sum     atomic.Uint64
	buckets [histogramBuckets]atomic.Uint64
}

// histogramBuckets: the last one takes everything above 2^38, which is four minutes of nanoseconds.
const histogramBuckets = 40

// observe counts a value. A negative one, such as the difference of two loops' readings of the clock, is as good as none.
func (h *histogram) observe(v int64) {
	v = max(v, 1)
	h.buckets[min(bits.Len64(uint64(v-1)), histogramBuckets-1)].Add(1)
	h.sum.Add(uint64(v))
}

// sampled picks one in eight of the numbers 0, 1, 2… That is how often what happens with every message is timed, because
// two readings of the clock cost as much as ten deliveries. Not simply every eighth: what comes in turns would then be
// timed always or never. The multiples of the golden ratio, whose uppermost bits these are, fall into step with nothing.
func sampled(n uint64) bool { return n*0x9E3779B97F4A7C15>>61 == 0 }

// Histogram is how often values of each size have occurred.
type Histogram struct {
	Count   uint64             // values
	Sum     float64            // of all values
	Buckets map[float64]uint64 // by upper bound: how many values are at most that large; what is larger is in Count alone
}

// Histograms are distributions over all loops since the start. All are samples: one in eight of what they are of, picked
// without regard to its size.
type Histograms struct {
	BatchMessages   Histogram // messages that a pass sent to each member at once
	PassSeconds     Histogram // from the beginning of a pass to its end, the turns between included
	TurnSeconds     Histogram // a callback of a loop, its turn included
	LaneWaitSeconds Histogram // from a client's publish on its loop until the message has gathered on a loop with members
}

// Histograms reads all of them. Any goroutine, at any time; it disturbs no loop.
func (h *Hub) Histograms() Histograms {
	return Histograms{
		BatchMessages:   h.histogram(func(c *counters) *histogram { return &c.batches }, 0, 14, 1),
		PassSeconds:     h.histogram(func(c *counters) *histogram { return &c.passTimes }, 10, 34, 1e-9),
		TurnSeconds:     h.histogram(func(c *counters) *histogram { return &c.turnTimes }, 10, 34, 1e-9),
		LaneWaitSeconds: h.histogram(func(c *counters) *histogram { return &c.laneWaits }, 10, 34, 1e-9),
	}
}

// histogram sums one of the histograms of all loops; bounds below 2^from and above 2^to are left out.
func (h *Hub) histogram(of func(*counters) *histogram, from, to int, unit float64) Histogram {
	var buckets [histogramBuckets]uint64
	var sum uint64
	for _, s := range h.shards {
		one := of(&s.count)
		for k := range buckets {
			buckets[k] += one.buckets[k].Load()
		}
		sum += one.sum.Load()
	}
	all := Histogram{Sum: float64(sum) * unit, Buckets: make(map[float64]uint64, to-from+1)}
	for k, n := range buckets {
		all.Count += n
		if from <= k && k <= to {
			all.Buckets[float64(uint64(1)<<k)*unit] = all.Count
		}
	}
	return all
}
