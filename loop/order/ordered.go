package order

import (
	"ringcast/dialect"
	"ringcast/loop/assert"
	"ringcast/loop/shrink"
)

// This file is a home where an orderer puts publishes in order, see orderer.go. What comes back is acted on as a publish that cannot be
// refused: it has its place in the order on all machines.

// ordering is what a home knows of the order that it does not make.
//
// Owner: who holds the home; orderer and partition are immutable.
type ordering[G Part, C Client] struct {
	orderer   Orderer
	partition func(group string) int

	partitions []partition // all; those of other homes are not used
	waiting    shrink.Map[uint64, *waiter[G, C]]
	offering   *waiter[G, C] // that is being offered, for silence; nil: none
	tokens     uint64        // that were given
	reaches    shrink.Map[*history[G], reach]
	asked      shrink.Map[string, *asked[G, C]]
}

// partition is how far the order of a partition has come here.
type partition struct {
	epoch Epoch  // 0: it has not begun
	life  uint32 // grows with each epoch; one may come again, and what was kept before is over all the same
	tip   uint64 // the offset of what has come last; each group of the partition has been told all up to here
}

// of is the partition of a group.
func (o *ordering[G, C]) of(group string) *partition { return &o.partitions[o.partition(group)] }

// SetOrderer has an orderer put publishes in order in place of the homes. It is called once, before there is any request. partition is the
// partition of a group, below partitions; it must not block, and any goroutine may call it.
func (hs *Homes[G, C]) SetOrderer(o Orderer, partition func(group string) int, partitions int) {
	hs.Hash = func(group string) uint64 { return uint64(partition(group)) }
	for _, h := range hs.homes {
		h.ordering = newOrdering[G, C](o, partition, partitions)
	}
}

func newOrdering[G Part, C Client](o Orderer, of func(group string) int, partitions int) *ordering[G, C] {
	return &ordering[G, C]{orderer: o, partition: of, partitions: make([]partition, partitions)}
}

// kindsMark is Homes.kinds when the kind of a group was looked at, its last bits, and in the lowest bits what that was.
type kindsMark uint16

func markOf(kinds uint32, kind Kind) kindsMark {
	mark := kindsMark(kinds << 2)
	if kind.Fast {
		mark |= markFast
	}
	if kind.Cache > 0 {
		mark |= markCaches
	}
	return mark
}

const (
	markFast kindsMark = 1 << iota
	markCaches
)

func (m kindsMark) isOf(kinds uint32) bool { return m&^(markFast|markCaches) == kindsMark(kinds<<2) }
func (m kindsMark) fast() bool             { return m&markFast != 0 }
func (m kindsMark) caches() bool           { return m&markCaches != 0 }

// publishOrdered offers a publish to the orderer, or says it here and to other machines, as its kind is. hg is nil if the home does not
// know the group.
func (h *Home[G, C]) publishOrdered(hg *homeGroup[G], r *Request[G, C], origin int) bool {
	name := r.Message.Group
	if fast := hg != nil && hg.kinds.fast() || hg == nil && h.kind(name).Fast; !fast {
		return h.offer(hg, r, origin)
	}
	published := h.published.Load()
	if !h.publishHere(hg, r, origin) {
		return false
	}
	if h.published.Load() != published { // else it was refused
		h.ordering.orderer.Offer(h.index, Offer{Partition: h.ordering.partition(name), Message: r.Message, Key: r.key(), Fast: true})
	}
	return true
}

// ordered does an OpOrdered: what has been put in order is kept, sent, and answered if its sender is here.
func (h *Home[G, C]) ordered(r *Request[G, C], origin int) bool {
	o := r.via.token.(*Ordered)
	if o.Fast {
		return h.hearFast(o, origin)
	}
	p := &h.ordering.partitions[o.Partition]
	if o.Offset <= p.tip {
		assert.That(false, "home: what has been put in order comes twice, or too late")
		return true
	}
	said, from := Request[G, C]{Message: o.Message}, origin
	if w := h.ordering.waiting.Get(o.Token); w != nil {
		said, from = w.request, w.origin
	} else if o.Key != "" {
		said.via = &via{key: o.Key}
	}
	if said.Message == nil {
		assert.That(false, "home: what has been put in order has no message, and nobody waits for it")
		p.tip = o.Offset
		return true
	}
	hg := h.find(said.Message.Group)
	if o.Forgets {
		h.uncache(said.Message.Group)
		h.forgetUpTo(hg, o.Offset)
		h.tellPort(&said, told{past: &Past{}})
	} else {
		known := hg != nil
		var cache uint32
		if hg, cache = h.meet(hg, said.Message); hg != nil && !known {
			h.setReach(hg.history, o.Prev, o.Prev == 0)
		}
		bytes := said.Message.Bytes()
		if hg != nil && (hg.heldBack != 0 && int(hg.heldBack) != origin || !h.open(hg, bytes)) && !h.holdBack(hg, bytes, origin) {
			return false
		}
		if o.Key != "" {
			h.tick() // for the key
		}
		if !h.spread(hg, &said, from, cache, o) {
			return false
		}
	}
	p.tip = o.Offset
	h.waitsNoMore(o.Token)
	return true
}

