package loop

import (
	"fmt"
	"strconv"
	"strings"

	"ringcast/loop/order"
)

// This file is the past of the groups in a simulated world. Clients of the loud dialect know up to where they have heard each group,
// over all their lives, and come back with that, or with something else. The model of a group is a table of its numbers, as whoever
// heard a message first says.

// simPlace is up to where somebody has heard a group.
type simPlace struct {
	offset uint64
	epoch  loudEpoch // 0: none
	tick   uint32    // all that was said behind it was said at this tick or later
	stale  bool      // more was heard since, who knows up to where
}

// simTrack is what a member knows of the numbers of what it hears next.
type simTrack struct {
	at    uint64 // the last message has this number, or a later one
	epoch loudEpoch
	exact bool // it has this one: the next has the next
}

// simAsk is what was asked of a group's past.
type simAsk struct {
	loudPast
	from  simPlace // known to who asks
	exact bool     // it asks from there
}

// simNumber is a message's place in a group.
type simNumber struct {
	group  string
	epoch  loudEpoch
	offset uint64
}

// simPasts is what was heard of the past in a world.
type simPasts struct {
	numbers map[simNumber]int

	recovered, refused, due, messages, read uint64 // answers; those that had to be recovered; messages in them; answers with messages of a history
	logged, late                            uint64 // replays that something came down for before they were answered; that became late
	parted, healed                          uint64 // clients that were taken out of a group; that have then recovered what they had lost
	seen                                    map[*client]uint32
}

func newSimPasts() simPasts {
	return simPasts{numbers: map[simNumber]int{}, seen: map[*client]uint32{}}
}

// add is for the sum of all worlds.
func (p *simPasts) add(of *simPasts) {
	p.recovered, p.refused, p.due = p.recovered+of.recovered, p.refused+of.refused, p.due+of.due
	p.messages, p.read = p.messages+of.messages, p.read+of.read
	p.logged, p.late = p.logged+of.logged, p.late+of.late
	p.parted, p.healed = p.parted+of.parted, p.healed+of.healed
}

// is holds a message against the group's table of numbers.
func (w *world) is(at simNumber, message int, who *actor) {
	known, ok := w.past.numbers[at]
	w.must(!ok || known == message, "actor %d: number %d of %s is message %d, others have heard %d", who.index, at.offset, at.group, message, known)
	m := w.sent[message]
	w.must(m.seq == 0 || m.seq == at.offset, "actor %d: message %d has number %d, its sender was told %d", who.index, message, at.offset, m.seq)
	w.past.numbers[at] = message
}

func (a *actor) track(group string) *simTrack {
	t := a.tracks[group]
	if t == nil {
		t = &simTrack{}
		a.tracks[group] = t
	}
	return t
}

// mayJoinCleanly says whether a client that joins now is no member and nothing of its earlier joins is under way.
func (a *actor) mayJoinCleanly(group string) bool {
	for _, c := range a.asked {
		if c.group == group && c.verb != "send_to_group" {
			return false
		}
	}
	m := a.joined[group]
	return !a.unheard[group] && (m == nil || (m.left || m.parted > 0) && !m.unsure && !m.silent && m.asks == 0 && m.leaving == 0)
}

// comeBack is what one says that joins with a position, mostly its own.
func (a *actor) comeBack(group string) (*simAsk, string) {
	ask := &simAsk{from: a.places[group]}
	ask.Offset, ask.Epoch, ask.exact = ask.from.offset, ask.from.epoch, true
	if w := a.w; a.joined[group].parted == 0 && w.chance(30) {
		ask.exact = false
		switch w.rng.IntN(4) {
		case 0:
			ask.Offset -= min(ask.Offset, uint64(1+w.rng.IntN(10)))
		case 1:
			ask.Offset += uint64(1 + w.rng.IntN(3))
		case 2:
			ask.Epoch++
		case 3:
			ask.Epoch, ask.exact = 0, true // any
		}
	}
	return ask, fmt.Sprintf(`,"past":{"offset":%d,"epoch":"%016x"}`, ask.Offset, uint64(ask.Epoch))
}

