package wsproto

import (
	"bytes"
	"math/big"
	"slices"
	"testing"
	"unicode/utf8"
)

// slowRead is the oracle: what RFC 6455 demands of a server, written a second time on the
// whole stream, byte by byte, without the code of the reader or the library. It returns
// the kinds, codes and payloads; sentences are not compared.
func slowRead(stream []byte, messageBytesMax int, deflates bool) (events []Event) {
	fail := func(code StatusCode) []Event { return append(events, Event{Kind: EventFail, Code: code}) }
	var message []byte
	opened := byte(0) // opcode of the message whose fragments are being read
	compressed := false
	for len(stream) > 0 {
		first := stream[0]
		final, op := first >= 0x80, first%16
		control := op >= 8
		switch {
		case first/16%8 == 4 && deflates && (op == 1 || op == 2) && opened == 0:
			compressed = true
		case first/16%8 != 0: // RSV
			return fail(1002)
		case op == 1 || op == 2:
			compressed = false // or it is refused below
		}
		switch {
		case op != 0 && op != 1 && op != 2 && op != 8 && op != 9 && op != 10:
			return fail(1002)
		case control && !final:
			return fail(1002)
		case op == 0 && opened == 0:
			return fail(1002)
		case (op == 1 || op == 2) && opened != 0:
			return fail(1002)
		}
		if len(stream) < 2 {
			return events
		}
		second := stream[1]
		if second < 0x80 {
			return fail(1002)
		}
		form := int(second % 128)
		if control && form > 125 || op == 8 && form == 1 {
			return fail(1002)
		}
		extended := map[int]int{126: 2, 127: 8}[form]
		if extended == 8 && len(stream) > 2 && stream[2] >= 0x80 {
			return fail(1002)
		}
		if len(stream) < 2+extended {
			return events
		}
		length := big.NewInt(int64(form))
		if extended > 0 {
			length.SetBytes(stream[2 : 2+extended])
		}
		if extended == 2 && length.Cmp(big.NewInt(126)) < 0 || extended == 8 && length.Cmp(big.NewInt(65536)) < 0 {
			return fail(1002)
		}
		total := new(big.Int).Add(length, big.NewInt(int64(len(message))))
		bound := messageBytesMax
		if compressed {
			bound += messageBytesMax/16 + 64
		}
		if !control && total.Cmp(big.NewInt(int64(bound))) > 0 {
			return fail(1009)
		}
		if len(stream) < 2+extended+4 {
			return events
		}
		mask := stream[2+extended : 2+extended+4]
		body := stream[2+extended+4:]
		whole := int64(len(body)) >= length.Int64()
		if whole {
			body = body[:length.Int64()]
		}
		stream = stream[2+extended+4+len(body):]
		plain := make([]byte, len(body))
		for i := range body {
			plain[i] = body[i] ^ mask[i%4]
		}

		switch op {
		case 8:
			if len(plain) >= 2 {
				code := StatusCode(int(plain[0])*256 + int(plain[1]))
				known := []StatusCode{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014}
				if !slices.Contains(known, code) && (code < 3000 || code > 4999) {
					return fail(1002)
				}
				if !mayBecomeText(plain[2:], whole) {
					return fail(1007)
				}
				if whole {
					return append(events, Event{Kind: EventClose, Code: code, Payload: plain[2:]})
				}
			} else if whole {
				return append(events, Event{Kind: EventClose})
			}
		case 9, 10:
			if whole {
				events = append(events, Event{Kind: map[byte]EventKind{9: EventPing, 10: EventPong}[op], Payload: plain})
			}
		default:
			if op != 0 {
				opened = op
			}
			message = append(message, plain...)
			if compressed && whole && final {
				var code StatusCode
				if message, code = slowInflate(message, messageBytesMax); code != 0 {
					return fail(code)
				}
			}
			if opened == 1 && (!compressed || whole && final) && !mayBecomeText(message, whole && final) {
				return fail(1007)
			}
			if whole && final {
				events = append(events, Event{Kind: map[byte]EventKind{1: EventText, 2: EventBinary}[opened], Payload: message, Deflated: compressed})
				message, opened, compressed = nil, 0, false
			}
		}
		if !whole {
			return events
		}
	}
	return events
}

