package wsproto

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// testHeadBytes is the server's default.
const testHeadBytes = 16 << 10

// rfcHandshake is the opening handshake of RFC 6455 §1.2 and §1.3.
const rfcHandshake = "GET /chat HTTP/1.1\r\n" +
	"Host: server.example.com\r\n" +
	"Upgrade: websocket\r\n" +
	"Connection: Upgrade\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
	"Origin: http://example.com\r\n" +
	"Sec-WebSocket-Protocol: chat, superchat\r\n" +
	"Sec-WebSocket-Version: 13\r\n" +
	"\r\n"

// with is the RFC's handshake with one line changed, or removed if now is "".
func with(line, now string) string {
	if !strings.Contains(rfcHandshake, line) {
		panic("the handshake has no " + line)
	}
	if now != "" {
		now += "\r\n"
	}
	return strings.Replace(rfcHandshake, line+"\r\n", now, 1)
}

// readHead is ReadRequest of a server that knows no subprotocols, from the beginning.
func readHead(p []byte, bytesMax int) (Request, int, error) {
	return ReadRequest(p, new(Scan), HeadRules{BytesMax: bytesMax})
}

// showHandshake is the result of ReadRequest as text.
func showHandshake(req Request, n int, err error) string {
	var rejection *Rejection
	switch {
	case errors.As(err, &rejection):
		return fmt.Sprintf("%d %s", rejection.Status, rejection.Reason)
	case err != nil:
		return "an error that is no *Rejection"
	case n == 0:
		return "incomplete"
	case req.Upgrade:
		return "upgrade " + req.Path
	}
	return "plain " + req.Method + " " + req.Path
}

func TestAcceptKeyIsThatOfTheRFC(t *testing.T) {
	p := rfcHandshake + "\x81\x85"
	req, n, err := readHead([]byte(p), testHeadBytes)
	if err != nil || n != len(rfcHandshake) {
		t.Fatalf("got n %d and %v, want %d", n, err, len(rfcHandshake))
	}
	if req.Method != "GET" || req.Path != "/chat" || !req.Upgrade {
		t.Errorf("got %+v", req)
	}
	want := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
	if got := string(AppendUpgrade([]byte("x"), &req)); got != "x"+want {
		t.Errorf("got %q, want %q", got, "x"+want)
	}
}

