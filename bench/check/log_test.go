package check

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// told is a group of three members and two publishers: what the publishers were answered, and what was said with which offsets.
type told struct {
	log  *Log
	said *Publishes
	f    *Faults
	gone []bool
}

// order is the messages of the tests by their offsets: publisher and number. The offsets have gaps, as other groups share them.
var inOrder = map[uint64][2]int{3: {0, 0}, 4: {1, 0}, 9: {0, 1}, 10: {0, 2}, 20: {1, 1}, 31: {1, 2}}

var offsets = []uint64{3, 4, 9, 10, 20, 31}

func newTold(members int) *told {
	f := &Faults{}
	t := &told{f: f, gone: make([]bool, members)}
	member := func(n int) string { return fmt.Sprint("member ", n) }
	sender := func(n int) string { return fmt.Sprint("publisher ", n) }
	t.log, t.said = NewLog(members, 2, member, sender, f), NewPublishes(2, sender, f)
	for m := range members {
		t.log.Join(m, "e", 2)
	}
	for range 3 {
		for pub := range 2 {
			t.said.Ask(pub, t.said.Say(pub), 1, 0)
		}
	}
	for _, offset := range offsets {
		t.said.Note(inOrder[offset][0], uint32(inOrder[offset][1]), OK, offset)
	}
	return t
}

func (t *told) hear(member int, at ...uint64) {
	for _, offset := range at {
		t.log.Saw(member, inOrder[offset][0], uint32(inOrder[offset][1]), offset)
	}
}

// faults are what was found, by kind with the first example.
func (t *told) faults() string {
	var got []string
	for kind := range Kinds {
		if t.f.Counts[kind] > 0 {
			got = append(got, fmt.Sprintf("%d %s: %s", t.f.Counts[kind], kind, t.f.Examples[kind][0]))
		}
	}
	return strings.Join(got, "; ")
}

// again is a publish with another answer than ok.
func (t *told) answered(pub int, seq uint32, a Answer, number uint64) {
	t.said.pubs[pub][seq].Answer, t.said.pubs[pub][seq].Number = a, number
}

