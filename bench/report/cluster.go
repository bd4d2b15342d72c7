package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Cluster is the result of publishing to groups at several nodes. Times are nanoseconds from the due time in an open loop, from the
// write in a closed one. A ceiling has the answers alone, as nobody listens to it.
type Cluster struct {
	Published uint64  `json:"published"` // messages, each once however often it was sent
	Unsent    uint64  `json:"due_but_not_sent"`
	Seconds   float64 `json:"seconds"` // from the first due time to the last answer that came while messages were due, at least --time

	// What is known of each message by all of its answers.
	OK          uint64 `json:"ok"`
	Busy        uint64 `json:"busy"`
	Unavailable uint64 `json:"unavailable"`
	Unknown     uint64 `json:"unknown"`
	Refused     uint64 `json:"refused_otherwise"`
	Unanswered  uint64 `json:"not_answered_as_the_connection_ended"`

	UncertainHeard uint64  `json:"unknown_or_not_answered_and_heard"`
	Repeats        uint64  `json:"repeats"`              // publishes that were sent again with their key
	RepeatsOK      uint64  `json:"repeats_answered_ok"`  // with the number of the first, if that was answered too
	Ordered        uint64  `json:"ordered"`              // messages in the order, each once
	OrderedPer     float64 `json:"ordered_per_second"`   // of OK, where nobody listens
	Delivered      uint64  `json:"delivered"`            // to members, also with the answers of those who came back
	DeliveredPer   float64 `json:"delivered_per_second"` //

	Ack         Percentiles `json:"ack_ns"`      // to the answer ok
	Delivery    Percentiles `json:"delivery_ns"` // to each member
	Lateness    Percentiles `json:"sent_late_ns"`
	LatencyVoid bool        `json:"latency_void"`
	// Silence is the longest time in which a group heard nothing new while it was published to; Waited the longest time to an answer of
	// any kind.
	Silence int64 `json:"longest_silence_ns,omitempty"`
	Waited  int64 `json:"longest_wait_for_an_answer_ns"`

	Cuts         uint64         `json:"connections_that_ended"`
	CutCauses    map[string]int `json:"connections_ended_by_cause,omitempty"`
	Returns      uint64         `json:"returns"` // of members
	Recovered    uint64         `json:"recovered"`
	NotRecovered uint64         `json:"not_recovered"`
	Rewound      uint64         `json:"not_recovered_by_a_node_that_was_behind"` // the position told was before the member's
	Again        uint64         `json:"heard_again_after_that"`
	Missed       uint64         `json:"missed_messages_in_answers"`
	MissedByGone uint64         `json:"missed_by_members_that_did_not_come_back"`
	Epochs       int            `json:"most_epochs_of_a_group,omitempty"`

	ServerMicros float64  `json:"server_us_per_message,omitempty"`
	Nodes        []Node   `json:"nodes"`
	Events       []Mishap `json:"events,omitempty"`

	AckHistogram      string `json:"ack_histogram,omitempty"`
	DeliveryHistogram string `json:"delivery_histogram,omitempty"`
}

// AloneName is the server of a run of one node without a cluster.
const AloneName = "ringcast alone"

// Node is what one server of a cluster used.
type Node struct {
	Name    string        `json:"name"`
	User    time.Duration `json:"user_ns"`
	System  time.Duration `json:"system_ns"`
	RSS     int64         `json:"rss_bytes"`      // at the end
	RSSPeak int64         `json:"rss_peak_bytes"` // of what was seen once a second

	Own     *NodeOwn     `json:"own,omitempty"` // what it says of itself at the end; nil: it was not asked, or has not answered
	Samples []NodeSample `json:"samples,omitempty"`
}

// NodeOwn is what a node of ringcast says of itself, by its status. Counts are since its start.
type NodeOwn struct {
	Leads         int               `json:"leads"` // partitions
	Repeated      uint64            `json:"repeated"`
	HolesFilled   uint64            `json:"holes_filled"`
	HoleMessages  uint64            `json:"hole_messages"`
	HoleLost      uint64            `json:"hole_lost"`
	Recalls       uint64            `json:"recalls"`
	RecallsFailed uint64            `json:"recalls_failed"`
	Resends       uint64            `json:"resends"`
	SlowReads     uint64            `json:"slow_reads"`
	Refused       map[string]uint64 `json:"refused"`
}

