package report

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
)

// Comparison is the change of each server and load that two files have in common.
type Comparison struct {
	Warnings    []string     `json:"warnings"` // what a reader must know before the figures
	Differences []Difference `json:"differences"`
}

// Difference is one figure before and after.
type Difference struct {
	Load   string  `json:"load"`
	Server string  `json:"server"`
	Figure string  `json:"figure"` // with its unit
	Before float64 `json:"before"` // medians of the rounds
	After  float64 `json:"after"`
	Ratio  float64 `json:"ratio"` // after/before
	// ShareRatio is the ratio of the multiples of the ceiling, which each file measured beside the server: it does not depend
	// on the machine. 0: a ceiling is missing or void. If it is not 0 the verdict is about it.
	ShareRatio   float64 `json:"ratio_of_multiples_of_the_ceiling,omitempty"`
	RoundsBefore int     `json:"rounds_before"`
	RoundsAfter  int     `json:"rounds_after"`
	Verdict      string  `json:"verdict"`

	before, after spread
}

// Compare compares a file with an earlier one. Figures of runs that failed the check or were void are left out of both.
func Compare(before, after *File) *Comparison {
	c := &Comparison{Warnings: []string{}, Differences: []Difference{}}
	foreign := c.machines(before, after)
	old, now := groups(before), groups(after)
	for _, g := range old {
		c.faults("before", g)
	}
	for _, g := range now {
		c.faults("after", g)
	}
	for _, b := range old {
		at := slices.IndexFunc(now, func(g *group) bool { return g.load == b.load })
		if at < 0 {
			c.warn("%s: only before", b.load)
			continue
		}
		c.group(b, now[at], foreign)
	}
	for _, a := range now {
		if !slices.ContainsFunc(old, func(g *group) bool { return g.load == a.load }) {
			c.warn("%s: only after", a.load)
		}
	}
	return c
}

func (c *Comparison) warn(format string, args ...any) {
	c.Warnings = append(c.Warnings, fmt.Sprintf(format, args...))
}

// machines warns of differences in the machine, the tree and the like, and says whether the machines differ.
func (c *Comparison) machines(before, after *File) (foreign bool) {
	a, b := before.Machine, after.Machine
	if a.CPU != b.CPU || a.Cores != b.Cores {
		foreign = true
		c.warn("different machines (%s, %d cores; %s, %d cores): only multiples of the ceiling compare", a.CPU, a.Cores, b.CPU, b.Cores)
	}
	if a.Memory != b.Memory {
		c.warn("memory differs: %.1f GB, %.1f GB", float64(a.Memory)/1e9, float64(b.Memory)/1e9)
	}
	if a.Kernel != b.Kernel {
		c.warn("kernels differ: %s, %s", a.Kernel, b.Kernel)
	}
	if a.Go != b.Go {
		c.warn("the bench was built by different versions of Go: %s, %s", a.Go, b.Go)
	}
	return foreign
}

func (c *Comparison) faults(when string, g *group) {
	for _, text := range g.faults() {
		c.warn("%s: %s: %s", when, g.load, text)
	}
}

func (c *Comparison) group(before, after *group, foreign bool) {
	// The yardstick has to be the same form on both sides.
	oldCeiling := before.leastCeiling(func(w *row) bool { a := after.row(w.server); return a != nil && len(a.fine) > 0 })
	var ceiling *row
	if oldCeiling != nil {
		ceiling = after.row(oldCeiling.server)
	}
	pairs := paired(before, after)
	for _, p := range pairs {
		w, a := p[0], p[1]
		name := w.server
		if a.server != name {
			name += " → " + a.server
		}
		load, length := differing(w.runs()[0], a.runs()[0])
		if names := slices.Concat(load, length); len(names) > 0 {
			c.warn("%s, %s: flags differ: %s", before.load, name, flagsText(w.runs()[0], a.runs()[0], names))
		}
		for _, f := range compared {
			if f.name == deliveries.name && (before.openLoop() || after.openLoop()) {
				continue // it is what was asked for
			}
			old, oldVoid := w.split(f)
			now, nowVoid := a.split(f)
			if f.floor && len(oldVoid)+len(nowVoid) > 0 {
				c.warn("%s, %s: %s is not compared, the generator was the limit of some rounds", before.load, name, f.name)
				continue // the remaining ones would be those in which the server happened to be slow
			}
			if len(old) == 0 || len(now) == 0 {
				continue
			}
			d := Difference{Load: before.load, Server: name, Figure: f.name, Before: old.median(), After: now.median(),
				Ratio: now.median() / old.median(), RoundsBefore: len(old), RoundsAfter: len(now), before: old, after: now}
			oldShare, share := w.shares(f, oldCeiling), a.shares(f, ceiling)
			onShare := !w.isCeiling() && !f.bytes && len(oldShare) > 0 && len(share) > 0
			if onShare {
				d.ShareRatio = share.median() / oldShare.median()
			}
			switch {
			case len(load) > 0:
				d.Verdict = verdictLoad
			case w.isCeiling():
				d.Verdict = verdictYardstick
				if verdict := judge(f, old, now); !foreign && f.name == before.cpu().name && (verdict == verdictFaster || verdict == verdictSlower) {
					c.warn("%s: %s itself is %s (%s ×): the machine was not in the same state, believe only multiples of the ceiling",
						before.load, name, verdict, digits(d.Ratio))
				}
			case onShare:
				d.Verdict = judge(f, oldShare, share)
			case foreign && !f.bytes:
				d.Verdict = verdictMachine
			default:
				d.Verdict = judge(f, old, now)
			}
			c.Differences = append(c.Differences, d)
		}
	}
	for _, w := range before.rows {
		if !slices.ContainsFunc(pairs, func(p [2]*row) bool { return p[0] == w }) {
			c.warn("%s, %s: only before", before.load, w.server)
		}
	}
	for _, w := range after.rows {
		if !slices.ContainsFunc(pairs, func(p [2]*row) bool { return p[1] == w }) {
			c.warn("%s, %s: only after", after.load, w.server)
		}
	}
}

