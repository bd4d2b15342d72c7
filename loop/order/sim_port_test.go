package order

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"ringcast/dialect"
)

// This file is what simulated ports say and ask, and what they must be told. Publishes have keys, of which there are few, or are not to be
// kept. The plain model of keys sees each such publish when its home reads the clock for it, and says whether it repeats another.

const simKeyTicks = 6

// simKeyed is a publish that was accepted under a key.
type simKeyed struct {
	message *simMessage
	receipt Receipt
	tick    uint32
}

// simKeying is a publish under a key that a home serves.
type simKeying struct {
	message *simMessage
	up      *lane[Request[*simPart, *simAsk]]
	head    uint64
	first   *simKeyed // that it repeats; nil: none
	members int
	tick    uint32
}

// simQuestion is a question of a port.
type simQuestion struct {
	*Pending
	op    RequestOp
	group string
	ask   *simAsk // OpHistory
	last  simWant // OpCached
}

// simPath is what a loop has heard of a group while it had members there.
type simPath struct{ messages []*simMessage }

// simPorts is what was done of that in a simulation.
type simPorts struct{ repeats, anew, forgotten, unkept, histories, presences, forgets, kept, hosted int }

func (c *simPorts) add(of simPorts) {
	c.repeats, c.anew, c.forgotten, c.unkept = c.repeats+of.repeats, c.anew+of.anew, c.forgotten+of.forgotten, c.unkept+of.unkept
	c.histories, c.presences, c.forgets, c.kept, c.hosted = c.histories+of.histories, c.presences+of.presences, c.forgets+of.forgets, c.kept+of.kept, c.hosted+of.hosted
}

func (c *simPorts) check(t *testing.T, shape simShape) {
	if c.repeats == 0 || c.anew == 0 || c.unkept == 0 || c.histories == 0 || c.presences == 0 || c.forgets == 0 || c.hosted == 0 || (c.forgotten > 0) != (shape.keysMax > 0) || (c.kept > 0) != shape.history {
		t.Errorf("what ports said and asked: %+v", *c)
	}
}

// simUsers are users of which two have one name.
func simUsers() []*dialect.Who {
	return []*dialect.Who{nil, nil, dialect.WhoIs{User: "ann"}.Who(), dialect.WhoIs{User: "ann", Info: []byte(`1`)}.Who(), dialect.WhoIs{User: "bob"}.Who(), dialect.WhoIs{Info: []byte(`2`)}.Who()}
}

func (s *sim) user() *dialect.Who { return s.whos[s.rng.IntN(len(s.whos))] }

func (s *sim) key() string { return fmt.Sprint("key", s.rng.IntN(3)) }

// byPort has a port put something into a lane, and then serve the home if nobody holds it: in this order also where in truth both are one
// step, as the model has to know of what is served.
func (s *sim) byPort(group int, put func()) {
	home := s.hs.Of(fmt.Sprint(group))
	letGo, ok := s.hs.Home(home).Hold()
	put()
	if !ok {
		return
	}
	if letGo() {
		s.hs.host(home)
		s.said.hosted++
	}
	s.look()
}

// look judges what homes have done.
func (s *sim) look() {
	s.record()
	s.checkHistories()
	s.heed()
	s.checkPresences()
	s.checkKeys()
	s.followCache()
	s.answers()
}

func (s *sim) publishByPort(p *Port[*simPart, *simAsk], group int) {
	s.byPort(group, func() { s.offerByPort(p, group) })
}

func (s *sim) offerByPort(p *Port[*simPart, *simAsk], group int) {
	m, payload := s.newMessage(group)
	m.byPort = true
	var err error
	if s.rng.IntN(3) > 0 { // who waits for the home's word is refused, others are held back
		m.said = Said{Payload: payload, JSON: s.rng.IntN(2) == 0, Who: s.user(), Unkept: s.rng.IntN(4) == 0, Except: []string{"", "", farName(1, 7), farName(1, 8)}[s.rng.IntN(4)]}
		if s.rng.IntN(2) == 0 {
			m.said.Key = s.key()
		}
		if s.rng.IntN(3) == 0 {
			m.said.Tags = []byte(`{"a":"b"}`)
		}
		m.pending, err = p.Offer(m.group, m.said)
		m.accepted = err == nil
	} else {
		w, _ := p.Waiter(m.group, payload, m)
		m.accepted, err = w.Offer()
	}
	s.must(err == nil || err == ErrBusy, "port: %v", err)
}

