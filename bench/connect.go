package main

import (
	"fmt"
	"time"

	"ringcast/bench/client"
	"ringcast/bench/report"
)

// connectVerb opens and joins clients and holds them.
type connectVerb struct {
	common
	crowd
	ceilingFlag
	processesFlag
}

// crowd is clients that connect, join and stay.
type crowd struct {
	Clients int           `short:"n" name:"clients" required:"" help:"Clients to open."`
	From    int           `help:"Measure the memory from this number of clients on, which leaves out what a server allocates once."`
	Groups  int           `default:"1" help:"Groups that they join, one each."`
	Hold    time.Duration `default:"5s" help:"How long to hold them, answering pings."`
}

func (v *crowd) check() error {
	switch {
	case v.Clients < 1 || v.Clients > clientsMax:
		return fmt.Errorf("-n must be 1 to %d", clientsMax)
	case v.From < 0 || v.From >= v.Clients:
		return fmt.Errorf("--from must be less than the number of clients")
	case v.Groups < 1 || v.Groups > v.Clients:
		return fmt.Errorf("--groups must be 1 to the number of clients")
	case v.Hold < 0 || v.Hold > timeMax:
		return fmt.Errorf("--hold must be up to %v", timeMax)
	}
	return nil
}

func (v *crowd) seats(threads int) []client.Seat {
	seats := make([]client.Seat, v.Clients)
	for n := range seats {
		seats[n] = client.Seat{Group: n % v.Groups, Member: n / v.Groups, Thread: n % threads}
	}
	return seats
}

func (v *crowd) roster(s *session, proof string) client.Roster {
	return client.Roster{Name: s.groupName, Number: s.groupNumber, Joins: 1, Group: func(first, _ int) int { return first }, Probe: probeOf(proof)}
}

// Run is called by kong.
func (v *connectVerb) Run(e *env) error {
	if err := v.common.check(); err != nil {
		return err
	}
	if err := v.crowd.check(); err != nil {
		return err
	}
	v.common.processes = v.Processes
	measures := []func(*common) (*report.Run, error){func(c *common) (*report.Run, error) { return e.connect(c, &v.crowd) }}
	if v.secure() && !v.TLSResume {
		measures = append(measures, func(c *common) (*report.Run, error) {
			again := *c
			again.TLSResume = true
			return e.connect(&again, &v.crowd)
		})
	}
	return v.withCeiling(e, &v.common, v.Clients, "message", v.JSON, measures...)
}

// connect connects a crowd to a server once.
func (e *env) connect(c *common, v *crowd) (*report.Run, error) {
	share, err := c.share(v.crowding())
	if err != nil {
		return nil, err
	}
	s, err := c.start(share.descriptors())
	if err != nil {
		return nil, err
	}
	defer s.end()
	seats := share.seats(v.seats(c.Threads))
	f, err := newFleet(e.ctx, s.target, c.Threads, seats[:v.From], v.roster(s, c.JoinProof))
	if err != nil {
		return nil, err
	}
	defer f.close()
	if err := f.spread(e.ctx, share, c.errand(s, nil, v)); err != nil {
		return nil, err
	}

	r := e.newRun("connect", s, map[string]any{"clients": v.Clients, "groups": v.Groups, "from": v.From, "hold": v.Hold.String(), "processes": share.processes,
		"threads": c.Threads, "join-proof": c.JoinProof})
	c.noteDialect(r, s.target)
	if _, err := f.open(); err != nil { // without clients it returns at once
		return nil, err
	}
	first := f.joined()
	f.here.Seat(seats[v.From:])
	memory, cpuBefore, machineBefore := s.memory(), s.cpu(), readMachine()
	bar := e.progress("opening", int64(f.here.Size()), f.openingTally)
	defer bar.stop()
	uses, err := f.open()
	cpu, machine := s.cpu().since(cpuBefore), readMachine().since(machineBefore)
	bar.stop()
	if err != nil {
		return nil, err
	}
	opened := f.joined()
	if err := f.hold(v.Hold); err != nil {
		return nil, err
	}
	if _, err := f.team.books(nil, func([]uint32) []uint32 { return nil }); err != nil {
		return nil, err
	}
	took := f.openingTime()
	r.Connect = &report.Connect{Asked: v.Clients, Joined: f.joined(), OpeningSeconds: took.Seconds(), PingsAnswered: f.pings()}
	if took > 0 {
		r.Connect.PerSecond = float64(opened-first) / took.Seconds()
	}
	if opened > first && cpu.total() >= cpuCoarse {
		r.Connect.ServerMicros = float64(cpu.total().Nanoseconds()) / 1e3 / float64(opened-first)
		r.Connect.PerCPUSecond = float64(opened-first) / cpu.total().Seconds()
	}
	noteHandshakes(r, f, s.target)
	r.Memory, r.Causes = s.grown(memory, f.joined()-first), f.causes()
	noteLimit(r, s, uses, cpu, machine)
	r.Fine = f.failed() == 0
	r.Verdict = "fine: every client joined and stayed"
	if !r.Fine {
		r.Verdict = fmt.Sprintf("FAULTY: %s of %s clients failed or were cut off", count(f.failed()), count(v.Clients))
	}
	return r, nil
}
