package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"time"

	"ringcast/bench/check"
	"ringcast/bench/client"
	"ringcast/bench/report"
)

// clusterVerb publishes to groups at several nodes, of which each has members of all groups, and checks that all hear the same.
type clusterVerb struct {
	clusterPlan
	clusterLoad
	mishapFlags
	engineFlags

	BesideAlone bool          `help:"Also measure one node without a cluster, with the same loads: what the cluster adds."`
	Profile     string        `placeholder:"DIR" help:"Write a CPU profile of each node that is started, over the time of publishing, into DIR."`
	Rounds      int           `default:"1" help:"How often to measure, on the same nodes."`
	FindLimit   bool          `help:"Search the highest rate: from --rate on, each step by --step higher, until answers break or are too slow."`
	Step        float64       `default:"1.5" help:"With --find-limit: by how much each rate is higher than the one before."`
	LimitP99    time.Duration `name:"limit-p99" default:"200ms" help:"With --find-limit: the p99 of the answers at which a rate is too high."`
	ExpectCut   bool          `name:"expect-cuts" help:"A connection that ends is no fault, as somebody does things to the nodes. So it is with --kill, --term and --stop."`
	Threads     int           `default:"1" help:"Generator threads of publishers, and as many of members. A group lives on one of each."`
	JSON        string        `name:"json" placeholder:"FILE" help:"Write the result with machine, flags and histograms to FILE."`
}

// rateTop bounds a search for the limit.
const rateTop = 1e6

func (v *clusterVerb) check() (plan []mishap, err error) {
	if err := v.clusterPlan.check(); err != nil {
		return nil, err
	}
	plan, longest, err := v.mishapFlags.plan(v.Nodes, v.Time)
	if err != nil {
		return nil, err
	}
	if err := v.clusterLoad.check(v.Nodes, v.ClusterWait+longest); err != nil {
		return nil, err
	}
	switch {
	case v.Threads < 1 || v.Threads > threadsMax:
		return nil, fmt.Errorf("--threads must be 1 to %d", threadsMax)
	case len(v.URL) > 0 && len(plan) > 0:
		return nil, errors.New("--kill, --term and --stop are for nodes that the bench starts")
	case v.FindLimit && v.Window > 0:
		return nil, errors.New("--find-limit searches a rate: leave --window out")
	case v.FindLimit && len(plan) > 0:
		return nil, errors.New("--find-limit is for nodes that nothing happens to: leave --kill, --term and --stop out")
	case (v.Profile != "" || v.BesideAlone) && len(v.URL) > 0:
		return nil, errors.New("--profile and --beside-alone are for nodes that the bench starts")
	case v.BesideAlone && v.Alone:
		return nil, errors.New("--beside-alone sets beside a cluster what --alone measures by itself: leave one of them out")
	case v.FindLimit && (v.Step < 1.01 || v.Step > 10):
		return nil, errors.New("--step must be 1.01 to 10")
	}
	return plan, v.engineFlags.check()
}

// Run is called by kong.
func (v *clusterVerb) Run(e *env) error {
	plan, err := v.check()
	if err != nil {
		return err
	}
	scratch, err := os.MkdirTemp("", "ringcast-bench-")
	if err != nil {
		return fmt.Errorf("a directory for nodes: %w", err)
	}
	defer os.RemoveAll(scratch)
	nodes, err := v.nodes(e, scratch)
	if err != nil {
		return err
	}
	runs, err := v.steps(e, nodes, plan)
	endNodes(nodes) // before the ceiling, which is to have the machine for itself
	if err != nil {
		return err
	}
	if v.BesideAlone && runs[0].Fine {
		beside, err := v.alone(e, scratch, runs)
		if err != nil {
			return err
		}
		runs = append(runs, beside...)
	}
	if v.withEngine(&v.clusterPlan) && runs[0].Fine {
		beside, err := v.engineFlags.beside(e, v, scratch, slices.DeleteFunc(slices.Clone(runs), func(r *report.Run) bool { return r.Server == report.AloneName }))
		if err != nil {
			return err
		}
		runs = append(runs, beside...)
	}
	return e.endCluster(v.JSON, runs)
}

// nodes are those that run, or are started.
func (v *clusterVerb) nodes(e *env, scratch string) ([]*node, error) {
	if len(v.URL) > 0 {
		return v.found()
	}
	program := v.Server
	if program == "" {
		program = filepath.Join(scratch, "ringcast")
		root, err := findRoot()
		if err != nil {
			return nil, err
		}
		fmt.Fprintln(e.stderr, "building the server")
		if err := execute(e.ctx, root, "go", "build", "-o", program, "."); err != nil {
			return nil, err
		}
	} else if whole, err := filepath.Abs(program); err == nil { // nodes run in directories of their own
		program = whole
	}
	all, err := v.made(program, scratch)
	if err != nil {
		return nil, err
	}
	if err := startNodes(e.ctx, all); err != nil {
		endNodes(all)
		return nil, err
	}
	return all, nil
}

