package test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gobwas/ws"
)

// RFC 6455 through a real socket, case by case, against the echo (test/echo): the server's own loops, readers and close
// handling, with the message sent back instead of being read as a command. The numbers of the groups are those of the
// public Autobahn case list, so that a finding of one can be looked up in the other; the cases are our own. 8 and 11 do not exist.
//
//	go test ./test -run Conformance                     all groups
//	go test ./test -run Conformance/6/6.3 -v            some cases of one
//	CONFORMANCE=full go test ./test -run Conformance    with messages up to 16 MiB

// conformCase is one conversation: what is sent, and all that may come back.
type conformCase struct {
	id   string   // number, and what it is about
	send [][]byte // a write each
	back []event  // messages and pongs, in order
	// code is that of the server's Close frame, after which only the end of the connection comes. codeNone is a Close frame
	// without a code. 0: the server has no reason to close, so the test does, and checks that nothing else has come.
	code int
	said bool // send has a Close frame: the server's is an answer and is not answered
	// offer is the value of Sec-WebSocket-Extensions, empty for none; answer is what it is answered, empty: it is declined.
	offer, answer string
	compressed    int // how many of back come compressed, at least
}

const codeNone = -1

// conformGroups are all cases, by the first part of their numbers.
var conformGroups = []struct {
	name  string
	cases func() []conformCase
}{
	{"1 framing", framingCases},
	{"2 pings and pongs", pingCases},
	{"3 reserved bits", reservedBitCases},
	{"4 reserved opcodes", opcodeCases},
	{"5 fragmentation", fragmentCases},
	{"6 UTF-8", textCases},
	{"7 close", closeCases},
	{"9 limits", limitCases},
	{"10 automatic fragmentation", autoFragmentCases},
	{"12 compression of sizes and fragments", compressionCases},
	{"13 offers of compression", offerCases},
	{"14 compressed data as others make it", deflateCases}, // a number of our own
}

func TestConformance(t *testing.T) {
	t.Parallel()
	s := startEcho(t)
	for _, group := range conformGroups {
		t.Run(group.name, func(t *testing.T) {
			t.Parallel()
			ran, late, ids := 0, false, map[string]bool{}
			for _, c := range group.cases() {
				if ids[c.id] {
					t.Errorf("two cases are called %q", c.id)
				}
				ids[c.id] = true
				if late {
					t.Fatal("the server has let a case wait in vain: the others of this group are not run")
				}
				t.Run(c.id, func(t *testing.T) {
					ran++
					if err := c.converse(s.addr); err != nil {
						t.Error(err)
						late = errors.Is(err, os.ErrDeadlineExceeded)
					}
				})
			}
			t.Logf("%s: %d cases", group.name, ran)
		})
	}
}

var echoProgram = sync.OnceValues(func() (string, error) { return build("ringcast/test/echo") })

// startEcho runs the echo on a free port and ends it with the test.
func startEcho(t *testing.T) *server {
	t.Helper()
	program, err := echoProgram()
	if err != nil {
		t.Fatalf("the echo does not build: %v", err)
	}
	s := &server{t: t, out: &output{}, over: make(chan struct{})}
	s.cmd = exec.Command(program, "--listen", "127.0.0.1:0")
	s.begin(nil)
	serves := regexp.MustCompile(`ws://(\S+)\n`)
	s.eventually("the echo serves", func() error {
		m := serves.FindStringSubmatch(s.out.String())
		if m == nil {
			return fmt.Errorf("got the output %q", s.out.String())
		}
		s.addr = m[1]
		return nil
	})
	return s
}

// conformFully says whether to run the long cases as well.
func conformFully() bool { return os.Getenv("CONFORMANCE") == "full" }

// converse runs one case on a connection of its own.
func (c *conformCase) converse(addr string) error {
	client, err := open(addr, dialing{offer: c.offer})
	if err != nil {
		return err
	}
	defer client.hangUp()
	client.binary = true
	if answer := client.agreement(); answer != c.answer {
		return fmt.Errorf("offered %q: got the answer %q, want %q", c.offer, answer, c.answer)
	}
	// Sending goes on while the answers come: otherwise what is larger than the buffers in between would block. Its errors
	// are ignored: a server that closes need not read the rest, and if it should not have closed, its answers show that.
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for _, b := range c.send {
			if client.raw(b) != nil {
				return
			}
		}
	}()
	for n, want := range c.back {
		got, err := client.read()
		if err != nil {
			return fmt.Errorf("frame %d from the server: %w; want %s", n+1, err, want)
		}
		if got != want {
			return fmt.Errorf("frame %d from the server: got %s, want %s", n+1, got, want)
		}
	}
	if c.answer != "" && client.frames < c.compressed {
		return fmt.Errorf("compressed frames from the server: got %d, want at least %d", client.frames, c.compressed)
	}
	want := event{op: ws.OpClose, code: c.code}
	switch c.code {
	case 0:
		<-sent
		if err := client.closeWith(1000, ""); err != nil {
			return err
		}
		want.code = 1000
	case codeNone:
		want.code = 0
	}
	got, err := client.read()
	if err != nil {
		return fmt.Errorf("at the end: %w; want %s", err, want)
	}
	if got.op != want.op || got.code != want.code {
		return fmt.Errorf("at the end: got %s, want %s", got, want)
	}
	if c.code != 0 && !c.said {
		client.closeWith(want.code, "") // the server may have ended already; only its end matters
	}
	return client.end()
}

