package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"ringcast/api"
	"ringcast/cli/settings"
)

// exampleCluster is a cluster with a different number in every place.
func exampleCluster(at time.Time) *api.ClusterStatus {
	s := &api.ClusterStatus{
		Name: "chat", Node: "n1", Listen: "10.0.0.1:6222", StoreDir: "/var/lib/ringcast", Ready: false, Trouble: "it is cut off from the majority",
		Nodes:   []api.ClusterNode{{Name: "n1", Up: true}, {Name: "n2", Up: true, Seen: at.Add(-time.Second)}, {Name: "n3", Seen: at.Add(-200 * time.Second)}, {Name: "n4"}},
		Offered: 1_001, Ordered: 1_002, Refused: map[string]uint64{"busy": 3, "unknown": 4, "full": 0}, Repeated: 5, HolesFilled: 6, HoleMessages: 1_007, HoleLost: 8,
		Recalls: 9, RecallsFailed: 10, RecallsRefused: 11, Resends: 12, Batches: 13, FastSent: 14, FastHeard: 15, FastLost: 16, SlowReads: 17, Strange: 18,
		PresenceLists: 21, PresenceOverflows: 22, PresenceHoles: 23, PresenceStrange: 24,
		StoreBytes: 19 << 20, StoreMax: 10 << 30,
	}
	for i := range 16 {
		s.Partitions = append(s.Partitions, api.ClusterPartition{Leader: []string{"n1", "n1", "n2", ""}[i%4], Tip: uint64(i), Lag: 20, Epoch: 7, Queued: 2, Flying: 1})
	}
	return s
}

// fakeNode is a cluster that does as the test says.
type fakeNode struct {
	mu         sync.Mutex
	trouble    string
	steps      []string // what it was asked to do
	everywhere api.Doing
	closing    chan struct{} // Close waits until it is closed; nil: it does not
}

func (f *fakeNode) Trouble() string           { f.mu.Lock(); defer f.mu.Unlock(); return f.trouble }
func (f *fakeNode) Nodes() []api.ClusterNode  { return exampleCluster(time.Now()).Nodes }
func (f *fakeNode) Status() api.ClusterStatus { return *exampleCluster(time.Now()) }
func (f *fakeNode) Everywhere() api.Doing     { return f.everywhere }
func (f *fakeNode) Drain(context.Context)     { f.step("drain") }

func (f *fakeNode) Close() {
	f.step("close")
	if f.closing != nil {
		<-f.closing
	}
}

func (f *fakeNode) step(what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.steps = append(f.steps, what)
}

func (f *fakeNode) done() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.steps)
}

// joining is a start of a node, with what the test has in the place of the cluster.
func joining(t *testing.T, f *fakeServer, dir runDir, join func(context.Context) (clusterNode, error), more ...string) *verb {
	t.Helper()
	needsCluster(t)
	v := &verb{asked: make(chan os.Signal, 2), reload: make(chan os.Signal, 1), exited: make(chan int, 1)}
	args := append([]string{"start", "--run-dir", dir.path, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--cluster-name", "chat", "--cluster-node", "n1",
		"--store-dir", filepath.Join(dir.path, "store")}, more...)
	r := &env{
		args: args, stdout: &v.out, stderr: &v.err, serve: f.serve,
		join: func(ctx context.Context, _ settings.Cluster, _ hub, _ *slog.Logger) (clusterNode, error) {
			return join(ctx)
		},
		signals: func(bool) (<-chan os.Signal, <-chan os.Signal, func()) { return v.asked, v.reload, func() {} },
	}
	go func() { v.exited <- run(r) }()
	return v
}

// needsCluster skips a test where the program under test has no cluster.
func needsCluster(t *testing.T) {
	t.Helper()
	if !hasCluster {
		t.Skip("built with the tag nocluster")
	}
}

