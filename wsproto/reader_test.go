package wsproto

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
)

const testMessageBytesMax = 1 << 10

// frame is a masked client frame with any first byte, also an invalid one.
func frame(first byte, payload string) []byte {
	b := AppendMaskedFrame(nil, OpText, [4]byte{1, 2, 3, 4}, []byte(payload))
	b[0] = first
	return b
}

// show is an event as text, with its payload copied.
func show(ev Event) string {
	switch ev.Kind {
	case EventClose:
		return fmt.Sprintf("close %d %q", ev.Code, ev.Payload)
	case EventFail:
		return fmt.Sprintf("fail %d %s", ev.Code, ev.Reason)
	}
	return fmt.Sprintf("%v %q", ev.Kind, ev.Payload)
}

// readAll feeds the pieces to a reader and collects the events. It also checks what Next
// promises about n.
func readAll(t testing.TB, r *Reader, pieces ...[]byte) (events []string) {
	t.Helper()
	for _, piece := range pieces {
		piece = bytes.Clone(piece)
		for len(piece) > 0 {
			n, ev := r.Next(piece)
			if n < 1 || n > len(piece) || ev.Kind == EventNone && n != len(piece) {
				t.Fatalf("Next of %d bytes: got n %d with %v", len(piece), n, ev.Kind)
			}
			if (ev.Kind == EventClose || ev.Kind == EventFail) && n != len(piece) {
				t.Fatalf("Next of %d bytes: got n %d with the last event %v", len(piece), n, ev.Kind)
			}
			if ev.Kind != EventNone {
				events = append(events, show(ev))
			}
			piece = piece[n:]
		}
	}
	return events
}

