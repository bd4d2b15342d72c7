package loop

import (
	"math/bits"
	"syscall"

	"ringcast/dialect"
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
	room := s.bounds.OutboxBytesMax - waiting
	if gap {
		room -= dialect.GapBytesMax
	}
	full := waiting > 0 && len(p) > room
	switch {
	case messages > 0 && (full || gap && waiting > s.bounds.OutboxBytesMax/2) && s.mayMiss(c):
		s.miss(c, p, messages)
		return
	case full:
		s.count.SlowClosed.Add(1)
		s.slow.put(c, waiting)
		s.close(c, dialect.CauseSlow)
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
