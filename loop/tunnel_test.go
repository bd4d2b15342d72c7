package loop

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"ringcast/wsproto"
)

// testCertificate is a certificate for localhost, and a pool that trusts it.
var testCertificate = sync.OnceValues(func() (tls.Certificate, *x509.CertPool) {
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

// overTLS has a server speak TLS on a port of its own, beside the plain one.
func overTLS(cfg Config) Config {
	certificate, _ := testCertificate()
	cfg.Listen, cfg.TLSListen, cfg.TLS = []string{"127.0.0.1:0"}, []string{"127.0.0.1:0"}, &tls.Config{Certificates: []tls.Certificate{certificate}}
	return cfg
}

func trusting() *tls.Config {
	_, pool := testCertificate()
	return &tls.Config{RootCAs: pool, ServerName: "localhost"}
}

// dialRaw connects to the port for TLS, and says nothing.
func dialRaw(t testing.TB, s *Server) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", s.TLSAddrs()[0].String())
	if err != nil {
		t.Fatalf("dial: %v", err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(testTimeout))
	return conn
}

// overheard is a socket that keeps what was read. crypto/tls takes the end of the socket for that of the tunnel, so whether there was a
// close_notify shows on the wire alone.
type overheard struct {
	net.Conn
	read []byte
}

func (w *overheard) Read(p []byte) (n int, err error) {
	n, err = w.Conn.Read(p)
	w.read = append(w.read, p[:n]...)
	return n, err
}

// wantNotified reads up to the end, which must be a close_notify: an alert, and over TLS 1.3 a record of the length of one.
func wantNotified(t *testing.T, what string, c *tls.Conn) (heard []byte) {
	t.Helper()
	heard, err := io.ReadAll(c)
	if err != nil {
		t.Errorf("%s: %v", what, err)
	}
	if _, err := io.ReadAll(c.NetConn()); err != nil { // behind it there is the end of the socket
		t.Errorf("%s: %v", what, err)
	}
	var last []byte
	for all := c.NetConn().(*overheard).read; len(all) >= 5; all = all[len(last):] {
		last = all[:min(len(all), 5+int(all[3])<<8+int(all[4]))]
	}
	if is13 := c.ConnectionState().Version == tls.VersionTLS13; len(last) == 0 || !is13 && last[0] != 21 || is13 && (last[0] != 23 || len(last) != 5+2+1+16) {
		t.Errorf("%s: the last record is %x, want a close_notify", what, last)
	}
	return heard
}

// dialTLS is dial over TLS.
func dialTLS(t testing.TB, s *Server, change func(*tls.Config)) *peer {
	t.Helper()
	config := trusting()
	if change != nil {
		change(config)
	}
	p := &peer{t: t, conn: tls.Client(&overheard{Conn: dialRaw(t, s)}, config)}
	p.in = bufio.NewReader(p.conn)
	p.upgrade("/")
	return p
}

func (p *peer) upgrade(path string) {
	p.t.Helper()
	fmt.Fprintf(p.conn, "GET %s HTTP/1.1\r\nHost: test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n", path)
	for line := ""; line != "\r\n"; {
		var err error
		if line, err = p.in.ReadString('\n'); err != nil {
			p.t.Fatalf("handshake: %v", err)
		}
	}
}

func (p *peer) frame(first byte, payload string) {
	frame := wsproto.AppendMaskedFrame(nil, wsproto.OpText, [4]byte{1, 2, 3, 4}, []byte(payload))
	frame[0] = first
	if _, err := p.conn.Write(frame); err != nil {
		p.t.Errorf("write: %v", err)
	}
}

func atMost(version uint16) func(*tls.Config) {
	return func(c *tls.Config) { c.MaxVersion = version }
}

func TestClientsOverTLSAreInOneOrderWithPlainOnes(t *testing.T) {
	const members, senders, each = 32, 6, 500
	for _, portable := range []bool{false, true} {
		s := startServer(t, overTLS(Config{Loops: 4, PortableSend: portable}))
		dialAny := func(i int) *peer {
			switch i % 4 {
			case 0:
				return dialTLS(t, s, atMost(tls.VersionTLS12))
			case 1:
				return dialTLS(t, s, nil)
			}
			return dial(t, s)
		}
		peers := make([]*peer, members)
		for i := range peers {
			peers[i] = dialAny(i)
			peers[i].join("g")
		}
		var wg sync.WaitGroup
		for i := range senders {
			wg.Go(func() { dialAny(i).sendNumbered(i, each) })
		}
		got := hear(t, peers, senders*each)
		wg.Wait()
		checkOneSequence(t, got, senders, each)
		if n := s.Hub().Snapshot().Total().TLSClients; n < members/2 {
			t.Errorf("clients over TLS: %d are counted, want at least %d", n, members/2)
		}
	}
}

func TestAClientOverTLSIsListedWithItsVersion(t *testing.T) {
	s := startServer(t, overTLS(Config{Loops: 2}))
	for want, change := range map[string]func(*tls.Config){"1.2": atMost(tls.VersionTLS12), "1.3": nil} {
		p := dialTLS(t, s, change)
		list, err := allClients(within(t), s.Hub())
		if err != nil || len(list) == 0 {
			t.Fatalf("list: got %v (%v), want one client", list, err)
		}
		found := false
		for _, c := range list {
			found = found || c.TLS == want && c.Local == s.TLSAddrs()[0].String() && c.Remote == p.conn.LocalAddr().String()
		}
		if !found {
			t.Errorf("got %+v, want one of TLS %s", list, want)
		}
		p.conn.Close()
	}
}

func TestASessionOverTLSIsResumed(t *testing.T) {
	s := startServer(t, overTLS(Config{Loops: 2}))
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		cache := tls.NewLRUClientSessionCache(1)
		for round := range 2 {
			p := dialTLS(t, s, func(c *tls.Config) { c.MaxVersion, c.ClientSessionCache = version, cache })
			p.join("g")
			if got := p.conn.(*tls.Conn).ConnectionState().DidResume; got != (round == 1) {
				t.Errorf("version %x, connection %d: resumed is %v", version, round, got)
			}
			p.conn.Close()
		}
	}
}

func TestALargeMessageGoesOverTLSAndBack(t *testing.T) {
	s := startServer(t, overTLS(Config{Loops: 2, Limits: Limits{MessageBytesMax: 1 << 20}}))
	text := make([]byte, 900<<10)
	for i := range text {
		text[i] = 'a' + byte(i%26)
	}
	p := dialTLS(t, s, nil)
	p.join("g")
	for range 3 {
		go p.say(`{"cmd":"send_to_group","group_id":"g","message":%q}`, text)
		p.want(string(text))
	}
}

// Whatever ends a client over TLS, it hears the end of our direction before that of the socket.
func TestEveryEndOverTLSHasACloseNotify(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		s := startServer(t, overTLS(Config{Loops: 1}))
		for name, f := range map[string]func(p *peer){
			"the client's Close frame": func(p *peer) { p.frame(0x88, "\x03\xe8") },
			"a broken frame":           func(p *peer) { p.frame(0xC1, "rsv") },
			"the client's close_notify": func(p *peer) {
				if err := p.conn.(*tls.Conn).CloseWrite(); err != nil {
					t.Error(err)
				}
			},
		} {
			p := dialTLS(t, s, atMost(version))
			p.join("g")
			f(p)
			wantNotified(t, fmt.Sprintf("%s, version %x", name, version), p.conn.(*tls.Conn))
			p.conn.Close()
		}
	}
}

