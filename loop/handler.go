package loop

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"

	"ringcast/wsproto"
)

// handler is where gnet calls us, and the env of every shard, where we call gnet. Each event is led to the shard that
// owns the connection; nothing is decided here but admission.
//
// Owner: each callback runs on the loop of its connection. Fields in the last paragraph are under mu.
type handler struct {
	gnet.BuiltinEventEngine

	// Immutable after start.
	hub    *Hub
	log    *slog.Logger
	engine gnet.Engine

	// Any goroutine.
	booted       chan struct{} // closed when the listener is up
	acceptFailed chan struct{} // a token after each failed accept
	open         atomic.Bool   // all shards are bound: clients are let in

	mu    sync.Mutex
	loops []boundLoop        // by shard index, in the order in which they were seen
	early map[gnet.Conn]bool // came before open; their bytes wait in gnet
	saw   chan struct{}      // a token when a loop was seen
	queue int                // the listening socket, by which the kernel's accept queue is reached; -1: none
}

// boundLoop is a gnet loop and the kick by which its shard yields to itself.
type boundLoop struct {
	loop gnet.EventLoop
	kick int // our end of a socket pair, the other end of which is enrolled in the loop
}

var kickByte = []byte{1}

// kickEnd is the context of the enrolled end of a kick.
type kickEnd struct{ shard *shard }

func newHandler(h *Hub, log *slog.Logger) *handler {
	return &handler{
		hub: h, log: log,
		booted:       make(chan struct{}),
		acceptFailed: make(chan struct{}, 1),
		saw:          make(chan struct{}, 1),
		early:        map[gnet.Conn]bool{},
		queue:        -1,
	}
}

// OnBoot is gnet's word that the listener is up; no loop exists yet.
func (h *handler) OnBoot(engine gnet.Engine) gnet.Action {
	h.engine = engine
	close(h.booted)
	return gnet.None
}

// OnOpen takes a connection. Beyond admission's bound it is answered 503 before it has asked, and closed.
func (h *handler) OnOpen(c gnet.Conn) ([]byte, gnet.Action) {
	if _, ok := c.Context().(*kickEnd); ok {
		return nil, gnet.None
	}
	if !h.open.Load() && h.holdEarly(c) {
		return nil, gnet.None
	}
	return nil, h.take(c)
}

// take gives a connection to the shard of its loop, or refuses it.
func (h *handler) take(c gnet.Conn) gnet.Action {
	s := h.shardOf(c.EventLoop())
	refusal, why := &busyAnswers, awayClients
	if h.hub.stopping.Load() {
		refusal, why = &stoppingAnswers, awayStopping
	} else if h.hub.pressure.Load() != pressureNone {
		refusal, why = &memoryAnswers, awayMemory
	} else if h.hub.admit() {
		from, ok := s.arrive(peerOf(c))
		if !ok {
			refusal, why = &addressAnswers, awayAddress
		} else if client := s.opened(c); client != nil {
			client.comesFrom(from)
			c.SetContext(client)
			return gnet.None
		}
		s.unseat(from)
		h.hub.gone()
	}
	count(&s.count.RefusedClientsBy, why)
	h.log.Debug("refusing a connection", "loop", s.index, "remote", c.RemoteAddr(), "why", turnedAwayNames[why])
	_, _ = c.Write(refusal.any())
	return gnet.Close
}

