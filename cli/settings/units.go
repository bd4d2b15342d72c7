package settings

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// sizeUnits from the largest. Only binary units: KB and M mean 1000 to some and 1024 to others.
var sizeUnits = []struct {
	name  string
	bytes int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

var errSize = errors.New("not a size")

// parseSize reads a whole number of bytes, with or without a unit: 65536, 64KiB, 64 kib.
func parseSize(text string) (int64, error) {
	number, factor := text, int64(1)
	for _, unit := range sizeUnits {
		if at := len(text) - len(unit.name); at > 0 && strings.EqualFold(text[at:], unit.name) {
			number, factor = strings.TrimRight(text[:at], " "), unit.bytes
			break
		}
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n < 0 || n > math.MaxInt64/factor {
		return 0, errSize
	}
	return n * factor, nil
}

// SizeText writes a size as parseSize reads it when it is a whole number of a unit, else rounded to a tenth.
func SizeText(n int64) string {
	for _, unit := range sizeUnits {
		if n < unit.bytes {
			continue
		}
		if n%unit.bytes == 0 {
			return fmt.Sprintf("%d%s", n/unit.bytes, unit.name)
		}
		return fmt.Sprintf("%.1f%s", float64(n)/float64(unit.bytes), unit.name)
	}
	return strconv.FormatInt(n, 10) + "B"
}

// DurationText is Duration.String without trailing zero units: 24h, not 24h0m0s.
func DurationText(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
