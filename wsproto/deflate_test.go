package wsproto

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
)

// plainFrames is what AppendDeflated has made, inflated by the standard library and framed anew, and for each frame whether it was
// compressed.
func plainFrames(t testing.TB, frames []byte) (plain []byte, was []bool) {
	t.Helper()
	for len(frames) > 0 {
		frame := frames[:frameBytes(frames)]
		frames = frames[len(frame):]
		deflated := frame[0]&bitRSV1 != 0
		payload := TextPayload(frame)
		if deflated {
			var code StatusCode
			if payload, code = slowInflate(payload, 64<<20); code != 0 {
				t.Fatalf("a frame of %d bytes does not inflate: %d", len(frame), code)
			}
		}
		if frame[0]&bitFin == 0 || frame[1]&bitMask != 0 {
			t.Fatalf("got a frame that begins with %x, want it whole and unmasked", frame[:2])
		}
		plain, was = AppendFrame(plain, OpCode(frame[0]&0x0f), payload), append(was, deflated)
	}
	return plain, was
}

func TestFramesAreCompressedWhereThatMakesThemSmaller(t *testing.T) {
	text := func(s string) []byte { return AppendFrame(nil, OpText, []byte(s)) }
	long := strings.Repeat("again and ", 100)
	for _, test := range []struct {
		name   string
		frames []byte
		min    int
		want   []bool
	}{
		{"nothing", nil, 1, nil},
		{"a text", text(long), 256, []bool{true}},
		{"a binary", AppendFrame(nil, OpBinary, []byte(long)), 256, []bool{true}},
		{"below the bound", text(long), len(long) + 1, []bool{false}},
		{"at the bound", text(long), len(long), []bool{true}},
		{"one that would grow", text("Hi"), 1, []bool{false}},
		{"an empty one", text(""), 0, []bool{false}},
		{"noise", AppendFrame(nil, OpBinary, noise(5000)), 1, []bool{false}},
		{"control frames", slices.Concat(AppendPing(nil, bytes.Repeat([]byte("p"), 125)), AppendPong(nil, bytes.Repeat([]byte("p"), 125)), AppendClose(nil, 1000, strings.Repeat("c", 100))), 1, []bool{false, false, false}},
		{"a batch", slices.Concat(text(long), text("Hi"), AppendPing(nil, nil), text(strings.Repeat(long, 70)), AppendFrame(nil, OpBinary, make([]byte, 500))), 256, []bool{true, false, false, true, true}},
		{"a length of 16 bits that becomes one of 7", text(strings.Repeat("a", 1000)), 1, []bool{true}},
		{"a length of 64 bits that becomes one of 7", text(strings.Repeat("a", 70_000)), 1, []bool{true}},
	} {
		before := bytes.Clone(test.frames)
		got := AppendDeflated([]byte("front"), test.frames, test.min)
		if !bytes.HasPrefix(got, []byte("front")) || !bytes.Equal(test.frames, before) {
			t.Fatalf("%s: got what was there before changed", test.name)
		}
		plain, was := plainFrames(t, got[len("front"):])
		if !bytes.Equal(plain, test.frames) || !slices.Equal(was, test.want) {
			t.Errorf("%s: got compressed %v, equal %v, want %v", test.name, was, bytes.Equal(plain, test.frames), test.want)
		}
		if len(got)-len("front") > len(test.frames) {
			t.Errorf("%s: got %d bytes of %d, want it never to grow", test.name, len(got)-len("front"), len(test.frames))
		}
		// What is compressed already is not compressed again, and stands as it was.
		if again := AppendDeflated(nil, got[len("front"):], test.min); !bytes.Equal(again, got[len("front"):]) {
			t.Errorf("%s: a second time it is changed", test.name)
		}
	}
}

// A message must need nothing of an earlier one: whoever comes late, or lost one, could not read it.
func TestEachMessageIsCompressedForItself(t *testing.T) {
	frame := AppendFrame(nil, OpText, jsonOf(2000))
	first := AppendDeflated(nil, frame, 1)
	AppendDeflated(nil, AppendFrame(nil, OpText, jsonOf(60_000)), 1)
	if again := AppendDeflated(nil, frame, 1); !bytes.Equal(again, first) {
		t.Errorf("got %d bytes the second time, want the %d of the first", len(again), len(first))
	}
}

func TestManyGoroutinesCompressAtATime(t *testing.T) {
	var all sync.WaitGroup
	for i := range 8 {
		frames := AppendFrame(AppendFrame(nil, OpText, jsonOf(500*(i+1))), OpBinary, jsonOf(3000))
		all.Go(func() {
			for range 20 {
				if plain, was := plainFrames(t, AppendDeflated(nil, frames, 1)); !bytes.Equal(plain, frames) || !slices.Equal(was, []bool{true, true}) {
					t.Errorf("goroutine %d: got frames that are not what was compressed (%v)", i, was)
				}
			}
		})
	}
	all.Wait()
}

func TestACompressorGivesLargeBuffersBack(t *testing.T) {
	d := deflaters.New().(*deflater)
	d.message(noise(1 << 20))
	if cap(d.out) < 1<<20 {
		t.Fatalf("got a buffer of %d bytes, want the message in it", cap(d.out))
	}
	if d.giveBack(); cap(d.out) > deflaterBytesKept {
		t.Errorf("got %d bytes kept, want at most %d", cap(d.out), deflaterBytesKept)
	}
}

