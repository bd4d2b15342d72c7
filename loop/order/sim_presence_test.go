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

	edge, still bool
	except      uint64
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
type simCompany struct{ came, went, lists, crowds, here, busy, again, users, edges, still, joined, full int }

func (c *simCompany) add(of simCompany) {
	c.came, c.went, c.lists, c.crowds = c.came+of.came, c.went+of.went, c.lists+of.lists, c.crowds+of.crowds
	c.here, c.busy, c.again, c.users = c.here+of.here, c.busy+of.busy, c.again+of.again, c.users+of.users
	c.edges, c.still, c.joined, c.full = c.edges+of.edges, c.still+of.still, c.joined+of.joined, c.full+of.full
}

func (c *simCompany) check(t *testing.T, shape simShape) {
	crowds, loud := shape.presentMax < 1000, shape.flight < 1<<20
	if c.came == 0 || c.went == 0 || c.lists == 0 || c.here == 0 || c.again == 0 || c.users == 0 || c.edges == 0 || c.still == 0 || c.joined == 0 ||
		(c.crowds > 0) != crowds || (c.full > 0) != crowds || (c.busy > 0) != loud {
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

// users is how many members each user is.
func (p *simPresence) users() map[string]int {
	users := map[string]int{}
	for _, m := range p.who {
		users[nameOf(m.who)]++
	}
	delete(users, "")
	return users
}

// becomes has a member be another user, and tells of both, or where that is not done yet, of the one that it was.
func (s *sim) becomes(v *simServing, p *simPresence, who *dialect.Who, done bool) {
	client := v.request.Client.number
	m, is := p.who[client]
	if !is || nameOf(m.who) == nameOf(who) {
		return
	}
	news := func(sort dialect.Sort, who *dialect.Who, edge bool) {
		if edge && nameOf(who) != "" && !p.crowded {
			s.tell(v.request.Local.name, simNews{sort: sort, client: client, who: who, offset: v.offset, edge: true, still: true}, p.hearers())
		}
	}
	was := m.who
	m.who = nil
	p.who[client] = m
	news(dialect.Went, was, p.users()[nameOf(was)] == 0)
	if done {
		news(dialect.Came, who, p.users()[nameOf(who)] == 0)
	}
}

// heed has the model follow the last request, if it was served since it was seen.
func (s *sim) heed() {
	v := s.serving
	if v == nil {
		return
	}
	if v.up.head.Load() == v.head {
		if r := &v.request; r.Op == OpHere { // it may be done in part
			p := &s.presences[s.group(r.Local.name)]
			if hg := v.home.groups.Get(r.Local.name); p.on && hg != nil && hg.present && v.home.presence(hg).who(r.Client.number) == nil {
				s.becomes(v, p, r.who(), false)
			}
		}
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
			edge := nameOf(m.who) != "" && p.users()[nameOf(m.who)] == 0
			s.tell(name, simNews{sort: dialect.Went, client: r.Client.number, who: m.who, offset: v.offset, edge: edge}, p.hearers())
		}
		s.must(m.loop == r.Client.loop, "client %d is gone from loop %d, and was of loop %d", r.Client.number, r.Client.loop, m.loop)
	case OpHere:
		if p.on && v.known {
			s.becomes(v, p, r.who(), true)
			p.add(r.Client.number, simMember{r.Client.loop, r.Hears, r.who()}, s.presentMax)
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
	hearers, lists := p.hearers(), r.Past != nil && r.Past.Lists
	if r.Hears && !lists {
		hearers[r.Client.loop] = true
	}
	full := p.on && (p.crowded || len(p.who) >= s.presentMax)
	told := p.on && !full && len(hearers) > 0
	if d.Op == OpRefused {
		s.must(d.Message == nil && !d.Present, "group %s: who is refused comes: %+v", name, d)
		s.must((d.Why == RefusedCrowded) == (lists && full), "group %s: a join is refused for %d, lists %v, full %v", name, d.Why, lists, full)
		if d.Why == RefusedCrowded {
			s.company.full++
		}
		s.must(d.Why != RefusedBusy || told && v.loud, "group %s: a join is refused as busy, and it is quiet: told %v", name, told)
		if d.Why == RefusedBusy {
			s.company.busy++
		}
		return
	}
	s.must(d.Op == OpJoined && d.Present == p.on, "group %s: a join is answered %+v, want present: %v", name, d, p.on)
	s.must(!lists || !full, "group %s: who asks who is there joins too many: %+v", name, p)
	if told {
		s.must((d.Message != nil) == hearers[r.Client.loop], "group %s: its own loop is told of a coming: %v", name, d.Message != nil)
		n := simNews{sort: dialect.Came, client: r.Client.number, who: r.who(), offset: v.offset, edge: nameOf(r.who()) != "" && p.users()[nameOf(r.who())] == 0}
		if r.Hears && lists {
			n.except = n.client
		}
		s.tell(name, n, hearers)
	} else {
		s.must(d.Message == nil, "group %s: a coming is told: %+v", name, p)
	}
	if p.on {
		p.add(r.Client.number, simMember{r.Client.loop, r.Hears, r.who()}, s.presentMax)
	}
	if lists && p.on {
		s.judgeList(name, p, d.Past, true)
		s.company.joined++
	} else {
		s.must(d.Past == nil || d.Past.Present == nil, "group %s: who does not ask, or may not, is told who is there: %+v", name, d.Past)
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
			user = m.who.User()
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
	if len(loops) > 0 && n.still {
		s.company.still++
	} else if len(loops) > 0 && n.edge {
		s.company.edges++
	}
}

// hearNews judges news that have come down.
func (s *sim) hearNews(loop int, p *simPart, d *Delivery[*simPart, *simAsk]) {
	due := &s.loops[loop].due[s.group(p.name)]
	client, named := d.Message.Sender()
	n := simNews{sort: d.Message.Sort, client: client, who: d.Message.Who(), offset: d.Offset}
	if more := d.Message.More; more != nil {
		n.edge, n.still, n.except = more.Edge, more.Still, more.Except
	}
	s.must(len(*due) > 0 && named && d.Message.Group == p.name && d.Message.Wire == "" && d.Message.Offset == 0 && !d.Message.Kept,
		"loop %d, group %s: hears %+v, of which it is not to be told", loop, p.name, n)
	want := (*due)[0]
	*due = (*due)[1:]
	offset := want.offset
	want.offset = n.offset
	s.must(n == want, "loop %d, group %s: hears %+v, want %+v", loop, p.name, n, want)
	want.offset = offset
	s.must(p.last == 0 || p.headcount == nil || p.last == want.offset, "loop %d, group %s: hears %+v behind message %d", loop, p.name, want, p.last)
	s.takeIn(loop, p, d.Message)
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
