package report

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// sampleServer is the figures of an invented server under each load.
type sampleServer struct {
	name    string
	micros  [3]float64 // of CPU per delivery: fan-out 10,000 × 1, 8 in flight, chat
	delay   float64    // of the median delivery, in µs
	opening float64    // µs of CPU per handshake
	each    float64    // kB per client
}

var sampleServers = []sampleServer{
	{"ceiling message", [3]float64{1.05, 0.98, 1.9}, 3100, 14, 0.4},
	{"ceiling turn", [3]float64{1.07, 0.21, 1.1}, 3150, 14, 0.4},
	{"ringcast", [3]float64{1.22, 0.27, 1.6}, 3600, 19, 1.3},
	{"ringcast 8 loops", [3]float64{1.31, 0.31, 1.7}, 3900, 21, 1.6},
	{"gws", [3]float64{2.1, 1.9, 3.4}, 6200, 35, 9.8},
	{"gws batch", [3]float64{1.9, 0.9, 2.9}, 5900, 35, 9.9},
	{"nbio", [3]float64{2.6, 2.4, 4.1}, 7600, 33, 5.2},
	{"gorilla", [3]float64{2.9, 2.7, 4.9}, 9100, 48, 26},
	{"gobwas batch", [3]float64{1.7, 0.8, 2.8}, 5600, 31, 4.4},
	{"bun", [3]float64{1.6, 0.7, 2.4}, 5000, 28, 3.9},
	{"ws", [3]float64{8.4, 7.9, 12}, 26000, 120, 17},
}

// sampleFile is a realistic comparison of invented servers. The same seed gives the same file.
func sampleFile(seed uint64, rounds int) *File {
	luck := rand.New(rand.NewPCG(seed, 1))
	near := func(v float64) float64 { return v * (1 + 0.04*luck.NormFloat64()) }
	day := time.Date(2025, 3, 1, 12, 0, 0, 0, time.UTC)
	f := &File{Format: Format, Command: "compare --rounds " + fmt.Sprint(rounds), Started: day, Commit: "0123456789abcdef0123",
		Machine: Machine{CPU: "Imagined CPU 3000", Cores: 8, Memory: 16e9, Kernel: "6.1.0", Go: "go1.26.0"}}
	for round := 1; round <= rounds; round++ {
		for n, load := range []string{"fan-out 10,000 × 1", "fan-out 1,000 × 1, 8 in flight", "chat 100 × 100"} {
			for _, s := range sampleServers {
				r := &Run{Server: s.name, Load: load, Round: round, Verb: "fanout", Started: day, Fine: true, Verdict: "fine", Busy: 0.9, ServerCore: 0.9,
					Flags: map[string]any{"members": 10000.0, "groups": 1.0, "publishers": 1.0, "size": 64.0, "time": "3s"}}
				if n == 2 {
					r.Flags["rate"] = 500.0
				} else {
					r.Flags["window"] = []float64{1, 8}[n]
				}
				micros := near(s.micros[n])
				x := &Fanout{Published: 100, Delivered: 1e6, Seconds: 3, DeliveredPer: near(0.9e6 / s.micros[n]), ServerMicros: micros, Allocations: -1,
					ServerUser: time.Duration(micros * 2e8), ServerSystem: time.Duration(micros * 8e8)}
				if n == 2 {
					x.DeliveredPer = 50000
				}
				h := hdrhistogram.New(1000, int64(time.Minute), 1)
				for range 4000 {
					at := near(s.delay) * 1e3 * (0.35 + 0.65*luck.Float64()) * math.Exp(math.Max(0, luck.NormFloat64()-2.2)*1.2)
					_ = h.RecordValues(int64(at), 25)
				}
				x.Histogram = encoded(h)
				x.Latency = Percentiles{h.ValueAtQuantile(50), h.ValueAtQuantile(90), h.ValueAtQuantile(99), h.ValueAtQuantile(99.9), h.Max()}
				// With 8 in flight one thread of the generator is saturated.
				if n == 1 && strings.HasPrefix(s.name, CeilingPrefix) {
					r.RateVoid, r.Limit = true, "generator"
				}
				if n == 1 && s.name == "ringcast" && round == 2 {
					r.RateVoid, r.Limit = true, "generator"
				}
				if s.name == "ws" && n == 2 && round == 1 {
					r.Fine, r.Verdict, r.Counts = false, "FAULTY", map[string]uint64{"lost": 17, "swapped": 2}
				}
				r.Fanout = x
				f.Runs = append(f.Runs, r)
			}
		}
		for _, s := range sampleServers {
			micros := near(s.opening)
			clients := 10000.0
			grown := near(s.each*1000) * clients
			f.Runs = append(f.Runs, &Run{Server: s.name, Load: "connect", Round: round, Verb: "connect", Started: day, Fine: true, Verdict: "fine",
				Flags:   map[string]any{"clients": clients, "groups": 1.0, "hold": "5s"},
				Connect: &Connect{Asked: 10000, Joined: 10000, OpeningSeconds: 0.5, PerSecond: near(20000), ServerMicros: micros, PerCPUSecond: 1e6 / micros},
				Memory:  &Memory{RSSBefore: 8e6, RSSAfter: 8e6 + int64(grown), RSSPerClient: grown / clients}})
		}
	}
	return f
}

func encoded(h *hdrhistogram.Histogram) string {
	b, err := h.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		panic(err)
	}
	return string(b)
}
