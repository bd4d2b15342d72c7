package order

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
)

// What a home knows, lists and tells is what a plain model says, whatever happens in which order.
func TestPresenceOverNodesIsThatOfAModel(t *testing.T) {
	for seed := range uint64(60) {
		if err := modelCompany(t, seed); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

func modelCompany(t *testing.T, seed uint64) error {
	rng := rand.New(rand.NewPCG(seed, 0))
	hs, _, in := accompanied(t, 2, 64, 6)
	kind := Kind{Presence: true}
	hs.env.Kind = func(string) Kind { return kind }
	type who struct {
		node   uint16
		client uint64
	}
	far := map[who]uint32{}
	here := map[int]bool{}
	parts := []*part{{name: "0g"}, {name: "0g"}}
	loops := []int{0, 0}
	hearer := map[int]bool{}
	ctx := context.Background()
	for step := range 200 {
		w := who{uint16(1 + rng.IntN(2)), uint64(1 + rng.IntN(6))}
		loop, serial := rng.IntN(2), 1+rng.IntN(4)
		client := numbered(loop, serial)
		local := serial*2 + loop
		var err error
		switch rng.IntN(8) {
		case 0, 1:
			far[w] = 1
			err = in.There(ctx, "0g", w.node, 1, farAway(w.node, w.client, ""), true)
		case 2:
			delete(far, w)
			err = in.Away(ctx, "0g", w.node, w.client, true)
		case 3:
			if rng.IntN(4) == 0 { // a full list, of one
				for other := range far {
					if other.node == w.node {
						delete(far, other)
					}
				}
				far[w] = 2
				err = errors.Join(in.There(ctx, "0g", w.node, uint32(step+2), farAway(w.node, w.client, ""), true), in.Sweep(ctx, w.node, uint32(step+2), true))
			}
		case 4, 5:
			if !here[local] {
				here[local], hearer[local] = true, rng.IntN(2) == 0
				loops[loop]++
				join(hs, loop, parts[loop], client, hearer[local])
			}
		default:
			if here[local] {
				delete(here, local)
				delete(hearer, local)
				word(hs, loop, OpGone, parts[loop], client, false)
				hs.Census.GiveBack(&hs.homes[0].groups.Get("0g").headcount)
				if loops[loop]--; loops[loop] == 0 {
					word(hs, loop, OpLeave, parts[loop], nil, false)
				}
			}
		}
		if err != nil {
			return err
		}
		hear(hs, 0)
		hear(hs, 1)
		if err := wrong(hs); err != nil {
			return fmt.Errorf("step %d: %w", step, err)
		}
		past, err := in.port.Presence(ctx, "0g")
		if err != nil {
			return err
		}
		if past.Members != len(far)+len(here) {
			return fmt.Errorf("step %d: got %d members, want %d and %d elsewhere", step, past.Members, len(here), len(far))
		}
		if past.Crowded {
			continue
		}
		names := map[string]bool{}
		for _, p := range past.Present {
			if p.Name != "" {
				names[p.Name] = true
			}
		}
		want := map[string]bool{}
		for w := range far {
			want[farName(w.node, w.client)] = true
		}
		if !maps.Equal(names, want) {
			return fmt.Errorf("step %d: got %v elsewhere, want %v", step, names, want)
		}
	}
	return nil
}
