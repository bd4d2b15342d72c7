package loop

import (
	"fmt"
	"strings"
	"testing"

	"ringcast/wsproto"
)

// begin has a client send the front of a message of some bytes.
func (c *stageConn) begin(bytes, of int) {
	frame := wsproto.AppendMaskedFrame(nil, wsproto.OpBinary, [4]byte{}, []byte(strings.Repeat("x", of)))
	c.shard.traffic(c.client, frame[:len(frame)-of+bytes])
}

func (c *stageConn) raw(p string) { c.shard.traffic(c.client, []byte(p)) }

func TestUnfinishedMessagesAreBoundedInSumAndTheSmallStay(t *testing.T) {
	const most = 50_000
	st := newStage(2, func(b *bounds) { b.FragmentsBytesMax = most })
	var large []*stageConn
	for i := range 6 {
		c := st.enter(i % 2)
		c.begin(12_000, 60_000)
		large = append(large, c)
	}
	for i := range 40 {
		small := st.enter(0)
		if small.begin(100, 200); small.client.state != stateOpen {
			t.Errorf("small message %d was refused, want it let in", i)
		}
	}
	if total := st.hub.Snapshot().Total(); total.FragmentBytes <= most {
		t.Fatalf("held: got %d bytes, want it over the bound: the test does not test", total.FragmentBytes)
	}
	closed := 0
	for _, c := range large {
		if c.client.state == stateClosing {
			c.heard(t, "\x03\xf5the server has no room")
			closed++
		}
		c.raw(strings.Repeat("x", 40_000)) // is swallowed, or closes it too
	}
	total := st.hub.Snapshot().Total()
	if closed != 2 || total.FragmentsClosed == 0 || total.Closes["1013"] != total.FragmentsClosed {
		t.Errorf("closed: got %d, counted %d, closes %v; want the 2 for which there was no room, and more in the end",
			closed, total.FragmentsClosed, total.Closes)
	}
	if total.FragmentBytes > most*3/2 {
		t.Errorf("held: got %d bytes, want at most %d", total.FragmentBytes, most*3/2)
	}
}

func TestWhatIsUnfinishedIsForgottenWithItsClient(t *testing.T) {
	st := newStage(1, nil)
	finished, gone, head := st.enter(0), st.enter(0), st.enter(0)
	for _, c := range []*stageConn{finished, gone, head} {
		c.begin(5000, 6000)
	}
	if total := st.hub.Snapshot().Total(); total.FragmentBytes < 15_000 {
		t.Fatalf("held: got %d bytes, want those of three clients", total.FragmentBytes)
	}
	finished.raw(strings.Repeat("x", 1000))
	gone.shard.closed(gone.client)
	head.raw(strings.Repeat("x", 1000) + "\x8a\x80\x00\x00\x00\x00") // and a pong behind it
	if total := st.hub.Snapshot().Total(); total.FragmentBytes != 0 || st.hub.partials.clients.Load() != 0 {
		t.Errorf("held: got %d bytes of %d clients, want none", total.FragmentBytes, st.hub.partials.clients.Load())
	}
}

func TestARequestHeadCountsAmongTheUnfinished(t *testing.T) {
	st := newStage(1, func(b *bounds) { b.FragmentsBytesMax = 3500 })
	var last *stageConn
	for range 4 {
		last = &stageConn{shard: st.hub.shards[0]}
		st.hub.admit()
		last.client = last.shard.opened(last)
		last.raw("GET / HTTP/1.1\r\nX: " + strings.Repeat("x", 900))
	}
	last.heard(t, "HTTP/1.1 503 ")
	if got := st.hub.Snapshot().Total().RefusedClientsBy["memory"]; got != 1 {
		t.Errorf("turned away for memory: got %d, want 1", got)
	}
}

func TestAStormOfHalfHeadsStaysWithinTheBound(t *testing.T) {
	const most, clients = 1 << 20, 400 // more than six times the bound
	st := newStage(2, func(b *bounds) { b.FragmentsBytesMax = most })
	st.hub.clientsMax.Store(clients)
	head := "GET / HTTP/1.1\r\nHost: a\r\nCookie: " + strings.Repeat("c", defaultBounds().HandshakeBytesMax)
	head = head[:defaultBounds().HandshakeBytesMax-1]
	var storm []*stageConn
	for i := range clients {
		storm = append(storm, st.come(i%2, fmt.Sprintf("192.0.%d.%d", i/200, i%200)))
	}
	for at := 0; at < len(head); at += 1000 {
		for _, c := range storm {
			c.send(head[at:min(at+1000, len(head))])
		}
		if got := st.hub.partials.bytes.Load(); got > most+most/2 {
			t.Fatalf("after %d bytes of each: got %d bytes kept, want at most %d", at, got, most+most/2)
		}
	}
	total := st.hub.Snapshot().Total()
	if refused := total.RefusedClientsBy["memory"]; refused < clients/2 || refused == clients {
		t.Errorf("refused: got %d of %d, want most and not all", refused, clients)
	}
	for _, c := range storm {
		if c.client.state == stateHandshake {
			c.send("\r\n\r\n")
		} else {
			c.heard(t, "HTTP/1.1 503 ")
		}
	}
	if got := st.hub.partials.bytes.Load(); got != 0 {
		t.Errorf("when all are done: got %d bytes kept, want 0", got)
	}
}

