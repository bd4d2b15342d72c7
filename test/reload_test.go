package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// configured starts a server with a config file, and returns a function that writes another one.
func configured(t *testing.T, text string, args ...string) (*server, func(text string)) {
	t.Helper()
	dir := runDir(t)
	path := filepath.Join(dir, "config.json")
	write := func(text string) { t.Helper(); must(t, os.WriteFile(path, []byte(text), 0o600)) }
	write(text)
	return startWith(t, starting{dir: dir, args: append([]string{"--config", path}, args...)}), write
}

// settings are those that status shows to be in force.
func (s *server) settings() map[string]string {
	s.t.Helper()
	var st struct {
		Settings map[string]string `json:"settings"`
	}
	must(s.t, askControl(s.dir, "/status", &st))
	return st.Settings
}

func TestReloadedLimitsHoldForClientsThatAreThere(t *testing.T) {
	t.Parallel()
	s, write := configured(t, `{"message-max": "64KiB", "heartbeat": "off", "client-groups-max": 3}`)
	m, over, silent := member(t, s, "g"), dial(t, s), dial(t, s)
	silent.silent = true
	must(t, over.join("g"))
	must(t, silent.join("g"))
	long := strings.Repeat("x", 2<<10)
	must(t, over.text(sendCommand("g", long)))
	for _, c := range []*client{m, over, silent} {
		c.expect(t, long)
	}
	m2 := dial(t, s)
	for _, group := range []string{"a", "b", "c"} {
		must(t, m2.join(group))
	}

	write(`{"message-max": "1KiB", "heartbeat": "off", "client-groups-max": 1, "loops": 2}`)
	r := run("reload", "--run-dir", s.dir)
	equal(t, "exit status", r.exit, 0)
	equal(t, "reload", r.stdout, "message-max: 64KiB → 1KiB\nclient-groups-max: 3 → 1\nneeds a restart: loops\n")
	equal(t, "message-max in status", s.settings()["message-max"], "1KiB")
	equal(t, "loops in status", len(s.status().Loops), 8)

	// What is over a limit already stays, and gets nothing more.
	m2.expectError(t, joinCommand("d"), "too_many_groups")
	must(t, m2.text(sendCommand("a", "a member as before")))
	m2.expect(t, "a member as before")
	must(t, over.text(sendCommand("g", long)))
	over.expectClose(t, 1009)
	must(t, m.text(sendCommand("g", "shorter")))
	m.expect(t, "shorter")

	write(`{"message-max": "1KiB", "heartbeat": "1s", "client-groups-max": 1, "loops": 2}`)
	equal(t, "second reload", run("reload", "--run-dir", s.dir).stdout, "heartbeat: off → 1s\nneeds a restart: loops\n")
	must(t, answersPings(m2))
	silent.expect(t, "shorter")
	silent.expectClose(t, 1001)
	if got := s.status().Total.HeartbeatClosed; got < 1 {
		t.Errorf("heartbeat_closed: got %d, want the silent client counted", got)
	}
	equal(t, "reload of the same", run("reload", "--run-dir", s.dir).stdout, "needs a restart: loops\n")
}

// answersPings serves a client until it was pinged and has answered.
func answersPings(c *client) error {
	for {
		if e, err := c.read(); err != nil || e.op == 9 {
			return err
		}
	}
}

