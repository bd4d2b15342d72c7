package loop

// This file is what of a simulated world's messages leaves one peer out, in some worlds: ports say so of some of theirs. That peer hears
// everything else of the group, in its order and once; and all others hear those too. Numbers that a peer of the loud dialect does not hear
// are noted, and at rest, when it is known which number each message has, they must be those of messages that leave it out.

// simExcepts is what was left out in a world.
type simExcepts struct {
	are      bool // some messages leave one peer out
	lacks    []simLack
	withheld uint64 // messages that a member would have heard, but for that
	numbers  uint64 // of which a peer saw by the numbers that they were
}

// simLack is a number that a life of a peer has not heard, between others.
type simLack struct {
	at    simNumber
	actor *actor
	life  int
}

// leaveOut has a message leave out somebody, most often a member, who may be gone.
func (w *world) leaveOut(m *simMessage) {
	a := w.actors[w.rng.IntN(len(w.actors))]
	for range 4 {
		if in := a.joined[m.group]; in != nil && in.ackedAt > 0 {
			break
		}
		a = w.actors[w.rng.IntN(len(w.actors))]
	}
	m.except, m.exceptLife = a, a.life
	m.said.Except = w.hub.ClientName(a.sock.client.Number())
	a.leftOut[m.group]++
}

// leavesOut says whether the peer is not to hear a message.
func (m *simMessage) leavesOut(a *actor) bool { return m.except == a && m.exceptLife == a.life }

// lack notes numbers of a group that the peer does not hear. False: there is no message that leaves it out.
func (a *actor) lack(group string, epoch loudEpoch, numbers []uint64) bool {
	for _, n := range numbers {
		a.w.excepts.lacks = append(a.w.excepts.lacks, simLack{simNumber{group, epoch, n}, a, a.life})
	}
	return len(numbers) <= a.leftOut[group]
}

// isNext says whether a number is the next one of a group that the peer hears behind another.
func (a *actor) isNext(group string, epoch loudEpoch, before, number uint64) bool {
	if number <= before {
		return false
	}
	between := a.w.between(group, before, number)
	last := len(between) - 1
	return last >= 0 && between[last] == number && a.lack(group, epoch, between[:last])
}

// told is which of the numbers that a peer has missed its answer has. The others leave it out.
func (a *actor) told(c *simCommand, past *loudPast, missed []uint64) (told []uint64) {
	has := map[uint64]bool{}
	for _, said := range past.Messages {
		has[said.Offset] = true
	}
	var lacks []uint64
	for _, n := range missed {
		if has[n] {
			told = append(told, n)
		} else {
			lacks = append(lacks, n)
		}
	}
	a.w.must(a.lack(c.group, past.Epoch, lacks), "actor %d: %s was recovered without %v", a.index, c.group, lacks)
	return told
}

// numbered notes, at rest, which number a message has.
func (w *world) numbered(m *simMessage, r Receipt, err error, of map[simNumber]*simMessage) {
	if m.except == nil || r.Repeated {
		return
	}
	if offset, is := w.orderer.place(m); is {
		of[simNumber{m.group, loudEpoch(7 + w.orderer.partition(m.group)), offset}] = m
	} else if err == nil && r.Kept {
		of[simNumber{m.group, loudEpoch(r.Position.Epoch), r.Position.Offset}] = m
	}
}

// checkLacks: what was not heard leaves out who has not heard it.
func (w *world) checkLacks(of map[simNumber]*simMessage) {
	for _, l := range w.excepts.lacks {
		m := of[l.at]
		w.must(m == nil && w.changing || m != nil && m.except == l.actor && m.exceptLife == l.life, "actor %d, life %d: number %d of %s is missing, which is %+v", l.actor.index, l.life, l.at.offset, l.at.group, m)
	}
	w.excepts.numbers = uint64(len(w.excepts.lacks))
}
