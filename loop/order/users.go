package order

import (
	"ringcast/dialect"
	"ringcast/loop/shrink"
)

// users is which users the members of a group are. Only members that have said who they are cost something here; a group none of whose
// members has, has none.
//
// Owner: who holds the home.
type users struct {
	who     shrink.Map[uint64, *dialect.Who] // by client
	members shrink.Map[string, int]          // by the user's name: how many members it is. Who has none is not in it
	named   int                              // members that have one
}

// put has a client be a user, or another one than it was; nil: it is none any more.
func (u *users) put(client uint64, who *dialect.Who) {
	was := u.who.Get(client)
	if was == who {
		return
	}
	if was != nil {
		u.count(was.User, -1)
	}
	if who == nil {
		u.who.Delete(client)
		return
	}
	u.who.Put(client, who)
	u.count(who.User, 1)
}

// count counts one member more, or one less, of a user.
func (u *users) count(name string, more int) {
	if name == "" {
		return
	}
	u.named += more
	if n := u.members.Get(name) + more; n > 0 {
		u.members.Put(name, n)
	} else {
		u.members.Delete(name)
	}
}

// who is the user that a client is; nil: it has not said.
func (p *presence) who(client uint64) *dialect.Who {
	if p.users == nil {
		return nil
	}
	return p.users.who.Get(client)
}

// identify has a member be a user.
func (p *presence) identify(client uint64, who *dialect.Who) {
	if p.users == nil {
		if who == nil {
			return
		}
		p.users = &users{}
	}
	if p.users.put(client, who); p.users.who.Len() == 0 {
		p.users = nil
	}
}

// counts is how many members there are, and how many users they are; those without a name are one.
func (p *presence) counts() (members, users int) {
	members = len(p.few) + p.many.Len()
	named := 0
	if p.users != nil {
		users, named = p.users.members.Len(), p.users.named
	}
	if members > named {
		users++
	}
	return members, users
}
