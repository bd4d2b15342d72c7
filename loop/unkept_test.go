package loop

import (
	"slices"
	"strings"
	"testing"
)

// sayUnkept has a port say what is not kept.
func sayUnkept(t *testing.T, st *stage, group, text string) {
	t.Helper()
	port, err := st.hub.NewPort()
	if err != nil {
		t.Fatal(err)
	}
	defer port.Close()
	if _, err := port.Say(t.Context(), group, Said{Payload: []byte(text), Unkept: true}); err != nil {
		t.Fatal(err)
	}
	st.settle()
}

// What is not kept cannot be had from a history: a slow client that would lose it is closed, and one that has room for it heals.
func TestASlowClientThatLosesWhatIsNotKeptDoesNotHeal(t *testing.T) {
	text := strings.Repeat("7", 99)
	for _, full := range []bool{false, true} {
		st, member, sender := newHealStage(1, nil, "0g", "0h")
		publishTo(sender, "0g", 1, 8) // 9 fit
		if full {
			publishTo(sender, "0g", 9, 10) // the last is lost
		}
		sayUnkept(t, st, "0h", text)
		if total := st.hub.Snapshot().Total(); (total.SlowClosed == 1) != full {
			t.Errorf("full %v: got %d closed as slow", full, total.SlowClosed)
		}
		if member.take(1 << 20); !full && !slices.Contains(member.events(t), text) {
			t.Error("it has room for what is not kept, and does not hear it")
		}
	}
}

// Of a group of which something was lost nothing is queued any more, so what is not kept is lost too.
func TestAClientThatHasLostSomethingOfAGroupIsClosedForWhatIsNotKept(t *testing.T) {
	st, member, sender := newHealStage(1, nil, "0g")
	publishTo(sender, "0g", 1, 10) // the last is lost
	member.take(300)
	sayUnkept(t, st, "0g", "x")
	if total := st.hub.Snapshot().Total(); total.SlowClosed != 1 || total.SlowHealed != 1 {
		t.Errorf("got %d closed and %d healed, want it to be closed though it had begun to heal", total.SlowClosed, total.SlowHealed)
	}
}

// It is heard in its place behind the answer to a join, and a position is the same before it and behind it.
func TestWhatIsNotKeptIsHeardInItsPlaceAndIsNoPartOfAResume(t *testing.T) {
	st := newHistoryStage(1, nil)
	away, sender := st.connect(0), st.enter(0)
	first := st.subscribe(t, away, "0g", "")
	sender.say(`{"cmd":"send_to_group","group_id":"0g","message":"1"}`)
	sayUnkept(t, st, "0g", "between")
	sender.say(`{"cmd":"send_to_group","group_id":"0g","message":"2"}`)
	st.settle()
	away.heard(t, `"pub":{"data":"1","offset":1}`)
	away.heard(t, `"pub":{"data":"between"}`)
	away.heard(t, `"pub":{"data":"2","offset":2}`)
	back := st.connect(0)
	answer := st.subscribe(t, back, "0g", from(first, 0))
	if want := `"publications":[{"data":"1","offset":1},{"data":"2","offset":2}],"recovered":true`; !strings.Contains(answer, want) {
		t.Errorf("got %s, want %s in it", answer, want)
	}
}
