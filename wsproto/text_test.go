package wsproto

import (
	"testing"
	"unicode/utf8"
)

func TestTextIsJudgedTheSameHoweverItIsCut(t *testing.T) {
	for _, text := range []string{
		"", "plain", "組😀é", "\u07ff\u0800\uffff\U00010000\U0010ffff", "\ufffd",
		"\xff", "a\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5",
		"\xe7\xb5", "\xf0\x9f\x98", "\xc3", "a\x80", "\xe7\xb5a", "組\xc3(",
		"a text of more than sixteen bytes with a 組 and then \xf0\x9f more",
	} {
		for first := 0; first <= len(text); first++ {
			for second := first; second <= len(text); second++ {
				var c textChecker
				got := c.add([]byte(text[:first])) && c.add([]byte(text[first:second])) && c.add([]byte(text[second:])) && c.atBorder()
				if want := utf8.ValidString(text); got != want {
					t.Errorf("%q cut at %d and %d: got %v, want %v", text, first, second, got, want)
				}
			}
		}
	}
}

func TestTextFailsAtTheFirstByteThatCannotBeMended(t *testing.T) {
	for _, test := range []struct {
		text string
		at   int // the byte that decides
	}{
		{"ab\xff", 2}, {"\xc0", 0}, {"\xc1", 0}, {"\xe0\x80", 1}, {"\xed\xa0", 1}, {"\xf0\x8f", 1}, {"\xf4\x90", 1},
		{"\xf5", 0}, {"組\xe7\xb5\x41", 5}, {"\xf0\x9f\x98\x20", 3}, {"\x80", 0},
	} {
		for i := range len(test.text) {
			var c textChecker
			if got, want := c.add([]byte(test.text[:i+1])), i < test.at; got != want {
				t.Errorf("%q after %d bytes: got %v, want %v", test.text, i+1, got, want)
			}
		}
	}
}
