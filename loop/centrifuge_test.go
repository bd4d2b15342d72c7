package loop

import (
	"fmt"
	"strings"
	"testing"

	"ringcast/dialect"
	"ringcast/wsproto"
)

// What loops do for a dialect whose clients connect before they say anything else.

const centrifugePath = "/connection/websocket"

func newCentrifugeStage(loops int, change func(*bounds)) *stage {
	return newStage(loops, change, dialect.Centrifuge([16]byte{1}))
}

func (st *stage) connect(loop int) *stageConn {
	c := st.enterAt(loop, centrifugePath)
	c.say(`{"id":1,"connect":{}}`)
	return c
}

// lines are the texts of the frames that a client has heard.
func (c *stageConn) lines(t *testing.T) (texts []string) {
	t.Helper()
	for in := string(c.out); len(in) > 0; {
		n, at := int(in[1]), 2
		if n == 126 {
			n, at = int(in[2])<<8|int(in[3]), 4
		}
		texts = append(texts, in[at:at+n])
		in = in[at+n:]
	}
	c.out = nil
	return texts
}

func (c *stageConn) heardExactly(t *testing.T, want ...string) {
	t.Helper()
	got := c.lines(t)
	if len(got) != len(want) {
		t.Fatalf("heard %q, want %q", got, want)
	}
	for i, text := range got {
		if before, after, some := strings.Cut(want[i], "…"); text != want[i] && (!some || !strings.HasPrefix(text, before) || !strings.HasSuffix(text, after)) {
			t.Errorf("heard %q, want %q", text, want[i])
		}
	}
}

func TestACentrifugeClientAndAPlainOneHearEachOther(t *testing.T) {
	st := newCentrifugeStage(2, nil)
	page, seed := st.connect(0), st.enter(1)
	page.heardExactly(t, `{"id":1,"connect":{"client":"…","version":"ringcast","ping":60,"pong":true}}`)
	page.say(`{"id":2,"subscribe":{"channel":"0g","flag":1}}`)
	seed.say(`{"cmd":"add_group","group_id":"0g"}`)
	st.settle()
	page.heardExactly(t, `{"id":2,"subscribe":{}}`)
	seed.say(`{"cmd":"send_to_group","group_id":"0g","message":"hi \"you\""}`)
	seed.say(`{"cmd":"send_to_group","group_id":"0g","message":{"a": 1}}`)
	page.say(`{"id":3,"publish":{"channel":"0g","data":{"n":1}}}` + "\n" + `{"id":4,"publish":{"channel":"0g","data":"text"}}` + "\n" + `{"id":5,"presence_stats":{"channel":"0g"}}`)
	st.settle()
	got := strings.Join(page.lines(t), "\n")
	for _, want := range []string{
		`{"push":{"channel":"0g","pub":{"data":"hi \"you\""}}}`, `{"push":{"channel":"0g","pub":{"data":{"a": 1}}}}`,
		`{"push":{"channel":"0g","pub":{"data":{"n":1},"info":{"user":"","client":"`, `"pub":{"data":"text"`,
		`{"id":3,"publish":{}}`, `{"id":4,"publish":{}}`, `{"id":5,"presence_stats":{"num_clients":2}}`,
	} {
		if strings.Count(got, want) != 1 {
			t.Errorf("the page heard %s\nwant %s in it, once", got, want)
		}
	}
	seed.heard(t, `hi "you"`)
	seed.heard(t, `{"n":1}`)
	seed.heard(t, "\x81\x04text")
}

