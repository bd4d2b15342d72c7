package test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// answer reads one HTTP answer, checks its status and that the connection ends after it, and returns the body.
func answer(t testing.TB, c *client, status int) string {
	t.Helper()
	res, body := respond(t, c, "GET")
	if res.StatusCode != status {
		t.Fatalf("status: got %s with %.200q, want %d", res.Status, body, status)
	}
	must(t, c.end())
	return body
}

func respond(t testing.TB, c *client, method string) (*http.Response, string) {
	t.Helper()
	c.conn.SetReadDeadline(time.Now().Add(patience))
	res, err := http.ReadResponse(c.in, &http.Request{Method: method})
	if err != nil {
		t.Fatalf("reading the answer: %v", err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("reading the body of %s: %v", res.Status, err)
	}
	return res, string(body)
}

// request sends a request with a plain head and gives the answer.
func request(t testing.TB, s *server, method, path, header string) (*http.Response, string) {
	t.Helper()
	c := bare(t, s)
	must(t, c.raw([]byte(method+" "+path+" HTTP/1.1\r\nHost: "+s.addr+"\r\n"+header+"\r\n")))
	return respond(t, c, method)
}

func TestRootAnswersWithTheDemoPage(t *testing.T) {
	t.Parallel()
	s := shared(t)
	res, body := request(t, s, "GET", "/", "Accept: text/html\r\nConnection: keep-alive\r\n")
	equal(t, "status", res.StatusCode, 200)
	if got := res.Header.Get("Content-Type"); !strings.HasPrefix(got, "text/html") || !strings.Contains(got, "utf-8") {
		t.Errorf("Content-Type: got %q, want text/html in utf-8", got)
	}
	for _, id := range []string{"state", "connect", "group", "join", "groups", "send-group", "message", "send", "log", "clear"} {
		if !strings.Contains(body, `id="`+id+`"`) && !strings.Contains(body, `id=`+id) {
			t.Errorf("demo page: got no element %s", id)
		}
	}
	if len(body) > 40<<10 {
		t.Errorf("demo page: got %d bytes, want 40 KiB at most", len(body))
	}
	// Self-contained: it loads nothing from elsewhere. The name of a namespace loads nothing.
	plain := strings.ReplaceAll(body, "http://www.w3.org/", "")
	for _, outside := range []string{"http://", "https://", `src="//`, `href="//`, "@import"} {
		if at := strings.Index(plain, outside); at >= 0 {
			t.Errorf("demo page: got %q, want no outside resource", plain[at:min(at+60, len(plain))])
		}
	}
	if !strings.Contains(body, "color-scheme") {
		t.Errorf("demo page: got no color-scheme, want it to work in light and dark")
	}
	res, query := request(t, s, "GET", "/?from=somewhere", "")
	equal(t, "status with a query", res.StatusCode, 200)
	equal(t, "the page with a query is the same page", query == body, true)
}

func TestHealthzAnswers200(t *testing.T) {
	t.Parallel()
	s := shared(t)
	res, body := request(t, s, "GET", "/healthz", "")
	equal(t, "status", res.StatusCode, 200)
	if body == "" {
		t.Errorf("body: got nothing, want a word")
	}
}

func TestHeadAnswersAsGetWithoutABody(t *testing.T) {
	t.Parallel()
	s := shared(t)
	for _, path := range []string{"/", "/healthz"} {
		get, body := request(t, s, "GET", path, "")
		c := bare(t, s)
		must(t, c.raw([]byte("HEAD "+path+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")))
		head, _ := respond(t, c, "HEAD")
		equal(t, "status of HEAD "+path, head.StatusCode, get.StatusCode)
		equal(t, "length told by HEAD "+path, head.ContentLength, int64(len(body)))
		must(t, c.end())
	}
}

func TestWrongRequestsAreAnsweredInWords(t *testing.T) {
	t.Parallel()
	s := shared(t)
	const (
		upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\n"
		key     = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
		version = "Sec-WebSocket-Version: 13\r\n"
	)
	for _, c := range []struct {
		name, method, path, header string
		want                       []int
		says                       string // part of the body
	}{
		{name: "another path", path: "/chat", want: []int{404}, says: "ebSocket"},
		{name: "another path with a query", path: "/index.html?x", want: []int{404}},
		{name: "POST to the page", method: "POST", path: "/", want: []int{405}},
		{name: "DELETE of healthz", method: "DELETE", path: "/healthz", want: []int{405}},
		{name: "a method nobody knows", method: "BREW", path: "/", want: []int{405}},
		{name: "no key", header: upgrade + version, want: []int{400}},
		{name: "a short key", header: upgrade + version + "Sec-WebSocket-Key: abc\r\n", want: []int{400}},
		{name: "no version", header: upgrade + key, want: []int{400, 426}},
		{name: "version 8", header: upgrade + key + "Sec-WebSocket-Version: 8\r\n", want: []int{426}},
		{name: "no Connection", header: "Upgrade: websocket\r\n" + key + version, want: []int{400, 426}},
		{name: "Upgrade to something else", header: "Upgrade: h2c\r\nConnection: Upgrade\r\n" + key + version, want: []int{400, 426}},
		{name: "only a key", header: key, want: []int{400, 426}},
		{name: "only a version", header: version, want: []int{400, 426}},
		{name: "POST with a handshake", method: "POST", header: upgrade + key + version, want: []int{400, 405}},
		{name: "handshake without a key on another path", path: "/chat", header: upgrade + version, want: []int{400}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.method == "" {
				c.method = "GET"
			}
			if c.path == "" {
				c.path = "/"
			}
			res, body := request(t, s, c.method, c.path, c.header)
			for _, want := range c.want {
				if res.StatusCode == want {
					if len(body) < 10 || !strings.Contains(body, c.says) || strings.Contains(body, "<script") {
						t.Errorf("body: got %q, want words that help, and %q among them", body, c.says)
					}
					switch {
					case want == 405 && res.Header.Get("Allow") == "":
						t.Errorf("405 without an Allow header (RFC 9110 §15.5.6)")
					case want == 426 && res.Header.Get("Upgrade") != "websocket":
						t.Errorf("426: got headers %v, want Upgrade: websocket (RFC 9110 §15.5.22)", res.Header)
					case want == 426 && strings.Contains(c.name, "version 8") && res.Header.Get("Sec-WebSocket-Version") != "13":
						t.Errorf("another version: got headers %v, want Sec-WebSocket-Version: 13 (RFC 6455 §4.4)", res.Header)
					}
					return
				}
			}
			t.Errorf("got %s with %.200q, want one of %v", res.Status, body, c.want)
		})
	}
}

func TestBrokenRequestLinesAreAnswered400(t *testing.T) {
	t.Parallel()
	s := shared(t)
	for _, head := range []string{
		"hello\r\n\r\n", "GET\r\n\r\n", "GET /\r\n\r\n", "GET / HTTP\r\n\r\n", "\x00\x01\x02\r\n\r\n",
		"GET / HTTP/1.1\r\nno colon here\r\nUpgrade: websocket\r\n\r\n",
	} {
		c := bare(t, s)
		must(t, c.raw([]byte(head)))
		res, body := respond(t, c, "GET")
		if res.StatusCode != 400 || body == "" {
			t.Errorf("%q: got %s with %q, want 400 with a reason", head, res.Status, body)
		}
	}
}

func TestHandshakeIsReadAsTheRFCAllowsItToBeWritten(t *testing.T) {
	t.Parallel()
	s := shared(t)
	for _, head := range []string{
		"GET / HTTP/1.1\r\nhost: x\r\nupgrade: WebSocket\r\nconnection: keep-alive, upgrade\r\nsec-websocket-key: %s\r\nsec-websocket-version: 13\r\n\r\n",
		"GET / HTTP/1.1\r\nHost:x\r\nUpgrade:websocket\r\nConnection:Upgrade\r\nSec-WebSocket-Key:%s\r\nSec-WebSocket-Version:13\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: x\r\nUPGRADE: websocket\r\nCONNECTION: UPGRADE\r\nSEC-WEBSOCKET-KEY:  %s \r\nSEC-WEBSOCKET-VERSION: 13\r\nX-Empty:\r\n\r\n",
	} {
		c := bare(t, s)
		key := newKey()
		must(t, c.raw(fmt.Appendf(nil, head, key)))
		if err := c.upgraded(key); err != nil {
			t.Errorf("%q: %v", head, err)
			continue
		}
		must(t, c.join(t.Name()))
	}
}

func TestPermessageDeflateOffersGetNoExtension(t *testing.T) {
	t.Parallel()
	s := shared(t)
	for _, offer := range []string{
		"permessage-deflate", "permessage-deflate; client_max_window_bits", "permessage-deflate; server_max_window_bits=99",
		"permessage-deflate; nonsense=\"", "x-webkit-deflate-frame, permessage-deflate", ";;;",
	} {
		c, err := open(s.addr, dialing{header: "Sec-WebSocket-Extensions: " + offer + "\r\n"}) // upgraded wants none
		if err != nil {
			t.Errorf("offer %q: %v", offer, err)
			continue
		}
		must(t, c.join(t.Name()))
		c.hangUp()
	}
}

// Of HTTP/1.1 only Host is demanded (RFC 9112 §3.2), and only of a WebSocket that it is 1.1 (RFC 6455 §4.2.1).
func TestHealthChecksOfHTTP10AreAnswered(t *testing.T) {
	t.Parallel()
	s := shared(t)
	for _, c := range []struct {
		head, method string
		status       int
		body         string
	}{
		{"GET /healthz HTTP/1.0\r\n\r\n", "GET", 200, "ok\n"},
		{"GET /healthz HTTP/1.0\r\nHost: ringcast\r\nConnection: close\r\n\r\n", "GET", 200, "ok\n"},
		{"HEAD /healthz HTTP/1.0\r\n\r\n", "HEAD", 200, ""},
		{"OPTIONS / HTTP/1.0\r\n\r\n", "OPTIONS", 405, `the method "OPTIONS" is not for this path; GET and HEAD are` + "\n"}, // HAProxy's own, if it is not told otherwise
		{"OPTIONS / HTTP/1.0\r\ncontent-length: 0\r\n\r\n", "OPTIONS", 405, `the method "OPTIONS" is not for this path; GET and HEAD are` + "\n"},
		{"GET /healthz HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n", "GET", 400, "the Host header is there twice\n"},
	} {
		conn := bare(t, s)
		must(t, conn.raw([]byte(c.head)))
		res, body := respond(t, conn, c.method)
		if res.StatusCode != c.status || body != c.body || !res.Close {
			t.Errorf("%q: got %s, close %v, %q, want %d, close and %q", c.head, res.Status, res.Close, body, c.status, c.body)
		}
		if got := res.Header.Get("Allow"); c.status == 405 && got != "GET, HEAD" {
			t.Errorf("%q: Allow: got %q, want GET, HEAD", c.head, got)
		}
		must(t, conn.end())
	}
}

// What goes wrong most often is told what it is and how to mend it.
func TestCommonMistakesAreToldWhatTheyAre(t *testing.T) {
	t.Parallel()
	s := shared(t)
	const key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
	for _, c := range []struct {
		head   string
		status int
		says   []string
	}{
		{"GET / HTTP/1.0\r\nHost: ringcast\r\nConnection: close\r\n" + key + "\r\n", 426, // nginx, told nothing
			[]string{"HTTP/1.0", "proxy_http_version 1.1;", "proxy_set_header Upgrade $http_upgrade;", "proxy_set_header Connection upgrade;"}},
		{"GET / HTTP/1.1\r\nHost: ringcast\r\n" + key + "\r\n", 426, []string{"proxy_set_header Upgrade $http_upgrade;"}},
		{"GET /?token=" + strings.Repeat("t", 20_000), 414, []string{"URL", "16384 bytes", "--handshake-max"}},
		{"GET / HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " + strings.Repeat("t", 20_000), 431, []string{`"Authorization"`, "--handshake-max"}},
		{"GET /my room HTTP/1.1\r\n", 400, []string{"space", "%20"}},
		{"GET /組 HTTP/1.1\r\n", 400, []string{"beyond ASCII", "encodeURI"}},
		{"GET /100% HTTP/1.1\r\n", 400, []string{"%25"}},
		{"GET /#room HTTP/1.1\r\n", 400, []string{"#", "%23"}},
		{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, []string{"HTTP/1.1", "proxy"}},
		{"CONNECT example.org:443 HTTP/1.1\r\n", 405, []string{"proxies"}},
		{"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", 400, []string{"--proxy-protocol", "--trusted-proxies"}},
		{"\r\n\r\n\x00\r\nQUIT\n", 400, []string{"--proxy-protocol", "--trusted-proxies"}},
	} {
		conn := bare(t, s)
		must(t, conn.raw([]byte(c.head)))
		res, body := respond(t, conn, "GET")
		equal(t, fmt.Sprintf("status of %.30q", c.head), res.StatusCode, c.status)
		for _, want := range c.says {
			if !strings.Contains(body, want) {
				t.Errorf("%.30q: got %q, want %q in it", c.head, body, want)
			}
		}
	}
}

// A TLS client cannot show a text, but Go's, OpenSSL's and curl's know an answer of HTTP when they see one, and say so.
func TestATLSClientOnThePlainPortSeesThatItIsHTTP(t *testing.T) {
	t.Parallel()
	s := start(t, "--log-level", "debug")
	client := http.Client{Timeout: patience}
	_, err := client.Get("https://" + s.addr + "/healthz")
	if err == nil || !strings.Contains(err.Error(), "HTTP response to HTTPS client") {
		t.Errorf("got %v, want the client to say that the answer is plain HTTP", err)
	}
	s.eventually("it is counted and in the log", func() error {
		if got := s.status().Total.BadHandshakes; got != 1 {
			return fmt.Errorf("bad_handshakes: got %d, want 1", got)
		}
		if out := s.out.String(); !strings.Contains(out, "looks like TLS") {
			return fmt.Errorf("log: got %q", out)
		}
		return nil
	})
}

func TestSubprotocolsAreAnOption(t *testing.T) {
	t.Parallel()
	s, write := configured(t, `{"subprotocols": ["superchat", "chat"]}`)
	answered := func(offers ...string) string {
		t.Helper()
		_, res := correctOpening().with("Sec-WebSocket-Protocol", offers...).answered(t, s)
		equal(t, "status", res.StatusCode, 101)
		return strings.Join(res.Header.Values("Sec-WebSocket-Protocol"), "; ")
	}
	equal(t, "the first of the client's that is known", answered("x", "y, chat,superchat"), "chat")
	equal(t, "of none that is known", answered("Chat, x"), "")
	equal(t, "of none", answered(), "")
	write(`{"subprotocols": "x"}`)
	equal(t, "reload", run("reload", "--run-dir", s.dir).stdout, "subprotocols: superchat,chat → x\n")
	equal(t, "after the reload", answered("chat, x"), "x")
	write(`{"subprotocols": ["a b"]}`)
	r := run("reload", "--run-dir", s.dir)
	if r.exit == 0 || !strings.Contains(r.stderr, `subprotocol "a b" is not a name`) {
		t.Errorf("a wrong name: got %+v, want it refused by its name", r)
	}
}
