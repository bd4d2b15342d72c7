package client

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// recorder is a play that keeps what it is told, a line each.
type recorder struct {
	Idle
	told []string
}

func (r *recorder) Opened(*Conn, int64) { r.told = append(r.told, "opened") }
func (r *recorder) Heard(_ *Conn, text []byte, from Origin, _ int64) {
	told := fmt.Sprintf("heard %s by %d", text, from.Group)
	if from.Offset > 0 {
		told += fmt.Sprintf(" as #%d", from.Offset)
	}
	r.told = append(r.told, told)
}
func (r *recorder) Replied(_ *Conn, text []byte, _ int64) {
	r.told = append(r.told, fmt.Sprintf("replied %s", text))
}
func (r *recorder) Cut(_ *Conn, cause string, _ bool) { r.told = append(r.told, "cut: "+cause) }

// centrifugeClient is a generator with one client in a state, whose socket has nobody at its other end but the test.
func centrifugeClient(t testing.TB, state connState) (*Generator, *Conn, *recorder, int) {
	t.Helper()
	r := Roster{Joins: 1, Group: func(first, _ int) int { return first }, Name: func(group int) string { return fmt.Sprint("g", group) },
		Number: func(name string) int {
			group := NoGroup
			if n, err := fmt.Sscanf(name, "g%d", &group); n != 1 || err != nil {
				return NoGroup
			}
			return group
		}}
	g, err := newGenerator(Target{Host: "h", Path: "/", Dialect: Centrifuge}, r, &atomic.Bool{})
	if err != nil {
		t.Fatal(err)
	}
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	g.conns = []Conn{{fd: int32(ends[0]), Number: 6, asks: 1, state: state, Member: NotMember}}
	play := &recorder{}
	g.SetPlay(play)
	g.opening.pending = 1
	t.Cleanup(func() {
		g.Dismiss()
		unix.Close(g.epoll)
		unix.Close(ends[1])
	})
	return g, &g.conns[0], play, ends[1]
}