func TestNothingIsSaidBeforeAConnectAndNoneAfterIt(t *testing.T) {
	for name, said := range map[string][]string{
		"a command first":        {`{"id":1,"subscribe":{"channel":"0g"}}`},
		"a refused command":      {`{"id":1,"history":{"channel":"0g"}}`},
		"a pong first":           {`{}`},
		"a second connect":       {`{"id":1,"connect":{}}`, `{"id":2,"connect":{}}`},
		"nonsense":               {`{"id":1,"connect":{}}`, `nonsense`},
		"nonsense first":         {`[]`},
		"what is never answered": {`{"id":1,"connect":{}}`, `{"send":{"data":1}}`},
	} {
		t.Run(name, func(t *testing.T) {
			st := newCentrifugeStage(1, nil)
			c := st.enterAt(0, centrifugePath)
			for _, text := range said {
				c.say("%s", text)
			}
			st.settle()
			if c.client.state != stateClosing || !strings.Contains(string(c.out), "\x0d\xad") && !strings.Contains(string(c.out), "\x0d\xb4not available") { // 3501, 3508
				t.Errorf("in state %d, heard %q; want it closed with 3501 or 3508", c.client.state, c.out)
			}
			if total := st.hub.Snapshot().Total(); total.Members != 0 {
				t.Errorf("got %d members, want none", total.Members)
			}
		})
	}
}

func TestAConnectThatNeverComesEndsTheClient(t *testing.T) {
	st := newCentrifugeStage(1, func(b *bounds) { b.handshakeTicks, b.heartbeatTicks = 5, 2 })
	silent, connected, plain := st.enterAt(0, centrifugePath), st.connect(0), st.enter(0)
	connected.out = nil
	for range 5 {
		st.hub.beat()
		st.settle()
		connected.say(`{}`)
		plain.say(`{}`)
	}
	if silent.client.state != stateClosing || !strings.Contains(string(silent.out), "\x0d\xaestale") { // 3502
		t.Errorf("in state %d, heard %q; want it closed with 3502 and no ping before", silent.client.state, silent.out)
	}
	if connected.client.state != stateOpen || plain.client.state != stateOpen || len(st.hub.shards[0].deadlines.list) != 1 {
		t.Errorf("got states %d and %d, %d deadlines; want both open, and the one of who was closed", connected.client.state, plain.client.state, len(st.hub.shards[0].deadlines.list))
	}
}

func TestASilentCentrifugeClientIsPingedInItsOwnWay(t *testing.T) {
	st := newCentrifugeStage(1, func(b *bounds) { b.heartbeatTicks = 2 })
	c := st.connect(0)
	c.out = nil
	for range 3 {
		st.hub.beat()
		st.settle()
	}
	c.heardExactly(t, "{}")
	for range 4 {
		st.hub.beat()
		st.settle()
	}
	if !strings.Contains(string(c.out), "\x0b\xc4no pong") { // 3012
		t.Errorf("heard %q, want it closed with 3012", c.out)
	}
}

// For tools that answer WebSocket's own pings and know nothing of the protocol's.
func TestACentrifugeClientThatAsksForPingsOfWebSocketGetsNoOthers(t *testing.T) {
	st := newCentrifugeStage(1, func(b *bounds) { b.heartbeatTicks = 3 })
	tool, page, plain := st.enterAt(0, centrifugePath+"?cf_ws_frame_ping_pong=true"), st.connect(0), st.enterAt(0, "/?cf_ws_frame_ping_pong=true")
	tool.say(`{"id":1,"connect":{}}`)
	tool.heardExactly(t, `{"id":1,"connect":{"client":"…","version":"ringcast"}}`)
	page.heardExactly(t, `{"id":1,"connect":{"client":"…","version":"ringcast","ping":60,"pong":true}}`)
	beats := func(n int) {
		for range n {
			st.hub.beat()
			st.settle()
		}
	}
	beats(5)
	for who, c := range map[string]*stageConn{"the tool": tool, "the plain client": plain} {
		if string(c.out) != "\x89\x00" {
			t.Errorf("%s heard %q, want one ping of WebSocket", who, c.out)
		}
		c.out = nil
		c.frame(wsproto.OpPong, "")
	}
	page.heardExactly(t, `{}`)
	page.say(`{}`)
	beats(2)
	if got := string(tool.out) + string(plain.out) + string(page.out); got != "" {
		t.Fatalf("after the pongs they heard %q, want nothing yet", got)
	}
	beats(8)
	if got, sent := string(tool.out), st.hub.Snapshot().Total().Pings; got != "\x89\x00\x88\x09\x0b\xc4no pong" || sent != 6 { // 3012
		t.Errorf("after a long silence the tool heard %q, and %d pings were sent; want a ping and a close with 3012, and 6", got, sent)
	}
}

