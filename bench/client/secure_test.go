package client

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

// crumbs is a connection on which each byte is a write of its own.
type crumbs struct{ net.Conn }

func (c crumbs) Write(b []byte) (int, error) {
	for i := range b {
		if _, err := c.Conn.Write(b[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(b), nil
}

// secureServer serves one connection by a script, which begins behind the upgrade and may use the connection below TLS. It returns the
// target.
func secureServer(t *testing.T, config *tls.Config, script func(conn *tls.Conn, below net.Conn)) Target {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
	signed, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	config.Certificates = []tls.Certificate{{Certificate: [][]byte{signed}, PrivateKey: key}}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	target := Target{Addr: listener.Addr().(*net.TCPAddr).AddrPort(), Host: "localhost", Path: "/", TLS: TLS{On: true, Name: "localhost"}}
	ended := make(chan struct{})
	t.Cleanup(func() {
		listener.Close()
		<-ended
	})
	go func() {
		defer close(ended)
		below, err := listener.Accept()
		if err != nil {
			return
		}
		defer below.Close()
		conn := tls.Server(crumbs{below}, config)
		request, err := http.ReadRequest(bufio.NewReader(conn))
		if err != nil {
			return
		}
		u := acceptOf(request.Header.Get("Sec-WebSocket-Key"))
		fmt.Fprintf(conn, "HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", u)
		script(conn, below)
	}()
	return target
}

// play opens one client and serves it until it is cut off. It returns what it was told.
func play(t *testing.T, target Target) []string {
	t.Helper()
	f, err := NewFleet(context.Background(), target, 1, []Seat{{Member: NotMember}}, Roster{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	g, heard := f.Generators()[0], &recorder{}
	g.SetPlay(heard)
	deadline := time.Now().Add(time.Minute)
	for _, step := range []Step{g.Open(), func(now int64) (int64, bool) {
		return now + int64(TurnMax), g.Conn(0).Dead() || time.Now().After(deadline)
	}} {
		if err := f.Phase(func(*Generator) Step { return step }, func(int) func() { return func() {} }); err != nil {
			t.Fatal(err)
		}
	}
	return heard.told
}

func TestTLSIsReadHoweverItComes(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("0123456789", 2000) // two records
	said := func(conn *tls.Conn) {
		for _, text := range []string{"a", long, "b"} {
			frame := appendFrame(nil, opText, []byte(text), [4]byte{})
			at := len(frame) - len(text) - 4 // a server's frame has no mask
			frame = slices.Delete(frame, at, at+4)
			frame[1] &= 0x7F
			conn.Write(frame)
		}
	}
	heard := []string{"opened", "heard a by -1", "heard " + long + " by -1", "heard b by -1"}
	for name, c := range map[string]struct {
		version uint16
		script  func(conn *tls.Conn, below net.Conn)
		want    string
	}{
		"1.3, a close frame": {tls.VersionTLS13, func(conn *tls.Conn, _ net.Conn) {
			conn.Write([]byte{0x88, 2, 0x03, 0xE8})
			conn.Close()
		}, "cut: closed by the server with 1000"},
		"1.2, a close frame": {tls.VersionTLS12, func(conn *tls.Conn, _ net.Conn) { conn.Write([]byte{0x88, 2, 0x03, 0xE8}) }, "cut: closed by the server with 1000"},
		"close_notify alone": {tls.VersionTLS13, func(conn *tls.Conn, _ net.Conn) { conn.Close() }, "cut: the server ended the connection without a close frame"},
		"a FIN alone": {tls.VersionTLS13, func(_ *tls.Conn, below net.Conn) { below.Close() },
			"cut: the server ended the connection without a close frame, and without TLS's close_notify"},
		"half a record and a FIN": {tls.VersionTLS12, func(_ *tls.Conn, below net.Conn) { below.Write([]byte{0x17, 3, 3, 0, 100, 1, 2, 3}) }, "cut: TLS: unexpected EOF"},
		"a record of another key": {tls.VersionTLS13, func(_ *tls.Conn, below net.Conn) { below.Write(append([]byte{0x17, 3, 3, 0, 40}, make([]byte, 40)...)) }, "cut: TLS: local error: tls: bad record MAC"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			target := secureServer(t, &tls.Config{MinVersion: c.version, MaxVersion: c.version}, func(conn *tls.Conn, below net.Conn) {
				said(conn)
				c.script(conn, below)
			})
			if got, want := play(t, target), append(slices.Clone(heard), c.want); !slices.Equal(got, want) {
				t.Errorf("got %d things told, %.300q, want %d and the last %q", len(got), got[len(got)-1:], len(want), c.want)
			}
		})
	}
}

func TestACertificateIsVerifiedIfThatIsAskedFor(t *testing.T) {
	t.Parallel()
	target := secureServer(t, &tls.Config{}, func(*tls.Conn, net.Conn) {})
	target.TLS.Verify = true
	if got := play(t, target); len(got) != 1 || !strings.HasPrefix(got[0], "cut: TLS handshake: tls: failed to verify certificate") {
		t.Errorf("got %q of a certificate that nobody has signed", got)
	}
}

func TestAPhaseThatEndsGivesUpItsHandshakes(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0") // it accepts, in the kernel, and says nothing
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	target := Target{Addr: listener.Addr().(*net.TCPAddr).AddrPort(), Host: "localhost", Path: "/", TLS: TLS{On: true}}
	f, err := NewFleet(context.Background(), target, 1, []Seat{{Member: NotMember}, {Member: NotMember}}, Roster{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	g := f.Generators()[0]
	open := g.Open()
	err = f.Phase(func(*Generator) Step {
		return func(now int64) (int64, bool) {
			wake, _ := open(now)
			return wake, g.Conn(0).state == stateSecuring && g.Conn(1).state == stateSecuring
		}
	}, func(int) func() { return func() {} })
	if got := f.Causes(); err != nil || got["TLS handshake: not done when the phase was over"] != 2 {
		t.Errorf("got %v, %v, want two handshakes given up", err, got)
	}
}