// NodeSample is what a node had at a time.
type NodeSample struct {
	At         int64 `json:"at_ns"` // after the start
	RSS        int64 `json:"rss_bytes"`
	FDs        int   `json:"descriptors"`
	Goroutines int   `json:"goroutines,omitempty"`
	Store      int64 `json:"store_bytes,omitempty"` // of all files of its store
}

// Mishap is what the bench did to a node, and when.
type Mishap struct {
	At   int64  `json:"at_ns"` // after the start
	Node string `json:"node"`
	What string `json:"what"`
}

// Figures of cluster.
var (
	cpuPerOrdered  = figure{name: "server µs/message", of: fromCluster(func(x *Cluster) float64 { return x.ServerMicros })}
	ordered        = figure{name: "messages/s", of: fromCluster(func(x *Cluster) float64 { return x.OrderedPer }), void: rateVoid, floor: true, more: true}
	ackMedian      = figure{name: "answer p50 ms", of: fromCluster(func(x *Cluster) float64 { return milliseconds(x.Ack.P50) }), void: latencyVoid}
	ackTail        = figure{name: "answer p99 ms", of: fromCluster(func(x *Cluster) float64 { return milliseconds(x.Ack.P99) }), void: latencyVoid}
	deliveryMedian = figure{name: "delivery p50 ms", of: fromCluster(func(x *Cluster) float64 { return milliseconds(x.Delivery.P50) }), void: latencyVoid}
	deliveryTail   = figure{name: "delivery p99 ms", of: fromCluster(func(x *Cluster) float64 { return milliseconds(x.Delivery.P99) }), void: latencyVoid}
	silence        = figure{name: "longest wait s", of: fromCluster(func(x *Cluster) float64 { return time.Duration(x.Waited).Seconds() })}
	nodesPeak      = figure{name: "RSS peak MB, all nodes", of: fromCluster(func(x *Cluster) float64 { return float64(x.rssPeak()) / 1e6 }), bytes: true}
)

func fromCluster(of func(*Cluster) float64) func(*Run) float64 {
	return func(r *Run) float64 {
		if r.Cluster == nil {
			return math.NaN()
		}
		return measured(of(r.Cluster))
	}
}

func (x *Cluster) rssPeak() (sum int64) {
	for _, n := range x.Nodes {
		sum += n.RSSPeak
	}
	return sum
}

func (x *Cluster) cpu() (user, system time.Duration) {
	for _, n := range x.Nodes {
		user, system = user+n.User, system+n.System
	}
	return user, system
}

