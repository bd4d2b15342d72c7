package order

import (
	"strings"

	"ringcast/dialect"
)

// This file is what a home does with the histories of its groups: when they begin and end, and what is kept in them. What is dropped of
// them is in expire.go.

// histories is what a home has of them.
//
// Owner: who holds the home.
type histories[G Part] struct {
	ages   []*ages[G] // one for each time to live, with the histories that have messages or are alone
	warm   warm[G]
	now    uint32 // the newest tick that was read
	epochs uint64 // that have begun
}

// kind asks what holds for a group. What is cached follows it.
func (h *Home[G, C]) kind(name string) (kind Kind) {
	if h.all.env.Kind != nil {
		kind = h.all.env.Kind(name)
	}
	h.recache(name, kind.Cache)
	kind.Messages = min(max(kind.Messages, 0), 1<<30)
	if kind.Fast = kind.Fast && h.ordering != nil; kind.Fast {
		kind.Messages = 0
	}
	return kind
}

// tick reads the clock. A loop may read it and then hold the home behind another one that has read it later; here it never goes
// back.
func (h *Home[G, C]) tick() uint32 {
	if now := h.all.env.Now(); h.keptGroups.Load()+h.cachedGroups.Load()+h.keptKeys() == 0 || before(h.histories.now, now) {
		h.histories.now = now
	}
	return h.histories.now
}

// find is the group as its kind is now, nil if the home does not know it. It forgets a group that is over, so that its next life
// begins here, whether Expire has come to it or not. Of a group with a history it has read the clock. What follows calls no
// function of Env any more: if one panics nothing has been changed.
func (h *Home[G, C]) find(name string) *homeGroup[G] {
	hg := h.groups.Get(name)
	if hg == nil {
		return nil
	}
	if kinds := h.all.kinds.Load(); !hg.kinds.isOf(kinds) {
		kind := h.kind(name)
		h.adopt(hg, name, kind)
		hg.kinds = markOf(kinds, kind)
	}
	if y := hg.history; y != nil && y.most > 0 && h.ordering != nil && h.ordering.isOfBefore(y) {
		h.beginAnew(hg)
	}
	if y := hg.history; y != nil && (y.most == 0 || y.over(h.tick())) {
		if !y.alone() {
			h.end(y)
			return hg
		}
		h.forget(y)
		return nil
	}
	return hg
}

// adopt has a group follow its kind as it is now. In a group with members the numbers go on where a history begins or ends, as
// messages with earlier ones are on their way to loops; the epoch says that those are not kept.
func (h *Home[G, C]) adopt(hg *homeGroup[G], name string, kind Kind) {
	if (h.presence(hg) != nil) != kind.Presence {
		h.removeLocals(h.presence(hg), name)
		h.setPresence(hg, h.newPresence(name, kind)) // it begins with nobody: loops say who is here
	}
	y, ttl := hg.history, kind.TTL
	if y == nil {
		h.begin(hg, name, kind)
		h.reachFromNow(hg.history)
		return
	}
	bytes, count := y.bytes, y.count
	if y.most = uint32(kind.Messages); y.most > 0 {
		if y.count > y.most {
			h.raiseFloor(y, y.count-y.most)
		}
		y.limit(y.most)
	}
	h.rebook(y, bytes, count)
	if y.ttl != ttl {
		shelved := y.at != absent
		h.unshelve(y)
		if y.ttl = ttl; shelved {
			h.shelve(y)
		}
	}
}

// begin begins a history, with a new epoch, if the kind has one.
func (h *Home[G, C]) begin(hg *homeGroup[G], name string, kind Kind) {
	if kind.Messages == 0 {
		return
	}
	if h.ordering != nil {
		hg.offset = places
		hg.history = &history[G]{group: hg, name: name, epoch: h.ordering.of(name).epoch, most: uint32(kind.Messages), ttl: kind.TTL, at: absent}
		return
	}
	var epoch Epoch
	for epoch == 0 || epoch == Epoch(dialect.EpochUnknown) {
		h.histories.epochs++
		epoch = Epoch(h.all.config.EpochBase + h.histories.epochs*uint64(len(h.all.homes)) + uint64(h.index))
	}
	hg.history = &history[G]{group: hg, name: name, epoch: epoch, most: uint32(kind.Messages), ttl: kind.TTL, at: absent}
}

