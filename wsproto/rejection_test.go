package wsproto

import (
	"net/http"
	"strings"
	"testing"
)

func TestRejectionsAreWholeResponses(t *testing.T) {
	for _, test := range []struct {
		rejection *Rejection
		status    int
		header    map[string]string
		reason    string
	}{
		{RejectTimeout, 408, map[string]string{"Connection": "close"}, "too long"},
		{RejectBusy.After(1), 503, map[string]string{"Connection": "close", "Retry-After": "1"}, "as many connections"},
		{RejectStopping, 503, nil, "stopping"},
		{RejectNotFound("/favicon.ico"), 404, nil, `nothing at "/favicon.ico"`},
		{RejectAddress.After(5), 503, map[string]string{"Retry-After": "5"}, "from this address"},
		{RejectProxied.After(7), 429, map[string]string{"Retry-After": "7"}, "from this address"},
		{RejectRate.After(3), 503, map[string]string{"Retry-After": "3"}, "more clients connect"},
		{RejectOrigin("https://evil.example"), 403, nil, `"https://evil.example" may not`},
		{rejectNoProxy, 400, nil, "PROXY"},
		{rejectHeadSize(8192, "Cookie"), 431, nil, "8192"},
		{rejectTargetSize(8192), 414, nil, "8192"},
		{rejectCoding, 501, nil, "chunked"},
		{rejectMajorVersion, 505, nil, "HTTP/1.1"},
		{rejectConnect, 405, map[string]string{"Allow": "GET, HEAD"}, "CONNECT"},
		{rejectOldUpgrade, 426, map[string]string{"Upgrade": "websocket"}, "proxy_http_version 1.1"},
		{rejectUpgradeMethod, 405, map[string]string{"Allow": "GET"}, "GET"},
		{rejectWebSocketVersion, 426, map[string]string{"Upgrade": "websocket", "Connection": "Upgrade, close", "Sec-Websocket-Version": "13"}, "13"},
		{rejectNoUpgrade, 426, map[string]string{"Upgrade": "websocket", "Connection": "Upgrade, close"}, "Upgrade: websocket"},
	} {
		// The library takes the close option out of Connection, so look at the bytes too.
		raw := string(test.rejection.AppendTo(nil))
		response, body := readResponse(t, []byte(raw), "GET")
		if response.StatusCode != test.status || response.Status == "" || !response.Close {
			t.Errorf("got status %q (close %v), want %d", response.Status, response.Close, test.status)
		}
		// RFC 9110 has dropped the word Request of 414's name.
		if text := strings.TrimPrefix(http.StatusText(test.status), "Request URI "); !strings.HasSuffix(response.Status, text) {
			t.Errorf("got status %q, want %q in it", response.Status, text)
		}
		for name, want := range test.header {
			if name == "Connection" {
				if !strings.Contains(raw, "\r\nConnection: "+want+"\r\n") {
					t.Errorf("%d: got %q, want Connection: %s", test.status, raw, want)
				}
			} else if got := response.Header.Values(name); len(got) != 1 || got[0] != want {
				t.Errorf("%d: %s: got %q, want %q", test.status, name, got, want)
			}
		}
		if got := response.Header.Get("Content-Type"); got != "text/plain; charset=utf-8" {
			t.Errorf("%d: got Content-Type %q", test.status, got)
		}
		if !strings.Contains(body, test.reason) || !strings.Contains(test.rejection.Error(), test.reason) {
			t.Errorf("%d: got body %q and error %q, want %q in both", test.status, body, test.rejection.Error(), test.reason)
		}
	}
}

func TestClientsTextCannotBreakTheResponse(t *testing.T) {
	for _, text := range []string{"/a\r\nSet-Cookie: a=b", "/\x00\x1b[31m", "/\xff\xfe組", "/<script>", strings.Repeat("/long", 10_000), strings.Repeat("組", 100)} {
		for _, rejection := range []*Rejection{RejectNotFound(text), RejectOrigin(text)} {
			response, body := readResponse(t, rejection.AppendTo(nil), "GET")
			if response.Header.Get("Set-Cookie") != "" || strings.ContainsAny(rejection.Header, "\x00") {
				t.Errorf("%q: got a header from the client's text", text)
			}
			for _, c := range strings.TrimSuffix(body, "\n") {
				if c < ' ' || c > '~' {
					t.Errorf("%q: got %q in the body, want printable ASCII", text, c)
				}
			}
			if len(body) > 600 {
				t.Errorf("%.20q: got a body of %d bytes, want a short one", text, len(body))
			}
		}
	}
}
