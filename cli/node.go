package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"ringcast/api"
	"ringcast/cli/settings"
)

// clusterNode is what a server needs of the cluster that it is a node of. cli/cluster.go has the real one; a program that was built with
// the tag nocluster has none.
type clusterNode interface {
	Trouble() string           // why this node should get no clients; empty: it should
	Status() api.ClusterStatus // but for what settings say
	Nodes() []api.ClusterNode  // the nodes of that
	Everywhere() api.Doing     // what backends ask, of the clients of all nodes
	Drain(ctx context.Context) // hands over what this node leads, so that the others wait for nobody when it has gone
	Close()                    // ends all work, and the store is free
}

// node is a server's place in the cluster of its settings, from the start that waits for the other nodes to the end:
//
//	waits   the store is locked and the cluster opens, for which enough other nodes are needed; they may be started much later.
//	        Nobody is let in, and /readyz says 503
//	serves  /readyz says what the cluster says of itself
//	closed  the store is free for the next server
//
// Owner: any goroutine. Without a cluster it is nil, and all methods say nothing and do nothing.
type node struct {
	settings settings.Cluster
	log      *slog.Logger
	hurry    func()        // has a close that is under way, and every later one, wait no longer
	hurried  chan struct{} // closed by it

	mu     sync.Mutex
	waits  string      // what for; empty: it does not
	is     clusterNode // nil: not yet, or no more
	store  *os.File    // with the lock; nil: there is none
	closed bool
}

// Times of a node. Others give up a store that they have been asked for within the first, which is more than a close may take.
const (
	storePatience  = closePatience + 2*time.Second
	closePatience  = 5 * time.Second
	drainPatience  = 2 * time.Second
	leaveMargin    = drainPatience + closePatience
	waitTold       = 5 * time.Second // after which a process in the background says that it waits, and then a service manager each time
	waitNoticeTime = 30 * time.Second
)

func newNode(s settings.Cluster, log *slog.Logger) *node {
	if s.Name == "" {
		return nil
	}
	n := &node{settings: s, log: log, hurried: make(chan struct{}), waits: "it has not begun to open"}
	n.hurry = sync.OnceFunc(func() { close(n.hurried) })
	return n
}

// open locks the store, and opens the cluster, all nodes of which the backend then asks. It returns when this node is one of it, or ctx is done.
func (n *node) open(ctx context.Context, backend *api.HubBackend, join func(context.Context, settings.Cluster, *slog.Logger) (clusterNode, error)) error {
	if n == nil {
		return nil
	}
	if n.settings.StoreDir != "" {
		n.waitsFor("another process has the store")
		store, err := lockStore(ctx, n.settings.StoreDir, n.log)
		if err != nil {
			return err
		}
		n.mu.Lock()
		n.store = store
		n.mu.Unlock()
	}
	n.waitsFor("it opens, for which enough nodes are needed; the log says what is missing")
	is, err := join(ctx, n.settings, n.log)
	if err != nil {
		n.free()
		return err
	}
	n.mu.Lock()
	late := n.closed // a start that was given up
	if !late {
		backend.AskEverywhere(is.Everywhere()) // nobody asks before it serves
		n.is, n.waits = is, "clients are let in at once"
	}
	n.mu.Unlock()
	if late {
		is.Close()
		return errors.New("the server has ended")
	}
	return nil
}

// letIn is called when clients are let in.
func (n *node) letIn() {
	if n != nil {
		n.waitsFor("")
	}
}

func (n *node) waitsFor(what string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.waits = what
}

// now is the node that it is, nil if it is none, and what it waits for.
func (n *node) now() (is clusterNode, waits string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, "this node has left it"
	}
	return n.is, n.waits
}

// trouble is why no clients should be sent here, as far as the cluster goes; empty: they should.
func (n *node) trouble() string {
	if n == nil {
		return ""
	}
	is, why := n.now()
	if why == "" {
		why = is.Trouble()
	}
	if why == "" {
		return ""
	}
	return "the cluster is not ready: " + why
}

// serves says whether requests can be carried out.
func (n *node) serves() bool {
	if n == nil {
		return true
	}
	is, _ := n.now()
	return is != nil
}

// status is what operators see; nil without a cluster.
func (n *node) status() *api.ClusterStatus {
	if n == nil {
		return nil
	}
	var s api.ClusterStatus
	if is, why := n.now(); is != nil {
		s = is.Status()
		if s.Trouble = why; why == "" {
			s.Trouble = is.Trouble()
		}
	} else {
		s = api.ClusterStatus{Refused: map[string]uint64{}, Trouble: why}
	}
	s.Name, s.Node, s.Listen, s.StoreDir, s.StoreMax = n.settings.Name, n.settings.Node, n.settings.Listen, n.settings.StoreDir, uint64(n.settings.StoreMax)
	s.Ready = s.Trouble == ""
	return &s
}

