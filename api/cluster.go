package api

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// ClusterStatus is the state of a cluster as one of its nodes sees it, at about one moment. What counts has counted since the start of the
// node.
type ClusterStatus struct {
	Name     string `json:"name"`
	Node     string `json:"node"`                // this one
	Listen   string `json:"listen,omitempty"`    // where other nodes connect; absent: nowhere
	StoreDir string `json:"store_dir,omitempty"` // absent: the log is with NATS servers that others operate
	Ready    bool   `json:"ready"`               // this node should get clients, as far as the cluster goes
	Trouble  string `json:"trouble,omitempty"`   // why not

	Nodes      []ClusterNode      `json:"nodes"`
	Partitions []ClusterPartition `json:"partitions"`

	Offered        uint64            `json:"offered"`         // publishes of this node that were given to be put in order
	Ordered        uint64            `json:"ordered"`         // messages of all nodes that have come to this one in their order
	Refused        map[string]uint64 `json:"refused"`         // publishes of this node, by cause
	Repeated       uint64            `json:"repeated"`        // publishes whose key had been said before: answered with the first offset
	HolesFilled    uint64            `json:"holes_filled"`    // times that messages had not come by themselves, and were fetched
	HoleMessages   uint64            `json:"hole_messages"`   // messages that were fetched so
	HoleLost       uint64            `json:"hole_lost"`       // messages that the log had no more
	Recalls        uint64            `json:"recalls"`         // histories of groups that were read from the log
	RecallsFailed  uint64            `json:"recalls_failed"`  // of these, those that were not read in time
	RecallsRefused uint64            `json:"recalls_refused"` // that were not begun, as too many waited
	Resends        uint64            `json:"resends"`         // publishes that were sent again, as no word of them had come
	Batches        uint64            `json:"batches"`         // ways to the log that were opened: one a partition, and one more each time that it broke
	FastSent       uint64            `json:"fast_sent"`       // messages of fast groups to other nodes
	FastHeard      uint64            `json:"fast_heard"`      // messages of fast groups from other nodes
	FastLost       uint64            `json:"fast_lost"`       // messages of fast groups for which there was no room
	SlowReads      uint64            `json:"slow_reads"`      // times that this node took messages too slowly, and some had to be fetched
	Strange        uint64            `json:"strange"`         // messages in the log that no ringcast has written

	// Of members that nodes tell each other of, in groups with presence.
	PresenceLists     uint64 `json:"presence_lists"`     // of all members of this node, sent as a node arrived or had missed something
	PresenceOverflows uint64 `json:"presence_overflows"` // times that so many came and went that a list took the place of news
	PresenceHoles     uint64 `json:"presence_holes"`     // times that this node missed news of another, and asked for a list
	PresenceStrange   uint64 `json:"presence_strange"`   // news of other nodes that could not be taken

	StoreBytes uint64 `json:"store_bytes"` // of the log, on each node that has it
	StoreMax   uint64 `json:"store_max"`   // that it may have
}

// ClusterNode is one of the nodes.
type ClusterNode struct {
	Name string    `json:"name"`
	Up   bool      `json:"up"`
	Seen time.Time `json:"seen"` // when it was last heard of; zero: never
}

// ClusterPartition is one of the parts into which groups fall.
type ClusterPartition struct {
	Leader string `json:"leader"` // the node that puts it in order; empty: none at the moment
	Tip    uint64 `json:"tip"`    // this node has everything up to this offset
	Lag    uint64 `json:"lag"`    // how many offsets the log is ahead of that
	Epoch  uint64 `json:"epoch"`
	Queued int    `json:"queued"` // publishes of this node that wait to be sent
	Flying int    `json:"flying"` // publishes of this node that were sent and have not come back
}

// Up is how many nodes are up.
func (s *ClusterStatus) Up() (n int) {
	for _, node := range s.Nodes {
		if node.Up {
			n++
		}
	}
	return n
}

// Leaders are how many partitions each leader has; those of "" have none.
func (s *ClusterStatus) Leaders() map[string]int {
	by := map[string]int{}
	for _, p := range s.Partitions {
		by[p.Leader]++
	}
	return by
}

// Sums are the sums of all partitions.
func (s *ClusterStatus) Sums() (all ClusterPartition) {
	for _, p := range s.Partitions {
		all.Tip, all.Lag, all.Queued, all.Flying = all.Tip+p.Tip, all.Lag+p.Lag, all.Queued+p.Queued, all.Flying+p.Flying
	}
	return all
}

// clusterCollector makes metrics of a ClusterStatus at each scrape. They exist only where there is a cluster.
type clusterCollector struct{ status func() *ClusterStatus }

// clusterMetric is one metric. Exactly one of the last three is set.
type clusterMetric struct {
	name, help string

	gauge   func(*ClusterStatus) float64
	counter func(*ClusterStatus) uint64
	by      func(*ClusterStatus) map[string]uint64 // by the value of label; gauges where that is state, else counters

	label string
	desc  *prometheus.Desc
}

