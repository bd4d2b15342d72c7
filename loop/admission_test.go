package loop

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
)

func addr(text string) netip.Addr { return netip.MustParseAddr(text) }

// come is a connection from an address, nil when it is refused at once.
func (st *stage) come(loop int, from string) *stageConn {
	c := &stageConn{shard: st.hub.shards[loop]}
	source, ok := c.shard.arrive(addr(from))
	if !ok {
		return nil
	}
	st.hub.admit()
	c.client = c.shard.opened(c)
	c.client.comesFrom(source)
	return c
}

// send brings bytes to the server, one by one.
func (c *stageConn) send(text string) {
	for i := range len(text) {
		if c.client.state <= stateClosing {
			c.shard.traffic(c.client, []byte{text[i]})
		}
	}
}

func (c *stageConn) goAway() { c.shard.closed(c.client) }

// seats is how many are counted of how many addresses.
func (h *Hub) seats() (taken, addresses int) {
	for i := range h.addresses.stripes {
		s := &h.addresses.stripes[i]
		s.mu.Lock()
		for _, n := range s.taken.m {
			taken += int(n)
			addresses++
		}
		s.mu.Unlock()
	}
	return taken, addresses
}

func (st *stage) checkSeats(t *testing.T, when string, want int) {
	t.Helper()
	if got, _ := st.hub.seats(); got != want {
		t.Errorf("%s: got %d seats taken, want %d", when, got, want)
	}
}

func requestWith(lines string) string {
	return strings.TrimSuffix(simRequest, "\r\n") + lines + "\r\n"
}

func TestAddressesAreCountedAsOneByIPv4AndBy64(t *testing.T) {
	for _, test := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "::ffff:192.0.2.1", true},
		{"192.0.2.1", "192.0.2.2", false},
		{"2001:db8:0:1::5", "2001:db8:0:1:ffff::6", true},
		{"2001:db8:0:1::5", "2001:db8:0:2::5", false},
		{"0.0.0.0", "::", false},
		{"0.0.0.1", "::1", false},
	} {
		if got := addressOf(addr(test.a)) == addressOf(addr(test.b)); got != test.same {
			t.Errorf("%s and %s: counted as one: got %v, want %v", test.a, test.b, got, test.same)
		}
	}
}

func TestAnAddressHasSoManyConnectionsOnAllLoops(t *testing.T) {
	st := newStage(3, func(b *bounds) { b.clientsPerAddress = 3 })
	var in []*stageConn
	for loop := range 3 {
		in = append(in, st.come(loop, "192.0.2.1"))
	}
	if st.come(0, "192.0.2.1") != nil || st.come(1, "::ffff:192.0.2.1") != nil {
		t.Error("a fourth connection from one address was let in")
	}
	if st.come(0, "192.0.2.2") == nil {
		t.Error("a connection from another address was refused")
	}
	in[1].send(simRequest)
	in[1].goAway()
	in[1].goAway() // gnet may tell twice; a seat is given back once
	st.checkSeats(t, "after one has gone", 3)
	if st.come(2, "192.0.2.1") == nil || st.come(2, "192.0.2.1") != nil {
		t.Error("room for one: want one let in and no more")
	}
}

