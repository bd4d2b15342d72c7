package order

import "ringcast/loop/assert"

// This file is how loops come to have members of a group, and to have none.

// join takes a place in a group for a client, notes that its loop has members, and answers; or it refuses. A loop asks
// several times when further clients join before it has the first answer.
func (h *Home[G, C]) join(r *Request[G, C], origin int) bool {
	name, d := r.Local.GroupName(), Delivery[G, C]{Op: OpJoined, Asks: r.Asks, Local: r.Local, Client: r.Client, ID: r.ID}
	hg := h.find(name)
	if h.ordering != nil {
		if waits, done := h.waitsForLog(hg, name, r, origin); waits {
			return done
		}
	}
	isNew := hg == nil
	var p *presence
	if isNew {
		kinds := h.all.kinds.Load()
		kind := h.kind(name)
		hg = &homeGroup[G]{kinds: markOf(kinds, kind)}
		h.begin(hg, name, kind)
		p = h.newPresence(name, kind)
	} else {
		p = h.presence(hg)
	}
	var coming *Message
	lists := r.Past != nil && r.Past.Lists
	if p != nil {
		coming = p.coming(r.Client.Number(), r.who(), name, r.Hears, lists, h.all.config.PresentMax)
		if r.Hears && !lists || p.hearersAt(origin) > 0 {
			d.Message = coming
		}
	}
	if roomy := h.mayTell(hg, p, coming, origin); !h.fits(origin, d.Bytes()) || !roomy {
		return false
	}
	membersMax, groupsMax := h.all.env.Bounds(name)
	why, ok := RefusedCrowded, !lists || !h.crowds(p, r.Client.Number())
	if ok {
		why, ok = RefusedBusy, coming == nil || hg.heldBack == 0 && h.open(hg, coming.Bytes())
	}
	if ok {
		why, ok = h.all.Census.take(&hg.headcount, membersMax, groupsMax)
	}
	if !ok {
		d.Op, d.Why, d.Message = OpRefused, why, nil
		h.send(origin, d)
		return true
	}
	d.Headcount = &hg.headcount
	if isNew {
		h.groups.Put(name, hg)
		h.setPresence(hg, p)
		h.reachFromNow(hg.history)
	}
	d.Past = h.past(hg, r.Past)
	l := h.attend(hg, p, r.Local, origin)
	h.tell(hg, p, coming, origin)
	if d.Present = p != nil; d.Present {
		h.enter(p, name, r.Client.Number(), origin, r.Hears, r.who(), true)
		h.tellCame(name, r.Client.Number(), r.who(), true)
	}
	d.Past = h.present(hg, p, name, r.Past, d.Past)
	if d.Message != nil {
		l.sent += uint64(d.Message.Bytes())
	}
	h.send(origin, d)
	return true
}

// crowds says whether members are too many to be listed, or will be with a client that joins. p is nil where the kind has no presence.
func (h *Home[G, C]) crowds(p *presence, client uint64) bool {
	if p == nil {
		return false
	}
	is, _ := p.find(client)
	return p.crowded() || h.far.full || is == 0 && len(p.few) >= h.all.config.PresentMax
}

// present is what a client that has joined is told of the past, with what it has asked of the present: who is there, and what was said last.
func (h *Home[G, C]) present(hg *homeGroup[G], p *presence, name string, a *Ask, past *Past) *Past {
	lists, caches := p != nil && a != nil && a.Lists, a != nil && a.Cached && hg.kinds.caches()
	if past == nil && (lists || caches) {
		past = &Past{}
	}
	if lists {
		past.Present = p.list()
		h.nameFar(name, past.Present)
		past.Members, past.Users = p.counts()
	}
	if past != nil && caches {
		past.HasCached = true
		if e := h.cached(name); e != nil {
			past.Cached = e.message
		} else {
			h.observe(CacheMiss, name, "", false)
		}
	}
	return past
}

// attend is the line of a loop that has members from now on, or has them already.
func (h *Home[G, C]) attend(hg *homeGroup[G], p *presence, part G, loop int) *localRef[G] {
	l := hg.local(loop)
	switch {
	case l == nil:
		if len(hg.locals) == 0 {
			h.groupCount.Add(1)
			if p == nil {
				h.observe(Occupied, part.GroupName(), "", false)
			}
		}
		hg.locals = append(hg.locals, newLocalRef(loop, part))
		l = &hg.locals[len(hg.locals)-1]
	case l.part != part: // a panic has dropped the leave of the other
		*l = newLocalRef(loop, part)
		h.removeAll(p, part.GroupName(), loop)
	}
	return l
}

// leave takes a loop off a group's list, and deletes the group with its last loop, so that the table does not grow for ever; one
// that has a history is then alone.
func (h *Home[G, C]) leave(r *Request[G, C], origin int) {
	name := r.Local.GroupName()
	hg := h.find(name)
	if hg == nil || len(hg.locals) == 0 {
		return
	}
	for i, l := range hg.locals {
		if l.loop == origin {
			assert.That(l.part == r.Local, "home: a loop leaves with another group than it joined with")
			last := len(hg.locals) - 1
			hg.locals[i] = hg.locals[last]
			hg.locals[last] = localRef[G]{}
			hg.locals = hg.locals[:last]
			h.removeAll(h.presence(hg), name, origin) // nobody, but for what a panic has dropped
			break
		}
	}
	if len(hg.locals) == 0 {
		assert.That(hg.headcount.members.Load() == 0, "home: a group ends that has members")
		h.groupCount.Add(-1)
		if !hg.present {
			h.observe(Vacated, name, "", false)
		}
		hg.locals, hg.heldBack = nil, 0
		if hg.history != nil {
			h.leaveAlone(hg.history)
		} else {
			h.drop(name, hg)
		}
	}
}

// drop has the home know a group no longer.
func (h *Home[G, C]) drop(name string, hg *homeGroup[G]) {
	h.groups.Delete(name)
	h.setPresence(hg, nil)
}