// written is what the client has sent, as texts of whole frames.
func written(t *testing.T, fd int) (texts []string) {
	t.Helper()
	b := make([]byte, 4096)
	n, err := unix.Read(fd, b)
	if err == unix.EAGAIN {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	for b = b[:n]; len(b) > 0; {
		size := int(b[1] & 0x7F)
		text := b[6 : 6+size]
		Mask(text, [4]byte(b[2:6]))
		texts = append(texts, string(text))
		b = b[6+size:]
	}
	return texts
}

func serverFrame(text string) []byte {
	frame := appendHeader(nil, opText, len(text), [4]byte{})
	frame[1] &= 0x7F
	return append(frame[:len(frame)-4], text...)
}

func TestEachLineOfAFrameIsHeard(t *testing.T) {
	push := func(group int, text string) string {
		return fmt.Sprintf(`{"push":{"channel":"g%d","pub":{"data":"%s","info":{"user":"","client":"x"}}}}`, group, text)
	}
	for name, c := range map[string]struct{ said, want []string }{
		"one":                              {[]string{push(1, "AA")}, []string{"heard AA by 1"}},
		"several in a frame":               {[]string{push(1, "AA") + "\n" + push(1, "BB") + "\n" + push(1, "CC")}, []string{"heard AA by 1", "heard BB by 1", "heard CC by 1"}},
		"the end of the last line, too":    {[]string{push(1, "AA") + "\n" + push(1, "BB") + "\n"}, []string{"heard AA by 1", "heard BB by 1"}},
		"channels in turn":                 {[]string{push(1, "AA") + "\n" + push(2, "BB") + "\n" + push(1, "CC"), push(2, "DD")}, []string{"heard AA by 1", "heard BB by 2", "heard CC by 1", "heard DD by 2"}},
		"with and without info":            {[]string{push(1, "AA"), `{"push":{"channel":"g1","pub":{"data":"BB"}}}` + "\n" + push(1, "CC"), `{"push":{"channel":"g1","pub":{"data":"DD"}}}`}, []string{"heard AA by 1", "heard BB by 1", "heard CC by 1", "heard DD by 1"}},
		"with offsets":                     {[]string{`{"push":{"channel":"g1","pub":{"data":"AA","offset":1}}}`, `{"push":{"channel":"g1","pub":{"data":"BB","offset":2}}}`}, []string{"heard AA by 1 as #1", "heard BB by 1 as #2"}},
		"offsets of more digits":           {[]string{`{"push":{"channel":"g1","pub":{"data":"AA","offset":9,"info":{}}}}`, `{"push":{"channel":"g1","pub":{"data":"BB","offset":10,"info":{}}}}` + "\n" + `{"push":{"channel":"g1","pub":{"data":"CC","offset":9007199254740991,"info":{}}}}`}, []string{"heard AA by 1 as #9", "heard BB by 1 as #10", "heard CC by 1 as #9007199254740991"}},
		"an offset and none":               {[]string{`{"push":{"channel":"g1","pub":{"data":"AA","offset":9}}}`, push(1, "BB"), `{"push":{"channel":"g1","pub":{"data":"CC","offset":10}}}`}, []string{"heard AA by 1 as #9", "heard BB by 1", "heard CC by 1 as #10"}},
		"another number before the offset": {[]string{`{"push":{"channel":"g1","pub":{"data":"AA","info":{"offset":1},"offset":7}}}`, `{"push":{"channel":"g1","pub":{"data":"BB","info":{"offset":2},"offset":8}}}`}, []string{"heard AA by 1 as #7", "heard BB by 1 as #8"}},
		"another number alone":             {[]string{`{"push":{"channel":"g1","pub":{"data":"AA","info":{"offset":1}}}}`, `{"push":{"channel":"g1","pub":{"data":"BB","info":{"offset":2}}}}`}, []string{"heard AA by 1", "heard BB by 1"}},
		"an offset that is no number":      {[]string{`{"push":{"channel":"g1","pub":{"data":"AA","offset":1}}}`, `{"push":{"channel":"g1","pub":{"data":"BB","offset":02}}}`}, []string{"heard AA by 1 as #1", `heard {"push":{"channel":"g1","pub":{"data":"BB","offset":02}}} by -1`}},
		"in another order of fields":       {[]string{`{"push":{"pub":{"offset":1,"data":"AA"},"channel":"g1"}}`, `{"push":{"pub":{"offset":2,"data":"BB"},"channel":"g1"}}`}, []string{"heard AA by 1 as #1", "heard BB by 1 as #2"}},
		"the channel after the text":       {[]string{`{"push":{"pub":{"data":"AA"},"channel":"g1"}}`, `{"push":{"pub":{"data":"BB"},"channel":"g2"}}`}, []string{"heard AA by 1", "heard BB by 2"}},
		"with spaces":                      {[]string{`{"push": {"channel": "g1", "pub": {"data": "AA"}}}`, `{"push": {"channel": "g1", "pub": {"data": "BB"}}}`}, []string{"heard AA by 1", "heard BB by 1"}},
		"with escapes":                     {[]string{push(1, "AA"), push(1, `\u0042B`), push(1, "CC")}, []string{"heard AA by 1", "heard BB by 1", "heard CC by 1"}},
		"a channel that is no group":       {[]string{strings.Replace(push(1, "AA"), "g1", "other", 1)}, []string{"heard AA by -2"}},
		"data that is no text":             {[]string{`{"push":{"channel":"g1","pub":{"data":{"data":"AA"}}}}`, `{"push":{"channel":"g1","pub":{"data":{"data":"BB"}}}}`}, []string{`heard {"data":"AA"} by 1`, `heard {"data":"BB"} by 1`}},
		"a text in a field of another":     {[]string{`{"push":{"channel":"g1","pub":{"info":{"data":"x"},"data":"AA"}}}`, `{"push":{"channel":"g1","pub":{"info":{"data":"y"},"data":"BB"}}}`}, []string{"heard AA by 1", "heard BB by 1"}},
		"the same text before it":          {[]string{`{"push":{"channel":"g1","pub":{"info":{"data":"AA"},"data":"AA"}}}`, `{"push":{"channel":"g1","pub":{"info":{"data":"BB"},"data":"AA"}}}`}, []string{"heard AA by 1", "heard AA by 1"}},
		"the same, hidden by an escape":    {[]string{`{"push":{"channel":"g1","pub":{"info":{"data":"AA"},"data":"A\u0041"}}}`, `{"push":{"channel":"g1","pub":{"info":{"data":"BB"},"data":"A\u0041"}}}`}, []string{"heard AA by 1", "heard AA by 1"}},
		"not to its end":                   {[]string{push(1, "AA"), strings.TrimSuffix(push(1, "BB"), "}"), push(1, "CC")}, []string{"heard AA by 1", "heard " + strings.TrimSuffix(push(1, "BB"), "}") + " by -1", "heard CC by 1"}},
		"beyond its end":                   {[]string{push(1, "AA"), push(1, "BB") + "}"}, []string{"heard AA by 1", "heard " + push(1, "BB") + "} by -1"}},
		"without a quote":                  {[]string{push(1, "AA"), `{"push":{"channel":"g1","pub":{"data":"BB`}, []string{"heard AA by 1", `heard {"push":{"channel":"g1","pub":{"data":"BB by -1`}},
		"a tail of another head":           {[]string{`{"push":{"channel":"g1","pub":{"data":"AA"}}}`, `{"push":{"pub":{"data":"BB"},"channel":"g2"}}`, `{"push":{"channel":"g1","pub":{"data":"CC"},"channel":"g2"}}`}, []string{"heard AA by 1", "heard BB by 2", "heard CC by 2"}},
		"who came and went, unasked":       {[]string{`{"push":{"channel":"g1","join":{"info":{"user":"","client":"x"}}}}` + "\n" + `{"push":{"channel":"g1","leave":{"info":{"user":"","client":"x"}}}}`}, nil},
		"replies":                          {[]string{`{"id":7,"publish":{}}` + "\n" + push(1, "AA") + "\n" + `{"error":{"code":100},"id":8}`}, []string{`replied {"id":7,"publish":{}}`, "heard AA by 1", `replied {"error":{"code":100},"id":8}`}},
		"nothing of the protocol":          {[]string{"[]", `{"hello":1}`, `{"push":{"channel":"g1","message":{"data":"AA"}}}`}, []string{"heard [] by -1", `heard {"hello":1} by -1`, `heard {"push":{"channel":"g1","message":{"data":"AA"}}} by -1`}},
		"the end of a subscription":        {[]string{`{"push":{"channel":"g1","unsubscribe":{"code":2500,"reason":"gap"}}}` + "\n" + push(1, "AA")}, []string{`cut: unsubscribed by the server with 2500 "gap"`}},
		"the end of the connection":        {[]string{`{"push":{"disconnect":{"code":3503,"reason":"kicked"}}}`}, []string{`cut: disconnected by the server with 3503 "kicked"`}},
		"a frame over the bound of others": {[]string{strings.TrimSuffix(strings.Repeat(push(1, strings.Repeat("x", 60_000))+"\n", 16), "\n")}, slices.Repeat([]string{"heard " + strings.Repeat("x", 60_000) + " by 1"}, 16)},
	} {
		for _, again := range []bool{false, true} { // what is told the second time may be known by its shape
			g, conn, play, _ := centrifugeClient(t, stateReady)
			var frames []byte
			for _, said := range c.said {
				frames = append(frames, serverFrame(said)...)
			}
			want := c.want
			if again {
				g.take(conn, frames, 0)
				if conn.Dead() {
					continue
				}
				want = append(slices.Clone(want), want...)
			}
			g.take(conn, frames, 0)
			if !slices.Equal(play.told, want) {
				t.Errorf("%s, again %v: got %.300q, want %.300q", name, again, play.told, want)
			}
		}
	}
}

// Whatever a server says, what is read by its shape is what a decoder makes of it.
func FuzzShapes(f *testing.F) {
	push := `{"push":{"channel":"g1","pub":{"data":"AAA","info":{"user":"","client":"x"}}}}`
	f.Add(push, strings.Replace(push, "AAA", "BBB", 1))
	f.Add(push, strings.Replace(push, "g1", "g2", 1))
	f.Add(push, strings.Replace(push, "AAA", `B\"B`, 1))
	f.Add(push, push+"\n"+push)
	f.Add(`{"push":{"pub":{"data":"AAA"},"channel":"g1"}}`, `{"push":{"pub":{"data":"BBB"},"channel":"g2"}}`)
	f.Add(`{"push":{"channel":"g1","pub":{"info":{"data":"AAA"},"data":"AAA"}}}`, `{"push":{"channel":"g1","pub":{"info":{"data":"BBB"},"data":"AAA"}}}`)
	f.Add(`{"push":{"channel":"g1","pub":{"data":"AAA","offset":9}}}`, `{"push":{"channel":"g1","pub":{"data":"BBB","offset":10}}}`)
	f.Add(`{"push":{"channel":"g1","pub":{"data":"AAA","offset":9,"Offset":9}}}`, `{"push":{"channel":"g1","pub":{"data":"BBB","offset":10,"Offset":9}}}`)
	f.Add(`{"push":{"channel":"g1","pub":{"data":"AAA","info":{"offset":9},"offset":9}}}`, `{"push":{"channel":"g1","pub":{"data":"BBB","info":{"offset":10},"offset":9}}}`)
	f.Fuzz(func(t *testing.T, first, second string) {
		g, conn, play, _ := centrifugeClient(t, stateReady)
		g.lines(conn, []byte(first), 0)
		if conn.Dead() {
			return
		}
		play.told = nil
		text, from, size := g.shapes.read([]byte(second))
		if size == 0 || strings.ContainsFunc(string(text), func(r rune) bool { return r < ' ' || r == utf8.RuneError }) {
			return // a play would find it altered
		}
		g.shapes = shapes{}
		line, _, _ := strings.Cut(second, "\n")
		g.lines(conn, []byte(line), 0)
		told := play.told
		play.told = nil
		if play.Heard(conn, text, from, 0); !slices.Equal(play.told, told) {
			t.Errorf("after %q: %q is read as %q, and decoded as %q", first, second, play.told, told)
		}
	})
}

func TestAKnownShapeIsReadWithoutADecoder(t *testing.T) {
	g, conn, _, _ := centrifugeClient(t, stateReady)
	g.SetPlay(Idle{})
	var frames []byte
	for publisher := range 3 {
		for _, group := range []int{1, 2} {
			frames = append(frames, serverFrame(fmt.Sprintf(`{"push":{"channel":"g%d","pub":{"data":"text","info":{"user":"","client":"%d"}}}}`, group, publisher))...)
		}
	}
	frames = append(frames, serverFrame(`{"id":7,"publish":{}}`)...)
	g.take(conn, frames, 0)
	if n := testing.AllocsPerRun(100, func() { g.take(conn, frames, 0) }); n > 0 {
		t.Errorf("got %v allocations, want none", n)
	}
	line := []byte(`{"id":4294967295,"publish":{}}`)
	if n := testing.AllocsPerRun(100, func() { checkCentrifugeReply(OfSend, line, AnyID) }); n > 0 {
		t.Errorf("got %v allocations for the reply to a publish, want none", n)
	}
}

func TestShapesAreBounded(t *testing.T) {
	var s shapes
	for i := range 3 * shapesMax {
		s.learn(fmt.Appendf(nil, `{"push":{"channel":"g","pub":{"data":"XX","n":%d}}}`, i), "XX", Origin{Group: 1})
		if s.count > shapesMax {
			t.Fatalf("got %d, want at most %d", s.count, shapesMax)
		}
	}
	line := fmt.Appendf(nil, `{"push":{"channel":"g","pub":{"data":"y","n":%d}}}`, 3*shapesMax-1)
	if text, from, size := s.read(line); string(text) != "y" || from.Group != 1 || size != len(line) {
		t.Errorf("got %q by %d, %d bytes, want the shape that came last to be known", text, from.Group, size)
	}
}

func TestPingsAreAnsweredInEveryStateButAfterTheClose(t *testing.T) {
	for state, want := range map[connState]int{stateGreeting: 1, stateJoining: 1, stateReady: 1, stateClosing: 0} {
		g, conn, play, fd := centrifugeClient(t, state)
		g.take(conn, serverFrame("{}"), 0)
		if got := written(t, fd); len(got) != want || want == 1 && got[0] != "{}" || len(play.told) > 0 || int(g.pings) != want {
			t.Errorf("state %d: got %q written, %d counted and %q told, want %d pongs", state, got, g.pings, play.told, want)
		}
	}
}

func TestAClientConnectsAndThenJoins(t *testing.T) {
	g, conn, play, fd := centrifugeClient(t, stateUpgrading)
	conn.asks, conn.Member, conn.Group = 0, 0, 5
	g.upgraded(conn)
	g.take(conn, serverFrame(`{"id":7,"connect":{"client":"x"}}`), 0)
	g.take(conn, serverFrame(`{"id":8,"subscribe":{}}`), 0)
	if got := written(t, fd); !slices.Equal(got, []string{`{"id":7,"connect":{"name":"bench"}}`, `{"id":8,"subscribe":{"channel":"g5"}}`}) ||
		!slices.Equal(play.told, []string{`replied {"id":8,"subscribe":{}}`, "opened"}) || conn.NextID() != 9 || g.opening.pending != 0 {
		t.Errorf("got %q written, %q told, %d pending", got, play.told, g.opening.pending)
	}
}

func TestAWrongReplyEndsTheOpening(t *testing.T) {
	for state, cases := range map[connState]map[string]string{
		stateGreeting: {
			`{"id":7,"error":{"code":101,"message":"unauthorized"}}`: `connect: refused with 101 "unauthorized"`,
			`{"id":8,"connect":{}}`:                                  "connect: the reply has another id",
			`{"id":7}`:                                               "connect: the reply is neither to that nor an error",
			`{"id":7,"subscribe":{}}`:                                "connect: the reply is neither to that nor an error",
			`{"push":{"disconnect":{"code":3500,"reason":"invalid token"}}}`: `disconnected by the server with 3500 "invalid token"`,
			`{"push":{"channel":"g1","pub":{"data":"a"}}}`:                   `before the join was proved the server said "{\"push\":{\"channel\":\"g1\",\"pub\":{\"data\":\"a\"}}}"`,
			`hello`: `before the join was proved the server said "hello"`,
		},
		stateJoining: {
			`{"id":7,"error":{"code":106,"message":"limit exceeded"}}`: `join: refused with 106 "limit exceeded"`,
			`{"id":6,"subscribe":{}}`:                                  "join: the reply has another id",
			`{"id":7,"connect":{}}`:                                    "join: the reply is neither to that nor an error",
			`{"id":7,"subscribe":7}`:                                   "join: the reply is not the JSON of a reply",
		},
	} {
		for said, want := range cases {
			g, conn, play, _ := centrifugeClient(t, state)
			g.take(conn, serverFrame(said), 0)
			if !slices.Equal(play.told, []string{"cut: " + want}) || g.opening.pending != 0 {
				t.Errorf("%s: got %q, want a cut by %q", said, play.told, want)
			}
		}
	}
}

func TestRepliesToPublishesAreToldApart(t *testing.T) {
	for said, want := range map[string]string{
		`{"id":1,"publish":{}}`:                        "",
		`{"id":4294967295,"publish":{}}`:               "",
		`{"publish":{},"id":1}`:                        "",
		`{"id": 1, "publish": {}}`:                     "",
		`{"id":1,"error":{"code":111,"message":"no"}}`: `publish: refused with 111 "no"`,
		`{"id":1,"subscribe":{}}`:                      "publish: the reply is neither to that nor an error",
		`{"id":,"publish":{}}`:                         "publish: the reply is not the JSON of a reply",
		`{"id":x,"publish":{}}`:                        "publish: the reply is not the JSON of a reply",
	} {
		got := ""
		if err := Centrifuge.CheckReply(OfSend, "", []byte(said), AnyID); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", said, got, want)
		}
	}
}

