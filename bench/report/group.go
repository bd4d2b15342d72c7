package report

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
)

// group is all runs of one load.
type group struct {
	load    string
	opening bool   // the load is connect's
	coming  bool   // it is resume's
	posting bool   // it is post's
	many    bool   // it is cluster's
	sized   bool   // it is one of those of sizes
	rows    []*row // ceilings first, then by server CPU
	ceiling *row   // the form that costs the least under this load; nil: none was run, or none passed
}

// row is all runs of one server under one load.
type row struct {
	server string
	fine   []*Run // whose figures count: the speed of a server that loses messages means nothing
	faulty []*Run
	group  *group
}

// groups sorts a file's runs. Loads are in the order in which they were first run.
func groups(f *File) []*group {
	var all []*group
	for _, r := range f.Runs {
		name := r.loadName()
		at := slices.IndexFunc(all, func(g *group) bool { return g.load == name })
		if at < 0 {
			at, all = len(all), append(all, &group{load: name, opening: r.Connect != nil, coming: r.Resume != nil, posting: r.Post != nil, many: r.Cluster != nil, sized: r.Verb == "sizes"})
		}
		w := all[at].row(r.Server)
		if w == nil {
			w = &row{server: r.Server, group: all[at]}
			all[at].rows = append(all[at].rows, w)
		}
		if r.Fine {
			w.fine = append(w.fine, r)
		} else {
			w.faulty = append(w.faulty, r)
		}
	}
	for _, g := range all {
		slices.SortStableFunc(g.rows, func(a, b *row) int {
			if a.isCeiling() != b.isCeiling() {
				if a.isCeiling() {
					return -1
				}
				return 1
			}
			return compareCosts(a.values(g.cpu()).median(), b.values(g.cpu()).median())
		})
		g.ceiling = g.leastCeiling(func(*row) bool { return true })
	}
	return all
}

// compareCosts puts what was not measured last.
func compareCosts(a, b float64) int {
	if math.IsNaN(a) || math.IsNaN(b) {
		return cmp.Compare(b2i(math.IsNaN(a)), b2i(math.IsNaN(b)))
	}
	return cmp.Compare(a, b)
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// leastCeiling is the first ceiling with a figure among the allowed ones; rows are sorted by it.
func (g *group) leastCeiling(may func(*row) bool) *row {
	for _, w := range g.rows {
		if w.isCeiling() && len(w.values(g.cpu())) > 0 && may(w) {
			return w
		}
	}
	return nil
}

// cpu is the figure by which servers are ordered: on shared cores the fairest one.
func (g *group) cpu() figure {
	switch {
	case g.opening:
		return cpuPerOpening
	case g.coming:
		return cpuPerRecovery
	case g.posting:
		return cpuPerPost
	case g.many:
		return cpuPerOrdered
	}
	return cpuPerDelivery
}

func (g *group) row(server string) *row {
	for _, w := range g.rows {
		if w.server == server {
			return w
		}
	}
	return nil
}

// openLoop says whether messages came at a rate that the bench chose.
func (g *group) openLoop() bool {
	for _, w := range g.rows {
		for _, r := range w.runs() {
			if rate, _ := r.Flags["rate"].(float64); rate > 0 {
				return true
			}
		}
	}
	return false
}

// wired says whether bytes on the wire are of interest.
func (g *group) wired() bool {
	for _, w := range g.rows {
		if slices.ContainsFunc(w.runs(), func(r *Run) bool { return r.flag("tls") != "" || r.flag("compression") != "" }) {
			return true
		}
	}
	return false
}

func (w *row) isCeiling() bool { return isCeiling(w.server) }
func (w *row) runs() []*Run    { return slices.Concat(w.fine, w.faulty) }

// values are a figure's good ones.
func (w *row) values(f figure) spread {
	good, _ := w.split(f)
	return good
}

// split sorts the rounds' values into good ones and void ones.
func (w *row) split(f figure) (good, void spread) {
	for _, r := range w.fine {
		switch v := f.of(r); {
		case math.IsNaN(v):
		case f.void != nil && f.void(r):
			void = append(void, v)
		default:
			good = append(good, v)
		}
	}
	return newSpread(good), newSpread(void)
}

// shares are a figure's good values as multiples of a ceiling's. A value is divided by that of the same round, since
// rounds are run in turns and a machine that was slow for a while was slow for both; where the ceiling has no such
// round, by the ceiling's median.
func (w *row) shares(f figure, ceiling *row) spread {
	if ceiling == nil {
		return nil
	}
	beside := map[int]float64{}
	for _, r := range ceiling.fine {
		if v := f.of(r); r.Round > 0 && !math.IsNaN(v) && (f.void == nil || !f.void(r)) {
			beside[r.Round] = v
		}
	}
	all := ceiling.values(f)
	if len(all) == 0 {
		return nil
	}
	var shares spread
	for _, r := range w.fine {
		v := f.of(r)
		if math.IsNaN(v) || f.void != nil && f.void(r) {
			continue
		}
		by, ok := beside[r.Round]
		if !ok {
			by = all.median()
		}
		shares = append(shares, v/by)
	}
	return newSpread(shares)
}

// loadName distinguishes loads: its name in a comparison, else its flags.
func (r *Run) loadName() string {
	switch {
	case r.Load != "":
		return r.Load
	case r.Connect != nil:
		return fmt.Sprintf("%s%s, %s clients, %s groups", r.Verb, r.dialectText(), r.flag("clients"), r.flag("groups"))
	}
	return r.Verb + r.loadText()
}

// flag is a flag's value as it was typed. A number that went through a file is a float64, which %v would write as 1e+06.
func (r *Run) flag(name string) string {
	switch v := r.Flags[name].(type) {
	case nil:
		return ""
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	default:
		return fmt.Sprint(v)
	}
}

// lengths are the flags that say how long a load lasts, not what it is.
var lengths = []string{"time", "hold", "messages"}

// differing names the flags in which two runs differ.
func differing(a, b *Run) (load, length []string) {
	for _, name := range sortedKeys(merged(a.Flags, b.Flags)) {
		switch {
		case a.flag(name) == b.flag(name):
		case slices.Contains(lengths, name):
			length = append(length, name)
		default:
			load = append(load, name)
		}
	}
	return load, length
}

func merged(a, b map[string]any) map[string]any {
	all := maps.Clone(b)
	if all == nil {
		all = map[string]any{}
	}
	maps.Copy(all, a)
	return all
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
