package test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Plain HTTP leaves its loop: what is done there, by whom ever, no member of a group notices.

// httpStatus is what the status says about it.
type httpStatus struct {
	HTTP struct {
		Connections int64             `json:"connections"`
		Idle        int64             `json:"idle"`
		Beyond      int64             `json:"beyond"`
		Requests    uint64            `json:"requests"`
		Refused     map[string]uint64 `json:"refused"`
		Displaced   uint64            `json:"displaced"`
		Panics      uint64            `json:"panics"`
	} `json:"http"`
	Departed int64 `json:"departed"`
}

func (s *server) http() (st httpStatus) {
	s.t.Helper()
	must(s.t, askControl(s.dir, "/status", &st))
	return st
}

// noneDeparted waits until no HTTP connection is left.
func (s *server) noneDeparted(when string) {
	s.t.Helper()
	s.eventually(when+": no HTTP connection is left", func() error {
		if st := s.http(); st.Departed != 0 || st.HTTP.Connections != 0 || st.HTTP.Beyond != 0 || st.HTTP.Idle != 0 {
			return fmt.Errorf("got %+v", st)
		}
		return nil
	})
}

const (
	healthz = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
	page    = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"
	last    = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
)

// caller is a connection that has had an answer, and is kept.
func caller(t testing.TB, s *server) *client {
	t.Helper()
	c := bare(t, s)
	c.asks(t, page, 200)
	return c
}

// fill sends so many requests for the page, and takes no answer.
func (c *client) fill(n int) { c.raw([]byte(strings.Repeat(page, n))) }

// stuck waits until so many HTTP connections are there, so many of them idle, and nothing goes on at the others.
func (s *server) stuck(connections, idle int64) {
	s.t.Helper()
	var before httpStatus
	same := 0
	s.eventually("answers are under way that nobody takes", func() error {
		now := s.http()
		if now.HTTP.Connections == connections && now.HTTP.Idle == idle && now.HTTP.Requests == before.HTTP.Requests {
			same++
		} else {
			same = 0
		}
		if before = now; same < 5 {
			return fmt.Errorf("got %+v", now)
		}
		return nil
	})
}

// deaf is a connection whose kernel takes little.
func deaf(t testing.TB, s *server) *client {
	t.Helper()
	c, err := connect(s.addr, dialing{readBytes: 4 << 10})
	must(t, err)
	t.Cleanup(c.hangUp)
	return c
}

func (c *client) asks(t testing.TB, request string, status int) {
	t.Helper()
	must(t, c.raw([]byte(request)))
	if res, body := respond(t, c, strings.Fields(request)[0]); res.StatusCode != status {
		t.Fatalf("%.40q: got %s %.200q, want %d", request, res.Status, body, status)
	}
}

func TestAnHTTPConnectionIsKeptForFurtherRequests(t *testing.T) {
	t.Parallel()
	s := shared(t)
	c := bare(t, s)
	for range 3 {
		must(t, c.raw([]byte(healthz+"HEAD / HTTP/1.1\r\nHost: x\r\n\r\nGET /chat HTTP/1.1\r\nHost: x\r\n\r\n"))) // in one segment
		for _, want := range []struct {
			method string
			status int
		}{{"GET", 200}, {"HEAD", 200}, {"GET", 404}} {
			if res, _ := respond(t, c, want.method); res.StatusCode != want.status || res.Close {
				t.Fatalf("got %s, close %v, want %d on a connection that is kept", res.Status, res.Close, want.status)
			}
		}
	}
	must(t, c.raw([]byte(last)))
	answer(t, c, 200)
}

func TestIdleHTTPConnectionsBeyondTheBoundAreClosedForNewcomers(t *testing.T) {
	t.Parallel()
	s := start(t)
	besides(t, s, func(t *testing.T) {
		var all []*client
		for range 600 {
			all = append(all, caller(t, s))
		}
		s.eventually("the bound holds", func() error {
			if st := s.http().HTTP; st.Connections != 512 || st.Displaced != 88 || st.Refused["full"] != 0 {
				return fmt.Errorf("got %+v, want 512 connections and 88 closed", st)
			}
			return nil
		})
		for i, c := range all[:88] {
			if err := c.end(); err != nil {
				t.Fatalf("number %d: %v", i, err)
			}
		}
		all[88].asks(t, healthz, 200)
		all[599].asks(t, healthz, 200)
	})
	equal(t, "clients that are no HTTP", s.status().Total.Pending, 0)
}