func TestALogFindsWhatIsWrongWithOneMember(t *testing.T) {
	for name, c := range map[string]struct {
		hears func(g *told)
		want  string // the faults; empty: none
	}{
		"all":           {func(g *told) { g.hear(2, offsets...) }, ""},
		"one not":       {func(g *told) { g.hear(2, 3, 4, 10, 20, 31) }, "1 lost: member 2 never got publisher 0 #1, which others got with the offset 9"},
		"the last not":  {func(g *told) { g.hear(2, 3, 4, 9, 10, 20) }, "1 lost: member 2 never got publisher 1 #2, which others got with the offset 31"},
		"the first not": {func(g *told) { g.hear(2, 4, 9, 10, 20, 31) }, "1 lost: member 2 never got publisher 0 #0, which others got with the offset 3"},
		"nothing":       {func(*told) {}, "6 lost: member 2 never got publisher 0 #0, which others got with the offset 3"},
		"one twice":     {func(g *told) { g.hear(2, 3, 4, 4, 9, 10, 20, 31) }, "1 doubled: member 2 got publisher 1 #0 with the offset 4 again, after the offset 4"},
		"one again at the end": {func(g *told) { g.hear(2, 3, 4, 9, 10, 20, 31, 9) },
			"1 doubled: member 2 got publisher 0 #1 with the offset 9 again, after the offset 31"},
		"two in turns": {func(g *told) { g.hear(2, 3, 9, 4, 10, 20, 31) }, "1 swapped: member 2 got publisher 1 #0 with the offset 4 after the offset 9"},
		"another message with the offset": {func(g *told) {
			g.hear(2, 3, 4)
			g.log.Saw(2, 0, 2, 9)
			g.hear(2, 10, 20, 31)
		}, "1 disordered: member 2 got publisher 0 #2 with the offset 9, with which others got publisher 0 #1"},
		"another order": {func(g *told) {
			g.hear(2, 3)
			g.log.Saw(2, 0, 1, 4)
			g.log.Saw(2, 1, 0, 9)
			g.hear(2, 10, 20, 31)
		}, "2 disordered: member 2 got publisher 0 #1 with the offset 4, with which others got publisher 1 #0"},
		"one that is in the order already": {func(g *told) {
			g.hear(2, 3, 4, 9, 10)
			g.log.Saw(2, 1, 0, 15)
			g.hear(2, 20, 31)
		}, "2 lost: member 0 never got publisher 1 #0, which others got with the offset 15; " +
			"1 doubled: publisher 1 #0 is in the order twice, with the offsets 4 and 15"},
		"no offset":                   {func(g *told) { g.hear(2, offsets...); g.log.Saw(2, 0, 2, 0) }, "1 altered: member 2 got publisher 0 #2 with the offset 0"},
		"what was said before":        {func(g *told) { g.log.Saw(2, 0, 0, 1); g.hear(2, offsets...) }, "1 doubled: publisher 0 #0 is in the order twice, with the offsets 3 and 1; 1 swapped: member 2 got publisher 0 #0 with the offset 1 after the offset 2"},
		"in two lives":                {func(g *told) { g.hear(2, 3, 4); g.log.Position(2); g.hear(2, 9, 10, 20, 31) }, ""},
		"anew, and then all":          {func(g *told) { g.hear(2, 3); g.log.Join(2, "e", 10); g.hear(2, 20, 31) }, ""},
		"anew, and what was before":   {func(g *told) { g.hear(2, 3); g.log.Join(2, "e", 10); g.hear(2, 10, 20, 31) }, "1 foreign: member 2 got publisher 0 #2 with the offset 10, which is not behind 10, where it began"},
		"anew, and the first not":     {func(g *told) { g.log.Join(2, "e", 10); g.hear(2, 31) }, "1 lost: member 2 never got publisher 1 #1, which others got with the offset 20"},
		"anew, and nothing":           {func(g *told) { g.log.Join(2, "e", 10) }, "2 lost: member 2 never got publisher 1 #1, which others got with the offset 20"},
		"anew at the end":             {func(g *told) { g.log.Join(2, "e", 31) }, ""},
		"anew, with a loss before it": {func(g *told) { g.hear(2, 3, 9); g.log.Join(2, "e", 31) }, "1 lost: member 2 never got publisher 1 #0, which others got with the offset 4"},
		"in an epoch that ended":      {func(g *told) { g.hear(2, offsets...); g.log.Join(1, "f", 0); g.log.Join(0, "f", 0) }, ""},
		"gone":                        {func(g *told) { g.hear(2, 3); g.gone[2] = true }, ""},
	} {
		g := newTold(3)
		g.hear(0, offsets...)
		g.hear(1, offsets...)
		c.hears(g)
		complete := g.log.Complete(g.said, g.gone)
		g.log.Finish(g.said, g.gone)
		if got := g.faults(); got != c.want || len(g.f.Notes) > 0 {
			t.Errorf("%s: got %q %v, want %q", name, got, g.f.Notes, c.want)
		}
		if open := strings.Contains(c.want, "lost"); complete == open {
			t.Errorf("%s: got complete %v", name, complete)
		}
	}
}

