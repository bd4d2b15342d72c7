package test

import (
	"bytes"
	"cmp"
	"compress/flate"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/gobwas/ws"
)

// What clients of tests need to come by TLS and with compression. Both are those of Go's own library, so that the server's are not
// judged by themselves.

// socket is a TCP connection, with TLS or without.
type socket interface {
	net.Conn
	CloseWrite() error
	SetLinger(seconds int) error
	SetNoDelay(on bool) error
}

// secureSocket is one with TLS. After SetLinger(0) its end is not said.
type secureSocket struct {
	*tls.Conn
	tcp    socket
	abrupt bool
}

func (s *secureSocket) SetLinger(seconds int) error {
	s.abrupt = seconds == 0
	return s.tcp.SetLinger(seconds)
}

func (s *secureSocket) SetNoDelay(on bool) error { return s.tcp.SetNoDelay(on) }

func (s *secureSocket) Close() error {
	if s.abrupt {
		return s.tcp.Close()
	}
	return s.Conn.Close()
}

// secured does a TLS handshake over a connection, which it closes if that fails.
func secured(tcp socket, config *tls.Config) (*secureSocket, error) {
	s := &secureSocket{Conn: tls.Client(tcp, config), tcp: tcp}
	tcp.SetDeadline(time.Now().Add(patience))
	if err := s.Handshake(); err != nil {
		tcp.Close()
		return nil, fmt.Errorf("TLS handshake: %w", err)
	}
	tcp.SetDeadline(time.Time{})
	return s, nil
}

// state is that of the connection's TLS.
func (c *client) state() tls.ConnectionState { return c.conn.(*secureSocket).ConnectionState() }

// The certificate of servers here.

var makeCertificate sync.Once

// localCertificate is a certificate for this machine, and its key, in files. All servers of tests that need no other have it.
func localCertificate(t testing.TB) (certFile, keyFile string) {
	t.Helper()
	folder := filepath.Join(built, "tls")
	makeCertificate.Do(func() {
		must(t, os.Mkdir(folder, 0o700))
		certificateFor(t, folder, "127.0.0.1", "::1", "localhost")
	})
	return filepath.Join(folder, "cert.pem"), filepath.Join(folder, "key.pem")
}

// trusted is how clients here speak TLS to a server that has it.
func trusted(t testing.TB) *tls.Config {
	t.Helper()
	cert, _ := localCertificate(t)
	return &tls.Config{RootCAs: rootsOf(t, cert), ServerName: "127.0.0.1"}
}

// version is trusted, with one version of TLS alone.
func version(t testing.TB, v uint16) *tls.Config {
	t.Helper()
	config := trusted(t)
	config.MinVersion, config.MaxVersion = v, v
	return config
}

// browserTrust is the flag by which a browser believes it.
func browserTrust(t testing.TB) chromedp.ExecAllocatorOption {
	t.Helper()
	cert, _ := localCertificate(t)
	text, err := os.ReadFile(cert)
	must(t, err)
	block, _ := pem.Decode(text)
	leaf, err := x509.ParseCertificate(block.Bytes)
	must(t, err)
	sum := sha256.Sum256(leaf.RawSubjectPublicKeyInfo)
	return chromedp.Flag("ignore-certificate-errors-spki-list", base64.StdEncoding.EncodeToString(sum[:]))
}

// tlsArgs are the flags of a server that speaks TLS on a free port.
func tlsArgs(t testing.TB) []string {
	t.Helper()
	cert, key := localCertificate(t)
	return []string{"--tls-listen", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key}
}

// startTLS starts a server that speaks TLS beside plain HTTP.
func startTLS(t testing.TB, args ...string) *server {
	t.Helper()
	return start(t, append(tlsArgs(t), args...)...)
}

// dialTLS is dial, by TLS.
func dialTLS(t testing.TB, s *server, d ...dialing) *client {
	t.Helper()
	how := append(d, dialing{})[0]
	if how.secure == nil {
		how.secure = trusted(t)
	}
	c, err := open(s.wss, how)
	if err != nil {
		t.Fatalf("dial by TLS: %v", err)
	}
	t.Cleanup(c.hangUp)
	return c
}