// cluster writes the lines of a run at several nodes.
func (t *lines) cluster(r *Run, x *Cluster) {
	t.line("published", "%s in %.2f s, %s/s", Count(int64(x.Published)), x.Seconds, Count(int64(float64(x.Published)/max(x.Seconds, 1e-9))))
	if x.Unsent > 0 {
		t.line("", "%s due messages were not sent", Count(int64(x.Unsent)))
	}
	answers := []string{Count(int64(x.OK)) + " ok"}
	for _, a := range []struct {
		n    uint64
		what string
	}{{x.Busy, "busy"}, {x.Unavailable, "unavailable"}, {x.Unknown, "unknown"}, {x.Refused, "refused otherwise"}, {x.Unanswered, "not answered, as the connection ended"}} {
		if a.n > 0 {
			answers = append(answers, Count(int64(a.n))+" "+a.what)
		}
	}
	if x.Unknown+x.Unanswered > 0 && !r.IsCeiling() {
		answers = append(answers, fmt.Sprintf("of the last two %s were heard", Count(int64(x.UncertainHeard))))
	}
	t.line("answers", "%s", strings.Join(answers, ", "))
	if x.Repeats > 0 {
		t.line("", "%s repeats with the same key, %s of them answered ok", Count(int64(x.Repeats)), Count(int64(x.RepeatsOK)))
	}
	t.line("ordered", "%s, %s/s%s", Count(int64(x.Ordered)), Count(int64(x.OrderedPer)), voidMark(r.RateVoid))
	if x.Delivered > 0 {
		t.line("delivered", "%s, %s/s%s", Count(int64(x.Delivered)), Count(int64(x.DeliveredPer)), voidMark(r.RateVoid))
	}
	t.line("answer", "%v%s", x.Ack, voidMark(x.LatencyVoid))
	if x.Delivered > 0 {
		t.line("delivery", "%v%s", x.Delivery, voidMark(x.LatencyVoid))
	}
	if r.flag("rate") != "" {
		t.line("sent late", "%v (the bench's own part of both; over a quarter of the answers' p99 voids them)", x.Lateness)
	}
	t.line("waited", "%s for an answer at the longest%s", Brief(x.Waited), silenceText(x))
	if x.Cuts > 0 {
		t.line("cut off", "%s connections; members came back %s times: recovered %s, not recovered %s, %s messages were given with an answer", Count(int64(x.Cuts)),
			Count(int64(x.Returns)), Count(int64(x.Recovered)), Count(int64(x.NotRecovered)), Count(int64(x.Missed)))
		for _, cause := range sortedKeys(x.CutCauses) {
			t.line("", "%s × %s", Count(int64(x.CutCauses[cause])), cause)
		}
	}
	if x.Rewound > 0 {
		t.line("", "%s of the not recovered were told a position before the one that they had, and heard %s messages again", Count(int64(x.Rewound)), Count(int64(x.Again)))
	}
	if x.Epochs > 1 {
		t.line("", "a group had %d epochs: its order was begun anew", x.Epochs)
	}
	if x.MissedByGone > 0 {
		t.line("", "who did not come back missed %s messages", Count(int64(x.MissedByGone)))
	}
	for _, m := range x.Events {
		t.line("event", "%s after %.2f s: %s", m.Node, time.Duration(m.At).Seconds(), m.What)
	}
	user, system := x.cpu()
	switch {
	case x.ServerMicros > 0:
		t.line("server", "%.1f µs of CPU a message, of all nodes together (user %.0f %%), %.2f cores", x.ServerMicros, 100*Share(user, user+system), r.ServerCore)
	case user+system > 0:
		t.line("server", "%v of CPU in all, too little for a figure per message: run longer", user+system)
	}
	for _, n := range x.Nodes {
		t.line("node", "%s: %.2f s of CPU, RSS %s, at its highest %s%s", n.Name, (n.User + n.System).Seconds(), megabytes(n.RSS), megabytes(n.RSSPeak), n.Own.text())
	}
	for _, n := range x.Nodes {
		if k := len(n.Samples); k > 1 && n.Samples[k-1].At-n.Samples[0].At >= int64(driftFrom) {
			t.line("drift", "%s", driftText(n))
		}
	}
}

// driftFrom is the shortest time over which a drift says anything.
const driftFrom = 60 * time.Second

// driftText is the first and the last sample of a node.
func driftText(n Node) string {
	a, b := n.Samples[0], n.Samples[len(n.Samples)-1]
	return fmt.Sprintf("%s in %s: RSS %s → %s, descriptors %d → %d, goroutines %d → %d, store %s → %s", n.Name, Brief(b.At-a.At), megabytes(a.RSS), megabytes(b.RSS),
		a.FDs, b.FDs, a.Goroutines, b.Goroutines, megabytes(a.Store), megabytes(b.Store))
}

func (o *NodeOwn) text() string {
	if o == nil {
		return ""
	}
	text := fmt.Sprintf("; leads %d partitions", o.Leads)
	for _, c := range []struct {
		n    uint64
		what string
	}{{o.HolesFilled, "holes filled"}, {o.HoleMessages, "messages in them"}, {o.HoleLost, "messages of holes LOST"}, {o.Recalls, "recalls"}, {o.RecallsFailed, "recalls failed"},
		{o.Resends, "messages sent again"}, {o.Repeated, "repeats by key"}, {o.SlowReads, "slow reads"}} {
		if c.n > 0 {
			text += fmt.Sprintf(", %s %s", Count(int64(c.n)), c.what)
		}
	}
	for _, cause := range sortedKeys(o.Refused) {
		if o.Refused[cause] > 0 {
			text += fmt.Sprintf(", %s refused: %s", Count(int64(o.Refused[cause])), cause)
		}
	}
	return text
}

