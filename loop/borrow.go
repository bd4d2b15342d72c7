package loop

import (
	"math"

	"ringcast/loop/assert"
	"ringcast/loop/order"
)

// This file serves the shard of a loop that sleeps, on another loop that has put something into its down lanes: the other loop, the
// borrower, holds the shard for a moment, gathers the messages and makes their passes. Without it each message between clients of
// two loops wakes a loop, the most expensive step that a message can have. "Sleeps" is that the loop is in no callback and has no kick
// under way; now and then it is about to begin one, and waits.
//
// A borrower makes few sends, so that it does not keep the loop from its sockets, nor work from a core that is idle. And it does
// nothing but to gather messages and to send them with the raw send. Whatever else comes up it leaves to the loop, which it wakes: an
// answer to a client, a large group, a client that is slow or whose kernel buffer is full, a home that waits for room, a panic. It
// calls nothing of gnet's, touches no timers, and changes no list of clients or members. What it has begun and not ended lies where
// the loop's own turn has it between two callbacks: bits of lanes, messages that are gathered, a pass under way. Two things have no
// place there, and so borrowed has them.
//
// A descriptor that a borrower sends to is open and the client's own: gnet calls closed before it closes one, and closed waits for
// the shard (TestADescriptorIsOpenUntilItsClientIsKnownToBeGone).

// borrowed is what a shard needs for being borrowed.
//
// Owner: who holds the shard.
type borrowed struct {
	sends       int // that the borrower may still make
	bytes       int // of messages that it may still send, counted for each member
	unsent      unsent
	panickedFor *client // is to be closed by the loop; nil: none
}

// unsent is the rest of a batch of which the kernel took a part from a borrower. Nothing else may be sent to the client before it, so
// the borrower stops, and the loop sends it before it does anything else.
type unsent struct {
	to    *client // nil: there is none
	bytes []byte
}

const (
	// borrowedSendsMax bounds the sends of a borrower to one loop's clients. In a prototype 64 were no better: from some 20 on it is as
	// good to have the loop itself do it on another core.
	borrowedSendsMax = 16
	// borrowedItemsMax bounds the items that may wait for a loop whose shard is borrowed.
	borrowedItemsMax = 16
	// borrowedBytesMax bounds the bytes that a borrower sends to one loop's clients. To copy them into the kernel takes it some 20 µs.
	borrowedBytesMax = 64 << 10
	// borrowedFormMax bounds the bytes of a message that a borrower may have to encode in another form. It compresses none.
	borrowedFormMax = 4 << 10
	// borrowedTurnMax bounds a loop's sends to clients of all other loops in one turn, as its own wait meanwhile.
	borrowedTurnMax = 64
)

// serve deals with what was put into the down lanes of another loop. False: that loop has to be woken.
func (s *shard) serve(loop int) bool {
	o := s.hub.shards[loop]
	if o.env.send == nil || s.passes.elsewhere >= borrowedTurnMax {
		return false
	}
	if o.lanes.Waking() {
		return true
	}
	for range 2 {
		if !o.hold.borrow() {
			return true // its holder looks, or the loop itself, which waits
		}
		sends, left := o.borrow(min(borrowedSendsMax, borrowedTurnMax-s.passes.elsewhere))
		awaited := o.hold.letGo()
		s.passes.elsewhere += sends
		switch {
		case left == leftToLoop:
			return false
		case left == leftToKick, awaited, !o.lanes.Called():
			return true
		}
	}
	return false // others keep it busy
}

// leftTo is who has to go on with a shard that was borrowed.
type leftTo uint8

const (
	leftToNobody leftTo = iota
	leftToKick          // the loop, which will do so in any case
	leftToLoop          // the loop, which must be woken
)

// borrow is what a borrower does with a shard, which it holds, with so many sends at most. It recovers from panics, as a callback does:
// the client is closed, by the loop.
func (s *shard) borrow(most int) (sends int, left leftTo) {
	if s.kicked {
		return 0, leftToKick
	}
	if !s.mayBeBorrowed() {
		return 0, leftToLoop
	}
	b := &s.hold.borrowed
	b.sends, b.bytes = most, borrowedBytesMax
	defer func() {
		if p := recover(); p != nil {
			s.surviveBorrowed(p)
			left = leftToLoop
		}
		s.culprit, s.passes.deadline = nil, 0
		sends = most - b.sends
	}()
	if s.lanes.Drain(s.methods.mayBorrow, s.methods.takeDown) {
		s.count.Borrows.Add(1)
	}
	s.borrowedPasses()
	s.lanes.Through(s.passes.gathered) // where a home waits for that, the lanes are not idle
	show(&s.count.gatheredBytes, s.passes.gathered)
	if !s.lanes.Idle() || s.leftByBorrower() {
		return 0, leftToLoop
	}
	return 0, leftToNobody
}

