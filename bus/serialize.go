package bus

import (
	"bytes"
	"math"
	"strconv"
)

// This file reads the text that PHP's serialize() makes. It finds where the values are and constructs nothing, least of all
// objects: the original passes bytes from the network to unserialize(), which lets a peer choose the classes that are
// instantiated.
//
//	N;   b:0;   i:5;   d:0.5;   s:<bytes>:"…";   a:<entries>:{key value …}
//	O:<bytes>:"class":<entries>:{key value …}   C:<bytes>:"class":<bytes>:{…}   E:<bytes>:"Class:Case";   R:<slot>;   r:<slot>;

// kind is what a value is.
type kind uint8

const (
	kindNull kind = iota
	kindBool
	kindInt
	kindFloat
	kindString
	kindArray
	kindObject    // O, C, E
	kindReference // R, r
)

// value is one value in place. Its slices are the text's memory.
type value struct {
	kind kind
	raw  []byte // the whole of it, as serialized
	text []byte // a string's bytes, a float's text, an array's entries
	num  int64  // an int; a bool as 0 or 1; how many entries an array has
}

// depthMax bounds the nesting of arrays; PHP's unserialize has the same bound.
const depthMax = 4096

// entryBytesMin is the shortest entry, i:0;N; and so bounds the count of entries that a text can have.
const entryBytesMin = 6

// scanner reads the values of a serialized text, in order, in time and memory bounded by the length of the text.
type scanner struct {
	p  []byte
	at int

	// References name a value by its place among all values before it, keys not counted: its slot.
	slot    int // of the last value
	lowest  int // references to slots below this one are errors; 0: so are all references, and objects
	refs    bool
	customs bool                        // a C:, which may contain references that cannot be found
	moved   func(from, to int, ref int) // called for each reference with the place of its number; may be nil
	open    []int                       // entries still to come, of each array and object that is open
}

var errSyntax = badFrame{"not what PHP serializes"}

// value reads one value to its end.
func (s *scanner) value() (value, error) {
	from, base := s.at, len(s.open)
	v, err := s.head()
	for err == nil && len(s.open) > base {
		left := &s.open[len(s.open)-1]
		if *left == 0 {
			s.open = s.open[:len(s.open)-1]
			err = s.want('}')
			continue
		}
		*left--
		if _, err = s.key(); err == nil {
			_, err = s.head()
		}
	}
	if err != nil {
		return value{}, err
	}
	v.raw = s.p[from:s.at]
	if v.kind == kindArray {
		v.text = v.raw[bytes.IndexByte(v.raw, '{')+1 : len(v.raw)-1]
	}
	return v, nil
}

// key reads an array's key: an integer or a string, which does not count as a value and has no slot.
func (s *scanner) key() (value, error) {
	if s.at < len(s.p) && (s.p[s.at] == 'i' || s.p[s.at] == 's') {
		s.slot--
		return s.head()
	}
	return value{}, errSyntax
}

// array reads an array's head; the caller reads its entries with key and value, and ends it with closing.
func (s *scanner) array() (entries int, err error) {
	v, err := s.head()
	if err == nil && v.kind != kindArray {
		err = errSyntax
	}
	if err != nil {
		return 0, err
	}
	return int(v.num), nil
}

func (s *scanner) closing() error {
	s.open = s.open[:len(s.open)-1]
	return s.want('}')
}

// head reads a value, of an array or object only what comes before its first entry.
func (s *scanner) head() (v value, err error) {
	if s.at+1 >= len(s.p) {
		return v, errSyntax
	}
	letter, second := s.p[s.at], s.p[s.at+1]
	s.at++
	if letter != 'R' {
		s.slot++
	}
	if letter == 'N' {
		return value{kind: kindNull}, s.want(';')
	}
	if second != ':' {
		return v, errSyntax
	}
	s.at++
	switch letter {
	case 'b':
		v.kind = kindBool
		v.num, err = s.number(0, 1, ';')
	case 'i':
		v.kind = kindInt
		v.num, err = s.number(math.MinInt64, math.MaxInt64, ';')
	case 'd':
		v.kind = kindFloat
		v.text, err = s.float()
	case 's':
		v.kind = kindString
		if v.text, err = s.quoted(); err == nil {
			err = s.want(';')
		}
	case 'a':
		v.kind = kindArray
		v.num, err = s.entries()
	case 'O', 'C', 'E', 'R', 'r':
		if s.lowest == 0 {
			return v, badFrame{"an object or a reference where none is allowed"}
		}
		v.kind, err = s.unusual(letter)
	default:
		err = errSyntax
	}
	return v, err
}

// unusual reads the rest of a value of a kind that only occurs in published data.
func (s *scanner) unusual(letter byte) (kind, error) {
	switch letter {
	case 'R', 'r':
		from := s.at
		last := s.slot
		if letter == 'r' {
			last-- // it has a slot itself
		}
		ref, err := s.number(0, math.MaxInt32, ';')
		if err == nil && (int(ref) < s.lowest || int(ref) > last) {
			err = badFrame{"a reference to nothing"}
		}
		if s.refs = true; err == nil && s.moved != nil {
			s.moved(from, s.at-1, int(ref))
		}
		return kindReference, err
	}
	if _, err := s.quoted(); err != nil {
		return kindObject, err
	}
	switch letter {
	case 'O':
		if err := s.want(':'); err != nil {
			return kindObject, err
		}
		_, err := s.entries()
		return kindObject, err
	case 'C':
		s.customs = true
		if err := s.want(':'); err != nil {
			return kindObject, err
		}
		_, err := s.sized('{', '}')
		return kindObject, err
	default:
		return kindObject, s.want(';')
	}
}

