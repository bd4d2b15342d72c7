package report

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Text is a file for people to read: the lines of each run, then how the first compares with the ceiling, if one was run.
func Text(f *File) string {
	var t lines
	for i, r := range f.Runs {
		if i > 0 {
			t.b.WriteByte('\n')
		}
		t.run(r)
	}
	if beside := sharesOfCeiling(f); len(beside) > 0 {
		t.b.WriteByte('\n')
		for _, line := range beside {
			t.line("", "%s", line)
		}
	}
	return t.b.String()
}

// lines gathers the lines of a report, each a name and a text.
type lines struct{ b strings.Builder }

func (t *lines) line(name, format string, args ...any) {
	fmt.Fprintf(&t.b, "%-11s ", name)
	fmt.Fprintf(&t.b, format, args...)
	t.b.WriteByte('\n')
}

func (t *lines) run(r *Run) {
	t.line(r.Verb, "%s%s", r.Server, r.loadText())
	if s := r.TLS; s != nil {
		t.line("TLS", "%s", s)
	}
	if c := r.Connect; c != nil {
		t.line("opened", "%s of %s clients joined in %.2f s: %s handshakes/s%s", Count(c.Joined), Count(int64(c.Asked)), c.OpeningSeconds,
			Count(int64(c.PerSecond)), voidMark(r.RateVoid))
		t.line("held", "for %v, %s pings answered", r.Flags["hold"], Count(int64(c.PingsAnswered)))
		if c.ServerMicros == 0 && r.Memory != nil {
			t.line("server", "too little CPU for a figure per handshake: open more clients")
		}
		if c.ServerMicros > 0 {
			t.line("server", "%.1f µs of CPU a handshake and join: %s for a CPU second", c.ServerMicros, Count(int64(c.PerCPUSecond)))
		}
	}
	if x := r.Fanout; x != nil {
		t.fanout(r, x)
	}
	if c := r.Churn; c != nil {
		t.line("churn", "%s connects, %s joins, %s leaves, %s closes, %s aborts: %s lives/s; they heard %s", Count(int64(c.Connects)),
			Count(int64(c.Joins)), Count(int64(c.Leaves)), Count(int64(c.Closes)), Count(int64(c.Aborts)), Count(int64(c.PerSecond)), Count(int64(c.Heard)))
		if c.Behind > 0 {
			t.line("", "%s lives could not begin in time: the machine cannot churn so fast", Count(int64(c.Behind)))
		}
	}
	if s := r.Slow; s != nil {
		t.line("slow", "%d of %d members that stopped reading were cut off by the server%s", s.CutOff, s.Members, cutAfter(s))
		for _, cause := range slices.Sorted(maps.Keys(s.Ends)) {
			t.line("", "%s × %s", Count(int64(s.Ends[cause])), cause)
		}
		if s.Skipped > 0 {
			t.line("", "they were not given %s messages that came before others, or without being cut off", Count(int64(s.Skipped)))
		}
		if s.RSSPeak > 0 {
			t.line("", "server RSS at its highest %s, when they were gone %s", megabytes(s.RSSPeak), megabytes(s.RSSSettled))
		}
	}
	if x := r.Resume; x != nil {
		t.resume(r, x)
	}
	if x := r.Post; x != nil {
		t.line("accepted", "%s in %.2f s, %s/s%s", Count(int64(x.Accepted)), x.Seconds, Count(int64(x.PerSecond)), voidMark(r.RateVoid))
		if x.Refused > 0 {
			t.line("refused", "%s, as the server was busy", Count(int64(x.Refused)))
		}
		t.line("answer", "%v", x.Answer)
		if x.ServerMicros > 0 {
			t.line("server", "%.1f µs of CPU a request, %.2f cores", x.ServerMicros, r.ServerCore)
		}
	}
	if x := r.Cluster; x != nil {
		t.cluster(r, x)
	}
	if m := r.Memory; m != nil {
		t.line("memory", "server RSS %s → %s%s%s", megabytes(m.RSSBefore), megabytes(m.RSSAfter), perClient(r, m), heapText(m))
	}
	for i, u := range r.Threads {
		t.line("generator", "thread %d%s: %.0f %% on a core, %.0f %% waiting for one", i, helperText(u), 100*Share(u.OnCore, u.Wall), 100*Share(u.Waiting, u.Wall))
	}
	if r.Limit != "" {
		t.line("saturated", "%s", r.Limit)
	}
	t.line("check", "%s", r.Verdict)
	for _, cause := range slices.Sorted(maps.Keys(r.Causes)) {
		t.line("", "%s × %s", Count(int64(r.Causes[cause])), cause)
	}
	for _, kind := range slices.Sorted(maps.Keys(r.Counts)) {
		t.line("", "%s %s", Count(int64(r.Counts[kind])), kind)
		for _, example := range r.Examples[kind] {
			t.line("", "  %s", example)
		}
	}
	for _, note := range r.Notes {
		t.line("", "note: %s", note)
	}
}

