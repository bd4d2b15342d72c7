package loop

import (
	"math/bits"
	"syscall"

	"ringcast/dialect"
)

// This file sends to clients. Bytes go to the kernel directly while a client is not slow. What the kernel does not take
// waits in the client's outbox, which is gnet's outbound buffer, and whatever comes next waits there after it.

// sent is the outcome of one non-blocking send.
type sent struct {
	n     int
	errno syscall.Errno // 0, EAGAIN: the kernel's buffer is full; else the connection is broken
}

// push sends bytes to an open client: to the kernel if its outbox is empty, else to the outbox. of says what they are. It may doom or
// close the client, whose Close frame goes out here, and doom others. It changes no list of members, so it is safe while a pass walks
// over members.
//
// In a prototype the raw send cost some 20 % less than conn.Write at one message a send and 45 % less at 16: no lookup of what is
// queued, no interface calls, no entry into the runtime's scheduler around the system call.
func (s *shard) push(c *client, p []byte, of cargo) {
	c.bytesOut += uint64(len(p))
	if c.detour&detourAny != 0 || s.env.send == nil {
		s.queue(c, p, of)
		return
	}
	r := s.env.send(int(c.fd), p)
	switch {
	case r.n == len(p):
	case r.errno == 0 || r.errno == syscall.EAGAIN || r.errno == syscall.EINTR:
		s.queue(c, p[r.n:], of)
	default:
		s.doom(c)
	}
}

// queue writes through gnet, which keeps what the kernel does not take. An empty outbox takes a batch of any size, as batches are
// bounded themselves. That of a slow client takes what its bound allows; beyond it Limits.SlowClient decides. The client is closed; or
// it loses whole batches instead until half of its outbox has gone, and gets them from history (heal.go), or is told how many messages
// they were. A message of which the kernel has taken a part is never dropped, as its client was not slow.
func (s *shard) queue(c *client, p []byte, of cargo) {
	waiting, gap := c.conn.OutboundBuffered(), s.slow.hasGap(c)
	room := s.bounds.OutboxBytesMax - waiting
	if gap {
		room -= dialect.GapBytesMax
	}
	full := waiting > 0 && len(p) > room
	lost, hopeless := s.loses(c, of, full)
	switch {
	case lost:
		s.lose(c, p, of)
		return
	case of.messages > 0 && (full || gap && waiting > s.bounds.OutboxBytesMax/2) && s.mayMiss(c):
		s.miss(c, p, of)
		return
	case full || hopeless:
		s.count.SlowClosed.Add(1)
		s.noteSlow(c, of, reasonFull)
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

// write is for what has to be sent: what is to be encrypted is here, and a record that was made cannot be left out.
func (s *shard) write(c *client, p []byte) {
	if t := c.tunnel(); t != nil {
		s.seal(c, t, p)
		return
	}
	s.waitIn(c, c.conn, p)
}

// waitIn writes with conn.Write, which has called closed when it returns an error. It keeps the client's entry among the slow ones
// right.
func (s *shard) waitIn(c *client, to conn, p []byte) {
	for whole := !c.isSlow() && s.env.send == nil; len(p) > 0; {
		n := len(p)
		if !whole {
			n = portion(p, c.isSlow())
		}
		_, err := to.Write(p[:n])
		if c.state == stateDead {
			return
		}
		if err != nil {
			s.doom(c)
			return
		}
		p = p[n:]
		if len(p) > 0 && to.OutboundBuffered() > 0 {
			c.detour |= detourSlow
		}
	}
	switch waiting := to.OutboundBuffered(); {
	case waiting > 0 || s.slow.owes(c):
		s.slow.put(c, waiting)
		s.relieveAfter(c)
	case c.isSlow():
		s.slow.drop(c)
	}
}

// portion is how many bytes of p to queue at once. gnet's buffers are powers of two in size, so after one write of a little
// more than a megabyte nearly half of a buffer would be empty; an outbox should take the memory that it counts. gnet's first
// buffer, up to 64 KiB, is a ring.
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

// portionBytesMin is the size up to which bytes are queued in one portion.
const portionBytesMin = 4 << 10
