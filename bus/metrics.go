package bus

import "github.com/prometheus/client_golang/prometheus"

// A Bus is a prometheus.Collector: its metrics are read from Stats at each scrape. They exist only if there is a bus.

// metric is one metric: its name and its field of Stats. Exactly one of the last three is set.
type metric struct {
	name, help string

	gauge   func(*Stats) int
	counter func(*Stats) uint64
	by      func(*Stats) map[string]uint64 // counter by reason
}

var metrics = []metric{
	{name: "ringcast_channel_clients", help: "Channel clients.", gauge: func(s *Stats) int { return s.Clients }},
	{name: "ringcast_channel_subscriptions", help: "Channels and queues that Channel clients are subscribed to.",
		gauge: func(s *Stats) int { return s.Subscriptions }},
	{name: "ringcast_channel_queues", help: "Queues with a watcher or a job.", gauge: func(s *Stats) int { return s.Queues }},
	{name: "ringcast_channel_jobs", help: "Jobs that wait in queues.", gauge: func(s *Stats) int { return s.Jobs }},
	{name: "ringcast_channel_job_bytes", help: "What the jobs that wait take.", gauge: func(s *Stats) int { return s.JobBytes }},
	{name: "ringcast_channel_waiting_bytes", help: "Bytes that wait for Channel clients, or for the Channel server.",
		gauge: func(s *Stats) int { return s.WaitingBytes }},
	{name: "ringcast_channel_connected", help: "1 while there is a connection to the Channel server (client mode).",
		gauge: func(s *Stats) int {
			if s.Connected {
				return 1
			}
			return 0
		}},

	{name: "ringcast_channel_received_bytes_total", help: "Bytes of frames received.", counter: func(s *Stats) uint64 { return s.BytesIn }},
	{name: "ringcast_channel_events_received_total", help: "Events that came from Channel clients, or from the Channel server.",
		counter: func(s *Stats) uint64 { return s.EventsIn }},
	{name: "ringcast_channel_events_sent_total", help: "Events for Channel clients, one per receiver, or for the Channel server.",
		counter: func(s *Stats) uint64 { return s.EventsOut }},
	{name: "ringcast_channel_events_published_total", help: "Events that became messages of groups.",
		counter: func(s *Stats) uint64 { return s.Published }},
	{name: "ringcast_channel_events_lost_total", help: "Events written to a connection that broke before the server had sent them round.",
		counter: func(s *Stats) uint64 { return s.Lost }},
	{name: "ringcast_channel_reconnects_total", help: "Connections to the Channel server after the first.",
		counter: func(s *Stats) uint64 { return s.Reconnects }},
	{name: "ringcast_channel_jobs_received_total", help: "Jobs taken into queues.", counter: func(s *Stats) uint64 { return s.JobsIn }},
	{name: "ringcast_channel_jobs_sent_total", help: "Jobs given to watchers.", counter: func(s *Stats) uint64 { return s.JobsOut }},
	{name: "ringcast_channel_accept_errors_total", help: "Failed accepts of Channel clients; each is tried again.",
		counter: func(s *Stats) uint64 { return s.AcceptErrors }},
	{name: "ringcast_channel_frame_waits_total", help: "Large frames that had to wait for others to be complete.",
		counter: func(s *Stats) uint64 { return s.FrameWaits }},
	{name: "ringcast_channel_panics_total", help: "Faults of ringcast's while it served a Channel client.",
		counter: func(s *Stats) uint64 { return s.Panics }},
	{name: "ringcast_channel_refused_total", help: "Events and jobs that were not taken, by reason.",
		by: func(s *Stats) map[string]uint64 { return s.Refused }},
	{name: "ringcast_channel_closed_total", help: "Channel clients that were cut off, by reason.",
		by: func(s *Stats) map[string]uint64 { return s.Closed }},
	{name: "ringcast_channel_refused_clients_total", help: "Channel clients that were not let in, by reason.",
		by: func(s *Stats) map[string]uint64 { return s.RefusedClients }},
}

func (m *metric) desc() *prometheus.Desc {
	var labels []string
	if m.by != nil {
		labels = []string{"reason"}
	}
	return prometheus.NewDesc(m.name, m.help, labels, nil)
}

// Describe is part of prometheus.Collector.
func (b *Bus) Describe(out chan<- *prometheus.Desc) {
	for i := range metrics {
		out <- metrics[i].desc()
	}
}

// Collect is part of prometheus.Collector.
func (b *Bus) Collect(out chan<- prometheus.Metric) {
	s := b.Stats()
	for i := range metrics {
		m := &metrics[i]
		switch desc := m.desc(); {
		case m.gauge != nil:
			out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(m.gauge(&s)))
		case m.counter != nil:
			out <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(m.counter(&s)))
		default:
			for reason, n := range m.by(&s) {
				out <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(n), reason)
			}
		}
	}
}
