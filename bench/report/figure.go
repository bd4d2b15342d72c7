package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
)

// figure is one quantity that a run measured: its name is the heading of a column, with the unit.
type figure struct {
	name string
	of   func(*Run) float64 // NaN: not measured
	void func(*Run) bool    // the value is that of the generator itself; nil: never
	// floor: a void value is still a lower bound for the server. That is so for a rate that the generator limited, not for a
	// latency.
	floor bool
	more  bool // more is better
	bytes bool // of memory, which depends neither on the speed of a machine nor on what else it did
}

var (
	cpuPerDelivery = figure{name: "server µs/delivery", of: fromFanout(func(_ *Run, x *Fanout) float64 { return x.ServerMicros })}
	deliveries     = figure{name: "deliveries/s", of: fromFanout(func(_ *Run, x *Fanout) float64 { return x.DeliveredPer }),
		void: rateVoid, floor: true, more: true}
	wireEach       = figure{name: "wire bytes/delivery", of: fromFanout(func(_ *Run, x *Fanout) float64 { return x.WireBytes }), bytes: true}
	latencyMedian  = figure{name: "p50 ms", of: fromFanout(func(_ *Run, x *Fanout) float64 { return milliseconds(x.Latency.P50) }), void: latencyVoid}
	latencyTail    = figure{name: "p99 ms", of: fromFanout(func(_ *Run, x *Fanout) float64 { return milliseconds(x.Latency.P99) }), void: latencyVoid}
	bystanderTail  = figure{name: "bystanders' p99 ms", of: fromFanout(func(_ *Run, x *Fanout) float64 { return milliseconds(x.Ping.P99) })}
	cpuPerOpening  = figure{name: "server µs/handshake", of: fromConnect(func(c *Connect) float64 { return c.ServerMicros })}
	openingsPerCPU = figure{name: "handshakes/server CPU s", of: fromConnect(func(c *Connect) float64 { return c.PerCPUSecond }), more: true}
	openings       = figure{name: "handshakes/s", of: fromConnect(func(c *Connect) float64 { return c.PerSecond }), void: rateVoid, floor: true, more: true}
	memoryEach     = figure{name: "RSS bytes/client", of: fromMemory(func(m *Memory) float64 { return m.RSSPerClient }), bytes: true}
	heap           = figure{name: "heap MB", of: fromMemory(func(m *Memory) float64 { return float64(m.HeapAfter) / 1e6 }), bytes: true}
	lives          = figure{name: "lives/s", of: func(r *Run) float64 {
		if r.Churn == nil {
			return math.NaN()
		}
		return measured(r.Churn.PerSecond)
	}, more: true}
	peak = figure{name: "RSS peak MB", of: func(r *Run) float64 {
		if r.Slow == nil {
			return math.NaN()
		}
		return measured(float64(r.Slow.RSSPeak) / 1e6)
	}, bytes: true}
)

// Figures of resume. Each is void with the generator: it decodes what all members have missed.
var (
	cpuPerRecovery = figure{name: "server µs/recovery", of: fromResume(func(x *Resume) float64 { return x.ServerMicros })}
	answerMedian   = figure{name: "answer p50 ms", of: fromResume(func(x *Resume) float64 { return milliseconds(x.Answer.P50) }), void: rateVoid}
	answerTail     = figure{name: "answer p99 ms", of: fromResume(func(x *Resume) float64 { return milliseconds(x.Answer.P99) }), void: rateVoid}
	answerLast     = figure{name: "last answer s", of: fromResume(func(x *Resume) float64 { return x.Seconds }), void: rateVoid}
	calmTail       = figure{name: "bystanders' p99 ms before", of: fromResume(func(x *Resume) float64 { return milliseconds(x.Before.P99) })}
	stormTail      = figure{name: "meanwhile", of: fromResume(func(x *Resume) float64 { return milliseconds(x.During.P99) })}
)

// Figures of post.
var (
	cpuPerPost = figure{name: "server µs/request", of: fromPost(func(x *Post) float64 { return x.ServerMicros })}
	posted     = figure{name: "requests/s", of: fromPost(func(x *Post) float64 { return x.PerSecond }), more: true}
	postMedian = figure{name: "answer p50 ms", of: fromPost(func(x *Post) float64 { return milliseconds(x.Answer.P50) })}
	postTail   = figure{name: "answer p99 ms", of: fromPost(func(x *Post) float64 { return milliseconds(x.Answer.P99) })}
)

