package loop

import (
	"sync/atomic"

	"ringcast/dialect"
	"ringcast/loop/order"
)

// pass is one walk over the members of an audience, see there: what it sends to each, and how far it has come.
type pass struct {
	cur, end int
	batch    []byte
	messages int         // how many the batch holds
	unkept   int         // how many of them are not in the group's history, though they were said, see cargo
	owned    bool        // batch is memory of the loop's own, else it is a shared frame
	except   *exceptions // what of the batch is not for everybody; nil: nothing
	begunAt  int64       // if it is timed, else 0
}

// passes is what a loop is about to send to its groups' members.
//
// Owner: who holds the shard.
type passes struct {
	queue       []queued // wait for a pass, oldest first
	gathered    int      // bytes of the messages that wait, each once for its group, however many audiences it waits for
	undelivered int      // members that were not sent the batch of the pass under way, but will be told of that they have lost it
	sends       uint32   // since the clock was last read
	deadline    int64    // end of this turn's budget, 0: not set yet
	resting     bool     // this turn makes no passes, or no more
	elsewhere   int      // sends to other loops' clients in this turn, see serve

	awaiting []awaiting  // wait for a form that is made beside the loops, see deflate.go
	made     atomic.Bool // such a form is there; any goroutine

	// Kept for the next use.
	spare      []byte // the last batch's buffer
	rest       []byte // likewise of what is left of a batch for an excepted client
	exceptions *exceptions
	idle       []*pass
}

// queued is an audience that waits for a pass, and its group.
type queued struct {
	group    *group
	audience *audience
}

// gather adds a message to those that the next pass over each audience of a group with members sends. The forms in which it is
// sent do not count, as they may not be made yet.
func (ps *passes) gather(g *group, m *message) {
	ps.gathered += m.Bytes()
	if g.inline.members != nil {
		ps.add(g, &g.inline, m)
	}
	if g.inline.further {
		for a := g.further; a != nil; a = a.next {
			ps.add(g, &a.audience, m)
		}
	}
}

func (ps *passes) add(g *group, a *audience, m *message) {
	a.waiting = append(a.waiting, m)
	ps.enqueue(g, a)
}

func (ps *passes) enqueue(g *group, a *audience) {
	if !a.queued {
		a.queued = true
		ps.queue = append(ps.queue, queued{g, a})
	}
}

// take takes the first n messages off an audience's waiting list. Those that wait for no other audience of the group are no
// longer gathered. A message is added to all audiences that there are, so their lists all end with the same messages, and what
// waits for any of them waits in the longest.
func (ps *passes) take(g *group, a *audience, n int) {
	bytes := 0
	for _, m := range a.waiting[:max(0, min(n, len(a.waiting)-g.longest(a)))] {
		bytes += m.Bytes()
	}
	rest := copy(a.waiting, a.waiting[n:])
	clear(a.waiting[rest:])
	a.waiting = a.waiting[:rest]
	if bytes > 0 {
		ps.gathered -= bytes
		g.flow.Taken(bytes)
	}
}

