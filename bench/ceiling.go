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
	Threads int            `default:"1" help:"Generator threads. A group lives on one of them."`
	Dialect client.Dialect `enum:"plain,centrifuge" default:"plain" help:"Protocol that the clients speak, as for fanout. The server knows it by the path."`
	JSON    string         `name:"json" placeholder:"FILE" help:"Write the result with machine, flags and histograms to FILE."`
	Serve   string         `enum:",message,turn,http" default:"" help:"Only serve, in this form: message (one send per message and member), turn (one per member and turn of the loop), or http (the ceiling of post)."`
	Listen  string         `default:"127.0.0.1:1235" help:"Where to listen with --serve."`
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
		if v.Serve == "http" {
			return serveBare(v.Listen, func() { fmt.Fprintln(e.stdout, "listening", addr) })
		}
		return ceiling.Serve(addr, ceilingForms[v.Serve], func(at netip.AddrPort) { fmt.Fprintln(e.stdout, "listening", at) })
	}
	c := &common{Dialect: v.Dialect, JoinProof: proofReply, Threads: v.Threads}
	if err := c.check(); err != nil {
		return err
	}
	if err := v.load.check(v.Threads); err != nil {
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
	server, err := startChild(e.ctx, addr, "", program, "ceiling", "--serve", form, "--listen", addr)
	if err != nil {
		return nil, err
	}
	defer server.stop()
	under := &common{name: report.CeilingPrefix + " " + form, URL: "ws://" + addr + "/", child: server, Threads: c.Threads, Dialect: c.Dialect, JoinProof: c.JoinProof, processes: c.processes}
	return measure(under)
}

// ceilingFlag is for the verbs that measure the ceiling beside the server.
type ceilingFlag struct {
	NoCeiling bool `help:"Do not measure the ceiling, the least that a server can do on this machine, beside it."`
}

// withCeiling measures a server and then the ceiling, in this form and with the same load, and ends the verb. No ceiling is
// measured if the server is on another machine or failed, if there are more clients than one process may hold, or with
// --no-ceiling.
func (f ceilingFlag) withCeiling(e *env, c *common, clients int, form, file string, measure func(*common) (*report.Run, error)) error {
	r, err := measure(c)
	if err != nil {
		return err
	}
	runs := []*report.Run{r}
	if t, err := parseTarget(c.URL, c.Dialect, c.AllowRemote); err != nil || !t.Loopback() || !r.Fine || f.NoCeiling {
		return e.end(file, runs...)
	}
	if err := client.NeedDescriptors(clients); err != nil {
		r.Notes = append(r.Notes, fmt.Sprintf("no ceiling beside it: that is one process, and %v", err))
		return e.end(file, runs...)
	}
	beside, err := e.underCeiling(form, c, measure)
	if err != nil {
		return err
	}
	return e.end(file, append(runs, beside)...)
}

// form is the form of the ceiling that costs the least under this load: with one message in flight there is nothing to
// gather.
func (l *load) form() string {
	if l.Window == 1 {
		return "message"
	}
	return "turn"
}
