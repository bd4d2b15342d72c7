package loop

import (
	"sync/atomic"

	"ringcast/dialect"
)

// This file is about slow clients: those whose outboxes have bytes, or that are to be told of a gap or taken out of groups (heal.go). It
// knows how much waits for each, and drops messages for which one has no room.
//
// How much waits is known from the last write to a client or the last look at it, as gnet does not tell when it has written some
// of it. So every slow client is looked at now and then, and once more before it is cut off.

// slowClients is a shard's list of slow clients. Each has its place in extra.slow, counted from 1. The sums of relief include the
// list. detourSlow is set for all of them, and during a write that has to wait also for the client that is put here after it.
//
// Owner: the loop.
type slowClients struct {
	list   []slowClient
	from   int           // the next look is at the place before this one
	relief *relief       // of the shard
	count  *atomic.Int64 // gauge: how many they are

	healers
}

// slowClient is one of them.
type slowClient struct {
	client *client
	bytes  int    // in its outbox, when it was last looked at
	missed uint64 // messages dropped since it was last told of a gap

	healing healing
	due     bool // among those that the turn takes out of groups
}

// put notes how many bytes wait for a client, and adds it to the list if need be.
func (l *slowClients) put(c *client, bytes int) {
	c.detour |= detourSlow
	x := c.more()
	if x.slow == 0 {
		l.list = append(l.list, slowClient{client: c})
		x.slow = uint32(len(l.list))
		l.count.Add(1)
	}
	l.resize(&l.list[x.slow-1], bytes)
}

// resize changes the bytes of an entry, and the sums.
func (l *slowClients) resize(entry *slowClient, bytes int) {
	if more := int64(bytes - entry.bytes); more != 0 {
		entry.bytes = bytes
		l.relief.add(more)
	}
}

// drop takes a client that is not slow any more off the list, if it is there.
func (l *slowClients) drop(c *client) {
	c.detour &^= detourSlow
	x := c.extra
	if x == nil || x.slow == 0 {
		return
	}
	at, last := x.slow-1, len(l.list)-1
	l.resize(&l.list[at], 0)
	l.list[at] = l.list[last]
	l.list[at].client.extra.slow = at + 1
	l.list[last] = slowClient{}
	l.list = l.list[:last]
	if last == 0 {
		l.list = nil // free the memory of a long list
	}
	x.slow = 0
	l.count.Add(-1)
	c.shed()
}

// of is a client's entry; nil: it is not in the list.
func (l *slowClients) of(c *client) *slowClient {
	if c.extra == nil || c.extra.slow == 0 {
		return nil
	}
	return &l.list[c.extra.slow-1]
}

// hasGap says whether a client has missed messages and was not told of them yet.
func (l *slowClients) hasGap(c *client) bool {
	entry := l.of(c)
	return entry != nil && entry.missed > 0
}

// owes says whether a client is to be told of something that it has lost.
func (l *slowClients) owes(c *client) bool { return l.hasGap(c) || l.heals(c) }

// forget forgets a client that is gone.
func (l *slowClients) forget(c *client) {
	l.drop(c)
	l.healers.times.Delete(c)
}

// next is the client to look at next; the list must not be empty. It goes downwards, because one that is dropped when it is
// looked at is replaced by the last, which was looked at before.
func (l *slowClients) next() *client {
	if l.from == 0 || l.from > len(l.list) {
		l.from = len(l.list)
	}
	l.from--
	return l.list[l.from].client
}

// stillSlow looks how much waits for a client, tells it of its gap or has it taken out of groups if at least half of its outbox is free,
// and says whether it is slow after that.
func (s *shard) stillSlow(c *client) bool {
	if !c.isSlow() {
		return false
	}
	waiting := c.conn.OutboundBuffered()
	switch {
	case waiting <= s.bounds.OutboxBytesMax/2 && s.slow.hasGap(c):
		s.tellGap(c)
	case waiting == 0 && !s.slow.heals(c):
		s.slow.drop(c)
	default:
		s.slow.put(c, waiting)
	}
	s.partSoon(c, waiting)
	return c.isSlow()
}

// mayMiss says whether messages for which a client has no room are dropped; if not, it is closed.
func (s *shard) mayMiss(c *client) bool {
	return s.bounds.SlowClient == SlowDrop && c.is(markAsks) && c.state == stateOpen && s.dialects.gaps&(1<<c.dialect()) != 0
}

// miss drops a batch for a client whose outbox has no room for it.
func (s *shard) miss(c *client, p []byte, of cargo) {
	s.slow.put(c, c.conn.OutboundBuffered())
	if s.slow.of(c).missed == 0 {
		s.noteSlow(c, of, reasonFull)
	}
	s.slow.of(c).missed += uint64(of.messages)
	s.count.SlowDropped.Add(uint64(of.messages))
	c.bytesOut -= uint64(len(p))
	s.passes.undelivered++
}

// tellGap sends a client the number of messages that it has missed, in their place: after what it was sent before them. It
// may doom the client, or find its connection broken.
func (s *shard) tellGap(c *client) {
	p := s.takeGap(c, nil)
	c.bytesOut += uint64(len(p))
	s.count.BytesOut.Add(uint64(len(p)))
	s.write(c, p)
}

// takeGap appends the frame that tells a client of its gap, if it has one, and ends the gap.
func (s *shard) takeGap(c *client, to []byte) []byte {
	if entry := s.slow.of(c); entry != nil && entry.missed > 0 {
		to = s.dialect(c).Answer(to, dialect.Outcome{What: dialect.Gap, Number: entry.missed})
		s.note(c, Trace{Kind: TraceGap, Number: entry.missed})
		entry.missed = 0
		s.count.SlowGaps.Add(1)
	}
	return to
}

// lookAtSlow looks at some of the slow clients, each tick.
func (s *shard) lookAtSlow() {
	for n := min(len(s.slow.list), looksPerTickMax); n > 0 && len(s.slow.list) > 0; n-- {
		if c := s.slow.next(); c.state <= stateClosing {
			s.culprit = c
			s.stillSlow(c)
		}
	}
	s.culprit = nil
}

// looksPerTickMax bounds the clients that lookAtSlow looks at, as each costs a cache miss or two.
const looksPerTickMax = 4096
