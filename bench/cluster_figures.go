package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"ringcast/bench/check"
	"ringcast/bench/report"
)

// report compares what was heard with what was answered, and fills in the figures.
func (m *gathering) report(r *report.Run, k *keeper) {
	x := &report.Cluster{CutCauses: map[string]int{}, Events: k.events}
	r.Cluster = x
	var wrong check.Faults
	ack, delivery, lateness := newHistogram(), newHistogram(), newHistogram()
	var lastAt int64
	for _, v := range m.voices {
		x.Repeats += v.repeats
		x.RepeatsOK += v.repeatsOK
		x.Unsent += v.unsent
		x.Cuts += v.cuts
		x.Waited = max(x.Waited, v.waited)
		addCauses(x.CutCauses, v.cutCauses)
		ack.Merge(v.ack)
		lateness.Merge(v.lateness)
		for code, n := range v.refusals {
			r.Notes = append(r.Notes, fmt.Sprintf("%s publishes were refused as %s", count(n), code))
		}
	}
	said := m.said()
	for _, b := range m.roamers {
		b.finish()
		x.Cuts += b.cuts
		x.Returns += b.returns
		x.Recovered += b.recovered
		x.NotRecovered += b.unrecovered
		x.Missed += b.missed
		x.Delivered += b.delivered
		x.Silence = max(x.Silence, b.silence)
		lastAt = max(lastAt, b.freshAt)
		addCauses(x.CutCauses, b.cutCauses)
		delivery.Merge(b.delivery)
		for group, log := range b.logs {
			if log == nil {
				continue
			}
			found := log.Finish(said[group], b.gone[group])
			x.Ordered += found.Ordered
			x.UncertainHeard += found.UncertainHeard
			x.MissedByGone += found.MissedByGone
			x.Rewound += found.Rewound
			x.Again += found.Again
			x.Epochs = max(x.Epochs, found.Epochs)
		}
		wrong.Merge(&b.faults)
	}
	for _, v := range m.voices { // after Finish, which adds nothing to theirs
		wrong.Merge(&v.faults)
	}
	var answers [check.Answers]uint64
	for _, s := range said {
		for a, n := range s.Count() {
			answers[a] += n
		}
	}
	x.OK, x.Busy, x.Unavailable, x.Unknown = answers[check.OK], answers[check.Busy], answers[check.Unavailable], answers[check.Unknown]
	x.Refused, x.Unanswered = answers[check.Refused], answers[check.None]
	x.Published = x.OK + x.Busy + x.Unavailable + x.Unknown + x.Refused + x.Unanswered + answers[check.Silence]
	x.Seconds = time.Duration(max(int64(m.load.Time), lastAt-k.start)).Seconds()
	x.OrderedPer, x.DeliveredPer = float64(x.Ordered)/x.Seconds, float64(x.Delivered)/x.Seconds
	x.Ack, x.Delivery, x.Lateness = readPercentiles(ack), readPercentiles(delivery), readPercentiles(lateness)
	x.AckHistogram, x.DeliveryHistogram = encodeHistogram(ack), encodeHistogram(delivery)

	var used cpuTime
	blind := 0
	for i, n := range m.nodes {
		use := n.use(m.before[i])
		used = cpuTime{used.user + use.User, used.system + use.System}
		x.Nodes = append(x.Nodes, use)
		if n.victim == nil {
			blind++
			r.Notes = append(r.Notes, fmt.Sprintf("the processes of %s were not seen: %v", n.name, n.blind))
		}
	}
	if blind == 0 && x.Ordered > 0 && used.total() >= cpuCoarse {
		x.ServerMicros = float64(used.total().Nanoseconds()) / 1e3 / float64(x.Ordered)
	}
	m.limit(r, used, blind > 0)
	x.LatencyVoid = r.RateVoid || float64(x.Lateness.P99) > lateShare*float64(x.Ack.P99) && m.load.Rate > 0
	noteFaults(r, &wrong)
	m.verdict(r, &wrong, k.ended)
}

// limit says what was saturated.
func (m *gathering) limit(r *report.Run, used cpuTime, blind bool) {
	busy := make([]float64, len(m.uses))
	for i, u := range m.uses {
		busy[i] = u.Busy()
	}
	r.Threads, r.Busy = m.uses, m.machine
	server := -1.0
	if !blind {
		r.ServerCore = report.Share(used.total(), m.wall)
		server = r.ServerCore
	}
	r.Limit, r.RateVoid = limit(busy, server, m.machine)
}

func (m *gathering) verdict(r *report.Run, wrong *check.Faults, ended []string) {
	x := r.Cluster
	switch {
	case len(ended) > 0:
		r.Verdict = "FAULTY: " + strings.Join(ended, "; ")
	case !wrong.Fine():
		r.Verdict = "FAULTY"
	case x.OK == 0:
		r.Verdict = "FAULTY: nothing was answered ok"
	case x.Delivered == 0:
		r.Verdict = "FAULTY: nothing was delivered"
	case x.Unsent > 0 && len(x.Events) == 0:
		r.Verdict = "FAULTY: not all due messages could be sent"
	default:
		r.Fine = true
		r.Verdict = verdictFine + ": what was answered ok was heard by every member once, in one order over all nodes, and with the number that was answered"
		if x.NotRecovered > 0 {
			r.Verdict += fmt.Sprintf("; %s times a member was told that what it missed cannot be had, and is owed nothing of that", count(x.NotRecovered))
		}
	}
}

func addCauses(to, from map[string]int) {
	for cause, n := range from {
		to[cause] += n
	}
}

// endCluster prints the runs, and writes the file if one is wanted.
func (e *env) endCluster(file string, runs []*report.Run) error {
	f := e.newFile(runs...)
	fmt.Fprint(e.stdout, report.Rates(f))
	if file != "" {
		if err := f.Write(file); err != nil {
			return fmt.Errorf("--json: %w", err)
		}
	}
	if slices.ContainsFunc(runs, func(r *report.Run) bool { return !r.Fine }) {
		return errFaulty
	}
	return nil
}
