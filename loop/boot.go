package loop

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"
)

// This file binds every shard to its loop, and only then admits clients. gnet has no list of its loops, so the server dials
// itself until a connection was opened on each; gnet assigns them in turn, so that takes as many dials as there are loops.
// Clients that connect meanwhile are kept, with their bytes in gnet, until all loops are bound.

// boot sets up the listener, binds the shards and admits clients.
func (s *Server) boot(cfg Config) error {
	fd, err := s.handler.engine.Dup()
	if err != nil {
		return err
	}
	if err := s.listener.adopt(fd); err != nil {
		return err
	}
	s.hub.local = s.doors[0].Addr().String()
	if _, err := descriptorsFree(); err != nil { // the dials below would fail too, without saying why
		return err
	}
	loops := s.handler.loops
	deadline := time.Now().Add(bootTimeout)
	for !loops.allSeen() {
		if time.Now().After(deadline) {
			return errors.New("the event loops did not come up")
		}
		if err := s.dialSelf(); err != nil && !os.IsTimeout(err) { // on a busy machine a dial may take longer
			return fmt.Errorf("the server cannot reach its own listener: %w", err)
		}
		loops.waitSeen(seenWait)
	}
	if err := loops.bindKicks(); err != nil {
		return err
	}
	free, err := descriptorsFree()
	if err != nil {
		return err
	}
	s.hub.descriptors.Store(int64(free))
	s.hub.limitConnections()
	s.handler.letIn()
	return nil
}

const (
	bootTimeout = 10 * time.Second
	seenWait    = 10 * time.Millisecond // for a loop to see a connection that was dialled
)

// dialSelf connects to the server's own listener, and ends the connection when a loop has had time to see it.
func (s *Server) dialSelf() error {
	c, err := s.listener.dial()
	if err != nil {
		return err
	}
	s.handler.loops.waitSeen(seenWait)
	return c.Close()
}

// loops is gnet's event loops, each bound to the shard of its index.
//
// Owner: the fields in the last paragraph are under mu until open; then bound is immutable but for the kicks' ends.
type loops struct {
	// Immutable.
	shards []*shard
	saw    chan struct{} // a token when a loop was seen

	// Any goroutine.
	open atomic.Bool // all shards are bound: clients are admitted

	mu    sync.Mutex
	bound []boundLoop        // by shard index, in the order in which they were seen
	early map[gnet.Conn]bool // came before open; their bytes wait in gnet
}

// boundLoop is a gnet loop and the kick of its shard.
type boundLoop struct {
	loop gnet.EventLoop
	kick int // our end of a socket pair, the other end of which is enrolled in the loop
}

// kickEnd is the context of the enrolled end of a kick.
type kickEnd struct{ shard *shard }

func newLoops(shards []*shard) *loops {
	return &loops{shards: shards, saw: make(chan struct{}, 1), early: map[gnet.Conn]bool{}}
}

// keepEarly keeps a connection that came before all shards were bound, and notes its loop; false: they are bound.
func (l *loops) keepEarly(c gnet.Conn) bool {
	if l.open.Load() {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open.Load() {
		return false
	}
	l.early[c] = true
	for i := range l.bound { // by index, as boot may be writing the kicks meanwhile
		if l.bound[i].loop == c.EventLoop() {
			return true
		}
	}
	l.bound = append(l.bound, boundLoop{loop: c.EventLoop(), kick: -1})
	select {
	case l.saw <- struct{}{}:
	default:
	}
	return true
}

// forgetEarly drops a kept connection that is gone.
func (l *loops) forgetEarly(c gnet.Conn) {
	if !l.open.Load() {
		l.mu.Lock()
		delete(l.early, c)
		l.mu.Unlock()
	}
}

// allSeen says whether every loop has been seen.
func (l *loops) allSeen() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.bound) == len(l.shards)
}

// waitSeen waits for a loop to be seen, or for d.
func (l *loops) waitSeen(d time.Duration) {
	select {
	case <-l.saw:
	case <-time.After(d):
	}
}