// meet is the group of a message that is to be said, nil if the home does not know it and nothing is to be kept of it. cache: the message
// is kept for so many ticks as the last of its group, and the clock is read; 0: it is not.
func (h *Home[G, C]) meet(hg *homeGroup[G], m *Message) (is *homeGroup[G], cache uint32) {
	caches := m.More == nil || !m.More.ClientEvent
	if hg != nil {
		if caches {
			cache = h.cacheTicks(hg, m.Group)
		}
		return hg, cache
	}
	kinds := h.all.kinds.Load()
	kind := h.kind(m.Group)
	if !m.Unkept() && kind.Messages > 0 {
		is = h.rememberAs(m.Group, kind, kinds)
	}
	if caches && kind.Cache > 0 {
		cache = kind.Cache
		h.tick()
	}
	return is, cache
}

// remember has the home know a group without members, if its kind has history; nil: it has none.
func (h *Home[G, C]) remember(name string) *homeGroup[G] {
	kinds := h.all.kinds.Load()
	if kind := h.kind(name); kind.Messages > 0 {
		return h.rememberAs(name, kind, kinds)
	}
	return nil
}

// rememberAs is remember for a kind that has history, looked at behind so many changes of kinds.
func (h *Home[G, C]) rememberAs(name string, kind Kind, kinds uint32) *homeGroup[G] {
	hg, now := &homeGroup[G]{kinds: markOf(kinds, kind)}, h.tick()
	name = strings.Clone(name) // it may be a part of a message
	h.begin(hg, name, kind)
	h.setPresence(hg, h.newPresence(name, kind))
	hg.history.touched = now
	h.groups.Put(name, hg)
	h.reachFromNow(hg.history)
	h.shelve(hg.history)
	return hg
}

// leaveAlone is called when the last loop has left a group with a history.
func (h *Home[G, C]) leaveAlone(y *history[G]) {
	y.touched = h.histories.now
	h.shelve(y)
}

// end ends a history and its numbering.
func (h *Home[G, C]) end(y *history[G]) {
	if h.ordering != nil {
		h.ordering.reaches.Delete(y)
	}
	h.unshelve(y)
	h.book(-y.bytes, -int64(y.count), 0)
	y.group.history, y.group = nil, nil
	y.ring, y.count, y.warm = nil, 0, 0
}

// forget is end for a group that is known for its history alone.
func (h *Home[G, C]) forget(y *history[G]) {
	h.drop(y.name, y.group)
	h.end(y)
}

// forgetHistory answers an OpForget: what is kept of a group goes, and the numbering begins anew, or where members have been told numbers
// goes on in another epoch.
func (h *Home[G, C]) forgetHistory(r *Request[G, C], origin int) bool {
	name := r.Group()
	hg, past := h.find(name), &Past{}
	if h.ordering != nil && (hg == nil && h.kind(name).Messages > 0 || hg != nil && hg.history != nil) {
		return h.offerForget(r, origin)
	}
	switch {
	case hg == nil:
		if past.None = h.kind(name).Messages == 0; !past.None {
			h.uncache(name)
		}
	case hg.history == nil:
		past.None = true
	case hg.history.alone():
		h.uncache(name)
		h.forget(hg.history)
	default:
		h.uncache(name)
		kind := Kind{Messages: int(hg.history.most), TTL: hg.history.ttl}
		h.end(hg.history)
		h.begin(hg, name, kind)
	}
	r.told() <- told{past: past}
	return true
}

// keep gives a message the next number of its group, and keeps it. id is the length of the command's id, which lies in its buffer.
func (h *Home[G, C]) keep(y *history[G], m *Message, id int) {
	now, bytes, count := h.histories.now, y.bytes, y.count
	if y.count >= y.most {
		h.raiseFloor(y, 1)
		y.pop()
	}
	y.group.offset++
	if m.Kept = true; h.ordering == nil {
		m.Offset = y.group.offset
	}
	k := kept{message: m, tick: now, bytes: bookedFor(m, id)}
	y.add(k)
	y.touched = now
	h.rebook(y, bytes, count)
	h.shelve(y)
	if y.behind == nil {
		h.histories.warm.put(y)
		h.warmGroups.Add(1)
	}
	h.makeRoom(int(k.bytes))
}

