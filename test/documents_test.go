package test

import (
	"regexp"
	"strings"
	"testing"
)

// The documents for users, held against the program.

// optionOf finds the flags in a help text, with their defaults where it shows one.
var optionOf = regexp.MustCompile(`(?m)^\s+(?:-\w, )?--([a-z-]+)(?:="([^"]*)")?`)

// optionRow is a row of the tables of options in docs/operating.md.
type optionRow struct {
	byDefault string
	reload    bool // the table says that a reload changes it
}

func optionRows(t *testing.T) map[string]optionRow {
	t.Helper()
	rows := map[string]optionRow{}
	for line := range strings.Lines(document(t, "docs/operating.md")) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "| `--") {
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.Trim(strings.TrimSpace(cells[i]), "`")
		}
		if len(cells) != 4 || cells[2] != "" && cells[2] != "yes" || cells[3] == "" {
			t.Errorf("docs/operating.md: got %q, want an option, its default, yes or nothing, and what it does", line)
			continue
		}
		name := strings.TrimPrefix(cells[0], "--")
		if _, twice := rows[name]; twice {
			t.Errorf("docs/operating.md: got two rows of --%s, want one", name)
		}
		rows[name] = optionRow{cells[1], cells[2] == "yes"}
	}
	return rows
}

// The tables of options in docs/operating.md are held against start --help and a running server: each option has one row
// with its default, and a reload changes those, and only those, of which the row says so.
func TestReadmeHasEveryOptionOfStartWithItsDefault(t *testing.T) {
	t.Parallel()
	rows := optionRows(t)
	help := run("start", "--help").stdout
	settings := start(t).settings() // what a reload can change, by default here
	flags := map[string]bool{}
	for _, m := range optionOf.FindAllStringSubmatch(help, -1) {
		name, want := m[1], m[2]
		if name == "help" {
			continue
		}
		flags[name] = true
		row, listed := rows[name]
		if !listed {
			t.Errorf("docs/operating.md: got no row of --%s, want every option of start", name)
			continue
		}
		setting, changes := settings[name]
		if changes && want == "" {
			if want = setting; want == "" {
				want = "none"
			}
		}
		if want != "" && row.byDefault != want || row.byDefault == "" {
			t.Errorf("docs/operating.md, default of --%s: got %q, want %q as in start --help", name, row.byDefault, want)
		}
		if row.reload != changes {
			t.Errorf("docs/operating.md, reload of --%s: got %v, want %v as in the settings of status --json", name, row.reload, changes)
		}
		if variable := "$RINGCAST_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_")); !strings.Contains(help, "("+variable+")") {
			t.Errorf("start --help has no %s: docs/operating.md says that each option is such a variable", variable)
		}
	}
	for name := range rows {
		if !flags[name] {
			t.Errorf("docs/operating.md has --%s, which start --help does not know", name)
		}
	}
	if len(flags) < 40 {
		t.Errorf("start --help: got %d options, want all of them", len(flags))
	}
}
