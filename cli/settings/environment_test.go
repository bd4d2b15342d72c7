package settings

import (
	"slices"
	"testing"
)

func TestAVariableThatIsNoSettingIsReportedWithTheNearest(t *testing.T) {
	got := UnknownVariables([]string{"PATH=/bin", "RINGCAST_LOOP=4", "RINGCAST_HEARTBEAT=9s", "RINGCAST_CONFIG=", "RINGCAST_RUNDIR=/r"})
	want := []string{
		"RINGCAST_LOOP is set but is not a setting; did you mean RINGCAST_LOOPS?",
		"RINGCAST_RUNDIR is set but is not a setting; did you mean RINGCAST_RUN_DIR?",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestDistanceCountsChanges(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"abc", "abc", 0}, {"abc", "abd", 1}, {"abc", "bc", 1}, {"kitten", "sitting", 3}} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("distance(%q, %q): got %d, want %d", c.a, c.b, got, c.want)
		}
	}
}
