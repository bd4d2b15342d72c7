package test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestStartPrintsABannerWithWhatAnOperatorNeeds(t *testing.T) {
	t.Parallel()
	s := start(t, "--loops", "3")
	for _, want := range []string{
		"ringcast", "127.0.0.1:" + port(s.addr), "http://" + s.addr + "/", strconv.Itoa(s.pid), runtime.Version(), "Linux",
		run("version").word(1),
	} {
		if !strings.Contains(s.out.String(), want) {
			t.Errorf("banner: got\n%s\nwant %q in it", s.out.String(), want)
		}
	}
	if !regexp.MustCompile(`(?m)\bloops\b[\s\S]*\b3\b`).MatchString(s.out.String()) {
		t.Errorf("banner: got\n%s\nwant the number of loops, 3", s.out.String())
	}
}

func port(addr string) string { _, p, _ := net.SplitHostPort(addr); return p }

func TestStartingTwiceInOneRunDirIsRefusedWithThePID(t *testing.T) {
	t.Parallel()
	s := start(t)
	m := member(t, s, "g")
	for _, args := range [][]string{nil, {"-d"}} {
		r := run(append([]string{"start", "--listen", "127.0.0.1:0", "--run-dir", s.dir}, args...)...)
		if r.exit == 0 || !strings.Contains(r.all(), strconv.Itoa(s.pid)) {
			t.Errorf("second start %v: got exit %d with %q, want a refusal that names pid %d", args, r.exit, r.all(), s.pid)
		}
	}
	must(t, m.text(sendCommand("g", "the first one serves on")))
	m.expect(t, "the first one serves on")
	equal(t, "pid in status", s.status().PID, s.pid)
}

