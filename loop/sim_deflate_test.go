package loop

import (
	"bytes"
	"compress/flate"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"

	"ringcast/wsproto"
)

// This file is compression in a simulated world. Clients of each dialect offer it, or do not, and hear the same things in the same order. Goroutines that compress run when the world lets them.

// simDeflating is what was compressed in a world.
type simDeflating struct {
	rng      *rand.Rand     // of its own: a world in which nobody compresses is as it would be without this file
	on       bool           // this world has it, though a reload may switch it off
	works    []func()       // goroutines that have been started, and have not run
	from     map[*byte]bool // forms that were compressed
	heard    uint64         // frames that came compressed
	said     uint64         // that were sent so
	beside   uint64         // goroutines that have run
	awaited  uint64         // audiences that waited for them, at looks
	panics   uint64         // compressions that have panicked
	declined uint64         // offers
}

func (d *simDeflating) begin(seed uint64) {
	d.rng = rand.New(rand.NewPCG(seed, 7692))
	d.on = d.chance(50)
}

func (d *simDeflating) chance(percent int) bool { return d.rng.IntN(100) < percent }
func (d *simDeflating) pick(of ...int) int      { return of[d.rng.IntN(len(of))] }

func (d *simDeflating) add(of *simDeflating) {
	d.heard, d.said, d.beside, d.awaited = d.heard+of.heard, d.said+of.said, d.beside+of.beside, d.awaited+of.awaited
	d.panics, d.declined = d.panics+of.panics, d.declined+of.declined
}

// deflate has a hub's deflater do what the world wants.
func (w *world) deflate() {
	d := w.hub.deflater
	w.deflating.from = map[*byte]bool{}
	d.OnLoopMax, d.Goroutines = w.deflating.pick(1, 60, 16<<10), w.deflating.pick(1, 2)
	d.Start = func(work func()) { w.deflating.works = append(w.deflating.works, work) }
	d.Compress = func(dst, frames []byte, min int) []byte {
		w.must(!w.deflating.from[&frames[0]], "%.80q is compressed a second time", frames)
		w.deflating.from[&frames[0]] = true
		if w.borrowing.cruel && w.deflating.chance(3) {
			w.deflating.panics++
			panic(simPanic{})
		}
		return appendDeflated(dst, frames, min)
	}
}

// appendDeflated is wsproto.AppendDeflated for one frame, but that it makes even the short texts of a world shorter.
func appendDeflated(dst, frame []byte, min int) []byte {
	text := string(wsproto.TextPayload(frame))
	if to := deflated(text); len(text) >= min && len(to) < len(text) {
		at := len(dst)
		dst = wsproto.AppendFrame(dst, wsproto.OpText, []byte(to))
		dst[at] |= 0x40
		return dst
	}
	return append(dst, frame...)
}

// compress has a goroutine run that was started to compress, or all of them.
func (w *world) compress(all bool) {
	d := &w.deflating
	for _, s := range w.hub.shards {
		d.awaited += uint64(len(s.passes.awaiting))
		w.must(len(s.passes.awaiting) == 0 || len(d.works) > 0 || s.passes.made.Load(), "loop %d: %d audiences wait for a form, and nobody makes one", s.index, len(s.passes.awaiting))
	}
	for len(d.works) > 0 {
		at := d.rng.IntN(len(d.works))
		work := d.works[at]
		d.works = slices.Delete(d.works, at, at+1)
		d.beside++
		if work(); !all {
			return
		}
	}
}

const simOffer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"

// offers adds an offer to a request, now and then.
func (w *world) offers(request []byte) (with []byte, offered bool) {
	if !w.deflating.on || w.deflating.chance(50) {
		return request, false
	}
	with = []byte(strings.Replace(string(request), "Sec-WebSocket-Version", simOffer+"Sec-WebSocket-Version", 1))
	return with, true
}

// accepted says whether an answer to a handshake accepts an offer.
func (w *world) accepted(answer string, offered bool) bool {
	accepted := strings.Contains(answer, "permessage-deflate")
	w.must(!accepted || offered, "nobody has offered what %q accepts", answer)
	w.must(accepted == offered || w.changing || !w.hub.bounds.Load().Compression, "an offer was declined: %q", answer)
	if offered && !accepted {
		w.deflating.declined++
	}
	return accepted
}

// inflate is the payload of a frame that came compressed, or of one that did not.
func (w *world) inflate(first *byte, payload string, deflates bool) string {
	if *first != 0xC1 {
		return payload
	}
	w.must(deflates, "a compressed frame for one who has not negotiated it")
	text, err := inflate(payload)
	w.must(err == nil && len(text) > len(payload), "%q: inflated %q, %v", payload, text, err)
	w.deflating.heard++
	*first = 0x81
	return text
}

// inflate is a compressed payload as it was.
func inflate(payload string) (string, error) {
	text, err := io.ReadAll(flate.NewReader(strings.NewReader(payload + "\x00\x00\xff\xff\x01\x00\x00\xff\xff")))
	return string(text), err
}

// clientFlates are compressors at rest: a new one takes more memory, and more time, than all else that a short world does.
var clientFlates = sync.Pool{New: func() any {
	c, _ := flate.NewWriter(nil, flate.BestCompression) // a level that there is
	return c
}}

// deflated is a payload, compressed as a client does it.
func deflated(payload string) string {
	var to bytes.Buffer
	c := clientFlates.Get().(*flate.Writer)
	defer clientFlates.Put(c)
	c.Reset(&to)
	fmt.Fprint(c, payload)
	c.Flush()
	return to.String()[:to.Len()-4]
}
