package main

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"ringcast/bench/check"
	"ringcast/bench/client"
	"ringcast/bench/report"
)

// bystanders are clients in no group that ping at fixed times. Their pongs show how long a broadcast delays a client that
// is not part of it. They have a generator of their own: on that of the members they would wait for the bench's own
// reading. Owner: that generator's thread during a phase.
type bystanders struct {
	client.Idle
	g       *client.Generator
	next    int64 // due time of the next ping
	turn    int   // which bystander is next
	latency *hdrhistogram.Histogram
	pings   int64
	pongs   int64
	overAt  int64 // when the crews were done, 0 before
	pongAt  int64 // the last pong after that, or overAt, by the generator's vigil
	faults  check.Faults

	patience time.Duration // how long no pong may come then, until the rest is lost
	gaveUp   string        // why the rest is lost
}

const (
	bystanderEvery = 50 * time.Millisecond // between two pings of one client
)

func newBystanders(g *client.Generator, patience time.Duration) *bystanders {
	return &bystanders{g: g, patience: patience, latency: newHistogram()}
}

func (b *bystanders) generator() *client.Generator { return b.g }

// step pings by the clock alone; a late pong does not delay the next ping.
func (b *bystanders) step(start int64, over func() bool) client.Step {
	b.next = start
	every := int64(bystanderEvery) / int64(b.g.Len())
	return func(now int64) (int64, bool) {
		if b.overAt == 0 && over() {
			b.overAt, b.pongAt = now, b.g.Vigil()
		}
		if b.overAt > 0 {
			bound := drainTime(b.patience)
			switch {
			case b.pongs == b.pings:
				return now, true
			case !b.anyOpen():
				b.gaveUp = "their connections had ended"
			case b.g.Vigil()-b.pongAt >= int64(b.patience):
				b.gaveUp = fmt.Sprintf("no pong came for %v", b.patience)
			case now >= b.overAt+int64(bound):
				b.gaveUp = fmt.Sprintf("pongs were still coming %v after the last delivery", bound)
			}
			return now + int64(client.TurnMax), b.gaveUp != ""
		}
		for ; b.next <= now; b.next += every {
			if c := b.g.Conn(b.turn); c.Ready() {
				b.pings++
				b.g.SendPing(c, binary.BigEndian.AppendUint64(nil, uint64(b.next)))
			}
			b.turn = (b.turn + 1) % b.g.Len()
		}
		return b.next, false
	}
}

// anyOpen says whether a pong may still come.
func (b *bystanders) anyOpen() bool {
	for place := range b.g.Len() {
		if b.g.Conn(place).Ready() {
			return true
		}
	}
	return false
}

func (b *bystanders) Ponged(_ *client.Conn, payload []byte, now int64) {
	if len(payload) == 8 {
		b.pongs++
		b.pongAt = b.g.Vigil()
		record(b.latency, now-int64(binary.BigEndian.Uint64(payload)))
	}
}

func (b *bystanders) Cut(_ *client.Conn, cause string, _ bool) {
	b.faults.Add(check.Cut, 1, "a bystander was cut off: %s", cause)
}

// depart returns the faults. Pings without a pong would be missing from the latency, so they are a fault.
func (b *bystanders) depart(m *measurement) {
	if b == nil {
		return
	}
	if missing := b.pings - b.pongs; missing > 0 {
		b.faults.Add(check.Lost, uint64(missing), "%s of %s pings of bystanders were not answered: %s", count(missing), count(b.pings), b.gaveUp)
	}
	m.also.Merge(&b.faults)
}

// report adds what was measured to f, nothing if there were no bystanders.
func (b *bystanders) report(f *report.Fanout) {
	if b == nil {
		return
	}
	f.Ping, f.Pings = readPercentiles(b.latency), b.pongs
	f.PingHistogram = encodeHistogram(b.latency)
}
