package loop

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
)

// Loops that really run at once, and a home for each group: no bound is passed for a moment, and what has left is counted
// no more.
func TestHeadcountsAreExactWhenLoopsMeet(t *testing.T) {
	const loops = 6
	rounds := 200_000
	if invariants {
		rounds /= 20
	}
	type counted struct {
		headcount
		home sync.Mutex // whoever holds it is the home
		in   atomic.Int64
	}
	b := &bounds{Limits: Limits{MembersMax: loops / 2, GroupsMax: 2}}
	var n census
	groups := make([]counted, 3)
	var byMembers, byGroups atomic.Int64
	var all sync.WaitGroup
	for i := range loops {
		all.Go(func() {
			for round := range rounds {
				g := &groups[(i+round)%len(groups)]
				got := g.enter(b)
				if got == isEmpty {
					g.home.Lock()
					why, ok := n.enter(&g.headcount, b)
					if got = entered; !ok {
						got = isFull
					}
					if !ok && why == refusedGroups {
						byGroups.Add(1)
					}
					g.home.Unlock()
				} else if got == isFull {
					byMembers.Add(1)
				}
				if got == isFull {
					continue
				}
				if in := g.in.Add(1); in > int64(b.MembersMax) {
					t.Errorf("%d members, bound %d", in, b.MembersMax)
				}
				runtime.Gosched() // others come while this one is in
				if groups := n.groups.Load(); groups < 1 || groups > int64(b.GroupsMax) {
					t.Errorf("%d groups while one has members, bound %d", groups, b.GroupsMax)
				}
				g.in.Add(-1)
				n.leave(&g.headcount)
			}
		})
	}
	all.Wait()
	for i := range groups {
		if got := groups[i].members.Load(); got != 0 {
			t.Errorf("group %d: %d members are left", i, got)
		}
	}
	if got := n.groups.Load(); got != 0 {
		t.Errorf("%d groups are left", got)
	}
	if byMembers.Load() == 0 || byGroups.Load() == 0 {
		t.Errorf("the loops did not meet: %d refused by members, %d by groups", byMembers.Load(), byGroups.Load())
	}
}

// Two that come to an empty group at the same time both get in, though there may be only one group.
func TestWhoMeetsAGroupsBeginningIsNotRefused(t *testing.T) {
	var n census
	var r headcount
	var home sync.Mutex
	b := &bounds{Limits: Limits{GroupsMax: 1}}
	for range 20_000 {
		var both sync.WaitGroup
		for range 2 {
			both.Go(func() {
				if r.enter(b) == isEmpty {
					home.Lock()
					defer home.Unlock()
					if _, ok := n.enter(&r, b); !ok {
						t.Error("refused")
					}
				}
			})
		}
		both.Wait()
		n.leave(&r)
		n.leave(&r)
	}
}
