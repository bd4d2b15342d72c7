package order

import (
	"context"
	"errors"
	"strings"
	"unsafe"

	"ringcast/dialect"
	"ringcast/loop/shrink"
)

// This file is the members of groups with presence that are clients of other nodes of a cluster: the company. A home tells the company who
// comes and goes here, and is told by an inlet who does elsewhere. Members elsewhere are listed and counted with those here, and who hears
// is told of them; they are sent nothing, take no places, and a group that has only them has no members for the home.
//
//	loop ─OpJoin, OpGone─► home ─Came, Went─► company ··· other nodes ··· inlet ─OpThere, OpAway, OpSweep─► home
//
// Who comes and goes elsewhere is told at its place in the order of this node alone: nodes agree on who is there, and not on when.

// Company is the other nodes, as homes see them. Both methods are called by who holds the home: they must neither block nor call anything
// of this package.
type Company interface {
	// Came says that a client of this process is a member of a group, or if it is known as one, who it is now. told: it comes just now, and
	// who hears is told.
	Came(home int, group string, p dialect.Present, told bool)
	// Went says that it is a member no more.
	Went(home int, group string, client uint64, told bool)
}

// SetCompany has homes tell a company of who is there from now on. It is called before any client is a member of a group. Any goroutine.
func (hs *Homes[G, C]) SetCompany(c Company) { hs.others.Store(&c) }

func (h *Home[G, C]) tellCame(group string, client uint64, who *dialect.Who, told bool) {
	if c := h.all.others.Load(); c != nil {
		(*c).Came(h.index, group, dialect.Present{Client: client, Who: who}, told)
	}
}

func (h *Home[G, C]) tellWent(group string, client uint64, told bool) {
	if c := h.all.others.Load(); c != nil {
		(*c).Went(h.index, group, client, told)
	}
}

// farMembers is what a home knows of members elsewhere.
//
// Owner: who holds the home.
type farMembers struct {
	groups   shrink.Map[string, *farGroup] // that have some
	members  int                           // each counted in each of its groups
	full     bool                          // one was left out, as they were Config.FarMax. Until there are none no list of the home is whole
	sweeping *sweeping                     // nil: no OpSweep has begun
}

// farGroup is the members of a group that are elsewhere. They stand in the group's presence too; the home knows that by the group, if it
// knows the group and its kind has presence, and by this.
type farGroup struct {
	presence *presence
	members  shrink.Map[uint64, farMember] // by number, see far.member
}

// farMember is what of a member elsewhere does not stand in the presence.
type farMember struct {
	name dialect.PackedName
	roll uint32 // see Inlet.Sweep
}

// far is what a request says of a member elsewhere. Nobody writes it.
type far struct {
	group  string // OpSweep: empty
	node   uint16
	roll   uint32
	told   bool
	client uint64
	name   dialect.PackedName
	who    *dialect.Who
}

const farBytes = int(unsafe.Sizeof(far{}))

// memberBits is more than the number of a client has.
const memberBits = 40

// member is the number of a member elsewhere: that which it has on its node, behind the number of the node.
func (f *far) member() uint64 { return uint64(f.node)<<memberBits | f.client }

// elsewhere stands in for a loop's index among the shares of a presence. It is no loop's.
const elsewhere = -1

// loopOf is the loop of a member, or elsewhere.
func loopOf(member uint64) int {
	if member>>memberBits != 0 {
		return elsewhere
	}
	return int(member % dialect.SenderLoopsMax)
}

// there adds a member elsewhere, and tells those who hear. One that is known is known anew.
func (h *Home[G, C]) there(r *Request[G, C], origin int) bool {
	f := r.via.token.(*far)
	name := f.group
	hg := h.find(name)
	g := h.far.groups.Get(name)
	switch {
	case g != nil:
	case hg != nil && hg.present:
		g = &farGroup{presence: h.presence(hg)}
	default:
		g = &farGroup{presence: &presence{}}
	}
	member := f.member()
	is, _ := g.presence.find(member)
	if is == 0 && h.far.members >= h.all.config.FarMax {
		h.far.full = true
		h.all.farRefused.Add(1)
		return h.passed(hg, origin)
	}
	var coming *Message
	if p := g.presence; f.told && is == 0 && hg != nil && hg.present && !p.crowded() && len(p.few) < h.all.config.PresentMax {
		coming = p.farNews(dialect.Came, f.name, f.who, name)
	}
	if coming != nil && !h.mayCome(hg, coming.Bytes(), origin) || !h.mayTell(hg, g.presence, coming, -1) {
		return false
	}
	if is != 0 && !h.becomes(hg, g.presence, name, member, f.who, f.name.String()) {
		return false
	}
	if is == 0 {
		h.far.members++
	}
	h.tell(hg, g.presence, coming, -1)
	h.enter(g.presence, name, member, elsewhere, false, f.who, f.told)
	g.members.Put(member, farMember{f.name, f.roll})
	h.far.groups.Put(name, g)
	return h.passed(hg, origin)
}

// mayCome says whether the news that somebody comes may be in flight to each loop. It is not refused, but held back as a publish is that
// cannot be: so no more of them are in flight than of anything else.
func (h *Home[G, C]) mayCome(hg *homeGroup[G], bytes, origin int) bool {
	return (hg.heldBack == 0 || int(hg.heldBack) == origin) && h.open(hg, bytes) || h.holdBack(hg, bytes, origin)
}

// passed is called when a request of a group is done that may have been held back.
func (h *Home[G, C]) passed(hg *homeGroup[G], origin int) bool {
	if hg != nil && int(hg.heldBack) == origin {
		hg.heldBack = 0
	}
	return true
}

