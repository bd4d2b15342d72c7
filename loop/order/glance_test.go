package order

import (
	"fmt"
	"testing"
)

// allOf walks over the groups of a home to the end, so many at a time.
func allOf(t *testing.T, hs *table, home, most int) map[string]Glance {
	t.Helper()
	all, w := map[string]Glance{}, &Walk[*part]{}
	for more, slice := true, 0; more; {
		slice = 0
		more = hs.Lanes(home).Walk(w, most, func(g Glance) {
			all[g.Group] = g
			slice++
		})
		if slice > most {
			t.Fatalf("got %d groups at a time, want at most %d", slice, most)
		}
	}
	return all
}

// A home's groups are walked over in slices, those that are known for their history alone with them, and those that are over without.
func TestAnOperatorSeesEveryGroupOfAHomeInSlices(t *testing.T) {
	hs, now := remembering(1, 5, 10)
	for i := range 100 {
		say(hs, fmt.Sprint("0", i), 1, 1+i%7)
	}
	top := rejoin(t, hs, 0, "07", nil).Top
	all := allOf(t, hs, 0, 9)
	if len(all) != 100 {
		t.Fatalf("got %d groups, want 100", len(all))
	}
	if g := all["07"]; g.Members != 1 || g.Loops != 1 || g.Top != top || g.Kept != 1 || g.Bytes == 0 {
		t.Errorf("a group with a member: got %+v, want one on one loop, and the position %v", g, top)
	}
	if g := all["06"]; g.Members != 0 || g.Loops != 0 || g.Top.Offset != 7 || g.Kept != 5 {
		t.Errorf("a group that is alone: got %+v, want nobody, 7 messages, and 5 of them kept", g)
	}
	*now = 10
	if all = allOf(t, hs, 0, 1000); len(all) != 1 {
		t.Errorf("when the others are over: got %d groups, want one", len(all))
	}
	if g, known, held := hs.Lanes(0).Look("07"); !known || !held || g.Members != 1 || g.Kept != 0 {
		t.Errorf("looked at by name: got %+v, known %v, held %v, want one member and nothing kept", g, known, held)
	}
	if _, known, held := hs.Lanes(0).Look("06"); known || !held {
		t.Errorf("looked at one that is over: got known %v, held %v, want that it is not known", known, held)
	}
}

// While another loop holds the home nobody looks into it.
func TestAHomeThatIsHeldIsLookedAtLater(t *testing.T) {
	hs, _ := remembering(1, 5, 10)
	say(hs, "0g", 1, 1)
	letGo, _ := hs.Home(0).Hold()
	w, seen := &Walk[*part]{}, 0
	more := hs.Lanes(0).Walk(w, 10, func(Glance) { seen++ })
	_, known, held := hs.Lanes(0).Look("0g")
	if !more || seen > 0 || known || held {
		t.Errorf("held by another: got more %v, %d groups, known %v, held %v", more, seen, known, held)
	}
	letGo()
	for more = true; more; {
		more = hs.Lanes(0).Walk(w, 10, func(Glance) { seen++ })
	}
	if _, known, held = hs.Lanes(0).Look("0g"); seen != 1 || !known || !held {
		t.Errorf("afterwards: got %d groups, known %v, held %v", seen, known, held)
	}
}

// A walk over many groups of which most have ended meanwhile goes on in slices too.
func TestAWalkOverGroupsThatHaveEndedTakesNoLongerTurns(t *testing.T) {
	hs := newTable(1, 256)
	h := hs.homes[0]
	for i := range 10_000 {
		h.groups.Put(fmt.Sprint(i), &homeGroup[*part]{})
	}
	w, seen, turns := &Walk[*part]{}, 0, 1
	count := func(Glance) { seen++ }
	hs.Lanes(0).Walk(w, 10, count)
	for i := range 10_000 {
		h.groups.Delete(fmt.Sprint(i))
	}
	for hs.Lanes(0).Walk(w, 10, count) {
		turns++
	}
	if seen != 10 || turns < 100 {
		t.Errorf("got %d groups in %d turns of 10 each, want 10 in more than 100", seen, turns)
	}
}
