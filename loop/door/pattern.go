package door

import "strings"

// Matches says whether a pattern matches a whole name: * matches any run of characters, also an empty one, and nothing else is special.
// Each piece between two * is searched once, from where the piece before it ended, so there is no backtracking.
func Matches(pattern, name string) bool {
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
