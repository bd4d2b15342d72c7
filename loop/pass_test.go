package loop

import (
	"fmt"
	"testing"
)

// A turn's passes end with their budget, however the groups are cut: many of one member as well as one of many.
func TestATurnsPassesKeepTheirBudget(t *testing.T) {
	const sendNanos, budget = 10_000, 1_000_000
	for _, groups := range []int{1, 2000} {
		for start := range uint32(sendsPerClock) {
			h := fakeHub(1)
			s := h.shards[0]
			var nanos int64
			s.env.send = func(_ int, p []byte) sent { nanos += sendNanos; return sent{n: len(p)} }
			s.bounds.GroupsPerClient = 1 << 20
			for i := range 2000 {
				say(s, h.openFake(0), fmt.Sprintf(`{"cmd":"add_group","group_id":"%d"}`, i%groups))
			}
			kicks := 0
			s.env.kick, s.env.now = func() { kicks++ }, func() int64 { return nanos }
			for _, g := range s.groups.All() {
				s.passes.gather(g, messageOf("x"))
			}
			nanos, s.passes.sends, s.passes.deadline = 0, start, 0
			s.woken()
			if most := int64(budget + 2*sendsPerClock*sendNanos); nanos > most || kicks != 1 {
				t.Errorf("%d groups, %d sends before: a turn took %d ns with %d kicks, want at most %d and one kick",
					groups, start, nanos, kicks, most)
			}
		}
	}
}

// messageOf is a message whose plain frame is text, without a header.
func messageOf(text string) *message {
	m := &message{}
	m.Wire = text
	return m
}

func TestBatchIsCutAtAFrameBorder(t *testing.T) {
	s, g := fakeHub(1).shards[0], &group{}
	g.add(&client{}, false)
	s.bounds.batchBytes = 7
	for _, text := range []string{"aaa", "bbb", "ccccccccc", "d"} {
		s.passes.gather(g, messageOf(text))
	}
	for _, want := range []string{"aaabbb", "ccccccccc", "d"} {
		if s.begin(g, &g.inline) != 0 || string(g.inline.pass.batch) != want {
			t.Fatalf("batch: got %q, want %q", g.inline.pass.batch, want)
		}
		s.passes.end(&g.inline, 1<<20)
	}
	if s.passes.gathered != 0 {
		t.Errorf("nothing waits, but %d bytes are counted", s.passes.gathered)
	}
}

func TestASingleFrameIsSentWithoutACopy(t *testing.T) {
	s, g, m := fakeHub(1).shards[0], &group{}, messageOf("frame")
	g.add(&client{}, false)
	spare := make([]byte, 0, 100)
	s.passes.spare = spare
	s.passes.gather(g, m)
	s.begin(g, &g.inline)
	if &g.inline.pass.batch[0] != &m.Frame()[0] {
		t.Error("got a copy, want the shared frame itself")
	}
	s.passes.end(&g.inline, 1<<20)
	if cap(s.passes.spare) != cap(spare) || &s.passes.spare[:1][0] != &spare[:1][0] {
		t.Error("the spare buffer is another one: a shared frame was given back, which the next batch would overwrite, or the buffer was thrown away")
	}
}
