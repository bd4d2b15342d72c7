package main

import (
	"fmt"
	"time"

	"ringcast/bench/check"
	"ringcast/bench/report"
)

// churnVerb is fanout while other clients connect, join, leave and disconnect.
type churnVerb struct {
	common
	load
	turnover
	ceilingFlag
}

// turnover is how many short-lived clients there are beside the members, and how long they stay.
type turnover struct {
	Lives  float64       `default:"200" help:"Short-lived clients that connect per second, on time whatever the server does."`
	Places int           `default:"500" help:"Most of them at a time; a client beyond that does not connect, and is counted."`
	Stay   time.Duration `default:"500ms" help:"Longest time that one stays in its group; each stays for a random time up to it."`
	Seed   uint64        `default:"1" help:"Seed of what each of them does; the same seed gives the same sequence."`
}

const (
	livesMax  = 100_000 // a second; more than any machine can do
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
	if err := v.common.checkLoad(&v.load); err != nil {
		return err
	}
	if err := v.turnover.check(&v.load); err != nil {
		return err
	}
	v.common.processes = 1 // one process runs and checks the short-lived clients
	return v.withCeiling(e, &v.common, v.clients(), v.form(), v.JSON, func(c *common) (*report.Run, error) {
		r, err := e.fanoutWith("churn", c, &v.load, newLives(&v.load, &v.turnover, c.JoinProof))
		if err == nil {
			r.Flags["lives"], r.Flags["places"], r.Flags["stay"], r.Flags["seed"] = v.Lives, v.Places, v.Stay.String(), v.Seed
		}
		return r, err
	})
}

// depart returns the faults that the lives have found; all lives have ended by now.
func (l *lives) depart(m *measurement) error {
	m.also.Merge(&l.faults)
	return nil
}

func (l *lives) report(r *report.Run, m *measurement) {
	c := l.counts
	r.Fanout.ServerMicros, r.Fanout.Allocations = 0, -1 // these would include joins and the deliveries to lives
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