// heardLoudly is a message in the loud form, which has its number if it was kept.
func (a *actor) heardLoudly(text string) {
	number, rest, _ := strings.Cut(strings.TrimPrefix(text, "k"), "|")
	kept := text[0] == 'k'
	if kept {
		text = rest
	}
	m := a.message(text)
	if m.unkept() {
		a.w.must(!kept, "actor %d: message %d of %s has number %s, and is not kept", a.index, m.number, m.group, number)
		return
	}
	t := a.track(m.group)
	if t.at++; a.unheard[m.group] && !t.exact {
		t.at = 0 // nobody has said when it joined: what it counted may be of an earlier membership, and of an earlier life of the group
	}
	if !kept {
		t.exact = t.exact && a.w.orderer == nil && a.leftOut[m.group] == 0 // it has some number
		return
	}
	offset, err := strconv.ParseUint(number, 10, 64)
	a.w.must(err == nil && offset >= t.at && (!t.exact || a.w.stranger || a.isNext(m.group, t.epoch, t.at-1, offset)), "actor %d: message %d of %s has number %q, want %d", a.index, m.number, m.group, number, t.at)
	if t.epoch != 0 && t.exact {
		a.w.is(simNumber{m.group, t.epoch, offset}, m.number, a)
		a.places[m.group] = simPlace{offset: offset, epoch: t.epoch, tick: m.tick}
	} else if place, ok := a.places[m.group]; ok {
		place.stale = true
		a.places[m.group] = place
	}
	t.at, t.exact = offset, t.epoch != 0
}

// cameBack holds the answer to an add_group against what was asked. again: it was answered before.
func (a *actor) cameBack(c *simCommand, past *loudPast, again bool) {
	w, t, b := a.w, a.track(c.group), a.w.hub.bounds.Load()
	kind, ttl := b.historyOf(c.group)
	c.clean = c.clean && c.membership == a.joined[c.group] // else it has left since
	a.joinedAgain(c, past)
	if past == nil {
		w.must(w.changing || !c.clean || kind == 0 && c.past == nil, "actor %d: joined %s and was told nothing of its past", a.index, c.group)
		if !again {
			*t = simTrack{}
		}
		return
	}
	if c.membership.resumes {
		c.membership.begins = max(c.membership.begins, past.Offset)
	}
	w.must(past.Asked == (c.past != nil), "actor %d: asked for the past of %s: %v, told %v", a.index, c.group, c.past != nil, past.Asked)
	w.must(w.changing || (past.Epoch != 0) == (kind > 0), "actor %d: %s keeps %d messages, told %+v", a.index, c.group, kind, past)
	w.must(past.Recovered || len(past.Messages) == 0, "actor %d: not recovered, and %d messages of %s", a.index, len(past.Messages), c.group)
	if *t = (simTrack{past.Offset, past.Epoch, past.Epoch != 0}); c.membership != a.joined[c.group] {
		*t = simTrack{} // it has left since, and what it has joined again is not told of
	}
	switch {
	case past.Recovered:
		a.recovered(c, past)
	case c.past != nil:
		w.past.refused++
		w.must(!a.due(c, past, kind, ttl, b), "actor %d: %s was not recovered from %+v to %d", a.index, c.group, c.past, past.Offset)
	}
	a.places[c.group] = simPlace{offset: past.Offset, epoch: past.Epoch, tick: c.tick}
}

// due says whether what was missed must be there still.
func (a *actor) due(c *simCommand, past *loudPast, kind int, ttl uint32, b *bounds) bool {
	from := c.past.from
	if a.w.changing || b.HistoryBytesMax > 0 || !c.clean || !c.past.exact || from.epoch == 0 || a.w.hub.clock.Load()-from.tick >= ttl ||
		past.Offset < from.offset {
		return false
	}
	missed, bytes := a.w.between(c.group, from.offset, past.Offset), 0
	if len(missed) > min(kind, b.RecoveryMax) {
		return false
	}
	for _, offset := range missed {
		text := 1100
		if n, ok := a.w.past.numbers[simNumber{c.group, from.epoch, offset}]; ok {
			text = len(a.w.sent[n].text)
			if a.w.sent[n].except != nil || a.w.bearing {
				text += 150 // what goes with it
			}
		}
		bytes += 64 + 4 + text + len(c.group)
	}
	return bytes <= b.OutboxBytesMax/2
}

