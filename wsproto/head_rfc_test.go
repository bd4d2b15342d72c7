package wsproto

import (
	"strings"
	"testing"
)

// What the RFCs say of the head of a request, sentence by sentence: MUST, SHOULD and MAY are the
// RFC's, in few words. Where a MAY is not used, or a sentence is not followed, the case says why.
func TestHeadsAreReadByTheSentencesOfTheRFCs(t *testing.T) {
	const (
		get     = "GET /chat HTTP/1.1"
		host    = "Host: server.example.com"
		upgrade = "Upgrade: websocket"
		connect = "Connection: Upgrade"
		key     = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
		version = "Sec-WebSocket-Version: 13"
		offer   = "Sec-WebSocket-Protocol: chat, superchat"
	)
	plain := func(line string, headers ...string) string {
		return line + "\r\nHost: a\r\n" + strings.Join(append(headers, ""), "\r\n") + "\r\n"
	}
	bare := func(lines ...string) string { return strings.Join(lines, "\r\n") + "\r\n\r\n" }
	wrong := func(r *Rejection) string { return showHandshake(Request{}, 0, r) }
	const ok = "upgrade /chat"
	for _, test := range []struct{ section, says, head, want string }{
		// RFC 9112: HTTP/1.1.
		{"9112 §2.2", "SHOULD ignore at least one empty line before the request line", "\r\n" + rfcHandshake, ok},
		{"9112 §2.2", "at least one: here any number", "\r\n\r\n\r\n" + rfcHandshake, ok},
		{"9112 §2.2", "MAY take a single LF for a line's end; not taken: what a proxy takes for one line must not be two here", "GET / HTTP/1.1\nHost: a\n\n", wrong(rejectBareLF)},
		{"9112 §2.2", "a bare CR MUST be invalid or a space", with(host, host+"\r\nX: a\rb"), wrong(rejectBareCR)},
		{"9112 §2.2", "a bare CR before CR LF too", with(host, host+"\r\nX: a\r"), wrong(rejectBareCR)},
		{"9112 §2.2", "white space before the first header: MUST reject, or ignore the line", with(host, " "+host), wrong(rejectFolded)},
		{"9112 §2.3", "the version is case-sensitive", bare("GET / http/1.1", "Host: a"), wrong(rejectRequestLine)},
		{"9112 §2.3", "one digit, a dot, one digit", plain("GET / HTTP/1.10"), wrong(rejectVersion)},
		{"9112 §2.3", "no digits", plain("GET / HTTP/1.x"), wrong(rejectVersion)},
		{"9112 §3", "no white space behind the version", plain("GET / HTTP/1.1 "), wrong(rejectVersion)},
		{"9112 §3", "MAY split at any white space; not done: two parsers must see one target", plain("GET\t/\tHTTP/1.1"), wrong(rejectRequestLine)},
		{"9112 §3", "one space and no more", plain("GET  / HTTP/1.1"), wrong(rejectRequestLine)},
		{"9112 §3", "RECOMMENDED to read request lines of 8,000 bytes", with(get, "GET /chat?"+strings.Repeat("q", 8000)+" HTTP/1.1"), ok},
		{"9112 §3", "a target that is too long MUST be answered 414", "GET /" + strings.Repeat("x", testHeadBytes), wrong(rejectTargetSize(testHeadBytes))},
		{"9112 §3.1", "a method is a token", plain("GE(T / HTTP/1.1"), wrong(rejectRequestLine)},
		{"9112 §3.1", "a method is case-sensitive", with(get, "get /chat HTTP/1.1"), wrong(rejectUpgradeMethod)},
		{"9112 §3.1", "methods of any name are read, and judged by the caller", plain("M-SEARCH / HTTP/1.1"), "plain M-SEARCH /"},
		{"9112 §3.2", "white space in a target: SHOULD be answered 400", plain("GET /a b HTTP/1.1"), wrong(rejectTargetSpace)},
		{"9112 §3.2", "bytes beyond ASCII in a target: likewise", plain("GET /組 HTTP/1.1"), wrong(rejectTargetByte)},
		{"9112 §3.2", "and behind a space", plain("GET /a 組 HTTP/1.1"), wrong(rejectTargetByte)},
		{"9112 §3.2", "control characters in a target: likewise", plain("GET /\x7f HTTP/1.1"), wrong(rejectTargetControl)},
		{"9112 §3.2", "HTTP/1.1 without Host: MUST be answered 400", with(host, ""), wrong(rejectNoHost)},
		{"9112 §3.2", "HTTP/1.2 without Host: likewise", bare("GET / HTTP/1.2"), wrong(rejectNoHost)},
		{"9112 §3.2", "HTTP/1.0 without Host: no sentence against it", bare("GET / HTTP/1.0"), "plain GET /"},
		{"9112 §3.2", "Host twice: MUST be answered 400", with(host, host+"\r\n"+host), wrong(rejectHostTwice)},
		{"9112 §3.2", "also in HTTP/1.0", bare("GET / HTTP/1.0", "Host: a", "Host: b"), wrong(rejectHostTwice)},
		{"9112 §3.2", "Host with an invalid value: MUST be answered 400", with(host, "Host: a b"), wrong(rejectHost)},
		{"9112 §3.2", "a list is one", with(host, "Host: a, b"), wrong(rejectHost)},
		{"9112 §3.2", "a user is one", with(host, "Host: me@a"), wrong(rejectHost)},
		{"9112 §3.2", "a URL is one", with(host, "Host: http://a"), wrong(rejectHost)},
		{"9112 §3.2", "a port is digits", with(host, "Host: a:b"), wrong(rejectHost)},
		{"9112 §3.2", "a host beyond ASCII is one", with(host, "Host: bücher.example"), wrong(rejectHost)},
		{"9112 §3.2", "also in HTTP/1.0", bare("GET / HTTP/1.0", "Host: a/b"), wrong(rejectHost)},
		{"3986 §3.2.2", "brackets without their end are one", with(host, "Host: [::1"), wrong(rejectHost)},
		{"3986 §3.2.2", "and without address", with(host, "Host: []:80"), wrong(rejectHost)},
		{"3986 §3.2.2", "and with more behind than a port", with(host, "Host: [::1]80"), wrong(rejectHost)},
		{"3986 §3.2.2", "IPv6 stands in brackets", with(host, "Host: ::1"), wrong(rejectHost)},
		{"3986 §3.2.2", "and is right there, with an empty port too (§3.2.3)", with(host, "Host: [2001:db8::1]:"), ok},
		{"3986 §3.2.2", "names may have underscores and escapes", with(host, "Host: my_host.%C3%BC:80"), ok},
		{"9112 §3.2", "an empty one is right where the target has no authority", with(host, "Host:"), ok},
		{"9112 §3.2.1", "the path and the query", with(get, "GET /chat?a=b?/:@ HTTP/1.1"), ok},
		{"9112 §3.2.2", "MUST accept the absolute form", with(get, "GET http://server.example.com/chat HTTP/1.1"), ok},
		{"9112 §3.2.2", "with a scheme in any case", with(get, "GET WSS://[::1]:443/chat?x HTTP/1.1"), ok},
		{"9112 §3.2.2", "MUST ignore Host then, which still has to be there", with(get, "GET http://other.example/chat HTTP/1.1"), ok},
		{"9112 §3.2.2", "also in HTTP/1.0", bare("GET http://a/x HTTP/1.0"), "plain GET /x"},
		{"9112 §3.2.3", "the authority form is for CONNECT alone, which this server does not do", plain("CONNECT a:80 HTTP/1.1"), wrong(rejectConnect)},
		{"9112 §3.2.3", "not for others", plain("GET a:80 HTTP/1.1"), wrong(rejectTarget)},
		{"9112 §3.2.4", "the asterisk is for OPTIONS", plain("OPTIONS * HTTP/1.1"), "plain OPTIONS *"},
		{"9112 §3.2.4", "not for others", plain("GET * HTTP/1.1"), wrong(rejectTarget)},
		{"9112 §5", "white space around a value is no part of it", with(key, "Sec-WebSocket-Key:\t dGhlIHNhbXBsZSBub25jZQ== \t"), ok},
		{"9112 §5.1", "white space before the colon: MUST be answered 400", with(host, "Host : a"), wrong(rejectFieldSpace)},
		{"9112 §5.1", "a tab too", with(host, "Host\t: a"), wrong(rejectFieldSpace)},
		{"9112 §5.2", "a folded line: MUST be answered 400, or unfolded", with(host, host+"\r\n\tx"), wrong(rejectFolded)},
		{"9112 §6.1", "a coding that is not understood: SHOULD be answered 501", plain("POST / HTTP/1.1", "Transfer-Encoding: gzip, chunked"), wrong(rejectCoding)},
		{"9112 §6.1", "chunked is understood", plain("POST / HTTP/1.1", "Transfer-Encoding: Chunked"), "plain POST /"},
		{"9112 §6.1", "a coding and a length: MAY reject; done: it is how requests are smuggled", plain("POST / HTTP/1.1", "Content-Length: 1", "Transfer-Encoding: chunked"), wrong(rejectBody)},
		{"9112 §6.1", "a coding in HTTP/1.0: MUST be taken for broken", bare("POST / HTTP/1.0", "Transfer-Encoding: chunked"), wrong(rejectBody)},
		{"9112 §6.3", "a length that is no number: MUST be answered 400", plain("POST / HTTP/1.1", "Content-Length: +1"), wrong(rejectBody)},
		{"9112 §6.3", "lengths that differ: MUST be answered 400", plain("POST / HTTP/1.1", "Content-Length: 1, 2"), wrong(rejectBody)},
		{"9112 §6.3", "the same length again: MAY reject; done: nobody sends it in good faith", plain("POST / HTTP/1.1", "Content-Length: 1", "Content-Length: 1"), wrong(rejectBody)},

		// RFC 9110: what the fields mean.
		{"9110 §2.5", "a higher minor version: as the highest that one speaks", with(get, "GET /chat HTTP/1.9"), ok},
		{"9110 §2.5", "a lower one: the major version is the same", bare("HEAD /healthz HTTP/1.0", "Connection: keep-alive"), "plain HEAD /healthz"},
		{"9110 §4.2.1", "a URL without host MUST be rejected", plain("GET http:///chat HTTP/1.1"), wrong(rejectTarget)},
		{"9110 §4.2.1", "also with a port", plain("GET http://:80/chat HTTP/1.1"), wrong(rejectTarget)},
		{"9110 §4.2.4", "a URL with a user: SHOULD be an error", plain("GET http://me:pw@a/chat HTTP/1.1"), wrong(rejectTarget)},
		{"9110 §5.1", "names are case-insensitive", strings.NewReplacer(host, strings.ToUpper(host), key, strings.Replace(key, "Sec-WebSocket-Key", "sEC-wEBSOCKET-kEY", 1)).Replace(rfcHandshake), ok},
		{"9110 §5.3", "lines of a list are one list", with(connect, "Connection: keep-alive\r\nConnection: foo, Upgrade"), ok},
		{"9110 §5.5", "NUL: MUST be rejected, or made a space", with(host, host+"\r\nX: a\x00"), wrong(rejectControl)},
		{"9110 §5.5", "other controls: MAY be kept; not done, as net/http does not", with(host, host+"\r\nX: \x1b[1m"), wrong(rejectControl)},
		{"9110 §5.5", "bytes beyond ASCII are in order", with(host, host+"\r\nX: \x80\xff"), ok},
		{"9110 §5.5", "tabs and spaces within too", with(host, host+"\r\nX: a \t b"), ok},
		{"9110 §5.5", "and no value", with(host, host+"\r\nX:"), ok},
		{"9110 §5.6.1", "empty elements of a list MUST be ignored", with(upgrade, "Upgrade: ,, websocket ,"), ok},
		{"9110 §5.6.2", "every token character may be in a name", with(host, host+"\r\n!#$%&'*+-.^_`|~09azAZ: x"), ok},
		{"9110 §5.6.2", "no other may", with(host, host+"\r\nX@: x"), wrong(rejectField)},
		{"9110 §5.6.2", "none beyond ASCII", with(host, host+"\r\nÜ: x"), wrong(rejectField)},
		{"9110 §5.6.2", "and not no character", with(host, host+"\r\n: x"), wrong(rejectField)},
		{"9110 §7.8", "an Upgrade in HTTP/1.0 MUST be ignored; what asks for a WebSocket is told so", with(get, "GET /chat HTTP/1.0"), wrong(rejectOldUpgrade)},
		{"9110 §7.8", "what asks for something else is plain", bare("GET / HTTP/1.0", "Upgrade: h2c"), "plain GET /"},
		{"9110 §7.8", "an Upgrade to what one does not speak MAY be ignored", plain("GET / HTTP/1.1", "Upgrade: h2c, HTTP/3.0", connect), "plain GET /"},
		{"9110 §7.8", "Upgrade without its name in Connection is for nobody", with(connect, "Connection: close"), wrong(rejectNoConnection)},
		{"9110 §8.6", "a length of many digits must not overflow", plain("POST / HTTP/1.1", "Content-Length: 99999999999999999999"), wrong(rejectBody)},
		{"9110 §15.6.6", "another major version: 505", plain("GET / HTTP/2.0"), wrong(rejectMajorVersion)},
		{"9110 §15.6.6", "also an older one", plain("GET / HTTP/0.9"), wrong(rejectMajorVersion)},
		{"9110 §15.6.6", "also as people write it", plain("GET / HTTP/3"), wrong(rejectMajorVersion)},
		{"9113 §3.4", "the preface of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", wrong(rejectMajorVersion)},

		// RFC 6455: the opening handshake.
		{"6455 §3", "no fragment in a WebSocket's URL", with(get, "GET /chat#x HTTP/1.1"), wrong(rejectFragment)},
		{"6455 §4.1 (2)", "GET", with(get, "PUT /chat HTTP/1.1"), wrong(rejectUpgradeMethod)},
		{"6455 §4.2.1 (1)", "HTTP/1.1 or higher", with(get, "GET /chat HTTP/1.0"), wrong(rejectOldUpgrade)},
		{"6455 §4.2.1 (3)", "Upgrade has websocket, in any case", with(upgrade, "Upgrade: WEBSOCKET"), ok},
		{"6455 §4.2.1 (3)", "among others", with(upgrade, "Upgrade: websocket, foo/2"), ok},
		{"6455 §4.2.1 (3)", "websocket with a version is another protocol", with(upgrade, "Upgrade: websocket/13"), wrong(rejectNoUpgrade)},
		{"6455 §4.2.1 (4)", "Connection has Upgrade, in any case", with(connect, "Connection: UPGRADE"), ok},
		{"6455 §4.2.1 (5)", "a key", with(key, ""), wrong(rejectNoKey)},
		{"6455 §4.2.1 (5)", "of 16 bytes when decoded", with(key, "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAA"), wrong(rejectKey)},
		{"6455 §4.2.1 (5)", "whatever its unused bits are (RFC 4648 §3.5: MAY reject)", with(key, "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAB=="), ok},
		{"6455 §4.2.1 (6)", "version 13", with(version, "Sec-WebSocket-Version: 7"), wrong(rejectWebSocketVersion)},
		{"6455 §4.2.1 (7)", "Origin may be missing", with("Origin: http://example.com", ""), ok},
		{"6455 §4.2.1 (8)", "subprotocols may be missing", with(offer, ""), ok},
		{"6455 §4.2.1 (8)", "they are tokens, else it is answered 400", with(offer, "Sec-WebSocket-Protocol: a/b"), wrong(rejectSubprotocol)},
		{"6455 §4.2.1 (8)", "with commas between them", with(offer, "Sec-WebSocket-Protocol: a b"), wrong(rejectSubprotocol)},
		{"6455 §4.2.1 (8)", "at least one; let through, as clients send an empty line for none", with(offer, "Sec-WebSocket-Protocol:"), ok},
		{"6455 §4.1 (10)", "all of them different; not looked at: the first that is known counts", with(offer, "Sec-WebSocket-Protocol: a, a"), ok},
		{"6455 §4.2.1 (9)", "extensions need not be understood", with(offer, "Sec-WebSocket-Extensions: foo; bar=1"), ok},
		{"6455 §4.2.1 (10)", "other headers are ignored", with(offer, "X-Other: x"), ok},
		{"6455 §4.4", "another version is told which is spoken, a list of them too", with(version, "Sec-WebSocket-Version: 13, 8"), wrong(rejectWebSocketVersion)},
		{"6455 §11.3.1", "the key MUST NOT be there twice", with(key, key+"\r\n"+key), wrong(rejectKeyTwice)},
		{"6455 §11.3.4", "subprotocols may be on several lines", with(offer, "Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: b"), ok},
		{"6455 §11.3.5", "the version MUST NOT be there twice", with(version, version+"\r\n"+version), wrong(rejectVersionTwice)},
		{"6454 §7.3", "Origin MUST NOT be there twice", with("Origin: http://example.com", "Origin: null\r\nOrigin: null"), wrong(rejectOriginTwice)},
		{"9110 §9.3.1", "a body of GET MAY be rejected; done: its bytes would be taken for frames", with(host, host+"\r\nContent-Length: 1"), wrong(rejectUpgradeBody)},

		// What is no HTTP.
		{"8446 §5.1", "TLS on the port of plain HTTP", "\x16\x03\x01\x00\xf1\x01", wrong(RejectTLS)},
		{"proxy-protocol §2.1", "a PROXY header that nobody has asked for", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + rfcHandshake, wrong(rejectProxyUnasked)},
		{"proxy-protocol §2.1", "also of a health check", "PROXY UNKNOWN\r\n" + rfcHandshake, wrong(rejectProxyUnasked)},
		{"proxy-protocol §2.2", "and of version 2", proxySignature, wrong(rejectProxyUnasked)},
	} {
		if got := showHandshake(readHead([]byte(test.head), testHeadBytes)); got != test.want {
			t.Errorf("RFC %s, %s:\ngot  %q\nwant %q", test.section, test.says, got, test.want)
		}
		checkPrefixes(t, []byte(test.head))
	}
}

