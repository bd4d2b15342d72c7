package check

import (
	"cmp"
	"slices"
)

// Log checks what the members of one group hear from several nodes over all their lives. A message comes with an offset, its place in
// the group's order: offsets grow, not by ones, and every member must hear the same messages with the same offsets. There is no
// reference, only what members heard, so the first that hears a message writes it into the log, and the others follow:
//
//	log        12:a5  15:b9  16:a6  40:c1     offset and message
//	member                      ▲             where it goes on
//
// What one passes over and others have heard is lost to it, unless it comes late, which is a fault of its own. A member that comes
// back and is not given what it missed begins anew, and is owed nothing of what lies between. In the end the log is compared with
// what publishers were answered, see Finish.
//
// Pure. Owner: the generator of the group.
type Log struct {
	epochs  []*numbering
	members []follower
	placed  [][]uint64 // by publisher and sequence: place of the message, see placeOf; 0: nobody has heard it
	done    []uint32   // by publisher: up to here Complete has found all that must be heard
	faults  *Faults
	called  func(member int) string
	sender  func(pub int) string
	heard   uint64
	rewound uint64
	again   uint64
}

// numbering is the messages of one epoch, in the order of their offsets.
type numbering struct {
	name  string
	index int
	log   []logged
}

type logged struct{ offset, id uint64 } // id is publisher<<32 | sequence

// follower is where a member is.
type follower struct {
	in      *numbering // nil: it has not joined, or is in no history
	next    int        // place in the log of what it is to hear next
	offset  uint64     // of the last message that it heard, or where it began
	began   uint64     // it is owed nothing up to here
	most    uint64     // the highest offset that it has heard in this epoch
	skipped map[uint64]struct{}
}

// numberMax is the highest offset: what JavaScript's numbers hold.
const numberMax = 1<<53 - 1

// NewLog is for so many members of a group that has so many publishers.
func NewLog(members, pubs int, called, sender func(int) string, f *Faults) *Log {
	return &Log{members: make([]follower, members), placed: make([][]uint64, pubs), done: make([]uint32, pubs), faults: f, called: called, sender: sender}
}

// Join begins the life of a member behind a position: its first, or one that was not given what it missed. A node that is behind others
// may tell a position before the one that the member had, after which it hears some messages again: that is counted, and no fault, as it
// was told that it begins anew.
func (l *Log) Join(member int, epoch string, offset uint64) {
	m := &l.members[member]
	was := m.in
	if m.in = l.numbering(epoch); m.in != was {
		m.most = 0
	} else if was != nil && offset < m.offset {
		l.rewound++
	}
	m.offset, m.began = offset, offset
	if m.in != nil {
		m.next, _ = m.in.find(offset + 1)
	}
}

func (l *Log) numbering(name string) *numbering {
	if name == "" {
		return nil
	}
	for _, n := range l.epochs {
		if n.name == name {
			return n
		}
	}
	n := &numbering{name: name, index: len(l.epochs)}
	if n.index < epochsMax {
		l.epochs = append(l.epochs, n)
		if n.index == epochsMax-1 {
			l.faults.Note("a group has had %d epochs: the order is no longer checked", epochsMax)
		}
	}
	return n
}

// Position is from where a member wants what it has missed.
func (l *Log) Position(member int) (offset uint64, epoch string) {
	m := &l.members[member]
	if m.in == nil {
		return 0, ""
	}
	return m.offset, m.in.name
}

// find is the place of an offset in the log, or where it would be.
func (n *numbering) find(offset uint64) (at int, found bool) {
	return slices.BinarySearchFunc(n.log, offset, func(e logged, offset uint64) int { return cmp.Compare(e.offset, offset) })
}

// Saw notes that a member heard message seq of a publisher with an offset. fresh: nobody had heard it before.
func (l *Log) Saw(member, pub int, seq uint32, offset uint64) (fresh bool) {
	m := &l.members[member]
	l.heard++
	if m.in == nil || offset == 0 || offset > numberMax {
		l.faults.Add(Altered, 1, "%s got %s #%d with the offset %d", l.called(member), l.sender(pub), seq, offset)
		return false
	}
	id := uint64(pub)<<32 | uint64(seq)
	if offset <= m.offset {
		return l.sawLate(member, pub, seq, offset)
	}
	at := m.next
	known := at < len(m.in.log) && m.in.log[at].offset == offset // as in nearly all cases
	if !known && at < len(m.in.log) {
		at, known = m.in.find(offset)
		for _, passed := range m.in.log[m.next:at] {
			m.skip(passed.offset)
		}
	}
	if known {
		l.agree(member, pub, seq, m.in.log[at])
	} else {
		fresh = l.insert(m.in, at, logged{offset, id}, member)
	}
	m.next, m.offset = at+1, offset
	if offset <= m.most {
		l.again++
	}
	m.most = max(m.most, offset)
	return fresh
}

