package test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A service manager as the server sees it: a socket that is told what becomes of it, and sockets that it is given.

// manager is a fake of systemd's side of sd_notify(3).
type manager struct {
	t    *testing.T
	path string
	conn *net.UnixConn
}

// listenAsManager opens the socket, an abstract one if the name begins with @.
func listenAsManager(t *testing.T, path string) *manager {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	return &manager{t, path, conn}
}

// next is the next notification that has all of wants among its lines; others are passed over.
func (m *manager) next(wants ...string) map[string]string {
	m.t.Helper()
	m.conn.SetReadDeadline(time.Now().Add(patience))
	buf := make([]byte, 64<<10)
	var before []string
	for {
		n, err := m.conn.Read(buf)
		if err != nil {
			m.t.Fatalf("waiting for %q: got %v, before it %q", wants, err, before)
		}
		text := string(buf[:n])
		lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
		if slices.ContainsFunc(wants, func(want string) bool { return !slices.Contains(lines, want) }) {
			before = append(before, text)
			continue
		}
		said := map[string]string{}
		for _, line := range lines {
			name, value, ok := strings.Cut(line, "=")
			if !ok || said[name] != "" {
				m.t.Errorf("notification %q: got line %q, want assignments, each name once", text, line)
			}
			said[name] = value
		}
		return said
	}
}

// monotonic is the clock of notifications about reloads, in microseconds.
func monotonic(t *testing.T) int64 {
	t.Helper()
	var now unix.Timespec
	must(t, unix.ClockGettime(unix.CLOCK_MONOTONIC, &now))
	return now.Nano() / 1000
}

func TestAServiceManagerIsToldWhatBecomesOfTheServer(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"file", "abstract"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			dir := runDir(t)
			path := filepath.Join(dir, "notify")
			if kind == "abstract" {
				path = "@" + path
			}
			m := listenAsManager(t, path)
			config := filepath.Join(dir, "config.json")
			must(t, os.WriteFile(config, []byte(`{}`), 0o600))
			s := inSession(t, dir, nil, "--config", config, "--stop-timeout", "7s") // without a terminal SIGHUP reloads
			s.signal(syscall.SIGTERM)
			equal(t, "exit status without a manager", s.exit(), 0)

			s = launch(t, starting{dir: dir, args: []string{"--config", config, "--stop-timeout", "7s", "--outbox-max", "8MiB"},
				env: []string{"NOTIFY_SOCKET=" + path, "WATCHDOG_USEC=200000"}})
			ready := m.next("READY=1")
			equal(t, "MAINPID", ready["MAINPID"], strconv.Itoa(s.pid))
			s.waitUp() // it is up: this does not wait
			if !strings.Contains(ready["STATUS"], s.addr) {
				t.Errorf("STATUS: got %q, want the address %s in it", ready["STATUS"], s.addr)
			}
			for range 3 {
				m.next("WATCHDOG=1")
			}

			// A reload by either way, and one that fails.
			for i, reload := range []func(){
				func() { s.signal(syscall.SIGUSR1) },
				func() { run("reload", "--run-dir", dir) },
				func() {
					must(t, os.WriteFile(config, []byte(`{"loops": "many"}`), 0o600))
					if r := run("reload", "--run-dir", dir); r.exit != wrongSettings {
						t.Errorf("reload of wrong settings: got exit %d with %q, want %d", r.exit, r.all(), wrongSettings)
					}
				},
			} {
				asked := monotonic(t)
				reload()
				begins := m.next("RELOADING=1")
				at, err := strconv.ParseInt(begins["MONOTONIC_USEC"], 10, 64)
				if now := monotonic(t); err != nil || at < asked || at > now {
					t.Errorf("reload %d: got MONOTONIC_USEC=%s, want a time from %d to %d", i, begins["MONOTONIC_USEC"], asked, now)
				}
				ends := m.next("READY=1")
				if failed := strings.Contains(ends["STATUS"], "failed"); failed != (i == 2) {
					t.Errorf("reload %d: got STATUS %q", i, ends["STATUS"])
				}
			}

			// A process that was stopped is not one that hangs.
			s.signal(syscall.SIGSTOP)
			s.signal(syscall.SIGCONT)
			m.next("WATCHDOG=1")

			c := stuck(t, s)
			s.signal(syscall.SIGTERM)
			stopping := m.next("STOPPING=1")
			if usec, err := strconv.ParseInt(stopping["EXTEND_TIMEOUT_USEC"], 10, 64); err != nil || usec < 7_000_000 {
				t.Errorf("EXTEND_TIMEOUT_USEC: got %q, want at least the 7 s of --stop-timeout", stopping["EXTEND_TIMEOUT_USEC"])
			}
			m.next("WATCHDOG=1") // also while it drains
			c.hangUp()
			equal(t, "exit status", s.exit(), 0)
		})
	}
}

