package main

import (
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// fanoutFigures is what fanout measures. Times of latency are nanoseconds from the due time in an open loop, from the
// write in a closed one, to the read in which the message arrived.
type fanoutFigures struct {
	Published    uint64  `json:"published"`
	Unsent       uint64  `json:"due_but_not_taken_by_the_server"`
	Delivered    uint64  `json:"delivered"`
	Seconds      float64 `json:"seconds"` // first due time to last delivery
	PublishedPer float64 `json:"published_per_second"`
	DeliveredPer float64 `json:"deliveries_per_second"`

	Latency     percentiles `json:"latency_ns"`
	LatencyVoid bool        `json:"latency_void"`
	Lateness    percentiles `json:"sent_late_ns"` // open loop: by how much the bench itself was behind the due time

	ServerUser   time.Duration `json:"server_user_ns"`
	ServerSystem time.Duration `json:"server_system_ns"`
	ServerMicros float64       `json:"server_us_per_delivery"`
	Threads      []threadUse   `json:"generator_threads"`
	MissedByCut  uint64        `json:"missed_by_members_that_were_cut_off"`

	// Histogram is HdrHistogram's own compressed form (V2, base64), so that runs can be added up.
	Histogram string `json:"latency_histogram,omitempty"`
}

type percentiles struct {
	P50  int64 `json:"p50"`
	P90  int64 `json:"p90"`
	P99  int64 `json:"p99"`
	P999 int64 `json:"p99_9"`
	Max  int64 `json:"max"`
}

func readPercentiles(h *hdrhistogram.Histogram) percentiles {
	return percentiles{h.ValueAtQuantile(50), h.ValueAtQuantile(90), h.ValueAtQuantile(99), h.ValueAtQuantile(99.9), h.Max()}
}

func (p percentiles) String() string {
	return fmt.Sprintf("p50 %s · p90 %s · p99 %s · p99.9 %s · max %s", brief(p.P50), brief(p.P90), brief(p.P99), brief(p.P999), brief(p.Max))
}

// brief writes nanoseconds with three digits.
func brief(ns int64) string {
	switch d := time.Duration(ns); {
	case d >= 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d >= 10*time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	default:
		return d.Round(time.Microsecond).String()
	}
}

// cpuCoarse: below so many ticks of 10 ms the cost per delivery is a guess.
const cpuCoarse = 30 * clockTick

// lateShare: when the bench's own lateness is so much of the 99th percentile, that figure is about the bench.
const lateShare = 0.25

// report puts the crews' books together.
func (v *fanoutVerb) report(s *session, crews []*crew, uses []threadUse, cpu cpuTime, machine float64, r *result) {
	f := &fanoutFigures{ServerUser: cpu.user, ServerSystem: cpu.system, Threads: uses}
	latency, lateness := newHistogram(), newHistogram()
	var wrong faults
	var last int64
	for _, c := range crews {
		f.MissedByCut += c.finish()
		f.Published += c.published
		f.Delivered += c.delivered
		for _, p := range c.schedule.own {
			if v.Rate > 0 && !p.gone {
				f.Unsent += uint64(p.allowed - p.sequence)
			}
		}
		latency.Merge(c.latency)
		lateness.Merge(c.lateness)
		wrong.merge(&c.faults)
		last = max(last, c.ended-c.started)
	}
	took := time.Duration(max(last, 1))
	f.Seconds = took.Seconds()
	f.PublishedPer, f.DeliveredPer = float64(f.Published)/f.Seconds, float64(f.Delivered)/f.Seconds
	f.Latency, f.Lateness = readPercentiles(latency), readPercentiles(lateness)
	if f.Delivered > 0 {
		f.ServerMicros = float64(cpu.total().Nanoseconds()) / 1e3 / float64(f.Delivered)
		if text, err := latency.Encode(hdrhistogram.V2CompressedEncodingCookieBase); err == nil {
			f.Histogram = string(text)
		}
	}
	r.Fanout = f
	r.limit(s, uses, cpu, machine)
	r.takeFaults(&wrong)

	pace := fmt.Sprintf("closed loop, %d in flight a publisher", v.Window)
	if v.Rate > 0 {
		pace = fmt.Sprintf("open loop, %g messages/s", v.Rate)
	}
	r.line("fanout", "%s members, %s groups, %s publishers, %d bytes, %s", count(v.Members), count(v.Groups), count(v.Publishers), v.Size, pace)
	r.line("published", "%s in %.2f s, %s/s", count(f.Published), f.Seconds, count(int64(f.PublishedPer)))
	r.line("delivered", "%s, %s/s%s", count(f.Delivered), count(int64(f.DeliveredPer)), voidMark(r.RateVoid))
	f.LatencyVoid = r.RateVoid || float64(f.Lateness.P99) > lateShare*float64(f.Latency.P99)
	r.line("latency", "%v%s", f.Latency, voidMark(f.LatencyVoid))
	if v.Rate > 0 {
		r.line("sent late", "%v (the bench's own part of the latency; over a quarter of its p99 voids it)", f.Lateness)
		if f.Unsent > 0 || f.Seconds > 1.1*v.Time.Seconds() {
			r.line("", "the server did not keep up with the rate: %s due messages were not taken, the last delivery came %.2f s after the end",
				count(f.Unsent), max(0, f.Seconds-v.Time.Seconds()))
		}
	}
	switch {
	case s.victim == nil:
		r.line("server", "not seen: %v", s.blindness)
	case cpu.total() < cpuCoarse:
		r.line("server", "pid %v: %v of CPU in all, too little for a figure per delivery: run longer", s.victim.pids, cpu.total())
	default:
		r.line("server", "pid %v: %.3f µs of CPU a delivery (user %.0f %%), %.2f cores", s.victim.pids, f.ServerMicros,
			100*share(cpu.user, cpu.total()), r.ServerCore)
	}
	for i, u := range uses {
		r.line("generator", "thread %d: %.0f %% on a core, %.0f %% waiting for one", i, 100*share(u.OnCore, u.Wall), 100*share(u.Waiting, u.Wall))
	}
	r.line("saturated", "%s", r.Limit)
	switch {
	case !wrong.fine():
		r.Verdict = "FAULTY"
		if f.MissedByCut > 0 {
			r.Verdict += fmt.Sprintf(" (members that were cut off missed %s messages)", count(f.MissedByCut))
		}
	case f.Delivered == 0:
		r.Verdict = "FAULTY: nothing was delivered"
	case f.Unsent > 0:
		r.Verdict = "FAULTY: not all due messages could be sent"
	default:
		r.Verdict = verdictFine + ": every member got every message once, in one order"
	}
}
