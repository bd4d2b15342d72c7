package loop

import (
	"ringcast/dialect"
	"ringcast/loop/order"
	"ringcast/wsproto"
)

// This file is compression, as far as loops have to do with it (RFC 7692): which messages they get in a deflated form, and what they do while a
// large one is compressed beside them.
//
// An audience whose next message is being compressed by a goroutine leaves the queue of passes, and nobody looks at it until the loop is
// woken; so its messages keep their order, other audiences go on, those of the same group too, and the loop may sleep. Loops do not wait for
// each other in this way while one of them compresses what is small: that takes a tenth of a millisecond at most.
//
// Only messages are compressed. What one client alone is told, such as an answer, goes as it is: it would be a compression for each client, and
// most where all come back at once. What has been said while a client joined goes compressed if it is already.

// in is a message in a form, of which d is the dialect.
func (s *shard) in(m *message, f form, d dialect.Dialect) (frame []byte, is order.Readiness) {
	if f.Deflated() {
		if frame, is = s.hub.deflater.In(m, f, d, s.bounds.CompressionMin, s.index); is == order.Ready {
			s.passes.sends |= sendsPerClock - 1 // what it may have cost counts in the budget
		}
		return frame, is
	}
	frame, ready := m.In(f, d)
	if !ready {
		is = order.Soon
	}
	return frame, is
}

// isMade says whether a message may be sent to the members of a group without a compression.
func (s *shard) isMade(g *group, m *message) bool {
	made := func(a *audience) bool {
		return !a.form.Deflated() || a.members == nil || m.IsMade(a.form, s.dialects.of[a.form.Dialect()], s.bounds.CompressionMin)
	}
	for a := g.further; a != nil; a = a.next {
		if !made(&a.audience) {
			return false
		}
	}
	return made(&g.inline)
}

// awaiting is an audience whose next message is being compressed by a goroutine.
type awaiting struct {
	queued
	ordered int // how many of its waiting messages have been ordered, if they are large
}

// orderAhead has messages compressed that wait behind the one for which an audience waits, as many as a batch has, if they are large: else each
// would be begun when the one before it has been sent.
func (s *shard) orderAhead(w *awaiting) {
	a, bytes := w.audience, 0
	d := s.dialects.of[a.form.Dialect()]
	for at, m := range a.waiting {
		if bytes += m.Bytes(); bytes > s.bounds.batchBytes {
			return
		}
		if at >= w.ordered && (m.Sort == dialect.Said || a.hears) {
			w.ordered = at + 1
			s.hub.deflater.Ahead(m, a.form, d, s.bounds.CompressionMin, s.index)
		}
	}
}

// takeMade has the audiences that wait for forms look whether these are there, if one has come, and else orders what has come for them since.
func (s *shard) takeMade() {
	ps := &s.passes
	if !ps.made.Load() || !ps.made.Swap(false) {
		for i := range ps.awaiting {
			if w := &ps.awaiting[i]; len(w.audience.waiting) > w.ordered {
				s.orderAhead(w)
			}
		}
		return
	}
	for _, w := range ps.awaiting {
		ps.queue = append(ps.queue, w.queued)
	}
	clear(ps.awaiting)
	ps.awaiting = ps.awaiting[:0]
}

// formMade is called when a form is there for which a loop waits. Any goroutine.
func (h *Hub) formMade(loop int) {
	h.shards[loop].passes.made.Store(true)
	h.wake(loop)
}

// compressed counts a compression. Any goroutine.
func (h *Hub) compressed(loop, from, to int) {
	count := &h.shards[loop].count
	count.Compressions.Add(1)
	count.CompressionIn.Add(uint64(from))
	count.CompressionOut.Add(uint64(to))
}

// inflated counts a message of c that came compressed; false: c is closed. It counts against the client's rate by what was in it, or by what it may
// have cost to inflate, beside what came: else a thousandth would do to keep a loop busy.
func (s *shard) inflated(c *client, ev *wsproto.Event) (open bool) {
	s.count.InflatedIn.Add(1)
	if s.rates.on {
		s.chargeBytes(c, max(len(ev.Payload), inflateCost*int(ev.WireBytes)))
	}
	if len(ev.Payload) > inflateRatio*int(ev.WireBytes) && !s.readers.mayInflate(c, len(ev.Payload)) && c.state == stateOpen {
		count(&s.count.RefusedBy, refusedRate)
		s.close(c, dialect.CauseByteRate)
	}
	return c.state == stateOpen
}

const (
	// inflateRatio is how many times its size a compressed message may be without being counted here: text seldom is more than ten.
	inflateRatio = 16

	// inflatedTickMax bounds what a client may have inflated of other messages in a tick, in bytes, whether there is a bound on rates or
	// not. One read may bring sixty messages of a megabyte each, and to read those took a loop 65 to 100 ms; so many take it some 10.
	inflatedTickMax = 8 << 20
)

// inflateCost is how many bytes a byte of a compressed message counts at least: one may take as long as so many of other messages, as it may
// have nothing but tables to be built.
const inflateCost = 8
