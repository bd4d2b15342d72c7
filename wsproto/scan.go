package wsproto

import "bytes"

// This file is the syntax of a request head (RFC 9112 §2 to §5), byte by byte. What its lines
// mean is head.go's.

// Scan is how far a request head that is still incomplete has been looked at; zero is its
// beginning. Who calls ReadRequest keeps it from call to call, so that each byte is looked at
// once. Else a client that sends a head of 16 KiB in segments of one byte would have it read
// from its front 16,384 times, 128 MiB in all.
type Scan struct {
	size int // bytes that are in order
	part part
}

// part is what the next byte of a head belongs to.
type part uint8

const (
	partStart   part = iota // the first byte, also of a line behind empty ones
	partEmptyLF             // behind the CR of an empty line before the request line
	partMethod
	partTarget
	partVersion   // all that is left of the request line
	partRequestLF // behind the CR of the request line
	partNameOne   // the first byte of a header line, or the CR of the empty line
	partName
	partValue
	partFieldLF // behind the CR of a header line
	partEndLF   // behind the CR of the empty line
	partEnd     // the head is complete
)

// next looks at the bytes of p that are new, up to the end of the head or of p. It gives the
// request line to h when that is whole, and stops at the first byte that cannot be right.
func (s *Scan) next(p []byte, h *head) *Rejection {
	for s.part != partEnd && s.size < len(p) {
		switch fresh := p[s.size:]; s.part {
		case partMethod, partName:
			s.size += tokenPrefix(fresh)
		case partTarget:
			s.size += targetPrefix(fresh)
		case partValue:
			s.size += valuePrefix(fresh)
		}
		if s.size == len(p) {
			return nil
		}
		was := s.part
		if r := s.step(p[s.size]); r != nil {
			return r
		}
		s.size++
		if was == partRequestLF {
			if r := h.readRequestLine(requestLine(p)); r != nil {
				return r
			}
		}
	}
	return nil
}

// step goes past one byte.
func (s *Scan) step(c byte) *Rejection {
	switch s.part {
	case partStart:
		switch {
		case c == '\x16': // a record of TLS that is a handshake (RFC 8446 §5.1)
			return RejectTLS
		case c == '\r': // empty lines are passed over (RFC 9112 §2.2)
			s.part = partEmptyLF
			return nil
		case c == 0 && s.size > 0: // as in proxySignature
			return rejectProxyUnasked
		}
		return s.firstOf(partMethod, c, rejectRequestLine)
	case partEmptyLF:
		return s.lineFeed(partStart, c)
	case partMethod:
		if c != ' ' {
			return rejectRequestLine
		}
		s.part = partTarget
	case partTarget:
		switch {
		case c == ' ':
			s.part = partVersion
		case c == '\r':
			s.part = partRequestLF
		case c == '\n':
			return rejectRequestLine
		case c >= 0x80:
			return rejectTargetByte
		default:
			return rejectTargetControl
		}
	case partVersion:
		switch {
		case c == '\r':
			s.part = partRequestLF
		case c == '\n':
			return rejectBareLF
		case c >= 0x80:
			return rejectTargetByte
		case c < ' ' || c == 0x7f:
			return rejectVersion
		}
	case partRequestLF, partFieldLF:
		return s.lineFeed(partNameOne, c)
	case partNameOne:
		switch c {
		case '\r':
			s.part = partEndLF
			return nil
		case '\n':
			return rejectBareLF
		case ' ', '\t':
			return rejectFolded
		}
		return s.firstOf(partName, c, rejectField)
	case partName:
		switch c {
		case ':':
			s.part = partValue
		case ' ', '\t':
			return rejectFieldSpace
		default:
			return rejectField
		}
	case partValue:
		switch c {
		case '\r':
			s.part = partFieldLF
		case '\n':
			return rejectBareLF
		default:
			return rejectControl
		}
	case partEndLF:
		return s.lineFeed(partEnd, c)
	}
	return nil
}

// firstOf goes on to a part that is a token, of which c is the first byte.
func (s *Scan) firstOf(next part, c byte, wrong *Rejection) *Rejection {
	if !isTokenByte[c] {
		return wrong
	}
	s.part = next
	return nil
}

// lineFeed goes on to the next line.
func (s *Scan) lineFeed(next part, c byte) *Rejection {
	if c != '\n' {
		return rejectBareCR
	}
	s.part = next
	return nil
}

// tooLong is for a head that has not ended within its bound: which of its lines is to blame.
func (s *Scan) tooLong(p []byte) *Rejection {
	if s.part <= partMethod {
		return rejectRequestLine
	}
	longest := 0
	var name []byte
	for first, rest := true, afterEmptyLines(p); len(rest) > 0; first = false {
		line, after, _ := bytes.Cut(rest, []byte("\r\n"))
		if rest = after; len(line) > longest {
			longest, name = len(line), nil
			if !first {
				name, _, _ = bytes.Cut(line, []byte(":"))
			}
		}
	}
	if name == nil {
		return rejectTargetSize(len(p)) // RFC 9110 §15.5.15
	}
	return rejectHeadSize(len(p), string(name))
}

// requestLine is the request line of a head that has got behind it, without its end.
func requestLine(p []byte) []byte {
	line := afterEmptyLines(p)
	return line[:bytes.IndexByte(line, '\r')]
}

// afterEmptyLines is p without empty lines before the request line.
func afterEmptyLines(p []byte) []byte { return bytes.TrimLeft(p, "\r\n") }

// tokenPrefix is the number of token characters at the front of b (RFC 9110 §5.6.2).
func tokenPrefix(b []byte) int {
	for i, c := range b {
		if !isTokenByte[c] {
			return i
		}
	}
	return len(b)
}

// targetPrefix is the number of bytes at the front of b that may be in a request target. Browsers
// send some, such as | and ", that a URI may not have (RFC 3986 §2), so they are let through.
func targetPrefix(b []byte) int {
	for i, c := range b {
		if c <= ' ' || c >= 0x7f {
			return i
		}
	}
	return len(b)
}

// valuePrefix is the number of bytes at the front of b that may be in a header's value: all but
// controls (RFC 9110 §5.5). Bytes beyond ASCII may be.
func valuePrefix(b []byte) int {
	for i, c := range b {
		if c < ' ' && c != '\t' || c == 0x7f {
			return i
		}
	}
	return len(b)
}
