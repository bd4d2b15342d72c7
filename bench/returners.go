package main

import (
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"ringcast/bench/check"
	"ringcast/bench/client"
	"ringcast/bench/report"
)

// returners are the members of resume that are cut off and come back. Each is a place of its generator:
//
//	here ─ cut ─► away ─► coming ─► asking ─► here
//	               ▲ in a storm       │ ▲
//	               └ until all that   ▼ │ the server is busy
//	                 is to be missed  waiting
//	                 has been said
//
// One whose request is refused or not answered is gone. What they hear is checked over all their lives, see check.Course. Owner:
// their generator's thread during a phase.
type returners struct {
	client.Idle
	g       *client.Generator
	session *session
	plan    *comeback
	crew    *crew // of the publishers; its own thread's until they are done, but for what it shows
	fill    []byte
	random  *rand.Rand

	all     []returner // by place
	bonds   []bond     // by place and join
	names   []string   // of the groups
	courses []*check.Course
	gone    [][]bool // by group and member
	answers client.Answers
	faults  check.Faults

	queue   []int32 // places that are away and may come, the first first
	missing int     // that are neither here nor gone
	frame   []byte  // what is about to be sent

	forgetful int // joins to a group without history
	act       act
	start     int64
	calmUntil int64
	witnessed int64 // deliveries to those who stay, at which the storm begins
	cuts      uint64
	nextLook  int64
	heardAt   int64 // the last message or answer, or the end of publishing, by the generator's vigil
	hereAt    int64 // since when nobody has been missing
	window    window
	over      atomic.Bool   // publishers may end
	spurt     atomic.Uint32 // messages that each publisher is to send at once

	latency *hdrhistogram.Histogram // from a connect to the last of its answers
	found   report.Resume
}

// act is what the run is at.
type act uint8

const (
	actCalm  act = iota
	actAway      // storm: all are cut off, and miss what is said
	actStorm     // they come back
	actCuts      // no storm: one after the other is cut off, and comes back at once
	actLive      // all are here, and are to hear what is said now
	actEnd       // the publishers end
)

// liveTime is how long members listen when the last one that was cut off is back, where there was no storm.
const liveTime = 500 * time.Millisecond

// window is the time in which members come back, and what was used in it.
type window struct {
	from, to int64
	thread   report.Thread
	cpu      cpuTime
	machine  float64

	cpuBefore     cpuTime
	machineBefore machineUse
}

func newReturners(v *comeback, s *session) *returners {
	b := &returners{session: s, plan: v, fill: check.Filling(v.Size), random: rand.New(rand.NewPCG(v.Seed, 0)), latency: newHistogram(),
		all: make([]returner, v.Members), bonds: make([]bond, 0, v.Members*v.Joins)}
	all := &load{Members: v.Members, Groups: v.Groups, Joins: v.Joins}
	for _, seat := range v.seats(1) {
		for j := range v.Joins {
			group := all.groupOf(seat.Group, j, 1)
			place, _ := all.placeIn(group, &client.Conn{Group: int32(seat.Group), Member: int32(seat.Member)}, 1)
			b.bonds = append(b.bonds, bond{group: int32(group), member: int32(place)})
		}
	}
	for group := range v.Groups {
		members := all.membersOf(group, 1)
		b.names = append(b.names, s.groupName(group))
		b.gone = append(b.gone, make([]bool, members))
		b.courses = append(b.courses, check.NewCourse(members, evenShare(v.load.streams(), v.Groups, group),
			func(member int) string { return fmt.Sprintf("group %d returner %d", group, member) }, &b.faults))
	}
	return b
}

// arrive is called before the opening, in which all join for the first time.
func (b *returners) arrive(g *client.Generator) {
	b.g = g
	g.SetPlay(b)
	for i := range b.bonds {
		place, j := i/b.plan.Joins, i%b.plan.Joins
		b.bonds[i].asked = g.Conn(place).Number + int32(joinIDs+j)
	}
}

// step goes through the acts.
func (b *returners) step(start int64, publishersDone func() bool) client.Step {
	b.calmUntil = start + int64(b.plan.Calm)
	var sent [][]uint32
	var endedAt int64
	return func(now int64) (int64, bool) {
		wake := b.play(now)
		b.come(now)
		if now >= b.nextLook {
			b.nextLook = now + int64(lookEvery)
			b.lookAll(now)
		}
		if b.missing == 0 && b.hereAt == 0 {
			b.hereAt = now
		}
		if len(b.queue) > 0 && b.g.CanBegin() {
			wake = now
		}
		if b.act != actEnd || !publishersDone() {
			return min(wake, b.nextLook), false
		}
		if sent == nil {
			sent, endedAt, b.heardAt = b.sent(), now, b.g.Vigil()
		}
		quiet := b.g.Vigil()-b.heardAt > int64(b.plan.Patience) || now-endedAt > int64(drainTime(b.plan.Patience))
		return now + int64(lifeTick), quiet || b.missing == 0 && b.complete(sent)
	}
}