func TestPIDFileOfADeadServerIsRecognised(t *testing.T) {
	t.Parallel()
	first := start(t)
	first.signal(syscall.SIGKILL) // it cannot clean up
	first.exit()
	r := run("status", "--run-dir", first.dir)
	if r.exit == 0 || r.all() == "" {
		t.Errorf("status of a dead server: got exit %d with %q, want a failure with words", r.exit, r.all())
	}
	second := startWith(t, starting{dir: first.dir})
	must(t, dial(t, second).join("g"))
	if !strings.Contains(second.out.String(), strconv.Itoa(first.pid)) {
		t.Errorf("start over a stale pid file: got\n%s\nwant the dead server's pid %d mentioned", second.out.String(), first.pid)
	}

	// The pid of a running process that is not our server, and text that is not a pid.
	for _, left := range []string{strconv.Itoa(os.Getpid()), "1", "no number", ""} {
		dir := runDir(t)
		if err := os.WriteFile(filepath.Join(dir, "ringcast.pid"), []byte(left+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if r := run("stop", "--run-dir", dir); strings.Contains(r.all(), "panic") {
			t.Errorf("stop with %q left in the pid file: got %q", left, r.all())
		}
		startWith(t, starting{dir: dir})
	}
}

// daemon starts a server in the background and stops it with the test.
func daemon(t *testing.T, dir string, args ...string) status {
	t.Helper()
	t.Cleanup(func() { run("stop", "--run-dir", dir) })
	r := run(append([]string{"start", "-d", "--listen", "127.0.0.1:0", "--run-dir", dir}, args...)...)
	if r.exit != 0 {
		t.Fatalf("start -d: got exit %d with %s, want 0", r.exit, r.all())
	}
	st, err := readStatus(dir) // at once: start -d returns when the server serves
	must(t, err)
	return st
}

// gone waits for the end of a process that is not our child.
func gone(t *testing.T, pid int) {
	t.Helper()
	eventually(t, fmt.Sprintf("pid %d is gone", pid), func() error {
		if runs(pid) {
			return errors.New("got it running")
		}
		return nil
	})
}

// runs says whether a process that is not our child has not ended; a zombie has.
func runs(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.HasPrefix(string(stat[strings.LastIndex(string(stat), ")")+1:]), " Z")
}

func TestDaemonIsStartedAskedAndStopped(t *testing.T) {
	t.Parallel()
	dir := runDir(t)
	st := daemon(t, dir)
	s := &server{t: t, dir: dir, addr: st.Listen, over: make(chan struct{})}
	c := member(t, s, "g")
	must(t, c.text(sendCommand("g", "served")))
	c.expect(t, "served")
	table := run("status", "--run-dir", dir)
	if table.exit != 0 || !strings.Contains(table.stdout, strconv.Itoa(st.PID)) {
		t.Errorf("status: got exit %d with\n%s\nwant pid %d in it", table.exit, table.all(), st.PID)
	}
	closed := make(chan error, 1)
	go func() {
		code, err := c.closeCode()
		if err == nil && code != 1001 {
			err = fmt.Errorf("close code: got %d, want 1001", code)
		}
		closed <- err
	}()
	if r := run("stop", "--run-dir", dir); r.exit != 0 {
		t.Errorf("stop: got exit %d with %s, want 0", r.exit, r.all())
	}
	gone(t, st.PID)
	must(t, <-closed)
	for _, verb := range []string{"status", "connections", "stop"} {
		r := run(verb, "--run-dir", dir)
		if r.exit == 0 || !strings.Contains(r.all(), "no server") {
			t.Errorf("%s without a server: got exit %d with %q, want it said that no server runs", verb, r.exit, r.all())
		}
	}
	left, err := filepath.Glob(filepath.Join(dir, "*"))
	must(t, err)
	for _, name := range left {
		if !strings.HasSuffix(name, ".log") {
			t.Errorf("after stop: got %s left in the run dir, want nothing but the log", filepath.Base(name))
		}
	}
}

func TestDaemonThatCannotStartSaysWhyAndFails(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer taken.Close()
	dir := runDir(t)
	r := run("start", "-d", "--listen", taken.Addr().String(), "--run-dir", dir)
	if r.exit == 0 || !strings.Contains(r.all(), taken.Addr().String()) {
		t.Errorf("start -d on a taken port: got exit %d with %q, want a failure that names %s", r.exit, r.all(), taken.Addr())
	}
	if r := run("status", "--run-dir", dir); r.exit == 0 {
		run("stop", "--run-dir", dir)
		t.Errorf("status after it: got exit 0 with %q, want a failure", r.all())
	}
}

func TestRestartServesOnTheSameAddressByANewProcess(t *testing.T) {
	t.Parallel()
	dir := runDir(t)
	first := daemon(t, dir)
	s := &server{t: t, dir: dir, addr: first.Listen, over: make(chan struct{})}
	c := member(t, s, "g")
	closed := make(chan int, 1)
	go func() {
		code, _ := c.closeCode()
		closed <- code
	}()
	r := run("restart", "-d", "--listen", first.Listen, "--run-dir", dir, "--loops", "2")
	if r.exit != 0 {
		t.Fatalf("restart: got exit %d with %s, want 0", r.exit, r.all())
	}
	equal(t, "close code of the old client", <-closed, 1001)
	st, err := readStatus(dir)
	must(t, err)
	equal(t, "address", st.Listen, first.Listen)
	equal(t, "loops", len(st.Loops), 2)
	if st.PID == first.PID {
		t.Errorf("after restart: got pid %d again, want a new process", st.PID)
	}
	gone(t, first.PID)
	c = member(t, s, "g")
	must(t, c.text(sendCommand("g", "served again")))
	c.expect(t, "served again")
}

func TestRestartWithoutAServerStartsOne(t *testing.T) {
	t.Parallel()
	dir := runDir(t)
	t.Cleanup(func() { run("stop", "--run-dir", dir) })
	if r := run("restart", "-d", "--listen", "127.0.0.1:0", "--run-dir", dir); r.exit != 0 {
		t.Fatalf("restart: got exit %d with %s, want 0", r.exit, r.all())
	}
	_, err := readStatus(dir)
	must(t, err)
}

func TestRestartOntoATakenPortLeavesTheServerRunning(t *testing.T) {
	t.Parallel()
	s := start(t)
	taken := start(t)
	r := run("restart", "-d", "--listen", taken.addr, "--run-dir", s.dir)
	if r.exit != 1 || !strings.Contains(r.all(), taken.addr) || !strings.Contains(r.all(), "another program has this port") {
		t.Errorf("restart onto %s: got exit %d with %s, want 1 and the port named", taken.addr, r.exit, r.all())
	}
	c := member(t, s, "g")
	must(t, c.text(sendCommand("g", "still served")))
	c.expect(t, "still served")
}

func TestRestartTriesOnlyAddressesThatTheOldServerDoesNotHave(t *testing.T) {
	t.Parallel()
	dir := runDir(t)
	file := func(name string) string { return "unix:" + filepath.Join(dir, name) }
	first := daemon(t, dir, "--listen", "127.0.0.1:0", "--listen", file("http.sock"), "--channel", file("channel.sock"))
	tcp, _, _ := strings.Cut(first.Listen, ",")
	others := start(t, "--listen", "127.0.0.1:0", "--listen", file("others.sock"), "--channel", file("others channel.sock"))
	taken, _, _ := strings.Cut(others.addr, ",")
	restart := func(more ...string) result {
		return run(append([]string{"restart", "-d", "--run-dir", dir, "--listen", tcp}, more...)...)
	}
	for _, c := range []struct {
		more []string
		want string
	}{
		{[]string{"--listen", taken, "--listen", file("http.sock")}, taken},
		{[]string{"--listen", file("others.sock")}, "others.sock"},
		{[]string{"--channel", file("others channel.sock")}, "others channel.sock"},
	} {
		if r := restart(c.more...); r.exit != 1 || !strings.Contains(r.all(), c.want) || strings.Contains(r.all(), "Stopping") {
			t.Errorf("restart with %v: got exit %d with %s, want 1, %q named and nothing stopped", c.more, r.exit, r.all(), c.want)
		}
		if st, err := readStatus(dir); err != nil || st.PID != first.PID {
			t.Fatalf("after a restart that was refused: got pid %d, %v, want %d", st.PID, err, first.PID)
		}
	}
	r := restart("--listen", file("http.sock"), "--listen", file("another.sock"), "--channel", file("channel.sock"))
	if r.exit != 0 {
		t.Fatalf("restart on what the old server has, and one more: got exit %d with %s, want 0", r.exit, r.all())
	}
	st, err := readStatus(dir)
	must(t, err)
	equal(t, "addresses", st.Listen, strings.Join([]string{tcp, file("http.sock"), file("another.sock")}, ","))
	gone(t, first.PID)
	for _, name := range []string{"http.sock", "another.sock", "channel.sock"} {
		c, err := net.Dial("unix", filepath.Join(dir, name))
		if err != nil {
			t.Errorf("after the old process has ended, %s: %v", name, err)
			continue
		}
		c.Close()
	}
}

func TestTwoProcessesMayDrainAtOnce(t *testing.T) {
	t.Parallel()
	dir := runDir(t)
	args := []string{"--stop-timeout", "1h", "--outbox-max", "8MiB"}
	st := daemon(t, dir, args...)
	var slow []*client
	var pids []int
	for range 2 {
		s := &server{t: t, dir: dir, addr: st.Listen, over: make(chan struct{})}
		slow, pids = append(slow, stuck(t, s)), append(pids, st.PID)
		if r := run(append([]string{"restart", "-d", "--run-dir", dir, "--listen", st.Listen}, args...)...); r.exit != 0 {
			t.Fatalf("restart: got exit %d with %s, want 0", r.exit, r.all())
		}
		var err error
		st, err = readStatus(dir)
		must(t, err)
	}
	text := run("status", "--run-dir", dir).stdout
	for _, pid := range pids {
		if !runs(pid) || !strings.Contains(text, fmt.Sprintf("There is also pid %d", pid)) {
			t.Errorf("pid %d: got running %v and status\n%s\nwant that it drains", pid, runs(pid), text)
		}
	}
	for i, c := range slow {
		c.hangUp()
		gone(t, pids[i])
	}
	if text := run("status", "--run-dir", dir).stdout; strings.Contains(text, "There is also") {
		t.Errorf("status when both have ended: got\n%s\nwant nothing about them", text)
	}
}

func TestDebugLogSaysWhyAClientWasClosed(t *testing.T) {
	t.Parallel()
	s := start(t, "--log-level", "debug")
	c := dial(t, s)
	must(t, c.raw([]byte{0x81, 0x00})) // not masked
	c.expectClose(t, 1002)
	s.eventually("the log says so", func() error {
		for _, want := range []string{"closing a client", "1002", c.conn.LocalAddr().String()} {
			if !strings.Contains(s.out.String(), want) {
				return fmt.Errorf("got no %q in it", want)
			}
		}
		return nil
	})
}

func TestStatusShowsARowPerLoopAndTheirSum(t *testing.T) {
	t.Parallel()
	s := start(t, "--loops", "4")
	var members []*client
	for range 10 {
		members = append(members, member(t, s, "g"))
	}
	must(t, members[0].join("h"))
	must(t, members[0].text(sendCommand("g", "counted")))
	for _, m := range members {
		m.expect(t, "counted")
	}
	var st status
	s.eventually("every delivery is counted", func() error { // a pass counts when it ends, after its members have heard
		if st = s.status(); st.Total.Deliveries != 10 {
			return fmt.Errorf("got %d deliveries, want 10", st.Total.Deliveries)
		}
		return nil
	})
	equal(t, "rows", len(st.Loops), 4)
	var sum row
	for _, r := range st.Loops {
		sum.Clients += r.Clients
		sum.Members += r.Members
		sum.Deliveries += r.Deliveries
		sum.Homes += r.Homes
	}
	equal(t, "clients", sum.Clients, 10)
	equal(t, "members", sum.Members, 11)
	equal(t, "deliveries", sum.Deliveries, 10)
	equal(t, "homes: groups put in order by one loop each", sum.Homes, 2)
	equal(t, "total of clients, members, deliveries, homes",
		[4]any{st.Total.Clients, st.Total.Members, st.Total.Deliveries, st.Total.Homes},
		[4]any{sum.Clients, sum.Members, sum.Deliveries, sum.Homes})
	equal(t, "published", st.Total.Published, 1)
	equal(t, "pid", st.PID, s.pid)

	printed := run("status", "--json", "--run-dir", s.dir)
	equal(t, "exit status", printed.exit, 0)
	var same status
	if err := json.Unmarshal([]byte(printed.stdout), &same); err != nil {
		t.Fatalf("status --json: %v in %s", err, printed.all())
	}
	equal(t, "total in status --json", same.Total, st.Total)

	table := run("status", "--run-dir", s.dir)
	equal(t, "exit status", table.exit, 0)
	for _, want := range []string{s.addr, "clients", "groups", "members", "deliver", "lane", "refused", "slow"} {
		if !strings.Contains(strings.ToLower(table.stdout), want) {
			t.Errorf("status: got\n%s\nwant %q in it", table.stdout, want)
		}
	}
	rows := regexp.MustCompile(`(?m)^[0-3] .*$`).FindAllString(table.stdout, -1)
	equal(t, "rows that begin with a loop's number", len(rows), 4)
}

func TestStatusWatchPaintsAgainUntilItIsStopped(t *testing.T) {
	t.Parallel()
	s := start(t)
	out := &output{}
	watch := exec.Command(program, "status", "--watch", "--run-dir", s.dir)
	watch.Stdout, watch.Stderr = out, out
	must(t, watch.Start())
	over := make(chan struct{})
	go func() { watch.Wait(); close(over) }()
	eventually(t, "a second painting", func() error {
		if n := strings.Count(out.String(), s.addr); n < 2 {
			return fmt.Errorf("got the address %d times in %q, want it twice", n, out.String())
		}
		return nil
	})
	must(t, watch.Process.Signal(os.Interrupt))
	select {
	case <-over:
		equal(t, "exit status after an interrupt", watch.ProcessState.ExitCode(), 0)
	case <-time.After(patience):
		watch.Process.Kill()
		t.Errorf("status --watch does not end on an interrupt")
	}
}

func TestConnectionsListsEachClient(t *testing.T) {
	t.Parallel()
	s := start(t)
	remotes := map[string]int{} // address → groups
	for i := range 5 {
		c := dial(t, s)
		for g := range i {
			must(t, c.join(fmt.Sprintf("g%d", g)))
		}
		_, err := c.beforePong()
		must(t, err)
		remotes[c.conn.LocalAddr().String()] = i
	}
	r := run("connections", "--json", "--run-dir", s.dir)
	equal(t, "exit status", r.exit, 0)
	var list []struct {
		Loop   int    `json:"loop"`
		ID     uint64 `json:"id"`
		State  string `json:"state"`
		Groups int    `json:"groups"`
		SendQ  int    `json:"send_q"`
		Local  string `json:"local"`
		Remote string `json:"remote"`
	}
	if err := json.Unmarshal([]byte(r.stdout), &list); err != nil {
		t.Fatalf("connections --json: %v in %s", err, r.stdout)
	}
	equal(t, "connections", len(list), len(remotes))
	ids := map[uint64]bool{}
	for _, c := range list {
		groups, known := remotes[c.Remote]
		if !known || c.Groups != groups || c.State != "open" || c.Local != s.addr || c.SendQ != 0 || ids[c.ID] {
			t.Errorf("connection: got %+v, want an open one from one of %v with its number of groups and an id of its own", c, remotes)
		}
		ids[c.ID] = true
	}
	table := run("connections", "--run-dir", s.dir)
	for remote := range remotes {
		if !strings.Contains(table.stdout, remote) {
			t.Errorf("connections: got\n%s\nwant %s in it", table.stdout, remote)
		}
	}
}

func TestControlSocketIsForItsOwnerAlone(t *testing.T) {
	t.Parallel()
	s := start(t)
	sockets := 0
	must(t, filepath.WalkDir(s.dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.Type()&fs.ModeSocket != 0 {
			info, err := d.Info()
			if err != nil {
				return err
			}
			sockets++
			equal(t, "mode of "+d.Name(), info.Mode().Perm(), fs.FileMode(0o600))
		}
		return nil
	}))
	equal(t, "sockets in the run dir", sockets, 1)
	dir := filepath.Join(runDir(t), "made", "by start")
	startWith(t, starting{dir: dir})
	info, err := os.Stat(dir)
	must(t, err)
	equal(t, "mode of a run dir that start made", info.Mode().Perm(), fs.FileMode(0o700))
}

func TestSIGTERMTells1001ToAllAndExits0(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			tellsAllAndExits0(t, sig)
		})
	}
}

