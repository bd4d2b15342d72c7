package test

import (
	"encoding/json"
	"go/ast"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
)

// The documents for users, compared with the program and with each other.

// documents are all documents, by their paths from the root.
func documents(t *testing.T) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	must(t, err)
	if len(names) == 0 {
		t.Fatal("docs: got no documents")
	}
	for i := range names {
		names[i] = "docs/" + filepath.Base(names[i])
	}
	return append(names, "README.md", "ARCHITECTURE.md", "CHANGELOG.md", "bench/README.md")
}

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

// The tables of options in docs/operating.md are compared with start --help and a running server: each option has one row
// with its default, and a reload changes those, and only those, of which the row says so.
func TestReadmeHasEveryOptionOfStartWithItsDefault(t *testing.T) {
	still(t)
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

func TestDocumentsNameOptionsThatExist(t *testing.T) {
	still(t)
	known := map[string]bool{}
	for _, verb := range []string{"start", "status", "connections"} {
		for _, m := range optionOf.FindAllStringSubmatch(run(verb, "--help").stdout, -1) {
			known[m[1]] = true
		}
	}
	for _, name := range []string{"README.md", "docs/protocol.md", "docs/operating.md", "docs/workerman.md", "docs/api.md", "docs/auth.md", "docs/cluster.md", "docs/laravel.md"} {
		for _, code := range codeSpan.FindAllString(withoutBlocks(document(t, name)), -1) {
			for _, m := range regexp.MustCompile(`--([a-z-]+)`).FindAllStringSubmatch(code, -1) {
				if !known[m[1]] {
					t.Errorf("%s names --%s, which no verb knows", name, m[1])
				}
			}
		}
	}
}

func TestDocumentsNameMetricsThatExist(t *testing.T) {
	still(t)
	cert, key := certificateFor(t, t.TempDir(), "push.example.org")
	_, url := startAdmin(t, "--tls-listen", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key, "--http-redirect", "127.0.0.1:0", "--channel", "127.0.0.1:0", "--cluster-name", "x", "--cluster-node", "n1", "--store-dir", filepath.Join(runDir(t), "store"))
	exists := map[string]bool{}
	for series := range scrape(t, url) {
		name, _, _ := strings.Cut(series, "{")
		exists[name], exists[strings.TrimSuffix(name, "_count")] = true, true // a histogram has no series of its bare name
	}
	named := 0
	for _, name := range documents(t) {
		for _, metric := range regexp.MustCompile(`ringcast_[a-z_]*[a-z]`).FindAllString(document(t, name), -1) {
			if named++; !exists[metric] {
				t.Errorf("%s names the metric %s, which a scrape does not have", name, metric)
			}
		}
	}
	if named == 0 {
		t.Error("got no metric in any document, want those to watch")
	}
}

// notOnTheWire are error codes that no client is ever sent, each with its reason.
var notOnTheWire = map[string]string{
	"bad_json":         "what is no JSON object has no id, and is ignored",
	"already_joined":   "only Centrifuge clients join once, and they are sent numbers",
	"not_member":       "only Centrifuge clients ask what it refuses",
	"not_available":    "only Centrifuge clients ask what it refuses",
	"unrecoverable":    "only Centrifuge clients ask what it refuses",
	"too_many_members": "only Centrifuge clients ask what it refuses",
	"token_expired":    "plain clients are told bad_token, and Centrifuge's are sent numbers",
	"other_token":      "plain clients are told bad_token, and Centrifuge's are sent numbers",
	"bad_channel":      "only Pusher clients say what it refuses, and they are told sentences",
	"bad_event":        "only Pusher clients say what it refuses, and they are told sentences",
	"bad_user":         "only Pusher clients say what it refuses, and they are told sentences",
	"too_big":          "only Pusher clients say what it refuses, and they are told sentences",
	"unauthorized":     "only Centrifuge clients have to connect, and they are sent numbers",
}

func TestProtocolDocumentHasEveryErrorCode(t *testing.T) {
	still(t)
	_, table, _ := strings.Cut(document(t, "docs/protocol.md"), "\n## Error codes\n")
	table, _, _ = strings.Cut(table, "\n## ")
	listed := map[string]bool{}
	for line := range strings.Lines(table) {
		if cells := strings.Split(line, "|"); len(cells) > 2 {
			for _, code := range codeSpan.FindAllString(cells[1], -1) {
				listed[strings.Trim(code, "`")] = true
			}
		}
	}
	exists := map[string]bool{}
	for _, f := range goFiles(t) {
		if f.test {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			spec, is := n.(*ast.ValueSpec)
			if !is {
				return true
			}
			if kind, named := spec.Type.(*ast.Ident); named && kind.Name == "ErrorCode" {
				for _, value := range spec.Values {
					if text, is := value.(*ast.BasicLit); is && text.Kind == token.STRING {
						code, err := strconv.Unquote(text.Value)
						must(t, err)
						exists[code] = true
					}
				}
			}
			return true
		})
	}
	if len(exists) < 5 {
		t.Fatalf("constants of type ErrorCode: got %v, want all error codes", exists)
	}
	for code := range exists {
		if !listed[code] && notOnTheWire[code] == "" {
			t.Errorf("docs/protocol.md: got no error code %s, want every one that clients are sent", code)
		}
	}
	for code := range listed {
		if !exists[code] || notOnTheWire[code] != "" {
			t.Errorf("docs/protocol.md has the error code %s, which no client is sent (%s)", code, notOnTheWire[code])
		}
	}
}