// play goes on to the next act when it is time, and returns when to look again.
func (b *returners) play(now int64) (wake int64) {
	switch b.act {
	case actCalm:
		if now < b.calmUntil {
			return b.calmUntil
		}
		if b.plan.Cuts > 0 {
			b.act = actCuts
			b.open(now)
			return now
		}
		for place := range b.all {
			b.cut(place)
		}
		streams := b.plan.load.streams()
		each := streams / b.plan.Groups
		rounds := (b.plan.Missed + each - 1) / each
		// One round more, since those of before may still be on their way.
		b.act, b.witnessed = actAway, b.crew.shown.delivered.Load()+int64((rounds+1)*streams*b.plan.Joins)
		b.spurt.Store(uint32(rounds))
	case actAway:
		if b.crew.shown.delivered.Load() >= b.witnessed {
			b.act = actStorm
			b.open(now)
			for place := range b.all {
				b.queue = append(b.queue, int32(place))
			}
			return now
		}
	case actCuts:
		return b.cutDue(now)
	case actStorm:
		if b.missing == 0 {
			b.act = actLive
			b.close(now)
		}
	case actLive:
		live := liveTime
		if b.plan.Cuts == 0 {
			live = b.plan.Time
		}
		if b.hereAt > 0 && now-b.hereAt >= int64(live) {
			b.act = actEnd
			b.over.Store(true)
		}
	}
	return now + int64(lifeTick)
}

// cutDue cuts those off who are due by the clock; one that is away or on its way just then is not.
func (b *returners) cutDue(now int64) (wake int64) {
	until := b.calmUntil + int64(b.plan.Time)
	for {
		due := b.calmUntil + int64(float64(b.cuts)*1e9/b.plan.Cuts)
		switch {
		case due >= until && now >= until:
			b.act = actStorm // who is not back yet comes back
			return now
		case due > now || due >= until:
			return min(due, until)
		}
		b.cuts++
		if place := b.random.IntN(len(b.all)); b.all[place].stage == lifeHere {
			b.cut(place)
			b.queue = append(b.queue, int32(place))
		}
	}
}

// cut ends a connection without a word.
func (b *returners) cut(place int) {
	r, c := &b.all[place], b.g.Conn(place)
	if r.stage != lifeHere || c.Dead() {
		return
	}
	if b.random.IntN(2) == 0 {
		b.g.Reset(c)
		b.found.Resets++
	} else {
		b.g.HangUp(c)
		b.found.HangUps++
	}
	b.leave(r)
}

func (b *returners) leave(r *returner) {
	if r.stage == lifeHere {
		b.missing++
	}
	r.stage, b.hereAt = lifeAway, 0
}

// come connects those who may come, as many at a time as may be pending.
func (b *returners) come(now int64) {
	n := 0
	for n < len(b.queue) && n < client.BeginMax && b.g.CanBegin() {
		place := int(b.queue[n])
		n++
		r := &b.all[place]
		r.stage, r.since, r.until = lifeComing, now, now+int64(max(client.Timeout, b.plan.Patience))
		b.g.Begin(place, int(b.g.Conn(place).Number), int(b.of(place)[0].group), false, now)
	}
	b.queue = b.queue[n:]
}

// sent is how much each publisher of each group has published; one that was cut off, as much as somebody has heard. The publishers
// are done by now.
func (b *returners) sent() [][]uint32 {
	all := make([][]uint32, b.plan.Groups)
	for group := range all {
		all[group] = make([]uint32, evenShare(b.plan.load.streams(), b.plan.Groups, group))
	}
	for _, p := range b.crew.publishers {
		if all[p.group][p.place] = p.sequence; p.gone {
			all[p.group][p.place] = b.crew.ledgers[p.group].Seen(p.place)
		}
	}
	return all
}

func (b *returners) complete(sent [][]uint32) bool {
	for group, course := range b.courses {
		if !course.Complete(sent[group], b.gone[group]) {
			return false
		}
	}
	return true
}

// open begins the window. It is called on the generator's thread, as close is.
func (b *returners) open(now int64) {
	b.window = window{from: now, to: now, thread: readThread(), cpuBefore: b.session.cpu(), machineBefore: readMachine()}
}

func (b *returners) close(now int64) {
	w := &b.window
	w.thread = readThread().Since(w.thread)
	w.cpu, w.machine = b.session.cpu().since(w.cpuBefore), readMachine().since(w.machineBefore)
}

// depart adds the faults to a measurement.
func (b *returners) depart(m *measurement) {
	for group, sent := range b.sent() {
		b.found.MissedByGone += b.courses[group].Finish(sent, b.gone[group])
	}
	m.also.Merge(&b.faults)
}

func (b *returners) report(r *report.Run) {
	x := b.found
	x.Seconds = time.Duration(b.window.to - b.window.from).Seconds()
	x.Published, x.PublishedPer = r.Fanout.Published, r.Fanout.PublishedPer
	x.Answer, x.Histogram = readPercentiles(b.latency), encodeHistogram(b.latency)
	if used := b.window.cpu.total(); b.plan.Cuts == 0 && x.Recovered > 0 && used >= cpuCoarse {
		x.ServerMicros = float64(used.Nanoseconds()) / 1e3 / float64(x.Recovered)
	}
	r.Resume, r.Fanout = &x, nil
	switch {
	case !r.Fine:
	case x.Returns == 0:
		r.Fine, r.Verdict = false, "FAULTY: nobody came back"
	case x.NotRecovered == 0:
		r.Verdict = verdictFine + ": over all its lives every member heard every message once, in one order"
	default:
		r.Verdict = fmt.Sprintf("%s: every member heard every message once, in one order, from the last time on that it was not recovered", verdictFine)
	}
}
