package test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// The house rules, as data. A rule that has to change is changed here, in the same commit as what breaks it, and its
// reason with it.

const (
	module = "ringcast"
	gnet   = "github.com/panjf2000/gnet/v2"
	gobwas = "github.com/gobwas/ws"
	jwt    = "github.com/golang-jwt/jwt/v5"
	root   = ".." // from this directory
)

// imports says which of our packages each of our packages may import, and why no others.
var imports = []struct {
	from string
	may  []string
	why  string
}{
	{".", []string{"cli"}, "main only passes its arguments to cli: code of its own could not be tested"},
	{"cli", []string{"api", "bus", "certs", "cli/settings", "cluster", "loop", "loop/door", "web", "webhook"}, "cli composes the parts; bytes on the wire are the business " +
		"of loop and the packages under it; of door it has the sets of keys that it fetches"},
	{"cli/settings", []string{"bus", "certs", "loop", "loop/door"}, "settings are made for the parts, in their own option types, and start none of them; what tokens are good is an option of door"},
	{"api", []string{"dialect", "loop", "loop/door", "web"}, "HTTP is one user of the hub among others: it knows neither the others nor the operator's settings; what backends say is JSON, which dialect reads without building it, and its messages are kept as those of clients; " +
		"of door it has the apps of the Pusher protocol, which sign what their backends ask"},
	{"web", nil, "the pages are bytes: who serves them is for others to say"},
	{"webhook", []string{"dialect", "loop", "loop/door"}, "webhooks are one user of the hub: they know neither the others nor the operator's settings; of door they have the apps whose backends are told, of dialect what a channel's name says"},
	{"certs", nil, "certificates are files, names and time: who serves them, and on which loops, is for others to say"},
	{"bus", []string{"loop"}, "the bus is one user of the hub among others: it knows neither the others nor the operator's settings"},
	{"cluster", []string{"dialect", "loop", "loop/order", "loop/shrink"}, "the engine of the order over many machines is one user of the hub: it takes what homes offer and brings it back, and asks " +
		"hubs of other nodes what backends ask of this one; it knows no operator's settings, but its own Config"},
	{"loop", []string{"dialect", "loop/assert", "loop/door", "loop/order", "loop/secure", "loop/shrink", "wsproto"}, "the loops serve any caller; with an import of one of " +
		"their users they could come to wait for it"},
	{"loop/door", []string{"loop/assert", "loop/shrink"}, "admission is decided by addresses, text and time, before there is " +
		"a client"},
	{"loop/order", []string{"dialect", "loop/assert", "loop/shrink", "wsproto"}, "the order of messages must not depend on the clients: " +
		"no client, no socket; a message is kept as a frame, hence wsproto"},
	{"loop/secure", []string{"loop/assert"}, "TLS is bytes in and bytes out: it knows no client and no socket"},
	{"loop/assert", nil, "an assertion is about the code that makes it"},
	{"loop/shrink", nil, "a map does not depend on its contents"},
	{"bench", []string{"bench/ceiling", "bench/check", "bench/client", "bench/report"}, "the bench shares no code " +
		"with the server: it measures from outside"},
	{"bench/ceiling", nil, "the limit of the machine must not depend on the server's code"},
	{"bench/ceiling/nats", nil, "the bare engine, without anything of ringcast or of the bench, is a program of its own: only it of the bench may know NATS"},
	{"bench/check", nil, "a verdict must not depend on how the messages were received: it is tested with histories alone"},
	{"bench/client", nil, "the client does not judge messages: it must work with every play"},
	{"bench/report", nil, "a result must be readable without the code that measured it"},
	{"dialect", []string{"wsproto"}, "the messages of clients, pure: a protocol must not depend on the server"},
	{"wsproto", nil, "bytes and their meaning, pure: it must be testable without anything else of ours"},
	{"test/echo", []string{"dialect", "loop"}, "conformance tools are to test the server's own loops: the echo adds nothing to them"},
	{"test", nil, "whole-program tests know what a user knows; a test of internals belongs into their package"},
}

