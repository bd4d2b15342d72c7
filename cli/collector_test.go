package cli

import "testing"

func TestTheCollectorLetsTheHeapGrowWhileCollectionsAreFrequent(t *testing.T) {
	percent := gcPercentMin
	for _, period := range []struct{ cycles, want int }{{0, 25}, {2, 25}, {4, 50}, {2, 50}, {30, 100}, {2, 100}, {1, 75}, {0, 56}, {0, 42}, {0, 31}, {0, 25}} {
		if percent = gcPercent(percent, period.cycles); percent != period.want {
			t.Fatalf("after %d collections: got %d %%, want %d", period.cycles, percent, period.want)
		}
	}
}

func TestACrowdThatConnectsIsNoReasonToCollectLessOften(t *testing.T) {
	before := collections{cycles: 10, live: 4 << 20}
	for now, want := range map[collections]int{
		{cycles: 18, live: 4 << 20}: 8,
		{cycles: 18, live: 3 << 20}: 8,
		{cycles: 18, live: 5 << 20}: 0,
	} {
		if got := now.frequent(before); got != want {
			t.Errorf("%+v: got %d, want %d", now, got, want)
		}
	}
}
