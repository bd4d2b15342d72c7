package api

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// public is a Public behind a listener of its own, and what becomes of its connections.
type public struct {
	*Public
	t        *testing.T
	listener net.Listener
	log      *syncBuffer

	mu           sync.Mutex
	given, ended int
}

// given is a connection that counts when it is closed, and that a proxy may name.
type given struct {
	net.Conn
	of   *public
	once sync.Once

	mu    sync.Mutex
	named string
}

// Close is part of net.Conn.
func (c *given) Close() error {
	c.once.Do(func() {
		c.of.mu.Lock()
		c.of.ended++
		c.of.mu.Unlock()
	})
	return c.Conn.Close()
}

// RemoteAddr is part of net.Conn.
func (c *given) RemoteAddr() net.Addr {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.named != "" {
		return &net.TCPAddr{IP: net.ParseIP(c.named)}
	}
	return c.Conn.RemoteAddr()
}

// Forwarded is as that of a connection that has left its loop; one address has too many connections.
func (c *given) Forwarded(list string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.named = list
	return list != "192.0.2.66"
}

// syncBuffer is a log.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write is part of io.Writer.
func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

// String is what was logged.
func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// servePublic serves with the bounds that a test does not care for set to what it never meets. At its end every connection must
// have been closed.
func servePublic(t *testing.T, cfg PublicConfig) *public {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &cfg.PublicBounds
	b.ConnectionsMax, b.BodyBytesMax = max(b.ConnectionsMax, 1), max(b.BodyBytesMax, 1000)
	b.HeaderTimeout, b.BodyTimeout = cmp.Or(b.HeaderTimeout, time.Hour), cmp.Or(b.BodyTimeout, time.Hour)
	if b.ConnectionsMax == 1 {
		b.ConnectionsMax = 100
	}
	p := &public{t: t, listener: l, log: &syncBuffer{}}
	cfg.Log = slog.New(slog.NewTextHandler(p.log, nil))
	cfg.Page = []byte("<p>page")
	p.Public = NewPublic(cfg)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.mu.Lock()
			p.given++
			p.mu.Unlock()
			go p.Serve(&given{Conn: c, of: p})
		}
	}()
	t.Cleanup(func() {
		l.Close()
		p.Close()
		p.eventually("every connection is closed", func() bool {
			p.mu.Lock()
			defer p.mu.Unlock()
			return p.given == p.ended && p.Stats().Connections+p.Stats().Beyond+p.Stats().Idle+p.Stats().Keyed == 0
		})
	})
	return p
}

// patient is for what comes at once on a machine that is not busy.
const patient = 20 * time.Second

func (p *public) eventually(what string, is func() bool) {
	p.t.Helper()
	for deadline := time.Now().Add(patient); !is(); runtime.Gosched() {
		if time.Now().After(deadline) {
			p.t.Fatalf("%s: not within %s; %+v", what, patient, p.Stats())
		}
	}
}

// peer is a connection to it.
type peer struct {
	t *testing.T
	net.Conn
	in *bufio.Reader
}

func (p *public) dial() *peer {
	p.t.Helper()
	c, err := net.Dial("tcp", p.listener.Addr().String())
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patient))
	return &peer{p.t, c, bufio.NewReader(c)}
}

func (c *peer) say(format string, args ...any) {
	c.t.Helper()
	if _, err := fmt.Fprintf(c.Conn, format, args...); err != nil {
		c.t.Fatal(err)
	}
}

func (c *peer) hear(method string) (*http.Response, string) {
	c.t.Helper()
	res, err := http.ReadResponse(c.in, &http.Request{Method: method})
	if err != nil {
		c.t.Fatalf("an answer: %v", err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatalf("the body of an answer: %v", err)
	}
	return res, string(body)
}

// answered is the status of the answer to a request.
func (c *peer) answered(request string) int {
	c.t.Helper()
	c.say("%s", request)
	res, _ := c.hear(request[:strings.IndexByte(request, ' ')])
	return res.StatusCode
}

// over checks that the server ends the connection.
func (c *peer) over(what string) {
	c.t.Helper()
	if b, err := c.in.ReadByte(); err != io.EOF {
		c.t.Errorf("%s: got %q, %v, want the end of the connection", what, b, err)
	}
}

func request(path string, lines ...string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: a\r\n" + strings.Join(append(lines, ""), "\r\n") + "\r\n"
}

// echo answers with the body, or with the error of reading it.
var echo = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusRequestEntityTooLarge)
	}
	fmt.Fprintf(w, "%s %s %d %v", r.Method, r.URL.Path, len(body), err)
})

