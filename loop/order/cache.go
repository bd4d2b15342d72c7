package order

import (
	"context"
	"strings"
	"time"
	"unsafe"

	"ringcast/loop/shrink"
)

// This file is the last message of groups whose kind has it kept, in a cache: who joins may ask for it, so that it need not wait for the next
// one. It is there beside history and whether that keeps the message or not, and also while nobody is a member; but neither does it make a
// group recoverable, nor one that the home knows. What clients say to each other (dialect.More.ClientEvent) is not cached.
//
// A home caches a copy that keeps no forms: the message itself lives no longer than its passes, and what it takes beside its text is in no
// books.

// cached is the last message of a group.
type cached struct {
	name         string
	message      *Message
	tick         uint32 // when it was said
	bytes        uint32 // booked for it
	queue        *cacheQueue
	older, newer *cached // in the queue; nil: none is
}

// cacheQueue has the last messages that are kept for so many ticks, in the order in which they were said, but for those whose kind has changed
// since: they may be dropped late. Who asks for one is told what holds.
type cacheQueue struct {
	ticks          uint32
	oldest, newest *cached // nil: it is empty
}

// caches are the last messages that a home keeps.
//
// Owner: who holds the home.
type caches struct {
	known  shrink.Map[string, *cached]
	queues []*cacheQueue // one for each time for which some are kept
	bytes  int64
}

// cachedBytes is what a last message takes beside its text: its own memory, and its place in the table, of which 7 in 16 slots are full when
// it has just grown.
const cachedBytes = int(unsafe.Sizeof(cached{})) + int(unsafe.Sizeof("")+unsafe.Sizeof(uintptr(0))+1)*16/7

// cachePart is which part of what all histories may take last messages may be: the names of groups that are cached may be for anybody to
// choose, and histories are for those that an operator has chosen.
const cachePart = 4

// cacheTicks is for how long what is said to a group that the home knows is kept as its last message; then it has read the clock. 0: it is
// not kept. Its kind has been looked at.
func (h *Home[G, C]) cacheTicks(hg *homeGroup[G], name string) (ticks uint32) {
	if !hg.kinds.caches() {
		return 0
	}
	if e := h.caches.known.Get(name); e != nil {
		ticks = e.queue.ticks
	} else {
		ticks = h.kind(name).Cache
	}
	if ticks > 0 {
		h.tick()
	}
	return ticks
}

// cache keeps a message that has its offset as the last of its group, in the place of the one before. id is the length of the command's id,
// which lies in its buffer. The clock has been read.
func (h *Home[G, C]) cache(m *Message, id int, ticks uint32) {
	e := h.caches.known.Get(m.Group)
	if e == nil {
		e = &cached{name: strings.Clone(m.Group)} // the message's own is a part of its buffer
		h.caches.known.Put(e.name, e)
		h.cachedGroups.Add(1)
	} else {
		h.bookCache(-int64(e.bytes))
		h.caches.remove(e)
	}
	e.message = &Message{Message: m.Message}
	e.message.clearForms()
	e.tick = h.histories.now
	e.bytes = bookedFor(m, id) + uint32(cachedBytes+allocated(len(e.name)))
	h.bookCache(int64(e.bytes))
	h.caches.put(e, ticks)
	for steps := roomSteps(int(e.bytes)); steps > 0 && h.cachesExceed(); steps-- {
		h.dropCached(h.caches.oldest())
	}
	h.makeRoom(int(e.bytes))
}

// put puts one that is in no queue into that of a time.
func (c *caches) put(e *cached, ticks uint32) {
	q := (*cacheQueue)(nil)
	for _, is := range c.queues {
		if is.ticks == ticks || is.oldest == nil && q == nil {
			q = is
		}
	}
	if q == nil {
		q = &cacheQueue{}
		c.queues = append(c.queues, q)
	}
	q.ticks, e.queue, e.older = ticks, q, q.newest
	if q.newest == nil {
		q.oldest = e
	} else {
		q.newest.newer = e
	}
	q.newest = e
}