// peerOf is the address at the other end of the socket.
func peerOf(c gnet.Conn) netip.Addr {
	if tcp, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// OnTraffic hands the bytes over, all of them: what gnet keeps would grow without bound.
func (h *handler) OnTraffic(c gnet.Conn) gnet.Action {
	switch ctx := c.Context().(type) {
	case *client:
		p, _ := c.Next(-1)
		ctx.shard.traffic(ctx, p)
	case *kickEnd:
		_, _ = c.Discard(-1)
		ctx.shard.kickedAwake()
	default: // early: the bytes wait until the client is let in, some milliseconds
		if c.InboundBuffered() > earlyBytesMax {
			count(&h.hub.shards[0].count.RefusedClientsBy, awayBooting) // the loop may have no shard yet; its index does not matter here
			_, _ = c.Write(busyAnswers.any())
			return gnet.Close
		}
	}
	return gnet.None
}

// earlyBytesMax bounds what a connection may send before the server is ready for it: far above any request head.
const earlyBytesMax = 128 << 10

// OnClose hears that a connection is gone, whoever ended it.
func (h *handler) OnClose(c gnet.Conn, _ error) gnet.Action {
	switch ctx := c.Context().(type) {
	case *client:
		ctx.shard.closed(ctx)
	case nil:
		if !h.open.Load() {
			h.mu.Lock()
			delete(h.early, c)
			h.mu.Unlock()
		}
	}
	return gnet.None
}

// Binding shards to loops.

// holdEarly notes the loop and keeps a connection that came before all shards were bound; false when they are by now.
func (h *handler) holdEarly(c gnet.Conn) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.open.Load() {
		return false
	}
	h.early[c] = true
	for i := range h.loops { // by index: boot may be writing the kicks beside
		if h.loops[i].loop == c.EventLoop() {
			return true
		}
	}
	h.loops = append(h.loops, boundLoop{loop: c.EventLoop(), kick: -1})
	select {
	case h.saw <- struct{}{}:
	default:
	}
	return true
}

// seen says whether every loop has been seen.
func (h *handler) seen() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.loops) == len(h.hub.shards)
}

// waitSeen waits for a loop to be seen, or for d.
func (h *handler) waitSeen(d time.Duration) {
	select {
	case <-h.saw:
	case <-time.After(d):
	}
}

// bindKicks enrolls one end of a socket pair in each loop. A byte written to the other end gives the loop a callback in
// its next round of epoll, after the sockets that are ready: that is how a shard yields to itself. Executing a function
// on the own loop would not do: gnet runs those without end before it looks at a socket again.
func (h *handler) bindKicks() error {
	for i := range h.loops {
		if err := h.bindKick(i); err != nil {
			return fmt.Errorf("kick of loop %d: %w", i, err)
		}
	}
	return nil
}

func (h *handler) bindKick(i int) error {
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
	h.loops[i].kick = ends[0]
	file := os.NewFile(uintptr(ends[1]), "kick")
	defer file.Close()
	conn, err := net.FileConn(file)
	if err != nil {
		return err
	}
	ctx := gnet.NewContext(context.Background(), &kickEnd{h.hub.shards[i]})
	enrolled, err := h.loops[i].loop.Enroll(ctx, conn)
	if err != nil {
		return err
	}
	return (<-enrolled).Err
}

// letIn opens the door, and gives the early connections to their shards.
func (h *handler) letIn() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.open.Store(true)
	for c := range h.early {
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
	h.early = nil
}

// shardOf finds the shard of a loop; there are at most 64, and the first few are found in a cache line.
func (h *handler) shardOf(loop gnet.EventLoop) *shard {
	for i := range h.loops {
		if h.loops[i].loop == loop {
			return h.hub.shards[i]
		}
	}
	panic("ringcast: a connection opened on a loop that no shard is bound to")
}

// closeDescriptors closes what is ours: the ends of the kicks, and our hold on the listening socket, without which its
// port would stay taken.
func (h *handler) closeDescriptors() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range h.loops {
		if h.loops[i].kick >= 0 {
			_ = unix.Close(h.loops[i].kick)
			h.loops[i].kick = -1
		}
	}
	if h.queue >= 0 {
		_ = unix.Close(h.queue)
		h.queue = -1
	}
}

// env connects shard i to the world.
func (h *handler) env(i int, portable bool) env {
	start := h.hub.started // one for all: times go from loop to loop
	wake := gnet.RunnableFunc(func(context.Context) error {
		h.hub.shards[i].woken()
		return nil
	})
	kicked := gnet.RunnableFunc(func(context.Context) error {
		h.hub.shards[i].kickedAwake()
		return nil
	})
	r := env{
		now: func() int64 { return int64(time.Since(start)) },
		wake: func() {
			_ = h.loops[i].loop.Execute(context.Background(), wake)
		},
		kick: func() {
			if _, err := unix.Write(h.loops[i].kick, kickByte); err != nil { // never seen; a kick that is lost would be the end of the loop
				_ = h.loops[i].loop.Execute(context.Background(), kicked)
			}
		},
		yield: runtime.Gosched,
		send:  rawSend,
		cut: func(c conn) {
			g := c.(gnet.Conn)
			_ = g.EventLoop().Close(g)
		},
		shut: func(fd int) { _ = syscall.Shutdown(fd, syscall.SHUT_WR) },
		names: func(c conn) (local, remote string) {
			if a := c.(gnet.Conn).RemoteAddr(); a != nil {
				remote = a.String()
			}
			return h.hub.local, remote
		},
		panic: func(p any) {
			h.log.Error("a callback panicked; its client is closed, the loop goes on",
				"loop", i, "panic", p, "stack", string(debug.Stack()))
			if invariants {
				panic(p)
			}
		},
	}
	if portable {
		r.send = nil
	}
	r.ended = func(c *client, code wsproto.StatusCode, reason string) {
		if h.log.Enabled(context.Background(), slog.LevelDebug) { // asked each time: a reload can change it
			h.log.Debug("closing a client", "loop", i, "client", c.id(), "remote", c.remote(), "why", fmt.Sprintf("%d %s", code, reason))
		}
	}
	return r
}

