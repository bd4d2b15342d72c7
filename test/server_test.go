// Package test holds the tests of the whole program: they build the binary, start it as an operator would, and speak to
// it over sockets, signals, files and a browser. Its rule: nothing of the program is imported, so that a test can only
// observe what a user can observe.
package test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// program is the program under test. TestMain builds it once; RINGCAST_BINARY names another to be tested instead.
var program string

// built is where programs are built, gone after the last test.
var built string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		// Most of these tests spend their time waiting for a server, so more of them than there are cores run at once.
		flag.Parse()
		if f := flag.Lookup("test.parallel"); f.Value.String() == strconv.Itoa(runtime.GOMAXPROCS(0)) {
			perCore := 3
			if raceDetector { // all that is done takes longer then, and no wait does
				perCore = 2
			}
			f.Value.Set(strconv.Itoa(perCore * runtime.GOMAXPROCS(0)))
		}
		// A variable meant for an operator's server must not reach the servers under test.
		for _, kv := range os.Environ() {
			if name, _, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "RINGCAST_") && name != "RINGCAST_BINARY" {
				os.Unsetenv(name)
			}
		}
		// Under nohup SIGHUP is ignored, and child processes inherit that. They do not inherit that a signal is caught.
		signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP)
		os.Setenv("RINGCAST_ADMIN", "off") // there is only one default port, but many servers under test
		var err error
		if built, err = os.MkdirTemp("", "rc-build-"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(built)
		if program = os.Getenv("RINGCAST_BINARY"); program == "" {
			if program, err = build("ringcast"); err != nil {
				fmt.Fprintln(os.Stderr, "the program under test does not build:", err)
				return 1
			}
		}
		return m.Run()
	}())
}

// build builds a program of ours, in the way in which these tests are built themselves.
func build(path string) (program string, err error) {
	program = filepath.Join(built, filepath.Base(path))
	args := []string{"build", "-o", program}
	if raceDetector {
		args = append(args, "-race", "-tags", "invariants")
	}
	if out, err := exec.Command("go", append(args, path)...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return program, nil
}

// server is one running ringcast.
type server struct {
	t    testing.TB
	dir  string
	addr string // where plain HTTP is spoken, or TLS where it is nowhere
	wss  string // where TLS is spoken, if anywhere
	pid  int
	out  *output
	cmd  *exec.Cmd
	over chan struct{} // closed when the process has ended
	kept bool          // a test ended it itself and has looked at the outcome
}

// starting is how a server is started; its zero value is the ordinary way.
type starting struct {
	args        []string
	cgroup      string // folder of a control group to run in
	env         []string
	descriptors int        // ulimit -n, 0 for the one of this process
	dir         string     // run dir; made when empty
	program     string     // other than the program under test, if not empty
	output      *os.File   // standard output and error, nil: they are gathered and looked through
	inside      *netns     // where it runs, nil for the namespace of the tests
	verb        string     // start when empty
	sockets     []*os.File // handed in, as a service manager does
}

// start runs a server on a free loopback port with further flags and ends it with the test.
func start(t testing.TB, args ...string) *server {
	t.Helper()
	return startWith(t, starting{args: args})
}

func startWith(t testing.TB, o starting) *server {
	t.Helper()
	s := launch(t, o)
	s.waitUp()
	return s
}

// launch starts the process and does not wait until it serves.
func launch(t testing.TB, o starting) *server {
	t.Helper()
	if o.dir == "" {
		o.dir = runDir(t)
	}
	s := &server{t: t, dir: o.dir, out: &output{}, over: make(chan struct{})}
	if o.verb == "" {
		o.verb = "start"
	}
	args := append([]string{o.verb, "--run-dir", s.dir}, o.args...)
	if !slices.Contains(o.args, "--listen") {
		args = append(args, "--listen", "127.0.0.1:0")
	}
	program := cmp.Or(o.program, program)
	s.cmd = exec.Command(program, args...)
	if len(o.sockets) > 0 { // LISTEN_PID is known when there is a process, which exec does not change
		s.cmd = exec.Command("sh", append([]string{"-c", `LISTEN_PID=$$ exec "$0" "$@"`, program}, args...)...)
		s.cmd.ExtraFiles = o.sockets
		o.env = append(o.env, fmt.Sprintf("LISTEN_FDS=%d", len(o.sockets)))
	}
	if o.descriptors > 0 {
		script := fmt.Sprintf(`ulimit -n %d; exec "$0" "$@"`, o.descriptors)
		s.cmd = exec.Command("sh", append([]string{"-c", script, program}, args...)...)
	}
	if o.cgroup != "" {
		script := fmt.Sprintf(`echo $$ > %s/cgroup.procs && exec "$0" "$@"`, o.cgroup)
		s.cmd = exec.Command("sh", append([]string{"-c", script, program}, args...)...)
	}
	s.cmd.Env = append(os.Environ(), o.env...)
	if o.output != nil {
		s.cmd.Stdout, s.cmd.Stderr = o.output, o.output
	}
	s.begin(o.inside)
	return s
}

// begin starts the process, in a network namespace if one is given, and ends it with the test.
func (s *server) begin(inside *netns) {
	s.t.Helper()
	if s.cmd.Stdout == nil {
		s.cmd.Stdout, s.cmd.Stderr = s.out, s.out
	}
	if err := inside.do(s.cmd.Start); err != nil {
		s.t.Fatalf("start: %v", err)
	}
	s.pid = s.cmd.Process.Pid
	go func() {
		s.cmd.Wait() // its error says what ProcessState says
		close(s.over)
	}()
	s.t.Cleanup(s.cleanUp)
}

// runDir makes a run dir with a short path, since the path of a unix socket has at most 107 bytes and the names of these
// tests are longer.
func runDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "rc-")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// waitUp waits until the server answers and learns its address.
func (s *server) waitUp() {
	s.t.Helper()
	var st status
	s.eventually("the server answers status", func() error {
		var err error
		st, err = readStatus(s.dir)
		if err == nil && (st.Listen+st.TLSListen == "" || strings.HasSuffix(st.Listen, ":0") || strings.HasSuffix(st.TLSListen, ":0")) {
			err = fmt.Errorf("status has listen %q and tls_listen %q, want the port taken", st.Listen, st.TLSListen)
		}
		return err
	})
	s.addr, s.wss = cmp.Or(st.Listen, st.TLSListen), st.TLSListen
}

