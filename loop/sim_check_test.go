package loop

import (
	"ringcast/loop/door"
	"ringcast/loop/order"
)

// checkBounds holds what each shard keeps against its bounds.
func (w *world) checkBounds() {
	b := w.hub.bounds.Load()
	for i, s := range w.hub.shards {
		w.must(s.backlog.bytes <= b.backlogBytes, "loop %d: backlog %d bytes, bound %d", i, s.backlog.bytes, b.backlogBytes)
		w.must(s.passes.gathered >= 0 && s.passes.gathered <= b.gatherBytes+100+b.MessageBytesMax,
			"loop %d: gathered %d bytes, bound %d", i, s.passes.gathered, b.gatherBytes)
		w.must(!s.callback.running(), "loop %d: still inside", i)
	}
	w.checkSeats()
	w.checkPartials()
	for fd, sock := range w.fds {
		most := b.OutboxBytesMax + max(b.batchBytes, b.MessageBytesMax+4, replyBytesMax+b.OutboxBytesMax/2+512) + 200
		if sock.peer != nil { // in records
			most += most/40 + 2*simOverhead
		}
		w.must(len(sock.outbound) <= most, "descriptor %d: %d bytes in the outbox, bound %d", fd, len(sock.outbound), most)
	}
}

// checkHeadcounts holds every headcount against the bound, and against the places that somebody has: a member, or a client that is
// still to be told. It is so at every moment, not only at rest.
func (w *world) checkHeadcounts() {
	b := w.hub.bounds.Load()
	places, headcounts := map[string]int{}, map[string]int{}
	for _, s := range w.hub.shards {
		for name, g := range s.groups.All() {
			places[name] += g.size()
			w.must(g.empty() || g.headcount != nil, "group %s has members on loop %d and no headcount", name, s.index)
		}
		s.lanes.EachWaiting(func(d *delivery) {
			if d.Op == order.OpJoined {
				places[d.Local.name]++
			}
		})
		for _, r := range s.replays.queue {
			if r.Op == order.OpJoined {
				places[r.Local.name]++
			}
		}
	}
	begun := 0
	for _, s := range w.hub.shards {
		w.hub.homes.Home(s.index).Each(func(name string, count *order.Headcount, parts []*group) {
			n := count.Members()
			headcounts[name] = n
			w.must(n == places[name], "group %s: %d on the headcount, %d places taken", name, n, places[name])
			most := b.kindOf(name).MembersMax
			w.must(w.changing || most == 0 || n <= most, "group %s: %d members, bound %d", name, n, most)
			if n > 0 {
				begun++
			}
			for _, g := range parts {
				w.must(g.headcount == nil || g.headcount == count, "group %s: a loop has another headcount", name)
			}
		})
	}
	for name, n := range places {
		w.must(headcounts[name] == n, "group %s: %d places taken, %d on the headcount", name, n, headcounts[name])
	}
	w.must(w.hub.homes.Census.Groups() == begun, "%d groups counted, %d have members", w.hub.homes.Census.Groups(), begun)
	w.must(w.changing || b.GroupsMax == 0 || begun <= b.GroupsMax, "%d groups, bound %d", begun, b.GroupsMax)
	for i, s := range w.hub.shards {
		for _, r := range []*rate{&s.rates.commands, &s.rates.bytes} {
			w.must(r.perSecond == 0 && r.due == nil || len(r.due) == len(s.clients),
				"loop %d: %d rates for %d clients", i, len(r.due), len(s.clients))
		}
	}
}

// checkIndexes: who is in many groups has an index of them, and every membership is found at its place.
func (w *world) checkIndexes() {
	for _, s := range w.hub.shards {
		for _, c := range s.clients {
			has, renounced := c.extra != nil && c.extra.index != nil, 0
			for at := range c.groupCount() {
				m := c.membership(at)
				w.must(c.memberOf(m.group) == at, "client %d: a membership is not found at its place", c.Number())
				if m.standing == standingRenounced {
					renounced++
				}
			}
			w.must(c.renouncedCount() == renounced, "client %d: has left %d groups before the answer, counted %d", c.Number(), renounced, c.renouncedCount())
			w.must(has || c.groupCount() <= s.bounds.scannedMax || c.state == stateDead, "client %d: %d groups and no index", c.Number(), c.groupCount())
			w.must(!has || c.extra.index.Len() == c.groupCount()-1, "client %d: an index of the wrong size", c.Number())
			switch {
			case has && !w.indexed[c]:
				w.indexed[c] = true
				w.indexes++
			case !has && w.indexed[c]:
				delete(w.indexed, c)
				w.indexesGone++
			}
		}
	}
}

