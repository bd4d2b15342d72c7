package secure

import (
	"crypto/tls"
	"errors"
	"net"
	"slices"
)

// Conn is the server's side of a TLS connection. After the handshake it holds no buffer between two calls but what has come of a record
// that is not whole.
//
// Owner: the loop that drives it; in the handshake handshake.go says more.
type Conn struct {
	pipe
	tls     *tls.Conn
	held    []byte // what has come and was not opened
	version uint16
	other   bool // it has agreed on another protocol than HTTP
}

// Kit is the buffers that connections need while they are driven, for all connections of one loop.
type Kit struct {
	Out   []byte // what Open has to send to the peer at once, before anything else: an alert, or the answer to a change of keys
	plain []byte // what is in a record
}

var (
	// ErrMore is Open's: no whole record has come.
	ErrMore = errors.New("secure: no whole record has come")

	errMessage = errors.New("secure: a message that is no business of a client")
)

// Open decrypts the next record of what has come: first what an earlier call has kept, then p, of which rest is what is behind it. plain
// is good until the next call with the kit, and may be empty; p is overwritten. With ErrMore nothing is left of p: what there was of a record was kept.
// io.EOF: the peer has ended its direction by close_notify (RFC 8446 §6.1). Any other error is a record that is not good; the
// connection is of no use any more, and Out has the alert that says so.
func (c *Conn) Open(k *Kit, p []byte) (plain, rest []byte, err error) {
	k.Out = k.Out[:0]
	record, rest := c.next(p)
	if record == nil {
		return nil, nil, ErrMore
	}
	if k.plain == nil {
		k.plain = make([]byte, plainBytesMax)
	}
	if c.out = k.Out; !lend(c.tls, record) {
		c.in = record
	}
	n, err := c.tls.Read(k.plain)
	k.Out, c.in, c.out = c.out, nil, nil
	waiting := takeBack(c.tls)
	if err != nil && errors.Is(err, noBytes{}) { // a record without data
		if err = nil; waiting > messageBytesMax {
			err = errMessage
		}
	}
	return k.plain[:n], rest, err
}

const (
	// plainBytesMax is the most that a record holds (RFC 8446 §5.1).
	plainBytesMax = 16 << 10

	// messageBytesMax bounds what a client has sent of a message for crypto/tls itself. Behind the handshake that is a change of keys, of 5
	// bytes (RFC 8446 §4.6.3), and a hello that asks for another handshake, which is refused.
	messageBytesMax = 4 << 10
)

// next is the next record; nil: it is not whole, and all of p was kept.
func (c *Conn) next(p []byte) (record, rest []byte) {
	if len(c.held) == 0 {
		if n := recordOf(p); n > 0 && n <= len(p) {
			return p[:n], p[n:]
		}
		if len(p) > 0 {
			c.held = append(c.held, p...)
		}
		return nil, nil
	}
	for {
		n := recordOf(c.held)
		if n > 0 && n <= len(c.held) {
			record, c.held = c.held[:n:n], c.held[n:]
			if more := recordOf(c.held); more == 0 || more > len(c.held) { // else a few bytes keep all that came during the handshake
				c.held = clone(c.held)
			}
			return record, p
		}
		if len(p) == 0 {
			return nil, nil
		}
		more := min(max(n, recordHeader)-len(c.held), len(p))
		c.held, p = append(c.held, p[:more]...), p[more:]
	}
}

// clone copies what there is; nothing takes no memory.
func clone(p []byte) []byte { return append([]byte(nil), p...) }

// Held is the memory, in bytes, of what has come and was not opened.
func (c *Conn) Held() int { return cap(c.held) }

// Seal appends p to dst, encrypted, as records of up to 16 KiB. Whatever it has made has to be sent, and in this order.
func (c *Conn) Seal(dst, p []byte) ([]byte, error) {
	c.out = dst
	_, err := c.tls.Write(p)
	dst, c.out = c.out, nil
	return dst, err
}

// CloseNotify appends the end of our direction to dst (RFC 8446 §6.1); behind it nothing can be sealed. A second one is empty.
func (c *Conn) CloseNotify(dst []byte) []byte {
	c.out = dst
	_ = c.tls.CloseWrite() // it fails only where an earlier error has ended the connection, and then there is nothing to say
	dst, c.out = c.out, nil
	return dst
}

// Version is the version of TLS, for people to read.
func (c *Conn) Version() string {
	switch c.version {
	case tls.VersionTLS12:
		return "1.2"
	case tls.VersionTLS13:
		return "1.3"
	default:
		return "other"
	}
}

// IsOther says whether the client has agreed on another protocol than HTTP, by ALPN, such as acme-tls/1 (RFC 8737).
func (c *Conn) IsOther() bool { return c.other }

// Leave makes an ordinary connection of it, over a socket from which the peer's next bytes come. behind is what has come and was not
// opened, beside what Open has kept; it is copied. The caller drives it no more.
func (c *Conn) Leave(real net.Conn, behind []byte) net.Conn {
	c.in, c.held = slices.Concat(c.held, behind), nil
	c.real = real
	return c.tls
}
