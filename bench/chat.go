package main

import (
	"ringcast/bench/client"
	"ringcast/bench/report"
)

// chat is the bystanders of resume: members of a group of their own who all write to it. They are a fleet of their own, so that
// they may speak another dialect, and a load of their own, which is checked as every load is. nil without bystanders; then all
// methods do nothing. Owner: the verb's goroutine; while it runs, its own.
type chat struct {
	fleet *fleet
	load  *load
	crew  *crew
	heard []delivery
}

// delivery is when a message was due, and how long it took.
type delivery struct{ due, took int64 }

// deliveriesMax bounds the memory of a chat, to 256 MiB.
const deliveriesMax = 16 << 20

// newChat connects bystanders.
func (e *env) newChat(c *common, s *session, v *comeback) (*chat, error) {
	if v.Bystanders == 0 {
		return nil, nil
	}
	t, err := c.target(c.Dialect, client.App{})
	if err != nil {
		return nil, err
	}
	l := &load{Members: v.Bystanders, Groups: 1, Joins: 1, Publishers: v.Bystanders, MemberPublishers: true, Size: v.Size, Rate: chatRate,
		Patience: v.Patience, Time: timeMax}
	if err := l.check(1); err != nil {
		return nil, err
	}
	theirs := *s
	theirs.run += "-chat"
	f, err := newFleet(e.ctx, t, 1, l.seats(1), l.roster(&theirs, c.JoinProof, 1))
	if err != nil {
		return nil, err
	}
	talk := &chat{fleet: f, load: l}
	if err := e.openFleet(f); err != nil {
		f.close()
		return nil, err
	}
	talk.crew = l.crews(f, theirs.groupName, 1)[0]
	talk.crew.told = func(due, now int64) {
		if len(talk.heard) < deliveriesMax {
			talk.heard = append(talk.heard, delivery{due, now - due})
		}
	}
	return talk, nil
}

// failed is how many could not be opened and joined.
func (t *chat) failed() int64 {
	if t == nil {
		return 0
	}
	return t.fleet.failed()
}

// causes adds why.
func (t *chat) causes(all map[string]int) map[string]int {
	if t != nil {
		for cause, n := range t.fleet.causes() {
			all[cause] += n
		}
	}
	return all
}

// begin chats until over; the error comes when that is.
func (t *chat) begin(start int64, over func() bool) <-chan error {
	ended := make(chan error, 1)
	if t == nil {
		ended <- nil
		return ended
	}
	t.crew.shut = over
	go func() {
		_, err := t.fleet.phase(func(*client.Generator) client.Step { return t.crew.publish(start) })
		ended <- err
	}()
	return ended
}

func (t *chat) linger() error {
	if t == nil {
		return nil
	}
	return t.fleet.hold(lingerTime)
}

// depart adds what was wrong to a measurement.
func (t *chat) depart(m *measurement) {
	if t == nil {
		return
	}
	t.crew.finish()
	for _, examples := range t.crew.faults.Examples {
		for i := range examples {
			examples[i] = "bystanders, " + examples[i]
		}
	}
	m.also.Merge(&t.crew.faults)
}

// report adds how long bystanders waited before anybody was cut off, and while members came back.
func (t *chat) report(r *report.Resume, back *returners) {
	if t == nil {
		return
	}
	before, during := newHistogram(), newHistogram()
	for _, d := range t.heard {
		switch {
		case d.due < back.calmUntil:
			record(before, d.took)
		case d.due >= back.window.from && d.due <= back.window.to:
			record(during, d.took)
		}
	}
	if r.BeforeCount = before.TotalCount(); r.BeforeCount > 0 {
		r.Before = readPercentiles(before)
	}
	if r.DuringCount = during.TotalCount(); r.DuringCount > 0 {
		r.During = readPercentiles(during)
	}
}

func (t *chat) close() {
	if t != nil {
		t.fleet.close()
	}
}
