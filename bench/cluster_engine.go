package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"ringcast/bench/report"
)

// engineFlags are of the ceiling of the verb cluster: the bare engine under it, as many processes, which publish as much.
type engineFlags struct {
	NoCeiling bool     `help:"Do not measure the ceiling, the bare engine under the cluster, beside it."`
	Ceiling   []string `default:"publish" help:"Forms of the ceiling: publish (messages are stored and acknowledged, and nobody hears them), read (each is also brought to each node, which counts it)."`
}

// engineForms are the names of the ceilings in results, and the flags of the program.
var engineForms = map[string]struct {
	name  string
	flags []string
}{
	"publish": {report.CeilingPrefix + " nats publish", nil},
	"read":    {report.CeilingPrefix + " nats read", []string{"-read"}},
}

func (f *engineFlags) check() error {
	for _, form := range f.Ceiling {
		if _, known := engineForms[form]; !known {
			return fmt.Errorf("--ceiling: there is no %q; there are publish and read", form)
		}
	}
	return nil
}

// withEngine says whether the ceiling is measured: for nodes of this machine that are a cluster.
func (f *engineFlags) withEngine(p *clusterPlan) bool {
	return !f.NoCeiling && len(p.URL) == 0 && !p.Alone
}

// engineJob and engineResult are what is said to the ceiling's processes and what they answer, see bench/ceiling/nats.
type engineJob struct {
	Rate   float64       `json:"rate"`
	Window int           `json:"window"`
	Time   time.Duration `json:"time_ns"`
	Size   int           `json:"size"`
	Groups int           `json:"groups"`
	First  int           `json:"first"`
}

type engineResult struct {
	Sent, Acked, Refused, Lost, Read uint64
	Ack, Lateness                    string
	Seconds                          float64
	User                             time.Duration `json:"user_ns"`
	System                           time.Duration `json:"system_ns"`
	RSS                              int64         `json:"rss_bytes"`
	Waited                           int64         `json:"waited_ns"`
	Error                            string
}

// beside measures the ceiling in its forms with the loads of runs.
func (f *engineFlags) beside(e *env, v *clusterVerb, scratch string, runs []*report.Run) (all []*report.Run, err error) {
	root, err := findRoot()
	if err != nil {
		return nil, err
	}
	program := filepath.Join(scratch, "ceiling-nats")
	fmt.Fprintln(e.stderr, "building the ceiling")
	if err := execute(e.ctx, root, "go", "build", "-o", program, "./bench/ceiling/nats"); err != nil {
		return nil, err
	}
	for _, form := range f.Ceiling {
		engine, err := startEngine(e, v, program, form, filepath.Join(scratch, "ceiling-"+form))
		if err != nil {
			return nil, err
		}
		for _, r := range runs {
			beside, err := engine.measure(e, v, r)
			if err != nil {
				engine.stop()
				return nil, err
			}
			all = append(all, beside)
		}
		engine.stop()
	}
	return all, nil
}

// engine is the processes of a ceiling.
type engine struct {
	form  string
	nodes []*engineNode
}

type engineNode struct {
	name string
	cmd  *exec.Cmd
	in   io.WriteCloser
	out  *bufio.Scanner
	said *tail
}

func startEngine(e *env, v *clusterVerb, program, form, dir string) (*engine, error) {
	all := &engine{form: form}
	var listens []string
	for range v.Nodes {
		addr, _, err := freeAddr()
		if err != nil {
			return nil, err
		}
		listens = append(listens, addr)
	}
	for i := range v.Nodes {
		name := fmt.Sprintf("c%d", i+1)
		replicas := 3
		if v.Nodes < 3 {
			replicas = 1
		}
		args := []string{"-name", name, "-store", filepath.Join(dir, name), "-token", clusterToken, "-partitions", strconv.Itoa(v.Partitions), "-replicas", strconv.Itoa(replicas),
			"-sync=" + strconv.FormatBool(v.ClusterSync == "always")}
		if v.Nodes > 1 {
			args = append(args, "-listen", listens[i], "-peers", strings.Join(listens, ","))
		}
		n := &engineNode{name: name, cmd: exec.Command(program, append(args, engineForms[form].flags...)...), said: &tail{}}
		// As with startChild: it ends with the bench.
		n.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
		n.cmd.Stderr = n.said
		in, err := n.cmd.StdinPipe()
		out, err2 := n.cmd.StdoutPipe()
		if err := errors.Join(err, err2); err != nil {
			all.stop()
			return nil, fmt.Errorf("the ceiling's pipes: %w", err)
		}
		n.in, n.out = in, bufio.NewScanner(out)
		n.out.Buffer(nil, 1<<20)
		if err := n.cmd.Start(); err != nil {
			all.stop()
			return nil, fmt.Errorf("cannot start the ceiling: %w", err)
		}
		all.nodes = append(all.nodes, n)
	}
	for _, n := range all.nodes {
		if !n.out.Scan() {
			all.stop()
			return nil, fmt.Errorf("the ceiling's node %s ended instead of being ready: %s", n.name, n.said)
		}
		if e.ctx.Err() != nil {
			all.stop()
			return nil, errInterrupted
		}
	}
	return all, nil
}

