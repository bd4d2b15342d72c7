package test

import (
	"fmt"
	"strings"

	"github.com/gobwas/ws"
)

// Framing as such: lengths, control frames, reserved bits and opcodes, fragments (RFC 6455 §5).

// Group 1: every form of the length, and its limits (§5.2).
func framingCases() (cases []conformCase) {
	add := func(id string, frame []byte, size int, back event) {
		send := together(frame)
		if size > 0 {
			send = chopped(size, frame)
		}
		cases = append(cases, conformCase{id: id, send: send, back: []event{back}})
	}
	for _, n := range []int{0, 1, 125, 126, 127, 128, 65535, 65536} {
		s := patterned(n)
		add(fmt.Sprintf("1.1 text of %d bytes", n), textFrame(s), 0, textBack(s))
		b := string(anyBytes(n))
		add(fmt.Sprintf("1.2 binary of %d bytes", n), binaryFrame(b), 0, binaryBack(b))
	}
	s, b := patterned(65536), string(anyBytes(65536))
	add("1.1 text of 65536 bytes in writes of 997", textFrame(s), 997, textBack(s))
	add("1.2 binary of 65536 bytes in writes of 997", binaryFrame(b), 997, binaryBack(b))
	return cases
}

// anyBytes is binary: all values, no UTF-8, without a short period.
func anyBytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(255 - i - i/251)
	}
	return b
}

// Group 2: pings are answered, pongs are not (§5.5.2, §5.5.3).
func pingCases() (cases []conformCase) {
	cases = append(cases,
		conformCase{id: "2.1 ping without payload", send: together(pingFrame("")), back: []event{pongBack("")}},
		conformCase{id: "2.2 ping with a text", send: together(pingFrame("are you there?")), back: []event{pongBack("are you there?")}},
		conformCase{id: "2.3 ping with what is no UTF-8", send: together(pingFrame("\x00\xff\xc0\xed\xa0\x80")), back: []event{pongBack("\x00\xff\xc0\xed\xa0\x80")}},
		conformCase{id: "2.4 ping of 125 bytes", send: together(pingFrame(string(anyBytes(125)))), back: []event{pongBack(string(anyBytes(125)))}},
		conformCase{id: "2.5 ping of 126 bytes", send: together(pingFrame(string(anyBytes(126)))), code: 1002},
		conformCase{id: "2.5 pong of 126 bytes", send: together(pongFrame(string(anyBytes(126)))), code: 1002},
		conformCase{id: "2.5 ping of 65536 bytes", send: together(allBut(pingFrame(patterned(65536)), 65536)), code: 1002},
		conformCase{id: "2.6 ping of 125 bytes, a write per byte", send: chopped(1, pingFrame(string(anyBytes(125)))), back: []event{pongBack(string(anyBytes(125)))}},
		conformCase{id: "2.7 pong that nobody asked for, empty", send: together(pongFrame(""))},
		conformCase{id: "2.8 pong that nobody asked for", send: together(pongFrame("hello?"))},
		conformCase{id: "2.9 pong that nobody asked for, then a ping", send: together(pongFrame("mine"), pingFrame("yours")), back: []event{pongBack("yours")}},
	)
	var pings [][]byte
	var pongs []event
	for n := range 10 {
		s := fmt.Sprintf("ping %d", n)
		pings, pongs = append(pings, pingFrame(s)), append(pongs, pongBack(s))
	}
	cases = append(cases, eachDelivery(conformCase{id: "2.10 ten pings", send: pings, back: pongs})...)
	pings, pongs = nil, nil
	for n := range 126 {
		s := string(anyBytes(n))
		pings, pongs = append(pings, pingFrame(s)), append(pongs, pongBack(s))
	}
	return append(cases, conformCase{id: "2.12 pings of 0 to 125 bytes", send: together(pings...), back: pongs})
}