// waitIn waits until clients are let in, which is later where the server is a node of a cluster.
func (s *server) waitIn() {
	s.t.Helper()
	s.eventually("the cluster is there", func() error {
		var st struct {
			Cluster *struct {
				Ready   bool
				Trouble string
			}
		}
		if err := json.Unmarshal([]byte(run("status", "--json", "--run-dir", s.dir).stdout), &st); err != nil {
			return err
		}
		if st.Cluster != nil && !st.Cluster.Ready {
			return fmt.Errorf("it says %q", st.Cluster.Trouble)
		}
		return nil
	})
}

// cleanUp stops the server gracefully, and checks for every run: exit status 0, no panic, no race.
func (s *server) cleanUp() {
	if !s.ended() {
		if !s.kept {
			if st, err := readStatus(s.dir); err == nil && st.Total.Panics != 0 {
				s.t.Errorf("panics counted by the server: got %d, want 0", st.Total.Panics)
			}
		}
		s.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-s.over:
		case <-time.After(patience):
			s.t.Errorf("the server does not end on SIGTERM; killed")
			s.cmd.Process.Kill()
			<-s.over
		}
	}
	if !s.kept && !s.cmd.ProcessState.Success() {
		s.t.Errorf("the server ended with %v, want exit status 0", s.cmd.ProcessState)
	}
	out := s.out.String()
	for _, sign := range []string{"DATA RACE", "panic:", "goroutine 1 [", "assertion"} {
		if strings.Contains(out, sign) {
			s.t.Errorf("the server's output contains %q", sign)
		}
	}
	if s.t.Failed() {
		if len(out) > 8<<10 {
			out = "…" + out[len(out)-8<<10:]
		}
		s.t.Logf("output of the server, pid %d:\n%s", s.pid, out)
	}
}

func (s *server) ended() bool {
	select {
	case <-s.over:
		return true
	default:
		return false
	}
}

// exit waits for the end of the process and gives its exit status, -1 after a signal.
func (s *server) exit() int {
	s.t.Helper()
	select {
	case <-s.over:
	case <-time.After(patience):
		s.t.Fatalf("the server still runs")
	}
	s.kept = true
	return s.cmd.ProcessState.ExitCode()
}

func (s *server) signal(sig os.Signal) {
	s.t.Helper()
	must(s.t, s.cmd.Process.Signal(sig))
}

// eventually tries until f gives no error; a server that has ended ends the wait too.
func (s *server) eventually(what string, f func() error) {
	s.t.Helper()
	eventually(s.t, what, func() error {
		if s.ended() {
			s.t.Fatalf("%s: the server has ended: %v", what, s.cmd.ProcessState)
		}
		return f()
	})
}

// eventually tries until f gives no error.
func eventually(t testing.TB, what string, f func() error) {
	t.Helper()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	deadline := time.After(patience)
	for {
		err := f()
		if err == nil {
			return
		}
		select {
		case <-again.C:
		case <-deadline:
			t.Fatalf("waited for: %s; last: %v", what, err)
		}
	}
}

