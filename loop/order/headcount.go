package order

import (
	"sync/atomic"

	"ringcast/loop/assert"
)

// Headcount is the number of a group's members on all loops. The home keeps it with the group. Each loop with members gets a
// pointer to it with the home's answer to its OpJoin, and from then on counts in it directly. So a bound on members is exact,
// and only the first members on a loop wait for the home.
//
// A place is taken before its client becomes a member (the home's answer may be on its way), and given back after the member
// has left: there are never more members than places.
//
// Only the home takes a group's first place, since the group has to be counted in the census with it.
//
// Owner: any goroutine (atomic).
type Headcount struct{ members atomic.Int32 }

// Members is the number of places that are taken at about this moment. Any goroutine.
func (h *Headcount) Members() int { return int(h.members.Load()) }

// Taken is the outcome of Take.
type Taken uint8

// The outcomes of Take.
const (
	Took      Taken = iota // the caller has a place, and owes Census.GiveBack
	GroupFull              // there are as many members as there may be
	AskHome                // the group has no members at this moment: only its home may take the first place
)

// Take takes a place in a group that has members, of at most membersMax; 0 is no bound. Any goroutine.
//
// It compares and swaps: with an addition that is taken back at the bound, another loop could be refused a place that is free.
func (h *Headcount) Take(membersMax int) Taken {
	for {
		members := h.members.Load()
		switch {
		case members == 0:
			return AskHome
		case membersMax > 0 && int(members) >= membersMax:
			return GroupFull
		case h.members.CompareAndSwap(members, members+1):
			return Took
		}
	}
}

// Census is the number of groups with members, on all loops.
//
// Owner: any goroutine (atomic).
type Census struct{ groups atomic.Int64 }

// Groups is that number at about this moment. Any goroutine.
func (n *Census) Groups() int { return int(n.groups.Load()) }

// Refusal is why a home refuses a client a place in a group, or a publish.
type Refusal uint8

// The refusals.
const (
	RefusedMembers Refusal = iota // the group has as many members as it may
	RefusedGroups                 // the group has no members, and there are as many groups with members as there may be
	RefusedBusy                   // of a join: too much of the group is in flight for the news that somebody comes. Of a publish: likewise, or the orderer has no room

	// Of publishes that were offered to an orderer.
	RefusedUnavailable // ErrUnavailable
	RefusedUnconfirmed // ErrUnconfirmed
	RefusedTooLarge    // ErrTooLarge

	RefusedCrowded // of a join that asks who is there: with it they would be too many to be listed
)

// take takes a place in a group, also the first one, or says which bound is reached. Only the group's home may call it.
func (n *Census) take(h *Headcount, membersMax, groupsMax int) (why Refusal, ok bool) {
	switch h.Take(membersMax) {
	case Took:
		return 0, true
	case GroupFull:
		return RefusedMembers, false
	}
	if !n.begin(groupsMax) {
		return RefusedGroups, false
	}
	h.members.Store(1) // only the home changes it from 0
	return 0, true
}

// begin counts one more group; false: there are groupsMax.
func (n *Census) begin(groupsMax int) bool {
	for {
		groups := n.groups.Load()
		if groupsMax > 0 && groups >= int64(groupsMax) {
			return false
		}
		if n.groups.CompareAndSwap(groups, groups+1) {
			return true
		}
	}
}

// GiveBack gives a place back that Take or an OpJoined gave; the group ends for the census with its last place. Any goroutine.
func (n *Census) GiveBack(h *Headcount) {
	left := h.members.Add(-1)
	assert.That(left >= 0, "headcount: more places of a group were given back than were taken")
	if left == 0 {
		n.groups.Add(-1)
	}
}
