package order

import (
	"slices"
	"strconv"
)

// This file judges what simulated machines say of the past of groups: positions never lie, and a recovery is all or nothing.

// joined judges the answer to a join: from its position on the loop hears all, and it has heard all before.
func (m *simMachine) joined(loop int, p *nodePart, d *Delivery[*nodePart, *nodeAsk]) {
	c := m.c
	a, past := d.Client, d.Past
	recovers := a.past != nil && a.past.Recover
	history := c.kinds[c.number(p.name)].Messages > 0
	c.must(c.changing || (past != nil) == (history || recovers), "%s, loop %d: joined group %s, and is told %+v of its past", m, loop, p.name, past)
	if past == nil || past.Top.Epoch == 0 {
		c.must(past == nil || past.WasAsked == recovers && !past.Recovered && len(past.Messages) == 0, "%s, loop %d: joined group %s without history, and is told %+v", m, loop, p.name, past)
		if p.next < 0 && p.since < 0 {
			if p.since = len(c.groups[p.name]); c.changing { // it was asked when there was history, perhaps
				p.begins = p.since
			}
		}
		return
	}
	m.mayBeAt(loop, p.name, past.Top)
	at := c.behind(p.name, past.Top)
	c.must(p.next <= at, "%s, loop %d: joined group %s at %+v, number %d, and has heard up to %d", m, loop, p.name, past.Top, at, p.next)
	if p.next >= 0 || p.since >= 0 {
		m.mayMiss(loop, p, at)
	}
	if p.next < 0 {
		p.begins = at
	}
	p.next = at
	c.must(past.WasAsked == recovers, "%s, loop %d: joined group %s, asked %+v, is told %+v", m, loop, p.name, a.past, past)
	if recovers {
		m.recovered(loop, a, past)
	}
	c.positions[p.name] = append(c.positions[p.name], past.Top)
}

// mayBeAt judges that a machine knows a position: the log has been so far there.
func (m *simMachine) mayBeAt(loop int, group string, at Position) {
	tip, was := m.tips[tipOf{m.c.partitionOf(group), at.Epoch}]
	m.c.must(was && at.Offset <= tip, "%s, loop %d, group %s: told the position %+v; the machine has the log up to %d", m, loop, group, at, tip)
}

type tipOf struct {
	partition int
	epoch     Epoch
}

// keptUpTo is all of a group that is kept up to a position, and the offset before which all was forgotten.
func (c *simCluster) keptUpTo(group string, top Position) (kept []*simEntry, floor uint64) {
	for _, e := range c.entries(group, top.Epoch) {
		switch {
		case e.offset > top.Offset:
		case e.publish == nil:
			kept, floor = nil, e.offset
		case e.kept():
			kept = append(kept, e)
		}
	}
	return kept, floor
}

// surely says whether the log has all that was said up to a position: so a machine that has asked it has all.
func (c *simCluster) surely(group string, top Position) bool {
	return c.sure && !slices.ContainsFunc(c.entries(group, top.Epoch), func(e *simEntry) bool { return e.publish == nil && e.offset > top.Offset })
}

// recovered judges what is said to who comes back: all that it has missed, or nothing.
func (m *simMachine) recovered(loop int, a *nodeAsk, past *Past) {
	c := m.c
	kept, floor := c.keptUpTo(a.group, past.Top)
	missed := slices.DeleteFunc(slices.Clone(kept), func(e *simEntry) bool { return e.offset <= a.past.Since.Offset })
	bytes := 0
	for _, e := range missed {
		bytes += e.publish.bytes()
	}
	may := (a.past.Since.Epoch == 0 || a.past.Since.Epoch == past.Top.Epoch) && a.past.Since.Offset <= past.Top.Offset && a.past.Since.Offset >= floor &&
		len(missed) <= a.past.MessagesMax && bytes <= a.past.BytesMax
	c.must(a.past.Since.Epoch != past.Top.Epoch || a.past.Since.Offset <= past.Top.Offset, "%s, loop %d, group %s: asked %+v, is answered at %+v, where the machine has not come yet", m, loop, a.group, a.past, past.Top)
	if !past.Recovered {
		c.must(len(past.Messages) == 0, "%s, loop %d, group %s: not recovered, and told %d messages", m, loop, a.group, len(past.Messages))
		c.must(!may || !c.surely(a.group, past.Top), "%s, loop %d, group %s: not recovered from %+v to %+v, and missed are only %v", m, loop, a.group, a.past, past.Top, entryOffsets(missed))
		c.count.lost++
		return
	}
	c.must(may, "%s, loop %d, group %s: recovered from %+v to %+v; all was forgotten up to %d", m, loop, a.group, a.past, past.Top, floor)
	m.same(loop, a, past, missed)
	c.count.recovered++
	c.count.recoveredMessages += len(missed)
}

