package report

import (
	"encoding/csv"
	"io"
	"math"
	"strconv"
	"time"
)

// field is a column of the CSV form. Columns are only ever added at the end: scripts read them by place.
type field struct {
	name string
	of   func(*File, *Run) string
}

func number(of func(*Run) float64) func(*File, *Run) string {
	return func(_ *File, r *Run) string {
		v := of(r)
		if math.IsNaN(v) {
			return ""
		}
		return strconv.FormatFloat(math.Round(v*1e4)/1e4, 'f', -1, 64)
	}
}

func fanoutWhole(of func(*Fanout) int64) func(*File, *Run) string {
	return func(_ *File, r *Run) string {
		if r.Fanout == nil {
			return ""
		}
		return strconv.FormatInt(of(r.Fanout), 10)
	}
}

func resumeWhole(of func(*Resume) int64) func(*File, *Run) string {
	return func(_ *File, r *Run) string {
		if r.Resume == nil {
			return ""
		}
		return strconv.FormatInt(of(r.Resume), 10)
	}
}

func memoryWhole(of func(*Memory) int64) func(*File, *Run) string {
	return func(_ *File, r *Run) string {
		if r.Memory == nil {
			return ""
		}
		return strconv.FormatInt(of(r.Memory), 10)
	}
}

func clusterWhole(of func(*Cluster) int64) func(*File, *Run) string {
	return func(_ *File, r *Run) string {
		if r.Cluster == nil {
			return ""
		}
		return strconv.FormatInt(of(r.Cluster), 10)
	}
}

func flagField(column, flag string) field {
	return field{column, func(_ *File, r *Run) string { return r.flag(flag) }}
}