// memberTLS is member, by TLS.
func memberTLS(t testing.TB, s *server, group string, d ...dialing) *client {
	t.Helper()
	c := dialTLS(t, s, d...)
	must(t, c.join(group))
	return c
}

// Compression (RFC 7692), without context takeover.

// deflate is the plain offer, and deflateAnswer what it is answered.
const (
	deflate       = "permessage-deflate"
	deflateAnswer = deflate + "; server_no_context_takeover; client_no_context_takeover"
)

// deflating is what a client knows of an agreed compression.
type deflating struct {
	answer string // of the server's
	frames int    // reader's: that came compressed
}

// agreement is the answer to an offer, empty if there is none.
func (c *client) agreement() string {
	if c.deflating == nil {
		return ""
	}
	return c.answer
}

// accepted reads a server's answer to an offer: parameters are in it at most once, and both directions go without context takeover.
func accepted(answer string) (*deflating, error) {
	seen := map[string]bool{}
	for i, part := range strings.Split(answer, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		bits, err := strconv.Atoi(cmp.Or(value, "15"))
		switch {
		case i == 0 && name != deflate, seen[name], err != nil, value != "" && (name != "server_max_window_bits" || bits != 15):
			return nil, fmt.Errorf("handshake: got the extension %q, want %s with each parameter once, and windows of 15 bits", answer, deflate)
		}
		seen[name] = true
	}
	if !seen["server_no_context_takeover"] || !seen["client_no_context_takeover"] {
		return nil, fmt.Errorf("handshake: got the extension %q, want no context takeover in either direction", answer)
	}
	return &deflating{answer: answer}, nil
}

// mayBe says whether a frame with reserved bits may come from the server: one that is compressed, as was agreed.
func (c *client) mayBe(h ws.Header) bool {
	return c.deflating != nil && h.Rsv == ws.Rsv(true, false, false) && (h.OpCode == ws.OpText || h.OpCode == ws.OpBinary)
}

// flaters are writers for all levels, each of which takes a megabyte.
var flaters [flate.BestCompression + 1]sync.Pool

// deflated is a message compressed as most libraries do it.
func deflated(message string) []byte { return deflatedAt(flate.BestSpeed, message) }

// deflatedAt compresses at a level, in several blocks if the message is given in several parts.
func deflatedAt(level int, parts ...string) []byte {
	var b bytes.Buffer
	w, pooled := flaters[level].Get().(*flate.Writer)
	if pooled {
		w.Reset(&b)
	} else {
		w, _ = flate.NewWriter(&b, level) // the level is right
	}
	for _, part := range parts {
		io.WriteString(w, part) // a buffer takes all
		w.Flush()
	}
	flaters[level].Put(w)
	return bytes.TrimSuffix(b.Bytes(), []byte("\x00\x00\xff\xff")) // §7.2.1
}

// inflaters are readers, each of which has a window.
var inflaters = sync.Pool{New: func() any { return flate.NewReader(nil) }}

// inflated takes a message apart.
func inflated(message []byte) ([]byte, error) {
	r := inflaters.Get().(io.Reader)
	defer inflaters.Put(r)
	r.(flate.Resetter).Reset(bytes.NewReader(append(message, "\x00\x00\xff\xff\x01\x00\x00\xff\xff"...)), nil) // §7.2.2, and an end
	text, err := io.ReadAll(io.LimitReader(r, frameBytesMax+1))
	if err == nil && len(text) > frameBytesMax {
		err = errors.New("there is more in it than a server has reason to send")
	}
	return text, err
}

// deflatedFrame is a client's frame that says that it begins a compressed message.
func deflatedFrame(op ws.OpCode, fin bool, payload []byte) []byte {
	return reservedBits(0b100, frameBytes(op, fin, payload))
}
