package loop

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"

	"ringcast/loop/secure"
)

// In some worlds some peers speak TLS, of a kind: its records have the form of real ones, and a number each, so that it shows at once if one
// is left out, comes twice or before another. Real ones would make a world depend on more than its seed.

const (
	simHello  = "\x16\x03\x01\x00\x06\x01\x00\x00\x02\x03\x03"
	simFlight = "\x16\x03\x03\x00\x03abc" // what is answered to it
	simFinish = "\x16\x03\x03\x00\x01z"   // what ends the handshake
)

// simRecord is a record: a kind, and its number before its contents.
func simRecord(to []byte, kind byte, number uint32, p []byte) []byte {
	to = append(to, kind, 3, 3, byte((len(p)+4)>>8), byte(len(p)+4))
	to = binary.BigEndian.AppendUint32(to, number)
	for _, b := range p {
		to = append(to, b^0x5A)
	}
	return to
}

const simOverhead = 9 // bytes of a record beside its contents

// simTLS is one side of such a connection, behind its handshake.
type simTLS struct {
	in, out uint32 // numbers of the next records
	held    []byte
	ended   bool // the other side has said close_notify
	over    bool // this side has
}

var errSimRecord = errors.New("a record that is not the next")

// open is the next record that has come; nil: it is not whole.
func (s *simTLS) open() (plain []byte, whole bool, err error) {
	if len(s.held) < 5 || len(s.held) < 5+int(binary.BigEndian.Uint16(s.held[3:])) {
		return nil, false, nil
	}
	kind, body := s.held[0], s.held[5:5+int(binary.BigEndian.Uint16(s.held[3:]))]
	s.held = s.held[5+len(body):]
	if len(body) < 4 || binary.BigEndian.Uint32(body) != s.in || s.ended {
		return nil, true, errSimRecord
	}
	s.in++
	if kind == 21 {
		s.ended = true
		return nil, true, io.EOF
	}
	for _, b := range body[4:] {
		plain = append(plain, b^0x5A)
	}
	return plain, true, nil
}

func (s *simTLS) seal(to, p []byte) []byte {
	for len(p) > 0 {
		n := min(len(p), 500)
		to = simRecord(to, 23, s.out, p[:n])
		s.out++
		p = p[n:]
	}
	return to
}

func (s *simTLS) end(to []byte) []byte {
	if !s.over {
		s.over = true
		to = simRecord(to, 21, s.out, nil)
		s.out++
	}
	return to
}

// simCipher is the server's side, with a handshake before it.
type simCipher struct {
	simTLS
	tell    func()
	fed     []byte
	flight  bool // it is to be sent
	done    bool
	aborted bool
}

// secure begins a handshake. The goroutine that a real one has says nothing that has not been fed to it.
func (w *world) secure(hello []byte, tell func()) cipher {
	c := &simCipher{tell: tell, flight: true, fed: hello[len(simHello):]}
	w.must(string(hello[:len(simHello)]) == simHello, "a handshake begins with %q", hello)
	c.look()
	tell()
	return c
}

func (c *simCipher) look() {
	if rest, ok := bytes.CutPrefix(c.fed, []byte(simFinish)); ok && !c.done {
		c.done, c.held = true, append([]byte(nil), rest...)
		c.tell()
	}
}

func (c *simCipher) Feed(p []byte) int {
	if c.fed = append(c.fed, p...); c.done {
		c.held = append(c.held, p...)
	}
	c.look()
	return len(c.fed)
}

func (c *simCipher) Progress() (out []byte, done bool, err error) {
	if c.flight {
		c.flight, out = false, []byte(simFlight)
	}
	if c.aborted {
		return out, true, errors.New("aborted")
	}
	return out, c.done, nil
}

func (c *simCipher) Abort() { c.aborted = true; c.tell() }

func (c *simCipher) Open(k *secure.Kit, p []byte) (plain, rest []byte, err error) {
	k.Out = k.Out[:0]
	c.held = append(c.held, p...)
	plain, whole, err := c.open()
	if !whole {
		return nil, nil, secure.ErrMore
	}
	return plain, nil, err
}

func (c *simCipher) Seal(dst, p []byte) ([]byte, error) { return c.seal(dst, p), nil }
func (c *simCipher) CloseNotify(dst []byte) []byte      { return c.end(dst) }
func (c *simCipher) Held() int                          { return len(c.held) }
func (c *simCipher) Version() string                    { return "sim" }
func (c *simCipher) IsOther() bool                      { return false }
func (c *simCipher) Leave(net.Conn, []byte) net.Conn    { return nil }

// simPeer is the peer's side of a socket; nil: it speaks no TLS.
type simPeer struct {
	simTLS
	wire   []byte // to be delivered
	greets bool   // the server's part of the handshake has yet to come
}

// overTLS has a peer that has just connected speak TLS, behind a proxy's header, which is before all.
func (a *actor) overTLS() {
	a.sock.client.overTLS()
	a.sock.peer = &simPeer{greets: true}
	if bytes.HasPrefix(a.toServer, []byte("PROXY ")) {
		at := bytes.IndexByte(a.toServer, '\n') + 1
		a.sock.peer.wire, a.toServer = bytes.Clone(a.toServer[:at]), bytes.Clone(a.toServer[at:])
	}
	a.sock.peer.wire = append(a.sock.peer.wire, simHello+simFinish...)
	a.w.tunnels++
}

// wrap is what is sent for some plain bytes, in portions that each come in a callback of their own. What is left of a record comes with the
// next bytes, if there are any.
func (a *actor) wrap(plain []byte) (portions [][]byte) {
	p := a.sock.peer
	if p == nil {
		return [][]byte{plain}
	}
	p.wire = p.seal(p.wire, plain)
	if a.said && len(a.toServer) == 0 && a.w.chance(50) {
		p.wire = p.end(p.wire)
	}
	for len(p.wire) > 0 && (len(portions) == 0 || len(a.toServer) == 0 || a.w.chance(70)) {
		n := 1 + a.w.rng.IntN(len(p.wire))
		portions, p.wire = append(portions, bytes.Clone(p.wire[:n])), p.wire[n:]
	}
	return portions
}

// tunnelHolds is what of a client's partial input is not decrypted.
func tunnelHolds(c *client) int {
	t := c.tunnel()
	switch {
	case t == nil:
		return 0
	case t.isOpen() && c.state <= stateClosing:
		return t.cipher.Held()
	case c.extra != nil && c.extra.partial > 0: // a hello, or what has come during the handshake; or it is as it was when the client was doomed
		all := c.shard.partials.list[c.extra.partial-1].bytes
		if c.extra.reader != nil {
			all -= readerBytes + c.extra.reader.Held()
		} else if c.extra.head != nil {
			all -= cap(c.extra.head.bytes)
		}
		return all
	}
	return 0
}

// unwrap is what a peer reads of what it is sent.
func (a *actor) unwrap(sent []byte) (plain []byte) {
	p := a.sock.peer
	if p == nil {
		return sent
	}
	p.held = append(p.held, sent...)
	if p.greets {
		if len(p.held) < len(simFlight) {
			return nil
		}
		a.w.must(string(p.held[:len(simFlight)]) == simFlight, "actor %d: a handshake is answered with %q", a.index, p.held)
		p.greets, p.held = false, p.held[len(simFlight):]
	}
	for {
		more, whole, err := p.open()
		a.w.must(err == nil || err == io.EOF, "actor %d: record %d: %v", a.index, p.in, err)
		if !whole {
			return plain
		}
		plain = append(plain, more...)
	}
}
