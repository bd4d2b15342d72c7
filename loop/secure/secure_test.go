package secure

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"
)

// certificate is one for tests, and a pool that trusts it.
var certificate = sync.OnceValues(func() (tls.Certificate, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	parsed, _ := x509.ParseCertificate(der)
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
})

func newServer() *Server {
	cert, _ := certificate()
	return NewServer(&tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2", "acme-tls/1"}}, 2)
}

func clientConfig(version uint16) *tls.Config {
	_, pool := certificate()
	return &tls.Config{RootCAs: pool, ServerName: "localhost", MinVersion: version, MaxVersion: version, NextProtos: []string{HTTP}}
}

// eachVersion runs a test with both versions of TLS.
func eachVersion(t *testing.T, f func(t *testing.T, version uint16)) {
	for name, version := range map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13} {
		t.Run(name, func(t *testing.T) { t.Parallel(); f(t, version) })
	}
}

// driven is a connection of ours over a pipe, as a loop drives it: bytes come in portions, and a goroutine of the test sends what it has
// to send.
type driven struct {
	t       *testing.T
	server  *Server
	conn    *Conn
	peer    *tls.Conn // the client
	wire    net.Conn  // our end
	kit     Kit
	portion int // bytes that are handed in at one time; 0: all that there are
	hello   []byte
	sent    []byte // to the client
	told    chan struct{}
	chunks  chan []byte
	err     error // of Open, once it has ended
}

func newDriven(t *testing.T, s *Server, config *tls.Config, portion int) *driven {
	ours, theirs := sockets(t)
	d := &driven{t: t, server: s, peer: tls.Client(theirs, config), wire: ours, portion: portion, told: make(chan struct{}, 16), chunks: make(chan []byte)}
	go d.listen()
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	return d
}

// sockets are the ends of a connection, whose kernel buffers what nobody reads yet.
func sockets(t *testing.T) (ours, theirs net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if theirs, err = net.Dial("tcp", l.Addr().String()); err == nil {
		ours, err = l.Accept()
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, end := range []net.Conn{ours, theirs} {
		_ = end.SetDeadline(time.Now().Add(time.Minute)) // it only ends a hang
	}
	return ours, theirs
}

// send writes to the client; what is empty is nothing to write.
func (d *driven) send(p []byte) {
	if d.sent = append(d.sent, p...); len(p) > 0 {
		if _, err := d.wire.Write(p); err != nil {
			d.t.Errorf("write to the client: %v", err)
		}
	}
}

// listen hands out what the client sends, in portions, until the connection ends.
func (d *driven) listen() {
	defer close(d.chunks)
	for {
		size := 64 << 10
		if d.portion > 0 {
			size = d.portion
		}
		buf := make([]byte, size)
		n, err := d.wire.Read(buf)
		if err != nil {
			return
		}
		select {
		case d.chunks <- buf[:n]:
		case <-d.t.Context().Done():
			return
		}
	}
}

// shake does our part of a handshake. The client's runs beside.
func (d *driven) shake() error {
	for {
		select {
		case p, ok := <-d.chunks:
			switch {
			case !ok:
				return io.EOF
			case d.conn != nil:
				d.conn.Feed(p)
			default:
				if d.hello = append(d.hello, p...); KindOf(d.hello) == Hello {
					d.conn = d.server.Begin(d.hello, func() { d.told <- struct{}{} })
				}
			}
		case <-d.told:
			out, done, err := d.conn.Progress()
			d.send(out)
			if done {
				return err
			}
		}
	}
}

// open opens what the client sends until it has so many bytes, or an error.
func (d *driven) open(want int) (got []byte) {
	for p := []byte(nil); ; {
		for {
			plain, rest, err := d.conn.Open(&d.kit, p)
			d.send(d.kit.Out)
			got, p = append(got, plain...), rest
			if errors.Is(err, ErrMore) {
				break
			}
			if err != nil {
				d.err = err
				return got
			}
		}
		if len(got) >= want {
			return got
		}
		var ok bool
		if p, ok = <-d.chunks; !ok {
			d.err = io.ErrUnexpectedEOF
			return got
		}
	}
}

// begun is a connection whose handshake is done.
func begun(t *testing.T, s *Server, config *tls.Config, portion int) *driven {
	t.Helper()
	d := newDriven(t, s, config, portion)
	ended := make(chan error, 1)
	go func() { ended <- d.peer.Handshake() }()
	if err := d.shake(); err != nil {
		t.Fatalf("our handshake: %v", err)
	}
	if err := <-ended; err != nil {
		t.Fatalf("the client's handshake: %v", err)
	}
	return d
}

// say has the client write, while the test opens.
func (d *driven) say(p []byte) {
	go func() {
		if _, err := d.peer.Write(p); err != nil && !errors.Is(err, io.ErrClosedPipe) {
			d.t.Errorf("the client's write: %v", err)
		}
	}()
}