func (e event) String() string {
	name := map[ws.OpCode]string{ws.OpText: "text", ws.OpBinary: "binary", ws.OpPing: "ping", ws.OpPong: "pong", ws.OpClose: "close"}[e.op]
	s := e.text
	if len(s) > 60 {
		s = s[:60]
		return fmt.Sprintf("%s %q… of %d bytes", name, s, len(e.text))
	}
	if e.op == ws.OpClose {
		return fmt.Sprintf("%s %d %q", name, e.code, s)
	}
	return fmt.Sprintf("%s %q", name, s)
}

// What is sent. Every frame is masked with a key of its own.

func textFrame(s string) []byte   { return frameBytes(ws.OpText, true, []byte(s)) }
func binaryFrame(s string) []byte { return frameBytes(ws.OpBinary, true, []byte(s)) }
func pingFrame(s string) []byte   { return frameBytes(ws.OpPing, true, []byte(s)) }
func pongFrame(s string) []byte   { return frameBytes(ws.OpPong, true, []byte(s)) }

// firstFrame, moreFrame and lastFrame are the frames of a message in fragments.
func firstFrame(op ws.OpCode, s string) []byte { return frameBytes(op, false, []byte(s)) }
func moreFrame(s string) []byte                { return frameBytes(ws.OpContinuation, false, []byte(s)) }
func lastFrame(s string) []byte                { return frameBytes(ws.OpContinuation, true, []byte(s)) }

// closeFrame is a Close frame; one with codeNone is empty.
func closeFrame(code int, reason string) []byte {
	if code == codeNone {
		return frameBytes(ws.OpClose, true, nil)
	}
	return frameBytes(ws.OpClose, true, append([]byte{byte(code >> 8), byte(code)}, reason...))
}

// reservedBits sets reserved bits, 1 to 7, in a frame.
func reservedBits(bits byte, frame []byte) []byte {
	frame[0] |= bits << 4
	return frame
}

// fragments is a message in frames of size bytes each, the last one of what is left.
func fragments(op ws.OpCode, s string, size int) (frames [][]byte) {
	for len(s) > size {
		frames = append(frames, firstFrame(op, s[:size]))
		op, s = ws.OpContinuation, s[size:]
	}
	return append(frames, frameBytes(op, true, []byte(s)))
}

// together sends frames in one write, chopped in writes of size bytes, regardless of the frames' boundaries.
func together(frames ...[]byte) [][]byte { return [][]byte{bytes.Join(frames, nil)} }
func chopped(size int, frames ...[]byte) [][]byte {
	return slices.Collect(slices.Chunk(bytes.Join(frames, nil), size))
}

// allBut is a frame without its last n bytes: what is wrong with it must be noticed without them.
func allBut(frame []byte, n int) []byte { return frame[:len(frame)-n] }

// What comes back.

func textBack(s string) event   { return event{op: ws.OpText, text: s} }
func binaryBack(s string) event { return event{op: ws.OpBinary, text: s} }
func pongBack(s string) event   { return event{op: ws.OpPong, text: s} }

// deliveries are the ways in which the same frames can arrive; the same must come back each time.
var deliveries = []struct {
	name string
	cut  func(frames [][]byte) [][]byte
}{
	{"in one write", func(f [][]byte) [][]byte { return together(f...) }},
	{"a write per frame", func(f [][]byte) [][]byte { return f }},
	{"a write per byte", func(f [][]byte) [][]byte { return chopped(1, f...) }},
}

// eachDelivery is a case for each way to deliver its frames.
func eachDelivery(c conformCase) (cases []conformCase) {
	for _, d := range deliveries {
		way := c
		way.id, way.send = c.id+", "+d.name, d.cut(c.send)
		cases = append(cases, way)
	}
	return cases
}

// patterned gives n bytes of ASCII that do not repeat with a period of a power of two: a piece that is missing or comes
// twice is noticed.
func patterned(n int) string {
	var b strings.Builder
	for i := 0; b.Len() < n; i++ {
		fmt.Fprintf(&b, "%d,", i)
	}
	return b.String()[:n]
}

// The runner itself must find faults: each of these cases is described wrongly in one way.
func TestConformanceNoticesWhatIsWrong(t *testing.T) {
	t.Parallel()
	s := startEcho(t)
	for _, c := range []conformCase{
		{id: "another text", send: together(textFrame("a")), back: []event{textBack("b")}},
		{id: "another kind", send: together(textFrame("a")), back: []event{binaryBack("a")}},
		{id: "another order", send: together(textFrame("a"), pingFrame("b")), back: []event{pongBack("b"), textBack("a")}},
		{id: "more than was said", send: together(textFrame("a"), pingFrame("b")), back: []event{textBack("a")}},
		{id: "less than was said", send: together(textFrame("a"), closeFrame(1000, "")), back: []event{textBack("a"), textBack("a")}, code: 1000, said: true},
		{id: "another code", send: together(reservedBits(1, textFrame("a"))), code: 1007},
		{id: "a close that was not said", send: together(reservedBits(1, textFrame("a")))},
		{id: "no code for one", send: together(closeFrame(1000, "")), code: codeNone, said: true},
		{id: "an answer to no offer", send: together(textFrame("a")), back: []event{textBack("a")}, answer: deflateAnswer},
		{id: "an offer that is declined", send: together(textFrame("a")), back: []event{textBack("a")}, offer: deflate},
		{id: "what is not compressed", send: together(textFrame("a")), back: []event{textBack("a")}, offer: deflate, answer: deflateAnswer, compressed: 1},
	} {
		if err := c.converse(s.addr); err == nil {
			t.Errorf("%s: got no error, want one", c.id)
		} else if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: noticed by waiting for too long: %v", c.id, err)
		}
	}
}
