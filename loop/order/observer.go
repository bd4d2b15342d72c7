package order

import "ringcast/dialect"

// This file is what becomes of groups, as an observer is told it that tells backends: not members, who have deliveries of it. Without one
// nothing of it costs anything but a look at a pointer.
//
// Of groups with presence homes know the members of all nodes of a cluster, so the homes of all nodes tell the same, at about the same time:
// the observers agree on which node's passes it on. Of all others a home knows the members here alone.

// Observer is who wants to know what becomes of groups.
type Observer interface {
	// Observe is called by who holds the home: it must neither block nor call anything of this package. Of one group it comes in the group's
	// order. What it is given it may not write, and a message not keep.
	Observe(home int, o Observation)
}

// Observation is something that has become of a group.
type Observation struct {
	What       Observed
	Everywhere bool   // it is so on all nodes, whose observers are all told of it; else it is about this node's clients alone
	Group      string // may be a part of a larger memory
	User       string // UserCame, UserWent: its name
	Message    *Message
}

// Observed is what has become of a group.
type Observed uint8

// What is observed.
const (
	Occupied   Observed = iota // it has its first member
	Vacated                    // its last member has gone
	UserCame                   // the first member has come that is a user, of a group with presence
	UserWent                   // the last one has gone
	CacheMiss                  // who has come wants to know what was said last, and nobody does
	ClientSaid                 // a client of this process has said Message, a client event
)

// SetObserver has homes tell an observer from now on; nil: nobody. It is not told how things are already. Any goroutine.
func (hs *Homes[G, C]) SetObserver(o Observer) {
	if o == nil {
		hs.observer.Store(nil)
		return
	}
	hs.observer.Store(&o)
}

func (h *Home[G, C]) observe(what Observed, group, user string, everywhere bool) {
	if o := h.all.observer.Load(); o != nil {
		(*o).Observe(h.index, Observation{What: what, Everywhere: everywhere, Group: group, User: user})
	}
}

// observeEvent tells of a message if it is a client event of a client of this process, which is then the one that is not sent it.
func (h *Home[G, C]) observeEvent(m *Message) {
	if m.More == nil || !m.More.ClientEvent || m.More.Except == 0 {
		return
	}
	if o := h.all.observer.Load(); o != nil {
		(*o).Observe(h.index, Observation{What: ClientSaid, Group: m.Group, Message: m})
	}
}

// enter adds a member to a presence, see presence.add. told: it comes just now.
func (h *Home[G, C]) enter(p *presence, group string, member uint64, loop int, hears bool, who *dialect.Who, told bool) {
	occupies, brings := p.empty(), p.isEdge(dialect.Came, who)
	p.add(member, loop, hears, who, h.all.config.PresentMax)
	if !told {
		return
	}
	if occupies {
		h.observe(Occupied, group, "", true)
	}
	if brings {
		h.observe(UserCame, group, who.User(), true)
	}
}

// exit takes a member out of a presence, if it is there. told: it goes just now.
func (h *Home[G, C]) exit(p *presence, group string, member uint64, loop int, told bool) {
	if is, _ := p.find(member); is == 0 {
		return
	}
	who := p.who(member)
	takes := p.isEdge(dialect.Went, who)
	p.remove(member, loop, h.all.config.PresentMax)
	if !told {
		return
	}
	if takes {
		h.observe(UserWent, group, who.User(), true)
	}
	if p.empty() {
		h.observe(Vacated, group, "", true)
	}
}

// empty says whether nobody is there.
func (p *presence) empty() bool { return p.size() == 0 }