func hasKey(r *http.Request) bool { return r.Header.Get("X-API-Key") == "k" }

const withKey = "X-API-Key: k"

func TestRequestsOnOneConnectionAreAnsweredInTheirOrder(t *testing.T) {
	p := servePublic(t, PublicConfig{API: echo})
	c := p.dial()
	c.say("%s", request("/")+request("/api/1")+"HEAD /healthz HTTP/1.1\r\nHost: a\r\n\r\n"+
		"POST /api/2 HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"+request("/chat"))
	for _, want := range []struct {
		method string
		status int
		body   string
	}{{"GET", 200, "<p>page"}, {"GET", 200, "GET /api/1 0 <nil>"}, {"HEAD", 200, ""}, {"POST", 200, "POST /api/2 3 <nil>"}, {"GET", 404, `there is nothing at "/chat"`}} {
		res, body := c.hear(want.method)
		if res.StatusCode != want.status || !strings.HasPrefix(body, want.body) || res.Close {
			t.Errorf("got %s %q, close %v, want %d %q", res.Status, body, res.Close, want.status, want.body)
		}
		if got := res.Header.Get("X-Content-Type-Options") + res.Header.Get("Cache-Control"); got != "nosniffno-store" {
			t.Errorf("got headers %v", res.Header)
		}
	}
	if got := c.answered("DELETE / HTTP/1.1\r\nHost: a\r\n\r\n"); got != 405 {
		t.Errorf("DELETE /: got %d, want 405", got)
	}
	if s := p.Stats(); s.Requests != 6 || s.Connections != 1 {
		t.Errorf("got %+v, want 6 requests on one connection", s)
	}
}

func TestABodyOverTheBoundIsNotRead(t *testing.T) {
	p := servePublic(t, PublicConfig{API: echo, PublicBounds: PublicBounds{BodyBytesMax: 1000}})
	const post = "POST /api HTTP/1.1\r\nHost: a\r\n"
	large := p.dial()
	if got := large.answered(post + "Content-Length: 10000000000\r\n\r\n"); got != 413 {
		t.Errorf("10 GB: got %d, want 413", got)
	}
	large.over("10 GB")
	chunks := p.dial()
	chunks.say("%sTransfer-Encoding: chunked\r\n\r\n", post)
	for range 3 {
		chunks.say("190\r\n%s\r\n", strings.Repeat("c", 400))
	}
	if res, body := chunks.hear("POST"); res.StatusCode != 413 || !strings.Contains(body, "too large") {
		t.Errorf("chunks: got %s %q, want 413", res.Status, body)
	}
	chunks.say("0\r\n\r\n") // it may be waited for, as long as for any body
	chunks.over("chunks")
	if got := p.dial().answered(post + "Content-Length: 1000\r\n\r\n" + strings.Repeat("b", 1000)); got != 200 {
		t.Errorf("as much as may be: got %d, want 200", got)
	}
	p.Apply(PublicBounds{ConnectionsMax: 10, BodyBytesMax: 999, HeaderTimeout: time.Minute, BodyTimeout: time.Minute})
	if got := p.dial().answered(post + "Content-Length: 1000\r\n\r\n" + strings.Repeat("b", 1000)); got != 413 {
		t.Errorf("over a new bound: got %d, want 413", got)
	}
	if got := p.Stats().Refused["body"]; got != 2 {
		t.Errorf("counted: got %d, want 2", got)
	}
}

