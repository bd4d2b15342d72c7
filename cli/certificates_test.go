package cli

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"ringcast/certs"
	"ringcast/cli/settings"
)

// pairOf are the files of a new certificate for a name that ends in so many days; of days before then it was made 90 earlier.
func pairOf(t *testing.T, folder, name string, days int) (cert, key string) {
	t.Helper()
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	until := time.Now().Add(time.Duration(days)*24*time.Hour + time.Hour)
	template := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: until.Add(-90 * 24 * time.Hour), NotAfter: until, DNSNames: []string{name}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &signer.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(folder, name+".pem"), filepath.Join(folder, name+".key")
	rewrite(t, cert, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})))
	rewrite(t, key, string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})))
	return cert, key
}

// served is the number of the certificate that a TLS configuration serves for a name.
func (f *fakeServer) served(t *testing.T, name string) string {
	t.Helper()
	c, err := f.cfg.TLS.GetCertificate(&tls.ClientHelloInfo{ServerName: name})
	if err != nil {
		t.Fatal(err)
	}
	return c.Leaf.SerialNumber.String()
}

func TestAWrongCertificateEndsTheStartWithTheMend(t *testing.T) {
	folder := t.TempDir()
	cert, key := pairOf(t, folder, "a.example", 60)
	_, otherKey := pairOf(t, folder, "b.example", 60)
	secret := strings.Split(contents(t, key), "\n")[1]
	tlsOn := []string{"--tls-listen", "127.0.0.1:0"}
	for what, c := range map[string]struct {
		args  []string
		wants []string
	}{
		"no file":         {[]string{"--tls-cert", "/no/such", "--tls-key", key}, []string{`--tls-cert "/no/such"`, "cannot be read: no such file or directory; name a file that can be read"}},
		"no key file":     {[]string{"--tls-cert", cert, "--tls-key", "/no/such"}, []string{`--tls-key "/no/such"`, "name a file that can be read"}},
		"the wrong key":   {[]string{"--tls-cert", cert, "--tls-key", otherKey}, []string{"--tls-cert", cert, "the two do not belong together"}},
		"the two swapped": {[]string{"--tls-cert", key, "--tls-key", cert}, []string{"--tls-key", cert, "has no private key in it"}},
		"a directory":     {[]string{"--tls-cert", folder, "--tls-key", key}, []string{"--tls-cert", "is a directory"}},
		"no roots":        {[]string{"--acme-domain", "a.example.org", "--acme-dir", folder + "/acme", "--acme-ca", key}, []string{"--acme-ca", "has no certificate in it"}},
		"no directory":    {[]string{"--acme-domain", "a.example.org", "--acme-dir", key}, []string{"--acme-dir", "name a directory that the server may write to"}},
	} {
		dir := shortDir(t)
		status, stdout, stderr := do(t, append(append([]string{"start", "--run-dir", dir.path, "--listen", "off"}, tlsOn...), c.args...)...)
		if status != statusUsage || stdout != "" {
			t.Errorf("%s: got exit status %d and %q, want %d and nothing", what, status, stdout, statusUsage)
		}
		has(t, what, stderr, c.wants...)
		if strings.Contains(stderr, secret) {
			t.Errorf("%s: got %q, want nothing of the key", what, stderr)
		}
		left(t, dir)
	}
}

