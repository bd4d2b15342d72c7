package loop

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"ringcast/loop/order"
)

// This file is who is there, and who comes and goes, in a simulated world. What homes know is held against what their loops owe them, at
// any moment; what a member hears, applied to the list that it has asked for, against who is there in the end.

// simCompany is what a member has heard of the others.
type simCompany struct {
	first  bool            // nothing that it hears is of an earlier membership
	hears  bool            // it is to hear who comes and goes
	known  bool            // that is certain
	news   []simNews       // all that it has heard
	who    map[uint64]bool // by the last list, and by what was heard since; nil: it has no list
	itself bool            // it has heard that it comes
}

// simNews is that a client comes or goes.
type simNews struct {
	client uint64
	came   bool
}

// simCompanies is what was heard of that in a world.
type simCompanies struct {
	news, lists, crowded, sums, owed, switched uint64 // heard; lists; looks at crowds; lists that were true in the end, with what was heard since; looks at words that wait; looks at members to be announced
}

// add is for the sum of all worlds.
func (c *simCompanies) add(of *simCompanies) {
	c.news, c.lists, c.crowded, c.sums = c.news+of.news, c.lists+of.lists, c.crowded+of.crowded, c.sums+of.sums
	c.owed, c.switched = c.owed+of.owed, c.switched+of.switched
}

// mayBeCrowded says whether a group may have more members than are listed.
func (w *world) mayBeCrowded() bool { return w.hub.bounds.Load().presentMax < 1000 }

// begin is called when an add_group is answered and its client becomes a member by that.
func (co *simCompany) begin(a *actor, c *simCommand) {
	kind := a.w.hub.bounds.Load().kindOf(c.group)
	co.known = c.clean && !a.w.changing
	co.hears = a.loud && kind.Presence && (kind.JoinLeave == HearAll || kind.JoinLeave == HearAsked && c.hears)
	a.w.must(!co.known || co.hears || len(co.news) == 0, "actor %d: hears %+v in %s, and has not asked", a.index, co.news, c.group)
	a.w.must(!co.known || !co.itself, "actor %d: has heard that it comes to %s before it was told", a.index, c.group)
	if co.hears && a.live() && a.w.chance(70) {
		a.askWho(c.group)
	}
}

// askWho asks who is in a group.
func (a *actor) askWho(group string) {
	m := a.membership(group)
	a.ask(&simCommand{verb: "presence", group: group, membership: m, clean: m.ackedAt > 0 && !m.unsure, acked: m.ackedAt, told: len(m.company.news)}, `,"hears":false`, true)
}

// heardWho holds a list against who must be in it, and goes on with it.
func (a *actor) heardWho(c *simCommand, who []uint64) {
	w, m := a.w, a.joined[c.group]
	w.company.lists++
	w.must(len(who) <= w.hub.bounds.Load().presentMax, "actor %d: a list of %d members of %s", a.index, len(who), c.group)
	set := map[uint64]bool{}
	for _, client := range who {
		w.must(!set[client], "actor %d: client %d is in the list of %s twice", a.index, client, c.group)
		set[client] = true
	}
	if !c.clean || m != c.membership || m.ackedAt != c.acked || w.changing { // it may have been taken out and have joined again since
		return
	}
	w.must(set[a.sock.client.Number()], "actor %d: is in %s, and not in the list %v", a.index, c.group, who)
	for _, n := range m.company.news[c.told:] { // whichever of these are in the list already: what was said last counts
		n.apply(set)
	}
	m.company.who = set
}

func (n simNews) apply(to map[uint64]bool) {
	if to[n.client] = n.came; !n.came {
		delete(to, n.client)
	}
}

// heardNews is that somebody comes or goes.
func (a *actor) heardNews(text string) {
	w, part := a.w, strings.Split(text, "|")
	group := part[1]
	client, err := strconv.ParseUint(part[2], 10, 64)
	number, wrong := strconv.ParseUint(part[3], 16, 32)
	w.must(err == nil && wrong == nil && len(part) == 4, "actor %d: garbled %q", a.index, text)
	w.company.news++
	m, n := a.joined[group], simNews{client, part[0] == "C"}
	kind := w.hub.bounds.Load().kindOf(group)
	w.must(w.changing || kind.Presence && kind.JoinLeave != HearNone, "actor %d: heard %q, and nobody is to hear that", a.index, text)
	w.must(m != nil && !m.out() && !m.left, "actor %d: heard %q, and is not a member", a.index, text)
	co := &m.company
	w.must(!co.known || co.hears, "actor %d: heard %q, and has not asked", a.index, text)
	w.must(!slices.Contains(a.saw[group], -int(number)), "actor %d: heard %q twice", a.index, text)
	a.saw[group] = append(a.saw[group], -int(number)) // it has its place in the group's order
	if client == a.sock.client.Number() {
		w.must(n.came || m.unsure || !co.first, "actor %d: heard %q of itself", a.index, text)
		w.must(!n.came || m.unsure || m.ackedAt > 0 || !co.first, "actor %d: heard %q before it was answered", a.index, text)
		co.itself = co.itself || n.came
	}
	if co.known && !w.mayBeCrowded() {
		for i := len(co.news) - 1; i >= 0; i-- {
			if was := co.news[i]; was.client == client {
				w.must(was.came != n.came, "actor %d: heard %q behind another of the same", a.index, text)
				break
			}
		}
	}
	co.news = append(co.news, n)
	if co.who != nil {
		n.apply(co.who)
	}
}

