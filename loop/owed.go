package loop

import "ringcast/loop/order"

// owed is what a shard has yet to tell the homes, and what they cannot refuse: that it has no members of a group any more.
// Each group is in it once, whatever has become of it meanwhile, so it needs no bound but the number of groups. It goes into
// up lanes that have room and never into the backlog, so however much one client leaves behind, no other client's request is
// refused for it.
//
// Owner: the loop.
type owed struct {
	homes [][]*group // for each home, oldest first
	total int
}

// giveUpIfEmpty notes a group without members. Its home is told by the turn and not at once: a client that leaves and joins
// again in one breath should not make it a new group.
func (s *shard) giveUpIfEmpty(g *group) {
	if g.empty() && !g.owed {
		g.owed = true
		s.owed.homes[g.home] = append(s.owed.homes[g.home], g)
		s.owed.total++
	}
}

// payOwed tells the homes as far as there is room, and forgets the groups, unless a client waits to become a member: then the
// home's answer will bring the group here again. It stops at a home's first group for which there is no room, so a home whose
// lane is full costs a look, however much is owed to it, and delays what is owed to no other.
func (s *shard) payOwed() (moved bool) {
	if s.owed.total == 0 {
		return false
	}
	for home, groups := range s.owed.homes {
		paid := 0
		for _, g := range groups {
			if g.empty() && g.asked == 0 {
				if g.headcount != nil && !s.sayLeft(home, g) {
					break
				}
				g.headcount = nil
				s.groups.Delete(g.name)
			}
			g.owed = false
			groups[paid] = nil
			paid++
		}
		if paid == len(groups) {
			s.owed.homes[home] = groups[:0]
			if cap(groups) > owedKeptMax {
				s.owed.homes[home] = nil
			}
		} else {
			s.owed.homes[home] = groups[paid:]
		}
		s.owed.total -= paid
		moved = moved || paid > 0
	}
	return moved
}

// owedKeptMax is the capacity up to which an empty list is kept.
const owedKeptMax = 64

// sayLeft tells a group's home that no member is left here, after what waits in the backlog, or says that there is no room.
// In both cases the loop is woken when there is.
func (s *shard) sayLeft(home int, g *group) bool {
	return !s.backlog.waits(home) && s.lanes.Offer(home, request{Op: order.OpLeave, Local: g})
}
