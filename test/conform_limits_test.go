package test

import (
	"fmt"

	"github.com/gobwas/ws"
)

// Group 9: size and number. Messages of up to 4 MiB whole and in fragments, of 1 MiB in small writes, and many small ones;
// with CONFORMANCE=full four times as much, and less under the race detector.
func limitCases() (cases []conformCase) {
	const KiB, MiB = 1 << 10, 1 << 20
	add := func(id string, c conformCase) {
		c.id = id
		cases = append(cases, c)
	}
	for _, kind := range []struct {
		name  string
		op    ws.OpCode
		frame func(string) []byte
		back  func(string) event
		of    func(n int) string
	}{
		{"text", ws.OpText, textFrame, textBack, patterned},
		{"binary", ws.OpBinary, binaryFrame, binaryBack, func(n int) string { return string(anyBytes(n)) }},
	} {
		sizes, fragmented, chop, messages := []int{64 * KiB, 256 * KiB, 1 * MiB, 4 * MiB}, 4*MiB, 1*MiB, 250
		switch {
		case conformFully():
			sizes, fragmented, chop = append(sizes, 8*MiB, 16*MiB), 16*MiB, 4*MiB
		case raceDetector: // every byte costs ten times as much, and smaller messages too come in many reads
			sizes, fragmented, chop = []int{64 * KiB, 256 * KiB, 1 * MiB}, 512*KiB, 128*KiB
			messages = 100
		}
		for _, n := range sizes {
			s := kind.of(n)
			add(fmt.Sprintf("9.1 %s of %d KiB", kind.name, n/KiB), conformCase{send: together(kind.frame(s)), back: []event{kind.back(s)}})
		}
		for size := 64; size <= 64*KiB; size *= 4 {
			s := kind.of(fragmented)
			send := together(fragments(kind.op, s, size)...)
			add(fmt.Sprintf("9.3 %s of %d KiB in fragments of %d bytes", kind.name, fragmented/KiB, size), conformCase{send: send, back: []event{kind.back(s)}})
		}
		for size := 64; size <= 2*KiB; size *= 2 {
			s := kind.of(chop)
			add(fmt.Sprintf("9.5 %s of %d KiB in writes of %d bytes", kind.name, chop/KiB, size), conformCase{send: chopped(size, kind.frame(s)), back: []event{kind.back(s)}})
		}
		for _, n := range []int{0, 16, 64, 256, 1 * KiB, 4 * KiB} {
			c := conformCase{}
			for range messages {
				c.send, c.back = append(c.send, kind.frame(kind.of(n))), append(c.back, kind.back(kind.of(n)))
			}
			add(fmt.Sprintf("9.7 %d %s messages of %d bytes", len(c.send), kind.name, n), c)
		}
	}
	return cases
}
