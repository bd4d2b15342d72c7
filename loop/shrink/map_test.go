package shrink

import (
	"fmt"
	"testing"
)

func TestATableKeepsWhatItHoldsWhileItShrinks(t *testing.T) {
	const entries = 10_000
	var m Map[string, int]
	for i := range entries {
		m.Put(fmt.Sprint(i), i)
	}
	moves := 0
	for i := range entries {
		before := m.peak
		m.Delete(fmt.Sprint(i))
		if m.peak < before {
			moves++
		}
		if left := entries - i - 1; m.Len() != left || len(m.All()) != left {
			t.Fatalf("after %d deletions: got %d entries, %d to read, want %d", i+1, m.Len(), len(m.All()), left)
		}
		if next := fmt.Sprint(i + 1); i+1 < entries && m.Get(next) != i+1 {
			t.Fatalf("after %d deletions: entry %s is lost", i+1, next)
		}
	}
	if m.peak >= keptMin || moves < 3 || moves > 10 {
		t.Errorf("got peak %d after %d moves, want a small map after a few", m.peak, moves)
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
