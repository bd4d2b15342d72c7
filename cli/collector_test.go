package cli

import "testing"

func TestTheCollectorLetsASmallHeapGrowByMoreThanItsQuarter(t *testing.T) {
	for live, want := range map[uint64]int{0: 100, 1 << 20: 100, 4 << 20: 100, 8 << 20: 50, 16 << 20: 25, 1 << 30: 25} {
		if got := gcPercent(live); got != want {
			t.Errorf("%d bytes alive: got %d %%, want %d", live, got, want)
		}
	}
}