// confined lists packages of others that only some files may import. Tests are free unless tests says otherwise.
var confined = []struct {
	what  string
	where []string // files, or directories with a slash at the end
	why   string
}{
	{gnet, []string{"loop/server.go", "loop/boot.go", "loop/handler.go", "loop/accept.go"}, "everything else must run on fake " +
		"sockets in the simulation, and a change of the event library must be a change of few files"},
	{gobwas, []string{"wsproto/", "bench/"}, "one place decides what is a good frame; the adversary decides for itself"},
	{"github.com/klauspost/compress", []string{"wsproto/", "bench/"}, "one place decides how messages are compressed, and what a compressed one may cost"},
	{"crypto/tls", []string{"loop/secure/", "loop/server.go", "cli/", "certs/", "api/", "cluster/", "bus/", "webhook/", "bench/", "test/"}, "of the loops one package drives TLS; its configuration comes in with loop.Config"},
	{"github.com/alecthomas/kong", []string{"cli/", "bench/"}, "flags are the operator's side"},
	{jwt, []string{"loop/door/"}, "one place decides by which algorithms a key is used, and what of a token is believed"},
	{"github.com/nats-io/", []string{"cluster/", "bench/"}, "loops and homes know that somebody puts messages in order, and not who; without the options of a cluster nothing of it runs"},
	{"golang.org/x/crypto/acme", []string{"certs/"}, "one place asks authorities, beside every handshake"},
	{"github.com/chromedp/", nil, "a browser is for tests"},
	{"github.com/KimMachineGun/automemlimit", []string{"cli/cgroup.go"}, "its root package sets Go's memory limit when it is imported"},
}

// impure lists what pure packages must not import outside their tests. net/netip is not among it: its addresses are
// values, and proxies write them in every way that it reads.
var impure = []struct{ what, why string }{
	{"net", "no socket"}, {"net/http", "no socket, and every program that uses frames would contain it"},
	{"os", "no files, no environment"}, {"os/signal", "no process"}, {"syscall", "no kernel"},
	{"time", "time is handed in"}, {"context", "nothing here waits"}, {"log", "the caller logs"}, {"log/slog", "the caller logs"},
	{"sync", "one goroutine at a time is the caller's duty"}, {"sync/atomic", "one goroutine at a time is the caller's duty"},
	{"runtime", "no scheduling"}, {"math/rand", "randomness is handed in"}, {"math/rand/v2", "randomness is handed in"},
	{"crypto/rand", "randomness is handed in"}, {"io", "bytes in, bytes out; nothing that can block"},
	{"bufio", "bytes in, bytes out; nothing that can block"}, {"unsafe", "hostile bytes come through here"},
}

// pureBut lists the files of pure packages that may import one of these, each with its reason.
var pureBut = map[string]struct{ what, why string }{
	"wsproto/deflate.go": {"sync", "compressors are too large to have one for each goroutine that needs one now and then"},
	"wsproto/inflate.go": {"io", "an inflater says by io.EOF that a stream has ended; it reads from memory"},
	"dialect/message.go": {"unsafe", "a message keeps its frame as a string, as it has no room for a capacity, and nobody may copy it for a send"},
}

// folders are the directories allowed at the top.
var folders = []string{"api", "bench", "bus", "certs", "cli", "cluster", "dialect", "docs", "loop", "test", "web", "webhook", "wsproto", ".ci", ".git"}

// maySleep lists the test files that may call time.Sleep, each with its reason. Everywhere else a test waits for a
// condition: a sleep is either too short on a busy machine or too long on all others.
var maySleep = map[string]string{
	"cli/cli_test.go": "the pause between two checks of its waited, which waits for a condition",
}

// pins are the versions that were measured and whose problems are known.
var pins = map[string]string{gnet: "v2.10.0", gobwas: "v1.5.0", jwt: "v5.3.0"}

// still begins a test of what stands in files, some of them against what a server says of itself when nothing happens.
func still(t *testing.T) {
	t.Helper()
	if raceDetector {
		t.Skip("compares what stands in files: the run without the race detector has it, and nothing races here")
	}
	t.Parallel()
}

