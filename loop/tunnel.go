package loop

import (
	"io"
	"net"
	"syscall"

	"ringcast/loop/assert"
	"ringcast/loop/secure"
)

// This file is clients that speak TLS. Such a client is one like any other: the same seats, bounds, outbox, policy and end. But between
// it and its socket stands a tunnel:
//
//	socket ─► arrived ─► decrypt ─► input ─► …              what is counted, and bounded by rates, is plain
//	socket ◄─ put ◄───── write ◄─── queue ◄─ push ◄─ …      what waits in the outbox is encrypted
//
// Whether something is queued, lost or closes the client is decided by queue, before it is encrypted: a record that was made has to be
// sent, since the peer counts them. hello.go has what comes before a tunnel is open.

// tunnel is the connection of a client that came to a listener for TLS. It stands in client.conn around gnet's, so no other client has a
// byte more for it.
//
// Owner: the loop. A borrower leaves such clients to it.
type tunnel struct {
	conn             // what is written here is not encrypted any more
	cipher  cipher   // nil: its handshake has not begun, or it has left its loop
	opening *opening // nil: it is open, or has left
	ended   bool     // our direction was ended by close_notify
	partial bool     // something of a record is counted as partial input
}

// cipher is what a shard needs of a TLS connection, see there. The simulation has one of its own.
type cipher interface {
	Feed(p []byte) (fed int)
	Progress() (out []byte, done bool, err error)
	Abort()
	Open(k *secure.Kit, p []byte) (plain, rest []byte, err error)
	Seal(dst, p []byte) ([]byte, error)
	CloseNotify(dst []byte) []byte
	Held() int
	Version() string
	IsOther() bool
	Leave(real net.Conn, behind []byte) net.Conn
}

var _ cipher = (*secure.Conn)(nil)

// isOpen says whether the TLS handshake is done, and the loop drives the connection.
func (t *tunnel) isOpen() bool { return t.cipher != nil && t.opening == nil }

// tunnel is c's; nil: it has none.
func (c *client) tunnel() *tunnel {
	if !c.isSecure() {
		return nil
	}
	return c.conn.(*tunnel)
}

// socket is gnet's connection.
func (c *client) socket() conn {
	if t := c.tunnel(); t != nil {
		return t.conn
	}
	return c.conn
}

// isDeaf says whether nothing can be said to c yet: its TLS handshake is not done.
func (c *client) isDeaf() bool { return c.isSecure() && !c.tunnel().isOpen() }

// sealing is what a loop encrypts and decrypts with.
//
// Owner: the loop.
type sealing struct {
	kit    secure.Kit
	sealed []byte // what is about to be sent
	behind []byte // what has come behind the record that is being read; borrowed
}

// sealBytesMax is how much of a batch is encrypted before it is sent. Large batches are sent in several portions, so what a loop keeps
// for it stays small.
const sealBytesMax = 64 << 10

// arrived takes what has come to a socket behind which there is a tunnel.
func (s *shard) arrived(c *client, p []byte) {
	s.takeUp()
	s.heartbeat.heard(c.slot, s.tick)
	switch t := c.tunnel(); {
	case c.state > stateClosing:
	case t.opening == nil:
		s.decrypt(c, t, p)
	case c.state == stateHandshake:
		s.greet(c, t, p)
	}
}

// decrypt reads what has come through an open tunnel, record by record.
func (s *shard) decrypt(c *client, t *tunnel, p []byte) {
	w, began := &s.sealing, false
	w.behind = p
	for c.state <= stateClosing && t.isOpen() {
		plain, rest, err := t.cipher.Open(&w.kit, w.behind)
		w.behind = rest
		if len(w.kit.Out) > 0 && !t.ended {
			s.put(c, t.conn, w.kit.Out)
			s.boundAnswers(c)
		}
		if began = began || len(plain) > 0; len(plain) > 0 && c.state <= stateClosing {
			s.input(c, plain)
			if assert.On {
				mangle(plain)
			}
		}
		switch err {
		case nil:
			continue
		case secure.ErrMore:
			s.keepRecord(c, t, began)
		case io.EOF:
			s.peerEnded(c)
		default:
			s.count.TLSErrors.Add(1)
			if c.state == stateHandshake {
				count(&s.count.Handshakes, handshakeBad)
			}
			s.doom(c)
		}
		break
	}
	w.behind = nil
}

// boundAnswers closes a client that takes no answers to the changes of keys that it asks for. They are no messages, so queue does not see
// them.
func (s *shard) boundAnswers(c *client) {
	if entry := s.slow.of(c); entry != nil && entry.bytes > s.bounds.OutboxBytesMax && c.state < stateDoomed {
		s.count.SlowClosed.Add(1)
		s.noteSlow(c, cargo{}, reasonFull)
		s.doom(c)
	}
}