// banner is what an operator sees at the start.
func (n *node) banner() (b clusterBanner) {
	if n == nil {
		return b
	}
	k := &n.settings
	b = clusterBanner{name: k.Name, node: k.Node, waits: n.trouble()}
	switch {
	case k.NATS != "":
		b.place, b.size = "NATS servers of yours", "with its log on them"
	case k.Listen == "":
		b.place, b.size = k.StoreDir, "the only one"
	default:
		b.place, b.size = "nats://"+k.Listen, fmt.Sprintf("one of %d; each message is on %d", len(k.Peers), k.Replicas)
	}
	return b
}

// drain is the first step of a stop.
func (n *node) drain() {
	if n == nil {
		return
	}
	if is, _ := n.now(); is != nil {
		ctx, cancel := context.WithTimeout(context.Background(), drainPatience)
		defer cancel()
		is.Drain(ctx)
	}
}

// close ends the node when its clients have been told, and frees the store. It waits for that, as a successor needs the store, but not
// for ever: what it has not freed is free when the process ends.
func (n *node) close() {
	if n == nil {
		return
	}
	n.mu.Lock()
	is := n.is
	n.is, n.closed = nil, true
	n.mu.Unlock()
	if is == nil {
		n.free()
		return
	}
	over := make(chan struct{})
	go func() {
		is.Close()
		n.free()
		close(over)
	}()
	select {
	case <-over:
	case <-n.hurried:
	case <-time.After(closePatience):
		n.log.Warn("the cluster's part of this server has not ended in time; its store is free when the process has ended", "after", closePatience.String())
	}
}

// endNow has a close that is under way, and every later one, wait no longer.
func (n *node) endNow() {
	if n != nil {
		n.hurry()
	}
}

// free unlocks the store.
func (n *node) free() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.store != nil {
		n.store.Close()
		n.store = nil
	}
}

// longer is how much more time than its clients need a stop of a server may take, where the server is a node.
func (n *node) longer() time.Duration {
	if n == nil {
		return 0
	}
	return leaveMargin
}

// storeLockName is the file in a store that a server has locked while it uses the store: the server inside does not keep others away, and
// two would destroy it. It is never removed, and has the pid of who has used the store last.
const storeLockName = "ringcast.lock"

// lockStore makes the directory and locks it. Who has it is waited for, but not long: it is mostly a server that is ending.
func lockStore(ctx context.Context, dir string, log *slog.Logger) (*os.File, error) {
	told := false
	for deadline := time.Now().Add(storePatience); ; {
		file, err := lockStoreNow(dir)
		if !errors.Is(err, errLocked) || time.Now().After(deadline) {
			return file, err
		}
		if !told {
			told = true
			log.Info("waiting for another process to give up the store", "store_dir", dir, "pid", storePID(dir), "patience", storePatience.String())
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(pause):
		}
	}
}

// lockStoreNow does it at once. An error that is errLocked says who has it.
func lockStoreNow(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, settings.Usagef("--store-dir %q cannot be made: %v; name a directory that this user may make, or make it", dir, pathless(err))
	}
	file, err := flock(filepath.Join(dir, storeLockName), os.O_RDWR|os.O_CREATE, syscall.LOCK_EX)
	switch {
	case errors.Is(err, errLocked):
		return nil, fmt.Errorf("--store-dir %q is %w by another ringcast (pid %s); stop that one, or name a directory of this node's own", dir, err, storePID(dir))
	case err != nil:
		return nil, settings.Usagef("--store-dir %q cannot be used: %v; name a directory that this user may write to", dir, pathless(err))
	}
	err = file.Truncate(0)
	if err == nil {
		_, err = file.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err != nil {
		file.Close()
		return nil, fmt.Errorf("--store-dir %q cannot be written to: %w", dir, pathless(err))
	}
	return file, nil
}

// storePID is the pid in a store's lock, for people.
func storePID(dir string) string {
	file, err := os.Open(filepath.Join(dir, storeLockName))
	if err != nil {
		return "not known"
	}
	defer file.Close()
	text, _ := io.ReadAll(io.LimitReader(file, 32))
	if pid := strings.TrimSpace(string(text)); pid != "" {
		return pid
	}
	return "not known"
}

// pathless is an error without the path that the caller names.
func pathless(err error) error {
	var at *os.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}

// awaited is how the opening of a node has ended: by a signal, if there is one, or else by err.
type awaited struct {
	signal os.Signal
	err    error
}

// await opens the node, for as long as that takes, unless a signal asks for the end or the loops end; a second signal ends the waiting at
// once. waiting is called after a while, and then again and again.
func (n *node) await(open func(context.Context) error, asked <-chan os.Signal, ended <-chan struct{}, waiting func()) (got awaited) {
	if n == nil {
		return awaited{}
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	opened := make(chan error, 1)
	go func() { opened <- open(ctx) }()
	again := time.NewTicker(waitTold)
	defer again.Stop()
	var first time.Time // of the signals
	for {
		select {
		case err := <-opened:
			if got.signal == nil {
				got.err = err
			}
			return got
		case sig := <-asked:
			switch {
			case got.signal == nil:
				got.signal, first = sig, time.Now()
				cancel()
			case time.Since(first) >= echoTime:
				return got
			}
		case <-ended:
			cancel()
			return awaited{err: errors.New("the event loops have ended")}
		case <-again.C:
			waiting()
		}
	}
}