func tellsAllAndExits0(t *testing.T, sig syscall.Signal) {
	s := start(t)
	const members = 50
	codes := make(chan string, members)
	var clients []*client
	for range members {
		clients = append(clients, member(t, s, "g"))
	}
	half := bare(t, s)
	must(t, half.raw([]byte("GET / HTTP/1.1\r\nHost: x\r\n")))
	// What was accepted before the signal comes before the close.
	must1(t, clients[0].askOK)(sendCommand("g", "accepted before"))
	for _, c := range clients {
		go func() {
			text, err := c.next()
			if err == nil && text != "accepted before" {
				err = fmt.Errorf("got %q", text)
			}
			if err == nil {
				var code int
				code, err = c.closeCode()
				if err == nil {
					err = fmt.Errorf("%d", code)
				}
			}
			codes <- err.Error()
		}()
	}
	s.signal(sig)
	for range members {
		equal(t, fmt.Sprintf("close code after %v", sig), <-codes, "1001")
	}
	equal(t, fmt.Sprintf("exit status after %v", sig), s.exit(), 0)
	if _, err := half.discard(); err != nil {
		t.Errorf("unfinished handshake after %v: %v", sig, err)
	}
	if _, err := connect(s.addr, dialing{}); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("connect after the end: got %v, want refused", err)
	}
	if _, err := os.Stat(filepath.Join(s.dir, "ringcast.pid")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("pid file after the end: got %v, want none", err)
	}
}

