package check

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
)

// Digest is the order in which one process saw a group's messages, short enough to compare between processes: each
// process walks along a log of its own (see order), and members of two processes agree if their logs do.
type Digest struct {
	Group    int
	Members  int    // in this process
	Odd      bool   // members here did not agree, or missed something: the log is not one order, and a fault was counted
	Set      uint64 // of the set of messages, independent of their order
	Sequence uint64 // of the messages in their order
}

func (o *order) digest() Digest {
	d := Digest{Group: o.group, Members: o.members, Odd: o.odd > 0}
	for _, e := range o.log {
		h := scatter(e.id + 1)
		d.Set += h
		d.Sequence = scatter(d.Sequence ^ h)
	}
	return d
}

// scatter is the finalizer of splitmix64: each bit of the result depends on each of v.
func scatter(v uint64) uint64 {
	v = (v ^ v>>30) * 0xBF58476D1CE4E5B9
	v = (v ^ v>>27) * 0x94D049BB133111EB
	return v ^ v>>31
}

// CompareOrders adds a fault for each process whose members saw a group's messages in another order than those of the
// others. As within a process, the smaller side is reported. all[process] are the digests of that process.
func CompareOrders(all [][]Digest, f *Faults) {
	type side struct {
		Digest
		process int
	}
	groups := map[int][]side{}
	for process, digests := range all {
		for _, d := range digests {
			groups[d.Group] = append(groups[d.Group], side{d, process})
		}
	}
	var skipped []int
	for _, group := range slices.Sorted(maps.Keys(groups)) {
		sides := groups[group]
		if len(sides) == 1 {
			continue
		}
		members := map[uint64]int{}
		comparable := true
		for _, s := range sides {
			members[s.Sequence] += s.Members
			comparable = comparable && !s.Odd && s.Set == sides[0].Set
		}
		if !comparable {
			skipped = append(skipped, group)
			continue
		}
		most := slices.MaxFunc(sides, func(a, b side) int { return cmp.Compare(members[a.Sequence], members[b.Sequence]) })
		for _, s := range sides {
			if s.Sequence != most.Sequence {
				f.Add(Disordered, uint64(s.Members), "group %d: all %d members %s saw the publishers' messages in another order than those %s",
					group, s.Members, heldBy(s.process), heldBy(most.process))
			}
		}
	}
	if len(skipped) > 0 {
		f.Note("%s, so the order between publishers was compared within each process only", skippedText(skipped))
	}
}

func skippedText(groups []int) string {
	if len(groups) == 1 {
		return fmt.Sprintf("of group %d not every process got all messages in one order", groups[0])
	}
	return fmt.Sprintf("of %d groups (the first is %d) not every process got all messages in one order", len(groups), groups[0])
}

func heldBy(process int) string {
	if process == 0 {
		return "in the first process"
	}
	return fmt.Sprintf("of helper %d", process)
}
