package cli

import (
	"strings"
	"unicode/utf8"
)

// table is text in columns: a head, rows, and when set a sum below a rule.
type table struct {
	columns []column
	rows    [][]string
	sum     []string
	least   int // width below which rules are not drawn, so that a small table fits its surroundings
}

// column is one column's title; numbers stand to the right so that their digits line up.
type column struct {
	title string
	right bool
}

const columnGap = "  "

// text lays the table out; every line ends with a newline and has no spaces before it.
func (t *table) text() string {
	widths := make([]int, len(t.columns))
	for i, c := range t.columns {
		widths[i] = utf8.RuneCountInString(c.title)
	}
	lines := t.rows
	if t.sum != nil {
		lines = append(lines[:len(lines):len(lines)], t.sum)
	}
	for _, line := range lines {
		for i, cell := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	b.WriteString(t.head(widths))
	for _, row := range t.rows {
		b.WriteString(t.line(row, widths))
	}
	if t.sum != nil {
		b.WriteString(t.rule(widths))
		b.WriteString(t.line(t.sum, widths))
	}
	return b.String()
}

// head is the titles and a rule.
func (t *table) head(widths []int) string {
	titles := make([]string, len(t.columns))
	for i, c := range t.columns {
		titles[i] = c.title
	}
	return t.line(titles, widths) + t.rule(widths)
}

func (t *table) rule(widths []int) string {
	total := len(columnGap) * (len(widths) - 1)
	for _, w := range widths {
		total += w
	}
	return strings.Repeat("-", max(total, t.least)) + "\n"
}

// line is a row. A cell that is wider than its column moves those behind it.
func (t *table) line(cells []string, widths []int) string {
	var line strings.Builder
	for i, cell := range cells {
		if i > 0 {
			line.WriteString(columnGap)
		}
		fill := strings.Repeat(" ", max(0, widths[i]-utf8.RuneCountInString(cell)))
		if t.columns[i].right {
			line.WriteString(fill + cell)
		} else {
			line.WriteString(cell + fill)
		}
	}
	return strings.TrimRight(line.String(), " ") + "\n"
}

// titled is a line with a title in the middle, the head of a part: ---- ringcast ----.
func titled(title string, width int) string {
	left := max(0, width-len(title)-2) / 2
	right := max(0, width-len(title)-2-left)
	return strings.Repeat("-", left) + " " + title + " " + strings.Repeat("-", right) + "\n"
}
