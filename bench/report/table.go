package report

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Table is a file as text: for each load a table with a line per server, the cheapest first. Figures are medians of the
// rounds with their range. Runs that failed the check are listed and not part of any figure.
func Table(f *File) string { return f.tables(textStyle) }

// Markdown is Table for a page.
func Markdown(f *File) string { return f.tables(markdownStyle) }

// style is how a report is written: its headings, its tables, its remarks.
type style struct {
	heading func(string) string
	table   func(cells [][]string) string
	remark  func(string) string
	loud    func(string) string
	command func(string) string
}

var textStyle = style{
	heading: func(s string) string { return s + "\n" },
	table:   alignedTable,
	remark:  func(s string) string { return "  " + s + "\n" },
	loud:    func(s string) string { return "!! " + s + "\n" },
	command: func(s string) string { return s + "\n" },
}

var markdownStyle = style{
	heading: func(s string) string { return "#### " + s + "\n\n" },
	table:   markdownTable,
	remark:  func(s string) string { return "- " + inCell(s) + "\n" },
	loud:    func(s string) string { return "- **" + inCell(s) + "**\n" },
	command: func(s string) string { return "`" + strings.ReplaceAll(s, "`", "'") + "`\n" },
}

func (f *File) tables(s style) string {
	var b strings.Builder
	b.WriteString(f.machineText() + "\n")
	if s.command("") != "\n" {
		b.WriteByte('\n') // a paragraph of its own
	}
	b.WriteString(s.command(f.commandText()))
	if cells := savingCells(savings(f)); cells != nil {
		b.WriteByte('\n')
		b.WriteString(s.heading("What compression saves, by the size of messages"))
		b.WriteString(s.table(cells))
	}
	for _, g := range groups(f) {
		b.WriteByte('\n')
		b.WriteString(s.heading(g.load))
		b.WriteString(s.table(g.cells()))
		remarks, faults := g.remarks(), g.faults()
		if len(remarks)+len(faults) > 0 {
			b.WriteByte('\n')
		}
		for _, fault := range faults {
			b.WriteString(s.loud(fault))
		}
		for _, remark := range remarks {
			b.WriteString(s.remark(remark))
		}
	}
	return b.String()
}

// machineText describes the machine; no figure may be quoted without it.
func (f *File) machineText() string {
	m := f.Machine
	parts := []string{m.CPU, fmt.Sprintf("%d cores", m.Cores), fmt.Sprintf("%.1f GB", float64(m.Memory)/1e9), strings.TrimSuffix("Linux "+m.Kernel, "Linux "), m.Go,
		f.Started.UTC().Format("2006-01-02")}
	if f.Commit != "" {
		revision, changes, changed := strings.Cut(f.Commit, "+")
		if changed {
			changes = "+" + changes
		}
		parts = append(parts, "commit "+revision[:min(len(revision), 12)]+changes)
	}
	return strings.Join(slices.DeleteFunc(parts, func(p string) bool { return p == "" }), ", ")
}

func (f *File) commandText() string { return "go run ./bench " + f.Command }

// cells are a group's table, the heading first. Columns without any value are left out.
func (g *group) cells() [][]string {
	heading, cells := []string{"server"}, make([][]string, len(g.rows))
	for i, w := range g.rows {
		cells[i] = []string{w.server}
	}
	column := func(name string, cell func(*row) string) {
		heading = append(heading, name)
		for i, w := range g.rows {
			cells[i] = append(cells[i], cell(w))
		}
	}
	for _, f := range g.tabled() {
		if !slices.ContainsFunc(g.rows, func(w *row) bool { good, void := w.split(f); return len(good)+len(void) > 0 }) {
			continue
		}
		column(f.name, func(w *row) string { return w.cell(f) })
		if (f.name == g.cpu().name || f.name == latencyTail.name || f.name == posted.name || f.name == ordered.name || f.name == ackMedian.name && g.many) && g.ceiling != nil {
			column("× ceiling", func(w *row) string { return w.shares(f, g.ceiling).String() })
		}
	}
	column("check", (*row).check)
	return append([][]string{heading}, cells...)
}

// cell is a figure as a table has it.
func (w *row) cell(f figure) string {
	good, void := w.split(f)
	switch {
	case len(void) == 0:
		return good.String()
	case f.floor:
		// Each round is a lower bound, so their median is a lower bound of the server's median. Dropping the void rounds
		// instead would keep those in which the server happened to be slow.
		return "≥ " + newSpread(slices.Concat(good, void)).String() + " (VOID)"
	case len(good) == 0:
		return "(VOID)"
	}
	return good.String()
}

func (w *row) check() string {
	n := len(w.fine) + len(w.faulty)
	switch {
	case len(w.faulty) > 0:
		return fmt.Sprintf("FAULTY %d of %d", len(w.faulty), n)
	case n == 1:
		return "fine"
	}
	return fmt.Sprintf("fine × %d", n)
}

// faults names each run that failed the check.
func (g *group) faults() []string {
	var all []string
	for _, w := range g.rows {
		for _, r := range w.faulty {
			text := w.server
			if r.Round > 0 {
				text += fmt.Sprintf(", round %d", r.Round)
			}
			all = append(all, text+": "+r.faultText()+"; its figures are left out")
		}
	}
	return all
}

