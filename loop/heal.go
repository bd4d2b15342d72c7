package loop

import (
	"ringcast/dialect"
	"ringcast/loop/assert"
	"ringcast/loop/shrink"
)

// This file is how slow clients heal. What a client has lost of a group with a history is in that history, and the client knows its own
// position there: what it has heard. So where its dialect has it so, a client whose outbox is full is not closed:
//
//	outbox    full                         half has gone                     it has read so far
//	───────────┼────────────────────────────┼─────────────────────────────────┼────────────────────►
//	           │ dropping: groups with a    │ parting: it is taken out of     │ it joins again from its
//	           │ history lose what is said  │ those that have lost something, │ position, as who comes
//	           │                            │ and told so, as room permits    │ back does (replay.go)
//
// Nothing of a group is queued from its first loss until the client has joined it again, so there is no gap and no double. A group
// that cannot be asked for what was lost (it has no history, or the client was told no position in it, or something is said that is not
// kept) loses nothing: if that does not fit, the client is closed.
//
// Lists of members do not change while a pass walks over them, and losses are found out by passes. So clients are taken out of groups
// by a step of the turn.

// SlowClient is what becomes of a client whose outbox is full.
type SlowClient uint8

// The values of SlowClient, and what an operator writes for them.
const (
	SlowHeal  SlowClient = iota // "heal": it heals, if its dialect has it so and it is nothing but groups with a history that lose something; else it is closed
	SlowClose                   // "close": it is closed
	SlowDrop                    // "drop": if it uses ids it loses messages, and is told how many; else it is closed
)

// recall is what a member can ask a group's history for.
type recall uint8

const (
	recallNone recall = iota // nothing: it was told no position there as it joined
	recallTold               // what it has not heard
	recallLost               // likewise, and there is such: it is to be taken out of the group, of which nothing more is queued for it
)

// healing is how far a slow client has come.
type healing uint8

const (
	healNone     healing = iota
	healDropping         // nothing of its groups with a history is queued
	healParting          // nothing of those that have lost something is queued, and it is taken out of them
)

// cargo is what the bytes of a push are.
type cargo struct {
	group    *group // nil: replies
	messages int    // of the group
	unkept   bool   // some are not in its history, though they were said: they cannot be recovered
}

// holds says whether a message is in the history of its group, if that has one, or need not be: comings and goings are heard by those
// who are there.
func holds(m *message) bool { return m.Kept || m.Sort != dialect.Said }

// healers is a shard's part in it: who is to be taken out of groups, and who has healed before.
//
// Owner: the loop.
type healers struct {
	due     []*client // half of their outboxes has gone
	left    int       // places that this turn may still free
	resting bool      // this turn takes nobody out of groups
	times   shrink.Map[*client, healTimes]
	purgeAt int // so many times are looked through for old ones
}

// healTimes is when a client has last begun to heal, in ticks, and when before that, if the two were close.
type healTimes struct {
	last, before uint32
	twice        bool
}

// healTimesKeptMin is the number of times below which old ones are not looked for.
const healTimesKeptMin = 64

// mayBegin says whether a client may heal once more, and notes that it does: it may twice within some ticks. Who is slow again and again
// is not helped by it, and each time costs an answer with all that was lost.
func (h *healers) mayBegin(c *client, tick, within uint32) bool {
	was, known := h.times.All()[c]
	recent := known && tick-was.last < within
	if recent && was.twice && tick-was.before < within {
		return false
	}
	if h.times.Len() >= max(h.purgeAt, healTimesKeptMin) {
		var young shrink.Map[*client, healTimes]
		for other, times := range h.times.All() {
			if tick-times.last < within {
				young.Put(other, times)
			}
		}
		h.times, h.purgeAt = young, 2*young.Len()
	}
	h.times.Put(c, healTimes{last: tick, before: was.last, twice: recent})
	return true
}

// waiting says whether somebody is to be taken out of groups in this turn.
func (h *healers) waiting() bool { return len(h.due) > 0 && !h.resting }

// heals says whether a client is to be taken out of groups.
func (l *slowClients) heals(c *client) bool {
	entry := l.of(c)
	return entry != nil && entry.healing != healNone && c.state == stateOpen
}