func TestEventsAreTheSameHoweverTheBytesAreCut(t *testing.T) {
	long := strings.Repeat("長い", 100)
	streams := map[string]struct {
		bytes []byte
		want  []string
	}{
		"a text":             {frame(0x81, "Hello"), []string{`text "Hello"`}},
		"an empty text":      {frame(0x81, ""), []string{`text ""`}},
		"a binary":           {frame(0x82, "\xff\x00"), []string{`binary "\xff\x00"`}},
		"a long text":        {frame(0x81, long), []string{fmt.Sprintf("text %q", long)}},
		"three in a row":     {slices.Concat(frame(0x81, "a"), frame(0x81, "b"), frame(0x82, "c")), []string{`text "a"`, `text "b"`, `binary "c"`}},
		"fragments":          {slices.Concat(frame(0x01, "Hel"), frame(0x80, "lo")), []string{`text "Hello"`}},
		"a rune in two":      {slices.Concat(frame(0x01, "\xe7\xb5"), frame(0x00, ""), frame(0x80, "\x84")), []string{`text "組"`}},
		"empty fragments":    {slices.Concat(frame(0x01, ""), frame(0x00, ""), frame(0x80, "")), []string{`text ""`}},
		"empty, then text":   {slices.Concat(frame(0x02, ""), frame(0x80, "all"), frame(0x81, "next")), []string{`binary "all"`, `text "next"`}},
		"a ping in between":  {slices.Concat(frame(0x01, "Hel"), frame(0x89, "ping"), frame(0x80, "lo")), []string{`ping "ping"`, `text "Hello"`}},
		"a pong in between":  {slices.Concat(frame(0x02, "Hel"), frame(0x8a, ""), frame(0x80, "lo")), []string{`pong ""`, `binary "Hello"`}},
		"a close in between": {slices.Concat(frame(0x01, "Hel"), frame(0x88, "\x03\xe8"), frame(0x80, "lo")), []string{`close 1000 ""`}},
		"a close":            {frame(0x88, ""), []string{`close 0 ""`}},
		"a reasoned close":   {frame(0x88, "\x0f\xa0gone 組"), []string{`close 4000 "gone 組"`}},
		"behind a close":     {slices.Concat(frame(0x88, "\x03\xe9"), frame(0x81, "late")), []string{`close 1001 ""`}},

		"RSV1":                             {frame(0xc1, "a"), []string{"fail 1002 non-zero rsv bits with no extension negotiated"}},
		"RSV2":                             {frame(0xa1, "a"), []string{"fail 1002 non-zero rsv bits with no extension negotiated"}},
		"RSV3":                             {frame(0x91, "a"), []string{"fail 1002 non-zero rsv bits with no extension negotiated"}},
		"RSV1 after a text":                {slices.Concat(frame(0x81, "a"), frame(0xc1, "a")), []string{`text "a"`, "fail 1002 non-zero rsv bits with no extension negotiated"}},
		"a reserved opcode":                {frame(0x83, "a"), []string{"fail 1002 use of reserved op code"}},
		"a reserved control":               {frame(0x8b, "a"), []string{"fail 1002 use of reserved op code"}},
		"no mask":                          {AppendFrame(nil, OpText, []byte("a")), []string{"fail 1002 frames from client to server must be masked"}},
		"an unfinished ping":               {frame(0x09, "a"), []string{"fail 1002 control frame is not final"}},
		"a long ping":                      {frame(0x89, long), []string{"fail 1002 control frame payload limit exceeded"}},
		"a continuation of none":           {frame(0x80, "a"), []string{"fail 1002 unexpected continuation data frame"}},
		"a text inside a text":             {slices.Concat(frame(0x01, "a"), frame(0x81, "b")), []string{"fail 1002 unexpected non-continuation data frame"}},
		"a 16-bit length of 125":           {unhex(t, "81 fe 00 7d 00 00 00 00"), []string{"fail 1002 the length is not in its shortest form"}},
		"a 64-bit length of 65535":         {unhex(t, "81 ff 00 00 00 00 00 00 ff ff 00 00 00 00"), []string{"fail 1002 the length is not in its shortest form"}},
		"a 64-bit length with its top bit": {unhex(t, "82 ff 80 00 00 00 00 01 00 00 00 00 00 00"), []string{"fail 1002 the top bit of a 64-bit length must be 0"}},

		"a frame over the limit":     {frame(0x82, strings.Repeat("a", testMessageBytesMax+1)), []string{"fail 1009 the message is over the limit"}},
		"a frame far over the limit": {unhex(t, "82 ff 7f ff ff ff ff ff ff ff 00 00 00 00"), []string{"fail 1009 the message is over the limit"}},
		"fragments over the limit":   {slices.Concat(frame(0x02, strings.Repeat("a", testMessageBytesMax)), frame(0x80, "a")), []string{"fail 1009 the message is over the limit"}},
		"fragments up to the limit":  {slices.Concat(frame(0x02, strings.Repeat("a", testMessageBytesMax-1)), frame(0x80, "a")), []string{fmt.Sprintf("binary %q", strings.Repeat("a", testMessageBytesMax))}},

		"a text that is not UTF-8":      {frame(0x81, "a\xff"), []string{"fail 1007 the text is not UTF-8"}},
		"a text that ends in a rune":    {frame(0x81, "a\xe7\xb5"), []string{"fail 1007 the text is not UTF-8"}},
		"fragments that end in a rune":  {slices.Concat(frame(0x01, "a"), frame(0x80, "\xe7\xb5")), []string{"fail 1007 the text is not UTF-8"}},
		"a fragment that is not UTF-8":  {slices.Concat(frame(0x01, "\xed\xa0"), frame(0x89, "not reached")), []string{"fail 1007 the text is not UTF-8"}},
		"a close code of one byte":      {frame(0x88, "\x03"), []string{"fail 1002 a close payload of one byte cannot hold a code"}},
		"a close code that is reserved": {frame(0x88, "\x03\xedx"), []string{"fail 1002 the close code may not be sent"}},
		"a close reason not in UTF-8":   {frame(0x88, "\x03\xe8\xff"), []string{"fail 1007 the close reason is not UTF-8"}},
		"a close reason cut in a rune":  {frame(0x88, "\x03\xe8\xe7\xb5"), []string{"fail 1007 the close reason is not UTF-8"}},
	}
	for name, stream := range streams {
		check := func(how string, pieces ...[]byte) {
			t.Helper()
			if got := readAll(t, NewReader(testMessageBytesMax), pieces...); !slices.Equal(got, stream.want) {
				t.Errorf("%s, %s: got %q, want %q", name, how, got, stream.want)
			}
		}
		check("whole", stream.bytes)
		for cut := 1; cut < len(stream.bytes); cut++ {
			check(fmt.Sprintf("cut at %d", cut), stream.bytes[:cut], stream.bytes[cut:])
		}
		for _, size := range []int{1, 2, 3, 7, 200} {
			check(fmt.Sprintf("in pieces of %d", size), slices.Collect(slices.Chunk(stream.bytes, size))...)
		}
	}
}

