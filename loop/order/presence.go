package order

import (
	"slices"

	"ringcast/dialect"
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
//
// Members on other nodes of a cluster are members here too, see company.go.

// presence is who is in a group. Most groups are small, and what a client costs here is eight bytes, and eight more if it is a user; a list
// that is sorted is then as fast as a table.
//
// Owner: who holds the home.
type presence struct {
	few    []entry // by the numbers of the members; of those elsewhere see farMember
	users  users   // beside few
	many   *crowd  // all, once they are more than may be listed, until they are much fewer again; else nil, as few is then
	shares []share
}

// share is the members of a loop, or those elsewhere.
type share struct{ loop, members, hearers int32 }

// hears is what is known of a member; 0: it is none.
type hears uint8

const (
	hearsNothing hears = 1 + iota
	hearsAll
)

// entry is a member in few, in one word: its number, the mark of its user (users.go), which is 0 here, and whether it hears.
type entry uint64

const (
	entryHears  entry = 1
	entryMarks  entry = entryMarksMax << 1
	entryClient       = 8 // its shift: a number has 56 bits, see far.member

	entryMarksMax = 1<<7 - 1
)

func entryOf(client uint64, hears bool) entry {
	e := entry(client << entryClient)
	if hears {
		e |= entryHears
	}
	return e
}

func (e entry) client() uint64 { return uint64(e >> entryClient) }
func (e entry) hears() hears   { return hearsNothing + hears(e&entryHears) }

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
		return p.many.hears.Get(client), 0
	}
	at, _ = slices.BinarySearch(p.few, entryOf(client, false))
	if at < len(p.few) && p.few[at].client() == client {
		is = p.few[at].hears()
	}
	return is, at
}

// add adds a client of a loop, which is a user or nil. If it is a member already it is known anew. most is how many may be listed.
func (p *presence) add(client uint64, loop int, hears bool, who *dialect.Who, most int) {
	s, e := p.share(loop), entryOf(client, hears)
	was, at := p.find(client)
	if was == 0 {
		s.members++
	}
	s.hearers += int32(e&entryHears) - int32(was/hearsAll)
	if was == 0 && !p.crowded() && len(p.few) >= most {
		p.gatherCrowd()
	}
	switch {
	case p.crowded():
		p.many.put(e)
		p.many.users.put(client, who)
	case was != 0:
		p.few[at] = e | p.few[at]&entryMarks
		p.setUser(at, who)
	default:
		p.few = insert(p.few, at, e)
		if p.users.who != nil {
			p.users.who = insert(p.users.who, at, nil)
		}
		p.setUser(at, who)
	}
}

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
	if p.crowded() {
		p.many.hears.Delete(client)
		p.many.users.put(client, nil)
		p.thin(most)
		return
	}
	p.setUser(at, nil)
	p.few = remove(p.few, at)
	if p.users.who != nil {
		p.users.who = remove(p.users.who, at)
	}
}

// removeAll takes out who is left of a loop that has left the group, or whose part of it is another now: nobody, unless a panic has
// dropped an OpGone. Nobody is told.
func (h *Home[G, C]) removeAll(p *presence, group string, loop int) {
	if p == nil || p.share(loop).members == 0 {
		return
	}
	for _, client := range p.members() {
		if loopOf(client) == loop {
			h.exit(p, group, client, loop, true)
			h.tellWent(group, client, false)
		}
	}
}

// members is the numbers of all.
func (p *presence) members() (all []uint64) {
	for _, e := range p.few {
		all = append(all, e.client())
	}
	if p.crowded() {
		for client := range p.many.hears.All() {
			all = append(all, client)
		}
	}
	return all
}

// list is those who are there, unless they are too many.
func (p *presence) list() []dialect.Present {
	list := make([]dialect.Present, len(p.few))
	for i, e := range p.few {
		list[i] = dialect.Present{Client: e.client(), Who: p.users.at(i)}
	}
	return list
}

// newPresence is that of a group whose members here nobody knows yet; nil where the kind has none.
func (h *Home[G, C]) newPresence(group string, kind Kind) *presence {
	if !kind.Presence {
		return nil
	}
	if e := h.far.groups.Get(group); e != nil {
		return e.presence
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
		m.More = &dialect.More{Who: who, Edge: p.isEdge(sort, who)}
	}
	return m
}

// coming is the news of a client that is about to join. unheard: not to itself.
func (p *presence) coming(client uint64, who *dialect.Who, group string, hears, unheard bool, most int) *Message {
	if p.crowded() || len(p.few) >= most {
		return nil
	}
	if is, _ := p.find(client); is != 0 {
		return nil // a panic has dropped the word that it was gone
	}
	m := p.news(dialect.Came, client, who, group, int32(entryOf(0, hears && !unheard)))
	if m != nil && hears && unheard {
		if m.More == nil {
			m.More = &dialect.More{}
		}
		m.More.Except = client
	}
	return m
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
	is, _ := p.find(client)
	h.exit(p, r.Local.GroupName(), client, origin, true)
	h.tell(hg, p, going, -1)
	if is != 0 {
		h.tellWent(r.Local.GroupName(), client, true)
	}
	return true
}

// here adds a client that has been a member for longer than its group has had presence, or knows it anew.
func (h *Home[G, C]) here(r *Request[G, C], origin int) bool {
	name := r.Local.GroupName()
	hg := h.find(name)
	if hg == nil || !hg.present || hg.local(origin) == nil {
		return true
	}
	p, client := h.presence(hg), r.Client.Number()
	if !h.becomes(hg, p, name, client, r.who(), "") {
		return false
	}
	h.enter(p, name, client, origin, r.Hears, r.who(), false)
	h.tellCame(name, client, r.who(), false)
	return true
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
	past, p := &Past{}, (*presence)(nil)
	switch hg := h.find(name); {
	case hg == nil:
		p = h.newPresence(name, h.kind(name))
		past.None = p == nil
	case !hg.present:
		past.None, past.Members = true, hg.headcount.Members()
	default:
		p = h.presence(hg)
	}
	if p != nil {
		past.Members, past.Users = p.counts()
		if past.Crowded = p.crowded() || h.far.full; r.Op == OpPresence && !past.Crowded {
			past.Present = p.list()
			h.nameFar(name, past.Present)
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