// onKeys is called while a home serves a request. It says whether that repeats another, and so does nothing to its group.
func (s *sim) onKeys() (repeats bool) {
	s.followKeys()
	for _, h := range s.hs.homes {
		if h.serving == nil || h.serving.front().Op != OpPublish || h.serving.front().key() == "" {
			continue
		}
		k := &simKeying{message: s.messageOf(string(h.serving.front().Message.Payload())), up: h.serving, head: h.serving.head.Load(), tick: s.now}
		if first, is := s.keys[keyName{k.message.group, k.message.said.Key}]; is && s.now-first.tick < simKeyTicks {
			k.first = &first
		}
		if hg := h.groups.Get(k.message.group); hg != nil {
			k.members = hg.headcount.Members()
		}
		s.keying, repeats = k, k.first != nil
	}
	return repeats
}

// followKeys has the model follow the last publish under a key, if it was served since it was seen.
func (s *sim) followKeys() {
	k := s.keying
	if k == nil || k.up.head.Load() == k.head {
		return
	}
	s.keying = nil
	m := k.message
	if m.refused {
		return
	}
	accepted := simKeyed{message: m, tick: k.tick}
	if m.pending != nil {
		s.wasTold(m)
		r := &m.told.receipt
		if r.Repeated {
			s.must(k.first != nil, "message %d is told to repeat another, and does not", m.index)
			want := k.first.receipt
			want.Repeated = true
			s.must(*r == want, "message %d repeats %d, and is told %+v, want %+v", m.index, k.first.message.index, *r, want)
		} else {
			s.must(r.Members == k.members, "message %d is told of %d members, want %d", m.index, r.Members, k.members)
		}
		accepted.receipt = *r
		if k.first != nil && !r.Repeated {
			s.must(s.keysMax > 0, "message %d repeats %d, and is taken for another", m.index, k.first.message.index)
			s.said.forgotten++
			k.first = nil
		}
	}
	if m.repeats = k.first != nil; m.repeats {
		s.said.repeats++
		return
	}
	s.said.anew++
	name := keyName{m.group, m.said.Key}
	if m.pending == nil { // a loop is told the number alone
		accepted.receipt = s.hs.Home(s.hs.Of(m.group)).keys[classOf(m.said.Key)].known.Get(name).receipt
		m.told = &told{receipt: accepted.receipt}
	}
	s.keys[name] = accepted
}

// wasTold has the home's word on a message be known.
func (s *sim) wasTold(m *simMessage) {
	select {
	case t := <-m.pending.told:
		s.must(m.told == nil, "message %d: a second word", m.index)
		m.told = &t
	default:
	}
	s.must(m.told != nil, "message %d: its publisher was told nothing", m.index)
}

// checkReceipt judges, at rest, what a publisher was told.
func (s *sim) checkReceipt(m *simMessage) {
	if m.told == nil {
		s.wasTold(m)
	}
	r := m.told.receipt
	s.must((m.told.err == nil) == !m.refused && (m.refused == (m.told.err == ErrBusy)), "message %d: its publisher was told %+v, refused: %v", m.index, *m.told, m.refused)
	if m.refused || m.repeats {
		s.must(r.Repeated == m.repeats, "message %d: told %+v", m.index, r)
		return
	}
	s.must(!r.Repeated && r.Position.Offset == m.seq && r.Kept == (m.life != nil), "message %d: its publisher was told %+v, others %d; kept: %v", m.index, r, m.seq, m.life != nil)
	if m.said.Unkept {
		s.must(r.Position == Position{}, "message %d: told %+v, and is not kept", m.index, r)
		s.said.unkept++
	}
	if m.life != nil {
		s.learn(m.group, m.life, r.Position.Epoch)
		s.said.kept++
	}
}

