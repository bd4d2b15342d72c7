package test

import (
	"net/http"
	"strings"
	"testing"
)

// The opening handshake by the letter of RFC 6455 §4.2, and the first frames after it, with the ordinary server.
// What is answered to requests that mean something else is in http_test.go.

// opening is a correct request, line by line; a test changes what it is about.
type opening struct {
	line    string
	headers []string
}

const (
	rfcKey    = "dGhlIHNhbXBsZSBub25jZQ==" // the RFC's own example, §1.3
	rfcAccept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)

func correctOpening() opening {
	return opening{"GET /chat HTTP/1.1", []string{
		"Host: server.example.com", "Upgrade: websocket", "Connection: Upgrade",
		"Sec-WebSocket-Key: " + rfcKey, "Sec-WebSocket-Version: 13",
	}}
}

// with changes the header of a name, removes it if now is empty, or adds it.
func (o opening) with(name string, now ...string) opening {
	var headers []string
	for _, h := range o.headers {
		if !strings.HasPrefix(h, name+":") {
			headers = append(headers, h)
		}
	}
	for _, value := range now {
		headers = append(headers, name+": "+value)
	}
	return opening{o.line, headers}
}

func (o opening) starting(line string) opening { return opening{line, o.headers} }

func (o opening) bytes() []byte {
	return []byte(o.line + "\r\n" + strings.Join(o.headers, "\r\n") + "\r\n\r\n")
}

// answered sends a request on a connection of its own and gives the answer's head.
func (o opening) answered(t *testing.T, s *server) (*client, *http.Response) {
	t.Helper()
	c := bare(t, s)
	must(t, c.raw(o.bytes()))
	res, _ := respond(t, c, strings.Fields(o.line)[0])
	return c, res
}