func (t *lines) fanout(r *Run, x *Fanout) {
	t.line("published", "%s in %.2f s, %s/s%s", Count(int64(x.Published)), x.Seconds, Count(int64(x.PublishedPer)), voidMark(r.RateVoid))
	t.line("delivered", "%s, %s/s%s", Count(int64(x.Delivered)), Count(int64(x.DeliveredPer)), voidMark(r.RateVoid))
	if x.WireBytes > 0 {
		t.line("wire", "%.1f bytes a delivery, %s in all", x.WireBytes, megabytes(int64(x.Received)))
	}
	t.line("latency", "%v%s", x.Latency, voidMark(x.LatencyVoid))
	if _, open := r.Flags["rate"]; open {
		t.line("sent late", "%v (the bench's own part of the latency; over a quarter of its p99 voids it)", x.Lateness)
	}
	if x.AcksLate.Max > 0 {
		t.line("acks late", "%v (for them the window waits too; over a quarter of the mean latency voids the rate)", x.AcksLate)
	}
	if x.Unsent > 0 {
		t.line("", "the server did not keep up with the rate: %s due messages were not taken", Count(int64(x.Unsent)))
	}
	if x.Pings > 0 {
		t.line("ping", "%v (of clients in no group, %s pings)", x.Ping, Count(x.Pings))
	}
	cpu := x.ServerUser + x.ServerSystem
	switch {
	case x.ServerMicros > 0:
		t.line("server", "%.3f µs of CPU a delivery (user %.0f %%), %.2f cores%s", x.ServerMicros, 100*Share(x.ServerUser, cpu), r.ServerCore, allocationText(x))
	case r.Churn != nil || r.Slow != nil:
		t.line("server", "%.2f cores", r.ServerCore)
	case cpu > 0:
		t.line("server", "%v of CPU in all, too little for a figure per delivery: run longer", cpu)
	}
}

func (t *lines) resume(r *Run, x *Resume) {
	t.line("published", "%s, %s/s", Count(int64(x.Published)), Count(int64(x.PublishedPer)))
	t.line("cut off", "%s, %s by a reset and %s by a FIN; %s came back", Count(int64(x.Resets+x.HangUps)), Count(int64(x.Resets)), Count(int64(x.HangUps)),
		Count(int64(x.Returns)))
	t.line("recovered", "%s, not recovered %s; of %s messages heard %s were given with an answer", Count(int64(x.Recovered)), Count(int64(x.NotRecovered)),
		Count(int64(x.Heard)), Count(int64(x.Missed)))
	if x.AskedAgain > 0 {
		t.line("", "%s answers were to ask again later", Count(int64(x.AskedAgain)))
	}
	if x.MissedByGone > 0 {
		t.line("", "who did not come back missed %s messages", Count(int64(x.MissedByGone)))
	}
	switch {
	case x.Returns == 0:
	case r.flag("cuts") != "":
		t.line("answer", "%v after a client's connect%s", x.Answer, voidMark(r.RateVoid))
	default:
		t.line("answer", "%v after a client's connect; the last came after %.2f s%s", x.Answer, x.Seconds, voidMark(r.RateVoid))
	}
	if x.BeforeCount > 0 {
		during := "too little was said while members came back"
		if x.DuringCount > 0 {
			during = fmt.Sprintf("%s while members came back (of %s messages)", Brief(x.During.P99), Count(x.DuringCount))
		}
		t.line("bystanders", "p99 %s before (of %s messages), %s", Brief(x.Before.P99), Count(x.BeforeCount), during)
	}
	if x.ServerMicros > 0 {
		t.line("server", "%.1f µs of CPU a recovery, with all else that it did meanwhile; %.2f cores", x.ServerMicros, r.ServerCore)
	} else if r.Memory != nil {
		t.line("server", "%.2f cores while members came back", r.ServerCore)
	}
}

func helperText(u Thread) string {
	if u.Helper == 0 {
		return ""
	}
	return fmt.Sprintf(" (helper %d)", u.Helper)
}

