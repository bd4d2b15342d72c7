package loop

import "ringcast/loop/order"

// owed is what a shard has yet to tell the homes, and what they cannot refuse to hear: that it has no members of a group any
// more. Each group stands in it once, whatever has become of it meanwhile, so it needs no bound but the number of groups; and
// it goes into up lanes that have room and never into the backlog, so however much a burial leaves behind, nobody's request
// is refused for it.
//
// Owner: the loop.
type owed struct{ groups []*group }

// giveUpIfEmpty notes a group without members. The turn tells its home, not this moment: who leaves and joins again in one
// breath should not make it a new group.
func (s *shard) giveUpIfEmpty(g *group) {
	if g.empty() && !g.owed {
		g.owed = true
		s.owed.groups = append(s.owed.groups, g)
	}
}

// payOwed tells the homes as far as there is room, and forgets the groups, unless somebody waits to become a member: then the
// home's word will bring the group here again. A home whose lane is full holds up the groups of no other.
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
		s.owed.groups = nil // the list of a bad day
	}
	return moved
}

// owedKeptMax is the capacity up to which an empty list is kept.
const owedKeptMax = 1024

// sayLeft tells a group's home that no member is left here, behind what waits in the backlog, or says that there is no room.
// Either way this loop is woken when there is.
func (s *shard) sayLeft(g *group) bool {
	home := int(g.home)
	return !s.backlog.waits(home) && s.lanes.Offer(home, request{Op: order.OpLeave, Local: g})
}
