package wsproto

import (
	"bytes"
	"net/url"
	"slices"
	"strings"
)

// head collects the relevant parts of a request head. Its byte slices are borrowed from the
// buffer; nil is a header that was not sent.
type head struct {
	method []byte
	path   string
	query  []byte
	old    bool // HTTP/1.0

	host, origin, key, version []byte
	contentLength, coding      []byte
	forwarded                  []byte // the lines of X-Forwarded-For, joined; not borrowed once there are two
	forwardedLines             int
	bearer                     []byte // the token of Authorization
	bearers                    int    // such lines

	upgradeWebSocket  bool // Upgrade lists websocket
	upgradeLike       bool // Upgrade lists something similar, such as websocket/13
	connectionUpgrade bool // Connection lists upgrade
	secWebSocket      bool // there is some Sec-WebSocket-* header

	known       []string // subprotocols that the server knows
	subprotocol string   // the first of them that the client has named

	deflates      bool // permessage-deflate may be accepted
	deflate       bool // it is
	deflateWindow bool // and the answer is to name the window's size
}

// readRequestLine reads "GET /path HTTP/1.1" (RFC 9112 §3), in which there is a space.
func (h *head) readRequestLine(line []byte) (r *Rejection) {
	method, rest, _ := bytes.Cut(line, []byte(" "))
	target, version, _ := bytes.Cut(rest, []byte(" "))
	switch {
	case len(target) == 0:
		return rejectRequestLine
	case string(method) == "PROXY" && target[0] != '/':
		return rejectProxyUnasked
	}
	h.method = method
	if h.old, r = readVersion(version); r == nil {
		h.path, h.query, r = splitTarget(target, method)
	}
	return r
}

// readVersion checks what is behind the target. old: it is HTTP/1.0.
func readVersion(text []byte) (old bool, r *Rejection) {
	const name = "HTTP/" // in capitals (RFC 9112 §2.3)
	if at := bytes.LastIndex(text, []byte(" "+name)); at >= 0 {
		if _, r := readVersion(text[at+1:]); r == nil {
			return false, rejectTargetSpace
		}
	}
	if !bytes.HasPrefix(text, []byte(name)) {
		return false, rejectRequestLine
	}
	digits := text[len(name):]
	whole := len(digits) == 3 && isDecimal(digits[:1]) && digits[1] == '.' && isDecimal(digits[2:])
	switch {
	case whole && digits[0] == '1':
		// A newer minor version means a client that can also speak 1.1 (RFC 9110 §2.5).
		return digits[2] == '0', nil
	case whole || len(digits) == 1 && isDecimal(digits):
		return false, rejectMajorVersion
	}
	return false, rejectVersion
}

// splitTarget is the path of a request target (RFC 9112 §3.2), and its query.
func splitTarget(target, method []byte) (path string, query []byte, r *Rejection) {
	switch {
	case bytes.IndexByte(target, '#') >= 0: // RFC 6455 §3
		return "", nil, rejectFragment
	case target[0] == '/':
		target, query, _ = bytes.Cut(target, []byte("?")) // escapes in a query are not checked: browsers send %zz as it is
		if len(target) == 1 {
			return "/", query, nil // the common one, without a copy
		}
		if !goodEscapes(target) {
			return "", nil, rejectEscape
		}
		return string(target), query, nil
	case string(method) == "CONNECT":
		return "", nil, rejectConnect
	case string(target) == "*" && string(method) == "OPTIONS":
		return "*", nil, nil
	}
	// The absolute form, which a server must accept although it is only sent to proxies. Its
	// authority must have a host and should have no user (RFC 9110 §4.2.1, §4.2.4).
	u, err := url.ParseRequestURI(string(target))
	if err != nil || u.Hostname() == "" || u.User != nil {
		return "", nil, rejectTarget
	}
	switch u.Scheme {
	case "http", "https", "ws", "wss":
	default:
		return "", nil, rejectTarget
	}
	if path = u.EscapedPath(); path == "" {
		path = "/"
	}
	return path, []byte(u.RawQuery), nil
}

// goodHost reports whether a value of Host is a host, or none, and perhaps a port (RFC 9112 §3.2,
// RFC 3986 §3.2.2).
func goodHost(host []byte) bool {
	inner, literal := bytes.CutPrefix(host, []byte("["))
	var port []byte
	if literal {
		var rest []byte
		var closed, more bool
		host, rest, closed = bytes.Cut(inner, []byte("]"))
		if port, more = bytes.CutPrefix(rest, []byte(":")); !closed || len(host) == 0 || len(rest) > 0 && !more {
			return false
		}
	} else {
		host, port, _ = bytes.Cut(host, []byte(":"))
	}
	for _, c := range host {
		if !isHostByte[c] && !(literal && c == ':') {
			return false
		}
	}
	return goodEscapes(host) && (len(port) == 0 || isDecimal(port))
}

// goodEscapes reports whether each percent sign has its two hexadecimal digits.
func goodEscapes(path []byte) bool {
	for i := 0; i < len(path); i++ {
		if path[i] == '%' {
			if i+2 >= len(path) || !isHex(path[i+1]) || !isHex(path[i+2]) {
				return false
			}
		}
	}
	return true
}

// readFields reads the header lines of a head that is complete, behind its request line.
func (h *head) readFields(p []byte) *Rejection {
	for {
		size := bytes.IndexByte(p, '\r')
		if size == 0 {
			return nil
		}
		line := p[:size]
		p = p[size+2:]
		colon := bytes.IndexByte(line, ':')
		if r := h.take(line[:colon], bytes.Trim(line[colon+1:], " \t")); r != nil {
			return r
		}
	}
}

