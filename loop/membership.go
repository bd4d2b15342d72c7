package loop

import "ringcast/loop/shrink"

// membership is one of a client's groups. A client's memberships have the places 0, 1, 2… without gaps. 0 is client.inline: most
// clients are in one group, which so costs no further allocation.
type membership struct {
	group    *group
	pos      uint32 // standingMember: place in its audience of the group
	standing standing
	silent   bool   // standingAsked: an add_group for it had no id, so a refusal closes the client
	recall   recall // standingMember
	traits   traits
}

// traits are facts about a membership, in one byte.
type traits uint8

const (
	traitHears    traits = 1 << iota // it is told, or will be, who comes and goes
	traitServed                      // standingAsked: a server has asked for it, and so it is told that it is a member without an answer
	traitOusted                      // standingAsked: when it is a member it is to be taken out again
	traitWelcomed                    // standingAsked: the reply to the client's connect waits for it, see welcome.go
	traitPresent                     // standingMember: the home has it among those who are present, and is owed the word that it is gone; else: it is to be told that it is here, when it has answered
)

func traitIf(is bool, t traits) traits {
	if is {
		return t
	}
	return 0
}

func (m *membership) hears() bool   { return m.traits&traitHears != 0 }
func (m *membership) present() bool { return m.traits&traitPresent != 0 }

// setPresent says whether the home has it among those who are present.
func (m *membership) setPresent(is bool) {
	m.traits = m.traits&^traitPresent | traitIf(is, traitPresent)
}

// standing is the state of a membership.
type standing uint8

const (
	standingMember    standing = iota // among the group's members
	standingAsked                     // the home has been asked for a place, and has not answered
	standingRenounced                 // likewise, and the client has left since it asked
)

// groupCount is the number of c's memberships.
func (c *client) groupCount() int {
	switch {
	case c.inline.group == nil:
		return 0
	case c.extra == nil:
		return 1
	default:
		return 1 + len(c.extra.further)
	}
}

// renouncedCount is the number of those that the client has left before the home's answer.
func (c *client) renouncedCount() (n int) {
	if c.inline.group != nil && c.inline.standing == standingRenounced {
		n++
	}
	if c.extra != nil {
		n += int(c.extra.renounced)
	}
	return n
}

// membership is the one at a place.
func (c *client) membership(at int) *membership {
	if at == 0 {
		return &c.inline
	}
	return &c.extra.further[at-1]
}

// memberOf is the place of c's membership in g; -1: there is none. Most clients have few groups, and it looks through them; a client
// of many has an index.
func (c *client) memberOf(g *group) int {
	if c.inline.group == g {
		return 0
	}
	x := c.extra
	switch {
	case x == nil:
	case x.index != nil:
		if at := x.index.Get(g); at > 0 {
			return int(at)
		}
	default:
		for i := range x.further {
			if x.further[i].group == g {
				return i + 1
			}
		}
	}
	return -1
}

// hasAsked says whether c waits for an answer to whether it may be a member of g.
func (c *client) hasAsked(g *group) bool {
	at := c.memberOf(g)
	return at >= 0 && c.membership(at).standing == standingAsked
}

// ask adds a membership in g for which c has asked, after its others.
func (c *client) ask(g *group, silent, hears bool) (at int) {
	at = c.groupCount()
	m := membership{group: g, standing: standingAsked, silent: silent, traits: traitIf(hears, traitHears)}
	if at == 0 {
		c.inline = m
		return at
	}
	x := c.more()
	x.further = append(x.further, m)
	switch {
	case x.index != nil:
		x.index.Put(g, uint32(at))
	case at >= c.shard.bounds.scannedMax:
		x.makeIndex()
	}
	return at
}

// stand changes the standing of a membership for which the client has asked.
func (c *client) stand(at int, to standing) {
	m := c.membership(at)
	if at > 0 {
		c.extra.renounced -= renounced(m.standing)
		c.extra.renounced += renounced(to)
	}
	m.standing = to
}

// renounce has a client that has asked to be a member not want to be one.
func (s *shard) renounce(c *client, at int) {
	m := c.membership(at)
	m.silent, m.traits = false, m.traits&^(traitServed|traitOusted) // what a backend has wanted was for the one that ends here
	if c.is(markBearer) {
		s.bearer(c).release(m.group)
	}
	c.stand(at, standingRenounced)
}

// renounced is 1 for a membership that its client has left before the home's answer.
func renounced(s standing) uint32 {
	if s == standingRenounced {
		return 1
	}
	return 0
}

// confirm makes c a member of the group whose membership, for which it has asked, is at a place.
func (c *client) confirm(at int) {
	m := c.membership(at)
	*m = membership{group: m.group, pos: m.group.add(c, m.hears()), traits: m.traits & traitHears}
}

// withdraw ends the membership at a place, to which the last one moves, and returns its group.
func (c *client) withdraw(at int) *group {
	m := *c.membership(at)
	if c.is(markBearer) {
		c.shard.bearer(c).release(m.group)
	}
	if m.standing == standingMember {
		m.group.remove(c, m.hears(), m.pos, at)
	}
	last := c.groupCount() - 1
	if last == 0 {
		c.inline = membership{}
		return m.group
	}
	x, moved := c.extra, *c.membership(last)
	if at > 0 {
		x.renounced -= renounced(m.standing)
	} else {
		x.renounced -= renounced(moved.standing) // it moves to the inline place, which is not in the count
	}
	*c.membership(at) = moved
	x.further[last-1] = membership{}
	x.further = x.further[:last-1]
	if x.index != nil {
		x.index.Delete(m.group)
		if at > 0 && at < last {
			x.index.Put(moved.group, uint32(at))
		} else {
			x.index.Delete(moved.group)
		}
		if last <= max(1, c.shard.bounds.scannedMax/2) {
			x.index = nil
		}
	}
	if cap(x.further) > furtherKeptMin && last-1 < cap(x.further)/4 {
		x.further = append(make([]membership, 0, cap(x.further)/2), x.further...)
	}
	c.shed()
	return m.group
}

// furtherKeptMin is the capacity below which the list of a client's memberships is not made smaller.
const furtherKeptMin = 64

// makeIndex makes the index of a client that has come to be in many groups. A look-up in it takes as long as one through about 64
// memberships. Without one a client of 100,000 groups cost its loop 0.1 ms for each join, and, when it went, seconds: each member
// that fills a place that it leaves is told its new place, and one of as many groups looks for it (BenchmarkManyGroups).
func (x *extra) makeIndex() {
	x.index = &shrink.Map[*group, uint32]{}
	for i := range x.further {
		x.index.Put(x.further[i].group, uint32(i+1))
	}
}
