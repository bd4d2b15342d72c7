package secure

import (
	"net"
	"time"
)

// pipe is the net.Conn that crypto/tls has. It is a socket only for a connection that has left its loop.
//
// Owner: during the handshake its goroutine, then whoever drives the connection; real is set once.
type pipe struct {
	hs   *handshake // nil: that is over
	in   []byte     // what crypto/tls may read now; for a connection that has left, what it reads before the socket
	out  []byte     // what crypto/tls has written
	real net.Conn   // nil: bytes are handed in
}

// noBytes is the error of a read that finds nothing. crypto/tls keeps no error that is temporary, and goes on where it was at the next
// read.
type noBytes struct{}

func (noBytes) Error() string   { return "secure: no bytes have come" }
func (noBytes) Timeout() bool   { return true }
func (noBytes) Temporary() bool { return true }

// Read is called by crypto/tls.
func (p *pipe) Read(b []byte) (n int, err error) {
	switch {
	case p.hs != nil:
		return p.hs.read(b)
	case len(p.in) > 0:
		n = copy(b, p.in)
		if p.in = p.in[n:]; len(p.in) == 0 {
			p.in = nil
		}
		return n, nil
	case p.real != nil:
		return p.real.Read(b)
	}
	return 0, noBytes{}
}

// Write is called by crypto/tls.
func (p *pipe) Write(b []byte) (int, error) {
	switch {
	case p.hs != nil:
		p.hs.write(b)
	case p.real != nil:
		return p.real.Write(b)
	default:
		p.out = append(p.out, b...)
	}
	return len(b), nil
}

// Close closes the socket of a connection that has left.
func (p *pipe) Close() error {
	if p.real != nil {
		return p.real.Close()
	}
	return nil
}

// LocalAddr is the socket's, or none.
func (p *pipe) LocalAddr() net.Addr {
	if p.real != nil {
		return p.real.LocalAddr()
	}
	return nil
}

// RemoteAddr is the socket's, or none.
func (p *pipe) RemoteAddr() net.Addr {
	if p.real != nil {
		return p.real.RemoteAddr()
	}
	return nil
}

// SetDeadline is the socket's; where bytes are handed in nothing waits.
func (p *pipe) SetDeadline(t time.Time) error {
	if p.real != nil {
		return p.real.SetDeadline(t)
	}
	return nil
}

// SetReadDeadline is as SetDeadline.
func (p *pipe) SetReadDeadline(t time.Time) error {
	if p.real != nil {
		return p.real.SetReadDeadline(t)
	}
	return nil
}

// SetWriteDeadline is as SetDeadline.
func (p *pipe) SetWriteDeadline(t time.Time) error {
	if p.real != nil {
		return p.real.SetWriteDeadline(t)
	}
	return nil
}
