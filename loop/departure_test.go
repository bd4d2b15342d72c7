package loop

import (
	"io"
	"net"
	"strings"
	"testing"

	"ringcast/loop/door"
)

// hand does what the server's does, but that the connection is no socket.
func (st *stage) hand(c conn, what departure) bool {
	a := c.(*stageConn)
	if a.stays {
		return false
	}
	a.left = newDeparted(st.hub, what)
	a.left.Conn = noSocket{}
	a.closed = true
	a.shard.closed(a.client)
	return true
}

// noSocket is the socket of a connection that has left its loop and has none.
type noSocket struct{ net.Conn }

func (noSocket) Read([]byte) (int, error) { return 0, io.EOF }
func (noSocket) Close() error             { return nil }
func (noSocket) RemoteAddr() net.Addr     { return &net.UnixAddr{Net: "unix"} }

// said is what an HTTP server reads from a connection that has left.
func (c *stageConn) said(t *testing.T) string {
	t.Helper()
	if c.left == nil {
		t.Fatalf("a connection has not left its loop: state %s, heard %q", c.client.state, c.out)
	}
	p, _ := io.ReadAll(c.left)
	return string(p)
}

const plainRequest = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

func TestPlainHTTPLeavesItsLoopWithAllThatWasRead(t *testing.T) {
	st := newStage(1, func(b *bounds) { b.addresses.Proxies, b.addresses.ProxyProtocol = simProxies, true })
	const header = "PROXY TCP4 192.0.2.7 10.0.0.1 1 2\r\n"
	more := plainRequest + "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nbo"
	for _, way := range []struct{ name, from, at, then string }{
		{"at once", "192.0.2.1", plainRequest, ""},
		{"with a part of what follows", "192.0.2.1", more, ""},
		{"head and rest in two", "192.0.2.1", plainRequest[:9], more[9:]},
		{"behind empty lines", "192.0.2.1", "\r\n" + plainRequest, ""},
		{"by a proxy", "10.0.0.1", header + more, ""},
		{"by a proxy, in two", "10.0.0.1", header[:9], header[9:] + more},
	} {
		c := st.come(0, way.from)
		for _, part := range []string{way.at, way.then} {
			if part != "" {
				borrowed := []byte(part)
				c.shard.traffic(c.client, borrowed)
				clear(borrowed)
			}
		}
		all := way.at + way.then
		want := all[strings.Index(all, "GET"):]
		if got := c.said(t); got != want {
			t.Errorf("%s: the HTTP server reads %q, want %q", way.name, got, want)
		}
		if len(c.out) > 0 {
			t.Errorf("%s: the loop has answered %q", way.name, c.out)
		}
		if way.from == "10.0.0.1" && c.left.RemoteAddr().String() != "192.0.2.7:1" {
			t.Errorf("%s: it is from %s, want 192.0.2.7:1", way.name, c.left.RemoteAddr())
		}
		c.left.Close()
	}
	total := st.hub.Snapshot().Total()
	if total.Handshakes["http"] != 6 || total.BadHandshakes != 0 || total.Pending != 0 || total.FragmentBytes != 0 {
		t.Errorf("got %v, pending %d, partial %d bytes, want 6 of http and nothing left", total.Handshakes, total.Pending, total.FragmentBytes)
	}
}

// A busy loop puts its turn off. A peer that has shut its side would be gone by then.
func TestPlainHTTPLeavesABusyLoopAtOnce(t *testing.T) {
	st := newStage(1, nil)
	st.busy = true
	busy := st.enter(0)
	c := st.come(0, "192.0.2.1")
	busy.say(`{"cmd":"respond"}`)
	c.shard.traffic(c.client, []byte(plainRequest))
	if len(c.shard.clients) != 2 {
		t.Fatal("the loop has made its turn: it was not busy")
	}
	if got := c.said(t); got != plainRequest {
		t.Errorf("the HTTP server reads %q, want %q", got, plainRequest)
	}
	st.settle()
	if got := st.hub.Snapshot().Total().Handshakes; len(c.shard.clients) != 1 || got["http"] != 1 || got["gone"] != 0 {
		t.Errorf("got %v, %d clients, want one of http, and the other one there", got, len(c.shard.clients))
	}
}

