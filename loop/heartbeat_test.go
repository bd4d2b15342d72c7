package loop

import (
	"strings"
	"testing"
)

func TestSilenceIsMeasuredAcrossTheClocksWrap(t *testing.T) {
	st := newStage(1, func(b *bounds) { b.heartbeatTicks = 10 })
	st.hub.clock.Store(1<<31 - 5)
	c := st.enter(0)
	for range 9 {
		st.hub.beat()
		st.settle()
	}
	if len(c.out) != 0 {
		t.Errorf("after 9 ticks of silence: got %x, want no ping yet", c.out)
	}
	for range 8 {
		st.hub.beat()
		st.settle()
	}
	c.heard(t, "\x89\x00")
	for range 15 {
		st.hub.beat()
		st.settle()
	}
	c.heard(t, "\x03\xe9")
}

// Clients that came together fall silent together.
func TestPingsAreSpreadOverTicks(t *testing.T) {
	const clients = 2*pingsPerTickMax + 1
	st := newStage(1, func(b *bounds) { b.heartbeatTicks = 4 }) // so short that a tick scans the whole table
	st.hub.clientsMax.Store(clients)
	conns := make([]*stageConn, clients)
	for i := range conns {
		conns[i] = st.enter(0)
	}
	pinged, ticks := 0, 0
	for before := 0; pinged < clients; before = pinged {
		if ticks++; ticks > 20 {
			t.Fatalf("pinged after %d ticks: got %d of %d clients, want all", ticks-1, pinged, clients)
		}
		st.hub.beat()
		st.settle()
		pinged = 0
		for _, c := range conns {
			if strings.Contains(string(c.out), "\x89\x00") {
				pinged++
			}
		}
		if pinged-before > pingsPerTickMax {
			t.Fatalf("one tick pinged %d clients, want at most %d", pinged-before, pingsPerTickMax)
		}
	}
}
