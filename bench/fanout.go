package main

import (
	"fmt"
	"sync/atomic"
	"time"

	"ringcast/bench/check"
	"ringcast/bench/client"
	"ringcast/bench/report"
)

// fanoutVerb publishes to groups and checks every delivery.
type fanoutVerb struct {
	common
	load
	ceilingFlag
	processesFlag
}

// Run is called by kong.
func (v *fanoutVerb) Run(e *env) error {
	if err := v.common.check(); err != nil {
		return err
	}
	if err := v.common.checkLoad(&v.load); err != nil {
		return err
	}
	v.common.processes = v.Processes
	return v.withCeiling(e, &v.common, v.clients(), v.form(), v.JSON, func(c *common) (*report.Run, error) { return e.fanout(c, &v.load) })
}

// startDelay is from the start of the phase to the first due time: the threads have to be running by then.
const startDelay = 5 * time.Millisecond

// fanout runs a load against a server once.
func (e *env) fanout(c *common, l *load) (*report.Run, error) {
	return e.fanoutWith("fanout", c, l, nil)
}

// guests are clients beside those of the load, in the same groups, on a generator of their own. A load with guests runs
// in one process.
type guests interface {
	beside
	clients() int                           // at most at a time
	seats(thread int) []client.Seat         // of those that connect with the others
	arrive(g *client.Generator, s *session) // before the opening
	depart(m *measurement) error            // after the measured phase, while the members still listen
	report(r *report.Run, m *measurement)   // after that on the members
}

// fanoutWith runs a load beside guests, if there are any.
func (e *env) fanoutWith(verb string, c *common, l *load, with guests) (*report.Run, error) {
	if err := c.checkSenders(l); err != nil {
		return nil, err
	}
	share, err := c.share(l.crowding())
	if err != nil {
		return nil, err
	}
	descriptors, threads := share.descriptors(), c.Threads
	if l.Bystanders > 0 {
		threads++
	}
	if with != nil {
		descriptors += with.clients()
		threads++
	}
	s, err := c.start(descriptors)
	if err != nil {
		return nil, err
	}
	defer s.end()
	seats := share.seats(l.seats(c.Threads))
	if with != nil {
		seats = append(seats, with.seats(threads-1)...)
	}
	f, err := newFleet(e.ctx, s.target, threads, seats, l.roster(s, c.JoinProof, c.Threads))
	if err != nil {
		return nil, err
	}
	defer f.close()
	if err := f.spread(e.ctx, share, c.errand(s, l, nil)); err != nil {
		return nil, err
	}
	if with != nil {
		with.arrive(f.here.Generators()[threads-1], s)
	}
	r := e.newRun(verb, s, l.flags())
	r.Flags["processes"], r.Flags["threads"], r.Flags["join-proof"] = share.processes, c.Threads, c.JoinProof
	c.noteDialect(r, s.target)
	before := s.memory()
	if err := e.openFleet(f); err != nil {
		return nil, err
	}
	r.Memory = s.grown(before, f.joined())
	noteHandshakes(r, f, s.target)
	if f.failed() > 0 {
		r.Causes = f.causes()
		r.Verdict = fmt.Sprintf("FAULTY: %s of %s clients could not be opened and joined; nothing was published", count(f.failed()), count(f.here.Size()))
		return r, nil
	}
	m := &measurement{env: e, session: s, load: l, fleet: f, crews: l.crews(f, s.groupName, c.Threads)}
	var watch *bystanders
	if l.Bystanders > 0 {
		watch = newBystanders(f.here.Generators()[c.Threads], l.Patience)
		m.beside = append(m.beside, watch)
	}
	if with != nil {
		m.beside = append(m.beside, with)
	}
	if err := m.run(); err != nil {
		return nil, err
	}
	watch.depart(m)
	if with != nil {
		if err := with.depart(m); err != nil {
			return nil, err
		}
	}
	if err := m.report(r); err != nil {
		return nil, err
	}
	watch.report(r.Fanout)
	if with != nil {
		with.report(r, m)
	}
	return r, nil
}

// openFleet connects all clients and shows the progress.
func (e *env) openFleet(f *fleet) error {
	bar := e.progress("opening", int64(f.here.Size()), f.openingTally)
	defer bar.stop()
	_, err := f.open()
	return err
}

// measurement is the measured phase of a load: its parts, and what each consumed.
type measurement struct {
	env        *env
	session    *session
	load       *load
	fleet      *fleet
	crews      []*crew
	beside     []beside     // plays on generators of their own meanwhile
	also       check.Faults // the faults that they found
	publishing atomic.Int32 // crews that are not done

	uses        []report.Thread
	cpu         cpuTime
	machine     float64
	allocations int64 // of the server's heap; negative: unknown

	// With helpers only.
	drained    atomic.Bool   // their members have received everything, or will not
	drainEnded chan struct{} // closed when drainHelpers has set what follows
	helperUses []report.Thread
	books      []*books
}

// beside is a play next to the crews, on a generator of its own: its step goes on until over says that the crews are
// done.
type beside interface {
	generator() *client.Generator
	client.Play
	step(start int64, over func() bool) client.Step
}

// run goes through the measured phase and the listening after it.
func (m *measurement) run() error {
	f, begun := m.fleet, time.Now()
	bar := m.env.progress("publishing", m.load.Time.Milliseconds(), func() tally {
		return tally{done: time.Since(begun).Milliseconds(), rated: f.delivered(), errors: f.failed(), p99: f.p99()}
	})
	defer bar.stop()
	start := client.Clock() + int64(startDelay)
	steps := map[*client.Generator]client.Step{}
	for _, c := range m.crews {
		c.receivedBefore = c.g.Received()
		steps[c.g] = m.untilDrained(c.publish(start))
	}
	m.publishing.Store(int32(len(m.crews)))
	m.drainEnded = make(chan struct{})
	f.team.tell(told{Do: doPublish, Start: start})
	for _, b := range m.beside {
		b.generator().SetPlay(b)
		steps[b.generator()] = b.step(start, m.over)
	}
	cpu, machine, allocated := m.session.cpu(), readMachine(), m.session.allocations()
	var err error
	m.uses, err = f.phase(func(g *client.Generator) client.Step { return steps[g] })
	if f.team != nil && m.publishing.Load() == 0 {
		<-m.drainEnded
		m.uses = append(m.uses, m.helperUses...)
	}
	m.cpu, m.machine = m.session.cpu().since(cpu), readMachine().since(machine)
	if m.allocations = m.session.allocations() - allocated; allocated < 0 || m.allocations < 0 {
		m.allocations = -1
	}
	if err == nil {
		err = f.hold(lingerTime)
	}
	if err == nil {
		err = m.settle()
	}
	return err
}

// over says that no crew waits for a delivery any more.
func (m *measurement) over() bool {
	return m.publishing.Load() == 0 && (m.fleet.team == nil || m.drained.Load())
}

// untilDrained is a crew's step that goes on, once its own deliveries are there, until those of the helpers are.
func (m *measurement) untilDrained(publish client.Step) client.Step {
	published := false
	return func(now int64) (int64, bool) {
		if published {
			return now + int64(client.TurnMax), m.over() // drainHelpers rings
		}
		wake, done := publish(now)
		if !done {
			return wake, false
		}
		if published = true; m.publishing.Add(-1) == 0 && m.fleet.team != nil {
			go m.drainHelpers()
		}
		return now + int64(client.TurnMax), m.fleet.team == nil
	}
}
