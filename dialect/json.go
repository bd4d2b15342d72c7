package dialect

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// This file scans JSON (RFC 8259) in place: where a value ends and whether its text is valid, without building it. It is used
// instead of encoding/json because that allocates for every member, and because a message that is not a string is passed on
// exactly as it was sent. Nothing here recurses: open containers are bits in an array, so depth costs no stack.
//
// Each scan function takes the whole text and the position of a value's first byte. It returns the position after its last, or
// bad.

// jsonDepthMax is how deep arrays and objects may stand in each other, the outermost
// being 1: the default of PHP's json_decode, which the original used.
const jsonDepthMax = 512

// bad is what scan functions return for invalid text.
const bad = -1

// jsonNull is the text of a null. Read only.
var jsonNull = []byte("null")

// jsonScanner holds the open containers of one value.
type jsonScanner struct {
	isObject [jsonDepthMax / 64]uint64 // one bit for each open container
	depth    int
}

// value scans one value of any kind. s.depth counts the containers that are open around
// it, so that the caller can be one of them.
func (s *jsonScanner) value(b []byte, i int) int {
	floor := s.depth
	for {
		// Here a value begins.
		i = skipSpace(b, i)
		if i >= len(b) {
			return bad
		}
		switch c := b[i]; c {
		case '{', '[':
			if !s.open(c == '{') {
				return bad
			}
			i = skipSpace(b, i+1)
			if i < len(b) && b[i] == c+2 { // '}' and ']' are two after '{' and '['
				i++
				s.depth--
				break
			}
			if c == '{' {
				if i = scanKey(b, i); i == bad {
					return bad
				}
			}
			continue
		case '"':
			i, _ = scanString(b, i)
		case 't':
			i = scanWord(b, i, "true")
		case 'f':
			i = scanWord(b, i, "false")
		case 'n':
			i = scanWord(b, i, "null")
		default:
			i, _ = scanNumber(b, i)
		}
		if i == bad {
			return bad
		}
		// Here a value has ended: close what ends with it, or go on to the next.
		for {
			if s.depth == floor {
				return i
			}
			i = skipSpace(b, i)
			if i >= len(b) {
				return bad
			}
			inObject := s.inObject()
			if b[i] == ',' {
				i++
				if inObject {
					if i = scanKey(b, skipSpace(b, i)); i == bad {
						return bad
					}
				}
				break
			}
			if inObject && b[i] != '}' || !inObject && b[i] != ']' {
				return bad
			}
			i++
			s.depth--
		}
	}
}

// open opens a container; false: it is too deep.
func (s *jsonScanner) open(isObject bool) bool {
	if s.depth == jsonDepthMax {
		return false
	}
	word, bit := s.depth/64, uint64(1)<<(s.depth%64)
	if isObject {
		s.isObject[word] |= bit
	} else {
		s.isObject[word] &^= bit
	}
	s.depth++
	return true
}

func (s *jsonScanner) inObject() bool {
	innermost := s.depth - 1
	return s.isObject[innermost/64]>>(innermost%64)&1 != 0
}

// scanKey scans a member's name and its colon.
func scanKey(b []byte, i int) int {
	end, _ := scanString(b, i)
	return scanColon(b, end)
}

// scanColon scans the colon after a name that ends at i, which may be bad.
func scanColon(b []byte, i int) int {
	if i == bad {
		return bad
	}
	i = skipSpace(b, i)
	if i >= len(b) || b[i] != ':' {
		return bad
	}
	return i + 1
}

// scanString scans a string, quotes included (RFC 8259 §7), and says whether it has
// escapes. That the bytes are UTF-8 is checked for the whole payload at once elsewhere.
func scanString(b []byte, i int) (end int, escaped bool) {
	if i >= len(b) || b[i] != '"' {
		return bad, false
	}
	i++
	for {
		i += plainPrefix(b[i:])
		if i >= len(b) {
			return bad, false
		}
		switch b[i] {
		case '"':
			return i + 1, escaped
		case '\\':
			escaped = true
			if i = scanEscape(b, i); i == bad {
				return bad, false
			}
		default: // a control character must be escaped
			return bad, false
		}
	}
}