func TestAWrongConfigFileChangesNothingInARunningServer(t *testing.T) {
	t.Parallel()
	s, write := configured(t, `{"message-max": "64KiB"}`)
	before := s.settings()
	for text, names := range map[string]string{
		`{"message-max": "1KiB", "heartbeat": "60"}`:   "write 60s for seconds",
		`{"message-max": "1KiB", "heart-beat": "60s"}`: `no setting "heart-beat"`,
		`{"message-max": "1KiB"`:                       "is not a JSON object",
	} {
		write(text)
		r := run("reload", "--run-dir", s.dir)
		if r.exit != wrongSettings || r.stdout != "" || !strings.Contains(r.stderr, names) {
			t.Errorf("reload with %s: got exit %d with %q, want %d and %q", text, r.exit, r.all(), wrongSettings, names)
		}
		equal(t, "settings after it", fmt.Sprint(s.settings()), fmt.Sprint(before))
	}
	must(t, syscall.Kill(s.pid, syscall.SIGUSR1))
	s.eventually("the log tells of the failure", func() error {
		if !strings.Contains(s.out.String(), "reload failed") {
			return errors.New("got nothing about it")
		}
		return nil
	})
	c := member(t, s, "g")
	long := strings.Repeat("x", 2<<10)
	must(t, c.text(sendCommand("g", long)))
	c.expect(t, long)

	r := run("reload", "--run-dir", runDir(t))
	if r.exit != 1 || !strings.Contains(r.stderr, "no server is running") {
		t.Errorf("reload without a server: got exit %d with %q, want 1 and that none is running", r.exit, r.all())
	}
}

func TestSignalsReloadAndADaemonsLogSaysWhat(t *testing.T) {
	t.Parallel()
	dir := runDir(t)
	config := filepath.Join(dir, "config.json")
	must(t, os.WriteFile(config, []byte(`{"groups-max": 1}`), 0o600))
	st := daemon(t, dir, "--config", config)
	for i, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGUSR1} {
		must(t, os.WriteFile(config, fmt.Appendf(nil, `{"groups-max": %d}`, i+2), 0o600))
		must(t, syscall.Kill(st.PID, sig))
		want := fmt.Sprintf("groups-max: %d → %d", i+1, i+2)
		eventually(t, fmt.Sprintf("the log tells of the reload by %v", sig), func() error {
			if log, err := os.ReadFile(filepath.Join(dir, "ringcast.log")); err != nil || !strings.Contains(string(log), want) {
				return fmt.Errorf("got %s, %v, want %q", log, err, want)
			}
			return nil
		})
	}
}

func TestTheLogLevelOfARunningServerCanBeLowered(t *testing.T) {
	t.Parallel()
	s, write := configured(t, `{}`)
	write(`{"log-level": "debug"}`)
	equal(t, "reload", run("reload", "--run-dir", s.dir).stdout, "log-level: info → debug\n")
	c := dial(t, s)
	must(t, c.raw([]byte{0x81, 0x00})) // not masked
	c.expectClose(t, 1002)
	s.eventually("the log says why it was closed", func() error {
		if out := s.out.String(); !strings.Contains(out, "closing a client") || !strings.Contains(out, `why="1002 `) {
			return fmt.Errorf("got %s", out)
		}
		return nil
	})
}

// Each round renames the log, as logrotate does, and has it reopened, while clients connect and disconnect and are logged.
// Every line must be in one of the files, complete.
func TestALogRotatedByRenameLosesNothing(t *testing.T) {
	t.Parallel()
	const rounds, clients = 5, 20
	dir := runDir(t)
	path := filepath.Join(dir, "log")
	s := startWith(t, starting{dir: dir, args: []string{"--log-level", "debug", "--log-format", "json", "--log-file", path}})
	var closed []string
	for round := range rounds {
		opened := make(chan error, 1)
		go func() {
			r := run("reload", "--run-dir", dir)
			if r.exit != 0 || r.stdout != "nothing changed\n" {
				opened <- fmt.Errorf("reload: got exit %d with %q, want 0 and that nothing changed", r.exit, r.all())
			}
			close(opened)
		}()
		must(t, os.Rename(path, fmt.Sprintf("%s.%d", path, round)))
		for range clients {
			c := dial(t, s)
			closed = append(closed, c.conn.LocalAddr().String())
			must(t, c.raw([]byte{0x81, 0x00})) // not masked: closed, and the log says so
			c.expectClose(t, 1002)
		}
		must(t, <-opened)
		// The reload may have opened the file before it was renamed.
		equal(t, "exit status of one more reload", run("reload", "--run-dir", dir).exit, 0)
	}
	s.signal(syscall.SIGTERM)
	equal(t, "exit status", s.exit(), 0)

	told := map[string]int{}
	files, err := filepath.Glob(path + "*")
	must(t, err)
	equal(t, "log files", len(files), rounds+1)
	for _, file := range files {
		text, err := os.ReadFile(file)
		must(t, err)
		for line := range strings.Lines(string(text)) {
			var l struct {
				Msg    string `json:"msg"`
				Remote string `json:"remote"`
			}
			if err := json.Unmarshal([]byte(line), &l); err != nil {
				t.Errorf("%s: got line %q, want JSON", filepath.Base(file), line)
			}
			if l.Msg == "closing a client" {
				told[l.Remote]++
			}
		}
	}
	for _, remote := range closed {
		if told[remote] != 1 {
			t.Errorf("lines about the close of %s: got %d, want 1", remote, told[remote])
		}
	}
}

