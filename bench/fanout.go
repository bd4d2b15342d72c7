package main

import (
	"errors"
	"fmt"
	"time"
)

// fanoutVerb publishes to groups and checks every delivery.
type fanoutVerb struct {
	common
	Members          int           `default:"1000" help:"Clients that are members, spread evenly over the groups."`
	Groups           int           `default:"1" help:"Groups."`
	Publishers       int           `help:"Publishing connections in all, spread evenly over the groups. Default: one for each group."`
	MemberPublishers bool          `help:"The publishers are members themselves, on the same connections."`
	Size             int           `default:"64" help:"Bytes of a message text."`
	Rate             float64       `xor:"pace" help:"Open loop: messages a second of all publishers together, on time whatever the server does."`
	Window           int           `xor:"pace" help:"Closed loop: messages of each publisher in flight; one lands when all members have it. Default: 1."`
	Time             time.Duration `default:"3s" help:"How long to publish."`
}

const (
	sizeMax    = 60_000 // a frame with its command has to fit outBytesMax
	windowMax  = 1 << 16
	startDelay = 5 * time.Millisecond // from the start of the phase to the first due time: threads have to be there
)

func (v *fanoutVerb) check() error {
	if v.Publishers == 0 {
		v.Publishers = v.Groups
	}
	if v.Rate == 0 && v.Window == 0 {
		v.Window = 1
	}
	switch {
	case v.Groups < 1 || v.Members < v.Groups || v.Members > clientsMax:
		return fmt.Errorf("--members must be at least --groups (1 or more), and at most %d", clientsMax)
	case v.Publishers < v.Groups || v.Publishers > clientsMax:
		return errors.New("--publishers must be at least --groups: a group without a publisher would measure nothing")
	case v.MemberPublishers && v.Publishers > v.Members:
		return errors.New("--publishers must not be more than --members when publishers are members")
	case v.Size < stampBytes || v.Size > sizeMax:
		return fmt.Errorf("--size must be %d (a stamp) to %d", stampBytes, sizeMax)
	case v.Window < 0 || v.Window > windowMax || v.Rate < 0 || v.Rate > 1e7:
		return fmt.Errorf("--window must be 1 to %d, --rate up to 10,000,000", windowMax)
	case v.Time <= 0 || v.Time > timeMax:
		return fmt.Errorf("--time must be up to %v", timeMax)
	case (v.Members/v.Groups+1)*(v.Publishers/v.Groups+1)*v.Groups > cellsMax:
		return fmt.Errorf("the check needs a cell for each member and publisher of a group, %d at most: fewer publishers or more groups", cellsMax)
	}
	return v.common.check()
}

// Run is called by kong.
func (v *fanoutVerb) Run(e *env) error {
	if err := v.check(); err != nil {
		return err
	}
	e.flags["publishers"], e.flags["window"] = v.Publishers, v.Window
	s, err := v.start(v.clients())
	if err != nil {
		return err
	}
	f, err := newFleet(e.ctx, s.target, v.JoinProof, v.Threads, v.seats(), s.groupName)
	if err != nil {
		return err
	}
	defer f.close()
	clients := v.clients()
	bar := e.progress("opening", int64(clients), func() tally { return tally{done: f.joined(), rated: f.joined(), errors: f.failed()} })
	_, err = f.open()
	bar.stop()
	if err != nil {
		return err
	}
	r := e.newResult("fanout")
	if f.failed() > 0 {
		r.Causes = f.causes()
		r.Verdict = fmt.Sprintf("FAULTY: %s of %s clients could not be opened and joined; nothing was published", count(f.failed()), count(clients))
		return r.end(e, v.JSON)
	}
	crews := v.crews(f, s.groupName)
	if err := v.measure(e, s, f, crews, r); err != nil {
		return err
	}
	return r.end(e, v.JSON)
}

// clients is how many connections the plan needs.
func (v *fanoutVerb) clients() int {
	if v.MemberPublishers {
		return v.Members
	}
	return v.Members + v.Publishers
}

// seats: client n < Members is member n/Groups of group n%Groups, publisher p serves group p%Groups. A whole group, its
// publishers included, is on one thread: acknowledging and comparing members then needs no lock and no atomic, and a
// rate that one thread cannot take is reported as such.
func (v *fanoutVerb) seats() []seat {
	seats := make([]seat, 0, v.clients())
	for n := range v.Members {
		seats = append(seats, seat{n % v.Groups, n / v.Groups, n % v.Groups % v.Threads})
	}
	for p := len(seats); p < v.clients(); p++ {
		group := (p - v.Members) % v.Groups
		seats = append(seats, seat{group, notMember, group % v.Threads})
	}
	return seats
}

// crews builds the checkers and publishers of all generators.
func (v *fanoutVerb) crews(f *fleet, groupName func(int) string) []*crew {
	crews := make([]*crew, v.Threads)
	for i, g := range f.generators {
		crews[i] = &crew{g: g, plan: v, fill: filling(v.Size), byConn: map[int32]*publisher{}, ledgers: make([]*ledger, v.Groups),
			cutMembers: make([][]bool, v.Groups), latency: newHistogram(), lateness: newHistogram()}
		crews[i].schedule = schedule{rate: v.Rate, publishers: v.Publishers}
		g.play = crews[i]
	}
	for group := range v.Groups {
		c := crews[group%v.Threads]
		members := evenShare(v.Members, v.Groups, group)
		c.ledgers[group] = newLedger(group, members, evenShare(v.Publishers, v.Groups, group), &c.faults)
		c.cutMembers[group] = make([]bool, members)
	}
	connOf := make([]*conn, v.clients())
	for _, g := range f.generators {
		for i := range g.conns {
			connOf[g.conns[i].number] = &g.conns[i]
		}
	}
	all := make([]*publisher, v.Publishers)
	for n := range all {
		group, at := n%v.Groups, n
		if !v.MemberPublishers {
			at += v.Members
		}
		all[n] = &publisher{number: n, group: group, place: n / v.Groups, conn: connOf[at],
			prefix: fmt.Appendf(nil, `{"cmd":"send_to_group","group_id":"%s","message":"`, groupName(group))}
		c := crews[group%v.Threads]
		c.byConn[int32(at)] = all[n]
		c.schedule.own = append(c.schedule.own, all[n])
	}
	for _, c := range crews {
		c.publishers = all
	}
	return crews
}

// evenShare is how many of n things go to place i of so many, dealt one by one.
func evenShare(n, places, i int) int { return (n - i + places - 1) / places }

// measure runs the measured phase and the listening after it, and fills the result.
func (v *fanoutVerb) measure(e *env, s *session, f *fleet, crews []*crew, r *result) error {
	r.Started = time.Now()
	bar := e.progress("publishing", v.Time.Milliseconds(), func() tally {
		return tally{done: time.Since(r.Started).Milliseconds(), rated: f.delivered(), errors: f.failed()}
	})
	defer bar.stop()
	cpuBefore, machineBefore := s.cpu(), readMachine()
	start := clock() + int64(startDelay)
	byGenerator := map[*generator]*crew{}
	for _, c := range crews {
		byGenerator[c.g] = c
	}
	uses, err := f.phase(func(g *generator) step { return byGenerator[g].publish(start) })
	cpu, machine := s.cpu().since(cpuBefore), readMachine().since(machineBefore)
	if err == nil {
		err = f.hold(lingerTime)
	}
	bar.stop()
	if err != nil {
		return err
	}
	v.report(s, crews, uses, cpu, machine, r)
	return nil
}