func TestBeyondTheBoundOnHTTPOthersAreToldSoAndHealthIsAnswered(t *testing.T) {
	t.Parallel()
	s, write := configured(t, `{"http-connections-max": 3, "http-header-timeout": "10m", "http-body-timeout": "10m"}`)
	var all []*client
	for range 3 {
		c := deaf(t, s)
		go c.fill(1000)
		all = append(all, c)
	}
	s.stuck(3, 0)
	over := bare(t, s)
	must(t, over.raw([]byte(page)))
	if res, body := respond(t, over, "GET"); res.StatusCode != 503 || res.Header.Get("Retry-After") == "" {
		t.Errorf("got %s %v %q, want 503 with Retry-After", res.Status, res.Header, body)
	}
	must(t, over.end())
	health := bare(t, s)
	must(t, health.raw([]byte(healthz)))
	answer(t, health, 200)
	dial(t, s)
	write(`{"http-connections-max": 4, "http-header-timeout": "10m", "http-body-timeout": "10m"}`)
	equal(t, "reload", run("reload", "--run-dir", s.dir).stdout, "http-connections-max: 3 → 4\n")
	caller(t, s)
	for _, c := range all {
		c.die()
	}
	s.eventually("their places are free", func() error {
		if st := s.http().HTTP; st.Connections != 1 || st.Refused["full"] != 1 {
			return fmt.Errorf("got %+v, want the last one alone, and one refused", st)
		}
		return nil
	})
}

func TestHostileHTTPHarmsNoMember(t *testing.T) {
	t.Parallel()
	s := start(t, "--http-header-timeout", "500ms", "--http-body-timeout", "500ms", "--allowed-origins", "https://example.org")
	post := "POST / HTTP/1.1\r\nHost: x\r\n"
	besides(t, s, func(t *testing.T) {
		var wg sync.WaitGroup
		for name, text := range map[string]string{
			"a body of 10 GB":               post + "Content-Length: 10000000000\r\n\r\n" + strings.Repeat("b", 100_000),
			"a body that stays incomplete":  post + "Content-Length: 10\r\n\r\nb",
			"chunks without an end":         post + "Transfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1\r\nb\r\n", 10_000),
			"no chunks":                     post + "Transfer-Encoding: chunked\r\n\r\nzz\r\n",
			"a head that stays incomplete":  healthz + "GET / HT",
			"a head without an end":         healthz + "GET / HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X: y\r\n", 30_000),
			"what is no request":            healthz + strings.Repeat("\x00", 10_000),
			"a WebSocket behind a request":  healthz + "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n\x81\x80abcd",
			"an expectation":                post + "Expect: 100-continue\r\nContent-Length: 10\r\n\r\n",
			"a request in a body":           post + "Content-Length: 36\r\n\r\n" + healthz,
			"two lengths":                   post + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + healthz,
			"two lengths later":             healthz + post + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + healthz,
			"many methods":                  strings.Repeat("BREW /healthz HTTP/1.1\r\nHost: x\r\n\r\n", 1000) + last,
			"an origin":                     "GET /healthz HTTP/1.1\r\nHost: x\r\nOrigin: https://evil.example\r\nConnection: close\r\n\r\n",
			"more answers than it takes":    strings.Repeat(page, 3000) + last,
			"a request and half a goodbye":  "GET / HTTP/1.0\r\n\r\n\x88",
			"all of HTTP/2":                 healthz + "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
			"a slash and another":           "GET //../../etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
			"an address for a proxy":        "GET http://example.org/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
			"a body behind a health check":  "GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nb",
			"a trailer that never comes":    post + "Transfer-Encoding: chunked\r\nTrailer: a\r\n\r\n0\r\n",
			"a chunk with a long extension": post + "Transfer-Encoding: chunked\r\n\r\n1;" + strings.Repeat("e", 50_000),
		} {
			for range 4 {
				c := bare(t, s)
				wg.Go(func() {
					c.raw([]byte(text)) // may be closed in the middle
					if _, err := c.discard(); err != nil {
						t.Errorf("%s: %v", name, err)
					}
				})
			}
		}
		wg.Wait()
	})
	s.noneDeparted("at the end")
	equal(t, "panics", s.http().HTTP.Panics, 0)
}

