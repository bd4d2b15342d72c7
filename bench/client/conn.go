package client

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// Conn is one client. Usually it owns no buffers: in holds the start of a partial frame, out holds what the socket did not
// accept. Owner: its generator.
type Conn struct {
	// Immutable.
	Number int32 // among all clients of the run
	At     int32 // its place in the generator, and epoll's value for it: a descriptor could have been reused
	Group  int32 // the group it joins first, or publishes to
	Member int32 // its place among the clients that join this group first; NotMember if it joins nothing
	Server int32 // which of the generator's servers it connects to
	sends  bool  // it publishes, see Seat

	fd    int32
	joins int32  // joins that were proved
	asks  uint32 // commands that had an id
	state connState
	asked bool  // EPOLLOUT is set
	half  half  // it sends the first half of something only
	packs bool  // it has agreed on permessage-deflate
	born  int64 // when it began to connect, for the deadline

	socketID string // by which a server of the Pusher protocol knows it
	in       []byte
	out      []byte
	tls      *secured // nil without TLS, and of one that is dead
}

type connState uint8

const (
	stateIdle connState = iota
	stateConnecting
	stateSecuring  // the TLS handshake is under way
	stateUpgrading // the request is sent
	stateGreeting  // the command that comes before all others is sent, its reply is awaited
	stateJoining   // the join is sent, its proof is awaited
	stateReady
	stateClosing // our close frame is sent, the server's end is awaited
	stateDead
)

// half is what a client sends of its opening, for one that is to end in the middle.
type half uint8

const (
	whole half = iota
	halfRequest
	halfHello // of TLS
)

// OutBytesMax bounds what waits to be written to a connection: a publisher writes at most this much at once and only while
// nothing waits; everything else that a client writes is a few bytes.
const OutBytesMax = 96 << 10

// Ready says that the client is connected and has joined.
func (c *Conn) Ready() bool { return c.state == stateReady }

// Dead says that the connection has ended.
func (c *Conn) Dead() bool { return c.state == stateDead }

// NextID is the id of c's next command. Ids count from the client's number on, so that those of a capture of packets show whose
// they are.
func (c *Conn) NextID() int {
	c.asks++
	return c.lastID()
}

func (c *Conn) lastID() int { return int(c.Number) + int(c.asks) }

// Waiting says that the socket has not accepted everything that was pushed.
func (c *Conn) Waiting() bool { return len(c.out) > 0 }

// event serves what epoll reported of c.
func (g *Generator) event(c *Conn, events uint32) {
	if c.state == stateConnecting {
		g.connected(c)
		return
	}
	if events&unix.EPOLLOUT != 0 && c.state != stateDead {
		g.flush(c)
		if len(c.out) == 0 && c.state != stateDead {
			g.play.Drained(c)
		}
	}
	if events&^uint32(unix.EPOLLOUT) != 0 && c.state != stateDead {
		g.read(c)
	}
}

// read does one read. What is left is reported again by epoll (level triggered), after the others.
func (g *Generator) read(c *Conn) {
	if c.tls != nil {
		g.readSecured(c)
		return
	}
	kept := copy(g.buf, c.in)
	n, err := unix.Read(int(c.fd), g.buf[kept:min(len(g.buf), kept+readBytes)])
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return
	case err != nil:
		g.Cut(c, fmt.Sprintf("read: %v", err))
		return
	case n == 0 && c.state == stateClosing:
		g.end(c, false)
		return
	case n == 0:
		g.Cut(c, "the server ended the connection without a close frame")
		return
	}
	g.received += uint64(n)
	all := g.buf[:kept+n]
	used := g.take(c, all, Clock())
	if c.state == stateDead {
		return
	}
	rest := all[used:]
	if len(rest) > FrameHeaderMax+g.frameMax {
		g.Cut(c, "the server sends what is neither an answer nor a frame")
		return
	}
	c.in = append(c.in[:0], rest...)
}

// take consumes whole frames (before them, the answer to the handshake) from b and returns how many bytes it consumed. One
// reading of the clock serves all frames of a read: they arrived together.
func (g *Generator) take(c *Conn, b []byte, now int64) int {
	used := 0
	if c.state == stateUpgrading {
		n, packs, err := g.servers[c.Server].upgrade.check(b)
		if err != nil {
			g.Cut(c, err.Error())
			return 0
		}
		if n == 0 {
			return 0
		}
		used, c.packs = n, packs
		g.upgraded(c)
	}
	for c.state != stateDead {
		h, err := parseHeader(b[used:], g.frameMax, c.packs)
		if err != nil {
			g.Cut(c, err.Error())
			break
		}
		end := used + h.size + h.payload
		if h.size == 0 || end > len(b) {
			break
		}
		payload := b[used+h.size : end]
		used = end
		if h.packed {
			if payload, err = g.inflated.unpack(payload, g.frameMax); err != nil {
				g.Cut(c, err.Error())
				break
			}
		}
		switch {
		case h.op == opText && g.target.Dialect == Centrifuge:
			g.lines(c, payload, now)
		case h.op == opText && g.target.Dialect == Pusher:
			g.pusher(c, payload, now)
		case h.op == opText && c.state >= stateReady: // also after our close: the server may have sent it before
			g.play.Heard(c, payload, Origin{Group: AnyGroup}, now)
		case h.op == opText:
			g.proved(c, payload)
		default:
			g.control(c, h.op, payload)
		}
	}
	return used
}