// recovered holds what was missed, as it is told, against what was said.
func (a *actor) recovered(c *simCommand, past *loudPast) {
	w, ask := a.w, c.past
	w.must(ask != nil && (ask.Epoch == 0 || ask.Epoch == past.Epoch), "actor %d: recovered in %s from epoch %x: %+v", a.index, c.group, past.Epoch, ask)
	missed := a.told(c, past, w.between(c.group, ask.Offset, past.Offset))
	w.must(past.From >= ask.Offset && len(w.between(c.group, ask.Offset, past.From)) == 0 && len(missed) == len(past.Messages) && ask.Offset <= past.Offset, "actor %d: %d messages of %s from %d to %d, asked from %d, missed are %v",
		a.index, len(past.Messages), c.group, past.From, past.Offset, ask.Offset, missed)
	if ask.Offset != ask.from.offset || ask.from.epoch == 0 || ask.from.stale || a.places[c.group] != ask.from { // it may have heard some of it in this life
		w.order[c.group] = append(w.order[c.group], a.saw[c.group])
		a.saw[c.group], a.got[c.group] = nil, nil
	}
	for i, said := range past.Messages {
		w.must(said.Offset == missed[i], "actor %d: missed message %d of %s has number %d", a.index, i, c.group, said.Offset)
		m := a.message(said.Text)
		w.must(m.group == c.group, "actor %d: message %d of %s among what was missed of %s", a.index, m.number, m.group, c.group)
		w.is(simNumber{c.group, past.Epoch, said.Offset}, m.number, a)
	}
	w.past.recovered++
	w.past.messages += uint64(len(past.Messages))
	kind, ttl := w.hub.bounds.Load().historyOf(c.group)
	if a.due(c, past, kind, ttl, w.hub.bounds.Load()) {
		w.past.due++
	}
}

// readHistory asks for a page of a group's history.
func (a *actor) readHistory(group string) {
	ask := &simAsk{from: a.places[group]}
	ask.Limit, ask.Since, ask.Reverse = a.w.rng.IntN(12)-1, a.w.chance(50), a.w.chance(50)
	if ask.Since {
		ask.Offset, ask.Epoch = ask.from.offset, ask.from.epoch
	}
	a.ask(&simCommand{verb: "history", group: group, past: ask},
		fmt.Sprintf(`,"past":{"offset":%d,"epoch":"%016x","limit":%d,"since":%v,"reverse":%v}`, ask.Offset, uint64(ask.Epoch), ask.Limit, ask.Since, ask.Reverse), true)
}

// heardHistory holds a page of a history against what was said. nil: the command was refused.
func (a *actor) heardHistory(c *simCommand, past *loudPast) {
	if past == nil {
		return
	}
	w, ask, b := a.w, c.past, a.w.hub.bounds.Load()
	w.must(len(past.Messages) <= b.RecoveryMax && (ask.Limit < 0 || len(past.Messages) <= ask.Limit), "actor %d: %d messages of the history of %s, asked for %d", a.index, len(past.Messages), c.group, ask.Limit)
	w.must(past.Epoch != 0 && (!ask.Since || ask.Epoch == 0 || ask.Epoch == past.Epoch), "actor %d: history of epoch %x, asked for %x", a.index, past.Epoch, ask.Epoch)
	for i, said := range past.Messages {
		part := strings.SplitN(said.Text, "|", 5)
		n, _ := strconv.Atoi(part[1])
		w.must(n < len(w.sent) && w.sent[n].text == said.Text && w.sent[n].group == c.group, "actor %d: garbled history %q of %s", a.index, said.Text, c.group)
		w.is(simNumber{c.group, past.Epoch, said.Offset}, n, a)
		first, second := past.Messages[max(i-1, 0)].Offset, said.Offset
		if ask.Reverse {
			first, second = second, first
		}
		w.must(said.Offset <= past.Offset && (i == 0 || w.isNext(c.group, first, second)), "actor %d: number %d in the history of %s, up to %d", a.index, said.Offset, c.group, past.Offset)
		w.must(!ask.Since || ask.Reverse == (said.Offset < max(ask.Offset, 1)) && said.Offset != ask.Offset, "actor %d: number %d of %s, asked from %d", a.index, said.Offset, c.group, ask.Offset)
	}
	if len(past.Messages) > 0 {
		w.past.read++
	}
}

