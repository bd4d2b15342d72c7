package loop

// This file is how a simulated world comes to rest.

// settle lets everything that is under way arrive. Time does not pass: nothing may depend on a timeout to get through.
func (w *world) settle() {
	for quiet := 0; quiet < 3; {
		before := w.progress()
		w.round()
		w.must(w.step < 1_000_000, "the world does not come to rest")
		if w.progress() == before {
			quiet++
		} else {
			quiet = 0
		}
	}
}

// round does whatever can be done, once.
func (w *world) round() {
	w.step++
	for i := range w.hub.shards {
		w.wake(i)
		w.kick(i)
	}
	w.compress(true)
	w.orderer.all()
	w.retryPatiently()
	w.feed.take(1 << 20)
	for _, a := range w.actors {
		a.deliver(1 << 20)
		a.sock.writable()
		if !a.stalled {
			a.read(1 << 20)
		}
	}
	for _, p := range w.pages.all {
		p.deliver(1 << 20)
		p.sock.writable()
		p.read(1 << 20)
	}
}

// progress is a number that changes whenever anything moves.
func (w *world) progress() (n uint64) {
	for i, r := range w.hub.Snapshot().Loops {
		n += r.BytesIn + r.BytesOut + r.Published + r.Deliveries + r.MessagesIn
		if w.wakes[i] || w.kicks[i] {
			n += uint64(w.step) << 32
		}
	}
	for _, a := range w.actors {
		n += uint64(a.readBytes)
	}
	for _, p := range w.pages.all {
		n += uint64(p.readBytes)
	}
	return n + w.feed.taken() + w.orderer.moves()
}
