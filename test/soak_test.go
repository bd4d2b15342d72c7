package test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// The soak: some 5,000 clients of every kind at any time (a fifth of the wanderers is disconnected) for as long as SOAK says.
// It looks for what only time shows: descriptors, goroutines or memory that grow while the load does not.
const (
	soakHealthy   = 1_000 // in groups of 10, each published to 10 times a second: 1,000 messages and 10,000 deliveries a second
	soakWanderers = 5_000 // connect, join, publish, leave and disconnect in every possible way
	soakDawdlers  = 100   // do not read, and are closed for it
	soakHostile   = 100   // break the rules
)

func TestSoak(t *testing.T) {
	if os.Getenv("SOAK") == "" {
		t.Skip("SOAK is not set; SOAK=20m soaks a server for 20 minutes (make soak)")
	}
	length, err := time.ParseDuration(os.Getenv("SOAK"))
	if err != nil || length < 10*time.Second {
		t.Fatalf("SOAK=%s: want a duration of 10s or more, such as 20m", os.Getenv("SOAK"))
	}
	s := start(t, "--outbox-max", "256KiB", "--message-max", "64KiB", "--handshake-timeout", "5s")
	k := &soak{s: s, end: time.Now().Add(length), over: make(chan struct{}), stay: min(20*time.Second, length/5)}
	var samples []sample
	b := gather(t, s, gathering{groups: soakHealthy / 10, members: soakHealthy, pace: 100 * time.Millisecond})
	func() {
		defer b.dismiss()
		for i := range soakWanderers {
			k.live(i, k.wander)
		}
		for i := range soakDawdlers {
			k.live(i, k.dawdle)
		}
		for i := range soakHostile {
			k.live(i, k.harm)
		}
		k.running.Go(k.feed)
		samples = k.watch(t, b)
		close(k.over)
		k.running.Wait()
		b.goOn()
		b.alone()
	}()
	if err := k.failure.Load(); err != nil {
		t.Errorf("clients beside the healthy that failed: got %d, want 0; the first: %v", k.failures.Load(), *err)
	}
	got := s.status()
	equal(t, "panics", got.Total.Panics, 0)
	equal(t, "closed by the heartbeat", got.Total.HeartbeatClosed, 0)
	if got.Total.SlowClosed == 0 || got.Total.BadHandshakes == 0 || got.Total.ProtocolErrors == 0 {
		t.Errorf("got slow_closed %d, bad_handshakes %d, protocol_errors %d, want some of each: the soak does not soak",
			got.Total.SlowClosed, got.Total.BadHandshakes, got.Total.ProtocolErrors)
	}
	t.Logf("lives: %d of wanderers, %d of dawdlers, %d hostile; in all %d published, %d delivered, %d refused",
		k.lives[0].Load(), k.lives[1].Load(), k.lives[2].Load(), got.Total.Published, got.Total.Deliveries, got.Total.Refused)
	report(t, length, samples)
}

// soak is the load beside the healthy.
type soak struct {
	s        *server
	end      time.Time
	over     chan struct{}
	stay     time.Duration // how long a wanderer stays, on average
	running  sync.WaitGroup
	lives    [3]atomic.Int64 // wanderers', dawdlers', hostile ones'
	failures atomic.Int64
	failure  atomic.Pointer[error] // the first
}

// live runs one client after another until the soak is over.
func (k *soak) live(i int, life func(rnd *rand.Rand, from dialing) error) {
	rnd := rand.New(rand.NewPCG(20260401, uint64(i)))
	k.running.Go(func() {
		for k.rest(rnd, k.stay/4) { // the first time too: they connect over a period
			if err := life(rnd, dialing{small: true, from: elsewhere(i)}); err != nil && !k.isOver() {
				k.failures.Add(1)
				k.failure.CompareAndSwap(nil, &err)
			}
		}
	})
}

// rest waits for a random time about d and says whether the soak goes on.
func (k *soak) rest(rnd *rand.Rand, d time.Duration) bool {
	timer := time.NewTimer(min(time.Duration(rnd.ExpFloat64()*float64(d)), 5*d))
	defer timer.Stop()
	select {
	case <-k.over:
		return false
	case <-timer.C:
		return true
	}
}

func (k *soak) isOver() bool {
	select {
	case <-k.over:
		return true
	default:
		return false
	}
}

