package client

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// pusherClient is as centrifugeClient, in this dialect.
func pusherClient(t testing.TB, state connState) (*Generator, *Conn, *recorder, int) {
	g, conn, play, fd := centrifugeClient(t, state)
	g.target.Dialect, g.target.App = Pusher, App{Key: "278d425bdf160c739803", Secret: "7ad3773142a6692b25b8", Channels: PrivateChannels}
	return g, conn, play, fd
}

// The signatures are those of the protocol's public description.
func TestSubscribesAreSigned(t *testing.T) {
	app := App{Key: "278d425bdf160c739803", Secret: "7ad3773142a6692b25b8", Channels: PrivateChannels}
	if got, want := string(app.subscribe("private-foobar", "1234.1234", 1)),
		`{"event":"pusher:subscribe","data":{"auth":"278d425bdf160c739803:58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4","channel":"private-foobar"}}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := app.Sign(`1234.1234:presence-foobar:{"user_id":10,"user_info":{"name":"Mr. Channels"}}`),
		"31935e7d86dba64c2a90aed31fdc61869f9b22ba9d8863bba239c03ca481bc80"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	app.Channels = PresenceChannels
	var said struct {
		Data struct {
			Auth, Channel string
			ChannelData   string `json:"channel_data"`
		}
	}
	if err := json.Unmarshal(app.subscribe("presence-a", "1.2", 7), &said); err != nil || said.Data.ChannelData != `{"user_id":"7"}` ||
		said.Data.Auth != app.Key+":"+app.Sign(`1.2:presence-a:{"user_id":"7"}`) {
		t.Errorf("got %v, %+v", err, said)
	}
}

func TestEachEventIsHeard(t *testing.T) {
	event := func(group int, text string) string {
		return fmt.Sprintf(`{"event":"client-bench","channel":"g%d","data":"%s"}`, group, text)
	}
	for name, c := range map[string]struct{ said, want []string }{
		"one":                        {[]string{event(1, "AA")}, []string{"heard AA by 1"}},
		"channels in turn":           {[]string{event(1, "AA"), event(2, "BB"), event(1, "CC")}, []string{"heard AA by 1", "heard BB by 2", "heard CC by 1"}},
		"of several users":           {[]string{strings.Replace(event(1, "AA"), `"}`, `","user_id":"5"}`, 1), strings.Replace(event(1, "BB"), `"}`, `","user_id":"6"}`, 1)}, []string{"heard AA by 1", "heard BB by 1"}},
		"in another order of fields": {[]string{`{"data":"AA","channel":"g1","event":"client-bench"}`, `{"data":"BB","channel":"g2","event":"client-bench"}`}, []string{"heard AA by 1", "heard BB by 2"}},
		"with spaces":                {[]string{`{"event": "client-bench", "channel": "g1", "data": "AA"}`}, []string{"heard AA by 1"}},
		"with escapes":               {[]string{event(1, "AA"), event(1, `\u0042B`), event(1, "CC")}, []string{"heard AA by 1", "heard BB by 1", "heard CC by 1"}},
		"a channel that is no group": {[]string{strings.Replace(event(1, "AA"), "g1", "other", 1)}, []string{"heard AA by -2"}},
		"another event":              {[]string{event(1, "AA"), strings.Replace(event(1, "BB"), "bench", "other", 1)}, []string{"heard AA by 1", "heard " + strings.Replace(event(1, "BB"), "bench", "other", 1) + " by -1"}},
		"data that is no text":       {[]string{`{"event":"client-bench","channel":"g1","data":7}`}, []string{`heard {"event":"client-bench","channel":"g1","data":7} by -1`}},
		"no data":                    {[]string{`{"event":"client-bench","channel":"g1"}`}, []string{`heard {"event":"client-bench","channel":"g1"} by -1`}},
		"two in a frame":             {[]string{event(1, "AA"), event(1, "BB") + "\n" + event(1, "CC")}, []string{"heard AA by 1", "heard " + event(1, "BB") + "\n" + event(1, "CC") + " by -1"}},
		"not to its end":             {[]string{event(1, "AA"), strings.TrimSuffix(event(1, "BB"), "}")}, []string{"heard AA by 1", "heard " + strings.TrimSuffix(event(1, "BB"), "}") + " by -1"}},
		"who comes and goes, and how many": {[]string{`{"event":"pusher_internal:member_added","channel":"g1","data":"{}"}`, `{"event":"pusher_internal:member_removed","channel":"g1","data":"{}"}`,
			`{"event":"pusher_internal:subscription_count","channel":"g1","data":"{}"}`, `{"event":"pusher:pong","data":"{}"}`}, nil},
		"an answer":          {[]string{`{"event":"pusher:error","data":"{}"}`}, []string{`replied {"event":"pusher:error","data":"{}"}`}},
		"a greeting, late":   {[]string{`{"event":"pusher:connection_established","data":"{}"}`}, []string{`heard {"event":"pusher:connection_established","data":"{}"} by -1`}},
		"a text of 60,000 B": {[]string{event(1, strings.Repeat("x", 60_000))}, []string{"heard " + strings.Repeat("x", 60_000) + " by 1"}},
	} {
		for _, again := range []bool{false, true} { // what is told the second time may be known by its shape
			g, conn, play, _ := pusherClient(t, stateReady)
			var frames []byte
			for _, said := range c.said {
				frames = append(frames, serverFrame(said)...)
			}
			want := c.want
			if again {
				g.take(conn, frames, 0)
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
func FuzzPusherShapes(f *testing.F) {
	event := `{"event":"client-bench","channel":"g1","data":"AAA","user_id":"7"}`
	f.Add(event, strings.Replace(event, "AAA", "BBB", 1))
	f.Add(event, strings.Replace(event, "g1", "g2", 1))
	f.Add(event, strings.Replace(event, "AAA", `B\"B`, 1))
	f.Add(event, event+"\n"+event)
	f.Add(`{"data":"AAA","event":"client-bench","channel":"g1"}`, `{"data":"BBB","event":"client-bench","channel":"g1","data":"CCC"}`)
	f.Add(`{"event":"client-bench","channel":"g1","data":"AAA","offset":7}`, `{"event":"client-bench","channel":"g1","data":"BBB","offset":8}`)
	f.Fuzz(func(t *testing.T, first, second string) {
		g, conn, play, _ := pusherClient(t, stateReady)
		g.pusher(conn, []byte(first), 0)
		play.told = nil
		text, from, size := g.shapes.read([]byte(second))
		if size != len(second) || strings.ContainsFunc(string(text), func(r rune) bool { return r < ' ' || r == utf8.RuneError }) {
			return // it is decoded, or a play would find it altered
		}
		g.shapes = shapes{}
		g.pusher(conn, []byte(second), 0)
		told := play.told
		play.told = nil
		if play.Heard(conn, text, from, 0); !slices.Equal(play.told, told) {
			t.Errorf("after %q: %q is read as %q, and decoded as %q", first, second, play.told, told)
		}
	})
}