// Group 3: no extension was agreed on, so the reserved bits are 0 (§5.2).
func reservedBitCases() (cases []conformCase) {
	for bits := byte(1); bits <= 7; bits++ {
		for _, of := range []struct {
			name  string
			frame func() []byte
		}{
			{"an empty text", func() []byte { return textFrame("") }},
			{"a text", func() []byte { return textFrame("bits") }},
			{"a binary", func() []byte { return binaryFrame("\xff\x00") }},
			{"a first fragment", func() []byte { return firstFrame(ws.OpText, "bits") }},
			{"a ping", func() []byte { return pingFrame("bits") }},
			{"a pong", func() []byte { return pongFrame("bits") }},
			{"a close", func() []byte { return closeFrame(1000, "bits") }},
		} {
			cases = append(cases, conformCase{id: fmt.Sprintf("3.%d bits %03b on %s", bits, bits, of.name),
				send: together(reservedBits(bits, of.frame())), code: 1002})
		}
		cases = append(cases, conformCase{id: fmt.Sprintf("3.%d bits %03b on a continuation", bits, bits),
			send: together(firstFrame(ws.OpText, "a"), reservedBits(bits, lastFrame("b"))), code: 1002})
		cases = append(cases, eachDelivery(conformCase{id: fmt.Sprintf("3.%d bits %03b between good frames", bits, bits),
			send: [][]byte{textFrame("good"), reservedBits(bits, textFrame("bad")), pingFrame("never answered")}, back: []event{textBack("good")}, code: 1002})...)
	}
	return cases
}

// Group 4: reserved opcodes (§5.2).
func opcodeCases() (cases []conformCase) {
	for _, op := range []ws.OpCode{3, 4, 5, 6, 7, 11, 12, 13, 14, 15} {
		number := fmt.Sprintf("4.1 opcode %d", op)
		if op > 7 {
			number = fmt.Sprintf("4.2 opcode %d", op)
		}
		cases = append(cases,
			conformCase{id: number + " alone", send: together(frameBytes(op, true, nil)), code: 1002},
			conformCase{id: number + " with a payload", send: together(frameBytes(op, true, []byte("what?"))), code: 1002},
			conformCase{id: number + " not final", send: together(frameBytes(op, false, []byte("what?"))), code: 1002},
			conformCase{id: number + " within a message", send: together(firstFrame(ws.OpText, "a"), frameBytes(op, true, nil), lastFrame("b")), code: 1002},
		)
		cases = append(cases, eachDelivery(conformCase{id: number + " between good frames",
			send: [][]byte{textFrame("good"), frameBytes(op, true, []byte("what?")), pingFrame("never answered")}, back: []event{textBack("good")}, code: 1002})...)
	}
	return cases
}

