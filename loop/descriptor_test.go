package loop

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"testing"

	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"
)

// What hold.go and borrow.go rest on: however a connection ends, gnet calls OnClose while the descriptor is still the connection's, and
// closes it after that.
func TestADescriptorIsOpenUntilItsClientIsKnownToBeGone(t *testing.T) {
	e := &closeWatcher{booted: make(chan struct{}), opened: make(chan gnet.Conn), closed: make(chan error, 1)}
	ended := make(chan error, 1)
	go func() {
		ended <- gnet.Run(e, "tcp://127.0.0.1:0", gnet.WithNumEventLoop(1), gnet.WithLogger(&handler{log: slog.New(slog.DiscardHandler)}))
	}()
	<-e.booted
	fd, err := e.engine.Dup()
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	address, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	port := address.(*unix.SockaddrInet4).Port
	for _, way := range []struct {
		name string
		end  func(peer *net.TCPConn, c gnet.Conn)
	}{
		{"the peer ends it", func(peer *net.TCPConn, _ gnet.Conn) { peer.Close() }},
		{"the peer resets it", func(peer *net.TCPConn, _ gnet.Conn) {
			_ = peer.SetLinger(0)
			peer.Close()
		}},
		{"we cut it", func(_ *net.TCPConn, c gnet.Conn) { e.on(c, func() { _ = c.EventLoop().Close(c) }) }},
		{"a callback asks for its end", func(peer *net.TCPConn, _ gnet.Conn) { _, _ = peer.Write([]byte("end")) }},
		{"a write fails", func(_ *net.TCPConn, c gnet.Conn) {
			e.on(c, func() {
				_ = unix.Shutdown(c.Fd(), unix.SHUT_WR)
				_, _ = c.Write([]byte("fails"))
			})
		}},
		{"the engine ends", func(*net.TCPConn, gnet.Conn) { go func() { _ = e.engine.Stop(context.Background()) }() }},
	} {
		peer, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Fatal(err)
		}
		way.end(peer.(*net.TCPConn), <-e.opened)
		if err := <-e.closed; err != nil {
			t.Errorf("%s: %v", way.name, err)
		}
		peer.Close()
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// closeWatcher looks at the descriptor of each connection that ends.
type closeWatcher struct {
	gnet.BuiltinEventEngine
	engine gnet.Engine
	booted chan struct{}
	opened chan gnet.Conn
	closed chan error
}

func (e *closeWatcher) OnBoot(engine gnet.Engine) gnet.Action {
	e.engine = engine
	close(e.booted)
	return gnet.None
}

func (e *closeWatcher) OnOpen(c gnet.Conn) ([]byte, gnet.Action) {
	inode, _ := inodeOf(c.Fd())
	c.SetContext(inode)
	go func() { e.opened <- c }()
	return nil, gnet.None
}

func (e *closeWatcher) OnTraffic(gnet.Conn) gnet.Action { return gnet.Close }

func (e *closeWatcher) OnClose(c gnet.Conn, _ error) gnet.Action {
	inode, err := inodeOf(c.Fd())
	if err == nil && inode != c.Context() {
		err = fmt.Errorf("descriptor %d is another socket's", c.Fd())
	}
	e.closed <- err
	return gnet.None
}

// on has a connection's loop call f.
func (e *closeWatcher) on(c gnet.Conn, f func()) {
	_ = c.EventLoop().Execute(context.Background(), gnet.RunnableFunc(func(context.Context) error {
		f()
		return nil
	}))
}

func inodeOf(fd int) (uint64, error) {
	var st unix.Stat_t
	err := unix.Fstat(fd, &st)
	return st.Ino, err
}
