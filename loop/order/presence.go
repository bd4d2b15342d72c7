package order

import (
	"slices"

	"ringcast/dialect"
	"ringcast/loop/shrink"
)

// This file is who is in a group whose kind has presence: each member is known to the home, which tells those that want to hear it
// who comes and who goes.
//
// That is told in the group's order, by messages without a number: they are heard by who is there, and never kept. A coming is refused
// while too much of the group is in flight, as a publish is. A going cannot be; but there are no more of them than there were members,
// and beyond Config.PresentMax nobody is told of them.
//
// A loop owes an OpGone for each client that an OpJoined has made present. It goes up the lane that the join went up, so they
// come in their order.

// presence is who is in a group. Most groups are small, and what a client costs here is eight bytes; a list that is sorted is then as
// fast as a table.
//
// Owner: who holds the home.
type presence struct {
	few    []uint64                  // sorted: twice the numbers of the members, and one more for those that hear
	many   shrink.Map[uint64, hears] // likewise: all, once they are more than may be listed, until they are much fewer again; else none
	shares []share
	users  *users // nil: no member has said who it is
}

// share is the members of a loop.
type share struct{ loop, members, hearers int32 }

// hears is what is known of a member; 0: it is none.
type hears uint8

const (
	hearsNothing hears = 1 + iota
	hearsAll
)

// entry is that of a member in few.
func entry(client uint64, hears bool) uint64 {
	if hears {
		return 2*client + 1
	}
	return 2 * client
}

// crowded says whether the members are too many to be listed, and nobody is told who comes and goes.
func (p *presence) crowded() bool { return p.many.Len() > 0 }

// share is that of a loop, which it makes if there is none.
func (p *presence) share(loop int) *share {
	for i := range p.shares {
		if p.shares[i].loop == int32(loop) {
			return &p.shares[i]
		}
	}
	p.shares = append(p.shares, share{loop: int32(loop)})
	return &p.shares[len(p.shares)-1]
}

// find is what is known of a client, and its place in few, or where that would be.
func (p *presence) find(client uint64) (is hears, at int) {
	if p.crowded() {
		return p.many.Get(client), 0
	}
	at, _ = slices.BinarySearch(p.few, entry(client, false))
	if at < len(p.few) && p.few[at]/2 == client {
		is = hearsNothing + hears(p.few[at]%2)
	}
	return is, at
}

// add adds a client of a loop, which is a user or nil. If it is a member already it is known anew. most is how many may be listed.
func (p *presence) add(client uint64, loop int, hears bool, who *dialect.Who, most int) {
	s, e := p.share(loop), entry(client, hears)
	was, at := p.find(client)
	if was == 0 {
		s.members++
	}
	s.hearers += int32(e%2) - int32(was/hearsAll)
	p.identify(client, who)
	switch {
	case p.crowded():
		p.putMany(e)
	case was != 0:
		p.few[at] = e
	case len(p.few) < most:
		p.few = slices.Insert(p.few, at, e)
	default:
		for _, e := range p.few {
			p.putMany(e)
		}
		p.putMany(e)
		p.few = nil
	}
}

func (p *presence) putMany(entry uint64) { p.many.Put(entry/2, hearsNothing+hears(entry%2)) }

// remove takes a client of a loop out, if it is there.
func (p *presence) remove(client uint64, loop, most int) {
	is, at := p.find(client)
	if is == 0 {
		return
	}
	s := p.share(loop)
	s.members--
	if is == hearsAll {
		s.hearers--
	}
	p.identify(client, nil)
	if p.crowded() {
		p.many.Delete(client)
		p.thin(most)
		return
	}
	p.few = slices.Delete(p.few, at, at+1)
	if cap(p.few) > fewKept && len(p.few) < cap(p.few)/4 {
		p.few = append(make([]uint64, 0, 2*len(p.few)), p.few...)
	}
}

// fewKept is the capacity of few that is kept.
const fewKept = 64

// thin has the members be few again when they are less than nine tenths of what may be listed: at the border itself they would be
// counted out again and again.
func (p *presence) thin(most int) {
	if p.many.Len() >= most*9/10 {
		return
	}
	p.few = make([]uint64, 0, p.many.Len())
	for client, is := range p.many.All() {
		p.few = append(p.few, entry(client, is == hearsAll))
	}
	slices.Sort(p.few)
	p.many = shrink.Map[uint64, hears]{}
}

// removeAll takes out who is left of a loop that has left the group, or whose part of it is another now: nobody, unless a panic has
// dropped an OpGone. Nobody is told.
func (p *presence) removeAll(loop, most int) {
	if p == nil || p.share(loop).members == 0 {
		return
	}
	var gone []uint64
	for _, e := range p.few {
		gone = append(gone, e/2)
	}
	for client := range p.many.All() {
		gone = append(gone, client)
	}
	for _, client := range gone {
		if client%dialect.SenderLoopsMax == uint64(loop) {
			p.remove(client, loop, most)
		}
	}
}

// list is those who are there, unless they are too many.
func (p *presence) list() []dialect.Present {
	list := make([]dialect.Present, len(p.few))
	for i, e := range p.few {
		list[i].Client = e / 2
	}
	if p.users != nil {
		for i := range list {
			list[i].Who = p.users.who.Get(list[i].Client)
		}
	}
	return list
}

