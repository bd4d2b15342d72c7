package wsproto

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/klauspost/compress/flate"
)

// jsonOf is n bytes as backends broadcast them: a list of events with names and keys that repeat, and
// numbers, times and identifiers that do not.
func jsonOf(n int) []byte {
	r := rand.New(rand.NewPCG(7, 92))
	names := []string{"Ada Lovelace", "Grace Hopper", "Edsger Dijkstra", "Barbara Liskov", "Donald Knuth", "組織 太郎"}
	words := []string{"order", "shipped", "to", "the", "warehouse", "price", "changed", "and", "please", "check", "again", "tomorrow", "at", "noon", "thanks"}
	b := []byte(`{"channel":"room:4711","type":"batch","items":[`)
	for len(b) < n {
		text := ""
		for range 4 + r.IntN(8) {
			text += words[r.IntN(len(words))] + " "
		}
		b = fmt.Appendf(b, `{"id":"%016x","user":{"id":%d,"name":%q},"text":%q,"price":%.2f,"at":"2026-11-30T08:%02d:%02d.%03dZ","read":%v},`,
			r.Uint64(), r.IntN(100_000), names[r.IntN(len(names))], text, 100*r.Float64(), r.IntN(60), r.IntN(60), r.IntN(1000), r.IntN(2) == 0)
	}
	return b[:n]
}

// BenchmarkDeflateLevels is what deflateLevel was chosen by: time and size for each level of the library, and
// what a compressor holds.
func BenchmarkDeflateLevels(b *testing.B) {
	for _, size := range []int{256, 1 << 10, 4 << 10, 16 << 10, 64 << 10} {
		payload := jsonOf(size)
		measure := func(name string, held uint64, deflate func(d *deflater)) {
			b.Run(fmt.Sprintf("%dB/%s", size, name), func(b *testing.B) {
				d := new(deflater)
				b.SetBytes(int64(size))
				for b.Loop() {
					d.out = d.out[:0]
					deflate(d)
				}
				b.ReportMetric(100*float64(len(d.out)-len(syncTail))/float64(size), "%")
				b.ReportMetric(float64(held)/1024, "KB-held")
			})
		}
		measure("stateless", 0, func(d *deflater) { flate.StatelessDeflate(d, payload, false, nil) })
		for level := flate.HuffmanOnly; level <= flate.BestCompression; level++ {
			if level == flate.DefaultCompression || level == flate.NoCompression {
				continue
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			w, _ := flate.NewWriter(new(deflater), level)
			runtime.ReadMemStats(&after)
			measure(fmt.Sprintf("level%d", level), after.TotalAlloc-before.TotalAlloc, func(d *deflater) {
				w.Reset(d)
				w.Write(payload)
				w.Flush()
			})
		}
	}
}

func BenchmarkAppendDeflated(b *testing.B) {
	for _, size := range []int{256, 1 << 10, 16 << 10} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			frame := AppendFrame(nil, OpText, jsonOf(size))
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				sink = AppendDeflated(nil, frame, 1)
			}
		})
	}
}

func BenchmarkInflate(b *testing.B) {
	// Blocks of 13 bytes that make nothing but a Huffman table each: what a peer can make dearest.
	hostile := bytes.Repeat(unhex(b, "ec c0 81 08 00 00 00 00 20 7f eb 45 1e 3b 70 20 02 00 00 00 00 c8 df 7a 91 c7 0e 1c 88 00 00 00 00 00 f2 b7 5e e4 b1 03 07 22 "+
		"00 00 00 00 80 fc ad 17 79"), 1<<10)
	d := deflaters.Get().(*deflater)
	for _, test := range []struct {
		name    string
		message []byte
	}{
		{"256B", bytes.Clone(d.message(jsonOf(256)))}, {"1KiB", bytes.Clone(d.message(jsonOf(1 << 10)))}, {"16KiB", bytes.Clone(d.message(jsonOf(16 << 10)))},
		{"64KiB", bytes.Clone(d.message(jsonOf(64 << 10)))}, {"64KiB-of-zeros", bytes.Clone(d.message(make([]byte, 64<<10)))}, {"hostile", append(hostile, 0)},
	} {
		b.Run(test.name, func(b *testing.B) {
			stream := AppendMaskedFrame(nil, OpBinary, rfcMask, test.message)
			stream[0] |= bitRSV1
			p, r := make([]byte, len(stream)), NewReader(1<<20)
			r.Inflate(NewInflater())
			b.ReportAllocs()
			for b.Loop() {
				copy(p, stream)
				_, ev := r.Next(p)
				if ev.Kind != EventBinary {
					b.Fatal(ev)
				}
				sink = ev.Payload
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(test.message)), "ns/compressed-byte")
		})
	}
}
