package loop

import (
	"math/rand/v2"
	"net/netip"
	"sync/atomic"
	"time"
)

// This file is who may come in. A connection passes the bound on connections (hub.go), then that of its address, here or
// when a proxy has named it; then it has a time to send its request in, and while too many are at that, those that take
// longest must go; then its origin is looked at, and last whether too many have come in this moment.

// source is where a client comes from, where that is more than the address of its socket. Most clients have none: only
// those whose seat is counted, or whose peer is a trusted proxy.
//
// Owner: the loop.
type source struct {
	named   netip.AddrPort // the client by the proxy's word, port 0 if that word has none; zero: nobody was named
	address address        // under which its seat is counted
	seated  bool           // its seat is counted
	trusted bool           // the peer is a trusted proxy
	awaits  bool           // the proxy has yet to send its PROXY protocol header
	told    bool           // it has sent it
}

// arrive judges a new connection by its peer's address: false when that has as many connections as it may. A trusted
// proxy's address stands for all who are behind it, so it is never counted: they are, when the proxy has named them.
// nil is a source of which nothing needs to be kept.
func (s *shard) arrive(peer netip.Addr) (*source, bool) {
	b := s.bounds
	if b.clientsPerAddress == 0 && len(b.proxies) == 0 || !peer.IsValid() {
		return nil, true
	}
	if b.trusts(peer) {
		return &source{trusted: true, awaits: b.proxyProtocol}, true
	}
	if b.clientsPerAddress == 0 {
		return nil, true
	}
	from := &source{}
	return from, s.seat(from, peer)
}

// seat counts a client under its address, and refuses it when that has as many as it may.
func (s *shard) seat(from *source, a netip.Addr) bool {
	if most := s.bounds.clientsPerAddress; most > 0 && !from.seated {
		from.address = addressOf(a)
		from.seated = s.hub.addresses.take(from.address, most)
		return from.seated
	}
	return true
}

// unseat gives back the seat, if there is one.
func (s *shard) unseat(from *source) {
	if from != nil && from.seated {
		from.seated = false
		s.hub.addresses.giveBack(from.address)
	}
}

// name notes whom a trusted proxy says that it speaks for; false when that address has as many connections as it may.
// Nobody, or one of the proxies themselves, is not counted.
func (s *shard) name(from *source, client netip.AddrPort) bool {
	from.named = client
	if !client.IsValid() || s.bounds.trusts(client.Addr()) {
		return true
	}
	return s.seat(from, client.Addr())
}

// forwarded notes whom an HTTP proxy says that it speaks for; false when that address has as many connections as it may.
// Behind a PROXY protocol header it counts only if that has named a trusted proxy: else the client wrote it itself.
func (s *shard) forwarded(from *source, list string) bool {
	if from.told && !(from.named.IsValid() && s.bounds.trusts(from.named.Addr())) {
		return true
	}
	if client := s.bounds.forwarded(list); client.IsValid() {
		return s.name(from, client)
	}
	return true
}

// comesFrom keeps where a client comes from, if there is anything to keep.
func (c *client) comesFrom(from *source) {
	if from != nil {
		c.more().source = from
	}
}

// remote is a client's address for people to read: what a trusted proxy named, else the socket's.
func (c *client) remote() string {
	if from := c.source(); from != nil && from.named.IsValid() {
		if from.named.Port() == 0 {
			return from.named.Addr().String()
		}
		return from.named.String()
	}
	_, remote := c.shard.env.names(c.conn)
	return remote
}

// source is nil for most.
func (c *client) source() *source {
	if c.extra == nil {
		return nil
	}
	return c.extra.source
}

// limitConnections sets the bound on connections: what the operator says and descriptors allow, the smaller of them.
func (h *Hub) limitConnections() {
	most := h.descriptors.Load()
	if said := int64(h.bounds.Load().clients); said > 0 {
		most = min(most, said)
	}
	h.clientsMax.Store(most)
}

// tooManyHandshakes says whether more handshakes are unfinished than this loop's share of the bound. They may never be more than half
// of all connections: who only connects would keep everybody out until the handshake's time is over.
//
// Then the oldest are ended (deadlines), so whoever sends its request soon gets in, however many others there are that
// send none. Soon is evictTicks: in a storm a loop has opened thousands of connections before it reads the first request,
// and a client that is far away or busy has not sent it yet; for so long there may be more of them than the bound.
func (s *shard) tooManyHandshakes() bool {
	most := min(int64(s.bounds.handshakes), s.hub.clientsMax.Load()/2)
	return s.unfinished > max(1, int(most)/len(s.hub.shards))
}

// mayEvict says whether a handshake that began at this tick is old enough to be ended for others.
func (s *shard) mayEvict(since uint32) bool { return int32(s.tick-since) >= evictTicks }

// evictTicks is the age from which an unfinished handshake may be ended to make room: one to two seconds.
const evictTicks = 6

// pace lets so many through in a second, on all loops together. It is a bucket that runs full at that rate and holds
// paceBurst of it, or one; all that is kept is when it will be full. Any goroutine.
type pace struct{ full atomic.Int64 } // nanoseconds on the loops' clocks, which agree within microseconds

func (p *pace) allow(now int64, perSecond int) bool {
	each := int64(time.Second) / int64(perSecond)
	for {
		full := p.full.Load()
		next := max(full, now) + each
		if next-now > max(each, paceBurst) {
			return false
		}
		if p.full.CompareAndSwap(full, next) {
			return true
		}
	}
}

// paceBurst, in nanoseconds: small, so that a storm is spread evenly; large enough that a few who come at one moment on
// a calm day all get in.
const paceBurst = int64(100 * time.Millisecond)

// retryAfter is the seconds after which one of many who were refused in one moment is to try again: each another
// number, else they would all be back in one moment.
func retryAfter() int { return 1 + rand.IntN(retrySecondsMax) }

const retrySecondsMax = 8
