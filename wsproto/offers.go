package wsproto

import "bytes"

// This file reads what a client offers in Sec-WebSocket-Extensions (RFC 6455 §9.1) and takes the first
// permessage-deflate (RFC 7692) that asks for nothing else than what this server does: no context
// takeover in either direction, and windows of 15 bits. An idle client then costs nothing, and a message
// is compressed once for all who hear it.

// extension is the name of what is accepted (RFC 7692 §7). Names are compared byte by byte, as those of
// subprotocols are; x-webkit-deflate-frame, of old Safari, is another protocol and stays unanswered.
const extension = "permessage-deflate"

// windowBits is the size of both windows, as a power of two (RFC 7692 §7.1.2): deflate's own. Smaller
// ones would be compressed for again.
const windowBits = "15"

// offer is one extension of the list, as far as it has been read.
type offer struct {
	wrong  bool      // it cannot be accepted; the others can
	seen   parameter // of permessage-deflate, to notice what comes twice
	window bool      // server_max_window_bits=15 was asked for, and is to be answered
}

// parameter is a set of permessage-deflate's parameters (RFC 7692 §7.1).
type parameter uint8

const (
	parameterServerTakeover parameter = 1 << iota // server_no_context_takeover
	parameterClientTakeover                       // client_no_context_takeover
	parameterServerWindow                         // server_max_window_bits
	parameterClientWindow                         // client_max_window_bits
)

// consider reads a line of offers; several lines are one list (RFC 6455 §9.1). A list that breaks the
// grammar fails the handshake, as the same section wants; what is only unknown or of a wrong value
// declines its own offer (RFC 7692 §7.1). All of a list is read, so that whether a head is refused does
// not depend on what stands where.
func (h *head) consider(p []byte) *Rejection {
	for p = skipSpace(p); len(p) > 0; p = skipSpace(p) {
		if p[0] == ',' { // also empty elements are passed over (RFC 9110 §5.6.1.2)
			p = p[1:]
			continue
		}
		o, rest, ok := readOffer(p)
		if !ok || len(rest) > 0 && rest[0] != ',' {
			return rejectExtensions
		}
		if p = rest; !o.wrong && !h.deflate {
			h.deflate, h.deflateWindow = true, o.window
		}
	}
	return nil
}

// readOffer reads one element of the list; false: it is none. Blanks may be anywhere between its parts
// (RFC 6455 §9.1: "implied *LWS").
func readOffer(p []byte) (o offer, rest []byte, ok bool) {
	name, p := cutToken(p)
	o.wrong = string(name) != extension
	if len(name) == 0 {
		return o, nil, false
	}
	for p = skipSpace(p); len(p) > 0 && p[0] == ';'; p = skipSpace(p) {
		var value []byte
		if name, p = cutToken(skipSpace(p[1:])); len(name) == 0 {
			return o, nil, false
		}
		if p = skipSpace(p); len(p) > 0 && p[0] == '=' {
			if value, p, ok = cutParameterValue(skipSpace(p[1:])); !ok {
				return o, nil, false
			}
		}
		o.add(name, value)
	}
	return o, p, true
}

// add looks at one parameter; a value of nil is none. Both takeover parameters are in the answer whether
// they were asked for or not, which a server may do (RFC 7692 §7.1.1), so they change nothing.
func (o *offer) add(name, value []byte) {
	var p parameter
	switch string(name) {
	case "server_no_context_takeover":
		p = parameterServerTakeover
		o.wrong = o.wrong || value != nil
	case "client_no_context_takeover":
		p = parameterClientTakeover
		o.wrong = o.wrong || value != nil
	case "server_max_window_bits": // §7.1.2.1: a demand, so it is met or the offer declined
		p = parameterServerWindow
		o.wrong = o.wrong || string(value) != windowBits
		o.window = true
	case "client_max_window_bits": // §7.1.2.2: a hint, which needs no answer: whatever window a client uses is read
		p = parameterClientWindow
		o.wrong = o.wrong || value != nil && !goodWindowBits(value)
	}
	o.wrong = o.wrong || p == 0 || o.seen&p != 0
	o.seen |= p
}

// goodWindowBits reports whether a value is 8 to 15, without zeros in front (RFC 7692 §7.1.2).
func goodWindowBits(value []byte) bool {
	switch len(value) {
	case 1:
		return value[0] == '8' || value[0] == '9'
	case 2:
		return value[0] == '1' && value[1] >= '0' && value[1] <= '5'
	}
	return false
}

// cutParameterValue reads a token, or a quoted string that is a token within (RFC 6455 §9.1).
func cutParameterValue(p []byte) (value, rest []byte, ok bool) {
	quoted, is := bytes.CutPrefix(p, []byte{'"'})
	if !is {
		value, rest = cutToken(p)
		return value, rest, len(value) > 0
	}
	for i := 0; i < len(quoted); i++ {
		switch c := quoted[i]; {
		case c == '"':
			return value, quoted[i+1:], len(value) > 0
		case c == '\\':
			if i++; i == len(quoted) {
				return nil, nil, false
			}
		}
		if !isTokenByte[quoted[i]] {
			return nil, nil, false
		}
		value = append(value, quoted[i])
	}
	return nil, nil, false
}

// cutToken splits a token off; nothing: there is none.
func cutToken(p []byte) (token, rest []byte) {
	n := tokenPrefix(p)
	return p[:n], p[n:]
}

func skipSpace(p []byte) []byte { return bytes.TrimLeft(p, " \t") }

// appendExtension appends the answer to an accepted offer (RFC 7692 §7.1), without its end.
func appendExtension(dst []byte, window bool) []byte {
	dst = append(dst, "\r\nSec-WebSocket-Extensions: "+extension+"; server_no_context_takeover; client_no_context_takeover"...)
	if window {
		dst = append(dst, "; server_max_window_bits="+windowBits...)
	}
	return dst
}