func TestAServiceManagerThatDoesNotListenIsNoFailure(t *testing.T) {
	t.Parallel()
	full := filepath.Join(runDir(t), "full")
	listenAsManager(t, full) // nobody reads, and the kernel keeps some ten datagrams only
	for _, path := range []string{"/no/such/socket", full, "nonsense", ""} {
		s := startWith(t, starting{env: []string{"NOTIFY_SOCKET=" + path, "WATCHDOG_USEC=1000"}})
		member(t, s, "g").hangUp()
		equal(t, "exit status of a reload with "+path, run("reload", "--run-dir", s.dir).exit, 0)
		s.signal(syscall.SIGTERM)
		equal(t, "exit status with "+path, s.exit(), 0)
	}
}

// A manager that could not listen when the server was ready still learns that it is, or it would end it.
func TestAServiceManagerThatListensLateIsTold(t *testing.T) {
	t.Parallel()
	dir := runDir(t)
	path := filepath.Join(dir, "notify")
	s := startWith(t, starting{dir: dir, env: []string{"NOTIFY_SOCKET=" + path}})
	s.eventually("the banner, after which it says that it is ready", func() error {
		if out := s.out.String(); !strings.Contains(out, "Start success") {
			return fmt.Errorf("got %q", out)
		}
		return nil
	})
	member(t, s, "g").hangUp()
	m := listenAsManager(t, path)
	equal(t, "MAINPID", m.next("READY=1")["MAINPID"], strconv.Itoa(s.pid))
}

// What a manager says is said to one process: one in the background that it starts must neither speak for it nor take its
// sockets.
func TestAProcessInTheBackgroundHearsNothingOfAServiceManager(t *testing.T) {
	t.Parallel()
	dir := runDir(t)
	t.Cleanup(func() { run("stop", "--run-dir", dir) })
	r := runWith([]string{"NOTIFY_SOCKET=/no/such/socket", "WATCHDOG_USEC=1000000", "LISTEN_FDS=1", "LISTEN_PID=1", "LISTEN_FDNAMES=x"},
		"start", "-d", "--listen", "127.0.0.1:0", "--run-dir", dir)
	if r.exit != 0 || !strings.Contains(r.stderr, "NOTIFY_SOCKET") {
		t.Fatalf("start -d: got exit %d with %q, want 0 and a word on NOTIFY_SOCKET", r.exit, r.all())
	}
	st, err := readStatus(dir)
	must(t, err)
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", st.PID))
	must(t, err)
	for _, name := range []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES"} {
		if bytes.Contains(environ, []byte(name+"=")) {
			t.Errorf("environment of the process in the background: got %s in it", name)
		}
	}
}