// newPresence is nil where the kind has none.
func newPresence(kind Kind) *presence {
	if !kind.Presence {
		return nil
	}
	return &presence{}
}

// hearersAt is how many members of a loop hear who comes and goes.
func (p *presence) hearersAt(loop int) int32 {
	if p == nil {
		return 0
	}
	return p.share(loop).hearers
}

// news is the message that a client, which is a user or nil, comes or goes; nil if nobody is to hear it: more is how many are to hear it
// beside those who are there.
func (p *presence) news(sort dialect.Sort, client uint64, who *dialect.Who, group string, more int32) *Message {
	for _, s := range p.shares {
		more += s.hearers
	}
	if more == 0 {
		return nil
	}
	m := &Message{}
	m.Group, m.Sort = group, sort
	m.SenderLoop, m.SenderSerial = uint8(client%dialect.SenderLoopsMax), uint32(client/dialect.SenderLoopsMax)
	if who != nil {
		m.More = &dialect.More{Who: who}
	}
	return m
}

// coming is the news of a client that is about to join.
func (p *presence) coming(client uint64, who *dialect.Who, group string, hears bool, most int) *Message {
	if p.crowded() || len(p.few) >= most {
		return nil
	}
	if is, _ := p.find(client); is != 0 {
		return nil // a panic has dropped the word that it was gone
	}
	return p.news(dialect.Came, client, who, group, int32(entry(0, hears)))
}

// going is the news of a client that is there and is about to go.
func (p *presence) going(client uint64, group string) *Message {
	is, _ := p.find(client)
	if is == 0 || p.crowded() {
		return nil
	}
	return p.news(dialect.Went, client, p.who(client), group, -int32(is-hearsNothing))
}

// presence is that of a group, nil: its kind has none.
func (h *Home[G, C]) presence(hg *homeGroup[G]) *presence {
	if !hg.present {
		return nil
	}
	return h.presences.Get(hg)
}

func (h *Home[G, C]) setPresence(hg *homeGroup[G], p *presence) {
	if hg.present {
		h.presences.Delete(hg)
	}
	if hg.present = p != nil; hg.present {
		h.presences.Put(hg, p)
	}
}

// gone takes a client out, and tells those who hear that it goes.
func (h *Home[G, C]) gone(r *Request[G, C], origin int) bool {
	hg := h.find(r.Local.GroupName())
	if hg == nil || !hg.present {
		return true
	}
	p, client := h.presence(hg), r.Client.Number()
	going := p.going(client, r.Local.GroupName())
	if !h.mayTell(hg, p, going, -1) {
		return false
	}
	p.remove(client, origin, h.all.config.PresentMax)
	h.tell(hg, p, going, -1)
	return true
}

// here adds a client that has been a member for longer than its group has had presence.
func (h *Home[G, C]) here(r *Request[G, C], origin int) {
	hg := h.find(r.Local.GroupName())
	if hg != nil && hg.present && hg.local(origin) != nil {
		h.presence(hg).add(r.Client.Number(), origin, r.Hears, r.who(), h.all.config.PresentMax)
	}
}

// list answers an OpPresence or an OpCount.
func (h *Home[G, C]) list(r *Request[G, C], origin int) bool {
	d := Delivery[G, C]{Op: OpPresent, Asks: r.Asks, Local: r.Local, Client: r.Client, ID: r.ID}
	if r.Op == OpCount {
		d.Op = OpCounted
	}
	if !h.mayAnswer(&d, origin) {
		return false
	}
	name := r.Group()
	past := &Past{}
	switch hg := h.find(name); {
	case hg == nil:
		past.None = !h.kind(name).Presence
	case !hg.present:
		past.None, past.Members = true, hg.headcount.Members()
	default:
		p := h.presence(hg)
		past.Members, past.Users = p.counts()
		if past.Crowded = p.crowded(); r.Op == OpPresence && !past.Crowded {
			past.Present = p.list()
		}
	}
	d.Past = past
	h.answer(r, &d, origin)
	return true
}

// local is a loop's line in the group, nil if it has no members.
func (hg *homeGroup[G]) local(loop int) *localRef[G] {
	for i := range hg.locals {
		if hg.locals[i].loop == loop {
			return &hg.locals[i]
		}
	}
	return nil
}

// mayTell says whether there is room for news at the loops where somebody hears, but for one that is told in another way. Each is
// asked, so that each that is full calls the home when it has room.
func (h *Home[G, C]) mayTell(hg *homeGroup[G], p *presence, news *Message, but int) bool {
	roomy := true
	if news != nil {
		d := Delivery[G, C]{Op: OpMessage, Message: news}
		for i := range hg.locals {
			if loop := hg.locals[i].loop; loop != but && p.hearersAt(loop) > 0 {
				roomy = h.fits(loop, d.Bytes()) && roomy
			}
		}
	}
	return roomy
}

// tell sends news for which there is room.
func (h *Home[G, C]) tell(hg *homeGroup[G], p *presence, news *Message, but int) {
	if news == nil {
		return
	}
	many := hg.headcount.Members() > h.all.config.FewMembers*len(hg.locals)
	for i := range hg.locals {
		if l := &hg.locals[i]; l.loop != but && p.hearersAt(l.loop) > 0 {
			h.sendTo(l, Delivery[G, C]{Op: OpMessage, Message: news}, news.Bytes(), many)
		}
	}
}
