package main

import (
	"fmt"
	"sync/atomic"
	"time"

	"ringcast/bench/report"
)

// fanoutVerb publishes to groups and checks every delivery.
type fanoutVerb struct {
	common
	load
	ceilingFlag
}

// Run is called by kong.
func (v *fanoutVerb) Run(e *env) error {
	if err := v.common.check(); err != nil {
		return err
	}
	if err := v.load.check(v.Threads); err != nil {
		return err
	}
	r, err := e.fanout(&v.common, &v.load)
	if err != nil {
		return err
	}
	runs := []*report.Run{r}
	if r.Fine {
		beside, err := v.besideIt(e, &v.common, v.form(), func(c *common) (*report.Run, error) { return e.fanout(c, &v.load) })
		if err != nil {
			return err
		}
		runs = append(runs, beside...)
	}
	return e.end(v.JSON, runs...)
}

// startDelay is from the start of the phase to the first due time: threads have to be there.
const startDelay = 5 * time.Millisecond

// fanout runs a load against a server once.
func (e *env) fanout(c *common, l *load) (*report.Run, error) {
	return e.fanoutWith("fanout", c, l, nil)
}

// guests are clients beside those of the load, in the same groups, on a generator of their own.
type guests interface {
	beside
	clients() int                         // at most at a time
	seats(thread int) []seat              // of those who come in with the others
	arrive(g *generator, s *session)      // before the opening
	depart(m *measurement) error          // after the measured phase, while the members still listen
	report(r *report.Run, m *measurement) // after that on the members
}

// fanoutWith runs a load while guests, if there are any, do what they do.
func (e *env) fanoutWith(verb string, c *common, l *load, with guests) (*report.Run, error) {
	clients, threads := l.clients(), c.Threads
	if l.Bystanders > 0 {
		threads++
	}
	if with != nil {
		clients += with.clients()
		threads++
	}
	s, err := c.start(clients)
	if err != nil {
		return nil, err
	}
	defer s.end()
	seats := l.seats(c.Threads)
	if with != nil {
		seats = append(seats, with.seats(threads-1)...)
	}
	f, err := newFleet(e.ctx, s.target, c.JoinProof, threads, seats, l.roster(s, c.Threads))
	if err != nil {
		return nil, err
	}
	defer f.close()
	if with != nil {
		with.arrive(f.generators[threads-1], s)
	}
	r := e.newRun(verb, s, l.flags())
	before := s.memory()
	if err := e.openFleet(f); err != nil {
		return nil, err
	}
	r.Memory = s.grown(before, f.joined())
	if f.failed() > 0 {
		r.Causes = f.causes()
		r.Verdict = fmt.Sprintf("FAULTY: %s of %s clients could not be opened and joined; nothing was published", count(f.failed()), count(f.size()))
		return r, nil
	}
	m := &measurement{env: e, session: s, load: l, fleet: f, crews: l.crews(f, s.groupName, c.Threads)}
	var watch *bystanders
	if l.Bystanders > 0 {
		watch = newBystanders(f.generators[c.Threads])
		m.beside = append(m.beside, watch)
	}
	if with != nil {
		m.beside = append(m.beside, with)
	}
	if err := m.run(); err != nil {
		return nil, err
	}
	if with != nil {
		if err := with.depart(m); err != nil {
			return nil, err
		}
	}
	m.report(r)
	watch.report(r.Fanout)
	if with != nil {
		with.report(r, m)
	}
	return r, nil
}

// openFleet brings all clients in and shows how that goes.
func (e *env) openFleet(f *fleet) error {
	bar := e.progress("opening", int64(f.size()), f.openingTally)
	defer bar.stop()
	_, err := f.open()
	return err
}

// measurement is the measured phase of a load: who takes part, and what each consumed.
type measurement struct {
	env        *env
	session    *session
	load       *load
	fleet      *fleet
	crews      []*crew
	beside     []beside     // who plays on generators of their own meanwhile
	also       faults       // what those found wrong
	publishing atomic.Int32 // crews that are not done

	uses        []report.Thread
	cpu         cpuTime
	machine     float64
	allocations int64 // of the server's heap; negative: unknown
}

// beside is a play next to the crews, on a generator of its own: its step goes on until over says that the crews are
// done.
type beside interface {
	generator() *generator
	play
	step(start int64, over func() bool) step
}

// run goes through the measured phase and the listening after it.
func (m *measurement) run() error {
	f, begun := m.fleet, time.Now()
	bar := m.env.progress("publishing", m.load.Time.Milliseconds(), func() tally {
		return tally{done: time.Since(begun).Milliseconds(), rated: f.delivered(), errors: f.failed(), p99: f.p99()}
	})
	defer bar.stop()
	start := clock() + int64(startDelay)
	steps := map[*generator]step{}
	for _, c := range m.crews {
		publish := c.publish(start)
		steps[c.g] = func(now int64) (int64, bool) {
			wake, done := publish(now)
			if done {
				m.publishing.Add(-1)
			}
			return wake, done
		}
	}
	m.publishing.Store(int32(len(m.crews)))
	for _, b := range m.beside {
		b.generator().play = b
		steps[b.generator()] = b.step(start, func() bool { return m.publishing.Load() == 0 })
	}
	cpu, machine, allocated := m.session.cpu(), readMachine(), m.session.allocations()
	var err error
	m.uses, err = f.phase(func(g *generator) step { return steps[g] })
	m.cpu, m.machine = m.session.cpu().since(cpu), readMachine().since(machine)
	if m.allocations = m.session.allocations() - allocated; allocated < 0 || m.allocations < 0 {
		m.allocations = -1
	}
	if err == nil {
		err = f.hold(lingerTime)
	}
	return err
}
