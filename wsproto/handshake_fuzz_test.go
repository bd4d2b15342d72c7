package wsproto

import (
	"bufio"
	"bytes"
	"errors"
	"net/http"
	"net/url"
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
		"OPTIONS * HTTP/1.1\r\nHost:\r\n\r\n",
		"GET / HTTP/1.0\r\n\r\n", "GET / HTTP/1.1\n\n", "\x16\x03\x01", "GET / HTTP/1.1\r\nHost: a\r\n b\r\n\r\n",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		before := bytes.Clone(p)
		req, n, err := ReadRequest(p, testHeadBytes)
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

		// What we accept, the standard library accepts, and means the same. It also
		// checks Trailer, which is not read here.
		theirs, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(p[:n])))
		if err != nil {
			if strings.Contains(err.Error(), "bad trailer key") {
				return
			}
			t.Fatalf("%q: got accepted, want it refused: %v", p[:n], err)
		}
		if req.Method != theirs.Method {
			t.Fatalf("%q: got %+v, want method %q", p[:n], req, theirs.Method)
		}
		if path, err := url.PathUnescape(req.Path); err != nil || path != theirs.URL.Path && theirs.URL.Host == "" {
			t.Fatalf("%q: got path %q (%v), want %q", p[:n], path, err, theirs.URL.Path)
		}
		if req.Upgrade {
			response, _ := readResponse(t, AppendUpgrade(nil, &req), "GET")
			if response.StatusCode != 101 || len(response.Header.Get("Sec-WebSocket-Accept")) != acceptBytes {
				t.Fatalf("got %q with %v, want a 101", response.Status, response.Header)
			}
		}
	})
}
