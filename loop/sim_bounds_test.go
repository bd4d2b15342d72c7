package loop

import "time"

// chooseFixed sets some of those that never change.
func (w *world) chooseFixed(b *bounds) {
	pick := func(of ...int) int { return of[w.rng.IntN(len(of))] }
	b.presentMax = pick(2, 5, 1000, 1000, 1000)
	b.burialsPerTurn, b.wordsEnough, b.announcesPerTurn = pick(1, 3, 2048), pick(1, 4, 2048), pick(1, 5, 512)
	b.healTicks, b.partsPerTurn = uint32(pick(1, 300)), pick(1, 256)
}

// chooseBounds sets those that an operator may change under way.
func (w *world) chooseBounds(b *bounds) {
	pick := func(of ...int) int { return of[w.rng.IntN(len(of))] }
	b.GroupsMax = pick(0, 0, 1, 2, 5)
	b.MembersMax = pick(0, 0, 1, 2, 4, 8)
	b.Kinds = [][]Kind{nil, nil, {{Match: "*-0", MembersMax: pick(0, 1, 3), History: pick(0, 1, 3)}, {Match: "gr*p-1*", MembersMax: pick(0, 2), History: 50, HistoryTTL: tickPeriod, Publish: Access(pick(int(Anyone), int(Members)))}}}[w.rng.IntN(3)]
	b.History, b.HistoryTTL = pick(0, 0, 1, 3, 50, 50), time.Duration(pick(1, 4, simHistoryTicks, simHistoryTicks))*tickPeriod
	b.Presence, b.JoinLeave = w.chance(60), JoinLeave(pick(0, 1, 2, 2))
	for i := range b.Kinds {
		b.Kinds[i].Presence, b.Kinds[i].JoinLeave = w.chance(60), JoinLeave(pick(0, 1, 2, 2))
	}
	b.Compression, b.CompressionMin = w.deflating.on && (!w.changing || w.deflating.chance(80)), w.deflating.pick(1, 30, 256)
	b.CommandsPerSecond = pick(0, 0, 0, 10, 50)
	b.BytesPerSecond = pick(0, 0, 0, 2_000, 20_000)
	if w.returning {
		b.GroupsMax, b.MembersMax, b.Kinds, b.CommandsPerSecond, b.BytesPerSecond = 0, 0, nil, 0, 0
		b.History, b.HistoryTTL = pick(5, 50, 50), simHistoryTicks*tickPeriod
	}
	b.anyPresence = b.mayHavePresence()
}

// changeBounds has every loop go over to other bounds, each when it next looks.
func (w *world) changeBounds() {
	b := *w.hub.bounds.Load()
	w.chooseBounds(&b)
	w.hub.complete(&b)
	w.hub.bounds.Store(&b)
	w.hub.homes.SetHistoryMax(b.HistoryBytesMax)
	w.hub.homes.KindsChanged()
	for i, s := range w.hub.shards {
		s.calls.add(func(s *shard) { s.adopt(&b) })
		w.hub.wake(i)
	}
}
