package loop

import (
	"strings"
	"testing"

	"ringcast/loop/door"
	"ringcast/wsproto"
)

func TestTheOldestOfTooManyUnfinishedHandshakesMakesRoom(t *testing.T) {
	st := newStage(2, func(b *bounds) { b.HandshakesMax = 8 })
	var silent []*stageConn
	for range 4 {
		c := st.come(0, "192.0.2.1")
		c.send("GET / HTTP/1.1\r\nHo")
		silent = append(silent, c)
	}
	silent[1].send("st: a\r\n" + strings.TrimPrefix(simRequest, "GET / HTTP/1.1\r\nHost: sim\r\n"))
	for i := range 1000 { // each finishes at once, so each gets in, and the older silent ones stay
		c := st.come(0, "192.0.2.2")
		c.send(simRequest)
		c.heard(t, " 101 ")
		c.goAway()
		if i%100 == 0 {
			st.hub.beat()
			st.settle()
		}
	}
	if silent[0].out != nil {
		t.Fatalf("a silent one was answered %q though there was room", silent[0].out)
	}
	for range 2 {
		silent = append(silent, st.come(0, "192.0.2.1"))
	}
	st.ticks(evictTicks)
	silent[0].heard(t, " 408 ")
	for i, gone := range []bool{true, false, false, false, false, false} {
		if silent[i].closed != gone {
			t.Errorf("number %d: cut: got %v, want %v", i, silent[i].closed, gone)
		}
	}
	for range 100 {
		st.come(0, "192.0.2.1")
		st.come(1, "192.0.2.1")
	}
	st.ticks(evictTicks)
	total := st.hub.Snapshot().Total()
	if st.hub.shards[0].handshaking != 4 || st.hub.shards[1].handshaking != 4 || total.Pending != 8 || total.Handshakes["evicted"] != 1+100+96 {
		t.Errorf("got %d and %d under way, %d connections, %v, want 4, 4, 8 and 197 evicted",
			st.hub.shards[0].handshaking, st.hub.shards[1].handshaking, total.Pending, total.Handshakes)
	}
}

// In a storm the loop opens thousands of connections before it reads the first request.
func TestWhoHasJustComeIsNotEvicted(t *testing.T) {
	st := newStage(1, func(b *bounds) { b.HandshakesMax = 4 })
	var storm []*stageConn
	for range 40 {
		storm = append(storm, st.come(0, "192.0.2.1"))
	}
	st.ticks(evictTicks - 1)
	for _, c := range storm {
		c.send(simRequest)
		c.heard(t, " 101 ")
	}
	st.ticks(evictTicks)
	if got := st.hub.Snapshot().Total().Handshakes; got["ok"] != 40 || got["evicted"] != 0 {
		t.Errorf("got %v, want all 40 in", got)
	}
}

func TestClientsThatAreLateTogetherAreEndedInSlices(t *testing.T) {
	st := newStage(1, func(b *bounds) { b.handshakeTicks = 3 })
	st.hub.clientsMax.Store(1 << 20)
	const clients = 3*closesPerTurn + 1
	for range clients {
		st.come(0, "192.0.2.1")
	}
	s := st.hub.shards[0]
	for range 3 {
		st.hub.beat()
	}
	turns := 0
	for before := clients; before > 0; turns++ {
		s.kicked = false
		s.woken()
		if before-s.handshaking > closesPerTurn || before == s.handshaking {
			t.Fatalf("turn %d ended %d handshakes, want 1 to %d", turns, before-s.handshaking, closesPerTurn)
		}
		before = s.handshaking
	}
	if turns != 4 {
		t.Errorf("turns: got %d, want 4", turns)
	}
}

func TestWhoCameUnderAnotherHandshakeTimeoutMakesRoomByItsAge(t *testing.T) {
	for _, timeout := range []uint32{30, 3000} {
		st := newStage(1, func(b *bounds) { b.HandshakesMax, b.handshakeTicks = 3, 300 })
		var silent []*stageConn
		for range 2 {
			silent = append(silent, st.come(0, "192.0.2.1"))
		}
		st.ticks(evictTicks)
		st.apply(func(b *bounds) { b.handshakeTicks = timeout })
		for range 2 {
			silent = append(silent, st.come(0, "192.0.2.1"))
		}
		st.ticks(1)
		silent[0].heard(t, " 408 ")
		for i, gone := range []bool{true, false, false, false} {
			if silent[i].closed != gone {
				t.Errorf("timeout now %d ticks, number %d: cut: got %v, want %v", timeout, i, silent[i].closed, gone)
			}
		}
	}
}

