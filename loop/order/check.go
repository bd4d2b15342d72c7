package order

import (
	"fmt"
	"maps"

	"ringcast/dialect"
)

// What stands here is for checks of other packages, of loop's simulation for the most. The server calls none of it.

// Hold holds the home as a loop does that is in the middle of serving it; ok is false if a loop holds it already. letGo ends
// that, and reports whether something came meanwhile that a loop has to serve.
func (h *Home[G, C]) Hold() (letGo func() (called bool), ok bool) {
	return func() bool {
		h.letGo()
		return h.called()
	}, h.tryHold()
}

// Each gives every group that the home knows, with its headcount and the parts of the loops with members. No loop may hold the
// home meanwhile.
func (h *Home[G, C]) Each(f func(group string, count *Headcount, parts []G)) {
	for name, hg := range h.groups.All() {
		var parts []G
		for _, l := range hg.locals {
			parts = append(parts, l.part)
		}
		f(name, &hg.headcount, parts)
	}
}

// EachFlight gives every group that the home knows on every loop with members, and the bytes of it that are in flight to there as
// the home sees it. No other loop may hold the home meanwhile.
func (h *Home[G, C]) EachFlight(f func(group string, loop int, part G, inFlight int)) {
	for name, hg := range h.groups.All() {
		for _, l := range hg.locals {
			f(name, l.loop, l.part, int(l.sent-l.part.Flow().taken.Load()))
		}
	}
}

// HeldBack says whether a port's publish to a group that the home knows is held back, and goes before all others. No other loop may
// hold the home meanwhile.
func (h *Home[G, C]) HeldBack(group string) bool { return h.groups.Get(group).heldBack != 0 }

// InFlight is the bytes in flight to the loop, in all groups, as homes see it: at least as many as there are.
func (l *Lanes[G, C]) InFlight() int { return int(l.inFlight()) }

// Awaited says whether a home waits for less to be in flight to the loop.
func (l *Lanes[G, C]) Awaited() bool { return l.awaited.Load() != 0 }

// OnTooLoud has f called too where Env.TooLoud is.
func (hs *Homes[G, C]) OnTooLoud(f func(home int, m *Message)) {
	count := hs.env.TooLoud
	hs.env.TooLoud = func(home int, m *Message) {
		f(home, m)
		count(home, m)
	}
}

// EachHistory gives every group that the home knows whose kind has history: the position behind its newest message, the offset of
// the oldest that is kept, and whether it is known for its history alone. No loop may hold the home meanwhile.
func (h *Home[G, C]) EachHistory(f func(group string, top Position, oldest uint64, alone bool)) {
	for name, hg := range h.groups.All() {
		if y := hg.history; y != nil {
			f(name, y.top(), y.oldest(), y.alone())
		}
	}
}

// CheckHistories counts again what the home has in its books of histories, and says what is wrong; "": nothing is. No loop may hold
// the home meanwhile.
func (h *Home[G, C]) CheckHistories() (wrong string) {
	var bytes, messages, groups, warm int64
	for name, hg := range h.groups.All() {
		y := hg.history
		if y == nil {
			continue
		}
		sum := int64(len(y.ring) * keptBytes)
		for offset := y.oldest(); offset <= hg.offset; offset++ {
			k := y.slot(offset)
			if sum += int64(k.bytes); k.message.Offset != offset {
				return fmt.Sprintf("group %s: message %d is kept as %d", name, k.message.Offset, offset)
			}
			if hg.offset-offset >= uint64(y.warm) && k.message.forms.Load() != &unkept && h.histories.now-k.tick >= coolTicks {
				return fmt.Sprintf("group %s: message %d may have forms, and nobody will clear them", name, offset)
			}
		}
		switch tick, due := y.age(); {
		case y.group != hg || y.name != name || sum != y.bytes || y.count > y.most:
			return fmt.Sprintf("group %s: its history is that of %s, takes %d bytes, booked %d, and keeps %d messages of %d", name, y.name, sum, y.bytes, y.count, y.most)
		case due && y.at == absent, y.warm > 0 && y.behind == nil, len(hg.locals) == 0 && y.at == absent:
			return fmt.Sprintf("group %s: nothing will be dropped of its history", name)
		case y.at != absent:
			bytes, groups = bytes+y.groupBytes(), groups+1
			if e := h.shelf(y.ttl).at(int(y.at)); e.history != y || due && before(tick, e.tick) {
				return fmt.Sprintf("group %s: its place in ages is another's, or its tick there is too late", name)
			}
		}
		bytes, messages = bytes+sum, messages+int64(y.count)
	}
	w := &h.histories.warm
	for y := w.first; y != nil; y = y.behind {
		if warm++; y == w.last {
			break
		} else if y.behind == nil || y.behind == y {
			return "the queue of the warm ends before its last"
		}
	}
	for _, a := range h.histories.ages {
		for i := range a.entries {
			if e := a.at(i); e.history.group == nil || i > 0 && before(e.tick, a.at((i-1)/4).tick) {
				return fmt.Sprintf("ages of %d ticks: place %d has an older one behind it, or one that has ended", a.ttl, i)
			}
			groups--
		}
	}
	if groups != 0 || bytes != h.keptBytes.Load() || messages != h.keptMessages.Load() || warm != h.warmGroups.Load() {
		return fmt.Sprintf("%d more groups than in ages; %d bytes and %d messages kept, booked %d and %d; %d warm, counted %d", groups,
			bytes, messages, h.keptBytes.Load(), h.keptMessages.Load(), warm, h.warmGroups.Load())
	}
	return ""
}

