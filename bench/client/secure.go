package client

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// TLS is how clients speak it. The zero value is that they do not.
type TLS struct {
	On      bool
	Verify  bool   // the server's certificate, by the roots of this machine
	Name    string // of the server, for the certificate and for servers with several
	Resume  bool   // each client offers a session that another has had before, where there is one
	Version uint16 // the only one that is offered, as crypto/tls numbers them; 0: what crypto/tls offers
}

func (t *TLS) config(s *sessions) *tls.Config {
	c := &tls.Config{ServerName: t.Name, InsecureSkipVerify: !t.Verify, MinVersion: t.Version, MaxVersion: t.Version, NextProtos: []string{"http/1.1"}}
	if t.Resume {
		c.ClientSessionCache = s
	}
	return c
}

// sessions is the session that the clients of a generator resume. Real clients have one each; here all offer the last that any was
// given, which costs a server the same. Owner: the generator's thread.
type sessions struct{ last *tls.ClientSessionState }

// Get is called by crypto/tls.
func (s *sessions) Get(string) (*tls.ClientSessionState, bool) { return s.last, s.last != nil }

// Put is called by crypto/tls, with nil for a session that was of no use.
func (s *sessions) Put(_ string, session *tls.ClientSessionState) { s.last = session }

// secured is the TLS side of a client: crypto/tls's Conn on top of a net.Conn that has no socket. Bytes are handed to it when epoll
// has brought some, and what it writes gathers in the generator's buffer.
//
//	socket ─► arrived ─► tls.Conn ─► frames        handshake: a coroutine, which stands still in Read when arrived is empty
//	socket ◄─ sealed  ◄─ tls.Conn ◄─ frames        after it:  Read answers nothing, and crypto/tls goes on from there at the next call
//
// crypto/tls cannot go on with a handshake that a Read has ended, but with everything else. As a coroutine the handshake runs on the
// generator's own thread: what clients pay for TLS is in the generator's figures, and there is nothing to lock. Owner: that thread.
type secured struct {
	g       *Generator
	conn    *tls.Conn
	arrived []byte // borrowed for the length of a read
	ended   bool   // the server has sent a FIN

	// Of the handshake; nil after it.
	yield func(struct{}) bool
	next  func() (struct{}, bool)
	stop  func()
	err   error
}

// nothing is the error of a Read when nothing has arrived. crypto/tls does not keep it, since it is temporary.
type nothing struct{}

func (nothing) Error() string   { return "nothing has arrived" }
func (nothing) Timeout() bool   { return true }
func (nothing) Temporary() bool { return true }

var errGivenUp = errors.New("the handshake is given up")

// Read is called by crypto/tls.
func (s *secured) Read(b []byte) (int, error) {
	for len(s.arrived) == 0 {
		switch {
		case s.ended:
			return 0, io.EOF
		case s.yield == nil:
			return 0, nothing{}
		case !s.yield(struct{}{}):
			return 0, errGivenUp
		}
	}
	n := copy(b, s.arrived)
	s.arrived = s.arrived[n:]
	return n, nil
}

// Write is called by crypto/tls.
func (s *secured) Write(b []byte) (int, error) {
	s.g.sealed = append(s.g.sealed, b...)
	return len(b), nil
}

// What else a net.Conn has is not needed: the socket is the generator's.

// Close does nothing.
func (s *secured) Close() error { return nil }

// LocalAddr is of no use.
func (s *secured) LocalAddr() net.Addr { return nil }

// RemoteAddr is of no use.
func (s *secured) RemoteAddr() net.Addr { return nil }

// SetDeadline does nothing: the generator has its own.
func (s *secured) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing.
func (s *secured) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing.
func (s *secured) SetWriteDeadline(time.Time) error { return nil }

// recordBytesMax is what one record can bring (RFC 8446, section 5.1).
const recordBytesMax = 16 << 10

// secure begins the handshake of a client that is connected.
func (g *Generator) secure(c *Conn) {
	c.state = stateSecuring
	s := &secured{g: g}
	s.conn = tls.Client(s, g.servers[c.Server].config)
	s.next, s.stop = iter.Pull(func(yield func(struct{}) bool) {
		s.yield = yield
		s.err = s.conn.Handshake()
		s.yield = nil
	})
	c.tls = s
	g.shake(c)
}