func TestAConnectionThatLeftKeepsSeatAndPlaceUntilItIsClosed(t *testing.T) {
	st := newStage(1, func(b *bounds) { b.addresses.PerAddress = 1 })
	c := st.come(0, "192.0.2.1")
	c.send(plainRequest)
	c.said(t)
	st.settle()
	if n := len(c.shard.clients); n != 0 {
		t.Errorf("got %d clients on the loop, want none", n)
	}
	st.checkSeats(t, "left", 1)
	if st.come(0, "192.0.2.1") != nil {
		t.Error("a second connection from the address was let in beside the one that left")
	}
	if n, left := st.hub.connections.Load(), st.hub.Snapshot().Departed; n != 1 || left != 1 {
		t.Errorf("got %d connections of which %d have left, want 1 and 1", n, left)
	}
	for range 3 {
		c.left.Close()
		st.checkSeats(t, "closed", 0)
		if n, left := st.hub.connections.Load(), st.hub.Snapshot().Departed; n != 0 || left != 0 {
			t.Errorf("closed: got %d connections of which %d have left, want none", n, left)
		}
	}
	select {
	case <-st.hub.drained:
	default:
		t.Error("a stop that waits for the last connection was not told")
	}
}

func TestWithoutADescriptorPlainHTTPIsAnsweredByTheLoop(t *testing.T) {
	st := newStage(1, func(b *bounds) { b.addresses.PerAddress = 10 })
	c := st.come(0, "192.0.2.1")
	c.stays = true
	c.send(plainRequest)
	st.settle()
	c.heard(t, "HTTP/1.1 503 ")
	c.heard(t, "Retry-After: ")
	st.checkSeats(t, "at the end", 0)
	total := st.hub.Snapshot().Total()
	if !c.closed || total.RefusedClientsBy["descriptors"] != 1 || total.Handshakes["refused"] != 1 || total.Handshakes["http"] != 0 || st.hub.connections.Load() != 0 {
		t.Errorf("got %v, %v, closed %v, want it refused for descriptors, and cut", total.Handshakes, total.RefusedClientsBy, c.closed)
	}
}

func TestPlainHTTPIsRefusedByTheLoopAsUpgradesAre(t *testing.T) {
	st := newStage(1, func(b *bounds) {
		b.addresses.PerAddress, b.addresses.Proxies = 1, simProxies
	})
	const forwarded = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.9\r\n\r\n"
	first, second := st.come(0, "10.0.0.1"), st.come(0, "10.0.0.1")
	first.send(forwarded)
	first.said(t)
	second.send(forwarded)
	second.heard(t, "HTTP/1.1 429 ")
	late := st.come(0, "192.0.2.1")
	st.hub.stopping.Store(true)
	late.send(plainRequest)
	late.heard(t, "HTTP/1.1 503 ")
	st.hub.handedIn = true
	last := st.come(0, "192.0.2.2")
	last.send(plainRequest)
	last.said(t)
	if by := st.hub.Snapshot().Total().RefusedClientsBy; by["address"] != 1 || by["stopping"] != 1 {
		t.Errorf("got %v, want one refused for its address and one as the server stops", by)
	}
}

func TestWithoutAnHTTPServerNothingIsFound(t *testing.T) {
	st := newStage(1, nil)
	st.hub.shards[0].env.hand = nil
	c := st.come(0, "192.0.2.1")
	c.send(plainRequest)
	c.heard(t, "HTTP/1.1 404 ")
}

// Proxies send the requests of many clients down one connection.
func TestAFurtherRequestIsThatOfTheClientThatItsProxyNames(t *testing.T) {
	st := newStage(1, func(b *bounds) { b.addresses.PerAddress, b.addresses.Proxies = 1, simProxies })
	c := st.come(0, "10.0.0.1")
	c.send("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n")
	c.said(t)
	seated := func(who string) {
		t.Helper()
		seats := st.hub.addresses.Seats()
		if n := seats[door.AddressOf(addr(who))]; n != 1 {
			t.Errorf("got %v, want a seat of %s", seats, who)
		}
	}
	seated("192.0.2.1")
	if !c.left.Forwarded("192.0.2.2, 10.0.0.2") || c.left.RemoteAddr().String() != "192.0.2.2:0" {
		t.Errorf("got %s, want 192.0.2.2", c.left.RemoteAddr())
	}
	seated("192.0.2.2")
	st.checkSeats(t, "another client", 1)
	other := st.come(0, "192.0.2.3")
	if c.left.Forwarded("192.0.2.3") {
		t.Error("a client's second connection was let in by a proxy")
	}
	other.goAway()
	if !c.left.Forwarded("") || c.left.RemoteAddr().Network() != "unix" {
		t.Errorf("nobody is named: got %s, want the socket's own address", c.left.RemoteAddr())
	}
	st.checkSeats(t, "nobody is named", 0)
	c.left.Forwarded("192.0.2.4")
	c.left.Close()
	c.left.Forwarded("192.0.2.4")
	st.checkSeats(t, "closed", 0)

	plain := st.come(0, "192.0.2.5")
	plain.send(plainRequest)
	plain.said(t)
	if !plain.left.Forwarded("192.0.2.6") || plain.left.RemoteAddr().Network() != "unix" {
		t.Errorf("who is no proxy has named %s", plain.left.RemoteAddr())
	}
	seated("192.0.2.5")
}
