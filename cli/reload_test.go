package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ringcast/cli/settings"
	"ringcast/loop"
)

// limitsApplied are the limits that the fake server was given since its start.
func (f *fakeServer) limitsApplied() []loop.Limits {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]loop.Limits(nil), f.applied...)
}

func rewrite(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// settingsOf are the settings that status shows.
func settingsOf(t *testing.T, dir runDir) map[string]string { return statusNow(t, dir).Settings }

func statusNow(t *testing.T, dir runDir) (s Status) {
	t.Helper()
	status, stdout, stderr := do(t, "status", "--json", "--run-dir", dir.path)
	if err := json.Unmarshal([]byte(stdout), &s); status != 0 || err != nil {
		t.Fatalf("status --json: got exit status %d, %v: %s", status, err, stderr)
	}
	return s
}

func TestReloadTakesUpTheConfigFileAnewAndSaysWhatChanged(t *testing.T) {
	dir, f := shortDir(t), newFakeServer()
	config := configWith(t, `{"message-max": "1MiB", "heartbeat": "off", "loops": 3}`)
	v := serving(t, f, dir, "--config", config, "--command-rate", "7")

	status, stdout, stderr := do(t, "reload", "--run-dir", dir.path)
	if status != 0 || stdout != "nothing changed\n" || len(f.limitsApplied()) != 0 {
		t.Errorf("with the same file: got exit status %d, %q, %q and %d changes, want 0, that nothing changed, and none",
			status, stdout, stderr, len(f.limitsApplied()))
	}

	rewrite(t, config, `{"message-max": "2KiB", "stop-timeout": "1m", "command-rate": 9, "allowed-origins": ["https://a.example", "null"],
		"loops": 4, "run-dir": "/elsewhere", "tcp-keepalive": "30s"}`)
	status, stdout, stderr = do(t, "reload", "--run-dir", dir.path)
	want := "message-max: 1MiB → 2KiB\nallowed-origins: * → https://a.example,null\nheartbeat: off → 60s\nstop-timeout: 10s → 1m\n" +
		"needs a restart: loops, tcp-keepalive\n"
	if status != 0 || stdout != want {
		t.Errorf("got exit status %d, %q and\n%s\nwant 0 and\n%s", status, stderr, stdout, want)
	}
	applied := f.limitsApplied()
	if len(applied) != 1 || applied[0].MessageBytesMax != 2<<10 || applied[0].Heartbeat != time.Minute ||
		applied[0].CommandsPerSecond != 7 || len(applied[0].AllowedOrigins) != 2 {
		t.Errorf("limits applied: got %+v, want once those of the file and of the flags", applied)
	}
	if got := settingsOf(t, dir); got["message-max"] != "2KiB" || got["command-rate"] != "7" || got["stop-timeout"] != "1m" {
		t.Errorf("settings in status: got %v, want those in force", got)
	}

	// What needs a restart still does, until there is one.
	if _, stdout, _ = do(t, "reload", "--run-dir", dir.path); stdout != "needs a restart: loops, tcp-keepalive\n" {
		t.Errorf("once more: got %q, want that loops and tcp-keepalive need a restart", stdout)
	}
	given := make(chan time.Duration, 1)
	f.stop = func(ctx context.Context) error {
		deadline, _ := ctx.Deadline()
		given <- time.Until(deadline)
		return nil
	}
	v.asked <- os.Interrupt
	v.exit(t) // the log is written beside the answers, and is whole at the end
	if d := <-given; d < 30*time.Second {
		t.Errorf("time for a stop: got %v, want the new --stop-timeout, 1m", d)
	}
	has(t, "log", v.err.String(), "msg=reloaded", "message-max: 1MiB → 2KiB", "needs_restart=\"[loops tcp-keepalive]\"")
}

func TestAnotherRunDirNeedsARestart(t *testing.T) {
	dir, f := shortDir(t), newFakeServer()
	config := configWith(t, `{"run-dir": "`+dir.path+`", "listen": "127.0.0.1:0"}`)
	v := begin(f, "start", "--config", config)
	eventually(t, "the server has printed its banner", func() bool { return strings.Contains(v.out.String(), "Start success.") })
	rewrite(t, config, `{"run-dir": "/elsewhere", "listen": "127.0.0.1:0"}`)
	if _, stdout, stderr := do(t, "reload", "--run-dir", dir.path); stdout != "needs a restart: run-dir\n" {
		t.Errorf("got %q, %q, want that run-dir needs a restart", stdout, stderr)
	}
	v.asked <- os.Interrupt
	v.exit(t)
}

func TestAWrongConfigFileChangesNothingAndIsTold(t *testing.T) {
	dir, f := shortDir(t), newFakeServer()
	config := configWith(t, `{"message-max": "1MiB"}`)
	v := serving(t, f, dir, "--config", config)
	before := settingsOf(t, dir)
	for _, c := range []struct{ text, want string }{
		{`{"message-max": "2KiB", "heartbeat": "60"}`, `--heartbeat "60" (from the config file) has no unit; write 60s for seconds`},
		{`{"message-max": "2KiB", "mesage-max": "1KiB"}`, `there is no setting "mesage-max"; did you mean "message-max"?`},
		{`{"message-max": "2KiB", "daemon": "perhaps"}`, "daemon"},
		{`{"message-max": "2KiB"`, "is not a JSON object"},
	} {
		rewrite(t, config, c.text)
		status, stdout, stderr := do(t, "reload", "--run-dir", dir.path)
		if status != statusUsage || stdout != "" {
			t.Errorf("%s: got exit status %d and %q, want %d and nothing", c.text, status, stdout, statusUsage)
		}
		has(t, "message", stderr, "ringcast reload: ", c.want)
	}
	if got := statusNow(t, dir).Reloads; got != (Reloads{Failed: 4}) {
		t.Errorf("reloads in status: got %+v, want four that failed", got)
	}
	v.reload <- syscall.SIGHUP
	eventually(t, "the log tells of the failure, as of that of the verb", func() bool {
		return strings.Count(v.err.String(), "level=ERROR") == 5 && strings.Count(v.err.String(), "is not a JSON object") == 2
	})
	if got := statusNow(t, dir).Reloads; got != (Reloads{Failed: 5}) {
		t.Errorf("reloads in status: got %+v, want five that failed", got)
	}
	if err := os.Remove(config); err != nil {
		t.Fatal(err)
	}
	status, _, stderr := do(t, "reload", "--run-dir", dir.path)
	if status != statusUsage {
		t.Errorf("without the file: got exit status %d, want %d", status, statusUsage)
	}
	has(t, "message", stderr, config, "no such file or directory")
	if after := settingsOf(t, dir); len(f.limitsApplied()) != 0 || after["message-max"] != before["message-max"] {
		t.Errorf("after wrong files: got %d changes and %v, want none and %v", len(f.limitsApplied()), after, before)
	}
	v.asked <- os.Interrupt
	v.exit(t)
}

func TestASignalReloadsAndTheLogSaysSo(t *testing.T) {
	dir, f := shortDir(t), newFakeServer()
	config := configWith(t, `{}`)
	v := serving(t, f, dir, "--config", config)
	rewrite(t, config, `{"groups-max": 5, "message-max": "2MiB"}`)
	v.reload <- syscall.SIGHUP
	eventually(t, "the log tells of the reload, and then of what it has led to", func() bool {
		return strings.Contains(v.err.String(), "--outbox-max is less than --message-max")
	})
	if applied := f.limitsApplied(); len(applied) != 1 || applied[0].GroupsMax != 5 {
		t.Errorf("limits applied: got %+v, want groups-max 5", applied)
	}
	has(t, "log", v.err.String(), "msg=reloaded", "groups-max: off → 5")
	v.asked <- os.Interrupt
	v.exit(t)
}

// A reload may hang for as long as a file system does. Also its end may come when the server has gone.
func TestAnEndDoesNotWaitForAReload(t *testing.T) {
	for _, end := range []string{"in good order", "at once"} {
		dir, f := shortDir(t), newFakeServer()
		hangs, never := make(chan struct{}), make(chan struct{})
		f.apply = func(context.Context) error { close(hangs); <-never; return nil }
		stopping := make(chan struct{})
		if end == "at once" {
			f.telling = func() { close(stopping); <-never }
		}
		config := configWith(t, `{}`)
		v := serving(t, f, dir, "--config", config, "--log-file", dir.path+"/log")
		rewrite(t, config, `{"groups-max": 5}`)
		v.reload <- syscall.SIGHUP
		<-hangs
		v.asked <- os.Interrupt
		if end == "at once" {
			<-stopping
			<-time.After(echoTime) // what comes sooner is taken for the first one's echo
			v.asked <- os.Interrupt
		}
		v.exit(t)
		left(t, dir)
		close(never)
	}
}

func TestALogFileIsNotOpenedAnewAfterItsEnd(t *testing.T) {
	path := t.TempDir() + "/log"
	l, err := openLog(&settings.Settings{LogFile: path}, nil)
	if err != nil {
		t.Fatal(err)
	}
	var both sync.WaitGroup
	both.Go(l.close)
	both.Go(func() { _ = l.reopen() })
	both.Wait()
	if err := l.reopen(); err == nil {
		t.Error("reopened after the end: got nil, want an error")
	}
}

// Who asks for a reload by a signal during the start gets it when clients can connect.
func TestASignalDuringTheStartReloadsWhenTheServerIsReady(t *testing.T) {
	dir, f := shortDir(t), newFakeServer()
	let, asks := make(chan struct{}), make(chan struct{})
	f.letIn = func() { close(asks); <-let }
	v := begin(f, "start", "--run-dir", dir.path, "--listen", "127.0.0.1:0")
	v.reload <- syscall.SIGHUP
	<-asks
	if status, _, stderr := do(t, "reload", "--run-dir", dir.path); status != 0 { // its turn is after the signal's, if that has begun
		t.Errorf("reload during the start: got exit status %d: %s", status, stderr)
	}
	if got := statusNow(t, dir).Reloads; got.Done != 1 {
		t.Errorf("reloads before the server is ready: got %+v, want that of the verb alone", got)
	}
	close(let)
	eventually(t, "the reload by a signal", func() bool { return statusNow(t, dir).Reloads.Done == 2 })
	v.asked <- os.Interrupt
	v.exit(t)
}

func TestAReloadTakesUpKindsOfGroups(t *testing.T) {
	dir, f := shortDir(t), newFakeServer()
	config := configWith(t, `{"members-max": 9, "history": 3}`)
	v := serving(t, f, dir, "--config", config)
	rewrite(t, config, `{"members-max": 9, "history": 5, "groups": [{"match": "chat:*", "members-max": "off", "history": 100, "history-ttl": "10m"}, {"match": "*"}]}`)
	want := "history: 3 → 5\n" + `groups: none → [{"match":"chat:*","members-max":"off","history":100,"history-ttl":"10m"},{"match":"*"}]` + "\n"
	if status, stdout, stderr := do(t, "reload", "--run-dir", dir.path); status != 0 || stdout != want {
		t.Errorf("got exit status %d, %q and %q, want 0 and %q", status, stderr, stdout, want)
	}
	kinds := []loop.Kind{{Match: "chat:*", History: 100, HistoryTTL: 10 * time.Minute}, {Match: "*", MembersMax: 9, History: 5, HistoryTTL: 5 * time.Minute}}
	if applied := f.limitsApplied(); len(applied) != 1 || !slices.Equal(applied[0].Kinds, kinds) {
		t.Errorf("limits applied: got %+v, want once the kinds %v", applied, kinds)
	}
	rewrite(t, config, `{"groups": [{"match": "*"}, {"match": "chat:*"}]}`)
	status, _, stderr := do(t, "reload", "--run-dir", dir.path)
	if status != statusUsage || len(f.limitsApplied()) != 1 {
		t.Errorf("wrong kinds: got exit status %d and %d changes, want %d and one", status, len(f.limitsApplied()), statusUsage)
	}
	has(t, "message", stderr, config, `entry 2 of "groups" ("chat:*") is never reached`, "put it before that entry")
	v.asked <- os.Interrupt
	v.exit(t)
	if status, _, stderr := do(t, "start", "--config", config, "--run-dir", dir.path); status != statusUsage || !strings.Contains(stderr, `"chat:*"`) {
		t.Errorf("a start with them: got exit status %d and %q, want %d and the entry", status, stderr, statusUsage)
	}
}

func TestAReloadThatTheLoopsDoNotTakeUpFailsAndCanBeRepeated(t *testing.T) {
	dir, f := shortDir(t), newFakeServer()
	f.apply = func(context.Context) error { return errors.New("no luck") }
	config := configWith(t, `{}`)
	v := serving(t, f, dir, "--config", config)
	rewrite(t, config, `{"groups-max": 5}`)
	status, _, stderr := do(t, "reload", "--run-dir", dir.path)
	if status != statusFailed {
		t.Errorf("exit status: got %d, want %d", status, statusFailed)
	}
	has(t, "message", stderr, "no luck", "try again")
	f.mu.Lock()
	f.apply = nil
	f.mu.Unlock()
	if status, stdout, _ := do(t, "reload", "--run-dir", dir.path); status != 0 || stdout != "groups-max: off → 5\n" {
		t.Errorf("again: got exit status %d and %q, want 0 and the change", status, stdout)
	}
	v.asked <- os.Interrupt
	v.exit(t)
}

func TestReloadWithoutAServerFails(t *testing.T) {
	dir := shortDir(t)
	status, _, stderr := do(t, "reload", "--run-dir", dir.path)
	if status != statusFailed {
		t.Errorf("exit status: got %d, want %d", status, statusFailed)
	}
	has(t, "message", stderr, "no server is running")
}

func TestLogLevelCanBeChanged(t *testing.T) {
	dir, f := shortDir(t), newFakeServer()
	config := configWith(t, `{"log-level": "error"}`)
	v := serving(t, f, dir, "--config", config)
	if got := v.err.String(); got != "" {
		t.Errorf("log at level error: got %q, want nothing", got)
	}
	rewrite(t, config, `{"log-level": "debug"}`)
	do(t, "reload", "--run-dir", dir.path)
	f.cfg.Log.Debug("closely looked at")
	rewrite(t, config, `{"log-level": "error"}`)
	do(t, "reload", "--run-dir", dir.path)
	f.cfg.Log.Warn("not looked at")
	v.asked <- os.Interrupt
	v.exit(t)
	has(t, "log", v.err.String(), "msg=reloaded", "log-level: error → debug", "closely looked at",
		"log-level: debug → error") // each reload is logged at the lower level
	if strings.Contains(v.err.String(), "not looked at") {
		t.Errorf("log at level error: got a warning in %q, want none", v.err.String())
	}
}

func TestARenamedLogFileIsOpenedAnewEvenWhenTheConfigFileIsWrong(t *testing.T) {
	dir, f := shortDir(t), newFakeServer()
	config, path := configWith(t, `{}`), filepath.Join(dir.path, "my.log")
	v := serving(t, f, dir, "--config", config, "--log-file", path)
	olds := []string{path + "1", path + "2"}
	for i, text := range []string{`{}`, `{"heartbeat": "never"}`} {
		rewrite(t, config, text)
		old := olds[i]
		if err := os.Rename(path, old); err != nil {
			t.Fatal(err)
		}
		f.cfg.Log.Info("before", "round", i)
		do(t, "reload", "--run-dir", dir.path)
		f.cfg.Log.Info("after", "round", i)
	}
	v.asked <- os.Interrupt
	v.exit(t)
	for i, file := range append(olds, path) {
		text, _ := os.ReadFile(file)
		for round := range olds {
			before, after := fmt.Sprintf("msg=before round=%d\n", round), fmt.Sprintf("msg=after round=%d\n", round)
			if strings.Contains(string(text), before) != (i == round) || strings.Contains(string(text), after) != (i == round+1) {
				t.Errorf("file %d: got\n%s\nwant each line on its side of the reload", i, text)
			}
		}
	}
}

func TestALogFileThatCannotBeOpenedAnewGoesOn(t *testing.T) {
	dir, f := shortDir(t), newFakeServer()
	logs := filepath.Join(dir.path, "logs")
	if err := os.Mkdir(logs, 0o700); err != nil {
		t.Fatal(err)
	}
	v := serving(t, f, dir, "--log-file", filepath.Join(logs, "my.log"))
	if err := os.Rename(logs, logs+".old"); err != nil {
		t.Fatal(err)
	}
	status, _, stderr := do(t, "reload", "--run-dir", dir.path)
	if status != statusUsage {
		t.Errorf("exit status: got %d, want %d", status, statusUsage)
	}
	has(t, "message", stderr, "--log-file", "no such file or directory")
	f.cfg.Log.Info("still written")
	v.asked <- os.Interrupt
	v.exit(t)
	text, _ := os.ReadFile(filepath.Join(logs+".old", "my.log"))
	has(t, "old log file", string(text), "still written")
}

// The program does not change its directory, but the one it was started in may have been moved or removed.
func TestFilesAreRelativeToWhereTheProgramWasStarted(t *testing.T) {
	dir, f := shortDir(t), newFakeServer()
	rewrite(t, filepath.Join(dir.path, "c.json"), `{"groups-max": 1}`)
	t.Chdir(t.TempDir())
	v := &verb{asked: make(chan os.Signal, 2), exited: make(chan int, 1)}
	r := &env{args: []string{"start", "--run-dir", ".", "--config", "c.json"}, dir: dir.path, stdout: &v.out, stderr: &v.err, serve: f.serve,
		signals: func(bool) (<-chan os.Signal, <-chan os.Signal, func()) { return v.asked, nil, func() {} }}
	go func() { v.exited <- run(r) }()
	eventually(t, "the server has printed its banner", func() bool { return strings.Contains(v.out.String(), "Start success.") })
	rewrite(t, filepath.Join(dir.path, "c.json"), `{"groups-max": 2}`)
	if status, stdout, stderr := do(t, "reload", "--run-dir", dir.path); status != 0 || !strings.HasPrefix(stdout, "groups-max: 1 → 2\nWARNING: Pages of any site may connect") {
		t.Errorf("got exit status %d, %q and %q, want 0 and the change", status, stdout, stderr)
	}
	v.asked <- os.Interrupt
	v.exit(t)
}

// The stack of a crash goes to standard error, which the daemon's parent has redirected to the log file.
func TestADaemonsStandardErrorFollowsTheLogFile(t *testing.T) {
	t.Setenv(childEnv, "serve")
	dir := shortDir(t)
	ended(t, dir)
	if status, _, stderr := do(t, "start", "-d", "--run-dir", dir.path); status != 0 {
		t.Fatalf("start -d: got exit status %d: %s", status, stderr)
	}
	pid, err := listenerPID(dir)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir.path, "ringcast.log")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	syscall.Kill(pid, syscall.SIGHUP)
	eventually(t, "the log file is there again", func() bool {
		text, _ := os.ReadFile(path)
		return strings.Contains(string(text), "msg=reloaded")
	})
	for _, fd := range []string{"1", "2"} {
		if to, err := os.Readlink(filepath.Join("/proc", strconv.Itoa(pid), "fd", fd)); err != nil || to != path {
			t.Errorf("descriptor %s: got %q, %v, want %q", fd, to, err, path)
		}
	}
	if status, _, stderr := do(t, "stop", "--run-dir", dir.path); status != 0 {
		t.Errorf("stop: got exit status %d: %s", status, stderr)
	}
}