// shake goes on with the handshake. It returns false when that needs more bytes, or has failed.
func (g *Generator) shake(c *Conn) bool {
	s := c.tls
	_, more := s.next()
	if sealed := g.sealed; c.half == halfHello && len(sealed) > 0 {
		g.sealed = sealed[:len(sealed)/2]
	}
	g.flushSealed(c)
	if more || c.state == stateDead {
		return false
	}
	s.next, s.stop = nil, nil
	if s.err != nil {
		g.Cut(c, fmt.Sprintf("TLS handshake: %v", s.err))
		return false
	}
	state := s.conn.ConnectionState()
	g.secures.done++
	g.secures.version = state.Version
	if state.DidResume {
		g.secures.resumed++
	}
	g.request(c)
	return c.state != stateDead
}

// secures counts TLS handshakes that were done.
type secures struct {
	done, resumed uint64
	version       uint16 // of the last
}

// readSecured is read for a client with TLS: what has come is decrypted record by record, and consumed whenever the buffer is full.
func (g *Generator) readSecured(c *Conn) {
	n, err := unix.Read(int(c.fd), g.cipher)
	now := Clock()
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return
	case err != nil:
		g.Cut(c, fmt.Sprintf("read: %v", err))
		return
	}
	g.received += uint64(n)
	s := c.tls
	s.arrived, s.ended = g.cipher[:n], n == 0
	if c.state == stateSecuring && !g.shake(c) {
		return
	}
	filled := copy(g.buf, c.in)
	for {
		n, err := s.conn.Read(g.buf[filled:])
		filled += n
		if len(g.sealed) > 0 { // an alert, or the answer to a new key
			g.flushSealed(c)
		}
		if err == nil && len(g.buf)-filled >= recordBytesMax {
			continue
		}
		used := g.take(c, g.buf[:filled], now)
		if c.state == stateDead {
			return
		}
		if filled = copy(g.buf, g.buf[used:filled]); filled > FrameHeaderMax+g.frameMax {
			g.Cut(c, "the server sends what is neither an answer nor a frame")
			return
		}
		if err != nil {
			g.paused(c, err)
			break
		}
	}
	if c.state != stateDead {
		c.in = append(c.in[:0], g.buf[:filled]...)
	}
}

// paused is called when crypto/tls has nothing more to read: usually because nothing more has come.
func (g *Generator) paused(c *Conn, err error) {
	switch {
	case err == nothing{}:
	case !errors.Is(err, io.EOF):
		g.Cut(c, fmt.Sprintf("TLS: %v", err))
	case c.state == stateClosing:
		g.end(c, false)
	case c.tls.ended:
		g.Cut(c, "the server ended the connection without a close frame, and without TLS's close_notify")
	default:
		g.Cut(c, "the server ended the connection without a close frame")
	}
}

// seal encrypts whole frames and pushes them.
func (g *Generator) seal(c *Conn, b []byte) {
	if _, err := c.tls.conn.Write(b); err != nil {
		g.sealed = g.sealed[:0]
		g.Cut(c, fmt.Sprintf("TLS: %v", err))
		return
	}
	g.flushSealed(c)
}

// flushSealed pushes what crypto/tls has written.
func (g *Generator) flushSealed(c *Conn) {
	sealed := g.sealed
	g.sealed = g.sealed[:0]
	g.pushBytes(c, sealed)
}

// unsecure ends the TLS side of a client that is dead. With parting the server is told so, as browsers do.
func (g *Generator) unsecure(c *Conn, parting bool) {
	s := c.tls
	if s == nil {
		return
	}
	if s.stop != nil {
		s.stop()
		s.stop = nil
	}
	if parting && len(c.out) == 0 {
		_ = s.conn.CloseWrite() // it fails within the handshake, where nothing was promised
		_, _ = unix.Write(int(c.fd), g.sealed)
	}
	g.sealed = g.sealed[:0]
	c.tls = nil
}

// abandon gives up the handshakes that are under way: a coroutine belongs to the thread of one phase.
func (g *Generator) abandon() {
	for i := range g.conns {
		if c := &g.conns[i]; c.state == stateSecuring {
			g.Cut(c, "TLS handshake: not done when the phase was over")
		}
	}
}

// Handshakes is how many TLS handshakes were done, how many of them resumed a session, and the version of the last; empty without any.
func (f *Fleet) Handshakes() (done, resumed uint64, version string) {
	for _, g := range f.generators {
		done += g.secures.done
		resumed += g.secures.resumed
		if g.secures.version != 0 {
			version = tls.VersionName(g.secures.version)
		}
	}
	return done, resumed, version
}
