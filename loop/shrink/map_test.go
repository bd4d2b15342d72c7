package shrink

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
)

// anyOf is a key of a map, any.
func anyOf(m map[string]int) string {
	for key := range m {
		return key
	}
	return ""
}

// Entries are put, set anew and deleted in any order, also while they move to a smaller map.
func TestAMapKeepsWhatItHoldsWhileItShrinks(t *testing.T) {
	const entries = 10_000
	rng := rand.New(rand.NewPCG(1, 2))
	var m Map[string, int]
	model, moves := map[string]int{}, 0
	for round := range 4 {
		for i := range entries {
			m.Put(fmt.Sprint(i), -i)
			model[fmt.Sprint(i)] = -i
		}
		for steps := 0; len(model) > 0; steps++ {
			key, moving := anyOf(model), m.next
			m.Delete(key)
			delete(model, key)
			if moving != nil && steps%4 < round { // one that has moved, one that has not, or a new one
				if key = anyOf(model); steps%3 == 0 || key == "" {
					key = fmt.Sprint(rng.IntN(entries))
				}
				m.Put(key, steps)
				model[key] = steps
			}
			if moving != nil && m.next != moving {
				moves++
			}
			look := moving != nil && m.next != moving || steps%64 == 0
			if look && !maps.Equal(m.All(), model) || m.Len() != len(model) {
				t.Fatalf("round %d, after %d steps: got %d entries, want %d, or they differ", round, steps, m.Len(), len(model))
			}
			if key := anyOf(model); m.Get(key) != model[key] {
				t.Fatalf("round %d, after %d steps: entry %s is %d, want %d", round, steps, key, m.Get(key), model[key])
			}
		}
		if m.Len() != 0 || m.peak >= keptMin || m.next != nil {
			t.Errorf("round %d, empty: got %d entries, peak %d, moving %v, want a small map", round, m.Len(), m.peak, m.next != nil)
		}
	}
	if moves < 12 || moves > 40 {
		t.Errorf("got %d moves in four rounds, want a few in each", moves)
	}
}

// However many entries there are, a step moves a few.
func TestNoStepOfAMapMovesManyEntries(t *testing.T) {
	const entries = 100_000
	var m Map[int, int]
	for i := range entries {
		m.Put(i, i)
	}
	steps := 0
	for i := range entries {
		before := 0
		if m.next != nil {
			before = len(m.next.m)
			steps++
		}
		m.Delete(i)
		if m.next != nil && len(m.next.m) > before+movedAtOnce {
			t.Fatalf("a deletion moves %d entries, want at most %d", len(m.next.m)-before, movedAtOnce)
		}
	}
	if steps < entries/4/(movedAtOnce+1) {
		t.Errorf("got %d steps while entries moved, want them spread over more", steps)
	}
}

func TestAnEmptyMapIsReadyForUse(t *testing.T) {
	var m Map[string, int]
	m.Delete("a")
	if got := m.Get("a"); got != 0 || m.Len() != 0 || len(m.All()) != 0 {
		t.Errorf("empty: got %d, %d entries, want none", got, m.Len())
	}
	m.Put("a", 1)
	m.Put("a", 2)
	if got := m.Get("a"); got != 2 || m.Len() != 1 {
		t.Errorf("one entry, set twice: got %d, %d entries, want 2 and 1", got, m.Len())
	}
}
