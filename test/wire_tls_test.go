package test

import (
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

// TLS on a port of the server's own: what comes by it is a client, or plain HTTP, like any other.

// wireFigures are what a status says of TLS and compression, in all loops.
type wireFigures struct {
	Clients        int64             `json:"clients"`
	TLSClients     int64             `json:"tls_clients"`
	Running        int64             `json:"tls_handshakes_running"`
	Handshakes     map[string]uint64 `json:"tls_handshakes"`
	Openings       map[string]uint64 `json:"handshakes"` // of WebSockets
	Errors         uint64            `json:"tls_errors"`
	Closes         map[string]uint64 `json:"closes"`
	DeflateClients int64             `json:"deflate_clients"`
	Inflated       uint64            `json:"inflated_messages"`
	Compressions   uint64            `json:"compressions"`
}

// wire are the server's figures of TLS and compression.
func (s *server) wire() wireFigures {
	s.t.Helper()
	var st struct{ Total wireFigures }
	must(s.t, askControl(s.dir, "/status", &st))
	return st.Total
}

// wireIs waits until the figures are as they should be.
func (s *server) wireIs(what string, is func(wireFigures) bool) {
	s.t.Helper()
	s.eventually(what, func() error {
		if got := s.wire(); !is(got) {
			return fmt.Errorf("got %+v", got)
		}
		return nil
	})
}

// connectionRow is what `ringcast connections` says of a client.
type connectionRow struct {
	Remote  string `json:"remote"`
	TLS     string `json:"tls"`
	Deflate bool   `json:"deflate"`
	Dialect string `json:"dialect"`
}

// row is what the server says of a client.
func (s *server) row(c *client) connectionRow {
	s.t.Helper()
	r := run("connections", "--json", "--run-dir", s.dir)
	var rows []connectionRow
	if err := json.Unmarshal([]byte(r.stdout), &rows); err != nil {
		s.t.Fatalf("connections: got exit %d, %v: %s", r.exit, err, r.all())
	}
	at := slices.IndexFunc(rows, func(row connectionRow) bool { return row.Remote == c.conn.LocalAddr().String() })
	if at < 0 {
		s.t.Fatalf("connections: got nothing of %s: %s", c.conn.LocalAddr(), r.stdout)
	}
	return rows[at]
}

func TestClientsByTLSAreClientsLikeAnyOther(t *testing.T) {
	t.Parallel()
	s := startTLS(t, "--compression", "on")
	for name, v := range map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13} {
		t.Run(name, func(t *testing.T) {
			for _, offer := range []string{"", deflate} {
				group := fmt.Sprintf("by %s %s", name, offer)
				c := memberTLS(t, s, group, dialing{secure: version(t, v), offer: offer})
				plain := member(t, s, group)
				if state := c.state(); state.Version != v || state.NegotiatedProtocol != "" {
					t.Errorf("TLS: got version %#x and protocol %q, want %#x and none, as none was asked for", state.Version, state.NegotiatedProtocol, v)
				}
				if row := s.row(c); !strings.Contains(row.TLS, name) || row.Deflate != (offer != "") {
					t.Errorf("connections: got %+v, want TLS %s, and compression if it was offered", row, name)
				}
				for _, text := range []string{"hi", "", "é", strings.Repeat("x", 500), deflateKinds[0].of(100_000), randomText(16<<10 - 40), deflateKinds[0].of(900_000)} {
					for _, from := range []*client{c, plain} {
						must(t, from.text(sendCommand(group, text)))
						c.expect(t, text)
						plain.expect(t, text)
					}
				}
				if (offer != "") != (c.deflating != nil) || c.deflating != nil && c.frames < 4 {
					t.Errorf("offered %q: got %+v, want what was large compressed", offer, c.deflating)
				}
				// Frames and commands cut in any way.
				must(t, c.raw(append(frameBytes(ws.OpText, false, []byte(sendCommand(group, "x")[:10])), frameBytes(ws.OpPing, true, []byte("between"))...)))
				if e, err := c.read(); err != nil || e.op != ws.OpPong {
					t.Fatalf("a ping between fragments: got %s, %v", e, err)
				}
				must(t, c.frame(ws.OpContinuation, true, sendCommand(group, "x")[10:]))
				c.expect(t, "x")
				plain.expect(t, "x")
				must(t, c.closeWith(1000, "bye"))
				c.expectClose(t, 1000)
				must(t, plain.closeWith(1000, "bye"))
				plain.expectClose(t, 1000)
			}
		})
	}
	s.wireIs("nobody is left", func(w wireFigures) bool {
		return w.Clients == 0 && w.TLSClients == 0 && w.DeflateClients == 0 && w.Running == 0
	})
	if got := s.wire(); got.Handshakes["ok"] != 4 || got.Inflated == 0 || got.Compressions == 0 {
		t.Errorf("got %+v, want 4 handshakes, and messages that were compressed and inflated", got)
	}
}

// randomText is text that does not shrink to less than three quarters.
func randomText(n int) string {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	b := []byte(randomBytes(n))
	for i := range b {
		b[i] = letters[b[i]%64]
	}
	return string(b)
}

// Old versions are refused, by the answer that TLS has for that.
func TestOldVersionsOfTLSAreRefused(t *testing.T) {
	t.Parallel()
	s := startTLS(t)
	for _, v := range []uint16{tls.VersionTLS10, tls.VersionTLS11} {
		_, err := open(s.wss, dialing{secure: version(t, v)})
		if err == nil || !strings.Contains(err.Error(), "protocol version") {
			t.Errorf("version %#x: got %v, want the alert protocol_version", v, err)
		}
	}
	s.wireIs("two handshakes have failed", func(w wireFigures) bool { return w.Handshakes["failed"] == 2 && w.Running == 0 && w.TLSClients == 0 })
}

