package main

import (
	"slices"
	"testing"
	"time"

	"ringcast/bench/client"
)

// TestNoLoadOfTheSuiteDealsASmallGroupToOneLoop deals clients to loops as ringcast deals connections: in turn, in the order of
// their numbers. Were all members of a group on one loop, no message would cross loops, and the figure would measure where
// clients happened to be.
func TestNoLoadOfTheSuiteDealsASmallGroupToOneLoop(t *testing.T) {
	loads, err := choose([]string{"all"}, time.Second, client.Centrifuge, suiteSize, false)
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, n := range loads {
		var seats []client.Seat
		var groups int
		switch {
		case n.load != nil:
			seats, groups = n.load.seats(1), n.load.Groups
		case n.back != nil: // its members come back in the order of their numbers
			seats, groups = append(n.back.load.seats(1), n.back.seats(1)...), n.back.Groups
		default:
			seats, groups = n.crowd.seats(1), n.crowd.Groups
		}
		if groups == 1 {
			continue
		}
		checked++
		for _, loops := range []int{2, 4, 8} {
			dealt := make([][]int, groups) // members of each group, by loop
			for group := range dealt {
				dealt[group] = make([]int, loops)
			}
			for number, seat := range seats {
				if seat.Member != client.NotMember {
					dealt[seat.Group][number%loops]++
				}
			}
			uneven, first := 0, -1
			for group, members := range dealt {
				if slices.Max(members)-slices.Min(members) > 1 {
					if uneven++; first < 0 {
						first = group
					}
				}
			}
			if uneven > 0 {
				t.Errorf("%s, %d loops: %d of %d groups are spread unevenly, the first is group %d with %v members by loop",
					n.title, loops, uneven, groups, first, dealt[first])
			}
		}
	}
	if checked < 5 {
		t.Errorf("got %d loads with several groups, want rooms, pairs, pairs-1 and resume at least, and that of a test", checked)
	}
}
