package order

import (
	"fmt"
	"slices"
	"strconv"

	"ringcast/dialect"
)

// This file is what the loops and ports of simulated machines do: as package loop does with its lanes.

// nodeLoop is a loop with members.
type nodeLoop struct {
	lanes    *Lanes[*nodePart, *nodeAsk]
	woken    bool
	parts    []*nodePart // by group, nil: none
	gathered int         // bytes
}

// nodePart is a loop's part of a group.
type nodePart struct {
	m              *simMachine
	name           string
	flow           Flow
	waiting        []int // bytes of the messages that wait for a pass
	members, asked int
	headcount      *Headcount
	nodeCompany

	next     int           // in the entries of its group: the first that it has not heard; below 0: not known, as it has heard nothing and was told no position
	since    int           // in that case: from here on it must hear all
	begins   int           // likewise: where its first position is
	recovers bool          // it has joined with a position: its home may have to ask the log before it is a member
	own      []*simPublish // accepted from this loop behind a join
	heard    map[*simPublish]bool

	lastOf map[sender]int // of a fast group: the last publish of each
	last   uint64         // likewise: the last offset; 0: none
}

// nodeCompany is those members whom the home knows, where a group has presence: it is told when they go.
type nodeCompany struct {
	present []*nodeAsk
	gone    []*nodeAsk // of whom it is still to be told
}

func (p *nodePart) GroupName() string { return p.name }
func (p *nodePart) Flow() *Flow       { return &p.flow }

// nodeAsk waits for an answer.
type nodeAsk struct {
	m       *simMachine
	number  uint64
	loop    int
	publish *simPublish // of a publish; nil: of a join or a reading
	asks    bool        // likewise: it has an id
	answers int
	past    *Ask
	group   string
	op      RequestOp
	pending *Pending // of a port
	trouble int      // how often a recall had failed when it was asked
	ahead   bool     // its position is beyond what its machine had of the order then
}

func (a *nodeAsk) Number() uint64 { return a.number }

// simPublish is what somebody says, once.
type simPublish struct {
	index   int
	group   string
	payload []byte
	said    Said // by a port; else its key, and whether it is kept
	machine *simMachine
	loop    int // by which it was said; below 0: by a port
	ask     *nodeAsk
	patient bool // by a port, for which it waits for room and for no word
	fast    bool // its group was fast when it was said
	soon    bool // its client does not wait for long

	sent    bool      // into a lane
	gone    bool      // its machine has ended
	tooLoud bool      // its home has refused it
	offered bool      // and was taken
	refused error     // by the orderer
	entry   *simEntry // its place in the order; nil: it has none
	repeats *simEntry // as the orderer says
	answers int
	told    told // the last answer
	heard   int
}

func (c *simCluster) newPublish(m *simMachine, loop, group int) *simPublish {
	p := &simPublish{index: len(c.publishes), group: strconv.Itoa(group), machine: m, loop: loop, fast: c.kinds[group].Fast}
	p.payload = fmt.Appendf(nil, "%d %0*d", p.index, c.rng.IntN(80), 0)
	c.publishes = append(c.publishes, p)
	if c.rng.IntN(100) < c.keyed && !p.fast {
		p.said.Key = fmt.Sprint("key", c.rng.IntN(3))
	}
	p.said.Unkept = c.rng.IntN(4) == 0
	return p
}

// turn is a loop's; it takes a few deliveries and leaves the others lying.
func (m *simMachine) turn(loop, deliveries int) {
	l := m.loops[loop]
	l.woken = false
	l.lanes.Woken()
	moved, busy := l.lanes.Host()
	drained := deliveries > 0 && l.gathered < m.c.gather && l.lanes.Drain(nil, func(d Delivery[*nodePart, *nodeAsk]) bool {
		m.deliver(loop, &d)
		deliveries--
		return deliveries > 0 && l.gathered < m.c.gather
	})
	passed := false
	for _, p := range l.parts {
		if p != nil {
			passed = passed || len(p.waiting) > 0
			l.take(p, min(deliveries, len(p.waiting)))
		}
	}
	for group, p := range l.parts {
		for p != nil && len(p.gone) > 0 && l.lanes.Offer(m.hs.Of(p.name), Request[*nodePart, *nodeAsk]{Op: OpGone, Local: p, Client: p.gone[0]}) {
			p.gone, moved = p.gone[1:], true
		}
		if p == nil || p.members > 0 || p.asked > 0 || len(p.gone) > 0 {
			continue
		}
		if p.headcount == nil || l.lanes.Offer(m.hs.Of(p.name), Request[*nodePart, *nodeAsk]{Op: OpLeave, Local: p}) {
			l.parts[group], moved = nil, true
		}
	}
	l.lanes.WakeOthers(func(int) bool { return false })
	called := l.lanes.Through(l.gathered)
	l.woken = l.woken || moved || busy || drained || deliveries == 0 || passed || called
}

