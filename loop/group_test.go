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
		g.waiting = [][]byte{{1}}
		g.begin(100, nil)
		var late []*client
		for g.cur < g.end {
			switch rng.IntN(3) {
			case 0:
				served[g.members[g.cur]]++
				g.cur++
			case 1:
				late = append(late, join())
			default:
				at := rng.IntN(len(g.members))
				c := g.members[at]
				c.withdraw(0)
				delete(stays, c)
			}
			for pos, m := range g.members {
				if got := int(m.first.pos); got != pos {
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

func TestBatchIsCutAtAFrameBorder(t *testing.T) {
	g := &group{waiting: [][]byte{[]byte("aaa"), []byte("bbb"), []byte("ccccccccc"), []byte("d")}}
	for _, want := range []string{"aaabbb", "ccccccccc", "d"} {
		taken := g.begin(7, nil)
		if string(g.batch) != want || taken != len(want) {
			t.Errorf("batch: got %q (%d bytes), want %q", g.batch, taken, want)
		}
		g.finish()
	}
}

func TestASingleFrameIsSentWithoutACopy(t *testing.T) {
	frame := []byte("frame")
	g := &group{waiting: [][]byte{frame}}
	g.begin(100, nil)
	if &g.batch[0] != &frame[0] {
		t.Error("got a copy, want the shared frame itself")
	}
	if spare := g.finish(); spare != nil {
		t.Error("a shared frame was given back as spare memory; the next batch would overwrite it")
	}
}