var fields = []field{
	{"server", func(_ *File, r *Run) string { return r.Server }},
	{"load", func(_ *File, r *Run) string { return r.loadName() }},
	{"round", func(_ *File, r *Run) string { return strconv.Itoa(r.Round) }},
	{"verb", func(_ *File, r *Run) string { return r.Verb }},
	{"started", func(_ *File, r *Run) string { return r.Started.UTC().Format(time.RFC3339) }},
	{"fine", func(_ *File, r *Run) string { return strconv.FormatBool(r.Fine) }},
	{"verdict", func(_ *File, r *Run) string { return r.Verdict }},
	{"rate_void", func(_ *File, r *Run) string { return strconv.FormatBool(r.RateVoid) }},
	{"latency_void", func(_ *File, r *Run) string { return strconv.FormatBool(latencyVoid(r)) }},
	{"saturated", func(_ *File, r *Run) string { return r.Limit }},

	flagField("members", "members"), flagField("groups", "groups"), flagField("joins", "joins"), flagField("publishers", "publishers"),
	flagField("member_publishers", "member-publishers"), flagField("bystanders", "bystanders"), flagField("size_bytes", "size"),
	flagField("rate_per_second", "rate"), flagField("window", "window"), flagField("messages_max", "messages"), flagField("time", "time"),
	flagField("clients", "clients"), flagField("hold", "hold"),

	{"published", fanoutWhole(func(x *Fanout) int64 { return int64(x.Published) })},
	{"delivered", fanoutWhole(func(x *Fanout) int64 { return int64(x.Delivered) })},
	{"seconds", number(fromFanout(func(_ *Run, x *Fanout) float64 { return x.Seconds }))},
	{"deliveries_per_second", number(deliveries.of)},
	{"server_us_per_delivery", number(cpuPerDelivery.of)},
	{"server_user_us", fanoutWhole(func(x *Fanout) int64 { return x.ServerUser.Microseconds() })},
	{"server_system_us", fanoutWhole(func(x *Fanout) int64 { return x.ServerSystem.Microseconds() })},
	{"server_allocations_per_delivery", number(func(r *Run) float64 {
		if r.Fanout == nil || r.Fanout.Allocations < 0 {
			return math.NaN()
		}
		return r.Fanout.Allocations
	})},
	{"latency_p50_ns", fanoutWhole(func(x *Fanout) int64 { return x.Latency.P50 })},
	{"latency_p90_ns", fanoutWhole(func(x *Fanout) int64 { return x.Latency.P90 })},
	{"latency_p99_ns", fanoutWhole(func(x *Fanout) int64 { return x.Latency.P99 })},
	{"latency_p99_9_ns", fanoutWhole(func(x *Fanout) int64 { return x.Latency.P999 })},
	{"latency_max_ns", fanoutWhole(func(x *Fanout) int64 { return x.Latency.Max })},
	{"sent_late_p99_ns", fanoutWhole(func(x *Fanout) int64 { return x.Lateness.P99 })},
	{"bystander_ping_p99_ns", fanoutWhole(func(x *Fanout) int64 { return x.Ping.P99 })},

	{"joined", func(_ *File, r *Run) string {
		if r.Connect == nil {
			return ""
		}
		return strconv.FormatInt(r.Connect.Joined, 10)
	}},
	{"handshakes_per_second", number(openings.of)},
	{"server_us_per_handshake", number(cpuPerOpening.of)},
	{"handshakes_per_server_cpu_second", number(openingsPerCPU.of)},
	{"server_rss_before_bytes", memoryWhole(func(m *Memory) int64 { return m.RSSBefore })},
	{"server_rss_after_bytes", memoryWhole(func(m *Memory) int64 { return m.RSSAfter })},
	{"server_rss_bytes_per_client", number(memoryEach.of)},
	{"server_heap_after_bytes", memoryWhole(func(m *Memory) int64 { return m.HeapAfter })},
	{"server_rss_peak_bytes", number(func(r *Run) float64 { return peak.of(r) * 1e6 })},
	{"lives_per_second", number(lives.of)},

	{"server_cores", number(func(r *Run) float64 { return measured(r.ServerCore) })},
	{"machine_busy_share", number(func(r *Run) float64 { return r.Busy })},
	{"cpu", func(f *File, _ *Run) string { return f.Machine.CPU }},
	{"cores", func(f *File, _ *Run) string { return strconv.Itoa(f.Machine.Cores) }},
	{"memory_bytes", func(f *File, _ *Run) string { return strconv.FormatUint(f.Machine.Memory, 10) }},
	{"kernel", func(f *File, _ *Run) string { return f.Machine.Kernel }},
	{"go", func(f *File, _ *Run) string { return f.Machine.Go }},
	{"commit", func(f *File, _ *Run) string { return f.Commit }},
	{"command", func(f *File, _ *Run) string { return f.Command }},

	flagField("missed", "missed"), flagField("cuts_per_second", "cuts"), flagField("history", "history"),
	{"recovered", resumeWhole(func(x *Resume) int64 { return int64(x.Recovered) })},
	{"not_recovered", resumeWhole(func(x *Resume) int64 { return int64(x.NotRecovered) })},
	{"server_us_per_recovery", number(cpuPerRecovery.of)},
	{"answer_p50_ns", resumeWhole(func(x *Resume) int64 { return x.Answer.P50 })},
	{"answer_p99_ns", resumeWhole(func(x *Resume) int64 { return x.Answer.P99 })},
	{"answer_max_ns", resumeWhole(func(x *Resume) int64 { return x.Answer.Max })},
	{"seconds_of_coming_back", number(answerLast.of)},
	{"bystanders_p99_before_ns", resumeWhole(func(x *Resume) int64 { return x.Before.P99 })},
	{"bystanders_p99_meanwhile_ns", resumeWhole(func(x *Resume) int64 { return x.During.P99 })},
	{"posted_per_second", number(func(r *Run) float64 { return posted.of(r) })},
	{"post_answer_p99_ns", number(func(r *Run) float64 { return postTail.of(r) * 1e6 })},
	{"server_us_per_request", number(func(r *Run) float64 { return cpuPerPost.of(r) })},
	{"ordered_per_second", number(func(r *Run) float64 { return ordered.of(r) })},
	{"ack_p50_ns", clusterWhole(func(x *Cluster) int64 { return x.Ack.P50 })},
	{"ack_p99_ns", clusterWhole(func(x *Cluster) int64 { return x.Ack.P99 })},
	{"delivery_p50_ns", clusterWhole(func(x *Cluster) int64 { return x.Delivery.P50 })},
	{"delivery_p99_ns", clusterWhole(func(x *Cluster) int64 { return x.Delivery.P99 })},
	{"longest_wait_ns", clusterWhole(func(x *Cluster) int64 { return x.Waited })},
	{"server_us_per_message", number(cpuPerOrdered.of)},
	flagField("tls", "tls"), flagField("tls_resume", "tls-resume"), flagField("compression", "compression"), flagField("payload", "payload"),
	{"received_bytes", number(fromFanout(func(_ *Run, x *Fanout) float64 { return float64(x.Received) }))},
	{"received_bytes_per_delivery", number(wireEach.of)},
	{"tls_version", func(_ *File, r *Run) string {
		if r.TLS == nil {
			return ""
		}
		return r.TLS.Version
	}},
	{"tls_handshakes", tlsWhole(func(s *TLS) uint64 { return s.Handshakes })},
	{"tls_resumed_sessions", tlsWhole(func(s *TLS) uint64 { return s.Resumed })},
}

func tlsWhole(of func(*TLS) uint64) func(*File, *Run) string {
	return func(_ *File, r *Run) string {
		if r.TLS == nil {
			return ""
		}
		return strconv.FormatUint(of(r.TLS), 10)
	}
}

// CSV writes a line for each run of the files, those that failed the check included: see the column fine.
func CSV(w io.Writer, files ...*File) error {
	c := csv.NewWriter(w)
	line := make([]string, len(fields))
	for i, field := range fields {
		line[i] = field.name
	}
	_ = c.Write(line) // an error is returned by Error below
	for _, f := range files {
		for _, r := range f.Runs {
			for i, field := range fields {
				line[i] = field.of(f, r)
			}
			_ = c.Write(line)
		}
	}
	c.Flush()
	return c.Error()
}
