package test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// Certificates are obtained from a real ACME server here, Let's Encrypt's own for tests, pebble, which the folder pebble pins. It runs on
// loopback and asks a DNS server of ours, for which every name is this machine. Nothing public is ever asked.

// pebbleWanted says that these tests may not be skipped. It is read before TestMain takes the variables away.
var pebbleWanted = os.Getenv("RINGCAST_PEBBLE") == "require"

const acmeName = "push.ringcast.example"

// pebbleProgram builds pebble, for which it is fetched if this machine has it not. Where that cannot be the test is skipped.
func pebbleProgram(t *testing.T) string {
	t.Helper()
	program, err := buildPebble()
	switch {
	case err == nil:
	case pebbleWanted:
		t.Fatalf("pebble does not build, and RINGCAST_PEBBLE=require: %v", err)
	default:
		t.Skipf("pebble is not here, and is fetched only with RINGCAST_PEBBLE=require (`make pebble`): %v", err)
	}
	return program
}

// buildPebble builds it once for all tests.
var buildPebble = sync.OnceValues(func() (program string, err error) {
	program = filepath.Join(built, "pebble")
	build := exec.Command("go", "build", "-o", program, "github.com/letsencrypt/pebble/v2/cmd/pebble")
	build.Dir = "pebble"
	if !pebbleWanted {
		build.Env = append(os.Environ(), "GOPROXY=off") // a test fetches nothing unless it is told to
	}
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return program, nil
})

// pebble is an ACME server that runs.
type pebble struct {
	t     *testing.T
	url   string // of its directory
	admin string // address of its management
	ca    string // file with the certificate of who made its own
	cmd   *exec.Cmd
	out   output
}

// startPebble runs one that looks for challenges at these ports, and whose certificates live for so long.
func startPebble(t *testing.T, tlsAddr, httpAddr string, life time.Duration) *pebble {
	t.Helper()
	folder := t.TempDir()
	cert, key := certificateFor(t, folder, "127.0.0.1")
	listen := freeAddr(t)
	p := &pebble{t: t, url: "https://" + listen + "/dir", admin: freeAddr(t), ca: cert}
	config, err := json.Marshal(map[string]any{"pebble": map[string]any{
		"listenAddress": listen, "managementListenAddress": p.admin, "certificate": cert, "privateKey": key,
		"httpPort": portNumber(t, httpAddr), "tlsPort": portNumber(t, tlsAddr),
		"keyAlgorithm": "ecdsa",
		"profiles":     map[string]any{"default": map[string]any{"description": "for tests", "validityPeriod": int(life / time.Second)}},
		"retryAfter":   map[string]any{"authz": 1, "order": 1},
	}})
	must(t, err)
	file := filepath.Join(folder, "pebble.json")
	must(t, os.WriteFile(file, config, 0o600))
	p.cmd = exec.Command(pebbleProgram(t), "-config", file, "-dnsserver", everyNameIsHere(t))
	p.cmd.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1", "PEBBLE_AUTHZREUSE=0")
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	must(t, p.cmd.Start())
	t.Cleanup(func() {
		p.end()
		if t.Failed() {
			t.Logf("pebble said:\n%s", p.out.String())
		}
	})
	eventually(t, "pebble answers", func() error { _, err := p.roots(); return err })
	return p
}

func (p *pebble) end() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// roots are the certificates of who makes those that it hands out.
func (p *pebble) roots() (*x509.CertPool, error) {
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: rootsOf(p.t, p.ca)}}}
	answer, err := client.Get("https://" + p.admin + "/roots/0")
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	roots := x509.NewCertPool()
	if err == nil && !roots.AppendCertsFromPEM(text) {
		err = fmt.Errorf("got %s and no certificate: %q", answer.Status, text)
	}
	return roots, err
}

func portNumber(t *testing.T, addr string) int {
	t.Helper()
	_, port, err := net.SplitHostPort(addr)
	must(t, err)
	n, err := strconv.Atoi(port)
	must(t, err)
	return n
}

// everyNameIsHere is the address of a DNS server that answers 127.0.0.1 to whatever it is asked.
func everyNameIsHere(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0") // pebble asks by TCP (RFC 7766)
	must(t, err)
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				for {
					var size [2]byte
					if _, err := io.ReadFull(conn, size[:]); err != nil {
						return
					}
					question := make([]byte, binary.BigEndian.Uint16(size[:]))
					if _, err := io.ReadFull(conn, question); err != nil {
						return
					}
					answer := isHere(question)
					if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(answer))), answer...)); err != nil {
						return
					}
				}
			}()
		}
	}()
	return listener.Addr().String()
}