// plainPrefix is the number of bytes in front of the first quote, backslash or control
// character. Messages are long strings, so it looks at eight bytes at a time: each term
// sets the top bit of the bytes it looks for, exact in the lowest such byte, and that is
// the one that counts.
func plainPrefix(b []byte) int {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	i := 0
	for ; i+8 <= len(b); i += 8 {
		w := binary.LittleEndian.Uint64(b[i:])
		quote, slash := w^ones*'"', w^ones*'\\'
		stop := ((w-ones*0x20)&^w | (quote-ones)&^quote | (slash-ones)&^slash) & tops
		if stop != 0 {
			return i + bits.TrailingZeros64(stop)/8
		}
	}
	for ; i < len(b); i++ {
		if c := b[i]; c == '"' || c == '\\' || c < 0x20 {
			break
		}
	}
	return i
}

// scanEscape scans an escape from its backslash on.
func scanEscape(b []byte, i int) int {
	if i+1 >= len(b) {
		return bad
	}
	switch b[i+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i + 2
	case 'u':
		if _, ok := hex4(b, i+2); ok {
			return i + 6
		}
	}
	return bad
}

// scanNumber scans a number and says whether it is an integer literal: no fraction, no
// exponent (RFC 8259 §6).
func scanNumber(b []byte, i int) (end int, integer bool) {
	if i < len(b) && b[i] == '-' {
		i++
	}
	start := i
	i = skipDigits(b, i)
	if i == start || b[start] == '0' && i > start+1 { // no digit, or a leading zero
		return bad, false
	}
	integer = true
	if i < len(b) && b[i] == '.' {
		integer = false
		start = i + 1
		if i = skipDigits(b, start); i == start {
			return bad, false
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		integer = false
		i++
		if i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		start = i
		if i = skipDigits(b, start); i == start {
			return bad, false
		}
	}
	return i, integer
}

func scanWord(b []byte, i int, word string) int {
	if len(b)-i < len(word) || string(b[i:i+len(word)]) != word {
		return bad
	}
	return i + len(word)
}

func skipDigits(b []byte, i int) int {
	for i < len(b) && b[i]-'0' <= 9 {
		i++
	}
	return i
}

// skipSpace skips the four characters that count as space (RFC 8259 §2).
func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\r' || b[i] == '\t') {
		i++
	}
	return i
}

// hex4 reads the four hexadecimal digits of a \u escape.
func hex4(b []byte, i int) (v rune, ok bool) {
	if i+4 > len(b) {
		return 0, false
	}
	for _, c := range b[i : i+4] {
		switch {
		case c-'0' <= 9:
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		v = v<<4 | rune(c)
	}
	return v, true
}

// appendUnescaped appends the text that the inside of a valid JSON string stands for. It
// is never longer than the inside. An unpaired surrogate becomes U+FFFD, as UTF-8 has no encoding for it.
func appendUnescaped(dst, inside []byte) []byte {
	for i := 0; i < len(inside); {
		if plain := plainPrefix(inside[i:]); plain > 0 {
			dst = append(dst, inside[i:i+plain]...)
			i += plain
			continue
		}
		switch c := inside[i+1]; c {
		case 'b':
			dst = append(dst, '\b')
		case 'f':
			dst = append(dst, '\f')
		case 'n':
			dst = append(dst, '\n')
		case 'r':
			dst = append(dst, '\r')
		case 't':
			dst = append(dst, '\t')
		case 'u':
			first, _ := hex4(inside, i+2)
			i += 6
			if !utf16.IsSurrogate(first) {
				dst = utf8.AppendRune(dst, first)
				continue
			}
			pair := utf8.RuneError
			if i+1 < len(inside) && inside[i] == '\\' && inside[i+1] == 'u' {
				second, _ := hex4(inside, i+2)
				pair = utf16.DecodeRune(first, second)
			}
			if pair != utf8.RuneError {
				i += 6
			}
			dst = utf8.AppendRune(dst, pair)
			continue
		default: // a quote, a slash or a backslash stands for itself
			dst = append(dst, c)
		}
		i += 2
	}
	return dst
}