func TestCommandsAreJSONOfTheRightLength(t *testing.T) {
	for _, d := range []Dialect{Plain, Centrifuge, ""} {
		send := d.Send("g1")
		for _, id := range []int{1, 9, 10, 99, 100, 12345, IDMax} {
			b := send.AppendEnd(append(send.AppendStart(nil, id), "hi"...))
			var c struct {
				ID      int
				Group   string `json:"group_id"`
				Message string
				Publish struct{ Channel, Data string }
			}
			if err := json.Unmarshal(b, &c); err != nil || len(b) != send.Len(id, 2) || send.Numbered() != (d == Centrifuge) {
				t.Fatalf("%s: %v, %d bytes, want %d", b, err, len(b), send.Len(id, 2))
			}
			if plain := c.Group == "g1" && c.Message == "hi" && c.ID == 0; d != Centrifuge && !plain {
				t.Errorf("got %s", b)
			}
			if d == Centrifuge && (c.Publish.Channel != "g1" || c.Publish.Data != "hi" || c.ID != id) {
				t.Errorf("got %s", b)
			}
		}
	}
}

// A read of what a server sends to one member, and all that this package does with it.
func BenchmarkTake(b *testing.B) {
	text := strings.Repeat("x", 64)
	for name, c := range map[string]struct {
		dialect Dialect
		said    []string
	}{
		"plain":                 {Plain, []string{text}},
		"centrifuge":            {Centrifuge, []string{fmt.Sprintf(`{"push":{"channel":"g1","pub":{"data":"%s","info":{"user":"","client":"7ad6f8a0-7f60-4d46-9d5c-0f2c7b1f1a11"}}}}`, text)}},
		"centrifuge, no info":   {Centrifuge, []string{fmt.Sprintf(`{"push":{"channel":"g1","pub":{"data":"%s"}}}`, text)}},
		"centrifuge, an offset": {Centrifuge, []string{fmt.Sprintf(`{"push":{"channel":"g1","pub":{"data":"%s","info":{"user":"","client":"7ad6f8a0-7f60-4d46-9d5c-0f2c7b1f1a11"},"offset":1234}}}`, text)}},
		"centrifuge, 2 publishers": {Centrifuge, []string{
			fmt.Sprintf(`{"push":{"channel":"g1","pub":{"data":"%s","info":{"user":"","client":"7ad6f8a0-7f60-4d46-9d5c-0f2c7b1f1a11"}}}}`, text),
			fmt.Sprintf(`{"push":{"channel":"g1","pub":{"data":"%s","info":{"user":"","client":"7ad6f8a0-7f60-4d46-9d5c-0f2c7b1f1a12"}}}}`, text)}},
		"pusher":                 {Pusher, []string{fmt.Sprintf(`{"event":"client-bench","channel":"g1","data":"%s"}`, text)}},
		"centrifuge, 16 a frame": {Centrifuge, []string{strings.TrimSuffix(strings.Repeat(fmt.Sprintf(`{"push":{"channel":"g1","pub":{"data":"%s"}}}`+"\n", text), 16), "\n")}},
	} {
		b.Run(name, func(b *testing.B) {
			g, conn, _, _ := centrifugeClient(b, stateReady)
			g.target.Dialect = c.dialect
			g.SetPlay(Idle{})
			var frames []byte
			texts := 0
			for len(frames) < 64<<10 {
				for _, said := range c.said {
					frames = append(frames, serverFrame(said)...)
					texts += strings.Count(said, text)
				}
			}
			for b.Loop() {
				g.take(conn, frames, 0)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(texts), "ns/text")
		})
	}
}
