package wsproto

import (
	"bytes"
	"compress/flate"
	"io"
	"slices"
	"testing"
)

// slowInflate is the oracle of compressed messages: the standard library's inflater, on a message and its tail.
// The code is that of the fault, 0: none.
func slowInflate(message []byte, bytesMax int) (plain []byte, code StatusCode) {
	if len(message) == 0 {
		return nil, 0
	}
	rest := bytes.NewReader(append(slices.Clone(message), 0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff))
	for {
		more, err := io.ReadAll(io.LimitReader(flate.NewReader(rest), int64(bytesMax+1-len(plain))))
		plain = append(plain, more...)
		switch {
		case len(plain) > bytesMax:
			return nil, 1009
		case err != nil:
			return nil, 1007
		case rest.Len() == 0 || rest.Len() == 9: // nothing is left, or nothing but what was added
			return plain, 0
		}
	}
}

// compressed is a message as the standard library compresses it for a client.
func compressed(t testing.TB, level int, pieces ...[]byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, level)
	if err != nil {
		t.Fatal(err)
	}
	for _, piece := range pieces {
		w.Write(piece)
		w.Flush()
	}
	return bytes.TrimSuffix(b.Bytes(), []byte{0, 0, 0xff, 0xff})
}

// inFrames is a message in masked frames, cut where the bytes of cuts say; first is the first byte of its first
// frame, without the bit of the last.
func inFrames(first byte, payload, cuts []byte) (stream []byte) {
	pieces := splits(payload, cuts)
	for i, piece := range pieces {
		if i == len(pieces)-1 {
			first |= bitFin
		}
		stream = append(stream, frame(first, string(piece))...)
		first = 0
	}
	return stream
}

// What the fuzzer writes is, by way, a stream of frames, the payload of a compressed message, or a message that is
// compressed first, so that it finds its way both into the inflater and through it.
func FuzzInflate(f *testing.F) {
	const messageBytesMax = 3000
	for _, seed := range []struct {
		bytes []byte
		way   byte
	}{
		{frame(0xc1, "\xf2\x48\xcd\xc9\xc9\x07\x00"), 0},
		{slices.Concat(frame(0x41, "\xf2\x48\xcd"), frame(0x89, "ping"), frame(0x80, "\xc9\xc9\x07\x00")), 0},
		{slices.Concat(frame(0xc1, "\x00"), frame(0x81, "plain"), frame(0xc2, "\x02\x00"), frame(0x89, "")), 0},
		{slices.Concat(frame(0x41, "\x00"), frame(0xc0, "")), 0}, {frame(0xc9, ""), 0}, {frame(0xe1, ""), 0},
		{slices.Concat(frame(0x41, ""), frame(0xc1, "")), 0}, {slices.Concat(frame(0x01, ""), frame(0xc0, "")), 0},
		{[]byte("\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), 1}, {[]byte("\xf3\x48\xcd\xc9\xc9\x07\x00"), 1},
		{[]byte("\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"), 1},
		{[]byte("\x00\x05\x00\xfa\xffHello\x00"), 1}, {[]byte("\x01\x05\x00\xfa\xffHello\xf2\x48\xcd\xc9\xc9\x07\x00"), 1},
		{[]byte("\xf2\x00\x11\x00\x00"), 1}, {[]byte("\x01\x09\x00\xf6\xff"), 1}, {[]byte("\x00\x04\x00\xfb\xff"), 1}, {[]byte("\x07"), 1}, {nil, 1},
		{compressed(f, 9, make([]byte, messageBytesMax)), 3}, {compressed(f, 9, make([]byte, messageBytesMax+1)), 3},
		{compressed(f, 1, jsonOf(2000)), 1}, {compressed(f, 6, jsonOf(500), jsonOf(900)), 1}, {compressed(f, 0, jsonOf(700)), 1},
		{[]byte("Hello"), 2}, {jsonOf(2000), 2}, {[]byte("組組組"), 2}, {[]byte("\xed\xa0\x80"), 2}, {make([]byte, messageBytesMax+1), 4},
	} {
		f.Add(seed.bytes, []byte{1, 2, 3, 5, 8, 13, 21}, seed.way)
		f.Add(seed.bytes, []byte{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, seed.way)
		f.Add(seed.bytes, []byte{}, seed.way)
	}
	in := NewInflater() // of all runs: nothing of one may be in another
	f.Fuzz(func(t *testing.T, stream, cuts []byte, way byte) {
		ops := []byte{bitRSV1 | byte(OpText), bitRSV1 | byte(OpBinary)}
		switch way % 5 {
		case 1, 3:
			stream = inFrames(ops[way%5/2], stream, cuts)
		case 2, 4:
			stream = inFrames(ops[way%5/3], compressed(t, int(way/5)%10, splits(stream, cuts)...), cuts)
		}
		whole := readDeflating(t, in, messageBytesMax, stream)
		if cut := readDeflating(t, in, messageBytesMax, splits(stream, cuts)...); !slices.EqualFunc(cut, whole, sameEvent) {
			t.Fatalf("cut: got %v, want as whole %v", cut, whole)
		}
		if got := in.Held(); got > 2*inflaterBytesKept {
			t.Fatalf("got %d bytes held by the inflater, want at most %d", got, 2*inflaterBytesKept)
		}
		if want := slowRead(stream, messageBytesMax, true); !slices.EqualFunc(whole, want, sameEvent) {
			t.Fatalf("got %v, want as the oracle %v", whole, want)
		}
	})
}

// readDeflating are the events of a client that may compress, without their sentences. Held and Idle are looked at as well.
func readDeflating(t testing.TB, in *Inflater, messageBytesMax int, pieces ...[]byte) (events []Event) {
	t.Helper()
	r := NewReader(messageBytesMax)
	r.Inflate(in)
	arrived := 0
	for _, piece := range pieces {
		arrived += len(piece)
		for rest := bytes.Clone(piece); len(rest) > 0; {
			n, ev := r.Next(rest)
			rest = rest[n:]
			if ev.Kind == EventNone {
				continue
			}
			if ev.Payload, ev.Reason = bytes.Clone(ev.Payload), ""; ev.Deflated != (ev.WireBytes > 0) && len(ev.Payload) > 0 {
				t.Fatalf("got %d bytes on the wire of %v of %d bytes", ev.WireBytes, ev.Kind, len(ev.Payload))
			}
			events = append(events, ev)
		}
		limit := messageBytesMax + messageBytesMax/16 + 64 + len(inflateTail) + controlBytesMax
		if got, want := r.Held(), min(limit, 2*arrived+messageBytesFirst+controlBytesMax+len(inflateTail)); got > want {
			t.Fatalf("after %d bytes: got %d bytes held, want at most %d", arrived, got, want)
		}
	}
	return events
}

// sameEvent compares what an oracle knows.
func sameEvent(a, b Event) bool {
	return a.Kind == b.Kind && a.Code == b.Code && a.Deflated == b.Deflated && bytes.Equal(a.Payload, b.Payload)
}
