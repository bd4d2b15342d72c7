package report

import (
	"math"
	"strconv"
)

// evenTicks are about n round numbers from 0 to most.
func evenTicks(most float64, n int) (ticks []float64) {
	rough := most / float64(n)
	power := math.Pow(10, math.Floor(math.Log10(rough)))
	step := power
	for _, factor := range []float64{1, 2, 5, 10} {
		if step = factor * power; step >= rough {
			break
		}
	}
	for i := 0; float64(i)*step <= most; i++ {
		ticks = append(ticks, float64(i)*step)
	}
	return ticks
}

// logTicks are 1, 2 and 5 of each power of ten, or the powers alone where there are many.
func logTicks(least, most float64) (ticks []float64) {
	factors := []float64{1, 2, 5}
	if most > 1e4*least {
		factors = []float64{1}
	}
	for power := math.Pow(10, math.Floor(math.Log10(least))); power <= most; power *= 10 {
		for _, factor := range factors {
			if tick := factor * power; tick >= least && tick <= most {
				ticks = append(ticks, tick)
			}
		}
	}
	return ticks
}

// tickText writes a round number as short as possible.
func tickText(v float64) string {
	switch {
	case v >= 1e6:
		return strconv.FormatFloat(v/1e6, 'g', 4, 64) + "M"
	case v >= 1e3:
		return strconv.FormatFloat(v/1e3, 'g', 4, 64) + "k"
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}