// paired are the servers that are in both. A single verb names its server by URL, whose port does not tell which server it
// is: if each side has one of these, they are assumed to be the same.
func paired(before, after *group) (pairs [][2]*row) {
	for _, w := range before.rows {
		if a := after.row(w.server); a != nil {
			pairs = append(pairs, [2]*row{w, a})
		}
	}
	byURL := func(w *row) bool { return strings.Contains(w.server, "://") }
	is := func(g *group) *row {
		only := slices.DeleteFunc(slices.Clone(g.rows), func(w *row) bool { return !byURL(w) })
		if len(only) != 1 {
			return nil
		}
		return only[0]
	}
	if b, a := is(before), is(after); b != nil && a != nil && b.server != a.server {
		pairs = append(pairs, [2]*row{b, a})
	}
	return pairs
}

func flagsText(a, b *Run, names []string) string {
	parts := make([]string, len(names))
	for i, name := range names {
		parts[i] = fmt.Sprintf("%s %s → %s", name, orNone(a.flag(name)), orNone(b.flag(name)))
	}
	return strings.Join(parts, ", ")
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// Text is the comparison for people to read.
func (c *Comparison) Text() string { return c.in(textStyle) }

// Markdown is Text for a page.
func (c *Comparison) Markdown() string { return c.in(markdownStyle) }

// JSON writes the comparison for programs.
func (c *Comparison) JSON(w io.Writer) error { return indented(w, c) }

func (c *Comparison) in(s style) string {
	var b strings.Builder
	for _, w := range c.Warnings {
		b.WriteString(s.loud(w))
	}
	if len(c.Differences) == 0 {
		b.WriteString(s.remark("The files have no figure in common."))
		return b.String()
	}
	for at := 0; at < len(c.Differences); {
		load := c.Differences[at].Load
		cells := [][]string{{"server", "figure", "before", "after", "after/before", "the same × ceiling", "rounds", "verdict"}}
		server := ""
		for ; at < len(c.Differences) && c.Differences[at].Load == load; at++ {
			d := c.Differences[at]
			name := d.Server
			if name == server {
				name = "" // once is enough
			}
			server = d.Server
			share := "–"
			if d.ShareRatio != 0 && !math.IsNaN(d.ShareRatio) {
				share = digits(d.ShareRatio)
			}
			cells = append(cells, []string{name, d.Figure, d.before.String(), d.after.String(), digits(d.Ratio), share,
				fmt.Sprintf("%d, %d", d.RoundsBefore, d.RoundsAfter), d.Verdict})
		}
		if b.Len() > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(s.heading(load))
		b.WriteString(s.table(cells))
	}
	b.WriteByte('\n')
	for _, remark := range []string{
		"Medians (least–most) of the rounds that passed the check. Where both files have the multiple of the ceiling, the verdict is about that.",
		fmt.Sprintf("A difference needs %d rounds on both sides, %.0f %% between the medians, and ranges that do not overlap; from %d rounds on a test of ranks instead.",
			roundsMin, 100*(ratioMin-1), ranksMin),
		fmt.Sprintf("That test calls equal servers different in up to 1 of %.0f figures. Here are %d.", 1/chanceMax, len(c.Differences)),
	} {
		b.WriteString(s.remark(remark))
	}
	return b.String()
}
