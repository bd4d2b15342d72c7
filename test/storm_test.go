package test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// crowd is thousands of clients that are not read until needed.
type crowd []*client

// elsewhere is the local address of the nth of thousands, which it shares with a few: one address has ports for 28,000
// connections to a server, and those of closed connections stay in use for a minute.
func elsewhere(n int) string { return fmt.Sprintf("127.0.1.%d", 1+n%200) }

// arrive connects n clients, atOnce of them at a time, and calls greet with each. One that is refused tries again, as clients
// do: the promise is that all of them are accepted in the end.
func arrive(t *testing.T, s *server, n, atOnce int, d dialing, greet func(i int, c *client) error) crowd {
	t.Helper()
	var files syscall.Rlimit
	must(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files))
	if files.Cur < uint64(n+spareFiles) {
		t.Skipf("%d connections take more than the %d files that may be open here (ulimit -n)", n, files.Cur)
	}
	all := make(crowd, n)
	next, again := atomic.Int64{}, atomic.Int64{}
	var failure atomic.Pointer[error]
	var coming sync.WaitGroup
	deadline := time.Now().Add(2 * patience)
	for range atOnce {
		coming.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && failure.Load() == nil; i = int(next.Add(1)) - 1 {
				d := d
				d.from = elsewhere(i)
				for {
					c, err := connect(s.addr, d)
					if err == nil {
						if err = greet(i, c); err == nil {
							all[i] = c
							break
						}
						c.hangUp()
					}
					if time.Now().After(deadline) {
						err = fmt.Errorf("client %d of %d does not get in: %w", i, n, err)
						failure.CompareAndSwap(nil, &err)
						return
					}
					again.Add(1)
					<-time.After(time.Duration(rand.Int64N(int64(100 * time.Millisecond)))) // as a well-behaved client does
				}
			}
		})
	}
	coming.Wait()
	t.Cleanup(func() { all.each((*client).hangUp) })
	if err := failure.Load(); err != nil {
		t.Fatal(*err)
	}
	if got := again.Load(); got > 0 {
		t.Logf("%d clients got in after %d vain attempts", n, got)
	}
	return all
}

// spareFiles are for everything else that a test has open, at both ends.
const spareFiles = 1_000

func (all crowd) each(f func(*client)) {
	for _, c := range all {
		if c != nil {
			f(c)
		}
	}
}

// joins greets by a handshake and a join.
func joins(s *server, group func(i int) string) func(int, *client) error {
	return func(i int, c *client) error {
		if err := c.handshake(s.addr, dialing{}); err != nil {
			return err
		}
		return c.join(group(i))
	}
}

func TestFaultThousandsThatVanishAndComeBackAtOnceHarmNobody(t *testing.T) {
	fault(t)
	s := start(t)
	n := size(2_000, 15_000)
	if raceDetector {
		n = size(1_000, 5_000)
	}
	const groups = 50
	group := func(i int) string { return fmt.Sprintf("%s/%d", t.Name(), i%groups) }
	besidesOf(t, s, many, func(b *bystanders) {
		sender := dial(t, s)
		must(t, sender.join("the sender's own"))
		for round, vanish := range []func(*client){(*client).die, (*client).hangUp} {
			// The first time they connect at the usual rate, the second time all at once.
			atOnce := []int{64, n}[round]
			all := arrive(t, s, n, atOnce, dialing{small: true}, joins(s, group))
			b.goOn()
			for g := range groups {
				must1(t, sender.askOK)(sendCommand(group(g), fmt.Sprintf("round %d", round)))
			}
			for _, c := range all {
				c.expect(t, fmt.Sprintf("round %d", round))
			}
			all.each(vanish)
			b.goOn()
			must(t, sender.join(group(round))) // new clients are served while the ended ones are removed
			must(t, sender.leave(group(round)))
			if round == 1 {
				sender.hangUp()
				b.alone()
			}
		}
	})
}

func TestFaultUnfinishedHandshakesKeepNobodyOut(t *testing.T) {
	fault(t)
	n, timeout := size(2_000, 10_000), size(2*time.Second, 10*time.Second)
	s := start(t, "--handshake-timeout", timeout.String())
	besidesOf(t, s, many, func(b *bystanders) {
		begun := []string{"", "G", "GET / HTTP/1.1\r\n", "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nSec-WebSocket-Key: "}
		come := make(chan crowd, 1)
		coming := make(chan struct{})
		go func() {
			defer close(coming)
			come <- arrive(t, s, n, 64, dialing{small: true}, func(i int, c *client) error { return c.raw([]byte(begun[i%len(begun)])) })
		}()
		// While they connect and stay, real clients are accepted and served; the last of them when all are connected.
		most := int64(0)
		for all := false; !all; {
			select {
			case <-coming:
				all = true
			default:
			}
			c, err := open(s.addr, dialing{})
			must(t, err)
			must(t, c.commands(joinCommand("real"), sendCommand("real", "served")))
			c.expect(t, "served")
			c.hangUp()
			most = max(most, s.status().Total.Pending)
		}
		b.goOn()
		if most < int64(n)/4 { // some may have timed out by then
			t.Errorf("unfinished handshakes at one time: got at most %d of %d, want many: the test does not test", most, n)
		}
		for _, c := range <-come { // each gets an answer, or is closed if it has sent nothing
			if _, err := c.discard(); err != nil {
				t.Fatalf("an unfinished handshake: %v", err)
			}
			c.hangUp()
		}
		b.alone()
	})
}

