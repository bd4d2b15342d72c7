package wsproto

import (
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// StatusCode says why a connection is closed (RFC 6455 §7.4).
type StatusCode = ws.StatusCode

// Close codes by their names in the IANA registry (RFC 6455 §7.4.1 and §11.7; 1012 to
// 1014 were registered later). 1004 to 1006 and 1015 are never sent in a frame.
const (
	CloseNormal             StatusCode = 1000
	CloseGoingAway          StatusCode = 1001
	CloseProtocolError      StatusCode = 1002
	CloseUnsupportedData    StatusCode = 1003
	CloseInvalidPayload     StatusCode = 1007
	ClosePolicyViolation    StatusCode = 1008
	CloseMessageTooBig      StatusCode = 1009
	CloseMandatoryExtension StatusCode = 1010
	CloseInternalError      StatusCode = 1011
	CloseServiceRestart     StatusCode = 1012
	CloseTryAgainLater      StatusCode = 1013
	CloseBadGateway         StatusCode = 1014

	// CloseSlowClient is ringcast's own, from the private range (RFC 6455 §7.4.2): the
	// client did not read its messages fast enough and its outbox reached its bound.
	CloseSlowClient StatusCode = 4008
	// CloseTokenEnded and CloseDisconnected are for clients that may connect again: with a newer token, or when the server lets them.
	CloseTokenEnded   StatusCode = 4401
	CloseDisconnected StatusCode = 4403
)

// closeReasonBytesMax is the room in a control frame for the reason after the two bytes
// of the code (RFC 6455 §5.5.1).
const closeReasonBytesMax = controlBytesMax - closeCodeBytes

// closeCodeBytes is the size of the code at the front of a close payload (RFC 6455 §5.5.1).
const closeCodeBytes = 2

// AppendClose appends a close frame (RFC 6455 §5.5.1). Code 0 gives an empty payload,
// which is how a close without a code is answered. The reason is cut at a rune
// boundary to closeReasonBytesMax bytes; the caller owes UTF-8 and a code that may be sent.
func AppendClose(dst []byte, code StatusCode, reason string) []byte {
	if code == 0 {
		return appendHeader(dst, OpClose, 0, 0)
	}
	reason = cutAtRune(reason, closeReasonBytesMax)
	dst = appendHeader(dst, OpClose, 0, closeCodeBytes+len(reason))
	dst = append(dst, byte(code>>8), byte(code))
	return append(dst, reason...)
}

// validCloseCode reports whether a peer may send the code in a close frame (RFC 6455
// §7.4). The library's own check does not know 1012 to 1014 and accepts 5000 and above.
func validCloseCode(code StatusCode) bool {
	switch {
	case code >= 1000 && code <= 1003: // §7.4.1
		return true
	case code >= 1007 && code <= 1014: // §7.4.1 and the registry of §11.7
		return true
	case code >= 3000 && code <= 4999: // §7.4.2: libraries and private use
		return true
	}
	return false
}

// closeFault checks a close payload of which all or only the front has arrived. An empty
// payload is valid; one of a single byte is refused already by the length in its header.
func closeFault(payload []byte, whole bool) *fault {
	if len(payload) < closeCodeBytes {
		return nil
	}
	if !validCloseCode(closeCode(payload)) {
		return &faultCloseCode
	}
	var reason textChecker
	if !reason.add(payload[closeCodeBytes:]) || whole && !reason.atBorder() {
		return &faultCloseReason
	}
	return nil
}

// closeCode is the code of a payload of at least two bytes, in network order (§5.5.1).
func closeCode(payload []byte) StatusCode {
	return StatusCode(payload[0])<<8 | StatusCode(payload[1])
}

// cutAtRune is the longest prefix of s of at most bytesMax bytes that splits no rune.
func cutAtRune(s string, bytesMax int) string {
	if len(s) <= bytesMax {
		return s
	}
	cut := bytesMax
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut]
}
