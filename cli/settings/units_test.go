package settings

import (
	"testing"
	"time"
)

func TestSizesAreReadAndWritten(t *testing.T) {
	for _, c := range []struct {
		text string
		want int64
	}{
		{"0", 0}, {"65536", 65536}, {"64KiB", 64 << 10}, {"64 kib", 64 << 10}, {"1MiB", 1 << 20}, {"2GiB", 2 << 30}, {"7B", 7},
	} {
		got, err := parseSize(c.text)
		if err != nil || got != c.want {
			t.Errorf("parseSize(%q): got %d, %v, want %d", c.text, got, err, c.want)
		}
	}
	for _, text := range []string{"", "B", "KiB", "1KB", "1M", "-1", "1.5MiB", "0x10", "9223372036854775807KiB", "1MiBB", "1 2"} {
		if got, err := parseSize(text); err == nil {
			t.Errorf("parseSize(%q): got %d, want an error", text, got)
		}
	}
	for _, c := range []struct {
		n    int64
		want string
	}{{0, "0B"}, {1023, "1023B"}, {1 << 10, "1KiB"}, {1536, "1.5KiB"}, {64 << 20, "64MiB"}, {1<<30 + 1<<29, "1.5GiB"}} {
		if got := SizeText(c.n); got != c.want {
			t.Errorf("SizeText(%d): got %q, want %q", c.n, got, c.want)
		}
	}
}

func TestTimesAreWrittenShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 90 * time.Second: "1m30s", 10 * time.Minute: "10m", 24 * time.Hour: "24h", 100 * time.Millisecond: "100ms",
	} {
		if got := DurationText(d); got != want {
			t.Errorf("DurationText(%v): got %q, want %q", d, got, want)
		}
	}
}
