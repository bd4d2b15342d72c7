package main

import (
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"ringcast/bench/check"
	"ringcast/bench/client"
)

// voices are the publishers of the verb cluster on one generator. They speak the seed protocol, since that answers a publish with
// its number. Each message is sent with an id, and what is answered is noted for the check:
//
//	due ─► backlog ─► flight ─► ok
//	        ▲   ▲        │ ├──► busy, unavailable: never to be heard
//	        │   └ repeat ┘ └──► unknown, or the connection ended: it may be heard, once
//	        └ while the socket takes no more, and while the voice connects to another node
//
// One whose connection ends connects to the next node. Owner: their generator's thread during a phase, the verb between phases.
type voices struct {
	client.Idle
	g      *client.Generator
	plan   *clusterLoad
	run    string // makes keys unique
	names  []string
	nodes  int
	quiet  bool // a connection that ends is no fault: the bench does things to nodes
	fill   []byte
	all    []*voice
	said   []*check.Publishes
	faults check.Faults

	opening    bool
	here       int
	start, end int64
	next       uint64 // open loop: how many have become due
	nextLook   int64
	nextLate   int64
	dirty      []*voice
	spare      []*voice
	buf        []byte
	text, key  []byte
	payload    []byte
	done       atomic.Bool // nothing is under way any more, and nothing becomes due

	ack, lateness *hdrhistogram.Histogram
	waited        int64 // the longest time to an answer of any kind
	answeredAt    int64 // the last
	sent          uint64
	unsent        uint64
	repeats       uint64
	repeatsOK     uint64
	cuts          uint64
	cutCauses     map[string]int
	refusals      map[string]int // by code, of those that are neither busy, unavailable nor unknown
	shownOK       atomic.Int64
	shownBad      atomic.Int64
}

// voice is one publisher.
type voice struct {
	number, group, place int32 // place is among the publishers of its group
	at                   int   // place of the generator
	server               int
	life                 int // which of its connections
	stage                lifeStage
	until                int64 // coming: when it is given up; away: when it connects again

	id      int
	flights map[int]flight
	late    map[int]struct{} // ids that were given up; their answers are read and no longer count
	backlog []uint32
	repeats []repeat
	due     []int64 // of each message
	pauses  int64   // until when it sends nothing new, as it was refused
	listed  bool    // it is in dirty
}

type flight struct {
	seq    uint32
	at     int64
	repeat bool
}

type repeat struct {
	seq uint32
	at  int64 // not before
}

const (
	// comeTime is how long a client of the verb cluster waits to be let in before it tries the next node: one that is stopped accepts
	// connections and answers nothing.
	comeTime = 3 * time.Second
	// comeAgainAfter is from the end of a connection to the next connect.
	comeAgainAfter = 50 * time.Millisecond
	// refusedPause keeps one that is refused at once from doing nothing but being refused.
	refusedPause = 10 * time.Millisecond
	// repeatAfter is from an answer unknown to the repeat.
	repeatAfter = 100 * time.Millisecond
	// voicesLook is how often each is looked at, for what no event brings.
	voicesLook = 5 * time.Millisecond
	// lateEvery is how often it is looked whether answers are late: there may be many.
	lateEvery = 500 * time.Millisecond
)

func newVoices(l *clusterLoad, g *client.Generator, run string, names []string, nodes, thread, threads int) *voices {
	b := &voices{g: g, plan: l, run: run, names: names, nodes: nodes, fill: check.Filling(l.Size), ack: newHistogram(), lateness: newHistogram(),
		said: make([]*check.Publishes, l.Groups), cutCauses: map[string]int{}, refusals: map[string]int{}, opening: true}
	for group := thread; group < l.Groups; group += threads {
		b.said[group] = check.NewPublishes(l.publishersOf(group), func(place int) string { return publisherName(l, group, place) }, &b.faults)
	}
	for n := range l.Publishers {
		if group := n % l.Groups; group%threads == thread {
			b.all = append(b.all, &voice{number: int32(n), group: int32(group), place: int32(n / l.Groups), at: len(b.all), server: nodeOf(group, n/l.Groups, nodes),
				flights: map[int]flight{}, late: map[int]struct{}{}, stage: lifeAway})
		}
	}
	g.Reserve(len(b.all))
	g.SetPlay(b)
	return b
}

// publisherName is how the check names a publisher.
func publisherName(l *clusterLoad, group, place int) string {
	return fmt.Sprintf("publisher %d", place*l.Groups+group)
}

// open is the step that connects all for the first time.
func (b *voices) open(deadline int64) client.Step {
	return func(now int64) (int64, bool) {
		b.look(now)
		return now + int64(voicesLook), b.here == len(b.all) || now >= deadline
	}
}

