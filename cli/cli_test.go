package cli

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"ringcast/api"
	"ringcast/loop"
)

// patience is how long a test waits for something that is sure to happen.
const patience = 20 * time.Second

// childEnv makes the test binary be the program, with a fake server inside: what -d starts in these tests.
const childEnv = "CLI_TEST_CHILD"

var update = flag.Bool("update", false, "rewrite the golden files")

func TestMain(m *testing.M) {
	if kind := os.Getenv(childEnv); kind == "memory" {
		fmt.Println(memoryOfCgroup())
		os.Exit(0)
	} else if kind != "" {
		serve := func(loop.Config) (server, hub, error) { return nil, nil, errors.New("no luck") }
		if kind == "serve" {
			f := newFakeServer()
			serve = f.serve
		}
		os.Exit(run(&env{args: os.Args[1:], stdout: os.Stdout, stderr: os.Stderr, signals: osSignals, serve: serve}))
	}
	// The environment of the tests must not reach what is tested.
	for _, kv := range os.Environ() {
		if name, _, _ := strings.Cut(kv, "="); strings.HasPrefix(name, "RINGCAST_") {
			os.Unsetenv(name)
		}
	}
	os.Setenv("RINGCAST_ADMIN", "off") // there is only one default port, but many servers under test
	os.Exit(m.Run())
}

// fakeServer replaces loop.Server and loop.Hub.
type fakeServer struct {
	api.Doing   // nil: nobody asks for it
	api.Watched // nil: the admin page is not asked

	cfg     loop.Config
	clients []loop.ClientInfo
	list    func(context.Context, func([]loop.ClientInfo) error) error // what Clients does; nil: it gives clients
	stop    func(context.Context) error                                // what Stop does before it ends; nil: nothing
	telling func()                                                     // what it does before every client has been told; nil: nothing
	letIn   func()                                                     // what LetIn does; nil: nothing
	givenUp func()                                                     // what GiveUp does; nil: nothing
	busy    atomic.Int64                                               // see Busy
	started time.Time

	mu      sync.Mutex
	err     error
	done    chan struct{}
	apply   func(context.Context) error // what Apply does before it notes the limits; nil: nothing
	applied []loop.Limits
}

// NewPort has no port.
func (f *fakeServer) NewPort() (*loop.Port, error) { return nil, loop.ErrTooManyPorts }

func newFakeServer() *fakeServer {
	return &fakeServer{started: time.Now(), done: make(chan struct{})}
}

func (f *fakeServer) serve(cfg loop.Config) (server, hub, error) {
	f.cfg = cfg
	return f, f, nil
}

// Addrs are those of the settings, with a port in place of 0.
func (f *fakeServer) Addrs() (all []net.Addr) {
	for _, listen := range f.cfg.Listen {
		a, err := net.ResolveTCPAddr("tcp", listen)
		if err != nil {
			panic(err)
		}
		if a.Port == 0 {
			a.Port = 1234
		}
		all = append(all, a)
	}
	return all
}

// TLSAddrs are likewise those for TLS.
func (f *fakeServer) TLSAddrs() (all []net.Addr) {
	for range f.cfg.TLSListen {
		all = append(all, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 4433})
	}
	return all
}

func (f *fakeServer) LetIn() error {
	if f.letIn != nil {
		f.letIn()
	}
	return nil
}

func (f *fakeServer) Done() <-chan struct{} { return f.done }
func (f *fakeServer) Err() error            { f.mu.Lock(); defer f.mu.Unlock(); return f.err }

func (f *fakeServer) Apply(ctx context.Context, l loop.Limits) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.apply != nil {
		if err := f.apply(ctx); err != nil {
			return err
		}
	}
	f.applied = append(f.applied, l)
	return nil
}

func (f *fakeServer) Stop(ctx context.Context, told func()) error {
	if f.telling != nil {
		f.telling()
	}
	told()
	if f.stop != nil {
		return f.stop(ctx)
	}
	return nil
}

func (f *fakeServer) GiveUp() {
	if f.givenUp != nil {
		f.givenUp()
	}
}

// end makes the server end without being asked to.
func (f *fakeServer) end(err error) {
	f.mu.Lock()
	f.err = err
	f.mu.Unlock()
	close(f.done)
}

func (f *fakeServer) Snapshot() loop.Snapshot {
	return loop.Snapshot{Started: f.started, ClientsMax: 19_000, Loops: []loop.LoopStats{{Clients: 2, Members: 3}, {Clients: 1, Panics: 4}}}
}

func (f *fakeServer) NewFeed() (*loop.Feed, error) { return nil, errors.New("no feed") }

func (f *fakeServer) Busy() time.Duration { return time.Duration(f.busy.Load()) }

func (f *fakeServer) AllowsOrigin(string) bool { return true }

