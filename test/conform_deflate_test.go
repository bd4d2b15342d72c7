package test

import (
	"compress/flate"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/gobwas/ws"
)

// permessage-deflate (RFC 7692): sizes and fragments, offers, and data as other compressors make it.

// deflateKinds are what messages consist of. What is random gets larger by compression, which a receiver must bear.
var deflateKinds = []struct {
	name    string
	op      ws.OpCode
	of      func(n int) string
	shrinks bool
}{
	{"JSON", ws.OpText, func(n int) string {
		var b strings.Builder
		for i := 0; b.Len() < n; i++ {
			fmt.Fprintf(&b, `{"id":%d,"name":"user %d","online":%t,"score":%d},`, i, i*7919%1000, i%3 == 0, i*i)
		}
		return b.String()[:n]
	}, true},
	{"letters of several bytes", ws.OpText, func(n int) string {
		return strings.Repeat("這個是消息, «écrit» 😀 ", n/33+1)[:n/33*33] + strings.Repeat("x", n%33)
	}, true},
	{"one letter", ws.OpText, func(n int) string { return strings.Repeat("a", n) }, true},
	{"binary", ws.OpBinary, func(n int) string { return string(anyBytes(n)) }, false},
	{"random binary", ws.OpBinary, func(n int) string { return randomBytes(n) }, false},
}

func randomBytes(n int) string {
	b, rnd := make([]byte, n), rand.New(rand.NewPCG(12, uint64(n)))
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	return string(b)
}

// messageBack is a message as it comes back.
func messageBack(op ws.OpCode, s string) event { return event{op: op, text: s} }

// deflatedFragments cuts a compressed message into frames of so many bytes. Only the first says that it is compressed (§6.1).
func deflatedFragments(op ws.OpCode, message []byte, size int) [][]byte {
	frames := fragments(op, string(message), size)
	reservedBits(0b100, frames[0])
	return frames
}

// Group 12: messages of all sizes, whole and in fragments of given sizes, many behind each other.
func compressionCases() (cases []conformCase) {
	const KiB = 1 << 10
	messages := func(n int) int {
		if conformFully() {
			return 1000
		}
		return max(2, min(20, 64*KiB/max(n, 1)))
	}
	for at, kind := range deflateKinds {
		of := func(what string, n int, send func(message string) [][]byte) {
			c := conformCase{id: fmt.Sprintf("12.%d %s of %d bytes%s", at+1, kind.name, n, what), offer: deflate, answer: deflateAnswer}
			for i := range messages(n) {
				message := kind.of(n)
				if i%2 == 1 && n > 0 {
					message = "!" + message[:n-1] // no window is shared with the message before: it differs in its first letter alone
					if kind.op == ws.OpText && kind.shrinks && at == 1 {
						message = kind.of(n)
					}
				}
				c.send, c.back = append(c.send, send(message)...), append(c.back, messageBack(kind.op, message))
			}
			if kind.shrinks && n >= 256 {
				c.compressed = len(c.back)
			}
			cases = append(cases, c)
		}
		whole := func(message string) [][]byte { return [][]byte{deflatedFrame(kind.op, true, deflated(message))} }
		for _, n := range []int{0, 1, 16, 64, 256, 1 * KiB, 4 * KiB, 8 * KiB, 16 * KiB, 32 * KiB, 64 * KiB, 128 * KiB} {
			of("", n, whole)
		}
		for _, pieces := range []struct{ n, size int }{
			{16, 1}, {8 * KiB, 256}, {16 * KiB, 256}, {32 * KiB, 256}, {64 * KiB, 256}, {128 * KiB, 256},
			{8 * KiB, 1 * KiB}, {16 * KiB, 1 * KiB}, {64 * KiB, 1 * KiB}, {128 * KiB, 1 * KiB},
			{32 * KiB, 4 * KiB}, {128 * KiB, 4 * KiB}, {128 * KiB, 32 * KiB},
		} {
			of(fmt.Sprintf(" in fragments of %d", pieces.size), pieces.n, func(message string) [][]byte {
				return deflatedFragments(kind.op, deflated(message), pieces.size)
			})
		}
	}
	return cases
}

