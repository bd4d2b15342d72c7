package wsproto

import (
	"bytes"
	"io"
	"math"
	"unicode/utf8"

	"github.com/klauspost/compress/flate"
)

// Inflater takes compressed messages apart (RFC 7692 §7.2.2), one after the other and of any client, as no
// message needs what was in an earlier one. It has some 50 KB of tables, so an owner has one for all its
// clients and lends it to a Reader. One goroutine at a time.
type Inflater struct {
	flate interface {
		io.Reader
		flate.Resetter
	}
	source bytes.Reader
	in     []byte // a message that lay in the caller's bytes, and the tail
	out    []byte
}

const (
	// inflateTail goes behind each message: the four bytes that its sender has taken off the end of an
	// empty block (RFC 7692 §7.2.2), and a final empty block, so that the end of the message is an end and
	// not a lack of bytes.
	inflateTail = "\x00\x00\xff\xff" + "\x01\x00\x00\xff\xff"

	// inflatedBytesFirst is the first allocation for inflated messages; the next is inflaterBytesKept.
	inflatedBytesFirst = 4 << 10
	// inflaterBytesKept is the largest buffer of either side that outlives its message: one of 64 KiB, and a byte
	// of room, in which its end is found.
	inflaterBytesKept = 64<<10 + 1
)

// NewInflater returns an inflater that may serve any number of readers, one at a time.
func NewInflater() *Inflater {
	in := &Inflater{}
	in.flate = flate.NewReader(&in.source).(interface {
		io.Reader
		flate.Resetter
	})
	return in
}

// Held is the number of bytes in the buffers of this inflater, without its tables.
func (in *Inflater) Held() int { return cap(in.in) + cap(in.out) }

// borrowed inflates a message that lies in the caller's bytes, to which nothing may be appended.
func (in *Inflater) borrowed(message []byte, bytesMax int) ([]byte, *fault) {
	in.in = append(append(in.in[:0], message...), inflateTail...)
	return in.message(in.in, bytesMax)
}

// message inflates a message with its tail, to at most bytesMax bytes, which are good until the next call.
//
// A message is a row of blocks. One of them may be marked as final: what is behind it begins at the next
// byte, with an empty window (RFC 7692 §7.2.1), so it is inflated as a stream of its own; no garbage is
// passed over. A sender should put an empty block there, of which a zero byte is left (§7.2.3.4), but one
// that forgets it means the same. A message of no bytes at all should be one (§7.2.3.6), and is read as
// empty: zlib makes it of the second empty message in a row.
func (in *Inflater) message(deflated []byte, bytesMax int) (out []byte, f *fault) {
	in.out = in.out[:0]
	bytesMax = min(bytesMax, math.MaxInt-1) // a byte more is read, to see that a message is too long
	if len(deflated) == len(inflateTail) {
		return in.out, nil
	}
	in.source.Reset(deflated)
	for f == nil {
		in.flate.Reset(&in.source, nil) // its error is always nil
		f = in.stream(bytesMax)
		if left := in.source.Len(); left == 0 || left == len(inflateTail) {
			break
		}
	}
	in.source.Reset(nil)
	return in.out, f
}

// stream inflates up to the end of a final block. The buffer grows with what has been inflated.
func (in *Inflater) stream(bytesMax int) *fault {
	for {
		if len(in.out) == cap(in.out) {
			room := inflatedBytesFirst
			switch {
			case cap(in.out) >= inflaterBytesKept:
				room = 2 * cap(in.out)
			case cap(in.out) > 0:
				room = inflaterBytesKept
			}
			in.out = append(make([]byte, 0, min(room, bytesMax+1)), in.out...)
		}
		n, err := in.flate.Read(in.out[len(in.out):min(cap(in.out), bytesMax+1)])
		in.out = in.out[:len(in.out)+n]
		switch {
		case len(in.out) > bytesMax:
			return &faultTooBig
		case err == io.EOF:
			return nil
		case err != nil:
			return &faultDeflate
		}
	}
}

// release gives large buffers back; the last message is gone then.
func (in *Inflater) release() {
	if cap(in.in) > inflaterBytesKept {
		in.in = nil
	}
	if cap(in.out) > inflaterBytesKept {
		in.out = nil
	}
}

// readDeflated does the same for a compressed message. It is inflated when it is whole: to do that piece by
// piece would need a window of 32 KiB for each client that has sent a part of one.
func (r *Reader) readDeflated(payload []byte, whole bool) (ev Event, f *fault) {
	var out []byte
	wire := len(r.message) + len(payload)
	switch {
	case whole && r.fin && len(r.message) == 0:
		out, f = r.inflater.borrowed(payload, r.messageBytesMax)
	default:
		r.keep(payload)
		if !whole || !r.fin {
			return Event{}, nil
		}
		r.message = append(r.message, inflateTail...)
		out, f = r.inflater.message(r.message, r.messageBytesMax)
		r.dropMessage()
	}
	isText := r.messageOp == OpText
	r.messageOp, r.deflated, r.spent = OpContinuation, false, true
	if f == nil && isText && !utf8.Valid(out) {
		f = &faultText
	}
	return Event{Kind: dataKind(isText), Payload: out, Deflated: true, WireBytes: uint32(min(uint64(wire), math.MaxUint32))}, f
}
