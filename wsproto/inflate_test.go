package wsproto

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unsafe"
)

// readCompressed is readAll of a client that may compress.
func readCompressed(t testing.TB, messageBytesMax int, pieces ...[]byte) []string {
	t.Helper()
	r := NewReader(messageBytesMax)
	r.Inflate(NewInflater())
	return readAll(t, r, pieces...)
}

func TestCompressedMessagesAreTheSameHoweverTheBytesAreCut(t *testing.T) {
	long := strings.Repeat("長い", 150) // inflated 900 bytes of the 1,024
	small := string(compressed(t, 9, []byte(long)))
	const rsv1 = "fail 1002 RSV1 may only be set in the first frame of a text or binary message"
	const rsv = "fail 1002 non-zero rsv bits with no extension negotiated"
	const invalid = "fail 1007 the compressed message is not valid deflate data"
	const tooBig = "fail 1009 the message is over the limit"
	const hello = "\xf2\x48\xcd\xc9\xc9\x07\x00" // RFC 7692 §7.2.3.1
	for name, test := range map[string]struct {
		bytes []byte
		want  []string
	}{
		"the RFC's text":               {frame(0xc1, hello), []string{`text "Hello"`}},
		"the RFC's fragments":          {slices.Concat(frame(0x41, hello[:3]), frame(0x80, hello[3:])), []string{`text "Hello"`}},
		"the RFC's stored block":       {frame(0xc1, "\x00\x05\x00\xfa\xffHello\x00"), []string{`text "Hello"`}},
		"the RFC's final block":        {frame(0xc1, "\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), []string{`text "Hello"`}},
		"the RFC's two blocks":         {frame(0xc1, "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"), []string{`text "Hello"`}},
		"the RFC's empty message":      {frame(0xc1, "\x00"), []string{`text ""`}},
		"a binary":                     {frame(0xc2, hello), []string{`binary "Hello"`}},
		"a long text":                  {frame(0xc1, small), []string{fmt.Sprintf("text %q", long)}},
		"fragments of a byte":          {inFrames(0x41, []byte(hello), []byte{1, 1, 1, 1, 1, 1}), []string{`text "Hello"`}},
		"an empty first fragment":      {slices.Concat(frame(0x41, ""), frame(0x80, hello)), []string{`text "Hello"`}},
		"an empty last fragment":       {slices.Concat(frame(0x41, hello), frame(0x80, "")), []string{`text "Hello"`}},
		"nothing at all":               {frame(0xc1, ""), []string{`text ""`}},
		"nothing at all in fragments":  {slices.Concat(frame(0x42, ""), frame(0x00, ""), frame(0x80, "")), []string{`binary ""`}},
		"a ping in between":            {slices.Concat(frame(0x41, hello[:2]), frame(0x89, "ping"), frame(0x80, hello[2:])), []string{`ping "ping"`, `text "Hello"`}},
		"a close in between":           {slices.Concat(frame(0x41, hello[:2]), frame(0x88, "\x03\xe8"), frame(0x80, hello[2:])), []string{`close 1000 ""`}},
		"plain ones beside it":         {slices.Concat(frame(0x81, "a"), frame(0xc1, hello), frame(0x01, "b"), frame(0x80, "c"), frame(0xc2, hello)), []string{`text "a"`, `text "Hello"`, `text "bc"`, `binary "Hello"`}},
		"a plain one, then fragments":  {slices.Concat(frame(0xc1, hello), frame(0x81, hello[1:2]), frame(0x41, hello), frame(0x80, "")), []string{`text "Hello"`, `text "H"`, `text "Hello"`}},
		"a final block, then another":  {frame(0xc1, "\x01\x05\x00\xfa\xffHello"+hello), []string{`text "HelloHello"`}},
		"a final block and no more":    {frame(0xc1, "\xf3\x48\xcd\xc9\xc9\x07\x00"), []string{`text "Hello"`}},
		"a final block that is cut":    {frame(0xc1, "\xf3\x48\xcd\xc9\xc9\x07"), []string{invalid}},
		"a final block, then garbage":  {frame(0xc1, "\xf3\x48\xcd\xc9\xc9\x07\x00\x07garbage"), []string{invalid}},
		"a reference over a final one": {frame(0xc1, "\x01\x05\x00\xfa\xffHello\xf2\x00\x11\x00\x00"), []string{invalid}},

		"the RFC's reference to an earlier message": {slices.Concat(frame(0xc1, hello), frame(0xc1, "\xf2\x00\x11\x00\x00")), []string{`text "Hello"`, invalid}},
		"a reserved block":                          {frame(0xc1, "\x07"), []string{invalid}},
		"a block that does not end":                 {frame(0xc1, hello[:5]), []string{invalid}},
		"a stored block of wrong length":            {frame(0xc1, "\x00\x05\x00\xfa\xfeHello\x00"), []string{invalid}},
		"an invalid one, in fragments":              {slices.Concat(frame(0x41, "\x07"), frame(0x80, "\x00")), []string{invalid}},
		"a text that is not UTF-8":                  {frame(0xc1, string(compressed(t, 1, []byte("\xed\xa0\x80")))), []string{"fail 1007 the text is not UTF-8"}},
		"a text that ends within a rune":            {frame(0xc1, string(compressed(t, 1, []byte("\xe7\xb5")))), []string{"fail 1007 the text is not UTF-8"}},
		"a rune over two fragments":                 {inFrames(0x41, compressed(t, 1, []byte("組"), []byte("\xe7\xb5"), []byte("\x84")), []byte{5, 5}), []string{`text "組組"`}},
		"RSV1 on a continuation":                    {slices.Concat(frame(0x41, hello[:3]), frame(0xc0, hello[3:])), []string{rsv1}},
		"RSV1 on a plain continuation":              {slices.Concat(frame(0x01, "a"), frame(0xc0, "b")), []string{rsv1}},
		"RSV1 on a first continuation":              {frame(0xc0, hello), []string{rsv1}},
		"RSV1 on a ping":                            {frame(0xc9, hello), []string{rsv1}},
		"RSV1 on a pong":                            {frame(0xca, hello), []string{rsv1}},
		"RSV1 on a close":                           {frame(0xc8, "\x03\xe8"), []string{rsv1}},
		"RSV1 on a reserved opcode":                 {frame(0xc3, hello), []string{rsv1}},
		"RSV2":                                      {frame(0xa1, hello), []string{rsv}},
		"RSV3":                                      {frame(0x91, hello), []string{rsv}},
		"RSV1 and RSV2":                             {frame(0xe1, hello), []string{rsv}},
		"RSV1 and RSV3 on a ping":                   {frame(0xd9, ""), []string{rsv1}},
		"a new message in an open one":              {slices.Concat(frame(0x41, hello), frame(0xc1, hello)), []string{"fail 1002 unexpected non-continuation data frame"}},
		"a new one in an open plain one":            {slices.Concat(frame(0x01, "a"), frame(0xc1, hello)), []string{"fail 1002 unexpected non-continuation data frame"}},
		"the limit":                                 {frame(0xc2, string(compressed(t, 9, make([]byte, 1024)))), []string{fmt.Sprintf("binary %q", make([]byte, 1024))}},
		"a byte over the limit":                     {frame(0xc2, string(compressed(t, 9, make([]byte, 1025)))), []string{tooBig}},
		"a bomb":                                    {frame(0xc2, string(compressed(t, 9, make([]byte, 1<<20)))), []string{tooBig}},
		"a bomb in fragments":                       {inFrames(0x42, compressed(t, 9, make([]byte, 1<<20)), []byte{60, 60, 60}), []string{tooBig}},
		"a bomb in two streams":                     {frame(0xc2, "\x01\x05\x00\xfa\xffHello"+string(compressed(t, 9, make([]byte, 1020)))), []string{tooBig}},
		"too many compressed bytes":                 {frame(0xc2, strings.Repeat("\x00\x00\x00\xff\xff", 231)), []string{tooBig}},
		"too many of them, in fragments":            {slices.Concat(frame(0x42, strings.Repeat("\x00\x00\x00\xff\xff", 200)), frame(0x80, strings.Repeat("\x00\x00\x00\xff\xff", 31))), []string{tooBig}},
		"what cannot be compressed":                 {frame(0xc2, string(compressed(t, 9, noise(1024)))), []string{fmt.Sprintf("binary %q", noise(1024))}},
		"a plain one has the plain limit":           {frame(0x82, string(make([]byte, 1025))), []string{tooBig}},
	} {
		if got := readCompressed(t, testMessageBytesMax, test.bytes); !slices.Equal(got, test.want) {
			t.Errorf("%s: got %q, want %q", name, got, test.want)
		}
		for cut := 1; cut < len(test.bytes); cut++ {
			if got := readCompressed(t, testMessageBytesMax, test.bytes[:cut], test.bytes[cut:]); !slices.Equal(got, test.want) {
				t.Fatalf("%s cut at %d: got %q, want %q", name, cut, got, test.want)
			}
		}
		if got := readCompressed(t, testMessageBytesMax, slices.Collect(slices.Chunk(test.bytes, 1))...); !slices.Equal(got, test.want) {
			t.Errorf("%s byte by byte: got %q, want %q", name, got, test.want)
		}
	}
}

// noise is what cannot be compressed.
func noise(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{9}).Read(b)
	return b
}

func TestRSV1IsAFaultOfWhoHasNotAgreedOnIt(t *testing.T) {
	r, in := NewReader(testMessageBytesMax), NewInflater()
	compressedHello := frame(0xc1, "\xf2\x48\xcd\xc9\xc9\x07\x00")
	const refused = "fail 1002 non-zero rsv bits with no extension negotiated"
	for i, test := range []struct {
		in   *Inflater
		want string
	}{{in, `text "Hello"`}, {nil, refused}, {in, `text "Hello"`}} {
		r.Inflate(test.in)
		if got := readAll(t, r, compressedHello); len(got) != 1 || got[0] != test.want {
			t.Errorf("client %d: got %q, want %q", i, got, test.want)
		}
		if test.in == nil {
			r.Reset()
		}
	}
	r.Reset()
	if got := readAll(t, r, compressedHello); len(got) != 1 || got[0] != refused {
		t.Errorf("after Reset: got %q, want %q: it is for a client of which nothing is known", got, refused)
	}
}

func TestAnOpenCompressedMessageIsNotIdleAndIsDropped(t *testing.T) {
	r, in := NewReader(1<<20), NewInflater()
	r.Inflate(in)
	readAll(t, r, frame(0x41, string(noise(10_000))))
	if r.Idle() || r.Held() < 10_000 || r.Held() > 21_000 {
		t.Errorf("within a message: got idle %v with %d bytes held, want its 10,000", r.Idle(), r.Held())
	}
	r.Abandon()
	if got := r.Held(); got != 0 || r.Idle() {
		t.Errorf("abandoned: got %d bytes held, idle %v", got, r.Idle())
	}
	r.Reset()
	r.Inflate(in)
	if got := readAll(t, r, frame(0x80, "x")); len(got) != 1 || !strings.HasPrefix(got[0], "fail 1002") {
		t.Errorf("a continuation after Reset: got %q, want 1002", got)
	}
	r.Reset()
	r.Inflate(in)
	if got := readAll(t, r, frame(0x81, "plain")); !slices.Equal(got, []string{`text "plain"`}) || !r.Idle() {
		t.Errorf("after Reset: got %q, idle %v", got, r.Idle())
	}
}

func TestLargeInflatedMessagesGoBackAndSmallOnesStay(t *testing.T) {
	in := NewInflater()
	r := NewReader(4 << 20)
	r.Inflate(in)
	for _, size := range []int{1000, 1 << 20} {
		ev := Event{}
		for rest := frame(0xc2, string(compressed(t, 1, noise(size)))); len(rest) > 0; {
			var n int
			n, ev = r.Next(rest)
			rest = rest[n:]
		}
		if !bytes.Equal(ev.Payload, noise(size)) || !ev.Deflated {
			t.Fatalf("%d bytes: got %v of %d", size, ev.Kind, len(ev.Payload))
		}
		if got := in.Held(); got < size {
			t.Errorf("%d bytes: got %d held while they are borrowed", size, got)
		}
		r.Inflate(nil) // the next client has none: what was borrowed is let go all the same
		if got := in.Held(); got > 2*inflaterBytesKept || size == 1000 && got == 0 {
			t.Errorf("after %d bytes: got %d held, want small buffers alone", size, got)
		}
		r.Inflate(in)
	}
}

func TestACompressedMessageSaysWhatItWasOnTheWire(t *testing.T) {
	const hello = "\xf2\x48\xcd\xc9\xc9\x07\x00"
	for name, test := range map[string]struct {
		pieces [][]byte
		want   uint32
	}{
		"whole":        {[][]byte{frame(0xc1, hello)}, 7},
		"in pieces":    {[][]byte{frame(0xc1, hello)[:8], frame(0xc1, hello)[8:]}, 7},
		"in fragments": {[][]byte{frame(0x41, hello[:3]), frame(0x89, "ping"), frame(0x80, hello[3:])}, 7},
		"plain":        {[][]byte{frame(0x81, "Hello")}, 0},
	} {
		events := readDeflating(t, NewInflater(), testMessageBytesMax, test.pieces...)
		if got := events[len(events)-1]; got.WireBytes != test.want || got.Deflated != (test.want > 0) || string(got.Payload) != "Hello" {
			t.Errorf("%s: got %+v, want %d bytes", name, got, test.want)
		}
	}
	if was, is := unsafe.Sizeof(struct {
		EventKind
		StatusCode
		b []byte
		s string
	}{}), unsafe.Sizeof(Event{}); is != was && strconv.IntSize == 64 {
		t.Errorf("an event has %d bytes, want the %d that it has without compression: every message pays", is, was)
	}
}

func TestABombCostsItsBound(t *testing.T) {
	const bytesMax = 10_000
	bomb := frame(0xc2, string(compressed(t, 9, make([]byte, 64<<20)[:8<<20])))
	r, in := NewReader(bytesMax), NewInflater()
	r.Inflate(in)
	for rest := bomb; len(rest) > 0; {
		n, ev := r.Next(rest)
		if rest = rest[n:]; ev.Kind == EventFail {
			if ev.Code != CloseMessageTooBig {
				t.Errorf("got %v, want 1009", ev)
			}
			break
		}
	}
	if got, want := cap(in.out), bytesMax+1; got > want {
		t.Errorf("got a buffer of %d bytes, want at most %d", got, want)
	}
}

func TestInflatingAllocatesNothingOnceTheBuffersAreThere(t *testing.T) {
	r := NewReader(64 << 10)
	r.Inflate(NewInflater())
	original := slices.Concat(frame(0xc1, string(compressed(t, 6, jsonOf(5000)))), frame(0xc1, "\x00"), frame(0x89, "ping"))
	p := make([]byte, len(original))
	got := testing.AllocsPerRun(100, func() {
		copy(p, original)
		for rest := p; len(rest) > 0; {
			n, _ := r.Next(rest)
			rest = rest[n:]
		}
	})
	if got > 0.5 { // the tables of long codes are the library's, and it makes them anew where they grow
		t.Errorf("got %v allocations, want 0", got)
	}
}