func contents(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestAServerWithTLSSaysSo(t *testing.T) {
	dir, f := shortDir(t), newFakeServer()
	cert, key := pairOf(t, t.TempDir(), "push.example.org", 60)
	soon, soonKey := pairOf(t, t.TempDir(), "soon.example.org", 9)
	config := configWith(t, `{"listen": "off"}`)
	v := begin(f, "start", "--run-dir", dir.path, "--config", config, "--tls-listen", "127.0.0.1:4433", "--tls-cert", cert, "--tls-key", key, "--tls-cert", soon, "--tls-key", soonKey,
		"--http-redirect", "127.0.0.1:0", "--admin", "127.0.0.1:0")
	eventually(t, "the server has printed its banner", func() bool { return strings.Contains(v.out.String(), "Start success.") })
	st := statusNow(t, dir)
	has(t, "banner", v.out.String(), "wss://127.0.0.1:4433", "http://"+st.Redirect, "Demo page: https://push.example.org:4433/", "WARNING: The certificate for soon.example.org", "expires in 9 days")
	if st.Listen != "" || st.TLSListen != "127.0.0.1:4433" || len(st.Certificates) != 2 || *st.Certificates[0].Days != 60 || st.Certificates[0].File != cert {
		t.Errorf("status: got %q, %q and %+v, want the address and 60 days", st.Listen, st.TLSListen, st.Certificates)
	}
	_, text, _ := do(t, "status", "--run-dir", dir.path)
	has(t, "status", text, "listen   wss://127.0.0.1:4433    redirect http://"+st.Redirect+"    admin", "tls      push.example.org    60 days left", "soon.example.org    9 days left")
	if f.cfg.TLS == nil || f.cfg.TLS.MinVersion != tls.VersionTLS12 || f.cfg.Reserve == 0 || len(f.cfg.Listen) != 0 {
		t.Errorf("loops: got %+v, want certificates, no plain address, and descriptors for the redirect", f.cfg)
	}
	eventually(t, "the log tells of the certificate that ends soon", func() bool {
		return strings.Contains(v.err.String(), "level=WARN msg=\"The certificate for soon.example.org")
	})
	for path, wants := range map[string][]string{
		"/readyz":  {"ready\n", "WARNING: The certificate for soon.example.org"},
		"/metrics": {`ringcast_tls_certificate_expiry_seconds{name="push.example.org"} 5.1`, "ringcast_tls_certificate_failures_total 0", `ringcast_redirect_requests_total{kind="sent"} 0`},
	} {
		answer, err := http.Get("http://" + st.Admin + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			t.Errorf("%s: got %s, want 200", path, answer.Status)
		}
		has(t, path, string(body), wants...)
	}
	v.asked <- os.Interrupt
	v.exit(t) // the log is written beside the banner, and is whole at the end
	has(t, "log", v.err.String(), `msg=listening addr="" tls=127.0.0.1:4433 redirect=`+st.Redirect)
}

// Who turns TLS on may forget that the plain address is there by default.
func TestAPlainAddressBesideTLSIsWarnedOf(t *testing.T) {
	cert, key := pairOf(t, t.TempDir(), "push.example.org", 60)
	const want = "Clients may also come without TLS, at "
	for listen, warned := range map[string]bool{"0.0.0.0:1234": true, "127.0.0.1:1234": false, "off": false} {
		dir, f := shortDir(t), newFakeServer()
		v := begin(f, "start", "--run-dir", dir.path, "--listen", listen, "--tls-listen", "127.0.0.1:4433", "--tls-cert", cert, "--tls-key", key, "--admin", "off")
		eventually(t, "the server has printed its banner", func() bool { return strings.Contains(v.out.String(), "Start success.") })
		v.asked <- os.Interrupt
		v.exit(t) // the log is written beside the banner, and is whole at the end
		if banner, log := v.out.String(), v.err.String(); strings.Contains(banner, "WARNING: "+want) != warned || strings.Contains(log, want) != warned {
			t.Errorf("--listen %s: got %q and %q, want a warning: %v", listen, banner, log, warned)
		}
		if warned {
			has(t, "warning", v.out.String(), want+"0.0.0.0:1234", "set --listen off")
		}
	}
	s, err := parse(t, "--run-dir", "/r", "--listen", "0.0.0.0:1234")
	if err != nil {
		t.Fatal(err)
	}
	if got := plainWarnings(&s, []net.Addr{&net.TCPAddr{Port: 1234}}); len(got) > 0 {
		t.Errorf("without TLS: got %q, want no warning", got)
	}
	if s, err = parse(t, "--run-dir", "/r", "--tls-listen", ":443", "--tls-cert", cert, "--tls-key", key); err != nil {
		t.Fatal(err)
	}
	if got := plainWarnings(&s, []net.Addr{&net.UnixAddr{Name: "/x", Net: "unix"}}); len(got) > 0 {
		t.Errorf("a unix socket, for a proxy: got %q, want no warning", got)
	}
}

func TestAServerWithoutAnyCertificateIsNotReadyUnlessClientsCanComePlain(t *testing.T) {
	for listen, want := range map[string]int{"off": http.StatusServiceUnavailable, "127.0.0.1:1234": http.StatusOK} {
		dir, f := shortDir(t), newFakeServer()
		v := begin(f, "start", "--run-dir", dir.path, "--listen", listen, "--tls-listen", "127.0.0.1:4433", "--admin", "127.0.0.1:0",
			"--acme-domain", "push.example.org", "--acme-dir", filepath.Join(t.TempDir(), "acme"), "--acme-directory", "https://127.0.0.1:1/dir")
		eventually(t, "the server has printed its banner", func() bool { return strings.Contains(v.out.String(), "Start success.") })
		st := statusNow(t, dir)
		answer, err := http.Get("http://" + st.Admin + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(answer.Body)
		answer.Body.Close()
		if answer.StatusCode != want {
			t.Errorf("--listen %s: got %s, want %d", listen, answer.Status, want)
		}
		has(t, "--listen "+listen, string(body), "There is no certificate for push.example.org yet")
		if _, text, _ := do(t, "status", "--json", "--run-dir", dir.path); strings.Contains(text, `"days"`) {
			t.Errorf("status --json: got %s, want no days of a certificate that is not there", text)
		}
		v.asked <- os.Interrupt
		v.exit(t)
	}
}

func TestPlainHTTPIsSentToTheAddressForTLS(t *testing.T) {
	dir, f := shortDir(t), newFakeServer()
	cert, key := pairOf(t, t.TempDir(), "push.example.org", 60)
	v := serving(t, f, dir, "--tls-listen", "127.0.0.1:4433", "--tls-cert", cert, "--tls-key", key, "--http-redirect", "127.0.0.1:0")
	address := statusNow(t, dir).Redirect
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	r, _ := http.NewRequest(http.MethodGet, "http://"+address+"/x?y=z", nil)
	r.Host = "push.example.org"
	answer, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if got := answer.Header.Get("Location"); answer.StatusCode != http.StatusMovedPermanently || got != "https://push.example.org:4433/x?y=z" {
		t.Errorf("got %s and %q, want 301 to the port for TLS", answer.Status, got)
	}
	stopping, goOn := make(chan struct{}), make(chan struct{})
	f.stop = func(ctx context.Context) error { close(stopping); <-goOn; return nil }
	v.asked <- os.Interrupt
	<-stopping
	again, err := net.Listen("tcp", address) // given up with the other addresses, before the slow have got their last bytes
	if err != nil {
		t.Errorf("the address while clients take their last bytes: got %v, want it free", err)
	} else {
		again.Close()
	}
	close(goOn)
	v.exit(t)
}

func TestAReloadTakesUpCertificatesAndRefusesWrongOnes(t *testing.T) {
	dir, f := shortDir(t), newFakeServer()
	folder := t.TempDir()
	cert, key := pairOf(t, folder, "a.example", 60)
	config := configWith(t, fmt.Sprintf(`{"tls-listen": ":4433", "tls-cert": %q, "tls-key": %q}`, cert, key))
	v := serving(t, f, dir, "--config", config)
	first := f.served(t, "a.example")
	if _, stdout, _ := do(t, "reload", "--run-dir", dir.path); stdout != "nothing changed\n" {
		t.Errorf("the same files: got %q, want that nothing changed", stdout)
	}
	pairOf(t, folder, "a.example", 70)
	status, stdout, stderr := do(t, "reload", "--run-dir", dir.path)
	if want := "tls-cert: " + cert + " → " + cert + ", with another certificate\n"; status != 0 || stdout != want {
		t.Errorf("a new certificate: got %d, %q and %q, want %q", status, stderr, stdout, want)
	}
	second := f.served(t, "a.example")
	if second == first {
		t.Error("a new certificate: got the old one served")
	}
	rewrite(t, cert, "nothing")
	rewrite(t, config, fmt.Sprintf(`{"tls-listen": ":4433", "tls-cert": %q, "tls-key": %q, "members-max": 3}`, cert, key))
	status, stdout, stderr = do(t, "reload", "--run-dir", dir.path)
	if status != statusUsage || stdout != "" || f.served(t, "a.example") != second || len(f.limitsApplied()) != 0 {
		t.Errorf("a wrong one: got %d, %q and %d changes, want %d, and everything as it was", status, stdout, len(f.limitsApplied()), statusUsage)
	}
	has(t, "message", stderr, `--tls-cert "`+cert+`" (from the config file) is not in PEM`)
	v.reload <- syscall.SIGHUP
	eventually(t, "the log tells of the failure", func() bool { return strings.Count(v.err.String(), "msg=\"reload failed") == 2 })
	other, otherKey := pairOf(t, folder, "b.example", 5)
	rewrite(t, config, fmt.Sprintf(`{"tls-listen": ":4433", "tls-cert": [%q], "tls-key": [%q]}`, other, otherKey))
	pairOf(t, folder, "a.example", 80)
	f.mu.Lock()
	f.apply = func(context.Context) error { return errors.New("no luck") }
	f.mu.Unlock()
	if status, _, stderr = do(t, "reload", "--run-dir", dir.path); status != statusFailed || statusNow(t, dir).Certificates[0].File != cert {
		t.Errorf("loops that take up nothing: got %d, %q and %+v, want the files of before", status, stderr, statusNow(t, dir).Certificates)
	}
	f.mu.Lock()
	f.apply = nil
	f.mu.Unlock()
	second = f.served(t, "a.example")
	status, stdout, _ = do(t, "reload", "--run-dir", dir.path)
	if status != 0 || f.served(t, "a.example") == second {
		t.Errorf("other files: got %d and %q, want them taken up", status, stdout)
	}
	has(t, "reload", stdout, "tls-cert: "+cert+" → "+other, "WARNING: The certificate for b.example", "expires in 5 days")
	v.asked <- os.Interrupt
	v.exit(t)
}

func TestARestartLooksAtCertificatesAndAddressesFirst(t *testing.T) {
	dir, f := shortDir(t), newFakeServer()
	cert, key := pairOf(t, t.TempDir(), "a.example", 60)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	v := serving(t, f, dir)
	for what, c := range map[string]struct {
		args   []string
		status int
		wants  []string
	}{
		"a wrong certificate":       {[]string{"--tls-listen", "127.0.0.1:0", "--tls-cert", key, "--tls-key", key}, statusUsage, []string{"--tls-cert"}},
		"an address in use for TLS": {[]string{"--tls-listen", taken.Addr().String(), "--tls-cert", cert, "--tls-key", key}, statusFailed, []string{"--tls-listen", "another program has this port"}},
		"an address in use for plain HTTP": {[]string{"--tls-listen", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key, "--http-redirect", taken.Addr().String()}, statusFailed,
			[]string{"--http-redirect", "another program has this port"}},
	} {
		status, _, stderr := do(t, append([]string{"restart", "--run-dir", dir.path, "--listen", "127.0.0.1:0"}, c.args...)...)
		if status != c.status {
			t.Errorf("%s: got exit status %d and %q, want %d", what, status, stderr, c.status)
		}
		has(t, what, stderr, c.wants...)
		if held, err := alive(dir); err != nil || !held {
			t.Errorf("%s: got %v, %v, want the old server running on", what, held, err)
		}
	}
	v.asked <- os.Interrupt
	v.exit(t)
}

func TestStatusOfCertificatesIsShort(t *testing.T) {
	until := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	days := func(n int) *int { return &n }
	got := certificatesText([]certs.Certificate{
		{Names: []string{"a.example", "b.example", "c.example", "d.example", "e.example"}, NotAfter: until, Days: days(1)},
		{Names: []string{"old.example"}, NotAfter: until, Days: days(-3)}, {Names: []string{"new.example"}, Failure: "not you", NextTry: until}, {NotAfter: until, Days: days(100)},
	})
	want := "tls      a.example b.example c.example and 2 more    1 day left\n" +
		"         old.example    EXPIRED on 2030-01-02\n         new.example    no certificate yet    last try failed: not you    next try 03:04:05 UTC\n         no name    100 days left\n"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestSocketsForTLSNeedCertificates(t *testing.T) {
	cert, key := pairOf(t, t.TempDir(), "a.example", 60)
	files := []string{"--tls-listen", ":8443", "--tls-cert", cert, "--tls-key", key}
	socket := os.NewFile(0, "socket")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for what, c := range map[string]struct {
		handed handedIn
		args   []string
		want   string
	}{
		"TLS without it":           {handedIn{secure: []*os.File{socket}}, nil, "set --tls-listen to the address of that socket, and name a certificate"},
		"TLS":                      {handedIn{secure: []*os.File{socket}}, files, ""},
		"plain where that is off":  {handedIn{sockets: []*os.File{socket}}, append(files, "--listen", "off"), "FileDescriptorName="},
		"both":                     {handedIn{sockets: []*os.File{socket}, secure: []*os.File{socket}}, files, ""},
		"too many":                 {handedIn{sockets: make([]*os.File, 9), secure: make([]*os.File, 9)}, files, "hands in 18 sockets"},
		"a redirect that is off":   {handedIn{redirect: listener}, files, "--http-redirect is off"},
		"a redirect":               {handedIn{redirect: listener}, append(files, "--http-redirect", ":80"), ""},
		"a redirect in the dark":   {handedIn{redirect: listener}, append(files, "--daemon"), "--daemon does not go together"},
		"TLS and in the dark, too": {handedIn{secure: []*os.File{socket}}, append(files, "--daemon"), "--daemon does not go together"},
	} {
		s, err := parse(t, append([]string{"--run-dir", "/r"}, c.args...)...)
		if err != nil {
			t.Fatal(err)
		}
		err = c.handed.fits(&s)
		var wrong *settings.UsageError
		if c.want == "" && err != nil || c.want != "" && (!errors.As(err, &wrong) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: got %v, want %q", what, err, c.want)
		}
	}
	h := handedIn{secure: []*os.File{socket}, redirect: listener}
	if got := fmt.Sprint(h.instead()); got != "[--tls-listen --http-redirect]" {
		t.Errorf("options that are not used: got %s", got)
	}
}