func TestFaultGarbageFromHundredsOfSocketsHarmsNobody(t *testing.T) {
	fault(t)
	s := start(t)
	const seed = 20260301
	besidesOf(t, s, many, func(b *bystanders) {
		over := make(chan struct{})
		timer := time.AfterFunc(size(2*time.Second, time.Minute), func() { close(over) }) // the garbage is measured in time
		defer timer.Stop()
		var wg sync.WaitGroup
		for socket := range size(100, 500) {
			wg.Go(func() {
				rnd := rand.New(rand.NewPCG(seed, uint64(socket)))
				for life := 0; ; life++ {
					select {
					case <-over:
						return
					default:
					}
					if err := spill(s, rnd, over); err != nil {
						t.Errorf("seed %d socket %d life %d: %v", seed, socket, life, err)
						return
					}
				}
			})
		}
		b.goOn()
		wg.Wait()
		b.goOn()
		b.alone()
	})
}

// spill is one socket that sends garbage until it is closed or has sent enough. The only error is a server that cannot be
// reached.
func spill(s *server, rnd *rand.Rand, over <-chan struct{}) error {
	c, err := connect(s.addr, dialing{small: true})
	if err != nil {
		return err
	}
	defer c.hangUp()
	kind := rnd.IntN(5)
	if kind > 0 {
		if err := c.handshake(s.addr, dialing{}); err != nil {
			return err
		}
	}
	b := make([]byte, 1+rnd.IntN(2000))
	for range 1 + rnd.IntN(20) {
		for i := range b {
			b[i] = byte(rnd.Uint32())
		}
		out := b
		switch kind {
		case 2: // sound frames with garbage in them
			out = frameBytes([]ws.OpCode{ws.OpText, ws.OpBinary}[rnd.IntN(2)], rnd.IntN(2) == 0, b)
		case 3: // a sound frame with a bit of it flipped
			out = frameBytes(ws.OpText, true, []byte(joinCommand("garbage")))
			out[rnd.IntN(len(out))] ^= 1 << rnd.IntN(8)
		case 4: // a sound command with a byte of it garbled
			text := []byte(sendCommand("garbage", strings.Repeat("g", rnd.IntN(200))))
			text[rnd.IntN(len(text))] = b[0]
			out = frameBytes(ws.OpText, true, text)
		}
		if c.raw(out) != nil {
			return nil // closed, as it should be
		}
		select {
		case <-over:
			return nil
		default:
		}
	}
	if rnd.IntN(2) == 0 {
		c.die()
	}
	return nil
}

func TestFaultDeafClientsHarmNobodyAndGiveTheirMemoryBack(t *testing.T) {
	fault(t)
	s := start(t, "--outbox-max", "256KiB", "--message-max", "64KiB")
	deafs := size(100, 1_000)
	text := strings.Repeat("x", 48<<10)
	besidesOf(t, s, many, func(b *bystanders) {
		sender := dial(t, s)
		heap := func() uint64 { return s.status().HeapBytes }
		before := heap()
		all := arrive(t, s, deafs, 16, dialing{small: true, readBytes: slowBytes}, joins(s, func(int) string { return t.Name() }))
		most, sent := uint64(0), 0
		for got := s.status().Total; got.SlowClosed < uint64(deafs) && got.Members > b.members(); got = s.status().Total {
			for range 4 {
				if r, err := sender.ask(sendCommand(t.Name(), text)); err != nil {
					t.Fatalf("the sender to the deaf: %v", err) // refused it may be, cut not
				} else if r.Error == nil {
					sent++
				}
			}
			most = max(most, heap())
			if sent > 1<<10 {
				t.Fatalf("sent %d texts of 48 KiB: got %+v, want the deaf closed", sent, got)
			}
		}
		b.goOn()
		// A client that finally reads gets texts and then the reason; or a reset, if that is later than the server waits.
		var told atomic.Int64
		var listening sync.WaitGroup
		for _, c := range all[:10] {
			listening.Go(func() {
				for {
					got, err := c.next()
					var closed closedError
					var late net.Error
					switch {
					case err == nil && got == text:
						continue
					case errors.As(err, &closed) && closed.code == 4008:
						told.Add(1)
					case err == nil, errors.As(err, &closed), errors.As(err, &late) && late.Timeout():
						t.Errorf("a deaf client that listens at last: got %s, %v, want close 4008 or the end", brief([]string{got}), err)
					}
					return
				}
			})
		}
		listening.Wait()
		if told.Load() == 0 {
			t.Errorf("10 deaf clients that listen at last: got close 4008 by none, want it by most")
		}
		sender.hangUp()
		all.each((*client).hangUp)
		b.alone()
		// What the outboxes held is free. The collector comes with allocations, so there must be some: publishes to nobody.
		idle := dial(t, s)
		limit := before + uint64(deafs)*(256<<10)/4
		s.eventually("their memory is given back", func() error {
			for range 64 {
				if _, err := idle.ask(sendCommand("nobody", text)); err != nil {
					return err
				}
			}
			if got := heap(); got > limit {
				return fmt.Errorf("got a heap of %d KiB, want less than %d", got>>10, limit>>10)
			}
			return nil
		})
		t.Logf("%d deaf, %d texts, %d of 10 told; heap before %d KiB, most %d KiB, after %d KiB", deafs, sent, told.Load(), before>>10, most>>10, heap()>>10)
	})
}
