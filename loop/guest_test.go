package loop

import (
	"context"
	"net/netip"
	"strings"
	"testing"

	"ringcast/loop/door"
	"ringcast/wsproto"
)

// Clients of the Pusher protocol that find no place, or lose it, come back by themselves.

func TestAPusherClientOverTheRateIsClosedAfterAWhile(t *testing.T) {
	st := newPusherStage(1, func(b *bounds) { b.HandshakesPerSecond = 1 })
	st.busy = true
	var guests []*stageConn
	for range guestTicks + 3 {
		guests = append(guests, st.request(0, "/app/key"+pusherQuery))
	}
	first := guests[0]
	guests = guests[1:]
	seed := st.request(0, "/")
	if !strings.HasPrefix(string(seed.out), "HTTP/1.1 503 ") || first.client.isGuest() {
		t.Fatalf("the seed's client heard %q; is the first a guest: %v", seed.out, first.client.isGuest())
	}
	guests[0].say(`{"event":"pusher:subscribe","data":{"channel":"news"}}`)
	st.settle()
	closed := map[int]int{}
	for tick := range guestTicks + 1 {
		for _, c := range guests {
			if got := strings.Join(c.frames(), " "); got == "close 4100" {
				closed[tick]++
			} else if got != "" {
				t.Fatalf("a guest heard %q", got)
			}
		}
		st.ticks(1)
	}
	total := 0
	for tick, n := range closed {
		if total += n; n > 2 {
			t.Errorf("%d were closed in tick %d", n, tick)
		}
	}
	if total != len(guests) || first.client.state != stateOpen {
		t.Errorf("%d of %d guests were closed", total, len(guests))
	}
	for _, c := range append(guests, seed) {
		c.shard.closed(c.client)
	}
	if snap := st.hub.Snapshot().Total(); st.hub.guests.Load() != 0 || snap.Clients != 1 || snap.RefusedClientsBy["handshake_rate"] != uint64(len(guests)+1) {
		t.Errorf("left: %d guests, %d clients; refused %v", st.hub.guests.Load(), snap.Clients, snap.RefusedClientsBy)
	}
}

func TestThereAreNoMoreGuestsThanThereMayBe(t *testing.T) {
	st := newPusherStage(1, func(b *bounds) { b.HandshakesPerSecond = 1 })
	st.busy = true
	st.hub.guests.Store(guestsMax - 1)
	st.request(0, "/app/key"+pusherQuery)
	last, over := st.request(0, "/app/key"+pusherQuery), st.request(0, "/app/key"+pusherQuery)
	if !last.client.isGuest() || !strings.HasPrefix(string(over.out), "HTTP/1.1 503 ") {
		t.Errorf("the last is a guest: %v; the next one heard %q", last.client.isGuest(), over.out)
	}
}

// Guests have descriptors of their own, and no place that others would get.
func TestAServerWithoutPlacesHasGuests(t *testing.T) {
	st := newPusherStage(1, nil)
	s := st.hub.shards[0]
	st.hub.clientsMax.Store(2)
	page := st.app(t, 0, "key")
	st.enter(0)
	for _, most := range []int64{3, 4} {
		st.hub.descriptors.Store(most)
		_, why, ok := s.judge(netip.Addr{})
		_, guest := s.asGuest(netip.Addr{}, why)
		if ok || !guest {
			t.Fatalf("with %d descriptors: admitted %v, a guest %v", most, ok, guest)
		}
	}
	if n := st.hub.guests.Load(); n != 2 || st.hub.connections.Load() != 4 {
		t.Fatalf("got %d guests and %d connections, want 2 and 4", n, st.hub.connections.Load())
	}
	if _, guest := s.asGuest(netip.Addr{}, awayClients); guest {
		t.Error("a guest without a descriptor")
	}
	if _, guest := s.asGuest(netip.Addr{}, awayMemory); guest {
		t.Error("a guest where memory is short")
	}
	page.shard.closed(page.client) // its place is free, whoever is a guest
	st.settle()
	if _, _, ok := s.judge(netip.Addr{}); !ok {
		t.Error("guests have taken a place")
	}
}

func TestAtAStopPusherClientsComeBackAfterASecondUnlessSomebodyListens(t *testing.T) {
	for handedIn, want := range map[bool]string{false: "close 4100", true: "close 4200"} {
		st := newPusherStage(1, nil)
		st.hub.handedIn = handedIn
		page := st.app(t, 0, "key")
		st.hub.refuseAll()
		page.say(`{"event":"pusher:subscribe","data":{"channel":"news"}}`)
		st.settle()
		page.heardFrames(t, want)
		late := st.request(0, "/app/key"+pusherQuery)
		other := st.app0(0)
		st.hub.call(st.hub.shards[0], (*shard).beginStop)
		st.hub.untold.Store(1)
		st.settle()
		for _, c := range []*stageConn{late, other} {
			if got := c.frames(); len(got) == 0 || got[len(got)-1] != want {
				t.Errorf("handed in %v: heard %q, want %s", handedIn, got, want)
			}
		}
	}
}

// app0 is a client whose greeting, if it has heard one, is not looked at.
func (st *stage) app0(loop int) *stageConn { return st.request(loop, "/app/key"+pusherQuery) }

