package wsproto

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
)

// Request is what a client asked for before the first frame. Its strings are its own.
type Request struct {
	Method  string
	Path    string // as sent, without the query, percent escapes not decoded; "*" for OPTIONS *
	Query   string // what is behind the path's question mark, as sent; "" if there is nothing
	Upgrade bool   // a correct WebSocket opening handshake (RFC 6455 §4.2.1)
	Origin  string // the origin of the page, as sent (RFC 6454 §7); "" from clients that are no browsers

	// ForwardedFor is X-Forwarded-For, its lines joined by commas: the client's address
	// according to proxies, the nearest one last. Any client can forge it; trust only
	// what known proxies have added.
	ForwardedFor string

	// Subprotocol is the first of the client's subprotocols that is among HeadRules.Subprotocols; "": none.
	Subprotocol string

	// Deflate: the client has offered permessage-deflate (RFC 7692) as HeadRules.Deflate allows it, and
	// AppendUpgrade accepts it. Set to false before that it is declined.
	Deflate bool

	window  bool // Deflate: the answer is to say that the window has 15 bits
	accept  [acceptBytes]byte
	bearer  []byte // see Token; nil: none
	bearers int    // headers that bring one
}

// Sizes of the handshake's two base64 texts (RFC 6455 §4.1 and §4.2.2).
const (
	keyNonceBytes = 16
	keyBytes      = (keyNonceBytes + 2) / 3 * 4 // 24
	acceptBytes   = (sha1.Size + 2) / 3 * 4     // 28
)

// acceptGUID is hashed together with the key (RFC 6455 §1.3).
const acceptGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// websocketVersion is the only version of the protocol that was standardized (RFC 6455 §4.1).
const websocketVersion = "13"

// HeadRules is what a server says of request heads.
type HeadRules struct {
	BytesMax     int      // of a head, its empty line included
	Subprotocols []string // that it knows; tokens, see IsToken
	Deflate      bool     // permessage-deflate may be accepted (RFC 7692); false: offers of extensions are not read
}

// ReadRequest reads one request head of HTTP/1.x from the front of p, which may hold less
// than one head, or more.
//
// n == 0 without an error: the head is incomplete; call again with the whole buffer when it
// has grown, and with the same scan. n > 0: the head is n bytes, its empty line included, and
// p[n:] are the first frames. If req.Upgrade is true, answer with AppendUpgrade; if not, it is
// plain HTTP without anything of WebSocket, and p[n:] are its body and further requests. An
// error is a *Rejection: answer with AppendTo, then close.
//
// Bytes are checked from left to right, each as soon as it arrives and once, and the result
// does not depend on how they were split. What the request line says is judged when it is whole,
// what the headers say when the head is. A head of more than rules.BytesMax is refused with 431
// as soon as p has that many bytes, or with 414 if the URL is to blame. A browser sends half a
// kilobyte, plus its cookies for the host.
func ReadRequest(p []byte, scan *Scan, rules HeadRules) (req Request, n int, err error) {
	h := head{known: rules.Subprotocols, deflates: rules.Deflate}
	within := p[:min(len(p), rules.BytesMax)]
	if rejection := scan.next(within, &h); rejection != nil {
		return Request{}, 0, rejection
	}
	if scan.part != partEnd {
		if len(p) >= rules.BytesMax {
			return Request{}, 0, scan.tooLong(within)
		}
		return Request{}, 0, nil
	}
	if rejection := h.readAll(p[:scan.size]); rejection != nil {
		return Request{}, 0, rejection
	}
	req = Request{
		Method:       methodName(h.method),
		Path:         h.path,
		Query:        string(h.query),
		Upgrade:      h.isWebSocket(),
		Origin:       string(h.origin),
		ForwardedFor: string(h.forwarded),
		Subprotocol:  h.subprotocol,
	}
	if req.Upgrade {
		req.Deflate, req.window = h.deflate, h.deflateWindow
		req.accept = acceptFor(h.key)
		req.bearer, req.bearers = bytes.Clone(h.bearer), h.bearers
	}
	return req, scan.size, nil
}

