package api

import (
	"log/slog"
	"net/http"
	"runtime"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"ringcast/loop"
)

// Metrics are read off the hub's own counters when somebody asks: nothing of Prometheus runs in a loop. They are labelled by
// loop and by what the program can enumerate, never by group or client, of which there is no end.

// scrapesMax bounds the scrapes under way at once; who comes then gets 503.
const scrapesMax = 4

func metricsHandler(cfg Config) http.Handler {
	return promhttp.HandlerFor(registry(cfg), promhttp.HandlerOpts{
		ErrorLog:            slog.NewLogLogger(cfg.Log.Handler(), slog.LevelDebug), // a scraper that hangs up, for the most
		MaxRequestsInFlight: scrapesMax,
	})
}

// registry has ours, the Go runtime's and the process's. The runtime's are read without stopping the world.
func registry(cfg Config) *prometheus.Registry {
	r := prometheus.NewRegistry()
	build := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "ringcast_build_info", Help: "1, labelled with the versions of ringcast and of Go it was built with.",
		ConstLabels: prometheus.Labels{"version": cfg.Version, "go_version": runtime.Version()},
	}, func() float64 { return 1 })
	r.MustRegister(build, hubCollector{cfg.Hub}, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	r.MustRegister(cfg.More...)
	return r
}

// family is one metric: how it is called, and what its values are in a snapshot. Exactly one of the last five is set.
type family struct {
	name, help string
	label      string // of perKind

	counter func(*loop.LoopStats) uint64            // sum over loops
	gauge   func(*loop.Snapshot) float64            // of the whole server
	total   func(*loop.Snapshot) uint64             // counter of the whole server
	perLoop func(*loop.LoopStats) map[string]int64  // gauge by loop, and by label where there is one
	perKind func(*loop.LoopStats) map[string]uint64 // counter by label
}