func TestStopWaitsForSlowReadersNoLongerThanItsTimeout(t *testing.T) {
	t.Parallel()
	s := start(t, "--stop-timeout", "500ms", "--outbox-max", "8MiB")
	stuck(t, s)
	s.signal(syscall.SIGTERM)
	equal(t, "exit status: an end as announced, although a client did not read", s.exit(), 0)
}

func TestADrainingServerHasGivenUpAllThatASuccessorNeeds(t *testing.T) {
	t.Parallel()
	dir := runDir(t)
	args := []string{"--listen", freeAddr(t), "--admin", freeAddr(t), "--stop-timeout", "1h", "--outbox-max", "8MiB", "--channel", "unix:" + filepath.Join(dir, "channel.sock")}
	s := startWith(t, starting{dir: dir, args: args})
	php := subscriber(t, s)
	slow := stuck(t, s)
	half := bare(t, s)
	must(t, half.raw([]byte("GET / HTTP/1.1\r\nHost: x\r\n")))
	s.eventually("the unfinished handshake is known", func() error {
		if got := s.status().Total.Pending; got != 1 {
			return fmt.Errorf("got pending %d, want 1", got)
		}
		return nil
	})
	s.signal(syscall.SIGTERM)
	answer(t, half, http.StatusServiceUnavailable)
	s.eventually("nobody has the address", func() error {
		c, err := connect(s.addr, dialing{})
		if err == nil {
			c.hangUp()
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			return fmt.Errorf("got %v, want refused", err)
		}
		return nil
	})
	php.expectCut(t, "the Channel client of a server that stops") // so that it comes back to the successor

	// What an operator sees meanwhile.
	pid := strconv.Itoa(s.pid)
	s.eventually("the run dir is free", func() error {
		if r := run("status", "--run-dir", dir); r.exit != 1 || !strings.Contains(r.all(), "no server is running") || !strings.Contains(r.all(), "pid "+pid) {
			return fmt.Errorf("got exit %d with %q, want 1, that none is running and that pid %s is left", r.exit, r.all(), pid)
		}
		return nil
	})
	next := launch(t, starting{dir: dir, args: args[:8]})
	next.waitUp()
	c := member(t, next, "g")
	c.hangUp()
	if r := run("status", "--run-dir", dir); r.exit != 0 || !strings.Contains(r.stdout, "There is also pid "+pid) {
		t.Errorf("status of the successor: got exit %d with %s, want 0 and that pid %s is left", r.exit, r.all(), pid)
	}
	next.signal(syscall.SIGTERM)
	equal(t, "exit status of the successor", next.exit(), 0)

	// A stop has nobody to signal and waits for the one that is left; a second signal would end it at once.
	stopped := make(chan result, 1)
	go func() { stopped <- run("stop", "--run-dir", dir) }()
	slow.hangUp() // the last one that had something to receive
	r := <-stopped
	if r.exit != 0 && !strings.Contains(r.all(), "no server is running") { // that one may have ended before
		t.Errorf("stop: got exit %d with %q, want 0", r.exit, r.all())
	}
	equal(t, "exit status", s.exit(), 0)
	left, err := os.ReadDir(dir)
	must(t, err)
	equal(t, "files that are left in the run dir", len(left), 0)
}

