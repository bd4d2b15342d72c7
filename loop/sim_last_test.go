package loop

import "fmt"

// This file is the cache channel of a simulated world: what a backend says there is heard by its members from the last on that was said before
// they came, without a gap.

const simCached = "private-cache-d"

// simLast is what a backend has said in the cache channel.
type simLast struct {
	accepted bool
	heardAt  int // step at which a page has heard it first; 0: none has
}

// sayLast has the backend say something there.
func (w *world) sayLast() {
	err := insist(w.port, simCached, fmt.Appendf(nil, `{"n":%d}`, len(w.pages.said)))
	w.must(err == nil || err == ErrBusy && w.tight, "port: %v", err)
	w.pages.said = append(w.pages.said, simLast{accepted: err == nil})
}

// missLast is the notice that nothing was said there.
func (p *simPage) missLast(in *simChannel) {
	w := p.w
	w.must(in.owed || in.mixed, "page %d: is told that nothing was said, and has not just come", p.index)
	in.owed = false
	w.pages.misses++
	for _, said := range w.pages.said {
		w.must(in.users == nil || in.asksAt == 0 || said.heardAt == 0 || said.heardAt >= in.asksAt || w.hub.bounds.Load().HistoryBytesMax > 0,
			"page %d: is told at once that nothing was said in %s, where something was heard in step %d", p.index, simCached, said.heardAt)
	}
}

// hearLast is what a backend has said in the cache channel, now or last.
func (p *simPage) hearLast(in *simChannel, number int) {
	w := p.w
	w.must(number < len(w.pages.said), "page %d: hears %d, which nobody has said", p.index, number)
	in.owed = false
	if w.pages.last++; in.users == nil {
		return
	}
	w.must(in.last < number, "page %d: hears %d behind %d", p.index, number, in.last)
	for between := in.last + 1; in.last >= 0 && between < number; between++ {
		w.must(!w.pages.said[between].accepted, "page %d: has heard %d and %d, and not what was said between", p.index, in.last, number)
	}
	for later := number + 1; in.last < 0 && in.asksAt > 0 && later < len(w.pages.said); later++ {
		at := w.pages.said[later].heardAt
		w.must(at == 0 || at >= in.asksAt, "page %d: is told that %d was last, and %d was heard in step %d, before it asked", p.index, number, later, at)
	}
	if said := &w.pages.said[number]; said.heardAt == 0 {
		said.heardAt = w.step
	}
	in.last = number
}