func TestHandedInSocketsAreServedAndStayTheManagers(t *testing.T) {
	t.Parallel()
	dir := runDir(t)
	one, two := handedIn(t, "tcp", "127.0.0.1:0"), handedIn(t, "tcp", "[::1]:0")
	admin, channel := handedIn(t, "tcp", "127.0.0.1:0"), handedIn(t, "unix", filepath.Join(dir, "channel.sock"))
	o := starting{dir: dir, sockets: slices.Concat(one.files(), admin.files(), channel.files(), two.files()),
		env:  []string{"LISTEN_FDNAMES=ringcast.socket:admin:channel:"},
		args: []string{"--admin", "127.0.0.1:1", "--channel", "127.0.0.1:2"}} // where nothing of ours may listen
	s := startWith(t, o)
	st := s.status()
	equal(t, "listen in status", st.Listen, one.addr+","+two.addr)
	equal(t, "admin in status", st.Admin, admin.addr)
	equal(t, "channel in status", st.Channel.Addr, "unix:"+channel.addr)
	for _, want := range []string{"ws://" + one.addr, "ws://" + two.addr, "http://" + admin.addr, "--listen, --admin, --channel"} {
		if !strings.Contains(s.out.String(), want) {
			t.Errorf("banner and log: got %s, want %q in it", s.out.String(), want)
		}
	}
	inherited(t, s.pid)
	use := func() {
		t.Helper()
		a, err := open(one.addr, dialing{})
		must(t, err)
		defer a.hangUp()
		b, err := open(two.addr, dialing{})
		must(t, err)
		defer b.hangUp()
		must(t, a.join("g"))
		must(t, b.join("g"))
		must(t, b.text(sendCommand("g", "by both addresses")))
		a.expect(t, "by both addresses")
		php := subscriber(t, s)
		must(t, b.text(sendCommand("g", "to PHP")))
		php.expectEvent(t, "send_to_group", groupEvent("g", "to PHP"))
		if code, _, err := ask("http://"+admin.addr+"/readyz", ""); err != nil || code != http.StatusOK {
			t.Errorf("readyz: got %d, %v, want 200", code, err)
		}
	}
	use()
	s.signal(syscall.SIGTERM)
	equal(t, "exit status", s.exit(), 0)

	// They are there still, and whoever connects waits for the next server.
	waiting, err := connect(one.addr, dialing{})
	must(t, err)
	defer waiting.hangUp()
	php, err := net.Dial("unix", channel.addr)
	must(t, err)
	defer php.Close()
	s = startWith(t, o)
	must(t, waiting.handshake(one.addr, dialing{}))
	use()
}

// inherited checks that a program which the server might start gets none of its sockets.
func inherited(t *testing.T, pid int) {
	t.Helper()
	infos, err := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", pid))
	must(t, err)
	for _, name := range infos {
		text, err := os.ReadFile(name)
		if errors.Is(err, os.ErrNotExist) {
			continue // closed meanwhile
		}
		must(t, err)
		flags := regexp.MustCompile(`(?m)^flags:\s+(\d+)$`).FindStringSubmatch(string(text))
		if flags == nil {
			t.Fatalf("%s: got %q, want flags", name, text)
		}
		bits, err := strconv.ParseInt(flags[1], 8, 64)
		must(t, err)
		target, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%s", pid, filepath.Base(name)))
		if strings.HasPrefix(target, "socket:") && bits&unix.O_CLOEXEC == 0 {
			t.Errorf("descriptor %s, %s: got it inherited by programs that the server starts, want it closed there", filepath.Base(name), target)
		}
	}
}

func TestWrongSocketsAreNamedWithTheMend(t *testing.T) {
	t.Parallel()
	dir := runDir(t)
	good := handedIn(t, "tcp", "127.0.0.1:0")
	accepted := func() *os.File {
		c, err := net.Dial("tcp", good.addr)
		must(t, err)
		t.Cleanup(func() { c.Close() })
		f, err := c.(*net.TCPConn).File()
		must(t, err)
		t.Cleanup(func() { f.Close() })
		return f
	}()
	datagrams := listenAsManager(t, filepath.Join(dir, "datagrams"))
	datagram, err := datagrams.conn.File()
	must(t, err)
	t.Cleanup(func() { datagram.Close() })
	plain, err := os.Open(os.DevNull)
	must(t, err)
	t.Cleanup(func() { plain.Close() })
	one := good.files()[0]
	for _, c := range []struct {
		sockets []*os.File
		names   string
		args    []string
		wants   []string
	}{
		{[]*os.File{one, datagram}, "a:b", nil, []string{"descriptor 4", `"b"`, "ListenStream="}},
		{[]*os.File{accepted}, "", nil, []string{"descriptor 3", "Accept=no"}},
		{[]*os.File{plain}, "", nil, []string{"descriptor 3", "is not a socket"}},
		{[]*os.File{one, one, one}, "x:admin:admin", nil, []string{"descriptor 5", `"admin"`, "FileDescriptorName="}},
		{[]*os.File{one}, "admin", []string{"--admin", "off"}, []string{`"admin"`, "--admin"}},
		{[]*os.File{one}, "channel", nil, []string{`"channel"`, "--channel"}},
		{[]*os.File{one}, "", []string{"--daemon"}, []string{"--daemon", "LISTEN_FDS"}},
	} {
		s := launch(t, starting{sockets: c.sockets, args: append([]string{"--admin", "127.0.0.1:0"}, c.args...), env: []string{"LISTEN_FDNAMES=" + c.names}})
		equal(t, fmt.Sprintf("exit status with %q %v", c.names, c.args), s.exit(), wrongSettings)
		for _, want := range c.wants {
			if !strings.Contains(s.out.String(), want) {
				t.Errorf("with %q %v: got %q, want %q in it", c.names, c.args, s.out.String(), want)
			}
		}
	}
}

