package order

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"testing"

	"ringcast/dialect"
)

// This is the plain model of who is there. It sees each request about that at the moment at which its home serves it, in what the home
// calls then: the functions of Env, Part.GroupName, Client.Number. What a home says then must be what the model says; and what comes down
// to a loop, what the homes have said, at its place among the group's messages.

// simPresence is who is in a group, as its home should know it.
type simPresence struct {
	on      bool
	who     map[uint64]simMember
	crowded bool
}

type simMember struct {
	loop  int
	hears bool
	who   *dialect.Who
}

// simNews is that a client comes or goes, behind the message of an offset.
type simNews struct {
	sort   dialect.Sort
	client uint64
	who    *dialect.Who
	offset uint64
}

// simServing is a request that a home serves, and of its group what the home knew before.
type simServing struct {
	home    *Home[*simPart, *simAsk]
	up      *lane[Request[*simPart, *simAsk]]
	head    uint64
	request Request[*simPart, *simAsk]
	offset  uint64
	loud    bool // too much of the group is in flight for news, or may be
	known   bool // its loop has members, as the home knows
}

// simCompany is what was done of that in a simulation.
type simCompany struct{ came, went, lists, crowds, here, busy, again, users int }

func (c *simCompany) add(of simCompany) {
	c.came, c.went, c.lists, c.crowds = c.came+of.came, c.went+of.went, c.lists+of.lists, c.crowds+of.crowds
	c.here, c.busy, c.again, c.users = c.here+of.here, c.busy+of.busy, c.again+of.again, c.users+of.users
}

func (c *simCompany) check(t *testing.T, shape simShape) {
	crowds, loud := shape.presentMax < 1000, shape.flight < 1<<20
	if c.came == 0 || c.went == 0 || c.lists == 0 || c.here == 0 || c.again == 0 || c.users == 0 || (c.crowds > 0) != crowds || (c.busy > 0) != loud {
		t.Errorf("who comes and goes: %+v", *c)
	}
}

// adopt has a group follow its kind. One that gets presence begins with nobody.
func (p *simPresence) adopt(k simKind) {
	if p.on != k.presence || p.who == nil {
		*p = simPresence{on: k.presence, who: map[uint64]simMember{}}
	}
}

// hearers is the loops where somebody hears, and whether anybody does.
func (p *simPresence) hearers() (loops map[int]bool) {
	loops = map[int]bool{}
	for _, m := range p.who {
		if m.hears {
			loops[m.loop] = true
		}
	}
	return loops
}

func (p *simPresence) add(client uint64, m simMember, most int) {
	p.who[client] = m
	p.crowded = p.crowded || len(p.who) > most
}

func (p *simPresence) remove(client uint64, most int) {
	if _, is := p.who[client]; is {
		delete(p.who, client)
		p.crowded = p.crowded && len(p.who) > 0 && len(p.who) >= most*9/10
	}
}

// onPresence is called while a home serves a request.
func (s *sim) onPresence() {
	if s.presentMax == 0 || s.hs == nil {
		return
	}
	s.heed()
	for _, h := range s.hs.homes {
		if h.serving == nil || h.serving.front().Op == OpPublish || h.serving.front().Local == nil { // or a port's, see answers
			continue
		}
		r := h.serving.front()
		v := &simServing{home: h, up: h.serving, head: h.serving.head.Load(), request: *r}
		if hg := h.groups.Get(r.Local.name); hg != nil {
			v.offset, v.loud = hg.offset, hg.heldBack != 0
			for _, l := range hg.locals {
				v.known = v.known || l.loop == s.loopOf(r)
				v.loud = v.loud || int(l.sent-l.part.flow.taken.Load())+messageBytes+moreBytes+len(r.Local.name) > s.least
			}
		}
		s.serving = v
	}
}

func (s *sim) loopOf(r *Request[*simPart, *simAsk]) int {
	if r.Client != nil {
		return r.Client.loop
	}
	return -1
}

// heed has the model follow the last request, if it was served since it was seen.
func (s *sim) heed() {
	v := s.serving
	if v == nil || v.up.head.Load() == v.head {
		return
	}
	s.serving = nil
	r := &v.request
	name := r.Local.name
	p := &s.presences[s.group(name)]
	if p.who == nil {
		p.who = map[uint64]simMember{}
	}
	switch r.Op {
	case OpJoin:
		s.joined(v, p, s.answerTo(v))
	case OpGone:
		m, is := p.who[r.Client.number]
		if !p.on || !is {
			return
		}
		told := !p.crowded
		p.remove(r.Client.number, s.presentMax)
		if told {
			s.tell(name, simNews{dialect.Went, r.Client.number, m.who, v.offset}, p.hearers())
		}
		s.must(m.loop == r.Client.loop, "client %d is gone from loop %d, and was of loop %d", r.Client.number, r.Client.loop, m.loop)
	case OpHere:
		if p.on && v.known {
			p.add(r.Client.number, simMember{r.Client.loop, r.Hears, r.Client.who}, s.presentMax)
			s.company.here++
		}
	case OpPresence, OpCount:
		d := s.answerTo(v)
		s.must(d.Op == map[RequestOp]DeliveryOp{OpPresence: OpPresent, OpCount: OpCounted}[r.Op], "group %s: asked %d, answered %d", name, r.Op, d.Op)
		s.judgeList(name, p, d.Past, r.Op == OpPresence)
		s.company.lists++
	}
	if p.crowded {
		s.company.crowds++
	}
}

