package order

import (
	"sync/atomic"

	"ringcast/loop/assert"
)

// Headcount is the number of a group's members on all loops. It stands at the home with the group; each loop with members
// gets a pointer to it with the home's word, and from then on counts there itself. So a bound on members is exact, and only
// the first of a loop have to wait for the home.
//
// A place is taken before its member is there (it may still be on the way to its loop), and given back after it has gone:
// members never exceed places.
//
// Only the home takes the first place: a group must have been counted in the census by then, and two loops that begin one
// group at the same time would each see the other's part only.
type Headcount struct{ members atomic.Int64 }

// Members is how many places are taken at about this moment.
func (h *Headcount) Members() int { return int(h.members.Load()) }

// Taken is what became of an attempt to take a place.
type Taken uint8

// The outcomes of Take.
const (
	Took      Taken = iota
	GroupFull       // there are as many members as there may be
	AskHome         // nobody is in the group at this moment: only its home may take the first place
)

// Take takes a place in a group that has members; membersMax 0 is no bound. Any goroutine. Compare-and-swap, not add and
// take back: whoever looks in between would be refused a place that is free.
func (h *Headcount) Take(membersMax int) Taken {
	for {
		members := h.members.Load()
		switch {
		case members == 0:
			return AskHome
		case membersMax > 0 && members >= int64(membersMax):
			return GroupFull
		case h.members.CompareAndSwap(members, members+1):
			return Took
		}
	}
}

// Census is the number of groups with members, on all loops. Any goroutine.
type Census struct{ groups atomic.Int64 }

// Groups is that number at about this moment.
func (n *Census) Groups() int { return int(n.groups.Load()) }

// Refusal is why a home refuses a place.
type Refusal uint8

// The refusals.
const (
	RefusedMembers Refusal = iota // the group has as many members as it may
	RefusedGroups                 // there are as many groups as there may be
)

// take takes a place in a group, the first one too, or says what is full. For the group's home alone.
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
	h.members.Store(1) // nobody else moves it away from 0
	return 0, true
}

// begin counts one more group.
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

// GiveBack gives a place back. Any goroutine.
func (n *Census) GiveBack(h *Headcount) {
	left := h.members.Add(-1)
	assert.That(left >= 0, "headcount: more places of a group were given back than were taken")
	if left == 0 {
		n.groups.Add(-1)
	}
}
