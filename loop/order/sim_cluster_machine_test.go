package order

import (
	"context"
	"fmt"
	"slices"

	"ringcast/dialect"
)

// simMachine is one machine of the cluster from its start to its end: a table of homes with loops, and its end of the log.
type simMachine struct {
	c      *simCluster
	number int
	life   int
	hs     *Homes[*nodePart, *nodeAsk]
	loops  []*nodeLoop
	port   *Port[*nodePart, *nodeAsk]
	inlet  *Inlet[*nodePart, *nodeAsk]
	feed   *Feed[*nodePart, *nodeAsk]
	more   bool          // the feed may hold more, for which no token comes
	held   []func() bool // by home that is in the middle of being served
	skew   uint32        // of its clock

	tokens  map[keyToken]bool
	queues  [][]*simOffer // by partition: what was offered, oldest first
	tells   []simTell     // what homes are to be told, oldest first
	readers []simReader   // by partition
	recalls []*simRecall
	fast    []*simPublish // of other machines, on their way to this one

	put       map[*simEntry]uint32      // what the inlet has taken, and when
	skipped   map[*simEntry]bool        // what it never gets, as the log was lost
	fed       map[*simEntry]int         // how often it came out of the feed
	fastOrder map[fastPlace]*simPublish // what has which offset in a fast group
	tips      map[tipOf]uint64          // up to where the machine has known the log

	refused, forgetsRefused map[Refusal]int // as the homes have counted; forgets, as they were told
	questions               []*nodeAsk      // of ports, not answered
	waiting                 []*simPublish   // of ports, not answered
	ends                    map[*simPublish]*Pending
}

// simReader is up to where a machine has the log of a partition.
type simReader struct {
	epoch Epoch
	at    int
}

// simTell is a word to a home that waits for room.
type simTell struct {
	what string
	say  func() error
}

// over is a context that has ended: who waits for room with it does not wait.
var over = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

func (m *simMachine) String() string { return fmt.Sprintf("machine %d.%d", m.number, m.life) }

func (c *simCluster) newMachine(number, life int) *simMachine {
	loops := 1 + (number+c.loops-1)%c.loops // they differ
	m := &simMachine{c: c, number: number, life: life, held: make([]func() bool, loops), skew: uint32(c.rng.IntN(1000)),
		tokens: map[keyToken]bool{}, queues: make([][]*simOffer, len(c.partitions)), readers: make([]simReader, len(c.partitions)),
		put: map[*simEntry]uint32{}, skipped: map[*simEntry]bool{}, fed: map[*simEntry]int{}, refused: map[Refusal]int{}, forgetsRefused: map[Refusal]int{},
		fastOrder: map[fastPlace]*simPublish{}, tips: map[tipOf]uint64{}, ends: map[*simPublish]*Pending{}}
	env := Env{
		Wake:    func(loop int) { m.loops[loop].woken = m.hs.Lanes(loop).MustWake() || m.loops[loop].woken },
		Bounds:  func(string) (int, int) { return 0, 0 },
		Admit:   func(int, bool) error { return nil },
		Busy:    func(int) {},
		TooLoud: func(_ int, message *Message) { c.publishOf(message).tooLoud = true; c.count.loud++ },
		Refused: func(_ int, why Refusal) { m.refused[why]++ },
		Accepts: func(string, []byte) error { return nil },
		Now:     func() uint32 { return c.now + m.skew },
		Kind:    func(group string) Kind { return c.kinds[c.number(group)] },
	}
	m.hs = New[*nodePart, *nodeAsk](Config{Loops: loops, LaneSlots: c.slots, LaneBytes: c.bytes, FlightBytes: c.flight, FlightMin: c.least, FewMembers: 1 + int(c.seed)%3, PresentMax: 10,
		KeyTicks: simKeyTicks, KeysBytesMax: 1 << 20, Tick: simTick, EpochBase: 1 << 40}, env)
	m.hs.SetHistoryMax(c.historyMax)
	for i := range loops {
		m.loops = append(m.loops, &nodeLoop{lanes: m.hs.Lanes(i), parts: make([]*nodePart, len(c.kinds))})
	}
	m.hs.SetOrderer(m, c.partitionOf, len(c.partitions))
	var err error
	m.inlet, err = m.hs.NewInlet()
	c.must(err == nil, "inlet: %v", err)
	m.port, err = m.hs.NewPort()
	c.must(err == nil, "port: %v", err)
	if c.feeds {
		m.feed, err = m.hs.NewFeed()
		c.must(err == nil, "feed: %v", err)
	}
	for _, p := range c.partitions { // it begins somewhere near the end
		r := &m.readers[p.number]
		r.at = len(p.entries) - c.rng.IntN(1+min(3, len(p.entries)-p.first))
		tip := p.tip
		if r.at < len(p.entries) {
			tip = 0
			if r.at > p.first {
				tip = p.entries[r.at-1].offset
			}
		}
		for _, e := range p.entries[:r.at] {
			m.skipped[e] = true
		}
		m.tips[tipOf{p.number, p.epoch}] = tip
		for m.inlet.Epoch(over, p.number, p.epoch, tip) != nil {
			m.turnAll()
		}
		r.epoch = p.epoch
	}
	return m
}

