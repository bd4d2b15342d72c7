package loop

import (
	"math/bits"
	"syscall"

	"ringcast/wsproto"
)

// This file is the way out. A message goes straight to the kernel while a client keeps up. What the kernel does not
// take waits in the client's outbox, which is gnet's outbound buffer, and whatever comes next waits behind it.

// sent is the outcome of one non-blocking send.
type sent struct {
	n     int
	errno syscall.Errno // 0, EAGAIN: the kernel's buffer is full; else the connection is broken
}

// push gives bytes to an open client: to the kernel if the outbox is empty, to the outbox else. messages is how many of a
// group they are, 0 for replies. It may doom the client and others, never more than that, so it is safe while members
// are walked.
//
// In the prototype the raw send cost some 20 % less than conn.Write at one message a send and 45 % less at 16: no lookup of what is
// queued, no interface calls, no entry into the runtime's scheduler around the system call.
func (s *shard) push(c *client, p []byte, messages int) {
	c.bytesOut += uint64(len(p))
	if c.slow || s.env.send == nil {
		s.queue(c, p, messages)
		return
	}
	r := s.env.send(int(c.fd), p)
	switch {
	case r.n == len(p):
	case r.errno == 0 || r.errno == syscall.EAGAIN || r.errno == syscall.EINTR:
		s.queue(c, p[r.n:], messages)
	default:
		s.doom(c)
	}
}

// queue writes through gnet, which keeps what the kernel does not take. An empty outbox takes a batch of any size, a
// batch being bounded itself; that of a slow client takes what its bound allows, and then the client is closed, or, where
// the operator wants that, loses whole deliveries until half of its outbox has gone, and is told how many messages they
// were. A message of which the kernel has taken the front is never dropped: its client was not slow.
func (s *shard) queue(c *client, p []byte, messages int) {
	waiting, gap := c.conn.OutboundBuffered(), s.slow.hasGap(c)
	room := s.bounds.outboxBytes - waiting
	if gap {
		room -= wsproto.GapBytesMax
	}
	full := waiting > 0 && len(p) > room
	switch {
	case messages > 0 && (full || gap && waiting > s.bounds.outboxBytes/2) && s.mayMiss(c):
		s.miss(c, p, messages)
		return
	case full:
		s.count.slowClosed.Add(1)
		s.slow.put(c, waiting)
		s.close(c, wsproto.CloseSlowClient, "too slow: the outbox is full")
		return
	case gap:
		if s.tellGap(c); c.state > stateClosing {
			return
		}
	}
	s.write(c, p)
}

// write is conn.Write, whose failure has called closed by the time it returns.
func (s *shard) write(c *client, p []byte) {
	for whole := !c.slow && s.env.send == nil; len(p) > 0; {
		n := len(p)
		if !whole {
			n = portion(p, c.slow)
		}
		_, err := c.conn.Write(p[:n])
		if c.state == stateDead {
			return
		}
		if err != nil {
			s.doom(c)
			return
		}
		p = p[n:]
		c.slow = c.slow || len(p) > 0 && c.conn.OutboundBuffered() > 0
	}
	switch waiting := c.conn.OutboundBuffered(); {
	case waiting > 0 || s.slow.hasGap(c):
		s.slow.put(c, waiting)
		s.makeRoom(c)
	case c.slow:
		s.slow.drop(c)
	}
}

// portion is how much of p to queue at once. gnet's buffers are powers of two, so that half of one would be empty after
// a message of a little more than a megabyte; an outbox should cost what it counts. The first 64 KiB are a ring.
func portion(p []byte, slow bool) int {
	if len(p) <= portionBytesMin {
		return len(p)
	}
	n := 1 << (bits.Len(uint(len(p))) - 1)
	if !slow {
		n = min(n, 64<<10)
	}
	return n
}

// portionBytesMin is the size up to which bytes are queued as they are.
const portionBytesMin = 4 << 10

// Replies. What one callback has to say to one client goes out in one send.

// outFor is the buffer to append replies for c to; hand the result to replyTo.
func (s *shard) outFor(c *client) []byte {
	if s.outClient != c || len(s.out) > replyBytesMax {
		s.flushOut()
	}
	return s.out
}

