package bus

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
)

// A frame is its own total length in four bytes, big-endian, and a body. An empty body is a ping, which is not answered.

const frameHeadBytes = 4

// FrameBytesMaxDefault is the largest frame that Workerman accepts by default; a longer one ends the link.
const FrameBytesMaxDefault = 10 << 20

var ping = []byte{0, 0, 0, frameHeadBytes}

// badFrame is a peer's fault: after what it sent, reading cannot go on.
type badFrame struct{ text string }

func (e badFrame) Error() string { return e.text }

func badFramef(format string, args ...any) error { return badFrame{fmt.Sprintf(format, args...)} }

// readFrame reads one frame and returns its body, which is in buf's memory if there is room in it. Memory is allocated as
// bytes arrive, not as the header announces them. A stream that ends between two frames gives io.EOF. begin, unless it is
// nil, is called with the length of the body before any memory is allocated for it, and may end the reading.
func readFrame(r *bufio.Reader, buf []byte, bytesMax int, begin func(bodyBytes int) error) (body []byte, err error) {
	var head [frameHeadBytes]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, cutShort(err)
	}
	total := int64(binary.BigEndian.Uint32(head[:]))
	if total < frameHeadBytes {
		return nil, badFramef("a frame of %d bytes, shorter than its own header", total)
	}
	if total > int64(bytesMax) {
		return nil, badFramef("a frame of %d bytes, more than the %d allowed", total, bytesMax)
	}
	if begin != nil {
		if err := begin(int(total) - frameHeadBytes); err != nil {
			return nil, err
		}
	}
	body = buf[:0]
	for left := int(total) - frameHeadBytes; left > 0; {
		from := len(body)
		if from == cap(body) {
			body = slices.Grow(body, min(left, max(from, growBytesMin)))
		}
		body = body[:min(cap(body), from+left)]
		if _, err := io.ReadFull(r, body[from:]); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return nil, cutShort(err)
		}
		left -= len(body) - from
	}
	return body, nil
}

// growBytesMin is what is allocated for a body before any of it has arrived.
const growBytesMin = 4 << 10

func cutShort(err error) error {
	if err == io.ErrUnexpectedEOF {
		return badFrame{"the stream ended within a frame"}
	}
	return err
}

// newFrame begins a frame whose body will have about so many bytes; sealFrame writes its length.
func newFrame(bodyBytes int) []byte { return make([]byte, frameHeadBytes, frameHeadBytes+bodyBytes) }

func sealFrame(frame []byte) []byte {
	binary.BigEndian.PutUint32(frame, uint32(len(frame)))
	return frame
}
