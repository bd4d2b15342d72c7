package report

import "math"

// Verdicts on a difference.
const (
	verdictFaster    = "faster"
	verdictSlower    = "slower"
	verdictLess      = "less memory"
	verdictMore      = "more memory"
	verdictNoise     = "no difference beyond noise"
	verdictTooFew    = "too few rounds to tell"
	verdictMachine   = "another machine: no verdict"
	verdictLoad      = "another load: no verdict"
	verdictYardstick = "the yardstick"
)

const (
	// roundsMin: from two rounds it cannot be known how far a third would be from them.
	roundsMin = 3
	// ranksMin: with fewer rounds than this on a side, ranks cannot be rarer than 1 in 35 by chance (4 against 4), so that
	// a test with chanceMax would never find a difference.
	ranksMin = 5
	// chanceMax is how often equal servers may be called different. Stricter than the usual 0.05, because a comparison
	// asks for dozens of figures at once and one in twenty of them would be a false alarm.
	chanceMax = 0.01
	// ratioMin: the same program, linked in another order, differs by 1 to 3 %. That is real and repeatable, but meaningless.
	ratioMin = 1.03
	// roundsTested bounds the work of the test, which grows with the fourth power. More rounds than this add nothing.
	roundsTested = 40
)

// differs says whether two sets of rounds differ by more than noise. With ranksMin rounds on both sides by an exact
// test of ranks (Mann-Whitney), which assumes nothing about the distribution of the noise; a t-test would assume a normal
// distribution, but the noise of a busy machine is a tail on one side. With 3 or 4 rounds all of one side must lie
// beyond all of the other: by chance alone that is 1 in 10 (3 against 3), 1 in 35 (4 against 4), so it is a hint to run
// more rounds rather than a proof. In both cases the medians must be ratioMin apart.
func differs(before, after spread) bool {
	ratio := after.median() / before.median()
	if math.Max(ratio, 1/ratio) < ratioMin {
		return false
	}
	if min(len(before), len(after)) < ranksMin {
		return before.most() < after.least() || after.most() < before.least()
	}
	return chance(thinned(before), thinned(after)) <= chanceMax
}

// thinned selects roundsTested values, evenly from the lowest to the highest.
func thinned(s spread) spread {
	if len(s) <= roundsTested {
		return s
	}
	few := make(spread, roundsTested)
	for i := range few {
		few[i] = s[i*(len(s)-1)/(roundsTested-1)]
	}
	return few
}

// chance is the share of all ways to deal the values to two sides in which the ranks of the first sum up to something
// at least as far from the middle as they do here. It is exact with equal values as well.
func chance(a, b spread) float64 {
	ranks, sum := doubledRanks(a, b)
	total := 0
	for _, r := range ranks {
		total += r
	}
	// ways[n][s]: in how many ways n of the ranks seen so far sum up to s. As float64: 80 over 40 is beyond 64 bits, and
	// only shares are wanted.
	ways := make([][]float64, len(a)+1)
	for n := range ways {
		ways[n] = make([]float64, total+1)
	}
	ways[0][0] = 1
	for _, r := range ranks {
		for n := len(a); n > 0; n-- {
			for s := total; s >= r; s-- {
				ways[n][s] += ways[n-1][s-r]
			}
		}
	}
	var all, far float64
	// The middle is total × len(a)/len(ranks); both sides of the comparison are multiplied by len(ranks).
	distance := func(s int) int { return max(s*len(ranks)-total*len(a), total*len(a)-s*len(ranks)) }
	for s, n := range ways[len(a)] {
		all += n
		if distance(s) >= distance(sum) {
			far += n
		}
	}
	return far / all
}

// doubledRanks are the ranks of all values, times two so that equal ones can share the mean of their ranks, and the sum
// of a's.
func doubledRanks(a, b spread) (ranks []int, sum int) {
	rank := func(v float64) int {
		below, equal := 0, 0
		for _, side := range []spread{a, b} {
			for _, w := range side {
				if w < v {
					below++
				} else if w == v {
					equal++
				}
			}
		}
		return 2*below + equal + 1
	}
	for _, v := range a {
		ranks = append(ranks, rank(v))
		sum += rank(v)
	}
	for _, v := range b {
		ranks = append(ranks, rank(v))
	}
	return ranks, sum
}

// judge is the verdict on the rounds of a figure before and after.
func judge(f figure, before, after spread) string {
	if min(len(before), len(after)) < roundsMin {
		return verdictTooFew
	}
	if !differs(before, after) {
		return verdictNoise
	}
	grew := after.median() > before.median()
	switch {
	case f.bytes && grew:
		return verdictMore
	case f.bytes:
		return verdictLess
	case grew == f.more:
		return verdictFaster
	}
	return verdictSlower
}