func (l *nodeLoop) take(p *nodePart, n int) {
	for _, bytes := range p.waiting[:n] {
		p.flow.Taken(bytes)
		l.gathered -= bytes
	}
	p.waiting = p.waiting[n:]
}

func (m *simMachine) join(loop, group int) {
	c, l := m.c, m.loops[loop]
	p := l.parts[group]
	if p == nil {
		p = &nodePart{m: m, name: strconv.Itoa(group), next: -1, since: -1, heard: map[*simPublish]bool{}, lastOf: map[sender]int{}}
		l.parts[group] = p
	}
	if len(p.gone) > 0 {
		return
	}
	if p.headcount != nil && c.kinds[group].Messages == 0 && !c.kinds[group].Presence && p.headcount.Take(0) == Took {
		p.members++
		return
	}
	c.clients++
	ask := &nodeAsk{m: m, loop: loop, op: OpJoin, group: p.name, number: c.clients*dialect.SenderLoopsMax + uint64(loop), trouble: m.trouble(p.name)}
	if c.rng.IntN(3) > 0 {
		ask.past = c.ask(p.name)
		p.recovers = p.recovers || ask.past.Recover
		ask.ahead = m.isAhead(p.name, ask.past)
	}
	if l.lanes.Offer(m.hs.Of(p.name), Request[*nodePart, *nodeAsk]{Op: OpJoin, Local: p, Client: ask, Past: ask.past, Hears: c.rng.IntN(2) == 0}) {
		p.asked++
		c.asks = append(c.asks, ask)
	}
	l.woken = true
}

func (m *simMachine) leave(l *nodeLoop, group int) {
	p := l.parts[group]
	if p == nil || p.members == 0 {
		return
	}
	if n := len(p.present); n > 0 {
		p.gone, p.present = append(p.gone, p.present[n-1]), p.present[:n-1]
	}
	if p.members--; p.members == 0 {
		l.take(p, len(p.waiting))
	}
	m.hs.Census.GiveBack(p.headcount)
	l.woken = true
}

// publish is what a client says.
func (m *simMachine) publish(loop, group int) {
	c, l := m.c, m.loops[loop]
	s := c.newPublish(m, loop, group)
	s.ask = &nodeAsk{m: m, loop: loop, op: OpPublish, publish: s, group: s.group, asks: c.rng.IntN(3) > 0}
	s.soon = c.rng.IntN(3) == 0
	r := Request[*nodePart, *nodeAsk]{Op: OpPublish, Client: s.ask, Asks: s.ask.asks, Soon: s.soon}
	r.Message, r.ID = NewMessage([]byte(s.group), s.payload, []byte("7"), false)
	if s.said.Key != "" {
		r.via = &via{key: s.said.Key}
	}
	if s.said.Unkept {
		r.Message.More = &dialect.More{Unkept: true}
	}
	s.sent = true // it may be offered at once
	s.sent = l.lanes.Offer(m.hs.Of(s.group), r)
	l.woken = true
	if p := l.parts[group]; p != nil && s.sent && (p.members > 0 || p.asked > 0) {
		p.own = append(p.own, s)
	}
}

