package order

import "ringcast/loop/assert"

// This file is how loops come to have members of a group, and to have none.

// join takes a place in a group for a client, notes that its loop has members, and answers; or it refuses. A loop asks
// several times when further clients join before it has the first answer.
func (h *Home[G, C]) join(r *Request[G, C], origin int) bool {
	name, d := r.Local.GroupName(), Delivery[G, C]{Op: OpJoined, Asks: r.Asks, Local: r.Local, Client: r.Client, ID: r.ID}
	hg := h.find(name)
	isNew := hg == nil
	var p *presence
	if isNew {
		hg = &homeGroup[G]{kinds: uint16(h.all.kinds.Load())}
		kind := h.kind(name)
		h.begin(hg, name, kind)
		p = newPresence(kind)
	} else {
		p = h.presence(hg)
	}
	var coming *Message
	if p != nil {
		coming = p.coming(r.Client.Number(), r.who(), name, r.Hears, h.all.config.PresentMax)
		if r.Hears || p.hearersAt(origin) > 0 {
			d.Message = coming
		}
	}
	if roomy := h.mayTell(hg, p, coming, origin); !h.fits(origin, d.Bytes()) || !roomy {
		return false
	}
	membersMax, groupsMax := h.all.env.Bounds(name)
	why, ok := RefusedBusy, coming == nil || hg.heldBack == 0 && h.open(hg, coming.Bytes())
	if ok {
		why, ok = h.all.Census.take(&hg.headcount, membersMax, groupsMax)
	}
	if !ok {
		d.Op, d.Why, d.Message = OpRefused, why, nil
		h.send(origin, d)
		return true
	}
	d.Headcount = &hg.headcount
	if d.Past = h.past(hg, r.Past); isNew {
		h.groups.Put(name, hg)
		h.setPresence(hg, p)
	}
	l := h.attend(hg, p, r.Local, origin)
	h.tell(hg, p, coming, origin)
	if d.Present = p != nil; d.Present {
		p.add(r.Client.Number(), origin, r.Hears, r.who(), h.all.config.PresentMax)
	}
	if d.Message != nil {
		l.sent += uint64(d.Message.Bytes())
	}
	h.send(origin, d)
	return true
}

// attend is the line of a loop that has members from now on, or has them already.
func (h *Home[G, C]) attend(hg *homeGroup[G], p *presence, part G, loop int) *localRef[G] {
	l := hg.local(loop)
	switch {
	case l == nil:
		if len(hg.locals) == 0 {
			h.groupCount.Add(1)
		}
		hg.locals = append(hg.locals, newLocalRef(loop, part))
		l = &hg.locals[len(hg.locals)-1]
	case l.part != part: // a panic has dropped the leave of the other
		*l = newLocalRef(loop, part)
		p.removeAll(loop, h.all.config.PresentMax)
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
			h.presence(hg).removeAll(origin, h.all.config.PresentMax) // nobody, but for what a panic has dropped
			break
		}
	}
	if len(hg.locals) == 0 {
		assert.That(hg.headcount.members.Load() == 0, "home: a group ends that has members")
		h.groupCount.Add(-1)
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
