package main

import (
	"fmt"
	"net/netip"

	"ringcast/bench/ceiling"
	"ringcast/bench/client"
	"ringcast/bench/report"
)

// ceilingVerb measures the machine itself: a load on a server that does only the necessary work.
type ceilingVerb struct {
	Threads     int            `default:"1" help:"Generator threads. A group lives on one of them."`
	Dialect     client.Dialect `enum:"plain,centrifuge,pusher" default:"plain" help:"Protocol that the clients speak, as for fanout. The server knows it by the path."`
	JSON        string         `name:"json" placeholder:"FILE" help:"Write the result with machine, flags and histograms to FILE."`
	Serve       string         `enum:",message,turn,http,goroutines" default:"" help:"Only serve, in this form: message (one send per message and member), turn (one per member and turn of the loop), http (the ceiling of post), or goroutines (no ceiling: TLS as it is usual in Go)."`
	Compression bool           `help:"Each message is compressed once for all members, by permessage-deflate."`
	Listen      string         `default:"127.0.0.1:1235" help:"Where to listen with --serve."`
	load
}

var ceilingForms = map[string]ceiling.Form{"message": ceiling.PerMessage, "turn": ceiling.PerTurn}

// Run is called by kong.
func (v *ceilingVerb) Run(e *env) error {
	if v.Serve != "" {
		addr, err := netip.ParseAddrPort(v.Listen)
		if err != nil || !addr.Addr().Is4() || !addr.Addr().IsLoopback() {
			return fmt.Errorf("--listen %q: want an address of 127.0.0.0/8 and a port; this server has no access control", v.Listen)
		}
		go func() {
			<-e.ctx.Done()
			e.exit(exitFine) // the server itself sleeps in the kernel and cannot be told to stop
		}()
		ready := func(at netip.AddrPort) { fmt.Fprintln(e.stdout, "listening", at) }
		switch v.Serve {
		case "http":
			return serveBare(v.Listen, func() { ready(addr) })
		case report.Goroutines:
			return ceiling.ServeTLS(addr, ready)
		}
		return ceiling.Serve(addr, ceilingForms[v.Serve], v.Compression, ready)
	}
	c := &common{URL: "ws://127.0.0.1/", Dialect: v.Dialect, appFlags: benchApp, wireFlags: wireFlags{Compression: v.Compression}, JoinProof: proofReply, Threads: v.Threads}
	if err := c.check(); err != nil {
		return err
	}
	if err := c.checkLoad(&v.load); err != nil {
		return err
	}
	var runs []*report.Run
	for _, form := range []string{"message", "turn"} {
		r, err := e.underCeiling(form, c, func(c *common) (*report.Run, error) { return e.fanout(c, &v.load) })
		if err != nil {
			return err
		}
		runs = append(runs, r)
	}
	return e.end(v.JSON, runs...)
}

// underCeiling starts a ceiling in this form and measures it.
func (e *env) underCeiling(form string, c *common, measure func(*common) (*report.Run, error)) (*report.Run, error) {
	addr, _, err := freeAddr()
	if err != nil {
		return nil, err
	}
	program, err := self()
	if err != nil {
		return nil, err
	}
	under := *c
	under.name, under.URL, under.Status, under.PID = report.CeilingPrefix+" "+form, "ws://"+addr+"/", "", nil
	command := []string{program, "ceiling", "--serve", form, "--listen", addr}
	if form == report.Goroutines {
		under.name, under.TLS = form, true
	} else if c.Compression {
		command = append(command, "--compression")
	}
	if under.child, err = startChild(e.ctx, addr, "", command...); err != nil {
		return nil, err
	}
	defer under.child.stop()
	return measure(&under)
}

// ceilingFlag is for the verbs that measure the ceiling beside the server.
type ceilingFlag struct {
	NoCeiling bool `help:"Do not measure the ceiling, the least that a server can do on this machine, beside it."`
}

// withCeiling measures a server, in one or several ways, and then the ceiling, in this form and with the same load, and ends the verb. No
// ceiling is measured if the server is on another machine or failed, if there are more clients than one process may hold, or with
// --no-ceiling. TLS has none; beside it is a server with goroutines.
func (f ceilingFlag) withCeiling(e *env, c *common, clients int, form, file string, measures ...func(*common) (*report.Run, error)) error {
	var runs []*report.Run
	fine := true
	for _, measure := range measures {
		r, err := measure(c)
		if err != nil {
			return err
		}
		runs, fine = append(runs, r), fine && r.Fine
	}
	t, err := c.target(c.Dialect, client.App{})
	if err != nil || !t.Loopback() || !fine || f.NoCeiling {
		return e.end(file, runs...)
	}
	why := ""
	if err := client.NeedDescriptors(clients); err != nil {
		why = fmt.Sprintf("that is one process, and %v", err)
	}
	if t.TLS.On {
		if form = report.Goroutines; c.Dialect != client.Plain || c.Compression {
			why = "with TLS that speaks the seed protocol alone, and does not compress"
		}
	}
	if why != "" {
		runs[0].Notes = append(runs[0].Notes, "no ceiling beside it: "+why)
		return e.end(file, runs...)
	}
	for _, measure := range measures {
		beside, err := e.underCeiling(form, c, measure)
		if err != nil {
			return err
		}
		runs = append(runs, beside)
	}
	return e.end(file, runs...)
}

// form is the form of the ceiling that costs the least under this load: with one message in flight there is nothing to
// gather.
func (l *load) form() string {
	if l.Window == 1 {
		return "message"
	}
	return "turn"
}
