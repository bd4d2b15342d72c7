package order

import "testing"

func TestAStampOutlivesTheRoundOfItsClock(t *testing.T) {
	for _, c := range []struct{ from, to, want int64 }{
		{5 << 10, 9 << 10, 4 << 10},
		{9 << 10, 5 << 10, -4 << 10}, // the loops' clocks are one, but a callback may have begun before the message came
		{(1<<32 - 2) << 10, (1<<32 + 3) << 10, 5 << 10},
	} {
		if got := StampOf(c.from).Until(c.to); got != c.want {
			t.Errorf("from %d to %d: got %d, want %d", c.from, c.to, got, c.want)
		}
	}
}