// What is refused without its body being looked at does not wait for it: a slow one would hold a place.
func TestARefusalDoesNotWaitForTheBody(t *testing.T) {
	p := servePublic(t, PublicConfig{AllowsOrigin: func(o string) bool { return o == "" }, PublicBounds: PublicBounds{BodyTimeout: time.Hour, HeaderTimeout: time.Hour}})
	for line, want := range map[string]int{
		"POST / HTTP/1.1": 405, "POST /x HTTP/1.1": 404, "POST /api/publish HTTP/1.1": 404, "GET / HTTP/1.1": 200, "GET /api HTTP/1.1\r\nOrigin: https://evil.example": 403,
	} {
		c := p.dial()
		if got := c.answered(line + "\r\nHost: a\r\nContent-Length: 10\r\n\r\nb"); got != want {
			t.Errorf("%s: got %d, want %d", line, got, want)
		}
		c.over(line)
	}
}

func TestTheLongestIdleStrangerMakesRoomForANewcomer(t *testing.T) {
	p := servePublic(t, PublicConfig{Keyed: hasKey, API: echo, PublicBounds: PublicBounds{ConnectionsMax: 8, HeaderTimeout: time.Hour}})
	idle := func(lines ...string) *peer { // one that has its answer, and waits
		c := p.dial()
		before := p.Stats().Idle
		if got := c.answered(request("/api", lines...)); got != 200 {
			t.Fatalf("got %d, want 200", got)
		}
		p.eventually("it is idle", func() bool { return p.Stats().Idle > before || p.Stats().Connections >= 7 })
		return c
	}
	keyed := idle(withKey)
	var strangers []*peer
	for range 7 { // one place of eight is for keys, and one key has shown itself: six strangers and a key have seven places
		strangers = append(strangers, idle())
		p.eventually("all are idle", func() bool { s := p.Stats(); return s.Idle == s.Connections })
	}
	if s := p.Stats(); s.Connections != 8 || s.Keyed != 1 || s.Displaced != 0 {
		t.Fatalf("got %+v, want seven strangers and a key", s)
	}
	newcomer := idle()
	strangers[0].over("the longest idle one")
	if got := strangers[1].answered(request("/")); got != 200 {
		t.Errorf("the second: got %d, want it there", got)
	}
	p.eventually("the second is idle", func() bool { s := p.Stats(); return s.Idle == s.Connections })
	second := idle(withKey)
	strangers[2].over("the longest idle one then")
	for what, c := range map[string]*peer{"key": keyed, "second key": second, "newcomer": newcomer, "the second": strangers[1], "the fourth": strangers[3]} {
		if got := c.answered(request("/")); got != 200 {
			t.Errorf("%s: got %d, want it there", what, got)
		}
	}
	if s := p.Stats(); s.Connections != 8 || s.Keyed != 2 || s.Displaced != 2 {
		t.Errorf("got %+v, want six strangers and two keys", s)
	}
}

func TestBeyondTheBoundKeysHavePlacesHealthIsToldAndOthersAreRefused(t *testing.T) {
	hold := make(chan struct{})
	busy := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { <-hold })
	p := servePublic(t, PublicConfig{Keyed: hasKey, API: busy, PublicBounds: PublicBounds{ConnectionsMax: 16}})
	fill := func(n int, lines ...string) {
		t.Helper()
		for range n {
			p.dial().say("%s", request("/api", lines...))
		}
	}
	fill(14)
	p.eventually("14 are busy", func() bool { return p.Stats().Connections == 14 })
	refused := func(request string) {
		t.Helper()
		c := p.dial()
		c.say("%s", request)
		res, body := c.hear("GET")
		if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" || !strings.Contains(body, "as many HTTP connections") {
			t.Errorf("beyond the bound: got %s %v %q, want 503", res.Status, res.Header, body)
		}
		c.over("beyond the bound")
	}
	refused(request("/"))
	refused("POST /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n") // a health check has no body that one waits for
	refused(request("/api/publish", "X-API-Key: wrong"))
	refused("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n") // which net/http would answer by itself, and keep the connection
	fill(2, withKey)
	p.eventually("two with a key are busy too", func() bool { return p.Stats().Connections == 16 && p.Stats().Keyed == 2 })
	refused(request("/api", withKey))
	for range 3 {
		c := p.dial()
		if got := c.answered(request("/healthz")); got != 200 {
			t.Errorf("healthz: got %d, want 200", got)
		}
		c.over("healthz beyond the bound")
	}
	close(hold)
	p.eventually("nobody is beyond", func() bool { return p.Stats().Beyond == 0 })
	if s := p.Stats(); s.Refused["full"] != 5 || s.Displaced != 0 {
		t.Errorf("got %+v, want 5 refused", s)
	}
}