// simPresent is a client in a group.
type simPresent struct {
	group  string
	client uint64
}

// owedPresence is what loops owe homes: for each client that is present one word that it is gone, which is to be said, or is under way, or
// will be when the client goes; or it is not told yet that it is a member.
func (w *world) owedPresence() (owes map[simPresent]int) {
	owes = map[simPresent]int{}
	joined := func(d *delivery) {
		if d.Op == order.OpJoined && d.Present {
			owes[simPresent{d.Local.name, d.Client.Number()}]++
		}
	}
	for _, s := range w.hub.shards {
		for _, c := range s.clients {
			for at := range c.groupCount() {
				if m := c.membership(at); m.present() && m.standing == standingMember {
					owes[simPresent{m.group.name, c.Number()}]++
				}
			}
		}
		s.lanes.EachWaiting(joined)
		for i := range s.replays.queue {
			joined(&s.replays.queue[i].delivery)
		}
		said, gone := 0, map[simPresent]bool{}
		for _, words := range s.owed.words {
			for _, word := range words {
				if said++; word.op == order.OpGone {
					who := simPresent{word.group.name, word.client.Number()}
					w.must(!gone[who], "loop %d: client %d is said to be gone from %s twice", s.index, who.client, who.group)
					gone[who] = true // hence there are no more such words than there were memberships
					owes[who]++
				}
			}
		}
		w.must(said == s.owed.said, "loop %d: %d words are owed, counted %d", s.index, said, s.owed.said)
		if said > 0 {
			w.company.owed++
		}
		if s.owed.announced.client > 0 {
			w.company.switched++
		}
		w.hub.homes.Home(s.index).EachRequest(func(r *request) {
			if r.Op == order.OpGone {
				owes[simPresent{r.Local.name, r.Client.Number()}]++
			}
		})
	}
	return owes
}

// checkPresence holds what homes know of who is there against what loops owe them, at any moment. In a world whose kinds change they may
// owe more.
func (w *world) checkPresence() {
	owes := w.owedPresence()
	for i := range w.hub.shards {
		h := w.hub.homes.Home(i)
		wrong := h.CheckPresence()
		w.must(wrong == "", "home %d: %s", i, wrong)
		h.EachPresent(func(group string, present map[uint64]bool, crowded bool) {
			if crowded {
				w.company.crowded++
			}
			for client := range present {
				at := simPresent{group, client}
				w.must(owes[at] == 1 || w.changing && owes[at] > 0, "client %d is present in %s, for which %d words are owed", client, group, owes[at])
				delete(owes, at)
			}
		})
	}
	for at, n := range owes {
		w.must(w.changing, "client %d is not present in %s, and %d words that it is gone are owed", at.client, at.group, n)
	}
}

// checkCompany: at rest homes know who is there, and so does who has asked for it and hears who comes and goes.
func (w *world) checkCompany() {
	b, there := w.hub.bounds.Load(), map[string]map[uint64]bool{}
	for _, s := range w.hub.shards {
		w.must(s.owed.said == 0 && s.owed.announced.client == 0 && len(s.ends.dead) == 0, "loop %d: at rest %d words are owed, %d clients are to be looked at, and %d to be buried",
			s.index, s.owed.said, s.owed.announced.client, len(s.ends.dead))
		for _, c := range s.clients {
			for at := range c.groupCount() {
				if m := c.membership(at); b.kindOf(m.group.name).Presence {
					if there[m.group.name] == nil {
						there[m.group.name] = map[uint64]bool{}
					}
					there[m.group.name][c.Number()] = m.hears()
				}
			}
		}
	}
	w.checkPresence()
	for i := range w.hub.shards {
		w.hub.homes.Home(i).EachPresent(func(group string, present map[uint64]bool, _ bool) {
			w.must(!b.kindOf(group).Presence || maps.Equal(present, there[group]), "home %d: in %s are %v, it knows of %v", i, group, there[group], present)
			delete(there, group)
		})
	}
	w.must(len(there) == 0, "homes do not know who is in groups: %v", there)
	for _, a := range w.actors {
		if !a.live() || a.closing || !a.upgraded || a.missed > 0 || w.mayBeCrowded() {
			continue
		}
		for group, m := range a.joined {
			co := &m.company
			if !co.known || !co.hears || m.ackedAt == 0 || m.unsure {
				continue
			}
			w.must(co.itself, "actor %d: has not heard that it comes to %s", a.index, group)
			if co.who != nil {
				who := w.whoIsIn(group)
				w.must(maps.Equal(co.who, who), "actor %d: in %s are %v, by what it has heard %v", a.index, group, who, co.who)
				w.company.sums++
			}
		}
	}
}

func (w *world) whoIsIn(group string) map[uint64]bool {
	who := map[uint64]bool{}
	for _, s := range w.hub.shards {
		for _, c := range s.clients {
			for at := range c.groupCount() {
				if c.membership(at).group.name == group {
					who[c.Number()] = true
				}
			}
		}
	}
	return who
}
