package cli

import (
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

var silent = logTo(io.Discard)

func logTo(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }

func TestLockIsHeldOnce(t *testing.T) {
	dir := shortDir(t)
	first, err := takeLock(dir, silent)
	if err != nil {
		t.Fatal(err)
	}
	pid := strconv.Itoa(os.Getpid())
	_, err = takeLock(dir, silent)
	if err == nil {
		t.Fatal("a second lock was given")
	}
	has(t, "refusal", err.Error(), "already running", "pid "+pid, "ringcast stop --run-dir "+dir.path)
	if got, err := readPID(dir); err != nil || strconv.Itoa(got) != pid {
		t.Errorf("pid file: got %d, %v, want %s", got, err, pid)
	}
	if held, err := alive(dir); err != nil || !held {
		t.Errorf("alive while held: got %v, %v, want true", held, err)
	}
	first.release()
	if held, err := alive(dir); err != nil || held {
		t.Errorf("alive after release: got %v, %v, want false", held, err)
	}
	if _, err := os.Stat(dir.pidFile()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("pid file after release: got %v, want that it is gone", err)
	}
	again, err := takeLock(dir, silent)
	if err != nil {
		t.Fatalf("after release: %v", err)
	}
	again.release()
}

// A pid file can outlive its server, and its pid can be that of another running program: here the test's own parent.
func TestStalePidFileIsReplacedAndItsProcessLeftAlone(t *testing.T) {
	dir := shortDir(t)
	stale := strconv.Itoa(os.Getppid())
	if err := os.WriteFile(dir.pidFile(), []byte(stale+"\nand more that was there\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, _, stderr := do(t, "stop", "--run-dir", dir.path); status != statusFailed || !strings.Contains(stderr, "no server is running") {
		t.Errorf("stop: got exit status %d and %q, want %d and that no server is running", status, stderr, statusFailed)
	}
	var log buffer
	l, err := takeLock(dir, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer l.release()
	text, _ := os.ReadFile(dir.pidFile())
	if want := strconv.Itoa(os.Getpid()) + "\n"; string(text) != want {
		t.Errorf("pid file: got %q, want %q", text, want)
	}
	has(t, "log", log.String(), "level=WARN", "replaced the pid file", stale)
}

// Locks are taken and released by many at once; never may two hold one run dir, whatever name the file had at that time.
func TestOnlyOneOfManyHoldsTheLock(t *testing.T) {
	dir := shortDir(t)
	var holders atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 1000 {
				file, err := flock(dir.pidFile(), os.O_RDWR|os.O_CREATE, syscall.LOCK_EX)
				if errors.Is(err, errLocked) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				if n := holders.Add(1); n != 1 {
					t.Errorf("holders at once: got %d, want 1", n)
				}
				for range 10 {
					runtime.Gosched()
				}
				holders.Add(-1)
				(&lock{dir: dir, file: file}).release()
			}
		})
	}
	all.Wait()
}