func TestAPageOfAnotherOriginIsToldSoAndCounted(t *testing.T) {
	origins, _ := door.ReadOrigins([]string{"https://example.org"})
	st := newStage(1, func(b *bounds) { b.origins = origins })
	for lines, want := range map[string]string{
		"Origin: https://example.org\r\n":  " 101 ",
		"":                                 " 101 ",
		"Origin: https://evil.example\r\n": " 403 ",
		"Origin: <script>\"\x80\r\n":       `"<script>\"\x80"`,
	} {
		c := st.come(0, "192.0.2.1")
		c.send(requestWith(lines))
		c.heard(t, want)
	}
	page := st.come(0, "192.0.2.1") // what is plain HTTP is the HTTP server's to judge
	page.send("GET /healthz HTTP/1.1\r\nHost: a\r\nOrigin: https://evil.example\r\n\r\n")
	page.said(t)
	if st.hub.AllowsOrigin("https://evil.example") || !st.hub.AllowsOrigin("https://example.org") || !st.hub.AllowsOrigin("") {
		t.Error("the HTTP server is told other origins than those that are allowed")
	}
	total := st.hub.Snapshot().Total()
	if total.Handshakes["origin"] != 2 || total.BadHandshakes != 2 || total.Clients != 2 {
		t.Errorf("got %v, bad %d, clients %d, want 2 of wrong origin and 2 clients", total.Handshakes, total.BadHandshakes, total.Clients)
	}
	long := st.come(0, "192.0.2.1")
	long.send(requestWith("Origin: " + strings.Repeat("x", 1000) + "\r\n"))
	if len(long.out) == 0 || len(long.out) > 600 {
		t.Errorf("the answer to an origin of 1,000 bytes: got %d bytes", len(long.out))
	}
}

func TestWhoComesInAStormIsToldToComeAgainAtARandomTime(t *testing.T) {
	st := newStage(1, func(b *bounds) { b.HandshakesPerSecond = 20 })
	st.busy = true
	st.hub.clientsMax.Store(1 << 20)
	answers := map[string]int{}
	in := 0
	for range 200 {
		c := st.come(0, "192.0.2.1")
		c.send(simRequest)
		st.settle()
		if strings.Contains(string(c.out), " 101 ") {
			in++
			continue
		}
		c.heard(t, "HTTP/1.1 503 ")
		_, after, _ := strings.Cut(string(c.out), "Retry-After: ")
		after, _, _ = strings.Cut(after, "\r")
		answers[after]++
	}
	total := st.hub.Snapshot().Total()
	if in != 2 || total.RefusedClientsBy["handshake_rate"] != 198 {
		t.Errorf("got %d in, refused %v, want 2 in and 198 refused", in, total.RefusedClientsBy)
	}
	if len(answers) < 3 || answers[""] > 0 {
		t.Errorf("Retry-After: got %v, want several different", answers)
	}
	c := st.come(0, "192.0.2.1")
	c.send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n") // no handshake, not paced
	st.settle()
	c.said(t)
}

func TestAHeadThatComesByteByByteIsReadOnce(t *testing.T) {
	st := newStage(1, func(b *bounds) { b.addresses.Proxies, b.addresses.ProxyProtocol = simProxies, true })
	c := st.come(0, "10.0.0.1")
	for _, b := range []byte("PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / HTTP/1.1\r\nHost: a\r\nCookie: ") {
		c.send(string(b))
	}
	for range 1000 {
		c.send("c")
		clear(c.client.extra.head.bytes) // were it read again, it would be refused
	}
	if len(c.out) > 0 || c.closed {
		t.Errorf("got %q, closed %v, want what was read not looked at again", c.out, c.closed)
	}
	c = st.come(0, "192.0.2.1")
	for _, b := range []byte(simRequest) {
		c.send(string(b))
	}
	c.heard(t, " 101 ")
	if x := c.client.extra; x != nil {
		t.Errorf("after the handshake: got %+v, want nothing kept", x)
	}
}

func TestWhoSpeaksTLSToAPlainPortIsNamedInTheLogAndCounted(t *testing.T) {
	st := newStage(1, nil)
	var reasons []string
	st.hub.shards[0].env.ended = func(_ *client, _ wsproto.StatusCode, reason string) { reasons = append(reasons, reason) }
	c := st.come(0, "192.0.2.1")
	c.send("\x16\x03\x01\x00\xf1\x01\x00\x00\xed\x03\x03")
	if len(reasons) != 1 || !strings.Contains(reasons[0], "TLS") || !strings.Contains(reasons[0], "ws://") {
		t.Errorf("reasons for the log: got %q, want one that names TLS and the mend", reasons)
	}
	if got := st.hub.Snapshot().Total().BadHandshakes; got != 1 || c.client.state < stateClosing {
		t.Errorf("got %d bad handshakes, state %s, want one and the end", got, c.client.state)
	}
}

func TestTheSubprotocolOfAPageIsAnsweredAsTheLimitsSay(t *testing.T) {
	st := newStage(1, nil)
	const offer = "Sec-WebSocket-Protocol: x\r\nSec-WebSocket-Protocol: superchat, chat\r\n"
	ask := func() string {
		c := st.come(0, "192.0.2.1")
		c.send(requestWith(offer))
		c.heard(t, " 101 ")
		_, name, _ := strings.Cut(string(c.out), "Sec-WebSocket-Protocol: ")
		name, _, _ = strings.Cut(name, "\r\n")
		return name
	}
	if got := ask(); got != "" {
		t.Errorf("without subprotocols: got %q, want none", got)
	}
	st.apply(func(b *bounds) { b.Subprotocols = []string{"chat", "superchat"} })
	if got := ask(); got != "superchat" {
		t.Errorf("with two that are known: got %q, want the client's first of them", got)
	}
}