// checkMembers holds what peers were told against what is so, at rest.
func (w *world) checkMembers() {
	for _, s := range w.hub.shards {
		for name, g := range s.groups.All() {
			w.must(g.asked == 0, "group %s: loop %d waits for the home's answer at rest", name, s.index)
		}
	}
	for _, a := range w.actors {
		if a.sock.closed || a.closing || a.killed || a.said || !a.upgraded || len(a.toServer) > 0 {
			continue
		}
		for name, m := range a.joined {
			g, member := a.sock.shard.groups.Get(name), false
			if g != nil {
				if at := a.sock.client.memberOf(g); at >= 0 {
					member = true
					m := a.sock.client.membership(at)
					w.must(g.audience(a.sock.client.form(), m.hears()).members[m.pos] == a.sock.client, "actor %d: not among the members of %s", a.index, name)
				}
			}
			w.must(member || m.unsure || m.ackedAt == 0, "actor %d was told that it is in %s, and is not", a.index, name)
			w.must(member || !m.silent, "actor %d was not told that it is not in %s", a.index, name)
			w.must(!member || !m.out(), "actor %d was told that it is not in %s, and is", a.index, name)
		}
	}
}

// checkOutboxes has all loops notice a tick, in which each looks at its slow clients: after it the sums are right.
func (w *world) checkOutboxes() {
	w.borrowing.nested = true // nothing else happens between two sends of a borrower: an outbox that was counted stays as it is
	defer func() { w.borrowing.nested = false }()
	all := int64(0)
	for i, s := range w.hub.shards {
		w.wakes[i] = false
		w.enter(s).woken()
		held := int64(0)
		for _, sock := range w.fds {
			if n := len(sock.outbound); sock.shard == s && n > 0 {
				held += int64(n)
				x := sock.client.extra
				w.must(x != nil && x.slow > 0 && s.slow.list[x.slow-1].client == sock.client && sock.client.isSlow(),
					"descriptor %d: %d bytes in the outbox, and no loop knows", sock.fd, n)
			}
		}
		w.must(s.relief.outboxes.Load() == held, "loop %d: outboxes have %d bytes, counted %d", i, held, s.relief.outboxes.Load())
		w.must(s.count.Slow.Load() == int64(len(s.slow.list)), "loop %d: %d clients are slow, counted %d", i, len(s.slow.list), s.count.Slow.Load())
	}
	for _, s := range w.hub.shards { // a loop may have made a callback while another one noticed the tick
		all += s.relief.outboxes.Load()
	}
	w.must(w.hub.outboxes.Load() == all, "all outboxes have %d bytes, counted %d", all, w.hub.outboxes.Load())
}

// checkPartials compares the lists and sums of partial input with what clients really have.
func (w *world) checkPartials() {
	all, clients := int64(0), int64(0)
	for i, s := range w.hub.shards {
		held := int64(0)
		for _, c := range s.clients {
			x, n := c.extra, tunnelHolds(c)
			if x != nil && x.reader != nil {
				n += readerBytes + x.reader.Held()
			} else if x != nil && x.head != nil {
				n += cap(x.head.bytes)
			}
			if n > 0 {
				w.must(x.partial > 0 && s.partials.list[x.partial-1] == partial{c, n, s.partials.list[x.partial-1].since},
					"loop %d: client %d, %s, has %d bytes of partial input, its list says otherwise: %+v, %+v, tunnel %+v", i, c.Number(), c.state, n, x, s.partials.list, c.tunnel())
				held += int64(n)
				clients++
			}
		}
		w.must(s.count.FragmentBytes.Load() == held, "loop %d: %d bytes of partial input, counted %d", i, held, s.count.FragmentBytes.Load())
		all += held
	}
	w.must(w.hub.partials.bytes.Load() == all && w.hub.partials.clients.Load() == clients, "%d bytes of %d clients are partial input, counted %d of %d",
		all, clients, w.hub.partials.bytes.Load(), w.hub.partials.clients.Load())
}

// checkSeats: the table of addresses counts those clients who have a seat, and no others.
func (w *world) checkSeats() {
	want := map[door.Address]int{}
	for _, s := range w.hub.shards {
		for _, c := range s.clients {
			if a, seated := c.source().Seat(); seated {
				want[a]++
			}
		}
	}
	for _, d := range w.departures.open {
		if a, seated := d.source.Seat(); seated {
			want[a]++
		}
	}
	seats := w.hub.addresses.Seats()
	for a, n := range seats {
		w.must(n == want[a], "address %x: %d seats are taken, %d clients have one", a, n, want[a])
	}
	w.must(len(seats) == len(want), "%d addresses in the table, %d with clients", len(seats), len(want))
}

// kickState is what checkKicks needs to know from before an event.
type kickState struct {
	kicked     bool // for passes: one that is for what was deferred may be overtaken
	deliveries uint64
}

func (w *world) noteKicks() {
	w.before = w.before[:0]
	for _, s := range w.hub.shards {
		w.before = append(w.before, kickState{s.kicked && !s.deferral.on, s.count.Deliveries.Load()})
	}
}

// checkKicks: while a kick is under way only that kick runs passes; else each callback would spend a budget of its own
// and the sockets would wait for all of them.
func (w *world) checkKicks() {
	for i, was := range w.before {
		s := w.hub.shards[i]
		stillUnderWay := was.kicked && w.kicks[i] && !w.kickRan
		w.must(!stillUnderWay || s.count.Deliveries.Load() == was.deliveries, "loop %d: a pass ran before its kick", i)
	}
	w.kickRan = false
}