func TestACentrifugeClientSubscribesOnce(t *testing.T) {
	st := newCentrifugeStage(2, nil)
	c := st.connect(0)
	c.out = nil
	letGo := st.hold(1)
	c.say(`{"id":2,"subscribe":{"channel":"1g"}}` + "\n" + `{"id":3,"subscribe":{"channel":"1g"}}` + "\n" + `{"id":4,"unsubscribe":{"channel":"1g"}}` + "\n" + `{"id":5,"subscribe":{"channel":"1g"}}`)
	letGo()
	st.settle()
	c.say(`{"id":6,"subscribe":{"channel":"1g"}}`)
	got := strings.Join(c.lines(t), "\n")
	for _, want := range []string{`{"id":3,"error":{"code":105,"message":"already subscribed"}}`, `{"id":4,"unsubscribe":{}}`, `{"id":5,"subscribe":{}}`, `{"id":6,"error":{"code":105,"message":"already subscribed"}}`} {
		if strings.Count(got, want) != 1 {
			t.Errorf("heard %s\nwant %s in it", got, want)
		}
	}
	if total := st.hub.Snapshot().Total(); total.Members != 1 || total.CommandErrors != 2 {
		t.Errorf("got %d members, %d wrong commands, want 1 and 2", total.Members, total.CommandErrors)
	}
}

func TestStatsAreForMembers(t *testing.T) {
	st := newCentrifugeStage(1, nil)
	c, other := st.connect(0), st.enter(0)
	other.say(`{"cmd":"add_group","group_id":"0g"}`)
	c.out = nil
	c.say(`{"id":2,"presence_stats":{"channel":"0g"}}` + "\n" + `{"id":3,"presence_stats":{"channel":"0nobody"}}`)
	c.heardExactly(t, `{"id":2,"error":{"code":103,"message":"permission denied"}}`, `{"id":3,"error":{"code":103,"message":"permission denied"}}`)
}

// What centrifuge-js does: who joins, leaves and joins in one breath is in, to it, with the first answer.
func TestStatsOfWhoHasAskedToJoinAreAnsweredBehindTheJoin(t *testing.T) {
	st := newCentrifugeStage(2, func(b *bounds) { b.MembersMax = 1 })
	c, refused, left := st.connect(1), st.connect(1), st.connect(1)
	letGo := st.hold(0)
	for _, c := range []*stageConn{c, refused} {
		c.out = nil
		c.say(`{"id":2,"subscribe":{"channel":"0g"}}` + "\n" + `{"id":3,"unsubscribe":{"channel":"0g"}}` + "\n" + `{"id":4,"presence_stats":{"channel":"0g"}}` + "\n" +
			`{"id":5,"subscribe":{"channel":"0g"}}` + "\n" + `{"id":6,"presence_stats":{"channel":"0g"}}`)
		c.heardExactly(t, `{"id":3,"unsubscribe":{}}`, `{"id":4,"error":{"code":103,"message":"permission denied"}}`)
		c.out = nil
	}
	left.out = nil
	left.say(`{"id":2,"subscribe":{"channel":"0h"}}` + "\n" + `{"id":3,"presence_stats":{"channel":"0h"}}` + "\n" + `{"id":4,"unsubscribe":{"channel":"0h"}}`)
	letGo()
	st.settle()
	c.heardExactly(t, `{"id":2,"subscribe":{}}`, `{"id":5,"subscribe":{}}`, `{"id":6,"presence_stats":{"num_clients":1}}`)
	refused.heardExactly(t, `{"id":2,"error":{"code":106,"message":"limit exceeded"}}`, `{"id":5,"error":{"code":106,"message":"limit exceeded"}}`,
		`{"id":6,"error":{"code":103,"message":"permission denied"}}`)
	left.heardExactly(t, `{"id":4,"unsubscribe":{}}`, `{"id":2,"subscribe":{}}`, `{"id":3,"error":{"code":103,"message":"permission denied"}}`)
	if s := left.shard; s.backlog.bytes != 0 {
		t.Errorf("backlog: got %d bytes, want none", s.backlog.bytes)
	}
}

