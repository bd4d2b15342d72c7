package client

import (
	"bytes"
	"encoding/json"
)

// shapes are what stands around the texts of pushes. A generator takes ten million small deliveries a second, of which a JSON
// decoder would leave half a million. But servers write the same bytes around every text of one channel and publisher, but for the
// number of an offset, if there is one. So the first push of each shape is decoded, and what has the same bytes before and after
// its text is, but for text and number, the same JSON.
//
//	{"push":{"channel":"g","pub":{"data":"  text  ","info":{"user":"","client":"…"},"offset":  7  }}}
//	└────────────── head ──────────────┘        └───────────────── tail ──────────────────┘     └─┘
type shapes struct {
	last  *shape // of the push before
	all   map[string]*shape
	count int    // tails of all
	key   []byte // of a tail that is looked for
}

// shape is a head and the tails that were seen with it: together they say by which group a text comes.
type shape struct {
	head  string
	last  *tail // of the push before
	tails map[string]*tail
}

// tail is what follows a text: the bytes up to the number of an offset, and those behind it. Without an offset there is but the
// first part.
type tail struct {
	before, behind string
	group          int
}

func (t *tail) numbered() bool { return t.behind != "" }

const (
	// shapesMax bounds the memory of shapes, to about 30 MB: where each push has a tail of its own, old ones go.
	shapesMax = 1 << 17
	// headMax bounds the search for the text: a group's name has up to 255 bytes.
	headMax = 512

	dataKey   = `"data":"`
	offsetKey = `"offset":`
)

// read finds the text of a push of a known shape at the start of b, and where it comes from. size is how many
// bytes the push has with the end of its line; 0: the line needs the decoder.
func (s *shapes) read(b []byte) (text []byte, from Origin, size int) {
	head := s.last
	if head == nil || len(b) < len(head.head) || string(b[:len(head.head)]) != head.head {
		at := bytes.Index(b[:min(len(b), headMax)], []byte(dataKey))
		if at < 0 {
			return nil, Origin{}, 0
		}
		if head = s.all[string(b[:at+len(dataKey)])]; head == nil {
			return nil, Origin{}, 0
		}
		s.last = head
	}
	start := len(head.head)
	end := bytes.IndexByte(b[start:], '"')
	if end < 0 {
		return nil, Origin{}, 0
	}
	text, end = b[start:start+end], start+end
	if bytes.IndexByte(text, '\\') >= 0 {
		return nil, Origin{}, 0
	}
	rest := b[end:]
	offset, n := head.last.fits(rest)
	if n == 0 {
		line := rest
		if at := bytes.IndexByte(rest, '\n'); at >= 0 {
			line = rest[:at]
		}
		known := head.tails[string(s.keyOf(line))]
		if known == nil {
			return nil, Origin{}, 0
		}
		if offset, n = known.fits(rest); n == 0 {
			return nil, Origin{}, 0
		}
		head.last = known
	}
	size = end + n
	if size < len(b) {
		size++ // the end of the line
	}
	return text, Origin{head.last.group, offset}, size
}

// fits says how many bytes of a line the tail has, with which offset; 0: it is another tail.
func (t *tail) fits(rest []byte) (offset uint64, n int) {
	n = len(t.before)
	if len(rest) < n || string(rest[:n]) != t.before {
		return 0, 0
	}
	if t.numbered() {
		digits := 0
		if offset, digits = wholeNumber(rest[n:]); digits == 0 {
			return 0, 0
		}
		n += digits
		if len(rest) < n+len(t.behind) || string(rest[n:n+len(t.behind)]) != t.behind {
			return 0, 0
		}
		n += len(t.behind)
	}
	if len(rest) > n && rest[n] != '\n' {
		return 0, 0
	}
	return offset, n
}

// keyOf is the tail of a line without the number of its offset. It is valid until the next call.
func (s *shapes) keyOf(line []byte) []byte {
	before, behind, _ := splitAtOffset(line)
	s.key = append(append(s.key[:0], before...), behind...)
	return s.key
}

// splitAtOffset takes the number of the first offset out of a tail; behind is empty if there is none.
func splitAtOffset(line []byte) (before, behind []byte, offset uint64) {
	at := bytes.Index(line, []byte(offsetKey))
	if at < 0 {
		return line, nil, 0
	}
	at += len(offsetKey)
	offset, digits := wholeNumber(line[at:])
	if digits == 0 {
		return line, nil, 0
	}
	return line[:at], line[at+digits:], offset
}

// wholeNumber reads a number as JSON has it: no sign, no fraction, no zero before it. Offsets are below 2^53.
func wholeNumber(b []byte) (n uint64, digits int) {
	const digitsMax = 16
	for digits < len(b) && b[digits] >= '0' && b[digits] <= '9' {
		if digits++; digits > digitsMax || digits > 1 && b[0] == '0' {
			return 0, 0
		}
		n = n*10 + uint64(b[digits-1]-'0')
	}
	return n, digits
}

// isOffset says whether the number that so many bytes follow is the offset of the push: with another one in its place the line has
// another offset.
func isOffset(line []byte, behind int) bool {
	at := len(line) - behind
	var said struct{ Push centrifugePush }
	other := append(append(append([]byte{}, line[:at]...), '1'), line[at:]...)
	if json.Unmarshal(other, &said) != nil || said.Push.Pub == nil {
		return false
	}
	digits := bytes.LastIndex(other[:at], []byte(offsetKey)) + len(offsetKey)
	offset, _ := wholeNumber(other[digits : at+1])
	return offset > 0 && said.Push.Pub.Offset == offset
}

// learn remembers the shape of a decoded push.
func (s *shapes) learn(line []byte, text string, from Origin) {
	at := bytes.Index(line[:min(len(line), headMax)], []byte(dataKey))
	if at < 0 {
		return // it has spaces or escapes, or a very long head: it is decoded each time
	}
	head, rest := line[:at+len(dataKey)], line[at+len(dataKey):]
	end := bytes.IndexByte(rest, '"')
	if end < 0 || string(rest[:end]) != text || bytes.Count(line, rest[:end]) != 1 || bytes.IndexByte(line, '\\') >= 0 {
		return // only a text that is there once, with no escape that could hide it elsewhere, is surely the one of the push
	}
	before, behind, offset := splitAtOffset(rest[end:])
	if offset != from.Offset || offset > 0 && !isOffset(line, len(behind)) {
		return
	}
	if s.count >= shapesMax || s.all == nil {
		s.all, s.count, s.last = map[string]*shape{}, 0, nil
	}
	known := s.all[string(head)]
	if known == nil {
		known = &shape{head: string(head), tails: map[string]*tail{}}
		s.all[known.head] = known
	}
	known.last = &tail{string(before), string(behind), from.Group}
	known.tails[string(s.keyOf(rest[end:]))] = known.last
	s.count++
}