// restart ends a machine, and begins another in its place. What it has offered is on its way, or is not.
func (c *simCluster) restart(number int) {
	old := c.machines[number]
	for _, p := range c.partitions {
		for _, o := range old.queues[p.number] {
			if o.refused = true; c.rng.IntN(2) == 0 && p.ids[keyName{o.Message.Group, o.Key}] == nil {
				c.add(p, o, old)
			}
		}
		for _, e := range p.entries[old.readers[p.number].at:] {
			if e.machine == old {
				e.token = 0
			}
		}
	}
	for _, p := range c.publishes {
		p.gone = p.gone || p.machine == old
	}
	c.machines[number] = c.newMachine(number, old.life+1)
	c.count.restarts++
}

// tell has a home be told something as soon as there is room.
func (m *simMachine) tell(what string, say func() error) {
	m.tells = append(m.tells, simTell{what, say})
}

// say tells homes some of what they are to be told. Words to different homes may overtake each other.
func (m *simMachine) say() (moved bool) {
	if len(m.tells) == 0 {
		return false
	}
	at := m.c.rng.IntN(len(m.tells))
	err := m.tells[at].say()
	if err != nil {
		m.c.must(err == context.Canceled, "%s: %s: %v", m, m.tells[at].what, err)
		return false
	}
	m.tells = slices.Delete(m.tells, at, at+1)
	return true
}

// read brings the machine some of what the log of a partition has.
func (m *simMachine) read(p *simPartition, most int) (moved bool) {
	c, r := m.c, &m.readers[p.number]
	if r.epoch != p.epoch {
		from, tip := p.first, uint64(0)
		if c.rng.IntN(2) == 0 {
			from, tip = len(p.entries), p.tip
		}
		m.tips[tipOf{p.number, p.epoch}] = tip
		if m.inlet.Epoch(over, p.number, p.epoch, tip) != nil {
			return false
		}
		for _, e := range p.entries[r.at:from] {
			m.skipped[e] = true
			if e.machine == m && e.token != 0 {
				m.unconfirmEntry(e)
			}
		}
		r.at, r.epoch = from, p.epoch
		return true
	}
	for ; most > 0 && r.at < len(p.entries); most-- {
		e := p.entries[r.at]
		o := Ordered{Partition: p.number, Offset: e.offset, Prev: e.prev, Forgets: e.publish == nil}
		if e.machine == m {
			o.Token = e.token
		}
		if e.publish == nil {
			o.Message = NewOrderedMessage([]byte(e.group), nil, false, nil)
		} else {
			o.Key = e.publish.said.Key
			if o.Token == 0 || c.rng.IntN(2) == 0 {
				o.Message = e.publish.copy()
			}
		}
		place := tipOf{p.number, p.epoch}
		m.put[e] = c.now // before: a loop may hear it at once
		tip := m.tips[place]
		m.tips[place] = e.offset
		if err := m.inlet.Ordered(over, o); err != nil {
			c.must(err == context.Canceled, "%s: ordered: %v", m, err)
			delete(m.put, e)
			m.tips[place] = tip
			return moved
		}
		r.at++
		moved = true
	}
	return moved
}

