package loop

import (
	"ringcast/dialect"
	"ringcast/loop/door"
)

// This file is who may join groups and publish to them, as kinds of groups say. What a client has shown decides, see bearer.go; the
// answers are those of the gate (door/gate.go). Ports are not asked; who has one is a server.

// mayJoin says why c may not become a member of a group; empty: it may. token: it has just shown a token for the group. Members are not
// asked again: they stay when their kind of group has changed.
func (s *shard) mayJoin(c *client, name []byte, token bool) dialect.ErrorCode {
	if s.bounds.guardsJoin && !s.passesToJoin(c, name, token) {
		count(&s.count.RefusedBy, refusedForbidden)
		return dialect.ErrForbidden
	}
	if !s.mayJoinMore(c) {
		return dialect.ErrTooManyGroups
	}
	return ""
}

// passesToJoin asks the gate.
func (s *shard) passesToJoin(c *client, name []byte, token bool) bool {
	if s.shuts(c, name) {
		return false
	}
	access := s.kindNamed(name).Join
	if access == Anyone {
		return true
	}
	shown := s.shown(c, nil)
	shown.Group = token
	return shown.MayJoin(access, borrowString(name))
}

// mayPublish says whether c may publish to a group, and counts if not. It is called where not everyone may publish everywhere: it looks
// the group up, and one that this loop does not know costs a comparison with each pattern.
func (s *shard) mayPublish(c *client, name []byte) bool {
	if !s.shuts(c, name) {
		access := s.kindNamed(name).Publish
		if access == Anyone || s.shown(c, s.groups.Get(string(name))).MayPublish(access, borrowString(name)) {
			return true
		}
	}
	count(&s.count.RefusedBy, refusedForbidden)
	return false
}

// shown is what c has shown of itself; g is the group in question, nil if this loop does not know it.
func (s *shard) shown(c *client, g *group) (shown door.Shown) {
	shown.Member = g != nil && c.joins(g)
	if b := s.bearer(c); b != nil {
		shown.Token = b.token()
		in := b.in(g)
		shown.Group = in != nil && in.token != nil
	}
	if shown.Member && s.entry(c).Channels { // who is a member of a channel that needs a signature has shown it
		channel, _ := s.bounds.channelOf(g.name)
		shown.Group = shown.Group || channel.Private
	}
	return shown
}

// kindNamed is the kind of a group that this loop may know.
func (s *shard) kindNamed(name []byte) Kind {
	if g := s.groups.Get(string(name)); g != nil {
		return s.kind(g)
	}
	return s.bounds.kindOf(borrowString(name))
}

// joins says whether c is a member of g, or has asked to be and not left since: what it says behind its add_group comes behind it at
// the home too. If the home then refuses the add_group, for want of a place, what was said meanwhile has been said.
func (c *client) joins(g *group) bool {
	at := c.memberOf(g)
	return at >= 0 && c.membership(at).standing != standingRenounced
}
