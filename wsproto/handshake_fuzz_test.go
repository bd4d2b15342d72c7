package wsproto

import (
	"bufio"
	"bytes"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

func FuzzHandshake(f *testing.F) {
	for _, seed := range []string{
		rfcHandshake,
		with("Upgrade: websocket", "Upgrade: h2c, websocket\r\nSec-WebSocket-Extensions: permessage-deflate"),
		with("Connection: Upgrade", "Connection: keep-alive, Upgrade") + "\x81\x85\x00\x00\x00\x00Hello",
		with("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 8"),
		with("GET /chat HTTP/1.1", "GET ws://example.com:80/a%20b?c HTTP/1.1"),
		"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nHello",
		"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n", "\r\n" + rfcHandshake, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "PROXY UNKNOWN\r\n",
		with("Host: server.example.com", "host:[::1]:80\r\nX-Forwarded-For: a\r\nX-Forwarded-For: b"),
		with("Sec-WebSocket-Protocol: chat, superchat", "Sec-WebSocket-Protocol: x,,superchat\r\nSec-WebSocket-Protocol: chat"),
		"GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\n\n", "\x16\x03\x01", "GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		before := bytes.Clone(p)
		req, n, err := ReadRequest(p, new(Scan), HeadRules{BytesMax: testHeadBytes, Subprotocols: []string{"chat", "superchat"}})
		if !bytes.Equal(p, before) {
			t.Fatalf("got the buffer changed to %q, want %q", p, before)
		}
		if n < 0 || n > min(len(p), testHeadBytes) {
			t.Fatalf("got n %d of %d bytes", n, len(p))
		}
		checkPrefixes(t, p)

		var rejection *Rejection
		switch {
		case errors.As(err, &rejection):
			response, _ := readResponse(t, rejection.AppendTo(nil), "GET")
			if response.StatusCode != rejection.Status {
				t.Fatalf("got status %d on the wire, want %d", response.StatusCode, rejection.Status)
			}
			return
		case err != nil:
			t.Fatalf("got %v, want a *Rejection", err)
		case n == 0:
			return
		}

		// What we accept, the standard library accepts, and means the same. It does not pass over empty lines at the front, and it
		// also checks Trailer, which is not read here.
		p = bytes.TrimLeft(p[:n], "\r\n")
		theirs, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(p)))
		if err != nil {
			if strings.Contains(err.Error(), "bad trailer key") {
				return
			}
			t.Fatalf("%q: got accepted, want it refused: %v", p, err)
		}
		var ours head
		if r := ours.readAll(p); r != nil {
			t.Fatalf("%q: got %v without empty lines, want it accepted as with them", p, r)
		}
		if req.Method != theirs.Method || ours.old != (theirs.ProtoMinor == 0) {
			t.Fatalf("%q: got %+v, HTTP/1.0 %v, want method %q and %s", p, req, ours.old, theirs.Method, theirs.Proto)
		}
		if path, err := url.PathUnescape(req.Path); err != nil || path != theirs.URL.Path && !(path == "/" && theirs.URL.Path == "") {
			t.Fatalf("%q: got path %q (%v), want %q", p, path, err, theirs.URL.Path)
		}
		if req.Query != theirs.URL.RawQuery {
			t.Fatalf("%q: got query %q, want %q", p, req.Query, theirs.URL.RawQuery)
		}
		if theirs.URL.Host == "" && string(ours.host) != theirs.Host { // with the absolute form neither reads Host
			t.Fatalf("%q: got host %q, want %q", p, ours.host, theirs.Host)
		}
		if got := theirs.Header.Get("Origin"); req.Origin != got {
			t.Fatalf("%q: got origin %q, want %q", p, req.Origin, got)
		}
		if got := strings.Join(theirs.Header.Values("X-Forwarded-For"), ","); req.ForwardedFor != got {
			t.Fatalf("%q: got forwarded for %q, want %q", p, req.ForwardedFor, got)
		}
		offered := strings.Split(strings.Join(theirs.Header.Values("Sec-WebSocket-Protocol"), ","), ",")
		at := slices.IndexFunc(offered, func(name string) bool {
			name = strings.Trim(name, " \t")
			return name == "chat" || name == "superchat"
		})
		if at >= 0 && req.Subprotocol != strings.Trim(offered[at], " \t") || at < 0 && req.Subprotocol != "" {
			t.Fatalf("%q: got subprotocol %q, want number %d of %q", p, req.Subprotocol, at, offered)
		}
		if req.Upgrade {
			response, _ := readResponse(t, AppendUpgrade(nil, &req), "GET")
			if response.StatusCode != 101 || len(response.Header.Get("Sec-WebSocket-Accept")) != acceptBytes {
				t.Fatalf("got %q with %v, want a 101", response.Status, response.Header)
			}
		}
	})
}