// away takes a member elsewhere out, and tells those who hear.
func (h *Home[G, C]) away(r *Request[G, C]) bool {
	f := r.via.token.(*far)
	name := f.group
	g := h.far.groups.Get(name)
	return g == nil || h.takeOut(name, g, f.member(), f.told)
}

// takeOut takes out one if it is there; false: there is no room to tell of it. As a going it cannot be refused.
func (h *Home[G, C]) takeOut(name string, g *farGroup, member uint64, told bool) bool {
	is, _ := g.presence.find(member)
	if is == 0 {
		return true
	}
	var going *Message
	hg := h.find(name)
	if told && hg != nil && hg.present && !g.presence.crowded() {
		going = g.presence.farNews(dialect.Went, g.members.Get(member).name, g.presence.who(member), name)
	}
	if !h.mayTell(hg, g.presence, going, -1) {
		return false
	}
	h.exit(g.presence, name, member, elsewhere, told)
	g.members.Delete(member)
	if h.far.members--; h.far.members == 0 {
		h.far.full = false
	}
	if g.members.Len() == 0 {
		h.far.groups.Delete(name)
	}
	h.tell(hg, g.presence, going, -1)
	return true
}

// farNews is the message that a member elsewhere comes or goes; nil if nobody is to hear it.
func (p *presence) farNews(sort dialect.Sort, name dialect.PackedName, who *dialect.Who, group string) *Message {
	m := p.news(sort, 0, who, group, 0)
	if m != nil {
		m.More = &dialect.More{Who: who, Client: name.String(), Edge: p.isEdge(sort, who)}
	}
	return m
}

// nameFar gives those of a list that are elsewhere their names.
func (h *Home[G, C]) nameFar(group string, list []dialect.Present) {
	g := h.far.groups.Get(group)
	if g == nil {
		return
	}
	for i := range list {
		if p := &list[i]; loopOf(p.Client) == elsewhere {
			p.Name = g.members.Get(p.Client).name.String()
			p.Client &= 1<<memberBits - 1
		}
	}
}

// removeLocals takes out all members that are here, as the group has no presence any more. Nobody is told.
func (h *Home[G, C]) removeLocals(p *presence, group string) {
	if p == nil || h.all.others.Load() == nil {
		return // nobody else knows the presence
	}
	for _, client := range p.members() {
		if loop := loopOf(client); loop != elsewhere {
			h.exit(p, group, client, loop, false)
			h.tellWent(group, client, false)
		}
	}
}

// sweeping is an OpSweep that has begun.
type sweeping struct {
	over shrink.Walk[string, *farGroup]
	name string
	at   *farGroup // nil: the next is to be looked at
}

// sweepsAtOnce is how many groups, or members that go, one hold of the home is for. As much takes some 100 µs.
const sweepsAtOnce = 256

// sweep takes out the members of a node that have another roll, and tells those who hear. false: the rest is for the next hold.
func (h *Home[G, C]) sweep(r *Request[G, C]) bool {
	f, s := r.via.token.(*far), h.far.sweeping
	if s == nil {
		s = &sweeping{}
		h.far.sweeping = s
	}
	for range sweepsAtOnce {
		if s.at == nil {
			name, g, there, more := s.over.Next(&h.far.groups)
			if !more {
				h.far.sweeping = nil
				return true
			}
			if !there {
				continue
			}
			s.name, s.at = name, g
		}
		member, any := s.at.another(f)
		if !any {
			s.at = nil
		} else if !h.takeOut(s.name, s.at, member, f.told) {
			return false
		}
	}
	h.roomMade.Store(true) // so it is called
	return false
}

// another is a member of the node that has another roll.
func (g *farGroup) another(f *far) (member uint64, any bool) {
	for member, is := range g.members.All() {
		if member>>memberBits == uint64(f.node) && is.roll != f.roll {
			return member, true
		}
	}
	return 0, false
}

// FarRefused is how many members elsewhere homes have refused to know of, as they knew Config.FarMax. Any goroutine.
func (hs *Homes[G, C]) FarRefused() uint64 { return hs.farRefused.Load() }

// ErrBadName says that a client's name is no UUID.
var ErrBadName = errors.New("a client's name is a UUID")

// There says that a client of another node is a member of a group: p.Client is its number on that node, p.Name its name. If it is known
// already it is so anew. Homes know the node by a number from 1, which is no other's until Sweep has forgotten it, and remember roll. told:
// it comes just now, or was not known for a while, and who hears is told if it was not there. The error may also be ErrBadGroup or ErrBadName.
func (i *Inlet[G, C]) There(ctx context.Context, group string, node uint16, roll uint32, p dialect.Present, told bool) error {
	name, ok := dialect.PackName(p.Name)
	if !ok {
		return ErrBadName
	}
	if err := i.port.all.env.Accepts(group, nil); err != nil {
		return err
	}
	f := &far{group: strings.Clone(group), node: node, roll: roll, told: told, client: p.Client & (1<<memberBits - 1), name: name, who: p.Who}
	return i.say(ctx, i.port.all.Of(group), Request[G, C]{Op: OpThere}, f)
}

// Away says that it is a member no more.
func (i *Inlet[G, C]) Away(ctx context.Context, group string, node uint16, client uint64, told bool) error {
	f := &far{group: strings.Clone(group), node: node, told: told, client: client & (1<<memberBits - 1)}
	return i.say(ctx, i.port.all.Of(group), Request[G, C]{Op: OpAway}, f)
}

// Sweep says that all clients of a node are members no more that There has not said to be so with this roll. One goroutine at a time says it.
func (i *Inlet[G, C]) Sweep(ctx context.Context, node uint16, roll uint32, told bool) error {
	for home := range i.port.up {
		if err := i.say(ctx, home, Request[G, C]{Op: OpSweep}, &far{node: node, roll: roll, told: told}); err != nil {
			return err
		}
	}
	return nil
}