// isHere is the answer to a question; empty: it is none.
func isHere(question []byte) []byte {
	var m dnsmessage.Message
	if m.Unpack(question) != nil || len(m.Questions) != 1 {
		return nil
	}
	q := m.Questions[0]
	answer := dnsmessage.Message{Header: dnsmessage.Header{ID: m.ID, Response: true, RecursionDesired: m.RecursionDesired, RecursionAvailable: true}, Questions: m.Questions}
	if q.Type == dnsmessage.TypeA {
		answer.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1}, Body: &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}}}}
	}
	text, _ := answer.Pack()
	return text
}

// acmeArgs are options of a server that obtains its certificate from p.
func (p *pebble) acmeArgs(tlsAddr, dir string, more ...string) []string {
	return append([]string{"--tls-listen", tlsAddr, "--acme-domain", acmeName, "--acme-dir", dir, "--acme-directory", p.url, "--acme-ca", p.ca}, more...)
}

// obtained waits until a client who trusts p's certificates can connect, and gives its connection.
func (p *pebble) obtained(s *server, addr string) *tls.Conn {
	p.t.Helper()
	roots, err := p.roots()
	must(p.t, err)
	var c *tls.Conn
	s.eventually("there is a certificate from the ACME server", func() (err error) {
		c, err = overTLS(addr, acmeName, roots)
		return err
	})
	p.t.Cleanup(func() { c.Close() })
	return c
}

func TestACMEByTLSALPNAndItsRenewal(t *testing.T) {
	t.Parallel()
	addr := freeAddr(t)
	p := startPebble(t, addr, freeAddr(t), 20*time.Second) // autocert renews in the last third
	s := start(t, p.acmeArgs(addr, filepath.Join(t.TempDir(), "acme"), "--listen", "off")...)
	old := p.obtained(s, addr)
	must(t, asksHealth(old))
	before := serialOf(old)
	s.eventually("the certificate is renewed", func() error {
		c, err := overTLS(addr, acmeName, nil)
		if err != nil {
			return err
		}
		defer c.Close()
		if serialOf(c) == before {
			return fmt.Errorf("got certificate %s, as before", before)
		}
		return asksHealth(c)
	})
	must(t, asksHealth(old))
	if strings.Contains(p.out.String(), "http-01") && !strings.Contains(p.out.String(), "tls-alpn-01") {
		t.Error("challenge: got http-01, want tls-alpn-01")
	}
}

func TestACMEByHTTPAndACertificateThatIsKept(t *testing.T) {
	t.Parallel()
	addr, redirect, dir := freeAddr(t), freeAddr(t), filepath.Join(t.TempDir(), "acme")
	p := startPebble(t, freeAddr(t), redirect, 90*24*time.Hour) // where it looks for TLS there is nobody
	s := start(t, p.acmeArgs(addr, dir, "--http-redirect", redirect, "--admin", "127.0.0.1:0")...)
	before := serialOf(p.obtained(s, addr))
	if got := scrape(t, "http://"+s.status().Admin)[`ringcast_redirect_requests_total{kind="challenge"}`]; got == 0 {
		t.Error("challenges by HTTP: got none, want those of the ACME server")
	}
	for _, name := range []string{"", acmeName, "acme_account+key"} {
		info, err := os.Stat(filepath.Join(dir, name))
		must(t, err)
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: got mode %v, want nothing for others", info.Name(), info.Mode())
		}
	}
	roots, err := p.roots()
	must(t, err)
	p.end() // the next server has what was obtained
	second := launch(t, starting{args: p.acmeArgs(addr, dir, "--http-redirect", redirect), dir: s.dir, verb: "restart"})
	s.exit()
	second.waitUp()
	var c *tls.Conn
	second.eventually("the next server lets clients in", func() (err error) { c, err = overTLS(addr, acmeName, roots); return err })
	defer c.Close()
	equal(t, "certificate after a restart", serialOf(c), before)
}

func TestAnACMEServerThatFindsNobodyIsToldOf(t *testing.T) {
	t.Parallel()
	addr := freeAddr(t)
	p := startPebble(t, freeAddr(t), freeAddr(t), time.Hour) // it looks where nobody is
	s := start(t, p.acmeArgs(addr, filepath.Join(t.TempDir(), "acme"))...)
	s.eventually("the log says why", func() error {
		if out := s.out.String(); !strings.Contains(out, "a certificate could not be obtained") || !strings.Contains(out, "tls-alpn-01: ") {
			return fmt.Errorf("got %q", out)
		}
		return nil
	})
	r := run("status", "--run-dir", s.dir)
	if !strings.Contains(r.stdout, "no certificate yet    last try failed: ACME server ") || !strings.Contains(r.stdout, ": tls-alpn-01: ") {
		t.Errorf("status: got %s, want why there is none", r.stdout)
	}
}
