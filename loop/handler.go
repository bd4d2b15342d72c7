package loop

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"

	"ringcast/loop/assert"
	"ringcast/loop/door"
	"ringcast/loop/secure"
	"ringcast/wsproto"
)

// handler has the callbacks of gnet, and makes the env of every shard, through which shards call gnet. Each event goes to
// the shard that owns the connection; nothing is decided here.
//
// Owner: each callback runs on the loop of its connection.
type handler struct {
	gnet.BuiltinEventEngine

	// Immutable after start.
	hub    *Hub
	log    *slog.Logger
	engine gnet.Engine
	lost   error // why the engine was not started

	// Any goroutine.
	booted chan struct{} // closed when the placeholders are up and found
	loops  *loops
	berths *berths

	departures *departures    // nil: there is no HTTP server
	secure     *secure.Server // nil: TLS is not spoken
}

func newHandler(h *Hub, p *berths, log *slog.Logger) *handler {
	return &handler{hub: h, log: log, booted: make(chan struct{}), loops: newLoops(h.shards), berths: p}
}

// OnBoot is called by gnet when its listeners, the placeholders, are up; no loop exists yet.
func (h *handler) OnBoot(engine gnet.Engine) gnet.Action {
	h.engine = engine
	if h.lost = h.berths.find(); h.lost != nil {
		return gnet.Shutdown
	}
	close(h.booted)
	return gnet.None
}

// OnShutdown is called by gnet when it ends, for whatever reason, before it closes any descriptor.
func (h *handler) OnShutdown(gnet.Engine) {
	h.berths.shutDown()
	h.loops.shut()
}

// OnOpen takes a new connection. One that is not admitted is answered before it has sent anything, and closed.
func (h *handler) OnOpen(c gnet.Conn) ([]byte, gnet.Action) {
	if _, ok := c.Context().(*kickEnd); ok {
		return nil, gnet.None
	}
	if h.berths.isGong(c.LocalAddr()) {
		h.loops.see(c.EventLoop()) // whoever has struck it
		return nil, gnet.Close
	}
	if !h.loops.open.Load() { // a stranger has found a placeholder
		return nil, gnet.Close
	}
	return nil, h.take(c, h.berths.isSecure(c.LocalAddr()))
}

// take gives a connection to the shard of its loop, or refuses it. Where TLS is spoken it is refused without a word: what it could read
// as an answer needs a handshake, which is what a server that is full has no time for.
func (h *handler) take(c gnet.Conn, secure bool) gnet.Action {
	s := h.loops.shardOf(c.EventLoop())
	from, why, ok := s.judge(peerOf(c))
	guest := false
	if !ok {
		from, guest = s.asGuest(peerOf(c), why)
	}
	if ok || guest {
		if client := s.opened(c); client != nil {
			client.comesFrom(from)
			if guest {
				client.more().guest = true
			}
			if secure {
				client.overTLS()
			}
			c.SetContext(client)
			return gnet.None
		}
		if s.unseat(from); guest {
			s.forgetGuest()
		}
		h.hub.gone()
	}
	count(&s.count.RefusedClientsBy, why)
	h.log.Debug("refusing a connection", "loop", s.index, "remote", remoteName(c.RemoteAddr()), "why", turnedAwayNames[why])
	if !secure {
		_, _ = c.Write(why.answers().any())
	}
	return gnet.Close
}

// names are a connection's addresses for people to read. gnet has a placeholder's for the local one.
func names(c conn) (local, remote string) {
	if sa, err := unix.Getsockname(c.Fd()); err == nil {
		if a := netAddr(sa); a != nil {
			local = AddrText(a)
		}
	}
	return local, remoteName(c.(gnet.Conn).RemoteAddr())
}

// remoteName is how a peer is shown: one on a unix socket has no address.
func remoteName(a net.Addr) string {
	switch a := a.(type) {
	case nil:
		return ""
	case *net.UnixAddr:
		return "unix"
	default:
		return a.String()
	}
}