// askAdmin asks the admin address of a server.
func askAdmin(t *testing.T, dir runDir, method, path string) (status int, body string) {
	t.Helper()
	r, err := http.NewRequest(method, "http://"+statusNow(t, dir).Admin+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(text)
}

func running(t *testing.T, v *verb, dir runDir) {
	t.Helper()
	eventually(t, "the control socket answers", func() bool {
		select {
		case status := <-v.exited:
			t.Fatalf("start ended with exit status %d: %s", status, v.err.String())
		default:
		}
		_, err := statusOf(dir)
		return err == nil
	})
}

func TestANodeLetsNobodyInBeforeItsClusterIsThere(t *testing.T) {
	dir, f, n := shortDir(t), newFakeServer(), &fakeNode{}
	there, let := make(chan struct{}), make(chan struct{})
	f.letIn = func() { close(let) }
	v := joining(t, f, dir, func(context.Context) (clusterNode, error) { <-there; return n, nil }, "--api-key", strings.Repeat("k", 32))
	running(t, v, dir)

	if code, body := askAdmin(t, dir, "GET", "/readyz"); code != 503 || !strings.Contains(body, "not ready: the cluster is not ready: ") {
		t.Errorf("/readyz while it waits: got %d %q, want 503 and why", code, body)
	}
	if code, _ := askAdmin(t, dir, "GET", "/healthz"); code != 200 {
		t.Errorf("/healthz while it waits: got %d, want 200", code)
	}
	if code, body := askAdmin(t, dir, "POST", "/api/publish"); code != 503 || !strings.Contains(body, "the cluster is not ready") {
		t.Errorf("the server API while it waits: got %d %q, want 503: groups have no order yet", code, body)
	}
	if s := statusNow(t, dir).Cluster; s == nil || s.Ready || s.Trouble == "" || s.Name != "chat" || s.Node != "n1" {
		t.Errorf("status while it waits: got %+v, want a cluster that is not ready, and why", s)
	}
	select {
	case <-let:
		t.Error("clients were let in before the cluster was there")
	default:
	}
	close(there)
	<-let
	eventually(t, "the banner", func() bool { return strings.Contains(v.out.String(), "Start success.") })
	has(t, "banner", v.out.String(), "Cluster chat, node n1, the only one.", "cluster ", filepath.Join(dir.path, "store"))
	if code, body := askAdmin(t, dir, "GET", "/readyz"); code != 200 {
		t.Errorf("/readyz: got %d %q, want 200", code, body)
	}
	if code, body := askAdmin(t, dir, "POST", "/api/publish"); code != 401 {
		t.Errorf("the server API: got %d %q, want 401 for want of a key", code, body)
	}
	if s := statusNow(t, dir).Cluster; s == nil || !s.Ready || s.Node != "n1" || s.StoreDir != filepath.Join(dir.path, "store") || s.Ordered != 1_002 || len(s.Partitions) != 16 {
		t.Errorf("status: got %+v, want what the cluster and the settings say", s)
	}
	if _, body := askAdmin(t, dir, "GET", "/metrics"); !strings.Contains(body, "\nringcast_cluster_ready 1\n") || !strings.Contains(body, "\nringcast_cluster_ordered_total 1002\n") {
		t.Error("/metrics: got none of the cluster")
	}
	n.mu.Lock()
	n.trouble = "the moon is down"
	n.mu.Unlock()
	if code, body := askAdmin(t, dir, "GET", "/readyz"); code != 503 || !strings.Contains(body, "the moon is down") {
		t.Errorf("/readyz in trouble: got %d %q, want 503 and why", code, body)
	}
	v.asked <- os.Interrupt
	if status := v.exit(t); status != 0 {
		t.Errorf("exit status: got %d, want 0", status)
	}
	if got := n.done(); !slices.Equal(got, []string{"drain", "close"}) {
		t.Errorf("at the stop: got %v, want drain and then close", got)
	}
}

// The other nodes are told before any client is; the store is free before the run dir is, and that only when all clients have been told.
func TestAStopHandsOverFirstAndFreesTheStoreBeforeTheRunDir(t *testing.T) {
	dir, f := shortDir(t), newFakeServer()
	n := &fakeNode{closing: make(chan struct{})}
	f.telling = func() { n.step("clients are told") }
	slow := make(chan struct{})
	f.stop = func(context.Context) error { <-slow; return nil }
	v := joining(t, f, dir, func(context.Context) (clusterNode, error) { return n, nil }, "--stop-timeout", "1h")
	eventually(t, "the banner", func() bool { return strings.Contains(v.out.String(), "Start success.") })
	v.asked <- os.Interrupt
	want := []string{"drain", "clients are told", "close"}
	eventually(t, "the cluster is closed", func() bool { return len(n.done()) == len(want) })
	if got := n.done(); !slices.Equal(got, want) {
		t.Errorf("steps: got %v, want %v", got, want)
	}
	if held, err := alive(dir); err != nil || !held {
		t.Errorf("run dir while the cluster closes: got %v, %v, want it held", held, err)
	}
	if _, err := lockStoreNow(filepath.Join(dir.path, "store")); !errors.Is(err, errLocked) {
		t.Errorf("store while the cluster closes: got %v, want it locked", err)
	}
	close(n.closing)
	eventually(t, "the run dir is free", func() bool { held, err := alive(dir); return err == nil && !held })
	store, err := lockStoreNow(filepath.Join(dir.path, "store"))
	if err != nil {
		t.Errorf("store when the run dir is free, and clients still take their last bytes: got %v, want it free", err)
	} else {
		store.Close()
	}
	close(slow)
	v.exit(t)
}

func TestASecondSignalDoesNotWaitForTheClusterToClose(t *testing.T) {
	dir, f := shortDir(t), newFakeServer()
	n := &fakeNode{closing: make(chan struct{})}
	defer close(n.closing)
	v := joining(t, f, dir, func(context.Context) (clusterNode, error) { return n, nil })
	eventually(t, "the banner", func() bool { return strings.Contains(v.out.String(), "Start success.") })
	v.asked <- os.Interrupt
	eventually(t, "the cluster closes", func() bool { return slices.Contains(n.done(), "close") })
	<-time.After(echoTime) // what comes sooner is taken for the first one's echo
	v.asked <- os.Interrupt
	if status := v.exit(t); status != statusFailed {
		t.Errorf("exit status: got %d, want %d", status, statusFailed)
	}
	has(t, "log", v.err.String(), "second stop signal")
	if strings.Contains(v.err.String(), "has not ended in time") {
		t.Errorf("log: got %q, want that the cluster was waited for no longer", v.err.String())
	}
}

func TestAClusterThatDoesNotCloseHoldsUpNoEnd(t *testing.T) {
	dir, f := shortDir(t), newFakeServer()
	n := &fakeNode{closing: make(chan struct{})}
	defer close(n.closing)
	v := joining(t, f, dir, func(context.Context) (clusterNode, error) { return n, nil })
	eventually(t, "the banner", func() bool { return strings.Contains(v.out.String(), "Start success.") })
	v.asked <- os.Interrupt
	if status := v.exit(t); status != 0 {
		t.Errorf("exit status: got %d, want 0", status)
	}
	has(t, "log", v.err.String(), "has not ended in time")
	left(t, dir)
}

func TestAWaitForTheClusterEndsWithASignal(t *testing.T) {
	dir, f := shortDir(t), newFakeServer()
	v := joining(t, f, dir, func(ctx context.Context) (clusterNode, error) { <-ctx.Done(); return nil, ctx.Err() })
	running(t, v, dir)
	v.asked <- syscall.SIGTERM
	if status := v.exit(t); status != 0 {
		t.Errorf("exit status: got %d, want 0: %s", status, v.err.String())
	}
	has(t, "log", v.err.String(), "msg=stopping", "msg=stopped")
	left(t, dir)
}

// One that hears nothing is left behind by the second signal.
func TestAWaitForAClusterThatHearsNothingEndsWithTheSecondSignal(t *testing.T) {
	dir, f, told, never := shortDir(t), newFakeServer(), make(chan struct{}), make(chan struct{})
	defer close(never)
	v := joining(t, f, dir, func(ctx context.Context) (clusterNode, error) {
		<-ctx.Done()
		close(told)
		<-never
		return nil, errors.New("too late")
	})
	running(t, v, dir)
	v.asked <- os.Interrupt
	<-told
	<-time.After(echoTime) // what comes sooner is taken for the first one's echo
	v.asked <- os.Interrupt
	v.exit(t)
	left(t, dir)
}

func TestAWaitForTheClusterEndsWithTheLoops(t *testing.T) {
	dir, f := shortDir(t), newFakeServer()
	v := joining(t, f, dir, func(ctx context.Context) (clusterNode, error) { <-ctx.Done(); return nil, ctx.Err() })
	running(t, v, dir)
	f.end(errors.New("no luck"))
	if status := v.exit(t); status != statusFailed {
		t.Errorf("exit status: got %d, want %d", status, statusFailed)
	}
	left(t, dir)
}

func TestAClusterThatCannotBeJoinedEndsTheStartWithTheMend(t *testing.T) {
	for _, c := range []struct {
		err  error
		want int
	}{{settings.Usagef("the cluster was born with 8 partitions: say --cluster-partitions 8"), statusUsage}, {errors.New("no luck"), statusFailed}} {
		dir, f := shortDir(t), newFakeServer()
		v := joining(t, f, dir, func(context.Context) (clusterNode, error) { return nil, c.err })
		if status := v.exit(t); status != c.want {
			t.Errorf("%v: exit status: got %d, want %d", c.err, status, c.want)
		}
		has(t, "message", v.err.String(), "ringcast start: "+c.err.Error())
		left(t, dir)
		store, err := lockStoreNow(filepath.Join(dir.path, "store"))
		if err != nil {
			t.Errorf("%v: the store after it: got %v, want it free", c.err, err)
		} else {
			store.Close()
		}
	}
}

func TestAStoreIsOneServersAtATime(t *testing.T) {
	store := t.TempDir()
	held, err := lockStore(t.Context(), store, silent)
	if err != nil {
		t.Fatal(err)
	}
	_, err = lockStoreNow(store)
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("--store-dir %q is locked by another ringcast (pid %d); stop that one", store, os.Getpid())) {
		t.Errorf("a second server: got %v, want it refused with the pid of the first", err)
	}
	var log buffer
	got := make(chan error, 1)
	go func() {
		next, err := lockStore(t.Context(), store, logTo(&log))
		if err == nil {
			next.Close()
		}
		got <- err
	}()
	eventually(t, "the next one waits", func() bool { return strings.Contains(log.String(), "waiting for another process to give up the store") })
	held.Close()
	if err := <-got; err != nil {
		t.Errorf("when the first has ended: got %v, want the store", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	if held, err = lockStore(ctx, store, silent); err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	cancel()
	if _, err := lockStore(ctx, store, silent); !errors.Is(err, context.Canceled) {
		t.Errorf("one that is asked to end: got %v, want that it waits no more", err)
	}
	file := filepath.Join(store, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var wrong *settings.UsageError
	if _, err := lockStore(t.Context(), file, silent); !errors.As(err, &wrong) || !strings.Contains(wrong.Text, "--store-dir") {
		t.Errorf("a file in its place: got %v, want a UsageError", err)
	}
}

func TestRestartLooksForTheStoreAndThePortOfNodesBeforeItStopsAnything(t *testing.T) {
	needsCluster(t)
	dir := shortDir(t)
	taken, err := listenAdmin("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	v := serving(t, newFakeServer(), dir)
	store := t.TempDir()
	held, err := lockStoreNow(store)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	restart := []string{"restart", "--run-dir", dir.path, "--listen", "127.0.0.1:0", "--cluster-name", "chat", "--cluster-node", "n1", "--store-dir"}
	address := taken.Addr().String()
	for what, c := range map[string]struct {
		args []string
		want string
	}{
		"a store of another":       {append(slices.Clip(restart), store), "is locked by another ringcast"},
		"a store that cannot be":   {append(slices.Clip(restart), "/dev/null/store"), "--store-dir"},
		"a port that is another's": {append(slices.Clip(restart), t.TempDir(), "--cluster-listen", address, "--cluster-peers", address+",127.0.0.1:1,127.0.0.1:2"), "--cluster-listen"},
	} {
		status, stdout, stderr := do(t, c.args...)
		if status == 0 || strings.Contains(stdout, "Stopping") {
			t.Errorf("%s: got exit status %d and %q, want it refused and nothing stopped", what, status, stdout)
		}
		has(t, what, stderr, c.want)
	}
	statusNow(t, dir) // it serves on
	v.asked <- os.Interrupt
	v.exit(t)
}

func TestAServiceManagerIsToldThatTheStartTakesLonger(t *testing.T) {
	n := &notifier{some: make(chan struct{}, 1)}
	n.waiting("waiting: for others", 30*time.Second)
	var said []string
	send := func(text string) error { said = append(said, text); return nil }
	n.sayNext(send)
	n.ready("serving")
	n.waiting("too late", time.Second)
	n.sayNext(send)
	if len(said) != 2 || said[0] != "EXTEND_TIMEOUT_USEC=30000000\nSTATUS=waiting: for others\n" || !strings.HasPrefix(said[1], "READY=1\n") {
		t.Errorf("got %q, want the time that it takes, and then only that it is ready", said)
	}
}

func TestPartitionsInARowAreDrawnTogether(t *testing.T) {
	for want, numbers := range map[string][]int{"": nil, "3": {3}, "0-3, 8, 10-11": {0, 1, 2, 3, 8, 10, 11}} {
		if got := rangesText(numbers); got != want {
			t.Errorf("%v: got %q, want %q", numbers, got, want)
		}
	}
}

func TestABannerSaysThatANodeWaits(t *testing.T) {
	n := newNode(settings.Cluster{Name: "chat", Node: "n1", Listen: "10.0.0.1:6222", Peers: make([]string, 5), Replicas: 3}, silent)
	b := banner{cluster: n.banner(), loops: 8}
	b.listen = append(b.listen, tcp("0.0.0.0"))
	has(t, "banner", b.text(), "[WAITS]", "Cluster chat, node n1, one of 5; each message is on 3.", "Clients are let in later: the cluster is not ready: ", "10.0.0.1:6222")
	if got := (&banner{}).text(); strings.Contains(got, "luster") || strings.Contains(got, "later") {
		t.Errorf("without a cluster: got %q, want nothing of one", got)
	}
}