func TestRulesAreCheckedAtTheFirstByteThatBreaksThem(t *testing.T) {
	for _, test := range []struct {
		name  string
		bytes []byte
		want  int // bytes until the failure
	}{
		{"RSV", frame(0xc1, "a"), 1},
		{"reserved opcode", frame(0x83, "a"), 1},
		{"unfinished control", frame(0x09, "a"), 1},
		{"continuation of none", frame(0x80, "a"), 1},
		{"no mask", unhex(t, "81 05 00"), 2},
		{"long control", unhex(t, "89 fe 01 00"), 2},
		{"close of one byte", unhex(t, "88 81 00"), 2},
		{"length over 63 bits", unhex(t, "81 ff 80 00"), 3},
		{"length not minimal", unhex(t, "81 fe 00 7d 00"), 4},
		{"over the limit", unhex(t, "81 fe 04 01 00 00 00 00"), 4},
		{"text", frame(0x81, "ab\xffcdefgh"), 6 + 3},
		{"close code", frame(0x88, "\x00\x00reason"), 6 + 2},
		{"close reason", frame(0x88, "\x03\xe8ab\xffcd"), 6 + 5},
	} {
		r := NewReader(testMessageBytesMax)
		for i := range test.bytes {
			if events := readAll(t, r, test.bytes[i:i+1]); len(events) > 0 {
				if got := i + 1; got != test.want {
					t.Errorf("%s: failed after %d bytes, want %d", test.name, got, test.want)
				}
				break
			} else if i+1 == len(test.bytes) {
				t.Errorf("%s: did not fail, want a failure after %d bytes", test.name, test.want)
			}
		}
	}
}

func TestWholeFrameIsGivenOutWithoutACopy(t *testing.T) {
	p := frame(0x81, "Hello")
	_, ev := NewReader(testMessageBytesMax).Next(p)
	if &ev.Payload[0] != &p[6] || string(p[6:]) != "Hello" {
		t.Errorf("got a payload elsewhere, want it inside the caller's bytes, unmasked")
	}
}

func TestUnmaskingIsExactForEverySizeAndCut(t *testing.T) {
	mask := [4]byte{0x11, 0x22, 0x44, 0x88}
	for size := 1; size <= 600; size++ {
		payload := make([]byte, size)
		for i := range payload {
			payload[i] = byte(i * 7)
		}
		p := AppendMaskedFrame(nil, OpBinary, mask, payload)
		start := len(p) - size
		for i, c := range p[start:] {
			if want := payload[i] ^ mask[i%4]; c != want {
				t.Fatalf("%d bytes masked: got %x at %d, want %x", size, c, i, want)
			}
		}
		for _, cut := range []int{0, 1, 2, 3, 5, 31, size / 2, size - 1} {
			if cut >= size {
				continue
			}
			got := readAll(t, NewReader(testMessageBytesMax), p[:start+cut], p[start+cut:])
			if want := []string{show(Event{Kind: EventBinary, Payload: payload})}; !slices.Equal(got, want) {
				t.Fatalf("%d bytes cut at %d: got %q, want %q", size, cut, got, want)
			}
		}
	}
}

