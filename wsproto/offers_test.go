package wsproto

import (
	"strings"
	"testing"
)

// The answers to offers (RFC 7692 §7.1).
const (
	declined = ""
	accepted = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
	windowed = accepted + "; server_max_window_bits=15"
	refused  = "400"
)

// negotiate is the answer to a handshake with these lines of offers: the line of the response, or the status that refuses it.
// What it reads is also read in pieces.
func negotiate(t testing.TB, deflate bool, lines ...string) string {
	t.Helper()
	header := ""
	for _, line := range lines {
		header += "\r\nSec-WebSocket-Extensions:" + line
	}
	p := []byte(with("Upgrade: websocket", "Upgrade: websocket"+header))
	rules := HeadRules{BytesMax: testHeadBytes, Deflate: deflate}
	req, n, err := ReadRequest(p, new(Scan), rules)
	whole := showHandshake(req, n, err)
	var scan Scan
	for size := range len(p) + 1 {
		pieceReq, n, err := ReadRequest(p[:size], &scan, rules)
		got := showHandshake(pieceReq, n, err)
		if size < len(p) && got != "incomplete" || size == len(p) && (got != whole || pieceReq.Deflate != req.Deflate || pieceReq.window != req.window) {
			t.Fatalf("%q byte by byte: got %q, %v after %d bytes, want %q, %v", lines, got, pieceReq.Deflate, size, whole, req.Deflate)
		}
	}
	if err != nil {
		return err.(*Rejection).Error()[:3]
	}
	response, _ := readResponse(t, AppendUpgrade(nil, &req), "GET")
	answers := response.Header.Values("Sec-WebSocket-Extensions")
	if len(answers) > 1 || req.Deflate != (len(answers) == 1) {
		t.Fatalf("%q: got Deflate %v and the answers %q", lines, req.Deflate, answers)
	}
	return strings.Join(answers, "")
}

