package settings

import (
	"testing"
	"time"
)

func TestEveryLimitIsTakenUpByAReload(t *testing.T) {
	a, err := parse(t, "--run-dir", "/r")
	if err != nil {
		t.Fatal(err)
	}
	b, err := parse(t, "--run-dir", "/r", "--message-max", "2KiB", "--slow-turn", "off", "--log-level", "warn", "--stop-timeout", "1s", "--loops", "1")
	if err != nil {
		t.Fatal(err)
	}
	a, _, rest := a.Adopt(&b)
	if len(rest) != 1 || rest[0] != "loops" {
		t.Errorf("left over: got %v, want loops alone", rest)
	}
	if a.Loop.MessageBytesMax != 2<<10 || a.Loop.SlowTurn != -1 || a.StopTimeout != time.Second {
		t.Errorf("got %+v, want the other's values", a)
	}
	if n := len(a.Changeable()); n < 24 {
		t.Errorf("settings that a reload can change: got %d, want every limit", n)
	}
}