func TestCompressingAllocatesTheResultAlone(t *testing.T) {
	payload := jsonOf(4000)
	d := deflaters.New().(*deflater) // not from the pool, which under the race detector drops some of what it is given
	if got := testing.AllocsPerRun(100, func() { sink = d.message(payload) }); got != 0 {
		t.Errorf("got %v allocations, want none but that of the result", got)
	}
	frame := AppendDeflated(nil, AppendFrame(nil, OpText, payload), 1)
	if cap(frame) > len(frame)*5/4+64 {
		t.Errorf("got %d bytes of capacity for %d, want no more than it takes: it lives as long as the message", cap(frame), len(frame))
	}
}

// compressionData are the kinds of text and binary that case lists send.
var compressionData = []struct {
	name   string
	binary bool
	bytes  func(n int) []byte
}{
	{"JSON", false, jsonOf},
	{"a bitmap", true, func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(i%512/3 + i/512*2 + i*i%5)
		}
		return b
	}},
	{"prose as binary", true, func(n int) []byte { return bytes.Repeat([]byte("Der Schnee fällt leise auf das Feld; "), n/20+1)[:n] }},
	{"HTML", false, func(n int) []byte {
		var b []byte
		for i := 0; len(b) < n; i++ {
			b = fmt.Appendf(b, "<tr class=\"row%d\"><td>%d</td><td><a href=\"/item/%d\">gemüse 野菜</a></td></tr>\n", i%2, i, i*i)
		}
		for b = b[:n]; b[len(b)-1] >= 0x80; {
			b = b[:len(b)-1] // no rune in part
		}
		return b
	}},
	{"what cannot be compressed", true, noise},
}

// compressionSizes are the sizes of messages, and of the pieces that a client sends them in; 0: whole.
var compressionSizes = []struct{ message, piece int }{
	{16, 0}, {64, 0}, {256, 0}, {1 << 10, 0}, {4 << 10, 0}, {8 << 10, 0}, {16 << 10, 0}, {32 << 10, 0}, {64 << 10, 0}, {128 << 10, 0},
	{8 << 10, 256}, {16 << 10, 256}, {32 << 10, 256}, {64 << 10, 256}, {128 << 10, 256}, {128 << 10, 1 << 10}, {128 << 10, 4 << 10}, {128 << 10, 32 << 10},
}

// compressionCases are by the numbers of Autobahn's list: group 12 is about what is sent, 13 about what is agreed on.
func compressionCases() (cases []compressionCase) {
	for i, data := range compressionData {
		cases = append(cases, compressionCase{fmt.Sprintf("12.%d %s", i+1, data.name), "permessage-deflate; client_max_window_bits", accepted, i})
	}
	for i, offer := range []struct{ offer, want string }{
		{"permessage-deflate", accepted},
		{"permessage-deflate; server_no_context_takeover; client_max_window_bits", accepted},
		{"permessage-deflate; client_max_window_bits; server_max_window_bits=9", declined},
		{"permessage-deflate; client_max_window_bits; server_max_window_bits=15", windowed},
		{"permessage-deflate; client_max_window_bits; server_no_context_takeover; server_max_window_bits=9", declined},
		{"permessage-deflate; client_max_window_bits; server_no_context_takeover; server_max_window_bits=15", windowed},
		{"permessage-deflate; server_no_context_takeover; server_max_window_bits=9, permessage-deflate; server_no_context_takeover, permessage-deflate", accepted},
	} {
		cases = append(cases, compressionCase{fmt.Sprintf("13.%d %s", i+1, offer.offer), offer.offer, offer.want, 0})
	}
	return cases
}

type compressionCase struct {
	name, offer, want string
	data              int
}

func TestCompressedConversationsOfEverySizeComeBackAsTheyWere(t *testing.T) {
	for _, c := range compressionCases() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got := negotiate(t, true, c.offer); got != c.want {
				t.Fatalf("got %q, want %q", got, c.want)
			}
			data, r, in := compressionData[c.data], NewReader(1<<20), NewInflater()
			for n, size := range compressionSizes {
				message := data.bytes(size.message)
				op := map[bool]OpCode{false: OpText, true: OpBinary}[data.binary]
				payload, first := message, byte(op)
				if c.want != declined {
					r.Inflate(in)
					payload, first = compressed(t, n%10, message), first|bitRSV1
				}
				var stream []byte
				for pieces := slices.Collect(slices.Chunk(payload, cmp.Or(size.piece, len(payload)))); len(pieces) > 0; pieces = pieces[1:] {
					if len(pieces) == 1 {
						first |= bitFin
					}
					stream = append(stream, frame(first, string(pieces[0]))...)
					first = 0
				}
				var got Event
				for rest := stream; len(rest) > 0; {
					n, ev := r.Next(rest[:min(len(rest), 5000)]) // as a socket gives it
					if rest = rest[n:]; ev.Kind != EventNone {
						got = ev
					}
				}
				if got.Kind != dataKind(!data.binary) || !bytes.Equal(got.Payload, message) || got.Deflated != (c.want != declined) {
					t.Fatalf("%d bytes in pieces of %d: got %v %q of %d bytes", size.message, size.piece, got.Kind, got.Reason, len(got.Payload))
				}
				if !r.Idle() {
					t.Fatalf("%d bytes: the reader is not idle", size.message)
				}
				echo := AppendFrame(nil, op, got.Payload)
				if plain, _ := plainFrames(t, AppendDeflated(nil, echo, 1)); !bytes.Equal(plain, echo) {
					t.Fatalf("%d bytes: the echo is not what was sent", size.message)
				}
			}
		})
	}
}
