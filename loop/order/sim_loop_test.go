package order

import (
	"fmt"
	"slices"
	"strconv"

	"ringcast/dialect"
)

// This file is what the simulated loops and ports do: as package loop does with its lanes.

// simLoop is a loop with members.
type simLoop struct {
	lanes    *Lanes[*simPart, *simAsk]
	woken    bool
	parts    []*simPart // by group, nil: none
	gathered int        // bytes

	words    [][]Request[*simPart, *simAsk] // by home: who is gone and who is here, oldest first
	announce []bool                         // by group: its kind may have got presence
	away     [][]uint64                     // by group: numbers of clients that have been members
	due      [][]simNews                    // by group: what is on its way about who comes and goes
}

// simPart is a loop's part of a group.
type simPart struct {
	s              *sim
	name           string
	flow           Flow
	waiting        []int // bytes of the messages that wait for a pass
	members, asked int
	clients        []*simAsk // the members
	announces      int       // how often its home was told who they are
	headcount      *Headcount
	last           uint64        // number of the last message that came, 0: none has
	seen           map[int]bool  // messages that came
	own            []*simMessage // accepted from this loop behind an add_group
	path           *simPath      // what came; nil: nothing has
}

func (p *simPart) GroupName() string { p.s.onPresence(); return p.name }
func (p *simPart) Flow() *Flow       { return &p.flow }

// simAsk waits for an answer.
type simAsk struct {
	s       *sim
	number  uint64
	hears   bool
	who     *dialect.Who
	present bool // OpGone is owed for it

	announces int // of its loop's part, when it asked
	loop      int
	message   *simMessage // of a publish; nil: a join
	asks      bool        // likewise: it has an id
	answers   int
	past      *Ask
	last      simWant  // of a join: what was said last
	want      *simPast // of a join or a reading; nil: nothing is to be said of the past
}

func (a *simAsk) Number() uint64 { a.s.onPresence(); return a.number }

// turn is a loop's; it takes a few deliveries and leaves the others lying.
func (s *sim) turn(loop, deliveries int) {
	l := s.loops[loop]
	l.woken = false
	l.lanes.Woken()
	moved, busy := l.lanes.Host()
	s.look()
	drained := deliveries > 0 && l.gathered < s.gather && l.lanes.Drain(nil, func(d Delivery[*simPart, *simAsk]) bool {
		s.deliver(loop, &d)
		deliveries--
		return deliveries > 0 && l.gathered < s.gather
	})
	passed := s.passes(l, deliveries)
	s.checkFlights()
	moved = s.say(l) || moved
	for group, p := range l.parts { // what package loop calls owed
		if p == nil || p.members > 0 || p.asked > 0 || len(l.words[s.hs.Of(p.name)]) > 0 {
			continue
		}
		if p.headcount == nil || l.lanes.Offer(s.hs.Of(p.name), Request[*simPart, *simAsk]{Op: OpLeave, Local: p}) {
			l.parts[group], moved = nil, true
		}
	}
	l.lanes.WakeOthers(s.serve)
	called := l.lanes.Through(l.gathered)
	l.woken = l.woken || moved || busy || drained || deliveries == 0 || passed || called
}

// passes takes up to so many messages of each group that wait, and reports whether any waited: then the loop looks at its lanes
// again, as it may gather more.
func (s *sim) passes(l *simLoop, most int) (any bool) {
	for _, p := range l.parts {
		if p != nil {
			any = any || len(p.waiting) > 0
			l.take(p, min(most, len(p.waiting)))
		}
	}
	return any
}

func (l *simLoop) take(p *simPart, n int) {
	for _, bytes := range p.waiting[:n] {
		p.flow.Taken(bytes)
		l.gathered -= bytes
	}
	p.waiting = p.waiting[n:]
}

func (s *sim) join(loop, group int) {
	p := s.loops[loop].parts[group]
	if p == nil {
		p = &simPart{s: s, name: strconv.Itoa(group), seen: map[int]bool{}}
		s.loops[loop].parts[group] = p
	}
	l, kind := s.loops[loop], s.kinds[group]
	ask := s.newcomer(loop, group)
	if p.headcount != nil && kind.messages == 0 && (!kind.presence || l.announce[group]) && (kind.cache == 0 || s.rng.IntN(2) == 0) {
		switch p.headcount.Take(s.membersMax) {
		case Took:
			p.members++
			p.clients = append(p.clients, ask)
			return
		case GroupFull:
			return
		}
	}
	if len(l.words[s.hs.Of(p.name)]) > 0 {
		return
	}
	ask.hears, ask.announces = s.rng.IntN(3) > 0, p.announces
	if s.history && s.rng.IntN(3) > 0 {
		ask.past = s.ask()
	}
	if (s.presentMax > 0 || s.cache) && s.rng.IntN(2) == 0 {
		a := Ask{}
		if ask.past != nil {
			a = *ask.past
		}
		a.Lists, a.Cached = s.presentMax > 0 && s.rng.IntN(3) > 0, s.cache && s.rng.IntN(4) > 0
		ask.past = &a
	}
	r := Request[*simPart, *simAsk]{Op: OpJoin, Local: p, Client: ask, Hears: ask.hears, Past: ask.past}
	r.Identify(ask.who)
	if ask.predict(nil, OpJoin, ask.past, 0); s.loops[loop].lanes.Offer(s.hs.Of(p.name), r) {
		p.asked++
	}
	s.loops[loop].woken = true
}

func (s *sim) leave(p *simPart) {
	s.goes(p, s.rng.IntN(len(p.clients)))
	if p.members--; p.members == 0 {
		for _, l := range s.loops {
			if slices.Contains(l.parts, p) {
				l.take(p, len(p.waiting))
			}
		}
	}
	s.hs.Census.GiveBack(p.headcount)
}

func (s *sim) newMessage(group int) (*simMessage, []byte) {
	m := &simMessage{index: len(s.sent), group: strconv.Itoa(group)}
	s.sent = append(s.sent, m)
	return m, fmt.Appendf(nil, "%d %0*d", m.index, s.rng.IntN(80), 0)
}

func (s *sim) publish(loop, group int) {
	m, payload := s.newMessage(group)
	r := Request[*simPart, *simAsk]{Op: OpPublish}
	r.Message, r.ID = NewMessage([]byte(m.group), payload, []byte("7"), false)
	m.ask = &simAsk{s: s, loop: loop, message: m, asks: s.rng.IntN(3) > 0}
	r.Client, r.Asks = m.ask, m.ask.asks
	if s.rng.IntN(4) == 0 && s.keysMax == 0 {
		m.said.Key = s.key()
		r.via = &via{key: m.said.Key}
	}
	if s.rng.IntN(4) == 0 {
		m.said.Unkept, m.event = true, s.rng.IntN(2) == 0
		r.Message.More = &dialect.More{Unkept: true, ClientEvent: m.event}
	}
	m.accepted = s.loops[loop].lanes.Offer(s.hs.Of(m.group), r)
	s.loops[loop].woken = true
	if p := s.loops[loop].parts[group]; p != nil && m.accepted && (p.members > 0 || p.asked > 0) {
		p.own = append(p.own, m)
	}
}