// peerOf is the address at the other end of the socket; of a unix socket it is not valid.
func peerOf(c gnet.Conn) netip.Addr {
	if tcp, ok := c.RemoteAddr().(*net.TCPAddr); ok {
		return tcp.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// OnTraffic gives a client's bytes to its shard, all of them: what gnet kept would grow without bound.
func (h *handler) OnTraffic(c gnet.Conn) gnet.Action {
	switch ctx := c.Context().(type) {
	case *client:
		p, _ := c.Next(-1)
		ctx.shard.traffic(ctx, p)
	case *kickEnd:
		_, _ = c.Discard(-1)
		ctx.shard.kickedAwake()
	}
	return gnet.None
}

// OnClose is called when a connection is gone, whichever side ended it.
func (h *handler) OnClose(c gnet.Conn, _ error) gnet.Action {
	if ctx, ok := c.Context().(*client); ok {
		ctx.shard.closed(ctx)
	}
	return gnet.None
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
		now:  func() int64 { return int64(time.Since(start)) },
		wake: func() { h.loops.execute(i, wake) },
		kick: func() {
			if !h.loops.kick(i) { // never seen; but if a kick were lost the loop would not go on
				h.loops.execute(i, kicked)
			}
		},
		yield: runtime.Gosched,
		send:  rawSend,
		cut: func(c conn) {
			g := c.(gnet.Conn)
			_ = g.EventLoop().Close(g)
		},
		shut:  func(fd int) { _ = syscall.Shutdown(fd, syscall.SHUT_WR) },
		names: names,
		panic: func(p any) {
			h.log.Error("a callback panicked; its client is closed, the loop goes on",
				"loop", i, "panic", p, "stack", string(debug.Stack()))
			if assert.On {
				panic(p)
			}
		},
	}
	if portable {
		r.send = nil
	}
	if h.secure != nil {
		r.secure = func(hello []byte, tell func()) cipher { return h.secure.Begin(hello, tell) }
	}
	if h.departures != nil {
		r.hand = func(c conn, what departure) bool {
			g := c.(gnet.Conn)
			fd, err := g.Dup()
			if err != nil {
				return false
			}
			_ = g.EventLoop().Close(g)
			go h.departures.take(fd, what)
			return true
		}
	}
	r.ended = func(c *client, code wsproto.StatusCode, reason string) {
		if h.log.Enabled(context.Background(), slog.LevelDebug) { // asked each time: a reload can change it
			h.log.Debug("closing a client", "loop", i, "client", c.Number(), "remote", c.remote(), "dialect", h.hub.dialects[c.dialect()].Name, "why", fmt.Sprintf("%d %s", code, reason))
		}
	}
	r.faulty = func(c *client, fault door.Fault, why string) { // at level debug, as clients can show as many as they like
		if h.log.Enabled(context.Background(), slog.LevelDebug) {
			h.log.Debug("refusing a token", "loop", i, "client", c.Number(), "remote", c.remote(), "fault", fault.String(), "why", why)
		}
	}
	return r
}

// engineStop asks the engine to end. gnet's Stop checks only every 500 ms whether it has, so callers wait for Run to return
// instead.
func (h *handler) engineStop() {
	go func() { _ = h.engine.Stop(context.Background()) }()
}

// gnet's log.

// Debugf is part of gnet's logger.
func (h *handler) Debugf(format string, args ...any) {
	h.log.Debug("gnet: " + fmt.Sprintf(format, args...))
}

// Infof is part of gnet's logger.
func (h *handler) Infof(format string, args ...any) {
	h.log.Debug("gnet: " + fmt.Sprintf(format, args...))
}

// Warnf is part of gnet's logger. gnet warns of every event for a connection that has ended in the same turn. Clients can cause
// these as fast as they like, so they are logged at level debug.
func (h *handler) Warnf(format string, args ...any) {
	h.log.Debug("gnet: " + fmt.Sprintf(format, args...))
}

// Errorf is part of gnet's logger, and the only place where a failed accept can be seen.
func (h *handler) Errorf(format string, args ...any) {
	if isAcceptFailure(format) {
		if isGivenUp(args) {
			return
		}
		h.hub.failedAccepts.note(h.log, fmt.Sprint(args...))
		return
	}
	h.log.Error("gnet: " + fmt.Sprintf(format, args...))
}

// Fatalf is part of gnet's logger; gnet does not call it.
func (h *handler) Fatalf(format string, args ...any) {
	h.log.Error("gnet: " + fmt.Sprintf(format, args...))
}
