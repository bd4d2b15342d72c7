package loop

import "ringcast/dialect"

// This file is who may join groups and publish to them, as kinds of groups say. Clients cannot say who they are: what is for users,
// or for who has a token, is for none of them. Ports are not asked; who has one is a server.

// mayJoin says why c may not become a member of a group; empty: it may. Members are not asked again: they stay when their kind of
// group has changed.
func (s *shard) mayJoin(c *client, name []byte) dialect.ErrorCode {
	switch {
	case s.bounds.guardsJoin && s.kindNamed(name).Join != Anyone:
		count(&s.count.RefusedBy, refusedForbidden)
		return dialect.ErrForbidden
	case !s.mayJoinMore(c):
		return dialect.ErrTooManyGroups
	default:
		return ""
	}
}

// mayPublish says whether c may publish to a group, and counts if not. It is called where not everyone may publish everywhere: it looks
// the group up, and one that this loop does not know costs a comparison with each pattern.
func (s *shard) mayPublish(c *client, name []byte) bool {
	switch s.kindNamed(name).Publish {
	case Anyone:
		return true
	case Members:
		if g := s.groups.Get(string(name)); g != nil && c.joins(g) {
			return true
		}
	}
	count(&s.count.RefusedBy, refusedForbidden)
	return false
}

// kindNamed is the kind of a group that this loop may know.
func (s *shard) kindNamed(name []byte) Kind {
	if g := s.groups.Get(string(name)); g != nil {
		index, _ := s.kindOf(g)
		return s.bounds.kindAt(index)
	}
	return s.bounds.kindOf(borrowString(name))
}

// joins says whether c is a member of g, or has asked to be and not left since: what it says behind its add_group comes behind it at
// the home too. If the home then refuses the add_group, for want of a place, what was said meanwhile has been said.
func (c *client) joins(g *group) bool {
	at := c.memberOf(g)
	return at >= 0 && c.membership(at).standing != standingRenounced
}
