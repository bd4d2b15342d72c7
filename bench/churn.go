package main

import (
	"fmt"
	"time"

	"ringcast/bench/check"
	"ringcast/bench/report"
)

// churnVerb is fanout while other clients come, join, leave and break off.
type churnVerb struct {
	common
	load
	turnover
	ceilingFlag
}

// turnover is how many come and go beside the members, and for how long.
type turnover struct {
	Lives  float64       `default:"200" help:"Clients a second that come for a short time, by the clock alone."`
	Places int           `default:"500" help:"At most so many of them at a time; who finds no place free does not come, and is counted."`
	Stay   time.Duration `default:"500ms" help:"Longest time that one stays in its group; each draws its own."`
	Seed   uint64        `default:"1" help:"Of what each of them does: the same seed, the same lives."`
}

const (
	livesMax  = 100_000 // a second; a machine gives out before
	placesMax = 20_000  // all of them are looked at every lifeTick
)

func (t *turnover) check(l *load) error {
	switch {
	case !(t.Lives > 0 && t.Lives <= livesMax):
		return fmt.Errorf("--lives must be over 0, and at most %d", livesMax)
	case t.Places < 1 || t.Places > placesMax:
		return fmt.Errorf("--places must be 1 to %d", placesMax)
	case t.Stay <= 0 || t.Stay > timeMax:
		return fmt.Errorf("--stay must be up to %v", timeMax)
	case t.Places*l.places() > check.CellsMax:
		return fmt.Errorf("the check needs a cell for each of --places and publisher of a group, %d at most", check.CellsMax)
	}
	return nil
}

// Run is called by kong.
func (v *churnVerb) Run(e *env) error {
	if err := v.common.check(); err != nil {
		return err
	}
	if err := v.load.check(v.Threads); err != nil {
		return err
	}
	if err := v.turnover.check(&v.load); err != nil {
		return err
	}
	v.common.processes = 1 // who comes and goes is led and checked in one
	return v.withCeiling(e, &v.common, v.clients(), v.form(), v.JSON, func(c *common) (*report.Run, error) {
		r, err := e.fanoutWith("churn", c, &v.load, newLives(&v.load, &v.turnover, c.JoinProof))
		if err == nil {
			r.Flags["lives"], r.Flags["places"], r.Flags["stay"], r.Flags["seed"] = v.Lives, v.Places, v.Stay.String(), v.Seed
		}
		return r, err
	})
}

// depart hands over what the lives found wrong; they are all over by now.
func (l *lives) depart(m *measurement) error {
	m.also.Merge(&l.faults)
	return nil
}

func (l *lives) report(r *report.Run, m *measurement) {
	c := l.counts
	r.Fanout.ServerMicros, r.Fanout.Allocations = 0, -1 // joins and what the lives heard are in it
	c.PerSecond = float64(c.Connects) / max(time.Duration(l.lastBirth-l.start).Seconds(), float64(lifeTick)/1e9)
	r.Churn, r.Causes = &c, l.g.Causes()
	if after := l.session.memory(); after != nil && r.Memory != nil {
		after.RSSBefore, after.HeapBefore = r.Memory.RSSAfter, r.Memory.HeapAfter
		r.Memory = after
	}
	switch {
	case !r.Fine:
	case c.Joins == 0:
		r.Fine, r.Verdict = false, "FAULTY: of those who came nobody got into a group"
	case c.Heard == 0:
		r.Fine, r.Verdict = false, "FAULTY: those who came and went heard nothing (if that is no wonder: more messages, a longer --stay)"
	default:
		r.Verdict += "; who came and went heard all that was theirs"
	}
}
