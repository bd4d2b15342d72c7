package order

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"ringcast/dialect"
)

// social is a table whose groups have presence, of which at most so many members are listed.
func social(loops, laneSlots, most int) *table {
	hs := newTable(loops, laneSlots)
	hs.config.PresentMax = most
	hs.env.Kind = func(string) Kind { return Kind{Presence: true} }
	hs.env.Now = func() uint32 { return 0 }
	return hs
}

// numbered is a client of a loop.
func numbered(loop, serial int) *asker {
	a := asker(serial*dialect.SenderLoopsMax + loop)
	return &a
}

// join has a client join a group with its loop's part.
func join(hs *table, loop int, p *part, client *asker, hears bool) {
	hs.Lanes(loop).Offer(hs.Of(p.name), Request[*part, *asker]{Op: OpJoin, Local: p, Client: client, Asks: true, Hears: hears})
	hs.Lanes(loop).Host()
}

// word has a loop say that a client is here or gone.
func word(hs *table, loop int, op RequestOp, p *part, client *asker, hears bool) {
	hs.Lanes(loop).Offer(hs.Of(p.name), Request[*part, *asker]{Op: op, Local: p, Client: client, Hears: hears})
	hs.Lanes(loop).Host()
}

// heardOf is what has come down to a loop, in short.
func heardOf(hs *table, loop int) string {
	var all []string
	hs.Lanes(loop).Drain(nil, func(d Delivery[*part, *asker]) bool {
		switch d.Op {
		case OpJoined:
			all = append(all, fmt.Sprint("joined:", d.Client.Number()/dialect.SenderLoopsMax, " present:", d.Present))
		case OpRefused:
			all = append(all, fmt.Sprint("refused:", d.Why))
		case OpPresent:
			list := clientsOf(d.Past.Present)
			for i := range list {
				list[i] /= dialect.SenderLoopsMax
			}
			slices.Sort(list)
			all = append(all, fmt.Sprint("present:", list, map[bool]string{true: " crowded"}[d.Past.Crowded], map[bool]string{true: " none"}[d.Past.None]))
		}
		if m := d.Message; m != nil && d.Local != nil {
			d.Local.Flow().Taken(m.Bytes())
			who, _ := m.Sender()
			all = append(all, fmt.Sprint([]string{"said ", "came ", "went "}[m.Sort], who/dialect.SenderLoopsMax))
		}
		return true
	})
	hs.Lanes(loop).Through(0)
	return strings.Join(all, ", ")
}

func TestWhoHearsIsToldWhoComesAndGoesInTheGroupsOrder(t *testing.T) {
	hs := social(3, 256, 10)
	parts := []*part{{name: "0g"}, {name: "0g"}, {name: "0g"}}
	join(hs, 0, parts[0], numbered(0, 1), false) // nobody hears
	join(hs, 1, parts[1], numbered(1, 2), true)
	join(hs, 0, parts[0], numbered(0, 3), true)
	hs.Lanes(2).Offer(0, publishTo("0g", "x"))
	hs.Lanes(2).Host()
	join(hs, 2, parts[2], numbered(2, 4), false)
	word(hs, 2, OpGone, parts[2], numbered(2, 4), false)
	word(hs, 0, OpGone, parts[0], numbered(0, 3), false)
	word(hs, 0, OpGone, parts[0], numbered(0, 3), false) // is not there
	word(hs, 1, OpPresence, parts[1], numbered(1, 2), false)
	for loop, want := range []string{
		"joined:1 present:true, joined:3 present:true, came 3, said 0, came 4, went 4",
		"joined:2 present:true, came 2, came 3, said 0, came 4, went 4, went 3, present:[1 2]",
		"joined:4 present:true",
	} {
		if got := heardOf(hs, loop); got != want {
			t.Errorf("loop %d: got %s, want %s", loop, got, want)
		}
	}
	if m := hs.homes[0].groups.Get("0g"); m.offset != 1 {
		t.Errorf("got offset %d, want 1: news have no number", m.offset)
	}
}