// No request that lies in another's body is answered.
func TestARequestInABodyIsNotAnswered(t *testing.T) {
	t.Parallel()
	s := shared(t)
	inside := "GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
	for _, text := range []string{
		fmt.Sprintf("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", len(inside), inside),
		fmt.Sprintf("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(inside), inside),
		"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + inside,
		healthz + "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + inside,
	} {
		c := bare(t, s)
		must(t, c.raw([]byte(text)))
		must(t, c.conn.CloseWrite())
		c.conn.SetReadDeadline(time.Now().Add(patience))
		if all, _ := io.ReadAll(c.in); strings.Contains(string(all), "smuggled") || !strings.Contains(string(all), "HTTP/1.1 4") {
			t.Errorf("%q: got %q, want a refusal of the request around it, and no more", text, all)
		}
	}
}

// However an HTTP connection ends, its seat is given back.
func TestAnHTTPConnectionsSeatIsGivenBackHoweverItEnds(t *testing.T) {
	t.Parallel()
	s := start(t, "--address-clients-max", "2", "--http-connections-max", "4", "--http-header-timeout", "200ms", "--http-body-timeout", "200ms")
	other := dial(t, s)
	for what, end := range map[string]func(c *client){
		"the peer closes":             func(c *client) { c.asks(t, page, 200); c.hangUp() },
		"the peer resets":             func(c *client) { c.asks(t, page, 200); c.die() },
		"the peer asks for the end":   func(c *client) { c.raw([]byte("GET / HTTP/1.0\r\n\r\n")); c.discard() },
		"the peer is gone at once":    func(c *client) { c.raw([]byte(healthz)); c.die() },
		"the peer shuts its side":     func(c *client) { c.raw([]byte(healthz)); c.conn.CloseWrite(); c.discard() },
		"a head that takes too long":  func(c *client) { c.asks(t, page, 200); c.raw([]byte("GET /")); c.discard() },
		"a body that is not read":     func(c *client) { c.raw([]byte("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")); c.discard() },
		"an answer that is not taken": func(c *client) { c.fill(500); c.die() },
		"a request that is wrong":     func(c *client) { c.raw([]byte(healthz + "nonsense\r\n\r\n")); c.discard() },
		"displaced by others": func(c *client) {
			c.asks(t, page, 200)
			for i := range 8 { // the longest idle gives way, and the server may notice that c is idle behind that of the first of these
				o, err := connect(s.addr, dialing{from: fmt.Sprintf("127.0.0.%d", 10+i)})
				must(t, err)
				t.Cleanup(o.hangUp)
				o.asks(t, page, 200)
				defer o.hangUp()
			}
			must(t, c.end())
		},
	} {
		c := bare(t, s)
		end(c)
		s.noneDeparted(what)
		var second *client
		s.eventually(what+": there is a seat for the second", func() (err error) { // the server may not have met c yet
			second, err = open(s.addr, dialing{})
			return err
		})
		refused(t, s, dialing{}, 503)
		second.hangUp()
		s.eventually(what+": there is room again", func() error {
			if n := s.status().Total.Clients; n != 1 {
				return fmt.Errorf("got %d clients, want 1", n)
			}
			return nil
		})
	}
	must(t, other.join("g"))
	kept := caller(t, s)
	refused(t, s, dialing{}, 503) // an HTTP connection has a seat as every other
	kept.hangUp()
}

func TestBehindAProxyAnHTTPConnectionIsOfWhomTheProxyNames(t *testing.T) {
	t.Parallel()
	s := start(t, "--address-clients-max", "1", "--trusted-proxies", "127.0.0.1")
	forwarded := func(who string) string {
		return "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: " + who + "\r\n\r\n"
	}
	first := bare(t, s)
	first.asks(t, forwarded("192.0.2.1"), 200)
	bare(t, s).asks(t, forwarded("192.0.2.1"), 429) // by the loop
	bare(t, s).asks(t, forwarded("192.0.2.2"), 200)
	refused(t, s, dialing{header: "X-Forwarded-For: 192.0.2.1\r\n"}, 429)
	first.asks(t, forwarded("192.0.2.3"), 200) // the proxy has another client for the connection
	dial(t, s, dialing{header: "X-Forwarded-For: 192.0.2.1\r\n"})
	first.asks(t, forwarded("192.0.2.1"), 429)
	must(t, first.end())

	p := start(t, "--address-clients-max", "1", "--trusted-proxies", "127.0.0.1", "--proxy-protocol", "on")
	const header = "PROXY TCP4 192.0.2.1 127.0.0.1 1 2\r\n"
	c := bare(t, p)
	c.asks(t, header+healthz, 200)
	bare(t, p).asks(t, header+healthz, 429)
	c.asks(t, forwarded("192.0.2.9"), 200) // its client has written that
	c.hangUp()
	p.noneDeparted("at the end")
	bare(t, p).asks(t, header+healthz, 200)
}

func TestPlainHTTPIsServedOnAUnixSocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(runDir(t), "http.sock")
	s := start(t, "--listen", "127.0.0.1:0", "--listen", "unix://"+path)
	c, err := net.Dial("unix", path)
	must(t, err)
	defer c.Close()
	in := bufio.NewReader(c)
	for range 3 {
		_, err = io.WriteString(c, healthz+healthz)
		must(t, err)
		for range 2 {
			res, err := http.ReadResponse(in, nil)
			must(t, err)
			body, err := io.ReadAll(res.Body)
			must(t, err)
			equal(t, "body", string(body), "ok\n")
		}
	}
	equal(t, "HTTP connections", s.http().HTTP.Connections, 1)
}

