package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"ringcast/bench/client"
	"ringcast/bench/report"
)

// mishapFlags are what the bench does to nodes while messages are published.
type mishapFlags struct {
	Kill    []string      `placeholder:"NODE@TIME,…" help:"Kill node NODE (1, 2, …, or leader, the one that leads most partitions then), without a warning (SIGKILL), so long after the start of publishing. May be repeated."`
	Term    []string      `placeholder:"NODE@TIME,…" help:"End it in an orderly way (SIGTERM)."`
	Stop    []string      `placeholder:"NODE@TIME+DURATION,…" help:"Stop it (SIGSTOP), and let it go on after a duration."`
	Restart time.Duration `placeholder:"DURATION" help:"Start a node again so long after it was killed or has ended. Default: not at all."`
}

// mishap is one thing that is done to a node.
type mishap struct {
	at   time.Duration // after the start of publishing
	node int           // leading: whoever leads most partitions when the first mishap with this number is done
	nth  int           // number of the flag, to which a start belongs as well
	what mishapKind
}

// leading stands for a node that is not known before.
const leading = -1

type mishapKind uint8

const (
	mishapKill mishapKind = iota
	mishapTerm
	mishapStop
	mishapGoOn
	mishapStart
)

var mishapNames = [...]string{"killed", "told to end", "stopped", "goes on", "started again"}

// plan reads the flags into what is done, in the order of time.
func (f *mishapFlags) plan(nodes int, publish time.Duration) (all []mishap, longestStop time.Duration, err error) {
	for _, list := range []struct {
		flag  string
		texts []string
		what  mishapKind
	}{{"--kill", f.Kill, mishapKill}, {"--term", f.Term, mishapTerm}, {"--stop", f.Stop, mishapStop}} {
		for _, text := range list.texts {
			m, lasts, err := readMishap(text, nodes, list.what == mishapStop)
			switch {
			case err != nil:
				return nil, 0, fmt.Errorf("%s %s: %w", list.flag, text, err)
			case m.at+lasts >= publish:
				return nil, 0, fmt.Errorf("%s %s is not over before --time %v: what comes after it would not be seen", list.flag, text, publish)
			}
			m.what, m.nth = list.what, len(all)
			all = append(all, m)
			switch {
			case list.what == mishapStop:
				all = append(all, mishap{m.at + lasts, m.node, m.nth, mishapGoOn})
				longestStop = max(longestStop, lasts)
			case f.Restart > 0:
				all = append(all, mishap{m.at + f.Restart, m.node, m.nth, mishapStart})
			}
		}
	}
	slices.SortStableFunc(all, func(a, b mishap) int { return int(a.at - b.at) })
	return all, longestStop, nil
}

// readMishap reads NODE@TIME or NODE@TIME+DURATION.
func readMishap(text string, nodes int, lasting bool) (m mishap, lasts time.Duration, err error) {
	which, when, ok := strings.Cut(text, "@")
	number, err := strconv.Atoi(which)
	if which == "leader" {
		number, err = leading+1, nil
	} else if err == nil && (number < 1 || number > nodes) {
		err = errors.New("there is no such node")
	}
	if !ok || err != nil {
		return m, 0, fmt.Errorf("want NODE@TIME with a node from 1 to %d, or leader", nodes)
	}
	m.node = number - 1
	if lasting {
		var long string
		if when, long, ok = strings.Cut(when, "+"); !ok {
			return m, 0, errors.New("want NODE@TIME+DURATION")
		}
		if lasts, err = time.ParseDuration(long); err != nil || lasts <= 0 {
			return m, 0, fmt.Errorf("%q is no duration", long)
		}
	}
	if m.at, err = time.ParseDuration(when); err != nil || m.at < 0 {
		return m, 0, fmt.Errorf("%q is no duration", when)
	}
	return m, lasts, nil
}

