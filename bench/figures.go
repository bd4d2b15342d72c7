package main

import (
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"ringcast/bench/check"
	"ringcast/bench/report"
)

func readPercentiles(h *hdrhistogram.Histogram) report.Percentiles {
	return report.Percentiles{P50: h.ValueAtQuantile(50), P90: h.ValueAtQuantile(90), P99: h.ValueAtQuantile(99), P999: h.ValueAtQuantile(99.9), Max: h.Max()}
}

func encodeHistogram(h *hdrhistogram.Histogram) string {
	text, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		return "" // the percentiles do not need it
	}
	return string(text)
}

// cpuCoarse: below this number of ticks of 10 ms the cost per delivery is too inexact.
const cpuCoarse = 30 * clockTick

// lateShare: if the bench's own lateness is this share of the 99th percentile, that figure is about the bench. So is the
// rate of a closed loop when the acks of helpers, for which its windows wait, are so late on average.
const lateShare = 0.25

// report merges the results of the crews.
func (m *measurement) report(r *report.Run) error {
	f := &report.Fanout{ServerUser: m.cpu.user, ServerSystem: m.cpu.system}
	latency, lateness, acksLate := newHistogram(), newHistogram(), newHistogram()
	var wrong check.Faults
	var last int64
	for _, c := range m.crews {
		f.MissedByCut += c.finish()
		f.Published += c.published
		f.Delivered += c.delivered
		f.Received += c.g.Received() - c.receivedBefore
		for _, p := range c.schedule.own {
			if m.load.Rate > 0 && c.published < c.most && !p.gone {
				f.Unsent += uint64(p.allowed - p.sequence)
			}
		}
		latency.Merge(c.latency)
		lateness.Merge(c.lateness)
		acksLate.Merge(c.acksLate)
		wrong.Merge(&c.faults)
		last = max(last, c.ended-c.started)
	}
	wrong.Merge(&m.also)
	digests := make([][]check.Digest, 1, 1+len(m.books))
	for _, c := range m.crews {
		digests[0] = append(digests[0], c.digests()...)
	}
	for _, b := range m.books {
		f.MissedByCut += b.MissedByCut
		f.Delivered += b.Delivered
		f.Received += b.Received
		last = max(last, b.Ended-m.crews[0].started)
		digests = append(digests, b.Digests)
		if err := b.read(latency, &wrong); err != nil {
			return err
		}
	}
	check.CompareOrders(digests, &wrong)
	took := time.Duration(max(last, 1))
	f.Seconds = took.Seconds()
	f.PublishedPer, f.DeliveredPer = float64(f.Published)/f.Seconds, float64(f.Delivered)/f.Seconds
	f.Latency, f.Lateness = readPercentiles(latency), readPercentiles(lateness)
	f.Allocations = -1
	if f.Delivered > 0 {
		f.Histogram = encodeHistogram(latency)
		f.WireBytes = float64(f.Received) / float64(f.Delivered)
		if m.cpu.total() >= cpuCoarse {
			f.ServerMicros = float64(m.cpu.total().Nanoseconds()) / 1e3 / float64(f.Delivered)
		}
		if m.allocations >= 0 {
			f.Allocations = float64(m.allocations) / float64(f.Delivered)
		}
	}
	r.Fanout = f
	noteLimit(r, m.session, m.uses, m.cpu, m.machine)
	f.LatencyVoid = r.RateVoid || float64(f.Lateness.P99) > lateShare*float64(f.Latency.P99)
	if acksLate.TotalCount() > 0 {
		f.AcksLate = readPercentiles(acksLate)
		if share := acksLate.Mean() / latency.Mean(); share > lateShare && !r.RateVoid { // it is not part of the latency
			r.RateVoid = true
			r.Limit = fmt.Sprintf("the bench: its helpers' acks took %.0f %% of the mean latency on top. The rate is void: use --rate, or one process", 100*share)
		}
	}
	noteFaults(r, &wrong)
	switch {
	case !wrong.Fine():
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
	r.Fine = wrong.Fine() && f.Delivered > 0 && f.Unsent == 0
	return nil
}
