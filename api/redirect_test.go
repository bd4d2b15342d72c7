package api

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// redirecting serves a Redirect until the test ends.
func redirecting(t *testing.T, cfg RedirectConfig) (*Redirect, string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg.Log = slog.New(slog.DiscardHandler)
	d := ServeRedirect(listener, cfg)
	t.Cleanup(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		d.Close(ctx)
	})
	return d, listener.Addr().String()
}

// said is what is answered to a request of these very bytes.
func said(t *testing.T, address, request string) *http.Response {
	t.Helper()
	c, err := net.DialTimeout("tcp", address, 20*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	return answer
}

func TestBrowsersAreSentToTheSameAddressWithHTTPS(t *testing.T) {
	_, other := redirecting(t, RedirectConfig{Port: "8443"})
	_, usual := redirecting(t, RedirectConfig{})
	for _, c := range []struct {
		address, request string
		status           int
		to               string
	}{
		{usual, "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n", 301, "https://a.example/"},
		{usual, "GET /x%20y?z=1&a=%2F HTTP/1.1\r\nHost: a.example:80\r\n\r\n", 301, "https://a.example/x%20y?z=1&a=%2F"},
		{other, "HEAD /x HTTP/1.1\r\nHost: a.example:8080\r\n\r\n", 301, "https://a.example:8443/x"},
		{other, "POST /api/publish HTTP/1.1\r\nHost: a.example\r\nContent-Length: 10\r\n\r\n", 308, "https://a.example:8443/api/publish"},
		{usual, "GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", 301, "https://[::1]/"},
		{other, "GET / HTTP/1.1\r\nHost: [::1]\r\n\r\n", 301, "https://[::1]:8443/"},
		{usual, "GET http://b.example/y HTTP/1.1\r\nHost: a.example\r\n\r\n", 301, "https://b.example/y"},
		{usual, "GET //evil.example/ HTTP/1.1\r\nHost: a.example\r\n\r\n", 301, "https://a.example//evil.example/"},
		{usual, "GET / HTTP/1.0\r\n\r\n", 400, ""},
		{usual, "GET / HTTP/1.1\r\nHost: \r\n\r\n", 400, ""},
		{usual, "GET / HTTP/1.1\r\nHost: a.example/@b\r\n\r\n", 400, ""},
		{usual, "GET / HTTP/1.1\r\nHost: user@a.example\r\n\r\n", 400, ""},
		{usual, "GET / HTTP/1.1\r\nHost: " + strings.Repeat("a", 300) + "\r\n\r\n", 400, ""},
		{usual, "OPTIONS * HTTP/1.1\r\nHost: a.example\r\n\r\n", 400, ""},
		{usual, "GET /.well-known/acme-challenge/x HTTP/1.1\r\nHost: a.example\r\n\r\n", 301, "https://a.example/.well-known/acme-challenge/x"},
		{usual, "GET / HTTP/1.1\r\nHost: a.example\r\nX: " + strings.Repeat("x", 2*redirectHeadBytesMax) + "\r\n\r\n", 431, ""},
	} {
		answer := said(t, c.address, c.request)
		if got := answer.Header.Get("Location"); answer.StatusCode != c.status || got != c.to {
			t.Errorf("%.80q: got %d to %q, want %d to %q", c.request, answer.StatusCode, got, c.status, c.to)
		}
		if !answer.Close {
			t.Errorf("%.80q: the connection is kept, want it closed, as browsers go on elsewhere", c.request)
		}
	}
}

func TestAWebSocketIsToldThatItHasToComeByTLSItself(t *testing.T) {
	d, _ := redirecting(t, RedirectConfig{})
	r := httptest.NewRequest(http.MethodGet, "/app/key?token=secret", nil)
	r.RequestURI, r.Host = "/app/key?token=secret", "a.example"
	r.Header.Set("Upgrade", "WebSocket")
	w := httptest.NewRecorder()
	d.send(w, r, "8443")
	if got, want := w.Body.String(), "WebSockets do not follow this: connect to wss://a.example:8443/app/key\n"; w.Code != http.StatusMovedPermanently || got != want {
		t.Errorf("got %d %q, want 301 and %q", w.Code, got, want)
	}
}

func TestChallengesAreAnsweredBesideTheRedirect(t *testing.T) {
	d, address := redirecting(t, RedirectConfig{Challenges: func(other http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !strings.HasPrefix(r.URL.Path, acmeChallengePath) {
				other.ServeHTTP(w, r)
			}
		})
	}})
	for path, want := range map[string]int{acmeChallengePath + "x": 200, "/": 301} {
		if got := said(t, address, "GET "+path+" HTTP/1.1\r\nHost: a.example\r\n\r\n").StatusCode; got != want {
			t.Errorf("%s: got %d, want %d", path, got, want)
		}
	}
	said(t, address, "GET / HTTP/1.1\r\nHost: \r\n\r\n")
	got := fmt.Sprint(d.sent.Load(), d.challenges.Load(), d.refused.Load())
	if got != "1 1 1" {
		t.Errorf("sent, challenges, refused: got %s, want one each", got)
	}
}

