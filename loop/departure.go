package loop

import (
	"bytes"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"

	"ringcast/loop/assert"
	"ringcast/loop/door"
	"ringcast/wsproto"
)

// This file is how a connection leaves its loop: when its request is no WebSocket handshake, an HTTP server in this process goes on with
// it, on goroutines of its own, and its slowness is no loop's business. What leaves is the socket, under another descriptor, with all
// bytes that were read, and with it the connection's seat and its place among the connections, which are given back when the
// HTTP server closes it. The peer notices nothing.
//
//	depart      the descriptor is duplicated, and the loop's closed. gnet takes that one out of epoll first, as the duplicate would
//	            keep it there. All of this is done at once, and not by the sweep: what came meanwhile would be the loop's to read, and
//	            a peer that has shut its side would be gone. It harms no pass, since who is in the handshake is in no group
//	bury        by the sweep: the client is taken out of the tables; what it has taken along is not given back
//	departures  on a goroutine: the duplicate becomes a net.Conn, and is the HTTP server's
//
// Without a descriptor for the duplicate the loop answers 503.

// departure is what a connection takes along when it leaves its loop.
//
// Owner: the loop, then the goroutine that it is handed to.
type departure struct {
	read   []byte       // from the request head on
	cipher cipher       // nil: TLS is not spoken
	behind []byte       // TLS: what has come behind it, and is encrypted
	source *door.Source // nil: only its socket's address is known, and no seat was taken
}

// depart has a client, whose request is plain HTTP, leave its loop. p is what was read, from the request head on; it is kept. Without an
// HTTP server there is nothing to be found.
func (s *shard) depart(c *client, req *wsproto.Request, p []byte) {
	switch {
	case s.env.hand == nil:
		count(&s.count.Handshakes, handshakeBad)
		s.answerHTTP(c, wsproto.RejectNotFound(req.Path).AppendTo(nil))
	case s.hub.stopping.Load() && !s.hub.handedIn:
		s.turnAway(c, awayStopping, wsproto.RejectStopping)
	case !s.hub.addresses.Forwarded(c.source(), req.ForwardedFor, &s.bounds.addresses):
		s.turnAway(c, awayAddress, wsproto.RejectProxied)
	case c.conn.OutboundBuffered() > 0: // of the handshake: what gnet has queued cannot be handed over
		s.turnAway(c, awaySlow, wsproto.RejectBusy)
	default:
		s.handOver(c, p)
	}
}

// handOver has the HTTP server go on with a client. If that cannot be, the client is told so, and cut by the next sweep: what it has sent
// was read, so the answer is not lost.
func (s *shard) handOver(c *client, p []byte) {
	assert.That(c.conn.OutboundBuffered() == 0, "shard: a client departs to which something was sent")
	s.become(c, stateDoomed)
	what, t := departure{read: p, source: c.source()}, c.tunnel()
	if t != nil { // gnet's memory is only borrowed
		what.cipher, what.behind, t.cipher = t.cipher, bytes.Clone(s.sealing.behind), nil
	}
	if s.env.hand(c.socket(), what) {
		if t != nil {
			s.count.TLSClients.Add(-1)
		}
		count(&s.count.Handshakes, handshakeHTTP)
		c.end = endLeft
		if c.extra != nil {
			c.extra.source = nil
		}
		return
	}
	if t != nil {
		t.cipher = what.cipher
	}
	s.ends.doomed = append(s.ends.doomed, c)
	count(&s.count.Handshakes, handshakeAway)
	count(&s.count.RefusedClientsBy, awayDescriptors)
	s.explain(c, wsproto.StatusCode(wsproto.RejectBusy.Status), "no descriptor is free to hand the connection to the HTTP server")
	answer := busyAnswers.any()
	c.bytesOut += uint64(len(answer))
	s.count.BytesOut.Add(uint64(len(answer)))
	s.say(c, answer)
}

// departures makes net.Conns of the descriptors that loops hand over.
//
// Owner: any goroutine.
type departures struct {
	// Immutable.
	hub       *Hub
	serve     func(net.Conn) // Config.HTTP
	keepAlive net.KeepAliveConfig
	log       *slog.Logger

	turn chan struct{} // its capacity is adoptedAtOnce
}