// publishByPort is what a backend says.
func (m *simMachine) publishByPort(group int) {
	c := m.c
	s := c.newPublish(m, -1, group)
	s.sent = true
	var err error
	if s.patient = c.rng.IntN(3) == 0; s.patient {
		from := m.port
		if m.feed != nil {
			from = m.feed.Port
		}
		s.said = Said{}
		w, _ := from.Waiter(s.group, s.payload, s)
		s.sent, err = w.Offer()
		c.must(err == nil, "%s: port: %v", m, err)
		return
	}
	s.said.Payload, s.said.JSON = s.payload, c.rng.IntN(2) == 0
	if c.rng.IntN(3) == 0 {
		s.said.Tags = []byte(`{"a":"b"}`)
	}
	pending, err := m.port.Offer(s.group, s.said)
	c.must(err == nil || err == ErrBusy, "%s: port: %v", m, err)
	if s.sent = err == nil; s.sent {
		m.ends[s] = pending
		m.waiting = append(m.waiting, s)
	}
}

// question is what a backend asks, or it has a group's history forgotten.
func (m *simMachine) question(group int) {
	c := m.c
	a := &nodeAsk{m: m, loop: -1, op: OpHistory, group: strconv.Itoa(group), trouble: m.trouble(strconv.Itoa(group))}
	r := Request[*nodePart, *nodeAsk]{Op: OpHistory}
	if c.rng.IntN(100) < c.forgetting {
		a.op, r.Op = OpForget, OpForget
	} else {
		a.past = c.ask(a.group)
		a.ahead = m.isAhead(a.group, a.past)
		r.Past = a.past
	}
	var err error
	if a.pending, err = m.port.ask(r, via{group: a.group}); err == nil {
		m.questions = append(m.questions, a)
	}
	c.must(err == nil || err == ErrBusy, "%s: port: %v", m, err)
}

// readHistory is what a member asks.
func (m *simMachine) readHistory(loop, group int) {
	c, l := m.c, m.loops[loop]
	p := l.parts[group]
	if p == nil || p.members == 0 {
		return
	}
	a := &nodeAsk{m: m, loop: loop, op: OpHistory, group: p.name, past: c.ask(p.name), trouble: m.trouble(p.name)}
	a.ahead = m.isAhead(p.name, a.past)
	if l.lanes.Offer(m.hs.Of(p.name), Request[*nodePart, *nodeAsk]{Op: OpHistory, Asks: true, Local: p, Client: a, ID: "7", Past: a.past}) {
		c.asks = append(c.asks, a)
	}
	l.woken = true
}

// ask is what a client wants to know of a group's past: behind a position that some client has had, or one that nobody had.
func (c *simCluster) ask(group string) *Ask {
	a := &Ask{Recover: c.rng.IntN(4) > 0, HasSince: c.rng.IntN(4) == 0, Reverse: c.rng.IntN(3) == 0, Limit: c.rng.IntN(5) - 1,
		MessagesMax: []int{0, 1, 3, 1000, 1000, 1000}[c.rng.IntN(6)], BytesMax: []int{0, 300, 600, 1 << 20, 1 << 20, 1 << 20}[c.rng.IntN(6)]}
	if at := c.positions[group]; len(at) > 0 && c.rng.IntN(8) > 0 {
		a.Since = at[len(at)-1-c.rng.IntN(min(len(at), 12))]
		switch c.rng.IntN(8) {
		case 0:
			a.Since.Offset = uint64(max(0, int(a.Since.Offset)+c.rng.IntN(9)-4))
		case 1:
			a.Since.Epoch = 0
		case 2:
			a.Since.Epoch++
		}
	}
	return a
}

// answers judges what those were answered that wait at the port.
func (m *simMachine) answers() (moved bool) {
	was := len(m.questions) + len(m.waiting)
	m.questions = slices.DeleteFunc(m.questions, func(a *nodeAsk) bool {
		t, ok := a.pending.word()
		if ok {
			m.answered(a, t)
		}
		return ok
	})
	m.waiting = slices.DeleteFunc(m.waiting, func(p *simPublish) bool {
		t, ok := m.ends[p].word()
		if ok {
			m.c.judge(p, t)
		}
		return ok
	})
	return len(m.questions)+len(m.waiting) < was
}

// word is the home's word, if it has come.
func (w *Pending) word() (t told, ok bool) {
	select {
	case t = <-w.told:
		return t, true
	default:
		return t, false
	}
}
