package loop

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"
)

// listener is a descriptor of our own of gnet's listening socket. By it the server sets options, which accepted connections
// inherit, and accepts connections itself.
//
// Owner: any goroutine; fd has a lock, and addr is immutable once the server has started.
type listener struct {
	addr *net.TCPAddr // with the real port where 0 was asked for

	mu sync.Mutex
	fd int // -1: none
}

// adopt takes over a descriptor of the listening socket, and bounds what the kernel keeps for connections accepted from it.
func (l *listener) adopt(fd int) error {
	l.mu.Lock()
	l.fd = fd
	l.mu.Unlock()
	if err := limitUnsent(fd); err != nil {
		return fmt.Errorf("bound on the kernel's send buffers: %w", err)
	}
	sa, err := unix.Getsockname(fd)
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		l.addr = &net.TCPAddr{IP: sa.Addr[:], Port: sa.Port}
	case *unix.SockaddrInet6:
		l.addr = &net.TCPAddr{IP: sa.Addr[:], Port: sa.Port}
	default:
		return fmt.Errorf("address of the listener: %w", err)
	}
	return nil
}

// openDoors opens the addresses, or takes the sockets that were handed in.
func openDoors(cfg *Config) (doors []net.Listener, err error) {
	open := func(l net.Listener, err error) error {
		if err != nil {
			return err
		}
		doors = append(doors, l)
		raw, err := l.(syscall.Conn).SyscallConn()
		if err != nil {
			return err
		}
		var set error
		if err := raw.Control(func(fd uintptr) {
			if set = limitUnsent(int(fd)); set == nil && l.Addr().Network() == "tcp" {
				set = setKeepAlive(int(fd), cfg.TCPKeepAlive, cfg.TCPUserTimeout)
			}
		}); err != nil {
			return err
		}
		return set
	}
	defer func() {
		if err != nil {
			for _, door := range doors {
				door.Close()
			}
		}
	}()
	for _, file := range cfg.Sockets {
		if err := open(net.FileListener(file)); err != nil {
			return nil, err
		}
		file.Close()
	}
	if len(cfg.Sockets) > 0 {
		return doors, nil
	}
	for _, address := range cfg.Listen {
		config := net.ListenConfig{KeepAlive: -1}
		config.SetMultipathTCP(false)
		if err := open(config.Listen(context.Background(), "tcp", address)); err != nil {
			return nil, err
		}
	}
	return doors, nil
}

// keepOpen gives what a listener accepts to the loops, until it is closed.
func (s *Server) keepOpen(door net.Listener) {
	for {
		conn, err := door.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			s.hub.failedAccepts.note(s.log, err.Error())
			time.Sleep(acceptRetry)
			continue
		}
		if _, err := s.handler.engine.Register(gnet.NewNetConnContext(context.Background(), conn)); err != nil {
			conn.Close()
		}
	}
}

func (s *Server) closeDoors() {
	for _, door := range s.doors {
		door.Close()
	}
}

// keepAlive has the kernel probe connections, by options that those accepted from now on inherit. gnet's own option for it would
// hide why listening failed. Connections that were accepted before do without; the heartbeat detects their end too.
func (l *listener) keepAlive(idle, untaken time.Duration) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := setKeepAlive(l.fd, idle, untaken); err != nil {
		return fmt.Errorf("kernel settings of connections: %w", err)
	}
	return nil
}

// dial opens a connection to the listener.
func (l *listener) dial() (net.Conn, error) {
	to := *l.addr
	if to.IP.IsUnspecified() {
		if to.IP.To4() != nil {
			to.IP = net.IPv4(127, 0, 0, 1)
		} else {
			to.IP = net.IPv6loopback
		}
	}
	return net.DialTimeout("tcp", to.String(), dialTimeout)
}

// dialTimeout is ample for a connection to the own host; one takes long only when the accept queue is full.
const dialTimeout = 500 * time.Millisecond

// accept accepts one connection, instead of gnet. It does not wait for one.
func (l *listener) accept() (fd int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fd, _, err = unix.Accept(l.fd) // gnet has made the socket non-blocking
	return fd, err
}

// close closes the descriptor; else the port would stay in use.
func (l *listener) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fd >= 0 {
		_ = unix.Close(l.fd)
		l.fd = -1
	}
}
