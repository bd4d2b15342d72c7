package client

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Opcodes of RFC 6455, section 5.2.
const (
	opText   = 0x1
	opBinary = 0x2
	opClose  = 0x8
	opPing   = 0x9
	opPong   = 0xA

	// FrameHeaderMax is the length of the longest frame header.
	FrameHeaderMax = 14
	// frameBytesMax bounds a payload that a server may send us, where a frame has one message: a bench's texts stay well below,
	// and anything larger is a fault of the server, and ends the connection.
	frameBytesMax = 128 << 10
)

var (
	errMasked     = errors.New("the server masked a frame (RFC 6455, 5.1)")
	errReserved   = errors.New("a frame with reserved bits (RFC 6455, 5.2)")
	errFragment   = errors.New("a fragmented message, where servers send one frame")
	errBadControl = errors.New("a control frame over 125 bytes (RFC 6455, 5.5)")
)

// header is one frame header of a server. size is the length of the header itself in bytes; 0 means that more bytes are
// needed.
type header struct {
	op      byte
	packed  bool // the payload is compressed
	size    int
	payload int
}

// parseHeader reads the header of a server's frame from the start of b. Only what servers are known to send is accepted:
// unmasked, whole messages, payloads of up to most bytes; compressed ones where packs says that this was agreed on.
func parseHeader(b []byte, most int, packs bool) (header, error) {
	if len(b) < 2 {
		return header{}, nil
	}
	h := header{op: b[0] & 0x0F, size: 2, payload: int(b[1] & 0x7F)}
	switch {
	case b[1]&0x80 != 0:
		return h, errMasked
	case b[0]&0x70 == 0x40 && packs && h.op < opClose: // RSV1, RFC 7692, section 6
		h.packed = true
	case b[0]&0x70 != 0:
		return h, errReserved
	}
	switch {
	case b[0]&0x80 == 0 || h.op == 0:
		return h, errFragment
	case h.op >= opClose && h.payload > 125:
		return h, errBadControl
	}
	switch h.payload {
	case 126:
		if len(b) < 4 {
			return header{}, nil
		}
		h.size, h.payload = 4, int(binary.BigEndian.Uint16(b[2:]))
	case 127:
		if len(b) < 10 {
			return header{}, nil
		}
		length := binary.BigEndian.Uint64(b[2:])
		if length > uint64(most) {
			return h, tooLong(most)
		}
		h.size, h.payload = 10, int(length)
	}
	if h.payload > most {
		return h, tooLong(most)
	}
	return h, nil
}

func tooLong(most int) error { return fmt.Errorf("a frame over %d bytes", most) }

// AppendTextHeader appends the header of a client's frame for a text of n bytes. The caller appends the text and then
// masks it in place, by Mask: that saves the copy that a function with the text as an argument would need.
func AppendTextHeader(dst []byte, n int, key [4]byte) []byte {
	return appendHeader(dst, opText, n, key)
}

// appendHeader appends the header of a client's frame: masked, FIN.
func appendHeader(dst []byte, op byte, n int, key [4]byte) []byte {
	switch {
	case n < 126:
		dst = append(dst, 0x80|op, 0x80|byte(n))
	case n < 1<<16:
		dst = append(dst, 0x80|op, 0x80|126, byte(n>>8), byte(n))
	default:
		dst = append(dst, 0x80|op, 0x80|127)
		dst = binary.BigEndian.AppendUint64(dst, uint64(n))
	}
	return append(dst, key[:]...)
}

// appendFrame appends a whole masked frame.
func appendFrame(dst []byte, op byte, payload []byte, key [4]byte) []byte {
	dst = appendHeader(dst, op, len(payload), key)
	start := len(dst)
	dst = append(dst, payload...)
	Mask(dst[start:], key)
	return dst
}

// Mask masks what follows a header with that header's key.
func Mask(b []byte, key [4]byte) {
	word := uint64(binary.LittleEndian.Uint32(key[:]))
	word |= word << 32
	for len(b) >= 8 {
		binary.LittleEndian.PutUint64(b, binary.LittleEndian.Uint64(b)^word)
		b = b[8:]
	}
	for i := range b {
		b[i] ^= key[i&3]
	}
}

// closeCause describes a server's Close payload, for the list of causes.
func closeCause(payload []byte) string {
	if len(payload) < 2 {
		return "closed by the server without a code"
	}
	code := binary.BigEndian.Uint16(payload)
	if len(payload) == 2 {
		return fmt.Sprintf("closed by the server with %d", code)
	}
	return fmt.Sprintf("closed by the server with %d %q", code, payload[2:])
}