func silenceText(x *Cluster) string {
	if x.Silence == 0 {
		return ""
	}
	return fmt.Sprintf("; a group that was published to heard nothing new for %s at the longest", Brief(x.Silence))
}

// rateSheet draws latency by rate: the median and the 99th percentile of the answers of each server, for the rates that it was asked for.
func rateSheet(name, title string, of func(*Cluster) Percentiles, all []*group, looks map[string]look) *sheet {
	type place struct {
		server string
		rate   float64
	}
	values := map[place][2][]float64{}
	rates := map[string]map[float64]bool{}
	var left []string
	for _, g := range all {
		for _, w := range g.rows {
			for _, r := range w.fine {
				rate, err := strconv.ParseFloat(r.flag("rate"), 64)
				if r.Cluster == nil || err != nil || of(r.Cluster).P99 == 0 {
					continue
				}
				if latencyVoid(r) {
					left = append(left, fmt.Sprintf("%s at %s/s", w.server, Count(int64(rate))))
					continue
				}
				at := place{w.server, rate}
				v := values[at]
				values[at] = [2][]float64{append(v[0], milliseconds(of(r.Cluster).P50)), append(v[1], milliseconds(of(r.Cluster).P99))}
				if rates[w.server] == nil {
					rates[w.server] = map[float64]bool{}
				}
				rates[w.server][rate] = true
			}
		}
	}
	var curves []curve
	several := false
	for _, server := range sortedKeys(rates) {
		for n, percentile := range []string{"p50", "p99"} {
			c := curve{server: server + " " + percentile, dots: true}
			looks[c.server] = looks[server]
			if n == 0 {
				thin := looks[server]
				thin.width, thin.dashes = 1.5, []float64{6, 3}
				looks[c.server] = thin
			}
			for _, rate := range sortedKeys(rates[server]) {
				c.points = append(c.points, [2]float64{rate, max(newSpread(values[place{server, rate}][n]).median(), 1e-3)})
			}
			several = several || len(c.points) > 1
			c.label = c.server + "  " + digits(c.points[len(c.points)-1][1])
			curves = append(curves, c)
		}
	}
	if !several {
		return nil
	}
	x := axis{name: "messages/s that were asked for", least: math.Inf(1), logged: true, text: func(v float64) string { return digits(v) }}
	for _, c := range curves {
		for _, q := range c.points {
			x.least, x.most = min(x.least, q[0]), max(x.most, q[0])
			if !slices.Contains(x.ticks, q[0]) {
				x.ticks = append(x.ticks, q[0])
			}
		}
	}
	slices.Sort(x.ticks)
	y := valueAxis("ms", curves)
	s := &sheet{name: name, title: title, subtitle: "ms from the due time (open loop), by the rate of all nodes together; lower is better",
		remarks: []string{"Points: medians of the rounds; the figure at a line's end is its last one. The axis of rates is logarithmic."}}
	if y.logged {
		s.remarks[0] = strings.Replace(s.remarks[0], "The axis of rates is", "Both axes are", 1)
	}
	if len(left) > 0 {
		s.remarks = append(s.remarks, "Left out, since the generator was full or late (VOID): "+strings.Join(left, ", ")+".")
	}
	return s.chart(curves, x, y, looks)
}

// clusterText is the size of a run at several nodes, from its flags.
func (r *Run) clusterText() string {
	text := fmt.Sprintf(", %s groups, %s members, %s publishers, %s bytes", r.flag("groups"), r.flag("members"), r.flag("publishers"), r.flag("size"))
	if r.flag("rate") != "" {
		return text + fmt.Sprintf(", open loop, %s messages/s", r.flag("rate"))
	}
	return text + fmt.Sprintf(", closed loop, %s in flight of each publisher", r.flag("window"))
}