func TestALogComparesWhatWasAnsweredWithWhatWasHeard(t *testing.T) {
	all := func(g *told) { g.hear(0, offsets...); g.hear(1, offsets...) }
	but := func(g *told) { g.hear(0, 3, 4, 9, 20, 31); g.hear(1, 3, 4, 9, 20, 31) } // nobody hears the publisher's last, with 10
	for name, c := range map[string]struct {
		hears func(g *told)
		does  func(g *told)
		want  string
	}{
		"ok, and heard":                      {all, func(*told) {}, ""},
		"ok, and heard by nobody":            {but, func(*told) {}, "2 lost: publisher 0 #2 was answered ok with the number 10, and none of 2 members heard it"},
		"ok, and all began anew behind it":   {func(g *told) { g.log.Join(0, "e", 10); g.log.Join(1, "e", 15); g.hear(0, 20, 31); g.hear(1, 20, 31) }, func(*told) {}, ""},
		"ok with no number, and not heard":   {but, func(g *told) { g.answered(0, 2, OK, 0) }, "2 lost: publisher 0 #2 was answered ok with the number 0, and none of 2 members heard it"},
		"ok with another number":             {all, func(g *told) { g.answered(0, 2, OK, 11) }, "1 contradicted: publisher 0 #2 was answered ok with the number 11, and heard with the offset 10"},
		"busy, and heard":                    {all, func(g *told) { g.answered(0, 2, Busy, 0) }, "1 contradicted: publisher 0 #2 was answered busy, and heard with the offset 10"},
		"unavailable, and heard":             {all, func(g *told) { g.answered(0, 2, Unavailable, 0) }, "1 contradicted: publisher 0 #2 was answered unavailable, and heard with the offset 10"},
		"busy, and not heard":                {but, func(g *told) { g.answered(0, 2, Busy, 0) }, ""},
		"unavailable, and not heard":         {but, func(g *told) { g.answered(0, 2, Unavailable, 0) }, ""},
		"unknown, and heard":                 {all, func(g *told) { g.answered(0, 2, Unknown, 0) }, ""},
		"unknown, and not heard":             {but, func(g *told) { g.answered(0, 2, Unknown, 0) }, ""},
		"unknown, and heard by one":          {func(g *told) { but(g); g.hear(0, 10) }, func(g *told) { g.answered(0, 2, Unknown, 0) }, "1 lost: member 1 never got publisher 0 #2, which others got with the offset 10; 1 swapped: member 0 got publisher 0 #2 with the offset 10 after the offset 31"},
		"no answer, and heard":               {all, func(g *told) { g.answered(0, 2, None, 0) }, ""},
		"never answered":                     {all, func(g *told) { g.answered(0, 2, Silence, 0) }, "1 unanswered: publisher 0 #2 was not answered"},
		"never sent":                         {all, func(g *told) { g.said.pubs[1] = g.said.pubs[1][:2] }, "1 foreign: publisher 1 #2 was heard with the offset 31, and never sent"},
		"due, and never sent":                {all, func(g *told) { g.said.pubs[1][2] = Publish{} }, "1 foreign: publisher 1 #2 was heard with the offset 31, and never sent"},
		"repeated, and another number":       {all, func(g *told) { g.said.Note(0, 2, OK, 10); g.said.Note(0, 2, OK, 12) }, "1 contradicted: publisher 0 #2 was answered ok with the number 10, and when it was repeated with 12"},
		"unknown, and busy when repeated":    {all, func(g *told) { g.answered(0, 2, Unknown, 0); g.said.Note(0, 2, Busy, 0) }, ""},
		"unknown, and ok when repeated":      {all, func(g *told) { g.answered(0, 2, Unknown, 0); g.said.Note(0, 2, OK, 10) }, ""},
		"unknown, ok when repeated, unheard": {but, func(g *told) { g.answered(0, 2, Unknown, 0); g.said.Note(0, 2, OK, 10) }, "2 lost: publisher 0 #2 was answered ok with the number 10, and none of 2 members heard it"},
	} {
		g := newTold(2)
		c.hears(g)
		c.does(g)
		g.log.Finish(g.said, g.gone)
		if got := g.faults(); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

func TestWhatIsSentOnOneConnectionIsInTheOrderInWhichItWasSent(t *testing.T) {
	for name, c := range map[string]struct {
		does func(g *told)
		want string
	}{
		"in turns":                                {func(*told) {}, "1 swapped: publisher 0 #1 is in the order behind its #2, which it sent later on the same connection"},
		"the late one was sent twice":             {func(g *told) { g.said.Ask(0, 1, 1, 0) }, ""},
		"the late one was of a connection before": {func(g *told) { g.said.pubs[0][1].Life = 0 }, ""},
	} {
		g := newTold(2)
		c.does(g)
		g.said.pubs[0][1].Number, g.said.pubs[0][2].Number = 10, 9
		for m := range 2 {
			g.hear(m, 3, 4)
			g.log.Saw(m, 0, 2, 9)
			g.log.Saw(m, 0, 1, 10)
			g.hear(m, 20, 31)
		}
		g.log.Finish(g.said, g.gone)
		if got := g.faults(); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

func TestALogCountsWhatIsNoFault(t *testing.T) {
	g := newTold(3)
	g.hear(0, offsets...)
	g.hear(1, offsets...)
	g.hear(2, 3)
	g.gone[2] = true
	g.answered(0, 2, Unknown, 0)
	g.answered(0, 1, None, 0)
	found := g.log.Finish(g.said, g.gone)
	if want := (Found{Ordered: 6, UncertainHeard: 2, MissedByGone: 5, Epochs: 1}); found != want || !g.f.Fine() {
		t.Errorf("got %+v and %q, want %+v and no fault", found, g.faults(), want)
	}
	if counts := g.said.Count(); counts[OK] != 4 || counts[Unknown] != 1 || counts[None] != 1 {
		t.Errorf("got %v", counts)
	}
	if g.log.Heard() != 13 {
		t.Errorf("got %d heard, want 13", g.log.Heard())
	}
}

func TestWhoBeginsAnewBeforeWhereItWasIsCounted(t *testing.T) {
	g := newTold(2)
	g.hear(0, offsets...)
	g.hear(1, 3, 4, 9, 10)
	g.log.Join(1, "e", 4)
	g.hear(1, 9, 10, 20, 31)
	if found := g.log.Finish(g.said, g.gone); found.Rewound != 1 || found.Again != 2 || !g.f.Fine() {
		t.Errorf("got %+v and %q, want once back, 2 messages again, and no fault", found, g.faults())
	}
}

func TestWhoStaysInAnEpochThatEndedMissesTheNext(t *testing.T) {
	g := newTold(2)
	g.hear(0, 3, 4, 9)
	g.hear(1, 3, 4, 9)
	g.log.Join(0, "f", 0)
	g.log.Saw(0, 0, 2, 1)
	g.log.Saw(0, 1, 1, 2)
	g.log.Saw(0, 1, 2, 3)
	g.said.pubs[0][2].Number, g.said.pubs[1][1].Number, g.said.pubs[1][2].Number = 1, 2, 3
	g.log.Finish(g.said, g.gone)
	if got, want := g.faults(), "3 lost: member 1 never got publisher 0 #2, which others got with the offset 1"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Random histories with random faults: the log must find each member's deviations exactly, and nothing in those without.
func TestALogFindsExactlyWhatIsMissing(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 16))
		members, said := 2+r.IntN(4), 20+r.IntN(40)
		f := &Faults{}
		name := func(n int) string { return fmt.Sprint(n) }
		log, publishes := NewLog(members, 3, name, name, f), NewPublishes(3, name, f)
		type line struct {
			pub    int
			seq    uint32
			offset uint64
		}
		var truth []line
		offset := uint64(r.IntN(100))
		for m := range members {
			log.Join(m, "e", offset)
		}
		for range said {
			pub := r.IntN(3)
			seq := publishes.Say(pub)
			publishes.Ask(pub, seq, 1, 0)
			offset += 1 + uint64(r.IntN(5))
			publishes.Note(pub, seq, OK, offset)
			truth = append(truth, line{pub, seq, offset})
		}
		lost := 0
		heardBy := make([]int, said)
		rows := make([][]line, members)
		for m := range rows {
			for i, l := range truth {
				if m > 0 && r.IntN(30) == 0 { // the first hears all
					lost++
					continue
				}
				heardBy[i]++
				rows[m] = append(rows[m], l)
			}
		}
		for left := members; left > 0; { // members hear at their own pace
			m := r.IntN(members)
			if len(rows[m]) == 0 {
				left = 0
				for _, row := range rows {
					left += len(row)
				}
				continue
			}
			l := rows[m][0]
			rows[m] = rows[m][1:]
			log.Saw(m, l.pub, l.seq, l.offset)
		}
		gone := make([]bool, members)
		complete := log.Complete(publishes, gone)
		found := log.Finish(publishes, gone)
		if want := [Kinds]uint64{Lost: uint64(lost)}; f.Counts != want || found.Ordered != uint64(said) || complete != (lost == 0) {
			t.Fatalf("seed %d: got %v, %d in the order, complete %v; want %d lost and %d\n%v", seed, f.Counts, found.Ordered, complete, lost, said, f.Examples)
		}
	}
}
