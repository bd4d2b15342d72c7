package test

import (
	"encoding/json"
	"go/ast"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The tables of bounds in ARCHITECTURE.md §7 are what an operator and the next author believe. Here they are held against the
// program: its options, its counters, its tests.

// noBounds are settings that a reload can change and that are no row of the table, each with its reason.
var noBounds = map[string]string{
	"trusted-proxies": "says which proxies are trusted",
	"proxy-protocol":  "says how a proxy names the address of a client",
	"presence":        "says what can be asked of a group",
	"mode":            "says how messages are put in order, in a cluster",
	"join-leave":      "says who is told of comings and goings",
	"token-audience":  "says which tokens are good",
	"token-issuer":    "says which tokens are good",
	"hsts":            "says what browsers are told",
	"slow-client":     "says what happens at a bound, that of --outbox-max",
	"log-level":       "says what is logged",
}

// bound is a row of one of the tables.
type bound struct{ name, byDefault, option, what, counter, test string }

// boundsHead is how each of the tables begins; what stands between tables is for readers.
var boundsHead = []string{"| bound | default | option | what happens at it | counter | test |", "|---|---|---|---|---|---|"}

// boundsTable reads the rows of all tables. A bound is one row.
func boundsTable(t *testing.T) []bound {
	t.Helper()
	_, text, found := strings.Cut(document(t, "ARCHITECTURE.md"), "\n## 7. Bounds\n")
	if !found {
		t.Fatal("ARCHITECTURE.md: got no section \"7. Bounds\"")
	}
	text, _, _ = strings.Cut(text, "\n## ")
	var rows []bound
	names := map[string]bool{}
	at := 0 // lines of the table so far
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "|") {
			if at > 0 && at <= len(boundsHead) {
				t.Errorf("ARCHITECTURE.md §7: got a table without rows before %q", line)
			}
			at = 0
			continue
		}
		if at++; at <= len(boundsHead) {
			if want := boundsHead[at-1]; line != want {
				t.Errorf("ARCHITECTURE.md §7, line %d of a table: got %q, want %q", at, line, want)
			}
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		if len(cells) != 6 {
			t.Errorf("ARCHITECTURE.md §7: got %d columns in %q, want 6", len(cells), line)
			continue
		}
		if strings.Count(line, "`")%2 != 0 {
			t.Errorf("ARCHITECTURE.md §7: got a backtick without its pair in %q", line)
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if names[cells[0]] || cells[0] == "" || cells[3] == "" {
			t.Errorf("ARCHITECTURE.md §7: got %q, want a bound that no other row has, and what happens at it", line)
		}
		names[cells[0]] = true
		rows = append(rows, bound{cells[0], cells[1], cells[2], cells[3], cells[4], cells[5]})
	}
	if len(rows) < 60 {
		t.Fatalf("ARCHITECTURE.md §7: got %d rows, want all tables", len(rows))
	}
	return rows
}

// listed are the items of a cell.
func listed(cell string) []string {
	var items []string
	for item := range strings.SplitSeq(cell, ",") {
		if item = strings.Trim(strings.TrimSpace(item), "`"); item != "" {
			items = append(items, item)
		}
	}
	return items
}

func TestEveryOptionInTheTableOfBoundsIsAFlagAndEveryLimitIsInTheTable(t *testing.T) {
	still(t)
	help := run("start", "--help").stdout
	flags := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^\s+(?:-\w, )?--([a-z-]+)`).FindAllStringSubmatch(help, -1) {
		flags[m[1]] = true
	}
	named := map[string]bool{}
	for _, b := range boundsTable(t) {
		for _, option := range listed(b.option) {
			name, isFlag := strings.CutPrefix(option, "--")
			if isFlag && !flags[name] {
				t.Errorf("bound %q: got option --%s, which start --help does not know", b.name, name)
			}
			if !isFlag && option != "ulimit -n" {
				t.Errorf("bound %q: got option %q, want a flag of start, or the limit of open files", b.name, option)
			}
			named[name] = true
		}
	}
	s := start(t)
	limits := slices.Sorted(maps.Keys(s.settings()))
	if len(limits) < 10 {
		t.Errorf("settings in status: got %v, want all limits", limits)
	}
	for _, name := range limits {
		if !flags[name] {
			t.Errorf("status shows a setting %s, which start --help does not know", name)
		}
		switch reason := noBounds[name]; {
		case reason == "" && !named[name]:
			t.Errorf("--%s: got no row in ARCHITECTURE.md §7, want one that says what happens at it", name)
		case reason != "" && named[name]:
			t.Errorf("noBounds has %s (%s): the table has it, take it off", name, reason)
		}
	}
}

// A counter is named by its key in status --json, or by two, outer and inner, as refused_by.busy.
func TestEveryCounterInTheTableOfBoundsIsShownToAnOperator(t *testing.T) {
	still(t)
	s := start(t, "--channel", "127.0.0.1:0", "--cluster-name", "chat", "--cluster-node", "n1", "--store-dir", t.TempDir())
	s.waitIn()
	var status map[string]any
	must(t, json.Unmarshal([]byte(run("status", "--json", "--run-dir", s.dir).stdout), &status))
	shown := map[string]bool{}
	keysOf(status, "", shown)
	for _, b := range boundsTable(t) {
		for _, counter := range listed(b.counter) {
			if !shown[counter] {
				t.Errorf("bound %q: got counter %q, which status --json does not have", b.name, counter)
			}
		}
	}
}

// keysOf gathers the keys of a JSON value, by themselves and after that of their parent.
func keysOf(value any, parent string, into map[string]bool) {
	switch value := value.(type) {
	case map[string]any:
		for key, inner := range value {
			into[key], into[parent+"."+key] = true, true
			keysOf(inner, key, into)
		}
	case []any:
		for _, inner := range value {
			keysOf(inner, parent, into)
		}
	}
}

func TestEveryBoundHasATest(t *testing.T) {
	still(t)
	exists := map[string]bool{}
	for _, f := range goFiles(t) {
		if !f.test {
			continue
		}
		for _, d := range f.ast.Decls {
			if f, is := d.(*ast.FuncDecl); is && f.Recv == nil && (strings.HasPrefix(f.Name.Name, "Test") || strings.HasPrefix(f.Name.Name, "Fuzz")) {
				exists[f.Name.Name] = true
			}
		}
	}
	for _, b := range boundsTable(t) {
		tests := listed(b.test)
		if len(tests) == 0 {
			t.Errorf("bound %q: got no test, want one: each bound must be tested", b.name)
		}
		for _, name := range tests {
			if !exists[name] {
				t.Errorf("bound %q: got %q where a test function is to be named, want one that exists", b.name, name)
			}
		}
	}
}