func TestAGroupWithoutPresenceListsNobody(t *testing.T) {
	hs := social(1, 256, 10)
	hs.env.Kind = nil
	p := &part{name: "0g"}
	join(hs, 0, p, numbered(0, 1), true)
	word(hs, 0, OpHere, p, numbered(0, 1), true)
	word(hs, 0, OpPresence, p, numbered(0, 1), false)
	word(hs, 0, OpGone, p, numbered(0, 1), false)
	if got, want := heardOf(hs, 0), "joined:1 present:false, present:[] none"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// At a bound of ten the eleventh is one too many, and until only eight are left.
func TestOfTooManyNobodyIsListedUntilTheyAreMuchFewer(t *testing.T) {
	hs := social(1, 256, 10)
	p := &part{name: "0g"}
	ask := func() string {
		word(hs, 0, OpPresence, p, numbered(0, 1), false)
		return heardOf(hs, 0)
	}
	for i := 1; i <= 10; i++ {
		join(hs, 0, p, numbered(0, i), true)
	}
	if got, want := ask(), "present:[1 2 3 4 5 6 7 8 9 10]"; !strings.HasSuffix(got, want) || strings.Count(got, "came") != 10 {
		t.Errorf("as many as may be: got %s, want ten came, and %s", got, want)
	}
	join(hs, 0, p, numbered(0, 11), true)
	if got, want := ask(), "joined:11 present:true, present:[] crowded"; got != want {
		t.Errorf("one too many: got %s, want %s", got, want)
	}
	word(hs, 0, OpGone, p, numbered(0, 11), false)
	word(hs, 0, OpGone, p, numbered(0, 2), false)
	if got, want := ask(), "present:[] crowded"; got != want {
		t.Errorf("nine again: got %s, want %s", got, want)
	}
	word(hs, 0, OpGone, p, numbered(0, 3), false)
	word(hs, 0, OpGone, p, numbered(0, 4), false)
	if got, want := ask(), "went 4, present:[1 5 6 7 8 9 10]"; got != want {
		t.Errorf("fewer than nine: got %s, want %s", got, want)
	}
}

// A publish that finds too much in flight is refused, and so is a join of which somebody would be told. That somebody goes is not.
func TestAComingIsRefusedWhereTheGroupIsLoudAndAGoingIsNot(t *testing.T) {
	hs := social(2, 256, 10)
	hs.config.FlightBytes, hs.config.FlightMin = 200, 1
	parts := []*part{{name: "0g"}, {name: "0g"}}
	join(hs, 0, parts[0], numbered(0, 1), true)
	first := heardOf(hs, 0)
	join(hs, 1, parts[1], numbered(1, 2), false)
	if got, want := first+", "+heardOf(hs, 0)+", "+heardOf(hs, 1), "joined:1 present:true, came 1, came 2, joined:2 present:true"; got != want {
		t.Errorf("quiet: got %s, want %s", got, want)
	}
	hs.Lanes(1).Offer(0, publishTo("0g", strings.Repeat("x", 100)))
	hs.Lanes(1).Host()
	join(hs, 1, parts[1], numbered(1, 3), false)
	word(hs, 1, OpGone, parts[1], numbered(1, 2), false)
	if got, want := heardOf(hs, 1), "said 0, refused:2"; got != want {
		t.Errorf("loud: got %s, want %s", got, want)
	}
	if got, want := heardOf(hs, 0), "said 0, went 2"; got != want {
		t.Errorf("who hears: got %s, want %s", got, want)
	}
	if members := hs.homes[0].groups.Get("0g").headcount.Members(); members != 2 { // nobody has given one back
		t.Errorf("got %d places, want two: the one that was refused has none", members)
	}
}

// Where a lane is full nothing of a join or of a word is done, and nothing is lost.
func TestNewsWaitForRoomAtEachLoopThatHears(t *testing.T) {
	hs := social(3, 2, 10)
	parts := []*part{{name: "0g"}, {name: "0g"}, {name: "0g"}}
	join(hs, 0, parts[0], numbered(0, 1), true)
	join(hs, 1, parts[1], numbered(1, 2), true) // its lane has the answer, and that of loop 0 is full
	join(hs, 2, parts[2], numbered(2, 3), false)
	word(hs, 1, OpGone, parts[1], numbered(1, 2), false)
	if got := heardOf(hs, 2); got != "" {
		t.Errorf("got %s before there was room, want nothing", got)
	}
	if got, want := heardOf(hs, 0), "joined:1 present:true, came 1, came 2"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	hs.Lanes(0).Host() // called, as there is room now
	heard := heardOf(hs, 1)
	hs.Lanes(1).Host()
	if got, want := heardOf(hs, 0), "came 3, went 2"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if want := "joined:2 present:true, came 2, came 3"; heard != want {
		t.Errorf("got %s, want %s", heard, want)
	}
	if got, want := heardOf(hs, 2), "joined:3 present:true"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// A reload may give a kind presence or take it; then loops say who is here, and nobody is told.
func TestAKindMayGetPresenceAndLoseIt(t *testing.T) {
	for _, history := range []int{0, 5} {
		hs := social(2, 256, 10)
		kind := Kind{Messages: history, TTL: 100}
		hs.env.Kind = func(string) Kind { return kind }
		p, here := &part{name: "0g"}, numbered(0, 1)
		ask := func() string {
			word(hs, 0, OpPresence, p, here, false)
			return heardOf(hs, 0)
		}
		join(hs, 0, p, here, true)
		heardOf(hs, 0)
		for range 2 {
			kind.Presence = true
			hs.KindsChanged()
			if got, want := ask(), "present:[]"; got != want {
				t.Errorf("at first: got %s, want %s", got, want)
			}
			word(hs, 0, OpHere, p, here, true)
			word(hs, 0, OpHere, p, here, true)
			word(hs, 1, OpHere, p, numbered(1, 9), true) // its loop has left
			if got, want := ask(), "present:[1]"; got != want {
				t.Errorf("when it has said that it is here: got %s, want %s", got, want)
			}
			kind.Presence = false
			hs.KindsChanged()
			if got, want := ask(), "present:[] none"; got != want || hs.homes[0].presences.Len() != 0 {
				t.Errorf("without presence: got %s, want %s; %d groups have it", got, want, hs.homes[0].presences.Len())
			}
		}
	}
}

// What a panic has dropped must not be there for ever, and a group takes its presence with it.
func TestALoopThatLeavesTakesAllOfItsOwn(t *testing.T) {
	hs := social(2, 256, 3)
	for serial := 1; serial <= 4; serial++ { // in the end they are many
		parts := []*part{{name: "0g"}, {name: "0g"}}
		for i := 1; i <= serial; i++ {
			join(hs, 0, parts[0], numbered(0, i), true)
		}
		join(hs, 1, parts[1], numbered(1, 8), true)
		hg := hs.homes[0].groups.Get("0g")
		for loop := range parts {
			heardOf(hs, loop)
			for loop == 1 && hg.headcount.Members() > 0 {
				hs.Census.GiveBack(&hg.headcount)
			}
			word(hs, loop, OpLeave, parts[loop], nil, false)
			if p := hs.homes[0].presences.Get(hg); loop == 0 && (p == nil || fmt.Sprint(clientsOf(p.list())) != fmt.Sprint([]uint64{8*64 + 1})) {
				t.Errorf("round %d: got %v, want the client of the other loop alone", serial, p)
			}
		}
		if hs.homes[0].presences.Len() != 0 || hs.homes[0].groups.Len() != 0 {
			t.Errorf("round %d: %d groups have presence, %d are known, want none", serial, hs.homes[0].presences.Len(), hs.homes[0].groups.Len())
		}
	}
}

func TestPresenceIsASetHoweverManyComeAndGo(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, most := range []int{1, 2, 10, 100} {
		p, there := &presence{}, map[uint64]bool{}
		crowded, crossings := false, 0
		for step := range 20_000 {
			target := most/2 + step/2000%2*most
			loop := rng.IntN(3)
			client := uint64(rng.IntN(most))*dialect.SenderLoopsMax + uint64(loop)
			hears, is := there[client]
			if got, _ := p.find(client); (got != 0) != is || (got == hearsAll) != hears {
				t.Fatalf("client %d: got %d, want %v, hearing %v", client, got, is, hears)
			}
			if rng.IntN(3) > 0 == (len(there) < target) {
				hears := rng.IntN(2) == 0
				p.add(client, loop, hears, nil, most)
				there[client] = hears
			} else {
				p.remove(client, loop, most)
				delete(there, client)
			}
			switch {
			case len(there) > most && !crowded:
				crowded, crossings = true, crossings+1
			case len(there) < most*9/10 || len(there) == 0:
				crowded = false
			}
			if p.crowded() != crowded {
				t.Fatalf("%d of %d: crowded %v, want %v", len(there), most, p.crowded(), crowded)
			}
			if !crowded && !slices.Equal(clientsOf(p.list()), slices.Sorted(maps.Keys(there))) {
				t.Fatalf("got %v, want %v", p.list(), there)
			}
			members, hearers := map[uint64]int32{}, map[uint64]int32{}
			for client, hears := range there {
				members[client%dialect.SenderLoopsMax]++
				if hears {
					hearers[client%dialect.SenderLoopsMax]++
				}
			}
			for loop := range 3 {
				if s := p.share(loop); s.members != members[uint64(loop)] || s.hearers != hearers[uint64(loop)] {
					t.Fatalf("loop %d: got %+v, want %d members and %d who hear", loop, *s, members[uint64(loop)], hearers[uint64(loop)])
				}
			}
		}
		if crossings < 3 {
			t.Errorf("most %d: crowded %d times, want more", most, crossings)
		}
	}
}

// clientsOf is the numbers of a list.
func clientsOf(list []dialect.Present) (clients []uint64) {
	for _, p := range list {
		clients = append(clients, p.Client)
	}
	return clients
}