// families are all metrics but the histograms. One more is one more row.
var families = []family{
	// Who is here.
	{name: "ringcast_connections", help: "Connections by loop: open WebSockets, and those still in the handshake.", label: "state",
		perLoop: func(t *loop.LoopStats) map[string]int64 {
			return map[string]int64{"open": t.Clients, "handshake": t.Pending}
		}},
	{name: "ringcast_connections_max", help: "Connections that there may be at one time; beyond it newcomers are answered 503.",
		gauge: func(s *loop.Snapshot) float64 { return float64(s.ClientsMax) }},
	{name: "ringcast_groups", help: "Groups with at least one member.",
		gauge: func(s *loop.Snapshot) float64 { return float64(s.Total().Groups) }},
	{name: "ringcast_members", help: "Memberships by the loop of the member; a client in three groups is three.",
		perLoop: func(t *loop.LoopStats) map[string]int64 { return map[string]int64{"": t.Members} }},
	{name: "ringcast_lane_depth", help: "Items that wait in the lanes towards a loop.",
		perLoop: func(t *loop.LoopStats) map[string]int64 { return map[string]int64{"": t.LaneDepth} }},

	{name: "ringcast_outbox_bytes", help: "Bytes that wait for slow clients, by the loop of the client.",
		perLoop: func(t *loop.LoopStats) map[string]int64 { return map[string]int64{"": t.OutboxBytes} }},
	{name: "ringcast_slow_clients", help: "Clients for which something waits, by loop.",
		perLoop: func(t *loop.LoopStats) map[string]int64 { return map[string]int64{"": t.Slow} }},
	{name: "ringcast_unfinished_bytes", help: "Bytes that hold unfinished messages and request heads, by the loop of the client.",
		perLoop: func(t *loop.LoopStats) map[string]int64 { return map[string]int64{"": t.FragmentBytes} }},
	{name: "ringcast_memory_limit_bytes", help: "The memory limit of the process, 0 where there is none.",
		gauge: func(s *loop.Snapshot) float64 { return float64(s.MemoryLimit) }},
	{name: "ringcast_memory_used_bytes", help: "What counts against the memory limit; from four fifths of it clients and publishes are refused. 0 without a limit.",
		gauge: func(s *loop.Snapshot) float64 { return float64(s.MemoryUsed) }},

	// How they came.
	{name: "ringcast_accepted_total", help: "Connections taken in; those that admission refuses at once are not.",
		counter: func(t *loop.LoopStats) uint64 { return t.Accepted }},
	{name: "ringcast_accept_errors_total", help: "Failed accepts, mostly for want of file descriptors; each is tried again.",
		total: func(s *loop.Snapshot) uint64 { return s.AcceptErrors }},
	{name: "ringcast_handshakes_total", help: "Handshakes by how they ended.", label: "outcome",
		perKind: func(t *loop.LoopStats) map[string]uint64 { return t.Handshakes }},
	{name: "ringcast_refused_connections_total", help: "Connections refused before their handshake was done, by reason.", label: "reason",
		perKind: func(t *loop.LoopStats) map[string]uint64 { return t.RefusedClientsBy }},

	// What they said and heard.
	{name: "ringcast_received_bytes_total", help: "Bytes received, handshakes and frame headers included.",
		counter: func(t *loop.LoopStats) uint64 { return t.BytesIn }},
	{name: "ringcast_sent_bytes_total", help: "Bytes handed to the kernel or to outboxes.",
		counter: func(t *loop.LoopStats) uint64 { return t.BytesOut }},
	{name: "ringcast_messages_received_total", help: "Whole WebSocket messages received.",
		counter: func(t *loop.LoopStats) uint64 { return t.MessagesIn }},
	{name: "ringcast_publishes_total", help: "Publishes accepted and put in order.",
		counter: func(t *loop.LoopStats) uint64 { return t.Published }},
	{name: "ringcast_deliveries_total", help: "Group messages handed to members' sockets.",
		counter: func(t *loop.LoopStats) uint64 { return t.Deliveries }},
	{name: "ringcast_passes_total", help: "Walks over a group's members, each of which sends one batch.",
		counter: func(t *loop.LoopStats) uint64 { return t.Passes }},
	{name: "ringcast_ignored_messages_total", help: "Messages that were no command, or a wrong one without an id.",
		counter: func(t *loop.LoopStats) uint64 { return t.Ignored }},
	{name: "ringcast_command_errors_total", help: "Commands that were wrong.",
		counter: func(t *loop.LoopStats) uint64 { return t.CommandErrors }},
	{name: "ringcast_refused_total", help: "Commands refused by reason; who sent one was told by an error or a close code.", label: "reason",
		perKind: func(t *loop.LoopStats) map[string]uint64 { return t.RefusedBy }},

	{name: "ringcast_refused_publishes_total", help: "Publishes refused: those of ringcast_refused_total that were publishes.",
		counter: func(t *loop.LoopStats) uint64 { return t.RefusedPublishes }},
	{name: "ringcast_replies_total", help: "Frames sent that are no deliveries, and answers to handshakes: answers to commands, pings, pongs.",
		counter: func(t *loop.LoopStats) uint64 { return t.Replies }},

	// How they went.
	{name: "ringcast_closes_total", help: "Close frames that the server began, by close code.", label: "code",
		perKind: func(t *loop.LoopStats) map[string]uint64 { return t.Closes }},
	{name: "ringcast_protocol_errors_total", help: "Clients closed because they broke the WebSocket protocol, by close code.", label: "code",
		perKind: func(t *loop.LoopStats) map[string]uint64 { return t.ProtocolErrorsBy }},
	{name: "ringcast_slow_clients_total", help: "Slow clients by what was done about them: closed with 4008, or told how many messages they have missed.", label: "policy",
		perKind: func(t *loop.LoopStats) map[string]uint64 {
			return map[string]uint64{"close": t.SlowClosed, "drop": t.SlowGaps}
		}},
	{name: "ringcast_dropped_messages_total", help: "Messages that slow clients have missed, each counted for each client, where --slow-client is drop.",
		counter: func(t *loop.LoopStats) uint64 { return t.SlowDropped }},
	{name: "ringcast_unfinished_closes_total", help: "Clients closed because all unfinished messages together were too large.",
		counter: func(t *loop.LoopStats) uint64 { return t.FragmentsClosed }},
	{name: "ringcast_message_timeouts_total", help: "Clients closed because a message of theirs took too long.",
		counter: func(t *loop.LoopStats) uint64 { return t.MessageTimeouts }},
	{name: "ringcast_pings_total", help: "Pings sent to silent clients.",
		counter: func(t *loop.LoopStats) uint64 { return t.Pings }},
	{name: "ringcast_ends_cut_total", help: "Closed clients that were cut because they did not end their side in time.",
		counter: func(t *loop.LoopStats) uint64 { return t.EndsCut }},
	{name: "ringcast_heartbeat_closes_total", help: "Clients closed because they gave no sign of life.",
		counter: func(t *loop.LoopStats) uint64 { return t.HeartbeatClosed }},

	// What went wrong here.
	{name: "ringcast_panics_total", help: "Callbacks that panicked; the client was closed, the loop went on. Any is a bug.",
		counter: func(t *loop.LoopStats) uint64 { return t.Panics }},
	{name: "ringcast_slow_turns_total", help: "Callbacks of loops that took longer than --slow-turn; the log has their stacks.",
		counter: func(t *loop.LoopStats) uint64 { return t.SlowTurns }},
}

