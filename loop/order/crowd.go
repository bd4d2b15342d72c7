package order

import (
	"slices"

	"ringcast/dialect"
	"ringcast/loop/shrink"
)

// This file is the members of a group with presence when they are too many to be listed: nobody is told of them, but they are counted, and
// so are the users that they are.

// crowd is the members of a group that are too many to be listed.
type crowd struct {
	hears shrink.Map[uint64, hears]
	users manyUsers
}

func (c *crowd) put(e entry) { c.hears.Put(e.client(), e.hears()) }

// crowded says whether the members are too many to be listed, and nobody is told who comes and goes.
func (p *presence) crowded() bool { return p.many != nil }

// size is how many members there are.
func (p *presence) size() int {
	if p.crowded() {
		return p.many.hears.Len()
	}
	return len(p.few)
}

// gatherCrowd has the members be a crowd.
func (p *presence) gatherCrowd() {
	p.many = &crowd{}
	for at, e := range p.few {
		p.many.put(e)
		p.many.users.put(e.client(), p.users.at(at))
	}
	p.few, p.users = nil, users{}
}

// thin has the members be few again when they are less than nine tenths of what may be listed: at the border itself they would be
// counted out again and again.
func (p *presence) thin(most int) {
	many := p.many
	if n := many.hears.Len(); n > 0 && n >= most*9/10 {
		return
	}
	p.many, p.few = nil, make([]entry, 0, many.hears.Len())
	for client, is := range many.hears.All() {
		p.few = append(p.few, entryOf(client, is == hearsAll))
	}
	slices.Sort(p.few)
	for at, e := range p.few {
		p.setUser(at, many.users.who.Get(e.client()))
	}
}

// manyUsers is which users the members of a crowd are. Only members that have said who they are cost something here.
//
// Owner: who holds the home.
type manyUsers struct {
	who     shrink.Map[uint64, *dialect.Who] // by client
	members shrink.Map[string, int]          // by the user's name: how many members it is. Who has none is not in it
	named   int                              // members that have one
}

// put has a client be a user, or another one than it was; nil: it is none any more.
func (u *manyUsers) put(client uint64, who *dialect.Who) {
	was := u.who.Get(client)
	if was == who {
		return
	}
	if was != nil {
		u.count(was.User(), -1)
	}
	if who == nil {
		u.who.Delete(client)
		return
	}
	u.who.Put(client, who)
	u.count(who.User(), 1)
}

// count counts one member more, or one less, of a user.
func (u *manyUsers) count(name string, more int) {
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