// listener takes hold of the listening socket, and says where it really listens.
func (h *handler) listener() (net.Addr, error) {
	fd, err := h.engine.Dup()
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	h.queue = fd
	h.mu.Unlock()
	if err := limitUnsent(fd); err != nil {
		return nil, fmt.Errorf("bound on the kernel's send buffers: %w", err)
	}
	sa, err := unix.Getsockname(fd)
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return &net.TCPAddr{IP: sa.Addr[:], Port: sa.Port}, nil
	case *unix.SockaddrInet6:
		return &net.TCPAddr{IP: sa.Addr[:], Port: sa.Port}, nil
	}
	return nil, fmt.Errorf("address of the listener: %w", err)
}

// keepAlive has the kernel look after connections, by settings of the listening socket that those accepted from it
// inherit. gnet's own option for it would hide why listening failed. A connection that was made before goes without; the
// heartbeat finds its end too.
func (h *handler) keepAlive(idle, untaken time.Duration) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return setKeepAlive(h.queue, idle, untaken)
}

// refuseOne takes one connection off the kernel's accept queue, tells it 503 and closes it.
func (h *handler) refuseOne() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.queue < 0 {
		return
	}
	fd, _, err := unix.Accept(h.queue) // the listener does not block
	if err != nil {
		return
	}
	count(&h.hub.shards[0].count.RefusedClientsBy, awayClients)
	_, _ = unix.Write(fd, busyAnswers.any())
	_ = unix.Close(fd)
}

// engineStop asks the engine to end. gnet's Stop looks only every 500 ms whether it has; who wants to know waits for
// Run to return instead.
func (h *handler) engineStop() {
	go func() { _ = h.engine.Stop(context.Background()) }()
}

// gnet's log. Failed accepts are told from the rest by their text, the only sign of them that gnet gives.

// Debugf is part of gnet's logger.
func (h *handler) Debugf(format string, args ...any) {
	h.log.Debug("gnet: " + fmt.Sprintf(format, args...))
}

// Infof is part of gnet's logger.
func (h *handler) Infof(format string, args ...any) {
	h.log.Debug("gnet: " + fmt.Sprintf(format, args...))
}

// Warnf is part of gnet's logger. gnet warns of every event that comes for a connection which has ended in the same turn:
// what clients can cause at their own speed is for debugging, not for the operator's log.
func (h *handler) Warnf(format string, args ...any) {
	h.log.Debug("gnet: " + fmt.Sprintf(format, args...))
}

// Errorf is part of gnet's logger, and the one place where a failed accept shows.
func (h *handler) Errorf(format string, args ...any) {
	if !strings.HasPrefix(format, "Accept() failed") {
		h.log.Error("gnet: " + fmt.Sprintf(format, args...))
		return
	}
	h.hub.acceptFails.Add(1)
	select {
	case h.acceptFailed <- struct{}{}:
	default:
	}
	if now := time.Now().Unix(); h.hub.acceptFailed.Swap(now) != now { // so it is logged once a second
		h.log.Warn("accept failed and will be tried again; raise the limit of open files if this goes on",
			"reason", fmt.Sprint(args...), "failed", h.hub.acceptFails.Load())
	}
}

// Fatalf is part of gnet's logger; gnet does not call it.
func (h *handler) Fatalf(format string, args ...any) {
	h.log.Error("gnet: " + fmt.Sprintf(format, args...))
}