// joined holds the answer to a join against the model.
func (s *sim) joined(v *simServing, p *simPresence, d *Delivery[*simPart, *simAsk]) {
	r, name := &v.request, v.request.Local.name
	hearers := p.hearers()
	if r.Hears {
		hearers[r.Client.loop] = true
	}
	told := p.on && !p.crowded && len(p.who) < s.presentMax && len(hearers) > 0
	if d.Op == OpRefused {
		s.must(d.Message == nil && !d.Present, "group %s: who is refused comes: %+v", name, d)
		s.must(d.Why != RefusedBusy || told && v.loud, "group %s: a join is refused as busy, and it is quiet: told %v", name, told)
		if d.Why == RefusedBusy {
			s.company.busy++
		}
		return
	}
	s.must(d.Op == OpJoined && d.Present == p.on, "group %s: a join is answered %+v, want present: %v", name, d, p.on)
	if told {
		s.must((d.Message != nil) == hearers[r.Client.loop], "group %s: its own loop is told of a coming: %v", name, d.Message != nil)
		s.tell(name, simNews{dialect.Came, r.Client.number, r.Client.who, v.offset}, hearers)
	} else {
		s.must(d.Message == nil, "group %s: a coming is told: %+v", name, p)
	}
	if p.on {
		p.add(r.Client.number, simMember{r.Client.loop, r.Hears, r.Client.who}, s.presentMax)
	}
}

// judgeList holds what is told of who is there against the model. list: not the numbers alone.
func (s *sim) judgeList(name string, p *simPresence, got *Past, list bool) {
	s.must(got.None == !p.on && got.Crowded == p.crowded, "group %s: who is there: got %+v, want %+v", name, got, p)
	if !p.on {
		return
	}
	users := map[string]bool{}
	for _, m := range p.who {
		user := ""
		if m.who != nil {
			user = m.who.User
		}
		users[user] = true
	}
	s.must(got.Members == len(p.who) && got.Users == len(users), "group %s: got %d members and %d users, want %d and %v", name, got.Members, got.Users, len(p.who), users)
	clients := slices.Sorted(slices.Values(clientsOf(got.Present)))
	if p.crowded || !list {
		s.must(len(clients) == 0, "group %s: %v are listed", name, clients)
		return
	}
	s.must(slices.Equal(clients, slices.Sorted(maps.Keys(p.who))), "group %s: got that %v are there, want %v", name, clients, p.who)
	for _, is := range got.Present {
		s.must(is.Who == p.who[is.Client].who, "group %s: client %d is %v, want %v", name, is.Client, is.Who, p.who[is.Client].who)
		if is.Who != nil {
			s.company.users++
		}
	}
}

// answerTo is the home's answer to a request, which has just been sent.
func (s *sim) answerTo(v *simServing) *Delivery[*simPart, *simAsk] {
	down := v.home.down[v.request.Client.loop]
	for i := range down.len() {
		if d := &down.slots[(down.head.Load()+uint64(i))&down.mask]; d.Client == v.request.Client {
			return d
		}
	}
	s.must(false, "group %s: a request is served and not answered", v.request.Local.name)
	return nil
}

// tell notes news for the loops that are to be told.
func (s *sim) tell(name string, n simNews, loops map[int]bool) {
	group := s.group(name)
	for loop := range loops {
		s.loops[loop].due[group] = append(s.loops[loop].due[group], n)
	}
	if len(loops) > 0 && n.sort == dialect.Came {
		s.company.came++
	} else if len(loops) > 0 {
		s.company.went++
	}
}

// hearNews judges news that have come down.
func (s *sim) hearNews(loop int, p *simPart, d *Delivery[*simPart, *simAsk]) {
	due := &s.loops[loop].due[s.group(p.name)]
	client, named := d.Message.Sender()
	n := simNews{d.Message.Sort, client, d.Message.Who(), d.Offset}
	s.must(len(*due) > 0 && named && d.Message.Group == p.name && d.Message.Wire == "" && d.Message.Offset == 0 && !d.Message.Kept,
		"loop %d, group %s: hears %+v, of which it is not to be told", loop, p.name, n)
	want := (*due)[0]
	*due = (*due)[1:]
	s.must(n.sort == want.sort && n.client == want.client && n.who == want.who, "loop %d, group %s: hears %+v, want %+v", loop, p.name, n, want)
	s.must(p.last == 0 || p.headcount == nil || p.last == want.offset, "loop %d, group %s: hears %+v behind message %d", loop, p.name, want, p.last)
	s.takeIn(loop, p, d.Message)
}

