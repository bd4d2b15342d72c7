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
	Upgrade bool   // a correct WebSocket opening handshake (RFC 6455 §4.2.1)
	Origin  string // the origin of the page, as sent (RFC 6454 §7); "" from clients that are no browsers

	// ForwardedFor is X-Forwarded-For, its lines joined by commas: the client's address
	// according to proxies, the nearest one last. Any client can forge it; trust only
	// what known proxies have added.
	ForwardedFor string

	accept [acceptBytes]byte
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

// ReadRequest reads one HTTP/1.1 request head from the front of p, which may hold less
// than one head, or more.
//
// n == 0 without an error: the head is incomplete; call again with the whole buffer when it
// has grown. n > 0: the head is n bytes, its empty line included, and p[n:] are the first
// frames. If req.Upgrade is true, answer with AppendUpgrade; if not, it is plain HTTP
// without anything of WebSocket, to be routed by Method and Path (the caller ignores its
// body, if any). An error is a *Rejection: answer with AppendTo, then close.
//
// Bytes are checked from left to right and each as soon as it arrives: junk is refused at
// its first byte, and the result does not depend on how the bytes were split. A head of
// more than requestHeadBytesMax bytes, its empty line included, is refused with 431 as soon
// as p has that many. A browser sends half a kilobyte, plus its cookies for the host.
func ReadRequest(p []byte, requestHeadBytesMax int) (req Request, n int, err error) {
	var h head
	n, rejection := h.read(p[:min(len(p), requestHeadBytesMax)])
	if rejection != nil {
		return Request{}, 0, rejection
	}
	if n == 0 {
		if len(p) >= requestHeadBytesMax {
			return Request{}, 0, rejectHeadSize(requestHeadBytesMax)
		}
		return Request{}, 0, nil
	}
	if rejection := h.judge(); rejection != nil {
		return Request{}, 0, rejection
	}
	req = Request{
		Method:       methodName(h.method),
		Path:         h.path,
		Upgrade:      h.isWebSocket(),
		Origin:       string(h.origin),
		ForwardedFor: string(h.forwarded),
	}
	if req.Upgrade {
		req.accept = acceptFor(h.key)
	}
	return req, n, nil
}

// AppendUpgrade appends the 101 response (RFC 6455 §4.2.2). req must be an Upgrade.
// Neither extensions nor subprotocols are accepted; leaving them out declines an offer.
func AppendUpgrade(dst []byte, req *Request) []byte {
	dst = append(dst, "HTTP/1.1 101 Switching Protocols\r\n"+
		"Upgrade: websocket\r\n"+
		"Connection: Upgrade\r\n"+
		"Sec-WebSocket-Accept: "...)
	dst = append(dst, req.accept[:]...)
	return append(dst, "\r\n\r\n"...)
}

// judge checks a whole head (RFC 6455 §4.2.1, §4.2.2).
func (h *head) judge() *Rejection {
	if h.host == nil {
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
