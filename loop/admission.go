package loop

import (
	"net/netip"

	"ringcast/loop/door"
)

// This file is who may come in. A connection passes the bound on connections (hub.go), then that of its address, at once or
// when a proxy has named it; then it has a time to send its request in, and while too many are at that, those that take
// longest must go; then its origin is looked at, and last whether too many have come in this moment. What needs no client
// to judge is package door's.

// arrive judges a new connection by its peer's address; see door.Addresses.
func (s *shard) arrive(peer netip.Addr) (*door.Source, bool) {
	return s.hub.addresses.Arrive(peer, &s.bounds.addresses)
}

// unseat gives back the seat that is counted under a client's address, if there is one.
func (s *shard) unseat(from *door.Source) { s.hub.addresses.Leave(from) }

// comesFrom keeps where a client comes from, if there is anything to keep.
func (c *client) comesFrom(from *door.Source) {
	if from != nil {
		c.more().source = from
	}
}

// remote is a client's address for people to read: what a trusted proxy named, else the socket's.
func (c *client) remote() string {
	if named := c.source().Named(); named.IsValid() {
		if named.Port() == 0 {
			return named.Addr().String()
		}
		return named.String()
	}
	_, remote := c.shard.env.names(c.conn)
	return remote
}

// source is nil for most.
func (c *client) source() *door.Source {
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

// crowded says whether more handshakes are unfinished than this loop's share of the bound. They may never be more than half
// of all connections: who only connects would keep everybody out until the handshake's time is over.
//
// Then the oldest are ended (deadlines), so whoever sends its request soon gets in, however many others there are that
// send none. Soon is evictTicks: in a storm a loop has opened thousands of connections before it reads the first request,
// and a client that is far away or busy has not sent it yet; for so long there may be more of them than the bound.
func (s *shard) crowded() bool {
	most := min(int64(s.bounds.handshakes), s.hub.clientsMax.Load()/2)
	return s.unfinished > max(1, int(most)/len(s.hub.shards))
}

// mayEvict says whether a handshake that began at this tick is old enough to be ended for others.
func (s *shard) mayEvict(since uint32) bool { return int32(s.tick-since) >= evictTicks }

// evictTicks is the age from which an unfinished handshake may be ended to make room: one to two seconds.
const evictTicks = 6