// A client that was there before resumes its session: no certificate and no signature is made again.
func TestASessionOfTLSIsResumed(t *testing.T) {
	t.Parallel()
	s := startTLS(t)
	for name, v := range map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13} {
		config := version(t, v)
		config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
		for life := range 3 {
			c := memberTLS(t, s, name, dialing{secure: config}) // the answer to a join comes behind the ticket
			if got := c.state().DidResume; got != (life > 0) {
				t.Errorf("version %s, life %d: got resumed %v, want %v", name, life, got, life > 0)
			}
			must(t, c.text(sendCommand(name, "hi")))
			c.expect(t, "hi")
			must(t, c.closeWith(1000, ""))
			c.expectClose(t, 1000)
		}
	}
}

// A session is resumed on whatever loop its client comes to, as the loops of a server share their keys.
func TestSessionsAreResumedOnAnyLoop(t *testing.T) {
	t.Parallel()
	s := startTLS(t, "--loops", "4")
	config := trusted(t)
	config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	memberTLS(t, s, "g", dialing{secure: config})
	s.eventually("each loop has a client", func() error {
		if !memberTLS(t, s, "g", dialing{secure: config}).state().DidResume {
			t.Fatal("got a full handshake, want the session resumed")
		}
		if at := slices.IndexFunc(s.status().Loops, func(r row) bool { return r.Clients == 0 }); at >= 0 {
			return fmt.Errorf("loop %d has none", at)
		}
		return nil
	})
}

// Compression is agreed on as a client connects, so a reload changes it for those who come after it.
func TestAReloadOfCompressionIsForWhoComesAfterIt(t *testing.T) {
	t.Parallel()
	s, configure := configured(t, `{"compression": "off"}`)
	text := deflateKinds[0].of(300)
	var members []*client
	reload := func(text string) {
		t.Helper()
		configure(text)
		if r := run("reload", "--run-dir", s.dir); r.exit != 0 {
			t.Fatalf("reload: got exit %d: %s", r.exit, r.all())
		}
	}
	comes := func(agreed bool) *client {
		t.Helper()
		c := dial(t, s, dialing{offer: deflate})
		must(t, c.join("g"))
		equal(t, "compression is agreed on", c.deflating != nil, agreed)
		members = append(members, c)
		return c
	}
	comes(false)
	reload(`{"compression": "on", "compression-min": 301}`)
	small := comes(true)
	reload(`{"compression": "on", "compression-min": 300}`)
	comes(true)
	hear := func() {
		t.Helper()
		must1(t, members[0].askOK)(sendCommand("g", text))
		for _, c := range members {
			c.expect(t, text)
		}
	}
	hear()
	equal(t, "compressed frames", small.frames, 1) // the bound is everybody's
	reload(`{"compression": "off"}`)
	comes(false)
	hear()
	equal(t, "compressed frames after it is off", small.frames, 2)
	equal(t, "clients with compression", s.wire().DeflateClients, 2)
}

// httpsClient asks by HTTP over TLS, and knows the server by its certificate.
func httpsClient(t testing.TB) *http.Client {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: trusted(t), ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 1}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Timeout: patience, Transport: transport}
}

func TestHTTPIsServedByTLS(t *testing.T) {
	t.Parallel()
	s := startTLS(t, "--api-key", apiKey, "--hsts", "24h")
	client := httpsClient(t)
	get := func(path string) (*http.Response, string) {
		t.Helper()
		res, err := client.Get("https://" + s.wss + path)
		must(t, err)
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		must(t, err)
		return res, string(body)
	}
	for path, want := range map[string]string{"/healthz": "ok", "/": "<!doctype html>", "/no/such/page": ""} {
		res, body := get(path)
		if res.ProtoMajor != 1 || res.TLS.NegotiatedProtocol != "http/1.1" {
			t.Errorf("%s: got %s and the protocol %q, want HTTP/1.1", path, res.Proto, res.TLS.NegotiatedProtocol)
		}
		if ok := path != "/no/such/page"; (res.StatusCode == 200) != ok || !strings.Contains(strings.ToLower(body), want) {
			t.Errorf("%s: got %s and %.100q", path, res.Status, body)
		}
		equal(t, "Strict-Transport-Security of "+path, res.Header.Get("Strict-Transport-Security"), "max-age=86400")
	}
	// The server API, kept alive; and what it publishes reaches members by TLS and without.
	secure, plain := memberTLS(t, s, "g"), member(t, s, "g")
	for n := range 20 {
		text := strings.Repeat(fmt.Sprint(n), 1+n*2000)
		request, err := http.NewRequest("POST", "https://"+s.wss+"/api/publish", strings.NewReader(`{"channel":"g","data":`+quote(text)+`}`))
		must(t, err)
		request.Header.Set("X-API-Key", apiKey)
		res, err := client.Do(request)
		must(t, err)
		body, err := io.ReadAll(res.Body)
		must(t, err)
		res.Body.Close()
		if res.StatusCode != 200 || !strings.HasPrefix(string(body), `{"result"`) {
			t.Fatalf("publish: got %s %s", res.Status, body)
		}
		secure.expect(t, text)
		plain.expect(t, text)
	}
	// Plain HTTP is told nothing of HSTS: a browser would not heed it (RFC 6797 §7.2).
	res, err := http.Get("http://" + s.addr + "/healthz")
	must(t, err)
	res.Body.Close()
	equal(t, "Strict-Transport-Security without TLS", res.Header.Get("Strict-Transport-Security"), "")
	client.CloseIdleConnections()
	s.noneDeparted("after all was answered")
	if got := s.wire(); got.TLSClients != 1 {
		t.Errorf("connections by TLS: got %d, want that of the member alone", got.TLSClients)
	}
}