// sawLate is Saw for a message that is not behind the last one.
func (l *Log) sawLate(member, pub int, seq uint32, offset uint64) (fresh bool) {
	m := &l.members[member]
	at, known := m.in.find(offset)
	id := uint64(pub)<<32 | uint64(seq)
	_, skipped := m.skipped[offset]
	switch {
	case known && m.in.log[at].id != id:
		l.agree(member, pub, seq, m.in.log[at])
	case known && skipped:
		delete(m.skipped, offset)
		l.faults.Add(Swapped, 1, "%s got %s #%d with the offset %d after the offset %d", l.called(member), l.sender(pub), seq, offset, m.offset)
	case known && offset <= m.began:
		l.faults.Add(Foreign, 1, "%s got %s #%d with the offset %d, which is not behind %d, where it began", l.called(member), l.sender(pub), seq, offset, m.began)
	case known:
		l.faults.Add(Doubled, 1, "%s got %s #%d with the offset %d again, after the offset %d", l.called(member), l.sender(pub), seq, offset, m.offset)
	default:
		l.faults.Add(Swapped, 1, "%s got %s #%d with the offset %d after the offset %d", l.called(member), l.sender(pub), seq, offset, m.offset)
		fresh = l.insert(m.in, at, logged{offset, id}, member)
		m.next++
	}
	return fresh
}

// agree compares what a member heard with what the log has at the same offset.
func (l *Log) agree(member, pub int, seq uint32, has logged) {
	if has.id != uint64(pub)<<32|uint64(seq) {
		l.faults.Add(Disordered, 1, "%s got %s #%d with the offset %d, with which others got %s #%d", l.called(member), l.sender(pub), seq, has.offset,
			l.sender(int(has.id>>32)), uint32(has.id))
	}
}

// insert writes a message into the log. Members that are behind it have passed it over.
func (l *Log) insert(n *numbering, at int, e logged, by int) (fresh bool) {
	if at == len(n.log) {
		n.log = append(n.log, e)
	} else {
		n.log = slices.Insert(n.log, at, e)
	}
	if at+1 < len(n.log) {
		for i := range l.members {
			if m := &l.members[i]; i != by && m.in == n && m.next > at {
				m.next++
				m.skip(e.offset)
			}
		}
	}
	pub, seq := int(e.id>>32), uint32(e.id)
	for uint32(len(l.placed[pub])) <= seq {
		l.placed[pub] = append(l.placed[pub], 0)
	}
	if was := l.placed[pub][seq]; was != 0 {
		l.faults.Add(Doubled, 1, "%s #%d is in the order twice, with the offsets %d and %d", l.sender(pub), seq, was&numberMax, e.offset)
		return false
	}
	l.placed[pub][seq] = placeOf(n, e.offset)
	return true
}

// placeOf is an offset with the number of its epoch above it.
func placeOf(n *numbering, offset uint64) uint64 { return uint64(n.index)<<53 | offset }

func (m *follower) skip(offset uint64) {
	if offset <= m.began {
		return
	}
	if m.skipped == nil {
		m.skipped = map[uint64]struct{}{}
	}
	m.skipped[offset] = struct{}{}
}

// Heard is how many messages all members heard together.
func (l *Log) Heard() uint64 { return l.heard }

// Complete says that all members but for the gone have heard all that others have, and somebody all that was answered ok.
func (l *Log) Complete(said *Publishes, gone []bool) bool {
	for i := range l.members {
		if m := &l.members[i]; !gone[i] && (m.in == nil || m.next < len(m.in.log) || len(m.skipped) > 0) {
			return false
		}
	}
	for pub, messages := range said.pubs {
		for l.done[pub] < uint32(len(messages)) {
			seq := l.done[pub]
			if messages[seq].Answer == OK && l.place(pub, seq) == 0 && l.owed(messages[seq].Number, gone) > 0 {
				return false
			}
			l.done[pub]++
		}
	}
	return true
}

func (l *Log) place(pub int, seq uint32) uint64 {
	if seq < uint32(len(l.placed[pub])) {
		return l.placed[pub][seq]
	}
	return 0
}

// owed is how many members are to hear what has an offset that nobody has heard. 0 is no place in any order, so nobody began behind it.
func (l *Log) owed(offset uint64, gone []bool) (n uint64) {
	for i := range l.members {
		if m := &l.members[i]; !gone[i] && m.in != nil && (m.began < offset || offset == 0) {
			n++
		}
	}
	return n
}