// begin begins a pass over the present members, with as many of the waiting messages as the bound allows, joined into one
// buffer, so that each member costs one send however many messages there are. A single frame is sent as it is, without a
// copy. If the first message's form is not there it says when that will be. It may be ready without a pass, if the members are not sent
// any of the messages.
//
// In a prototype one buffer was 10 to 40 % faster a send than a vector of frames; and it is built once for all members.
func (s *shard) begin(g *group, a *audience) order.Readiness {
	ps, d := &s.passes, s.dialects.of[a.form.Dialect()]
	s.culprit = nil // if the dialect panics no client is closed; the message is lost to this form, see order.Message
	var batch []byte
	var except *exceptions
	n, messages, owned, unkept, is := 0, 0, false, 0, order.Ready
	for n < len(a.waiting) {
		m := a.waiting[n]
		if m.Sort != dialect.Said && !a.hears {
			n++
			continue
		}
		var frame []byte
		if frame, is = s.in(m, a.form, d); is != order.Ready || messages > 0 && len(batch)+len(frame) > s.bounds.batchBytes {
			break
		}
		n++
		if len(frame) == 0 {
			continue
		}
		if !holds(m) {
			unkept++
		}
		if m.More != nil && m.More.Except != 0 {
			except = s.noteExcept(except, m, len(batch), len(batch)+len(frame))
		}
		if messages++; messages == 1 {
			batch = frame
			continue
		}
		if !owned {
			batch, owned = append(ps.takeSpare(), batch...), true
		}
		batch = append(batch, frame...)
		if a.form != order.PlainForm && s.spent() { // what is encoded here counts in the budget too
			break
		}
	}
	// Behind a batch that is large already it is told by the next pass, and not before a message for which this one waits.
	if a.tells > 0 && n == len(a.waiting) && len(batch) <= s.bounds.batchBytes/2 {
		if !owned {
			batch, owned = append(ps.takeSpare(), batch...), true
		}
		batch = s.appendCount(batch, g, a)
		messages, unkept = messages+1, unkept+1
	}
	ps.take(g, a, n)
	if messages > 0 {
		if except != nil {
			except.sort()
		}
		a.pass = ps.newPass()
		*a.pass = pass{end: len(a.members), batch: batch, messages: messages, unkept: unkept, owned: owned, except: except}
	}
	if n > 0 || messages > 0 {
		return order.Ready
	}
	return is
}

// drop drops what was to be sent to an audience that has no members any more.
func (ps *passes) drop(g *group, a *audience, spareBytesMax int) {
	ps.take(g, a, len(a.waiting))
	a.waiting, a.tells = nil, 0
	if a.pass != nil {
		ps.end(a, spareBytesMax)
	}
}

// end ends the pass under way.
func (ps *passes) end(a *audience, spareBytesMax int) {
	p := a.pass
	if p.owned && cap(p.batch) > cap(ps.spare) && cap(p.batch) <= spareBytesMax {
		ps.spare = p.batch[:0]
	}
	if p.except != nil {
		ps.keep(p.except)
	}
	*p = pass{}
	if len(ps.idle) < passesKeptMax {
		ps.idle = append(ps.idle, p)
	}
	a.pass = nil
}

// passesKeptMax bounds the idle passes that are kept. Seldom are more than a few under way at a time.
const passesKeptMax = 64

func (ps *passes) newPass() *pass {
	n := len(ps.idle)
	if n == 0 {
		return &pass{}
	}
	p := ps.idle[n-1]
	ps.idle = ps.idle[:n-1]
	return p
}

// takeSpare is the buffer of an earlier batch, if one was kept.
func (ps *passes) takeSpare() []byte {
	spare := ps.spare
	ps.spare = nil
	return spare
}

// runPasses sends what has gathered, audience by audience, until the turn's budget is used up. Then it kicks, so that the loop
// looks at its sockets before it goes on, and yields the processor. It reports whether it did anything.
//
// While a kick for passes is under way other callbacks run none: each would have a budget of its own, and the sockets would wait for
// all of them. The budget is 1 ms because a pass over 10,000 members takes 50 ms. In a prototype the ping of an unrelated client
// waited for 131 to 248 ms at p99 without a budget, and for 24 to 25 with it and the yield.
func (s *shard) runPasses() (any bool) {
	ps := &s.passes
	if s.passes.resting {
		return false
	}
	if len(ps.awaiting) > 0 {
		s.takeMade()
	}
	if len(ps.queue) == 0 {
		return false
	}
	if ps.deadline == 0 {
		ps.deadline = s.env.now() + s.bounds.passNanos
	}
	unready := 0 // audiences in a row whose form another loop is making
	for done := 0; done < len(ps.queue); {
		next := ps.queue[done]
		a := next.audience
		done++
		became := s.pass(next.group, a)
		if became == passAwaits {
			ps.awaiting = append(ps.awaiting, awaiting{queued: next, ordered: 1})
			s.orderAhead(&ps.awaiting[len(ps.awaiting)-1])
		} else if len(a.waiting) > 0 || a.tells > 0 || a.pass != nil {
			ps.queue = append(ps.queue, next) // after the others, so that a large group does not delay small ones
		} else {
			a.queued = false
		}
		if unready++; became != passUnready {
			unready = 0
		}
		if became == passCut || unready > 0 && unready >= len(ps.queue)-done || s.spent() {
			ps.dequeue(done)
			if len(ps.queue) > 0 {
				s.passes.resting = true
				s.kick()
				s.env.yield()
			}
			return true
		}
		if done == len(ps.queue) {
			ps.dequeue(done)
			done = 0
		}
	}
	return true
}