// entries reads <count>:{ and opens what it counts.
func (s *scanner) entries() (int64, error) {
	n, err := s.number(0, int64(len(s.p)-s.at)/entryBytesMin, ':')
	if err != nil {
		return 0, err
	}
	if len(s.open) >= depthMax {
		return 0, badFramef("arrays nested deeper than %d", depthMax)
	}
	s.open = append(s.open, int(n))
	return n, s.want('{')
}

// quoted reads <bytes>:"…".
func (s *scanner) quoted() ([]byte, error) { return s.sized('"', '"') }

func (s *scanner) sized(before, after byte) ([]byte, error) {
	n, err := s.number(0, int64(len(s.p)-s.at), ':')
	if err != nil {
		return nil, err
	}
	if err := s.want(before); err != nil {
		return nil, err
	}
	if n > int64(len(s.p)-s.at) {
		return nil, errSyntax
	}
	text := s.p[s.at : s.at+int(n)]
	s.at += int(n)
	return text, s.want(after)
}

// number reads a decimal integer and the byte that ends it.
func (s *scanner) number(least, most int64, end byte) (int64, error) {
	from, negative := s.at, false
	if from < len(s.p) && (s.p[from] == '-' || s.p[from] == '+') {
		negative = s.p[from] == '-'
		s.at++
	}
	first := s.at
	var n uint64
	for ; s.at < len(s.p) && isDigit(s.p[s.at]); s.at++ {
		if n > math.MaxInt64/10 {
			return 0, errSyntax
		}
		n = n*10 + uint64(s.p[s.at]-'0')
	}
	limit := uint64(math.MaxInt64)
	if negative {
		limit++
	}
	if s.at == first || n > limit || first > from && least >= 0 {
		return 0, errSyntax
	}
	signed := int64(n)
	if negative {
		signed = -signed
	}
	if signed < least || signed > most {
		return 0, errSyntax
	}
	return signed, s.want(end)
}

// float reads a decimal number, INF, -INF or NAN.
func (s *scanner) float() ([]byte, error) {
	n := bytes.IndexByte(s.p[s.at:], ';')
	if n < 0 {
		return nil, errSyntax
	}
	text := s.p[s.at : s.at+n]
	s.at += n + 1
	switch string(text) {
	case "INF", "-INF", "NAN":
		return text, nil
	}
	rest, digits := bytes.TrimLeft(text[signBytes(text):], "0123456789"), 0
	digits = len(text) - signBytes(text) - len(rest)
	if len(rest) > 0 && rest[0] == '.' {
		after := bytes.TrimLeft(rest[1:], "0123456789")
		digits += len(rest) - 1 - len(after)
		rest = after
	}
	if digits == 0 {
		return nil, errSyntax
	}
	if len(rest) > 0 && (rest[0] == 'e' || rest[0] == 'E') {
		rest = rest[1:]
		rest = rest[signBytes(rest):]
		if len(rest) == 0 {
			return nil, errSyntax
		}
		rest = bytes.TrimLeft(rest, "0123456789")
	}
	if len(rest) > 0 {
		return nil, errSyntax
	}
	return text, nil
}

func signBytes(p []byte) int {
	if len(p) > 0 && (p[0] == '-' || p[0] == '+') {
		return 1
	}
	return 0
}

func (s *scanner) want(b byte) error {
	if s.at >= len(s.p) || s.p[s.at] != b {
		return errSyntax
	}
	s.at++
	return nil
}

func isDigit(b byte) bool { return '0' <= b && b <= '9' }

// each calls f with every entry of an array that has been read; false from f ends it.
func (v value) each(f func(key, of value) bool) {
	s := scanner{p: v.text, lowest: 1, slot: math.MaxInt32} // it has been checked before, in place
	for range v.num {
		key, err := s.key()
		if err != nil {
			return
		}
		of, err := s.value()
		if err != nil || !f(key, of) {
			return
		}
	}
}

// renumber adds delta to the number of each reference in a value that has been read.
func renumber(raw []byte, delta int) []byte {
	s := scanner{p: raw, lowest: 1, slot: math.MaxInt32 / 2}
	var out []byte
	done := 0
	s.moved = func(from, to, ref int) {
		out = append(out, raw[done:from]...)
		out = strconv.AppendInt(out, int64(ref+delta), 10)
		done = to
	}
	if _, err := s.value(); err != nil {
		return raw
	}
	return append(out, raw[done:]...)
}

func appendString(dst []byte, text []byte) []byte {
	dst = append(dst, "s:"...)
	dst = strconv.AppendInt(dst, int64(len(text)), 10)
	dst = append(dst, `:"`...)
	dst = append(dst, text...)
	return append(dst, `";`...)
}