// linger reads for a random time about d. Being closed meanwhile is an error.
func (k *soak) linger(c *client, rnd *rand.Rand, d time.Duration) error {
	until := time.Now().Add(min(time.Duration(rnd.ExpFloat64()*float64(d)), 5*d))
	if until.After(k.end) {
		until = k.end
	}
	for {
		c.conn.SetReadDeadline(until)
		var late net.Error
		if _, err := c.in.Peek(1); errors.As(err, &late) && late.Timeout() {
			return nil // between two frames, so that it can read on later
		}
		e, err := c.read()
		if err != nil {
			return fmt.Errorf("while lingering: %w", err)
		}
		if e.op == ws.OpClose {
			return closedError{e.code, e.text}
		}
	}
}

// wander is the life of a well-behaved client: it joins groups, publishes, leaves half of the groups and ends in any way.
func (k *soak) wander(rnd *rand.Rand, from dialing) error {
	k.lives[0].Add(1)
	c, err := open(k.s.addr, from)
	if err != nil {
		return err
	}
	defer c.hangUp()
	group := func() string { return fmt.Sprintf("wanderers %d", rnd.IntN(500)) }
	var in []string
	for range 1 + rnd.IntN(3) {
		in = append(in, group())
		if _, err := c.ask(joinCommand(in[len(in)-1])); err != nil { // refused is an answer
			return err
		}
	}
	if _, err := c.ask(sendCommand(in[0], strings.Repeat("w", rnd.IntN(500)))); err != nil {
		return err
	}
	if err := k.linger(c, rnd, k.stay/2); err != nil {
		return err
	}
	if rnd.IntN(2) == 0 {
		if err := c.text(`{"cmd":"leave_group","group_id":` + quote(in[0]) + `}`); err != nil {
			return err
		}
	}
	if err := k.linger(c, rnd, k.stay/2); err != nil {
		return err
	}
	switch rnd.IntN(3) {
	case 0:
		c.die()
	case 1:
		c.closeWith(1000, "")
		c.discard()
	}
	return nil
}

// dawdle does not read, and is closed for it unless it begins to in time.
func (k *soak) dawdle(rnd *rand.Rand, from dialing) error {
	k.lives[1].Add(1)
	from.readBytes = slowBytes
	c, err := open(k.s.addr, from)
	if err != nil {
		return err
	}
	defer c.hangUp()
	if err := c.text(joinCommand("large")); err != nil {
		return err
	}
	k.rest(rnd, 10*time.Second)
	if rnd.IntN(2) == 0 && !k.isOver() {
		c.conn.SetReadDeadline(time.Now().Add(time.Second))
		io.Copy(io.Discard, c.in)
		k.rest(rnd, time.Second)
	}
	return nil
}

// feed publishes what fills the dawdlers' outboxes.
func (k *soak) feed() {
	pace := time.NewTicker(50 * time.Millisecond)
	defer pace.Stop()
	c, err := open(k.s.addr, dialing{})
	text := sendCommand("large", strings.Repeat("l", 32<<10))
	for err == nil {
		select {
		case <-k.over:
			c.hangUp()
			return
		case <-pace.C:
			_, err = c.ask(text) // refused is an answer
		}
	}
	k.failures.Add(1)
	k.failure.CompareAndSwap(nil, &err)
}

// harm is one small attack.
func (k *soak) harm(rnd *rand.Rand, from dialing) error {
	k.lives[2].Add(1)
	if rnd.IntN(2) == 0 {
		return spill(k.s, rnd, k.over)
	}
	c, err := connect(k.s.addr, from)
	if err != nil {
		return err
	}
	defer c.hangUp()
	switch rnd.IntN(4) {
	case 0: // half a handshake, until the server closes it
		c.raw([]byte("GET / HTTP/1.1\r\nHost: x\r\n"))
		k.rest(rnd, 5*time.Second)
	case 1: // a plain request
		c.raw([]byte("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"))
		c.discard()
	case 2: // a false length, and nothing after it
		if err := c.handshake(k.s.addr, from); err != nil {
			return err
		}
		c.raw([]byte{0x81, 0xFE, 0xFF, 0, 1, 2, 3, 4, 'x'})
		k.rest(rnd, 5*time.Second)
	case 3: // endless pings and joins, without reading
		if err := c.handshake(k.s.addr, from); err != nil {
			return err
		}
		var b []byte
		for i := range 500 {
			b = append(b, frameBytes(ws.OpPing, true, []byte("flood"))...)
			b = append(b, frameBytes(ws.OpText, true, []byte(joinCommand(fmt.Sprintf("flood %d", i))))...)
		}
		c.conn.SetWriteDeadline(time.Now().Add(time.Second)) // the write may block, which does not matter
		c.conn.Write(b)
		c.die()
	}
	return nil
}