// A stop closes idle HTTP connections, and lets an answer that is under way be taken.
func TestAStopLetsHTTPAnswersUnderWayFinishAndWaitsForNoIdleConnection(t *testing.T) {
	t.Parallel()
	s := start(t, "--stop-timeout", "1m")
	idle, m := caller(t, s), dial(t, s)
	reader := deaf(t, s)
	const asked = 1000
	go reader.fill(asked)
	s.stuck(2, 1)
	s.signal(syscall.SIGTERM)
	must(t, idle.end())
	m.expectClose(t, 1001)
	n := 0
	for ; ; n++ {
		reader.conn.SetReadDeadline(time.Now().Add(patience))
		res, err := http.ReadResponse(reader.in, nil)
		if err != nil {
			break
		}
		_, err = io.Copy(io.Discard, res.Body)
		must(t, err)
		if res.Close {
			n++
			break
		}
	}
	if n == 0 || n == asked {
		t.Errorf("got %d answers of %d, want those that were under way", n, asked)
	}
	equal(t, "exit status", s.exit(), 0)
	if out := s.out.String(); strings.Contains(out, "had not received") || strings.Contains(out, "panic") {
		t.Errorf("log: got %s", out)
	}
}

func TestAStopWaitsForAnHTTPAnswerThatIsNotTakenNoLongerThanItsTimeout(t *testing.T) {
	t.Parallel()
	s := start(t, "--stop-timeout", "1s")
	reader := deaf(t, s)
	go reader.fill(1000)
	s.stuck(1, 0)
	s.signal(syscall.SIGTERM)
	equal(t, "exit status", s.exit(), 0)
	if out := s.out.String(); !strings.Contains(out, "had not received") {
		t.Errorf("log: got %s, want a word of what was cut", out)
	}
}

