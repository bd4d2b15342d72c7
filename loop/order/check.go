package order

import (
	"fmt"
	"maps"
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
			oldest := y.oldest()
			if h.ordering != nil {
				oldest = h.ordering.reaches.Get(y).floor + 1
			}
			f(name, h.top(y), oldest, y.alone())
		}
	}
}

// CheckHistories counts again what the home has in its books of histories, and says what is wrong; "": nothing is. No loop may hold
// the home meanwhile.
func (h *Home[G, C]) CheckHistories() (wrong string) {
	var messages, groups, warm int64
	bytes, reaches := h.caches.bytes, 0
	if wrong := h.checkCaches(); wrong != "" {
		return wrong
	}
	for name, hg := range h.groups.All() {
		y := hg.history
		if y == nil {
			continue
		}
		sum, last := int64(len(y.ring)*keptBytes), uint64(0)
		if o := h.ordering; o != nil {
			r, known := o.reaches.All()[y]
			if last = r.floor; !known || r.life == o.of(name).life && last > o.of(name).tip {
				return fmt.Sprintf("group %s: it is not known how far back its history goes, or that is beyond the tip: %v", name, r)
			}
			reaches++
		}
		for offset := y.oldest(); offset <= hg.offset; offset++ {
			k := y.slot(offset)
			if sum += int64(k.bytes); h.ordering == nil && k.message.Offset != offset || k.message.Offset <= last && h.ordering != nil {
				return fmt.Sprintf("group %s: message %d is kept as %d, behind %d", name, k.message.Offset, offset, last)
			}
			last = k.message.Offset
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
			bytes, groups = bytes+h.groupBytes(y), groups+1
			if e := h.shelf(y.ttl).at(int(y.at)); e.history != y || due && before(tick, e.tick) {
				return fmt.Sprintf("group %s: its place in ages is another's, or its tick there is too late", name)
			}
		}
		bytes, messages = bytes+sum, messages+int64(y.count)
	}
	if o := h.ordering; o != nil && reaches != o.reaches.Len() {
		return fmt.Sprintf("of %d histories it is known how far back they go, there are %d", o.reaches.Len(), reaches)
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

// checkCaches is CheckHistories for last messages.
func (h *Home[G, C]) checkCaches() (wrong string) {
	c, bytes, n := &h.caches, int64(0), 0
	for _, q := range c.queues {
		var last *cached
		for e := q.oldest; e != nil; last, e = e, e.newer {
			if n, bytes = n+1, bytes+int64(e.bytes); e.older != last || e.queue != q || c.known.Get(e.name) != e || e.message.Group != e.name {
				return fmt.Sprintf("group %s: its last message is that of %s, or out of its place", e.name, e.message.Group)
			}
		}
		if last != q.newest {
			return fmt.Sprintf("the last messages of %d ticks end before the newest", q.ticks)
		}
	}
	if n != c.known.Len() || int64(n) != h.cachedGroups.Load() || bytes != c.bytes {
		return fmt.Sprintf("%d last messages of %d bytes, %d known, counted %d and %d", n, bytes, c.known.Len(), h.cachedGroups.Load(), c.bytes)
	}
	return ""
}

// CheckKeys counts again what the home has in its books of keys, and says what is wrong; "": nothing is. No loop may hold the home
// meanwhile.
func (h *Home[G, C]) CheckKeys() (wrong string) {
	for class := range keyClasses {
		keys := &h.keys[class]
		var bytes, n int64
		var last *keyed
		known := 0
		for k := keys.oldest; k != nil; k = k.behind {
			if n, bytes = n+1, bytes+k.bytes(); last != nil && before(k.tick, last.tick) {
				return fmt.Sprintf("key %v is older than the one before it", k.name)
			}
			if classOf(k.name.key) != class {
				return fmt.Sprintf("key %v is among those of class %d", k.name, class)
			}
			if keys.known.Get(k.name) == k {
				known++
			}
			last = k
		}
		if last != keys.newest || known != keys.known.Len() || n != keys.kept.Load() || bytes != keys.bytes.Load() {
			return fmt.Sprintf("%d keys of %d bytes, %d of them known; counted %d, %d and %d; the last is %v", n, bytes, known, keys.kept.Load(),
				keys.bytes.Load(), keys.known.Len(), last == keys.newest)
		}
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
			present[e.client()] = e.hears() == hearsAll
		}
		if p.crowded() {
			for client, is := range p.many.hears.All() {
				present[client] = is == hearsAll
			}
		}
		f(name, present, p.crowded())
	}
}

// CheckPresence counts again who is present, and says what is wrong; "": nothing is. No loop may hold the home meanwhile.
func (h *Home[G, C]) CheckPresence() (wrong string) {
	groups := 0
	if wrong := h.checkFar(); wrong != "" {
		return wrong
	}
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
			loop := int32(loopOf(client))
			s := share{loop, shares[loop].members + 1, shares[loop].hearers}
			if hears {
				s.hearers++
			}
			shares[loop] = s
		}
		for i, e := range p.few {
			if count(e.client(), e.hears() == hearsAll); i > 0 && p.few[i-1].client() >= e.client() {
				return fmt.Sprintf("group %s: the list of who is there is not sorted, or names one twice: %v", name, p.few)
			}
		}
		if p.crowded() {
			for client, is := range p.many.hears.All() {
				count(client, is == hearsAll)
			}
		}
		if wrong := p.checkUsers(); wrong != "" {
			return fmt.Sprintf("group %s: %s", name, wrong)
		}
		for _, s := range p.shares {
			if s != shares[s.loop] && (s.members != 0 || s.hearers != 0 || shares[s.loop].members != 0) {
				return fmt.Sprintf("group %s: counted %+v, there are %+v", name, s, shares[s.loop])
			}
			delete(shares, s.loop)
		}
		if most := h.all.config.PresentMax; len(shares) > 0 || len(p.few) > most || p.crowded() && (len(p.few) > 0 || p.size() < most*9/10) {
			return fmt.Sprintf("group %s: not counted %v; %d in the list of at most %d, %d in all", name, shares, len(p.few), most, p.size())
		}
	}
	if groups != h.presences.Len() {
		return fmt.Sprintf("who is there is known of %d groups, of which the home knows %d", h.presences.Len(), groups)
	}
	return ""
}