// CheckKeys counts again what the home has in its books of keys, and says what is wrong; "": nothing is. No loop may hold the home
// meanwhile.
func (h *Home[G, C]) CheckKeys() (wrong string) {
	var bytes, n int64
	var last *keyed
	known := 0
	for k := h.keys.oldest; k != nil; k = k.behind {
		if n, bytes = n+1, bytes+k.bytes(); last != nil && before(k.tick, last.tick) {
			return fmt.Sprintf("key %v is older than the one before it", k.name)
		}
		if h.keys.known.Get(k.name) == k {
			known++
		}
		last = k
	}
	if last != h.keys.newest || known != h.keys.known.Len() || n != h.keptKeys.Load() || bytes != h.keyBytes.Load() {
		return fmt.Sprintf("%d keys of %d bytes, %d of them known; counted %d, %d and %d; the last is %v", n, bytes, known, h.keptKeys.Load(),
			h.keyBytes.Load(), h.keys.known.Len(), last == h.keys.newest)
	}
	return ""
}

// Waiting is the number of requests in the up lanes from loops to the home.
func (h *Home[G, C]) Waiting() (n int) {
	for _, up := range h.up {
		n += up.len()
	}
	return n
}

// Idle says whether no loop holds the home and none of its requests waits for room in a lane.
func (h *Home[G, C]) Idle() bool { return h.stalled == 0 && h.stalledPort == 0 && !h.held.Load() }

// ToHost has the next Host serve a home.
func (l *Lanes[G, C]) ToHost(home int) { l.toHost |= 1 << home }

// EachWaiting gives every delivery that waits for the loop, in each lane the oldest first. No loop may hold a home meanwhile.
func (l *Lanes[G, C]) EachWaiting(f func(*Delivery[G, C])) {
	for _, down := range l.down {
		for i := range down.len() {
			f(&down.slots[(down.head.Load()+uint64(i))&down.mask])
		}
	}
}

// EachPresent gives every group of which the home knows who is there: the numbers of the clients, with whether each hears who comes and
// goes, and whether they are too many to be listed. No loop may hold the home meanwhile.
func (h *Home[G, C]) EachPresent(f func(group string, present map[uint64]bool, crowded bool)) {
	for name, hg := range h.groups.All() {
		p := h.presence(hg)
		if p == nil {
			continue
		}
		present := map[uint64]bool{}
		for _, e := range p.few {
			present[e/2] = e%2 == 1
		}
		for client, is := range p.many.All() {
			present[client] = is == hearsAll
		}
		f(name, present, p.crowded())
	}
}

// CheckPresence counts again who is present, and says what is wrong; "": nothing is. No loop may hold the home meanwhile.
func (h *Home[G, C]) CheckPresence() (wrong string) {
	groups := 0
	for name, hg := range h.groups.All() {
		p := h.presence(hg)
		if hg.present != (p != nil) {
			return fmt.Sprintf("group %s: it has presence: %v, the home knows who is there: %v", name, hg.present, p != nil)
		}
		if p == nil {
			continue
		}
		groups++
		shares := map[int32]share{}
		count := func(client uint64, hears bool) {
			loop := int32(client % dialect.SenderLoopsMax)
			s := share{loop, shares[loop].members + 1, shares[loop].hearers}
			if hears {
				s.hearers++
			}
			shares[loop] = s
		}
		for i, e := range p.few {
			if count(e/2, e%2 == 1); i > 0 && p.few[i-1]/2 >= e/2 {
				return fmt.Sprintf("group %s: the list of who is there is not sorted, or names one twice: %v", name, p.few)
			}
		}
		for client, is := range p.many.All() {
			count(client, is == hearsAll)
		}
		if u := p.users; u != nil {
			names, named := map[string]int{}, 0
			for client, who := range u.who.All() {
				if is, _ := p.find(client); is == 0 || who == nil {
					return fmt.Sprintf("group %s: client %d is user %v, and no member", name, client, who)
				}
				if who.User != "" {
					names[who.User]++
					named++
				}
			}
			if u.who.Len() == 0 || named != u.named || !maps.Equal(names, u.members.All()) && len(names)+u.members.Len() > 0 {
				return fmt.Sprintf("group %s: the users are %v, counted %v and %d", name, names, u.members.All(), u.named)
			}
		}
		for _, s := range p.shares {
			if s != shares[s.loop] && (s.members != 0 || s.hearers != 0 || shares[s.loop].members != 0) {
				return fmt.Sprintf("group %s: counted %+v, there are %+v", name, s, shares[s.loop])
			}
			delete(shares, s.loop)
		}
		if most := h.all.config.PresentMax; len(shares) > 0 || len(p.few) > most || p.crowded() && (len(p.few) > 0 || p.many.Len() < most*9/10) {
			return fmt.Sprintf("group %s: not counted %v; %d in the list of at most %d, %d in the table", name, shares, len(p.few), most, p.many.Len())
		}
	}
	if groups != h.presences.Len() {
		return fmt.Sprintf("who is there is known of %d groups, of which the home knows %d", h.presences.Len(), groups)
	}
	return ""
}

// EachRequest gives every request of a loop that waits for the home, in each lane the oldest first. No loop may hold the home meanwhile.
func (h *Home[G, C]) EachRequest(f func(*Request[G, C])) {
	for _, up := range h.up {
		for i := range up.len() {
			f(&up.slots[(up.head.Load()+uint64(i))&up.mask])
		}
	}
}