// bindKicks enrolls one end of a socket pair in each loop. A byte written to the other end gives the loop a callback in
// its next round of epoll, after the sockets that are ready: that is how a shard yields to them. Executing a function on the own
// loop would not do: gnet runs all such functions, also those that they add, before it looks at a socket again.
func (l *loops) bindKicks() error {
	for i := range l.bound {
		if err := l.bindKick(i); err != nil {
			return fmt.Errorf("kick of loop %d: %w", i, err)
		}
	}
	return nil
}

func (l *loops) bindKick(i int) error {
	ends, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return err
	}
	for _, fd := range ends {
		unix.CloseOnExec(fd)
		if err := unix.SetNonblock(fd, true); err != nil {
			return err
		}
	}
	l.bound[i].kick = ends[0]
	file := os.NewFile(uintptr(ends[1]), "kick")
	defer file.Close()
	conn, err := net.FileConn(file)
	if err != nil {
		return err
	}
	ctx := gnet.NewContext(context.Background(), &kickEnd{l.shards[i]})
	enrolled, err := l.bound[i].loop.Enroll(ctx, conn)
	if err != nil {
		return err
	}
	return (<-enrolled).Err
}

// letIn admits clients from now on, and gives the kept connections to their shards.
func (h *handler) letIn() {
	l := h.loops
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open.Store(true)
	for c := range l.early {
		_ = c.EventLoop().Execute(context.Background(), gnet.RunnableFunc(func(context.Context) error {
			if c.Context() != nil || c.RemoteAddr() == nil { // gone meanwhile
				return nil
			}
			if h.take(c) == gnet.Close {
				return c.EventLoop().Close(c)
			}
			if c.InboundBuffered() > 0 {
				h.OnTraffic(c)
			}
			return nil
		}))
	}
	l.early = nil
}

// earlyTraffic is called for bytes of a connection that is kept. They stay in gnet until it is admitted, some milliseconds later.
func (h *handler) earlyTraffic(c gnet.Conn) gnet.Action {
	if c.InboundBuffered() <= earlyBytesMax {
		return gnet.None
	}
	count(&h.hub.shards[0].count.RefusedClientsBy, awayBooting) // the loop may have no shard yet; its index does not matter here
	_, _ = c.Write(awayBooting.answers().any())
	return gnet.Close
}

// earlyBytesMax bounds what a connection may send before the server is ready for it: far above any request head.
const earlyBytesMax = 128 << 10

// shardOf is the shard of a loop. There are at most 64, and the first few lie in one cache line.
func (l *loops) shardOf(loop gnet.EventLoop) *shard {
	for i := range l.bound {
		if l.bound[i].loop == loop {
			return l.shards[i]
		}
	}
	panic("ringcast: a connection opened on a loop that no shard is bound to")
}

// execute runs f on the loop of a shard.
func (l *loops) execute(shard int, f gnet.Runnable) {
	_ = l.bound[shard].loop.Execute(context.Background(), f)
}

// kick gives a shard's loop a callback after the sockets that are ready; false: the write failed.
func (l *loops) kick(shard int) bool {
	_, err := unix.Write(l.bound[shard].kick, kickByte)
	return err == nil
}

var kickByte = []byte{1}

// close closes our ends of the kicks.
func (l *loops) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.bound {
		if l.bound[i].kick >= 0 {
			_ = unix.Close(l.bound[i].kick)
			l.bound[i].kick = -1
		}
	}
}

// descriptorsFree is the bound on connections that no setting can raise: the descriptors that this process may still open,
// less a reserve. Out of descriptors, everything fails: accepts, logs, the operator's socket.
func descriptorsFree() (int, error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("descriptor limit: %w", err)
	}
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		open, err = os.ReadDir("/dev/fd")
	}
	if err != nil {
		return 0, fmt.Errorf("open descriptors: %w", err)
	}
	free := int(min(limit.Cur, 1<<30)) - len(open) - descriptorReserve
	if free < 1 {
		return 0, fmt.Errorf("the limit of %d open files leaves no room for clients: %d are open already and %d are kept "+
			"in reserve; raise it (ulimit -n 65536) or run fewer loops", limit.Cur, len(open), descriptorReserve)
	}
	return free, nil
}

// descriptorReserve is left for what is no client: 16 connections to the admin address, the control socket, log files, name
// look-ups, and connections that are accepted only to be refused.
const descriptorReserve = 32