func (f *fakeServer) SetObserver(loop.Observer) {}

func (f *fakeServer) SocketID(client uint64) string { return fmt.Sprint(client) }

func (f *fakeServer) Kinds() []loop.Kind {
	f.mu.Lock()
	defer f.mu.Unlock()
	limits := f.cfg.Limits
	if n := len(f.applied); n > 0 {
		limits = f.applied[n-1]
	}
	return limits.AllKinds()
}

func (f *fakeServer) Histograms() loop.Histograms { return loop.Histograms{} }

func (f *fakeServer) Clients(ctx context.Context, take func([]loop.ClientInfo) error) error {
	if f.list != nil {
		return f.list(ctx, take)
	}
	return take(f.clients)
}

// buffer is an output that may be read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *buffer) Write(p []byte) (int, error) { o.mu.Lock(); defer o.mu.Unlock(); return o.b.Write(p) }
func (o *buffer) String() string              { o.mu.Lock(); defer o.mu.Unlock(); return o.b.String() }

// verb is one run of the program inside the test.
type verb struct {
	out, err buffer
	asked    chan os.Signal
	reload   chan os.Signal
	exited   chan int
}

// begin runs the program beside the test, with f as its server.
func begin(f *fakeServer, args ...string) *verb {
	v := &verb{asked: make(chan os.Signal, 2), reload: make(chan os.Signal, 1), exited: make(chan int, 1)}
	r := &env{
		args: args, stdout: &v.out, stderr: &v.err, serve: f.serve, keysWithin: patience,
		signals: func(bool) (<-chan os.Signal, <-chan os.Signal, func()) { return v.asked, v.reload, func() {} },
	}
	go func() { v.exited <- run(r) }()
	return v
}

// exit waits for the end of the run.
func (v *verb) exit(t *testing.T) int {
	t.Helper()
	select {
	case status := <-v.exited:
		return status
	case <-time.After(patience):
		t.Fatalf("the verb does not end; stdout %q, stderr %q", v.out.String(), v.err.String())
		return 0
	}
}

// do runs the program to its end.
func do(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	v := begin(newFakeServer(), args...)
	status = v.exit(t)
	return status, v.out.String(), v.err.String()
}

// shortDir is a run dir whose path leaves room for the socket's name.
func shortDir(t *testing.T) runDir {
	t.Helper()
	path, err := os.MkdirTemp("", "rc-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(path) })
	return runDir{path: path}
}

// eventually waits until ok says yes.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	if !waited(patience, ok) {
		t.Fatalf("waited in vain until %s", what)
	}
}

// waited waits until ok says yes; false: it has not in time.
func waited(most time.Duration, ok func() bool) bool {
	for deadline := time.Now().Add(most); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			return false
		}
	}
	return true
}

func has(t *testing.T, what, got string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want it to contain %q", what, got, want)
		}
	}
}

// golden compares with a file in testdata, or rewrites it with -update.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}

func TestHelpIsShownHoweverItIsAskedFor(t *testing.T) {
	for _, args := range [][]string{nil, {"--help"}, {"help"}} {
		status, stdout, _ := do(t, args...)
		if status != 0 {
			t.Errorf("%q: exit status: got %d, want 0", args, status)
		}
		has(t, "help", stdout, "Usage: ringcast", "connections", "restart", "RINGCAST_CONFIG")
	}
	_, want, _ := do(t, "stop", "--help")
	if status, got, _ := do(t, "help", "stop"); status != 0 || got != want {
		t.Errorf("help stop: got exit status %d and\n%s\nwant 0 and\n%s", status, got, want)
	}
	if status, _, stderr := do(t, "help", "dance"); status != statusUsage {
		t.Errorf("help dance: got exit status %d and %q, want %d", status, stderr, statusUsage)
	}
}

func TestWhatIsNoVerbOrFlagIsNamedWithTheMend(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"statsu"}, `did you mean "status"?`},
		{[]string{"dance"}, "dance is neither a verb nor a flag; the verbs are start, stop"},
		{[]string{"start", "--lisen", "x"}, `unknown flag --lisen, did you mean "--listen"?`},
		{[]string{"start", "--listen"}, "--listen needs a value; write --listen=VALUE"},
	} {
		status, _, stderr := do(t, c.args...)
		if status != statusUsage {
			t.Errorf("%v: exit status: got %d, want %d", c.args, status, statusUsage)
		}
		has(t, strings.Join(c.args, " "), stderr, c.want)
	}
}

func TestVersionIsPrinted(t *testing.T) {
	for _, word := range []string{"version", "--version"} {
		status, stdout, _ := do(t, word)
		if status != 0 || !strings.HasPrefix(stdout, "ringcast "+Version) {
			t.Errorf("%s: got status %d and %q, want 0 and ringcast %s…", word, status, stdout, Version)
		}
	}
}