// Every road out gives the seat back, once.
func TestASeatIsGivenBackOnEveryRoadOut(t *testing.T) {
	st := newStage(1, func(b *bounds) { b.clientsPerAddress, b.handshakes, b.handshakeTicks, b.closeTicks = 100, 20, 10, 5 })
	roads := map[string]func(c *stageConn){
		"gone before a word":       func(c *stageConn) { c.goAway() },
		"gone in the handshake":    func(c *stageConn) { c.send("GET "); c.goAway() },
		"refused handshake":        func(c *stageConn) { c.send("\x16") },
		"plain HTTP":               func(c *stageConn) { c.send("GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n") },
		"too slow a handshake":     func(c *stageConn) {},
		"gone when open":           func(c *stageConn) { c.send(simRequest); c.goAway() },
		"gone with half a message": func(c *stageConn) { c.send(simRequest + "\x81\x85"); c.goAway() },
		"gone with groups": func(c *stageConn) {
			c.send(simRequest)
			for _, g := range []string{"0a", "0b", "0c"} {
				c.say(`{"cmd":"add_group","group_id":%q}`, g)
			}
			c.goAway()
		},
		"a protocol error":           func(c *stageConn) { c.send(simRequest + "\xff\xff") },
		"a panic in the handshake":   func(c *stageConn) { c.boom = true; c.send("\x16") },
		"a panic when open":          func(c *stageConn) { c.send(simRequest); c.boom = true; c.send("\x89\x80abcd") },
		"a panic of its last words":  func(c *stageConn) { c.send(simRequest); c.boom = true; c.send("\xff\xff") },
		"dead inside another's call": func(c *stageConn) { c.shard.callback.steps.Add(1); c.goAway(); c.shard.callback.steps.Add(1) },
	}
	for what, road := range roads {
		c := st.come(0, "192.0.2.1")
		st.checkSeats(t, what+": let in", 1)
		road(c)
		for range 20 {
			st.hub.beat()
			st.settle()
		}
		st.checkSeats(t, what+": at the end", 0)
		if n := len(c.shard.clients); n != 0 {
			t.Fatalf("%s: got %d clients left", what, n)
		}
		if got := c.shard.unfinished; got != 0 {
			t.Fatalf("%s: got %d unfinished handshakes left", what, got)
		}
	}
}

func TestSeatsStayExactWhileTheBoundIsSwitchedOnAndOff(t *testing.T) {
	st := newStage(2, nil)
	limit := func(most int) {
		b := *st.hub.bounds.Load()
		b.clientsPerAddress = most
		for _, s := range st.hub.shards {
			s.adopt(&b)
		}
	}
	uncounted := []*stageConn{st.come(0, "192.0.2.1"), st.come(1, "192.0.2.1")}
	limit(2)
	counted := []*stageConn{st.come(0, "192.0.2.1"), st.come(1, "192.0.2.1")}
	if st.come(0, "192.0.2.1") != nil {
		t.Error("a third since the bound was switched on was let in")
	}
	uncounted[0].goAway()
	st.checkSeats(t, "one that was not counted has gone", 2)
	limit(1)
	counted[0].goAway()
	if st.come(0, "192.0.2.1") != nil {
		t.Error("one over the lowered bound was let in")
	}
	limit(0)
	uncounted = append(uncounted, st.come(0, "192.0.2.1"))
	counted[1].goAway()
	st.checkSeats(t, "off, and all that were counted have gone", 0)
	for _, c := range uncounted[1:] {
		c.goAway()
	}
	if taken, addresses := st.hub.seats(); taken != 0 || addresses != 0 {
		t.Errorf("at the end: got %d seats of %d addresses, want none", taken, addresses)
	}
}