// faultText is a bad verdict with its counts.
func (r *Run) faultText() string {
	text := r.Verdict
	if !strings.HasPrefix(text, "FAULTY") {
		text = strings.TrimSuffix("FAULTY: "+text, ": ")
	}
	var parts []string
	for _, kind := range sortedKeys(r.Counts) {
		parts = append(parts, fmt.Sprintf("%s %s", Count(int64(r.Counts[kind])), kind))
	}
	for _, cause := range sortedKeys(r.Causes) {
		parts = append(parts, fmt.Sprintf("%s × %s", Count(int64(r.Causes[cause])), cause))
	}
	if len(parts) > 0 {
		text += " (" + strings.Join(parts, ", ") + ")"
	}
	return text
}

// remarks are what a reader of the table must know.
func (g *group) remarks() []string {
	var all []string
	rounds := map[int]bool{}
	var first *Run
	var load, length []string
	var rateVoids, latencyVoids, partly []string
	for _, w := range g.rows {
		rounds[len(w.runs())] = true
		for _, r := range w.runs() {
			if first == nil {
				first = r
			}
			a, b := differing(first, r)
			load, length = append(load, a...), append(length, b...)
		}
		if _, void := w.split(deliveries); len(void) > 0 {
			rateVoids = append(rateVoids, w.server)
		}
		if _, void := w.split(openings); len(void) > 0 {
			rateVoids = append(rateVoids, w.server)
		}
		tail := latencyTail
		switch {
		case g.coming:
			tail = answerTail
		case g.many:
			tail = ackTail
		}
		switch good, void := w.split(tail); {
		case len(void) == 0:
		case len(good) == 0:
			latencyVoids = append(latencyVoids, w.server)
		default:
			partly = append(partly, fmt.Sprintf("%s (%d of %d)", w.server, len(good), len(good)+len(void)))
		}
	}
	if len(rounds) == 1 && !rounds[1] {
		for n := range rounds {
			all = append(all, fmt.Sprintf("Medians of %d rounds (least–most).", n))
		}
	} else if len(rounds) > 1 {
		all = append(all, "Medians (least–most); the servers had different numbers of rounds.")
	}
	switch {
	case g.ceiling != nil:
		all = append(all, fmt.Sprintf("× ceiling: each round against that of %s, the least that a server can do here.", g.ceiling.server))
	case slices.ContainsFunc(g.rows, (*row).isCeiling):
		all = append(all, "The ceiling has no figure of its CPU here, so nothing is a multiple of it.")
	case g.many:
		all = append(all, "No bare engine was run beside this load: the figures are of this machine alone.")
	case g.coming:
		all = append(all, "Server CPU: of all that it did while members came back. No ceiling has a history.")
	default:
		all = append(all, "No ceiling was run beside this load: the figures are of this machine alone.")
	}
	if len(rateVoids) > 0 {
		all = append(all, "VOID, ≥: the generator was the limit, so the rate is a floor and not the server's: "+strings.Join(rateVoids, ", ")+".")
	}
	if len(latencyVoids) > 0 {
		all = append(all, "VOID latency: the generator was full or late, so the time is its own: "+strings.Join(latencyVoids, ", ")+".")
	}
	if len(partly) > 0 {
		all = append(all, "Latency without the rounds in which the generator was full or late: "+strings.Join(partly, ", ")+".")
	}
	if g.openLoop() && !g.coming && !g.many {
		all = append(all, "Open loop: deliveries/s is what was asked for, not what a server could do.")
	}
	if names := slices.Concat(load, length); len(names) > 0 {
		slices.Sort(names)
		all = append(all, "These runs had different flags: "+strings.Join(slices.Compact(names), ", ")+".")
	}
	return all
}

// alignedTable aligns the first column to the left, figures to the right.
func alignedTable(cells [][]string) string {
	var b strings.Builder
	widths := columnWidths(cells)
	for _, line := range cells {
		var t strings.Builder
		for i, cell := range line {
			if i == 0 {
				t.WriteString(padRight(cell, widths[i]))
			} else {
				t.WriteString("  " + padLeft(cell, widths[i]))
			}
		}
		b.WriteString(strings.TrimRight(t.String(), " ") + "\n")
	}
	return b.String()
}

// markdownTable is aligned too: it is read in the source as often as on the page.
func markdownTable(cells [][]string) string {
	escaped := make([][]string, len(cells))
	for i, line := range cells {
		for _, cell := range line {
			escaped[i] = append(escaped[i], inCell(cell))
		}
	}
	var b strings.Builder
	widths := columnWidths(escaped)
	for n, line := range escaped {
		for i, cell := range line {
			if i == 0 {
				b.WriteString("| " + padRight(cell, widths[i]) + " |")
			} else {
				b.WriteString(" " + padLeft(cell, widths[i]) + " |")
			}
		}
		b.WriteByte('\n')
		for i := range line {
			if n > 0 {
				break
			}
			if i == 0 {
				b.WriteString("|" + strings.Repeat("-", widths[i]+2) + "|")
			} else {
				b.WriteString(strings.Repeat("-", widths[i]+1) + ":|")
			}
		}
		if n == 0 {
			b.WriteByte('\n')
		}
	}
	return b.String()
}

// inCell escapes a text of a file so that it does not end a cell or a line.
func inCell(s string) string {
	return strings.NewReplacer("|", `\|`, "\n", " ", "\r", " ").Replace(s)
}

func columnWidths(cells [][]string) []int {
	widths := make([]int, len(cells[0]))
	for _, line := range cells {
		for i, cell := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	return widths
}

func padRight(s string, width int) string {
	return s + strings.Repeat(" ", width-utf8.RuneCountInString(s))
}

func padLeft(s string, width int) string {
	return strings.Repeat(" ", width-utf8.RuneCountInString(s)) + s
}
