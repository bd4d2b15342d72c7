package order

import (
	"slices"

	"ringcast/dialect"
)

// This file is what simulated loops do with clients as members whom homes know.

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

// says is a member that says who it is, or that it is another user.
func (s *sim) says(p *simPart) {
	c := p.clients[s.rng.IntN(len(p.clients))]
	if c.who = s.user(); s.kinds[s.group(p.name)].presence {
		s.here(p, c)
	}
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
