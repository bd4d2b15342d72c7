package wsproto

import (
	"slices"
	"sync"

	"github.com/klauspost/compress/flate"
)

// deflateLevel is the level at which messages are compressed: the last one that costs little more than the first.
// JSON of three sizes, on an EPYC; what is left of it, microseconds, and the memory that a compressor holds:
//
//	             1 KiB          16 KiB         64 KiB        memory
//	stateless    47.6 %   8.6   27.5 %    54   26.1 %   183   none
//	level 1      47.5 %   8.4   26.8 %    55   25.1 %   150   480 KiB
//	level 3      46.1 %   9.0   26.0 %    61   24.2 %   263   864 KiB
//	level 5      45.5 %  10.4   24.4 %    57   22.5 %   230   736 KiB
//	level 6      45.2 %  10.5   24.1 %    89   22.2 %   261   736 KiB
//	level 7      45.2 %  18.3   23.5 %   113   21.5 %   612   992 KiB
//	level 9      45.4 %  24.1   23.0 %   293   20.3 %  2691   992 KiB
//
// The best of 24 runs each: go test ./wsproto -run '^$' -bench DeflateLevels -benchtime 10ms -count 24. A message is
// compressed once and sent to many, so what is left weighs more than the time. Without state, short messages grow.
const deflateLevel = 5

// deflaterBytesKept is the largest buffer that a deflater keeps for the next message.
const deflaterBytesKept = 64 << 10

// syncTail ends what a flush writes, and is left out (RFC 7692 §7.2.1, step 3).
const syncTail = "\x00\x00\xff\xff"

// deflaters are shared by all goroutines, since one has some hundred kilobytes: there are about as many as
// messages are compressed at the same time, and the garbage collector takes those that rest.
var deflaters = sync.Pool{New: func() any {
	d := new(deflater)
	d.flate, _ = flate.NewWriter(d, deflateLevel) // fails for a wrong level alone
	return d
}}

// deflater compresses one message after the other, each for itself.
type deflater struct {
	flate *flate.Writer
	out   []byte
}

// AppendDeflated appends frames, which are whole, final, unmasked ones, as AppendFrame makes them, with the
// payload of each text or binary frame of at least bytesMin bytes compressed (RFC 7692 §7.2.1), without
// context takeover and for a window of 15 bits. A frame that would not shrink is appended as it is, and so
// are control frames and those that are compressed already. dst must not overlap frames. Any goroutine may
// call it.
func AppendDeflated(dst, frames []byte, bytesMin int) []byte {
	var d *deflater
	for len(frames) > 0 {
		frame := frames[:frameBytes(frames)]
		frames = frames[len(frame):]
		payload := TextPayload(frame)
		if isData := frame[0] == bitFin|byte(OpText) || frame[0] == bitFin|byte(OpBinary); isData && len(payload) >= bytesMin {
			if d == nil {
				d = deflaters.Get().(*deflater)
			}
			if deflated := d.message(payload); len(deflated) < len(payload) {
				dst = slices.Grow(dst, TextFrameBytes(len(deflated)))
				at := len(dst)
				dst = appendHeader(dst, OpCode(frame[0]&^bitFin), 0, len(deflated))
				dst[at] |= bitRSV1
				dst = append(dst, deflated...)
				continue
			}
		}
		dst = append(dst, frame...)
	}
	if d != nil {
		d.giveBack()
	}
	return dst
}

// message is the payload of a compressed message, good until the next call.
func (d *deflater) message(payload []byte) []byte {
	d.out = d.out[:0]
	d.flate.Reset(d)
	d.flate.Write(payload) // none of these fails, as Write does not
	d.flate.Flush()
	return d.out[:len(d.out)-len(syncTail)]
}

// Write takes what the compressor has; it never fails.
func (d *deflater) Write(p []byte) (int, error) {
	d.out = append(d.out, p...)
	return len(p), nil
}

func (d *deflater) giveBack() {
	if cap(d.out) > deflaterBytesKept {
		d.out = nil
	}
	deflaters.Put(d)
}
