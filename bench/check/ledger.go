package check

import (
	"fmt"
	"slices"
)

// Ledger checks what the members of one group receive: that each gets each publisher's messages once and in the order
// of their sequence numbers. A publisher's numbers are the reference, so every fault belongs to one member; nothing
// is inferred from what others saw. The order between publishers, which has no such reference, is checked by order.
//
// Pure: no socket, no clock. Owner: the generator that has the group.
type Ledger struct {
	members int
	pubs    int    // publishers of this group
	here    []bool // by member: it is in this process; nil when all are
	present int    // members that are

	// next[member*pubs+pub] is the sequence number that continues what this member saw of this publisher.
	next []uint32
	// gaps holds, for the same index, what was skipped and may still come late. Empty in a run without faults, so that
	// a delivery in order costs one comparison.
	gaps     map[int][]span
	gapCount int

	order  *order // nil with one publisher, whose numbers are then the whole order, and in rows
	faults *Faults
	called func(member int) string // how a member is named
}

// span is the messages from ≤ sequence < to.
type span struct{ from, to uint32 }

// gapsMax bounds the memory of a run against a server that loses much. Beyond it a gap is counted as lost at once, and
// a message of it that comes late is then counted as doubled; a note says so.
const gapsMax = 1 << 20

// CellsMax bounds next: 256 MiB over all groups.
const CellsMax = 64 << 20

// NewLedger is for the members of a group that has so many publishers.
func NewLedger(group, members, pubs int, f *Faults) *Ledger {
	l := NewRows(members, pubs, func(member int) string { return MemberName(group, member) }, f)
	if pubs > 1 {
		l.order = newOrder(group, members, f)
	}
	return l
}

// NewRows is a ledger of clients for which only each publisher's row of numbers is checked, not the order between
// publishers. called names the client at a place.
func NewRows(places, pubs int, called func(place int) string, f *Faults) *Ledger {
	return &Ledger{members: places, pubs: pubs, present: places, next: make([]uint32, places*pubs), gaps: map[int][]span{},
		faults: f, called: called}
}

// Keep leaves all members but those that are here to the ledgers of other processes.
func (l *Ledger) Keep(here []bool) {
	l.here, l.present = here, 0
	for _, yes := range here {
		if yes {
			l.present++
		}
	}
	if l.order != nil {
		l.order.members = l.present
	}
}

// Saw notes that a member got message seq of a publisher. member and pub are places within the group. It returns false
// for a message that the member had got before.
func (l *Ledger) Saw(member, pub int, seq uint32) bool {
	i := member*l.pubs + pub
	if seq != l.next[i] {
		return l.sawOddly(i, member, pub, seq)
	}
	l.next[i] = seq + 1
	if l.order != nil {
		l.order.saw(member, pub, seq)
	}
	return true
}

func (l *Ledger) sawOddly(i, member, pub int, seq uint32) bool {
	next := l.next[i]
	if seq > next {
		l.passOver(i, member, pub, span{next, seq})
		l.next[i] = seq + 1
		if l.order != nil {
			l.order.saw(member, pub, seq)
		}
		return true
	}
	gaps := l.gaps[i]
	for at, g := range gaps {
		if seq < g.from || seq >= g.to {
			continue
		}
		l.swapped(member, pub, seq)
		var rest []span
		if g.from < seq {
			rest = append(rest, span{g.from, seq})
		}
		if seq+1 < g.to {
			rest = append(rest, span{seq + 1, g.to})
		}
		l.gaps[i] = slices.Replace(gaps, at, at+1, rest...)
		l.gapCount += len(rest) - 1
		return true
	}
	l.faults.Add(Doubled, 1, "%s got publisher %d's #%d again, after its #%d", l.Name(member), pub, seq, next-1)
	return false
}

// SawBefore notes that a member got message seq although the row of its publisher had begun later, with first. From then on
// the row begins with seq. Saw would count the message as doubled.
func (l *Ledger) SawBefore(member, pub int, seq, first uint32) {
	l.swapped(member, pub, seq)
	if seq+1 < first {
		l.passOver(member*l.pubs+pub, member, pub, span{seq + 1, first})
	}
}

func (l *Ledger) swapped(member, pub int, seq uint32) {
	l.faults.Add(Swapped, 1, "%s got publisher %d's #%d after its #%d", l.Name(member), pub, seq, l.Next(member, pub)-1)
}

