package order

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"ringcast/loop/assert"
)

// Loops that really run at once, and a home for each group: no bound is passed for a moment, and what has left is counted
// no more.
func TestHeadcountsAreExactWhenLoopsMeet(t *testing.T) {
	const loops = 6
	rounds := 200_000
	if assert.On {
		rounds /= 20
	}
	type counted struct {
		Headcount
		home sync.Mutex // whoever holds it is the home
		in   atomic.Int64
	}
	const membersMax, groupsMax = loops / 2, 2
	var n Census
	groups := make([]counted, 3)
	var byMembers, byGroups atomic.Int64
	var all sync.WaitGroup
	for i := range loops {
		all.Go(func() {
			for round := range rounds {
				g := &groups[(i+round)%len(groups)]
				got := g.Take(membersMax)
				if got == AskHome {
					g.home.Lock()
					why, ok := n.take(&g.Headcount, membersMax, groupsMax)
					if got = Took; !ok {
						got = GroupFull
					}
					if !ok && why == RefusedGroups {
						byGroups.Add(1)
					}
					g.home.Unlock()
				} else if got == GroupFull {
					byMembers.Add(1)
				}
				if got == GroupFull {
					continue
				}
				if in := g.in.Add(1); in > membersMax {
					t.Errorf("%d members, bound %d", in, membersMax)
				}
				runtime.Gosched() // others come while this one is in
				if groups := n.groups.Load(); groups < 1 || groups > groupsMax {
					t.Errorf("%d groups while one has members, bound %d", groups, groupsMax)
				}
				g.in.Add(-1)
				n.GiveBack(&g.Headcount)
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
	var n Census
	var r Headcount
	var home sync.Mutex
	const groupsMax = 1
	for range 20_000 {
		var both sync.WaitGroup
		for range 2 {
			both.Go(func() {
				if r.Take(0) == AskHome {
					home.Lock()
					defer home.Unlock()
					if _, ok := n.take(&r, 0, groupsMax); !ok {
						t.Error("refused")
					}
				}
			})
		}
		both.Wait()
		n.GiveBack(&r)
		n.GiveBack(&r)
	}
}
