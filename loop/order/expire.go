package order

// This file is what homes drop of what they keep: histories, last messages, keys. Homes have no clock: Expire is called by the loop of
// the same index, and drops in slices what is due. Until then it is there, but not for whoever asks.

// exceeds says whether the home must drop something: all histories are more than they may be, and its own more than its share.
func (h *Home[G, C]) exceeds(most int64) bool {
	return most > 0 && h.all.historyBytes.Load() > most && h.keptBytes.Load() > most/int64(len(h.all.homes))
}

// trim drops the oldest of what the home keeps while that exceeds its share of so many bytes, 0: no bound, in so many steps at most:
// messages of histories, last messages, and whole groups that are alone and have no messages any more, since they take memory too. steps:
// those that it took.
func (h *Home[G, C]) trim(stepsMax int, most int64) (steps int) {
	for ; steps < stepsMax && h.exceeds(most); steps++ {
		var oldest *ages[G]
		for _, a := range h.histories.ages {
			if a.entries > 0 && (oldest == nil || before(a.at(0).tick, oldest.at(0).tick)) {
				oldest = a
			}
		}
		switch e := h.caches.oldest(); {
		case e != nil && (oldest == nil || before(e.tick, oldest.at(0).tick)):
			h.dropCached(e)
		case oldest == nil:
			return steps
		default:
			h.dropFirst(oldest)
		}
	}
	return steps
}

// dropFirst is one step: it drops the first of ages, or a message of it, if its tick is true.
func (h *Home[G, C]) dropFirst(a *ages[G]) {
	first := *a.at(0)
	y := first.history
	switch tick, ok := y.age(); {
	case !ok:
		h.unshelve(y)
	case tick != first.tick:
		a.rekey(tick)
	case y.count == 0:
		h.forget(y)
	default:
		bytes, count := y.bytes, y.count
		h.raiseFloor(y, 1)
		y.drop()
		h.rebook(y, bytes, count)
	}
}

// expire drops what is over, then what is too much, then keys, and clears forms, in so many steps at most.
func (h *Home[G, C]) expire(most int) (more bool) {
	now, steps := h.tick(), 0
	h.tryFull()
	for _, a := range h.histories.ages {
		for ; steps < most && a.entries > 0 && now-a.at(0).tick >= a.ttl; steps++ {
			h.dropFirst(a)
		}
	}
	steps += h.expireCaches(now, most-steps)
	steps += h.trim(most-steps, historyMark(h.all.historyMax.Load()))
	steps += h.expireKeys(now, most-steps)
	for steps < most {
		y := h.histories.warm.first
		if y == nil {
			break
		}
		cleared := y.cool(now, most-steps)
		if cleared == 0 && y.warm > 0 {
			return false // it is young, and those behind it are hardly older
		}
		steps += max(cleared, 1)
		if h.histories.warm.pop(); y.warm > 0 {
			h.histories.warm.put(y)
		} else {
			h.warmGroups.Add(-1)
		}
	}
	return steps >= most
}

// Expire drops what the home of the loop's own index keeps no longer: messages whose time is over or that are too many, groups
// that were known for their history alone, last messages, and keys, the oldest first, in so many steps at most, each of which is about one of these.
// The loop calls it once a tick while Keeps says so, and owes a Host behind it, as requests to the home may have come meanwhile.
// more: there may be more to drop, or another loop holds the home; the caller calls again in a later turn.
func (l *Lanes[G, C]) Expire(most int) (more bool) {
	h := l.all.homes[l.index]
	if !l.Keeps() {
		return false
	}
	if !h.tryHold() {
		return true
	}
	l.hosted = h
	more = h.expire(most)
	l.letGo()
	return more
}

// Keeps says whether there is something for Expire to do, some day: then the loop needs a tick. Any goroutine.
func (l *Lanes[G, C]) Keeps() bool {
	h := l.all.homes[l.index]
	return h.keptGroups.Load() > 0 || h.cachedGroups.Load() > 0 || h.warmGroups.Load() > 0 || h.keptKeys() > 0 || h.full.Load()
}
