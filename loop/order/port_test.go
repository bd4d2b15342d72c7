package order

import (
	"runtime"
	"testing"
)

// A port that is closed refuses, lets go of who waits, and leaves what it has accepted in the lanes; its place is free when
// that has been put in order.
func TestAPortThatIsClosedGivesItsPlaceBack(t *testing.T) {
	hs := newTable(1, 2)
	var ports []*Port[*part, *asker]
	for range PortsMax {
		p, err := hs.NewPort()
		if err != nil {
			t.Fatal(err)
		}
		ports = append(ports, p)
	}
	if _, err := hs.NewPort(); err != ErrTooManyPorts {
		t.Fatalf("one port more: got %v, want ErrTooManyPorts", err)
	}
	p := ports[5]
	letGo, _ := hs.Home(0).Hold() // a loop is in the middle of serving it
	for range 2 {
		if err := offer(p, "0g", nil); err != nil {
			t.Fatal(err)
		}
	}
	waits := make(chan error)
	go func() { waits <- p.PublishWait(t.Context(), "0g", nil, nil) }()
	for !p.up[0].lane.awaited.Load() {
		runtime.Gosched()
	}
	p.Close()
	p.Close()
	if err := <-waits; err != ErrClosed {
		t.Errorf("who waits for room: got %v, want ErrClosed", err)
	}
	if err := offer(p, "0g", nil); err != ErrClosed {
		t.Errorf("after the end: got %v, want ErrClosed", err)
	}
	if _, err := hs.NewPort(); err != ErrTooManyPorts {
		t.Errorf("with something in its lane: got %v, want ErrTooManyPorts", err)
	}
	letGo()
	hs.Lanes(0).Host()
	if got := hs.Home(0).Published(); got != 2 {
		t.Errorf("what was accepted: got %d in order, want 2", got)
	}
	again, err := hs.NewPort()
	if err != nil || again.bit != p.bit {
		t.Fatalf("got bit %d (%v), want %d", again.bit, err, p.bit)
	}
	if err := offer(again, "0g", nil); err != nil {
		t.Error(err)
	}
	hs.Lanes(0).Host()
	if got := hs.Home(0).Published(); got != 3 {
		t.Errorf("got %d in order, want 3", got)
	}
}