func TestAReloadClosesTheClientsOfAppsThatAreGone(t *testing.T) {
	st := newPusherStage(1, nil)
	first, other := st.app(t, 0, "key"), st.app(t, 0, "key4")
	apply := func(apps ...door.App) {
		b := *st.hub.bounds.Load()
		withApps(&b, apps...)
		done := make(chan error, 1)
		go func() { done <- st.hub.apply(context.Background(), &b) }()
		for {
			select {
			case err := <-done:
				if err != nil {
					t.Fatal(err)
				}
				st.settle()
				return
			default:
				st.hub.shards[0].woken()
			}
		}
	}
	secret := stageApp
	secret.Secret = "another"
	apply(secret, furtherApp)
	first.heardFrames(t)
	st.subscribes(first, &stageApp, "private-a", "")
	st.subscribes(first, &secret, "private-a", "")
	first.heardFrames(t, `{"event":"pusher:subscription_error","channel":"private-a",…}`, subscribed("private-a"))
	apply(secret)
	other.heardFrames(t, "close 4003")
	first.heardFrames(t)
	apply(furtherApp, secret)
	first.heardFrames(t, "close 4100") // its channels are other groups now
	if n := st.hub.errands.Load(); n != 0 {
		t.Errorf("%d errands are under way", n)
	}
}

func TestPusherClientsPingAndAreLeftAloneForLonger(t *testing.T) {
	st := newPusherStage(1, func(b *bounds) { b.heartbeatTicks = 10 }) // the heartbeat is 60 s: a Pusher client is pinged after 240 s, closed 30 s later
	page, seed := st.app(t, 0, "key"), st.enter(0)
	const second = int(1e9 / tickPeriod)
	st.ticks(239 * second)
	page.heardFrames(t)
	if seed.client.state == stateOpen {
		t.Error("the seed's client is open still")
	}
	st.ticks(3 * second)
	page.heardFrames(t, `{"event":"pusher:ping","data":"{}"}`)
	page.say(`{"event":"pusher:pong","data":{}}`)
	st.ticks(243 * second)
	page.heardFrames(t, `{"event":"pusher:ping","data":"{}"}`)
	st.ticks(26 * second)
	page.heardFrames(t)
	st.ticks(4 * second)
	page.heardFrames(t, "close 4201")
}

func TestASubscribeThatIsRefusedForNowClosesTheClient(t *testing.T) {
	st := newPusherStage(1, func(b *bounds) { b.CommandsPerSecond = 2 })
	st.busy = true
	page := st.app(t, 0, "key")
	for range 4 {
		page.say(`{"event":"pusher:subscribe","data":{"channel":"news"}}`)
	}
	st.settle()
	got := page.frames()
	if len(got) == 0 || got[len(got)-1] != "close 4100" {
		t.Errorf("heard %q, want it closed with 4100", got)
	}
}

// A page subscribes to its channels one by one and all at once, also where that is more than a client may say in a second. What is refused
// counts, and so do leaving and saying it again.
func TestAPageSubscribesToMoreChannelsThanItsRateOfCommands(t *testing.T) {
	for _, key := range []string{"key", "key4"} {
		for what, test := range map[string]struct {
			say    func(st *stage, page *stageConn, n int)
			closed bool
		}{
			"to each once": {func(st *stage, page *stageConn, n int) {
				page.say(`{"event":"pusher:subscribe","data":{"channel":"news-%d"}}`, n)
			}, false},
			"to one": {func(st *stage, page *stageConn, n int) {
				page.say(`{"event":"pusher:subscribe","data":{"channel":"news"}}`)
			}, true},
			"in vain": {func(st *stage, page *stageConn, n int) {
				page.say(`{"event":"pusher:subscribe","data":{"channel":"private-%d"}}`, n)
			}, true},
			"to what is full": {func(st *stage, page *stageConn, n int) {
				page.say(`{"event":"pusher:subscribe","data":{"channel":"full"}}`)
				st.settle()
			}, true},
			"and leaves": {func(st *stage, page *stageConn, n int) {
				page.say(`{"event":"pusher:subscribe","data":{"channel":"news-%d"}}`, n)
				page.say(`{"event":"pusher:unsubscribe","data":{"channel":"news-%d"}}`, n)
			}, true},
		} {
			st := newPusherStage(1, func(b *bounds) {
				b.CommandsPerSecond = 2
				b.Kinds = []Kind{{Match: "*full", MembersMax: 1}}
			})
			full := st.app(t, 0, key)
			full.say(`{"event":"pusher:subscribe","data":{"channel":"full"}}`)
			st.settle()
			page := st.app(t, 0, key)
			for n := range 8 {
				test.say(st, page, n)
			}
			st.settle()
			got := page.frames()
			if closed := len(got) > 0 && got[len(got)-1] == "close 4100"; closed != test.closed {
				t.Errorf("%s %s: heard %q, want it closed with 4100: %v", key, what, got, test.closed)
			}
			if !test.closed && len(got) != 8 {
				t.Errorf("%s %s: heard %q, want 8 answers", key, what, got)
			}
		}
	}
}

// With real sockets: a server that is full answers others with 503, and a Pusher client with a close code.
func TestAFullServerLetsPusherClientsInAndClosesThem(t *testing.T) {
	var l Limits
	apps, err := door.NewApps([]door.App{stageApp})
	if err != nil {
		t.Fatal(err)
	}
	l.Apps, l.ClientsMax = apps, 1
	s := startServer(t, Config{Loops: 1, Limits: l})
	dialPath(t, s, "/").join("g")
	guest := dialPath(t, s, "/app/key"+pusherQuery)
	if op, text, err := guest.next(); err != nil || op != byte(wsproto.OpClose) || !strings.HasPrefix(text, "\x10\x04") {
		t.Errorf("heard opcode %d, %q (%v), want a Close frame with 4100", op, text, err)
	}
	if snap := s.Hub().Snapshot().Total(); snap.RefusedClientsBy["clients"] != 1 {
		t.Errorf("refused: %v, want one for want of places", snap.RefusedClientsBy)
	}
}
