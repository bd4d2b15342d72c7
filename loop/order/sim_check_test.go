package order

import (
	"strconv"
	"strings"

	"ringcast/dialect"
)

// deliver judges what has come down to a loop.
func (s *sim) deliver(loop int, d *Delivery[*simPart, *simAsk]) {
	if d.Client != nil {
		d.Client.answers++
		s.must(d.Client.loop == loop && d.Client.answers == 1, "loop %d: answer %d to a client of loop %d", loop, d.Client.answers, d.Client.loop)
	}
	p := d.Local
	switch d.Op {
	case OpJoined:
		p.asked--
		p.members++
		s.must(p.headcount == nil || p.headcount == d.Headcount, "loop %d: group %s has two headcounts", loop, p.name)
		p.headcount = d.Headcount
		s.judgePast(loop, d)
		if d.Client.past != nil && d.Client.past.Cached {
			got := d.Past
			if got == nil {
				got = &Past{}
			}
			s.judgeLast(p.name, got, d.Client.last)
		} else {
			s.must(d.Past == nil || !d.Past.HasCached && d.Past.Cached == nil, "loop %d, group %s: who does not ask is told what was said last", loop, p.name)
		}
		if d.Past != nil && d.Past.Top.Epoch != 0 { // all before has come, and no more
			s.must(p.last == 0 || p.last == d.Past.Top.Offset, "loop %d, group %s: position %d behind number %d", loop, p.name, d.Past.Top.Offset, p.last)
			p.last = d.Past.Top.Offset
		}
		s.comes(loop, d)
	case OpHistoryRead:
		s.must(d.ID == "7" && d.Asks, "loop %d: a reading answers another", loop)
		s.judgePast(loop, d)
	case OpRefused:
		p.asked--
		p.own = nil
		s.staysAway(d.Client, p)
		s.must(d.Why == RefusedBusy || d.Why == RefusedCrowded || s.membersMax+s.groupsMax > 0, "loop %d: refused without a bound", loop)
	case OpPresent, OpCounted:
		p.asked--
	case OpBusy:
		m := d.Client.message
		s.must(m.refused && d.Asks == m.ask.asks && d.ID == "7", "loop %d: message %d is refused as another, or was not", loop, m.index)
	case OpMessage:
		s.must(d.Client == nil || d.Client.asks, "loop %d: an answer to who does not ask", loop)
		if d.Message == nil { // the answer alone
			s.must(p == nil && d.Client != nil && d.ID == "7", "loop %d: a delivery of nothing", loop)
			d.Client.message.seq = d.Offset
			return
		}
		if d.Message.Sort != dialect.Said {
			s.hearNews(loop, p, d)
			return
		}
		if s.history && s.rng.IntN(2) == 0 {
			d.Message.In(1, &dialect.Plain{})
		}
		m := s.messageOf(string(d.Message.Payload()))
		s.must(m.accepted && !m.refused && m.group == d.Message.Group, "loop %d: message %d was refused, or is of group %s", loop, m.index, m.group)
		if d.Client != nil {
			s.must(d.Client.message == m && d.ID == "7", "loop %d: message %d answers another", loop, m.index)
		}
		s.must(d.Offset == d.Message.Offset, "loop %d: message %d has the numbers %d and %d", loop, m.index, d.Offset, d.Message.Offset)
		s.must(d.Message.JSON == m.said.JSON && d.Message.Who() == m.said.Who && d.Message.Unkept() == m.said.Unkept && (d.Message.More == nil || string(d.Message.More.Tags) == string(m.said.Tags)),
			"loop %d: message %d is %+v, want %+v", loop, m.index, d.Message, m.said)
		except, name := uint64(0), ""
		if d.Message.More != nil {
			except, name = d.Message.More.Except, d.Message.More.ExceptName
		}
		s.must(name == m.said.Except && (except == 7) == (name == farName(1, 7)), "loop %d: message %d is not sent to %s, %d, want %s", loop, m.index, name, except, m.said.Except)
		s.must(!m.said.Unkept || d.Offset == 0 && !d.Message.Kept, "loop %d: message %d has number %d, and is not kept", loop, m.index, d.Offset)
		m.heard++
		m.seq = d.Offset
		if p != nil && p.headcount != nil {
			s.hear(loop, p, m)
		}
		if p != nil {
			s.takeIn(loop, p, d.Message)
		}
	}
}