// loses says whether messages of a group are dropped for a slow client, as it gets them from the group's history. full: there is no
// room for them in its outbox. If it is neither, or if they may not be dropped and there is no room, they are dealt with as others.
func (s *shard) loses(c *client, of cargo, full bool) (dropped, hopeless bool) {
	now := healNone
	if s.slow.heals(c) {
		now = s.slow.of(c).healing
	}
	if of.messages == 0 || now == healNone && !full {
		return false, false
	}
	m := c.membership(c.memberOf(of.group))
	switch {
	case m.recall == recallLost:
		return !of.unkept, of.unkept
	case m.recall == recallNone || of.unkept || c.state != stateOpen:
		return false, false
	case now == healDropping:
	case !full || !s.beginHealing(c):
		return false, false
	}
	m.recall = recallLost
	s.noteSlow(c, of, reasonFull)
	return true, false
}

// beginHealing has a client whose outbox is full heal, if it may.
func (s *shard) beginHealing(c *client) bool {
	if s.bounds.SlowClient != SlowHeal || !s.entry(c).Heals || !s.slow.healers.mayBegin(c, s.tick, s.bounds.healTicks) {
		return false
	}
	s.slow.put(c, c.conn.OutboundBuffered())
	s.slow.of(c).healing = healDropping
	s.count.SlowHealed.Add(1)
	return true
}

// lose drops a batch for a client that heals.
func (s *shard) lose(c *client, p []byte, of cargo) {
	s.count.SlowSkipped.Add(uint64(of.messages))
	c.bytesOut -= uint64(len(p))
	s.passes.undelivered++
}

// partSoon has a client that heals taken out of groups by the turn, if half of its outbox has gone.
func (s *shard) partSoon(c *client, waiting int) {
	if waiting > s.bounds.OutboxBytesMax/2 || !s.slow.heals(c) {
		return
	}
	entry := s.slow.of(c)
	if entry.healing = healParting; !entry.due {
		entry.due = true
		s.slow.healers.due = append(s.slow.healers.due, c)
	}
}

// partLosers takes clients out of the groups that have lost something. What is left is for a turn after a kick, or, where a client has
// to take what waits for it first, for when half of that has gone.
func (s *shard) partLosers() {
	h := &s.slow.healers
	if !h.waiting() {
		return
	}
	assert.That(s.replies.to == nil, "shard: clients are parted before they have been sent what was said before")
	was := s.culprit
	for len(h.due) > 0 && h.left > 0 {
		last := len(h.due) - 1
		c := h.due[last]
		h.due[last] = nil // before it is parted: if that panics, it is not for ever
		h.due = h.due[:last]
		if !s.slow.heals(c) {
			continue
		}
		s.slow.of(c).due = false
		s.culprit = c
		if c.conn.OutboundBuffered() <= s.bounds.OutboxBytesMax/2 { // else it has been sent more since
			s.partLoser(c)
		}
		if c.state == stateOpen {
			s.stillSlow(c) // it may be due again
		}
	}
	s.culprit = was // not deferred: who is to be closed for a panic must be known behind it
	if len(h.due) > 0 {
		h.resting = true
		s.kick()
	}
}

// partLoser takes a client out of as many groups as its outbox has room for notices of it, within what the turn may still do. A quarter
// of the outbox is left free: notices are written whatever waits, and one may be long.
func (s *shard) partLoser(c *client) {
	h, d := &s.slow.healers, s.dialect(c)
	room := max(0, s.bounds.OutboxBytesMax/4*3-c.conn.OutboundBuffered())
	var notices []byte
	at := c.groupCount() - 1
	for ; at >= 0; at-- { // downwards: the place of one that goes is filled by the last, which was looked at
		m := c.membership(at)
		if m.recall != recallLost {
			continue
		}
		if h.left == 0 || len(notices) > room {
			break
		}
		notices = d.Answer(notices, dialect.Outcome{What: dialect.Parted, Client: c.Number(), Group: m.group.name})
		h.left--
		s.note(c, Trace{Kind: TraceHeal, Group: m.group.name})
		s.part(c, at)
	}
	if at < 0 {
		s.slow.of(c).healing = healNone
	}
	c.bytesOut += uint64(len(notices))
	s.count.BytesOut.Add(uint64(len(notices)))
	s.write(c, notices)
}