// goFile is one parsed file; tests share it and change nothing in it.
type goFile struct {
	path string // from the root, with slashes
	test bool
	ast  *ast.File
}

func (f *goFile) folder() string { return path.Dir(f.path) }

func (f *goFile) imports() []string {
	var all []string
	for _, spec := range f.ast.Imports {
		name, _ := strconv.Unquote(spec.Path.Value)
		all = append(all, name)
	}
	return all
}

// walk visits the project's files, without the directories of other modules and of git.
func walk(t *testing.T, visit func(name string)) {
	t.Helper()
	must(t, walkFiles(func(name string) error { visit(name); return nil }))
}

func walkFiles(visit func(name string) error) error {
	return filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		if d.IsDir() {
			if _, err := os.Stat(filepath.Join(name, "go.mod")); d.Name() == ".git" || d.Name() == "node_modules" || d.Name() == "vendor" || err == nil && rel != "." {
				return filepath.SkipDir
			}
			return nil
		}
		if rel == ".git" { // in a second work tree it is a file that names the first
			return nil
		}
		return visit(filepath.ToSlash(rel))
	})
}

func goFiles(t *testing.T) []*goFile {
	t.Helper()
	files, err := parseAll()
	must(t, err)
	if len(files) < 10 {
		t.Fatalf("Go files found: got %d, want the whole project", len(files))
	}
	return files
}

// parseAll is done once for all tests: it takes a second.
var parseAll = sync.OnceValues(func() (files []*goFile, err error) {
	err = walkFiles(func(name string) error {
		if path.Ext(name) != ".go" || strings.Contains(name, "/testdata/") {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, name), nil, parser.ParseComments)
		files = append(files, &goFile{name, strings.HasSuffix(name, "_test.go"), parsed})
		return err
	})
	return files, err
})

func TestOurPackagesImportOnlyWhatTheTableAllows(t *testing.T) {
	still(t)
	for _, f := range goFiles(t) {
		at := slices.IndexFunc(imports, func(r struct {
			from string
			may  []string
			why  string
		}) bool {
			return r.from == f.folder()
		})
		if at < 0 {
			t.Errorf("%s: got a package that the table of imports does not know", f.path)
			continue
		}
		rule := imports[at]
		for _, name := range f.imports() {
			of, ours := strings.CutPrefix(name, module+"/")
			if name == module {
				of, ours = ".", true
			}
			if ours && of != f.folder() && !slices.Contains(rule.may, of) {
				t.Errorf("%s imports %s; may %v: %s", f.path, name, rule.may, rule.why)
			}
		}
	}
}

func TestOthersPackagesStayWhereTheyAreConfined(t *testing.T) {
	still(t)
	for _, f := range goFiles(t) {
		if f.test {
			continue
		}
		for _, name := range f.imports() {
			for _, rule := range confined {
				if !strings.HasPrefix(name, rule.what) {
					continue
				}
				if !slices.ContainsFunc(rule.where, func(w string) bool {
					return f.path == w || strings.HasSuffix(w, "/") && strings.HasPrefix(f.path, w)
				}) {
					t.Errorf("%s imports %s; may only %v: %s", f.path, name, rule.where, rule.why)
				}
			}
		}
	}
}

// What outgrows these has two nouns in it, and one of them wants a place of its own.
const (
	linesOfLoopMax   = 400 // of a file in loop and below it, tests included
	fieldsOfShardMax = 35
	linesOfReadmeMax = 150
)

func TestFilesAndShardStaySmall(t *testing.T) {
	still(t)
	for _, f := range goFiles(t) {
		if f.folder() != "loop" && !strings.HasPrefix(f.folder(), "loop/") {
			continue
		}
		if n := strings.Count(document(t, f.path), "\n"); n > linesOfLoopMax {
			t.Errorf("%s: got %d lines, want at most %d", f.path, n, linesOfLoopMax)
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if spec, is := n.(*ast.TypeSpec); is && spec.Name.Name == "shard" {
				if fields := spec.Type.(*ast.StructType).Fields.NumFields(); fields > fieldsOfShardMax {
					t.Errorf("shard: got %d fields, want at most %d", fields, fieldsOfShardMax)
				}
			}
			return true
		})
	}
	if n := strings.Count(document(t, "README.md"), "\n"); n > linesOfReadmeMax {
		t.Errorf("README.md: got %d lines, want at most %d", n, linesOfReadmeMax)
	}
}