// takeIn takes a message for the members of a group.
func (s *sim) takeIn(loop int, p *simPart, m *Message) {
	if p.members > 0 {
		p.waiting = append(p.waiting, m.Bytes())
		s.loops[loop].gathered += m.Bytes()
	} else {
		p.flow.Taken(m.Bytes())
	}
}

// tooLoud judges that a home refuses a message: to some loop more is in flight, with it, than each group may have; or a port's
// publish to the group is held back, and is the first in its lane.
func (s *sim) tooLoud(home int, refused *Message) {
	m, most := s.messageOf(string(refused.Payload())), uint64(0)
	hg := s.hs.Home(home).groups.Get(m.group)
	for _, l := range hg.locals {
		most = max(most, l.sent-l.part.flow.taken.Load())
	}
	if hg.heldBack == 0 {
		s.must(most+uint64(refused.Bytes()) > uint64(s.least), "message %d is refused though group %s is quiet", m.index, m.group)
	} else {
		first := s.hs.ports[-1-int(hg.heldBack)].Load().up[home].lane.front()
		s.must(first.Message != refused && first.Message.Group == m.group, "message %d is refused as one of group %s is held back, which is not so", m.index, m.group)
	}
	s.must(!m.refused && (!m.byPort || m.pending != nil), "message %d is refused a second time, or nobody can be told", m.index)
	m.refused = true
	s.refused++
}

// checkFlights holds what homes and loops count against each other and against the bounds.
func (s *sim) checkFlights() {
	const largest = 300
	inFlight := map[*simPart]int{}
	for loop, l := range s.loops {
		if l.lanes.awaited.Load() != 0 {
			s.heldBack++
		}
		messages := 0
		l.lanes.EachWaiting(func(d *Delivery[*simPart, *simAsk]) {
			if d.Local != nil && d.Message != nil { // the home may have forgotten the part
				inFlight[d.Local] += d.Message.Bytes()
				messages += d.Message.Bytes()
			}
		})
		for _, p := range l.parts {
			for i := 0; p != nil && i < len(p.waiting); i++ {
				inFlight[p] += p.waiting[i]
				messages += p.waiting[i]
			}
		}
		s.must(l.lanes.InFlight() >= messages, "loop %d: %d bytes in flight, counted %d", loop, messages, l.lanes.InFlight())
		most := s.flight + s.groups*(2*s.least+largest)
		s.must(messages <= most, "loop %d: %d bytes in flight, bound %d", loop, messages, most)
	}
	for home := range s.loops {
		s.hs.Home(home).EachFlight(func(name string, loop int, p *simPart, bytes int) {
			s.must(bytes == inFlight[p], "loop %d, group %s: %d bytes in flight, counted %d", loop, name, inFlight[p], bytes)
			most := max(s.flight, s.least) + largest
			s.must(bytes <= most, "loop %d, group %s: %d bytes in flight, bound %d", loop, name, bytes, most)
		})
	}
}

// hear judges a message for members: numbers are dense at each loop, and the same for all.
func (s *sim) hear(loop int, p *simPart, m *simMessage) {
	s.walk(p, m)
	if p.seen[m.index] = true; m.said.Unkept {
		return
	}
	s.must(m.seq > 0 && (p.last == 0 || m.seq == p.last+1), "loop %d, group %s: number %d behind %d", loop, p.name, m.seq, p.last)
	p.last = m.seq
	s.order(p.headcount, m)
}

// order notes a message's number.
func (s *sim) order(h *Headcount, m *simMessage) {
	order := s.orders[h]
	for uint64(len(order)) < m.seq {
		order = append(order, nil)
	}
	was := order[m.seq-1]
	s.must(was == nil || was == m, "group %s: number %d is that of two messages", m.group, m.seq)
	order[m.seq-1], s.orders[h] = m, order
}

func (s *sim) messageOf(payload string) *simMessage {
	index, _, _ := strings.Cut(payload, " ")
	n, err := strconv.Atoi(index)
	s.must(err == nil && n < len(s.sent), "garbled message %q", payload)
	return s.sent[n]
}

