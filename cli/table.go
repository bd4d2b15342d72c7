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
	head := make([]string, len(t.columns))
	for i, c := range t.columns {
		head[i] = c.title
	}
	lines := append([][]string{head}, t.rows...)
	if t.sum != nil {
		lines = append(lines, t.sum)
	}
	for _, line := range lines {
		for i, cell := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	total := len(columnGap) * (len(widths) - 1)
	for _, w := range widths {
		total += w
	}
	rule := strings.Repeat("-", max(total, t.least)) + "\n"

	var b strings.Builder
	t.line(&b, head, widths)
	b.WriteString(rule)
	for _, row := range t.rows {
		t.line(&b, row, widths)
	}
	if t.sum != nil {
		b.WriteString(rule)
		t.line(&b, t.sum, widths)
	}
	return b.String()
}

func (t *table) line(b *strings.Builder, cells []string, widths []int) {
	var line strings.Builder
	for i, cell := range cells {
		if i > 0 {
			line.WriteString(columnGap)
		}
		fill := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
		if t.columns[i].right {
			line.WriteString(fill + cell)
		} else {
			line.WriteString(cell + fill)
		}
	}
	b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
}

// titled is a line with a title in the middle, the head of a part: ---- ringcast ----.
func titled(title string, width int) string {
	left := max(0, width-len(title)-2) / 2
	right := max(0, width-len(title)-2-left)
	return strings.Repeat("-", left) + " " + title + " " + strings.Repeat("-", right) + "\n"
}
