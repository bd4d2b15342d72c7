package main

import (
	"fmt"
	"time"
)

// connectVerb opens and joins clients and holds them.
type connectVerb struct {
	common
	Clients int           `short:"n" name:"clients" required:"" help:"Clients to open."`
	Groups  int           `default:"1" help:"Groups that they join, one each."`
	Hold    time.Duration `default:"5s" help:"How long to hold them, answering pings."`
}

func (v *connectVerb) check() error {
	switch {
	case v.Clients < 1 || v.Clients > clientsMax:
		return fmt.Errorf("-n must be 1 to %d", clientsMax)
	case v.Groups < 1 || v.Groups > v.Clients:
		return fmt.Errorf("--groups must be 1 to the number of clients")
	case v.Hold < 0 || v.Hold > timeMax:
		return fmt.Errorf("--hold must be up to %v", timeMax)
	}
	return v.common.check()
}

// connectFigures is what connect measures.
type connectFigures struct {
	Asked          int         `json:"asked"`
	Joined         int64       `json:"joined"` // and still there after the hold
	OpeningSeconds float64     `json:"opening_seconds"`
	PerSecond      float64     `json:"handshakes_per_second"`
	RateVoid       bool        `json:"rate_void"`
	PingsAnswered  uint64      `json:"pings_answered"`
	RSSBefore      int64       `json:"server_rss_before_bytes,omitempty"`
	RSSAfter       int64       `json:"server_rss_after_bytes,omitempty"`
	RSSPerClient   float64     `json:"server_rss_per_client_bytes,omitempty"`
	ServerCPU      float64     `json:"server_cpu_us_per_handshake,omitempty"`
	Threads        []threadUse `json:"generator_threads"`
}

// Run is called by kong.
func (v *connectVerb) Run(e *env) error {
	if err := v.check(); err != nil {
		return err
	}
	s, err := v.start(v.Clients)
	if err != nil {
		return err
	}
	seats := make([]seat, v.Clients)
	for n := range seats {
		seats[n] = seat{n % v.Groups, n / v.Groups, n % v.Threads}
	}
	f, err := newFleet(e.ctx, s.target, v.JoinProof, v.Threads, seats, s.groupName)
	if err != nil {
		return err
	}
	defer f.close()

	r := e.newResult("connect")
	rssBefore, cpuBefore, machineBefore := s.rss(), s.cpu(), readMachine()
	bar := e.progress("opening", int64(v.Clients), func() tally { return tally{f.joined(), f.joined(), f.failed()} })
	defer bar.stop()
	uses, err := f.open()
	cpu, machine := s.cpu().since(cpuBefore), readMachine().since(machineBefore)
	bar.stop()
	if err != nil {
		return err
	}
	opened := f.joined()
	if err := f.hold(v.Hold); err != nil {
		return err
	}
	took := f.openingTime()
	c := &connectFigures{Asked: v.Clients, Joined: f.joined(), OpeningSeconds: took.Seconds(), PingsAnswered: f.pings(), Threads: uses}
	if took > 0 {
		c.PerSecond = float64(opened) / took.Seconds()
	}
	r.Connect, r.Causes = c, f.causes()
	r.limit(s, uses, cpu, machine)
	c.RateVoid = r.RateVoid
	rssAfter := s.rss()

	r.line("opened", "%s of %s clients joined in %.2f s: %s handshakes/s%s", count(opened), count(v.Clients), took.Seconds(),
		count(int64(c.PerSecond)), voidMark(r.RateVoid))
	r.line("held", "%s for %v, %s pings answered", count(c.Joined), v.Hold, count(int64(c.PingsAnswered)))
	if s.victim == nil {
		r.line("server", "not seen: %v", s.blindness)
	} else if opened > 0 && c.Joined > 0 {
		c.RSSBefore, c.RSSAfter = rssBefore, rssAfter
		c.RSSPerClient = float64(rssAfter-rssBefore) / float64(c.Joined)
		c.ServerCPU = float64(cpu.total().Nanoseconds()) / 1e3 / float64(opened)
		r.line("server", "pid %v: RSS %.1f → %.1f MB, %.0f bytes a client; %.1f µs of CPU a handshake", s.victim.pids,
			float64(rssBefore)/1e6, float64(rssAfter)/1e6, c.RSSPerClient, c.ServerCPU)
	}
	r.line("saturated", "%s", r.Limit)
	r.Verdict = "fine: every client joined and stayed"
	if f.failed() > 0 {
		r.Verdict = fmt.Sprintf("FAULTY: %s of %s clients failed or were cut off", count(f.failed()), count(v.Clients))
	}
	return r.end(e, v.JSON)
}
