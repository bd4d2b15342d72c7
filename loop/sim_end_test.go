package loop

// checkEnd judges a world at rest: every question answered, every cut explained, nobody who stayed misses anything.
func (w *world) checkEnd() {
	for _, a := range w.actors {
		open := !a.sock.closed && !a.closing && !a.killed && !a.said
		if a.sock.closed && !a.killed {
			// What waited for a peer that did not read before the deadline is lost with it, the Close frame too.
			w.must(a.closing || a.said || a.sock.lost || a.sock.deaf, "actor %d was cut without a Close frame", a.index)
		}
		if !open {
			continue
		}
		w.must(len(a.asked) == 0, "actor %d: %d commands were never answered: %+v", a.index, len(a.asked), a.asked)
		for _, m := range a.plain {
			m.accepted = true // refused, it would have been closed
		}
	}
	w.checkGrants()
	w.countGaps()
	for _, a := range w.actors {
		if a.sock.closed || a.closing || a.killed || a.said || !a.upgraded {
			continue
		}
		missing := uint64(0)
		for group, in := range a.joined {
			if in.sentAt == 0 || in.unsure {
				continue
			}
			for _, m := range w.sent {
				owed := in.ackedAt > 0 && m.issuedAt > in.ackedAt ||
					in.ackedAt > 0 && !in.refused && m.from == a && m.life == a.life && m.issuedAt > in.sentAt
				if m.unkept() && m.issuedAt <= in.healedAt {
					continue // what is not kept is lost to who was out of the group meanwhile
				}
				if place, is := w.orderer.place(m); is && m.issuedAt <= in.ackedAt && place <= in.begins {
					continue // it is behind that: the join waited for the log, and what was said behind it did not
				}
				if m.leavesOut(a) {
					if m.group == group && m.accepted && owed {
						w.excepts.withheld++
					}
					continue
				}
				if m.group == group && m.accepted && owed && !a.got[group][m.number] {
					missing++
					w.must(a.toldOf(m), "actor %d, member of %s since step %d: message %d of step %d is missing",
						a.index, group, in.ackedAt, m.number, m.issuedAt)
				}
			}
		}
		w.must(missing <= a.missed, "actor %d: misses %d messages, was told of %d", a.index, missing, a.missed)
	}
	for _, a := range w.actors {
		a.flushOrder()
		a.saw = map[string][]int{}
	}
	w.feed.checkEnd()
	w.must(w.patient == nil || w.patient.message == nil, "a publish waits for room that there is")
	for group, lists := range w.order {
		w.checkOneOrder(group, lists)
	}
	w.order = map[string][][]int{}
}

// toldOf says whether a gap was heard in the place of a message: behind all that the message's sender had sent to the
// group before it, and before all that came after it.
func (a *actor) toldOf(m *simMessage) (told bool) {
	for _, h := range a.log {
		switch {
		case h.message == nil:
			told = true
		case h.message.group != m.group || h.message.sender != m.sender:
		case h.message.number < m.number:
			told = false
		default:
			return told
		}
	}
	return told
}

// heardAll says whether a client has heard everything, or is there to hear it.
func (a *actor) heardAll() bool {
	return a.closing && !a.killed && !a.sock.lost || a.live() || a.plainText != nil
}

// countGaps: where everybody has heard everything, clients were told of exactly those messages that were dropped.
func (w *world) countGaps() {
	missed := w.missed
	for _, a := range w.actors {
		if w.uncounted || !a.heardAll() {
			return
		}
		missed += a.missed
	}
	dropped := w.hub.Snapshot().Total().SlowDropped
	w.must(missed == dropped, "clients were told of %d dropped messages, want %d", missed, dropped)
	w.exactGaps = dropped
}

// checkOneOrder: there is one order of a group's messages that all the lists agree with. Each list says "this before
// that"; there is such an order if these sayings have no circle.
func (w *world) checkOneOrder(group string, lists [][]int) {
	next, before := map[int][]int{}, map[int]int{}
	for _, l := range lists {
		for i, n := range l {
			if _, ok := before[n]; !ok {
				before[n] = 0
			}
			if i > 0 {
				next[l[i-1]] = append(next[l[i-1]], n)
				before[n]++
			}
		}
	}
	var free []int
	for n, count := range before {
		if count == 0 {
			free = append(free, n)
		}
	}
	ordered := 0
	for len(free) > 0 {
		n := free[len(free)-1]
		free = free[:len(free)-1]
		ordered++
		for _, m := range next[n] {
			if before[m]--; before[m] == 0 {
				free = append(free, m)
			}
		}
	}
	w.must(ordered == len(before), "members of %s saw different orders", group)
}

// checkEmpty: when all have gone, nothing is left of them.
func (w *world) checkEmpty() {
	for range 60 { // those who never read are cut at the deadline
		w.hub.beat()
		w.round()
	}
	w.settle()
	w.checkForgotten()
	w.checkNoBearers()
	total := w.hub.Snapshot().Total()
	w.must(total.Clients == 0 && total.DeflateClients == 0 && total.Pending == 0 && total.Members == 0 && total.Groups == 0 && total.Homes == 0 &&
		total.LaneDepth == 0 && w.hub.homes.Census.Groups() == 0, "left over: %+v", total)
	w.endDeparted(100)
	w.must(w.hub.connections.Load() == 0, "connections: %d", w.hub.connections.Load())
	taken, addresses := w.hub.seats()
	w.must(taken == 0 && addresses == 0, "seats: %d taken of %d addresses", taken, addresses)
	for i, s := range w.hub.shards {
		w.must(s.groups.Len() == 0 && w.hub.homes.Home(i).Groups() == 0 && len(s.clients) == 0 && len(s.heartbeat.lastSeen) == 0 &&
			len(s.passes.queue)+len(s.passes.awaiting) == 0 && s.passes.gathered == 0 && s.backlog.bytes == 0 && s.owed.total == 0 && s.owed.said == 0 && len(s.ends.dead) == 0 && s.owed.announced.client == 0 && len(s.deadlines.list) == 0 && len(s.headcounts.list) == 0 &&
			s.handshaking == 0 && len(s.slow.list) == 0 && len(s.partials.list) == 0 && s.relief.outboxes.Load() == 0 && w.hub.partials.bytes.Load() == 0 && w.hub.partials.clients.Load() == 0 &&
			w.hub.homes.Home(i).Idle() && s.lanes.Idle(), "loop %d is not empty: groups %d, homes %d, clients %d, passes %d, gathered %d, backlog %d, idle %d, deadlines %d, home idle %v, lanes idle %v",
			i, s.groups.Len(), w.hub.homes.Home(i).Groups(), len(s.clients), len(s.passes.queue), s.passes.gathered, s.backlog.bytes, s.owed.total,
			len(s.deadlines.list), w.hub.homes.Home(i).Idle(), s.lanes.Idle())
	}
	w.must(len(w.fds) == 0, "descriptors: %d open", len(w.fds))
}
