package order

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"ringcast/dialect"
)

// told is the offset that is told of what was put in order.
func (e *simEntry) told() uint64 {
	if e.publish.said.Unkept {
		return 0
	}
	return e.offset
}

func (c *simCluster) publishOf(m *Message) *simPublish { return c.publishOfText(m.Payload()) }

func (c *simCluster) publishOfText(text []byte) *simPublish {
	index, _, _ := strings.Cut(string(text), " ")
	n, err := strconv.Atoi(index)
	c.must(err == nil && n < len(c.publishes) && string(text) == string(c.publishes[n].payload), "garbled publish %q", text)
	return c.publishes[n]
}

// deliver judges what has come down to a loop.
func (m *simMachine) deliver(loop int, d *Delivery[*nodePart, *nodeAsk]) {
	c, p := m.c, d.Local
	if a := d.Client; a != nil {
		a.answers++
		c.must(a.m == m && a.loop == loop && a.answers == 1, "%s, loop %d: answer %d to a client of loop %d of %s", m, loop, a.answers, a.loop, a.m)
	}
	switch d.Op {
	case OpJoined:
		p.asked--
		p.members++
		c.must(p.headcount == nil || p.headcount == d.Headcount, "%s, loop %d: group %s has two headcounts", m, loop, p.name)
		p.headcount = d.Headcount
		m.joined(loop, p, d)
		c.must(d.Present == c.kinds[c.number(p.name)].Presence, "%s, loop %d: joined group %s, present: %v", m, loop, p.name, d.Present)
		if d.Present {
			p.present = append(p.present, d.Client)
		}
		if d.Message != nil {
			p.flow.Taken(d.Message.Bytes())
		}
	case OpRefused:
		p.asked--
		p.own = nil
		c.must(d.Why == RefusedBusy && c.mayFail(d.Client), "%s, loop %d: a join to group %s is refused as %v, and the log has answered", m, loop, p.name, d.Why)
		c.count.joinsRefused++
	case OpHistoryRead:
		c.must(d.ID == "7" && d.Asks, "%s, loop %d: a reading answers another", m, loop)
		word := told{past: d.Past}
		if d.Past.Busy {
			word.err = ErrBusy
		}
		m.answered(d.Client, word)
	case OpBusy:
		if s := d.Client.publish; s != nil {
			c.must(d.Asks == s.ask.asks && d.ID == "7", "%s, loop %d: publish %d is refused as another", m, loop, s.index)
			why := map[Refusal]error{RefusedBusy: ErrBusy, RefusedUnavailable: ErrUnavailable, RefusedUnconfirmed: ErrUnconfirmed}[d.Why]
			c.must(why != nil, "%s, loop %d: publish %d is refused for reason %d", m, loop, s.index, d.Why)
			c.judge(s, told{err: why})
			return
		}
		m.answered(d.Client, told{err: ErrBusy})
	case OpRepeated:
		c.must(d.Client.asks && d.ID == "7" && p == nil && d.Message == nil, "%s, loop %d: got %+v", m, loop, d)
		c.judge(d.Client.publish, told{receipt: Receipt{Position: Position{Offset: d.Offset}, Repeated: true}})
	case OpMessage:
		c.must(d.Client == nil || d.Client.asks, "%s, loop %d: an answer to who does not ask", m, loop)
		if d.Client != nil {
			c.must(d.ID == "7", "%s, loop %d: publish %d answers another", m, loop, d.Client.publish.index)
			c.judge(d.Client.publish, told{receipt: Receipt{Position: Position{Offset: d.Offset}}})
		}
		if d.Message != nil && d.Message.Sort != dialect.Said { // who comes and goes is simulated for one machine
			p.flow.Taken(d.Message.Bytes())
			return
		}
		if d.Message == nil { // the answer alone
			c.must(p == nil && d.Client != nil, "%s, loop %d: a delivery of nothing", m, loop)
			return
		}
		s := c.publishOf(d.Message)
		c.must(s.group == d.Message.Group && d.Message.Offset == d.Offset, "%s, loop %d: publish %d is of group %s, with offsets %d and %d", m, loop, s.index, d.Message.Group, d.Offset, d.Message.Offset)
		c.must(d.Client == nil || d.Client.publish == s, "%s, loop %d: publish %d answers another", m, loop, s.index)
		c.must(d.Message.JSON == s.said.JSON && d.Message.Unkept() == s.said.Unkept && (d.Message.More == nil || string(d.Message.More.Tags) == string(s.said.Tags)),
			"%s, loop %d: publish %d is %+v, want %+v", m, loop, s.index, d.Message, s.said)
		if p == nil {
			return
		}
		m.hear(loop, p, s, d)
		if p.members > 0 {
			p.waiting = append(p.waiting, d.Message.Bytes())
			m.loops[loop].gathered += d.Message.Bytes()
		} else {
			p.flow.Taken(d.Message.Bytes())
		}
	default:
		c.must(false, "%s, loop %d: got %+v", m, loop, d)
	}
}