func TestAMessageHasSoManyCommands(t *testing.T) {
	st := newCentrifugeStage(1, func(b *bounds) { b.GroupsPerClient = 10 })
	c := st.connect(0)
	var frame strings.Builder
	for i := range commandsPerMessageMax + 10 {
		fmt.Fprintf(&frame, `{"id":%d,"ping":{}}`+"\n", i+2)
	}
	c.say("%s", frame.String())
	if c.client.state != stateOpen {
		t.Fatalf("heard %q, want all answered", c.out)
	}
	c.say("%s", frame.String()+`{}`)
	if c.client.state != stateClosing {
		t.Error("one more was accepted")
	}
	c.heard(t, "\x0b\xc5too many requests") // 3013
}

// Who offers the subprotocol speaks the dialect on any path.
func TestTheSubprotocolChoosesTheDialectToo(t *testing.T) {
	c := offering("chat, centrifuge-json")
	c.heard(t, "centrifuge-json")
	c.out = nil
	c.say(`{"id":1,"connect":{}}`)
	c.heard(t, `{"id":1,"connect":{"client":"`)
}

// An SDK that is told so stays away. One whose subprotocol is not given comes back for ever.
func TestWhoOffersProtobufIsToldThatItIsNotSpoken(t *testing.T) {
	c := offering("centrifuge-protobuf")
	c.heard(t, "Sec-WebSocket-Protocol: centrifuge-protobuf\r\n")
	c.frame(wsproto.OpBinary, "\x06\x08\x01\x22\x02\x22\x00")
	c.heard(t, "\x0d\xadbad request: ") // 3501
}

func offering(subprotocols string) *stageConn {
	st := newCentrifugeStage(1, nil)
	c := &stageConn{shard: st.hub.shards[0]}
	st.hub.admit()
	c.client = c.shard.opened(c)
	c.shard.traffic(c.client, []byte(strings.Replace(simRequest, "Upgrade: ", "Sec-WebSocket-Protocol: "+subprotocols+"\r\nUpgrade: ", 1)))
	return c
}

// Names are of clients, not of loops or connections: two clients have two, and each always the same.
func TestWhoHasSaidItIsNamedToAllAlike(t *testing.T) {
	st := newCentrifugeStage(2, nil)
	a, b := st.connect(0), st.connect(1)
	own := map[*stageConn]string{}
	for _, c := range []*stageConn{a, b} {
		_, name, _ := strings.Cut(c.lines(t)[0], `"client":"`)
		own[c], _, _ = strings.Cut(name, `"`)
		c.say(`{"id":2,"subscribe":{"channel":"0g"}}`)
	}
	st.settle()
	a.say(`{"id":3,"publish":{"channel":"0g","data":1}}`)
	b.say(`{"id":3,"publish":{"channel":"0g","data":2}}`)
	st.settle()
	for _, c := range []*stageConn{a, b} {
		c.heard(t, `{"data":1,"info":{"user":"","client":"`+own[a]+`"}}`)
		c.heard(t, `{"data":2,"info":{"user":"","client":"`+own[b]+`"}}`)
	}
	if own[a] == own[b] || len(own[a]) != 36 {
		t.Errorf("got the names %q and %q", own[a], own[b])
	}
}

// After a 1009 centrifuge-js never comes back.
func TestAMessageThatIsTooBigSendsNoCentrifugeClientAway(t *testing.T) {
	st := newCentrifugeStage(1, func(b *bounds) { b.MessageBytesMax = 100 })
	st.hub.shards[0].readers.adopt(100)
	c, plain := st.connect(0), st.enter(0)
	for _, c := range []*stageConn{c, plain} {
		c.say(`{"id":2,"publish":{"channel":"0g","data":"%s"}}`, strings.Repeat("x", 100))
	}
	c.heard(t, "\x0b\xc5too many requests: ") // 3013
	plain.heard(t, "\x03\xf1")                // 1009
}
