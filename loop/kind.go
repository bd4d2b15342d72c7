package loop

import "strings"

// Kind is the bounds of the groups whose names match a pattern.
type Kind struct {
	Match      string // matches whole names, UTF-8; * matches any run of characters, also an empty one, and nothing else is special
	MembersMax int    // bound on the members of each such group, in place of Limits.MembersMax; 0: none
}

// kindOf is the first kind that matches a group's name, or else that of all other groups. Each pattern costs some tens of
// nanoseconds. It is called for joins, not for messages.
func (b *bounds) kindOf(group string) Kind {
	for i := range b.Kinds {
		if matches(b.Kinds[i].Match, group) {
			return b.Kinds[i]
		}
	}
	return Kind{MembersMax: b.MembersMax}
}

// matches says whether a pattern matches a whole name. Each piece between two * is searched once, from where the piece before it
// ended, so there is no backtracking.
func matches(pattern, name string) bool {
	head, rest, any := strings.Cut(pattern, "*")
	if !any {
		return name == pattern
	}
	name, ok := strings.CutPrefix(name, head)
	for ok {
		piece, more, any := strings.Cut(rest, "*")
		if !any {
			return strings.HasSuffix(name, piece)
		}
		at := strings.Index(name, piece)
		if ok = at >= 0; ok {
			name, rest = name[at+len(piece):], more
		}
	}
	return false
}
