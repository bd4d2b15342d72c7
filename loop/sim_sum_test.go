package loop

import "testing"

// simSum shows that the worlds together did what they are meant to: a simulation that never fills a lane tests little.
type simSum struct {
	refused, slow, deliveries, shared, evicted, away uint64
	gaps, dropped, exact, fragments, late            uint64
	tapped, waited, indexes, indexesGone, listed     uint64
	heldBack                                         uint64
	past, sparse                                     simPasts // sparse: of worlds with an orderer
	recalls, unordered                               uint64
	company                                          simCompanies
	withheld, lacks                                  uint64
	heals, skipped                                   uint64
	repeats, unkept                                  uint64 // of ports; heard
	borrows                                          uint64
	departures                                       simDepartures
	borrowing                                        simBorrowing
	refusedBy                                        map[string]uint64
	bearers                                          simBearers
	pages                                            simPages
	deflating                                        simDeflating
	tunnels, tunnelsShaken                           uint64
}

func (s *simSum) add(w *world) {
	t := w.hub.Snapshot().Total()
	s.refused += t.Refused
	addTo(&s.refusedBy, t.RefusedBy)
	s.slow += t.SlowClosed
	s.deliveries += t.Deliveries
	s.shared += t.Published
	s.tapped += w.feed.taken()
	if w.patient != nil {
		s.waited += uint64(w.patient.waits)
	}
	s.heldBack += w.heldBack
	s.evicted += t.Handshakes["evicted"]
	s.away += t.RefusedClientsBy["address"] + w.awayAtOnce
	s.gaps += t.SlowGaps
	s.dropped += t.SlowDropped
	s.exact += w.exactGaps
	s.heals += t.SlowHealed
	s.skipped += t.SlowSkipped
	s.repeats += w.repeats
	s.unkept += w.unkept
	s.fragments += t.FragmentsClosed
	s.late += t.MessageTimeouts
	s.indexes += w.indexes
	s.indexesGone += w.indexesGone
	s.listed += w.listed
	s.past.add(&w.past)
	if w.orderer != nil {
		s.sparse.add(&w.past)
		s.recalls += w.orderer.recalled
		s.unordered += w.orderer.refused
	}
	s.company.add(&w.company)
	s.withheld += w.excepts.withheld
	s.lacks += w.excepts.numbers
	s.departures.left += w.departures.left
	s.tunnels += w.tunnels
	s.tunnelsShaken += t.TLSHandshakes["ok"]
	s.departures.refused += w.departures.refused
	s.departures.gone += t.Handshakes["gone"]
	w.bearers.tokens = t.Tokens["accepted"]
	s.bearers.add(&w.bearers)
	s.pages.add(&w.pages)
	s.deflating.add(&w.deflating)
	s.borrows += t.Borrows
	s.borrowing.sends += w.borrowing.sends
	s.borrowing.short += w.borrowing.short
	s.borrowing.refused += w.borrowing.refused
	s.borrowing.panics += w.borrowing.panics
	s.borrowing.meanwhile += w.borrowing.meanwhile
	s.borrowing.called += w.borrowing.called
}

