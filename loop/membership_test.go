package loop

import (
	"math/rand/v2"
	"testing"
)

// A client of many groups has the first in itself and the others beside, with an index while they are many; what is beside goes with
// the last of them. Clients come to be in many groups and leave them again, in whatever order.
func TestMembershipsCloseRanks(t *testing.T) {
	indexed, dropped := 0, 0
	for seed := range uint64(500) {
		rng := rand.New(rand.NewPCG(seed, 2))
		b := defaultBounds()
		b.scannedMax = []int{0, 3, 6, 64}[rng.IntN(4)]
		s := newHub(1, b).shards[0]
		groups := make([]*group, 1+rng.IntN(15))
		for i := range groups {
			groups[i] = &group{}
			other := &client{shard: s}
			other.confirm(other.ask(groups[i], false, false))
		}
		c, in, renounced := &client{shard: s}, map[*group]bool{}, map[*group]bool{}
		hadIndex := false
		for range 150 {
			g := groups[rng.IntN(len(groups))]
			switch at := c.memberOf(g); {
			case at < 0 && rng.IntN(3) > 0:
				c.confirm(c.ask(g, false, false))
				in[g] = true
			case at < 0:
				c.stand(c.ask(g, false, false), standingRenounced)
				in[g], renounced[g] = true, true
			case renounced[g] && rng.IntN(2) == 0:
				c.stand(at, standingAsked)
				delete(renounced, g)
			case !renounced[g] && c.membership(at).standing == standingAsked && rng.IntN(2) == 0:
				c.confirm(at)
			default:
				if left := c.withdraw(at); left != g {
					t.Fatalf("seed %d: withdrew from another group", seed)
				}
				delete(in, g)
				delete(renounced, g)
			}
			if c.groupCount() != len(in) || (c.extra != nil) != (len(in) > 1) {
				t.Fatalf("seed %d: got %d groups, extra %v, want %d groups", seed, c.groupCount(), c.extra, len(in))
			}
			if got := c.renouncedCount(); got != len(renounced) {
				t.Fatalf("seed %d: got %d groups that the client has left, want %d", seed, got, len(renounced))
			}
			for at := range c.groupCount() {
				m := c.membership(at)
				if c.memberOf(m.group) != at || !in[m.group] ||
					m.standing == standingMember && m.group.audience(c.form(), m.hears()).members[m.pos] != c {
					t.Fatalf("seed %d: place %d of the client and its group do not point at each other", seed, at)
				}
			}
			has := c.extra != nil && c.extra.index != nil
			if n := len(in) - 1; has && (n < b.scannedMax/2 || c.extra.index.Len() != n) || !has && n > b.scannedMax {
				t.Fatalf("seed %d: %d groups beside the first, an index: %v; want one above %d and none below half of it", seed, n, has, b.scannedMax)
			}
			if hadIndex && !has {
				dropped++
			} else if has && !hadIndex {
				indexed++
			}
			hadIndex = has
		}
	}
	if indexed == 0 || dropped == 0 {
		t.Errorf("got %d indexes made and %d dropped, want some", indexed, dropped)
	}
}

// A client that was in very many groups does not keep the memory of them.
func TestAClientThatLeavesItsGroupsGivesTheirMemoryBack(t *testing.T) {
	s := fakeHub(1).shards[0]
	c := &client{shard: s}
	for range 10_000 {
		c.ask(&group{}, false, false)
	}
	for c.groupCount() > 2 {
		c.withdraw(c.groupCount() / 2)
	}
	if n := cap(c.extra.further); n > furtherKeptMin || c.extra.index != nil {
		t.Errorf("in two groups: got room for %d more and an index %v, want at most %d and none", n, c.extra.index, furtherKeptMin)
	}
}