// socketless are the packages below loop that know no socket, no loop of gnet's and no metrics.
var socketless = []string{"loop/order", "loop/door"}

func TestOrderAndDoorKnowNoSocketAndNoMetrics(t *testing.T) {
	still(t)
	for _, f := range goFiles(t) {
		if f.test || !slices.Contains(socketless, f.folder()) {
			continue
		}
		for _, name := range f.imports() {
			for _, barred := range []string{gnet, "github.com/prometheus/", "golang.org/x/sys", "syscall", "net/http", "os", "log/slog"} {
				if name == barred || strings.HasPrefix(name, barred) && strings.HasSuffix(barred, "/") || strings.HasPrefix(name, barred+"/") {
					t.Errorf("%s imports %s, want no socket, no files, no metrics and no log", f.path, name)
				}
			}
			if name == "net" {
				t.Errorf("%s imports net, want at most the addresses of net/netip", f.path)
			}
		}
	}
}

func TestWsprotoAndDialectArePure(t *testing.T) {
	still(t)
	pure(t, "wsproto")
	pure(t, "dialect")
}

func TestTheBenchsVerdictIsPure(t *testing.T) {
	still(t)
	pure(t, "bench/check")
}

// pure checks that nothing in a package has an impure import or starts a goroutine.
func pure(t *testing.T, folder string) {
	t.Helper()
	for _, f := range goFiles(t) {
		if f.test || f.folder() != folder {
			continue
		}
		for _, name := range f.imports() {
			for _, rule := range impure {
				if name == rule.what && pureBut[f.path].what != name {
					t.Errorf("%s imports %s: %s", f.path, name, rule.why)
				}
			}
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if _, is := n.(*ast.GoStmt); is {
				t.Errorf("%s starts a goroutine: want none in %s", f.path, folder)
			}
			return true
		})
	}
}

// The same settings must always be read in the same way, on any machine and at any time.
func TestSettingsAreReadFromWhatIsHandedIn(t *testing.T) {
	still(t)
	for _, f := range goFiles(t) {
		if f.test || f.folder() != "cli/settings" {
			continue
		}
		for _, name := range f.imports() {
			if first, _, _ := strings.Cut(name, "/"); slices.Contains([]string{"os", "syscall", "runtime", "log", "context", "sync"}, first) && name != "log/slog" ||
				name == "net/http" {
				t.Errorf("%s imports %s: the environment, files and the machine are handed in, and nothing is started", f.path, name)
			}
		}
	}
}

func TestEveryPackageSaysItsRule(t *testing.T) {
	still(t)
	doc := map[string]string{}
	for _, f := range goFiles(t) {
		if f.test && f.folder() != "test" {
			continue
		}
		doc[f.folder()] += f.ast.Doc.Text()
	}
	for folder, text := range doc {
		if len(strings.Fields(text)) < 8 {
			t.Errorf("package comment of %s: got %q, want sentences that say what it is and by what rule", folder, text)
		}
	}
}

func TestEveryExportedNameHasADocComment(t *testing.T) {
	still(t)
	for _, f := range goFiles(t) {
		if f.test {
			continue
		}
		missing := func(kind, name string) { t.Errorf("%s: %s %s: got no doc comment", f.path, kind, name) }
		for _, d := range f.ast.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() && exportedReceiver(d) && d.Doc == nil {
					missing("func", d.Name.Name)
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					switch spec := spec.(type) {
					case *ast.TypeSpec:
						if spec.Name.IsExported() && spec.Doc == nil && spec.Comment == nil && d.Doc == nil {
							missing("type", spec.Name.Name)
						}
					case *ast.ValueSpec:
						for _, name := range spec.Names {
							if name.IsExported() && spec.Doc == nil && spec.Comment == nil && d.Doc == nil {
								missing(d.Tok.String(), name.Name)
							}
						}
					}
				}
			}
		}
	}
}