func TestBehindATrustedProxyTheNamedAddressIsCounted(t *testing.T) {
	const v1 = "PROXY TCP4 %s 10.0.0.1 1000 80\r\n"
	st := newStage(1, func(b *bounds) {
		b.clientsPerAddress, b.proxyProtocol = 1, true
		b.proxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	})
	enter := func(head string) *stageConn {
		c := st.come(0, "10.0.0.1")
		c.send(head)
		return c
	}
	for _, test := range []struct{ what, head, want, remote string }{
		{"a client", fmt.Sprintf(v1, "192.0.2.1") + simRequest, " 101 ", "192.0.2.1:1000"},
		{"the same again", fmt.Sprintf(v1, "192.0.2.1"), " 429 ", "192.0.2.1:1000"},
		{"another", fmt.Sprintf(v1, "192.0.2.2") + requestWith("X-Forwarded-For: 192.0.2.1\r\n"), " 101 ", "192.0.2.2:1000"},
		{"nobody", "PROXY UNKNOWN\r\n" + simRequest, " 101 ", ""},
		{"nobody again", "PROXY UNKNOWN\r\n" + simRequest, " 101 ", ""},
		{"nobody, and a client that names one", "PROXY UNKNOWN\r\n" + requestWith("X-Forwarded-For: 192.0.2.5\r\n"), " 101 ", ""},
		{"another proxy's client", fmt.Sprintf(v1, "10.0.0.2") + requestWith("X-Forwarded-For: 192.0.2.3\r\n"), " 101 ", "192.0.2.3"},
		{"another proxy's client again", fmt.Sprintf(v1, "10.0.0.2") + requestWith("X-Forwarded-For: 192.0.2.3\r\n"), " 429 ", "192.0.2.3"},
		{"no header", simRequest, " 400 ", ""},
	} {
		c := enter(test.head)
		c.heard(t, test.want)
		if test.remote != "" && c.client.remote() != test.remote {
			t.Errorf("%s: remote: got %q, want %q", test.what, c.client.remote(), test.remote)
		}
		if strings.HasPrefix(test.what, "nobody") && c.client.source().named.IsValid() {
			t.Errorf("%s: got %v as its name, want none", test.what, c.client.source().named)
		}
	}
	direct := st.come(0, "192.0.2.9")
	direct.send(simRequest)
	direct.heard(t, " 101 ")
	liar := st.come(0, "192.0.2.8")
	liar.send(fmt.Sprintf(v1, "192.0.2.7") + simRequest)
	liar.heard(t, " 400 ")
	total := st.hub.Snapshot().Total()
	if total.RefusedClientsBy["address"] != 2 || total.Handshakes["refused"] != 2 || total.Handshakes["bad"] != 2 || total.Handshakes["ok"] != 7 {
		t.Errorf("got refused %v, handshakes %v, want 2 by address, 2 bad and 7 ok", total.RefusedClientsBy, total.Handshakes)
	}
}

func TestForwardedForIsReadFromTheRightAsFarAsItIsTrusted(t *testing.T) {
	b := defaultBounds()
	b.proxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:f::/48")}
	for list, want := range map[string]string{
		"":                                      "invalid AddrPort",
		"192.0.2.1":                             "192.0.2.1:0",
		"198.51.100.7, 192.0.2.1":               "192.0.2.1:0",
		"192.0.2.1, 10.1.2.3,10.0.0.9":          "192.0.2.1:0",
		"192.0.2.1,\t2001:db8:f::1 ,":           "192.0.2.1:0",
		"10.0.0.3, 10.0.0.2":                    "10.0.0.3:0",
		"nonsense, 192.0.2.1":                   "192.0.2.1:0",
		"192.0.2.1, nonsense":                   "invalid AddrPort",
		"192.0.2.1, nonsense, 10.0.0.1":         "invalid AddrPort",
		"unknown":                               "invalid AddrPort",
		"fe80::1%eth0":                          "invalid AddrPort",
		"192.0.2.1:1234":                        "192.0.2.1:1234",
		"[2001:db8::5]:1234":                    "[2001:db8::5]:1234",
		"[2001:db8::5]":                         "[2001:db8::5]:0",
		"2001:db8::5":                           "[2001:db8::5]:0",
		"::ffff:192.0.2.1":                      "192.0.2.1:0",
		"192.0.2.1, ::ffff:10.0.0.1":            "192.0.2.1:0",
		strings.Repeat("10.0.0.1,", 4000) + ",": "10.0.0.1:0",
	} {
		if got := b.forwarded(list).String(); got != want {
			t.Errorf("%.60q: got %s, want %s", list, got, want)
		}
	}
}

func TestForwardedForOfWhoIsNotTrustedIsNotBelieved(t *testing.T) {
	st := newStage(1, func(b *bounds) {
		b.clientsPerAddress = 2
		b.proxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	})
	for range 2 {
		c := st.come(0, "192.0.2.1")
		c.send(requestWith("X-Forwarded-For: 192.0.2.99\r\n"))
		c.heard(t, " 101 ")
	}
	if st.come(0, "192.0.2.1") != nil {
		t.Error("a third was let in: by its own word it is another")
	}
	for range 3 {
		c := st.come(0, "10.0.0.1")
		c.send(requestWith("X-Forwarded-For: nonsense\r\n"))
		c.heard(t, " 101 ")
	}
}