// stop ends all processes: their stdin ends, and what is left is killed.
func (g *engine) stop() {
	for _, n := range g.nodes {
		n.in.Close()
	}
	for _, n := range g.nodes {
		patience := time.AfterFunc(childStopTime, func() { _ = n.cmd.Process.Kill() })
		_ = n.cmd.Wait()
		patience.Stop()
	}
}

// measure publishes as much as a run did.
func (g *engine) measure(e *env, v *clusterVerb, as *report.Run) (*report.Run, error) {
	rate, _ := as.Flags["rate"].(float64)
	nodes := len(g.nodes)
	window := max(1, v.Window*v.Publishers/nodes)
	r := &report.Run{Server: engineForms[g.form].name, Load: as.Load, Round: as.Round, Verb: as.Verb, Started: time.Now(), Flags: maps.Clone(as.Flags)}
	machine, begun := readMachine(), time.Now()
	for i, n := range g.nodes {
		job := engineJob{Rate: rate / float64(nodes), Window: window, Time: v.Time, Size: v.Size, Groups: v.Groups, First: i * v.Groups / nodes}
		if err := json.NewEncoder(n.in).Encode(job); err != nil {
			return nil, fmt.Errorf("the ceiling's node %s ended: %s", n.name, n.said)
		}
	}
	x := &report.Cluster{}
	ack, lateness := newHistogram(), newHistogram()
	var used time.Duration
	for _, n := range g.nodes {
		var did engineResult
		if !n.out.Scan() {
			return nil, fmt.Errorf("the ceiling's node %s ended: %s", n.name, n.said)
		}
		if err := json.Unmarshal(n.out.Bytes(), &did); err != nil {
			return nil, fmt.Errorf("the ceiling's node %s: %w", n.name, err)
		}
		if did.Error != "" {
			return nil, fmt.Errorf("the ceiling's node %s: %s", n.name, did.Error)
		}
		x.Published, x.OK, x.Refused, x.Unknown = x.Published+did.Sent, x.OK+did.Acked, x.Refused+did.Refused, x.Unknown+did.Lost
		x.Delivered += did.Read
		x.Seconds, x.Waited = max(x.Seconds, did.Seconds), max(x.Waited, did.Waited)
		x.Nodes = append(x.Nodes, report.Node{Name: n.name, User: did.User, System: did.System, RSS: did.RSS, RSSPeak: did.RSS})
		used += did.User + did.System
		for into, text := range map[*hdrhistogram.Histogram]string{ack: did.Ack, lateness: did.Lateness} {
			h, err := hdrhistogram.Decode([]byte(text))
			if err != nil {
				return nil, fmt.Errorf("the ceiling's node %s: %w", n.name, err)
			}
			into.Merge(h)
		}
	}
	if e.ctx.Err() != nil {
		return nil, errInterrupted
	}
	x.Ordered, x.OrderedPer = x.OK, float64(x.OK)/max(x.Seconds, 1e-9)
	x.DeliveredPer = float64(x.Delivered) / max(x.Seconds, 1e-9)
	x.Ack, x.Lateness, x.AckHistogram = readPercentiles(ack), readPercentiles(lateness), encodeHistogram(ack)
	if x.OK > 0 && used >= cpuCoarse {
		x.ServerMicros = float64(used.Nanoseconds()) / 1e3 / float64(x.OK)
	}
	wall := time.Since(begun)
	r.Busy, r.ServerCore = readMachine().since(machine), report.Share(used, wall)
	r.Limit, _ = limit(nil, r.ServerCore, r.Busy)
	x.LatencyVoid = rate > 0 && float64(x.Lateness.P99) > lateShare*float64(x.Ack.P99)
	r.Cluster = x
	r.Notes = engineNotes(g.form)
	switch {
	case x.OK == 0:
		r.Verdict = "FAULTY: nothing was acknowledged"
	default:
		r.Fine, r.Verdict = true, fmt.Sprintf("not checked: %s of %s messages were acknowledged, and what they became is not looked at", count(x.OK), count(x.Published))
	}
	return r, nil
}

// engineNotes say what a ceiling does not do.
func engineNotes(form string) []string {
	notes := []string{"the ceiling publishes inside of its nodes: no clients, no WebSocket, no JSON, no keys and no ids of messages; nothing is sent again, and nobody hears anything"}
	if form == "read" {
		notes[0] = strings.Replace(notes[0], ", and nobody hears anything", "; what comes back is counted and thrown away", 1)
	}
	return notes
}