func TestAStopWaitsForWhoWasStoppedBefore(t *testing.T) {
	t.Parallel()
	s := start(t, "--stop-timeout", "1h", "--outbox-max", "8MiB")
	slow := stuck(t, s)
	pid := strconv.Itoa(s.pid)
	first, again := exec.Command(program, "stop", "--run-dir", s.dir), exec.Command(program, "stop", "--run-dir", s.dir)
	out, outAgain := &output{}, &output{}
	first.Stdout, first.Stderr, again.Stdout, again.Stderr = out, out, outAgain, outAgain
	must(t, first.Start())
	s.eventually("the run dir is free", func() error {
		if r := run("status", "--run-dir", s.dir); !strings.Contains(r.all(), "what is left there is pid "+pid) {
			return fmt.Errorf("got %q", r.all())
		}
		return nil
	})
	must(t, again.Start())
	s.eventually("the second stop waits", func() error {
		if !strings.Contains(outAgain.String(), "Waiting for pid "+pid) {
			return fmt.Errorf("got %q", outAgain.String())
		}
		return nil
	})
	equal(t, "the server has ended", s.ended(), false)
	slow.hangUp()
	for _, stop := range []*exec.Cmd{first, again} {
		if err := stop.Wait(); err != nil {
			t.Errorf("stop: got %v with %q and %q, want exit status 0", err, out.String(), outAgain.String())
		}
	}
	equal(t, "exit status", s.exit(), 0)
	if !strings.Contains(out.String(), "Stopped.") || !strings.Contains(outAgain.String(), "Stopped.") {
		t.Errorf("stops: got %q and %q, want that both say that it has ended", out.String(), outAgain.String())
	}
}

