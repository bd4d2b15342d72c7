package report

import (
	"strings"
	"testing"
	"time"
)

// clusterRun is a run of invented nodes at a rate, with answers that took so many ms at the median.
func clusterRun(server string, rate, p50 float64) *Run {
	x := &Cluster{Published: uint64(5 * rate), OK: uint64(5 * rate), Ordered: uint64(5 * rate), Seconds: 5, OrderedPer: rate, ServerMicros: 100,
		Ack: Percentiles{P50: int64(p50 * 1e6), P99: int64(4 * p50 * 1e6)}, Waited: int64(time.Second),
		Nodes: []Node{{Name: "n1", User: 2 * time.Second, System: time.Second, RSS: 1e6, RSSPeak: 2e6}, {Name: "n2", RSSPeak: 3e6}}}
	r := &Run{Server: server, Verb: "cluster", Fine: true, Verdict: "fine", Cluster: x,
		Flags: map[string]any{"nodes": 3.0, "groups": 48.0, "members": 144.0, "publishers": 48.0, "size": 128.0, "rate": rate}}
	if !r.IsCeiling() {
		x.Delivery, x.Delivered, x.DeliveredPer = x.Ack, 3*x.Ordered, 3*rate
	}
	return r
}

func TestNodesHaveATableByRateBesideTheBareEngine(t *testing.T) {
	t.Parallel()
	unraced(t)
	f := &File{Format: Format, Command: "cluster --find-limit", Runs: []*Run{clusterRun("ringcast 3 nodes", 1000, 0.8), clusterRun("ringcast 3 nodes", 2000, 1), clusterRun("ringcast 3 nodes", 4000, 9),
		clusterRun("ceiling nats publish", 1000, 0.5), clusterRun("ceiling nats publish", 2000, 0.6), clusterRun("ceiling nats publish", 4000, 1)}}
	f.Runs[2].Notes = []string{"the limit: x"}
	text := strings.Join(strings.Fields(Rates(f)), " ")
	for _, want := range []string{
		"cluster ringcast 3 nodes, 48 groups, 144 members, 48 publishers, 128 bytes, open loop, 1000 messages/s",
		"answers 5,000 ok", "delivered 15,000, 3,000/s", "waited 1s for an answer at the longest",
		"server 100.0 µs of CPU a message, of all nodes together (user 67 %)", "node n1: 3.00 s of CPU, RSS 1.0 MB, at its highest 2.0 MB",
		"ringcast 3 nodes 2000/s 2.00k 1.00 4.00 1.00 4.00 1.00 100 5.00 fine",
		"ceiling nats publish 4000/s 4.00k 1.00 4.00 – – 1.00 100 5.00 –",
		"against ceiling nats publish at 1000/s: answer p50 800µs against 500µs (+0.30 ms), p99 3.2ms against 2ms (+1.20 ms), 100 % of its messages/s, 1.00 × its CPU a message",
		"against ceiling nats publish at 4000/s: answer p50 9ms against 1ms (+8.00 ms)",
		"note: the limit: x",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, Rates(f))
		}
	}
	if strings.Contains(text, "open loop, 2000") {
		t.Errorf("got the lines of a run in the middle in\n%s", Rates(f))
	}
	pictures, err := Pictures(f)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range pictures {
		names = append(names, p.Name)
	}
	if got := strings.Join(names, " "); got != "answers-by-rate deliveries-by-rate" {
		t.Errorf("got pictures %q, want latency by rate of answers and deliveries, and no others", got)
	}
	for _, want := range []string{"ringcast 3 nodes p99  36.0", "ceiling nats publish p50  1.00", "Answers by rate"} {
		if !strings.Contains(string(pictures[0].SVG), want) {
			t.Errorf("no %q in the picture", want)
		}
	}
}

func TestOneNodeAloneStandsBesideACluster(t *testing.T) {
	t.Parallel()
	f := &File{Format: Format, Runs: []*Run{clusterRun("ringcast 3 nodes", 1000, 0.8), clusterRun(AloneName, 1000, 0.3)}}
	want := "against ringcast alone at 1000/s: answer p50 800µs against 300µs (+0.50 ms), p99 3.2ms against 1.2ms (+2.00 ms), delivery p50 800µs against 300µs (+0.50 ms)"
	if text := Rates(f); !strings.Contains(text, want) || strings.Count(text, "against ringcast alone") != 1 {
		t.Errorf("no %q in\n%s", want, text)
	}
}

func TestAVoidRateIsNotDrawn(t *testing.T) {
	t.Parallel()
	unraced(t)
	f := &File{Format: Format, Runs: []*Run{clusterRun("a", 1000, 1), clusterRun("a", 2000, 1), clusterRun("a", 4000, 1)}}
	f.Runs[1].Cluster.LatencyVoid = true
	pictures, err := Pictures(f)
	if err != nil || len(pictures) != 2 || !strings.Contains(string(pictures[0].SVG), "(VOID): a at 2,000/s.") {
		t.Errorf("got %v and %d pictures, want one that names what is left out", err, len(pictures))
	}
	if text := Rates(f); strings.Count(text, "(VOID)") < 4 {
		t.Errorf("the figures are not marked in\n%s", text)
	}
}

func TestFaultsAndAnswersOfNodesAreAllNamed(t *testing.T) {
	t.Parallel()
	r := clusterRun("ringcast 3 nodes", 1000, 1)
	r.Fine, r.Verdict, r.Counts, r.Examples = false, "FAULTY", map[string]uint64{"lost": 3}, map[string][]string{"lost": {"group 1 member 2 never got it"}}
	x := r.Cluster
	x.Busy, x.Unavailable, x.Unknown, x.Refused, x.Unanswered, x.UncertainHeard, x.Unsent = 1, 2, 3, 4, 5, 6, 7
	x.Repeats, x.RepeatsOK, x.Cuts, x.Returns, x.Recovered, x.NotRecovered, x.Missed = 9, 8, 10, 11, 12, 13, 14
	x.CutCauses, x.Silence = map[string]int{"reset": 10}, int64(4*time.Second)
	x.Events = []Mishap{{At: int64(5 * time.Second), Node: "n1", What: "killed"}}
	x.Nodes[0].Own = &NodeOwn{Leads: 5, HolesFilled: 2, Refused: map[string]uint64{"busy": 3}}
	x.Nodes[1].Samples = []NodeSample{{At: 0, RSS: 1e6, FDs: 10, Goroutines: 20, Store: 1e6}, {At: int64(2 * time.Minute), RSS: 2e6, FDs: 11, Goroutines: 21, Store: 9e6}}
	text := strings.Join(strings.Fields(Rates(&File{Format: Format, Runs: []*Run{r}})), " ")
	for _, want := range []string{
		"5,000 ok, 1 busy, 2 unavailable, 3 unknown, 4 refused otherwise, 5 not answered, as the connection ended, of the last two 6 were heard",
		"7 due messages were not sent", "9 repeats with the same key, 8 of them answered ok",
		"cut off 10 connections; members came back 11 times: recovered 12, not recovered 13, 14 messages were given with an answer", "10 × reset",
		"event n1 after 5.00 s: killed", "heard nothing new for 4s at the longest", "leads 5 partitions, 2 holes filled, 3 refused: busy",
		"drift n2 in 2m0s: RSS 1.0 MB → 2.0 MB, descriptors 10 → 11, goroutines 20 → 21, store 1.0 MB → 9.0 MB", "3 lost group 1 member 2 never got it",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, Rates(&File{Format: Format, Runs: []*Run{r}}))
		}
	}
}