// replyBytesMax is how much is gathered for one client before it is sent; a client may pipeline without end.
const replyBytesMax = 32 << 10

func (s *shard) replyTo(c *client, out []byte) {
	s.out, s.outClient = out, c
	s.count.replies.Add(1)
}

func (s *shard) replyOK(c *client, id string) {
	if c.state == stateOpen {
		s.replyTo(c, wsproto.AppendOK(s.outFor(c), borrowBytes(id)))
	}
}

func (s *shard) replyError(c *client, id string, code wsproto.ErrorCode) {
	if c.state == stateOpen {
		s.replyTo(c, wsproto.AppendError(s.outFor(c), borrowBytes(id), code))
	}
}

func (s *shard) replySeq(c *client, id string, seq uint64) {
	if c.state == stateOpen {
		s.replyTo(c, wsproto.AppendSeq(s.outFor(c), borrowBytes(id), seq))
	}
}

// flushOut sends the replies that have gathered.
func (s *shard) flushOut() {
	c, out := s.outClient, s.out
	s.outClient = nil
	if len(out) == 0 {
		return
	}
	s.out = out[:0]
	if cap(out) > 2*replyBytesMax {
		s.out = nil
	}
	if c.state <= stateClosing {
		s.count.bytesOut.Add(uint64(len(out)))
		if s.stillSlow(c); c.state <= stateClosing {
			s.push(c, out, 0)
		}
	}
}

// Closing. An end has three steps: say it (Close frame or HTTP answer), let it reach the peer, cut. The middle step
// waits for the peer's own end, because a cut with unread input makes the kernel reset the connection and throw away
// what we said; and it has a deadline, because a hostile peer never ends.

// close sends a Close frame; nothing else goes out after it.
func (s *shard) close(c *client, code wsproto.StatusCode, reason string) {
	if c.state >= stateClosing {
		return
	}
	if c.state == stateHandshake {
		s.doom(c)
		return
	}
	if s.outClient == c {
		s.flushOut()
		if c.state >= stateClosing {
			return
		}
	}
	s.explain(c, code, reason)
	count(&s.count.closes, closeKindOf(code))
	s.closing(c)
	var frames [wsproto.GapBytesMax + 2 + 2 + 123 + 2]byte
	s.last(c, wsproto.AppendClose(s.takeGap(c, frames[:0]), code, reason))
}

// explain says in the log why a client is closed, if anybody reads it. Only what we begin: that clients come and go is no
// news, and a log that follows clients at their own speed is a weapon in their hands, hence debug.
func (s *shard) explain(c *client, code wsproto.StatusCode, reason string) {
	if s.env.ended != nil {
		s.env.ended(c, code, reason)
	}
}

// answerHTTP sends an HTTP response and ends the connection.
func (s *shard) answerHTTP(c *client, response []byte) {
	s.dropInput(c)
	s.closing(c)
	s.last(c, response)
}

// last sends a client's last bytes, past the outbox's bound: they are few, and the client must be told.
func (s *shard) last(c *client, p []byte) {
	c.bytesOut += uint64(len(p))
	s.count.bytesOut.Add(uint64(len(p)))
	s.write(c, p)
	if c.state == stateClosing {
		s.settle(c)
	}
}

// closing begins the end: no message goes out any more, and there is a deadline.
func (s *shard) closing(c *client) {
	if c.state == stateHandshake {
		s.unfinished--
	}
	c.state = stateClosing
	s.deadlines.add(c, s.tick, s.bounds.closeTicks)
}

// finish is called when the peer has answered our Close frame: cut as soon as the outbox is empty.
func (s *shard) finish(c *client) {
	c.end = endTheirs
	s.settle(c)
}

// settle takes a closing client a step on, if its outbox is empty: cut it when the peer has ended, else end our
// direction of the stream, so that the peer sees that nothing more comes and ends its own, be it with a Close frame or
// without.
func (s *shard) settle(c *client) {
	if s.stillSlow(c) || c.state != stateClosing {
		return
	}
	switch c.end {
	case endTheirs:
		s.doom(c)
	case endNone:
		c.end = endOurs
		s.env.shut(int(c.fd))
	}
}