// tabled are the columns of a table, as far as a load has them. Memory is only shown for connect: with the few clients
// of other loads it would mostly be the memory of the program itself, divided by them.
func (g *group) tabled() []figure {
	switch {
	case g.opening:
		return []figure{cpuPerOpening, openingsPerCPU, openings, memoryEach, heap}
	case g.coming:
		return []figure{cpuPerRecovery, answerMedian, answerTail, answerLast, calmTail, stormTail}
	case g.posting:
		return []figure{cpuPerPost, posted, postMedian, postTail}
	case g.many:
		return []figure{cpuPerOrdered, ordered, ackMedian, ackTail, deliveryMedian, deliveryTail, silence, nodesPeak}
	}
	all := []figure{cpuPerDelivery, deliveries, latencyMedian, latencyTail, bystanderTail, lives, peak}
	if g.wired() {
		all = slices.Insert(all, 1, wireEach)
	}
	return all
}

// compared are the figures by which two files are compared.
var compared = []figure{cpuPerDelivery, latencyTail, deliveries, wireEach, cpuPerOpening, memoryEach, cpuPerRecovery, answerTail, posted, cpuPerOrdered, ordered, ackTail, deliveryTail}

func rateVoid(r *Run) bool { return r.RateVoid }

// latencyVoid checks both flags: with a saturated generator, messages are late because of the generator.
func latencyVoid(r *Run) bool {
	return r.RateVoid || r.Fanout != nil && r.Fanout.LatencyVoid || r.Cluster != nil && r.Cluster.LatencyVoid
}

func fromFanout(of func(*Run, *Fanout) float64) func(*Run) float64 {
	return func(r *Run) float64 {
		if r.Fanout == nil {
			return math.NaN()
		}
		return measured(of(r, r.Fanout))
	}
}

func fromConnect(of func(*Connect) float64) func(*Run) float64 {
	return func(r *Run) float64 {
		if r.Connect == nil {
			return math.NaN()
		}
		return measured(of(r.Connect))
	}
}

func fromResume(of func(*Resume) float64) func(*Run) float64 {
	return func(r *Run) float64 {
		if r.Resume == nil {
			return math.NaN()
		}
		return measured(of(r.Resume))
	}
}

func fromPost(of func(*Post) float64) func(*Run) float64 {
	return func(r *Run) float64 {
		if r.Post == nil {
			return math.NaN()
		}
		return measured(of(r.Post))
	}
}

func fromMemory(of func(*Memory) float64) func(*Run) float64 {
	return func(r *Run) float64 {
		if r.Memory == nil || r.Connect == nil {
			return math.NaN()
		}
		return measured(of(r.Memory))
	}
}

// measured turns a 0 into "not measured", which is its meaning in a result file.
func measured(v float64) float64 {
	if v <= 0 {
		return math.NaN()
	}
	return v
}

func milliseconds(ns int64) float64 { return float64(ns) / 1e6 }

// spread is the values of one figure in all rounds, sorted.
type spread []float64

func newSpread(values []float64) spread {
	s := slices.Clone(values)
	slices.Sort(s)
	return s
}

func (s spread) median() float64 {
	n := len(s)
	if n == 0 {
		return math.NaN()
	}
	return (s[(n-1)/2] + s[n/2]) / 2
}

func (s spread) least() float64 { return s[0] }
func (s spread) most() float64  { return s[len(s)-1] }

// String is the median, and of several rounds the range: without it a difference cannot be told from noise.
func (s spread) String() string {
	switch len(s) {
	case 0:
		return "–"
	case 1:
		return digits(s[0])
	}
	return fmt.Sprintf("%s (%s–%s)", digits(s.median()), digits(s.least()), digits(s.most()))
}

// digits writes a figure with three digits, and thousands and millions as k and M: more would be noise.
func digits(v float64) string {
	if math.IsNaN(v) {
		return "–"
	}
	for _, unit := range []struct {
		size float64
		name string
	}{{1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if math.Abs(v) >= 0.9995*unit.size { // what three digits would round up to the unit
			return threeDigits(v/unit.size) + unit.name
		}
	}
	return threeDigits(v)
}

func threeDigits(v float64) string {
	behind := 2
	switch a := math.Abs(v); {
	case a >= 99.95:
		behind = 0
	case a >= 9.995:
		behind = 1
	case a != 0 && a < 0.9995:
		behind = min(2-int(math.Floor(math.Log10(a))), 6) // below a millionth of anything there is nothing to see
	}
	return strconv.FormatFloat(v, 'f', behind, 64)
}
