package loop

import (
	"fmt"
	"strings"
	"testing"

	"ringcast/loop/order"
	"ringcast/wsproto"
)

// These benchmarks measure our own work, without the kernel's; bench/ measures the server.

// fakeHub is a hub on sockets that take everything.
func fakeHub(loops int) *Hub {
	h := newHub(loops, defaultBounds(), nil)
	h.clientsMax.Store(1 << 30)
	for _, s := range h.shards {
		s.env = env{
			now: func() int64 { return 0 }, wake: func() {}, kick: func() {}, yield: func() {},
			send: func(_ int, p []byte) sent { return sent{n: len(p)} },
			cut:  func(c conn) {}, shut: func(int) {}, panic: func(p any) { panic(p) },
		}
	}
	return h
}

type nullConn struct{}

func (nullConn) Write(p []byte) (int, error) { return len(p), nil }
func (nullConn) OutboundBuffered() int       { return 0 }
func (nullConn) Fd() int                     { return 3 }

func say(s *shard, c *client, text string) {
	s.deferral.heardAt = -busyGap // the loop has slept: it acts at once
	s.traffic(c, wsproto.AppendMaskedFrame(nil, wsproto.OpText, [4]byte{}, []byte(text)))
}

func (h *Hub) openFake(loop int) *client {
	h.connections.Add(1)
	s := h.shards[loop]
	c := s.opened(nullConn{})
	s.deferral.heardAt = -busyGap
	s.traffic(c, []byte(simRequest))
	return c
}

// settleFake calls every loop until all lanes are empty.
func (h *Hub) settleFake() {
	for range 4 {
		for _, s := range h.shards {
			s.woken()
		}
	}
}

// BenchmarkLaneHop is one message from a client on one loop over a home to a member on another loop.
func BenchmarkLaneHop(b *testing.B) {
	h := fakeHub(2)
	group := "g"
	for i := 0; h.homes.Of(group) != 1; i++ {
		group = fmt.Sprint("g", i)
	}
	member, sender := h.openFake(1), h.openFake(0)
	say(h.shards[1], member, `{"cmd":"add_group","group_id":"`+group+`"}`)
	h.settleFake()
	text := `{"cmd":"send_to_group","group_id":"` + group + `","message":"` + strings.Repeat("x", 64) + `"}`
	frame := wsproto.AppendMaskedFrame(nil, wsproto.OpText, [4]byte{}, []byte(text))
	in := make([]byte, len(frame))
	b.ReportAllocs()
	for b.Loop() {
		copy(in, frame)
		h.shards[0].traffic(sender, in)
		h.shards[1].woken()
	}
	if got := h.Snapshot().Total().Deliveries; got == 0 {
		b.Fatal("nothing was delivered")
	}
}

// BenchmarkJoin is a client that joins and leaves a group: one that others of its loop are in, and one of its own.
func BenchmarkJoin(b *testing.B) {
	for _, others := range []int{1, 0} {
		b.Run(fmt.Sprintf("others=%d", others), func(b *testing.B) {
			h := fakeHub(2)
			s := h.shards[0]
			for range others {
				say(s, h.openFake(0), `{"cmd":"add_group","group_id":"g"}`)
			}
			h.settleFake()
			c := h.openFake(0)
			var frames [2][]byte
			for i, cmd := range []string{"add_group", "leave_group"} {
				frames[i] = wsproto.AppendMaskedFrame(nil, wsproto.OpText, [4]byte{}, []byte(`{"cmd":"`+cmd+`","group_id":"g","id":1}`))
			}
			in := make([]byte, 0, 100)
			b.ReportAllocs()
			for b.Loop() {
				for _, frame := range frames {
					s.deferral.heardAt = -busyGap
					s.traffic(c, append(in[:0], frame...))
				}
			}
		})
	}
}

func BenchmarkPass(b *testing.B) {
	for _, members := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprint(members), func(b *testing.B) {
			s, g, m := passOver(members)
			b.ReportAllocs()
			for b.Loop() {
				s.passes.gather(g, m)
				s.runPasses()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*members), "ns/delivery")
		})
	}
}

func passOver(members int) (*shard, *group, *message) {
	h := fakeHub(1)
	s := h.shards[0]
	for range members {
		say(s, h.openFake(0), `{"cmd":"add_group","group_id":"g"}`)
	}
	m, _ := order.NewMessage([]byte("g"), []byte(strings.Repeat("x", 64)), nil, false)
	return s, s.groups.Get("g"), m
}

func TestAPassAllocatesNothing(t *testing.T) {
	for _, members := range []int{1, 100, 10_000} {
		s, g, m := passOver(members)
		for batch := 1; batch <= 64; batch *= 8 {
			before := s.count.Deliveries.Load()
			const runs = 20
			allocs := testing.AllocsPerRun(runs, func() {
				for range batch {
					s.passes.gather(g, m)
				}
				s.runPasses()
			})
			if want := uint64((runs + 1) * batch * members); s.count.Deliveries.Load()-before != want {
				t.Fatalf("deliveries: got %d, want %d", s.count.Deliveries.Load()-before, want)
			}
			if allocs != 0 {
				t.Errorf("%d members, batch of %d: got %v allocations a pass, want 0", members, batch, allocs)
			}
		}
	}
}

// A client of as many groups as there may be goes; others are in the same.
func BenchmarkBury(b *testing.B) {
	h := fakeHub(1)
	s := h.shards[0]
	join := func() *client {
		c := h.openFake(0)
		for g := range 1024 {
			say(s, c, fmt.Sprintf(`{"cmd":"add_group","group_id":%d}`, g))
		}
		return c
	}
	for range 20 {
		join()
	}
	for b.Loop() {
		b.StopTimer()
		c := s.clients[0]
		join()
		b.StartTimer()
		s.closed(c)
	}
}