// exportedReceiver says whether a function can be seen in the package's documentation as far as its receiver goes.
func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil {
		return true
	}
	receiver := d.Recv.List[0].Type
	for {
		switch of := receiver.(type) {
		case *ast.StarExpr:
			receiver = of.X
		case *ast.IndexExpr:
			receiver = of.X
		case *ast.IndexListExpr:
			receiver = of.X
		case *ast.Ident:
			return of.IsExported()
		default:
			return true
		}
	}
}

// document reads one of the project's documents.
func document(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return string(b)
}

var (
	fileName   = regexp.MustCompile(`[A-Za-z0-9_.-]*(?:/[A-Za-z0-9_.-]+)*\.(?:go|md|html|mod|sum|txt)\b`)
	folderName = regexp.MustCompile("`([A-Za-z0-9_.-]+/(?:[A-Za-z0-9_.-]+/)*)`")
	address    = regexp.MustCompile(`[a-z]+://\S+|github\.com/\S+`)
)

// A file is named in ARCHITECTURE.md with its ending, as loop/lane.go or, where the directory is clear, lane.go.
func TestArchitectureNamesTheFilesThatExist(t *testing.T) {
	still(t)
	text := address.ReplaceAllString(document(t, "ARCHITECTURE.md"), "")
	exists := map[string]bool{} // by path and by bare name
	walk(t, func(name string) {
		exists[name], exists[path.Base(name)] = true, true
		for dir := path.Dir(name); dir != "."; dir = path.Dir(dir) {
			exists[dir+"/"] = true
		}
	})
	named := map[string]bool{}
	for _, name := range fileName.FindAllString(text, -1) {
		if name = strings.TrimPrefix(name, "./"); strings.HasPrefix(name, ".go") {
			continue // an ending, such as _test.go, is no file
		}
		named[name] = true
		if name != "_test.go" && !exists[name] {
			t.Errorf("ARCHITECTURE.md names %s: got no such file", name)
		}
	}
	for _, m := range folderName.FindAllStringSubmatch(text, -1) {
		if !exists[m[1]] {
			t.Errorf("ARCHITECTURE.md names %s: got no such folder", m[1])
		}
	}
	for _, f := range goFiles(t) {
		if folder, _, _ := strings.Cut(f.path, "/"); !f.test && (folder == "loop" || folder == "wsproto" || folder == "dialect") &&
			!named[f.path] && !named[path.Base(f.path)] {
			t.Errorf("%s: got no mention in ARCHITECTURE.md, want every file of loop, dialect and wsproto named", f.path)
		}
	}
}

// README tells a new user two commands and no more: one for the main job, one for the tests. Commands that carry
// figures (go run ./bench …) are not for new users.
func TestReadmeHasExactlyTwoCommands(t *testing.T) {
	still(t)
	want := map[string]int{"go run . start": 1, "go test ./...": 1}
	got := map[string]int{}
	fenced := false
	for line := range strings.Lines(document(t, "README.md")) {
		line = strings.TrimRight(line, "\n")
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			fenced = !fenced
			continue
		}
		if !fenced && !strings.HasPrefix(line, "    ") {
			continue
		}
		command := strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "$ "))
		command, _, _ = strings.Cut(command, "  #")
		command = strings.TrimSpace(command)
		for _, first := range []string{"go run .", "go test", "go build", "go install", "go generate", "make", "git clone",
			"docker", "apt", "./ringcast"} {
			if command == first || strings.HasPrefix(command, first+" ") {
				got[command]++
			}
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("commands for a new user in README.md's code blocks: got %v, want %v", got, want)
	}
}