func TestConnectionsForTheRedirectAreBounded(t *testing.T) {
	_, address := redirecting(t, RedirectConfig{})
	var silent []net.Conn
	defer func() {
		for _, c := range silent {
			c.Close()
		}
	}()
	for range RedirectConnectionsMax {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		silent = append(silent, c)
	}
	next, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	if _, err := io.WriteString(next, "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	next.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	if n, err := next.Read(make([]byte, 1)); err == nil {
		t.Fatalf("beyond the bound: got %d bytes of an answer, want it to wait", n)
	}
	silent[0].Close()
	next.SetReadDeadline(time.Now().Add(20 * time.Second)) // who says nothing loses its place after 5 s, so this ends in any case
	if answer, err := http.ReadResponse(bufio.NewReader(next), nil); err != nil || answer.StatusCode != 301 {
		t.Errorf("when there is a place: got %v, %v, want an answer", answer, err)
	}
}

func TestTheAddressOfTheRedirectIsGivenUpAtOnce(t *testing.T) {
	d, address := redirecting(t, RedirectConfig{})
	slow, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Close()
	if _, err := io.WriteString(slow, "GET / HT"); err != nil {
		t.Fatal(err)
	}
	d.Withdraw()
	again, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatalf("the address after Withdraw: got %v, want it free", err)
	}
	again.Close()
}

// securely is a connection that says that it came by TLS.
type securely struct{ net.Conn }

// Secure is as that of a connection that has left its loop.
func (securely) Secure() bool { return true }

func TestBrowsersAreToldOfHSTSOverTLSAlone(t *testing.T) {
	p := NewPublic(PublicConfig{PublicBounds: PublicBounds{ConnectionsMax: 10, BodyBytesMax: 1000, HeaderTimeout: time.Minute, BodyTimeout: time.Minute}, Log: slog.New(slog.DiscardHandler), Page: []byte("x")})
	defer p.Close()
	told := func(secure bool) string {
		t.Helper()
		ours, theirs := net.Pipe()
		defer ours.Close()
		if secure {
			theirs = securely{theirs}
		}
		go p.Serve(theirs)
		ours.SetDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.WriteString(ours, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		answer, err := http.ReadResponse(bufio.NewReader(ours), nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		return answer.Header.Get("Strict-Transport-Security")
	}
	if got := told(true); got != "" {
		t.Errorf("off: got %q, want nothing", got)
	}
	bounds := *p.bounds.Load()
	bounds.HSTS = 365 * 24 * time.Hour
	p.Apply(bounds)
	if got := told(true); got != "max-age=31536000" {
		t.Errorf("over TLS: got %q, want max-age=31536000", got)
	}
	if got := told(false); got != "" {
		t.Errorf("without TLS: got %q, want nothing", got)
	}
}