func TestFinishedReaderTakesEverythingAndSaysNothing(t *testing.T) {
	for _, end := range [][]byte{frame(0x88, "\x03\xe8"), frame(0xc1, "a")} {
		r := NewReader(testMessageBytesMax)
		readAll(t, r, frame(0x01, "unfinished"), end)
		if r.Idle() {
			t.Errorf("a finished reader is idle, want that it serves nobody else")
		}
		if got := readAll(t, r, frame(0x81, "late"), frame(0x89, "ping")); len(got) != 0 {
			t.Errorf("got %q after the end, want nothing", got)
		}
		r.Reset()
		if got, want := readAll(t, r, frame(0x81, "new")), []string{`text "new"`}; !slices.Equal(got, want) {
			t.Errorf("after Reset: got %q, want %q", got, want)
		}
	}
}

func TestReaderIsIdleOnlyWhenNothingIsUnfinished(t *testing.T) {
	for _, test := range []struct {
		name  string
		bytes []byte
		want  bool
	}{
		{"new", nil, true},
		{"one byte of a header", unhex(t, "81"), false},
		{"a header but the last byte", unhex(t, "81 85 00 00 00"), false},
		{"a header without payload", unhex(t, "81 85 00 00 00 00"), false},
		{"a part of a payload", unhex(t, "81 85 00 00 00 00 41"), false},
		{"a whole frame", frame(0x81, "a"), true},
		{"a first fragment", frame(0x01, "a"), false},
		{"an empty first fragment", frame(0x01, ""), false},
		{"a ping after a first fragment", slices.Concat(frame(0x01, "a"), frame(0x89, "")), false},
		{"a part of a ping", unhex(t, "89 85 00 00 00 00 41"), false},
		{"all fragments", slices.Concat(frame(0x01, "a"), frame(0x80, "b")), true},
	} {
		r := NewReader(testMessageBytesMax)
		readAll(t, r, test.bytes)
		if got := r.Idle(); got != test.want {
			t.Errorf("%s: got Idle %v, want %v", test.name, got, test.want)
		}
		r.Reset()
		if !r.Idle() {
			t.Errorf("%s: not idle after Reset", test.name)
		}
		ping := frame(0x89, "ping")
		if got, want := readAll(t, r, frame(0x81, "x"), ping[:8], ping[8:]), []string{`text "x"`, `ping "ping"`}; !slices.Equal(got, want) {
			t.Errorf("%s, after Reset: got %q, want %q", test.name, got, want)
		}
	}
}

func TestMemoryFollowsWhatArrivedNotWhatWasAnnounced(t *testing.T) {
	const max = 64 << 20
	r := NewReader(max)
	readAll(t, r, unhex(t, "82 ff 00 00 00 00 04 00 00 00 01 02 03 04")) // 64 MiB announced
	if got := r.buffered(); got != 0 {
		t.Errorf("after the header: got %d bytes held, want 0", got)
	}
	arrived := 0
	for range 100 {
		readAll(t, r, make([]byte, 1000))
		arrived += 1000
		if got, want := r.buffered(), 2*arrived; got > want {
			t.Fatalf("after %d bytes: got %d bytes held, want at most %d", arrived, got, want)
		}
	}
}

func TestBufferIsNoLargerThanTheMessageCanBecome(t *testing.T) {
	r := NewReader(1 << 20)
	readAll(t, r, frame(0x81, "a small command")[:10])
	if got, want := r.buffered(), len("a small command"); got > want {
		t.Errorf("got %d bytes held, want at most %d", got, want)
	}
}

func TestLargeBuffersGoBackAndSmallOnesStay(t *testing.T) {
	for _, test := range []struct{ size, wantMax int }{{100, 256}, {100_000, 0}} {
		r := NewReader(1 << 20)
		p := frame(0x81, strings.Repeat("a", test.size))
		readAll(t, r, p[:50], p[50:])
		readAll(t, r, frame(0x81, "next")) // the payload is borrowed until here
		if got := r.buffered(); got > test.wantMax {
			t.Errorf("after a message of %d bytes: got %d bytes held, want at most %d", test.size, got, test.wantMax)
		}
	}
}

