package main

import (
	"bytes"
	"encoding/binary"
	"io"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"

	"ringcast/bench/peers/common"
)

const requestMax = 8 << 10

// conn is a connection. Owner: its loop.
type conn struct {
	loop  *loop
	fd    int
	rooms map[*room]int // its place among the members of each

	open    bool     // the handshake is over
	state   ws.State // says whether a message is in fragments
	input   []byte   // a partial handshake or frame
	message []byte   // the fragments so far

	pending [][]byte // frames for the end of the turn
	output  []byte   // what the socket did not accept
	closing bool     // nothing is read any more, and it ends when output is written
	dead    bool
}

func (c *conn) read() {
	n, err := unix.Read(c.fd, c.loop.input[:])
	if err == unix.EAGAIN || err == unix.EINTR {
		return
	}
	if err != nil || n == 0 {
		c.die()
		return
	}
	p := c.loop.input[:n]
	if len(c.input) > 0 {
		c.input = append(c.input, p...)
		p = c.input
	}
	if !c.open && !c.closing {
		p = p[c.shake(p):]
	}
	for c.open && !c.closing && !c.dead {
		n := c.frame(p)
		if n == 0 {
			break
		}
		p = p[n:]
	}
	if len(p) == 0 || c.closing {
		c.input = nil // most connections have nothing to keep most of the time
	} else {
		c.input = append(c.input[:0], p...)
	}
}

// shake answers the handshake once it is complete, and returns its length.
func (c *conn) shake(p []byte) int {
	end := bytes.Index(p, []byte("\r\n\r\n")) + 4
	if end < 4 {
		if len(p) > requestMax {
			c.die()
		}
		return 0
	}
	var answer bytes.Buffer
	_, err := ws.Upgrade(struct {
		io.Reader
		io.Writer
	}{bytes.NewReader(p[:end]), &answer})
	c.open = err == nil
	c.write(answer.Bytes())
	if err != nil {
		c.end()
	}
	return end
}

// frame reads a frame from p and returns its length, 0 while it is incomplete.
func (c *conn) frame(p []byte) int {
	l := c.loop
	l.reader.Reset(p)
	h, err := ws.ReadHeaderBuffer(&l.reader, l.head[:])
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return 0
	}
	if err == nil {
		err = ws.CheckHeader(h, c.state)
	}
	switch {
	case err != nil:
		c.fail(ws.StatusProtocolError)
		return 0
	case h.OpCode == ws.OpBinary:
		c.fail(ws.StatusUnsupportedData)
		return 0
	case h.OpCode.IsData() && int64(len(c.message))+h.Length > common.MessageMax:
		c.fail(ws.StatusMessageTooBig)
		return 0
	case h.Length > int64(l.reader.Len()):
		return 0
	}
	start := len(p) - l.reader.Len()
	payload := p[start : start+int(h.Length)]
	ws.Cipher(payload, h.Mask, 0)
	switch {
	case h.OpCode == ws.OpPing:
		c.queue(ws.MustCompileFrame(ws.NewPongFrame(payload)))
	case h.OpCode == ws.OpClose:
		c.bye(payload)
	case h.OpCode == ws.OpPong:
	case !h.Fin:
		c.message = append(c.message, payload...)
		c.state = c.state.Set(ws.StateFragmented)
	case c.state.Fragmented():
		text := append(c.message, payload...)
		c.message, c.state = nil, c.state.Clear(ws.StateFragmented)
		c.command(text)
	default:
		c.command(payload)
	}
	return start + int(h.Length)
}

func (c *conn) command(text []byte) {
	cmd, err := common.Parse(text)
	if err == nil {
		c.do(cmd)
	}
	if text := cmd.Answer(err); text != nil {
		c.queue(ws.MustCompileFrame(ws.NewTextFrame(text)))
	}
}