// checkKeys holds what homes remember against their bound and the model.
func (s *sim) checkKeys() {
	s.followKeys()
	sum := int64(0)
	for i, h := range s.hs.homes {
		wrong := h.CheckKeys()
		s.must(wrong == "", "home %d: %s", i, wrong)
		for class := range h.keys {
			sum += h.keys[class].bytes.Load()
			for name, k := range h.keys[class].known.All() {
				first, is := s.keys[name]
				s.must(is && k.tick == first.tick, "home %d remembers %+v, want %+v", i, k, first)
			}
		}
	}
	s.must(sum == s.hs.KeyBytes(), "keys take %d bytes, booked %d", sum, s.hs.KeyBytes())
	s.must(s.keysMax == 0 || sum <= 2*int64(s.keysMax), "keys take %d bytes, bound %d", sum, s.keysMax)
}

// question asks a group's home something.
func (s *sim) question(p *Port[*simPart, *simAsk], group int) {
	q := &simQuestion{op: []RequestOp{OpHistory, OpHistory, OpHistory, OpPresence, OpPresence, OpPresence, OpPresence, OpForget, OpCached, OpCached, OpCached}[s.rng.IntN(11)], group: fmt.Sprint(group)}
	r := Request[*simPart, *simAsk]{Op: q.op}
	if q.op == OpHistory {
		q.ask = &simAsk{s: s, past: s.ask(), want: &simPast{past: Past{None: true}}}
		r.Past = q.ask.past
	}
	s.byPort(group, func() {
		var err error
		if q.Pending, err = p.ask(r, via{group: q.group}); err == nil {
			s.questions = append(s.questions, q)
		}
		s.must(err == nil || err == ErrBusy, "port: %v", err)
	})
}

// askerOf is who has asked for history.
func (s *sim) askerOf(r *Request[*simPart, *simAsk]) *simAsk {
	if r.Client != nil {
		return r.Client
	}
	for _, q := range s.questions {
		if q.ask != nil && q.ask.past == r.Past {
			return q.ask
		}
	}
	s.must(false, "group %s: nobody has asked", r.Group())
	return nil
}

// answers judges what ports were answered. It is called behind each hosting: nothing of who is there has changed since.
func (s *sim) answers() {
	s.questions = slices.DeleteFunc(s.questions, func(q *simQuestion) bool {
		select {
		case t := <-q.told:
			s.must(t.err == nil && t.past != nil, "group %s: question %d is answered %+v", q.group, q.op, t)
			switch q.op {
			case OpHistory:
				s.judgePast(-1, &Delivery[*simPart, *simAsk]{Op: OpHistoryRead, Local: &simPart{s: s, name: q.group}, Client: q.ask, Past: t.past})
				s.said.histories++
			case OpPresence:
				s.said.presences++
				if s.presentMax > 0 {
					s.judgeList(q.group, &s.presences[s.group(q.group)], t.past, true)
				}
			case OpForget:
				s.said.forgets++
			case OpCached:
				if s.cache {
					s.judgeLast(q.group, t.past, q.last)
					s.caches.ports++
				}
			}
			return true
		default:
			return false
		}
	})
}

// walk notes that a loop hears a message.
func (s *sim) walk(p *simPart, m *simMessage) {
	if p.path == nil {
		p.path = &simPath{}
		s.paths[p.headcount] = append(s.paths[p.headcount], p.path)
	}
	p.path.messages = append(p.path.messages, m)
}

// checkPaths: of each group there is one order, of which what each loop has heard is a part, whether messages have numbers or not.
func (s *sim) checkPaths() {
	for _, paths := range s.paths {
		before := map[*simMessage]int{} // how many paths have it behind another that is not taken out yet
		next := map[*simPath]int{}
		for _, p := range paths {
			for i, m := range p.messages {
				if _, is := before[m]; !is || i > 0 {
					before[m] += min(i, 1)
				}
			}
		}
		for left := len(before); left > 0; left = len(before) {
			for _, p := range paths {
				for at := next[p]; at < len(p.messages) && before[p.messages[at]] == 0; at = next[p] {
					m := p.messages[at]
					for _, q := range paths { // it is the first of all that have it
						if n := next[q]; n < len(q.messages) && q.messages[n] == m {
							if next[q]++; n+1 < len(q.messages) {
								before[q.messages[n+1]]--
							}
						}
					}
					delete(before, m)
				}
			}
			s.must(len(before) < left, "loops have heard messages in different orders: %v", slices.Collect(maps.Keys(before)))
		}
	}
}
