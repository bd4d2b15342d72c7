package door

// This file is the gate: who may do what. It has three questions (may a client connect, join a group, publish to one), asked by
// loops, for all dialects and kinds of groups alike. The answers follow from what the client has shown and need nothing else, so
// nobody waits for them.

// Access is who may do something.
type Access uint8

// The values of Access.
const (
	ForAnyone  Access = iota
	ForUsers          // clients that have a token with a user
	ForMembers        // members of the group
	ForTokens         // clients whose token names the group, or allows it by a pattern
	ForServers        // no client at all
)

// Shown is what a client has shown of itself, as far as it matters for one group.
type Shown struct {
	Token  *Token // of its connection; nil: none
	Group  bool   // it has shown a token for the group, or a server has let it in
	Member bool   // it is a member of the group, or has asked to be
}

// MayConnect says whether a client may connect where a token may be asked of everybody.
func (s Shown) MayConnect(needsToken bool) bool { return !needsToken || s.Token != nil }

// MayJoin says whether a client may become a member of a group that is for some to join.
func (s Shown) MayJoin(access Access, group string) bool {
	return s.may(access, group, func(t *Token) []string { return t.Join })
}

// MayPublish says whether a client may publish to a group to which some may. Who has a token for a group may do both where tokens are
// asked for; of a connection's token, patterns allow the one or the other.
func (s Shown) MayPublish(access Access, group string) bool {
	return access == ForMembers && s.Member || s.may(access, group, func(t *Token) []string { return t.Publish })
}

func (s Shown) may(access Access, group string, patterns func(*Token) []string) bool {
	switch access {
	case ForAnyone:
		return true
	case ForUsers:
		return s.Token != nil && s.Token.User != ""
	case ForTokens:
		return s.Group || s.Token != nil && s.Token.allows(group, patterns(s.Token))
	}
	return false
}

// allows says whether a connection's token names a group, or one of its patterns matches it.
func (t *Token) allows(group string, patterns []string) bool {
	if _, named := t.Groups[group]; named {
		return true
	}
	for _, pattern := range patterns {
		if Matches(pattern, group) {
			return true
		}
	}
	return false
}
