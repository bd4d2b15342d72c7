package order

import (
	"math/bits"
	"sync/atomic"
)

// This file bounds what of one group is in flight to one loop: what its home has sent there, and no pass has taken yet. Without
// such a bound a group whose members' loop cannot keep up would fill what all groups share: the memory that the loop gathers in,
// then the down lanes to it, and then strangers' publishes would wait and be refused.
//
//	home ──► down lane ──► gathered on the loop ──► pass
//	sent     ◄──────────── in flight ────────────►  taken
//
// The home knows sent, the loop taken, and each only grows, so the home needs no more than to read what the loop has taken. It
// reads that seldom for a group that is quiet, see localRef. What may be in flight is no fixed number: a group may have as much
// as is free on its loop, of FlightBytes that all groups there share. So one loud group gets half of them, and of n loud groups
// each gets a part of n+1, which leaves as much free for everybody else, however many are loud (it is how switches share one
// buffer between their ports: Choudhury and Hahne, Dynamic Queue Length Thresholds). A fixed share was simpler and held strangers
// free for as many loud groups only as there are shares.
//
// A publish that would exceed the bound is refused, before anything of it has reached anybody. One of a port that was accepted
// already cannot be: it is held back in its up lane, as where a down lane is full, and with it all behind it. Until it has gone
// on nobody else may publish to the group: else smaller publishes of others would take what becomes free, again and again, and it
// would wait for as long as they come, and groups that are not loud behind it.

// Flow is a loop's end of this, one for each of its groups.
//
// Owner: who holds the loop's shard writes, any goroutine reads.
type Flow struct {
	taken atomic.Uint64 // bytes of the group's messages that came down and wait no more, since the beginning
}

// Taken adds the bytes of messages (Message.Bytes) that passes have taken, or that were dropped as nobody is there to hear them.
func (f *Flow) Taken(bytes int) { f.taken.Store(f.taken.Load() + uint64(bytes)) }

// localRef is a loop with members, its own part of the group, and what the home knows of the group's flow to it.
type localRef[G Part] struct {
	loop  int
	part  G
	sent  uint64 // bytes of messages, in the loop's count: what it had taken at the beginning, and what was sent since
	clear uint64 // up to this sent nobody needs to look at what the loop has taken
}

func newLocalRef[G Part](loop int, part G) localRef[G] {
	taken := part.Flow().taken.Load()
	return localRef[G]{loop: loop, part: part, sent: taken, clear: taken}
}

// open says whether so many bytes more may be in flight to each loop with members.
func (h *Home[G, C]) open(hg *homeGroup[G], bytes int) bool {
	for i := range hg.locals {
		if l := &hg.locals[i]; l.sent+uint64(bytes) > l.clear && !h.look(l, uint64(bytes)) {
			return false
		}
	}
	return true
}

// look is open for one loop, by what that has taken by now. A group of which nothing is in flight may send a message of any size
// unless the loop has much to do for others; else one larger than FlightBytes would wait for ever.
func (h *Home[G, C]) look(l *localRef[G], bytes uint64) bool {
	most, always := uint64(h.all.config.FlightBytes), uint64(h.all.config.FlightMin)
	taken := l.part.Flow().taken.Load()
	if l.clear = taken + always; l.sent+bytes <= l.clear {
		return true
	}
	inFlight, all := l.sent-taken, h.all.lanes[l.loop].inFlight()
	if room := most - min(all, most); inFlight+bytes <= room {
		l.clear = l.sent + bytes + min(room-inFlight-bytes, always) // so what a look costs is for many messages
		return true
	}
	return inFlight == 0 && all <= most/2
}

// holdBack is open for a request that cannot be refused. If it is false the home is called when less is in flight to one of the
// loops: it first sets the note, then looks once more; the loop first counts what it has taken, then looks for the note. So one of
// the two sees what the other did. The request goes on in the end: all others to the group are refused or wait for it, so in the
// end nothing of the group is in flight, and then it may be of any size, whatever other groups have.
func (h *Home[G, C]) holdBack(hg *homeGroup[G], bytes, origin int) (open bool) {
	for i := range hg.locals {
		note(&h.all.lanes[hg.locals[i].loop].awaited, h.index)
	}
	if hg.heldBack != 0 && int(hg.heldBack) != origin {
		return false // another port's is first; when that has been taken, if not sooner, the home is called
	}
	if h.open(hg, bytes) || hg.quiet() {
		return true
	}
	hg.heldBack = int8(origin)
	return false
}

// quiet says that nothing of the group is in flight.
func (hg *homeGroup[G]) quiet() bool {
	for i := range hg.locals {
		if l := &hg.locals[i]; l.sent != l.part.Flow().taken.Load() {
			return false
		}
	}
	return true
}

// inFlight is the bytes of deliveries that are in the down lanes to this loop, or gathered. They are never more than it says; they
// may be less, as the loop says at the end of its turns what it is through with. Any goroutine.
func (l *Lanes[G, C]) inFlight() (bytes uint64) {
	through := l.through.Load() // this one first: the others may grow meanwhile
	for _, down := range l.down {
		bytes += down.bytesIn.Load()
	}
	return bytes - through
}

// Through says that the loop is through with all that it has drained, but for so many bytes of messages that are gathered. called:
// a home waits for that, which the next Host serves.
func (l *Lanes[G, C]) Through(gathered int) (called bool) {
	through := l.drained - uint64(gathered)
	if l.through.Load() == through {
		return false
	}
	l.through.Store(through)
	homes := take(&l.awaited)
	l.toHost |= homes
	for todo := homes; todo != 0; todo &= todo - 1 {
		l.all.homes[bits.TrailingZeros64(todo)].roomMade.Store(true)
	}
	return homes != 0
}
