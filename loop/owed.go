package loop

import "ringcast/loop/order"

// owed is what a shard has yet to tell the homes, and what they cannot refuse: that a client is gone that was present, or is here, and
// that the shard has no members of a group any more. It goes into up lanes that have room and never into the backlog, so however
// much one client leaves behind, no other client's request is refused for it.
//
// Each group is in it once, whatever has become of it meanwhile, so that needs no bound but the number of groups. Of words about clients
// there are few for a membership, that it is here, again once it has said who it is, and that it is gone, as a membership begins with the home's answer; the burial
// of many clients waits while there are enough.
//
// Words go first, also before the requests of the backlog: a client's own later join must not overtake the word that it was gone, and a
// group not the words about its members.
//
// Owner: the loop.
type owed struct {
	homes [][]*group // for each home, oldest first
	total int
	words [][]word // likewise
	said  int      // words in all

	announced announced // words that are to be added
}

// word is that a client is gone from a group that has presence, or is here.
type word struct {
	group  *group
	client *client
	op     order.RequestOp // OpGone, OpHere
	hears  bool            // OpHere
}

// enoughOwed says whether so many words wait that nothing more should be begun that leads to others.
func (s *shard) enoughOwed() bool { return s.owed.said >= s.bounds.wordsEnough }

// waits says whether words to a home wait, which no request must overtake.
func (o *owed) waits(home int) bool { return len(o.words[home]) > 0 }

// owe notes a word about a client.
func (s *shard) owe(w word) {
	home := w.group.home
	s.owed.words[home] = append(s.owed.words[home], w)
	s.owed.said++
}

// payWords tells the homes who is gone and who is here, as far as there is room.
func (s *shard) payWords() (moved bool) {
	if s.owed.said == 0 {
		return false
	}
	for home, words := range s.owed.words {
		paid := 0
		for paid < len(words) {
			w := &words[paid]
			r := request{Op: w.op, Hears: w.hears, Local: w.group, Client: w.client}
			if w.op == order.OpHere {
				r.Identify(w.client.who(w.group))
			}
			if !s.lanes.Offer(home, r) {
				break
			}
			*w = word{}
			paid++
		}
		if s.owed.words[home] = words[paid:]; paid == len(words) {
			s.owed.words[home] = words[:0]
			if cap(words) > owedKeptMax {
				s.owed.words[home] = nil
			}
		}
		s.owed.said -= paid
		moved = moved || paid > 0
	}
	return moved
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
				s.headcounts.drop(g)
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

// sayLeft tells a group's home that no member is left here, after the words and what waits in the backlog, or says that there is no
// room. In both cases the loop is woken when there is.
func (s *shard) sayLeft(home int, g *group) bool {
	return !s.backlog.waits(home) && !s.owed.waits(home) && s.lanes.Offer(home, request{Op: order.OpLeave, Local: g})
}