// HTTP connections take their descriptors out of the same budget, and a loop needs one more for a moment to hand one over.
func TestFaultHTTPConnectionsUpToTheDescriptorLimitAreAllAnswered(t *testing.T) {
	t.Parallel()
	s := startWith(t, starting{descriptors: 256, args: []string{"--http-connections-max", "10000"}})
	besides(t, s, func(t *testing.T) {
		st := s.status()
		room := st.ClientsMax / 2 // as many as may be HTTP
		for range st.ClientsMax - room - int(st.Total.Clients) {
			dial(t, s) // in their handshakes they could be thrown out by those that come at once
		}
		for round := range 3 {
			all := make([]*client, room)
			for i := range all {
				all[i] = bare(t, s)
			}
			var wg sync.WaitGroup
			for _, c := range all {
				wg.Go(func() {
					c.raw([]byte(healthz))
					c.conn.SetReadDeadline(time.Now().Add(patience))
					res, err := http.ReadResponse(c.in, nil)
					if err != nil || res.StatusCode != 200 {
						t.Errorf("round %d: got %v, %v, want 200", round, res, err)
						return
					}
					_, _ = io.Copy(io.Discard, res.Body)
				})
			}
			wg.Wait()
			s.eventually("all are the HTTP server's", func() error {
				if st := s.http(); st.Departed != int64(room) {
					return fmt.Errorf("got %+v, want %d", st, room)
				}
				return nil
			})
			refused(t, s, dialing{}, 503)
			for _, c := range all {
				c.hangUp()
			}
			s.noneDeparted("they have gone")
		}
	})
	equal(t, "refused for want of descriptors", s.admissions().Total.Refused["descriptors"], 0)
	equal(t, "failed accepts", s.status().AcceptErrs, 0)
}

func TestMetricsSayWhatTheHTTPServerDoes(t *testing.T) {
	t.Parallel()
	s := start(t, "--admin", "127.0.0.1:0")
	c := caller(t, s)
	c.asks(t, "GET /chat HTTP/1.1\r\nHost: x\r\n\r\n", 404)
	s.eventually("metrics", func() error {
		res, err := http.Get("http://" + s.status().Admin + "/metrics")
		if err != nil {
			return err
		}
		defer res.Body.Close()
		text, _ := io.ReadAll(res.Body)
		for _, want := range []string{`ringcast_http_connections{state="idle"} 1`, "ringcast_http_requests_total 2", `ringcast_http_refused_total{reason="full"} 0`, `ringcast_handshakes_total{outcome="http"} 1`} {
			if !strings.Contains(string(text), want+"\n") {
				return fmt.Errorf("got no %s", want)
			}
		}
		return nil
	})
}

// Pages that were looked at keep their connections for a while, and keep no WebSocket out.
func TestHTTPHasHalfOfTheConnectionsAtMost(t *testing.T) {
	t.Parallel()
	s := start(t, "--clients-max", "8")
	var all []*client
	for range 20 {
		all = append(all, caller(t, s))
	}
	must(t, all[0].end())
	all[19].asks(t, page, 200)
	for range 4 {
		dial(t, s)
	}
	refused(t, s, dialing{}, 503)
	if st := s.http(); st.HTTP.Connections != 4 || st.Departed != 4 {
		t.Errorf("got %+v, want 4 of 8", st)
	}
}

// The successor answers while the old process lets its last answers be taken.
func TestARestartWaitsForNoHTTPConnection(t *testing.T) {
	t.Parallel()
	addr := freeAddr(t)
	args := []string{"--listen", addr, "--stop-timeout", "1m"}
	s := start(t, args...)
	idle, reader := caller(t, s), deaf(t, s)
	go reader.fill(1000)
	s.stuck(2, 1)
	r := run(append([]string{"restart", "-d", "--run-dir", s.dir}, args...)...)
	equal(t, "exit status of restart", r.exit, 0)
	t.Cleanup(func() { run("stop", "--run-dir", s.dir) })
	must(t, idle.end())
	next := caller(t, s)
	st, err := readStatus(s.dir)
	must(t, err)
	if st.PID == s.pid || s.ended() {
		t.Errorf("got pid %d in place of %d, the old one ended: %v, want it to let its answer be taken", st.PID, s.pid, s.ended())
	}
	_, err = reader.discard()
	must(t, err)
	equal(t, "exit status of the old server", s.exit(), 0)
	next.asks(t, page, 200)
}