// sample is the state of the server at one moment.
type sample struct {
	at time.Duration
	status
}

// watch samples until the end, and ends the soak early when the healthy have failed.
func (k *soak) watch(t *testing.T, b *bystanders) (samples []sample) {
	begin := time.Now()
	every := time.NewTicker(min(max(time.Until(k.end)/150, 250*time.Millisecond), 5*time.Second))
	defer every.Stop()
	for now := begin; now.Before(k.end); now = <-every.C {
		if err := b.failed(); err != nil {
			t.Fatalf("after %v: %v", now.Sub(begin).Round(time.Second), err)
		}
		samples = append(samples, sample{now.Sub(begin), k.s.status()})
	}
	return samples
}

// measure is one thing that must not grow. If the load alone makes it go up and down, the least of a window is used: the
// heap between two collections is mostly garbage.
type measure struct {
	name   string
	of     func(status) float64
	window int // samples of which the least counts

	// How much more the last fifth may have than the second, by the medians: a share, and what is small enough to be chance.
	share, more float64
}

// The margins. Clients connect and disconnect at random, but the number of thousands of them varies by a few percent only. A
// leak per client would be thousands in minutes, far beyond the margins. Descriptors and goroutines are counted without those
// of clients. The least of the heap still has what outboxes hold at the moment; of resident memory no least is taken, since
// Go returns pages at any time.
var measures = []measure{
	{"clients", func(s status) float64 { return float64(s.Total.Clients) }, 1, 0.10, 50},
	{"descriptors, less clients", func(s status) float64 { return float64(s.OpenFiles - s.Total.Clients - s.Total.Pending) }, 1, 0.25, 50},
	{"goroutines", func(s status) float64 { return float64(s.Goroutines) }, 1, 0, 5},
	{"heap MiB", func(s status) float64 { return float64(s.HeapBytes) / (1 << 20) }, 5, 0.20, 4},
	{"resident MiB", func(s status) float64 { return float64(s.RSSBytes) / (1 << 20) }, 1, 0.20, 16},
	{"groups", func(s status) float64 { return float64(s.Total.Groups) }, 1, 0.25, 50},
	{"resident bytes per client", func(s status) float64 { return float64(s.RSSBytes) / float64(max(s.Total.Clients, 1)) }, 1, 0.25, 4096},
}

// driftAfter is how long a soak must be for its fifths to be comparable.
const driftAfter = 5 * time.Minute

// report prints each measure over the fifths of the run, and compares the last fifth with the second: the first is
// warming up.
func report(t *testing.T, length time.Duration, samples []sample) {
	t.Helper()
	if len(samples) < 25 {
		t.Fatalf("samples: got %d, want some for each fifth of the run", len(samples))
	}
	var fifths [5][]sample
	for i := range fifths {
		fifths[i] = samples[i*len(samples)/5 : (i+1)*len(samples)/5]
	}
	var table strings.Builder
	fmt.Fprintf(&table, "%d samples over %v\n%-26s %6s %12s %12s %12s %12s %12s\n", len(samples), length,
		"", "fifth", "first", "last", "least", "most", "median")
	for _, m := range measures {
		var medians [5]float64
		for i, f := range fifths {
			var all []float64
			for _, s := range f {
				all = append(all, m.of(s.status))
			}
			medians[i] = m.median(all)
			fmt.Fprintf(&table, "%-26s %6d %12.1f %12.1f %12.1f %12.1f %12.1f\n", m.name, i+1,
				all[0], all[len(all)-1], slices.Min(all), slices.Max(all), medians[i])
		}
		if limit := medians[1]*(1+m.share) + m.more; length >= driftAfter && medians[4] > limit {
			t.Errorf("drift of %s: got %.1f in the last fifth, want at most %.1f after %.1f in the second", m.name, medians[4], limit, medians[1])
		}
	}
	t.Log(table.String())
	if length < driftAfter {
		t.Logf("drift is not judged in less than %v", driftAfter)
	}
}

// median is the median of the windows' least values.
func (m measure) median(all []float64) float64 {
	var least []float64
	for w := range slices.Chunk(all, m.window) {
		least = append(least, slices.Min(w))
	}
	slices.Sort(least)
	return least[len(least)/2]
}
