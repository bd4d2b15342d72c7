package loop

import "ringcast/loop/order"

// owed is the groups without members of which a shard has yet to tell the homes. Unlike a client's request that cannot be
// refused. Each group is in the list once, however often its members come and go, so the number of groups bounds it. They
// are told when up lanes have room, and never go into the backlog, so clients' requests are not refused because a client
// with many groups has gone.
//
// Owner: the loop.
type owed struct{ groups []*group }

// giveUpIfEmpty notes a group that may have no members. The turn then tells its home, and not this function: a client that leaves
// and joins again at once should not end the group.
func (s *shard) giveUpIfEmpty(g *group) {
	if g.empty() && !g.owed {
		g.owed = true
		s.owed.groups = append(s.owed.groups, g)
	}
}

// payOwed tells the homes as far as lanes have room, and deletes the groups. A group for which a client has asked stays: it
// is noted again with the home's answer if need be. A home whose lane is full does not delay the groups of other homes.
func (s *shard) payOwed() (moved bool) {
	var full uint64 // bit per home
	kept := 0
	for _, g := range s.owed.groups {
		if g.empty() && g.asked == 0 {
			if home := uint64(1) << g.home; g.headcount != nil && (full&home != 0 || !s.sayLeft(g)) {
				full |= home
				s.owed.groups[kept] = g
				kept++
				continue
			}
			g.headcount = nil
			s.groups.Delete(g.name)
		}
		g.owed = false
	}
	moved = kept < len(s.owed.groups)
	clear(s.owed.groups[kept:])
	s.owed.groups = s.owed.groups[:kept]
	if kept == 0 && cap(s.owed.groups) > owedKeptMax {
		s.owed.groups = nil // free the memory of a long list
	}
	return moved
}

// owedKeptMax is the capacity up to which an empty list is kept.
const owedKeptMax = 1024

// sayLeft tells a group's home that this loop has no members any more. False: requests to that home wait in the backlog, or
// its lane has no room; this loop is woken when it has.
func (s *shard) sayLeft(g *group) bool {
	home := int(g.home)
	return !s.backlog.waits(home) && s.lanes.Offer(home, request{Op: order.OpLeave, Local: g})
}