func TestOffersOfDeflateAreAnsweredByTheRFC(t *testing.T) {
	const pd = "permessage-deflate"
	for _, test := range []struct {
		says  string
		lines []string
		want  string
	}{
		// Who offers it.
		{"nothing", nil, declined},
		{"Go's and Python's clients", []string{pd}, accepted},
		{"Chromium, Firefox and ws", []string{pd + "; client_max_window_bits"}, accepted},
		{"gorilla", []string{pd + "; server_no_context_takeover; client_no_context_takeover"}, accepted},
		{"Safari of today", []string{pd}, accepted},
		{"old Safari", []string{"x-webkit-deflate-frame"}, declined},
		{"Safari in between", []string{"x-webkit-deflate-frame, " + pd}, accepted},

		// RFC 7692 §7.1.1: takeover. A server may leave it out also where nobody has asked for that.
		{"server_no_context_takeover", []string{pd + "; server_no_context_takeover"}, accepted},
		{"client_no_context_takeover", []string{pd + "; client_no_context_takeover"}, accepted},
		{"with a value", []string{pd + "; server_no_context_takeover=1"}, declined},
		{"with an empty value", []string{pd + `; client_no_context_takeover=""`}, refused},
		{"with true", []string{pd + "; client_no_context_takeover=true"}, declined},

		// RFC 7692 §7.1.2.1: the server's window is a demand; a smaller one than 15 bits is declined on purpose.
		{"15", []string{pd + "; server_max_window_bits=15"}, windowed},
		{"14", []string{pd + "; server_max_window_bits=14"}, declined},
		{"8", []string{pd + "; server_max_window_bits=8"}, declined},
		{"too small", []string{pd + "; server_max_window_bits=7"}, declined},
		{"too large", []string{pd + "; server_max_window_bits=16"}, declined},
		{"no value", []string{pd + "; server_max_window_bits"}, declined},
		{"a zero in front", []string{pd + "; server_max_window_bits=015"}, declined},
		{"a sign", []string{pd + "; server_max_window_bits=+15"}, declined},
		{"no number", []string{pd + "; server_max_window_bits=x"}, declined},
		{"9, then 15", []string{pd + "; server_max_window_bits=9, " + pd + "; server_max_window_bits=15"}, windowed},
		{"9, then any", []string{pd + "; server_no_context_takeover; server_max_window_bits=9, " + pd + "; server_no_context_takeover, " + pd}, accepted},
		{"any, then 15", []string{pd + ", " + pd + "; server_max_window_bits=15"}, accepted},

		// RFC 7692 §7.1.2.2: the client's window is a hint, and its value optional.
		{"8", []string{pd + "; client_max_window_bits=8"}, accepted},
		{"9", []string{pd + "; client_max_window_bits=9"}, accepted},
		{"10", []string{pd + "; client_max_window_bits=10"}, accepted},
		{"15", []string{pd + "; client_max_window_bits=15"}, accepted},
		{"7", []string{pd + "; client_max_window_bits=7"}, declined},
		{"16", []string{pd + "; client_max_window_bits=16"}, declined},
		{"a zero in front", []string{pd + "; client_max_window_bits=08"}, declined},
		{"99", []string{pd + "; client_max_window_bits=99"}, declined},
		{"100", []string{pd + "; client_max_window_bits=100"}, declined},
		{"all there are", []string{pd + "; client_max_window_bits=11; server_max_window_bits=15; client_no_context_takeover; server_no_context_takeover"}, windowed},

		// RFC 7692 §7.1: what declines an offer, and that one alone.
		{"an unknown parameter", []string{pd + "; mux=1"}, declined},
		{"it, then without", []string{pd + "; mux=1, " + pd}, accepted},
		{"twice", []string{pd + "; client_max_window_bits; client_max_window_bits"}, declined},
		{"twice, with values that differ", []string{pd + "; server_max_window_bits=9; server_max_window_bits=15"}, declined},
		{"twice without a value", []string{pd + "; server_no_context_takeover; server_no_context_takeover, " + pd}, accepted},
		{"in capitals", []string{pd + "; CLIENT_MAX_WINDOW_BITS"}, declined},
		{"the extension in capitals", []string{"Permessage-Deflate"}, declined},
		{"other extensions", []string{`foo; bar=1; bar="2", permessage-bzip2, permessage-deflate-x`}, declined},
		{"among others", []string{`foo; bar=1; bar="2", ` + pd + `; client_max_window_bits, baz`}, accepted},

		// RFC 6455 §9.1: the grammar.
		{"several lines", []string{"foo", pd + "; server_max_window_bits=9", pd + "; server_max_window_bits=15", pd}, windowed},
		{"quoted", []string{pd + `; server_max_window_bits="15"`}, windowed},
		{"quoted, with escapes", []string{pd + `; server_max_window_bits="1\5"`}, windowed},
		{"quoted and wrong", []string{pd + `; server_max_window_bits="9"`}, declined},
		{"no blanks", []string{pd + ";client_max_window_bits=9;server_max_window_bits=15,foo"}, windowed},
		{"many blanks", []string{"\t " + pd + " \t;\tclient_max_window_bits = 9 ; server_max_window_bits =\t\"15\" , foo "}, windowed},
		{"empty elements", []string{", ,," + pd + ",,", ""}, accepted},
		{"an empty line", []string{""}, declined},
		{"a semicolon at the end", []string{pd + ";"}, refused},
		{"two semicolons", []string{pd + ";; client_max_window_bits"}, refused},
		{"a semicolon in front", []string{"; client_max_window_bits"}, refused},
		{"a parameter on the next line", []string{pd, "; client_max_window_bits"}, refused},
		{"no comma", []string{pd + " foo"}, refused},
		{"no semicolon", []string{pd + "; client_max_window_bits server_max_window_bits"}, refused},
		{"no value behind =", []string{pd + "; client_max_window_bits="}, refused},
		{"no name before =", []string{pd + "; =9"}, refused},
		{"a quote that does not end", []string{pd + `; client_max_window_bits="9`}, refused},
		{"nor on the next line", []string{`foo; a="b`, `c", ` + pd}, refused},
		{"an escape of nothing", []string{pd + `; client_max_window_bits="9\`}, refused},
		{"a comma in quotes, which is no token", []string{`foo; a="b, ` + pd + `"`}, refused},
		{"an escaped quote, which is none either", []string{`foo; a="\"", ` + pd}, refused},
		{"text behind the quotes", []string{pd + `; client_max_window_bits="9"x`}, refused},
		{"bytes beyond ASCII", []string{pd + "; größe=1"}, refused},
		{"wrong behind what is accepted", []string{pd + ", foo;"}, refused},
		{"wrong before it", []string{"foo=1, " + pd}, refused},
	} {
		if got := negotiate(t, true, test.lines...); got != test.want {
			t.Errorf("%s: %q: got %q, want %q", test.says, test.lines, got, test.want)
		}
		if got := negotiate(t, false, test.lines...); got != declined {
			t.Errorf("%s, where nothing is accepted: %q: got %q, want it not looked at", test.says, test.lines, got)
		}
	}
}

func TestAnOfferCanBeDeclinedAfterAll(t *testing.T) {
	p := []byte(with("Upgrade: websocket", "Upgrade: websocket\r\nSec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=15"))
	req, _, err := ReadRequest(p, new(Scan), HeadRules{BytesMax: testHeadBytes, Deflate: true})
	if err != nil || !req.Deflate {
		t.Fatalf("got %+v, %v", req, err)
	}
	req.Deflate = false
	if got := string(AppendUpgrade(nil, &req)); strings.Contains(got, "Extensions") {
		t.Errorf("got %q", got)
	}
}

func TestOffersOfPlainHTTPAreNone(t *testing.T) {
	p := []byte("GET / HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n")
	if req, _, err := ReadRequest(p, new(Scan), HeadRules{BytesMax: testHeadBytes, Deflate: true}); req.Deflate || err != rejectNoUpgrade {
		t.Errorf("got %v, %v, want the upgrade to be missed", req.Deflate, err)
	}
}
