package wsproto

import (
	"bytes"
	"testing"
)

// sink keeps the compiler from dropping what a benchmark makes.
var sink []byte

func BenchmarkEncode(b *testing.B) {
	dst := make([]byte, 0, 64<<10)
	payload := bytes.Repeat([]byte("a"), 64)
	b.Run("frame-64B", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			sink = AppendFrame(dst, OpText, payload)
		}
	})
}

// BenchmarkReader includes a copy of the bytes for each round, as reading unmasks them.
func BenchmarkReader(b *testing.B) {
	one := AppendMaskedFrame(nil, OpText, rfcMask, bytes.Repeat([]byte("a"), 64))
	for _, test := range []struct {
		name   string
		stream []byte
		piece  int
	}{
		{"64B", one, len(one)},
		{"64B-pipelined-100", bytes.Repeat(one, 100), 100 * len(one)},
		{"64B-in-two", one, 30},
		{"64KiB", AppendMaskedFrame(nil, OpText, rfcMask, bytes.Repeat([]byte("a"), 64<<10)), 1 << 20},
		{"64KiB-in-4KiB", AppendMaskedFrame(nil, OpText, rfcMask, bytes.Repeat([]byte("a"), 64<<10)), 4 << 10},
	} {
		b.Run(test.name, func(b *testing.B) {
			r := NewReader(1 << 20)
			p := make([]byte, len(test.stream))
			b.SetBytes(int64(len(p)))
			b.ReportAllocs()
			for b.Loop() {
				copy(p, test.stream)
				for rest := p; len(rest) > 0; {
					piece := rest[:min(len(rest), test.piece)]
					rest = rest[len(piece):]
					for len(piece) > 0 {
						n, ev := r.Next(piece)
						sink, piece = ev.Payload, piece[n:]
					}
				}
			}
		})
	}
}

func BenchmarkHandshake(b *testing.B) {
	p := []byte(rfcHandshake)
	dst := make([]byte, 0, 256)
	b.ReportAllocs()
	for b.Loop() {
		req, _, err := readHead(p, testHeadBytes)
		if err != nil {
			b.Fatal(err)
		}
		sink = AppendUpgrade(dst, &req)
	}
}