// checkUsers counts the users of a group again.
func (p *presence) checkUsers() (wrong string) {
	names, named, said := map[string]int{}, 0, 0
	for _, client := range p.members() {
		if who := p.who(client); who != nil {
			if said++; who.User() != "" {
				names[who.User()]++
				named++
			}
		}
	}
	if u := p.users; !p.crowded() {
		for at, e := range p.few {
			if e&entryMarks != userMark(nameOf(u.at(at))) {
				return fmt.Sprintf("client %d has another mark than its user", e.client())
			}
		}
		if int(u.named) != named || int(u.distinct) != len(names) || int(u.said) != said || u.who != nil && (len(u.who) != len(p.few) || said == 0) {
			return fmt.Sprintf("the users are %v, %d have said it; counted %d of %d names, of %d that have said it", names, said, u.named, u.distinct, u.said)
		}
		return ""
	}
	if u := &p.many.users; len(p.users.who) > 0 || u.who.Len() != said || u.named != named || !maps.Equal(names, u.members.All()) && len(names)+u.members.Len() > 0 {
		return fmt.Sprintf("the users are %v, %d have said it; counted %v, %d and %d", names, said, u.members.All(), u.named, u.who.Len())
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

// checkFar is CheckPresence for members elsewhere.
func (h *Home[G, C]) checkFar() (wrong string) {
	members := 0
	for name, g := range h.far.groups.All() {
		members += g.members.Len()
		for member := range g.members.All() {
			if is, _ := g.presence.find(member); is != hearsNothing || loopOf(member) != elsewhere {
				return fmt.Sprintf("group %s: member %d is elsewhere, and known as %d", name, member, is)
			}
		}
		hg := h.groups.Get(name)
		if is := int(g.presence.share(elsewhere).members); is != g.members.Len() || is == 0 {
			return fmt.Sprintf("group %s: %d members elsewhere, of which the presence knows %d", name, g.members.Len(), is)
		}
		if hg != nil && hg.present && h.presence(hg) != g.presence {
			return fmt.Sprintf("group %s: those elsewhere are in another presence than those here", name)
		}
	}
	if members != h.far.members {
		return fmt.Sprintf("%d members elsewhere, counted %d", members, h.far.members)
	}
	return ""
}

// CheckOrdering counts again what waits for the orderer, and says what is wrong; "": nothing is. No loop may hold the home meanwhile.
func (h *Home[G, C]) CheckOrdering() (wrong string) {
	o, n := h.ordering, int64(0)
	if o == nil {
		return ""
	}
	for group, a := range o.asked.All() {
		if n += int64(len(a.aside)); len(a.aside) == 0 {
			return fmt.Sprintf("group %s: the log is asked, and nobody waits for it", group)
		}
	}
	if n != h.setAsideNow.Load() || int64(o.waiting.Len()) != h.offered.Load() || o.offering != nil {
		return fmt.Sprintf("%d requests are set aside, counted %d; %d offers wait, counted %d", n, h.setAsideNow.Load(), o.waiting.Len(), h.offered.Load())
	}
	return ""
}
