package cli

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// These tests run real processes: the test binary, which TestMain turns into the program with a fake server inside.

// ended ends what a failed test leaves running; it only uses a pid that the kernel has just confirmed.
func ended(t *testing.T, dir runDir) {
	t.Cleanup(func() {
		if held, _ := alive(dir); held {
			if pid, err := listenerPID(dir); err == nil && pid > 1 && pid != os.Getpid() {
				syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	})
}

func TestDaemonIsStartedRestartedAndStopped(t *testing.T) {
	t.Setenv(childEnv, "serve")
	dir := shortDir(t)
	ended(t, dir)

	status, stdout, stderr := do(t, "start", "-d", "--run-dir", dir.path)
	if status != 0 {
		t.Fatalf("start -d: got exit status %d: %s", status, stderr)
	}
	first, err := readPID(dir)
	if err != nil || first == os.Getpid() {
		t.Fatalf("pid file: got %d, %v, want a process of its own", first, err)
	}
	has(t, "banner", stdout, "pid "+strconv.Itoa(first), "[OK]", "Start success.", filepath.Join(dir.path, "ringcast.log"),
		"ringcast stop --run-dir "+dir.path)
	if strings.Contains(stdout, "Ctrl-C") {
		t.Errorf("banner: got %q, want no Ctrl-C in the background", stdout)
	}
	if session, err := sessionOf(first); err != nil || session != first {
		t.Errorf("session of the daemon: got %d, %v, want its own, %d", session, err, first)
	}

	status, stdout, stderr = do(t, "restart", "-d", "--run-dir", dir.path)
	if status != 0 {
		t.Fatalf("restart -d: got exit status %d: %s", status, stderr)
	}
	second, err := readPID(dir)
	if err != nil || second == first {
		t.Fatalf("pid after restart: got %d, %v, want another than %d", second, err, first)
	}
	has(t, "restart", stdout, "Stopping ringcast (pid "+strconv.Itoa(first)+")", "Stopped.", "pid "+strconv.Itoa(second))

	status, stdout, stderr = do(t, "stop", "--run-dir", dir.path)
	if status != 0 {
		t.Fatalf("stop: got exit status %d: %s", status, stderr)
	}
	has(t, "stop", stdout, "Stopping ringcast (pid "+strconv.Itoa(second)+")", "Stopped.")
	left(t, dir)
	text, _ := os.ReadFile(filepath.Join(dir.path, "ringcast.log"))
	if got := strings.Count(string(text), "msg=listening"); got != 2 {
		t.Errorf("log: got %d starts, want 2, in %s", got, text)
	}
	if status, _, stderr := do(t, "stop", "--run-dir", dir.path); status != statusFailed || !strings.Contains(stderr, "no server is running") {
		t.Errorf("stop again: got exit status %d and %q, want %d and that no server is running", status, stderr, statusFailed)
	}
}

// sessionOf is the session id of a process (proc_pid_stat(5), field 6).
func sessionOf(pid int) (int, error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return 0, err
	}
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 4 {
		return 0, errors.New("short stat")
	}
	return strconv.Atoi(fields[3])
}

func TestDaemonThatCannotStartSaysWhyInTheForeground(t *testing.T) {
	t.Setenv(childEnv, "fail")
	dir := shortDir(t)
	status, stdout, stderr := do(t, "start", "-d", "--run-dir", dir.path)
	if status != statusFailed || stdout != "" {
		t.Errorf("got exit status %d and stdout %q, want %d and nothing", status, stdout, statusFailed)
	}
	has(t, "message", stderr, "no luck")
	left(t, dir)
}

func TestRestartWithAWrongFlagStopsNothing(t *testing.T) {
	dir := shortDir(t)
	v := serving(t, newFakeServer(), dir)
	if status, _, _ := do(t, "restart", "--run-dir", dir.path, "--loops", "0"); status != statusUsage {
		t.Errorf("restart: got exit status %d, want %d", status, statusUsage)
	}
	if status, _, stderr := do(t, "status", "--run-dir", dir.path); status != 0 {
		t.Errorf("status after it: got exit status %d: %s, want the server alive", status, stderr)
	}
	v.asked <- os.Interrupt
	v.exit(t)
}

func TestKilledServerIsReplaced(t *testing.T) {
	t.Setenv(childEnv, "serve")
	dir := shortDir(t)
	ended(t, dir)
	if status, _, stderr := do(t, "start", "-d", "--run-dir", dir.path); status != 0 {
		t.Fatalf("start -d: got exit status %d: %s", status, stderr)
	}
	killed, err := listenerPID(dir)
	if err != nil {
		t.Fatal(err)
	}
	syscall.Kill(killed, syscall.SIGKILL)
	eventually(t, "the kernel has dropped the lock", func() bool { held, err := alive(dir); return err == nil && !held })
	if _, err := os.Stat(dir.socket()); err != nil {
		t.Fatalf("the killed server's socket: %v; this test wants it to be in the way", err)
	}
	if status, _, stderr := do(t, "start", "-d", "--run-dir", dir.path); status != 0 {
		t.Fatalf("start -d over it: got exit status %d: %s", status, stderr)
	}
	eventually(t, "the log says so", func() bool { // it is written beside everything else
		text, _ := os.ReadFile(filepath.Join(dir.path, "ringcast.log"))
		return strings.Contains(string(text), "replaced the pid file") && strings.Contains(string(text), "pid="+strconv.Itoa(killed))
	})
	if status, _, stderr := do(t, "stop", "--run-dir", dir.path); status != 0 {
		t.Errorf("stop: got exit status %d: %s", status, stderr)
	}
}

// The pid in the pid file is not the one that is signalled: here it is that of the test's parent, while this process holds
// the lock and the socket.
func TestHolderIsWhoTheKernelSaysAndNotThePidFile(t *testing.T) {
	dir := shortDir(t)
	l, err := takeLock(dir, silent)
	if err != nil {
		t.Fatal(err)
	}
	defer l.release()
	socket, err := net.Listen("unix", dir.socket())
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	if err := os.WriteFile(dir.pidFile(), []byte(strconv.Itoa(os.Getppid())), 0o600); err != nil {
		t.Fatal(err)
	}
	if pid, err := holder(dir); err != nil || pid != os.Getpid() {
		t.Errorf("got %d, %v, want %d", pid, err, os.Getpid())
	}
}

func TestHolderWithoutASocketIsTakenFromTheHeldPidFile(t *testing.T) {
	dir := shortDir(t)
	l, err := takeLock(dir, silent)
	if err != nil {
		t.Fatal(err)
	}
	if pid, err := holder(dir); err != nil || pid != os.Getpid() {
		t.Errorf("while held: got %d, %v, want %d", pid, err, os.Getpid())
	}
	l.release()
	if pid, err := holder(dir); err != nil || pid != 0 {
		t.Errorf("after release: got %d, %v, want 0", pid, err)
	}
}