// Group 13: what is offered, and what then works. Messages are sent compressed if that was agreed on, else as they are.
func offerCases() (cases []conformCase) {
	const noServer, noClient = "; server_no_context_takeover", "; client_no_context_takeover"
	add := func(number, offer, answer string) {
		c := conformCase{id: fmt.Sprintf("13.%s %q", number, offer), offer: offer, answer: answer}
		for _, n := range []int{0, 16, 1 << 10, 64 << 10} {
			text := deflateKinds[0].of(n)
			c.back = append(c.back, textBack(text), textBack(text))
			if c.send = append(c.send, textFrame(text)); answer == "" {
				c.send = append(c.send, textFrame(text))
				continue
			}
			c.send = append(c.send, deflatedFragments(ws.OpText, deflated(text), 1000)...)
			if n >= 256 {
				c.compressed += 2
			}
		}
		cases = append(cases, c)
	}
	window := func(bits int) string { return fmt.Sprintf("; server_max_window_bits=%d", bits) }
	const windowAnswer = deflateAnswer + "; server_max_window_bits=15"
	add("1", deflate, deflateAnswer)
	add("2", deflate+noServer, deflateAnswer)
	add("2", deflate+noClient, deflateAnswer)
	add("2", deflate+noServer+noClient, deflateAnswer)
	for bits := 8; bits < 15; bits++ { // a smaller window of the server is declined on purpose: one form of a message is for all
		add("3", deflate+window(bits), "")
		add("5", deflate+noServer+window(bits), "")
	}
	add("4", deflate+window(15), windowAnswer)
	add("6", deflate+noServer+window(15), windowAnswer)
	for bits := 8; bits <= 15; bits++ { // the client's is its own matter
		add("4", fmt.Sprintf("%s; client_max_window_bits=%d", deflate, bits), deflateAnswer)
	}
	add("4", deflate+"; client_max_window_bits", deflateAnswer)
	add("6", deflate+"; client_max_window_bits=9"+noClient+window(15)+noServer, windowAnswer)
	// Several offers: the first that can be met.
	add("7", deflate+noServer+window(9)+", "+deflate+noServer+", "+deflate, deflateAnswer)
	add("7", deflate+window(9)+", "+deflate+window(15)+", "+deflate, windowAnswer)
	add("7", deflate+window(9)+", "+deflate+window(10), "")
	add("7", "x-webkit-deflate-frame, "+deflate, deflateAnswer)
	add("7", "permessage-bzip2; server_max_compress_level=9, "+deflate+"; client_max_window_bits", deflateAnswer)
	// What cannot be met, or means nothing.
	for _, offer := range []string{"x-webkit-deflate-frame", "deflate-stream", "permessage-compress; method=deflate", "permessage-snappy",
		deflate + "; unknown", deflate + "; server_max_window_bits", deflate + window(7), deflate + window(16), deflate + "; server_max_window_bits=015",
		deflate + "; client_max_window_bits=7", deflate + "; client_max_window_bits=16", deflate + noServer + "=1", deflate + noServer + noServer,
		deflate + window(15) + window(15), deflate + "; client_max_window_bits; client_max_window_bits=10"} {
		add("8", offer, "")
	}
	return cases
}