// remove takes one out of its queue.
func (c *caches) remove(e *cached) {
	if q := e.queue; e.older == nil {
		q.oldest = e.newer
	} else {
		e.older.newer = e.newer
	}
	if q := e.queue; e.newer == nil {
		q.newest = e.older
	} else {
		e.newer.older = e.older
	}
	e.queue, e.older, e.newer = nil, nil, nil
}

// oldest is the one that was said before all others; nil: there is none.
func (c *caches) oldest() (e *cached) {
	for _, q := range c.queues {
		if q.oldest != nil && (e == nil || before(q.oldest.tick, e.tick)) {
			e = q.oldest
		}
	}
	return e
}

// cached is the last message of a group; nil: there is none, or its time is over.
func (h *Home[G, C]) cached(name string) *cached {
	now, e := h.tick(), h.caches.known.Get(name)
	if e == nil || now-e.tick >= e.queue.ticks {
		return nil
	}
	return e
}

// recache has what is cached of a group follow its kind, which keeps it for so many ticks. It is called whenever the home looks at a kind: so
// what a kind that caches nothing has let pass is not missed behind what was cached before.
func (h *Home[G, C]) recache(name string, ticks uint32) {
	switch e := h.caches.known.Get(name); {
	case e == nil:
	case ticks == 0:
		h.dropCached(e)
	case ticks != e.queue.ticks:
		h.caches.remove(e)
		h.caches.put(e, ticks)
	}
}

// uncache drops what is cached of a group.
func (h *Home[G, C]) uncache(name string) { h.recache(name, 0) }

func (h *Home[G, C]) dropCached(e *cached) {
	h.caches.remove(e)
	h.caches.known.Delete(e.name)
	h.cachedGroups.Add(-1)
	h.bookCache(-int64(e.bytes))
}

func (h *Home[G, C]) bookCache(bytes int64) {
	h.caches.bytes += bytes
	h.all.cacheBytes.Add(bytes)
	h.book(bytes, 0, 0)
}

// cachesExceed says whether the home must drop a last message: all are more than they may be, and its own more than its share.
func (h *Home[G, C]) cachesExceed() bool {
	most := h.all.historyMax.Load() / cachePart
	return most > 0 && h.all.cacheBytes.Load() > most && h.caches.bytes > most/int64(len(h.all.homes))
}

// expireCaches drops those whose time is over, or that are too many, in so many steps at most.
func (h *Home[G, C]) expireCaches(now uint32, most int) (steps int) {
	for _, q := range h.caches.queues {
		for ; steps < most && q.oldest != nil && now-q.oldest.tick >= q.ticks; steps++ {
			h.dropCached(q.oldest)
		}
	}
	for ; steps < most && h.cachesExceed(); steps++ {
		h.dropCached(h.caches.oldest())
	}
	return steps
}

// tellCached answers an OpCached.
func (h *Home[G, C]) tellCached(r *Request[G, C], origin int) {
	name, past := r.Group(), &Past{}
	if hg := h.find(name); hg != nil {
		past.HasCached = hg.kinds.caches()
	} else {
		past.HasCached = h.kind(name).Cache > 0
	}
	if e := h.cached(name); e != nil {
		past.Cached, past.left = e.message, e.queue.ticks-(h.histories.now-e.tick)
	}
	h.answer(r, &Delivery[G, C]{Past: past}, origin)
}

// Cached is the last message of a group, and for how long it is kept; nil: there is none. Errors are those of History. Nobody may write what
// it returns, and no form of it is kept.
func (p *Port[G, C]) Cached(ctx context.Context, group string) (m *Message, left time.Duration, err error) {
	past, err := p.question(ctx, group, OpCached, nil)
	if err != nil || past.Cached == nil {
		return nil, 0, err
	}
	return past.Cached, time.Duration(past.left) * p.all.config.Tick, nil
}

// Cached is the number of groups whose last message is kept, at about this moment. Any goroutine.
func (hs *Homes[G, C]) Cached() (groups int64) {
	for _, h := range hs.homes {
		groups += h.cachedGroups.Load()
	}
	return groups
}