// Rates is a file of the verb cluster for people to read: the lines of the first run, of all that are not fine and of the last of a search,
// then a table with a line for each rate, beside that of the ceiling.
func Rates(f *File) string {
	var t lines
	mine := slices.DeleteFunc(slices.Clone(f.Runs), func(r *Run) bool { return r.Server != f.Runs[0].Server })
	if len(f.Runs) <= 2 {
		for i, r := range f.Runs {
			if i > 0 {
				t.b.WriteByte('\n')
			}
			t.run(r)
		}
	} else {
		for i, r := range f.Runs {
			if i > 0 && r.Fine && r != mine[len(mine)-1] {
				continue
			}
			if i > 0 {
				t.b.WriteByte('\n')
			}
			t.run(r)
		}
		fmt.Fprintf(&t.b, "\n%s\n%s\n\n%s", f.machineText(), f.commandText(), alignedTable(rateCells(f)))
	}
	if beside := added(f); len(beside) > 0 {
		t.b.WriteByte('\n')
		for _, line := range beside {
			t.line("", "%s", line)
		}
	}
	return t.b.String()
}

// rateCells are a table with a line for each run.
func rateCells(f *File) [][]string {
	figures := []figure{ordered, ackMedian, ackTail, deliveryMedian, deliveryTail, silence, cpuPerOrdered, nodesPeak}
	heading := []string{"server", "asked for"}
	for _, figure := range figures {
		heading = append(heading, figure.name)
	}
	cells := [][]string{append(heading, "check")}
	for _, r := range f.Runs {
		asked := r.flag("rate") + "/s"
		if r.flag("rate") == "" {
			asked = r.flag("window") + " in flight"
		}
		line := []string{r.Server, asked}
		for _, figure := range figures {
			text := digits(figure.of(r))
			if figure.void != nil && figure.void(r) {
				text = "(VOID)"
			}
			line = append(line, text)
		}
		check := "fine"
		if !r.Fine {
			check = "FAULTY"
		} else if r.IsCeiling() {
			check = "–"
		}
		cells = append(cells, append(line, check))
	}
	return cells
}

// added says what lies between each run and that of the ceiling with the same load.
func added(f *File) (all []string) {
	for _, r := range f.Runs {
		if r.Cluster == nil || r.IsCeiling() || r.Server == AloneName {
			continue
		}
		for _, c := range f.Runs {
			if c.Cluster == nil || !c.IsCeiling() && c.Server != AloneName || c.loadName() != r.loadName() || c.Round != r.Round {
				continue
			}
			var parts []string
			switch a, b := r.Cluster.Ack, c.Cluster.Ack; {
			case latencyVoid(r) || latencyVoid(c):
				parts = append(parts, "latencies are void")
			case a.P50 > 0 && b.P50 > 0:
				parts = append(parts, fmt.Sprintf("answer p50 %s against %s (%+.2f ms), p99 %s against %s (%+.2f ms)", Brief(a.P50), Brief(b.P50), milliseconds(a.P50-b.P50),
					Brief(a.P99), Brief(b.P99), milliseconds(a.P99-b.P99)))
			}
			if a, b := r.Cluster.Delivery, c.Cluster.Delivery; a.P50 > 0 && b.P50 > 0 && !latencyVoid(r) && !latencyVoid(c) {
				parts = append(parts, fmt.Sprintf("delivery p50 %s against %s (%+.2f ms)", Brief(a.P50), Brief(b.P50), milliseconds(a.P50-b.P50)))
			}
			if r.RateVoid || c.RateVoid {
				parts = append(parts, "rates are void")
			} else if c.Cluster.OrderedPer > 0 {
				parts = append(parts, fmt.Sprintf("%.0f %% of its messages/s", 100*r.Cluster.OrderedPer/c.Cluster.OrderedPer))
			}
			if a, b := r.Cluster.ServerMicros, c.Cluster.ServerMicros; a > 0 && b > 0 {
				parts = append(parts, fmt.Sprintf("%.2f × its CPU a message", a/b))
			}
			at := ""
			if r.flag("rate") != "" {
				at = " at " + r.flag("rate") + "/s"
			}
			all = append(all, fmt.Sprintf("against %s%s: %s", c.Server, at, strings.Join(parts, ", ")))
		}
	}
	return all
}