// A supervisor starts a server again that has crashed, and not one whose settings are wrong: it tells them by the exit status.
func TestACrashIsToldFromWrongSettings(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGSEGV, syscall.SIGABRT} {
		s := &server{t: t, dir: runDir(t), out: &output{}, over: make(chan struct{})}
		s.cmd = exec.Command(program, "start", "--run-dir", s.dir, "--listen", "127.0.0.1:0")
		var out bytes.Buffer // not the server's output, whose stacks would be taken for a fault
		s.cmd.Stderr = &out
		must(t, s.cmd.Start())
		s.pid = s.cmd.Process.Pid
		go func() {
			s.cmd.Wait()
			close(s.over)
		}()
		t.Cleanup(s.cleanUp)
		s.waitUp()
		s.signal(sig)
		equal(t, fmt.Sprintf("exit status after %v, Go's own", sig), s.exit(), 2)
		if !strings.Contains(out.String(), "goroutine ") {
			t.Errorf("output after %v: got %q, want the stacks of all goroutines", sig, out.String())
		}
	}
	equal(t, "exit status of wrong settings", run("start", "--run-dir", runDir(t), "--loops", "0").exit, wrongSettings)
}

// units are the unit files in docs/operating.md, by the names that stand above them.
func units(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	for _, m := range regexp.MustCompile("(?ms)^`(ringcast\\.[a-z]+)`.*?\n```ini\n(.*?)^```$").FindAllStringSubmatch(document(t, "docs/operating.md"), -1) {
		found[m[1]] = m[2]
	}
	return found
}

func TestTheUnitsInTheDocumentsPassSystemdsOwnCheck(t *testing.T) {
	t.Parallel()
	all := units(t)
	if all["ringcast.service"] == "" || all["ringcast.socket"] == "" {
		t.Fatalf("docs/operating.md: got units %v, want ringcast.service and ringcast.socket", all)
	}
	for _, want := range []string{"Type=notify-reload", "WatchdogSec=", "RestartPreventExitStatus=78", "Environment=RINGCAST_STOP_TIMEOUT=3s"} {
		if !strings.Contains(all["ringcast.service"], "\n"+want) {
			t.Errorf("ringcast.service: got no %s", want)
		}
	}
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skipf("no systemd-analyze here: %v", err)
	}
	version, err := exec.Command(analyze, "--version").Output()
	must(t, err)
	var number int
	fmt.Sscanf(string(version), "systemd %d", &number)
	dir := runDir(t)
	binary := filepath.Join(dir, "ringcast")
	copyFile(t, program, binary) // a unit's ExecStart must exist
	var files []string
	for name, text := range all {
		text = strings.ReplaceAll(text, "/usr/local/bin/ringcast", binary)
		if number < notifyReloadSince {
			t.Logf("systemd %d here knows no Type=notify-reload, which came with %d; checked with Type=notify", number, notifyReloadSince)
			text = strings.ReplaceAll(text, "Type=notify-reload", "Type=notify")
		}
		files = append(files, filepath.Join(dir, name))
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	slices.Sort(files)
	out, err := exec.Command(analyze, append([]string{"verify", "--man=no"}, files...)...).CombinedOutput()
	var ours []string
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "ringcast") { // not what it says of other units of this machine
			ours = append(ours, line)
		}
	}
	if err != nil || len(ours) > 0 {
		t.Errorf("systemd-analyze verify: got %v with %s, want no complaint", err, out)
	}
}

// notifyReloadSince is the systemd that has Type=notify-reload.
const notifyReloadSince = 253

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	in, err := os.Open(from)
	must(t, err)
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE, 0o755)
	must(t, err)
	_, err = io.Copy(out, in)
	must(t, errors.Join(err, out.Close()))
}

// files are the descriptors to hand in.
func (s handedSocket) files() []*os.File {
	s.t.Helper()
	file, err := s.net.(interface{ File() (*os.File, error) }).File()
	must(s.t, err)
	s.t.Cleanup(func() { file.Close() })
	return []*os.File{file}
}