func TestSlowBodiesAndSlowReadersLoseTheirPlaces(t *testing.T) {
	var failed sync.WaitGroup
	failed.Add(2)
	p := servePublic(t, PublicConfig{PublicBounds: PublicBounds{HeaderTimeout: 100 * time.Millisecond, BodyTimeout: 100 * time.Millisecond},
		API: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, err := io.ReadAll(r.Body); err != nil {
				failed.Done()
			}
			for r.Method == "GET" {
				if _, err := w.Write(make([]byte, 1<<20)); err != nil {
					failed.Done()
					return
				}
			}
		})})
	slow := p.dial()
	slow.say("POST /api HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nb")
	p.dial().say("%s", request("/api"))
	failed.Wait()
	further := p.dial()
	if got := further.answered(request("/healthz")); got != 200 {
		t.Errorf("got %d, want 200", got)
	}
	further.say("GET / HT")
	if _, err := io.ReadAll(further.in); err != nil { // there may be an answer
		t.Errorf("a further head that stays incomplete: %v", err)
	}
	p.eventually("no place is taken", func() bool { return p.Stats().Connections == 0 })
}

func TestAnIdleConnectionIsClosedAfterAWhile(t *testing.T) {
	p := servePublic(t, PublicConfig{PublicBounds: PublicBounds{HeaderTimeout: time.Hour, BodyTimeout: time.Hour}, idle: 50 * time.Millisecond})
	c := p.dial()
	if got := c.answered(request("/")); got != 200 {
		t.Errorf("got %d, want 200", got)
	}
	c.over("it is idle")
}

func TestAPanicEndsItsConnectionAloneAndIsLogged(t *testing.T) {
	p := servePublic(t, PublicConfig{API: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("a fault of ours") })})
	other, c := p.dial(), p.dial()
	other.answered(request("/"))
	c.say("%s", request("/api"))
	c.over("a panic")
	if got := other.answered(request("/")); got != 200 {
		t.Errorf("another connection: got %d, want 200", got)
	}
	if out := p.log.String(); !strings.Contains(out, "level=ERROR") || !strings.Contains(out, "a fault of ours") || strings.Count(out, "\n") != 1 {
		t.Errorf("log: got %q, want one line with the panic", out)
	}
	if got := p.Stats().Panics; got != 1 {
		t.Errorf("counted: got %d, want 1", got)
	}
}

func TestPagesOfOtherOriginsAreRefusedOnEveryPath(t *testing.T) {
	p := servePublic(t, PublicConfig{API: echo, AllowsOrigin: func(o string) bool { return o == "" || o == "https://example.org" }})
	c := p.dial()
	for _, path := range []string{"/", "/healthz", "/api/info", "/chat"} {
		if got := c.answered(request(path, "Origin: https://evil.example")); got != 403 {
			t.Errorf("%s: got %d, want 403", path, got)
		}
	}
	if got := c.answered(request("/", "Origin: https://example.org")); got != 200 {
		t.Errorf("an allowed one: got %d, want 200", got)
	}
}

func TestAFurtherRequestOfAProxyIsOfWhomItNames(t *testing.T) {
	p := servePublic(t, PublicConfig{API: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.RemoteAddr) })})
	c := p.dial()
	c.say("%s", request("/api")) // what is said with the first has counted before
	if _, body := c.hear("GET"); body != c.LocalAddr().String() {
		t.Errorf("the first request: got %s, want the peer", body)
	}
	c.say("%s", request("/api", "X-Forwarded-For: 192.0.2.1"))
	if _, body := c.hear("GET"); body != "192.0.2.1:0" {
		t.Errorf("the second request: got %s, want 192.0.2.1", body)
	}
	if got := c.answered(request("/api", "X-Forwarded-For: 192.0.2.66")); got != 429 {
		t.Errorf("of an address with too many connections: got %d, want 429", got)
	}
	c.over("429")
}

