package wsproto

import (
	"encoding/binary"

	"github.com/gobwas/ws"
)

// This file reads frame headers (RFC 6455 §5.2), which may come byte by byte.

// readHead consumes a header, or as much of it as there is, from the front of p, and opens
// the frame when the header is complete.
func (r *Reader) readHead(p []byte) (used int, f *fault) {
	kept := r.headLen
	if kept == 0 {
		size, f := r.parseHead(p)
		if f != nil {
			return 0, f
		}
		if size == 0 {
			r.headLen = copy(r.head[:], p)
			return len(p), nil
		}
		return size, nil
	}
	// A part came before. Join the parts; the copy may reach into the payload, so only
	// size-kept bytes count as consumed.
	joined := r.head[:kept+copy(r.head[kept:], p)]
	size, f := r.parseHead(joined)
	if f != nil {
		return 0, f
	}
	if size == 0 {
		r.headLen = len(joined)
		return len(p), nil
	}
	r.headLen = 0
	return size - kept, nil
}

// parseHead checks the bytes of a header (RFC 6455 §5.2) from left to right, each as soon
// as it arrives, so that the result does not depend on how the bytes were split. size is 0
// while bytes are missing.
func (r *Reader) parseHead(b []byte) (size int, f *fault) {
	if len(b) == 0 {
		return 0, nil
	}
	state := ws.StateServerSide
	if r.messageOp != OpContinuation {
		state = state.Set(ws.StateFragmented)
	}
	h := ws.Header{
		Fin:    b[0]&bitFin != 0,
		Rsv:    b[0] >> 4 & 7,
		OpCode: OpCode(b[0] & 0x0f),
		Masked: true, // not known yet: check the first byte alone
	}
	deflated := r.deflated
	if r.inflater != nil {
		var f *fault
		if deflated, f = r.compressedBit(&h); f != nil {
			return 0, f
		}
	}
	if err := ws.CheckHeader(h, state); err != nil {
		return 0, &fault{CloseProtocolError, err.Error()}
	}
	if len(b) < 2 {
		return 0, nil
	}
	h.Masked = b[1]&bitMask != 0
	length := uint64(b[1] &^ bitMask)
	h.Length = int64(length)
	if err := ws.CheckHeader(h, state); err != nil {
		return 0, &fault{CloseProtocolError, err.Error()}
	}
	if h.OpCode == OpClose && length > 0 && length < closeCodeBytes {
		return 0, &faultCloseSize
	}
	size = 2
	switch length {
	case length16:
		size += 2
		if len(b) < size {
			return 0, nil
		}
		length = uint64(binary.BigEndian.Uint16(b[2:]))
		if length <= length7Max {
			return 0, &faultLengthMinimal
		}
	case length64:
		size += 8
		if len(b) > 2 && b[2]&0x80 != 0 {
			return 0, &faultLengthTopBit
		}
		if len(b) < size {
			return 0, nil
		}
		length = binary.BigEndian.Uint64(b[2:])
		if length <= length16Max {
			return 0, &faultLengthMinimal
		}
	}
	// The bound is checked on the announced length, before any memory is allocated.
	if !h.OpCode.IsControl() && length > uint64(r.bound(deflated)-len(r.message)) {
		return 0, &faultTooBig
	}
	size += maskBytes
	if len(b) < size {
		return 0, nil
	}

	r.inFrame, r.fin, r.op = true, h.Fin, h.OpCode
	r.left = int(length)
	r.mask, r.maskPos = [maskBytes]byte(b[size-maskBytes:]), 0
	if h.OpCode == OpText || h.OpCode == OpBinary {
		r.messageOp, r.deflated = h.OpCode, deflated
	}
	return size, nil
}

// compressedBit takes RSV1 out of a first byte, where it says that a message is compressed (RFC 7692 §6),
// and reports whether the message of this frame, which may be one that is open, is.
func (r *Reader) compressedBit(h *ws.Header) (deflated bool, f *fault) {
	const rsv1 = bitRSV1 >> 4
	first := h.OpCode == OpText || h.OpCode == OpBinary
	switch {
	case h.Rsv&rsv1 == 0:
		return r.deflated, nil
	case !first:
		return false, &faultCompressedBit
	}
	h.Rsv &^= rsv1
	return true, nil
}

// bound is the most that may be kept of a message. A compressed one may be a little longer than what is in
// it: five bytes a block of what cannot be compressed, and encoders of little memory make blocks of 127 bytes.
func (r *Reader) bound(deflated bool) int {
	if !deflated {
		return r.messageBytesMax
	}
	const slack = 64
	return max(r.messageBytesMax, r.messageBytesMax+r.messageBytesMax/16+slack) // the first where the sum overflows
}