// same judges that messages are those that are wanted.
func (m *simMachine) same(loop int, a *nodeAsk, past *Past, want []*simEntry) {
	c := m.c
	c.must(slices.Equal(simOffsets(past.Messages), entryOffsets(want)), "%s, loop %d, group %s: told %v of its past, want %v; asked %+v at %+v",
		m, loop, a.group, simOffsets(past.Messages), entryOffsets(want), a.past, past.Top)
	for i, e := range want {
		message := past.Messages[i]
		c.must(c.publishOf(message) == e.publish && message.Kept && message.JSON == e.publish.said.JSON, "%s, loop %d, group %s: told %+v of its past, want publish %d", m, loop, a.group, message, e.publish.index)
	}
}

// bytes is what Message.Bytes says of the publish.
func (p *simPublish) bytes() int { return p.copy().Bytes() }

func entryOffsets(list []*simEntry) (n []uint64) {
	for _, e := range list {
		n = append(n, e.offset)
	}
	return n
}

// pageOf judges a page of a history.
func (m *simMachine) pageOf(a *nodeAsk, past *Past) {
	c, ask := m.c, a.past
	history := c.kinds[c.number(a.group)].Messages > 0
	c.must(c.changing || past.None != history, "%s, group %s: asked for its history, is told %+v", m, a.group, past)
	if past.None {
		c.must(len(past.Messages) == 0 && past.Top == Position{}, "%s, group %s: no history, and is told %+v", m, a.group, past)
		return
	}
	m.mayBeAt(a.loop, a.group, past.Top)
	c.positions[a.group] = append(c.positions[a.group], past.Top)
	kept, floor := c.keptUpTo(a.group, past.Top)
	bounded := ask.HasSince || ask.Since.Offset > 0
	other := bounded && ask.Since.Epoch != 0 && ask.Since.Epoch != past.Top.Epoch
	lost := other || bounded && !ask.Reverse && ask.Since.Offset < floor
	c.must(!bounded || ask.Since.Epoch != past.Top.Epoch || ask.Since.Offset <= past.Top.Offset, "%s, group %s: asked %+v, is answered at %+v, where the machine has not come yet", m, a.group, ask, past.Top)
	if past.Lost {
		c.must(len(past.Messages) == 0 && (lost || bounded && !ask.Reverse && !c.surely(a.group, past.Top)), "%s, group %s: asked %+v, is told that it is lost; all was forgotten up to %d", m, a.group, ask, floor)
		c.count.pagesLost++
		return
	}
	c.must(!lost, "%s, group %s: asked %+v, and is told %v; all was forgotten up to %d", m, a.group, ask, simOffsets(past.Messages), floor)
	want := slices.DeleteFunc(slices.Clone(kept), func(e *simEntry) bool {
		return bounded && (ask.Reverse && e.offset >= ask.Since.Offset || !ask.Reverse && e.offset <= ask.Since.Offset)
	})
	if !c.surely(a.group, past.Top) && !(bounded && !ask.Reverse) { // the oldest may be gone, and nobody has said how many
		n := len(past.Messages)
		switch {
		case n == 0:
			return
		case ask.Reverse:
			want = want[len(want)-min(n, len(want)):]
		default:
			at, _ := slices.BinarySearchFunc(want, past.Messages[0].Offset, func(e *simEntry, offset uint64) int { return int(e.offset) - int(offset) })
			want = want[at:]
		}
	}
	if ask.Reverse {
		slices.Reverse(want)
	}
	if ask.Limit >= 0 {
		want = want[:min(len(want), ask.Limit)]
	}
	want = want[:min(len(want), ask.MessagesMax)]
	for bytes := func() (n int) {
		for _, e := range want {
			n += e.publish.bytes()
		}
		return n
	}; bytes() > ask.BytesMax; {
		want = want[:len(want)-1]
	}
	m.same(a.loop, a, past, want)
	c.count.pages++
}

// trouble is how many recalls have failed, without one that has failed already for who asks for a group now, though its home does not know.
func (m *simMachine) trouble(group string) int {
	p, home := m.c.partitions[m.c.partitionOf(group)], m.hs.Of(group)
	doubt := m.readers[p.number].epoch != p.epoch || m.inlet.port.up[home].lane.len() > 0
	for _, r := range m.recalls {
		doubt = doubt || r.group == group && (r.epoch != p.epoch || r.says != nil && (r.says.Failed || r.says.Epoch != p.epoch))
	}
	if doubt {
		return m.c.count.trouble() - 1
	}
	return m.c.count.trouble()
}

