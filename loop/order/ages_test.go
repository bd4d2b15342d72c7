package order

import (
	"math/rand/v2"
	"testing"
)

// Histories come and go and grow younger in any order, and the first is never younger than another, also across the clock's wrap.
func TestTheFirstOfAgesIsTheOldest(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var a ages[*part]
	in := map[*history[*part]]uint32{}
	for step := range 20_000 {
		now := uint32(1<<32-2000) + uint32(step)/5
		switch n := rng.IntN(10); {
		case n < 5 && step/2000%2 == 0 || len(in) == 0:
			y, tick := &history[*part]{at: absent}, now-rng.Uint32N(300)
			a.put(y, tick)
			in[y] = tick
		case n < 8:
			y := a.at(rng.IntN(a.entries)).history // any of them
			a.remove(y)
			if delete(in, y); y.at != absent {
				t.Fatalf("step %d: one that was taken out has place %d", step, y.at)
			}
		default:
			y := a.at(0).history
			in[y] = now
			a.rekey(now)
		}
		if a.entries != len(in) {
			t.Fatalf("step %d: got %d entries, want %d", step, a.entries, len(in))
		}
		for y, tick := range in {
			if e := *a.at(int(y.at)); e.history != y || e.tick != tick || before(tick, a.at(0).tick) {
				t.Fatalf("step %d: got %+v at place %d, first of tick %d, want tick %d", step, e, y.at, a.at(0).tick, tick)
			}
		}
	}
}