func TestSecondSignalEndsAtOnce(t *testing.T) {
	t.Parallel()
	s := start(t, "--stop-timeout", "1h", "--outbox-max", "8MiB")
	stuck(t, s)
	s.signal(syscall.SIGTERM)
	s.eventually("the stop has begun", func() error {
		c, err := connect(s.addr, dialing{})
		if err != nil {
			return nil // no longer listening
		}
		defer c.hangUp()
		if err := c.handshake(s.addr, dialing{}); err == nil {
			return errors.New("it still lets clients in")
		}
		return nil
	})
	// Repeatedly: what comes within 0.3 s of the first is taken for its echo.
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for !s.ended() {
		<-again.C
		_ = s.cmd.Process.Signal(syscall.SIGTERM) // fails once it has ended
	}
	equal(t, "exit status: not an orderly end", s.exit(), 1)
	if !strings.Contains(s.out.String(), "second stop signal") {
		t.Errorf("log: got %q, want the second stop signal", s.out.String())
	}
}

// stuck returns a client with texts waiting in the server that it will not read.
func stuck(t *testing.T, s *server) *client {
	t.Helper()
	c := dial(t, s, dialing{readBytes: slowBytes})
	must(t, c.join("stuck"))
	sender := dial(t, s)
	text := strings.Repeat("x", 64<<10)
	s.eventually("texts wait in an outbox", func() error {
		for range 16 {
			_, err := publishAgain(sender, "stuck", text)
			must(t, err)
		}
		var list []struct {
			SendQ int `json:"send_q"`
		}
		if err := askControl(s.dir, "/connections", &list); err != nil {
			return err
		}
		for _, c := range list {
			if c.SendQ > 1<<20 {
				return nil
			}
		}
		return fmt.Errorf("got %+v, want a send_q over 1 MiB", list)
	})
	sender.hangUp()
	return c
}