// A request in a body is no request, whichever length a proxy in between believes.
func TestARequestInABodyIsNoRequest(t *testing.T) {
	p := servePublic(t, PublicConfig{API: echo})
	inside := request("/api/smuggled")
	c := p.dial()
	c.say("POST /api/a HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", len(inside), inside)
	c.say("POST /api/b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(inside), inside)
	for _, want := range []string{"POST /api/a", "POST /api/b"} {
		if _, body := c.hear("POST"); body != fmt.Sprintf("%s %d <nil>", want, len(inside)) {
			t.Errorf("got %q, want the body of %s", body, want)
		}
	}
	for _, lines := range []string{
		"Content-Length: 4\r\nTransfer-Encoding: chunked", "Content-Length: 5\r\nContent-Length: 6", "Transfer-Encoding: xchunked", "Content-Length: +5", "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
	} {
		c := p.dial()
		c.answered(request("/healthz"))
		c.say("POST /api/c HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n0\r\n\r\n%s", lines, inside)
		for n := 0; ; n++ {
			res, err := http.ReadResponse(c.in, nil)
			if err != nil {
				break // closed
			}
			body, _ := io.ReadAll(res.Body)
			if strings.Contains(string(body), "smuggled") {
				t.Errorf("%q: got %s %q", lines, res.Status, body)
			}
			if res.Close {
				break
			}
		}
	}
}

func TestADrainEndsIdleConnectionsAndLetsAnswersUnderWayFinish(t *testing.T) {
	hold := make(chan struct{})
	p := servePublic(t, PublicConfig{API: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/begun" {
			_ = http.NewResponseController(w).Flush() // its headers have left
		}
		<-hold
	})})
	idle, busy, begun := p.dial(), p.dial(), p.dial()
	idle.answered(request("/"))
	busy.say("%s", request("/api"))
	begun.say("%s", request("/api/begun"))
	p.eventually("two are busy", func() bool { return p.Stats().Connections == 3 && p.Stats().Idle == 1 && p.Stats().Requests == 3 })
	p.Drain()
	idle.over("an idle one")
	late := p.dial()
	late.say("%s", request("/"))
	if res, _ := late.hear("GET"); res.StatusCode != 200 || !res.Close {
		t.Errorf("a newcomer: got %s, close %v, want one answer", res.Status, res.Close)
	}
	late.over("a newcomer")
	close(hold)
	for _, c := range []*peer{busy, begun} {
		if res, _ := c.hear("GET"); res.StatusCode != 200 {
			t.Errorf("one under way: got %s, want its answer", res.Status)
		}
		c.over("one under way")
	}
	p.eventually("all have gone", func() bool { return p.Stats().Connections == 0 })
}

func TestHeadsAreBoundedAndTooManyConnectionsBeyondTheBoundAreClosed(t *testing.T) {
	hold := make(chan struct{})
	p := servePublic(t, PublicConfig{API: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-hold }), PublicBounds: PublicBounds{ConnectionsMax: 2}})
	c := p.dial()
	c.answered(request("/healthz"))
	go func() { _, _ = c.Write([]byte(request("/", "Cookie: "+strings.Repeat("c", 200_000)))) }()
	if res, err := http.ReadResponse(c.in, nil); err != nil || res.StatusCode != 431 {
		t.Errorf("a head of 200,000 bytes: got %v, %v, want 431", res, err)
	}
	c.Close()
	p.eventually("it has gone", func() bool { return p.Stats().Connections == 0 })
	for range 2 {
		p.dial().say("%s", request("/api"))
	}
	p.eventually("two are busy", func() bool { return p.Stats().Connections == 2 && p.Stats().Requests == 3 })
	p.guests.mu.Lock()
	p.guests.beyond = beyondMax // as if so many were told at this moment
	p.guests.mu.Unlock()
	over := p.dial()
	over.say("%s", request("/"))
	if res, err := http.ReadResponse(over.in, nil); err == nil {
		t.Errorf("got %s, want the end without a word", res.Status)
	}
	if got := p.dial().answered(request("/healthz")); got != 200 {
		t.Errorf("healthz: got %d, want 200", got)
	}
	p.guests.mu.Lock()
	p.guests.beyond -= beyondMax
	p.guests.mu.Unlock()
	close(hold)
}