func TestTheOldestOfTooManyUnfinishedHandshakesMakesRoom(t *testing.T) {
	st := newStage(2, func(b *bounds) { b.handshakes = 8 })
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
	if st.hub.shards[0].unfinished != 4 || st.hub.shards[1].unfinished != 4 || total.Pending != 8 || total.Handshakes["evicted"] != 1+100+96 {
		t.Errorf("got %d and %d unfinished, %d connections, %v, want 4, 4, 8 and 197 evicted",
			st.hub.shards[0].unfinished, st.hub.shards[1].unfinished, total.Pending, total.Handshakes)
	}
}

// In a storm the loop opens thousands of connections before it reads the first request.
func TestWhoHasJustComeIsNotEvicted(t *testing.T) {
	st := newStage(1, func(b *bounds) { b.handshakes = 4 })
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
		if before-s.unfinished > closesPerTurn || before == s.unfinished {
			t.Fatalf("turn %d ended %d handshakes, want 1 to %d", turns, before-s.unfinished, closesPerTurn)
		}
		before = s.unfinished
	}
	if turns != 4 {
		t.Errorf("turns: got %d, want 4", turns)
	}
}

func TestHandshakesArePaced(t *testing.T) {
	var p pace
	const second = int64(time.Second)
	admitted := func(from, to, every int64, perSecond int) (n int) {
		for now := from; now < to; now += every {
			if p.allow(now, perSecond) {
				n++
			}
		}
		return n
	}
	if got := admitted(0, second, 10_000, 1000); got < 1000 || got > 1101 {
		t.Errorf("a storm of a second at 1,000 a second: got %d, want 1,000 and a burst of 100", got)
	}
	if got := admitted(5*second, 5*second+1, 1, 1000); got != 1 {
		t.Errorf("after a pause: got %d, want 1", got)
	}
	p = pace{}
	if got := admitted(0, 10*second, second/10, 1); got != 10 {
		t.Errorf("ten seconds at one a second: got %d, want 10", got)
	}
	p = pace{}
	var all sync.WaitGroup
	var mu sync.Mutex
	sum := 0
	for range 4 { // loops at once
		all.Go(func() {
			n := 0
			for range 1000 {
				if p.allow(0, 1000) {
					n++
				}
			}
			mu.Lock()
			sum += n
			mu.Unlock()
		})
	}
	all.Wait()
	if sum != 100 {
		t.Errorf("at one moment on several loops: got %d, want the burst of 100", sum)
	}
}

func TestWhoComesInAStormIsToldToComeAgainAtARandomTime(t *testing.T) {
	st := newStage(1, func(b *bounds) { b.handshakesPerSecond = 20 })
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
	c.heard(t, " 200 ")
}

func TestTheBoundOnConnectionsIsTheSmallerAndCanChange(t *testing.T) {
	h := fakeHub(1)
	h.descriptors.Store(100)
	for _, test := range []struct{ said, want int64 }{{0, 100}, {50, 50}, {1000, 100}} {
		b := defaultBounds()
		b.clients = int(test.said)
		h.bounds.Store(&b)
		h.limitConnections()
		if got := h.clientsMax.Load(); got != test.want {
			t.Errorf("%d said, 100 descriptors: got %d, want %d", test.said, got, test.want)
		}
	}
	s := startServer(t, Config{Loops: 2, Limits: Limits{ClientsMax: 3}})
	if got := s.Hub().Snapshot().ClientsMax; got != 3 {
		t.Errorf("ClientsMax: got %d, want 3", got)
	}
	if err := s.Apply(within(t), Limits{ClientsMax: 5}); err != nil || s.Hub().Snapshot().ClientsMax != 5 {
		t.Errorf("after Apply: got %d (%v), want 5", s.Hub().Snapshot().ClientsMax, err)
	}
	if err := s.Apply(within(t), Limits{AllowedOrigins: []string{"example.org"}}); err == nil {
		t.Error("Apply of an origin that is none: got nil, want an error")
	}
}

func TestWhoCameUnderAnotherHandshakeTimeoutMakesRoomByItsAge(t *testing.T) {
	for _, timeout := range []uint32{30, 3000} {
		st := newStage(1, func(b *bounds) { b.handshakes, b.handshakeTicks = 3, 300 })
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