// publish is the step that publishes from start on, and ends when nothing is under way any more.
func (b *voices) publish(start int64) client.Step {
	b.opening, b.start, b.end = false, start, start+int64(b.plan.Time)
	deadline := b.end + int64(b.plan.Patience) + int64(time.Second)
	if b.plan.RepeatUnknown {
		deadline += int64(b.plan.RepeatWithin) + int64(b.plan.Patience)
	}
	for _, s := range b.all {
		b.list(s)
	}
	return func(now int64) (int64, bool) {
		wake := b.becomeDue(now)
		if now >= b.nextLook {
			b.nextLook = now + int64(voicesLook)
			b.look(now)
			for _, s := range b.all {
				if len(s.backlog)+len(s.repeats) > 0 || b.plan.Window > 0 {
					b.list(s)
				}
			}
		}
		if now >= start {
			b.flush(now)
		}
		wake = min(wake, b.nextLook)
		if now < b.end || now < deadline && b.busy(now) {
			return wake, false
		}
		b.giveUp(now)
		b.done.Store(true)
		return wake, true
	}
}

// becomeDue gives what is due to voices in turn. In an open loop that does not depend on any answer.
func (b *voices) becomeDue(now int64) (wake int64) {
	if b.plan.Rate == 0 || len(b.all) == 0 {
		return b.end
	}
	every := 1e9 * float64(b.plan.Publishers) / (b.plan.Rate * float64(len(b.all)))
	for {
		due := b.start + int64(float64(b.next)*every)
		if due > now || due >= b.end {
			return min(due, b.end)
		}
		s := b.all[b.next%uint64(len(b.all))]
		b.next++
		b.say(s, due)
	}
}

// say adds a message of a voice.
func (b *voices) say(s *voice, due int64) {
	seq := b.said[s.group].Say(int(s.place))
	s.due = append(s.due, due)
	s.backlog = append(s.backlog, seq)
	b.list(s)
}

func (b *voices) list(s *voice) {
	if !s.listed {
		s.listed = true
		b.dirty = append(b.dirty, s)
	}
}

// flush lets all that have something to send do so, each in one write.
func (b *voices) flush(now int64) {
	todo := b.dirty
	b.dirty, b.spare = b.spare[:0], todo
	for _, s := range todo {
		s.listed = false
		b.send(s, now)
	}
}

func (b *voices) send(s *voice, now int64) {
	if s.stage != lifeHere {
		return
	}
	c := b.g.Conn(s.at)
	b.buf = b.buf[:0]
	room := func() bool { return len(b.buf)+2*b.plan.Size+1024 < client.OutBytesMax }
	kept := s.repeats[:0]
	for _, r := range s.repeats {
		switch {
		case r.at > now || c.Waiting() || !room():
			kept = append(kept, r)
		case now-s.due[r.seq] <= int64(b.plan.RepeatWithin): // else it stays what it is
			b.repeats++
			b.append(s, r.seq, now, true)
		}
	}
	s.repeats = kept
	if c.Waiting() {
		b.push(c)
		return
	}
	n := 0
	for n < len(s.backlog) && room() {
		b.append(s, s.backlog[n], now, false)
		n++
	}
	s.backlog = s.backlog[:copy(s.backlog, s.backlog[n:])]
	for b.plan.Window > 0 && now < b.end && now >= s.pauses && len(s.flights) < b.plan.Window && b.sent < clusterMessages && room() {
		seq := b.said[s.group].Say(int(s.place))
		s.due = append(s.due, now)
		b.append(s, seq, now, false)
	}
	b.push(c)
}

func (b *voices) push(c *client.Conn) {
	if len(b.buf) > 0 {
		b.g.Push(c, b.buf)
	}
}

// append adds a frame to what is about to be written.
func (b *voices) append(s *voice, seq uint32, now int64, again bool) {
	s.id++
	b.said[s.group].Ask(int(s.place), seq, s.life, now-s.due[seq])
	b.text = check.AppendStamp(b.text[:0], check.Stamp{Publisher: uint32(s.number), Sequence: seq, Due: s.due[seq]})
	b.text = append(b.text, b.fill...)
	b.key = b.key[:0]
	if b.plan.Keys {
		b.key = append(append(b.key, b.run...), '-')
		b.key = strconv.AppendInt(b.key, int64(s.number), 36)
		b.key = strconv.AppendUint(append(b.key, '-'), uint64(seq), 36)
	}
	b.payload = client.AppendPublish(b.payload[:0], b.names[s.group], s.id, b.key, b.text)
	mask := b.g.MaskKey()
	b.buf = client.AppendTextHeader(b.buf, len(b.payload), mask)
	from := len(b.buf)
	b.buf = append(b.buf, b.payload...)
	client.Mask(b.buf[from:], mask)
	s.flights[s.id] = flight{seq, now, again}
	if !again {
		b.sent++
		record(b.lateness, now-s.due[seq])
	}
}