// Group 14: compressed data as other compressors make it, and what is wrong with data or bits.
func deflateCases() (cases []conformCase) {
	add := func(c conformCase) {
		c.id, c.offer, c.answer = "14."+c.id, deflate, deflateAnswer
		cases = append(cases, c)
	}
	json := deflateKinds[0].of(5000)
	good := func(id, text string, message []byte) {
		add(conformCase{id: id, send: [][]byte{deflatedFrame(ws.OpText, true, message), textFrame("next")}, back: []event{textBack(text), textBack("next")}})
		if len(message) > 1 {
			add(conformCase{id: id + ", in two", send: deflatedFragments(ws.OpText, message, (len(message)+1)/2), back: []event{textBack(text)}})
		}
		add(conformCase{id: id + ", a write per byte", send: chopped(1, deflatedFrame(ws.OpText, true, message)), back: []event{textBack(text)}})
	}
	for level := flate.NoCompression; level <= flate.BestCompression; level++ {
		good(fmt.Sprintf("1 level %d", level), json[:2000], deflatedAt(level, json[:2000]))
	}
	good("2 several blocks", json[:3000], deflatedAt(flate.BestSpeed, json[:1000], json[1000:2000], json[2000:3000]))
	// The examples of §7.2.3.
	good("2 one block", "Hello", []byte("\xf2\x48\xcd\xc9\xc9\x07\x00"))
	good("2 a block that is not compressed", "Hello", []byte("\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"))
	good("2 a final block", "Hello", []byte("\xf3\x48\xcd\xc9\xc9\x07\x00\x00"))
	good("2 more behind a final block", "HelloHello", []byte("\xf3\x48\xcd\xc9\xc9\x07\x00\xf2\x48\xcd\xc9\xc9\x07\x00"))
	good("2 two blocks", "Hello", []byte("\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"))
	good("2 an empty message", "", []byte("\x00"))
	good("2 an empty message of a final block", "", []byte("\x03\x00\x00"))
	// Compressed and other messages in turn, and control frames between fragments, which are never compressed.
	add(conformCase{id: "3 compressed or not, in turn", send: [][]byte{textFrame("a"), deflatedFrame(ws.OpText, true, deflated("b")), binaryFrame("\xff"), deflatedFrame(ws.OpBinary, true, deflated("\xfe"))},
		back: []event{textBack("a"), textBack("b"), binaryBack("\xff"), binaryBack("\xfe")}})
	pieces := deflatedFragments(ws.OpText, deflated(json), 400)
	between := [][]byte{pieces[0], pingFrame("one")}
	between = append(append(append(between, pieces[1:len(pieces)-1]...), pingFrame("two"), pongFrame("mine")), pieces[len(pieces)-1])
	cases = append(cases, eachDelivery(conformCase{id: "14.3 pings between fragments", offer: deflate, answer: deflateAnswer, send: between, back: []event{pongBack("one"), pongBack("two"), textBack(json)}})...)
	add(conformCase{id: "3 empty fragments around it", send: [][]byte{deflatedFrame(ws.OpText, false, nil), moreFrame(string(deflated("x"))), moreFrame(""), lastFrame("")}, back: []event{textBack("x")}})
	add(conformCase{id: "3 letters cut by fragments", send: deflatedFragments(ws.OpText, deflatedAt(flate.NoCompression, "長い"), 1), back: []event{textBack("長い")}})

	// Bits where they may not be (§6: only on the first frame of a message; the other bits are nobody's).
	wrong := func(code int, id string, send ...[]byte) {
		add(conformCase{id: id, send: send, code: code})
		add(conformCase{id: id + ", behind what is good", send: append([][]byte{deflatedFrame(ws.OpText, true, deflated("good"))}, send...), back: []event{textBack("good")}, code: code})
	}
	text := deflated("text")
	wrong(1002, "4 on a continuation", deflatedFrame(ws.OpText, false, text[:2]), deflatedFrame(ws.OpContinuation, true, text[2:]))
	wrong(1002, "4 on a continuation of what is not compressed", firstFrame(ws.OpText, "te"), deflatedFrame(ws.OpContinuation, true, text))
	wrong(1002, "4 on a ping", deflatedFrame(ws.OpPing, true, text))
	wrong(1002, "4 on a pong", deflatedFrame(ws.OpPong, true, text))
	wrong(1002, "4 on a close", deflatedFrame(ws.OpClose, true, []byte("\x03\xe8")))
	for bits := byte(1); bits <= 7; bits++ {
		if bits != 0b100 {
			wrong(1002, fmt.Sprintf("4 bits %03b", bits), reservedBits(bits, frameBytes(ws.OpText, true, text)))
		}
	}
	wrong(1002, "4 a text within a text", deflatedFrame(ws.OpText, false, text), deflatedFrame(ws.OpText, true, text))
	// Data that is no deflate, or ends too early, or is no UTF-8 once it is taken apart.
	wrong(1007, "5 no deflate", deflatedFrame(ws.OpText, true, []byte("\xff\xff\xff\xff")))
	wrong(1007, "5 no deflate, binary", deflatedFrame(ws.OpBinary, true, []byte("\x07")))
	wrong(1007, "5 no deflate, in fragments", deflatedFragments(ws.OpText, []byte("\xf2\x48\xcd\xff\xff\xff\xff\xff\xff"), 3)...)
	wrong(1007, "5 a distance before the beginning", deflatedFrame(ws.OpBinary, true, []byte("\x4a\x04\x92\x00")))
	wrong(1007, "5 half of it", deflatedFrame(ws.OpText, true, deflated(json)[:300]))
	wrong(1007, "5 no UTF-8", deflatedFrame(ws.OpText, true, deflated("good \xff")))
	wrong(1007, "5 half a letter at the end", deflatedFrame(ws.OpText, true, deflated("這個"[:5])))
	add(conformCase{id: "5 no UTF-8, which binary need not be", send: together(deflatedFrame(ws.OpBinary, true, deflated("\xff"))), back: []event{binaryBack("\xff")}})
	// More than a message may have once it is taken apart: here 16 MiB.
	bomb := deflatedAt(flate.BestCompression, strings.Repeat("\x00", 16<<20+1))
	wrong(1009, "6 a bomb", deflatedFrame(ws.OpBinary, true, bomb))
	wrong(1009, "6 a bomb in fragments", deflatedFragments(ws.OpBinary, bomb, 5000)...)
	return cases
}
