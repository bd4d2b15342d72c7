package loop

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
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
	seats := h.addresses.Seats()
	for _, n := range seats {
		taken += n
	}
	return taken, len(seats)
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

func TestAnAddressHasSoManyConnectionsOnAllLoops(t *testing.T) {
	st := newStage(3, func(b *bounds) { b.addresses.PerAddress = 3 })
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

// However a connection ends, its seat is given back, once.
func TestASeatIsGivenBackHoweverAConnectionEnds(t *testing.T) {
	st := newStage(1, func(b *bounds) {
		b.addresses.PerAddress, b.HandshakesMax, b.handshakeTicks, b.closeTicks = 100, 20, 10, 5
	})
	ends := map[string]func(c *stageConn){
		"gone before any byte":     func(c *stageConn) { c.goAway() },
		"gone in the handshake":    func(c *stageConn) { c.send("GET "); c.goAway() },
		"refused handshake":        func(c *stageConn) { c.send("\x16") },
		"plain HTTP":               func(c *stageConn) { c.send(plainRequest); c.left.Close() },
		"HTTP without descriptors": func(c *stageConn) { c.stays = true; c.send(plainRequest) },
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
	for what, end := range ends {
		c := st.come(0, "192.0.2.1")
		st.checkSeats(t, what+": let in", 1)
		end(c)
		for range 20 {
			st.hub.beat()
			st.settle()
		}
		st.checkSeats(t, what+": at the end", 0)
		if n := len(c.shard.clients); n != 0 {
			t.Fatalf("%s: got %d clients left", what, n)
		}
		if got := c.shard.handshaking; got != 0 {
			t.Fatalf("%s: got %d handshakes left", what, got)
		}
	}
}

func TestSeatsStayExactWhileTheBoundIsSwitchedOnAndOff(t *testing.T) {
	st := newStage(2, nil)
	limit := func(most int) {
		b := *st.hub.bounds.Load()
		b.addresses.PerAddress = most
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
		b.addresses.PerAddress, b.addresses.ProxyProtocol = 1, true
		b.addresses.Proxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
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
		if strings.HasPrefix(test.what, "nobody") && c.client.source().Named().IsValid() {
			t.Errorf("%s: got %v as its name, want none", test.what, c.client.source().Named())
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

func TestForwardedForOfWhoIsNotTrustedIsNotBelieved(t *testing.T) {
	st := newStage(1, func(b *bounds) {
		b.addresses.PerAddress = 2
		b.addresses.Proxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	})
	for range 2 {
		c := st.come(0, "192.0.2.1")
		c.send(requestWith("X-Forwarded-For: 192.0.2.99\r\n"))
		c.heard(t, " 101 ")
	}
	if st.come(0, "192.0.2.1") != nil {
		t.Error("a third was let in: it claims another address")
	}
	for range 3 {
		c := st.come(0, "10.0.0.1")
		c.send(requestWith("X-Forwarded-For: nonsense\r\n"))
		c.heard(t, " 101 ")
	}
}

func TestTheBoundOnConnectionsIsTheSmallerAndCanChange(t *testing.T) {
	h := fakeHub(1)
	h.descriptors.Store(100)
	for _, test := range []struct{ said, want int64 }{{0, 100}, {50, 50}, {1000, 100}} {
		b := defaultBounds()
		b.ClientsMax = int(test.said)
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

func TestRefusedAnswersTellEachAnotherTimeToComeAgain(t *testing.T) {
	for what, answers := range map[string]*answers{"busy": &busyAnswers, "stopping": &stoppingAnswers, "address": &addressAnswers, "memory": &memoryAnswers} {
		for i, answer := range answers {
			if want := fmt.Sprintf("\r\nRetry-After: %d\r\n", i+1); !strings.Contains(string(answer), want) {
				t.Errorf("%s: got %q, want %q in it", what, answer, want)
			}
		}
	}
}
