package wsproto

import "unicode/utf8"

// textChecker validates UTF-8 that arrives in pieces. It fails at the first byte after
// which no continuation could make the text valid (RFC 6455 §8.1 lets us fail as soon as
// we know), so a megabyte of garbage is refused at its first kilobyte. The zero value
// is ready for the start of a text.
type textChecker struct {
	tail    [utf8.UTFMax]byte // the front of a rune whose rest has not arrived
	tailLen int
}

// add takes the next piece and reports whether the text may still become valid. After a
// false the checker must not be used again.
func (c *textChecker) add(p []byte) bool {
	for c.tailLen > 0 {
		if len(p) == 0 {
			return true
		}
		c.tail[c.tailLen] = p[0]
		c.tailLen++
		p = p[1:]
		// FullRune is also true for a prefix that cannot become valid, such as that of a
		// surrogate or of an overlong form; DecodeRune then reports an error.
		if front := c.tail[:c.tailLen]; utf8.FullRune(front) {
			if _, size := utf8.DecodeRune(front); size != len(front) {
				return false
			}
			c.tailLen = 0
		}
	}
	// Whole runes go through the standard library's check, which checks ASCII a word
	// at a time; only the last rune can be partial, so only three bytes are looked at.
	end := len(p)
	for i := len(p) - 1; i >= 0 && i >= len(p)-utf8.UTFMax+1; i-- {
		if utf8.RuneStart(p[i]) {
			if !utf8.FullRune(p[i:]) {
				end = i
			}
			break
		}
	}
	if !utf8.Valid(p[:end]) {
		return false
	}
	c.tailLen = copy(c.tail[:], p[end:])
	return true
}

// atBorder reports whether the text so far ends with a complete rune, as a message must.
func (c *textChecker) atBorder() bool { return c.tailLen == 0 }