// adoptedAtOnce bounds the descriptors that are made into a net.Conn at one time, for which package net duplicates each once more: those
// come out of the server's reserve.
const adoptedAtOnce = 4

func newDepartures(h *Hub, cfg *Config) *departures {
	return &departures{hub: h, serve: cfg.HTTP, keepAlive: keepAliveOf(cfg.TCPKeepAlive), log: cfg.Log, turn: make(chan struct{}, adoptedAtOnce)}
}

// take takes over a descriptor, and the connection's seat and place, on a goroutine of its own.
func (d *departures) take(fd int, what departure) {
	c := newDeparted(d.hub, what)
	d.turn <- struct{}{}
	file := os.NewFile(uintptr(fd), "http")
	conn, err := net.FileConn(file)
	file.Close()
	<-d.turn
	if err != nil { // mostly for want of a descriptor
		count(&d.hub.shards[0].count.RefusedClientsBy, awayDescriptors)
		d.log.Error("a connection was lost on its way to the HTTP server", "err", err)
		c.leave()
		return
	}
	if tcp, ok := conn.(*net.TCPConn); ok { // package net has set its own
		_ = tcp.SetKeepAliveConfig(d.keepAlive)
	}
	if c.Conn = conn; what.cipher != nil {
		c.Conn = what.cipher.Leave(conn, what.behind)
	}
	d.serve(c)
}

// departed is a connection that has left its loop, as the HTTP server sees it. It still has its seat and its place among
// the connections.
//
// Owner: any goroutine, as for every net.Conn; one at a time reads.
type departed struct {
	net.Conn
	hub    *Hub
	secure bool   // TLS is spoken
	read   []byte // by the loop, and not yet from here; whoever reads
	remote atomic.Pointer[netip.AddrPort]
	gone   sync.Once

	mu     sync.Mutex
	source *door.Source
	closed bool
}

func newDeparted(h *Hub, what departure) *departed {
	h.departed.Add(1)
	c := &departed{hub: h, secure: what.cipher != nil, read: what.read, source: what.source}
	c.renamed()
	return c
}

// renamed notes the address that a proxy has named.
func (c *departed) renamed() {
	c.remote.Store(nil)
	if named := c.source.Named(); named.IsValid() {
		c.remote.Store(&named)
	}
}

// Read gives what the loop has read, and then what the socket has.
func (c *departed) Read(p []byte) (n int, err error) {
	if len(c.read) == 0 {
		return c.Conn.Read(p)
	}
	n = copy(p, c.read)
	if c.read = c.read[n:]; len(c.read) == 0 {
		c.read = nil
	}
	return n, nil
}

// Secure says whether the connection is over TLS.
func (c *departed) Secure() bool { return c.secure }

// CloseWrite shuts our direction down, over TLS by close_notify; net/http does it so that its last answer is not lost.
func (c *departed) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// RemoteAddr is the client's address: the one that a trusted proxy has named, with port 0 if it named no port, else the socket's.
func (c *departed) RemoteAddr() net.Addr {
	if named := c.remote.Load(); named != nil {
		return net.TCPAddrFromAddrPort(*named)
	}
	return c.Conn.RemoteAddr()
}

// Forwarded is for a further request on the connection: proxies send those of many clients down one. list is its X-Forwarded-For,
// which counts for a trusted proxy alone. The seat becomes that client's. False: its address has as many connections as it may; then
// the connection has no seat any more.
func (c *departed) Forwarded(list string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || !c.source.Trusted() {
		return true
	}
	ok := c.hub.addresses.ForwardedAgain(c.source, list, &c.hub.bounds.Load().addresses)
	c.renamed()
	return ok
}

// Close closes the socket, and gives the seat and the place back the first time.
func (c *departed) Close() error {
	err := c.Conn.Close()
	c.leave()
	return err
}

func (c *departed) leave() {
	c.gone.Do(func() {
		c.mu.Lock()
		c.closed = true
		c.hub.addresses.Leave(c.source)
		c.mu.Unlock()
		c.hub.departed.Add(-1)
		c.hub.gone()
	})
}

// AllowsOrigin says whether a page may use this server, by the value of its request's Origin field, see Limits.AllowedOrigins. Any
// goroutine.
func (h *Hub) AllowsOrigin(origin string) bool { return h.bounds.Load().origins.Allow(origin) }
