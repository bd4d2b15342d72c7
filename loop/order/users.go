package order

import (
	"slices"

	"ringcast/dialect"
)

// users is which users the members of a group are, while they are few enough to be listed. A user takes a pointer here; a group none of
// whose members has said who it is takes nothing. How many members a user is is found out by looking through the marks in presence.few, of
// 1,000 members in 1.2 µs: a table takes 24 to 60 bytes for each.
//
// Owner: who holds the home.
type users struct {
	who      []*dialect.Who // by the place of the member in presence.few; nil: no member has said
	said     int32          // members that have said who they are
	named    int32          // those of them that have a name
	distinct int32          // the names of these, each once
}

// at is the user that the member at a place is; nil: it has not said.
func (u *users) at(at int) *dialect.Who {
	if u.who == nil {
		return nil
	}
	return u.who[at]
}

// userMark is the mark of a name, in its place: one in so many of the members that are other users has the same. 0: there is no name.
func userMark(name string) entry {
	if name == "" {
		return 0
	}
	sum := uint32(0)
	for i := range len(name) {
		sum = sum*31 + uint32(name[i])
	}
	return entry(1+sum%entryMarksMax) << 1
}

// setUser has the member at a place of few be a user, or another one than it was; nil: it is none any more.
func (p *presence) setUser(at int, who *dialect.Who) {
	u, was := &p.users, p.users.at(at)
	if was == who {
		return
	}
	if was != nil {
		if name := was.User(); name != "" {
			if p.membersOf(name) == 1 {
				u.distinct--
			}
			u.named--
		}
		u.said--
		p.few[at], u.who[at] = p.few[at]&^entryMarks, nil
	}
	if who == nil {
		if u.said == 0 {
			u.who = nil
		}
		return
	}
	if name := who.User(); name != "" {
		if p.membersOf(name) == 0 {
			u.distinct++
		}
		u.named++
	}
	if u.said++; u.who == nil {
		u.who = make([]*dialect.Who, len(p.few))
	}
	p.few[at], u.who[at] = p.few[at]|userMark(who.User()), who
}

// who is the user that a client is; nil: it has not said, or is no member.
func (p *presence) who(client uint64) *dialect.Who {
	if p.crowded() {
		return p.many.users.who.Get(client)
	}
	if is, at := p.find(client); is != 0 {
		return p.users.at(at)
	}
	return nil
}

// identify has a member be a user.
func (p *presence) identify(client uint64, who *dialect.Who) {
	if p.crowded() {
		p.many.users.put(client, who)
	} else if is, at := p.find(client); is != 0 {
		p.setUser(at, who)
	}
}

// membersOf is how many members a user with a name is: none, 1, or more for more.
func (p *presence) membersOf(name string) int {
	if p.crowded() {
		return p.many.users.members.Get(name)
	}
	members, mark := 0, userMark(name)
	for at, e := range p.few {
		if e&entryMarks == mark && p.users.who[at].User() == name {
			if members++; members == 2 {
				break
			}
		}
	}
	return members
}

// counts is how many members there are, and how many users they are; those without a name are one.
func (p *presence) counts() (members, users int) {
	members, users = p.size(), int(p.users.distinct)
	named := int(p.users.named)
	if p.crowded() {
		users, named = p.many.users.members.Len(), p.many.users.named
	}
	if members > named {
		users++
	}
	return members, users
}

// insert is slices.Insert that leaves less room: there may be very many small groups.
func insert[T any](list []T, at int, x T) []T {
	if len(list) == cap(list) {
		list = append(make([]T, 0, len(list)+len(list)/4+1), list...)
	}
	return slices.Insert(list, at, x)
}

// remove is slices.Delete of one, and gives memory back.
func remove[T any](list []T, at int) []T {
	list = slices.Delete(list, at, at+1)
	if cap(list) > fewKept && len(list) < cap(list)/4 {
		list = append(make([]T, 0, 2*len(list)), list...)
	}
	return list
}

// fewKept is the capacity of few that is kept.
const fewKept = 64
