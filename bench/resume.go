package main

import (
	"errors"
	"fmt"
	"time"

	"ringcast/bench/check"
	"ringcast/bench/client"
	"ringcast/bench/report"
)

// resumeVerb cuts members off and has them come back with their positions: all at once, or one after the other.
type resumeVerb struct {
	common
	comeback
}

// comeback is who is cut off how, and what is said meanwhile: the flags of resume, and a load of compare.
type comeback struct {
	Members    int           `default:"1000" help:"Clients that are cut off and come back, spread evenly over the groups."`
	Groups     int           `default:"10" help:"Groups. In each one more member stays all the time."`
	Joins      int           `default:"1" help:"Groups that each member joins."`
	Publishers int           `help:"Publishing connections in all. Default: one for each group."`
	Size       int           `default:"64" help:"Bytes of a message text."`
	Rate       float64       `default:"100" help:"Messages per second of all publishers together, on time whatever the server does."`
	Missed     int           `xor:"way" help:"A storm: all members are cut off at once, so many messages are said to each group beside those of --rate, and all members come back at once. Default: 100, unless there are --cuts."`
	Cuts       float64       `xor:"way" help:"No storm: so many members a second are cut off, one by one, and come back at once."`
	Calm       time.Duration `default:"1s" help:"How long nobody is cut off at first."`
	Time       time.Duration `default:"${time}" help:"How long all listen when they are back from a storm; or how long members are cut off one by one."`
	Bystanders int           `help:"Clients of another group, on a thread of their own, who chat all the time: they show how long others wait."`
	Patience   time.Duration `help:"As for fanout."`
	Seed       uint64        `default:"1" help:"Seed of who is cut off how."`

	load *load // what publishers and those who stay do; set by check
}

const (
	missedDefault = 100
	missedMax     = 100_000 // of a group
	cutsMax       = 100_000 // a second
	// chatRate is the messages a second of all bystanders together: enough for a p99 of a second, and of no weight beside a storm.
	chatRate = 200
)

// check fills in defaults that depend on other flags and refuses what makes no sense.
func (v *comeback) check() error {
	if v.Missed == 0 && v.Cuts == 0 {
		v.Missed = missedDefault
	}
	if v.Publishers == 0 {
		v.Publishers = v.Groups
	}
	switch {
	case v.Rate <= 0:
		return errors.New("--rate must be over 0")
	case v.Missed < 0 || v.Missed > missedMax:
		return fmt.Errorf("--missed must be 1 to %d", missedMax)
	case v.Cuts < 0 || v.Cuts > cutsMax:
		return fmt.Errorf("--cuts must be over 0, and at most %d", cutsMax)
	case v.Calm < 0 || v.Calm > timeMax:
		return fmt.Errorf("--calm must be up to %v", timeMax)
	case v.Time <= 0 || v.Time > timeMax:
		return fmt.Errorf("--time must be up to %v", timeMax)
	case v.Members < 1 || v.Members > clientsMax:
		return fmt.Errorf("--members must be 1 to %d", clientsMax)
	case v.Groups < 1:
		return errors.New("--groups must be at least 1")
	case v.Bystanders == 1 || v.Bystanders < 0 || v.Bystanders > bystandersMax:
		return fmt.Errorf("--bystanders must be 2 to %d, who hear each other, or 0", bystandersMax)
	}
	// One member of each group stays. What they hear is checked, too, and shows how much has been said.
	l := &load{Members: v.Groups, Groups: v.Groups, Joins: v.Joins, Publishers: v.Publishers, Size: v.Size, Rate: v.Rate, Patience: v.Patience, Time: timeMax}
	if err := l.check(1); err != nil {
		return err
	}
	if (v.Members*v.Joins/v.Groups+1)*(v.Publishers/v.Groups+1)*v.Groups > check.CellsMax {
		return fmt.Errorf("the check needs a cell for each of --members and publisher of a group, %d at most", check.CellsMax)
	}
	v.Patience, v.load = l.Patience, l
	return nil
}

// seats are those of the members, who follow publishers and those who stay: member n is in group n modulo the groups, and in the
// groups after it.
func (v *comeback) seats(thread int) []client.Seat {
	seats := make([]client.Seat, v.Members)
	for n := range seats {
		seats[n] = client.Seat{Group: n % v.Groups, Member: n / v.Groups, Thread: thread}
	}
	return seats
}

