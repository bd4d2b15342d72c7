package loop

import (
	"maps"
	"slices"
	"strings"
)

// checkPages judges pages at rest: each knows who is there, and has heard what it had to.
func (w *world) checkPages() {
	w.lookAtCounts()
	pageOf := map[uint64]*simPage{}
	for _, p := range w.pages.all {
		pageOf[p.sock.client.Number()] = p
	}
	for _, p := range w.pages.all {
		if !p.live() || len(p.toServer) > 0 {
			continue
		}
		for name, in := range p.channels {
			w.must(!in.asked, "page %d: its subscribe to %s was never answered", p.index, name)
			if in.users == nil {
				continue
			}
			users, member := map[string]bool{}, false
			for client := range w.whoIsIn(name) {
				if of := pageOf[client]; of != nil && strings.HasPrefix(name, "presence-") {
					users[of.user] = true
				}
				member = member || client == p.sock.client.Number()
			}
			p.checkCount(in, name)
			w.must(member, "page %d was told that it is in %s, and is not", p.index, name)
			w.must(!in.owed, "page %d was never told what was last", p.index)
			w.must(maps.Equal(users, in.users), "page %d: in %s are %v, by what it has heard %v", p.index, name, users, in.users)
			for number, e := range w.pages.events {
				if e.channel != name || e.from == p || in.begins == 0 || e.at <= in.begins || !e.from.live() || e.from.life != e.life || e.from.refused > 0 {
					continue
				}
				w.pages.owed++
				w.must(slices.Contains(in.saw, number), "page %d, in %s since step %d, has not heard event %d of step %d", p.index, name, in.begins, number, e.at)
			}
		}
	}
	for _, p := range w.pages.all {
		p.flushOrder()
	}
}
