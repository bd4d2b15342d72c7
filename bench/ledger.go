package main

import (
	"fmt"
	"slices"
)

// ledger checks what the members of one group receive: that each gets each publisher's messages once and in the order
// of their sequence numbers. A publisher's numbers are the truth, so every fault is pinned to one member; nothing is
// inferred from what others saw. The order between publishers, where no such truth exists, is order's.
//
// Pure: no socket, no clock. Owner: the generator that has the group.
type ledger struct {
	group   int
	members int
	pubs    int    // publishers of this group
	here    []bool // by member: it is in this process; nil when all are
	present int    // members that are

	// next[member*pubs+pub] is the sequence number that continues what this member saw of this publisher.
	next []uint32
	// gaps holds, for the same index, what was passed over and may still come late. Empty in a healthy run, so that
	// a delivery in order costs one comparison.
	gaps     map[int][]span
	gapCount int

	order  *order // nil with one publisher: its numbers are then the whole order
	faults *faults
	called func(member int) string // how a member is named; nil: by its places
}

// span is the messages from ≤ sequence < to.
type span struct{ from, to uint32 }

// gapsMax bounds the memory of a run against a server that loses much. Beyond it a gap is counted as lost at once, and
// a message of it that comes late is then called doubled; a note says so.
const gapsMax = 1 << 20

// cellsMax bounds next: 256 MiB over all groups.
const cellsMax = 64 << 20

// sighting is what a delivery was to the member that got it.
type sighting int

const (
	sightFresh  sighting = iota // in order, or ahead of a gap
	sightLate                   // out of order, but not seen before
	sightDouble                 // seen before
)

func newLedger(group, members, pubs int, f *faults) *ledger {
	l := &ledger{group: group, members: members, pubs: pubs, present: members, next: make([]uint32, members*pubs),
		gaps: map[int][]span{}, faults: f}
	if pubs > 1 {
		l.order = newOrder(group, members, f)
	}
	return l
}

// keep leaves members to the ledgers of other processes, but for those that are here.
func (l *ledger) keep(here []bool) {
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

// saw notes that a member got message seq of a publisher. member and pub are places within the group.
func (l *ledger) saw(member, pub int, seq uint32) sighting {
	i := member*l.pubs + pub
	if seq != l.next[i] {
		return l.sawOddly(i, member, pub, seq)
	}
	l.next[i] = seq + 1
	if l.order != nil {
		l.order.saw(member, pub, seq)
	}
	return sightFresh
}

func (l *ledger) sawOddly(i, member, pub int, seq uint32) sighting {
	next := l.next[i]
	if seq > next {
		l.passOver(i, member, pub, span{next, seq})
		l.next[i] = seq + 1
		if l.order != nil {
			l.order.saw(member, pub, seq)
		}
		return sightFresh
	}
	gaps := l.gaps[i]
	for at, g := range gaps {
		if seq < g.from || seq >= g.to {
			continue
		}
		l.faults.add(faultSwapped, 1, "%s got publisher %d's #%d after its #%d", l.name(member), pub, seq, next-1)
		var rest []span
		if g.from < seq {
			rest = append(rest, span{g.from, seq})
		}
		if seq+1 < g.to {
			rest = append(rest, span{seq + 1, g.to})
		}
		l.gaps[i] = slices.Replace(gaps, at, at+1, rest...)
		l.gapCount += len(rest) - 1
		return sightLate
	}
	l.faults.add(faultDoubled, 1, "%s got publisher %d's #%d again, after its #%d", l.name(member), pub, seq, next-1)
	return sightDouble
}

func (l *ledger) passOver(i, member, pub int, s span) {
	if l.gapCount == gapsMax {
		l.faults.note("%s and others have over %d gaps: from here on a late message counts as lost and doubled", l.name(member), gapsMax)
	}
	if l.gapCount++; l.gapCount > gapsMax {
		l.lost(member, pub, s)
		return
	}
	l.gaps[i] = append(l.gaps[i], s)
}

// finish counts what did not come until the end. sent[pub] is how many messages that publisher published. cut[member]
// says that the member's connection was cut off: that fault is counted where it happened, and its missing messages are
// only summed up, because a server may not deliver to a client that is gone. A process that does not publish learns
// only here that a member saw more than was sent.
func (l *ledger) finish(sent []uint32, cut []bool) (missedByCut uint64) {
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
					l.lost(member, pub, s)
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
func (l *ledger) beyond(i, member, pub int, sent uint32) (missing []span) {
	never := l.next[i] - sent
	for _, g := range l.gaps[i] {
		if g.to > sent {
			never -= g.to - max(g.from, sent)
		}
		if g.from < sent {
			missing = append(missing, span{g.from, min(g.to, sent)})
		}
	}
	l.faults.add(faultForeign, uint64(never), "%s got publisher %d's #%d, which was never sent", l.name(member), pub, l.next[i]-1)
	return missing
}

// begin gives the place of a member to another one, who starts to listen to pub at seq.
func (l *ledger) begin(member, pub int, seq uint32) { l.next[member*l.pubs+pub] = seq }

// settle counts as lost what a member passed over of pub. What comes after what it saw last is the caller's to judge.
func (l *ledger) settle(member, pub int) {
	i := member*l.pubs + pub
	for _, s := range l.gaps[i] {
		l.lost(member, pub, s)
	}
	l.gapCount -= len(l.gaps[i])
	delete(l.gaps, i)
}

// seen is one more than the highest sequence number that any member got of a publisher.
func (l *ledger) seen(pub int) uint32 {
	var most uint32
	for i := pub; i < len(l.next); i += l.pubs {
		most = max(most, l.next[i])
	}
	return most
}

func (l *ledger) lost(member, pub int, s span) {
	which := fmt.Sprintf("#%d", s.from)
	if s.to-s.from > 1 {
		which = fmt.Sprintf("#%d to #%d", s.from, s.to-1)
	}
	l.faults.add(faultLost, uint64(s.to-s.from), "%s never got publisher %d's %s", l.name(member), pub, which)
}

func (l *ledger) name(member int) string {
	if l.called != nil {
		return l.called(member)
	}
	return memberName(l.group, member)
}

// memberName names a member by its places, as every message of the check does.
func memberName(group, member int) string { return fmt.Sprintf("group %d member %d", group, member) }
