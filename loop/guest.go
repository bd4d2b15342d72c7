package loop

import (
	"net/netip"

	"ringcast/dialect"
	"ringcast/loop/door"
	"ringcast/wsproto"
)

// This file is how there is no place for a client of the Pusher protocol. Whoever is answered 503, or finds nobody listening, stays away for
// 15 s, then for 30 s and more, while its page shows nothing. So such a client is a guest: its handshake is accepted, it hears nothing, and
// after a while it is closed, with the code with which it comes back a second later. The while is another one for each, because that second is
// the same for all.
//
//	new connection ──► judge: no place ──► asGuest ──► handshake ──► receive ──► endLate: closed, after guestTicks
//	                                          │             └─ it is no Pusher client: 503
//	                                          └─ there are guestsMax already, or no descriptor: 503
//
// Guests count as connections, but not against the bound on them: they are few, and soon gone. Where memory is short, or one address has
// as many connections as it may, nobody is a guest.

const (
	// guestsMax bounds guests, of all loops: with each staying for 2.6 s on average, 400 a second are told so, and come back.
	guestsMax = 1024
	// guestTicks is the longest that a guest stays: 5 s.
	guestTicks = 25
)

// seatGuest counts a guest; false: there are as many as there may be.
func (h *Hub) seatGuest() bool {
	if h.guests.Add(1) <= guestsMax {
		return true
	}
	h.guests.Add(-1)
	return false
}

// asGuest has a new connection that judge has refused be a guest, if it can be one. It is then counted like others, and so is its source.
func (s *shard) asGuest(peer netip.Addr, why turnedAway) (from *door.Source, ok bool) {
	h := s.hub
	if s.bounds.Apps == nil || why != awayStopping && why != awayClients || !h.seatGuest() {
		return nil, false
	}
	if from, ok = s.arrive(peer); !ok {
		h.guests.Add(-1)
		return nil, false
	}
	if most := h.descriptors.Load(); h.connections.Add(1) > most && most > 0 {
		s.unseat(from)
		s.forgetGuest()
		h.gone()
		return nil, false
	}
	return from, true
}

// isGuest says whether a client is one.
func (c *client) isGuest() bool { return c.extra != nil && c.extra.guest }

// forgetGuest ends the count of a guest.
func (s *shard) forgetGuest() { s.hub.guests.Add(-1) }

// refuse refuses a correct handshake for which there is no place: with a close code, if its client is to come back soon, or else with an
// answer.
func (s *shard) refuse(c *client, req *wsproto.Request, why turnedAway, r *wsproto.Rejection) {
	f := s.formOf(req.Path, req.Subprotocol)
	if !s.hub.dialects[f].NeedsApp || !c.isGuest() && !s.hub.seatGuest() {
		s.turnAway(c, why, r)
		return
	}
	count(&s.count.Handshakes, handshakeAway)
	count(&s.count.RefusedClientsBy, why)
	c.more().guest = true
	s.open(c, req, f)
	if s.stop.begun {
		s.close(c, s.stopCause(c))
		return
	}
	s.deadlines.add(c, s.tick, 1+c.serial%guestTicks)
}

// lateCause is why a client is closed that is not connected when its time is over.
func (s *shard) lateCause(c *client) dialect.Cause {
	switch {
	case !c.isGuest():
		return dialect.CauseNoConnect
	case s.hub.stopping.Load():
		return s.stopCause(c)
	default:
		return dialect.CauseFull
	}
}

// stopCause is the cause to close a client because the server stops. Clients of the Pusher protocol come back at once if they are told
// that, and if nobody listens then, not before 15 s have passed. So they are told it where somebody does, as another has opened the listening
// sockets; else they come back after a second.
func (s *shard) stopCause(c *client) dialect.Cause {
	if s.entry(c).NeedsApp && !s.hub.handedIn {
		return dialect.CauseBusy
	}
	return dialect.CauseStopping
}
