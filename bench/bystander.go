package main

import (
	"encoding/binary"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"ringcast/bench/report"
)

// bystanders are clients in no group that ping at fixed times. Their pongs say how long a client that has nothing to do
// with a broadcast waits for it. They have a generator of their own: on that of the members they would wait for the
// bench's own reading. Owner: that generator's thread during a phase.
type bystanders struct {
	idle
	g       *generator
	next    int64 // due time of the next ping
	turn    int   // whose it is
	latency *hdrhistogram.Histogram
	pings   int64
}

const bystanderEvery = 50 * time.Millisecond // between two pings of one client

func newBystanders(g *generator) *bystanders { return &bystanders{g: g, latency: newHistogram()} }

func (b *bystanders) generator() *generator { return b.g }

// step pings by the clock alone; a late pong does not delay the next ping.
func (b *bystanders) step(start int64, over func() bool) step {
	b.next = start
	every := int64(bystanderEvery) / int64(len(b.g.conns))
	return func(now int64) (int64, bool) {
		for ; b.next <= now; b.next += every {
			b.g.send(&b.g.conns[b.turn], opPing, binary.BigEndian.AppendUint64(nil, uint64(b.next)))
			b.turn = (b.turn + 1) % len(b.g.conns)
		}
		return b.next, over()
	}
}

func (b *bystanders) ponged(_ *conn, payload []byte, now int64) {
	if len(payload) == 8 {
		b.pings++
		record(b.latency, now-int64(binary.BigEndian.Uint64(payload)))
	}
}

// report adds what was measured to f. Of nobody it is nothing.
func (b *bystanders) report(f *report.Fanout) {
	if b == nil {
		return
	}
	f.Ping, f.Pings = readPercentiles(b.latency), b.pings
	f.PingHistogram = encodeHistogram(b.latency)
}
