package loop

import (
	"math/bits"

	"ringcast/dialect"
	"ringcast/wsproto"
)

// This file is about clients that are behind: what waits for all of them together, whom to cut off when that is too
// much, and what becomes of messages that one of them has no room for.
//
// What waits is known as of the last write to a client or the last look at it: gnet does not tell when it has written
// some of it. So every client that is behind is looked at once in a while, and once more before it is cut off.

// slow is a client that is behind. Owner: its shard, in whose list it stands.
type slow struct {
	client *client
	bytes  int    // in its outbox, when it was last looked at
	missed uint64 // messages dropped since it was last told of some
}

// lag notes how much waits for a client that is behind.
func (s *shard) lag(c *client, bytes int) {
	c.behind = true
	x := c.more()
	if x.slow == 0 {
		s.slow = append(s.slow, slow{client: c})
		x.slow = uint32(len(s.slow))
		s.count.Slow.Add(1)
	}
	s.setOutbox(&s.slow[x.slow-1], bytes)
}

// setOutbox keeps the sums right.
func (s *shard) setOutbox(l *slow, bytes int) {
	if more := int64(bytes - l.bytes); more != 0 {
		l.bytes = bytes
		s.outboxes.Add(more)
		s.hub.outboxes.Add(more)
	}
}

// catchUp takes a client off the list of those that are behind.
func (s *shard) catchUp(c *client) {
	c.behind = false
	x := c.extra
	if x == nil || x.slow == 0 {
		return
	}
	at, last := x.slow-1, len(s.slow)-1
	s.setOutbox(&s.slow[at], 0)
	s.slow[at] = s.slow[last]
	s.slow[at].client.extra.slow = at + 1
	s.slow[last] = slow{}
	s.slow = s.slow[:last]
	if last == 0 {
		s.slow = nil // the list of a bad day
	}
	x.slow = 0
	s.count.Slow.Add(-1)
	c.shed()
}

// missed is where a client's dropped messages are counted, nil when it is not behind.
func (s *shard) missed(c *client) *uint64 {
	if c.extra == nil || c.extra.slow == 0 {
		return nil
	}
	return &s.slow[c.extra.slow-1].missed
}

// hasGap says whether a client has missed messages and was not told yet.
func (s *shard) hasGap(c *client) bool {
	missed := s.missed(c)
	return missed != nil && *missed > 0
}

// caughtUp looks how much is left of an outbox, tells a client that is at its last half what it has missed, and says
// whether nothing is left.
func (s *shard) caughtUp(c *client) bool {
	if !c.behind {
		return true
	}
	waiting := c.conn.OutboundBuffered()
	if waiting <= s.bounds.OutboxBytesMax/2 && s.hasGap(c) {
		s.tellGap(c)
		return !c.behind
	}
	if waiting == 0 {
		s.catchUp(c)
	} else {
		s.lag(c, waiting)
	}
	return !c.behind
}

// mayMiss says whether a client loses messages for which there is no room, rather than its connection.
func (s *shard) mayMiss(c *client) bool {
	return s.bounds.DropSlow && c.is(markAsks) && c.state == stateOpen
}

// miss drops a delivery of some messages to a client whose outbox has no room for it.
func (s *shard) miss(c *client, p []byte, messages int) {
	s.lag(c, c.conn.OutboundBuffered())
	*s.missed(c) += uint64(messages)
	s.count.SlowDropped.Add(uint64(messages))
	c.bytesOut -= uint64(len(p))
	s.passes.undelivered++
}

// tellGap sends a client the number of messages that it has missed, in their place: behind what it got before them. It
// may doom the client, or find its connection broken.
func (s *shard) tellGap(c *client) {
	p := s.takeGap(c, nil)
	c.bytesOut += uint64(len(p))
	s.count.BytesOut.Add(uint64(len(p)))
	s.write(c, p)
}