func TestHangUpReloadsWhereThereIsNoTerminalToLose(t *testing.T) {
	t.Parallel()
	dir := runDir(t)
	config := filepath.Join(dir, "config.json")
	must(t, os.WriteFile(config, []byte(`{}`), 0o600))
	s := inSession(t, dir, nil, "--config", config)
	must(t, os.WriteFile(config, []byte(`{"groups-max": 9}`), 0o600))
	s.signal(syscall.SIGHUP)
	s.eventually("the limit is in force", func() error {
		if got := s.settings()["groups-max"]; got != "9" {
			return fmt.Errorf("got groups-max %q, want 9", got)
		}
		return nil
	})
}

func TestHangUpOfTheTerminalEndsAServerInItsForeground(t *testing.T) {
	t.Parallel()
	ours, theirs := terminal(t)
	s := inSession(t, runDir(t), theirs)
	must(t, theirs.Close())
	c := member(t, s, "g")
	must(t, ours.Close()) // the window is closed; the kernel sends SIGHUP to its session's leader
	c.expectClose(t, 1001)
	equal(t, "exit status", s.exit(), 0)
}

// inSession starts a server as the leader of a session of its own, with a controlling terminal or without.
func inSession(t *testing.T, dir string, tty *os.File, args ...string) *server {
	t.Helper()
	s := &server{t: t, dir: dir, out: &output{}, over: make(chan struct{})}
	s.cmd = exec.Command(program, append([]string{"start", "--run-dir", dir, "--listen", "127.0.0.1:0"}, args...)...)
	s.cmd.Stdout, s.cmd.Stderr = s.out, s.out
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if tty != nil {
		s.cmd.Stdin = tty
		s.cmd.SysProcAttr.Setctty = true // of standard input
	}
	must(t, s.cmd.Start())
	s.pid = s.cmd.Process.Pid
	go func() {
		s.cmd.Wait() // its error says what ProcessState says
		close(s.over)
	}()
	t.Cleanup(s.cleanUp)
	s.waitUp()
	return s
}

// terminal makes a pseudo terminal (pty(7)): our end, and the end that is a program's.
func terminal(t *testing.T) (ours, theirs *os.File) {
	t.Helper()
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	must(t, err)
	t.Cleanup(func() { ours.Close() })
	must(t, unix.IoctlSetPointerInt(int(ours.Fd()), unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(int(ours.Fd()), unix.TIOCGPTN)
	must(t, err)
	theirs, err = os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|syscall.O_NOCTTY, 0)
	must(t, err)
	t.Cleanup(func() { theirs.Close() })
	return ours, theirs
}

func TestAnUnknownVariableIsReportedAtTheStart(t *testing.T) {
	t.Parallel()
	s := startWith(t, starting{env: []string{"RINGCAST_LOPS=2"}})
	if want := "RINGCAST_LOPS is set but is not a setting; did you mean RINGCAST_LOOPS?"; !strings.Contains(s.out.String(), want) {
		t.Errorf("start: got %q, want %q in it", s.out.String(), want)
	}
	equal(t, "loops", len(s.status().Loops), 8)
}
