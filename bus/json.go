package bus

import (
	"math"
	"strconv"
)

// jsonText is a value as JSON, the same as from PHP's json_encode except for its escapes. false: the value cannot be
// encoded, as objects, references, INF and NAN, and what is nested deeper than json_encode allows.
//
// Two passes, each linear in the length of the text: whether an array is a list is known at its end, but is needed for its
// first byte.
func jsonText(v value) (text []byte, ok bool) {
	w := jsonWriter{s: scanner{p: v.raw}}
	if !w.look(0) {
		return nil, false
	}
	w.s = scanner{p: v.raw}
	ok = w.write()
	return w.out, ok
}

// jsonDepthMax is that of PHP's json_encode.
const jsonDepthMax = 512

// jsonWriter reads values that have been checked before, so their contents are valid.
type jsonWriter struct {
	s     scanner
	lists []bool // of each array, in order of their beginnings: its keys count from 0
	out   []byte
}

// look determines which arrays are lists.
func (w *jsonWriter) look(depth int) bool {
	v, err := w.s.head()
	if err != nil || depth > jsonDepthMax {
		return false
	}
	if v.kind != kindArray {
		return true
	}
	at := len(w.lists)
	w.lists = append(w.lists, true)
	for i := range v.num {
		key, err := w.s.key()
		if err != nil || !w.look(depth+1) {
			return false
		}
		w.lists[at] = w.lists[at] && key.kind == kindInt && key.num == i
	}
	return w.s.closing() == nil
}

// write appends one value.
func (w *jsonWriter) write() bool {
	v, err := w.s.head()
	if err != nil {
		return false
	}
	switch v.kind {
	case kindNull:
		w.out = append(w.out, "null"...)
	case kindBool:
		w.out = strconv.AppendBool(w.out, v.num == 1)
	case kindInt:
		w.out = strconv.AppendInt(w.out, v.num, 10)
	case kindFloat:
		f, err := strconv.ParseFloat(string(v.text), 64)
		if err != nil || math.IsInf(f, 0) || math.IsNaN(f) {
			return false
		}
		w.out = strconv.AppendFloat(w.out, f, 'g', -1, 64)
	case kindString:
		w.out = appendJSONString(w.out, v.text)
	default:
		return w.array(v.num)
	}
	return true
}

func (w *jsonWriter) array(entries int64) bool {
	list := w.lists[0]
	w.lists = w.lists[1:]
	begin, end := byte('{'), byte('}')
	if list {
		begin, end = '[', ']'
	}
	w.out = append(w.out, begin)
	for i := range entries {
		key, _ := w.s.key()
		if i > 0 {
			w.out = append(w.out, ',')
		}
		switch {
		case list:
		case key.kind == kindInt:
			w.out = append(w.out, '"')
			w.out = strconv.AppendInt(w.out, key.num, 10)
			w.out = append(w.out, `":`...)
		default:
			w.out = append(appendJSONString(w.out, key.text), ':')
		}
		if !w.write() {
			return false
		}
	}
	w.out = append(w.out, end)
	return w.s.closing() == nil
}

// appendJSONString escapes what must be escaped. UTF-8 is checked where the message is published.
func appendJSONString(dst, text []byte) []byte {
	const hex = "0123456789abcdef"
	dst = append(dst, '"')
	for _, b := range text {
		switch {
		case b == '"' || b == '\\':
			dst = append(dst, '\\', b)
		case b < ' ':
			dst = append(dst, '\\', 'u', '0', '0', hex[b>>4], hex[b&15])
		default:
			dst = append(dst, b)
		}
	}
	return append(dst, '"')
}