// settle lets everything that is under way arrive: when nothing moves any more, no lane holds anything.
func (s *sim) settle() {
	for home, held := range s.held {
		if held != nil {
			s.letGo(home)
		}
	}
	for quiet := 0; quiet < 2; quiet++ {
		for i, l := range s.loops {
			if l.woken {
				quiet = 0
				s.turn(i, 1<<20)
			}
		}
		if s.feed != nil {
			s.takeFromFeed(1 << 20)
		}
	}
	for i, l := range s.loops {
		s.must(s.hs.Depth(i) == 0 && s.hs.Home(i).Idle() && l.lanes.Idle(), "loop %d: %d items are left, home idle %v, loop idle %v",
			i, s.hs.Depth(i), s.hs.Home(i).Idle(), l.lanes.Idle())
		s.must(l.lanes.inFlight() == 0 && l.gathered == 0, "loop %d: at rest %d bytes are in flight, %d gathered", i, l.lanes.inFlight(), l.gathered)
	}
	s.checkFlights()
}

// checkMessages judges all messages, at rest.
func (s *sim) checkMessages() {
	var accepted, published uint64
	for i := range s.loops {
		published += s.hs.Home(i).Published()
	}
	for _, m := range s.sent {
		if m.accepted && (m.pending != nil || m.told != nil) {
			s.checkReceipt(m)
		}
		s.must(!m.repeats || m.heard == 0, "message %d repeats another, and is heard", m.index)
		if m.accepted && m.ask != nil {
			s.must((m.ask.answers == 1) == (m.ask.asks || m.refused), "message %d was answered %d times", m.index, m.ask.answers)
		}
		inOrder := m.accepted && !m.refused && !m.repeats
		if inOrder {
			accepted++
		}
		s.must(s.feed == nil || (m.taken == 1) == inOrder, "message %d came out of the feed %d times", m.index, m.taken)
	}
	s.must(accepted == published, "%d messages accepted, %d put in order", accepted, published)
	for _, order := range s.orders {
		for i, m := range order {
			s.must(m != nil, "nobody has heard number %d", i+1)
		}
	}
	for loop, l := range s.loops {
		for _, p := range l.parts {
			if p == nil || p.members == 0 {
				continue
			}
			s.must(p.last == 0 || int(p.last) == len(s.orders[p.headcount]), "loop %d, group %s: heard up to %d of %d",
				loop, p.name, p.last, len(s.orders[p.headcount]))
			for _, m := range p.own {
				s.must(p.seen[m.index] || m.refused || m.repeats, "loop %d, group %s: its own message %d is missing", loop, p.name, m.index)
			}
		}
	}
}

// takeFromFeed takes if the feed has said that there is something.
func (s *sim) takeFromFeed(max int) {
	select {
	case <-s.feed.Awake():
	default:
		if !s.feedMore {
			return
		}
	}
	got := s.feed.Collect(nil, max)
	s.feedMore = len(got) == max
	for _, p := range got {
		m := s.messageOf(string(p.Message))
		m.taken++
		s.must(m.taken == 1 && (p.Token == any(m)) == (m.byPort && m.pending == nil), "feed: message %d, taken %d times, with token %v", m.index, m.taken, p.Token)
		m.seq = p.Seq
	}
}

// serve is what a loop does for another one that sleeps: a part of what lies in its lanes, or nothing. False: that one has to be woken.
func (s *sim) serve(loop int) bool {
	l, most := s.loops[loop], s.rng.IntN(4)
	if l.lanes.Waking() {
		return true
	}
	if l.gathered >= s.gather || !l.lanes.Idle() {
		return false
	}
	l.lanes.Drain(func(d *Delivery[*simPart, *simAsk]) bool {
		most--
		return most >= 0 && d.Op == OpMessage && d.Client == nil
	}, func(d Delivery[*simPart, *simAsk]) bool {
		s.served++
		s.deliver(loop, &d)
		return l.gathered < s.gather
	})
	s.passes(l, s.rng.IntN(3))
	called := l.lanes.Through(l.gathered)
	return !called && l.gathered == 0 && l.lanes.Idle() && !l.lanes.Called()
}