// Group 5: messages in fragments, with control frames between them, which have none (§5.4, §5.5).
func fragmentCases() (cases []conformCase) {
	type frames = [][]byte
	for _, c := range []conformCase{
		{id: "5.1 ping in fragments", send: frames{firstFrame(ws.OpPing, "a"), lastFrame("b")}, code: 1002},
		{id: "5.2 pong in fragments", send: frames{firstFrame(ws.OpPong, "a"), lastFrame("b")}, code: 1002},
		{id: "5.2 close in fragments", send: frames{firstFrame(ws.OpClose, "\x03"), lastFrame("\xe8")}, code: 1002},
		{id: "5.2 ping that is not final, within a message", send: frames{firstFrame(ws.OpText, "a"), firstFrame(ws.OpPing, "b"), lastFrame("c")}, code: 1002},
		{id: "5.3 text in two", send: frames{firstFrame(ws.OpText, "one, "), lastFrame("two")}, back: []event{textBack("one, two")}},
		{id: "5.3 binary in two", send: frames{firstFrame(ws.OpBinary, "\xff"), lastFrame("\xfe")}, back: []event{binaryBack("\xff\xfe")}},
		{id: "5.3 text in many", send: fragments(ws.OpText, patterned(200), 3), back: []event{textBack(patterned(200))}},
		{id: "5.3 empty first, empty last", send: frames{firstFrame(ws.OpText, ""), moreFrame("all of it"), lastFrame("")}, back: []event{textBack("all of it")}},
		{id: "5.3 empty middle", send: frames{firstFrame(ws.OpBinary, "a"), moreFrame(""), moreFrame(""), lastFrame("b")}, back: []event{binaryBack("ab")}},
		{id: "5.3 two messages", send: frames{firstFrame(ws.OpText, "a"), lastFrame("b"), firstFrame(ws.OpBinary, "c"), lastFrame("d")}, back: []event{textBack("ab"), binaryBack("cd")}},
		{id: "5.6 ping between", send: frames{firstFrame(ws.OpText, "one, "), pingFrame("between"), lastFrame("two")}, back: []event{pongBack("between"), textBack("one, two")}},
		{id: "5.6 pong between", send: frames{firstFrame(ws.OpText, "one, "), pongFrame("between"), lastFrame("two")}, back: []event{textBack("one, two")}},
		{id: "5.6 ping of 125 bytes between binary fragments", send: frames{firstFrame(ws.OpBinary, "a"), pingFrame(patterned(125)), lastFrame("b")}, back: []event{pongBack(patterned(125)), binaryBack("ab")}},
		{id: "5.6 close between", send: frames{firstFrame(ws.OpText, "one, "), closeFrame(1000, ""), lastFrame("two")}, code: 1000, said: true},
		{id: "5.9 last fragment of nothing", send: frames{lastFrame("of what?"), textFrame("never read")}, code: 1002},
		{id: "5.9 empty last fragment of nothing", send: frames{lastFrame(""), textFrame("never read")}, code: 1002},
		{id: "5.12 fragment of nothing, with more to come", send: frames{moreFrame("of what?"), textFrame("never read")}, code: 1002},
		{id: "5.12 empty fragment of nothing, with more to come", send: frames{moreFrame(""), textFrame("never read")}, code: 1002},
		{id: "5.15 fragment behind a message that has ended", send: frames{firstFrame(ws.OpText, "one, "), lastFrame("two"), moreFrame("three"), textFrame("never read")}, back: []event{textBack("one, two")}, code: 1002},
		{id: "5.15 fragment behind a message in one frame", send: frames{textFrame("all"), lastFrame("and more")}, back: []event{textBack("all")}, code: 1002},
		{id: "5.16 fragments of nothing, twice", send: frames{moreFrame("a"), lastFrame("b"), moreFrame("c"), lastFrame("d")}, code: 1002},
		{id: "5.17 last fragments of nothing", send: frames{lastFrame("a"), lastFrame("b"), lastFrame("c"), lastFrame("d")}, code: 1002},
		{id: "5.18 text within a text", send: frames{firstFrame(ws.OpText, "one"), textFrame("another")}, code: 1002},
		{id: "5.18 first fragment within a text", send: frames{firstFrame(ws.OpText, "one"), firstFrame(ws.OpText, "another")}, code: 1002},
		{id: "5.18 binary within a text", send: frames{firstFrame(ws.OpText, "one"), binaryFrame("another")}, code: 1002},
		{id: "5.18 text within a binary", send: frames{firstFrame(ws.OpBinary, "one"), moreFrame("two"), textFrame("another")}, code: 1002},
		{id: "5.18 text within a text, behind a ping", send: frames{firstFrame(ws.OpText, "one"), pingFrame("p"), textFrame("another")}, back: []event{pongBack("p")}, code: 1002},
		{id: "5.19 two pings between five fragments", send: frames{firstFrame(ws.OpText, "1"), moreFrame("2"), pingFrame("a"), moreFrame("3"), moreFrame("4"), pingFrame("b"), lastFrame("5")},
			back: []event{pongBack("a"), pongBack("b"), textBack("12345")}},
		{id: "5.20 a ping behind every fragment", send: frames{firstFrame(ws.OpText, "1"), pingFrame("a"), moreFrame("2"), pingFrame("b"), moreFrame("3"), pingFrame("c"), lastFrame("4"), pingFrame("d")},
			back: []event{pongBack("a"), pongBack("b"), pongBack("c"), textBack("1234"), pongBack("d")}},
	} {
		cases = append(cases, eachDelivery(c)...)
	}
	return cases
}

// Group 10: a message from a client that fragments large messages by itself.
func autoFragmentCases() (cases []conformCase) {
	s := strings.Repeat("長い", 65536/6) + "1234"
	for _, c := range []conformCase{
		{id: "10.1 text of 65536 bytes in frames of 1300", send: fragments(ws.OpText, s, 1300), back: []event{textBack(s)}},
		{id: "10.1 binary of 65536 bytes in frames of 1300", send: fragments(ws.OpBinary, string(anyBytes(65536)), 1300), back: []event{binaryBack(string(anyBytes(65536)))}},
	} {
		whole := c
		whole.id, whole.send = c.id+", in one write", together(c.send...)
		cases = append(cases, c, whole)
	}
	return cases
}
