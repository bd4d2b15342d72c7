package dialect

// quotedBytes is the length of what appendQuoted appends.
func quotedBytes(text []byte) int {
	n := len(`""`) + len(text)
	for i := plainPrefix(text); i < len(text); i += 1 + plainPrefix(text[i+1:]) {
		if shortEscape(text[i]) != 0 {
			n += len(`\n`) - 1
		} else {
			n += len(`\u0000`) - 1
		}
	}
	return n
}

// appendQuoted appends a JSON string (RFC 8259 §7) that stands for text, which is UTF-8. Only what must be escaped is.
func appendQuoted(dst, text []byte) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for {
		i := plainPrefix(text)
		dst = append(dst, text[:i]...)
		if i == len(text) {
			return append(dst, '"')
		}
		if c := text[i]; shortEscape(c) != 0 {
			dst = append(dst, '\\', shortEscape(c))
		} else {
			dst = append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
		text = text[i+1:]
	}
}

// shortEscape is the letter that stands behind the backslash for c; 0: there is none.
func shortEscape(c byte) byte {
	switch c {
	case '"', '\\':
		return c
	case '\b':
		return 'b'
	case '\f':
		return 'f'
	case '\n':
		return 'n'
	case '\r':
		return 'r'
	case '\t':
		return 't'
	}
	return 0
}

// oneLineBytes is the length of what appendOneLine appends.
func oneLineBytes(json []byte) int {
	n := len(json)
	for _, c := range json {
		if isLineBreak(c) {
			n--
		}
	}
	return n
}

// appendOneLine appends valid JSON without its line breaks. They can only stand between tokens, where no space is needed, since in
// a string they are escaped; so what it means is the same.
func appendOneLine(dst, json []byte) []byte {
	start := 0
	for i, c := range json {
		if isLineBreak(c) {
			dst = append(dst, json[start:i]...)
			start = i + 1
		}
	}
	return append(dst, json[start:]...)
}

func isLineBreak(c byte) bool { return c == '\n' || c == '\r' }