// offerFast is an offer of a fast group: it goes to the other machines, or does not.
func (m *simMachine) offerFast(o Offer) {
	c := m.c
	p := c.publishOf(o.Message)
	c.must(o.Token == 0 && p.machine == m && !p.offered, "%s: publish %d is offered a second time, or with a token", m, p.index)
	p.offered = true
	for _, other := range c.machines {
		if other != nil && other != m && (c.fair || c.rng.IntN(10) > 0) {
			other.fast = append(other.fast, p)
		}
	}
}

// readFast brings the machine something of a fast group.
func (m *simMachine) readFast() (moved bool) {
	if len(m.fast) == 0 {
		return false
	}
	at := m.c.rng.IntN(len(m.fast))
	p := m.fast[at]
	if i := slices.IndexFunc(m.fast, func(q *simPublish) bool { return q.machine == p.machine && q.group == p.group }); i != at {
		at, p = i, m.fast[i]
	}
	if m.inlet.Ordered(over, Ordered{Partition: m.c.partitionOf(p.group), Message: p.copy(), Fast: true}) != nil {
		return false
	}
	m.fast = slices.Delete(m.fast, at, at+1)
	return true
}

// copy is the message of a publish as another machine has it.
func (p *simPublish) copy() *Message {
	var more *dialect.More
	if p.said.Unkept || p.said.Tags != nil {
		more = &dialect.More{Unkept: p.said.Unkept, Tags: p.said.Tags}
	}
	return NewOrderedMessage([]byte(p.group), p.payload, p.said.JSON, more)
}

// takeFromFeed takes what the feed has.
func (m *simMachine) takeFromFeed(max int) (moved bool) {
	if m.feed == nil {
		return false
	}
	select {
	case <-m.feed.Awake():
	default:
		if !m.more {
			return false
		}
	}
	got := m.feed.Collect(nil, max)
	m.more = len(got) == max
	for _, f := range got {
		p := m.c.publishOfText(f.Message)
		m.c.must((f.Token == any(p)) == (p.machine == m && p.patient && p.refused == nil) && (f.Token == nil || f.Token == any(p)), "%s: publish %d comes out of the feed with token %v", m, p.index, f.Token)
		if e := p.entry; e != nil {
			m.fed[e]++
			m.c.must(m.fed[e] == 1 && f.Seq == e.told(), "%s: publish %d comes out of the feed as %d, %d times", m, p.index, f.Seq, m.fed[e])
		} else {
			m.c.must(m.c.kinds[m.c.number(p.group)].Fast || m.c.changing, "%s: publish %d comes out of the feed, and is not in the order", m, p.index)
		}
	}
	return len(got) > 0
}

// letGo lets go of a home that was held.
func (m *simMachine) letGo(home int) {
	called := m.held[home]()
	m.held[home] = nil
	if called { // the loop that held it looks again
		host := m.loops[m.c.rng.IntN(len(m.loops))]
		host.lanes.ToHost(home)
		host.woken = true
	}
}

// turnAll has all that can be done on a machine be done, without its end of the log.
func (m *simMachine) turnAll() (moved bool) {
	for home, held := range m.held {
		if held != nil {
			m.letGo(home)
		}
	}
	for i, l := range m.loops {
		if m.hs.homes[i].full.Load() { // who waits for room at the orderer is looked at each tick
			l.lanes.Expire(1)
			l.woken = true
		}
		if l.woken {
			m.turn(i, 1<<20)
			moved = true
		}
	}
	moved = m.takeFromFeed(1<<20) || moved
	return m.answers() || moved
}
