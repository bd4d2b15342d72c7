package test

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// Group 6: text is UTF-8 (RFC 6455 §5.6, §8.1), as RFC 3629 has it: up to U+10FFFF, shortest form, no surrogates. Errors
// are noticed as soon as they arrive, not at the end of the message, until which a server would have to keep garbage.
func textCases() (cases []conformCase) {
	cases = append(cases,
		conformCase{id: "6.1 empty text", send: together(textFrame("")), back: []event{textBack("")}},
		conformCase{id: "6.1 empty text in three fragments", send: [][]byte{firstFrame(ws.OpText, ""), moreFrame(""), lastFrame("")}, back: []event{textBack("")}},
		conformCase{id: "6.1 text between empty fragments", send: [][]byte{firstFrame(ws.OpText, ""), moreFrame("é"), lastFrame("")}, back: []event{textBack("é")}},
	)
	for _, c := range validTexts {
		if !utf8.ValidString(c.text) {
			panic(c.id + ": not valid: the table of the cases is wrong")
		}
		cases = append(cases, validText(c.id, c.text)...)
	}
	for r := 'a'; r <= utf8.MaxRune; r = nextPlane(r) {
		cases = append(cases, validText(fmt.Sprintf("6.22 %U, no character but allowed", r|0xFFFE), string(r|0xFFFE)+string(r|0xFFFF))...)
	}
	for _, c := range invalidTexts() {
		if utf8.ValidString(c.text) {
			panic(c.id + ": valid: the table of the cases is wrong")
		}
		cases = append(cases, invalidText(c.id, c.text)...)
	}
	return append(cases, prefixes("6.6 front of a text", "κ長🙂")...)
}

// nextPlane is the same place in the next of Unicode's planes of 65,536.
func nextPlane(r rune) rune { return r + 0x10000 }

var validTexts = []struct{ id, text string }{
	{"6.2 ASCII", "all of it below 128: \x00\x01\t\x7f~"},
	{"6.2 two, three and four bytes a rune", "Grüße, κόσμε, 組, 🙂, ASCII"},
	{"6.5 a rune of each size and nothing else", "aé組🙂"},
	{"6.7 first rune of one byte", "\x00"},
	{"6.7 first rune of two bytes", "\u0080"},
	{"6.7 first rune of three bytes", "\u0800"},
	{"6.7 first rune of four bytes", "\U00010000"},
	{"6.9 last rune of one byte", "\x7f"},
	{"6.9 last rune of two bytes", "\u07ff"},
	{"6.9 last rune of three bytes", "\uffff"},
	{"6.9 last rune of four bytes", "\U0010ffff"},
	{"6.11 last before the surrogates", "\ud7ff"},
	{"6.11 first behind the surrogates", "\ue000"},
	{"6.11 the replacement character, sent as such", "\ufffd"},
	{"6.22 U+FDD0 to U+FDEF, no characters but allowed", "\ufdd0\ufdd7\ufdd8\ufdef"},
	{"6.23 specials", "\ufff9\ufffa\ufffb\ufffc\ufffd"},
	{"6.23 byte order mark, which is a rune as any", "\ufeffmarked"},
}

