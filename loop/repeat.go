package loop

import "ringcast/dialect"

// This file is add_groups that a client has said again before the first was answered: the home is asked once.

// repeat is an add_group that was said again before it was answered, or a question for how many members there are.
type repeat struct {
	id      string
	recover bool // it asks for what was missed
	orNone  bool // and does not want to join without it
	stats   bool // it is the question
}

// askedAgain is the last add_group that c has said again before it was answered; nil: it has not.
func (c *client) askedAgain(g *group) (last *repeat) {
	if c.extra != nil {
		for i := range c.extra.repeats[g] {
			if r := &c.extra.repeats[g][i]; !r.stats {
				last = r
			}
		}
	}
	return last
}

// repeatBytesOf is what a repeated add_group counts against the bound on the backlog: its id, its place in a list, and the list's in
// the map. A list of all groups' repeats would be smaller, but each decision would look through it.
func repeatBytesOf(id string) int { return repeatBytes + len(id) }

const repeatBytes = 64

// answerRepeats answers the repeats of an add_group that was decided. Of the group's past they are told the position: what was missed
// is in the answer to the first, and is not said twice.
func (s *shard) answerRepeats(c *client, g *group, why refusal, code dialect.ErrorCode, past *dialect.Past) {
	if c.extra == nil || len(c.extra.repeats) == 0 {
		return
	}
	for _, r := range c.extra.repeats[g] {
		s.backlog.release(g.name, repeatBytesOf(r.id))
		if !r.stats {
			s.answerJoin(c, g, true, r.id, why, code, positionOf(past, r.recover))
		} else if refused := s.answerStats(c, g, borrowBytes(r.id)); refused != "" {
			s.answer(c, dialect.Outcome{What: dialect.Refused, Verb: dialect.Stats, Group: g.name, ID: borrowBytes(r.id), Code: refused})
		}
	}
	if delete(c.extra.repeats, g); len(c.extra.repeats) == 0 {
		c.extra.repeats = nil
	}
	c.shed()
}

// answerLater keeps what is to be answered when an earlier add_group of the client has been.
func (s *shard) answerLater(c *client, g *group, r repeat) dialect.ErrorCode {
	if !s.backlog.take(g.name, repeatBytesOf(r.id)) {
		count(&s.count.RefusedBy, refusedBusy)
		return dialect.ErrBusy
	}
	x := c.more()
	if x.repeats == nil {
		x.repeats = map[*group][]repeat{}
	}
	x.repeats[g] = append(x.repeats[g], r)
	return ""
}
