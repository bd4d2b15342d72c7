package loop

import (
	"sync/atomic"

	"ringcast/dialect"
)

// This file is about slow clients, whose outboxes hold bytes or who are to be told of a gap: what waits for each, and what
// becomes of messages that one of them has no room for.
//
// What waits is known as of the last write to a client or the last look at it: gnet does not tell when it has written
// some of it. So every slow client is looked at once in a while, and once more before it is cut off.

// slowClients is a shard's list of slow clients. Who stands in it has its place in extra.slow, counted from 1, and what
// the list counts is in the sums of relief. client.slow is true for all of them, and in the middle of a write that had to
// wait also for one that will be put here behind it.
//
// Owner: the loop.
type slowClients struct {
	list   []slowClient
	from   int           // the next look is at the place below
	relief *relief       // of the shard
	count  *atomic.Int64 // gauge: how many they are
}

// slowClient is one of them.
type slowClient struct {
	client *client
	bytes  int    // in its outbox, when it was last looked at
	missed uint64 // messages dropped since it was last told of some
}

// put notes how much waits for a slow client.
func (l *slowClients) put(c *client, bytes int) {
	c.slow = true
	x := c.more()
	if x.slow == 0 {
		l.list = append(l.list, slowClient{client: c})
		x.slow = uint32(len(l.list))
		l.count.Add(1)
	}
	l.resize(&l.list[x.slow-1], bytes)
}

// resize keeps the sums right.
func (l *slowClients) resize(entry *slowClient, bytes int) {
	if more := int64(bytes - entry.bytes); more != 0 {
		entry.bytes = bytes
		l.relief.add(more)
	}
}

// drop takes a client that is slow no more off the list, if it is in it.
func (l *slowClients) drop(c *client) {
	c.slow = false
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
		l.list = nil // the list of a bad day
	}
	x.slow = 0
	l.count.Add(-1)
	c.shed()
}

// of is a client's entry, nil when it is not slow.
func (l *slowClients) of(c *client) *slowClient {
	if c.extra == nil || c.extra.slow == 0 {
		return nil
	}
	return &l.list[c.extra.slow-1]
}

// hasGap says whether a client has missed messages and was not told yet.
func (l *slowClients) hasGap(c *client) bool {
	entry := l.of(c)
	return entry != nil && entry.missed > 0
}

// next is the client that is to be looked at next, of a list that is not empty. Downwards: one that is dropped over its
// look is replaced by the last, which was looked at before.
func (l *slowClients) next() *client {
	if l.from == 0 || l.from > len(l.list) {
		l.from = len(l.list)
	}
	l.from--
	return l.list[l.from].client
}

// stillSlow looks how much is left of an outbox, tells a client that is at its last half what it has missed, and says
// whether it is slow after that.
func (s *shard) stillSlow(c *client) bool {
	if !c.slow {
		return false
	}
	waiting := c.conn.OutboundBuffered()
	switch {
	case waiting <= s.bounds.OutboxBytesMax/2 && s.slow.hasGap(c):
		s.tellGap(c)
	case waiting == 0:
		s.slow.drop(c)
	default:
		s.slow.put(c, waiting)
	}
	return c.slow
}

// mayMiss says whether a client loses messages for which there is no room, rather than its connection.
func (s *shard) mayMiss(c *client) bool {
	return s.bounds.DropSlow && c.is(markAsks) && c.state == stateOpen
}

// miss drops a delivery of some messages to a client whose outbox has no room for it.
func (s *shard) miss(c *client, p []byte, messages int) {
	s.slow.put(c, c.conn.OutboundBuffered())
	s.slow.of(c).missed += uint64(messages)
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
	if entry := s.slow.of(c); entry != nil && entry.missed > 0 {
		to = s.dialect(c).Answer(to, dialect.Outcome{What: dialect.Gap, Number: entry.missed})
		entry.missed = 0
		s.count.SlowGaps.Add(1)
	}
	return to
}

// lookAtSlow looks at slow clients, some in each tick.
func (s *shard) lookAtSlow() {
	for n := min(len(s.slow.list), looksPerTickMax); n > 0 && len(s.slow.list) > 0; n-- {
		if c := s.slow.next(); c.state <= stateClosing {
			s.culprit = c
			s.stillSlow(c)
		}
	}
	s.culprit = nil
}

// looksPerTickMax bounds lookAtSlow: a look costs a cache miss or two.
const looksPerTickMax = 4096