func (g *Generator) control(c *Conn, op byte, payload []byte) {
	switch op {
	case opPing:
		if c.state == stateClosing {
			return // nothing may follow our close frame (RFC 6455, 5.5.1)
		}
		g.pings++
		g.send(c, opPong, payload)
	case opPong: // an unsolicited one is allowed too (RFC 6455, 5.5.3)
		g.play.Ponged(c, payload, Clock())
	case opClose:
		if c.state == stateClosing {
			g.end(c, false)
			return
		}
		cause := closeCause(payload)
		g.send(c, opClose, payload[:min(2, len(payload))])
		g.Cut(c, cause)
	case opBinary:
		g.Cut(c, "a binary message, where the protocol has text")
	default:
		g.Cut(c, fmt.Sprintf("a frame with the unknown opcode %d", op))
	}
}

// SendText sends one text message.
func (g *Generator) SendText(c *Conn, text []byte) { g.send(c, opText, text) }

// SendPing sends a ping; its pong is passed to the play's Ponged.
func (g *Generator) SendPing(c *Conn, payload []byte) { g.send(c, opPing, payload) }

// send writes one frame.
func (g *Generator) send(c *Conn, op byte, payload []byte) {
	if len(c.out) > OutBytesMax {
		return // a server that does not read gets no more pongs
	}
	g.scratch = appendFrame(g.scratch[:0], op, payload, g.MaskKey())
	g.Push(c, g.scratch)
}

// Push writes b, which is whole frames, as far as the socket accepts it, and keeps the rest for later.
func (g *Generator) Push(c *Conn, b []byte) {
	switch {
	case c.state == stateDead:
	case c.tls != nil:
		g.seal(c, b)
	default:
		g.pushBytes(c, b)
	}
}

// pushBytes is Push for what goes to the socket as it is.
func (g *Generator) pushBytes(c *Conn, b []byte) {
	if len(c.out) == 0 && len(b) > 0 {
		b = b[g.write(c, b):]
	}
	if c.state != stateDead && len(b) > 0 {
		c.out = append(c.out, b...)
		g.ask(c, true)
	}
}

// flush writes what Push has kept.
func (g *Generator) flush(c *Conn) {
	c.out = c.out[:copy(c.out, c.out[g.write(c, c.out):])]
	if c.state != stateDead && len(c.out) == 0 {
		g.ask(c, false)
	}
}

func (g *Generator) write(c *Conn, b []byte) int {
	n, err := unix.Write(int(c.fd), b)
	if err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
		g.Cut(c, fmt.Sprintf("write: %v", err))
	}
	return max(n, 0)
}

func (g *Generator) ask(c *Conn, writable bool) {
	if c.asked != writable {
		c.asked = writable
		g.watch(c, unix.EPOLL_CTL_MOD)
	}
}

// watch tells epoll what c waits for.
func (g *Generator) watch(c *Conn, how int) {
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP, Fd: c.At}
	if c.asked {
		event.Events |= unix.EPOLLOUT
	}
	if err := unix.EpollCtl(g.epoll, how, int(c.fd), &event); err != nil {
		g.Cut(c, fmt.Sprintf("epoll_ctl: %v", err))
	}
}

// Cut ends c for a cause other than the bench's own decision, and counts the cause.
func (g *Generator) Cut(c *Conn, cause string) {
	if c.state == stateDead {
		return
	}
	was := c.state
	g.end(c, false)
	g.causes[cause]++
	g.failed.Add(1)
	g.play.Cut(c, cause, was < stateReady)
}

// Goodbye sends a close frame and leaves the end to the server. Nothing is written after it.
func (g *Generator) Goodbye(c *Conn) {
	g.send(c, opClose, goodbye)
	if c.state != stateDead {
		c.state = stateClosing
	}
}

// goodbye is the payload of a close frame of our own: 1000, RFC 6455, 7.4.1.
var goodbye = []byte{0x03, 0xE8}

// Reset ends c by a reset, without a close frame, like a client that crashes.
func (g *Generator) Reset(c *Conn) { g.end(c, true) }

// HangUp ends c by a FIN, without a close frame, like one whose proxy ends. If something was not read yet, the kernel makes a reset of it.
func (g *Generator) HangUp(c *Conn) { g.end(c, false) }

// end ends c on the bench's own decision, or when its end no longer matters. With a reset the server notices at once and
// without a close frame, as from a client that crashes.
func (g *Generator) end(c *Conn, reset bool) {
	was := c.state
	c.state = stateDead
	if reset {
		// If it fails the connection ends with a FIN, which every server must handle too.
		_ = unix.SetsockoptLinger(int(c.fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	}
	g.unsecure(c, was == stateClosing && !reset)
	unix.Close(int(c.fd))
	c.in, c.out = nil, c.out[:0]
	if was >= stateReady {
		g.joined.Add(-1)
	} else {
		g.left(was)
	}
}
