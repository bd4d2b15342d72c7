package loop

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"ringcast/loop/order"
	"ringcast/wsproto"
)

// These benchmarks measure our own work, without the kernel's; bench/ measures the server.

// fakeHub is a hub on sockets that take everything.
func fakeHub(loops int) *Hub {
	h := newHub(loops, defaultBounds())
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
	s.hold.take() // as in a callback, for what the caller does
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

// BenchmarkManyGroups is what a client that is in many groups costs its loop: when it joins one more and leaves it, asks for one
// that it has, publishes to one, and goes. Others are in the same groups, and joined them in the same order or in another.
func BenchmarkManyGroups(b *testing.B) {
	for _, groups := range []int{10, 64, 1000, 100_000} {
		h := fakeHub(1)
		s := h.shards[0]
		bounds := *s.bounds
		bounds.GroupsPerClient = 1 << 30
		s.bounds = &bounds
		h.bounds.Store(&bounds)
		enter := func(order []int) *client {
			c := h.openFake(0)
			for _, g := range order {
				say(s, c, fmt.Sprintf(`{"cmd":"add_group","group_id":%d}`, g))
			}
			return c
		}
		same := make([]int, groups)
		for i := range same {
			same[i] = i
		}
		other := rand.New(rand.NewPCG(1, 1)).Perm(groups)
		say(s, h.openFake(0), `{"cmd":"add_group","group_id":"more"}`)
		c := enter(same)
		in := make([]byte, 0, 200)
		say := func(format string, args ...any) func() {
			frame := wsproto.AppendMaskedFrame(nil, wsproto.OpText, [4]byte{}, fmt.Appendf(nil, format, args...))
			return func() {
				s.deferral.heardAt = -busyGap
				s.traffic(c, append(in[:0], frame...))
			}
		}
		last := groups - 1
		for _, of := range []struct {
			name  string
			steps []func()
		}{
			{"join,leave", []func(){say(`{"cmd":"add_group","group_id":"more","id":1}`), say(`{"cmd":"leave_group","group_id":"more","id":1}`)}},
			{"again", []func(){say(`{"cmd":"add_group","group_id":%d,"id":1}`, last)}},
			{"publish", []func(){say(`{"cmd":"send_to_group","group_id":%d,"message":"x","id":1}`, last)}},
		} {
			b.Run(fmt.Sprintf("%s/groups=%d", of.name, groups), func(b *testing.B) {
				for b.Loop() {
					for _, step := range of.steps {
						step()
					}
				}
			})
		}
		for _, of := range []struct {
			name  string
			order []int
		}{{"same", same}, {"other", other}} {
			b.Run(fmt.Sprintf("bury,%s order/groups=%d", of.name, groups), func(b *testing.B) {
				for b.Loop() {
					b.StopTimer()
					first := enter(same) // the one that goes; each group's last member takes its place
					stays := enter(of.order)
					b.StartTimer()
					s.closed(first)
					b.StopTimer()
					s.closed(stays)
					b.StartTimer()
				}
			})
		}
	}
}
