package wsproto

import (
	"encoding/binary"

	"github.com/gobwas/ws"
)

// OpCode says what a frame carries (RFC 6455 §5.2).
type OpCode = ws.OpCode

// The opcodes in use (RFC 6455 §5.2, registry in §11.8). All others are reserved.
const (
	OpContinuation = ws.OpContinuation // 0x0, §5.4
	OpText         = ws.OpText         // 0x1, §5.6
	OpBinary       = ws.OpBinary       // 0x2, §5.6
	OpClose        = ws.OpClose        // 0x8, §5.5.1
	OpPing         = ws.OpPing         // 0x9, §5.5.2
	OpPong         = ws.OpPong         // 0xA, §5.5.3
)

// controlBytesMax is the most that a ping, pong or close may carry, in bytes (RFC 6455 §5.5).
const controlBytesMax = ws.MaxControlFramePayloadSize

// The bits of a frame's first two bytes (RFC 6455 §5.2).
const (
	bitFin  = 0x80 // first byte: the last frame of its message
	bitRSV1 = 0x40 // first byte: of a message that is compressed, the first frame (RFC 7692 §6)
	bitMask = 0x80 // second byte: a four-byte masking key follows the length

	length7Max  = 125 // the largest length that the second byte holds by itself
	length16    = 126 // marks a length in the next two bytes
	length64    = 127 // marks a length in the next eight bytes
	length16Max = 1<<16 - 1

	maskBytes = 4
	// frameHeaderBytesMax is the longest header: two bytes, a 64-bit length, a masking key.
	frameHeaderBytesMax = 2 + 8 + maskBytes
)

// AppendFrame appends one final, unmasked frame, as a server sends it (RFC 6455 §5.1, §5.2).
// For a control opcode the caller owes at most controlBytesMax bytes of payload.
func AppendFrame(dst []byte, op OpCode, payload []byte) []byte {
	dst = appendHeader(dst, op, 0, len(payload))
	return append(dst, payload...)
}

// AppendTextHeader appends the header of one final, unmasked text frame. The caller owes
// exactly payloadBytes bytes of UTF-8 after it.
func AppendTextHeader(dst []byte, payloadBytes int) []byte {
	return appendHeader(dst, OpText, 0, payloadBytes)
}

// TextFrameBytes is the size in bytes of the whole frame whose header AppendTextHeader
// writes: what to allocate so that a packet is built without growing.
func TextFrameBytes(payloadBytes int) int {
	switch {
	case payloadBytes <= length7Max:
		return 2 + payloadBytes
	case payloadBytes <= length16Max:
		return 4 + payloadBytes
	default:
		return 10 + payloadBytes
	}
}

// TextPayload is the payload of a whole frame that AppendTextHeader began; it shares the frame's
// memory.
func TextPayload(frame []byte) []byte {
	switch frame[1] {
	case length16:
		return frame[4:]
	case length64:
		return frame[10:]
	default:
		return frame[2:]
	}
}

// frameBytes is the size of the whole unmasked frame that p begins with.
func frameBytes(p []byte) int {
	switch length := int(p[1]); length {
	case length16:
		return 4 + int(binary.BigEndian.Uint16(p[2:]))
	case length64:
		return 10 + int(binary.BigEndian.Uint64(p[2:]))
	default:
		return 2 + length
	}
}

// AppendMaskedFrame appends one final frame masked with the given key, as a client must
// send it (RFC 6455 §5.3). payload itself is not changed. The caller owes an
// unpredictable mask, unless it is a test or a load generator.
func AppendMaskedFrame(dst []byte, op OpCode, mask [4]byte, payload []byte) []byte {
	dst = appendHeader(dst, op, bitMask, len(payload))
	dst = append(dst, mask[:]...)
	start := len(dst)
	dst = append(dst, payload...)
	ws.Cipher(dst[start:], mask, 0)
	return dst
}

// AppendPing appends a ping (RFC 6455 §5.5.2). A payload beyond controlBytesMax is cut:
// a longer control frame would oblige the peer to fail the connection.
func AppendPing(dst, payload []byte) []byte {
	return AppendFrame(dst, OpPing, payload[:min(len(payload), controlBytesMax)])
}

// AppendPong appends a pong (RFC 6455 §5.5.3), whose payload is that of the ping it
// answers. A payload beyond controlBytesMax is cut, as in AppendPing.
func AppendPong(dst, payload []byte) []byte {
	return AppendFrame(dst, OpPong, payload[:min(len(payload), controlBytesMax)])
}

// appendHeader writes the shortest length form that fits; any other is an error (§5.2).
func appendHeader(dst []byte, op OpCode, mask byte, payloadBytes int) []byte {
	first := bitFin | byte(op)
	switch {
	case payloadBytes <= length7Max:
		return append(dst, first, mask|byte(payloadBytes))
	case payloadBytes <= length16Max:
		return append(dst, first, mask|length16, byte(payloadBytes>>8), byte(payloadBytes))
	default:
		dst = append(dst, first, mask|length64)
		return binary.BigEndian.AppendUint64(dst, uint64(payloadBytes))
	}
}
