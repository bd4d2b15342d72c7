package loop

import (
	"fmt"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// listener is our own hold on the listening socket, beside gnet's. Accepted connections inherit its settings, and it
// reaches the kernel's accept queue.
//
// Owner: any goroutine; the address does not change once the server has started.
type listener struct {
	addr *net.TCPAddr // where it really listens

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

// keepAlive has the kernel look after connections, by settings that those accepted from now on inherit. gnet's own option
// for it would hide why listening failed. A connection that was made before goes without; the heartbeat finds its end too.
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

// dialTimeout: the way to oneself is short; it takes time only when the accept queue is full.
const dialTimeout = 500 * time.Millisecond

// accept takes one connection off the accept queue, past gnet. It does not wait for one.
func (l *listener) accept() (fd int, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	fd, _, err = unix.Accept(l.fd) // gnet has made the socket non-blocking
	return fd, err
}

// close lets go of the socket, without which its port would stay taken.
func (l *listener) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fd >= 0 {
		_ = unix.Close(l.fd)
		l.fd = -1
	}
}