// alone measures one node without a cluster with the loads of runs.
func (v *clusterVerb) alone(e *env, scratch string, runs []*report.Run) (all []*report.Run, err error) {
	one := *v
	one.Alone, one.Nodes = true, 1
	dir := filepath.Join(scratch, "alone")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("a directory for a node: %w", err)
	}
	nodes, err := one.nodes(e, dir)
	if err != nil {
		return nil, err
	}
	defer endNodes(nodes)
	for _, as := range runs {
		l := v.clusterLoad
		if rate, open := as.Flags["rate"].(float64); open {
			l.Rate = rate
		}
		r, err := e.cluster(&one, nodes, &l, nil)
		if err != nil {
			return nil, err
		}
		r.Round = as.Round
		all = append(all, r)
	}
	return all, nil
}

// steps measures once, or at rising rates until one does not hold.
func (v *clusterVerb) steps(e *env, nodes []*node, plan []mishap) (runs []*report.Run, err error) {
	l := v.clusterLoad
	for round := 1; ; round++ {
		r, err := e.cluster(v, nodes, &l, plan)
		if err != nil {
			return nil, err
		}
		if v.Rounds > 1 || v.FindLimit {
			r.Round = round
		}
		runs = append(runs, r)
		if !v.FindLimit {
			if round >= v.Rounds {
				return runs, nil
			}
			continue
		}
		why := broke(r, v.LimitP99)
		fmt.Fprintf(e.stderr, "%s/s: p50 %s, p99 %s%s\n", count(int64(l.Rate)), brief(r.Cluster.Ack.P50), brief(r.Cluster.Ack.P99), map[bool]string{true: "; " + why}[why != ""])
		switch {
		case why != "":
			if len(r.Counts)+len(r.Causes)+len(r.Notes) == 0 { // else something was wrong, beside that it was too much
				r.Fine = true
			}
			r.Notes = append(r.Notes, fmt.Sprintf("the limit: %s messages/s did not hold, as %s; %s", count(int64(l.Rate)), why, v.held(runs)))
			return runs, nil
		case l.Rate*v.Step > rateTop || l.Rate*v.Step*l.Time.Seconds() > clusterMessages:
			r.Notes = append(r.Notes, "the limit was not reached: the check may have no more messages")
			return runs, nil
		}
		l.Rate = math.Round(l.Rate * v.Step)
	}
}

// held is the highest rate that held.
func (v *clusterVerb) held(runs []*report.Run) string {
	if len(runs) < 2 {
		return "no rate did"
	}
	rate, _ := runs[len(runs)-2].Flags["rate"].(float64)
	return count(int64(rate)) + " did"
}

// cluster is one measurement: a load on nodes that are ready.
func (e *env) cluster(v *clusterVerb, nodes []*node, l *clusterLoad, plan []mishap) (*report.Run, error) {
	m, err := newGathering(e.ctx, v.Threads, nodes, l, len(plan) > 0 || v.ExpectCut)
	if err != nil {
		return nil, err
	}
	defer m.close()
	r := &report.Run{Server: v.serverName(), Verb: "cluster", Started: time.Now(), Flags: l.flags()}
	r.Flags["nodes"], r.Flags["threads"] = v.Nodes, v.Threads
	if len(v.URL) == 0 {
		r.Flags["history"] = v.History
		if !v.Alone {
			r.Flags["partitions"], r.Flags["cluster-wait"], r.Flags["cluster-sync"] = v.Partitions, v.ClusterWait.String(), v.ClusterSync
		}
		if len(v.NodeFlag) > 0 {
			r.Flags["node-flags"] = v.NodeFlag
		}
	}
	if err := m.open(); err != nil {
		return nil, err
	}
	if m.forgetful() > 0 {
		return nil, errors.New("the nodes keep no history of these groups, so their messages have no offsets and nobody can come back: start them with --history")
	}
	if here, all := m.here(); here < all {
		r.Causes = m.causes()
		r.Verdict = fmt.Sprintf("FAULTY: %s of %s clients could not be opened and joined; nothing was published", count(all-here), count(all))
		r.Cluster = &report.Cluster{}
		return r, nil
	}
	keeper := &keeper{ctx: e.ctx, nodes: nodes, plan: plan}
	profiled := v.profile(nodes, r, l)
	defer profiled()
	if err := m.run(e, keeper); err != nil {
		return nil, errors.Join(err, keeper.error)
	}
	if keeper.error != nil {
		return nil, keeper.error
	}
	m.report(r, keeper)
	return r, nil
}

// gathering is all clients of one measurement of the verb cluster.
type gathering struct {
	load              *clusterLoad
	nodes             []*node
	speaking, hearing *fleet // of the same number of threads
	voices            []*voices
	roamers           []*roamers

	uses    []report.Thread
	machine float64
	before  []cpuTime // of the nodes
	wall    time.Duration
}

