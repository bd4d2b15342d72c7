package cli

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"ringcast/cli/settings"
)

// parse gives the settings that a command line makes.
func parse(t *testing.T, args ...string) (settings.Settings, error) {
	t.Helper()
	_, s, err := parseIn(t, args...)
	return s, err
}

// parseIn gives the run dir too.
func parseIn(t *testing.T, args ...string) (runDir, settings.Settings, error) {
	t.Helper()
	var g grammar
	r := &env{args: append([]string{"start"}, args...)}
	if _, err := r.parse(&g); err != nil {
		return runDir{}, settings.Settings{}, err
	}
	return r.settings(&g.Start.Flags, &g.Globals)
}

func configWith(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ringcast.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestAutoLoopsAreTheUsableCPUs(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(3))
	s, err := parse(t, "--loops", "auto", "--run-dir", "/r")
	if err != nil || s.Loop.Loops != 3 {
		t.Errorf("got %d, %v, want 3", s.Loop.Loops, err)
	}
}

func TestAutoMemoryLimitIsTheMachines(t *testing.T) {
	auto, _ := memoryAuto()
	s, err := parse(t, "--run-dir", "/r")
	if err != nil || s.Loop.MemoryMax != auto {
		t.Errorf("got %d, %v, want %d", s.Loop.MemoryMax, err, auto)
	}
}

func TestTheLogSaysWhatTheMemoryLimitWasTakenFrom(t *testing.T) {
	_, auto := memoryAuto()
	dir := shortDir(t)
	for value, from := range map[string]string{"auto": auto, "1GiB": "--memory-limit"} {
		status, stderr := started(t, dir, "--memory-limit", value)
		if status != statusOK || !strings.Contains(stderr, "memory is limited") || !strings.Contains(stderr, "from="+from) {
			t.Errorf("%s: got exit status %d and %q, want %s named", value, status, stderr, from)
		}
	}
	if _, stderr := started(t, dir, "--memory-limit", "off"); strings.Contains(stderr, "memory is limited") {
		t.Errorf("off: got %q, want nothing said of a limit", stderr)
	}
}

func TestWrongValuesAreNamedWithFlagAndMend(t *testing.T) {
	long := "/" + strings.Repeat("x", 120)
	for _, c := range []struct{ flag, value, mend string }{
		{"listen", "1234", "write :1234 for all addresses"},
		{"heartbeat", "60", "write 60s for seconds"},
		{"run-dir", long, "name a shorter one"},
		{"run-dir", "/dev/null", "is not a directory"},
		{"config", "/no/such/file", "name a file that can be read"},
	} {
		status, stdout, stderr := do(t, "start", "--"+c.flag+"="+c.value)
		if status != statusUsage || stdout != "" {
			t.Errorf("--%s %s: got exit status %d and stdout %q, want %d and nothing", c.flag, c.value, status, stdout, statusUsage)
		}
		has(t, "message", stderr, "--"+c.flag, `"`+c.value+`"`, c.mend)
	}
}

func TestWrongConfigFileIsNamedWithTheMend(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{`{"xyzzy": ":1"}`, `there is no setting "xyzzy"; the settings are acme-ca, acme-dir, acme-directory, acme-domain, acme-email, address-clients-max, admin, admin-hosts, admin-pprof,`},
		{`[]`, "holds a JSON array; write an object"},
	} {
		path := configWith(t, c.text)
		status, _, stderr := do(t, "start", "--config", path)
		if status != statusUsage {
			t.Errorf("%.40q: exit status: got %d, want %d", c.text, status, statusUsage)
		}
		has(t, "message", stderr, "--config", path, c.want)
	}
}

func TestOneConfigFileServesAllVerbs(t *testing.T) {
	dir := shortDir(t)
	path := configWith(t, `{"listen": "127.0.0.1:0", "run-dir": "`+dir.path+`"}`)
	status, _, stderr := do(t, "status", "--config", path)
	if status != statusFailed {
		t.Errorf("exit status: got %d, want %d", status, statusFailed)
	}
	has(t, "message", stderr, "no server is running with run dir "+dir.path)
}
