package main

import (
	"errors"
	"fmt"
	"time"

	"ringcast/bench/check"
	"ringcast/bench/report"
)

// clusterLoad is who listens where to what: the load that the verb cluster puts on nodes. Publisher n is of group n modulo the groups,
// and so is member n; publishers are dealt to the nodes in turn, and so are the members of each group, so that each node has
// members of all groups as soon as there are as many of a group as nodes.
type clusterLoad struct {
	Members    int           `help:"Clients that listen, spread over groups and nodes. Default: one of each group at each node."`
	Groups     int           `default:"48" help:"Groups."`
	Publishers int           `help:"Publishing connections, spread over groups and nodes. Default: one for each group."`
	Size       int           `default:"128" help:"Bytes of a message text."`
	Rate       float64       `xor:"pace" help:"Open loop: messages per second of all publishers together, on time whatever happens. Default: 1000."`
	Window     int           `xor:"pace" help:"Closed loop: so many publishes of each publisher wait for their answer; the next is sent when one is answered."`
	Time       time.Duration `default:"5s" help:"How long to publish."`
	Patience   time.Duration `help:"How long an answer may take, and a client that comes back. Default: 5 s more than --cluster-wait and the longest --stop together."`

	Keys          bool          `help:"Each publish has a key."`
	RepeatUnknown bool          `help:"What is answered unknown, or not answered since the connection ended, is repeated with its key, on another connection if it must be. Implies --keys."`
	RepeatWithin  time.Duration `default:"30s" help:"No repeat is sent later than so long after its message was due."`
}

const (
	nodesMax       = 16
	clusterRate    = 1000.0 // a second, where nobody says otherwise
	clusterTime    = time.Hour
	publishersMax  = 10_000
	groupsMaxBench = 1_000_000
	// clusterMessages bounds the memory of the check: about 100 bytes a message.
	clusterMessages = 32 << 20
)

// check fills in defaults that depend on other flags and on the number of nodes, and refuses what makes no sense.
func (l *clusterLoad) check(nodes int, wait time.Duration) error {
	if l.Rate == 0 && l.Window == 0 {
		l.Rate = clusterRate
	}
	if l.Members == 0 {
		l.Members = l.Groups * nodes
	}
	if l.Publishers == 0 {
		l.Publishers = l.Groups
	}
	if l.Patience == 0 {
		l.Patience = wait + 5*time.Second
	}
	l.Keys = l.Keys || l.RepeatUnknown
	switch {
	case l.Groups < 1 || l.Groups > groupsMaxBench:
		return fmt.Errorf("--groups must be 1 to %d", groupsMaxBench)
	case l.Members < l.Groups || l.Members > clientsMax:
		return fmt.Errorf("--members must be %d to %d, so that each group has one", l.Groups, clientsMax)
	case l.Publishers < 1 || l.Publishers > publishersMax:
		return fmt.Errorf("--publishers must be 1 to %d", publishersMax)
	case l.Size < check.StampBytes || l.Size > frameTextMax:
		return fmt.Errorf("--size must be %d to %d", check.StampBytes, frameTextMax)
	case l.Rate < 0 || l.Rate > 1e6:
		return errors.New("--rate must be over 0 and up to 1000000")
	case l.Window < 0 || l.Window > 100_000:
		return errors.New("--window must be 1 to 100000")
	case l.Time <= 0 || l.Time > clusterTime:
		return fmt.Errorf("--time must be over 0 and up to %v", clusterTime)
	case l.Patience < time.Second || l.Patience > timeMax:
		return fmt.Errorf("--patience must be 1s to %v", timeMax)
	case l.RepeatWithin <= 0 || l.RepeatWithin > timeMax:
		return fmt.Errorf("--repeat-within must be over 0 and up to %v", timeMax)
	case l.Rate*l.Time.Seconds() > clusterMessages:
		return fmt.Errorf("--rate and --time are %.0f messages, the check may have %d", l.Rate*l.Time.Seconds(), clusterMessages)
	}
	return nil
}

// frameTextMax keeps a publish below what a publisher writes at once.
const frameTextMax = 16 << 10

// publishersOf is how many publishers a group has.
func (l *clusterLoad) publishersOf(group int) int { return evenShare(l.Publishers, l.Groups, group) }

// membersOf is how many members a group has.
func (l *clusterLoad) membersOf(group int) int { return evenShare(l.Members, l.Groups, group) }

// nodeOf is where a member or a publisher of a group begins, by its place there: the first of neighbouring groups are at different nodes.
func nodeOf(group, place, nodes int) int { return (group + place) % nodes }

// flags is the load as a result file has it.
func (l *clusterLoad) flags() map[string]any {
	all := map[string]any{"members": l.Members, "groups": l.Groups, "publishers": l.Publishers, "size": l.Size, "time": l.Time.String(), "patience": l.Patience.String(),
		"keys": l.Keys}
	if l.Rate > 0 {
		all["rate"] = l.Rate
	} else {
		all["window"] = l.Window
	}
	if l.RepeatUnknown {
		all["repeat-unknown"] = l.RepeatWithin.String()
	}
	return all
}

// broke says why a step of a search for the limit did not hold; empty: it held.
func broke(r *report.Run, limit time.Duration) string {
	x := r.Cluster
	switch {
	case x.Busy+x.Unavailable+x.Unknown+x.Refused+x.Unanswered > 0:
		return "not all publishes were answered ok"
	case x.Unsent > 0:
		return "not all due messages could be sent"
	case !r.Fine:
		return "the check failed"
	case time.Duration(x.Ack.P99) > limit:
		return fmt.Sprintf("p99 of the answers was over %v", limit)
	}
	return ""
}
