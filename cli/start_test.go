package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"ringcast/cli/settings"
	"ringcast/loop"
)

// serving starts a server in the foreground and waits until it answers.
func serving(t *testing.T, f *fakeServer, dir runDir, flags ...string) *verb {
	t.Helper()
	v := begin(f, append([]string{"start", "--run-dir", dir.path, "--listen", "127.0.0.1:0"}, flags...)...)
	eventually(t, "the server has printed its banner", func() bool {
		select {
		case status := <-v.exited:
			t.Fatalf("start ended with exit status %d: %s", status, v.err.String())
		default:
		}
		return strings.Contains(v.out.String(), "Start success.")
	})
	return v
}

// left fails if a server has left anything in its run dir.
func left(t *testing.T, dir runDir) {
	t.Helper()
	for _, path := range []string{dir.pidFile(), dir.socket()} {
		if _, err := os.Lstat(path); !os.IsNotExist(err) {
			t.Errorf("after the end: %s: got %v, want that it is gone", path, err)
		}
	}
}

func TestStartHandsTheSettingsToTheLoops(t *testing.T) {
	dir, f := shortDir(t), newFakeServer()
	v := serving(t, f, dir, "--loops", "3", "--heartbeat", "off", "--message-max", "2KiB", "--outbox-max", "4KiB", "--handshake-timeout", "7s")
	v.asked <- os.Interrupt
	v.exit(t)
	got := f.cfg
	if got.HTTP == nil {
		t.Error("HTTP server: got none")
	}
	if got.Log == nil {
		t.Error("log: got none")
	}
	got.HTTP, got.Log = nil, nil
	want := loop.Config{Listen: []string{"127.0.0.1:0"}, Loops: 3, Limits: loop.Limits{Heartbeat: -1, MessageBytesMax: 2 << 10, OutboxBytesMax: 4 << 10, HandshakeTimeout: 7 * time.Second}}
	if !slices.Equal(got.Listen, want.Listen) || got.Loops != want.Loops || got.Heartbeat != want.Heartbeat || got.MessageBytesMax != want.MessageBytesMax ||
		got.OutboxBytesMax != want.OutboxBytesMax || got.HandshakeTimeout != want.HandshakeTimeout {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestSignalStopsGracefullyAndCleansUp(t *testing.T) {
	for _, sig := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		dir, f := shortDir(t), newFakeServer()
		given := make(chan time.Duration, 1)
		f.stop = func(ctx context.Context) error {
			deadline, _ := ctx.Deadline()
			given <- time.Until(deadline)
			return nil
		}
		v := serving(t, f, dir, "--stop-timeout", "1m")
		v.asked <- sig
		if status := v.exit(t); status != 0 {
			t.Errorf("%v: exit status: got %d, want 0", sig, status)
		}
		if d := <-given; d < 30*time.Second || d > time.Minute {
			t.Errorf("%v: time for clients: got %v, want --stop-timeout, 1m", sig, d)
		}
		has(t, "log", v.err.String(), "msg=listening", "msg=stopping", "clients=3", "msg=stopped")
		left(t, dir)
	}
}

func TestClientsThatStaySlowDoNotMakeAStopFail(t *testing.T) {
	dir, f := shortDir(t), newFakeServer()
	f.stop = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	v := serving(t, f, dir, "--stop-timeout", "0s")
	v.asked <- os.Interrupt
	if status := v.exit(t); status != 0 {
		t.Errorf("exit status: got %d, want 0", status)
	}
	has(t, "log", v.err.String(), "level=WARN", "had not received everything that was queued")
}

func TestAnOpenDoorForEveryPageIsWarnedOf(t *testing.T) {
	for _, test := range []struct {
		listen, origins string
		want            bool
	}{
		{"0.0.0.0:0", "*", true}, {":0", "*", true}, {"[::]:0", "*", true}, {"192.0.2.1:0", "*", true},
		{"127.0.0.1:0", "*", false}, {"[::1]:0", "*", false}, {"localhost:0", "*", false},
		{"0.0.0.0:0", "https://example.org", false},
	} {
		v := serving(t, newFakeServer(), shortDir(t), "--listen", test.listen, "--allowed-origins", test.origins)
		v.asked <- os.Interrupt
		v.exit(t)
		if got := strings.Contains(v.out.String(), "--allowed-origins"); got != test.want {
			t.Errorf("listen %s, origins %s: warned: got %v, want %v, in\n%s", test.listen, test.origins, got, test.want, v.out.String())
		}
	}
}

func TestAnAdminAddressForOthersIsWarnedOf(t *testing.T) {
	for admin, want := range map[string]bool{"0.0.0.0:0": true, "[::]:0": true, "127.0.0.1:0": false, "[::1]:0": false, "localhost:0": false, "off": false} {
		s, err := parse(t, "--run-dir", "/r", "--admin", admin)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(fmt.Sprint(warnings(&s, nil, s.Admin, nil, &keyFetcher{})), "--admin"); got != want {
			t.Errorf("admin %s: warned: got %v, want %v, in\n%s", admin, got, want, warnings(&s, nil, s.Admin, nil, &keyFetcher{}))
		}
	}
}

func TestSecondSignalEndsAtOnce(t *testing.T) {
	dir, f := shortDir(t), newFakeServer()
	stopping, never := make(chan struct{}), make(chan struct{})
	defer close(never)
	f.stop = func(context.Context) error { close(stopping); <-never; return nil }
	v := serving(t, f, dir, "--stop-timeout", "1h")
	v.asked <- os.Interrupt
	<-stopping
	<-time.After(echoTime) // what comes sooner is taken for the first one's echo
	v.asked <- os.Interrupt
	if status := v.exit(t); status != statusFailed {
		t.Errorf("exit status: got %d, want %d", status, statusFailed)
	}
	has(t, "log", v.err.String(), "second stop signal")
	left(t, dir)
}

// Whoever gets the run dir finds the port free, also where the server has not come so far as to give it up itself.
func TestEveryEndGivesUpThePortBeforeTheRunDir(t *testing.T) {
	for name, end := range map[string]func(f *fakeServer, v *verb, stopping <-chan struct{}){
		"a second signal before every client has been told": func(_ *fakeServer, v *verb, stopping <-chan struct{}) {
			v.asked <- os.Interrupt
			<-stopping
			<-time.After(echoTime) // what comes sooner is taken for the first one's echo
			v.asked <- os.Interrupt
		},
		"a stop in good order": func(f *fakeServer, v *verb, _ <-chan struct{}) {
			f.telling = nil
			v.asked <- os.Interrupt
		},
		"loops that have ended": func(f *fakeServer, _ *verb, _ <-chan struct{}) { f.end(errors.New("the moon fell down")) },
	} {
		dir, f := shortDir(t), newFakeServer()
		stopping, never := make(chan struct{}), make(chan struct{})
		f.telling = func() { close(stopping); <-never }
		var held []bool
		f.givenUp = func() {
			is, err := alive(dir)
			held = append(held, is && err == nil)
		}
		v := serving(t, f, dir, "--stop-timeout", "1h")
		end(f, v, stopping)
		v.exit(t)
		if len(held) != 1 || !held[0] {
			t.Errorf("%s: port given up: got it while the run dir was held: %v, want once, and held", name, held)
		}
		left(t, dir)
		close(never)
	}
}

func TestEchoOfASignalIsNoSecondWish(t *testing.T) {
	dir, f := shortDir(t), newFakeServer()
	stopping, clientsGone := make(chan struct{}), make(chan struct{})
	f.stop = func(context.Context) error { close(stopping); <-clientsGone; return nil }
	v := serving(t, f, dir, "--stop-timeout", "1h")
	v.asked <- os.Interrupt
	<-stopping
	v.asked <- os.Interrupt
	close(clientsGone)
	if status := v.exit(t); status != 0 {
		t.Errorf("exit status: got %d, want 0", status)
	}
	left(t, dir)
}

func TestServerThatEndsUnaskedIsAFailureWithItsReason(t *testing.T) {
	dir, f := shortDir(t), newFakeServer()
	v := serving(t, f, dir)
	f.end(errors.New("the moon fell down"))
	if status := v.exit(t); status != statusFailed {
		t.Errorf("exit status: got %d, want %d", status, statusFailed)
	}
	has(t, "log", v.err.String(), "level=ERROR", "ended unexpectedly", "the moon fell down")
	if n := strings.Count(v.err.String(), "the moon"); n != 1 {
		t.Errorf("reason: got it %d times, want once", n)
	}
	left(t, dir)
}

func TestSecondStartIsRefusedWithThePid(t *testing.T) {
	dir := shortDir(t)
	v := serving(t, newFakeServer(), dir)
	status, _, stderr := do(t, "start", "--run-dir", dir.path)
	if status != statusFailed {
		t.Errorf("exit status: got %d, want %d", status, statusFailed)
	}
	has(t, "refusal", stderr, "already running", "pid "+strconv.Itoa(os.Getpid()), "ringcast stop --run-dir "+dir.path)
	if status, _, stderr := do(t, "status", "--run-dir", dir.path); status != 0 {
		t.Errorf("the first server after it: got exit status %d: %s, want it to answer", status, stderr)
	}
	v.asked <- os.Interrupt
	v.exit(t)
}

func TestStartThatFailsLeavesNothing(t *testing.T) {
	on := func(address string, err error) error { return &loop.ListenError{Address: address, Err: err} }
	for _, c := range []struct {
		err  error
		want string
	}{
		{on("0.0.0.0:1234", syscall.EADDRINUSE), `--listen "0.0.0.0:1234": another program has this port`},
		{on("0.0.0.0:80", syscall.EACCES), "name one from 1024 on"},
		{on("192.0.2.1:80", syscall.EADDRNOTAVAIL), "does not have that address"},
		{on("unix:///run/x.sock", syscall.EADDRINUSE), "another program answers on this socket"},
		{on("unix:///run/x.sock?group=www-data", syscall.EPERM), "a group that it is in"},
		{on("unix:///nowhere/x.sock", syscall.ENOENT), "there is no such directory"},
		{on("x:1", errors.New("no such host")), `--listen "x:1": no such host`},
		{errors.New("no luck"), "no luck"},
	} {
		dir := shortDir(t)
		v := &verb{exited: make(chan int, 1)}
		r := &env{args: []string{"start", "--run-dir", dir.path}, stdout: &v.out, stderr: &v.err,
			signals: func(bool) (<-chan os.Signal, <-chan os.Signal, func()) { return nil, nil, func() {} },
			serve:   func(loop.Config) (server, hub, error) { return nil, nil, c.err }}
		if status := run(r); status != statusFailed || v.out.String() != "" {
			t.Errorf("%v: got exit status %d and stdout %q, want %d and nothing", c.err, status, v.out.String(), statusFailed)
		}
		has(t, "message", v.err.String(), c.want)
		left(t, dir)
	}
}

func TestLogIsAsAskedFor(t *testing.T) {
	dir := shortDir(t)
	path := dir.path + "/my.log"
	v := serving(t, newFakeServer(), dir, "--log-file", path, "--log-format", "json", "--log-level", "info")
	v.asked <- os.Interrupt
	v.exit(t)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	has(t, "log file", string(text), `"msg":"listening"`)
	if got := v.err.String(); got != "" {
		t.Errorf("standard error: got %q, want nothing", got)
	}
	var b bytes.Buffer
	log, _, _ := newLog(&b, &settings.Settings{LogLevel: slog.LevelWarn})
	log.Info("below")
	if b.Len() != 0 {
		t.Errorf("below the level: got %q, want nothing", b.String())
	}
	status, _, stderr := do(t, "start", "--run-dir", dir.path, "--log-file", "/no/such/dir/log")
	if status != statusUsage {
		t.Errorf("a log file that cannot be: got exit status %d, want %d", status, statusUsage)
	}
	has(t, "message", stderr, `--log-file "/no/such/dir/log"`, "no such file or directory")
}