func (s *simSum) check(t *testing.T) {
	t.Logf("deliveries %d, publishes %d, refused %v, slow clients closed %d, handshakes evicted %d, refused by address %d",
		s.deliveries, s.shared, s.refusedBy, s.slow, s.evicted, s.away)
	t.Logf("gaps %d for %d messages, %d of them counted by all clients; closed for partial messages: %d large, %d late",
		s.gaps, s.dropped, s.exact, s.fragments, s.late)
	t.Logf("feeds heard %d, waits for room %d, loops awaited by what is held back %d; indexes of groups made %d, dropped %d; lists %d", s.tapped, s.waited, s.heldBack, s.indexes, s.indexesGone, s.listed)
	b := &s.borrowing
	t.Logf("shards borrowed %d times, sends by borrowers %d: taken in part %d, not at all %d, panics %d, callbacks meanwhile %d; called while held %d",
		s.borrows, b.sends, b.short, b.refused, b.panics, b.meanwhile, b.called)
	if s.borrows == 0 || b.short == 0 || b.refused == 0 || b.panics == 0 || b.meanwhile == 0 || b.called == 0 {
		t.Error("the worlds borrowed too little")
	}
	p := &s.past
	t.Logf("resumes: %d recovered with %d messages, %d of them had to be, %d not recovered; looks at replays with a log %d; late %d; histories read %d",
		p.recovered, p.messages, p.due, p.refused, p.logged, p.late, p.read)
	if p.recovered == 0 || p.messages == 0 || p.due == 0 || p.refused == 0 || p.logged == 0 || p.late == 0 || p.read == 0 {
		t.Error("too few came back in the worlds")
	}
	p = &s.sparse
	t.Logf("where an orderer numbers messages: %d recovered with %d messages, %d of them had to be, %d not recovered; histories read %d; healed %d; recalls %d; refused %d", p.recovered, p.messages, p.due, p.refused, p.read, p.healed, s.recalls, s.unordered)
	if p.recovered == 0 || p.messages == 0 || p.due == 0 || p.refused == 0 || p.read == 0 || s.recalls == 0 || s.unordered == 0 {
		t.Error("too few came back in the worlds with an orderer")
	}
	c := &s.company
	t.Logf("comings and goings heard %d, lists %d, of which %d were true in the end; looks at crowds %d, at words that wait %d, at members to be announced %d", c.news, c.lists, c.sums, c.crowded, c.owed, c.switched)
	if c.news == 0 || c.lists == 0 || c.sums == 0 || c.crowded == 0 || c.owed == 0 || c.switched == 0 {
		t.Error("too few came and went in the worlds")
	}
	t.Logf("heals %d for %d messages; taken out of groups %d, what was lost recovered %d", s.heals, s.skipped, p.parted, p.healed)
	if s.heals == 0 || s.skipped == 0 || p.parted == 0 || p.healed < p.parted/8 {
		t.Error("too few slow clients healed in the worlds")
	}
	t.Logf("connections that left their loops %d, could not %d; gone before %d", s.departures.left, s.departures.refused, s.departures.gone)
	if s.departures.left == 0 || s.departures.refused == 0 || s.departures.gone == 0 {
		t.Error("too few left their loops in the worlds")
	}
	t.Logf("tokens %d, ends of them %d, clients disconnected %d, removed from groups %d", s.bearers.tokens, s.bearers.ends, s.bearers.disconnected, s.bearers.removed)
	if s.bearers.tokens == 0 || s.bearers.ends == 0 || s.bearers.disconnected == 0 || s.bearers.removed == 0 {
		t.Error("too few tokens came and ended in the worlds")
	}
	g := &s.pages
	t.Logf("pages: events heard %d, %d of them had to be; users that came %d, went %d; lists %d; subscribes taken back %d, refused %d; closed %d; last events told %d, missed %d; numbers of members %d", g.heard, g.owed, g.added, g.removed, g.lists, g.takenBack, g.limits, g.closes, g.last, g.misses, g.counts)
	if g.heard == 0 || g.owed == 0 || g.added == 0 || g.removed == 0 || g.lists == 0 || g.takenBack == 0 || g.limits == 0 || g.closes == 0 || g.last == 0 || g.misses == 0 || g.counts == 0 {
		t.Error("pages have heard too little in the worlds")
	}
	d := &s.deflating
	t.Logf("compressed frames heard %d, said %d; goroutines that compressed %d, audiences that waited for them %d, panics %d; offers declined %d", d.heard, d.said, d.beside, d.awaited, d.panics, d.declined)
	if d.heard == 0 || d.said == 0 || d.beside == 0 || d.awaited == 0 || d.panics == 0 || d.declined == 0 {
		t.Error("too little was compressed in the worlds")
	}
	t.Logf("publishes of ports that repeat another %d, that are not kept and are heard %d", s.repeats, s.unkept)
	if s.repeats == 0 || s.unkept == 0 {
		t.Error("ports have said too little in the worlds")
	}
	t.Logf("messages that left a member out %d, numbers that members did not hear for that %d", s.withheld, s.lacks)
	if s.withheld == 0 || s.lacks == 0 {
		t.Error("the worlds left too few out")
	}
	t.Logf("TLS: %d clients, %d of them are done with the handshake", s.tunnels, s.tunnelsShaken)
	if s.tunnelsShaken == 0 || s.tunnelsShaken == s.tunnels {
		t.Error("too few spoke TLS in the worlds")
	}
	if s.listed == 0 {
		t.Error("no world had a list made")
	}
	if s.indexes == 0 || s.indexesGone == 0 {
		t.Errorf("the worlds have too few groups: indexes made %d, dropped %d", s.indexes, s.indexesGone)
	}
	if s.tapped == 0 || s.waited == 0 || s.heldBack == 0 {
		t.Errorf("the worlds were too quiet: feeds heard %d, waits for room %d, loops awaited by what is held back %d", s.tapped, s.waited, s.heldBack)
	}
	if s.evicted == 0 || s.away == 0 {
		t.Errorf("the worlds were too roomy: handshakes evicted %d, refused by address %d", s.evicted, s.away)
	}
	if s.gaps == 0 || s.exact == 0 || s.fragments == 0 || s.late == 0 {
		t.Error("the worlds were too kind to slow clients and partial messages")
	}
	if s.refused == 0 || s.slow == 0 || s.deliveries < s.shared {
		t.Errorf("the worlds were too quiet: refused %d, slow %d, deliveries %d, publishes %d",
			s.refused, s.slow, s.deliveries, s.shared)
	}
	for _, why := range []refusal{refusedBusy, refusedTooLoud, refusedRate, refusedGroupsPerClient, refusedGroups, refusedMembers, refusedForbidden} {
		if name := refusalNames[why]; s.refusedBy[name] == 0 {
			t.Errorf("the worlds were too quiet: nothing was refused by %s", name)
		}
	}
}
