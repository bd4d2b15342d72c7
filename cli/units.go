package cli

import (
	"fmt"
	"strings"
	"time"
)

// uptimeText says how long something has run, in the two or three largest units: 3d 4h 5m, 4m 10s.
func uptimeText(d time.Duration) string {
	s := int64(d / time.Second)
	switch {
	case s >= 24*3600:
		return fmt.Sprintf("%dd %dh %dm", s/86400, s/3600%24, s/60%60)
	case s >= 3600:
		return fmt.Sprintf("%dh %dm %ds", s/3600, s/60%60, s%60)
	case s >= 60:
		return fmt.Sprintf("%dm %ds", s/60, s%60)
	default:
		return fmt.Sprintf("%ds", s)
	}
}

// countText writes a number in groups of three digits: 1,234,567.
func countText[N int | int64 | uint64](n N) string {
	digits := fmt.Sprint(n)
	sign := ""
	if digits[0] == '-' {
		sign, digits = "-", digits[1:]
	}
	var b strings.Builder
	b.WriteString(sign)
	for i, digit := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(digit)
	}
	return b.String()
}
