package loop

import (
	"fmt"
	"testing"
)

func TestATableKeepsWhatItHoldsWhileItShrinks(t *testing.T) {
	const entries = 10_000
	table := newTable[string, int]()
	for i := range entries {
		table.put(fmt.Sprint(i), i)
	}
	moves := 0
	for i := range entries {
		before := table.peak
		table.drop(fmt.Sprint(i))
		if table.peak < before {
			moves++
		}
		if left := entries - i - 1; len(table.m) != left {
			t.Fatalf("after %d drops: got %d entries, want %d", i+1, len(table.m), left)
		}
		if next := fmt.Sprint(i + 1); i+1 < entries && table.m[next] != i+1 {
			t.Fatalf("after %d drops: entry %s is lost", i+1, next)
		}
	}
	if table.peak >= tableKeptMin || moves < 3 || moves > 10 {
		t.Errorf("got peak %d after %d moves, want a small map after a few", table.peak, moves)
	}
}
