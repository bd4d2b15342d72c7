package wsproto

import (
	"strings"
	"testing"
)

func TestARequestBringsATokenInOneOfTwoWays(t *testing.T) {
	for _, test := range []struct {
		query, header string
		want          string
		status        int // 0: no rejection
	}{
		{"", "", "-", 0},
		{"?token=a.b-c_d", "", "a.b-c_d", 0},
		{"?x=1&token=%61%2eb&y", "", "a.b", 0},
		{"?token=", "", "", 0},
		{"?Token=a&xtoken=b&token", "", "-", 0},
		{"?token=%zz", "", "", 401},
		{"?token=a&token=b", "", "", 400},
		{"", "Authorization: Bearer a.b.c\r\n", "a.b.c", 0},
		{"", "authorization: bEARER   a.b.c\r\n", "a.b.c", 0},
		{"", "Authorization: Basic a.b.c\r\n", "-", 0},
		{"", "Authorization: Bearera.b.c\r\n", "-", 0},
		{"", "Authorization: Bearer\r\n", "", 0},
		{"", "Authorization: Basic x\r\nAuthorization: Bearer a\r\n", "a", 0},
		{"", "Authorization: Bearer a\r\nAuthorization: Bearer b\r\n", "", 400},
		{"?token=a", "Authorization: Bearer b\r\n", "", 400},
		{"?token=a", "Authorization: Bearer\r\n", "", 400},
		{"?token=a", "Authorization: Basic b\r\n", "a", 0},
	} {
		head := "GET /" + test.query + " HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
			"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n" + test.header + "\r\n"
		p := []byte(head)
		req, n, err := ReadRequest(p, &Scan{}, HeadRules{BytesMax: 4096})
		if n != len(p) || err != nil {
			t.Fatalf("%s %s: got %d, %v, want the whole head", test.query, test.header, n, err)
		}
		clear(p) // the buffer is borrowed
		token, rejection := req.Token()
		got := string(token)
		if token == nil && rejection == nil {
			got = "-"
		}
		status := 0
		if rejection != nil {
			status = rejection.Status
			if !strings.Contains(string(rejection.AppendTo(nil)), "\r\nWWW-Authenticate: Bearer error=") {
				t.Errorf("%s %s: got %q, want it to say what is asked for", test.query, test.header, rejection.AppendTo(nil))
			}
		}
		if got != test.want || status != test.status {
			t.Errorf("%s %s: got %q and status %d, want %q and %d", test.query, test.header, got, status, test.want, test.status)
		}
	}
}