// keeper watches nodes while messages are published, and does to them what is planned. It runs on the goroutine that started them.
type keeper struct {
	ctx    context.Context
	nodes  []*node
	plan   []mishap
	start  int64 // of publishing
	events []report.Mishap
	error  error // why something that was planned could not be done
	chosen map[int]int
	ended  []string // nodes that have ended by themselves, with the last that they said
	next   int64    // when the next sample is taken
}

// sampleEvery is how often nodes are looked at.
const sampleEvery = time.Second

// keep returns when done is closed. What is planned for later is not done.
func (k *keeper) keep(done <-chan struct{}) {
	sample := time.NewTicker(sampleEvery)
	defer sample.Stop()
	next := time.NewTimer(time.Hour)
	defer next.Stop()
	for {
		if len(k.plan) > 0 {
			next.Reset(time.Duration(k.start + int64(k.plan[0].at) - client.Clock()))
		}
		select {
		case <-done:
			k.tidy()
			return
		case <-sample.C:
			k.look()
		case <-next.C:
			if len(k.plan) > 0 {
				m := k.plan[0]
				k.plan = k.plan[1:]
				k.do(m)
			}
		}
	}
}

func (k *keeper) look() {
	now := client.Clock()
	for _, n := range k.nodes {
		n.look()
		if now >= k.next {
			n.sample(now - k.start)
		}
	}
	if now >= k.next {
		k.next = now + int64(nodeSampleEvery)
	}
}

// choose is the node of a mishap.
func (k *keeper) choose(m mishap) (*node, error) {
	if m.node != leading {
		return k.nodes[m.node], nil
	}
	if at, known := k.chosen[m.nth]; known {
		return k.nodes[at], nil
	}
	best := -1
	for i, n := range k.nodes {
		if n.ask(); n.own != nil && (best < 0 || n.own.Leads > k.nodes[best].own.Leads) {
			best = i
		}
	}
	if best < 0 {
		return nil, errors.New("no node says how many partitions it leads")
	}
	if k.chosen == nil {
		k.chosen = map[int]int{}
	}
	k.chosen[m.nth] = best
	return k.nodes[best], nil
}

func (k *keeper) do(m mishap) {
	n, err := k.choose(m)
	if err != nil {
		k.error = errors.Join(k.error, err)
		return
	}
	switch m.what {
	case mishapKill:
		n.look()
		n.told = true
		if err = n.signal(syscall.SIGKILL); err == nil {
			<-n.child.gone // at once
			n.ended()
		}
	case mishapTerm:
		n.look()
		n.told = true
		err = n.signal(syscall.SIGTERM)
	case mishapStop:
		err = n.signal(syscall.SIGSTOP)
		n.stopped = err == nil
	case mishapGoOn:
		n.stopped = false
		if n.up() {
			err = n.signal(syscall.SIGCONT)
		}
	case mishapStart:
		if err = k.gone(n); err == nil {
			n.ended()
			err = n.start()
		}
	}
	if err != nil {
		k.error = errors.Join(k.error, fmt.Errorf("node %s was not %s: %w", n.name, mishapNames[m.what], err))
		return
	}
	k.events = append(k.events, report.Mishap{At: client.Clock() - k.start, Node: n.name, What: mishapNames[m.what]})
}

// gone waits until a node that was told to end has ended.
func (k *keeper) gone(n *node) error {
	if n.child == nil {
		return nil
	}
	patience := time.NewTimer(childStopTime)
	defer patience.Stop()
	for {
		select {
		case <-n.child.gone:
			return nil
		case <-patience.C:
			return errors.New("it has not ended")
		case <-k.ctx.Done():
			return errInterrupted
		}
	}
}

// tidy lets go on what is stopped, and asks all nodes what they say of themselves.
func (k *keeper) tidy() {
	for _, n := range k.nodes {
		if n.stopped {
			n.stopped = false
			_ = n.signal(syscall.SIGCONT)
		}
		if n.child != nil && !n.up() && !n.told {
			k.ended = append(k.ended, fmt.Sprintf("node %s ended by itself: %s", n.name, n.child.said))
		}
		n.ask()
	}
	k.next = 0
	k.look()
}