func (l *Ledger) passOver(i, member, pub int, s span) {
	if l.gapCount == gapsMax {
		l.faults.Note("%s and others have over %d gaps: from here on a late message counts as lost and doubled", l.Name(member), gapsMax)
	}
	if l.gapCount++; l.gapCount > gapsMax {
		l.Lost(member, pub, s.from, s.to)
		return
	}
	l.gaps[i] = append(l.gaps[i], s)
}

// Publishers is how many the group has.
func (l *Ledger) Publishers() int { return l.pubs }

// Members is how many the group has, in all processes.
func (l *Ledger) Members() int { return l.members }

// Present is how many of them are in this process.
func (l *Ledger) Present() int { return l.present }

// Next is the number that continues what a member saw of a publisher.
func (l *Ledger) Next(member, pub int) uint32 { return l.next[member*l.pubs+pub] }

// Name is how the check names a member.
func (l *Ledger) Name(member int) string { return l.called(member) }

// Finish counts what did not come until the end. sent[pub] is how many messages that publisher published. cut[member]
// says that the member's connection was cut off: that fault is counted where it happened, and its missing messages are
// only summed up, because a server cannot deliver to a client that is gone. A process that does not publish finds out
// only here that a member saw more than was sent.
func (l *Ledger) Finish(sent []uint32, cut []bool) (missedByCut uint64) {
	for member := range l.members {
		if l.here != nil && !l.here[member] {
			continue
		}
		for pub := range l.pubs {
			i := member*l.pubs + pub
			missing := l.gaps[i]
			if l.next[i] < sent[pub] {
				missing = append(missing, span{l.next[i], sent[pub]})
			}
			if l.next[i] > sent[pub] {
				missing = l.beyond(i, member, pub, sent[pub])
			}
			for _, s := range missing {
				if cut[member] {
					missedByCut += uint64(s.to - s.from)
				} else {
					l.Lost(member, pub, s.from, s.to)
				}
			}
		}
	}
	if l.order != nil {
		l.order.finish()
	}
	return missedByCut
}

// beyond counts what a member saw of a publisher that had sent less, and returns its gaps in what was sent.
func (l *Ledger) beyond(i, member, pub int, sent uint32) (missing []span) {
	never := l.next[i] - sent
	for _, g := range l.gaps[i] {
		if g.to > sent {
			never -= g.to - max(g.from, sent)
		}
		if g.from < sent {
			missing = append(missing, span{g.from, min(g.to, sent)})
		}
	}
	l.faults.Add(Foreign, uint64(never), "%s got publisher %d's #%d, which was never sent", l.Name(member), pub, l.next[i]-1)
	return missing
}

// Begin gives the place of a member to another one, which starts to listen to pub at seq.
func (l *Ledger) Begin(member, pub int, seq uint32) { l.next[member*l.pubs+pub] = seq }

// Settle counts as lost what a member skipped of pub. The caller decides about what comes after the last that it saw.
func (l *Ledger) Settle(member, pub int) {
	i := member*l.pubs + pub
	for _, s := range l.gaps[i] {
		l.Lost(member, pub, s.from, s.to)
	}
	l.gapCount -= len(l.gaps[i])
	delete(l.gaps, i)
}

// Seen is one more than the highest sequence number that any member got of a publisher.
func (l *Ledger) Seen(pub int) uint32 {
	var most uint32
	for i := pub; i < len(l.next); i += l.pubs {
		most = max(most, l.next[i])
	}
	return most
}

// Lost counts what a member never got of a publisher: from ≤ sequence < to.
func (l *Ledger) Lost(member, pub int, from, to uint32) {
	which := fmt.Sprintf("#%d", from)
	if to-from > 1 {
		which = fmt.Sprintf("#%d to #%d", from, to-1)
	}
	l.faults.Add(Lost, uint64(to-from), "%s never got publisher %d's %s", l.Name(member), pub, which)
}

// Digest is the order in which this process saw the group's messages; false when there is nothing to compare.
func (l *Ledger) Digest() (Digest, bool) {
	if l.order == nil || l.present == 0 {
		return Digest{}, false
	}
	return l.order.digest(), true
}

// MemberName names a member by its places, as every message of the check does.
func MemberName(group, member int) string { return fmt.Sprintf("group %d member %d", group, member) }
