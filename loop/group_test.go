package loop

import (
	"math/rand/v2"
	"testing"
)

// Removal moves members through the borders of a pass. Whatever is removed and added in whatever order while a pass
// goes on: each member that stays is served exactly once, who joined since not at all.
func TestRemovalDuringAPassServesTheRestOnce(t *testing.T) {
	for seed := range uint64(2000) {
		rng := rand.New(rand.NewPCG(seed, 1))
		g := &group{}
		join := func() *client {
			c := &client{}
			c.confirm(c.ask(g, false))
			return c
		}
		served, stays := map[*client]int{}, map[*client]bool{}
		for range 1 + rng.IntN(12) {
			stays[join()] = true
		}
		s := fakeHub(1).shards[0]
		s.passes.gather(g, messageOf("x"))
		s.begin(&g.inline)
		aud, pass := &g.inline, g.inline.pass
		var late []*client
		for pass.cur < pass.end {
			switch rng.IntN(3) {
			case 0:
				served[aud.members[pass.cur]]++
				pass.cur++
			case 1:
				late = append(late, join())
			default:
				at := rng.IntN(len(aud.members))
				c := aud.members[at]
				c.withdraw(0)
				delete(stays, c)
			}
			for pos, m := range aud.members {
				if got := int(m.inline.pos); got != pos {
					t.Fatalf("seed %d: a member believes to be at %d, is at %d", seed, got, pos)
				}
			}
		}
		for c := range stays {
			if served[c] != 1 {
				t.Fatalf("seed %d: a member that stayed was served %d times, want once", seed, served[c])
			}
		}
		for _, c := range late {
			if served[c] != 0 {
				t.Fatalf("seed %d: a member that joined since was served", seed)
			}
		}
	}
}

// messageOf is a message whose plain frame is text, without a header.
func messageOf(text string) *message {
	m := &message{}
	m.Frame = []byte(text)
	return m
}

func TestBatchIsCutAtAFrameBorder(t *testing.T) {
	s, g := fakeHub(1).shards[0], &group{}
	g.add(&client{})
	s.bounds.batchBytes = 7
	for _, text := range []string{"aaa", "bbb", "ccccccccc", "d"} {
		s.passes.gather(g, messageOf(text))
	}
	for _, want := range []string{"aaabbb", "ccccccccc", "d"} {
		if !s.begin(&g.inline) || string(g.inline.pass.batch) != want {
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
	g.add(&client{})
	spare := make([]byte, 0, 100)
	s.passes.spare = spare
	s.passes.gather(g, m)
	s.begin(&g.inline)
	if &g.inline.pass.batch[0] != &m.Frame[0] {
		t.Error("got a copy, want the shared frame itself")
	}
	s.passes.end(&g.inline, 1<<20)
	if cap(s.passes.spare) != cap(spare) || &s.passes.spare[:1][0] != &spare[:1][0] {
		t.Error("the spare buffer is another one: a shared frame was given back, which the next batch would overwrite, or the buffer was thrown away")
	}
}