// take stores a relevant header. Those that would be ambiguous if repeated are refused.
func (h *head) take(name, value []byte) *Rejection {
	switch {
	case equalFold(name, "host"):
		if !goodHost(value) {
			return rejectHost
		}
		return once(&h.host, value, rejectHostTwice)
	case equalFold(name, "origin"):
		return once(&h.origin, value, rejectOriginTwice)
	case equalFold(name, "x-forwarded-for"):
		// Each proxy appends to the line or adds a line; both make a list (RFC 9110 §5.3). It
		// grows by append: a copy for each line would make a head of many lines expensive.
		if h.forwardedLines++; h.forwardedLines == 1 {
			h.forwarded = value
			return nil
		}
		if h.forwardedLines == 2 {
			h.forwarded = slices.Clip(h.forwarded) // the memory after it is the peer's
		}
		h.forwarded = append(append(h.forwarded, ','), value...)
	case equalFold(name, "authorization"):
		if token, is := bearerToken(value); is {
			h.bearer = token
			h.bearers++
		}
	case equalFold(name, "content-length"):
		if r := once(&h.contentLength, value, rejectBody); r != nil {
			return r
		}
		if !isDecimal(value) {
			return rejectBody
		}
	case equalFold(name, "transfer-encoding"):
		if r := once(&h.coding, value, rejectBody); r != nil {
			return r
		}
		if h.old { // RFC 9112 §6.1
			return rejectBody
		}
		if !equalFold(value, "chunked") {
			return rejectCoding
		}
	case equalFold(name, "upgrade"):
		h.upgradeWebSocket = h.upgradeWebSocket || listHas(value, "websocket")
		h.upgradeLike = h.upgradeLike || listHasPrefix(value, "websocket")
	case equalFold(name, "connection"):
		h.connectionUpgrade = h.connectionUpgrade || listHas(value, "upgrade")
	case len(name) > len(secWebSocket) && equalFold(name[:len(secWebSocket)], secWebSocket):
		h.secWebSocket = true
		switch rest := name[len(secWebSocket):]; {
		case equalFold(rest, "key"): // at most once: RFC 6455 §11.3.1
			return once(&h.key, value, rejectKeyTwice)
		case equalFold(rest, "version"): // at most once: RFC 6455 §11.3.5
			return once(&h.version, value, rejectVersionTwice)
		case equalFold(rest, "protocol"): // several lines are one list: RFC 6455 §11.3.4
			return h.choose(value)
		case equalFold(rest, "extensions") && h.deflates: // likewise: §11.3.2
			return h.consider(value)
		}
	}
	return nil
}

// secWebSocket is the prefix of the headers of the handshake (RFC 6455 §11.3).
const secWebSocket = "sec-websocket-"

// once stores a value that may be sent only once.
func once(at *[]byte, value []byte, twice *Rejection) *Rejection {
	if *at != nil {
		return twice
	}
	if value == nil {
		value = []byte{}
	}
	*at = value
	return nil
}

// choose takes the first subprotocol of the client's list that the server knows, unless an earlier
// line had one. Names are compared byte by byte (RFC 6455 §4.2.2, step 5.5).
func (h *head) choose(list []byte) *Rejection {
	bad := listAny(list, func(name []byte) bool {
		if h.subprotocol == "" {
			for _, known := range h.known {
				if string(name) == known {
					h.subprotocol = known
				}
			}
		}
		return tokenPrefix(name) < len(name) // RFC 6455 §4.1, item 10
	})
	if bad {
		return rejectSubprotocol
	}
	return nil
}

// listHas reports whether a comma-separated list has the token, in any case (RFC 9110 §5.6.1).
func listHas(list []byte, token string) bool {
	return listAny(list, func(element []byte) bool { return equalFold(element, token) })
}

// listHasPrefix reports whether an element of the list begins with the text, in any case.
func listHasPrefix(list []byte, lower string) bool {
	return listAny(list, func(element []byte) bool {
		return len(element) >= len(lower) && equalFold(element[:len(lower)], lower)
	})
}

// listAny reports whether any element of a comma-separated list fits.
func listAny(list []byte, will func(element []byte) bool) bool {
	for len(list) > 0 {
		element := list
		if i := bytes.IndexByte(list, ','); i >= 0 {
			element, list = list[:i], list[i+1:]
		} else {
			list = nil
		}
		if will(bytes.Trim(element, " \t")) {
			return true
		}
	}
	return false
}

// equalFold compares with a lower-case ASCII text, in any case. (bytes.EqualFold knows
// all of Unicode, in which K and the Kelvin sign are the same.)
func equalFold(b []byte, lower string) bool {
	if len(b) != len(lower) {
		return false
	}
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

var isTokenByte = func() (is [256]bool) {
	for c := range is {
		is[c] = c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' || c != 0 && strings.IndexByte("!#$%&'*+-.^_`|~", byte(c)) >= 0
	}
	return is
}()

// isHostByte says what a registered name may have beside escapes: unreserved and sub-delims.
var isHostByte = func() (is [256]bool) {
	for c := range is {
		is[c] = c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' || c != 0 && strings.IndexByte("-._~!$&'()*+,;=%", byte(c)) >= 0
	}
	return is
}()

// isDecimal bounds the digits so that the number fits any integer; the body is not read.
func isDecimal(b []byte) bool {
	for _, c := range b {
		if c-'0' > 9 {
			return false
		}
	}
	return len(b) > 0 && len(b) <= 18
}

func isHex(c byte) bool {
	return c-'0' <= 9 || c|0x20 >= 'a' && c|0x20 <= 'f'
}