// isAhead says whether who asks has been further than the machine is.
func (m *simMachine) isAhead(group string, a *Ask) bool {
	at := m.hs.homes[m.hs.Of(group)].ordering.of(group)
	return a.Since.Epoch != 0 && (a.Since.Epoch != at.epoch || a.Since.Offset > at.tip)
}

// mayFail says whether a question may be refused as the log was asked, and what it has said is no good: it has not answered, or much has
// come and gone meanwhile, or the position is one that the machine has not reached.
func (c *simCluster) mayFail(a *nodeAsk) bool {
	k := c.kinds[c.number(a.group)]
	return a.ahead || c.count.trouble() > a.trouble || c.changing || c.historyMax > 0 || k.Messages < 1000 || k.TTL < 1<<20
}

// answered judges the answer to a question, or to a wish that a history be forgotten.
func (m *simMachine) answered(a *nodeAsk, t told) {
	c := m.c
	if a.op == OpForget {
		c.must(t.err == nil && t.past != nil || t.err == ErrBusy || t.err == ErrUnavailable || t.err == ErrUnconfirmed, "%s, group %s: forgets, and is told %+v", m, a.group, t)
		if t.err != nil {
			m.forgetsRefused[refusalOf(t.err)]++
		} else if !t.past.None {
			c.count.forgets++
		}
		return
	}
	if t.err != nil {
		c.must(t.err == ErrBusy && c.mayFail(a), "%s, group %s: asked for its history, and is told %v; the log has answered", m, a.group, t.err)
		c.count.pagesRefused++
		return
	}
	m.pageOf(a, t.past)
}

// checkHomes judges the books of a machine's homes.
func (m *simMachine) checkHomes() {
	for i, h := range m.hs.homes {
		if h.held.Load() {
			continue
		}
		wrong := h.CheckHistories()
		m.c.must(wrong == "", "%s, home %d: %s", m, i, wrong)
		h.EachFlight(func(group string, loop int, _ *nodePart, bytes int) {
			const largest = 300
			m.c.must(bytes <= max(m.c.flight, m.c.least)+largest, "%s, loop %d, group %s: %d bytes are in flight", m, loop, group, bytes)
		})
		wrong = h.CheckPresence()
		m.c.must(wrong == "", "%s, home %d: %s", m, i, wrong)
		wrong = h.CheckKeys()
		m.c.must(wrong == "", "%s, home %d: %s", m, i, wrong)
	}
}

// checkCached judges, at rest, what a machine's homes have cached: of what they have been told was put in order, the last, whoever was there.
func (m *simMachine) checkCached() {
	for i, kind := range m.c.kinds {
		group := strconv.Itoa(i)
		var want *simPublish
		for _, e := range m.c.groups[group] {
			if _, told := m.put[e]; told {
				want = e.publish
			}
		}
		switch is := m.hs.homes[m.hs.Of(group)].cached(group); {
		case kind.Cache == 0:
			m.c.must(is == nil, "%s, group %s: something is cached", m, group)
		case is == nil:
			m.c.must(want == nil || kind.Fast || m.c.historyMax > 0, "%s, group %s: nothing is cached, want %+v", m, group, want)
		default:
			got := m.c.publishOf(is.message)
			m.c.must(kind.Fast || got == want, "%s, group %s: publish %d is cached, want %+v", m, group, got.index, want)
			m.c.count.cached++
		}
	}
}

// checkForgotten judges that nothing is left when all have gone, and time enough has passed.
func (m *simMachine) checkForgotten() {
	m.c.now += 1 << 21
	for _, l := range m.loops {
		for l.lanes.Expire(3) {
		}
		l.woken = true
	}
	for m.turnAll() {
	}
	for i, h := range m.hs.homes {
		m.c.must(h.Groups() == 0 && h.groups.Len() == 0, "%s, home %d knows %d groups, of which %d have members", m, i, h.groups.Len(), h.Groups())
	}
	groups, messages := m.hs.Histories()
	m.c.must(groups == 0 && messages == 0 && m.hs.HistoryBytes() == 0 && m.hs.Census.Groups() == 0, "%s: %d groups, %d messages, %d bytes are left of all histories, %d groups of the census", m, groups, messages, m.hs.HistoryBytes(), m.hs.Census.Groups())
}
