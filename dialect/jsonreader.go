package dialect

import "iter"

// This file lends what package api needs of the JSON in this one, since what backends say is kept as what clients say is: read in place,
// without building it, and passed on byte for byte. No dialect uses it.

// JSONReader reads JSON objects in place, one after the other. The zero value is ready for use.
//
// Owner: one goroutine at a time.
type JSONReader struct {
	reader objectReader
	object object
}

// Reset forgets all texts. What Text has returned so far is good no more.
func (r *JSONReader) Reset() { r.reader.reset() }

// Open begins with another object: the one that b must be, with nothing but space around it. That its bytes are UTF-8 is for the caller
// to check.
func (r *JSONReader) Open(b []byte) { r.object = r.reader.object(b) }

// Next is the next member; ok is false if there is none, or what there is is not valid. The value is JSON text; both share b's memory, or
// that of r. A key that is longer than any that a command has is nil.
func (r *JSONReader) Next() (key, value []byte, ok bool) {
	ok = r.object.next()
	return r.object.key, r.object.value, ok
}

// Valid reports, once Next has returned false, whether the text was one valid object. Until then nothing of it counts.
func (r *JSONReader) Valid() bool { return r.object.valid() }

// Text is what a JSON string stands for; ok is false if the value is none. A missing one, nil or null, is empty.
func (r *JSONReader) Text(value []byte) (text []byte, ok bool) {
	switch {
	case isMissing(value):
		return nil, true
	case !isString(value):
		return nil, false
	}
	return r.reader.text(value), true
}

// Elements are the elements of a valid JSON value that is an array; none if it is no array.
func Elements(value []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		var s jsonScanner
		if len(value) == 0 || value[0] != '[' {
			return
		}
		s.open(false)
		for i := skipSpace(value, 1); i < len(value) && value[i] != ']'; i = skipSpace(value, i+1) {
			end := s.value(value, i)
			if end == bad || !yield(value[i:end:end]) {
				return
			}
			if i = skipSpace(value, end); i >= len(value) || value[i] != ',' {
				return
			}
		}
	}
}

// IsMissing says whether a member is not there, or null, which is as good.
func IsMissing(value []byte) bool { return isMissing(value) }

// IsJSON says whether b is one valid JSON value, with nothing but space around it. That its bytes are UTF-8 is for the caller to check.
func IsJSON(b []byte) bool {
	var s jsonScanner
	end := s.value(b, 0)
	return end != bad && skipSpace(b, end) == len(b)
}

// Boolean is the value of a member; ok: it is one, or is missing and so false.
func Boolean(value []byte) (is, ok bool) { return boolean(value) }

// Integer is the value of a member; ok: it is an integer literal from least to most, or is missing and so 0.
func Integer(value []byte, least, most int64) (n int64, ok bool) { return integer(value, least, most) }

// OffsetMax is the largest offset that anybody may name.
const OffsetMax = offsetMax

// AppendString appends a JSON string that stands for text, which is UTF-8.
func AppendString(dst, text []byte) []byte { return appendQuoted(dst, text) }

// AppendLine appends valid JSON without its line breaks, so that it means the same.
func AppendLine(dst, json []byte) []byte { return appendOneLine(dst, json) }

// AppendEpoch appends the text by which clients and backends know an epoch.
func AppendEpoch(dst []byte, epoch uint64) []byte { return appendEpoch(dst, epoch) }

// Epoch is the epoch of a text: EpochUnknown if this server has not written it, 0 if there is none.
func Epoch(text []byte) uint64 { return epochOf(text) }