func TestAKnownEventIsReadWithoutADecoder(t *testing.T) {
	g, conn, _, _ := pusherClient(t, stateReady)
	g.SetPlay(Idle{})
	var frames []byte
	for user := range 3 {
		for _, group := range []int{1, 2} {
			frames = append(frames, serverFrame(fmt.Sprintf(`{"event":"client-bench","channel":"g%d","data":"text","user_id":"u%d"}`, group, user))...)
		}
	}
	g.take(conn, frames, 0)
	if n := testing.AllocsPerRun(100, func() { g.take(conn, frames, 0) }); n > 0 {
		t.Errorf("got %v allocations, want none", n)
	}
}

func TestPusherPingsAreAnsweredInEveryStateButAfterTheClose(t *testing.T) {
	for state, want := range map[connState][]string{stateJoining: {pusherPong}, stateReady: {pusherPong}, stateClosing: nil} {
		g, conn, play, fd := pusherClient(t, state)
		g.take(conn, serverFrame(`{"event":"pusher:ping","data":"{}"}`), 0)
		if got := written(t, fd); !slices.Equal(got, want) || len(play.told) > 0 || int(g.pings) != len(want) {
			t.Errorf("state %d: got %q written, %d counted and %q told, want %q", state, got, g.pings, play.told, want)
		}
	}
}

