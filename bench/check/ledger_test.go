package check

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// plainCheck is the slow and obvious form of what a ledger with its order computes, from whole histories.
// history[member] is what the member got, in order, as publisher and sequence.
func plainCheck(history [][][2]int, sent []uint32) (lost, doubled, swapped uint64, oneOrder bool) {
	for _, got := range history {
		seen := map[[2]int]bool{}
		highest := map[int]int{}
		for _, m := range got {
			last, any := highest[m[0]]
			switch {
			case seen[m]:
				doubled++
			case any && m[1] < last:
				swapped++
			}
			seen[m] = true
			if !any || m[1] > last {
				highest[m[0]] = m[1]
			}
		}
		for _, n := range sent {
			lost += uint64(n)
		}
		lost -= uint64(len(seen))
	}
	oneOrder = true
	for a := range history {
		for b := range a {
			place := map[[2]int]int{}
			for i, m := range history[b] {
				place[m] = i
			}
			last := -1
			for _, m := range history[a] {
				if i, both := place[m]; both {
					oneOrder = oneOrder && i > last
					last = i
				}
			}
		}
	}
	return lost, doubled, swapped, oneOrder
}

// play feeds histories to a ledger as sockets do: members progress at their own speeds.
func playHistory(r *rand.Rand, history [][][2]int, sent []uint32) *Faults {
	f := &Faults{}
	l := NewLedger(0, len(history), len(sent), f)
	at := make([]int, len(history))
	for left := len(history); left > 0; {
		member := r.IntN(len(history))
		for range 1 + r.IntN(8) {
			if at[member] == len(history[member]) {
				break
			}
			m := history[member][at[member]]
			l.Saw(member, m[0], uint32(m[1]))
			if at[member]++; at[member] == len(history[member]) {
				left--
			}
		}
	}
	l.Finish(sent, make([]bool, len(history)))
	return f
}

func TestLedgerAgreesWithThePlainCheckOnRandomFaults(t *testing.T) {
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 1))
		sent := make([]uint32, 1+r.IntN(3))
		var truth [][2]int
		for range 60 {
			p := r.IntN(len(sent))
			truth = append(truth, [2]int{p, int(sent[p])})
			sent[p]++
		}
		history := make([][][2]int, 2+r.IntN(5))
		for member := range history {
			history[member] = slices.Clone(truth)
		}
		for range r.IntN(6) { // spoil
			got := &history[r.IntN(len(history))]
			i := 1 + r.IntN(len(*got)-2)
			switch r.IntN(3) {
			case 0:
				*got = slices.Delete(*got, i, i+1)
			case 1:
				*got = slices.Insert(*got, i, (*got)[r.IntN(i)])
			case 2:
				(*got)[i], (*got)[i-1] = (*got)[i-1], (*got)[i]
			}
		}
		lost, doubled, swapped, oneOrder := plainCheck(history, sent)
		f := playHistory(r, history, sent)
		got := fmt.Sprint(f.Counts[Lost], f.Counts[Doubled], f.Counts[Swapped])
		if want := fmt.Sprint(lost, doubled, swapped); got != want {
			t.Fatalf("seed %d: got lost, doubled, swapped %s, want %s\n%v", seed, got, want, f.Examples)
		}
		// A doubled or swapped message also breaks the plain order; the ledger counts it once, as doubled or swapped.
		if !oneOrder && f.Counts[Disordered]+doubled+swapped == 0 || oneOrder && f.Counts[Disordered] > 0 {
			t.Fatalf("seed %d: got %d disordered, but one order is %v\n%v", seed, f.Counts[Disordered], oneOrder, f.Examples)
		}
	}
}

func TestOrderNamesTheOneMemberOutOfLineWhoeverSawItFirst(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 2))
		var truth [][2]int
		for i := range 40 { // two publishers in turn
			truth = append(truth, [2]int{i % 2, i / 2})
		}
		history := make([][][2]int, 3+r.IntN(5))
		for member := range history {
			history[member] = slices.Clone(truth)
		}
		odd, at := r.IntN(len(history)), 1+r.IntN(39)
		got := history[odd]
		got[at], got[at-1] = got[at-1], got[at]
		f := playHistory(r, history, []uint32{20, 20})
		want := fmt.Sprintf("group 0 member %d (1 of %d members) saw publisher %d's #%d before publisher %d's #%d,", odd, len(history),
			truth[at][0], truth[at][1], truth[at-1][0], truth[at-1][1])
		if f.Counts != [Kinds]uint64{Disordered: 1} || !strings.HasPrefix(f.Examples[Disordered][0], want) {
			t.Fatalf("seed %d: got %v %q, want one: %s", seed, f.Counts, f.Examples[Disordered], want)
		}
	}
}

func TestOrderGivesUpAloudOnAServerWithoutOrder(t *testing.T) {
	const members, messages = 20, 4000
	r := rand.New(rand.NewPCG(3, 3))
	history := make([][][2]int, members)
	for member := range history {
		var sent [2]int
		for sent[0] < messages || sent[1] < messages {
			if p := r.IntN(2); sent[p] < messages {
				history[member] = append(history[member], [2]int{p, sent[p]})
				sent[p]++
			}
		}
	}
	f := playHistory(r, history, []uint32{messages, messages})
	if f.Counts[Disordered] == 0 || len(f.Notes) != 1 || f.Fine() {
		t.Errorf("got %v and notes %q, want disorder and a note", f.Counts, f.Notes)
	}
}

// Who loses a message may read the next one before others do, who have read only the lost one: it writes the log then, without it.
func TestALostMessageIsNoDisorderWhoeverReadsTheNextOneFirst(t *testing.T) {
	for name, next := range map[string][2]int{"of the same publisher": {1, 1}, "of another": {0, 0}} {
		f := &Faults{}
		l := NewLedger(0, 3, 2, f)
		saw := func(member int, m [2]int) { l.Saw(member, m[0], uint32(m[1])) }
		lost := [2]int{1, 0}
		saw(0, lost)
		saw(2, next)
		saw(0, next)
		saw(1, lost)
		saw(1, next)
		l.Finish([]uint32{uint32(1 - next[0]), uint32(1 + next[1])}, make([]bool, 3))
		if want := [Kinds]uint64{Lost: 1}; f.Counts != want {
			t.Errorf("the next message is %s: got %v %v, want one lost", name, f.Counts, f.Examples)
		}
	}
}