// row is one loop's row of the status, or the sum.
type row struct {
	Clients         int64  `json:"clients"`
	Pending         int64  `json:"pending"`
	Groups          int64  `json:"groups"`
	Members         int64  `json:"members"`
	Homes           int64  `json:"homes"`
	LaneDepth       int64  `json:"lane_depth"`
	MessagesIn      uint64 `json:"messages_in"`
	Published       uint64 `json:"published"`
	Deliveries      uint64 `json:"deliveries"`
	Ignored         uint64 `json:"ignored"`
	CommandErrors   uint64 `json:"command_errors"`
	Refused         uint64 `json:"refused"`
	RefusedClients  uint64 `json:"refused_clients"`
	BadHandshakes   uint64 `json:"bad_handshakes"`
	ProtocolErrors  uint64 `json:"protocol_errors"`
	SlowClosed      uint64 `json:"slow_closed"`
	HeartbeatClosed uint64 `json:"heartbeat_closed"`
	Pings           uint64 `json:"pings"`
	OutboxBytes     int64  `json:"outbox_bytes"`
	Slow            int64  `json:"slow"`
	FragmentBytes   int64  `json:"fragment_bytes"`
	SlowHealed      uint64 `json:"slow_healed"`
	SlowDropped     uint64 `json:"slow_dropped"`
	SlowSkipped     uint64 `json:"slow_skipped"`
	SlowGaps        uint64 `json:"slow_gaps"`
	FragmentsClosed uint64 `json:"fragments_closed"`
	MessageTimeouts uint64 `json:"message_timeouts"`
	Panics          uint64 `json:"panics"`

	RefusedBy        reasons `json:"refused_by"`
	RefusedClientsBy reasons `json:"refused_clients_by"`
	Tokens           reasons `json:"tokens"`
}

// reasons are counts by reason, as far as these tests read them. No map: rows are compared.
type reasons struct {
	Busy          uint64 `json:"busy"`
	GroupBusy     uint64 `json:"group_busy"`
	Memory        uint64 `json:"memory"`
	RateLimited   uint64 `json:"rate_limited"`
	TooManyGroups uint64 `json:"too_many_groups"`
	GroupsFull    uint64 `json:"groups_full"`
	GroupFull     uint64 `json:"group_full"`
	Forbidden     uint64 `json:"forbidden"`
	Expired       uint64 `json:"expired"`
}

// status is what `ringcast status --json` prints, as far as these tests read it.
type status struct {
	Version    string `json:"version"`
	PID        int    `json:"pid"`
	Listen     string `json:"listen"`
	TLSListen  string `json:"tls_listen"`
	Admin      string `json:"admin"`
	ClientsMax int    `json:"clients_max"`
	HeapBytes  uint64 `json:"heap_bytes"`
	RSSBytes   uint64 `json:"rss_bytes"`
	Goroutines int64  `json:"goroutines"`
	OpenFiles  int64  `json:"descriptors_open"`
	Pressure   string `json:"memory_pressure"`
	MemoryUsed int64  `json:"memory_used"`
	AcceptErrs uint64 `json:"accept_errors"`
	Total      row    `json:"total"`
	Loops      []row  `json:"loops"`

	Channel    *channelStatus    `json:"channel"`
	LogDropped map[string]uint64 `json:"log_dropped"`
}

// readStatus asks on the control socket, as `ringcast status --json` does; a test of its own checks that both answer
// the same. Waiting for a condition asks often, and a process for each request would take most of the tests' time.
func readStatus(dir string) (status, error) {
	var st status
	err := askControl(dir, "/status", &st)
	return st, err
}

func askControl(dir, path string, into any) error {
	client := http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", filepath.Join(dir, "ringcast.sock"))
		},
	}}
	res, err := client.Get("http://ringcast" + path)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s on the control socket: got %s, want 200", path, res.Status)
	}
	return json.NewDecoder(res.Body).Decode(into)
}

func (s *server) status() status {
	s.t.Helper()
	st, err := readStatus(s.dir)
	if err != nil {
		if s.ended() {
			s.t.Fatalf("the server has ended: %v", s.cmd.ProcessState)
		}
		s.t.Fatal(err)
	}
	return st
}

// result is the outcome of one run of the program.
type result struct {
	exit           int
	stdout, stderr string
}

func (r result) all() string { return r.stdout + r.stderr }

// run runs the program to its end.
func run(args ...string) result { return runWith(nil, args...) }

func runWith(env []string, args ...string) result {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.WaitDelay = time.Second // a child in the background must not keep the pipes open
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	r := result{stdout: stdout.String(), stderr: stderr.String()}
	if cmd.ProcessState != nil {
		r.exit = cmd.ProcessState.ExitCode()
	} else {
		r.exit, r.stderr = -1, err.Error()
	}
	return r
}

// output gathers what a process prints while others read it.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}
