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

	host, origin, key, version []byte
	contentLength, coding      []byte
	forwarded                  []byte // the lines of X-Forwarded-For, joined; not borrowed once there are two
	forwardedLines             int

	upgradeWebSocket  bool // Upgrade lists websocket
	upgradeLike       bool // Upgrade lists something similar, such as websocket/13
	connectionUpgrade bool // Connection lists upgrade
	secWebSocket      bool // there is some Sec-WebSocket-* header
}

// read goes through the lines of b. n is 0 while the empty line is missing.
func (h *head) read(b []byte) (n int, r *Rejection) {
	for first := true; ; first = false {
		line := b[n:]
		size := bytes.IndexAny(line, "\r\n")
		ended := size >= 0
		if ended {
			line = line[:size]
		}
		var name, value []byte
		if first {
			r = h.readRequestLine(line, ended)
		} else {
			name, value, r = splitField(line, ended)
		}
		if r != nil {
			return 0, r
		}
		if !ended {
			return 0, nil
		}
		if b[n+size] == '\n' {
			return 0, rejectBareLF
		}
		if n+size+1 == len(b) {
			return 0, nil
		}
		if b[n+size+1] != '\n' {
			return 0, rejectBareCR
		}
		n += size + 2
		if first {
			continue
		}
		if size == 0 {
			return n, nil
		}
		if r = h.take(name, value); r != nil {
			return 0, r
		}
	}
}

// readRequestLine checks "GET /path HTTP/1.1" (RFC 9112 §3), or its front if the line has
// not ended yet.
func (h *head) readRequestLine(line []byte, ended bool) *Rejection {
	size := tokenPrefix(line)
	if size == len(line) && !ended {
		return nil
	}
	if size == 0 || size == len(line) || line[size] != ' ' {
		if line = line[:min(len(line), 1)]; string(line) == "\x16" {
			return rejectTLS
		}
		return rejectRequestLine
	}
	h.method = line[:size]
	rest := line[size+1:]

	size = 0
	for size < len(rest) && rest[size] > ' ' && rest[size] < 0x7f {
		size++
	}
	if size == len(rest) && !ended {
		return nil
	}
	if size == len(rest) || rest[size] != ' ' {
		return rejectRequestLine
	}
	var ok bool
	if h.path, ok = targetPath(rest[:size], string(h.method) == "OPTIONS"); !ok {
		return rejectTarget
	}
	rest = rest[size+1:]

	// A newer minor version means a client that can also speak 1.1 (RFC 9110 §2.5).
	const version = "HTTP/1."
	for i, c := range rest {
		if i < len(version) && c != version[i] || i == len(version) && (c < '1' || c > '9') || i > len(version) {
			return rejectVersion
		}
	}
	if ended && len(rest) <= len(version) {
		return rejectVersion
	}
	return nil
}

// targetPath is the path of a request target (RFC 9112 §3.2), without its query.
func targetPath(target []byte, isOptions bool) (path string, ok bool) {
	if len(target) == 0 {
		return "", false
	}
	if target[0] == '/' {
		if i := bytes.IndexByte(target, '?'); i >= 0 {
			target = target[:i]
		}
		if len(target) == 1 {
			return "/", true // the common one, without a copy
		}
		return string(target), goodEscapes(target)
	}
	if string(target) == "*" {
		return "*", isOptions
	}
	// The absolute form, which a server must accept although it is only sent to proxies.
	u, err := url.ParseRequestURI(string(target))
	if err != nil || u.Host == "" {
		return "", false
	}
	switch u.Scheme {
	case "http", "https", "ws", "wss":
	default:
		return "", false
	}
	if path = u.EscapedPath(); path == "" {
		path = "/"
	}
	return path, true
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

// splitField checks a header line (RFC 9112 §5), or its front if it has not ended yet.
func splitField(line []byte, ended bool) (name, value []byte, r *Rejection) {
	if len(line) == 0 {
		return nil, nil, nil
	}
	if line[0] == ' ' || line[0] == '\t' {
		return nil, nil, rejectFolded
	}
	size := tokenPrefix(line)
	if size == len(line) {
		if ended {
			return nil, nil, rejectField
		}
		return nil, nil, nil
	}
	if size == 0 || line[size] != ':' {
		return nil, nil, rejectField
	}
	value = line[size+1:]
	for _, c := range value {
		if c < ' ' && c != '\t' || c == 0x7f {
			return nil, nil, rejectControl
		}
	}
	return line[:size], bytes.Trim(value, " \t"), nil
}

// take stores a relevant header. Those that would be ambiguous if repeated are refused.
func (h *head) take(name, value []byte) *Rejection {
	switch {
	case equalFold(name, "host"):
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
		if !equalFold(value, "chunked") {
			return rejectBody
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

// tokenPrefix is the number of token characters at the front of b (RFC 9110 §5.6.2).
func tokenPrefix(b []byte) int {
	for i, c := range b {
		if !isTokenByte[c] {
			return i
		}
	}
	return len(b)
}

var isTokenByte = func() (is [256]bool) {
	for c := range is {
		is[c] = c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' || c != 0 && strings.IndexByte("!#$%&'*+-.^_`|~", byte(c)) >= 0
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