// mayBeBorrowed says whether a shard has nothing to do but what lies in its down lanes, and that is not much.
func (s *shard) mayBeBorrowed() bool {
	assert.That(s.replies.to == nil && !s.endsWait(), "shard: left by its loop with something to do, and no kick")
	return !s.stop.begun && s.lanes.Idle() && !s.leftByBorrower() && s.lanes.Waiting() <= borrowedItemsMax
}

// leftByBorrower says whether a borrower has left something that the loop has not seen to.
func (s *shard) leftByBorrower() bool {
	return len(s.passes.queue)+len(s.passes.awaiting) > 0 || s.hold.borrowed.unsent.to != nil || s.hold.borrowed.panickedFor != nil
}

// mayBorrow says whether a borrower may act on an item.
func (s *shard) mayBorrow(d *delivery) bool {
	if d.Op != order.OpMessage || d.Client != nil {
		return false
	}
	b, g := &s.hold.borrowed, d.Local
	members, bytes := g.size(), g.size()*d.Message.Bytes()
	if g.queued() { // in this borrow: each of its members is sent one batch
		members = 0
	}
	if members > b.sends || bytes > b.bytes || !g.plain() && (d.Message.Bytes() > borrowedFormMax || !s.isMade(g, d.Message)) {
		return false
	}
	b.sends, b.bytes = b.sends-members, b.bytes-bytes
	return true
}

// borrowedPasses makes the passes for what was gathered, up to the first thing that only the loop may do. What is left stays in the
// queue.
func (s *shard) borrowedPasses() {
	s.passes.deadline = math.MaxInt64 // what bounds a turn's passes are sends and bytes here
	for ps := &s.passes; len(ps.queue) > 0; ps.dequeue(1) {
		next := ps.queue[0]
		if !s.borrowedPass(next.group, next.audience) || len(next.audience.waiting) > 0 {
			return
		}
		next.audience.queued = false
	}
}

// borrowedPass is pass for a borrower. False: the loop must go on with it.
func (s *shard) borrowedPass(g *group, a *audience) (done bool) {
	if became, begun := s.beginPass(g, a); !begun {
		return became == passDone
	}
	p, served := a.pass, 0
	done = true
	for done && p.cur < p.end {
		c := a.members[p.cur]
		p.cur++
		if c.state != stateOpen {
			continue
		}
		s.culprit = c
		batch, messages, but := p.batch, p.messages, p.excepted(c)
		if len(but) > 0 {
			if batch, messages, _ = s.passes.without(p, but); messages == 0 {
				continue
			}
		}
		n := 0
		if c.detour&detourAny == 0 {
			n = s.env.send(int(c.fd), batch).n
		}
		switch done = n == len(batch); {
		case n == 0:
			p.cur-- // not sent, for whatever reason: the loop finds out
			continue
		case !done:
			s.hold.borrowed.unsent = unsent{c, append([]byte(nil), batch[n:]...)}
		}
		if c.bytesOut += uint64(len(batch)); len(but) > 0 {
			s.countWithout(messages, len(batch))
		} else {
			served++
		}
	}
	became := passCut
	if p.cur == p.end {
		became = passDone
	}
	s.endPass(a, served, became)
	return done
}

// surviveBorrowed is called after a panic in a borrower, whose own client is not to blame. What the pass had sent is not counted, as
// after a panic in a callback.
func (s *shard) surviveBorrowed(p any) {
	s.count.Panics.Add(1)
	s.hold.borrowed.panickedFor = s.culprit
	s.lanes.Survive()
	s.env.panic(p)
}

// takeUp sees to what a borrower has left that is no business of a turn's. The loop does it before anything else.
func (s *shard) takeUp() {
	b, was := &s.hold.borrowed, s.culprit
	if b.unsent.to == nil && b.panickedFor == nil {
		return
	}
	defer func() {
		if p := recover(); p != nil {
			s.survive(p)
		}
		s.culprit = was
	}()
	rest := b.unsent
	b.unsent = unsent{}
	if s.culprit = rest.to; s.culprit != nil && s.culprit.state == stateOpen {
		s.queue(rest.to, rest.bytes, cargo{}) // it is no message that may be lost
	}
	if c := b.panickedFor; c != nil {
		b.panickedFor = nil
		if c.state != stateDead {
			s.condemn(c)
		}
	}
}