// mayBecomeText tries whether some continuation makes b valid UTF-8.
func mayBecomeText(b []byte, ended bool) bool {
	if utf8.Valid(b) {
		return true
	}
	if ended {
		return false
	}
	suffixes := [][]byte{{}}
	for range 3 {
		var longer [][]byte
		for _, suffix := range suffixes {
			// One continuation byte of each range that some first byte asks for.
			for _, c := range []byte{0x80, 0x90, 0xa0} {
				longer = append(longer, append(slices.Clone(suffix), c))
			}
		}
		for _, suffix := range longer {
			if utf8.Valid(slices.Concat(b, suffix)) {
				return true
			}
		}
		suffixes = longer
	}
	return false
}

// splits cuts p where the bytes of cuts say.
func splits(p, cuts []byte) (pieces [][]byte) {
	for _, cut := range cuts {
		if len(p) == 0 {
			break
		}
		size := min(int(cut)%64, len(p))
		pieces = append(pieces, p[:size])
		p = p[size:]
	}
	return append(pieces, p)
}

func FuzzReader(f *testing.F) {
	const messageBytesMax = 300
	many := AppendMaskedFrame(nil, OpText, rfcMask, bytes.Repeat([]byte("組"), 60))
	for _, seed := range [][]byte{
		frame(0x81, "Hello"), frame(0x01, "Hel"), frame(0x88, "\x03\xe8bye"), frame(0x88, ""), frame(0xc1, "x"), many,
		slices.Concat(frame(0x01, "\xe7\xb5"), frame(0x89, "ping"), frame(0x00, ""), frame(0x80, "\x84"), frame(0x88, "\x0f\xa0")),
		slices.Concat(frame(0x02, string(make([]byte, 200))), frame(0x80, string(make([]byte, 101)))),
		slices.Concat(frame(0x81, "a"), frame(0x82, "b"), frame(0x8a, "c"), frame(0x81, "\xed\xa0\x80")),
		unhex(f, "82 ff 00 00 00 00 00 01 00 00 01 02 03 04"), unhex(f, "81 fe 00 7d 00 00 00 00"), unhex(f, "81 ff 80"),
	} {
		f.Add(seed, []byte{1, 2, 3, 5, 8, 13, 21}, false)
		f.Add(seed, []byte{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}, true)
	}
	f.Fuzz(func(t *testing.T, stream, cuts []byte, unmask bool) {
		if unmask {
			// Half of the runs have masks of zero, so that the fuzzer's bytes are the
			// payload and it can find its way through UTF-8 and close codes.
			stream = zeroMasks(stream)
		}
		whole := readAll(t, NewReader(messageBytesMax), stream)

		r := NewReader(messageBytesMax)
		arrived := 0
		var cut []string
		for _, piece := range splits(stream, cuts) {
			cut = append(cut, readAll(t, r, piece)...)
			arrived += len(piece)
			if got, want := r.buffered(), 2*arrived+messageBytesFirst+controlBytesMax; got > want || got > messageBytesMax+controlBytesMax {
				t.Fatalf("after %d bytes: got %d bytes held, want at most %d", arrived, got, want)
			}
		}
		if !slices.Equal(cut, whole) {
			t.Fatalf("cut: got %q, want as whole %q", cut, whole)
		}

		var got, want []Event
		r = NewReader(messageBytesMax)
		for rest := bytes.Clone(stream); len(rest) > 0; {
			n, ev := r.Next(rest)
			if ev.Kind != EventNone {
				ev.Payload, ev.Reason = bytes.Clone(ev.Payload), ""
				got = append(got, ev)
			}
			rest = rest[n:]
		}
		want = slowRead(stream, messageBytesMax, false)
		if !slices.EqualFunc(got, want, func(a, b Event) bool {
			return a.Kind == b.Kind && a.Code == b.Code && bytes.Equal(a.Payload, b.Payload)
		}) {
			t.Fatalf("got %v, want as the oracle %v", got, want)
		}
	})
}

// zeroMasks sets the masking keys in all complete frame headers of a stream to zero.
func zeroMasks(stream []byte) []byte {
	stream = bytes.Clone(stream)
	for rest := stream; len(rest) >= 2; {
		size := 2 + map[byte]int{126: 2, 127: 8}[rest[1]&0x7f]
		length := uint64(rest[1] & 0x7f)
		if len(rest) < size+4 {
			break
		}
		if size > 2 {
			length = new(big.Int).SetBytes(rest[2:size]).Uint64()
		}
		clear(rest[size : size+4])
		rest = rest[size+4:]
		if length > uint64(len(rest)) {
			break
		}
		rest = rest[length:]
	}
	return stream
}
