package loop

import (
	"fmt"
	"net"
	"sync"
	"time"

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
