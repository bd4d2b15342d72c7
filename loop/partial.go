package loop

import (
	"sync/atomic"
	"unsafe"

	"ringcast/dialect"
	"ringcast/wsproto"
)

// This file is about partial input: request heads and messages of which clients have sent a part. Each is bounded by itself, in
// package wsproto; here they are bounded in sum and in time.

// partials is a shard's list of clients with partial input. Each has its place in extra.partial, counted from 1. The hub's sums
// include the list.
//
// Owner: the loop.
type partials struct {
	list []partial
	sums *partialSums  // of the hub
	mine *atomic.Int64 // gauge: bytes of this list
}

// partial is a client with partial input.
type partial struct {
	client *client
	bytes  int
	since  uint32 // tick at which the message began
}

// partialSums is the partial input on all loops together. Any goroutine.
type partialSums struct {
	clients atomic.Int64
	bytes   atomic.Int64 // memory that it takes
}

// put notes how many bytes a client's partial input takes now. It began at this tick if the client was not in the list before, or
// if another message has begun since, as began says. grown: it takes more than before.
func (p *partials) put(c *client, bytes int, began bool, tick uint32) (grown bool) {
	x := c.extra
	if x.partial == 0 {
		p.list = append(p.list, partial{client: c})
		x.partial = uint32(len(p.list))
		p.sums.clients.Add(1)
		began = true
	}
	if began {
		p.list[x.partial-1].since = tick
	}
	return p.resize(c, bytes)
}

// resize is put for a client that is in the list, and whose message is the same.
func (p *partials) resize(c *client, bytes int) (grown bool) {
	entry := &p.list[c.extra.partial-1]
	more := int64(bytes - entry.bytes)
	entry.bytes = bytes
	p.mine.Add(more)
	p.sums.bytes.Add(more)
	return more > 0
}

// drop is the opposite of put; nothing happens if the client is not in the list.
func (p *partials) drop(c *client) {
	x := c.extra
	if x == nil || x.partial == 0 {
		return
	}
	p.resize(c, 0)
	at, last := x.partial-1, len(p.list)-1
	p.list[at] = p.list[last]
	p.list[at].client.extra.partial = at + 1
	p.list[last] = partial{}
	p.list = p.list[:last]
	if last == 0 {
		p.list = nil // free the memory of a long list
	}
	x.partial = 0
	p.sums.clients.Add(-1)
}

// refuses says whether a client whose partial input has grown to so many bytes is refused; most bounds the sum, 0: it has no
// bound. If the sum exceeds it, a client that grows is refused, but not if it has less than half of the average: else a few
// with much would keep out all with little. Many with little could still make any sum, so at one and a half times the bound
// every client that grows is refused.
func (p *partialSums) refuses(bytes int, most int64) bool {
	all := p.bytes.Load()
	return most > 0 && all > most && (all > most+most/2 || int64(bytes) >= all/(2*p.clients.Load()))
}

// keepPartial notes that a client's partial input takes so many bytes, and refuses the client if all partial input together
// is too much. began: it began in this callback.
func (s *shard) keepPartial(c *client, bytes int, began bool) {
	if !s.partials.put(c, bytes, began, s.tick) || !s.hub.partials.refuses(bytes, s.bounds.FragmentsBytesMax) {
		return
	}
	if c.state == stateHandshake {
		s.turnAway(c, awayMemory, wsproto.RejectMemory)
		return
	}
	if c.state == stateOpen {
		s.count.FragmentsClosed.Add(1)
	}
	s.giveUpOn(c, dialect.CausePartialMemory)
}

// dropInput drops a client's partial input, but for what has come of a record of TLS.
func (s *shard) dropInput(c *client) {
	if c.extra != nil {
		c.extra.head, c.extra.reader = nil, nil
		if held := c.heldOfRecord(); held > 0 {
			s.partials.put(c, held, false, s.tick)
			return
		}
		s.partials.drop(c)
		c.shed()
	}
}

// giveUpOn closes a client in the middle of its message. Its reader stays, and discards the rest of the message.
func (s *shard) giveUpOn(c *client, why dialect.Cause) {
	s.close(c, why)
	if r := c.reader(); r != nil {
		r.Abandon()
		s.partials.resize(c, partialBytesOf(r)+c.heldOfRecord())
	}
}

// partialBytesOf is the memory of a reader with a part of a message, in bytes.
func partialBytesOf(r *wsproto.Reader) int { return readerBytes + r.Held() }

const readerBytes = int(unsafe.Sizeof(wsproto.Reader{}))

// endLatePartials closes clients whose messages take too long, from a message's first byte to its last. Control frames
// between its fragments do not extend the time.
func (s *shard) endLatePartials() {
	most, ends := s.bounds.messageTicks, 0
	if most == 0 {
		return
	}
	for i := len(s.partials.list) - 1; i >= 0 && ends < closesPerTurn; i-- {
		p := s.partials.list[i]
		if s.tick-p.since >= most && p.client.state == stateOpen {
			s.count.MessageTimeouts.Add(1)
			s.giveUpOn(p.client, dialect.CausePartialTime)
			ends++
		}
	}
}