func newGathering(ctx context.Context, threads int, nodes []*node, l *clusterLoad, quiet bool) (*gathering, error) {
	if err := client.NeedDescriptors(l.Members + l.Publishers); err != nil {
		return nil, err
	}
	var raw [4]byte
	rand.Read(raw[:]) // never fails
	run := hex.EncodeToString(raw[:])
	names := &session{run: run}
	m := &gathering{load: l, nodes: nodes}
	var groups []string
	for group := range l.Groups {
		groups = append(groups, names.groupName(group))
	}
	var plain, centrifuge []client.Target
	for _, n := range nodes {
		t := n.target
		plain = append(plain, t)
		t.Dialect = client.Centrifuge
		t.Path = client.Centrifuge.Path(client.App{})
		centrifuge = append(centrifuge, t)
	}
	roster := client.Roster{Name: names.groupName, Number: names.groupNumber, Joins: 1, Group: func(first, _ int) int { return first }}
	var err error
	if m.speaking, err = newFleet(ctx, plain[0], threads, nil, roster); err != nil {
		return nil, err
	}
	if m.hearing, err = newFleet(ctx, centrifuge[0], threads, nil, roster); err != nil {
		m.speaking.close()
		return nil, err
	}
	for thread := range threads {
		to, from := m.speaking.here.Generators()[thread], m.hearing.here.Generators()[thread]
		to.Serve(plain)
		from.Serve(centrifuge)
		v, r := newVoices(l, to, run, groups, len(nodes), thread, threads), newRoamers(l, from, groups, len(nodes), thread, threads)
		v.quiet, r.quiet = quiet, quiet
		m.voices, m.roamers = append(m.voices, v), append(m.roamers, r)
	}
	return m, nil
}

func (m *gathering) close() {
	m.speaking.close()
	m.hearing.close()
}

// openTime bounds the time in which all clients connect and join.
const openTime = 60 * time.Second

// both runs a step on each generator of publishers and of members, and meanwhile what keeps the caller's goroutine busy.
func (m *gathering) both(speak, hear map[*client.Generator]client.Step, meanwhile func(done <-chan struct{})) error {
	type ended struct {
		uses []report.Thread
		err  error
	}
	first, second, done := make(chan ended, 1), make(chan ended, 1), make(chan struct{})
	go func() {
		uses, err := m.speaking.phase(func(g *client.Generator) client.Step { return speak[g] })
		first <- ended{uses, err}
	}()
	go func() {
		uses, err := m.hearing.phase(func(g *client.Generator) client.Step { return hear[g] })
		second <- ended{uses, err}
	}()
	var a, b ended
	go func() {
		a = <-first
		b = <-second
		close(done)
	}()
	meanwhile(done)
	<-done
	m.uses = append(a.uses, b.uses...)
	return errors.Join(a.err, b.err)
}

func (m *gathering) open() error {
	deadline := client.Clock() + int64(openTime)
	speak, hear := map[*client.Generator]client.Step{}, map[*client.Generator]client.Step{}
	for i := range m.voices {
		speak[m.voices[i].g], hear[m.roamers[i].g] = m.voices[i].open(deadline), m.roamers[i].open(deadline)
	}
	return m.both(speak, hear, func(<-chan struct{}) {})
}

func (m *gathering) here() (here, all int) {
	for i := range m.voices {
		here += m.voices[i].here + m.roamers[i].here
		all += len(m.voices[i].all) + len(m.roamers[i].all)
	}
	return here, all
}

func (m *gathering) forgetful() (n int) {
	for _, r := range m.roamers {
		n += r.forgetful
	}
	return n
}

func (m *gathering) causes() map[string]int {
	all := m.speaking.causes()
	for cause, n := range m.hearing.causes() {
		all[cause] += n
	}
	return all
}

// said are the publishers' halves of the check, by group.
func (m *gathering) said() []*check.Publishes {
	all := make([]*check.Publishes, m.load.Groups)
	for _, v := range m.voices {
		for group, said := range v.said {
			if said != nil {
				all[group] = said
			}
		}
	}
	return all
}

// run publishes, and listens until all is heard.
func (m *gathering) run(e *env, k *keeper) error {
	begun := time.Now()
	bar := e.progress("publishing", m.load.Time.Milliseconds(), m.tally(begun))
	defer bar.stop()
	for _, n := range m.nodes {
		n.look()
		m.before = append(m.before, n.cpu())
		n.peak, n.samples, n.own = n.rss, nil, nil
		n.sample(0)
	}
	k.next = client.Clock() + int64(nodeSampleEvery)
	machine := readMachine()
	start := client.Clock() + int64(startDelay)
	k.start = start
	said := m.said()
	over := func() bool {
		for _, v := range m.voices {
			if !v.done.Load() {
				return false
			}
		}
		return true
	}
	speak, hear := map[*client.Generator]client.Step{}, map[*client.Generator]client.Step{}
	for i := range m.voices {
		speak[m.voices[i].g], hear[m.roamers[i].g] = m.voices[i].publish(start), m.roamers[i].listen(start, said, over)
	}
	err := m.both(speak, hear, k.keep)
	m.machine, m.wall = readMachine().since(machine), time.Since(begun)
	return err
}

func (m *gathering) tally(begun time.Time) func() tally {
	return func() tally {
		t := tally{done: time.Since(begun).Milliseconds()}
		for i := range m.voices {
			t.rated += m.voices[i].shownOK.Load()
			t.errors += m.voices[i].shownBad.Load()
		}
		return t
	}
}