// hear judges a message for members: it is the next one of the group's order.
func (m *simMachine) hear(loop int, p *nodePart, s *simPublish, d *Delivery[*nodePart, *nodeAsk]) {
	c := m.c
	c.must(s.sent && s.group == p.name && !p.heard[s], "%s, loop %d, group %s: publish %d of group %s is heard, sent: %v, heard before: %v", m, loop, p.name, s.index, s.group, s.sent, p.heard[s])
	p.heard[s] = true
	s.heard++
	if s.fast {
		m.hearFast(loop, p, s, d.Offset)
		return
	}
	e := s.entry
	c.must(e != nil, "%s, loop %d, group %s: publish %d is heard, and is not in the order; refused: %v", m, loop, p.name, s.index, s.refused)
	_, put := m.put[e]
	c.must(put && d.Offset == e.told(), "%s, loop %d, group %s: publish %d has offset %d, want %d; given to the home: %v", m, loop, p.name, s.index, d.Offset, e.told(), put)
	c.must(p.next < 0 && p.since >= 0 || p.next >= 0 && e.nth >= p.next, "%s, loop %d, group %s: publish %d is number %d, and it has heard up to %d", m, loop, p.name, s.index, e.nth, p.next)
	m.mayMiss(loop, p, e.nth)
	p.next = e.nth + 1
	c.count.heard++
}

// mayMiss judges that a loop has missed nothing before a place in the order.
func (m *simMachine) mayMiss(loop int, p *nodePart, until int) {
	from := p.next
	if from < 0 {
		from = p.since
	}
	for n := from; n < until; n++ {
		if e := m.c.groups[p.name][n]; e.publish != nil {
			m.c.must(m.skipped[e], "%s, loop %d, group %s: publish %d, number %d with offset %d, is missing before number %d", m, loop, p.name, e.publish.index, n, e.offset, until)
		}
	}
}

// hearFast judges a message of a fast group: a machine has one order, and each sender's messages are in theirs.
func (m *simMachine) hearFast(loop int, p *nodePart, s *simPublish, offset uint64) {
	c := m.c
	from := s.sender()
	last, any := p.lastOf[from]
	c.must(!any || last < s.index, "%s, loop %d, group %s: publish %d behind %d of the same sender", m, loop, p.name, s.index, last)
	p.lastOf[from] = s.index
	c.must(s.machine == m || s.offered, "%s, loop %d, group %s: publish %d was never offered", m, loop, p.name, s.index)
	if c.count.fast++; s.said.Unkept {
		return
	}
	at := fastPlace{p.headcount, offset}
	was := m.fastOrder[at]
	c.must(offset > 0 && (was == nil || was == s), "%s, loop %d, group %s: offset %d is that of two messages", m, loop, p.name, offset)
	c.must(p.last == 0 || offset == p.last+1, "%s, loop %d, group %s: offset %d behind %d", m, loop, p.name, offset, p.last)
	m.fastOrder[at], p.last = s, offset
}

// sender is who publishes by one lane: what it says to a group stays in its order.
type sender struct {
	machine *simMachine
	loop    int
	byFeed  bool
}

type senderIn struct {
	sender
	group string
}

func (p *simPublish) sender() sender {
	return sender{p.machine, p.loop, p.patient && p.machine.feed != nil}
}

type fastPlace struct {
	headcount *Headcount
	offset    uint64
}

// judge judges what a publisher is told, of its publish.
func (c *simCluster) judge(p *simPublish, t told) {
	p.answers++
	p.told = t
	c.must(p.answers == 1 && p.sent && !p.gone, "publish %d is answered %d times, sent: %v", p.index, p.answers, p.sent)
	offset := t.receipt.Position.Offset
	switch {
	case t.err == ErrBusy:
		c.must(p.entry == nil && p.offered == (p.refused == ErrBusy), "publish %d is told busy: offered %v, refused %v, in the order %v", p.index, p.offered, p.refused, p.entry != nil)
	case t.err != nil:
		c.must(p.refused == t.err && (p.entry == nil || t.err == ErrUnconfirmed), "publish %d is told %v: refused %v, in the order %v", p.index, t.err, p.refused, p.entry != nil)
	case p.fast:
	case p.entry != nil:
		_, put := p.machine.put[p.entry]
		c.must(p.refused == nil && put && offset == p.entry.told() && !t.receipt.Repeated, "publish %d is told %+v: refused %v, its home has it: %v, as %d", p.index, t.receipt, p.refused, put, p.entry.offset)
		if p.loop < 0 {
			kept := p.entry.kept() && c.kinds[c.number(p.group)].Messages > 0
			c.must(c.changing || t.receipt.Kept == kept, "publish %d is told %+v, kept: %v", p.index, t.receipt, kept)
			if t.receipt.Kept {
				c.must(t.receipt.Position.Epoch == p.entry.epoch, "publish %d is told %+v, its epoch is %d", p.index, t.receipt, p.entry.epoch)
				c.positions[p.group] = append(c.positions[p.group], t.receipt.Position)
			}
		}
	case p.repeats != nil:
		c.repeat(p, t)
	default:
		c.must(!p.offered && p.said.Key != "", "publish %d is told %+v, and is not in the order", p.index, t.receipt)
		c.repeat(p, t)
		c.count.repeatedAtHome++
	}
}

