package loop

import (
	"unsafe"

	"ringcast/dialect"
	"ringcast/wsproto"
)

// This file is about what clients have begun to say and not finished: request heads, and messages of which a reader holds
// the front. Each is bounded by itself; here they are bounded in sum, and in time.

// half is a client with something unfinished. Owner: its shard, in whose list it stands.
type half struct {
	client *client
	bytes  int
	since  uint32 // tick at which the message began
}

// hold notes that so many bytes are held for a client's unfinished input, which began in this callback or before. When
// all clients together hold too much, the one that grows is refused; not so if it holds less than half of the average,
// else a few large ones would keep all small ones out. But the average grows with each of these, so they alone would come
// to any sum if there are only enough of them: at one and a half times the bound everybody who grows is refused.
func (s *shard) hold(c *client, bytes int, began bool) {
	x := c.extra
	if x.half == 0 {
		s.halves = append(s.halves, half{client: c})
		x.half = uint32(len(s.halves))
		s.hub.halves.Add(1)
		began = true
	}
	h := &s.halves[x.half-1]
	if began {
		h.since = s.tick
	}
	grown := s.setHeld(h, bytes)
	most, all := s.bounds.FragmentsBytesMax, s.hub.fragments.Load()
	if !grown || most == 0 || all <= most || all <= most+most/2 && int64(bytes) < all/(2*s.hub.halves.Load()) {
		return
	}
	if c.state == stateHandshake {
		s.turnAway(c, awayMemory, wsproto.RejectMemory)
		return
	}
	if c.state == stateOpen {
		s.count.FragmentsClosed.Add(1)
	}
	s.abandon(c, dialect.CausePartialMemory)
}

func (s *shard) setHeld(h *half, bytes int) (grown bool) {
	more := int64(bytes - h.bytes)
	h.bytes = bytes
	s.count.FragmentBytes.Add(more)
	s.hub.fragments.Add(more)
	return more > 0
}

// letHalfGo is the opposite of hold.
func (s *shard) letHalfGo(c *client) {
	x := c.extra
	if x == nil || x.half == 0 {
		return
	}
	at, last := x.half-1, len(s.halves)-1
	s.setHeld(&s.halves[at], 0)
	s.halves[at] = s.halves[last]
	s.halves[at].client.extra.half = at + 1
	s.halves[last] = half{}
	s.halves = s.halves[:last]
	if last == 0 {
		s.halves = nil // the list of a bad day
	}
	x.half = 0
	s.hub.halves.Add(-1)
}

// dropInput lets go of what was unfinished.
func (s *shard) dropInput(c *client) {
	if c.extra != nil {
		s.letHalfGo(c)
		c.extra.head, c.extra.reader = nil, nil
		c.shed()
	}
}

// abandon closes a client in the middle of its message. Its reader stays, and swallows the rest.
func (s *shard) abandon(c *client, why dialect.Cause) {
	s.close(c, why)
	if r := c.reader(); r != nil {
		r.Abandon()
		s.setHeld(&s.halves[c.extra.half-1], readerBytes+r.Held())
	}
}

const readerBytes = int(unsafe.Sizeof(wsproto.Reader{}))

// endHalves closes clients whose messages take too long. The time runs from a message's first byte; what comes between
// its fragments does not stop it. So it takes a client that says something, if little, to hold memory for longer.
func (s *shard) endHalves() {
	most, ends := s.bounds.messageTicks, 0
	if most == 0 {
		return
	}
	for i := len(s.halves) - 1; i >= 0 && ends < closesPerTurn; i-- {
		h := s.halves[i]
		if h.client.state == stateOpen && s.tick-h.since >= most {
			s.count.MessageTimeouts.Add(1)
			s.abandon(h.client, dialect.CausePartialTime)
			ends++
		}
	}
}
