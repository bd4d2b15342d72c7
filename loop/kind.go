package loop

import "strings"

// Kind is what an operator says of the groups whose names match a pattern.
type Kind struct {
	Match      string // the whole name, UTF-8; * stands for any run of characters, also none, and nothing else is special
	MembersMax int    // members of one group of this kind, in place of Limits.MembersMax; 0: no bound
}

// kindOf is the first kind that matches a group's name, or that of all other groups. It looks at one pattern after the
// other, some tens of nanoseconds each; joins ask, messages do not.
func (b *bounds) kindOf(group string) Kind {
	for i := range b.Kinds {
		if matches(b.Kinds[i].Match, group) {
			return b.Kinds[i]
		}
	}
	return Kind{MembersMax: b.MembersMax}
}

// matches says whether a pattern matches a whole name. Each * takes as little as the rest allows, so there is never more
// than one place to go back to, and the cost is at most that of searching each piece once.
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
