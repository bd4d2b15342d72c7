package test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// certificateFor makes the files of a certificate for names, host names or addresses, by itself. It may be made anew in the same folder.
func certificateFor(t testing.TB, folder string, names ...string) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	number, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	must(t, err)
	template := &x509.Certificate{SerialNumber: number, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(60 * 24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	certFile, keyFile = filepath.Join(folder, "cert.pem"), filepath.Join(folder, "key.pem")
	for name, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		must(t, os.WriteFile(name+".new", pem.EncodeToMemory(block), 0o600))
		must(t, os.Rename(name+".new", name))
	}
	return certFile, keyFile
}

// rootsOf are the certificates in a file.
func rootsOf(t testing.TB, file string) *x509.CertPool {
	t.Helper()
	text, err := os.ReadFile(file)
	must(t, err)
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		t.Fatalf("%s: got no certificate", file)
	}
	return roots
}

// overTLS connects to an address as to a host of a name, and checks the host's certificate; nil roots: it does not.
func overTLS(addr, name string, roots *x509.CertPool) (*tls.Conn, error) {
	return tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", addr, &tls.Config{ServerName: name, RootCAs: roots, InsecureSkipVerify: roots == nil})
}

// serialOf is the number of the certificate that a connection has been shown.
func serialOf(c *tls.Conn) string {
	return c.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

// asksHealth asks GET /healthz on a connection that is kept.
func asksHealth(c net.Conn) error {
	c.SetDeadline(time.Now().Add(patience))
	if _, err := fmt.Fprintf(c, "GET /healthz HTTP/1.1\r\nHost: push.example.org\r\n\r\n"); err != nil {
		return err
	}
	var got strings.Builder
	for b := make([]byte, 4096); !strings.HasSuffix(got.String(), "\r\n\r\nok\n"); {
		n, err := c.Read(b)
		got.Write(b[:n])
		if err != nil {
			return fmt.Errorf("GET /healthz: got %q, %w", got.String(), err)
		}
	}
	return nil
}

func TestACertificateThatChangesIsServedToTheNextAndClosesNobody(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	cert, key := certificateFor(t, folder, "push.example.org")
	roots := rootsOf(t, cert)
	s := start(t, "--listen", "off", "--tls-listen", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key, "--hsts", "24h")
	old, err := overTLS(s.addr, "push.example.org", roots)
	must(t, err)
	defer old.Close()
	must(t, asksHealth(old))
	before := serialOf(old)
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "push.example.org"}}}
	answer, err := client.Get("https://" + s.addr + "/")
	must(t, err)
	answer.Body.Close()
	equal(t, "HSTS", answer.Header.Get("Strict-Transport-Security"), "max-age=86400")

	certificateFor(t, folder, "push.example.org")
	s.eventually("the next connection gets the new certificate", func() error {
		c, err := overTLS(s.addr, "push.example.org", nil)
		if err != nil {
			return err
		}
		defer c.Close()
		if got := serialOf(c); got == before {
			return fmt.Errorf("got certificate %s, as before", got)
		}
		return asksHealth(c)
	})
	must(t, asksHealth(old))
	third, _ := certificateFor(t, folder, "push.example.org")
	if r := run("reload", "--run-dir", s.dir); r.exit != 0 {
		t.Errorf("reload: got %d, %s", r.exit, r.all())
	}
	c, err := overTLS(s.addr, "push.example.org", rootsOf(t, third))
	if err != nil {
		t.Fatalf("behind a reload: got %v, want the certificate of that very moment", err)
	}
	c.Close()
	must(t, asksHealth(old))
}