// Found is what Finish has found beside faults.
type Found struct {
	Ordered        uint64 // messages in the order, each once
	UncertainHeard uint64 // of those that are not answered or unknown
	MissedByGone   uint64
	Epochs         int
	Rewound        uint64 // times that a member began anew before where it had been
	Again          uint64 // messages that it heard again then
}

// Finish compares the log with the answers. gone[member] says that a member did not stay and did not come back: that fault is counted
// elsewhere, and what it missed is only summed up.
func (l *Log) Finish(said *Publishes, gone []bool) (found Found) {
	found.Epochs, found.Rewound, found.Again = len(l.epochs), l.rewound, l.again
	for i := range l.members {
		found.MissedByGone += l.finishMember(i, gone[i])
	}
	for pub, messages := range said.pubs {
		for seq, m := range messages {
			l.finishMessage(pub, uint32(seq), m, gone, &found)
		}
		for seq := len(messages); seq < len(l.placed[pub]); seq++ {
			if place := l.placed[pub][seq]; place != 0 {
				l.faults.Add(Foreign, 1, "%s #%d was heard with the offset %d, and never sent", l.sender(pub), seq, place&numberMax)
			}
		}
	}
	for _, n := range l.epochs {
		found.Ordered += uint64(len(n.log))
		l.inTurn(n, said)
	}
	return found
}

// finishMember counts what a member never heard, and others have.
func (l *Log) finishMember(member int, gone bool) (missed uint64) {
	m := &l.members[member]
	if m.in == nil {
		return 0
	}
	never := m.in.log[m.next:]
	if gone {
		return uint64(len(never) + len(m.skipped))
	}
	if len(m.skipped) > 0 {
		for _, e := range m.in.log[:m.next] {
			if _, was := m.skipped[e.offset]; was {
				l.lost(member, e)
			}
		}
	}
	for _, e := range never {
		if e.offset > m.began {
			l.lost(member, e)
		}
	}
	for _, later := range l.epochs[min(m.in.index+1, len(l.epochs)):] {
		for _, e := range later.log {
			l.lost(member, e)
		}
	}
	return 0
}

func (l *Log) lost(member int, e logged) {
	l.faults.Add(Lost, 1, "%s never got %s #%d, which others got with the offset %d", l.called(member), l.sender(int(e.id>>32)), uint32(e.id), e.offset)
}

// finishMessage compares one message with its answer.
func (l *Log) finishMessage(pub int, seq uint32, m Publish, gone []bool, found *Found) {
	place := l.place(pub, seq)
	switch {
	case m.Answer == Silence:
		l.faults.Add(Unanswered, 1, "%s #%d was not answered", l.sender(pub), seq)
	case m.Answer == OK && place == 0:
		if n := l.owed(m.Number, gone); n > 0 {
			l.faults.Add(Lost, n, "%s #%d was answered ok with the number %d, and none of %d members heard it%s", l.sender(pub), seq, m.Number, n, m.tries())
		}
	case m.Answer == OK && place&numberMax != m.Number:
		l.faults.Add(Contradicted, 1, "%s #%d was answered ok with the number %d, and heard with the offset %d%s", l.sender(pub), seq, m.Number, place&numberMax, m.tries())
	case m.Answer.Refuses() && place != 0:
		l.faults.Add(Contradicted, 1, "%s #%d was answered %v, and heard with the offset %d%s", l.sender(pub), seq, m.Answer, place&numberMax, m.tries())
	case m.Answer == Open && m.Asked == 0 && place != 0:
		l.faults.Add(Foreign, 1, "%s #%d was heard with the offset %d, and never sent", l.sender(pub), seq, place&numberMax)
	}
	if m.Answer.Uncertain() && place != 0 {
		found.UncertainHeard++
	}
}

// inTurn checks that what a publisher sent on one connection is in the order in which it was sent. A message that was sent more than
// once may be where any of its tries is.
func (l *Log) inTurn(n *numbering, said *Publishes) {
	type sender struct {
		pub  int
		life uint16
	}
	last := map[sender]uint32{}
	for _, e := range n.log {
		pub, seq := int(e.id>>32), uint32(e.id)
		if seq >= said.Said(pub) {
			continue
		}
		m := said.Of(pub, seq)
		if m.Asked != 1 {
			continue
		}
		by := sender{pub, m.Life}
		if was := last[by]; seq < was {
			l.faults.Add(Swapped, 1, "%s #%d is in the order behind its #%d, which it sent later on the same connection", l.sender(pub), seq, was)
			continue
		}
		last[by] = seq
	}
}
