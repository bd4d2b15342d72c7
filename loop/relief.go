package loop

import (
	"math/bits"
	"sync/atomic"

	"ringcast/dialect"
	"ringcast/wsproto"
)

// This file is about the bound on all outboxes together. Each loop has an equal share of it, which it may always use; when
// the sum exceeds the bound, loops above their share cut off clients, those with the largest outboxes first, as told apart
// to an eighth of their size. These are cut at once: a Close frame would have to wait after the bytes that are to be freed,
// for a socket that takes nothing.

// relief is a shard's part in it. What a shard adds to its own sum it adds to the hub's too, which so is the sum over all loops.
//
// Owner: the loop, except where a line says otherwise.
type relief struct {
	hub      *Hub
	outboxes atomic.Int64 // bytes that wait for the loop's clients; any goroutine reads
	done     bool         // this turn has cut off clients already
}

// outboxesOver says whether all outboxes together exceed their bound. Any goroutine.
func (h *Hub) outboxesOver() bool { return h.outboxes.Load() > h.outboxesMax.Load() }

// add adds the change of an outbox to the sums.
func (r *relief) add(bytes int64) {
	r.outboxes.Add(bytes)
	r.hub.outboxes.Add(bytes)
}

// share is the bytes that the outboxes of a loop may always have together.
func (r *relief) share() int64 { return r.hub.outboxesMax.Load() / int64(len(r.hub.shards)) }

// target is the sum to which a loop above its share reduces its outboxes: an eighth less than its share, or than the same
// part of the bound as it has now of all outboxes, whichever is more. The eighth is so that it is not done again after a few
// writes, as it costs two walks over all slow clients.
func (r *relief) target() int64 {
	part := float64(r.hub.outboxesMax.Load()) * float64(r.outboxes.Load()) / float64(r.hub.outboxes.Load())
	return max(r.share(), int64(part)) / 8 * 7
}

// passOn wakes the loops above their shares. A loop that is not calls it.
func (r *relief) passOn() {
	share := r.share()
	for i, other := range r.hub.shards {
		if other.relief.outboxes.Load() > share {
			r.hub.wake(i)
		}
	}
}

// relieveAfter is called after a write to c that had to wait. If all outboxes exceed their bound the loop cuts off the
// largest, once a turn; and then, if it is still above its share, c too, unless c's outbox is smaller than the average of
// this loop.
func (s *shard) relieveAfter(c *client) {
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

// relieve cuts off clients with the largest outboxes until this loop is at its target; or, if it is not above its share, has the
// loops do so that are.
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
	for _, more := range []bool{true, false} { // first all above the class least, then as many of that class as are needed
		for i := len(s.slow.list) - 1; i >= 0 && cuts < cutsPerTurn && s.relief.outboxes.Load() > target; i-- {
			entry := &s.slow.list[i]
			if class := sizeClass(entry.bytes); class < least || class > least != more {
				continue
			}
			if s.slow.resize(entry, entry.client.conn.OutboundBuffered()); sizeClass(entry.bytes) >= least {
				s.cutOff(entry.client) // its place in the list gets the last entry, which was looked at already
				cuts++
			}
		}
	}
	if cuts == cutsPerTurn {
		s.kick()
	}
}

// cutsPerTurn bounds the clients that relieve cuts off in a turn, as each costs some system calls.
const cutsPerTurn = 256

// leastClass is the smallest size class of which clients have to be cut off, the largest first, to free so many bytes.
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

// sizeClass is the class of an outbox of so many bytes: larger outboxes have larger classes, eight for each power of two.
func sizeClass(bytes int) int {
	if bytes < 8 {
		return bytes
	}
	exponent := bits.Len(uint(bytes)) - 4
	return 8*exponent + bytes>>exponent
}

const sizeClasses = 8*60 + 16

// cutOff ends a client at once. Its Close frame reaches it only if the socket now takes all that waits: gnet tries to write
// that once more. A panic in here closes this client, and not the one for which the turn works: else the next turn would cut
// this one off again, and panic again.
func (s *shard) cutOff(c *client) {
	culprit := s.culprit
	s.culprit = c
	if c.state == stateOpen { // one that is closing was counted before
		s.count.SlowClosed.Add(1)
		s.noteSlow(c, cargo{}, reasonAllFull)
		code, reason := s.dialect(c).Close(dialect.CauseSlowest)
		count(&s.count.Closes, closeKindOf(code))
		s.explain(c, code, reason)
		var frames [dialect.GapBytesMax + 8]byte
		s.say(c, wsproto.AppendClose(s.takeGap(c, frames[:0]), code, ""))
	}
	s.doom(c)
	s.culprit = culprit
}