// dequeue takes the first n audiences off the queue.
func (ps *passes) dequeue(n int) {
	rest := copy(ps.queue, ps.queue[n:])
	clear(ps.queue[rest:])
	ps.queue = ps.queue[:rest]
}

// spent reads the clock every few sends and says whether the turn's budget is used up.
func (s *shard) spent() bool {
	s.passes.sends++
	return s.passes.sends%sendsPerClock == 0 && s.env.now() >= s.passes.deadline
}

// sendsPerClock is how many sends there are to a reading of the clock. A send costs microseconds and a reading tens of
// nanoseconds, so the budget is exceeded by little and the clock costs next to nothing.
const sendsPerClock = 8

// passed is what has become of a pass.
type passed uint8

const (
	passDone    passed = iota // all members were served, or there was nothing to send
	passCut                   // the budget is used up; it goes on with the next turn
	passUnready               // another loop is making the first message's form; there is no pass yet
	passAwaits                // a goroutine is, and the loop is woken when it has
)

// pass sends a batch to an audience's members, from where the last turn stopped. In the steady state it allocates nothing. It
// sends to no client that has joined since the pass began or has left.
func (s *shard) pass(g *group, a *audience) passed {
	if became, begun := s.beginPass(g, a); !begun {
		return became
	}
	p, served, became := a.pass, 0, passDone
	of := cargo{g, p.messages, p.unkept > 0}
	for p.cur < p.end {
		c := a.members[p.cur]
		p.cur++
		if c.state != stateOpen {
			continue
		}
		s.culprit = c
		if c.isSlow() {
			if s.stillSlow(c); c.state != stateOpen {
				continue
			}
		}
		if p.except == nil || !s.pushWithout(c, g, p) {
			s.push(c, p.batch, of)
			served++
		}
		if p.cur < p.end && s.spent() { // in this order: a reading of the clock that says true must not be lost
			became = passCut
			break
		}
	}
	s.culprit = nil
	served -= s.passes.undelivered
	s.passes.undelivered = 0
	s.endPass(a, served, became)
	return became
}

// beginPass begins a pass over an audience's members, if none is under way. It is false if there is none to go on with, and became
// says why.
func (s *shard) beginPass(g *group, a *audience) (became passed, begun bool) {
	s.mustHold()
	switch {
	case a.pass != nil:
		return passDone, true
	case len(a.waiting) == 0 && a.tells == 0:
		return passDone, false
	}
	switch is := s.begin(g, a); {
	case is == order.Soon:
		return passUnready, false
	case is == order.Awaited:
		return passAwaits, false
	case a.pass == nil:
		return passDone, false
	}
	if sampled(s.count.Passes.Add(1)) {
		s.count.Batches.observe(int64(a.pass.messages))
		a.pass.begunAt = s.env.now()
	}
	return passDone, true
}

// endPass counts the members who were served since a pass has begun or gone on, and ends it when it is done.
func (s *shard) endPass(a *audience, served int, became passed) {
	p := a.pass
	s.count.Deliveries.Add(uint64(served * p.messages))
	s.count.BytesOut.Add(uint64(served * len(p.batch)))
	if became == passDone {
		if p.begunAt != 0 {
			s.count.PassTimes.observe(s.env.now() - p.begunAt)
		}
		s.passes.end(a, 2*s.bounds.batchBytes)
	}
}
