package loop

import (
	"context"
	"strconv"

	"ringcast/loop/door"
	"ringcast/loop/order"
)

// This file lists groups, for an operator and for backends. There may be a million, so they are looked at in slices, as clients are
// (listing.go). It asks homes, which know each group once, with its members on all loops; nothing is counted for it while nobody asks.

// GroupInfo is a group as an operator sees it.
type GroupInfo struct {
	Name    string `json:"name"`
	Members int    `json:"members"` // on all loops; 0: it is known for its history alone, or about to end
	Loops   int    `json:"loops"`   // that have members
	Offset  uint64 `json:"offset"`  // number of its newest message; without history from 1 since its first member joined
	Epoch   string `json:"epoch"`   // life of that numbering; empty: the group has no history
	Kept    int    `json:"kept"`    // messages in its history
	Bytes   int64  `json:"bytes"`   // that its history takes
}

func groupInfo(g order.Glance) GroupInfo {
	info := GroupInfo{Name: g.Group, Members: g.Members, Loops: g.Loops, Offset: g.Top.Offset, Kept: g.Kept, Bytes: g.Bytes}
	if g.Top.Epoch != 0 {
		info.Epoch = strconv.FormatUint(uint64(g.Top.Epoch), 36) // as clients are told it
	}
	return info
}

// groupWalksMax bounds the walks over groups at a time; further ones wait. Each has one loop at a time look at groupsPerSlice of them.
const groupWalksMax = 4

// groupsPerSlice is how many groups a loop looks at in one call. A name that is compared with a long pattern takes a microsecond or two.
const groupsPerSlice = 256

// Groups lists groups that have members and whose names a pattern matches, see Kind.Match; empty: all. There are at most `most` of
// them, in no order; more: there were more. A group that is there all the time is among all of them exactly once. Errors are ctx's and
// ErrStopping. It may wait for other lists. Any goroutine that is no loop.
func (h *Hub) Groups(ctx context.Context, match string, most int) (groups []GroupInfo, more bool, err error) {
	seen := map[string]bool{} // one that has ended and begun again meanwhile may come twice
	err = h.EachGroup(ctx, match, func(slice []GroupInfo) (goOn bool) {
		for _, g := range slice {
			switch {
			case g.Members == 0 || seen[g.Name]:
			case len(groups) >= most:
				more = true
				return false
			default:
				groups = append(groups, g)
				seen[g.Name] = true
			}
		}
		return true
	})
	return groups, more, err
}

// EachGroup gives every group that is known, also those without members, whose names a pattern matches, to take, some at a time, until
// take says that it has enough; take may use them until it returns. A group that is there all the time comes exactly once; one that ends
// and begins again meanwhile may come twice. Errors are ctx's and ErrStopping. It may wait for other lists. Any goroutine that is no
// loop.
func (h *Hub) EachGroup(ctx context.Context, match string, take func([]GroupInfo) (goOn bool)) error {
	select {
	case h.groupWalks <- struct{}{}:
		defer func() { <-h.groupWalks }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if match == "" {
		match = allNames
	}
	for _, s := range h.shards {
		w := &order.Walk[*group]{}
		for more := true; more; {
			var slice []GroupInfo // a new one each time: a call that comes after ctx has ended has this one
			err := h.on(ctx, s, func(s *shard) {
				more = s.lanes.Walk(w, groupsPerSlice, func(g order.Glance) {
					if door.Matches(match, g.Group) {
						slice = append(slice, groupInfo(g))
					}
				})
			})
			if err != nil {
				return err
			}
			if len(slice) > 0 && !take(slice) {
				return nil
			}
		}
	}
	return nil
}

// Matches says whether a pattern matches a group's whole name, see Kind.Match.
func Matches(pattern, name string) bool { return door.Matches(pattern, name) }

// on calls f on a loop and waits for it. The error is ctx's, or ErrStopping when the loops have ended; f may then be called later,
// or not at all.
func (h *Hub) on(ctx context.Context, s *shard, f func(*shard)) error {
	done := make(chan struct{})
	h.call(s, func(s *shard) {
		defer close(done)
		f(s)
	})
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-h.ended:
		return ErrStopping
	}
}