func TestAClientIsGreetedAndThenJoins(t *testing.T) {
	g, conn, play, fd := pusherClient(t, stateUpgrading)
	conn.Member, conn.Group = 0, 5
	g.upgraded(conn)
	g.take(conn, serverFrame(`{"event":"pusher:connection_established","data":"{\"socket_id\":\"12.34\",\"activity_timeout\":30}"}`), 0)
	reply := `{"event":"pusher_internal:subscription_succeeded","channel":"g5","data":"{}"}`
	g.take(conn, serverFrame(reply), 0)
	b, want := make([]byte, 4096), g.target.App.subscribe("g5", "12.34", 6)
	n, err := unix.Read(fd, b)
	if err != nil || n != len(want)+8 { // its length is in two bytes
		t.Fatalf("got %d bytes, %v, want %d", n, err, len(want)+8)
	}
	if Mask(b[8:n], [4]byte(b[4:8])); string(b[8:n]) != string(want) {
		t.Errorf("got %q written, want %q", b[8:n], want)
	}
	if !slices.Equal(play.told, []string{"replied " + reply, "opened"}) || g.opening.pending != 0 {
		t.Errorf("got %q told, %d pending", play.told, g.opening.pending)
	}
}

// Who publishes joins the groups to which it does so, and nobody else that is no member joins any.
func TestASenderJoinsItsGroups(t *testing.T) {
	for _, sends := range []bool{false, true} {
		g, conn, play, _ := pusherClient(t, stateUpgrading)
		g.roster.Sends = func(number int) []int { return []int{number, number + 1} }
		conn.sends = sends
		g.upgraded(conn)
		g.take(conn, serverFrame(`{"event":"pusher:connection_established","data":"{\"socket_id\":\"12.34\",\"activity_timeout\":30}"}`), 0)
		if sends == conn.Ready() {
			t.Fatalf("it sends %v: got %q", sends, play.told)
		}
		for i := range 2 {
			if sends {
				g.take(conn, serverFrame(fmt.Sprintf(`{"event":"pusher_internal:subscription_succeeded","channel":"g%d","data":"{}"}`, 6+i)), 0)
			}
		}
		if !conn.Ready() || g.opening.pending != 0 {
			t.Errorf("it sends %v: got %q, %d pending", sends, play.told, g.opening.pending)
		}
	}
}

func TestOnlyASubscriptionAnswersAJoin(t *testing.T) {
	for said, want := range map[string]string{
		`{"event":"pusher_internal:subscription_succeeded","channel":"presence-g","data":"{\"presence\":{\"count\":1}}"}`: "",
		`{"event":"pusher_internal:subscription_succeeded","channel":"presence-g","data":"{}"}`:                           "join: the reply does not say who is there",
		`{"event":"pusher_internal:subscription_succeeded","channel":"presence-g","data":{"presence":{}}}`:                "join: the reply does not say who is there",
		`{"event":"pusher_internal:subscription_succeeded","channel":"presence-h","data":"{}"}`:                           "join: the reply is for another channel",
		`{"event":"pusher:subscription_error","channel":"presence-g","data":"{\"status\":401}"}`:                          `join: refused with {"status":401}`,
		`{"event":"pusher:error","data":"{\"code\":null}"}`:                                                               `join: refused with {"code":null}`,
		`{"event":"pusher:pong"}`: `join: answered by the event "pusher:pong"`,
		`hello`:                   "join: the reply is not the JSON of an event",
	} {
		got := ""
		if err := Pusher.CheckReply(OfJoin, "presence-g", []byte(said), AnyID); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", said, got, want)
		}
	}
	if err := Pusher.CheckReply(OfSend, "", []byte(`{"event":"pusher_internal:subscription_succeeded","channel":"","data":"{}"}`), AnyID); err == nil {
		t.Error("got no error for the answer to a join, where nothing was joined")
	}
}

func TestAClientEventIsJSONOfTheRightLength(t *testing.T) {
	send := Pusher.Send("g1")
	b := send.AppendEnd(append(send.AppendStart(nil, 5), "hi"...))
	if string(b) != `{"event":"client-bench","channel":"g1","data":"hi"}` || len(b) != send.Len(5, 2) || send.Numbered() {
		t.Errorf("got %s, %d bytes, want %d", b, len(b), send.Len(5, 2))
	}
}

// The signature is that of the protocol's public description.
func TestPostsAreSigned(t *testing.T) {
	app := App{Key: "278d425bdf160c739803", Secret: "7ad3773142a6692b25b8"}
	got := app.SignPost("/apps/3/events", []byte(`{"name":"foo","channels":["project-3"],"data":"{\"some\":\"data\"}"}`), time.Unix(1353088179, 0))
	want := "auth_key=278d425bdf160c739803&auth_timestamp=1353088179&auth_version=1.0&body_md5=ec365a775a4cd0599faeb73354201b6f" +
		"&auth_signature=da454824c97ba181a32ccc17a72625ba02771f50b50e1e7430e47a1f3f457e6c"
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
