package test

import (
	"fmt"

	"github.com/gobwas/ws"
)

// Group 7: the end of a connection (RFC 6455 §5.5.1, §7). A Close frame is answered by one of the same code; nothing
// after it is read, and nothing is sent after the answer.
func closeCases() (cases []conformCase) {
	type frames = [][]byte
	large := patterned(256 << 10)
	for _, c := range []conformCase{
		{id: "7.1 text, then close", send: frames{textFrame("a"), closeFrame(1000, "")}, back: []event{textBack("a")}, code: 1000},
		{id: "7.1 ping, then close", send: frames{pingFrame("a"), closeFrame(1000, "")}, back: []event{pongBack("a")}, code: 1000},
		{id: "7.1 close, twice", send: frames{closeFrame(1000, "first"), closeFrame(1001, "second")}, code: 1000},
		{id: "7.1 ping behind the close", send: frames{closeFrame(1000, ""), pingFrame("too late")}, code: 1000},
		{id: "7.1 text behind the close", send: frames{closeFrame(1000, ""), textFrame("too late")}, code: 1000},
		{id: "7.1 what is no frame behind the close", send: frames{closeFrame(1000, ""), reservedBits(7, textFrame("too late"))}, code: 1000},
		{id: "7.3 close without a code", send: frames{closeFrame(codeNone, "")}, code: codeNone},
		{id: "7.3 code without a reason", send: frames{closeFrame(1000, "")}, code: 1000},
		{id: "7.3 code and reason", send: frames{closeFrame(1001, "I am going, 再見")}, code: 1001},
		{id: "7.3 reason of 123 bytes", send: frames{closeFrame(1000, patterned(123))}, code: 1000},
		{id: "7.5 reason of 123 bytes of UTF-8", send: frames{closeFrame(1000, patterned(120)+"組")}, code: 1000},
	} {
		c.said = true
		cases = append(cases, eachDelivery(c)...)
	}
	for _, c := range []conformCase{
		{id: "7.3 close of one byte", send: frames{frameBytes(ws.OpClose, true, []byte{3})}, code: 1002},
		{id: "7.3 reason of 124 bytes", send: frames{closeFrame(1000, patterned(124))}, code: 1002},
		{id: "7.5 reason that is no UTF-8", send: frames{closeFrame(1000, "because \xff")}, code: 1007},
		{id: "7.5 reason with a surrogate", send: frames{closeFrame(1000, "\xed\xa0\x80")}, code: 1007},
		{id: "7.5 reason cut within a rune", send: frames{closeFrame(1000, patterned(121)+"\xe7\xb5")}, code: 1007},
	} {
		cases = append(cases, eachDelivery(c)...)
	}
	cases = append(cases,
		// Not even the rest of a message that had begun is read.
		conformCase{id: "7.1 close within a message of 256 KiB", send: frames{firstFrame(ws.OpText, large), closeFrame(1000, ""), lastFrame("too late")}, code: 1000, said: true},
		// What was sent before is answered completely, however long it takes.
		conformCase{id: "7.1 256 KiB, close, ping, a write per frame", send: frames{textFrame(large), closeFrame(1000, ""), pingFrame("too late")}, back: []event{textBack(large)}, code: 1000, said: true},
		conformCase{id: "7.1 256 KiB, close, ping, in one write", send: together(textFrame(large), closeFrame(1000, ""), pingFrame("too late")), back: []event{textBack(large)}, code: 1000, said: true},
	)
	good := []int{1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011,
		// Not in the RFC, but in IANA's registry, to which §11.7 allows additions: service restart, try again later, bad
		// gateway. Case lists that are older call them invalid, or leave them out as Autobahn's does.
		1012, 1013, 1014,
		3000, 3999, 4000, 4999}
	for _, code := range good {
		cases = append(cases,
			conformCase{id: fmt.Sprintf("7.7 code %d", code), send: frames{closeFrame(code, "")}, code: code, said: true},
			conformCase{id: fmt.Sprintf("7.7 code %d with a reason", code), send: frames{closeFrame(code, "because")}, code: code, said: true})
	}
	for _, code := range []int{0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 1999, 2000, 2999, 5000, 9999, 65535} {
		cases = append(cases,
			conformCase{id: fmt.Sprintf("7.9 code %d", code), send: frames{closeFrame(code, "")}, code: 1002},
			conformCase{id: fmt.Sprintf("7.9 code %d with a reason", code), send: frames{closeFrame(code, "because")}, code: 1002})
	}
	return cases
}