// invalidTexts are sequences of bytes that no further bytes can make valid; some begin validly.
func invalidTexts() (texts []struct{ id, text string }) {
	add := func(id, text string) { texts = append(texts, struct{ id, text string }{id, text}) }
	for _, c := range []struct{ id, text string }{
		{"6.3 a surrogate in the midst of a text", "κόσμε\xed\xa0\x80more"},
		{"6.3 a lonely continuation in the midst of a text", "a text\x80and more"},
		{"6.8 first of five bytes", "\xf8\x88\x80\x80\x80"},
		{"6.8 first of six bytes", "\xfc\x84\x80\x80\x80\x80"},
		{"6.10 last of four bytes", "\xf7\xbf\xbf\xbf"},
		{"6.10 last of five bytes", "\xfb\xbf\xbf\xbf\xbf"},
		{"6.10 last of six bytes", "\xfd\xbf\xbf\xbf\xbf\xbf"},
		{"6.11 U+110000, one beyond the last", "\xf4\x90\x80\x80"},
		{"6.12 all continuations", span(0x80, 0xbf)},
		{"6.16 FE", "\xfe"},
		{"6.16 FF", "\xff"},
		{"6.16 FE FE FF FF", "\xfe\xfe\xff\xff"},
		{"6.17 overlong solidus of two bytes", "\xc0\xaf"},
		{"6.17 overlong solidus of three bytes", "\xe0\x80\xaf"},
		{"6.17 overlong solidus of four bytes", "\xf0\x80\x80\xaf"},
		{"6.17 overlong solidus of five bytes", "\xf8\x80\x80\x80\xaf"},
		{"6.17 overlong solidus of six bytes", "\xfc\x80\x80\x80\x80\xaf"},
		{"6.18 greatest overlong of two bytes", "\xc1\xbf"},
		{"6.18 greatest overlong of three bytes", "\xe0\x9f\xbf"},
		{"6.18 greatest overlong of four bytes", "\xf0\x8f\xbf\xbf"},
		{"6.18 greatest overlong of five bytes", "\xf8\x87\xbf\xbf\xbf"},
		{"6.18 greatest overlong of six bytes", "\xfc\x83\xbf\xbf\xbf\xbf"},
		{"6.19 overlong NUL of two bytes", "\xc0\x80"},
		{"6.19 overlong NUL of three bytes", "\xe0\x80\x80"},
		{"6.19 overlong NUL of four bytes", "\xf0\x80\x80\x80"},
		{"6.19 overlong NUL of five bytes", "\xf8\x80\x80\x80\x80"},
		{"6.19 overlong NUL of six bytes", "\xfc\x80\x80\x80\x80\x80"},
	} {
		add(c.id, c.text)
	}
	for n := 1; n <= 7; n++ {
		add(fmt.Sprintf("6.12 %d continuations of nothing", n), strings.Repeat("\x80\xbf", n)[:n])
	}
	for lead := 0xc0; lead <= 0xfd; lead++ {
		add(fmt.Sprintf("6.13 %X and then a space", lead), string([]byte{byte(lead), ' '}))
	}
	var all string
	for _, s := range []string{
		"\xc2", "\xe0\xa0", "\xf0\x90\x80", "\xf8\x88\x80\x80", "\xfc\x84\x80\x80\x80", // the first of each size
		"\xdf", "\xef\xbf", "\xf4\x8f\xbf", "\xfb\xbf\xbf\xbf", "\xfd\xbf\xbf\xbf\xbf", // and the last
	} {
		add(fmt.Sprintf("6.14 % X without its last byte", s), s+"x")
		all += s
	}
	add("6.15 sequences without their last bytes, one behind the other", all)
	high, low := []string{"\xed\xa0\x80", "\xed\xad\xbf", "\xed\xae\x80", "\xed\xaf\xbf"}, []string{"\xed\xb0\x80", "\xed\xbe\x80", "\xed\xbf\xbf"}
	for _, s := range append(high, low...) {
		add(fmt.Sprintf("6.20 surrogate % X", s), s)
	}
	for _, h := range high {
		for _, l := range []string{low[0], low[2]} {
			add(fmt.Sprintf("6.21 pair of surrogates % X", h+l), h+l)
		}
	}
	return texts
}

// span is the bytes from a to z.
func span(a, z byte) string {
	var b []byte
	for c := int(a); c <= int(z); c++ {
		b = append(b, byte(c))
	}
	return string(b)
}

// validText comes whole, in fragments of one byte, and byte by byte: the result must not depend on where a rune is split.
func validText(id, s string) []conformCase {
	back := []event{textBack(s)}
	return []conformCase{
		{id: id + ", whole", send: together(textFrame(s)), back: back},
		{id: id + ", in fragments of a byte", send: fragments(ws.OpText, s, 1), back: back},
		{id: id + ", a write per byte", send: chopped(1, textFrame(s)), back: back},
		{id: id + ", as a binary", send: together(binaryFrame(s)), back: []event{binaryBack(s)}},
	}
}

// invalidText comes whole, and in ways in which the end of the message never comes: the fault must be reported all the same.
// In a binary message it is no fault.
func invalidText(id, s string) []conformCase {
	const behind = "never sent"
	announced := allBut(textFrame(s+behind), len(behind))
	bytewise := fragments(ws.OpText, s+behind, 1)[:len(s)]
	return []conformCase{
		{id: id + ", whole", send: together(textFrame(s)), code: 1007},
		{id: id + ", in a frame that does not end", send: together(announced), code: 1007},
		{id: id + ", in a frame that does not end, a write per byte", send: chopped(1, announced), code: 1007},
		{id: id + ", in a fragment that is not the last", send: together(firstFrame(ws.OpText, s)), code: 1007},
		{id: id + ", in fragments of a byte without a last one", send: bytewise, code: 1007},
		{id: id + ", in the last fragment", send: [][]byte{firstFrame(ws.OpText, "good so far: é"), lastFrame(s)}, code: 1007},
		{id: id + ", as a binary", send: together(binaryFrame(s)), back: []event{binaryBack(s)}},
	}
}

// prefixes are all fronts of a text: valid where a rune has ended, else a partial rune at the end of the message.
func prefixes(id, s string) (cases []conformCase) {
	for n := 1; n <= len(s); n++ {
		if front := s[:n]; utf8.ValidString(front) {
			cases = append(cases, validText(fmt.Sprintf("%s, %d bytes", id, n), front)...)
		} else {
			cases = append(cases,
				conformCase{id: fmt.Sprintf("%s, %d bytes, whole", id, n), send: together(textFrame(front)), code: 1007},
				conformCase{id: fmt.Sprintf("%s, %d bytes, in fragments of a byte", id, n), send: fragments(ws.OpText, front, 1), code: 1007},
				conformCase{id: fmt.Sprintf("%s, %d bytes, before an empty last fragment", id, n), send: [][]byte{firstFrame(ws.OpText, front), lastFrame("")}, code: 1007},
			)
		}
	}
	return cases
}