func TestHandshakesAreJudgedByTheRFC(t *testing.T) {
	const (
		upgrade    = "Upgrade: websocket"
		connection = "Connection: Upgrade"
		key        = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
		version    = "Sec-WebSocket-Version: 13"
		host       = "Host: server.example.com"
		get        = "GET /chat HTTP/1.1"
	)
	plain := func(lines string) string { return lines + "\r\nHost: a\r\n\r\n" }
	for _, test := range []struct{ name, head, want string }{
		{"the RFC's own", rfcHandshake, "upgrade /chat"},
		{"Firefox's Connection", with(connection, "Connection: keep-alive, Upgrade"), "upgrade /chat"},
		{"any case", strings.Replace(with(upgrade, "uPGRADE:WebSocket"), connection, "CONNECTION:\t upgrade \t", 1), "upgrade /chat"},
		{"a list in Upgrade", with(upgrade, "Upgrade: h2c, websocket"), "upgrade /chat"},
		{"two Upgrade headers", with(upgrade, "Upgrade: h2c\r\nUpgrade: websocket"), "upgrade /chat"},
		{"two Connection headers", with(connection, "Connection: keep-alive\r\nConnection: Upgrade"), "upgrade /chat"},
		{"an offer of deflate that makes no sense", with(upgrade, "Upgrade: websocket\r\nSec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=99"), "upgrade /chat"},
		{"no Origin", with("Origin: http://example.com", ""), "upgrade /chat"},
		{"any path, with a query", with(get, "GET /a/%E7%B5%84?b=%zz&c HTTP/1.1"), "upgrade /a/%E7%B5%84"},
		{"a path of two slashes", with(get, "GET //chat HTTP/1.1"), "upgrade //chat"},
		{"an absolute target", with(get, "GET ws://example.com:80/chat?x HTTP/1.1"), "upgrade /chat"},
		{"an absolute target without path", with(get, "GET HTTP://example.com HTTP/1.1"), "upgrade /"},
		{"HTTP/1.2", with(get, "GET /chat HTTP/1.2"), "upgrade /chat"},
		{"an empty Host", with(host, "Host:"), "upgrade /chat"},
		{"a body of no bytes", with(upgrade, "Upgrade: websocket\r\nContent-Length: 0"), "upgrade /chat"},
		{"other headers with strange bytes", with(upgrade, "Upgrade: websocket\r\nCookie: a=\xe7\xb5\x84;\tb\r\nX-Empty:"), "upgrade /chat"},

		{"POST", with(get, "POST /chat HTTP/1.1"), "405 a WebSocket handshake is a GET request"},
		{"no Upgrade", with(upgrade, ""), "426 " + rejectNoUpgrade.Reason},
		{"another Upgrade", with(upgrade, "Upgrade: websockets, h2c"), "426 " + rejectNoUpgrade.Reason},
		{"no Connection", with(connection, ""), "426 " + rejectNoConnection.Reason},
		{"another Connection", with(connection, "Connection: keep-alive"), "426 " + rejectNoConnection.Reason},
		{"no version", with(version, ""), "426 this server speaks WebSocket version 13 only"},
		{"version 8", with(version, "Sec-WebSocket-Version: 8"), "426 this server speaks WebSocket version 13 only"},
		{"two versions", with(version, version+"\r\n"+version), "400 the Sec-WebSocket-Version header is there twice"},
		{"no key", with(key, ""), "400 the Sec-WebSocket-Key header is missing"},
		{"an empty key", with(key, "Sec-WebSocket-Key:"), "400 the Sec-WebSocket-Key is not base64 of 16 bytes"},
		{"a key of 15 bytes", with(key, "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAA"), "400 the Sec-WebSocket-Key is not base64 of 16 bytes"},
		{"a key of 17 bytes", with(key, "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAAA="), "400 the Sec-WebSocket-Key is not base64 of 16 bytes"},
		{"a key not in base64", with(key, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZ!=="), "400 the Sec-WebSocket-Key is not base64 of 16 bytes"},
		{"two keys", with(key, key+"\r\n"+key), "400 the Sec-WebSocket-Key header is there twice"},
		{"a body", with(upgrade, "Upgrade: websocket\r\nContent-Length: 05"), "400 a WebSocket handshake has no body"},
		{"a chunked body", with(upgrade, "Upgrade: websocket\r\nTransfer-Encoding: chunked"), "400 a WebSocket handshake has no body"},
		{"no Host", with(host, ""), "400 " + rejectNoHost.Reason},
		{"two Hosts", with(host, host+"\r\n"+host), "400 the Host header is there twice"},
		{"two Origins", with(host, host+"\r\nOrigin: http://evil.example"), "400 the Origin header is there twice"},

		{"a page", plain("GET / HTTP/1.1"), "plain GET /"},
		{"a health check", plain("HEAD /healthz?now HTTP/1.1"), "plain HEAD /healthz"},
		{"a form", plain("POST /x HTTP/1.1\r\nContent-Length: 5"), "plain POST /x"},
		{"an upgrade to something else", plain("GET / HTTP/1.1\r\nUpgrade: h2c\r\nConnection: Upgrade"), "plain GET /"},
		{"OPTIONS *", plain("OPTIONS * HTTP/1.1"), "plain OPTIONS *"},
		{"another method", plain("BREW /pot HTTP/1.1"), "plain BREW /pot"},
		{"just an intent", plain("GET / HTTP/1.1\r\nUpgrade: websocket"), "426 " + rejectNoConnection.Reason},
		{"an old browser", plain("GET / HTTP/1.1\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key1: 4 @1  46546xW%0l 1 5"), "426 this server speaks WebSocket version 13 only"},

		{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "400 " + RejectTLS.Reason},
		{"the first byte of TLS", "\x16", "400 " + RejectTLS.Reason},
		{"a frame", "\x81\x85\x00\x00\x00\x00Hello", "400 " + rejectRequestLine.Reason},
		{"an empty line", "\r\n", "incomplete"},
		{"a line without spaces", "GET\r\n", "400 " + rejectRequestLine.Reason},
		{"HTTP/0.9", "GET /\r\n", "400 " + rejectRequestLine.Reason},
		{"two spaces", "GET  / HTTP/1.1\r\n", "400 " + rejectRequestLine.Reason},
		{"no slash", "GET chat HTTP/1.1\r\n", "400 " + rejectTarget.Reason},
		{"CONNECT", "CONNECT example.com:80 HTTP/1.1\r\n", "405 " + rejectConnect.Reason},
		{"GET *", "GET * HTTP/1.1\r\n", "400 " + rejectTarget.Reason},
		{"a broken escape", "GET /%4 HTTP/1.1\r\n", "400 " + rejectEscape.Reason},
		{"a control character in the path", "GET /a\x00b HTTP/1.1", "400 " + rejectTargetControl.Reason},
		{"a path beyond ASCII", "GET /\xe7\xb5\x84 HTTP/1.1", "400 " + rejectTargetByte.Reason},
		{"HTTP/1.0", "GET / HTTP/1.0\r\n\r\n", "plain GET /"},
		{"the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "505 " + rejectMajorVersion.Reason},
		{"HTTP/2 in text", "GET / HTTP/2\r\n", "505 " + rejectMajorVersion.Reason},
		{"a version with a tail", "GET / HTTP/1.1 \r\n", "400 " + rejectVersion.Reason},
		{"half a version", "GET / HTTP/1.\r\n", "400 " + rejectVersion.Reason},
		{"a bare LF", "GET / HTTP/1.1\n", "400 " + rejectBareLF.Reason},
		{"a bare LF at the end", "GET / HTTP/1.1\r\nHost: a\r\n\n", "400 " + rejectBareLF.Reason},
		{"a bare CR", "GET / HTTP/1.1\rX", "400 " + rejectBareCR.Reason},
		{"a bare CR in a value", "GET / HTTP/1.1\r\nHost: a\rb", "400 " + rejectBareCR.Reason},
		{"a folded header", "GET / HTTP/1.1\r\nHost: a\r\n b", "400 " + rejectFolded.Reason},
		{"a folded first header", "GET / HTTP/1.1\r\n\t", "400 " + rejectFolded.Reason},
		{"a header without colon", "GET / HTTP/1.1\r\nHost\r", "400 " + rejectField.Reason},
		{"a header without name", "GET / HTTP/1.1\r\n:", "400 " + rejectField.Reason},
		{"a space before the colon", "GET / HTTP/1.1\r\nHost :", "400 " + rejectFieldSpace.Reason},
		{"a NUL in a value", "GET / HTTP/1.1\r\nHost: a\x00", "400 " + rejectControl.Reason},
		{"a DEL in a value", "GET / HTTP/1.1\r\nHost: a\x7f", "400 " + rejectControl.Reason},
		{"two lengths", plain("POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6"), "400 " + rejectBody.Reason},
		{"a length that is no number", plain("POST / HTTP/1.1\r\nContent-Length: -5"), "400 " + rejectBody.Reason},
		{"a length and chunks", plain("POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked"), "400 " + rejectBody.Reason},
		{"an unknown coding", plain("POST / HTTP/1.1\r\nTransfer-Encoding: gzip"), "501 " + rejectCoding.Reason},

		{"nothing", "", "incomplete"},
		{"half a method", "GE", "incomplete"},
		{"all but the last byte", rfcHandshake[:len(rfcHandshake)-1], "incomplete"},
		{"a CR at the end", "GET / HTTP/1.1\r", "incomplete"},
	} {
		if got := showHandshake(readHead([]byte(test.head), testHeadBytes)); got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
		checkPrefixes(t, []byte(test.head))
	}
}

// checkPrefixes reads p as it would arrive, whole, cut once and byte by byte: the first result that says anything must be that
// of the whole.
func checkPrefixes(t testing.TB, p []byte) {
	t.Helper()
	whole := showHandshake(readHead(p, testHeadBytes))
	step := max(1, len(p)/500)
	for size := 0; size < len(p); size += step {
		if got := showHandshake(readHead(p[:size], testHeadBytes)); got != "incomplete" && got != whole {
			t.Fatalf("%q: got %q after %d of %d bytes, want %q", p, got, size, len(p), whole)
		}
	}
	var scan Scan
	for size := range len(p) + 1 {
		got := showHandshake(ReadRequest(p[:size], &scan, HeadRules{BytesMax: testHeadBytes}))
		if got != "incomplete" || size == len(p) {
			if got != whole {
				t.Fatalf("%q: byte by byte: got %q after %d bytes, want %q", p, got, size, whole)
			}
			return
		}
	}
}

func TestHeadOfUpToItsBoundIsRead(t *testing.T) {
	for _, test := range []struct {
		size int
		want string
	}{
		{testHeadBytes, "upgrade /chat"},
		{testHeadBytes + 1, "431 " + rejectHeadSize(testHeadBytes, "Cookie").Reason},
	} {
		cookie := "Cookie: "
		fill := test.size - len(rfcHandshake) - len(cookie) - 2
		head := []byte(with("Upgrade: websocket", "Upgrade: websocket\r\n"+cookie+strings.Repeat("c", fill)))
		if got := showHandshake(readHead(head, testHeadBytes)); got != test.want || len(head) != test.size {
			t.Errorf("a head of %d bytes: got %q, want %q", len(head), got, test.want)
		}
		if got := showHandshake(readHead(append(head, make([]byte, 10_000)...), testHeadBytes)); got != test.want {
			t.Errorf("a head of %d bytes and frames behind it: got %q, want %q", len(head), got, test.want)
		}
	}
	endless := []byte("GET / HTTP/1.1\r\nA: " + strings.Repeat("a", testHeadBytes))
	if got, want := showHandshake(readHead(endless[:testHeadBytes-1], testHeadBytes)), "incomplete"; got != want {
		t.Errorf("one byte below the bound: got %q, want %q", got, want)
	}
	if got, want := showHandshake(readHead(endless[:testHeadBytes], testHeadBytes)), "431 "+rejectHeadSize(testHeadBytes, "A").Reason; got != want {
		t.Errorf("at the bound: got %q, want %q", got, want)
	}
}

func TestTheBoundOnAHeadIsTheCallersAndIsNamed(t *testing.T) {
	for _, test := range []struct {
		head string
		max  int
		want string
	}{
		{rfcHandshake, len(rfcHandshake) - 1, `431 the request head is over 229 bytes; its longest line is "Sec-WebSocket-Key", so send less in that, or ` +
			"start the server with a larger --handshake-max"},
		{"GET /?" + strings.Repeat("x", 100), 64, "414 the request head is over 64 bytes because of its URL; send data in messages and not in the URL, or " +
			"start the server with a larger --handshake-max"},
		{"GET /?" + strings.Repeat("x", 100) + " HTTP/1.1\r\nHost: a\r\nCookie: b\r\nX: y", 128, "414 " + rejectTargetSize(128).Reason},
		{"GET / HTTP/1.1\r\nHost: a\r\nCookie: " + strings.Repeat("c", 50) + "\r\nX-Id: " + strings.Repeat("d", 50), 128, "431 " + rejectHeadSize(128, "Cookie").Reason},
		{strings.Repeat("x", 100), 64, "400 " + rejectRequestLine.Reason},
	} {
		if got := showHandshake(readHead([]byte(test.head), test.max)); got != test.want {
			t.Errorf("%.40q… over the bound: got %q, want %q", test.head, got, test.want)
		}
	}
	if got := showHandshake(readHead([]byte(rfcHandshake), len(rfcHandshake))); got != "upgrade /chat" {
		t.Errorf("a head of as many bytes as may be: got %q", got)
	}
}

func TestOriginAndForwardedForAreAsSent(t *testing.T) {
	const origin = "Origin: http://example.com"
	for _, test := range []struct{ lines, origin, forwarded string }{
		{origin, "http://example.com", ""},
		{"X-A: b", "", ""},
		{"Origin: null\r\nX-Forwarded-For: 192.0.2.1", "null", "192.0.2.1"},
		{"x-forwarded-for: a, b\r\nX-Other: c\r\nX-Forwarded-For:  d \r\nX-FORWARDED-FOR:", "", "a, b,d,"},
	} {
		p := []byte(with(origin, test.lines))
		req, n, err := readHead(p, testHeadBytes)
		if n != len(p) || req.Origin != test.origin || req.ForwardedFor != test.forwarded {
			t.Errorf("%q: got %q and %q (%v), want %q and %q", test.lines, req.Origin, req.ForwardedFor, err, test.origin, test.forwarded)
		}
	}
}

func TestARequestHasWhatIsBehindItsPath(t *testing.T) {
	for target, want := range map[string][2]string{
		"/": {"/", ""}, "/?": {"/", ""}, "/?a": {"/", "a"}, "/chat?a=b&%zz": {"/chat", "a=b&%zz"}, "/chat?a?b=/": {"/chat", "a?b=/"}, "/?/": {"/", "/"}, "//?a": {"//", "a"},
		"ws://example.com": {"/", ""}, "ws://example.com?a=%62": {"/", "a=%62"}, "ws://example.com/chat?a?": {"/chat", "a?"},
	} {
		req, n, err := readHead([]byte(with("GET /chat HTTP/1.1", "GET "+target+" HTTP/1.1")), testHeadBytes)
		if got := [2]string{req.Path, req.Query}; n == 0 || got != want {
			t.Errorf("%s: got %q (%v), want %q", target, got, err, want)
		}
	}
}

func TestRequestOwnsItsStrings(t *testing.T) {
	p := []byte(strings.Replace(with("Connection: Upgrade", "Connection: Upgrade\r\nX-Forwarded-For: 192.0.2.1"), "/chat ", "/chat?a=b ", 1))
	req, _, _ := readHead(p, testHeadBytes)
	clear(p)
	if got, want := req.Method+req.Path+req.Query+req.Origin+req.ForwardedFor, "GET/chata=bhttp://example.com192.0.2.1"; got != want {
		t.Errorf("after the buffer was cleared: got %q, want %q", got, want)
	}
}

// readResponse lets the standard library read what we sent.
func readResponse(t testing.TB, p []byte, method string) (*http.Response, string) {
	t.Helper()
	in := bufio.NewReader(bytes.NewReader(p))
	response, err := http.ReadResponse(in, &http.Request{Method: method})
	if err != nil {
		t.Fatalf("%q: %v", p, err)
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatalf("%q: body: %v", p, err)
	}
	if rest, _ := io.ReadAll(in); len(rest) > 0 {
		t.Fatalf("%q: got %q behind the response, want nothing", p, rest)
	}
	return response, string(body)
}

func TestAHeadOfManyForwardedForLinesIsReadInFewAllocations(t *testing.T) {
	lines := strings.Repeat("X-Forwarded-For: 192.0.2.1\r\n", 250)
	p := []byte(with("Connection: Upgrade", "Connection: Upgrade\r\n"+lines[:len(lines)-2]))
	if _, n, err := readHead(p, testHeadBytes); n != len(p) || err != nil {
		t.Fatalf("ReadRequest: got %d, %v, want %d", n, err, len(p))
	}
	if allocs := testing.AllocsPerRun(10, func() { _, _, _ = readHead(p, testHeadBytes) }); allocs > 20 {
		t.Errorf("allocations: got %v, want at most 20", allocs)
	}
}
