package loop

import "fmt"

// This file is what other loops do with a shard whose own loop sleeps: they hold it for a moment (hold.go) and serve it (borrow.go).
// Loops of the simulation never sleep and never run at the same time, so whenever one puts something into another's lanes that one's
// shard is free, and is borrowed. The rest is made up here: shards that somebody holds at that moment, borrowers that come for
// nothing, what else happens while a borrower is at work, and borrowers that panic.

// simBorrowing is what the borrowers of a world have done.
type simBorrowing struct {
	held      []*heldShard // by loop; nil: it is free
	cruel     bool         // borrowers panic now and then
	nested    bool         // something happens between two sends of a borrower
	sends     uint64       // by borrowers
	short     uint64       // of which the kernel took a part
	refused   uint64       // of which it took nothing
	panics    uint64
	meanwhile uint64 // callbacks of a third loop between two sends
	called    uint64 // shards whose lanes were called while somebody held them
}

// heldShard is a shard that another loop holds.
type heldShard struct{ deliveries, passes uint64 }

type simPanic struct{ fd int }

func (p simPanic) String() string { return fmt.Sprintf("a send to descriptor %d that panics", p.fd) }

// borrowSomewhere has shards held by others for a while, and borrowed when there is nothing to serve.
func (w *world) borrowSomewhere() {
	for i := range w.borrowing.held {
		if w.chance(30) {
			w.letGo(i)
		}
	}
	loops := len(w.hub.shards)
	if loops == 1 {
		return
	}
	loop := w.rng.IntN(loops)
	switch n := w.rng.IntN(100); {
	case n < 8 && w.borrowing.held[loop] == nil:
		s := w.hub.shards[loop]
		w.must(s.hold.try(), "shard %d is held at rest", loop)
		w.borrowing.held[loop] = &heldShard{s.count.Deliveries.Load(), s.count.Passes.Load()}
	case n < 16:
		w.serve(loop)
	}
}

// serve has some other loop see to a shard, which is left to its own loop if that must be.
func (w *world) serve(loop int) {
	other := (loop + 1 + w.rng.IntN(len(w.hub.shards)-1)) % len(w.hub.shards)
	if !w.hub.shards[other].serve(loop) {
		w.hub.wake(loop)
	}
}

// letGo ends that somebody holds a shard, who then looks, as a borrower does.
func (w *world) letGo(loop int) {
	held, s := w.borrowing.held[loop], w.hub.shards[loop]
	if held == nil {
		return
	}
	w.borrowing.held[loop] = nil
	w.must(*held == heldShard{s.count.Deliveries.Load(), s.count.Passes.Load()}, "shard %d was served while another loop held it", loop)
	s.hold.letGo()
	if s.lanes.Called() {
		w.borrowing.called++
		w.serve(loop)
	}
}

// letAllGo has every shard free.
func (w *world) letAllGo() {
	for i := range w.borrowing.held {
		w.letGo(i)
	}
}

// enter is before each callback of a shard, which waits until nobody else holds it.
func (w *world) enter(s *shard) *shard {
	w.letGo(s.index)
	return s
}

// borrowerSends is before a send of a borrower.
func (w *world) borrowerSends(sock *socket) {
	b, s := &w.borrowing, sock.shard
	b.sends++
	w.must(s.hold.held.Load(), "a send to loop %d's client %d by one that does not hold its shard", s.index, sock.client.Number())
	w.must(b.held[s.index] == nil, "shard %d is borrowed twice", s.index)
	w.must(s.hold.borrowed.unsent.to == nil, "loop %d: a borrower sends on though it has left something", s.index)
	w.must(sock.client.detour&detourAny == 0 && sock.client.state == stateOpen, "loop %d: a borrower sends to a client on a detour, or in state %d", s.index, sock.client.state)
	if b.cruel && w.chance(6) {
		b.panics++
		panic(simPanic{sock.fd})
	}
	if !b.nested && w.chance(30) {
		b.nested = true
		w.meanwhile(s)
		b.nested = false
	}
}

// meanwhile is what may happen while a shard is borrowed: what gnet does for its clients' outboxes, peers that end, and anything on
// loops that neither borrow nor are borrowed.
func (w *world) meanwhile(s *shard) {
	a := w.actors[w.rng.IntN(len(w.actors))]
	if a.sock == nil { // it connects at this moment, and the loop that lets it in lends its shard behind it
		return
	}
	switch other := a.sock.shard; {
	case a.sock.closed:
	case other == s && a.sock.broken: // gnet would find out, and wait in closed
	case other == s && w.chance(50):
		a.sock.writable()
	case other == s && !w.calm && w.chance(5):
		a.breakOff()
	case other != s && !other.callback.running() && len(a.toServer) > 0:
		w.borrowing.meanwhile++
		a.deliver(1 + w.rng.IntN(400))
	}
}

// borrowerSent is after a send of a borrower.
func (w *world) borrowerSent(r sent, p []byte) {
	switch {
	case r.n == 0:
		w.borrowing.refused++
	case r.n < len(p):
		w.borrowing.short++
	}
}

// checkBorrowing: at rest nobody holds a shard, and what borrowers have left was seen to.
func (w *world) checkBorrowing() {
	for i, s := range w.hub.shards {
		b := &s.hold.borrowed
		w.must(!s.hold.held.Load() && !s.hold.awaited.Load() && b.unsent.to == nil && b.panickedFor == nil,
			"loop %d: held %v, awaited %v; a borrower has left bytes %v, a panic %v", i, s.hold.held.Load(), s.hold.awaited.Load(), b.unsent.to != nil, b.panickedFor != nil)
	}
	w.must(w.hub.Snapshot().Total().Panics == w.borrowing.panics+w.deflating.panics, "%d panics, want %d", w.hub.Snapshot().Total().Panics, w.borrowing.panics+w.deflating.panics)
}

// heldElsewhere has an event happen while another loop, of those that are not called meanwhile, holds a home, and has
// that loop look again as it lets go. In truth the two run at the same time.
func (w *world) heldElsewhere(event func()) {
	home := w.rng.IntN(len(w.hub.shards))
	h := w.hub.homes.Home(home)
	letGo, ok := h.Hold()
	w.must(ok, "home %d is held at rest", home)
	before := h.Waiting()
	event()
	called := letGo()
	w.must(h.Waiting() >= before, "home %d was served while another loop held it", home)
	if called {
		host := w.hub.shards[w.rng.IntN(len(w.hub.shards))]
		host.lanes.ToHost(home)
		w.wakes[host.index] = false
		w.enter(host).woken()
	}
}