// newcomer is a client that may join, which may have been a member before.
func (s *sim) newcomer(loop, group int) *simAsk {
	away := &s.loops[loop].away[group]
	if n := len(*away); n > 0 && s.rng.IntN(2) == 0 {
		number := (*away)[n-1]
		*away = (*away)[:n-1]
		s.company.again++
		return &simAsk{s: s, loop: loop, number: number, who: s.user()}
	}
	s.clients++
	return &simAsk{s: s, loop: loop, number: s.clients*dialect.SenderLoopsMax + uint64(loop), who: s.user()}
}

// comes is a client that becomes a member by its home's answer.
func (s *sim) comes(loop int, d *Delivery[*simPart, *simAsk]) {
	p, c := d.Local, d.Client
	p.clients = append(p.clients, c)
	if c.present = d.Present; (!c.present || c.announces != p.announces) && s.kinds[s.group(p.name)].presence {
		s.here(p, c)
	}
	if d.Message != nil {
		s.hearNews(loop, p, d)
	}
}

// here has a client's home told that it is a member.
func (s *sim) here(p *simPart, c *simAsk) {
	c.present = true
	words := &s.loops[c.loop].words[s.hs.Of(p.name)]
	r := Request[*simPart, *simAsk]{Op: OpHere, Local: p, Client: c, Hears: c.hears}
	r.Identify(c.who)
	*words = append(*words, r)
	s.loops[c.loop].woken = true
}

// goes is a member that leaves.
func (s *sim) goes(p *simPart, at int) {
	c := p.clients[at]
	p.clients = slices.Delete(p.clients, at, at+1)
	if c.present {
		words := &s.loops[c.loop].words[s.hs.Of(p.name)]
		*words = append(*words, Request[*simPart, *simAsk]{Op: OpGone, Local: p, Client: c})
	}
	s.staysAway(c, p)
}

// staysAway has a client be one that may come again.
func (s *sim) staysAway(c *simAsk, p *simPart) {
	away := &s.loops[c.loop].away[s.group(p.name)]
	*away = append(*away, c.number)
}

// say sends words as far as there is room, and says who is here where a kind has got presence.
func (s *sim) say(l *simLoop) (moved bool) {
	for group, p := range l.parts {
		if l.announce[group] && p != nil && s.kinds[group].presence {
			p.announces++ // who is not a member yet may have joined before the kind has lost presence, and got it again
			for _, c := range p.clients {
				s.here(p, c)
			}
		}
		l.announce[group] = false
	}
	for home := range l.words {
		for len(l.words[home]) > 0 && l.lanes.Offer(home, l.words[home][0]) {
			l.words[home], moved = l.words[home][1:], true
		}
	}
	return moved
}

// askWho asks who is in a group, as a member does.
func (s *sim) askWho(loop, group int) {
	l := s.loops[loop]
	p := l.parts[group]
	if p == nil || p.members == 0 || len(l.words[s.hs.Of(p.name)]) > 0 {
		return
	}
	if l.lanes.Offer(s.hs.Of(p.name), Request[*simPart, *simAsk]{Op: []RequestOp{OpPresence, OpCount}[s.rng.IntN(2)], Asks: true, Local: p, Client: &simAsk{s: s, loop: loop}, ID: "7"}) {
		p.asked++
	}
	l.woken = true
}

// checkPresences holds what homes know against the model.
func (s *sim) checkPresences() {
	for i, h := range s.hs.homes {
		wrong := h.CheckPresence()
		s.must(wrong == "", "home %d: %s", i, wrong)
		h.EachPresent(func(name string, present map[uint64]bool, crowded bool) {
			p := &s.presences[s.group(name)]
			want := map[uint64]bool{}
			for client, m := range p.who {
				want[client] = m.hears
			}
			s.must(p.on && maps.Equal(present, want) && crowded == p.crowded, "group %s: the home knows of %v, crowded %v, want %+v", name, present, crowded, p)
		})
	}
}

// checkWhoIsThere: at rest homes know all members, and nothing is on its way.
func (s *sim) checkWhoIsThere() {
	if s.presentMax == 0 {
		return
	}
	s.checkPresences()
	there := make([]map[uint64]bool, s.groups)
	for loop, l := range s.loops {
		for group, p := range l.parts {
			s.must(len(l.due[group]) == 0, "loop %d, group %d: has not heard %+v", loop, group, l.due[group])
			if p == nil {
				continue
			}
			s.must(len(p.clients) == p.members, "loop %d, group %d: %d clients are %d members", loop, group, len(p.clients), p.members)
			for i := range p.clients {
				if there[group] == nil {
					there[group] = map[uint64]bool{}
				}
				there[group][p.clients[i].number] = p.clients[i].hears
			}
		}
	}
	for group, want := range there {
		if !s.kinds[group].presence || len(want) == 0 {
			continue
		}
		found := false
		s.hs.homes[s.hs.Of(strconv.Itoa(group))].EachPresent(func(name string, present map[uint64]bool, _ bool) {
			if s.group(name) == group {
				found = true
				s.must(maps.Equal(present, want), "group %d: the home knows of %v, there are %v", group, present, want)
			}
		})
		s.must(found, "group %d: the home does not know who is there: %s", group, fmt.Sprint(want))
	}
}