func TestAStopOverTLSSaysGoodbye(t *testing.T) {
	s, err := Start(overTLS(Config{Loops: 2}))
	if err != nil {
		t.Fatal(err)
	}
	silent, half := dialRaw(t, s), dialRaw(t, s)
	half.Write([]byte{0x16, 3, 1})
	p := dialTLS(t, s, nil)
	p.join("g")
	stopped := make(chan error, 1)
	go func() { stopped <- s.Stop(within(t), nil) }()
	if op, m, err := p.next(); op != 8 || m[:2] != "\x03\xe9" {
		t.Errorf("got frame %d %q (%v), want close 1001", op, m, err)
	}
	wantNotified(t, "a stop", p.conn.(*tls.Conn))
	p.conn.Close()
	for _, c := range []net.Conn{silent, half} {
		if rest, err := io.ReadAll(c); err != nil || len(rest) > 0 {
			t.Errorf("before its hello: got %q (%v), want the end alone", rest, err)
		}
	}
	if err := <-stopped; err != nil {
		t.Errorf("Stop: %v", err)
	}
}

func TestHTTPOverTLSLeavesItsLoop(t *testing.T) {
	served := make(chan net.Conn, 1)
	s := startServer(t, overTLS(Config{Loops: 2, HTTP: func(c net.Conn) { served <- c }}))
	conn := tls.Client(&overheard{Conn: dialRaw(t, s)}, trusting())
	const request, more = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 40000\r\n\r\n", 40000
	body := make([]byte, more)
	if _, err := conn.Write([]byte(request)); err != nil {
		t.Fatal(err)
	}
	go conn.Write(body)
	theirs := <-served
	defer theirs.Close()
	if !theirs.(interface{ Secure() bool }).Secure() {
		t.Error("Secure: got false, want true")
	}
	got := make([]byte, len(request)+more)
	if _, err := io.ReadFull(theirs, got); err != nil || string(got[:len(request)]) != request {
		t.Errorf("the HTTP server reads %.60q (%v), want the request", got, err)
	}
	answer := make([]byte, 100_000)
	for i := range answer {
		answer[i] = byte(i)
	}
	go func() {
		theirs.Write(answer)
		theirs.(interface{ CloseWrite() error }).CloseWrite()
		theirs.Close()
	}()
	if heard := wantNotified(t, "plain HTTP", conn); string(heard) != string(answer) {
		t.Errorf("the client hears %d bytes, want %d", len(heard), len(answer))
	}
	total := s.Hub().Snapshot().Total()
	if total.TLSClients != 0 || total.Handshakes["http"] != 1 {
		t.Errorf("got %d clients over TLS, handshakes %v, want none, and one of http", total.TLSClients, total.Handshakes)
	}
}

func TestWhoSpeaksTheWrongProtocolIsToldOrCut(t *testing.T) {
	s := startServer(t, overTLS(Config{Loops: 1}))
	plain := dialRaw(t, s)
	fmt.Fprint(plain, plainRequest)
	if got, err := io.ReadAll(plain); err != nil || len(got) < 12 || string(got[9:12]) != "400" {
		t.Errorf("plain HTTP on the port for TLS: got %q (%v), want 400", got, err)
	}
	plain.Close()
	garbage := dialRaw(t, s)
	garbage.Write([]byte("\x00\x01\x02"))
	if got, err := io.ReadAll(garbage); err != nil || len(got) > 0 {
		t.Errorf("garbage on the port for TLS: got %q (%v), want the end", got, err)
	}
	conn, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := tls.Client(conn, trusting()).Handshake(); err == nil {
		t.Error("a hello on the plain port: got a handshake, want the end")
	}
	total := s.Hub().Snapshot().Total()
	if total.TLSHandshakes["not_tls"] != 2 || total.Handshakes["tls"] != 1 {
		t.Errorf("got TLS handshakes %v, handshakes %v, want two that are none, and one hello on the plain port", total.TLSHandshakes, total.Handshakes)
	}
}