// repeat judges what who repeats a publish is told: what that was told, or another one under the same key, if the log has forgotten it
// sooner than a home.
func (c *simCluster) repeat(p *simPublish, t told) {
	c.must(t.receipt.Repeated, "publish %d repeats another, and is told %+v", p.index, t.receipt)
	offset := t.receipt.Position.Offset
	c.must(slices.ContainsFunc(c.groups[p.group], func(e *simEntry) bool {
		return e.publish != nil && e.publish.said.Key == p.said.Key && (offset == e.offset || offset == e.told())
	}), "publish %d is told %+v, and repeats nothing", p.index, t.receipt)
}

// checkPublishes judges all publishes, at rest.
func (c *simCluster) checkPublishes() {
	for _, p := range c.publishes {
		switch {
		case !p.sent:
			c.must(!p.offered && p.answers+p.heard == 0, "publish %d was not sent: offered %v, %d answers, heard %d times", p.index, p.offered, p.answers, p.heard)
		case p.gone:
		case p.loop < 0 && p.patient:
			c.must(p.answers == 0 && p.offered, "publish %d was sent, and not offered; %d answers", p.index, p.answers)
		case p.loop < 0 || p.ask.asks:
			c.must(p.answers == 1, "publish %d: %d answers", p.index, p.answers)
		case p.refused != nil:
			c.must(p.answers == 1, "publish %d was refused: %v, %d answers", p.index, p.refused, p.answers)
		case p.offered:
			c.must(p.answers == 0, "publish %d: %d answers, and none is asked for", p.index, p.answers)
		}
		c.must(p.fast || p.entry != nil || p.heard == 0, "publish %d is heard, and is not in the order", p.index)
	}
}

// checkPresent judges, at rest, that homes know who is there.
func (m *simMachine) checkPresent() {
	for _, h := range m.hs.homes {
		h.EachPresent(func(group string, present map[uint64]bool, crowded bool) {
			n := 0
			for _, l := range m.loops {
				if p := l.parts[m.c.number(group)]; p != nil {
					for _, a := range p.present {
						_, is := present[a.number]
						m.c.must(is, "%s: client %d is a member of group %s, and not present", m, a.number, group)
						n++
					}
				}
			}
			m.c.must(n == len(present), "%s: %d clients are present in group %s, there are %d", m, len(present), group, n)
		})
	}
}

// checkHeard judges, at rest, that who has stayed has heard all.
func (m *simMachine) checkHeard() {
	c := m.c
	for loop, l := range m.loops {
		for group, p := range l.parts {
			if p == nil || p.members == 0 {
				continue
			}
			if !c.kinds[group].Fast {
				m.mayMiss(loop, p, len(c.groups[p.name]))
			}
			for _, s := range p.own {
				skipped := s.entry != nil && (m.skipped[s.entry] || p.recovers && s.entry.nth < p.begins)
				c.must(p.heard[s] || skipped || !s.fast && s.entry == nil || s.fast && s.answers > 0 && s.told.err != nil, "%s, loop %d, group %s: its own publish %d is missing", m, loop, p.name, s.index)
			}
		}
	}
	for e := range m.put {
		if m.feed != nil && e.publish != nil {
			c.must(m.fed[e] == 1, "%s: publish %d came out of the feed %d times", m, e.publish.index, m.fed[e])
		}
	}
	u := m.hs.Unordered()
	c.must(u.Offered == 0 && u.SetAside == 0, "%s: at rest %+v wait for the orderer", m, u)
	told := map[Refusal]int{}
	for _, p := range c.publishes {
		switch {
		case p.machine != m || p.tooLoud:
		case p.patient && p.refused != nil:
			told[refusalOf(p.refused)]++
		case p.answers > 0 && p.told.err != nil:
			told[refusalOf(p.told.err)]++
		}
	}
	for why, n := range m.forgetsRefused {
		told[why] += n
	}
	c.must(maps.Equal(m.refused, told), "%s: refusals counted are %v, told %v", m, m.refused, told)
	c.must(len(m.questions)+len(m.waiting) == 0, "%s: %d questions and %d publishes of the port are not answered", m, len(m.questions), len(m.waiting))
}
