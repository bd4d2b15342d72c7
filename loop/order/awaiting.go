package order

import "errors"

// This file is who waits for the word of the orderer on a publish.

// waiter is a publish that was offered to the orderer, or a history that is to be forgotten, until the orderer's word comes. There are as many as
// the orderer takes.
type waiter[G Part, C Client] struct {
	request Request[G, C] // with its message, also where it is no publish
	origin  int
}

// verdict is the word that a publish was not put in order.
type verdict struct {
	token uint64
	why   error  // ErrBusy, ErrUnavailable, ErrTooLarge, ErrUnconfirmed; nil: its key was said before
	first uint64 // offset of what was said then
}

// offer offers a publish to the orderer, or refuses it. hg is nil if the home does not know the group.
func (h *Home[G, C]) offer(hg *homeGroup[G], r *Request[G, C], origin int) bool {
	refusable := origin >= 0 || r.told() != nil
	if bytes := r.Message.Bytes(); hg != nil && (hg.heldBack != 0 || !h.open(hg, bytes)) {
		if refusable {
			return h.refuse(r, origin)
		}
		if !h.flows(hg, bytes) {
			return false
		}
	}
	o := Offer{Message: r.Message, Key: r.key(), Soon: r.Soon}
	if h.offers(r, origin, o) {
		return true
	}
	if refusable {
		return h.refuseOffer(r, origin, RefusedBusy)
	}
	h.full.Store(true)
	return false
}

// offers notes who waits, and offers. False: the orderer has no room.
func (h *Home[G, C]) offers(r *Request[G, C], origin int, o Offer) bool {
	s := h.ordering
	s.tokens++
	o.Token, o.Partition = s.tokens, s.partition(o.Message.Group)
	w := &waiter[G, C]{request: *r, origin: origin}
	w.request.Message = o.Message
	s.waiting.Put(o.Token, w) // first, so that after a panic the message is there if it was taken
	s.offering = w
	taken := s.orderer.Offer(h.index, o)
	if s.offering = nil; !taken {
		s.waiting.Delete(o.Token)
		return false
	}
	h.offered.Store(int64(s.waiting.Len()))
	return true
}

// offerForget offers that a group's history is to be forgotten, at its place in the order.
func (h *Home[G, C]) offerForget(r *Request[G, C], origin int) bool {
	m, _ := NewMessage(borrowBytes(r.Group()), nil, nil, false)
	if !h.offers(r, origin, Offer{Message: m, Forgets: true}) {
		return h.refuseOffer(r, origin, RefusedBusy)
	}
	return true
}

// flows says whether a publish may be offered that cannot be refused, though its group is loud: nothing of it is in flight, however much
// is of others. If not, the home is called when less is in flight. It does not go before others, as one that is held back does: it is
// behind what is in order already.
func (h *Home[G, C]) flows(hg *homeGroup[G], bytes int) bool {
	for i := range hg.locals {
		note(&h.all.lanes[hg.locals[i].loop].awaited, h.index)
	}
	return hg.heldBack == 0 && (h.open(hg, bytes) || hg.quiet())
}

// refuseOffer tells who has published why the orderer has not taken it.
func (h *Home[G, C]) refuseOffer(r *Request[G, C], origin int, why Refusal) bool {
	d := Delivery[G, C]{Op: OpBusy, Asks: r.Asks, Why: why, Client: r.Client, ID: r.ID}
	switch {
	case origin < 0:
		h.tellPort(r, told{err: why.err()})
	case !h.fits(origin, d.Bytes()):
		return false
	default:
		h.send(origin, d)
	}
	if h.all.env.Refused != nil {
		h.all.env.Refused(h.index, why)
	}
	return true
}

// err is what a port is told of the refusal of a publish.
func (why Refusal) err() error {
	switch why {
	case RefusedUnavailable:
		return ErrUnavailable
	case RefusedUnconfirmed:
		return ErrUnconfirmed
	case RefusedTooLarge:
		return ErrTooLarge
	}
	return ErrBusy
}

// refusalOf is the opposite.
func refusalOf(err error) Refusal {
	switch {
	case errors.Is(err, ErrUnavailable):
		return RefusedUnavailable
	case errors.Is(err, ErrUnconfirmed):
		return RefusedUnconfirmed
	case errors.Is(err, ErrTooLarge):
		return RefusedTooLarge
	}
	return RefusedBusy
}

// tellPort gives the home's word to who waits at a port, if somebody does who has not been told.
func (h *Home[G, C]) tellPort(r *Request[G, C], word told) {
	select {
	case r.told() <- word:
	default:
	}
}

// tellUnknown tells who waits for the word on a request at a port that a panic has dropped it.
func tellUnknown[G Part, C Client](r *Request[G, C]) {
	select {
	case r.told() <- told{err: ErrUnknown}:
	default: // nobody waits, or it was told already
	}
}

// answered does an OpAnswer.
func (h *Home[G, C]) answered(r *Request[G, C]) bool {
	a := r.via.token.(*verdict)
	w := h.ordering.waiting.Get(a.token)
	if w == nil {
		return true
	}
	q := &w.request
	if a.why != nil {
		if !h.refuseOffer(q, w.origin, refusalOf(a.why)) {
			return false
		}
	} else if !h.repeat(q, w.origin, h.first(q, a.first)) {
		return false
	}
	h.waitsNoMore(a.token)
	return true
}

// first is what was said under the key of a publish before, with an offset.
func (h *Home[G, C]) first(r *Request[G, C], offset uint64) *keyed {
	name := r.Message.Group
	if k := h.repeated(name, r.key()); k != nil {
		return k
	}
	k := &keyed{receipt: Receipt{Position: Position{Offset: offset}}}
	if hg := h.find(name); hg != nil {
		k.receipt.Members = hg.headcount.Members()
		if hg.history != nil && !r.Message.Unkept() {
			k.receipt.Position.Epoch, k.receipt.Kept = hg.history.epoch, true
		}
	}
	return k
}

// waitsNoMore takes a waiter out that has been told, if there is one. The orderer has room again, so what could not be refused is
// offered again.
func (h *Home[G, C]) waitsNoMore(token uint64) {
	if token == 0 || h.ordering.waiting.Get(token) == nil {
		return
	}
	h.ordering.waiting.Delete(token)
	h.offered.Store(int64(h.ordering.waiting.Len()))
	h.tryFull()
}

// tryFull has the home look again at what waits for room at the orderer. It is called once a tick too, should the orderer not have been full
// of what this home has offered.
func (h *Home[G, C]) tryFull() {
	if h.full.Load() {
		h.full.Store(false)
		h.roomMade.Store(true)
	}
}

// dropWaiter takes a waiter out over which something has panicked.
func (h *Home[G, C]) dropWaiter(token uint64) {
	if w := h.ordering.waiting.Get(token); w != nil {
		tellUnknown(&w.request)
		h.waitsNoMore(token)
	}
}

// silence is called when something has panicked over a request. If it may have been taken by the orderer it may come back, and then who waits
// at a port has been told already.
func (h *Home[G, C]) silence() {
	w := h.ordering.offering
	h.ordering.offering = nil
	h.offered.Store(int64(h.ordering.waiting.Len()))
	if w != nil && w.request.via != nil {
		quiet := *w.request.via
		quiet.told = nil
		w.request.via = &quiet
	}
}