func allocationText(x *Fanout) string {
	if x.Allocations < 0 {
		return ""
	}
	return fmt.Sprintf(", %.4f allocations a delivery", x.Allocations)
}

// perClient is for connect only: with the few clients of other verbs it would mostly be the memory of the program itself.
func perClient(r *Run, m *Memory) string {
	if r.Connect == nil {
		return ""
	}
	if m.RSSPerClient <= 0 {
		return "; it had memory to spare, so there is no figure per client: start it afresh"
	}
	return fmt.Sprintf(", %.0f bytes a client", m.RSSPerClient)
}

func heapText(m *Memory) string {
	if m.HeapAfter == 0 {
		return ""
	}
	return fmt.Sprintf("; heap %s → %s", megabytes(m.HeapBefore), megabytes(m.HeapAfter))
}

func cutAfter(s *Slow) string {
	if s.CutAfter == 0 {
		return ""
	}
	return ", the last after " + Brief(s.CutAfter)
}

// loadText is the size of a run, from its flags.
func (r *Run) loadText() string {
	if r.Post != nil {
		return r.dialectText() + fmt.Sprintf(", %s connections, %s groups, %s bytes", r.flag("connections"), r.flag("groups"), r.flag("size"))
	}
	if r.Cluster != nil {
		return r.clusterText()
	}
	if r.Fanout == nil && r.Resume == nil {
		return r.dialectText()
	}
	text := r.dialectText() + fmt.Sprintf(", %s members, %s groups, %s publishers, %s bytes", r.flag("members"), r.flag("groups"), r.flag("publishers"), r.flag("size"))
	switch {
	case r.Resume != nil && r.flag("missed") != "":
		return text + fmt.Sprintf(", %s messages/s, all are cut off and miss %s", r.flag("rate"), r.flag("missed"))
	case r.Resume != nil:
		return text + fmt.Sprintf(", %s messages/s, %s are cut off a second", r.flag("rate"), r.flag("cuts"))
	}
	if rate, _ := r.Flags["rate"].(float64); rate > 0 {
		return text + fmt.Sprintf(", open loop, %s messages/s", r.flag("rate"))
	}
	return text + fmt.Sprintf(", closed loop, %s in flight", r.flag("window"))
}

// dialectText names the dialect, if it is not the one that all runs had once, and the sort of channels, if it has several; and likewise
// TLS and compression.
func (r *Run) dialectText() string {
	text := r.wireText()
	switch {
	case r.flag("dialect") == "":
		return text
	case r.flag("channels") != "":
		return text + fmt.Sprintf(", dialect %s, %s channels", r.flag("dialect"), r.flag("channels"))
	}
	return text + ", dialect " + r.flag("dialect")
}

func (r *Run) wireText() (text string) {
	if r.flag("tls") != "" {
		text = ", TLS"
	}
	if r.flag("tls-resume") != "" {
		text += " resumed"
	}
	if r.flag("compression") != "" {
		text += ", compressed"
	}
	if r.flag("payload") != "" {
		text += ", " + r.flag("payload")
	}
	return text
}

// String is for people to read.
func (s *TLS) String() string {
	verified := "the certificate was not verified"
	if s.Verified {
		verified = "the certificate was verified"
	}
	return fmt.Sprintf("%s, %s handshakes, %s of them resumed a session; %s", s.Version, Count(int64(s.Handshakes)), Count(int64(s.Resumed)), verified)
}

// voidMark follows a figure that was limited by the generator, not by the server.
func voidMark(void bool) string {
	if void {
		return " (VOID)"
	}
	return ""
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }

// String is for people to read.
func (p Percentiles) String() string {
	return fmt.Sprintf("p50 %s · p90 %s · p99 %s · p99.9 %s · max %s", Brief(p.P50), Brief(p.P90), Brief(p.P99), Brief(p.P999), Brief(p.Max))
}

// Brief writes nanoseconds with three digits.
func Brief(ns int64) string {
	switch d := time.Duration(ns); {
	case d >= 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d >= 10*time.Millisecond:
		return d.Round(100 * time.Microsecond).String()
	default:
		return d.Round(time.Microsecond).String()
	}
}

// Count writes a number with separators: 1,234,567.
func Count(n int64) string {
	s := fmt.Sprint(n)
	for at := len(s) - 3; at > 0 && s[at-1] != '-'; at -= 3 {
		s = s[:at] + "," + s[at:]
	}
	return s
}
