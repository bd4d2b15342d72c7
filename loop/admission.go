package loop

import (
	"net/netip"

	"ringcast/loop/door"
	"ringcast/wsproto"
)

// This file admits connections. There are bounds on all connections, and on those of one address, which is checked at once
// or when a proxy has named it. Then (handshake.go) a connection has some time to send its request; if too many have not
// sent it, the oldest of them are ended. Then its origin is checked, and last the rate of handshakes. Package door has what
// can be decided without a client.

// judge says whether a new connection is admitted, and if not, why. One that is admitted is counted, which unseat and gone undo;
// why is then the reason to give if it is refused after all.
func (s *shard) judge(peer netip.Addr) (from *door.Source, why turnedAway, ok bool) {
	switch h := s.hub; {
	case h.stopping.Load() && !h.handedIn:
		return nil, awayStopping, false
	case h.pressure.Load() != pressureNone:
		return nil, awayMemory, false
	case !h.admit():
		return nil, awayClients, false
	}
	if from, ok = s.arrive(peer); !ok {
		s.hub.gone()
		return nil, awayAddress, false
	}
	return from, awayClients, true
}

// admit counts a new connection, or refuses it at the bound; see limitConnections.
func (h *Hub) admit() bool {
	if h.connections.Add(1)-h.guests.Load() > h.clientsMax.Load() {
		h.gone()
		return false
	}
	return true
}

// gone is the opposite of admit.
func (h *Hub) gone() {
	if h.connections.Add(-1) == 0 {
		select {
		case h.drained <- struct{}{}:
		default:
		}
	}
}

// limitConnections sets the bound on connections: the operator's, or the number of descriptors if that is smaller.
func (h *Hub) limitConnections() {
	most := h.descriptors.Load()
	if configured := int64(h.bounds.Load().ClientsMax); configured > 0 {
		most = min(most, configured)
	}
	h.clientsMax.Store(most)
}

// arrive counts a new connection under its peer's address; see door.Addresses.
func (s *shard) arrive(peer netip.Addr) (*door.Source, bool) {
	return s.hub.addresses.Arrive(peer, &s.bounds.addresses)
}

// unseat ends the count of a connection under its address, if it is counted.
func (s *shard) unseat(from *door.Source) { s.hub.addresses.Leave(from) }

// comesFrom keeps a client's source, if it has one.
func (c *client) comesFrom(from *door.Source) {
	if from != nil {
		c.more().source = from
	}
}

// remote is a client's address for people to read: the one that a trusted proxy named, else the socket's.
func (c *client) remote() string {
	if named := c.source().Named(); named.IsValid() {
		if named.Port() == 0 {
			return named.Addr().String()
		}
		return named.String()
	}
	_, remote := c.shard.env.names(c.socket())
	return remote
}

// source is nil for most.
func (c *client) source() *door.Source {
	if c.extra == nil {
		return nil
	}
	return c.extra.source
}

// UnixPeers, as one of Limits.TrustedProxies, stands for all peers on unix sockets, which have no address.
var UnixPeers = door.UnixPeers

// Answers to connections that are refused before they have sent anything.
var (
	stoppingAnswers = spread(wsproto.RejectStopping)
	busyAnswers     = spread(wsproto.RejectBusy)
	addressAnswers  = spread(wsproto.RejectAddress)
	memoryAnswers   = spread(wsproto.RejectMemory)
)

// answers is one answer with each number of seconds of Retry-After.
type answers [door.RetrySecondsMax][]byte

func spread(r *wsproto.Rejection) (a answers) {
	for i := range a {
		a[i] = r.After(i + 1).AppendTo(nil)
	}
	return a
}

// answers is the answer to a connection that is refused for this reason before it has sent anything.
func (why turnedAway) answers() *answers {
	switch why {
	case awayStopping:
		return &stoppingAnswers
	case awayMemory:
		return &memoryAnswers
	case awayAddress:
		return &addressAnswers
	default:
		return &busyAnswers
	}
}

// any is the answer with a random number of seconds.
func (a *answers) any() []byte { return a[door.RetryAfter()-1] }
