package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"ringcast/bench/client"
	"ringcast/bench/report"
)

// compareVerb measures servers side by side: every load on every server, in rounds, so that other work of the machine
// affects all of them alike.
type compareVerb struct {
	Dialect client.Dialect `enum:"plain,centrifuge,pusher" default:"plain" help:"Protocol that the clients speak, as for fanout: all servers are measured in it."`
	With    []string       `help:"Servers to compare with ringcast: ${peers}. Default: ${with}."`
	Loads   []string       `default:"all" help:"all, or some of: ${suite}."`
	Rounds  int            `default:"3" help:"How often each is measured."`
	Time    time.Duration  `default:"3s" help:"How long to publish."`
	History int            `placeholder:"N" help:"Also measure ringcast, and in the dialect centrifuge its peer, with a history of N messages of each group, as servers of their own. The load resume is for these alone, and has them with ${history} by default."`
	Size    int            `placeholder:"BYTES" help:"Bytes of a message text. Default: 64; 1024 with --compression."`

	TLS         bool `name:"tls" help:"Measure TLS: ringcast with and without it, beside goroutines, the way that is usual in Go, and, if asked for by --with, nginx in front of ringcast."`
	Compression bool `help:"Measure permessage-deflate: ringcast with and without it, and peers that have it. Texts are JSON then."`

	JSON string `name:"json" placeholder:"FILE" help:"Write all runs to FILE, for the verb report. Default: a file in the system's temporary directory."`
}

const (
	roundsMax = 100
	// runTime is about what a run takes besides publishing: start, joins, what is still on its way, stop.
	runTime = 3 * time.Second
	// examineMessages is what a server has to get right before it is measured, 20 deliveries each. By the clock a slow one would be let
	// through after a few: there were 24 messages in 300 ms on a machine that had much else to do.
	examineMessages = 2000
	examineTime     = 30 * time.Second // for one that is so slow
)

// Run is called by kong.
func (v *compareVerb) Run(e *env) error {
	if v.Rounds < 1 || v.Rounds > roundsMax {
		return fmt.Errorf("--rounds must be 1 to %d", roundsMax)
	}
	if v.History < 0 || v.History > missedMax {
		return fmt.Errorf("--history must be up to %d", missedMax)
	}
	if v.TLS && v.Compression {
		return errors.New("--tls and --compression are compared one after the other: what TLS costs is hidden by what compression saves")
	}
	if v.Size == 0 {
		if v.Size = suiteSize; v.Compression {
			v.Size = 1024
		}
	}
	loads, err := choose(v.Loads, v.Time, v.Dialect, v.Size, v.Compression)
	if err != nil {
		return err
	}
	if v.Dialect != client.Plain { // results of two dialects are not rounds of one load
		for i := range loads {
			loads[i].title += ", " + string(v.Dialect)
		}
	}
	for i := range loads { // neither are those with and without
		switch {
		case v.TLS:
			loads[i].title += ", TLS"
		case v.Compression:
			loads[i].title += fmt.Sprintf(", %s bytes of JSON, compressed", count(v.Size))
		}
	}
	if len(v.With) == 0 {
		switch {
		case v.TLS:
			v.With = []string{report.Goroutines}
		case v.Compression && v.Dialect == client.Plain:
			v.With = []string{"gws", "ws", "bun", report.CeilingPrefix}
		case v.Compression:
			v.With = []string{report.CeilingPrefix}
		default:
			v.With = defaultWith[v.Dialect]
		}
	}
	scratch, err := os.MkdirTemp("", "ringcast-bench-")
	if err != nil {
		return fmt.Errorf("a directory for programs: %w", err)
	}
	defer os.RemoveAll(scratch)
	fmt.Fprintln(e.stderr, "making the servers")
	servers, err := v.contenders(e.ctx, v.kept(loads), scratch)
	if err != nil {
		return err
	}
	if err := e.examine(servers, v.Size); err != nil {
		return err
	}
	total := 0
	for _, load := range loads {
		for _, server := range servers {
			if v.takes(server, load) {
				total += v.Rounds
			}
		}
	}
	fmt.Fprintf(e.stderr, "%d runs in %d rounds: about %v\n", total, v.Rounds, (time.Duration(total) * (v.Time + runTime)).Round(time.Second))
	if v.JSON == "" {
		v.JSON = filepath.Join(os.TempDir(), "ringcast-compare.json")
	}
	file, done := e.newFile(), 0
	for round := range v.Rounds {
		for _, load := range loads {
			for i := range servers {
				// Each round begins with another server: after a heavy load the machine may be hotter.
				server := servers[(i+round)%len(servers)]
				if !v.takes(server, load) {
					continue
				}
				done++
				fmt.Fprintf(e.stderr, "%d of %d: %s, %s\n", done, total, load.title, server.name)
				r, err := e.against(server, load)
				if err != nil && len(file.Runs) > 0 {
					fmt.Fprintf(e.stderr, "the runs so far are in %s (the verb report reads it)\n", v.JSON)
				}
				if err != nil {
					return err
				}
				r.Load, r.Round = load.title, round+1
				file.Runs = append(file.Runs, r)
				if err := file.Write(v.JSON); err != nil { // each time: an interrupted comparison keeps what it has
					return err
				}
			}
		}
	}
	fmt.Fprint(e.stdout, report.Table(file))
	fmt.Fprintf(e.stdout, "\nall runs: %s (the verb report reads it)\n", v.JSON)
	for _, r := range file.Runs {
		if !r.Fine {
			return errFaulty
		}
	}
	return nil
}

