package main

import (
	"bytes"
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
	heardAt   int64 // the last message or answer
	hereAt    int64 // since when nobody has been missing
	window    window
	over      atomic.Bool   // publishers may end
	spurt     atomic.Uint32 // messages that each publisher is to send at once

	latency *hdrhistogram.Histogram // from a connect to the last of its answers
	found   report.Resume
}

type returner struct {
	stage      lifeStage
	unanswered int32
	since      int64 // when it began to connect
	until      int64 // when it is given up; waiting: when it asks again
}

// bond is a returner's membership in one group.
type bond struct {
	group, member int32
	asked         int32 // id of its join, until that is answered; askLater: it is to be sent
}

const askLater = -1

type lifeStage uint8

const (
	lifeHere lifeStage = iota
	lifeAway
	lifeComing
	lifeAsking
	lifeWaiting
	lifeGone
)

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

const (
	// lookEvery is how often each returner is looked at, for the end of its patience.
	lookEvery = 20 * time.Millisecond
	// askAgainAfter is when a client asks again that was told to try later, about as centrifuge-js does.
	askAgainAfter = 500 * time.Millisecond
	// liveTime is how long members listen when the last cut one is back.
	liveTime = 500 * time.Millisecond
)

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

// joinIDs: the first command of a client, with the id that is its number and one more, is the connect.
const joinIDs = 2

func (b *returners) of(place int) []bond { return b.bonds[place*b.plan.Joins : (place+1)*b.plan.Joins] }

// step goes through the acts.
func (b *returners) step(start int64, publishersDone func() bool) client.Step {
	b.heardAt, b.calmUntil = start, start+int64(b.plan.Calm)
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
			sent, endedAt = b.sent(), now
		}
		quiet := now-max(b.heardAt, endedAt) > int64(b.plan.Patience) || now-endedAt > int64(drainMax)
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

// Opened is called when a client may join: it asks for all its groups in one frame.
func (b *returners) Opened(c *client.Conn, _ int64) {
	r := &b.all[c.At]
	if r.stage != lifeComing {
		return // its first life, which has joined by now
	}
	r.stage, r.unanswered = lifeAsking, int32(b.plan.Joins)
	bonds := b.of(int(c.At))
	for j := range bonds {
		bonds[j].asked = askLater
	}
	b.ask(c)
}

// ask sends all joins that are to be sent.
func (b *returners) ask(c *client.Conn) {
	b.frame = b.frame[:0]
	bonds := b.of(int(c.At))
	for j := range bonds {
		bond := &bonds[j]
		if bond.asked != askLater {
			continue
		}
		if len(b.frame) > 0 {
			b.frame = append(b.frame, '\n')
		}
		bond.asked = int32(c.NextID())
		offset, epoch := b.courses[bond.group].Position(int(bond.member))
		join := b.g.Dialect().Join(b.names[bond.group], int(bond.asked), true)
		if epoch != "" { // else there is no position
			join = client.Resume(b.names[bond.group], int(bond.asked), offset, epoch)
		}
		b.frame = append(b.frame, join...)
	}
	b.g.SendText(c, b.frame)
}

// lookAll gives up those whose patience is over, and lets those ask again who were told to.
func (b *returners) lookAll(now int64) {
	for place := range b.all {
		r, c := &b.all[place], b.g.Conn(place)
		switch {
		case r.stage < lifeComing || r.stage == lifeGone || now < r.until:
		case r.stage == lifeWaiting:
			r.stage, r.until = lifeAsking, now+int64(max(client.Timeout, b.plan.Patience))
			b.ask(c)
		case r.stage == lifeComing:
			b.giveUp(c, "connect: no answer in time")
		default:
			b.giveUp(c, b.g.Dialect().NoReply())
		}
	}
}

// giveUp ends a client that cannot come back.
func (b *returners) giveUp(c *client.Conn, cause string) {
	r := &b.all[c.At]
	if r.stage == lifeGone {
		return
	}
	if r.stage != lifeHere {
		b.missing--
	}
	r.stage = lifeGone
	for _, bond := range b.of(int(c.At)) {
		b.gone[bond.group][bond.member] = true
	}
	b.faults.Add(check.Failed, 1, "%s did not come back: %s", b.name(int(c.At)), cause)
	b.g.Cut(c, cause)
}

// Cut is called for what the bench did not end itself. Who was here comes back; who was on its way is gone.
func (b *returners) Cut(c *client.Conn, cause string, _ bool) {
	switch r := &b.all[c.At]; {
	case b.start == 0 || r.stage == lifeGone: // the opening counts it, or giveUp has
	case r.stage == lifeHere:
		b.faults.Add(check.Cut, 1, "%s was cut off: %s", b.name(int(c.At)), cause)
		b.leave(r)
		b.queue = append(b.queue, c.At)
	default:
		b.giveUp(c, cause)
	}
}

