package loop

import (
	"math/rand/v2"
	"strconv"
	"testing"
	"unsafe"
)

// Removal moves members through the borders of a pass. Whatever is removed and added in whatever order while a pass
// goes on: each member that stays is served exactly once, who joined since not at all.
func TestRemovalDuringAPassServesTheRestOnce(t *testing.T) {
	for seed := range uint64(2000) {
		rng := rand.New(rand.NewPCG(seed, 1))
		g, s := &group{}, fakeHub(1).shards[0]
		join := func() *client {
			c := &client{shard: s}
			c.confirm(c.ask(g, false, false))
			return c
		}
		served, stays := map[*client]int{}, map[*client]bool{}
		for range 1 + rng.IntN(12) {
			stays[join()] = true
		}
		s.passes.gather(g, messageOf("x"))
		s.begin(g, &g.inline)
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

// See the comment of group.
func TestAGroupsInlineAudienceIsACacheLine(t *testing.T) {
	if strconv.IntSize == 32 {
		t.Skip("pointers have 4 bytes here: a group is smaller, and two may share a cache line, which costs time alone")
	}
	if got := unsafe.Sizeof(audience{}); got != 64 {
		t.Errorf("an audience has %d bytes, want 64", got)
	}
	if got := unsafe.Sizeof(group{}); got != 128 {
		t.Errorf("a group has %d bytes, want 128", got)
	}
}