func (c *conn) do(cmd common.Command) {
	l := c.loop
	if cmd.Cmd == "send_to_group" {
		l.said = append(l.said, message{cmd.Group, ws.MustCompileFrame(ws.NewTextFrame([]byte(*cmd.Message)))})
		return
	}
	l.deliver()
	r := l.rooms[cmd.Group]
	_, in := c.rooms[r]
	switch {
	case cmd.Cmd == "add_group" && !in:
		if r == nil {
			r = &room{name: cmd.Group}
			l.rooms[r.name] = r
			l.hub.settle(l, r.name, r)
		}
		c.rooms[r] = len(r.members)
		r.members = append(r.members, c)
	case cmd.Cmd == "leave_group" && in:
		c.leave(r)
	}
}

func (c *conn) leave(r *room) {
	seat, last := c.rooms[r], len(r.members)-1
	r.members[seat] = r.members[last]
	r.members[seat].rooms[r] = seat
	r.members[last] = nil
	r.members = r.members[:last]
	delete(c.rooms, r)
	if last == 0 {
		delete(c.loop.rooms, r.name)
		c.loop.hub.settle(c.loop, r.name, nil)
	}
}

// queue keeps frames for the end of the turn.
func (c *conn) queue(frames []byte) {
	if len(c.pending) == 0 {
		c.loop.due = append(c.loop.due, c)
	}
	c.pending = append(c.pending, frames)
}

// flush writes what is pending at once.
func (c *conn) flush() {
	frames := c.pending[0]
	if len(c.pending) > 1 {
		joined := c.loop.output[:0]
		for _, p := range c.pending {
			joined = append(joined, p...)
		}
		c.loop.output, frames = joined, joined
	}
	clear(c.pending)
	c.pending = c.pending[:0]
	c.write(frames)
	if c.closing && len(c.output) == 0 {
		c.die()
	}
}

// write writes p, or keeps what the socket does not accept.
func (c *conn) write(p []byte) {
	if c.dead {
		return
	}
	n := 0
	if len(c.output) == 0 {
		if n = c.send(p); n == len(p) || c.dead {
			return
		}
		c.loop.watch(unix.EPOLL_CTL_MOD, c.fd, unix.EPOLLIN|unix.EPOLLOUT)
	}
	if len(c.output)+len(p)-n > common.QueueMax {
		c.die()
		return
	}
	c.output = append(c.output, p[n:]...)
}

// drain writes what was kept, now that the socket is writable.
func (c *conn) drain() {
	c.output = c.output[c.send(c.output):]
	if len(c.output) > 0 || c.dead {
		return
	}
	c.output = nil
	if c.closing {
		c.die()
		return
	}
	c.loop.watch(unix.EPOLL_CTL_MOD, c.fd, unix.EPOLLIN)
}

// send returns how much the socket accepted.
func (c *conn) send(p []byte) int {
	for {
		n, err := unix.Write(c.fd, p)
		switch {
		case err == nil:
			return n
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return 0
		default:
			c.die()
			return 0
		}
	}
}

// bye answers a close frame with its own status.
func (c *conn) bye(payload []byte) {
	status, reason := ws.ParseCloseFrameData(payload)
	switch {
	case len(payload) == 0:
		c.queue(ws.CompiledClose)
		c.end()
	case len(payload) == 1 || ws.CheckCloseFrameData(status, reason) != nil:
		c.fail(ws.StatusProtocolError)
	default:
		c.queue(ws.MustCompileFrame(ws.NewCloseFrame(binary.BigEndian.AppendUint16(nil, uint16(status)))))
		c.end()
	}
}

func (c *conn) fail(status ws.StatusCode) {
	c.queue(ws.MustCompileFrame(ws.NewCloseFrame(ws.NewCloseFrameBody(status, ""))))
	c.end()
}

// end closes the connection when everything is written.
func (c *conn) end() {
	c.closing = true
	if len(c.pending) == 0 && len(c.output) == 0 {
		c.die()
	}
}

// die marks the connection for the end of the turn.
func (c *conn) die() {
	if !c.dead {
		c.dead = true
		c.loop.dead = append(c.loop.dead, c)
	}
}