// makeRoom drops what a publish pushes out that has added so many bytes. It may take steps enough for twice as much, so that the sum
// comes back to its mark however small the messages are that it is of. But for a large message these are thousands, so beyond some
// it goes on only while the sum is over the bound itself. The rest is for later publishes and for Expire.
func (h *Home[G, C]) makeRoom(bytes int) {
	steps, most := roomSteps(bytes), h.all.historyMax.Load()
	steps -= h.trim(min(steps, trimMost), historyMark(most))
	h.trim(steps, most)
}

// roomSteps is how many steps a publish of so many bytes may take to make room for itself.
func roomSteps(bytes int) int { return trimMin + 2*bytes/(messageBytes+keptBytes) }

// historyMark is how much all histories may be before something is dropped. What is between it and the bound is room for large
// messages, which many small ones need not leave at once.
func historyMark(most int64) int64 { return most - most/16 }

// The steps of a publish that makes room: so many at least, and so many at most while the sum is within its bound.
const (
	trimMin  = 16
	trimMost = 256
)

// rebook books what has changed in a history since it had so many bytes and messages.
func (h *Home[G, C]) rebook(y *history[G], bytes int64, count uint32) {
	h.book(y.bytes-bytes, int64(y.count)-int64(count), 0)
}

func (h *Home[G, C]) book(bytes, messages, groups int64) {
	if bytes != 0 {
		h.keptBytes.Add(bytes)
		h.all.historyBytes.Add(bytes)
	}
	if messages != 0 {
		h.keptMessages.Add(messages)
	}
	if groups != 0 {
		h.keptGroups.Add(groups)
	}
}

// shelve puts a history that has messages or is alone among those that something will be dropped of.
func (h *Home[G, C]) shelve(y *history[G]) {
	tick, ok := y.age()
	if !ok || y.at != absent {
		return
	}
	h.book(h.groupBytes(y), 0, 1)
	h.shelf(y.ttl).put(y, tick)
}

// unshelve is the opposite.
func (h *Home[G, C]) unshelve(y *history[G]) {
	if y.at == absent {
		return
	}
	h.shelf(y.ttl).remove(y)
	h.book(-h.groupBytes(y), 0, -1)
}

// shelf is the ages of a time to live. One that is empty becomes another's, so there are no more than were needed at once.
func (h *Home[G, C]) shelf(ttl uint32) *ages[G] {
	var empty *ages[G]
	for _, a := range h.histories.ages {
		if a.ttl == ttl {
			return a
		}
		if a.entries == 0 {
			empty = a
		}
	}
	if empty == nil {
		empty = &ages[G]{}
		h.histories.ages = append(h.histories.ages, empty)
	}
	empty.ttl = ttl
	return empty
}

// SetHistoryMax bounds the bytes of all histories together, and of last messages with them, see cache.go; 0: no bound. Beyond it homes that
// have more than their share drop the oldest of what they keep, when they keep more and when the loop calls Expire. Any goroutine.
func (hs *Homes[G, C]) SetHistoryMax(bytes int64) { hs.historyMax.Store(bytes) }

// KindsChanged says that Env.Kind says something else now. A home notices at the next request for each group. Any
// goroutine.
func (hs *Homes[G, C]) KindsChanged() { hs.kinds.Add(1) }

// HistoryBytes is the memory of all histories, with last messages, at about this moment. Any goroutine.
func (hs *Homes[G, C]) HistoryBytes() int64 { return hs.historyBytes.Load() }

// Histories is the number of groups of which messages are kept, or that are known for their history alone, and of the messages, at
// about this moment. Any goroutine.
func (hs *Homes[G, C]) Histories() (groups, messages int64) {
	for _, h := range hs.homes {
		groups += h.keptGroups.Load()
		messages += h.keptMessages.Load()
	}
	return groups, messages
}
