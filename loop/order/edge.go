package order

import "ringcast/dialect"

// This file is the users who come and go, as whoever hears is told of them beside their clients: a user comes with the first member that it is,
// and goes with the last, wherever these are. News of a client say so (dialect.More.Edge), and a member that says later who it is, or
// otherwise than before, has news of the user alone (dialect.More.Still). Users are those with a name; and nobody is told where nobody is told who
// comes and goes.

// isEdge says whether a client that is about to come is the first member of its user, or one that is about to go the last.
func (p *presence) isEdge(sort dialect.Sort, who *dialect.Who) bool {
	if who == nil || who.User() == "" {
		return false
	}
	members := p.membersOf(who.User())
	if sort == dialect.Came {
		return members == 0
	}
	return members == 1
}

// becomes has a member be another user than it was, and tells those who hear which user goes with that, and which comes; false: there is no
// room for what is left of it. If it is no member nothing happens. hg is nil if the home does not know the group; name is that of a member
// elsewhere, else empty.
func (h *Home[G, C]) becomes(hg *homeGroup[G], p *presence, group string, member uint64, who *dialect.Who, name string) bool {
	is, _ := p.find(member)
	was := p.who(member)
	if is == 0 || nameOf(was) == nameOf(who) {
		return true
	}
	client := member
	if name != "" {
		client = 0 // its name says who it is
	}
	for _, step := range [...]struct {
		sort     dialect.Sort
		of       *dialect.Who
		to       *dialect.Who
		observed Observed
	}{{dialect.Went, was, nil, UserWent}, {dialect.Came, who, who, UserCame}} {
		var news *Message
		if hg != nil && hg.present && !p.crowded() && p.isEdge(step.sort, step.of) {
			if news = p.news(step.sort, client, step.of, group, 0); news != nil {
				news.More.Client, news.More.Still = name, true
			}
		}
		if !h.mayTell(hg, p, news, -1) {
			return false
		}
		edge := p.isEdge(step.sort, step.of)
		p.identify(member, step.to)
		if edge {
			h.observe(step.observed, group, step.of.User(), true)
		}
		h.tell(hg, p, news, -1)
	}
	return true
}

// nameOf is the name of a user; empty: it has none, or there is none.
func nameOf(who *dialect.Who) string {
	if who == nil {
		return ""
	}
	return who.User()
}
