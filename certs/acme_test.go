package certs

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/acme/autocert"
)

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for !ok() {
		select {
		case <-deadline:
			t.Fatalf("waited in vain until %s", what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// running is a store whose authority is a handler, seen to until the test ends.
func running(t *testing.T, authority http.HandlerFunc, change ...func(*ACMEOptions)) *Store {
	t.Helper()
	server := httptest.NewTLSServer(authority)
	t.Cleanup(server.Close)
	roots := filepath.Join(t.TempDir(), "roots.pem")
	must(t, os.WriteFile(roots, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600))
	o := ACMEOptions{Domains: []string{"a.example"}, Dir: filepath.Join(t.TempDir(), "acme"), DirectoryURL: server.URL + "/dir", RootCAs: roots}
	for _, f := range change {
		f(&o)
	}
	s, err := NewACME(o)
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	over := make(chan struct{})
	go func() { defer close(over); s.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-over })
	return s
}

// Authorities count failures, so what has failed is not tried again at once, unless the operator asks for it.
func TestAnAuthorityThatRefusesIsToldOfAndNotAskedAgainAtOnce(t *testing.T) {
	asked := make(chan struct{}, 100)
	s := running(t, func(w http.ResponseWriter, _ *http.Request) {
		asked <- struct{}{}
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(`{"type": "urn:ietf:params:acme:error:unauthorized", "detail": "not you"}`))
	})
	eventually(t, "the first try has failed", func() bool { return s.Failed() == 1 })
	has(t, "status", s.Status()[0].Failure, "not you")
	has(t, "warnings", strings.Join(s.Warnings(), "\n"), "There is no certificate for a.example yet", "not you")
	next := s.Status()[0].NextTry
	has(t, "when it is tried again", strings.Join(s.Warnings(), "\n"), "It is tried again at "+next.UTC().Format("15:04:05"))
	if left := time.Until(next); left < retryMin/2 || left > retryMin {
		t.Errorf("the next try: got in %s, want in %s", left, retryMin)
	}
	for n := uint64(2); n <= 3; n++ { // autocert remembers the failure for a minute
		before := len(asked)
		if _, err := s.Reload(nil); err != nil {
			t.Fatal(err)
		}
		eventually(t, "a reload has had it tried again", func() bool { return s.Failed() == n })
		if len(asked) == before {
			t.Errorf("reload %d: the authority was not asked, want it asked at once", n-1)
		}
		has(t, "status after it", s.Status()[0].Failure, "not you", "ACME server 127.0.0.1:")
		if got := s.Status()[0].NextTry; !got.Equal(next) {
			t.Errorf("the next try after reload %d: got %s, want it when it was, at %s", n-1, got, next)
		}
	}
}

// A name that has failed has a manager of its own, and its challenges are answered by that.
func TestChallengesAreAnsweredByWhoTriesNow(t *testing.T) {
	s, err := NewACME(ACMEOptions{Domains: []string{"a.example", "b.example"}, Dir: filepath.Join(t.TempDir(), "acme"), DirectoryURL: "https://127.0.0.1:1/"})
	must(t, err)
	h := s.HTTPHandler(http.NotFoundHandler())
	d := s.acme.domains[0]
	before := d.manager.Load()
	s.acme.forget(d)
	if d.manager.Load() == before || s.acme.domains[1].manager.Load() != before {
		t.Fatal("got the manager of before, or another one for a name that has not failed, too")
	}
	d.manager.Load().Cache = tokens{"token+http-01": "new"}
	for host, want := range map[string]string{"a.example": "new", "b.example": "there is no such challenge here now\n"} {
		r := httptest.NewRequest(http.MethodGet, "/.well-known/acme-challenge/token", nil)
		r.Host = host
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if got := w.Body.String(); got != want {
			t.Errorf("%s: got %q, want %q", host, got, want)
		}
	}
}

// tokens is a cache that has what it is made with.
type tokens map[string]string

func (c tokens) Get(_ context.Context, key string) ([]byte, error) {
	if text, is := c[key]; is {
		return []byte(text), nil
	}
	return nil, autocert.ErrCacheMiss
}
func (c tokens) Put(context.Context, string, []byte) error { return nil }
func (c tokens) Delete(context.Context, string) error      { return nil }

func TestWhatFailsNamesTheServer(t *testing.T) {
	s := running(t, func(http.ResponseWriter, *http.Request) {}, func(o *ACMEOptions) { o.RootCAs = "" })
	eventually(t, "the first try has failed", func() bool { return s.Failed() == 1 })
	has(t, "failure", s.Status()[0].Failure, "ACME server 127.0.0.1:", "certificate signed by unknown authority", "--acme-ca")
}

func TestWhyAnAuthorityDidNotBelieveIsKept(t *testing.T) {
	listens := &reasons{why: map[string][]string{}}
	for _, body := range []string{
		`{"status": "invalid", "identifier": {"type": "dns", "value": "a.example"}, "challenges": [{"type": "tls-alpn-01", "error": {"detail": "connection refused"}}, {"type": "dns-01"}]}`,
		`{"status": "invalid", "identifier": {"type": "dns", "value": "a.example"}, "challenges": [{"type": "http-01", "error": {"detail": "` + strings.Repeat("x", 2*reasonBytesMax) + `"}}]}`,
		`{"status": "pending", "identifier": {"type": "dns", "value": "b.example"}, "challenges": [{"type": "http-01", "error": {"detail": "no"}}]}`,
		`no JSON`, strings.Repeat(" ", answerBytesMax+10),
	} {
		listens.next = roundTrip(func(*http.Request) (*http.Response, error) {
			w := httptest.NewRecorder()
			w.Header().Set("Content-Type", "application/json; charset=utf-8")
			_, _ = w.WriteString(body)
			return w.Result(), nil
		})
		answer, err := listens.RoundTrip(httptest.NewRequest(http.MethodGet, "/", nil))
		must(t, err)
		var got strings.Builder
		_ = answer.Write(&got)
		if !strings.HasSuffix(got.String(), body) {
			t.Errorf("%.50s: got %d bytes, want the answer whole", body, got.Len())
		}
	}
	want := "tls-alpn-01: connection refused; http-01: " + strings.Repeat("x", reasonBytesMax)
	if got := listens.take("a.example"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := listens.take("a.example") + listens.take("b.example"); got != "" {
		t.Errorf("asked again, and of what is only pending: got %q, want nothing", got)
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestChallengesAreAnsweredAndTheRestIsOthers(t *testing.T) {
	s, err := NewACME(ACMEOptions{Domains: []string{"a.example"}, Dir: filepath.Join(t.TempDir(), "acme"), DirectoryURL: "https://127.0.0.1:1/"})
	must(t, err)
	must(t, s.acme.domains[0].manager.Load().Cache.Put(context.Background(), "token+http-01", []byte("token.key")))
	h := s.HTTPHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	for _, c := range []struct {
		host, path string
		want       int
	}{
		{"a.example", "/.well-known/acme-challenge/token", 200}, {"a.example:5002", "/.well-known/acme-challenge/token", 200},
		{"a.example", "/.well-known/acme-challenge/other", 404}, {"b.example", "/.well-known/acme-challenge/token", 403},
		{"a.example", "/", http.StatusTeapot}, {"b.example", "/x", http.StatusTeapot},
	} {
		r := httptest.NewRequest(http.MethodGet, c.path, nil)
		r.Host = c.host
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != c.want || c.want == 200 && w.Body.String() != "token.key" || strings.Contains(w.Body.String(), "autocert") {
			t.Errorf("%s%s: got %d %q, want %d", c.host, c.path, w.Code, w.Body, c.want)
		}
	}
	f := newFolder(t)
	files, _ := opened(t, f.write("a", making{}))
	w := httptest.NewRecorder()
	files.HTTPHandler(http.NotFoundHandler()).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/.well-known/acme-challenge/token", nil))
	if w.Code != http.StatusNotFound || len(files.Config().NextProtos) > 0 {
		t.Errorf("with certificates in files: got %d and %v, want no challenges", w.Code, files.Config().NextProtos)
	}
}

// autocert renews by itself, and says nothing of what fails.
func TestARenewalThatFailsIsTold(t *testing.T) {
	s, err := NewACME(ACMEOptions{Domains: []string{"a.example"}, Dir: filepath.Join(t.TempDir(), "acme"), DirectoryURL: "https://127.0.0.1:1/", now: func() time.Time { return noon }})
	must(t, err)
	had := func(m making) *tls.Certificate {
		m.names = []string{"a.example"}
		chain, key := made(t, m)
		c, err := newCertificate(chain, key)
		must(t, err)
		return c.tls
	}
	d := s.acme.domains[0]
	const said = "ACME server 127.0.0.1:1: "
	old := had(making{from: noon.Add(-80 * day)})
	for _, step := range []struct {
		what   string
		has    *tls.Certificate
		change func()
		want   string
		failed uint64
	}{
		{"obtained", old, func() {}, "", 0},
		{"nothing new", old, func() {}, "", 0},
		{"not believed", old, func() { s.acme.reasons.why["a.example"] = []string{"http-01: nobody there"} }, said + "http-01: nobody there", 1},
		{"nothing new since", old, func() {}, said + "http-01: nobody there", 1},
		{"not reached", old, func() { s.acme.reasons.last = "no route" }, said + "no route", 2},
		{"renewed", had(making{}), func() { s.acme.reasons.last = "no route" }, "", 2},
		{"renewed long before its end", s.acme.domains[0].tlsNow(), func() {}, "", 2},
	} {
		step.change()
		if step.has == nil {
			step.has = d.tlsNow()
		}
		s.obtained(d, step.has, nil, time.Now().Add(time.Minute))
		if got := s.Status()[0].Failure; got != step.want || s.Failed() != step.failed {
			t.Errorf("%s: got %q and %d failures, want %q and %d", step.what, got, s.Failed(), step.want, step.failed)
		}
	}
}

// tlsNow is what a domain has.
func (d *domain) tlsNow() *tls.Certificate {
	if d.has == nil {
		return nil
	}
	return d.has.tls
}

func TestAClientIsToldThatThereIsNoCertificateForTheName(t *testing.T) {
	s, err := NewACME(ACMEOptions{Domains: []string{"a.example"}, Dir: filepath.Join(t.TempDir(), "acme"), DirectoryURL: "https://127.0.0.1:1/"})
	must(t, err)
	if !s.None() {
		t.Error("got a certificate, want none yet")
	}
	ours, theirs := net.Pipe()
	defer ours.Close()
	go func() { defer theirs.Close(); _ = tls.Server(theirs, s.Config()).Handshake() }()
	err = tls.Client(ours, &tls.Config{ServerName: "a.example", InsecureSkipVerify: true}).Handshake()
	if err == nil || !strings.Contains(err.Error(), "unrecognized name") { // RFC 8446 §6.2
		t.Errorf("got %v, want the alert unrecognized_name", err)
	}
}
