package loop

import (
	"sync/atomic"

	"ringcast/wsproto"
)

// headcount is the number of a group's members on all loops. It stands at the home with the group; each loop with members gets
// a pointer to it with the home's word, and from then on counts there itself. So a bound on members is exact, and only
// the first of a loop have to wait for the home.
//
// A place is taken before its member is there (it may still be on the way to its loop), and given back after it has gone:
// members never exceed places.
//
// Only the home takes the first place: a group must have been counted in the census by then, and two loops that begin one
// group at the same time would each see the other's half.
type headcount struct{ members atomic.Int64 }

// census is the number of groups with members in the whole server.
type census struct{ groups atomic.Int64 }

// entry is what became of an attempt to enter a headcount.
type entry uint8

const (
	entered entry = iota
	isFull
	isEmpty // only the home may enter
)

// enter takes a place in a group that has members. Any goroutine. Compare-and-swap, not add and take back: whoever looks
// in between would be refused a place that is free.
func (r *headcount) enter(b *bounds) entry {
	for {
		members := r.members.Load()
		switch {
		case members == 0:
			return isEmpty
		case b.MembersMax > 0 && members >= int64(b.MembersMax):
			return isFull
		case r.members.CompareAndSwap(members, members+1):
			return entered
		}
	}
}

// enter takes a place in a group, the first one too, or says what is full. For the group's home alone.
func (n *census) enter(r *headcount, b *bounds) (why refusal, ok bool) {
	switch r.enter(b) {
	case entered:
		return 0, true
	case isFull:
		return refusedMembers, false
	}
	if !n.begin(b) {
		return refusedGroups, false
	}
	r.members.Store(1) // nobody else moves it away from 0
	return 0, true
}

// begin counts one more group.
func (n *census) begin(b *bounds) bool {
	for {
		groups := n.groups.Load()
		if b.GroupsMax > 0 && groups >= int64(b.GroupsMax) {
			return false
		}
		if n.groups.CompareAndSwap(groups, groups+1) {
			return true
		}
	}
}

// leave gives a place back. Any goroutine.
func (n *census) leave(r *headcount) {
	left := r.members.Add(-1)
	assert(left >= 0, "headcount: more have left a group than were in it")
	if left == 0 {
		n.groups.Add(-1)
	}
}

// fullCode is the answer to an add_group that enter has refused.
func fullCode(why refusal) wsproto.ErrorCode {
	if why == refusedGroups {
		return wsproto.ErrGroupsFull
	}
	return wsproto.ErrGroupFull
}