// distribution is a histogram.
type distribution struct {
	name, help string
	of         func(*loop.Histograms) loop.Histogram
}

var distributions = []distribution{
	{"ringcast_fanout_batch_messages", "Messages that a pass sent to each member at once. A sample: one pass in eight.",
		func(h *loop.Histograms) loop.Histogram { return h.BatchMessages }},
	{"ringcast_pass_duration_seconds", "From the beginning of a pass over a group's members to its end. A sample: one pass in eight.",
		func(h *loop.Histograms) loop.Histogram { return h.PassSeconds }},
	{"ringcast_turn_duration_seconds", "Time that a loop spent in one callback, its turn included. A sample: one callback in eight.",
		func(h *loop.Histograms) loop.Histogram { return h.TurnSeconds }},
	{"ringcast_lane_wait_seconds", "From a client's publish on its own loop until the message was gathered for the members of a loop, " +
		"once per such loop. A sample: one publish in eight.",
		func(h *loop.Histograms) loop.Histogram { return h.LaneWaitSeconds }},
}

// hubCollector makes metrics of a hub's counters.
type hubCollector struct{ hub Hub }

// Describe is part of prometheus.Collector.
func (c hubCollector) Describe(out chan<- *prometheus.Desc) {
	for i := range families {
		out <- families[i].desc()
	}
	for _, d := range distributions {
		out <- prometheus.NewDesc(d.name, d.help, nil, nil)
	}
}

// Collect is part of prometheus.Collector.
func (c hubCollector) Collect(out chan<- prometheus.Metric) {
	snap := c.hub.Snapshot()
	total := snap.Total()
	for i := range families {
		families[i].collect(&snap, &total, out)
	}
	hists := c.hub.Histograms()
	for _, d := range distributions {
		h := d.of(&hists)
		out <- prometheus.MustNewConstHistogram(prometheus.NewDesc(d.name, d.help, nil, nil), h.Count, h.Sum, h.Buckets)
	}
}

func (f *family) desc() *prometheus.Desc {
	var labels []string
	if f.perLoop != nil {
		labels = append(labels, "loop")
	}
	if f.label != "" {
		labels = append(labels, f.label)
	}
	return prometheus.NewDesc(f.name, f.help, labels, nil)
}

func (f *family) collect(snap *loop.Snapshot, total *loop.LoopStats, out chan<- prometheus.Metric) {
	desc := f.desc()
	counter := func(v uint64, labels ...string) {
		out <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(v), labels...)
	}
	gauge := func(v float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, v, labels...)
	}
	switch {
	case f.counter != nil:
		counter(f.counter(total))
	case f.total != nil:
		counter(f.total(snap))
	case f.gauge != nil:
		gauge(f.gauge(snap))
	case f.perKind != nil:
		for kind, n := range f.perKind(total) {
			counter(n, kind)
		}
	case f.perLoop != nil:
		for i := range snap.Loops {
			for state, n := range f.perLoop(&snap.Loops[i]) {
				labels := []string{strconv.Itoa(i)}
				if f.label != "" {
					labels = append(labels, state)
				}
				gauge(float64(n), labels...)
			}
		}
	}
}
