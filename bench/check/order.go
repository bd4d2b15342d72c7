package check

import (
	"cmp"
	"slices"
)

// order checks that all members of a group saw the messages of its publishers in one and the same order.
//
// There is no reference to compare with, only what the members saw. So the first member that sees a message writes it into
// a log, every other member follows that log, and each deviation is examined:
//
//	log       a5 b9 a6 c1        the order as first seen
//	pos[m]          ▲            what member m should see next
//	          found further on → what lies between was skipped: lost to m, or still to come
//	          skipped before   → m saw it after something that others saw later: a disordered pair
//	          not in the log   → the members further on have not seen it: it is inserted here, as skipped by them
//
// A hash per member would find the same fault with less code, but could not say where. Owner: the generator of the group.
type order struct {
	group   int
	members int

	log     []entry
	pos     []int                       // per member: its place in the log
	skipped map[int]map[uint64]struct{} // per member: logged messages that it skipped
	pairs   map[[2]uint64]*disorder
	odd     int // deviations so far
	skips   int // entries of skipped so far, taken out ones included
	gaveUp  bool
	faults  *Faults
}

type entry struct {
	id uint64 // publisher<<32 | sequence
	by int    // the member that saw it first
}

// disorder is two messages that members saw in both orders. Which members deviate depends on their number, see finish.
type disorder struct {
	first, second uint64 // as the log has them
	late          int    // members that saw second before first
	example       int    // one of them
	firstBy       int    // the member that first saw it in the order of the log
}

// oddMax bounds the deviations that are examined, because each may search the log; skipsMax bounds their memory. A server
// with that many needs no exact count; the note says that counting stopped.
const (
	oddMax   = 20_000
	skipsMax = 1 << 20
)

func newOrder(group, members int, f *Faults) *order {
	return &order{group: group, members: members, pos: make([]int, members), skipped: map[int]map[uint64]struct{}{},
		pairs: map[[2]uint64]*disorder{}, faults: f}
}

// saw takes only messages that are in order within their publisher; the ledger has reported the others already.
func (o *order) saw(member, pub int, seq uint32) {
	id := uint64(pub)<<32 | uint64(seq)
	p := o.pos[member]
	switch {
	case p < len(o.log) && o.log[p].id == id:
		o.pos[member] = p + 1
	case p == len(o.log) && len(o.skipped[member]) == 0:
		if !o.gaveUp { // a log that is no longer compared must not grow
			o.log = append(o.log, entry{id, member})
			o.pos[member] = p + 1
		}
	default:
		o.sawAside(member, id, p)
	}
}

func (o *order) sawAside(member int, id uint64, p int) {
	if o.gaveUp {
		return
	}
	if o.odd++; o.odd > oddMax || o.skips > skipsMax {
		o.gaveUp = true
		o.faults.Note("group %d: too far out of order or too much lost; the order between publishers was not followed to the end", o.group)
		return
	}
	if _, was := o.skipped[member][id]; was {
		delete(o.skipped[member], id)
		// Everything between id's place and p was seen before id; only the pair with the last of them is counted.
		if before := o.log[p-1]; before.id != id {
			o.disagree(member, id, before.id, p)
		}
		return
	}
	for at := p; at < len(o.log); at++ {
		if o.log[at].id == id {
			for _, passed := range o.log[p:at] {
				o.skip(member, passed.id)
			}
			o.pos[member] = at + 1
			return
		}
	}
	o.log = slices.Insert(o.log, p, entry{id, member})
	for m := range o.pos {
		if m != member && o.pos[m] > p {
			o.pos[m]++
			o.skip(m, id)
		}
	}
	o.pos[member] = p + 1
}

func (o *order) skip(member int, id uint64) {
	set := o.skipped[member]
	if set == nil {
		set = map[uint64]struct{}{}
		o.skipped[member] = set
	}
	set[id] = struct{}{}
	o.skips++
}

// disagree notes that member saw id after before, which comes after it in the log. The member that wrote id there had not
// seen before at that time, so it saw them in the order of the log.
func (o *order) disagree(member int, id, before uint64, p int) {
	key := [2]uint64{min(id, before), max(id, before)}
	d := o.pairs[key]
	if d == nil {
		d = &disorder{first: id, second: before, example: member}
		for p--; o.log[p].id != id; p-- {
		}
		d.firstBy = o.log[p].by
		o.pairs[key] = d
	}
	d.late++
}

// without is how many members have not seen one of two messages of the log, of which b is the later one, at that place: they have
// passed it, or did not get so far.
func (o *order) without(a, b uint64, at int) (n int) {
	for member, pos := range o.pos {
		_, noA := o.skipped[member][a]
		if _, noB := o.skipped[member][b]; noA || noB || pos <= at {
			n++
		}
	}
	return n
}

// finish counts each disordered pair once per member of the smaller side. Two orders do not show which side is wrong; the
// smaller one is reported, since one member out of order is likelier than all others.
func (o *order) finish() {
	pairs := make([]*disorder, 0, len(o.pairs))
	for _, d := range o.pairs {
		pairs = append(pairs, d)
	}
	slices.SortFunc(pairs, func(a, b *disorder) int {
		return cmp.Or(cmp.Compare(a.first, b.first), cmp.Compare(a.second, b.second))
	})
	places := map[uint64]int{}
	for _, d := range pairs {
		places[d.second] = 0
	}
	for at, e := range o.log {
		if _, wanted := places[e.id]; wanted {
			places[e.id] = at
		}
	}
	for _, d := range pairs {
		few, who, first, second := d.late, d.example, d.second, d.first
		others := o.members - d.late - o.without(d.first, d.second, places[d.second])
		if others <= 0 {
			continue // all that saw both agree; who has lost one of them wrote the log
		}
		if others < d.late {
			few, who, first, second = others, d.firstBy, d.first, d.second
		}
		o.faults.Add(Disordered, uint64(few), "%s (%d of %d members) saw publisher %d's #%d before publisher %d's #%d, the others after it",
			MemberName(o.group, who), few, o.members, first>>32, uint32(first), second>>32, uint32(second))
	}
}