func TestEndLetsGoOfTheUnfinishedMessage(t *testing.T) {
	r := NewReader(1 << 20)
	readAll(t, r, frame(0x01, strings.Repeat("a", 100_000)))
	if got := r.buffered(); got < 100_000 {
		t.Fatalf("got %d bytes held, want the fragment", got)
	}
	readAll(t, r, frame(0x88, ""))
	if got := r.buffered(); got != 0 {
		t.Errorf("after the close: got %d bytes held, want 0", got)
	}
}

func TestControlFrameBetweenFragmentsDisturbsNothingEvenInPieces(t *testing.T) {
	r := NewReader(testMessageBytesMax)
	ping := frame(0x89, "middle")
	got := readAll(t, r, frame(0x01, "組"[:2]), ping[:3], ping[3:8], ping[8:], frame(0x80, "組"[2:]))
	if want := []string{`ping "middle"`, `text "組"`}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestFailureReasonsFitIntoACloseFrame(t *testing.T) {
	for _, f := range []fault{faultCloseCode, faultCloseReason, faultCloseSize, faultLengthTopBit, faultLengthMinimal, faultText, faultTooBig} {
		if len(f.reason) > closeReasonBytesMax || !validCloseCode(f.code) {
			t.Errorf("%d %q: got %d bytes, want at most %d and a code that may be sent", f.code, f.reason, len(f.reason), closeReasonBytesMax)
		}
	}
}

func TestReadingWholeFramesAllocatesNothing(t *testing.T) {
	r := NewReader(testMessageBytesMax)
	original := slices.Concat(frame(0x81, "Hello"), frame(0x82, strings.Repeat("b", 500)), frame(0x89, "ping"))
	p := make([]byte, len(original))
	got := testing.AllocsPerRun(100, func() {
		copy(p, original)
		for rest := p; len(rest) > 0; {
			n, _ := r.Next(rest)
			rest = rest[n:]
		}
	})
	if got != 0 {
		t.Errorf("got %v allocations, want 0", got)
	}
}

func TestReadingFrameInPiecesAllocatesNothingOnceTheBufferIsThere(t *testing.T) {
	r := NewReader(testMessageBytesMax)
	original := slices.Concat(frame(0x01, "Hello"), frame(0x89, "ping"), frame(0x80, "again"))
	p := make([]byte, len(original))
	got := testing.AllocsPerRun(100, func() {
		copy(p, original)
		for i := range p {
			r.Next(p[i : i+1])
		}
	})
	if got != 0 {
		t.Errorf("got %v allocations, want 0", got)
	}
}

func TestHeldIsWhatTheBuffersTakeUp(t *testing.T) {
	r := NewReader(testMessageBytesMax)
	if got := r.Held(); got != 0 {
		t.Errorf("at first: got %d, want 0", got)
	}
	frame := AppendMaskedFrame(nil, OpBinary, [4]byte{}, make([]byte, 600))
	r.Next(frame[:500])
	if got := r.Held(); got < 490 || got > testMessageBytesMax {
		t.Errorf("within a message of 600 bytes, 500 of the frame read: got %d", got)
	}
}

func TestAnAbandonedReaderHoldsNothingAndSwallowsTheRest(t *testing.T) {
	r := NewReader(testMessageBytesMax)
	frame := AppendMaskedFrame(nil, OpBinary, [4]byte{}, make([]byte, 600))
	r.Next(frame[:500])
	r.Abandon()
	if got := r.Held(); got != 0 {
		t.Errorf("held: got %d, want 0", got)
	}
	rest := append(frame[500:], AppendMaskedFrame(nil, OpPing, [4]byte{}, nil)...)
	if n, ev := r.Next(rest); n != len(rest) || ev.Kind != EventNone {
		t.Errorf("the rest: took %d of %d bytes and yielded %v, want all and none", n, len(rest), ev.Kind)
	}
	if r.Idle() {
		t.Error("idle: got true, want it not to serve another client before Reset")
	}
}
