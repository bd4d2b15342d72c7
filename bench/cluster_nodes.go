package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"ringcast/bench/client"
	"ringcast/bench/report"
)

// node is one server of a cluster, as the bench sees it from outside. Owner: the goroutine that started it.
type node struct {
	name    string
	target  client.Target // of publishers; members have the same with the path of their dialect
	victim  *victim       // nil: its processes cannot be seen
	blind   error         // why not
	command []string      // nil: it was started by somebody else
	dir     string        // in which it runs
	ready   string        // URL that answers 200 when it can serve
	child   *child        // nil: not ours, or it has ended
	stopped bool
	told    bool // to end

	socket  string // of its status
	store   string // directory of its log
	metrics string // URL
	profile string // likewise
	own     *report.NodeOwn
	samples []report.NodeSample

	spent cpuTime // of its processes that have ended
	seen  cpuTime // at the last look, of the one that runs
	rss   int64
	peak  int64
}

const (
	// readyTime is from the start of the nodes until they serve: a cluster has to find each other and to make its streams.
	readyTime = 90 * time.Second
	readyLook = 50 * time.Millisecond
)

// clusterPlan is how nodes are started, or where they are.
type clusterPlan struct {
	Server      string        `placeholder:"PATH" help:"The program of the nodes. Default: built from the sources in this directory."`
	URL         []string      `placeholder:"URL,…" help:"Nodes that run already, instead of starting some (ws:// only); they have to keep a history. May be repeated."`
	AllowRemote bool          `help:"Allow targets outside loopback. Only measure machines that you may load."`
	Nodes       int           `default:"3" help:"Nodes to start, as processes of this machine. One of them is a cluster of one."`
	Alone       bool          `help:"Start one node without a cluster: what the order over several nodes costs is seen beside it."`
	Partitions  int           `default:"16" help:"Partitions of the cluster, and of the ceiling."`
	ClusterWait time.Duration `default:"15s" help:"How long a publish waits for its place in the order, --cluster-wait of the nodes."`
	ClusterSync string        `enum:"interval,always" default:"interval" help:"--cluster-sync of the nodes."`
	History     int           `default:"2000" help:"Messages that nodes keep of each group, and give one who comes back: --history and --recovery-max."`
	NodeFlag    []string      `sep:"none" placeholder:"FLAG" help:"A further flag of each node that is started, as in --node-flag=--loops=2. May be repeated."`
}

func (p *clusterPlan) check() error {
	if len(p.URL) > 0 {
		p.Nodes = len(p.URL)
	}
	if p.Alone {
		p.Nodes = 1
	}
	switch {
	case p.Nodes < 1 || p.Nodes > nodesMax:
		return fmt.Errorf("there may be 1 to %d nodes", nodesMax)
	case len(p.URL) > 0 && (p.Server != "" || p.Alone || len(p.NodeFlag) > 0):
		return errors.New("--server, --alone and --node-flag are for nodes that the bench starts, --url for those that run")
	case p.Partitions < 1 || p.Partitions > 256:
		return errors.New("--partitions must be 1 to 256")
	case p.ClusterWait < time.Second || p.ClusterWait > 5*time.Minute:
		return errors.New("--cluster-wait must be 1s to 5m")
	case p.History < 1 || p.History > missedMax:
		return fmt.Errorf("--history must be 1 to %d", missedMax)
	}
	return nil
}

// serverName is what results call the nodes together.
func (p *clusterPlan) serverName() string {
	switch {
	case len(p.URL) > 0:
		return strings.Join(p.URL, " ")
	case p.Alone:
		return report.AloneName
	case p.Nodes == 1:
		return "ringcast 1 node"
	}
	return fmt.Sprintf("ringcast %d nodes", p.Nodes)
}

// found are nodes that somebody else runs.
func (p *clusterPlan) found() ([]*node, error) {
	var all []*node
	for i, url := range p.URL {
		t, err := parseTarget(url, client.Plain, client.App{}, p.AllowRemote)
		if err != nil {
			return nil, err
		}
		if err := reach(t); err != nil {
			return nil, err
		}
		n := &node{name: fmt.Sprintf("n%d", i+1), target: t}
		n.victim, n.blind = findVictim(t, nil)
		if n.blind != nil {
			n.victim = nil
		}
		all = append(all, n)
	}
	return all, nil
}