func TestOpeningHandshakeIsAnsweredByTheLetter(t *testing.T) {
	t.Parallel()
	s := shared(t)
	o := correctOpening()
	long := strings.Repeat("c", 4000)
	for name, o := range map[string]opening{
		"the RFC's own":             o,
		"a query":                   o.starting("GET /chat?room=1&x=%20 HTTP/1.1"),
		"a later minor version":     o.starting("GET / HTTP/1.2"),
		"Connection as a list":      o.with("Connection", "keep-alive, Upgrade"),
		"Connection in two headers": o.with("Connection", "keep-alive", "upgrade"),
		"Upgrade as a list":         o.with("Upgrade", "h2c, WebSocket"),
		"Upgrade in two headers":    o.with("Upgrade", "h2c", "websocket"),
		"empty list elements":       o.with("Connection", ", ,upgrade,"),
		"spaces and tabs":           o.with("Connection", " \tUpgrade\t "),
		"headers of no concern":     o.with("Cookie", long).with("X-Forwarded-For", "10.0.0.1").with("User-Agent", "a; b (c)").with("X-Empty", ""),
		"an origin":                 o.with("Origin", "https://example.org"),
		"subprotocols":              o.with("Sec-WebSocket-Protocol", "chat, superchat"),
		"subprotocols in two":       o.with("Sec-WebSocket-Protocol", "chat", "superchat"),
		"extensions":                o.with("Sec-WebSocket-Extensions", "permessage-deflate; client_max_window_bits", "x-unknown; a=\"b\""),
		"an unknown Sec-WebSocket-": o.with("Sec-WebSocket-Unheard-Of", "1"),
		"a body of no bytes":        o.with("Content-Length", "0"),
		"a cookie of 12 KiB":        o.with("Cookie", strings.Repeat(long, 3)),
		"an absolute target":        o.starting("GET ws://server.example.com/chat HTTP/1.1"),
		"a host with a port":        o.with("Host", "[::1]:1234"),
	} {
		c, res := o.answered(t, s)
		if res.StatusCode != 101 || res.Proto != "HTTP/1.1" {
			t.Errorf("%s: got %s %s, want 101", name, res.Proto, res.Status)
			continue
		}
		// §4.2.2, step 5: these and no others. A subprotocol or extension is declined by not naming it.
		want := map[string]string{"Upgrade": "websocket", "Connection": "Upgrade", "Sec-Websocket-Accept": rfcAccept}
		for header, values := range res.Header {
			if len(values) != 1 || !strings.EqualFold(values[0], want[header]) {
				t.Errorf("%s: got %s: %q, want %q", name, header, values, want[header])
			}
			delete(want, header)
		}
		if len(want) > 0 {
			t.Errorf("%s: got no %v", name, want)
		}
		if _, err := c.beforePong(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOpeningHandshakeThatIsWrongIsRefusedByTheLetter(t *testing.T) {
	t.Parallel()
	s := shared(t)
	o := correctOpening()
	for name, c := range map[string]struct {
		o    opening
		want int
	}{
		"HTTP/1.0":                        {o.starting("GET / HTTP/1.0"), 426},
		"HTTP/2 in words":                 {o.starting("GET / HTTP/2.0"), 505},
		"a method in small letters":       {o.starting("get / HTTP/1.1"), 405},
		"HEAD":                            {o.starting("HEAD / HTTP/1.1"), 405},
		"no Host":                         {o.with("Host"), 400},
		"two Hosts":                       {o.with("Host", "a", "b"), 400},
		"websocket as a part of Upgrade":  {o.with("Upgrade", "websockets"), 426},
		"no upgrade in Connection":        {o.with("Connection", "keep-alive"), 426},
		"upgrade as a part in Connection": {o.with("Connection", "Upgrades, no-upgrade"), 426},
		"no version":                      {o.with("Sec-WebSocket-Version"), 426},
		"an older version":                {o.with("Sec-WebSocket-Version", "8"), 426},
		"version 0":                       {o.with("Sec-WebSocket-Version", "0"), 426},
		"a version to come":               {o.with("Sec-WebSocket-Version", "14"), 426},
		"a version with a zero":           {o.with("Sec-WebSocket-Version", "013"), 426},
		"several versions at once":        {o.with("Sec-WebSocket-Version", "13, 8"), 426},
		"the version twice":               {o.with("Sec-WebSocket-Version", "13", "13"), 400},
		"the key twice":                   {o.with("Sec-WebSocket-Key", rfcKey, rfcKey), 400},
		"an empty key":                    {o.with("Sec-WebSocket-Key", ""), 400},
		"a key of 15 bytes":               {o.with("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAA"), 400},
		"a key of 17 bytes":               {o.with("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAAA="), 400},
		"a key that is no base64":         {o.with("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25j!!=="), 400},
		"a key without its padding":       {o.with("Sec-WebSocket-Key", strings.TrimRight(rfcKey, "=")), 400},
		"a body":                          {o.with("Content-Length", "5"), 400},
		"a body in chunks":                {o.with("Transfer-Encoding", "chunked"), 400},
		"a host that is none":             {o.with("Host", "a b"), 400},
		"a coding that is not known":      {o.with("Transfer-Encoding", "gzip"), 501},
		"a subprotocol that is no token":  {o.with("Sec-WebSocket-Protocol", "a/b"), 400},
		"a fragment":                      {o.starting("GET /#a HTTP/1.1"), 400},
		"a space before a colon":          {opening{o.line, append([]string{"X-Odd : 1"}, o.headers...)}, 400},
		"a folded header":                 {opening{o.line, append([]string{"X-Odd: 1", " 2"}, o.headers...)}, 400},
	} {
		_, res := c.o.answered(t, s)
		if res.StatusCode != c.want {
			t.Errorf("%s: got %s, want %d", name, res.Status, c.want)
			continue
		}
		if res.StatusCode != 426 {
			continue
		}
		// RFC 9110 §15.5.22: a 426 says what to upgrade to. RFC 6455 §4.4: one about the version says which are spoken.
		if got := res.Header.Get("Upgrade"); got != "websocket" {
			t.Errorf("%s: got Upgrade: %q, want websocket", name, got)
		}
		if got := res.Header.Get("Sec-WebSocket-Version"); strings.Contains(name, "version") && got != "13" {
			t.Errorf("%s: got Sec-WebSocket-Version: %q, want 13", name, got)
		}
	}
}

// §4.1: a client may send frames as soon as it has the answer; one that does not wait for it must not be lost either,
// since the bytes may share a segment anywhere on the way.
func TestFramesBehindTheOpeningHandshakeAreReadHoweverItIsCut(t *testing.T) {
	t.Parallel()
	s := shared(t)
	head := correctOpening().bytes()
	all := append(append([]byte(nil), head...), pingFrame("first frame")...)
	for _, cut := range []int{1, 3, len(head) / 2, len(head) - 3, len(head) - 2, len(head) - 1, len(head), len(head) + 1, len(head) + 5, len(all) - 1, len(all)} {
		c := bare(t, s)
		must(t, c.raw(all[:cut]))
		if cut < len(all) {
			must(t, c.raw(all[cut:]))
		}
		res, _ := respond(t, c, "GET")
		equal(t, "status", res.StatusCode, 101)
		if e, err := c.read(); err != nil || e != pongBack("first frame") {
			t.Fatalf("cut behind %d of %d bytes: got %s (%v), want the pong", cut, len(all), e, err)
		}
	}
}