// What has been read is not read again: a client that sends byte by byte costs as much as another.
func TestEachByteOfAHeadIsLookedAtOnce(t *testing.T) {
	var scan Scan
	p := []byte("GET / HTTP/1.1\r\nHost: a\r\nCookie: ")
	for size := range len(p) + 1 {
		if _, n, err := ReadRequest(p[:size], &scan, HeadRules{BytesMax: testHeadBytes}); n != 0 || err != nil {
			t.Fatalf("after %d bytes: got %d, %v", size, n, err)
		}
	}
	for range 1000 {
		clear(p) // were it read again, it would be refused
		p = append(p, 'c')
		if _, n, err := ReadRequest(p, &scan, HeadRules{BytesMax: testHeadBytes}); n != 0 || err != nil {
			t.Fatalf("after %d bytes, with those before the last overwritten: got %d, %v, want them not looked at", len(p), n, err)
		}
	}
}

func TestTheFirstSubprotocolOfTheClientThatTheServerKnowsIsAnswered(t *testing.T) {
	const offer = "Sec-WebSocket-Protocol: chat, superchat"
	for _, test := range []struct {
		known []string
		lines string
		want  string
	}{
		{nil, offer, ""},
		{[]string{"superchat", "chat"}, offer, "chat"},
		{[]string{"superchat", "chat"}, "sec-websocket-protocol:superchat,chat", "superchat"},
		{[]string{"chat"}, "Sec-WebSocket-Protocol: x, chat", "chat"},
		{[]string{"chat"}, "Sec-WebSocket-Protocol: x\r\nX-Other: y\r\nSec-WebSocket-Protocol: , y ,\tchat", "chat"},
		{[]string{"a", "b"}, "Sec-WebSocket-Protocol: b\r\nSec-WebSocket-Protocol: a", "b"},
		{[]string{"chat"}, "Sec-WebSocket-Protocol: Chat, CHAT, chats, cha", ""},
		{[]string{"chat"}, "Sec-WebSocket-Protocol: x", ""},
		{[]string{"chat"}, "Sec-WebSocket-Protocol:", ""},
		{[]string{"chat"}, "Sec-WebSocket-Protocols: chat", ""},
	} {
		p := []byte(with(offer, test.lines))
		req, n, err := ReadRequest(p, new(Scan), HeadRules{BytesMax: testHeadBytes, Subprotocols: test.known})
		if n != len(p) || req.Subprotocol != test.want {
			t.Errorf("%q, known %q: got %q (%v), want %q", test.lines, test.known, req.Subprotocol, err, test.want)
			continue
		}
		clear(p)
		response, _ := readResponse(t, AppendUpgrade(nil, &req), "GET")
		if got := response.Header.Values("Sec-WebSocket-Protocol"); strings.Join(got, ";") != test.want || response.StatusCode != 101 {
			t.Errorf("%q, known %q: got %s with the subprotocol %q, want %q or no header", test.lines, test.known, response.Status, got, test.want)
		}
	}
}

func TestASubprotocolIsChosenWithoutAnAllocation(t *testing.T) {
	p := []byte(rfcHandshake)
	read := func(known ...string) float64 {
		return testing.AllocsPerRun(100, func() {
			var scan Scan
			if _, n, _ := ReadRequest(p, &scan, HeadRules{BytesMax: testHeadBytes, Subprotocols: known}); n == 0 {
				t.Fatal("got a head that is not complete")
			}
		})
	}
	if none, some := read(), read("x", "superchat"); some != none || none > 2 {
		t.Errorf("allocations: got %v, and %v with subprotocols, want 2 for path and origin in both cases", none, some)
	}
}