func TestHangUpDoesNotKillADaemon(t *testing.T) {
	t.Parallel()
	dir := runDir(t)
	st := daemon(t, dir)
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGPIPE, syscall.SIGWINCH, syscall.SIGCONT} {
		must(t, syscall.Kill(st.PID, sig))
	}
	s := &server{t: t, dir: dir, addr: st.Listen, over: make(chan struct{})}
	must(t, dial(t, s).join("g"))
	equal(t, "pid", s.status().PID, st.PID)
}

// wrongSettings is the exit status for what is typed, set or written wrongly. It is none of Go's: a crash ends with 2.
const wrongSettings = 78

func TestWrongFlagsExit78AndNameFlagAndValue(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ flag, value string }{
		{"--loops", "0"}, {"--loops", "-1"}, {"--loops", "65"}, {"--loops", "many"}, {"--loops", "2.5"},
		{"--listen", "nowhere"}, {"--listen", "127.0.0.1:99999"}, {"--listen", "ws://127.0.0.1:1234"},
		{"--heartbeat", "soon"}, {"--heartbeat", "-5s"}, {"--heartbeat", "60"},
		{"--message-max", "big"}, {"--message-max", "0"}, {"--message-max", "-1"}, {"--outbox-max", "1XB"},
		{"--handshake-timeout", "0s"}, {"--handshake-timeout", "x"}, {"--stop-timeout", "-1s"},
		{"--log-level", "loud"}, {"--log-format", "xml"},
	} {
		r := run("start", "--run-dir", runDir(t), c.flag+"="+c.value)
		if r.exit != wrongSettings || !strings.Contains(r.stderr, c.flag) || !strings.Contains(r.stderr, c.value) || strings.Contains(r.stderr, "panic") {
			t.Errorf("start %s=%s: got exit %d with %q, want %d and a message that names both", c.flag, c.value, r.exit, r.all(), wrongSettings)
		}
	}
	for _, args := range [][]string{{"start", "--no-such-flag"}, {"dance"}, {"status", "extra"}} {
		r := run(append(args, "--run-dir", runDir(t))...)
		if r.exit != wrongSettings || !strings.Contains(r.stderr, args[len(args)-1]) {
			t.Errorf("%v: got exit %d with %q, want %d and a message that names %q", args, r.exit, r.all(), wrongSettings, args[len(args)-1])
		}
	}
	long := filepath.Join(runDir(t), strings.Repeat("long", 40))
	r := run("start", "--listen", "127.0.0.1:0", "--run-dir", long)
	if r.exit != wrongSettings || !strings.Contains(r.stderr, "--run-dir") {
		t.Errorf("start in a run dir too long for a socket: got exit %d with %q, want %d and --run-dir named", r.exit, r.all(), wrongSettings)
	}
}

func TestTakenPortIsToldPlainly(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer taken.Close()
	addr := taken.Addr().String()
	dir := runDir(t)
	r := run("start", "--listen", addr, "--run-dir", dir)
	if r.exit != 1 || !strings.Contains(r.all(), addr) || !strings.Contains(r.all(), "another program has this port") {
		t.Errorf("start on a taken port: got exit %d with %q, want 1 and a message that names %s and says who has it", r.exit, r.all(), addr)
	}
	startWith(t, starting{dir: dir}) // and nothing is left that would prevent a start
}