// AppendUpgrade appends the 101 response (RFC 6455 §4.2.2). req must be an Upgrade.
// Of extensions only permessage-deflate is accepted, without context takeover (RFC 7692 §7.1.1), and
// of subprotocols only those that the server knows; leaving the others out declines them.
func AppendUpgrade(dst []byte, req *Request) []byte {
	dst = append(dst, "HTTP/1.1 101 Switching Protocols\r\n"+
		"Upgrade: websocket\r\n"+
		"Connection: Upgrade\r\n"+
		"Sec-WebSocket-Accept: "...)
	dst = append(dst, req.accept[:]...)
	if req.Subprotocol != "" {
		dst = append(dst, "\r\nSec-WebSocket-Protocol: "...)
		dst = append(dst, req.Subprotocol...)
	}
	if req.Deflate {
		dst = appendExtension(dst, req.window)
	}
	return append(dst, "\r\n\r\n"...)
}

// IsToken reports whether a text is a token (RFC 9110 §5.6.2), as the name of a subprotocol must
// be (RFC 6455 §4.1).
func IsToken(text string) bool { return text != "" && tokenPrefix([]byte(text)) == len(text) }

// readAll reads a head whose bytes are in order. Its request line has been read already, unless
// that was in an earlier call.
func (h *head) readAll(p []byte) *Rejection {
	line := requestLine(p)
	if h.method == nil {
		if r := h.readRequestLine(line); r != nil {
			return r
		}
	}
	if r := h.readFields(afterEmptyLines(p)[len(line)+2:]); r != nil {
		return r
	}
	return h.judge()
}

// judge checks a whole head (RFC 6455 §4.2.1, §4.2.2).
func (h *head) judge() *Rejection {
	if h.host == nil && !h.old { // RFC 9112 §3.2
		return rejectNoHost
	}
	if h.contentLength != nil && h.coding != nil {
		return rejectBody // two lengths, as used for request smuggling (RFC 9112 §6.1)
	}
	if !h.isWebSocket() {
		return nil
	}
	hasBody := h.coding != nil || len(bytes.TrimLeft(h.contentLength, "0")) > 0
	switch {
	case h.old: // an Upgrade in it counts for nothing: RFC 9110 §7.8
		return rejectOldUpgrade
	case string(h.method) != "GET":
		return rejectUpgradeMethod
	case hasBody:
		return rejectUpgradeBody
	case !h.upgradeWebSocket:
		return rejectNoUpgrade
	case !h.connectionUpgrade:
		return rejectNoConnection
	case string(h.version) != websocketVersion:
		return rejectWebSocketVersion
	case h.key == nil:
		return rejectNoKey
	case !goodKey(h.key):
		return rejectKey
	}
	return nil
}

// isWebSocket reports whether the client attempts a WebSocket handshake, even an invalid
// one: then it is told what is wrong instead of being sent a page.
func (h *head) isWebSocket() bool { return h.upgradeWebSocket || h.upgradeLike || h.secWebSocket }

// goodKey reports whether the key is base64 of sixteen bytes (RFC 6455 §4.2.1).
func goodKey(key []byte) bool {
	if len(key) != keyBytes {
		return false
	}
	var nonce [keyBytes]byte
	n, err := base64.StdEncoding.Decode(nonce[:], key)
	return err == nil && n == keyNonceBytes
}

// acceptFor is the answer to a valid key (RFC 6455 §4.2.2, step 5.4).
func acceptFor(key []byte) (accept [acceptBytes]byte) {
	var text [keyBytes + len(acceptGUID)]byte
	copy(text[:], key)
	copy(text[keyBytes:], acceptGUID)
	sum := sha1.Sum(text[:])
	base64.StdEncoding.Encode(accept[:], sum[:])
	return accept
}

// methodName copies a method; the common ones need no allocation.
func methodName(method []byte) string {
	switch string(method) {
	case "GET":
		return "GET"
	case "HEAD":
		return "HEAD"
	}
	return string(method)
}
