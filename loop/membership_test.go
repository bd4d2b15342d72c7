package loop

import (
	"math/rand/v2"
	"testing"
)

// A client of many groups has the first in itself and the others beside; what is beside goes with the last of them.
func TestMembershipsCloseRanks(t *testing.T) {
	for seed := range uint64(500) {
		rng := rand.New(rand.NewPCG(seed, 2))
		groups := make([]*group, 6)
		for i := range groups {
			groups[i] = &group{}
			other := &client{}
			other.confirm(other.ask(groups[i], false))
		}
		c, in := &client{}, map[*group]bool{}
		for range 60 {
			g := groups[rng.IntN(len(groups))]
			if at := c.memberOf(g); at < 0 {
				c.confirm(c.ask(g, false))
				in[g] = true
			} else if left := c.withdraw(at); left != g {
				t.Fatalf("seed %d: withdrew from another group", seed)
			} else {
				delete(in, g)
			}
			if c.groupCount() != len(in) || (c.extra != nil) != (len(in) > 1) {
				t.Fatalf("seed %d: got %d groups, extra %v, want %d groups", seed, c.groupCount(), c.extra, len(in))
			}
			for at := range c.groupCount() {
				m := c.membership(at)
				if m.group.audience(c.form()).members[m.pos] != c || c.memberOf(m.group) != at || !in[m.group] {
					t.Fatalf("seed %d: place %d of the client and its group do not point at each other", seed, at)
				}
			}
		}
	}
}