// flags is the load as a result file has it.
func (v *comeback) flags() map[string]any {
	all := map[string]any{"members": v.Members, "groups": v.Groups, "joins": v.Joins, "publishers": v.Publishers, "size": v.Size, "rate": v.Rate,
		"calm": v.Calm.String(), "time": v.Time.String(), "bystanders": v.Bystanders, "seed": v.Seed}
	if v.Cuts > 0 {
		all["cuts"] = v.Cuts
	} else {
		all["missed"] = v.Missed
	}
	return all
}

// Run is called by kong.
func (v *resumeVerb) Run(e *env) error {
	if err := v.common.check(); err != nil {
		return err
	}
	switch {
	case v.JoinProof == proofProbe:
		return errors.New("--join-proof probe is for servers that do not answer ids: those with a history do")
	case v.Dialect.SendersJoin():
		return fmt.Errorf("--dialect %s: the bystanders hear what they have sent themselves, as clients of the others do", v.Dialect)
	case v.Threads > 1:
		return errors.New("--threads: those who are cut off are all on one thread, and so are publishers and bystanders each")
	}
	if err := v.comeback.check(); err != nil {
		return err
	}
	r, err := e.resume(&v.common, &v.comeback)
	if err != nil {
		return err
	}
	return e.end(v.JSON, r)
}

// resume cuts off and brings back once. Members and publishers speak the Centrifuge protocol, bystanders the dialect of the flags.
func (e *env) resume(c *common, v *comeback) (*report.Run, error) {
	members := *c
	members.Dialect = client.Centrifuge
	s, err := members.start(v.Members + v.load.clients() + v.Bystanders)
	if err != nil {
		return nil, err
	}
	defer s.end()
	back := newReturners(v, s)
	f, err := newFleet(e.ctx, s.target, 2, append(v.load.seats(1), v.seats(1)...), v.load.roster(s, c.JoinProof, 1))
	if err != nil {
		return nil, err
	}
	defer f.close()
	back.arrive(f.here.Generators()[1])
	r := e.newRun("resume", s, v.flags())
	r.Flags["threads"], r.Flags["bystanders-dialect"] = 2, string(c.Dialect)
	before := s.memory()
	if err := e.openFleet(f); err != nil {
		return nil, err
	}
	r.Memory = s.grown(before, f.joined())
	talk, err := e.newChat(c, s, v)
	if err != nil {
		return nil, err
	}
	defer talk.close()
	if failed := f.failed() + talk.failed(); failed > 0 {
		r.Causes = talk.causes(f.causes())
		r.Verdict = fmt.Sprintf("FAULTY: %s of %s clients could not be opened and joined; nothing was published", count(failed), count(f.here.Size()+v.Bystanders))
		return r, nil
	}
	if back.forgetful > 0 {
		return nil, errors.New("the server keeps no history of these groups, so nobody can come back to it: start it with --history")
	}
	m := &measurement{env: e, session: s, load: v.load, fleet: f, crews: v.load.crews(f, s.groupName, 1)}
	if err := m.storm(back, talk); err != nil {
		return nil, err
	}
	if err := m.report(r); err != nil {
		return nil, err
	}
	back.report(r)
	talk.report(r.Resume, back)
	return r, nil
}

// storm runs publishers, members and bystanders until all is over, and the listening after it.
func (m *measurement) storm(back *returners, talk *chat) error {
	crew := m.crews[0]
	back.crew, crew.shut, crew.spurt = crew, back.over.Load, func() uint32 { return back.spurt.Swap(0) }
	begun := time.Now()
	bar := m.env.progress("coming back", (back.plan.Calm + back.plan.Time).Milliseconds(), func() tally {
		return tally{done: time.Since(begun).Milliseconds(), rated: m.fleet.delivered(), errors: m.fleet.failed()}
	})
	defer bar.stop()
	start := client.Clock() + int64(startDelay)
	back.start = start
	m.publishing.Store(1)
	steps := map[*client.Generator]client.Step{crew.g: m.untilDrained(crew.publish(start)), back.g: back.step(start, m.over)}
	chatted := talk.begin(start, back.over.Load)
	_, err := m.fleet.phase(func(g *client.Generator) client.Step { return steps[g] })
	back.over.Store(true) // also after an error
	err = errors.Join(err, <-chatted)
	if err == nil {
		err = m.fleet.hold(lingerTime)
	}
	if err == nil {
		err = talk.linger()
	}
	// What was saturated is asked of the time in which members came back: the rest is idle.
	m.uses, m.cpu, m.machine = []report.Thread{back.window.thread}, back.window.cpu, back.window.machine
	back.depart(m)
	talk.depart(m)
	return err
}
