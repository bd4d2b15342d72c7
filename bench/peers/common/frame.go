package common

import "encoding/binary"

// Opcodes of RFC 6455, section 5.2.
const (
	OpText = 0x1
	OpPong = 0xA
)

// Frame is a server's frame of a whole message (RFC 6455, section 5.2: final, not masked).
func Frame[T string | []byte](opcode byte, payload T) []byte {
	n := len(payload)
	f := make([]byte, 2, n+10)
	f[0] = 0x80 | opcode
	switch {
	case n < 126:
		f[1] = byte(n)
	case n < 1<<16:
		f[1] = 126
		f = binary.BigEndian.AppendUint16(f, uint16(n))
	default:
		f[1] = 127
		f = binary.BigEndian.AppendUint64(f, uint64(n))
	}
	return append(f, payload...)
}
