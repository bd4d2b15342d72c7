package order

import "testing"

// A publish of a port is in order when Offer returns, and no loop is woken that has nothing to do.
func TestAPublishOfAPortWakesOnlyLoopsThatWereSentSomething(t *testing.T) {
	hs := newTable(4, 256)
	hs.config.FewMembers = 4
	woken := map[int]int{}
	hs.env.Wake = func(loop int) { woken[loop]++ }
	p := openPort(t, hs)
	if said(t, p, "1g", text("nobody hears")); len(woken) != 0 {
		t.Errorf("nobody is there: got %v woken, want none", woken)
	}
	join(hs, 3, &part{name: "1g"}, numbered(3, 1), false)
	if said(t, p, "1g", text("one loop")); len(woken) != 1 || woken[3] != 1 {
		t.Errorf("one loop has members: got %v woken, want that one", woken)
	}
	join(hs, 2, &part{name: "1g"}, numbered(2, 1), false)
	clear(woken)
	if said(t, p, "1g", text("few on two loops")); len(woken) != 1 || woken[1] != 1 {
		t.Errorf("two loops have few members: got %v woken, want the home's, which may serve them", woken)
	}
	served := 0
	hs.Lanes(1).Host()
	hs.Lanes(1).WakeOthers(func(loop int) bool { served |= 1 << loop; return true })
	if served != 1<<3|1<<2 {
		t.Errorf("got loops %b left to that one, want %b", served, 1<<3|1<<2)
	}
	hs.config.FewMembers = 0
	for i := range 2 { // now they are many
		join(hs, 2+i, &part{name: "1h"}, numbered(2+i, 2), false)
	}
	clear(woken)
	if said(t, p, "1h", text("many")); len(woken) != 2 || woken[2] != 1 || woken[3] != 1 {
		t.Errorf("two loops have many members: got %v woken, want both", woken)
	}
}

// What somebody else is in the middle of serving is left to that one.
func TestAPortLeavesAHomeThatIsHeldToItsHolder(t *testing.T) {
	hs := newTable(2, 256)
	p := openPort(t, hs)
	letGo, _ := hs.Home(1).Hold()
	w, err := p.Offer("1g", text("x"))
	if err != nil || len(w.told) != 0 || !letGo() {
		t.Fatalf("got %v and a word already; want the holder to be called", err)
	}
	hs.Lanes(0).ToHost(1)
	hs.Lanes(0).Host()
	if _, err := w.Wait(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAPanicInAHomeThatAPortHostsIsToldToWhoWaits(t *testing.T) {
	hs, _ := remembering(1, 5, 10)
	kind, panics := hs.env.Kind, 0
	hs.env.Panicked = func(home int, p any) { panics++ }
	p := openPort(t, hs)
	hs.env.Kind = func(string) Kind { panic("at the world's end") }
	if _, err := p.Say(t.Context(), "0g", text("x")); err != ErrUnknown || panics != 1 {
		t.Errorf("got %v and %d panics told, want ErrUnknown and one", err, panics)
	}
	hs.env.Kind = kind
	if r := said(t, p, "0g", text("x")); r.Position.Offset != 1 || !hs.Home(0).Idle() {
		t.Errorf("after it: got %+v, want the home to go on", r)
	}
}
