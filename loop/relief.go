package loop

import (
	"math/bits"
	"sync/atomic"

	"ringcast/dialect"
	"ringcast/wsproto"
)

// This file is about the bound on all outboxes together. A loop's share of it is what is left to it in any case; loops that
// hold more give the excess back, the largest outboxes first, to within an eighth of their size. Who is cut off for it is
// not waited for: the Close frame would have to wait behind what is to be freed, in a socket that takes nothing.

// relief is a shard's part in it. What a shard adds to its own sum it adds to the hub's, so the hub's is all of theirs.
//
// Owner: the loop, except where a line says otherwise.
type relief struct {
	hub      *Hub
	outboxes atomic.Int64 // bytes that wait for the loop's clients; any goroutine reads
	done     bool         // this turn has cut off clients already
}

// outboxesOver says whether more waits for all clients than may. Any goroutine.
func (h *Hub) outboxesOver() bool { return h.outboxes.Load() > h.outboxesMax.Load() }

// add keeps the sums right when an outbox has grown, or shrunk.
func (r *relief) add(bytes int64) {
	r.outboxes.Add(bytes)
	r.hub.outboxes.Add(bytes)
}

// share is what all outboxes of a loop may hold whatever others do.
func (r *relief) share() int64 { return r.hub.outboxesMax.Load() / int64(len(r.hub.shards)) }

// target is what a loop above its share comes down to: an eighth less than its part of the bound, which is its share, or
// the part of the bound that it holds now of all, whichever is more. With less than that it would be done again for every
// few writes, each time at the price of two walks over all slow clients.
func (r *relief) target() int64 {
	part := float64(r.hub.outboxesMax.Load()) * float64(r.outboxes.Load()) / float64(r.hub.outboxes.Load())
	return max(r.share(), int64(part)) / 8 * 7
}

// passOn wakes the loops above their shares. It is for a loop that is below its own.
func (r *relief) passOn() {
	share := r.share()
	for i, other := range r.hub.shards {
		if other.relief.outboxes.Load() > share {
			r.hub.wake(i)
		}
	}
}

// makeRoom is called behind a write that had to wait. The loop cuts off the largest, once a turn; when that was not
// enough the client that was written to goes too, unless its outbox is smaller than the average of this loop.
func (s *shard) makeRoom(c *client) {
	if !s.hub.outboxesOver() {
		return
	}
	s.relieve()
	all := s.relief.outboxes.Load()
	if !s.hub.outboxesOver() || c.state >= stateDoomed || all <= s.relief.share() {
		return
	}
	if entry := s.slow.of(c); int64(entry.bytes)*int64(len(s.slow.list)) >= all {
		s.cutOff(c)
	}
}

// relieve cuts off clients with the largest outboxes, until this loop holds no more than its target, or has the loops
// above their shares do so.
func (s *shard) relieve() {
	if s.relief.done {
		return
	}
	s.relief.done = true
	if s.relief.outboxes.Load() <= s.relief.share() {
		s.relief.passOn()
		return
	}
	target := s.relief.target()
	least := s.slow.leastClass(s.relief.outboxes.Load() - target)
	cuts := 0
	for _, more := range []bool{true, false} { // first those above the class in which it ends, then as many of it as are needed
		for i := len(s.slow.list) - 1; i >= 0 && cuts < cutsPerTurn && s.relief.outboxes.Load() > target; i-- {
			entry := &s.slow.list[i]
			if class := sizeClass(entry.bytes); class < least || class > least != more {
				continue
			}
			if s.slow.resize(entry, entry.client.conn.OutboundBuffered()); sizeClass(entry.bytes) >= least {
				s.cutOff(entry.client) // and the last, which was passed already, is in its place
				cuts++
			}
		}
	}
	if cuts == cutsPerTurn {
		s.kick()
	}
}

// cutsPerTurn bounds relieve: an end of a connection costs some system calls.
const cutsPerTurn = 256

// leastClass is the class in which it ends when the largest outboxes go until so many bytes are free.
func (l *slowClients) leastClass(bytes int64) int {
	var sums [sizeClasses]int64
	for i := range l.list {
		sums[sizeClass(l.list[i].bytes)] += int64(l.list[i].bytes)
	}
	least, freed := sizeClasses-1, sums[sizeClasses-1]
	for least > 0 && freed < bytes {
		least--
		freed += sums[least]
	}
	return least
}

// sizeClass orders outboxes by size: eight classes for each power of two.
func sizeClass(bytes int) int {
	if bytes < 8 {
		return bytes
	}
	exponent := bits.Len(uint(bytes)) - 4
	return 8*exponent + bytes>>exponent
}

const sizeClasses = 8*60 + 16

// cutOff ends a client at once. It is told: gnet tries once more to write what is left, and if the socket takes all of that
// by now, then this too. A panic over it is its own, not that of whose turn it is: that one would be closed, and this one
// be cut off again by the next turn, and panic again.
func (s *shard) cutOff(c *client) {
	culprit := s.culprit
	s.culprit = c
	if c.state == stateOpen { // who is being closed was counted
		s.count.SlowClosed.Add(1)
		code, reason := s.dialect(c).Close(dialect.CauseSlowest)
		count(&s.count.Closes, closeKindOf(code))
		s.explain(c, code, reason)
		var frames [dialect.GapBytesMax + 8]byte
		_, _ = c.conn.Write(wsproto.AppendClose(s.takeGap(c, frames[:0]), code, ""))
	}
	s.doom(c)
	s.culprit = culprit
}
