package loop

import (
	"net/netip"

	"ringcast/loop/door"
	"ringcast/wsproto"
)

// This file is who may come in. A connection passes the bound on connections, then that of its address, at once or when a
// proxy has named it; then (handshake.go) it has a time to send its request in, and while too many are at that, those that
// take longest must go; then its origin is looked at, and last whether too many have come in this moment. What can be judged
// without a client is package door's.

// judge says whether a new connection may come in, and if not, why. One that may is counted, which unseat and gone undo; why
// is then what it is refused for if it comes to nothing all the same.
func (s *shard) judge(peer netip.Addr) (from *door.Source, why turnedAway, ok bool) {
	switch h := s.hub; {
	case h.stopping.Load():
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
	if h.connections.Add(1) > h.clientsMax.Load() {
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

// limitConnections sets the bound on connections: what the operator says and descriptors allow, the smaller of them.
func (h *Hub) limitConnections() {
	most := h.descriptors.Load()
	if said := int64(h.bounds.Load().ClientsMax); said > 0 {
		most = min(most, said)
	}
	h.clientsMax.Store(most)
}

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

// Answers to connections that are refused before they have said a word.
var (
	stoppingAnswers = spread(wsproto.RejectStopping)
	busyAnswers     = spread(wsproto.RejectBusy)
	addressAnswers  = spread(wsproto.RejectAddress)
	memoryAnswers   = spread(wsproto.RejectMemory)
)

// answers are one answer with every number of seconds to try again after.
type answers [door.RetrySecondsMax][]byte

func spread(r *wsproto.Rejection) (a answers) {
	for i := range a {
		a[i] = r.After(i + 1).AppendTo(nil)
	}
	return a
}

// answers are what a connection is told that is turned away for this before it has said a word.
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

// any is one of them at random.
func (a *answers) any() []byte { return a[door.RetryAfter()-1] }