// wire is what lies between TCP and messages.
func (v *compareVerb) wire() wireFlags { return wireFlags{TLS: v.TLS, Compression: v.Compression} }

// kept is how many messages the servers with a history keep of each group; 0: there are none.
func (v *compareVerb) kept(loads []named) int {
	if v.History == 0 && slices.ContainsFunc(loads, func(n named) bool { return n.back != nil }) {
		return suiteHistory
	}
	return v.History
}

// takes says whether to measure a server under a load. Nobody has asked for other loads on servers with a history, if --history was
// not given.
func (v *compareVerb) takes(server contender, load named) bool {
	return server.fits(load) && (load.back != nil || server.history == 0 || v.History > 0)
}

// examine checks every server once, before any is measured: a faulty server is not worth measuring.
func (e *env) examine(servers []contender, size int) error {
	l := &load{Members: 60, Groups: 6, Joins: 2, Publishers: 6, Size: size, Payload: payloadJSON, Window: 4, Messages: examineMessages, Time: examineTime}
	if err := l.check(1); err != nil {
		return err
	}
	var wrong error
	for _, server := range servers {
		fmt.Fprintf(e.stderr, "checking %s\n", server.name)
		r, err := e.against(server, named{load: l})
		if err != nil {
			return err
		}
		if !r.Fine {
			fmt.Fprintf(e.stderr, "%s failed the check: %s %v\n", server.name, r.Verdict, r.Counts)
			err = errFaulty
		}
		wrong = errors.Join(wrong, err)
	}
	return wrong
}

// against starts a server, puts a load on it, and ends it.
func (e *env) against(server contender, load named) (*report.Run, error) {
	addr, port, err := freeAddr()
	if err != nil {
		return nil, err
	}
	running, err := startChild(e.ctx, addr, server.dir, server.start(addr, port)...)
	if err != nil {
		return nil, err
	}
	defer running.stop()
	c := &common{name: server.name, URL: "ws://" + addr + "/", Threads: 1, Dialect: server.speaks, appFlags: benchApp, JoinProof: proofReply, child: running, processes: 1, wireFlags: server.wire}
	if server.status != nil {
		c.Status = server.status(port)
	}
	r, err := load.run(e, c)
	if err == nil && server.history > 0 {
		r.Flags["history"] = server.history
	}
	return r, err
}
