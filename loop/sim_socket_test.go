package loop

import (
	"net/netip"
	"syscall"
)

// socket is a made-up connection: what the kernel and gnet keep of it, and the peer's end.
type socket struct {
	w        *world
	shard    *shard
	fd       int
	client   *client
	kernel   []byte // sent, not read by the peer yet
	outbound []byte // gnet's outbound buffer
	room     int    // of the kernel's buffer
	broken   bool   // writes fail
	closed   bool   // gnet has closed it
	shut     bool   // our direction has ended
	deaf     bool   // closed before its TLS handshake was done
	peer     *simPeer
	lost     bool // closed with bytes queued that the peer would not take
}

// simProxies are trusted in some worlds.
var simProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}

// peerAddress is where the next connection comes from: one of few, or the proxy that some worlds trust.
func (w *world) peerAddress() netip.Addr {
	if w.chance(30) {
		return netip.AddrFrom4([4]byte{10, 0, 0, 1})
	}
	return netip.AddrFrom4([4]byte{192, 0, 2, byte(w.rng.IntN(8))})
}

// openSocket connects from somewhere; a second time if it is refused at once.
func (w *world) openSocket() *socket {
	fd := 3
	for w.fds[fd] != nil {
		fd++
	}
	room := []int{64, 700, 1 << 20}[w.rng.IntN(3)]
	if w.choking {
		room = min(room, 700)
	}
	sock := &socket{w: w, fd: fd, room: room, shard: w.hub.shards[w.rng.IntN(len(w.hub.shards))]}
	w.fds[fd] = sock
	from, ok := sock.shard.arrive(w.peerAddress())
	if !ok { // then from one that nobody else is from
		w.awayAtOnce++
		from, ok = sock.shard.arrive(netip.AddrFrom4([4]byte{198, 51, byte(w.awayAtOnce >> 8), byte(w.awayAtOnce)}))
		w.must(ok, "the first connection from an address was refused")
	}
	w.must(w.hub.admit(), "admission refused")
	sock.client = w.enter(sock.shard).opened(sock)
	sock.client.comesFrom(from)
	return sock
}

// limitAddresses changes the bound on connections from one address as a reload would.
func (w *world) limitAddresses(most int) {
	b := *w.hub.bounds.Load()
	b.addresses.PerAddress = most
	w.hub.bounds.Store(&b)
	for _, s := range w.hub.shards {
		w.enter(s).adopt(&b)
	}
}

// send is the raw send: it knows a descriptor, not a connection.
func (w *world) send(fd int, p []byte) sent {
	sock := w.fds[fd]
	w.must(sock != nil, "send to descriptor %d, which is closed", fd)
	w.must(len(sock.outbound) == 0, "send to descriptor %d past its outbox", fd)
	w.must(!sock.shut, "send to descriptor %d after its end", fd)
	w.must(len(p) > 0, "empty send")
	if sock.shard.callback.running() {
		return sock.take(p)
	}
	w.borrowerSends(sock)
	r := sock.take(p)
	w.borrowerSent(r, p)
	return r
}

// take moves bytes into the kernel's buffer.
func (s *socket) take(p []byte) sent {
	s.w.nanos += 2000 + int64(len(p))
	if s.broken {
		return sent{errno: syscall.EPIPE}
	}
	n := min(len(p), s.room-len(s.kernel))
	if n == 0 {
		return sent{errno: syscall.EAGAIN}
	}
	s.kernel = append(s.kernel, p[:n]...)
	return sent{n: n}
}

// Write does what gnet's does: queue behind what is queued, else send, queue the rest, and close on an error before it
// returns.
func (s *socket) Write(p []byte) (int, error) {
	s.w.must(!s.closed, "write to descriptor %d after its close", s.fd)
	if len(s.outbound) == 0 {
		r := s.take(p)
		if r.errno != 0 && r.errno != syscall.EAGAIN {
			s.close()
			return 0, r.errno
		}
		p = p[r.n:]
	}
	s.outbound = append(s.outbound, p...)
	return len(p), nil
}

func (s *socket) OutboundBuffered() int { return len(s.outbound) }
func (s *socket) Fd() int               { return s.fd }

// writable is gnet's answer to EPOLLOUT.
func (s *socket) writable() {
	if s == nil || s.closed || len(s.outbound) == 0 {
		return
	}
	r := s.take(s.outbound)
	if r.errno != 0 && r.errno != syscall.EAGAIN {
		s.close()
		return
	}
	s.outbound = append([]byte(nil), s.outbound[r.n:]...)
}

// close is gnet's: callback first, then one try to get rid of what is queued.
func (s *socket) close() {
	if s.closed {
		return
	}
	s.closed, s.deaf = true, s.client.isDeaf()
	s.w.enter(s.shard).closed(s.client)
	if n := len(s.outbound); n > 0 {
		s.lost = s.take(s.outbound).n < n
	}
	s.outbound = nil
	delete(s.w.fds, s.fd)
}

func (s *socket) gone() bool { return s == nil || s.closed && len(s.kernel) == 0 }