// Replied handles the answer to a join.
func (b *returners) Replied(c *client.Conn, text []byte, now int64) {
	b.heardAt = now
	id, joined, err := b.answers.Read(text)
	r := &b.all[c.At]
	bond := b.asker(c, id)
	switch {
	case err == nil && bond == nil:
		b.faults.Add(check.Failed, 1, "%s got a reply to nothing: %.60q", b.name(int(c.At)), text)
	case r.stage == lifeHere && err == nil: // the first life
		bond.asked = 0
		if !joined.Recoverable {
			b.forgetful++
		}
		b.courses[bond.group].Join(int(bond.member), joined.Epoch, joined.Offset)
	case err == nil && joined.Refused != nil && joined.Temporary:
		b.found.AskedAgain++
		bond.asked = askLater
		r.stage, r.until = lifeWaiting, now+int64(askAgainAfter)
	case err == nil && joined.Refused != nil:
		b.giveUp(c, joined.Refused.Error())
	case err != nil:
		b.giveUp(c, err.Error())
	default:
		b.back(c, bond, joined, now)
	}
}

// asker is the membership whose join has an id.
func (b *returners) asker(c *client.Conn, id int) *bond {
	bonds := b.of(int(c.At))
	if j := id - int(c.Number) - joinIDs; j >= 0 && j < len(bonds) && int(bonds[j].asked) == id {
		return &bonds[j]
	}
	for j := range bonds { // asked again
		if id > 0 && int(bonds[j].asked) == id {
			return &bonds[j]
		}
	}
	return nil
}

// back takes a client in again in one of its groups.
func (b *returners) back(c *client.Conn, bond *bond, joined *client.Joined, now int64) {
	r, course := &b.all[c.At], b.courses[bond.group]
	bond.asked = 0
	r.unanswered--
	_, epoch := course.Position(int(bond.member))
	switch {
	case joined.Recovered && joined.Epoch != epoch:
		b.faults.Add(check.Altered, 1, "%s was given what it missed in the epoch %.20q, and had asked for it in %.20q", b.name(int(c.At)), joined.Epoch, epoch)
		b.found.Recovered++
	case joined.Recovered:
		b.found.Recovered++
	default:
		b.found.NotRecovered++
		if len(joined.Missed) > 0 {
			b.faults.Add(check.Foreign, uint64(len(joined.Missed)), "%s got %d messages with an answer that recovers nothing", b.name(int(c.At)), len(joined.Missed))
		}
		course.Anew(int(bond.member), joined.Epoch, joined.Offset)
	}
	if joined.Recovered {
		for i := range joined.Missed {
			b.found.Missed++
			b.take(c, bond, joined.Missed[i].Text, joined.Missed[i].Offset, now)
		}
	}
	if r.unanswered == 0 {
		record(b.latency, now-r.since)
		b.found.Returns++
		r.stage = lifeHere
		b.missing--
		if b.act == actStorm || b.act == actCuts {
			b.window.to = now
		}
	}
}

// Heard checks one live message.
func (b *returners) Heard(c *client.Conn, text []byte, from client.Origin, now int64) {
	b.heardAt = now
	if bonds := b.of(int(c.At)); from.Group >= 0 {
		if j := (from.Group - int(bonds[0].group) + b.plan.Groups) % b.plan.Groups; j < len(bonds) {
			if bonds[j].asked != 0 {
				b.faults.Add(check.Foreign, 1, "%s got a message of group %d before its join was answered", b.name(int(c.At)), from.Group)
			}
			b.take(c, &bonds[j], text, from.Offset, now)
			return
		}
	}
	b.faults.Add(check.Foreign, 1, "%s got a message that is of none of its groups: %.60q", b.name(int(c.At)), text)
}

// take checks one message of a group, live or missed.
func (b *returners) take(c *client.Conn, bond *bond, text []byte, offset uint64, now int64) {
	s, ok := check.ReadStamp(text)
	switch {
	case !ok || len(text) != b.plan.Size || !bytes.Equal(text[check.StampBytes:], b.fill):
		b.faults.Add(check.Altered, 1, "%s got a text of %d bytes that was not published: %.60q", b.name(int(c.At)), len(text), text)
	case int(s.Publisher) >= b.plan.load.streams() || int(s.Publisher)%b.plan.Groups != int(bond.group) || s.Due > now:
		b.faults.Add(check.Foreign, 1, "%s got publisher %d's #%d, which is not for it", b.name(int(c.At)), s.Publisher, s.Sequence)
	case b.courses[bond.group].Saw(int(bond.member), int(s.Publisher)/b.plan.Groups, s.Sequence, offset):
		b.found.Heard++
	}
}

func (b *returners) name(place int) string {
	first := b.of(place)[0]
	return fmt.Sprintf("group %d returner %d", first.group, first.member)
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