func TestNoFileKnowsTheMachineItWasWrittenOn(t *testing.T) {
	still(t)
	// Put together, so that this file does not name them.
	var homes []string
	for _, dir := range []string{"home", "root", "Users", "work", "workspace", "builds"} {
		homes = append(homes, "/"+dir+"/")
	}
	inside := regexp.MustCompile(`(?:^|[^A-Za-z0-9_.~/}-])(` + strings.Join(homes, "|") + `)[A-Za-z0-9._-]`)
	walk(t, func(name string) {
		b, err := os.ReadFile(filepath.Join(root, name))
		must(t, err)
		if bytes.IndexByte(b[:min(len(b), 8000)], 0) >= 0 {
			return // no text
		}
		// The expression is slow, and few files have one of the names at all.
		if !slices.ContainsFunc(homes, func(home string) bool { return bytes.Contains(b, []byte(home)) }) {
			return
		}
		for n, line := range bytes.Split(b, []byte("\n")) {
			if m := inside.FindSubmatch(line); m != nil {
				t.Errorf("%s:%d: got a path under %s, want none that only one machine has", name, n+1, m[1])
			}
		}
	})
}

func TestNoFolderAtTheTopBesidesTheKnownOnes(t *testing.T) {
	still(t)
	entries, err := os.ReadDir(root)
	must(t, err)
	for _, e := range entries {
		if e.IsDir() && !slices.Contains(folders, e.Name()) {
			t.Errorf("folder %s at the top: want only %v; each one more is one more place to look", e.Name(), folders)
		}
	}
}

func TestTestsWaitForConditionsAndDoNotSleep(t *testing.T) {
	still(t)
	sleeps := map[string]int{}
	for _, f := range goFiles(t) {
		if !f.test {
			continue
		}
		ast.Inspect(f.ast, func(n ast.Node) bool {
			if sel, is := n.(*ast.SelectorExpr); is && sel.Sel.Name == "Sleep" {
				if pkg, is := sel.X.(*ast.Ident); is && pkg.Name == "time" {
					sleeps[f.path]++
				}
			}
			return true
		})
	}
	for name, n := range sleeps {
		if maySleep[name] == "" {
			t.Errorf("%s: got %d calls of time.Sleep, want a wait for a condition, or a reason in maySleep", name, n)
		}
	}
	for name, why := range maySleep {
		if sleeps[name] == 0 {
			t.Errorf("maySleep has %s (%s): it does not sleep, take it off", name, why)
		}
	}
}

// The list in the Makefile is written by hand, since Go fuzzes one target at a time.
func TestMakeFuzzRunsEveryFuzzTarget(t *testing.T) {
	still(t)
	var want []string
	for _, f := range goFiles(t) {
		for _, d := range f.ast.Decls {
			if d, is := d.(*ast.FuncDecl); is && f.test && d.Recv == nil && strings.HasPrefix(d.Name.Name, "Fuzz") {
				want = append(want, f.folder()+":"+d.Name.Name)
			}
		}
	}
	got := regexp.MustCompile(`[a-z/]+:Fuzz\w+`).FindAllString(document(t, "Makefile"), -1)
	slices.Sort(want)
	slices.Sort(got)
	if len(want) == 0 || !slices.Equal(got, want) {
		t.Errorf("targets of make fuzz: got %q, want those of the tree, %q", got, want)
	}
}

func TestGoModPinsTheMeasuredVersions(t *testing.T) {
	still(t)
	mod := document(t, "go.mod")
	if !regexp.MustCompile(`(?m)^module ` + module + `$`).MatchString(mod) {
		t.Errorf("go.mod: got no line %q", "module "+module)
	}
	for name, version := range pins {
		line := fmt.Sprintf(`(?m)^(?:require)?\s+%s %s(?: // indirect)?$`, regexp.QuoteMeta(name), regexp.QuoteMeta(version))
		if !regexp.MustCompile(line).MatchString(mod) {
			t.Errorf("go.mod: want %s pinned at %s, got:\n%s", name, version, mod)
		}
	}
	if regexp.MustCompile(`(?m)^\s*replace\b`).MatchString(mod) {
		t.Errorf("go.mod: got a replace, want what everybody can fetch")
	}
}