// heldOfRecord is how much has come of a record that is not whole, in bytes.
func (c *client) heldOfRecord() int {
	if t := c.tunnel(); t != nil && t.isOpen() {
		held := t.cipher.Held()
		t.partial = t.partial || held > 0
		return held
	}
	return 0
}

// keepRecord counts what has come of a record as partial input, beside what that of the messages in earlier records is. began: it is not
// the record of which something had come before.
func (s *shard) keepRecord(c *client, t *tunnel, began bool) {
	bytes := t.cipher.Held()
	if bytes == 0 && !t.partial || c.state > stateClosing {
		return
	}
	t.partial = bytes > 0
	if x := c.more(); x.head != nil {
		bytes, began = bytes+cap(x.head.bytes), false // time goes on for what is in the records before it
	} else if x.reader != nil {
		bytes, began = bytes+partialBytesOf(x.reader), false
	}
	if bytes > 0 {
		s.keepPartial(c, bytes, began)
		return
	}
	s.partials.drop(c)
	c.shed()
}

// peerEnded is called when a client has ended its direction by close_notify, which is for TLS what the end of the stream is else: it is
// answered and cut.
func (s *shard) peerEnded(c *client) {
	if s.replies.to == c {
		s.flushReplies()
	}
	if c.state > stateClosing {
		return
	}
	if c.state == stateHandshake {
		count(&s.count.Handshakes, handshakeGone)
	}
	if s.traces.on && c.state == stateOpen {
		s.tell(c, Trace{Kind: TraceClose, Reason: reasonGone})
	}
	s.endTunnel(c)
	s.doom(c)
}

// seal encrypts bytes for a client and sends them. What the kernel does not take goes to the outbox.
func (s *shard) seal(c *client, t *tunnel, p []byte) {
	for w := &s.sealing; len(p) > 0 && c.state <= stateClosing; {
		n := min(len(p), sealBytesMax)
		var err error
		if w.sealed, err = t.cipher.Seal(w.sealed[:0], p[:n]); err != nil {
			s.doom(c)
			return
		}
		p = p[n:]
		s.put(c, t.conn, w.sealed)
	}
}

// put sends what is encrypted to a client's socket, or to its outbox.
func (s *shard) put(c *client, to conn, p []byte) {
	if !c.isSlow() && s.env.send != nil {
		r := s.env.send(int(c.fd), p)
		switch {
		case r.n == len(p):
			return
		case r.errno == 0 || r.errno == syscall.EAGAIN || r.errno == syscall.EINTR:
			p = p[r.n:]
		default:
			s.doom(c)
			return
		}
	}
	s.waitIn(c, to, p)
}

// endTunnel ends our direction of a tunnel by close_notify, once, before that of the socket is ended: without it the peer cannot tell the
// end from somebody's cut.
func (s *shard) endTunnel(c *client) {
	t := c.tunnel()
	if t == nil || t.ended || !t.isOpen() || c.state > stateClosing {
		return
	}
	t.ended = true
	w := &s.sealing
	if w.sealed = t.cipher.CloseNotify(w.sealed[:0]); len(w.sealed) > 0 {
		s.put(c, t.conn, w.sealed)
	}
}

// endDoomed is endTunnel for a client that is about to be cut: close_notify is sent if the socket takes it now, and there is nothing that
// waits before it.
func (s *shard) endDoomed(c *client) {
	t := c.tunnel()
	if t == nil || t.ended || !t.isOpen() || t.conn.OutboundBuffered() > 0 {
		return
	}
	t.ended = true
	switch p := t.cipher.CloseNotify(s.sealing.sealed[:0]); {
	case len(p) == 0:
	case s.env.send != nil:
		s.env.send(int(c.fd), p)
	default:
		_, _ = t.conn.Write(p)
	}
}

// forsake is called when the connection of a client with a tunnel is gone.
func (s *shard) forsake(c *client) {
	t := c.tunnel()
	if t.isOpen() {
		s.count.TLSClients.Add(-1)
	}
	if t.opening != nil {
		s.giveUpHello(c, t)
	}
}

// say writes to a client that is about to be cut, past the list of slow clients.
func (s *shard) say(c *client, p []byte) {
	if t := c.tunnel(); t != nil {
		if !t.isOpen() || t.ended {
			return
		}
		var err error
		if p, err = t.cipher.Seal(nil, p); err != nil {
			return
		}
	}
	_, _ = c.socket().Write(p)
}
