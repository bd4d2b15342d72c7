package loop

import (
	"fmt"
	"math/bits"
	"reflect"
	"sync/atomic"
)

// histogram counts values by powers of two: bucket k those above 2^(k-1) and up to 2^k. A value costs two atomic additions, no
// allocation and no lock; a reader may see a value's count before its part of the sum.
//
// Owner: as for counters.
type histogram struct {
	sum     atomic.Uint64
	buckets [histogramBuckets]atomic.Uint64
}

// histogramBuckets: the last one takes everything above 2^38, which is four minutes of nanoseconds.
const histogramBuckets = 40

// observe counts a value. A negative one, which the difference of two loops' readings of the clock may be, counts as 1.
func (h *histogram) observe(v int64) {
	v = max(v, 1)
	h.buckets[min(bits.Len64(uint64(v-1)), histogramBuckets-1)].Add(1)
	h.sum.Add(uint64(v))
}

// sampled is true for one in eight of the numbers 0, 1, 2… So often is timed what happens for every message, because two readings
// of the clock cost as much as ten deliveries. It is not every eighth: events that alternate would then be timed always or never.
// The number is multiplied by the golden ratio (Knuth's multiplicative hash), and the upper three bits decide.
func sampled(n uint64) bool { return n*0x9E3779B97F4A7C15>>61 == 0 }

// Histogram is the distribution of values by size, since the start.
type Histogram struct {
	Count   uint64             // values
	Sum     float64            // of all values
	Buckets map[float64]uint64 // by upper bound: the number of values up to it; larger values than the last are in Count alone
}

// distributions is the table of histograms, as figures is of counters. H is a loop's histogram, or the Histogram that was
// read from those of all loops. All of them count a sample, one in eight of what they measure, chosen independently of the
// value.
//
//	prom, help  as in figures
//	unit        of a loop's values, in units of the metric
//	buckets     the lowest and the highest that are shown, as powers of two
type distributions[H any] struct {
	Batches   H `prom:"ringcast_fanout_batch_messages" unit:"1" buckets:"0 14" help:"Messages that a pass sent to each member at once. A sample: one pass in eight."`
	PassTimes H `prom:"ringcast_pass_duration_seconds" unit:"1e-9" buckets:"10 34" help:"From the beginning of a pass over a group's members to its end. A sample: one pass in eight."` // the turns between included
	TurnTimes H `prom:"ringcast_turn_duration_seconds" unit:"1e-9" buckets:"10 34" help:"Time that a loop spent in one callback, its turn included. A sample: one callback in eight."`
	LaneWaits H `prom:"ringcast_lane_wait_seconds" unit:"1e-9" buckets:"10 34" help:"From a client's publish on its own loop until the message was gathered for the members of a loop, once per such loop. A sample: one publish in eight."`
}

// Histograms are the distributions over all loops since the start; times are in seconds. The tags prom and help say how each
// is shown.
type Histograms distributions[Histogram]

// Histograms reads all of them. Any goroutine, at any time; it disturbs no loop.
func (h *Hub) Histograms() (all Histograms) {
	to := reflect.ValueOf(&all).Elem()
	for i := range to.NumField() {
		to.Field(i).Set(reflect.ValueOf(h.histogram(i)))
	}
	return all
}

// histogram sums the i-th of the histograms of all loops.
func (h *Hub) histogram(i int) Histogram {
	var buckets [histogramBuckets]uint64
	var sum uint64
	for _, s := range h.shards {
		one := reflect.ValueOf(&s.count.distributions).Elem().Field(i).Addr().Interface().(*histogram)
		for k := range buckets {
			buckets[k] += one.buckets[k].Load()
		}
		sum += one.sum.Load()
	}
	var unit float64
	var from, to int
	tag := reflect.TypeFor[Histograms]().Field(i).Tag
	if _, err := fmt.Sscan(tag.Get("unit")+" "+tag.Get("buckets"), &unit, &from, &to); err != nil {
		panic(err)
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
