package loop

import (
	"context"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"

	"ringcast/loop/order"
)

// This file binds every shard to its loop; only then do clients come in. gnet has no list of its loops, so the server strikes its
// gong (berth.go) until each loop has had a callback; gnet assigns connections in turn, so that takes as many strokes as there are
// loops.

// boot binds the shards, and counts the descriptors that are left for clients.
func (s *Server) boot() error {
	loops := s.handler.loops
	deadline, cancel := context.WithTimeout(context.Background(), bootTimeout)
	defer cancel()
	for !loops.allSeen() {
		if err := s.strike(deadline); err != nil {
			return fmt.Errorf("the event loops did not come up: %w", err)
		}
	}
	if err := loops.bindKicks(); err != nil {
		return err
	}
	free, err := descriptorsFree(s.reserve)
	if err != nil {
		return err
	}
	s.hub.descriptors.Store(int64(free + len(s.berths.listeners))) // a listener and its placeholder are about to become one
	s.hub.limitConnections()
	return nil
}

// LetIn lets clients in. It is called once. The error says why that is not possible; the caller then calls Stop.
func (s *Server) LetIn() error {
	loops := s.handler.loops
	if err := s.berths.take(loops.bound[0].kick); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), bootTimeout)
	defer cancel()
	if err := s.openAccepted(ctx); err != nil { // whoever has found a placeholder is no client
		return err
	}
	loops.open.Store(true)
	return s.berths.letIn()
}

// openAccepted returns when every connection that was accepted before has been opened on its loop, and none is under way: the
// acceptor hears the gong when it has done with other listeners, and a loop opens what it was given before it does what it is
// given then.
func (s *Server) openAccepted(ctx context.Context) error {
	if err := s.strike(ctx); err != nil {
		return err
	}
	return s.handler.loops.visit(ctx, s.done)
}

const bootTimeout = 10 * time.Second

// strike strikes the gong and waits until a loop has heard it, which is when the loop has ended the connection. That says more than
// a word from the loop would: any process on this machine can find the gong and strike it, and a stroke that was given up is
// heard later.
func (s *Server) strike(ctx context.Context) error {
	c, err := s.berths.strike(ctx)
	if err != nil {
		return fmt.Errorf("the server cannot reach its own gong: %w", err)
	}
	defer c.Close()
	heard := make(chan struct{})
	go func() {
		_, _ = c.Read(make([]byte, 1)) // the end, as nothing is said there
		close(heard)
	}()
	select {
	case <-heard:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-s.done:
		return errEnded
	}
}

// loops is gnet's event loops, each bound to the shard of its index.
//
// Owner: the fields in the last paragraph are under mu until open; then bound is immutable but for the kicks' ends.
type loops struct {
	// Immutable.
	shards []*shard

	// Any goroutine.
	open  atomic.Bool // all shards are bound: clients are admitted
	gates []gate      // by shard index

	mu    sync.Mutex
	bound []boundLoop // by shard index, in the order in which they were seen
}

// boundLoop is a gnet loop and the kick of its shard.
type boundLoop struct {
	loop gnet.EventLoop
	kick int // our end of a socket pair, the other end of which is enrolled in the loop
}

// kickEnd is the context of the enrolled end of a kick.
type kickEnd struct{ shard *shard }

func newLoops(shards []*shard) *loops {
	return &loops{shards: shards, gates: make([]gate, len(shards))}
}

// gate stands before the descriptor by which gnet wakes a loop. Whoever is no loop may come to it at any moment, also when the engine
// is about to close that descriptor, whose number may then be a client's. gnet waits for its loops before it closes any, so shut is
// never waited for by a loop that has entered, and an entry is never waited for at all.
//
// Owner: any goroutine.
type gate struct {
	mu   sync.RWMutex // locked for ever by shut
	once sync.Once
	_    [order.CacheLine]byte // wakes of different loops do not contend
}

// enter is true if the descriptor is open, and stays open until leave.
func (g *gate) enter() bool { return g.mu.TryRLock() }

func (g *gate) leave() { g.mu.RUnlock() }

// shut waits for those who have entered, and lets nobody enter any more.
func (g *gate) shut() { g.once.Do(g.mu.Lock) }

// shut shuts all gates: no loop is woken any more.
func (l *loops) shut() {
	for i := range l.gates {
		l.gates[i].shut()
	}
}

// see binds a loop on which the gong was heard to the next shard, unless it is bound.
func (l *loops) see(loop gnet.EventLoop) {
	if l.open.Load() {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.bound { // by index, as boot may be writing the kicks meanwhile
		if l.bound[i].loop == loop {
			return
		}
	}
	l.bound = append(l.bound, boundLoop{loop: loop, kick: -1})
}

// allSeen says whether every loop has been seen.
func (l *loops) allSeen() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.bound) == len(l.shards)
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
	defer func() { <-enrolled }() // closed when gnet's own descriptor for the enrolling is, before descriptors are counted
	return (<-enrolled).Err
}

// shardOf is the shard of a loop. There are at most 64, and the first few lie in one cache line.
func (l *loops) shardOf(loop gnet.EventLoop) *shard {
	for i := range l.bound {
		if l.bound[i].loop == loop {
			return l.shards[i]
		}
	}
	panic("ringcast: a connection opened on a loop that no shard is bound to")
}

// execute runs f on the loop of a shard, unless the engine ends.
func (l *loops) execute(shard int, f gnet.Runnable) {
	if g := &l.gates[shard]; g.enter() {
		_ = l.bound[shard].loop.Execute(context.Background(), f)
		g.leave()
	}
}

// visit returns when every loop has done what had been given to it before. The error is ctx's, or that the engine has ended.
func (l *loops) visit(ctx context.Context, ended <-chan struct{}) error {
	done := make(chan struct{}, len(l.shards))
	for i := range l.shards {
		l.execute(i, gnet.RunnableFunc(func(context.Context) error {
			done <- struct{}{}
			return nil
		}))
	}
	for range l.shards {
		select {
		case <-done:
		case <-ctx.Done():
			return ctx.Err()
		case <-ended:
			return errEnded
		}
	}
	return nil
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
// less a reserve. Out of descriptors, everything fails: accepts, logs, the operator's socket. more are those that are going to be
// opened for what is no client.
func descriptorsFree(more int) (int, error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("descriptor limit: %w", err)
	}
	open, err := descriptors()
	if err != nil {
		return 0, err
	}
	free := int(min(limit.Cur, 1<<30)) - len(open) - more - descriptorReserve
	if free < 1 {
		return 0, fmt.Errorf("the limit of %d open files leaves no room for clients: %d are open already, or will be, and %d are kept "+
			"in reserve; raise it (ulimit -n 65536) or run fewer loops", limit.Cur, len(open)+more, descriptorReserve)
	}
	return free, nil
}

// descriptorReserve is left for what is no client: 16 connections to the admin address, the control socket, log files, name
// look-ups, connections that are accepted only to be refused, and the second descriptor that one has while it leaves its loop.
const descriptorReserve = 32