// takeGap appends the frame that tells of what a client has missed, if it has.
func (s *shard) takeGap(c *client, to []byte) []byte {
	if missed := s.missed(c); missed != nil && *missed > 0 {
		to = s.dialect(c).Answer(to, dialect.Outcome{What: dialect.Gap, Number: *missed})
		*missed = 0
		s.count.SlowGaps.Add(1)
	}
	return to
}

// lookAtSlow looks at clients that are behind, some in each tick.
func (s *shard) lookAtSlow() {
	for n := min(len(s.slow), looksPerTickMax); n > 0 && len(s.slow) > 0; n-- {
		if s.slowFrom == 0 || s.slowFrom > len(s.slow) {
			s.slowFrom = len(s.slow)
		}
		s.slowFrom-- // downwards: who has caught up is replaced by the last, which was looked at before
		if c := s.slow[s.slowFrom].client; c.state <= stateClosing {
			s.culprit = c
			s.caughtUp(c)
		}
	}
	s.culprit = nil
}

// looksPerTickMax bounds lookAtSlow: a look costs a cache miss or two.
const looksPerTickMax = 4096

// The bound on all outboxes together. A loop's share of it is what is left to it in any case; loops that hold more give
// the excess back, the largest outboxes first, to within an eighth of their size. Who is cut off for it is not
// waited for: the Close frame would have to wait behind what is to be freed, in a socket that takes nothing.

// crowded says whether more waits for all clients than may.
func (h *Hub) crowded() bool { return h.outboxes.Load() > h.outboxesMax.Load() }

// makeRoom is called behind a write that had to wait. The loop cuts off the largest, once a turn; when that was not
// enough the client that was written to goes too, unless its outbox is smaller than the average of this loop.
func (s *shard) makeRoom(c *client) {
	if !s.hub.crowded() {
		return
	}
	s.relieve()
	all := s.outboxes.Load()
	if !s.hub.crowded() || c.state >= stateDoomed || all <= s.share() {
		return
	}
	if l := s.slow[c.extra.slow-1]; int64(l.bytes)*int64(len(s.slow)) >= all {
		s.cutOff(c)
	}
}

// share is what all outboxes of a loop may hold whatever others do.
func (s *shard) share() int64 { return s.hub.outboxesMax.Load() / int64(len(s.hub.shards)) }

// relieve cuts off clients with the largest outboxes, until this loop holds an eighth less than its part of the bound:
// its share, or the part of the bound that it holds now of all, whichever is more. Less than that it would be done again
// for every few writes, each time at the price of two walks over all who are behind. A loop below its share wakes the
// ones above theirs.
func (s *shard) relieve() {
	if s.relieved {
		return
	}
	s.relieved = true
	share, held := s.share(), s.outboxes.Load()
	if held <= share {
		for i, other := range s.hub.shards {
			if other.outboxes.Load() > share {
				s.hub.wake(i)
			}
		}
		return
	}
	part := float64(s.hub.outboxesMax.Load()) * float64(held) / float64(s.hub.outboxes.Load())
	target := max(share, int64(part)) / 8 * 7

	var sums [sizeClasses]int64
	for i := range s.slow {
		sums[sizeClass(s.slow[i].bytes)] += int64(s.slow[i].bytes)
	}
	least, freed := sizeClasses-1, sums[sizeClasses-1]
	for least > 0 && held-freed > target {
		least--
		freed += sums[least]
	}
	cuts := 0
	for _, more := range []bool{true, false} { // first those above the class in which it ends, then as many of it as are needed
		for i := len(s.slow) - 1; i >= 0 && cuts < cutsPerTurn && s.outboxes.Load() > target; i-- {
			l := &s.slow[i]
			if class := sizeClass(l.bytes); class < least || class > least != more {
				continue
			}
			if s.setOutbox(l, l.client.conn.OutboundBuffered()); sizeClass(l.bytes) >= least {
				s.cutOff(l.client) // and the last, which was passed already, is in its place
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
