package loop

import (
	"context"

	"ringcast/loop/order"
)

// This file is one group, as an operator sees it, and its members, a page at a time.

// GroupDetail is a group with what its loops have of it.
type GroupDetail struct {
	GroupInfo
	Kind    string `json:"kind"`    // the pattern of the kind that it is of
	Known   bool   `json:"known"`   // there is such a group at this moment
	History int    `json:"history"` // messages that its kind keeps
	On      []int  `json:"on"`      // members by loop, as each knows them at its moment
	Waiting int    `json:"waiting"` // messages that wait for passes, on the loop where they are most
}

// Group looks at one group; without members or history it is not Known. Errors are ctx's and ErrStopping. Any goroutine that is no loop.
func (h *Hub) Group(ctx context.Context, name string) (GroupDetail, error) {
	kind := h.bounds.Load().kindOf(name)
	d := GroupDetail{GroupInfo: GroupInfo{Name: name}, Kind: kind.Match, History: kind.History, On: make([]int, len(h.shards))}
	home := h.shards[h.homes.Of(name)]
	for held := false; !held; { // at most a few times: nobody holds a home for long
		var g order.Glance
		var known bool
		if err := h.on(ctx, home, func(s *shard) { g, known, held = s.lanes.Look(name) }); err != nil {
			return d, err
		}
		if known {
			d.GroupInfo, d.Known = groupInfo(g), true
		}
	}
	for i, s := range h.shards {
		size, waiting := 0, 0
		err := h.on(ctx, s, func(s *shard) {
			if g := s.groups.Get(name); g != nil {
				size, waiting = g.size(), g.longest(nil)
			}
		})
		if err != nil {
			return d, err
		}
		d.On[i], d.Waiting = size, max(d.Waiting, waiting)
	}
	return d, nil
}

// MembersMost bounds a page of members.
const MembersMost = 100

// Members gives up to so many members of a group, MembersMost at most, beginning behind the first `from` of all, loop by loop. There is
// no order among those of a loop, and who comes or goes meanwhile may be missing from the pages or be in two of them. Rows name no kinds.
// Errors are ctx's and ErrStopping. Any goroutine that is no loop.
func (h *Hub) Members(ctx context.Context, group string, from, most int) (rows []ClientInfo, err error) {
	most = min(most, MembersMost)
	for _, s := range h.shards {
		if len(rows) >= most {
			break
		}
		var here []ClientInfo
		size, skip, room := 0, from, most-len(rows)
		err := h.on(ctx, s, func(s *shard) {
			if g := s.groups.Get(group); g != nil {
				size = g.size()
				for _, c := range g.some(skip, room) {
					here = append(here, s.infoOf(c))
				}
			}
		})
		if err != nil {
			return nil, err
		}
		from = max(0, from-size)
		rows = append(rows, here...)
	}
	return rows, nil
}

// some is up to n members, behind the first skip of all.
func (g *group) some(skip, n int) (members []*client) {
	take := func(a *audience) {
		from := min(skip, len(a.members))
		to := min(from+n-len(members), len(a.members))
		members = append(members, a.members[from:to]...)
		skip -= from
	}
	take(&g.inline)
	for a := g.further; a != nil; a = a.next {
		take(&a.audience)
	}
	return members
}

// SlowClientsMost bounds a list of slow clients.
const SlowClientsMost = 100

// SlowClients gives up to so many clients, SlowClientsMost at most, with the largest outboxes, as each was last looked at; the largest
// first. Rows name no kinds. Errors are ctx's and ErrStopping. Any goroutine that is no loop.
func (h *Hub) SlowClients(ctx context.Context, most int) (rows []ClientInfo, err error) {
	most = min(most, SlowClientsMost)
	for _, s := range h.shards {
		if s.relief.outboxes.Load() == 0 {
			continue // who is slow all the same has lost something and nothing waits for it
		}
		var top []slowClient
		for at := -1; at != 0; {
			err := h.on(ctx, s, func(s *shard) {
				if at < 0 || at > len(s.slow.list) {
					at = len(s.slow.list)
				}
				for n := min(at, slowPerSlice); n > 0; n-- {
					at--
					top = insertSlow(top, s.slow.list[at], most)
				}
			})
			if err != nil {
				return nil, err
			}
		}
		var here []ClientInfo
		err := h.on(ctx, s, func(s *shard) {
			for _, entry := range top {
				if c := entry.client; s.slow.of(c) != nil && c.state < stateDoomed {
					here = append(here, s.infoOf(c))
				}
			}
		})
		if err != nil {
			return nil, err
		}
		rows = append(rows, here...)
	}
	sortByOutbox(rows)
	return rows[:min(len(rows), most)], nil
}

// slowPerSlice is how many entries of slow clients a loop looks at in one call. They lie side by side, so that takes 20 µs.
const slowPerSlice = 16 << 10

// insertSlow inserts an entry into the largest so far, of which there are at most so many.
func insertSlow(top []slowClient, entry slowClient, most int) []slowClient {
	if entry.bytes == 0 || len(top) == most && entry.bytes <= top[most-1].bytes {
		return top
	}
	at := len(top)
	for i := range top {
		if top[i].client == entry.client { // it has moved while others went
			return top
		}
		if top[i].bytes < entry.bytes {
			at = min(at, i)
		}
	}
	if len(top) < most {
		top = append(top, slowClient{})
	}
	copy(top[at+1:], top[at:])
	top[at] = entry
	return top
}