func TestProtocolDocumentHasEveryCloseCode(t *testing.T) {
	still(t)
	var listed []string
	for heading, codes := range map[string]string{"## Close codes": `\d{4}`, "## Centrifuge clients": `\b3[0-9]{3}\b`, "## Pusher clients": `\b4[0-9]{3}\b`} {
		_, table, _ := strings.Cut(document(t, "docs/protocol.md"), "\n"+heading+"\n")
		table, _, _ = strings.Cut(table, "\n## ")
		for line := range strings.Lines(table) {
			if cells := strings.Split(line, "|"); len(cells) > 2 {
				listed = append(listed, regexp.MustCompile(codes).FindAllString(cells[1], -1)...)
			}
		}
	}
	var status struct {
		Total struct{ Closes map[string]uint64 }
	}
	must(t, json.Unmarshal([]byte(run("status", "--json", "--run-dir", start(t).dir).stdout), &status))
	var want []string
	for code := range status.Total.Closes {
		if code != "1000" && code != "other" { // 1000 answers that of a client; others are a bug
			want = append(want, code)
		}
	}
	slices.Sort(listed)
	listed = slices.Compact(listed) // one of Pusher's is that of a slow plain client
	slices.Sort(want)
	equal(t, "close codes in docs/protocol.md", strings.Join(listed, " "), strings.Join(want, " "))
}

var (
	codeBlock = regexp.MustCompile("(?ms)^ *```.*?^ *```$")
	codeSpan  = regexp.MustCompile("`[^`\n]+`")
	heading   = regexp.MustCompile(`(?m)^#{1,6} +(.+?)\s*$`)
	link      = regexp.MustCompile(`\]\(([^)\s]+)\)|\b(?:href|src)="([^"]+)"`)
)

// withoutBlocks takes fenced blocks off a document.
func withoutBlocks(text string) string { return codeBlock.ReplaceAllString(text, "") }

// anchors are the fragments by which a document's headings are reached, made as GitHub makes them: small letters, spaces
// to hyphens, punctuation gone, and a number appended to a repeated one.
func anchors(text string) map[string]bool {
	made := map[string]bool{}
	for _, m := range heading.FindAllStringSubmatch(withoutBlocks(text), -1) {
		anchor := strings.Map(func(r rune) rune {
			switch {
			case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
				return unicode.ToLower(r)
			case r == ' ':
				return '-'
			}
			return -1
		}, m[1])
		unique := anchor
		for n := 1; made[unique]; n++ {
			unique = anchor + "-" + strconv.Itoa(n)
		}
		made[unique] = true
	}
	return made
}

// A link within the project leads to a file, and its fragment to a heading. Every document is reached from README.
func TestLinksInDocumentsLeadSomewhere(t *testing.T) {
	still(t)
	reached := map[string]bool{}
	for _, name := range documents(t) {
		text := codeSpan.ReplaceAllString(withoutBlocks(document(t, name)), "")
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			target := m[1] + m[2]
			if strings.Contains(target, "://") {
				continue
			}
			file, fragment, _ := strings.Cut(target, "#")
			to := path.Join(path.Dir(name), file)
			if file == "" {
				to = name
			}
			if info, err := os.Stat(filepath.Join(root, to)); err != nil || strings.HasPrefix(to, "..") {
				t.Errorf("%s links to %s: got no such file", name, target)
				continue
			} else if info.IsDir() {
				continue
			}
			if name == "README.md" {
				reached[to] = true
			}
			if fragment != "" && !(path.Ext(to) == ".md" && anchors(document(t, to))[fragment]) {
				t.Errorf("%s links to %s: got no such heading", name, target)
			}
		}
	}
	for _, name := range documents(t) {
		if name != "README.md" && !reached[name] {
			t.Errorf("README.md: got no link to %s, want every document reached from it", name)
		}
	}
}
