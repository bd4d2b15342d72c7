package client

import (
	"testing"
	"time"
)

func TestAGeneratorThatIsHeldUpDoesNotCountThatAsSilence(t *testing.T) {
	const ms = int64(time.Millisecond)
	v := vigil{shows: 7 * ms}
	v.begin(1000 * ms)
	for _, turn := range []struct{ begun, want int64 }{
		{1000 * ms, 7 * ms},
		{1030 * ms, 37 * ms},
		{1130 * ms, 137 * ms},                // it has slept for as long as it may
		{9130 * ms, 137*ms + int64(TurnMax)}, // the machine stalled, or the handling took so long
		{9131 * ms, 138*ms + int64(TurnMax)},
	} {
		if v.turn(turn.begun); v.shows != turn.want {
			t.Fatalf("at %v it shows %v, want %v", time.Duration(turn.begun), time.Duration(v.shows), time.Duration(turn.want))
		}
	}
	v.begin(20_000 * ms) // of another phase: between two nobody watches
	if v.turn(20_001 * ms); v.shows != 139*ms+int64(TurnMax) {
		t.Errorf("between two phases it went on: it shows %v", time.Duration(v.shows))
	}
}
