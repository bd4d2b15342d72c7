package loop

// This file is how slow clients of a simulated world heal: they are taken out of groups that have lost something on the way to them, and
// come back by themselves from where they have heard them. Nothing comes between, and if what was lost is recovered the client has
// heard the group as if it had not been out of it.

// parted is the notice that the client was taken out of a group.
func (a *actor) parted(group string) {
	w, m := a.w, a.joined[group]
	w.must(a.loud && w.hub.bounds.Load().SlowClient == SlowHeal, "actor %d was taken out of %s, in a world where none of its kind heals", a.index, group)
	w.must(m != nil && !m.out(), "actor %d was taken out of %s, where it is not a member", a.index, group)
	w.past.parted++
	*a.track(group) = simTrack{}
	m.silent = false // of what it has asked without an id nobody says whether it came before
	if m.ackedAt == 0 {
		return // it has said that it leaves, or has asked without an id
	}
	m.company = simCompany{} // of who comes and goes meanwhile it hears nothing
	m.parted, m.ackedAt = m.ackedAt, 0
	if a.live() && w.chance(90) {
		a.join(group, true)
	}
}

// joinedAgain is called when an add_group was answered. Of who was taken out of the group it says whether it has missed nothing.
func (a *actor) joinedAgain(c *simCommand, past *loudPast) {
	m := c.membership
	if m.parted == 0 {
		return
	}
	was := m.parted
	m.parted = 0
	if past != nil && past.Recovered && c.past.exact && !c.past.from.stale && c.past.from.epoch != 0 && a.places[c.group] == c.past.from {
		m.ackedAt, m.healedAt = was, a.w.step
		a.w.past.healed++
		return
	}
	m.refused = true // what it has sent itself may be lost to it, too
}

// chooseHealing sets the bounds of a world in which many of those that come back have healed: kernels take little, outboxes are full soon,
// and yet what was lost often has room in half of one.
func (w *world) chooseHealing(b *bounds) {
	if w.choking = w.chance(75); w.choking {
		b.SlowClient, b.OutboxBytesMax, b.RecoveryMax, b.History = SlowHeal, []int{1500, 3000, 8000}[w.rng.IntN(3)], 1000, 200
	}
}

// choke has somebody read nothing, now and then, while so much is said in one of its groups that it has no room for it.
func (w *world) choke() {
	if !w.choking || !w.chance(1) {
		return
	}
	w.letAllGo()
	a := w.actors[w.rng.IntN(len(w.actors))]
	group := w.groups[w.rng.IntN(len(w.groups))]
	if m := a.joined[group]; !a.loud || !a.live() || m == nil || m.ackedAt == 0 {
		return
	}
	a.stalled = true
	for range 120 {
		w.publishByPort(group)
		w.round()
		if a.sock.closed || a.sock.shard.slow.heals(a.sock.client) {
			break
		}
	}
	a.stalled = w.chance(30)
}