func TestARestartWithAWrongCertificateLeavesTheOldServerRunning(t *testing.T) {
	t.Parallel()
	cert, key := certificateFor(t, t.TempDir(), "push.example.org")
	s := start(t, "--tls-listen", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key)
	_, otherKey := certificateFor(t, t.TempDir(), "push.example.org")
	for _, verb := range [][]string{{"restart"}, {"restart", "-d"}} {
		r := run(append(verb, "--run-dir", s.dir, "--listen", "127.0.0.1:0", "--tls-listen", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", otherKey)...)
		if r.exit != 78 || !strings.Contains(r.stderr, "the two do not belong together") {
			t.Errorf("%v: got %d, %s, want 78 and what is wrong", verb, r.exit, r.all())
		}
	}
	if _, err := readStatus(s.dir); err != nil || s.ended() {
		t.Errorf("the old server: got %v, want it serving", err)
	}
}

func TestARestartTakesTheAddressForPlainHTTP(t *testing.T) {
	t.Parallel()
	cert, key := certificateFor(t, t.TempDir(), "push.example.org")
	redirect := freeAddr(t)
	args := []string{"--tls-listen", freeAddr(t), "--tls-cert", cert, "--tls-key", key, "--http-redirect", redirect}
	first := start(t, args...)
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, Transport: &http.Transport{DisableKeepAlives: true}}
	answers := func() error {
		answer, err := client.Get("http://" + redirect + "/x")
		if err != nil {
			return err
		}
		answer.Body.Close()
		if want := "https://127.0.0.1:" + args[1][len("127.0.0.1:"):] + "/x"; answer.StatusCode != http.StatusMovedPermanently || answer.Header.Get("Location") != want {
			return fmt.Errorf("got %s to %q, want 301 to %s", answer.Status, answer.Header.Get("Location"), want)
		}
		return nil
	}
	must(t, answers())
	second := launch(t, starting{args: args, dir: first.dir, verb: "restart"})
	first.exit()
	second.waitUp()
	second.eventually("the new server answers", answers)
}

// Where a service manager keeps the sockets, also those of TLS and of plain HTTP wait for the next server.
func TestSocketsForTLSAreHandedIn(t *testing.T) {
	t.Parallel()
	cert, key := certificateFor(t, t.TempDir(), "push.example.org")
	secure, plain := handedIn(t, "tcp", "127.0.0.1:0"), handedIn(t, "tcp", "127.0.0.1:0")
	o := starting{dir: runDir(t), sockets: slices.Concat(secure.files(), plain.files()), env: []string{"LISTEN_FDNAMES=tls:redirect"},
		args: []string{"--listen", "off", "--tls-listen", "127.0.0.1:1", "--http-redirect", "127.0.0.1:2", "--tls-cert", cert, "--tls-key", key}} // where nothing of ours may listen
	s := startWith(t, o)
	equal(t, "TLS addresses in status", s.status().TLSListen, secure.addr)
	for _, want := range []string{"wss://" + secure.addr, "http://" + plain.addr, "--tls-listen, --http-redirect"} {
		if !strings.Contains(s.out.String(), want) {
			t.Errorf("banner and log: got %s, want %q in it", s.out.String(), want)
		}
	}
	use := func() {
		t.Helper()
		c, err := overTLS(secure.addr, "push.example.org", rootsOf(t, cert))
		must(t, err)
		defer c.Close()
		must(t, asksHealth(c))
		client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		answer, err := client.Get("http://" + plain.addr + "/")
		must(t, err)
		answer.Body.Close()
		equal(t, "redirect", answer.Header.Get("Location"), "https://"+secure.addr+"/")
	}
	use()
	s.signal(syscall.SIGTERM)
	equal(t, "exit status", s.exit(), 0)
	early, err := net.Dial("tcp", plain.addr) // it waits for the next server
	must(t, err)
	defer early.Close()
	startWith(t, o)
	use()
	early.SetDeadline(time.Now().Add(patience))
	_, err = early.Write([]byte("GET / HTTP/1.0\r\nHost: a.example\r\n\r\n"))
	must(t, err)
	if n, err := early.Read(make([]byte, 100)); n == 0 {
		t.Errorf("who came between the two servers: got %v, want an answer", err)
	}
}