// made are nodes that are still to be started, with their files in a directory.
func (p *clusterPlan) made(program, scratch string) ([]*node, error) {
	var all []*node
	var peers []string
	for i := range p.Nodes {
		n := &node{name: fmt.Sprintf("n%d", i+1), dir: filepath.Join(scratch, fmt.Sprintf("n%d", i+1))}
		if err := os.MkdirAll(n.dir, 0o755); err != nil {
			return nil, fmt.Errorf("a directory for a node: %w", err)
		}
		var addrs [3]string // of clients, of operators, of the other nodes
		for at := range addrs {
			addr, _, err := freeAddr()
			if err != nil {
				return nil, err
			}
			addrs[at] = addr
		}
		t, err := parseTarget("ws://"+addrs[0]+"/", client.Plain, client.App{}, false)
		if err != nil {
			return nil, err
		}
		n.target, n.ready, n.metrics = t, "http://"+addrs[1]+"/readyz", "http://"+addrs[1]+"/metrics"
		n.profile = "http://" + addrs[1] + "/debug/pprof/profile"
		n.socket, n.store = filepath.Join(n.dir, "run", "ringcast.sock"), filepath.Join(n.dir, "store")
		kept := strconv.Itoa(p.History)
		n.command = []string{program, "start", "--listen", addrs[0], "--admin", addrs[1], "--run-dir", filepath.Join(n.dir, "run"), "--loops", "auto",
			"--history", kept, "--recovery-max", kept}
		if !p.Alone {
			n.command = append(n.command, "--cluster-name", "bench", "--cluster-node", n.name, "--cluster-partitions", strconv.Itoa(p.Partitions),
				"--cluster-wait", p.ClusterWait.String(), "--cluster-sync", p.ClusterSync, "--store-dir", filepath.Join(n.dir, "store"))
		}
		if p.Nodes > 1 {
			n.command = append(n.command, "--cluster-listen", addrs[2], "--cluster-token", clusterToken)
			peers = append(peers, addrs[2])
		}
		all = append(all, n)
	}
	for _, n := range all {
		if len(peers) > 0 {
			n.command = append(n.command, "--cluster-peers", strings.Join(peers, ","))
		}
		if p.Nodes == 2 {
			n.command = append(n.command, "--cluster-replicas", "1")
		}
		n.command = append(n.command, p.NodeFlag...)
	}
	return all, nil
}

// clusterToken is what the nodes of a bench show to each other. They listen on loopback alone.
const clusterToken = "of-the-bench"

// start starts all nodes at once, since none is ready before a majority is there, and returns when all are.
func startNodes(ctx context.Context, all []*node) error {
	for _, n := range all {
		if err := n.start(); err != nil {
			return err
		}
	}
	deadline := time.Now().Add(readyTime)
	for _, n := range all {
		if err := n.await(ctx, deadline); err != nil {
			return err
		}
	}
	return nil
}

func (n *node) start() error {
	c, err := launch(n.dir, n.command...)
	if err != nil {
		return err
	}
	n.child, n.stopped, n.told = c, false, false
	n.victim = &victim{pids: []int{c.cmd.Process.Pid}} // it forks none
	return nil
}

// await returns when the node can serve.
func (n *node) await(ctx context.Context, deadline time.Time) error {
	look := time.NewTicker(readyLook)
	defer look.Stop()
	why := ""
	for {
		if why = n.unready(); why == "" {
			return nil
		}
		select {
		case <-look.C:
		case <-n.child.gone:
			return fmt.Errorf("node %s ended instead of serving: %s", n.name, n.child.said)
		case <-ctx.Done():
			return errInterrupted
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("node %s is not ready after %v (%s): %s", n.name, readyTime, why, n.child.said)
		}
	}
}

// unready is why the node cannot serve; empty: it can.
func (n *node) unready() string {
	get := http.Client{Timeout: time.Second}
	answer, err := get.Get(n.ready)
	if err != nil {
		return "no answer"
	}
	defer answer.Body.Close()
	why, _ := io.ReadAll(io.LimitReader(answer.Body, 1<<10))
	if answer.StatusCode == http.StatusOK {
		return ""
	}
	return strings.TrimSpace(string(why)) + " "
}

// up says that the node's process runs, if it is ours.
func (n *node) up() bool {
	if n.child == nil {
		return n.command == nil
	}
	select {
	case <-n.child.gone:
		return false
	default:
		return true
	}
}

// look reads what the node's processes use.
func (n *node) look() {
	if n.victim == nil || !n.up() {
		return
	}
	used, err := n.victim.cpu()
	if err != nil {
		return // it has just ended: what was seen before is what is known
	}
	n.seen = used
	if rss, err := n.victim.rss(); err == nil {
		n.rss, n.peak = rss, max(n.peak, rss)
	}
}

// ended keeps what a process has used that no longer runs.
func (n *node) ended() {
	n.spent = cpuTime{n.spent.user + n.seen.user, n.spent.system + n.seen.system}
	n.seen = cpuTime{}
}

func (n *node) cpu() cpuTime {
	return cpuTime{n.spent.user + n.seen.user, n.spent.system + n.seen.system}
}

// signal sends a signal to the node's process.
func (n *node) signal(s syscall.Signal) error {
	if n.child == nil {
		return fmt.Errorf("node %s was not started by the bench", n.name)
	}
	return n.child.cmd.Process.Signal(s)
}

// endNodes ends all that the bench has started. One that is stopped could not end by itself.
func endNodes(all []*node) {
	for _, n := range all {
		if n.child != nil && n.stopped {
			_ = n.signal(syscall.SIGCONT) // an error means that it is gone
		}
		if n.child != nil {
			_ = syscall.Kill(-n.child.cmd.Process.Pid, syscall.SIGTERM)
		}
	}
	for _, n := range all {
		if n.child != nil {
			n.child.stop()
			n.child = nil
		}
	}
}

// use is what a node has used since before.
func (n *node) use(before cpuTime) report.Node {
	used := n.cpu().since(before)
	return report.Node{Name: n.name, User: used.user, System: used.system, RSS: n.rss, RSSPeak: n.peak, Own: n.own, Samples: n.samples}
}