var clusterMetrics = []*clusterMetric{
	{name: "ready", help: "1 while this node should get clients, as far as the cluster goes.", gauge: func(s *ClusterStatus) float64 {
		if s.Ready {
			return 1
		}
		return 0
	}},
	{name: "nodes", help: "Nodes of the cluster by state, as this one sees them.", label: "state", by: func(s *ClusterStatus) map[string]uint64 {
		up := s.Up()
		return map[string]uint64{"up": uint64(up), "down": uint64(len(s.Nodes) - up)}
	}},
	{name: "partitions", help: "Partitions by who puts them in order: this node, another one, or nobody at the moment.", label: "state",
		by: func(s *ClusterStatus) map[string]uint64 {
			led := s.Leaders()
			return map[string]uint64{"led_here": uint64(led[s.Node]), "without_leader": uint64(led[""]),
				"led_elsewhere": uint64(len(s.Partitions) - led[s.Node] - led[""])}
		}},
	{name: "lag_messages", help: "Offsets that the log is ahead of this node, of all partitions.", gauge: func(s *ClusterStatus) float64 { return float64(s.Sums().Lag) }},
	{name: "waiting_publishes", help: "Publishes of this node by state: queued ones wait to be sent, flying ones have not come back.", label: "state",
		by: func(s *ClusterStatus) map[string]uint64 {
			sums := s.Sums()
			return map[string]uint64{"queued": uint64(sums.Queued), "flying": uint64(sums.Flying)}
		}},
	{name: "store_bytes", help: "What the log takes on each node that has it.", gauge: func(s *ClusterStatus) float64 { return float64(s.StoreBytes) }},
	{name: "store_max_bytes", help: "What the log may take; beyond it the oldest messages go.", gauge: func(s *ClusterStatus) float64 { return float64(s.StoreMax) }},
	{name: "offered_total", help: "Publishes of this node that were given to be put in order.", counter: func(s *ClusterStatus) uint64 { return s.Offered }},
	{name: "ordered_total", help: "Messages of all nodes that have come to this one in their order.", counter: func(s *ClusterStatus) uint64 { return s.Ordered }},
	{name: "refused_total", help: "Publishes of this node that were refused, by reason; those that are unknown may have arrived.", label: "reason",
		by: func(s *ClusterStatus) map[string]uint64 { return s.Refused }},
	{name: "repeated_total", help: "Publishes whose key had been said before, which were answered and not sent.", counter: func(s *ClusterStatus) uint64 { return s.Repeated }},
	{name: "resends_total", help: "Publishes that were sent again, as no word of them had come.", counter: func(s *ClusterStatus) uint64 { return s.Resends }},
	{name: "batches_total", help: "Ways to the log that were opened: one a partition, and one more each time that it broke.", counter: func(s *ClusterStatus) uint64 { return s.Batches }},
	{name: "holes_total", help: "Times that messages had not come by themselves, and were fetched.", counter: func(s *ClusterStatus) uint64 { return s.HolesFilled }},
	{name: "hole_messages_total", help: "Messages that had not come by themselves, by what became of them: fetched, or lost as the log had them no more.", label: "outcome",
		by: func(s *ClusterStatus) map[string]uint64 {
			return map[string]uint64{"fetched": s.HoleMessages, "lost": s.HoleLost}
		}},
	{name: "slow_reads_total", help: "Times that this node took messages too slowly, and some had to be fetched.", counter: func(s *ClusterStatus) uint64 { return s.SlowReads }},
	{name: "recalls_total", help: "Histories of groups that were to be read from the log, by outcome.", label: "outcome", by: func(s *ClusterStatus) map[string]uint64 {
		return map[string]uint64{"done": s.Recalls - min(s.Recalls, s.RecallsFailed), "failed": s.RecallsFailed, "refused": s.RecallsRefused}
	}},
	{name: "fast_messages_total", help: "Messages of fast groups, by outcome: sent to other nodes, heard from them, or lost for want of room.", label: "outcome",
		by: func(s *ClusterStatus) map[string]uint64 {
			return map[string]uint64{"sent": s.FastSent, "heard": s.FastHeard, "lost": s.FastLost}
		}},
	{name: "presence_mended_total", help: "How often members of other nodes were told of in another way than by news of each: whole lists sent, overflows of news, holes in the news of others, and what could not be taken.",
		label: "outcome", by: func(s *ClusterStatus) map[string]uint64 {
			return map[string]uint64{"list": s.PresenceLists, "overflow": s.PresenceOverflows, "hole": s.PresenceHoles, "strange": s.PresenceStrange}
		}},
	{name: "strange_messages_total", help: "Messages in the log that no ringcast has written.", counter: func(s *ClusterStatus) uint64 { return s.Strange }},
}

func init() {
	for _, m := range clusterMetrics {
		var labels []string
		if m.label != "" {
			labels = append(labels, m.label)
		}
		m.name = "ringcast_cluster_" + m.name
		m.desc = prometheus.NewDesc(m.name, m.help, labels, nil)
	}
}

// Describe is part of prometheus.Collector.
func (c clusterCollector) Describe(out chan<- *prometheus.Desc) {
	for _, m := range clusterMetrics {
		out <- m.desc
	}
}

// Collect is part of prometheus.Collector.
func (c clusterCollector) Collect(out chan<- prometheus.Metric) {
	s := c.status()
	for _, m := range clusterMetrics {
		switch {
		case m.gauge != nil:
			out <- prometheus.MustNewConstMetric(m.desc, prometheus.GaugeValue, m.gauge(s))
		case m.counter != nil:
			out <- prometheus.MustNewConstMetric(m.desc, prometheus.CounterValue, float64(m.counter(s)))
		default:
			kind := prometheus.CounterValue
			if m.label == "state" {
				kind = prometheus.GaugeValue
			}
			for value, n := range m.by(s) {
				out <- prometheus.MustNewConstMetric(m.desc, kind, float64(n), value)
			}
		}
	}
}

// clusterStatus answers the admin page.
func (c *console) clusterStatus(context.Context, *http.Request) (any, error) {
	if c.cluster == nil {
		return nil, badQuestion{"this server is no node of a cluster"}
	}
	return c.cluster(), nil
}
