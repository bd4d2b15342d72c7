package main

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

// play feeds histories to a ledger the way sockets do: members progress at their own speeds.
func playHistory(r *rand.Rand, history [][][2]int, sent []uint32) *faults {
	f := &faults{}
	l := newLedger(0, len(history), len(sent), f)
	at := make([]int, len(history))
	for left := len(history); left > 0; {
		member := r.IntN(len(history))
		for range 1 + r.IntN(8) {
			if at[member] == len(history[member]) {
				break
			}
			m := history[member][at[member]]
			l.saw(member, m[0], uint32(m[1]))
			if at[member]++; at[member] == len(history[member]) {
				left--
			}
		}
	}
	l.finish(sent, make([]bool, len(history)))
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
		got := fmt.Sprint(f.counts[faultLost], f.counts[faultDoubled], f.counts[faultSwapped])
		if want := fmt.Sprint(lost, doubled, swapped); got != want {
			t.Fatalf("seed %d: got lost, doubled, swapped %s, want %s\n%v", seed, got, want, f.examples)
		}
		// A doubled or swapped message also breaks the plain order; the ledger names it once, as what it is.
		if !oneOrder && f.counts[faultDisordered]+doubled+swapped == 0 || oneOrder && f.counts[faultDisordered] > 0 {
			t.Fatalf("seed %d: got %d disordered, but one order is %v\n%v", seed, f.counts[faultDisordered], oneOrder, f.examples)
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
		if f.counts != [faultKinds]uint64{faultDisordered: 1} || !strings.HasPrefix(f.examples[faultDisordered][0], want) {
			t.Fatalf("seed %d: got %v %q, want one: %s", seed, f.counts, f.examples[faultDisordered], want)
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
	if f.counts[faultDisordered] == 0 || len(f.notes) != 1 || f.fine() {
		t.Errorf("got %v and notes %q, want disorder and a note", f.counts, f.notes)
	}
}

func TestStampSurvivesItsWay(t *testing.T) {
	for _, s := range []stamp{{}, {probePublisher, sequenceMax, 1<<48 - 1}, {12345, 678901, 234567890123}} {
		text := append(appendStamp(nil, s), filling(64)...)
		if got, ok := readStamp(text); !ok || got != s {
			t.Errorf("got %+v %v, want %+v", got, ok, s)
		}
		for i := range stampBytes {
			bad := slices.Clone(text)
			bad[i] = '"'
			if got, ok := readStamp(bad); ok {
				t.Errorf("a sign that is none is read as %+v", got)
			}
		}
	}
}

func TestLimitNamesWhoWasSaturated(t *testing.T) {
	for _, c := range []struct {
		threads         []float64
		server, machine float64
		want            string
		void            bool
	}{
		{[]float64{0.2, 0.97}, 1, 0.99, "the generator: thread 1", true},
		{[]float64{0.5}, 1.2, 0.99, "the machine", false},
		{[]float64{0.5}, 0.99, 0.7, "perhaps the server", false},
		{[]float64{0.1}, 0.1, 0.2, "nobody", false},
		{[]float64{0.1}, -1, 0.2, "nobody", false},
	} {
		if got, void := limit(c.threads, c.server, c.machine); !strings.HasPrefix(got, c.want) || void != c.void {
			t.Errorf("%+v: got %q %v", c, got, void)
		}
	}
}

func TestAWindowMovesOnlyWhenAllMembersHaveTheMessage(t *testing.T) {
	p := &publisher{}
	p.openWindow(3, 2)
	p.sequence = 3
	for _, step := range []struct{ seq, allowed uint32 }{{0, 3}, {1, 3}, {1, 3}, {2, 3}, {0, 5}, {2, 6}} {
		p.acknowledge(step.seq)
		if p.allowed != step.allowed {
			t.Fatalf("after a delivery of #%d: %d are allowed, want %d", step.seq, p.allowed, step.allowed)
		}
	}
}

func TestAnOpenLoopIsDueByTheClockAlone(t *testing.T) {
	s := &schedule{start: 1000, end: 1000 + 1e9, rate: 10, publishers: 2, own: []*publisher{{number: 0}, {number: 1}}}
	marked := 0
	wake, over := s.advance(1000+250e6, func(*publisher) { marked++ })
	if marked != 3 || over || wake != 1000+300e6 || s.own[0].allowed != 2 || s.own[1].allowed != 1 {
		t.Fatalf("got %d marked, wake %d, over %v, allowed %d and %d", marked, wake, over, s.own[0].allowed, s.own[1].allowed)
	}
	if _, over = s.advance(5e9, func(*publisher) { marked++ }); !over || marked != 10 {
		t.Fatalf("got %d messages in a second, over %v, want 10", marked, over)
	}
}

func TestMaskIsItsOwnInverseAndFramesHaveTheRightLength(t *testing.T) {
	for _, n := range []int{0, 1, 7, 8, 9, 125, 126, 65535, 65536} {
		payload := []byte(strings.Repeat("x", n))
		key := [4]byte{1, 2, 3, 4}
		frame := appendFrame(nil, opText, payload, key)
		body := frame[len(frame)-n:]
		for i := range body {
			if body[i] != 'x'^key[i%4] {
				t.Fatalf("payload of %d: byte %d is not masked by the rule of RFC 6455, 5.3", n, i)
			}
		}
		frame[1] &= 0x7F // a server's frame is the same without mask and key
		h, err := parseHeader(frame)
		if err != nil || h.payload != n || h.size != len(frame)-n-4 {
			t.Errorf("payload of %d: got %+v, %v", n, h, err)
		}
	}
}

func TestAnUpgradeMayBeOneOfSeveralConnectionTokens(t *testing.T) {
	u := newUpgrade(target{host: "h", path: "/"})
	answer := func(connection string) []byte {
		return []byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: " + connection + "\r\nSec-WebSocket-Accept: " + u.accept + "\r\n\r\n")
	}
	for connection, good := range map[string]bool{"Upgrade": true, "keep-alive, upgrade": true, "keep-alive": false, "upgraded": false} {
		if _, err := u.check(answer(connection)); (err == nil) != good {
			t.Errorf("Connection: %s: got %v, want it accepted: %v", connection, err, good)
		}
	}
}
