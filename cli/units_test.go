package cli

import (
	"testing"
	"time"
)

func TestTimesAreWrittenShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		900 * time.Millisecond: "0s", 70 * time.Second: "1m 10s", 3*time.Hour + time.Second: "3h 0m 1s", 49*time.Hour + time.Minute: "2d 1h 1m",
	} {
		if got := uptimeText(d); got != want {
			t.Errorf("uptimeText(%v): got %q, want %q", d, got, want)
		}
	}
}

func TestCountsAreGrouped(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1,000", 1234567: "1,234,567", -1000: "-1,000", -100: "-100"} {
		if got := countText(n); got != want {
			t.Errorf("countText(%d): got %q, want %q", n, got, want)
		}
	}
}
