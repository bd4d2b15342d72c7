package loop

// membership is one of a client's groups. A client's memberships have the places 0, 1, 2… without gaps. 0 is client.inline: most
// clients are in one group, which so costs no further allocation.
type membership struct {
	group    *group
	pos      uint32 // standingMember: place in its audience of the group
	standing standing
	silent   bool // standingAsked: an add_group for it had no id, so a refusal closes the client
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
	for at := range c.groupCount() {
		if c.membership(at).standing == standingRenounced {
			n++
		}
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

// memberOf is the place of c's membership in g; -1: there is none. It searches all, as most clients have few, at most
// bounds.GroupsPerClient.
func (c *client) memberOf(g *group) int {
	if c.inline.group == g {
		return 0
	}
	if c.extra != nil {
		for i := range c.extra.further {
			if c.extra.further[i].group == g {
				return i + 1
			}
		}
	}
	return -1
}

// ask adds a membership in g for which c has asked, after its others.
func (c *client) ask(g *group, silent bool) (at int) {
	at = c.groupCount()
	m := membership{group: g, standing: standingAsked, silent: silent}
	if at == 0 {
		c.inline = m
	} else {
		x := c.more()
		x.further = append(x.further, m)
	}
	return at
}

// confirm makes c a member of the group whose membership, for which it has asked, is at a place.
func (c *client) confirm(at int) {
	m := c.membership(at)
	*m = membership{group: m.group, pos: m.group.add(c)}
}

// withdraw ends the membership at a place, to which the last one moves, and returns its group.
func (c *client) withdraw(at int) *group {
	m := *c.membership(at)
	if m.standing == standingMember {
		m.group.remove(c, m.pos, at)
	}
	last := c.groupCount() - 1
	*c.membership(at) = *c.membership(last)
	*c.membership(last) = membership{}
	if last > 0 {
		c.extra.further = c.extra.further[:last-1]
		c.shed()
	}
	return m.group
}
