package door

import (
	"regexp"
	"strings"
	"testing"
)

// Every pattern and name of a few letters, against the same pattern as a regular expression.
func TestPatternsMatchAsRegularExpressionsDo(t *testing.T) {
	var words func(letters string, n int) []string
	words = func(letters string, n int) []string {
		if n == 0 {
			return []string{""}
		}
		all := words(letters, n-1)
		for _, w := range all {
			if len(w) == n-1 {
				for _, l := range letters {
					all = append(all, w+string(l))
				}
			}
		}
		return all
	}
	names := words("ab", 6)
	for _, pattern := range words("ab*", 5) {
		want := regexp.MustCompile("^" + strings.ReplaceAll(pattern, "*", ".*") + "$")
		for _, name := range names {
			if got := Matches(pattern, name); got != want.MatchString(name) {
				t.Fatalf("%q against %q: got %v", name, pattern, got)
			}
		}
	}
}