func TestFlagsBeatTheEnvironmentAndItBeatsTheConfigFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(runDir(t), "config.json")
	must(t, os.WriteFile(file, []byte(`{"loops": 2, "message-max": "2KiB", "heartbeat": "off"}`), 0o600))
	for _, c := range []struct {
		args, env []string
		loops     int
	}{
		{args: []string{"--config", file}, loops: 2},
		{env: []string{"RINGCAST_CONFIG=" + file}, loops: 2},
		{args: []string{"--config", file}, env: []string{"RINGCAST_LOOPS=3"}, loops: 3},
		{args: []string{"--config", file, "--loops", "4"}, env: []string{"RINGCAST_LOOPS=3"}, loops: 4},
		{env: []string{"RINGCAST_LOOPS=auto"}, loops: runtime.GOMAXPROCS(0)},
		{loops: 8},
	} {
		s := startWith(t, starting{args: c.args, env: c.env})
		equal(t, fmt.Sprintf("loops with %v %v", c.args, c.env), len(s.status().Loops), c.loops)
		if len(c.args) > 0 && c.args[0] == "--config" {
			m := member(t, s, "g")
			must(t, m.text(strings.Repeat(" ", 2049)))
			var closed closedError
			if _, err := m.next(); !errors.As(err, &closed) || closed.code != 1009 {
				t.Errorf("message over the file's message-max: got %v, want close 1009", err)
			}
		}
	}
	for text, names := range map[string]string{
		`{"lops": 2}`: "lops", `{"loops": "many"}`: "many", `{"loops": [2]}`: "loops", `{`: "config", ``: "config",
	} {
		must(t, os.WriteFile(file, []byte(text), 0o600))
		r := run("start", "--listen", "127.0.0.1:0", "--run-dir", runDir(t), "--config", file)
		if r.exit != wrongSettings || !strings.Contains(r.stderr, names) {
			t.Errorf("config file %q: got exit %d with %q, want %d and %q named", text, r.exit, r.all(), wrongSettings, names)
		}
	}
	r := run("start", "--run-dir", runDir(t), "--config", filepath.Join(filepath.Dir(file), "no such file"))
	if r.exit != wrongSettings || !strings.Contains(r.stderr, "no such file") {
		t.Errorf("config file that is not there: got exit %d with %q, want %d and its name", r.exit, r.all(), wrongSettings)
	}
	r = runWith([]string{"RINGCAST_LOOPS=none"}, "start", "--run-dir", runDir(t))
	if r.exit != wrongSettings || !strings.Contains(r.stderr, "RINGCAST_LOOPS") {
		t.Errorf("wrong value in the environment: got exit %d with %q, want %d and the variable named", r.exit, r.all(), wrongSettings)
	}
}

func TestVersionIsPrinted(t *testing.T) {
	t.Parallel()
	r := run("version")
	if r.exit != 0 || r.stderr != "" || !strings.HasPrefix(r.stdout, "ringcast ") {
		t.Errorf("version: got exit %d, %q and on standard error %q; want a line that begins with ringcast", r.exit, r.stdout, r.stderr)
	}
}

func TestLogIsJSONWhenAskedFor(t *testing.T) {
	t.Parallel()
	dir := runDir(t)
	file := filepath.Join(dir, "log")
	s := startWith(t, starting{dir: dir, args: []string{"--log-format", "json", "--log-level", "debug", "--log-file", file}})
	c := member(t, s, "g")
	must(t, c.closeWith(1000, ""))
	c.expectClose(t, 1000)
	s.signal(syscall.SIGTERM)
	equal(t, "exit status", s.exit(), 0)
	f, err := os.Open(file)
	must(t, err)
	defer f.Close()
	lines := 0
	for in := bufio.NewScanner(f); in.Scan(); lines++ {
		var line map[string]any
		if err := json.Unmarshal(in.Bytes(), &line); err != nil || line["msg"] == nil || line["level"] == nil || line["time"] == nil {
			t.Errorf("log line: got %q, want an object with time, level and msg", in.Text())
		}
	}
	if lines == 0 {
		t.Errorf("log: got no line, want some at level debug")
	}
}

// word gives the nth word of what was printed.
func (r result) word(n int) string {
	words := strings.Fields(r.stdout)
	if n >= len(words) {
		return fmt.Sprintf("no word %d in %q", n, r.stdout)
	}
	return words[n]
}