// hearFast does an OpOrdered that is not in order. It is not held back, since what is behind it in its lane is: it is lost here if too
// much of its group is in flight. Where the group is not fast, as nodes learn their kinds one after the other, it has no place among what is
// in order, and so no offset.
func (h *Home[G, C]) hearFast(o *Ordered, origin int) bool {
	name := o.Message.Group
	hg := h.find(name)
	if fast := hg != nil && hg.kinds.fast() || hg == nil && h.kind(name).Fast; !fast {
		more := dialect.More{}
		if o.Message.More != nil {
			more = *o.Message.More
		}
		more.Unkept = true
		o.Message.More = &more
	}
	if hg != nil && (hg.heldBack != 0 || !h.open(hg, o.Message.Bytes())) {
		h.all.env.TooLoud(h.index, o.Message)
		return true
	}
	return h.publishHere(hg, &Request[G, C]{Message: o.Message}, origin)
}

// numberAs is number for what an orderer has numbered. Of a group that the home does not know nothing is kept.
func (h *Home[G, C]) numberAs(hg *homeGroup[G], r *Request[G, C], o *Ordered) (epoch Epoch) {
	switch {
	case r.Message.Unkept():
		return 0
	case hg != nil && hg.history != nil:
		epoch = hg.history.epoch
		r.Message.Offset = o.Offset // what makes room for it may drop it
		h.keep(hg.history, r.Message, len(r.ID))
	case hg != nil:
		hg.offset = o.Offset
	}
	r.Message.Offset = o.Offset // nobody else has the message yet
	return epoch
}

// forgetUpTo has a history forget what was said up to an offset. hg is nil if the home does not know the group.
func (h *Home[G, C]) forgetUpTo(hg *homeGroup[G], offset uint64) {
	if hg == nil || hg.history == nil {
		return
	}
	y := hg.history
	h.clear(y)
	h.setReach(y, offset, true)
}

// clear drops all messages of a history.
func (h *Home[G, C]) clear(y *history[G]) {
	bytes, count := y.bytes, y.count
	y.ring, y.bytes, y.count, y.warm = nil, 0, 0, 0
	y.touched = h.histories.now
	h.rebook(y, bytes, count)
}

// epochBegins does an OpEpoch. Histories of the epoch before end when the home next looks at their groups, see find. The same epoch again
// says that the partition has come further, without a message of any group.
func (h *Home[G, C]) epochBegins(r *Request[G, C]) {
	e := r.via.token.(*epochWord)
	switch p := &h.ordering.partitions[e.partition]; {
	case p.epoch != e.epoch:
		p.epoch, p.tip, p.life = e.epoch, e.tip, p.life+1
	case p.tip < e.tip:
		p.tip = e.tip
	}
}

// beginAnew ends a history whose partition has another epoch, and begins one in that.
func (h *Home[G, C]) beginAnew(hg *homeGroup[G]) {
	was := hg.history
	kind := Kind{Messages: int(was.most), TTL: was.ttl}
	name, touched := was.name, was.touched
	h.end(was)
	h.begin(hg, name, kind)
	h.reachFromNow(hg.history)
	hg.history.touched = touched
	h.shelve(hg.history)
}

// dropOrdering says whether a request over which something has panicked is to be dropped, and sees to it that what it leaves is true.
func (h *Home[G, C]) dropOrdering(r *Request[G, C]) bool {
	switch r.Op {
	case OpPublish, OpForget:
		h.silence()
	case OpOrdered:
		h.missOrdered(r.via.token.(*Ordered))
	case OpAnswer:
		h.dropWaiter(r.via.token.(*verdict).token)
	case OpRecalled:
		return h.dropAside(r.via.token.(*Recalled).Group)
	}
	return true
}

// missOrdered is called when something has panicked over what was put in order. Who waits for it is told so. If it is not kept it must not
// seem to be: what the group's history has begins behind it, and the log has the rest.
func (h *Home[G, C]) missOrdered(o *Ordered) {
	if o.Fast {
		return
	}
	m := o.Message
	if w := h.ordering.waiting.Get(o.Token); w != nil {
		m = w.request.Message
	}
	h.dropWaiter(o.Token)
	p := &h.ordering.partitions[o.Partition]
	if m == nil || o.Offset <= p.tip {
		return
	}
	p.tip = o.Offset
	h.uncache(m.Group)
	hg := h.groups.Get(m.Group)
	if hg == nil {
		return
	}
	hg.heldBack = 0
	y := hg.history
	if y == nil || y.count > 0 && y.slot(hg.offset).message.Offset == o.Offset {
		return
	}
	h.clear(y)
	h.setReach(y, o.Offset, false)
}
