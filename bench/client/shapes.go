package client

import "bytes"

// shapes are what stands around the texts of pushes. A generator takes ten million small deliveries a second, of which a JSON
// decoder would leave half a million. But servers write the same bytes around every text of one channel and publisher. So the first
// push of each shape is decoded, and what has the same bytes before and after its text is, but for the text, the same JSON.
//
//	{"push":{"channel":"g","pub":{"data":"  text  ","info":{"user":"","client":"…"}}}}
//	└────────────── head ──────────────┘        └────────────── tail ──────────────┘
type shapes struct {
	last  *shape // of the push before
	all   map[string]*shape
	count int // tails of all
}

// shape is a head and the tails that were seen with it: together they say by which group a text comes.
type shape struct {
	head  string
	last  *tail // of the push before
	tails map[string]*tail
}

type tail struct {
	text  string
	group int
}

const (
	// shapesMax bounds the memory of shapes, to about 30 MB: where each push has a tail of its own, as with offsets, old ones go.
	shapesMax = 1 << 17
	// headMax bounds the search for the text: a group's name has up to 255 bytes.
	headMax = 512

	dataKey = `"data":"`
)

// read finds the text of a push of a known shape at the start of b, and the group whose channel it came by. size is how many
// bytes the push has with the end of its line; 0: the line needs the decoder.
func (s *shapes) read(b []byte) (text []byte, group, size int) {
	head := s.last
	if head == nil || len(b) < len(head.head) || string(b[:len(head.head)]) != head.head {
		at := bytes.Index(b[:min(len(b), headMax)], []byte(dataKey))
		if at < 0 {
			return nil, 0, 0
		}
		if head = s.all[string(b[:at+len(dataKey)])]; head == nil {
			return nil, 0, 0
		}
		s.last = head
	}
	from := len(head.head)
	end := bytes.IndexByte(b[from:], '"')
	if end < 0 {
		return nil, 0, 0
	}
	text, end = b[from:from+end], from+end
	if bytes.IndexByte(text, '\\') >= 0 {
		return nil, 0, 0
	}
	rest, known := b[end:], head.last
	if n := len(known.text); len(rest) < n || string(rest[:n]) != known.text || len(rest) > n && rest[n] != '\n' {
		if n = bytes.IndexByte(rest, '\n'); n < 0 {
			n = len(rest)
		}
		if known = head.tails[string(rest[:n])]; known == nil {
			return nil, 0, 0
		}
		head.last = known
	}
	size = end + len(known.text)
	if size < len(b) {
		size++ // the end of the line
	}
	return text, known.group, size
}

// learn remembers the shape of a decoded push.
func (s *shapes) learn(line []byte, text string, group int) {
	at := bytes.Index(line[:min(len(line), headMax)], []byte(dataKey))
	if at < 0 {
		return // it has spaces or escapes, or a very long head: it is decoded each time
	}
	head, rest := line[:at+len(dataKey)], line[at+len(dataKey):]
	end := bytes.IndexByte(rest, '"')
	if end < 0 || string(rest[:end]) != text || bytes.Count(line, rest[:end]) != 1 || bytes.IndexByte(line, '\\') >= 0 {
		return // only a text that is there once, with no escape that could hide it elsewhere, is surely the one of the push
	}
	if s.count >= shapesMax || s.all == nil {
		s.all, s.count, s.last = map[string]*shape{}, 0, nil
	}
	known := s.all[string(head)]
	if known == nil {
		known = &shape{head: string(head), tails: map[string]*tail{}}
		s.all[known.head] = known
	}
	known.last = &tail{string(rest[end:]), group}
	known.tails[known.last.text] = known.last
	s.count++
}