// Heard reads an answer: publishers hear nothing else.
func (b *voices) Heard(c *client.Conn, text []byte, _ client.Origin, now int64) {
	s := b.all[c.At]
	a, err := client.ReadAnswer(text)
	if err != nil {
		b.faults.Add(check.Altered, 1, "%s got what is no answer: %.80q", publisherName(b.plan, int(s.group), int(s.place)), text)
		return
	}
	f, known := s.flights[a.ID]
	if !known {
		if _, was := s.late[a.ID]; !was {
			b.faults.Add(check.Failed, 1, "%s got an answer to nothing: %.80q", publisherName(b.plan, int(s.group), int(s.place)), text)
		}
		delete(s.late, a.ID)
		return
	}
	delete(s.flights, a.ID)
	b.list(s)
	b.answeredAt = now
	b.waited = max(b.waited, now-f.at)
	said := b.said[s.group]
	if a.OK {
		said.Note(int(s.place), f.seq, check.OK, a.Seq)
		record(b.ack, now-s.due[f.seq])
		b.shownOK.Add(1)
		if f.repeat {
			b.repeatsOK++
		}
		return
	}
	b.shownBad.Add(1)
	s.pauses = now + int64(refusedPause)
	switch a.Code {
	case "busy":
		said.Note(int(s.place), f.seq, check.Busy, 0)
	case "unavailable":
		said.Note(int(s.place), f.seq, check.Unavailable, 0)
	case "unknown":
		said.Note(int(s.place), f.seq, check.Unknown, 0)
	default:
		said.Note(int(s.place), f.seq, check.Refused, 0)
		b.refusals[a.Code]++
	}
	if said.Of(int(s.place), f.seq).Answer.Uncertain() { // also a repeat that was refused
		b.again(s, f.seq, now+int64(repeatAfter))
	}
}

func (b *voices) again(s *voice, seq uint32, at int64) {
	if b.plan.RepeatUnknown {
		s.repeats = append(s.repeats, repeat{seq, at})
		b.list(s)
	}
}

// Opened is called when a voice may speak.
func (b *voices) Opened(c *client.Conn, _ int64) {
	s := b.all[c.At]
	s.stage, s.id = lifeHere, 0
	s.life++
	clear(s.late)
	b.here++
	b.list(s)
}

// Drained is called when what waited for the socket was taken.
func (b *voices) Drained(c *client.Conn) { b.list(b.all[c.At]) }

// Cut is called when a connection ends, or does not come about.
func (b *voices) Cut(c *client.Conn, cause string, opening bool) {
	s := b.all[c.At]
	now := client.Clock()
	if s.stage == lifeHere {
		b.here--
	}
	if !opening {
		b.cuts++
		b.cutCauses[cause]++
		if !b.quiet {
			b.faults.Add(check.Cut, 1, "%s was cut off: %s", publisherName(b.plan, int(s.group), int(s.place)), cause)
		}
	}
	for _, f := range s.flights {
		b.said[s.group].Note(int(s.place), f.seq, check.None, 0)
		b.again(s, f.seq, now)
	}
	clear(s.flights)
	s.stage, s.until, s.server = lifeAway, now+int64(comeAgainAfter), (s.server+1)%b.nodes
}

// look connects those who are away, and gives up what has taken too long.
func (b *voices) look(now int64) {
	for _, s := range b.all {
		switch {
		case s.stage == lifeAway && now >= s.until && b.g.CanBegin():
			s.stage, s.until = lifeComing, now+int64(comeTime)
			b.g.BeginAt(s.at, int(s.number), s.server, now)
		case s.stage == lifeComing && now >= s.until:
			b.g.Cut(b.g.Conn(s.at), "no answer to a connect in time")
		case s.stage == lifeHere && now >= b.nextLate:
			b.giveUpLate(s, now)
		}
	}
	if now >= b.nextLate {
		b.nextLate = now + int64(lateEvery)
	}
}

// giveUpLate gives up publishes that are not answered in time.
func (b *voices) giveUpLate(s *voice, now int64) {
	for id, f := range s.flights {
		if now-f.at < int64(b.plan.Patience) {
			continue
		}
		delete(s.flights, id)
		s.late[id] = struct{}{}
		b.said[s.group].Note(int(s.place), f.seq, check.Silence, 0)
		b.waited = max(b.waited, now-f.at)
	}
}

// busy says that something is under way or waits to be sent.
func (b *voices) busy(now int64) bool {
	for _, s := range b.all {
		if len(s.flights)+len(s.backlog) > 0 {
			return true
		}
		for _, r := range s.repeats {
			if now-s.due[r.seq] <= int64(b.plan.RepeatWithin) {
				return true
			}
		}
	}
	return false
}

// giveUp ends the phase: what is under way is not answered, and what waits was not sent.
func (b *voices) giveUp(now int64) {
	for _, s := range b.all {
		if len(s.backlog) > 0 && s.stage != lifeHere {
			b.faults.Add(check.Failed, 1, "%s had not come back when all was over", publisherName(b.plan, int(s.group), int(s.place)))
		}
		for _, f := range s.flights {
			b.said[s.group].Note(int(s.place), f.seq, check.Silence, 0)
			b.waited = max(b.waited, now-f.at)
		}
		clear(s.flights)
		b.unsent += uint64(len(s.backlog))
	}
}
