package dialect

import "slices"

// keyBytesMax is the longest key that any command has, in bytes.
const keyBytesMax = len("presence_stats")

// scratchBytesKept is the largest scratch memory that the next command uses again. Only texts with escapes need any, and a large
// one must not keep memory for ever.
const scratchBytesKept = 64 << 10

// objectReader reads the JSON objects that commands are, in place. The zero value is ready for use.
//
// Owner: one goroutine at a time.
type objectReader struct {
	scratch []byte // what has escapes, decoded
	scanner jsonScanner
}

// reset forgets the texts of the command before.
func (r *objectReader) reset() {
	if cap(r.scratch) > scratchBytesKept {
		r.scratch = nil
	}
	r.scratch = r.scratch[:0]
}

// object is a JSON object whose members are read one after the other. Their keys and values share the text's memory or lie in the
// reader's scratch.
type object struct {
	reader *objectReader
	text   []byte
	keyMax int    // a key of more bytes is none that counts
	at     int    // of the brace or the comma before the next member, or of the closing brace; bad: the text is no such object
	key    []byte // that of the member, decoded; nil: it is longer than any that counts
	value  []byte // its JSON text
}

// object is the one object that b must be, with nothing but space around it. That its bytes are UTF-8 is for the caller to check.
// A reader reads one object at a time.
func (r *objectReader) object(b []byte) object { return r.objectOf(b, keyBytesMax) }

// objectOf is object for one whose keys count up to another length.
func (r *objectReader) objectOf(b []byte, keyMax int) object {
	o := object{reader: r, text: b, keyMax: keyMax, at: bad}
	if i := skipSpace(b, 0); i < len(b) && b[i] == '{' {
		r.scanner.depth = 0
		r.scanner.open(true)
		o.at = i
	}
	return o
}

// next reads the next member; false: there is none, or what there is is not valid.
func (o *object) next() bool {
	if o.at == bad {
		return false
	}
	b, i := o.text, skipSpace(o.text, o.at+1)
	if b[o.at] == '{' && i < len(b) && b[i] == '}' {
		o.at, i = i, skipSpace(b, i+1)
	}
	if b[o.at] != '}' {
		o.at = o.member(i)
		return o.at != bad
	}
	if i != len(b) {
		o.at = bad
	}
	return false
}

// valid reports, once next has returned false, whether the text was one valid object. Until then nothing of it counts.
func (o *object) valid() bool { return o.at != bad }

// member reads the member at i, and returns the position of the comma or the brace behind it.
func (o *object) member(i int) int {
	b, key := o.text, i
	end, escaped := scanString(b, key)
	if i = scanColon(b, end); i == bad {
		return bad
	}
	start := skipSpace(b, i)
	if i = o.reader.scanner.value(b, start); i == bad {
		return bad
	}
	o.key, o.value = nil, b[start:i:i]
	// A key that is too long to be one that counts even if all of it were \u escapes is not decoded, so that keys cannot fill the
	// scratch.
	if end-key <= 6*o.keyMax+2 {
		o.key = o.reader.inside(b[key:end], escaped)
	}
	if i = skipSpace(b, i); i >= len(b) || b[i] != ',' && b[i] != '}' {
		return bad
	}
	return i
}

// name is the group's name that a JSON string stands for.
func (r *objectReader) name(value []byte) (group []byte, ok bool) {
	return r.short(value, GroupBytesMax)
}

// short is the text of 1 to most bytes that a JSON string stands for.
func (r *objectReader) short(value []byte, most int) (text []byte, ok bool) {
	// Every byte of a text takes at most six bytes of JSON text (a \u escape), and the
	// quotes two: more cannot fit, and need not be decoded to know.
	if !isString(value) || len(value) > 6*most+2 {
		return nil, false
	}
	text = r.text(value)
	return text, len(text) >= 1 && len(text) <= most
}

// message is what members receive: the text of a string, the JSON text of anything else.
func (r *objectReader) message(value []byte) (message []byte, json bool) {
	if isString(value) {
		return r.text(value), false
	}
	return value, true
}

// text decodes a JSON string.
func (r *objectReader) text(value []byte) []byte {
	return r.inside(value, plainPrefix(value[1:]) < len(value)-2)
}

// inside is the text of a JSON string: the bytes between the quotes if there are no
// escapes, else their decoded form in the scratch. What it returned before stays valid
// until the next reset even if the scratch grows, because growing copies.
func (r *objectReader) inside(value []byte, escaped bool) []byte {
	raw := value[1 : len(value)-1]
	if !escaped {
		return raw
	}
	start := len(r.scratch)
	r.scratch = slices.Grow(r.scratch, len(raw)) // decoding never lengthens
	r.scratch = appendUnescaped(r.scratch, raw)
	return r.scratch[start:len(r.scratch):len(r.scratch)]
}
