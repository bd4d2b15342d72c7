package cli

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"ringcast/api"
	"ringcast/cli/settings"
)

// clusterText is the part of a status text that is about the cluster; empty where there is none. at is when the status was made.
func clusterText(s *api.ClusterStatus, at time.Time) string {
	if s == nil {
		return ""
	}
	var b strings.Builder
	state := "ready"
	if !s.Ready {
		state = "not ready: " + s.Trouble
	}
	place := "NATS servers of yours"
	switch {
	case s.Listen != "":
		place = "listens on " + s.Listen
	case s.StoreDir != "":
		place = "one node"
	}
	fmt.Fprintf(&b, "name     %s    node %s    %s    %d of %d up    %s\n", s.Name, s.Node, place, s.Up(), len(s.Nodes), state)
	where := ""
	if s.StoreDir != "" {
		where = "    in " + s.StoreDir
	}
	fmt.Fprintf(&b, "store    %s of %s%s\n", settings.SizeText(int64(s.StoreBytes)), settings.SizeText(int64(s.StoreMax)), where)
	sums := s.Sums()
	fmt.Fprintf(&b, "order    %s offered    %s ordered    %s behind    %s queued, %s under way    %s repeated    %s sent again\n", countText(s.Offered),
		countText(s.Ordered), countText(sums.Lag), countText(sums.Queued), countText(sums.Flying), countText(s.Repeated), countText(s.Resends))
	fmt.Fprintf(&b, "mended   %s holes, %s messages    %s lost    %s slow reads    recalls %s, %s failed, %s refused\n", countText(s.HolesFilled),
		countText(s.HoleMessages), countText(s.HoleLost), countText(s.SlowReads), countText(s.Recalls), countText(s.RecallsFailed), countText(s.RecallsRefused))
	if s.FastSent+s.FastHeard+s.FastLost > 0 {
		fmt.Fprintf(&b, "fast     %s sent    %s heard    %s lost\n", countText(s.FastSent), countText(s.FastHeard), countText(s.FastLost))
	}
	if s.PresenceLists+s.PresenceOverflows+s.PresenceHoles+s.PresenceStrange > 0 {
		fmt.Fprintf(&b, "members  %s lists sent    %s overflows    %s holes    %s strange\n", countText(s.PresenceLists), countText(s.PresenceOverflows),
			countText(s.PresenceHoles), countText(s.PresenceStrange))
	}
	if s.Strange > 0 {
		fmt.Fprintf(&b, "strange  %s messages in the log that no ringcast has written\n", countText(s.Strange))
	}
	b.WriteString(kindsText("refused", s.Refused))
	width := bannerWidth
	if t := nodesTable(s, at); len(t.rows) > 0 {
		rows := t.text()
		for line := range strings.Lines(rows) {
			width = max(width, utf8.RuneCountInString(line)-1)
		}
		b.WriteString(rows)
	}
	return titled("CLUSTER", width) + b.String()
}

// nodesTable has a row for each node, and for the partitions that nobody leads, and for leaders that are no nodes, as NATS servers of others are.
func nodesTable(s *api.ClusterStatus, at time.Time) *table {
	t := &table{least: bannerWidth, columns: []column{{"node", false}, {"state", false}, {"heard of", true}, {"leads", true}, {"partitions", false}}}
	leads := map[string][]int{}
	for i, p := range s.Partitions {
		leads[p.Leader] = append(leads[p.Leader], i)
	}
	row := func(name, state, heard string) {
		t.rows = append(t.rows, []string{shownName(name), state, heard, countText(len(leads[name])), rangesText(leads[name])})
		delete(leads, name)
	}
	for _, n := range s.Nodes {
		state, heard := "down", "never"
		if !n.Seen.IsZero() {
			heard = uptimeText(max(0, at.Sub(n.Seen))) + " ago"
		}
		if n.Up {
			state = "up"
		}
		if n.Name == s.Node {
			state, heard = "this one", ""
		}
		row(n.Name, state, heard)
	}
	for _, name := range slices.Sorted(maps.Keys(leads)) {
		row(name, "", "")
	}
	return t
}

func shownName(node string) string {
	if node == "" {
		return "nobody"
	}
	return shortened(node, patternRunesMax)
}

// rangesText is ascending numbers with runs of them drawn together: 0-3, 8.
func rangesText(numbers []int) string {
	var runs []string
	for i := 0; i < len(numbers); {
		j := i
		for j+1 < len(numbers) && numbers[j+1] == numbers[j]+1 {
			j++
		}
		text := strconv.Itoa(numbers[i])
		if j > i {
			text += "-" + strconv.Itoa(numbers[j])
		}
		runs, i = append(runs, text), j+1
	}
	return strings.Join(runs, ", ")
}