// checkReplays holds the replays that wait against their bounds and logs, at any moment.
func (w *world) checkReplays() {
	b := w.hub.bounds.Load()
	for i, s := range w.hub.shards {
		weight, waiting := 0, map[*group]int{}
		for _, r := range s.replays.queue {
			weight += r.weight()
			w.must(len(r.Past.Messages) <= b.RecoveryMax, "loop %d: a replay of %d messages", i, len(r.Past.Messages))
			w.must(s.tick-r.since < replayTicks || s.kicked, "loop %d: a replay for %s has been waiting for %d ticks", i, r.Local.name, s.tick-r.since)
			w.must(r.Local.asked > 0, "loop %d: a replay for %s, of which nothing is asked", i, r.Local.name)
			if w.hub.clock.Load()-r.since >= replayTicks && w.past.seen[r.Client] != r.since+1 && r.Client.state == stateOpen {
				w.past.seen[r.Client] = r.since + 1
				w.past.late++
			}
			if r.Op != order.OpJoined {
				continue
			}
			waiting[r.Local]++
			l := r.Local.log
			w.must(l != nil && r.from <= l.dropped+len(l.messages), "loop %d: a replay for %s is at %d of a log", i, r.Local.name, r.from)
			if r.from < l.dropped+len(l.messages) {
				w.past.logged++
			}
		}
		w.must(weight == s.replays.weight, "loop %d: replays of weight %d, counted %d", i, weight, s.replays.weight)
		for name, g := range s.groups.All() {
			w.must((g.log != nil) == (waiting[g] > 0) && (g.log == nil || g.log.waiting == waiting[g]), "loop %d: %d replays for %s wait, its log is %+v", i, waiting[g], name, g.log)
		}
	}
}

// replaysWait says whether somebody is still to hear of a group's past.
func (w *world) replaysWait() bool {
	for _, s := range w.hub.shards {
		if len(s.replays.queue) > 0 {
			return true
		}
	}
	return false
}

// checkNoReplays: at rest all were answered, and who hears a group has heard the same of it.
func (w *world) checkNoReplays() {
	for i, s := range w.hub.shards {
		w.must(len(s.replays.queue) == 0 && s.replays.weight == 0, "loop %d: %d replays wait at rest", i, len(s.replays.queue))
		for name, g := range s.groups.All() {
			w.must(g.log == nil && g.asked == 0, "loop %d: group %s has a log, or asks, at rest", i, name)
		}
	}
	tops := map[simNumber]uint64{}
	w.eachExact(func(a *actor, at simNumber) {
		upto := at.offset
		at.offset = 0
		tops[at] = max(tops[at], upto)
	})
	w.eachExact(func(a *actor, at simNumber) {
		top := uint64(1 << 60)
		if w.orderer == nil {
			top = tops[simNumber{at.group, at.epoch, 0}]
		}
		missed := w.between(at.group, at.offset, top)
		w.must(a.lack(at.group, at.epoch, missed), "actor %d has heard %s up to %d, and not %v", a.index, at.group, at.offset, missed)
	})
}

// eachExact gives every member that knows up to which number it has heard a group, and that.
func (w *world) eachExact(do func(a *actor, at simNumber)) {
	for _, a := range w.actors {
		if a.sock.closed || a.closing || a.killed || a.said || a.missed > 0 {
			continue
		}
		for name, t := range a.tracks {
			if m := a.joined[name]; t.exact && m != nil && m.ackedAt > 0 && !m.unsure {
				do(a, simNumber{name, t.epoch, t.at})
			}
		}
	}
}

// simHistoryTicks is for how long most is kept.
const simHistoryTicks = 500

// checkForgotten: when all have gone for long enough, nothing of the past is left.
func (w *world) checkForgotten() {
	w.hub.clock.Add(2*simHistoryTicks + w.hub.bounds.Load().keyTicks + ticks(cachedFor)) // whatever the kinds said when the homes looked at them
	for range 20 {
		w.hub.beat()
		w.round()
	}
	w.settle()
	groups, messages := w.hub.homes.Histories()
	w.must(groups == 0 && messages == 0 && w.hub.homes.HistoryBytes() == 0, "histories: %d groups and %d messages in %d bytes are left", groups, messages, w.hub.homes.HistoryBytes())
	for i := range w.hub.shards {
		w.hub.homes.Home(i).Each(func(name string, _ *order.Headcount, _ []*group) { w.must(false, "home %d knows %s still", i, name) })
		w.must(!w.hub.shards[i].lanes.Keeps(), "home %d has something to drop still", i)
	}
}
