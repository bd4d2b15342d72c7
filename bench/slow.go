package main

import (
	"fmt"
	"time"

	"ringcast/bench/check"
	"ringcast/bench/report"
)

// slowVerb is fanout while some members have stopped reading.
type slowVerb struct {
	common
	load
	ceilingFlag
	Slow int `default:"10" help:"Members, besides --members, that join and then read nothing."`
}

const (
	slowMax    = 10_000 // all of them are looked at every glanceTime
	slowWindow = 16     // the help takes it from the tag of this verb
)

// Run is called by kong.
func (v *slowVerb) Run(e *env) error {
	if v.Rate == 0 && v.Window == 0 {
		v.Window = slowWindow
	}
	if err := v.common.check(); err != nil {
		return err
	}
	if err := v.common.checkLoad(&v.load); err != nil {
		return err
	}
	switch {
	case v.Slow < 1 || v.Slow > slowMax:
		return fmt.Errorf("--slow must be 1 to %d", slowMax)
	case v.Slow*v.streams() > check.CellsMax:
		return fmt.Errorf("the check needs a cell for each of --slow and publisher, %d at most", check.CellsMax)
	}
	v.common.processes = 1 // one process handles those that read nothing
	return v.withCeiling(e, &v.common, v.clients(), v.form(), v.JSON, func(c *common) (*report.Run, error) {
		r, err := e.fanoutWith("slow", c, &v.load, newSleepers(v.Slow, &v.load, c.Threads))
		if err == nil {
			r.Flags["slow"] = v.Slow
		}
		return r, err
	})
}

func (s *sleepers) report(r *report.Run, m *measurement) {
	r.Slow = &s.found
	r.Fanout.ServerMicros, r.Fanout.Allocations = 0, -1 // these would include what was sent to the slow ones
	if r.Fine {
		r.Verdict += ", whatever the slow ones did"
	}
}

// depart wakes the sleepers, to check what was sent to them, and then closes them.
func (s *sleepers) depart(m *measurement) error {
	bar := m.env.progress("reading again", int64(s.g.Len()), func() tally { return tally{done: s.g.Failed()} })
	defer bar.stop()
	if err := s.wake(m); err != nil {
		return err
	}
	s.reckon(m.crews[0].publishers)
	s.g.Dismiss()
	if err := m.fleet.hold(settleTime); err != nil {
		return err
	}
	s.found.RSSSettled = s.rss()
	s.found.RSSPeak = max(s.found.RSSPeak, s.found.RSSSettled)
	m.also.Merge(&s.faults)
	return nil
}

// settleTime is how long a server may take to release memory.
const settleTime = time.Second