func (st *stage) ticks(n int) {
	for range n {
		st.hub.beat()
		st.settle()
	}
}

func TestAMessageThatTakesTooLongIsGivenUp(t *testing.T) {
	st := newStage(1, func(b *bounds) { b.messageTicks = 10 })
	dripping, pinging, busy, held := st.enter(0), st.enter(0), st.enter(0), st.enter(0)
	dripping.begin(0, 1000)
	pinging.raw("\x01\x80\x00\x00\x00\x00") // the first fragment of a text, empty
	for range 30 {
		dripping.raw("x")
		pinging.raw("\x89\x80\x00\x00\x00\x00")
		// Finishes a message with each segment, and begins the next.
		busy.raw("\x81\x82\x00\x00\x00\x00{}\x81\x82\x00\x00")
		busy.raw("\x00\x00{}\x81\x82\x00\x00\x00\x00")
		busy.raw("{}")
		busy.raw("\x81\x82\x00\x00\x00\x00{")
		busy.raw("}\x81\x82\x00\x00\x00\x00{")
		st.ticks(1)
		busy.raw("}")
	}
	st.ticks(1)
	for name, c := range map[string]*stageConn{"dripping": dripping, "pinging": pinging} {
		if !strings.Contains(string(c.out), "\x03\xf0the message took too long") {
			t.Errorf("%s: heard %q, want 1008", name, c.out)
		}
	}
	if busy.client.state != stateOpen || held.client.state != stateOpen {
		t.Errorf("the busy one is %v, the idle one %v; want both open", busy.client.state, held.client.state)
	}
	if got := st.hub.Snapshot().Total(); got.MessageTimeouts != 2 || got.Closes["1008"] != 2 {
		t.Errorf("counted: got %d timeouts, closes %v; want 2", got.MessageTimeouts, got.Closes)
	}
}

// One that always has the next message begun is late only with that one.
func TestTheTimeOfAMessageBeginsWithItsFirstByte(t *testing.T) {
	st := newStage(1, func(b *bounds) { b.messageTicks = 10 })
	c := st.enter(0)
	c.raw("\x81\x82\x00\x00\x00\x00{")
	for i := range 5 {
		st.ticks(6)
		c.raw("}\x81\x82\x00\x00\x00\x00{")
		if c.client.state != stateOpen {
			t.Fatalf("message %d: closed, want it open", i)
		}
	}
	st.ticks(9)
	if c.client.state != stateOpen {
		t.Error("after 9 ticks: closed, want it open")
	}
	st.ticks(1)
	c.heard(t, "\x03\xf0the message took too long")
}

func TestEndsOfLateMessagesAreSpreadOverTicks(t *testing.T) {
	st := newStage(1, func(b *bounds) { b.messageTicks = 2 })
	const clients = closesPerTurn + 10
	st.hub.clientsMax.Store(clients)
	for range clients {
		st.enter(0).begin(1, 10)
	}
	st.ticks(2)
	first := st.hub.Snapshot().Total().MessageTimeouts
	st.ticks(1)
	if all := st.hub.Snapshot().Total().MessageTimeouts; first != closesPerTurn || all != clients {
		t.Errorf("closed: got %s, want %d in the first tick and %d in all", fmt.Sprint(first, " and ", all), closesPerTurn, clients)
	}
}

func TestUnfinishedMessagesOfEverMoreClientsStayWithinTheirBound(t *testing.T) {
	const most, clients = 2_000_000, 2000
	st := newStage(1, func(b *bounds) { b.FragmentsBytesMax = most })
	st.hub.clientsMax.Store(clients)
	for n := range int64(clients) { // each sends a little less than half of what those before it hold on the average
		c := st.enter(0)
		c.begin(1, 60_000)
		if held := st.hub.partials.bytes.Load(); held <= most {
			c.raw(strings.Repeat("x", 50_000))
		} else {
			c.raw(strings.Repeat("x", max(1, int(held/(2*(n+1)))-2*readerBytes)))
		}
	}
	closed := int64(st.hub.Snapshot().Total().FragmentsClosed)
	held := st.hub.partials.bytes.Load() - closed*int64(readerBytes) // these swallow what still comes
	if held <= most || held > most*3/2 {
		t.Errorf("held: got %d bytes, want more than %d and at most %d", held, most, most*3/2)
	}
}

func TestAReaderOfAnEarlierBoundServesNobodyElse(t *testing.T) {
	st := newStage(1, nil)
	busy, other := st.enter(0), st.enter(0)
	busy.begin(10, 20)
	st.apply(func(b *bounds) { b.MessageBytesMax = 100 })
	busy.raw(strings.Repeat("x", 10)) // its reader is idle now
	busy.begin(10, 20)                // has the loop take one from its stock
	if other.begin(0, 200); other.client.state != stateClosing {
		t.Errorf("a message over the new bound: got state %v, want it closed", other.client.state)
	}
}
