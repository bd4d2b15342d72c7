package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"ringcast/bench/client"
	"ringcast/bench/report"
)

// named is a load of compare. Exactly one of the others is set.
type named struct {
	title string
	load  *load
	crowd *crowd
	back  *comeback // for servers with a history
}

// suite is typical loads for servers of this kind, each of which is hard in one respect.
var suite = map[string]named{
	"wide-1":   {title: "10,000 members, 1 in flight", load: &load{Members: 10_000, Window: 1}},
	"wide-64":  {title: "10,000 members, 64 in flight", load: &load{Members: 10_000, Window: 64}},
	"room-1":   {title: "1,000 members, 1 in flight", load: &load{Members: 1000, Window: 1}},
	"room-64":  {title: "1,000 members, 64 in flight", load: &load{Members: 1000, Window: 64}},
	"room-50":  {title: "1,000 members, 50 messages/s", load: &load{Members: 1000, Rate: 50}},
	"rooms":    {title: "101 groups of 40, 20 publishers, 2,000 messages/s", load: &load{Members: 4040, Groups: 101, Publishers: 20, Rate: 2000}},
	"pairs":    {title: "2,501 groups of 2 who write, 5,000 messages/s", load: &load{Members: 5002, Groups: 2501, Publishers: 5002, MemberPublishers: true, Rate: 5000}},
	"pairs-1":  {title: "2,501 groups of 2 who write, 1 in flight each", load: &load{Members: 5002, Groups: 2501, Publishers: 5002, MemberPublishers: true, Window: 1}},
	"ping":     {title: "10,000 members, 1 in flight, 20 bystanders ping", load: &load{Members: 10_000, Window: 1, Bystanders: 20}},
	"connects": {title: "1,000 → 15,000 clients", crowd: &crowd{Clients: 15_000, From: 1000, Groups: 1, Hold: 2 * time.Second}},
	"resume":   {title: "6,300 members, all cut off and back with 100 missed", back: &comeback{Members: 6300, Groups: 21, Joins: 1, Rate: 100, Missed: 100, Calm: time.Second, Bystanders: 20, Seed: 1}},
}

// suiteOrder is the order in which results show them.
var suiteOrder = []string{"wide-1", "wide-64", "room-1", "room-64", "room-50", "rooms", "pairs", "pairs-1", "ping", "connects", "resume"}

const (
	suiteSize    = 64   // bytes of a text: a price, a position, a line of chat
	suiteHistory = 1000 // messages that are kept of each group, for resume
)

// choose returns the loads with these names, in the suite's order, each publishing for the given time texts of a size; all stands for all
// that there are in a dialect.
func choose(names []string, publish time.Duration, dialect client.Dialect, size int, objects bool) ([]named, error) {
	if slices.Contains(names, "all") {
		names = slices.DeleteFunc(slices.Clone(suiteOrder), func(name string) bool { return suite[name].misfits(dialect) != "" })
	}
	for _, name := range names {
		if _, known := suite[name]; !known {
			return nil, fmt.Errorf("--loads: there is no %q; there are all, %s", name, strings.Join(suiteOrder, ", "))
		}
	}
	var chosen []named
	for _, name := range suiteOrder {
		if !slices.Contains(names, name) {
			continue
		}
		n := suite[name]
		if why := n.misfits(dialect); why != "" {
			return nil, fmt.Errorf("--loads: %s is %s", name, why)
		}
		if n.load != nil {
			l := *n.load
			l.Time, l.Joins, l.Size, l.Groups = publish, 1, size, max(l.Groups, 1)
			if objects {
				l.Payload = payloadJSON
			}
			n.load = &l
			if err := l.check(1); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
		}
		if n.back != nil {
			back := *n.back
			back.Time, back.Size = publish, size
			n.back = &back
			if err := back.check(); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
		}
		chosen = append(chosen, n)
	}
	return chosen, nil
}

// misfits says why the load cannot be measured in a dialect; empty: it can.
func (n named) misfits(dialect client.Dialect) string {
	switch {
	case n.back != nil && dialect != client.Centrifuge:
		return "for --dialect centrifuge, as others have no positions to come back to"
	case n.load != nil && n.load.MemberPublishers && dialect.SendersJoin():
		return fmt.Sprintf("not for --dialect %s, in which a member does not hear what it has sent", dialect)
	}
	return ""
}

// suiteHelp lists the loads for compare's help.
func suiteHelp() string {
	var b strings.Builder
	for _, name := range suiteOrder {
		fmt.Fprintf(&b, "%s (%s); ", name, suite[name].title)
	}
	return strings.TrimSuffix(b.String(), "; ")
}

// gathers says whether a server that sends once per turn has anything to gather: with one message in flight its two forms
// are the same, and the better of two measurements would be chance.
func (n named) gathers() bool { return n.load != nil && n.load.form() == "turn" }

// run is a load on a server, once.
func (n named) run(e *env, c *common) (*report.Run, error) {
	switch {
	case n.crowd != nil:
		return e.connect(c, n.crowd)
	case n.back != nil:
		return e.resume(c, n.back)
	}
	return e.fanout(c, n.load)
}
