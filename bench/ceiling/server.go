// Package ceiling is the minimal server for the seed protocol, and for what the bench uses of the Centrifuge and Pusher protocols: one thread, one epoll, one send() per member and nothing
// else. It has no limits, no timeouts, does not check what clients send and does not handle slow ones; it is not for
// production. It exists because "fast" means nothing without a comparison: a server that reaches the ceiling spends the
// remaining time in the kernel, which both of them call for the same bytes.
//
// The rule of this package: only the necessary work. It is in Go, but on a locked thread and with raw system calls, so that
// Go's scheduler and its network poller have no part in the figure.
package ceiling

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Form is when the server sends.
type Form int

const (
	// PerMessage sends each message to each member as it is read: the least for one message in flight, and what most
	// servers do for any number of them.
	PerMessage Form = iota
	// PerTurn gathers what one epoll_wait brought for a group and sends it to each member at once: the least for many
	// messages in flight.
	PerTurn
)

const (
	eventsPerTurn = 1024
	readBytes     = 256 << 10 // of one read, shared by all clients
	backlog       = 4096
	acceptsMax    = 256 // of one turn: connected clients must not wait for a flood of new ones
)

// server belongs to the thread that called Serve.
type server struct {
	form    Form
	epoll   int
	socket  int
	clients []*client // by descriptor
	groups  map[string]*group
	full    int      // clients with something unsent
	dirty   []*group // with a batch that waits for the end of the turn
	packs   *packs   // nil without compression
	buf     []byte

	push, reply []byte // lines of the Centrifuge and Pusher protocols that are being made
}

// client is one connection. Its buffers are nil, except after a read that ended within a frame, or while the socket is full.
type client struct {
	fd         int32
	open       bool // the handshake is done
	centrifuge bool // it speaks the Centrifuge protocol, not the seed protocol
	pusher     bool // it speaks the Pusher protocol, not the seed protocol
	partial    []byte
	unsent     []byte
	seats      []seat
}

// seat is one membership: where the client stands in the group, so that leaving needs no search.
type seat struct {
	group *group
	place int32
}

// group has the descriptors of its members side by side: walking over them is the only cost of a delivery besides send().
type group struct {
	fds   []int32
	batch []byte
	dirty bool
}

// Serve listens on addr, calls ready with the address that it got, and serves until the process ends or epoll fails. With compression
// all clients must offer it.
func Serve(addr netip.AddrPort, form Form, compression bool, ready func(netip.AddrPort)) error {
	runtime.LockOSThread()
	s := &server{form: form, groups: map[string]*group{}, buf: make([]byte, readBytes)}
	if compression {
		s.packs = newPacks()
	}
	bound, err := s.listen(addr)
	if err != nil {
		return err
	}
	ready(bound)
	var events [eventsPerTurn]unix.EpollEvent
	for {
		n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(s.epoll), uintptr(unsafe.Pointer(&events[0])), eventsPerTurn, 0, 0, 0)
		if n == 0 { // nothing is ready: only then tell Go's scheduler that this thread will sleep
			n, _, errno = unix.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(s.epoll), uintptr(unsafe.Pointer(&events[0])), eventsPerTurn, ^uintptr(0), 0, 0)
		}
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return fmt.Errorf("epoll_wait: %w", errno)
		}
		for _, e := range events[:n] {
			s.event(int(e.Fd), e.Events)
		}
		for _, g := range s.dirty {
			s.settle(g)
			g.dirty = false
		}
		s.dirty = s.dirty[:0]
	}
}

func (s *server) listen(addr netip.AddrPort) (netip.AddrPort, error) {
	var err error
	if s.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return addr, fmt.Errorf("epoll_create: %w", err)
	}
	if s.socket, err = unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0); err != nil {
		return addr, fmt.Errorf("socket: %w", err)
	}
	err = errors.Join(
		unix.SetsockoptInt(s.socket, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1),
		unix.Bind(s.socket, &unix.SockaddrInet4{Addr: addr.Addr().As4(), Port: int(addr.Port())}),
		unix.Listen(s.socket, backlog),
		unix.EpollCtl(s.epoll, unix.EPOLL_CTL_ADD, s.socket, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(s.socket)}))
	if err != nil {
		return addr, fmt.Errorf("listen on %s: %w", addr, err)
	}
	name, err := unix.Getsockname(s.socket)
	if err != nil {
		return addr, fmt.Errorf("getsockname: %w", err)
	}
	return netip.AddrPortFrom(addr.Addr(), uint16(name.(*unix.SockaddrInet4).Port)), nil // the family it was bound with
}

func (s *server) event(fd int, events uint32) {
	if fd == s.socket {
		s.accept()
		return
	}
	c := s.clients[fd]
	if c == nil {
		return // closed earlier in this turn
	}
	if events&unix.EPOLLOUT != 0 {
		s.flush(c)
	}
	if events&^uint32(unix.EPOLLOUT) != 0 {
		s.read(c)
	}
}

func (s *server) accept() {
	for range acceptsMax {
		r, _, errno := unix.RawSyscall6(unix.SYS_ACCEPT4, uintptr(s.socket), 0, 0, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
		if errno != 0 {
			return
		}
		fd := int(r)
		// Nagle's algorithm would make the cost look low and the latency high.
		if unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) != nil ||
			unix.EpollCtl(s.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP, Fd: int32(fd)}) != nil {
			unix.Close(fd)
			continue
		}
		for len(s.clients) <= fd {
			s.clients = append(s.clients, nil)
		}
		s.clients[fd] = &client{fd: int32(fd)}
	}
}

func (s *server) read(c *client) {
	kept := copy(s.buf, c.partial)
	c.partial = nil
	n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(c.fd), uintptr(unsafe.Pointer(&s.buf[kept])), uintptr(len(s.buf)-kept))
	if errno == unix.EAGAIN {
		n = 0
	} else if errno != 0 || n == 0 {
		s.close(c)
		return
	}
	b := s.buf[:kept+int(n)]
	used := s.take(c, b)
	switch {
	case used < 0 || len(b)-used == len(s.buf): // a close frame, an invalid frame, or one that never fits
		s.close(c)
	case used < len(b):
		c.partial = append([]byte(nil), b[used:]...)
	}
}

// publish is where the two forms differ.
func (s *server) publish(g *group, text []byte) {
	if !g.dirty {
		g.batch = g.batch[:0]
	}
	g.batch = s.packs.appendText(g.batch, text)
	if s.form == PerMessage {
		s.fanOut(g, g.batch)
		return
	}
	if !g.dirty {
		g.dirty = true
		s.dirty = append(s.dirty, g)
	}
}

// settle sends what has been gathered for a group.
func (s *server) settle(g *group) {
	if g.dirty && len(g.batch) > 0 {
		s.fanOut(g, g.batch)
		g.batch = g.batch[:0]
	}
}

// fanOut is the ceiling itself: one send() per member. Slow members are only looked for while there are any.
func (s *server) fanOut(g *group, b []byte) {
	for _, fd := range g.fds {
		if s.full > 0 && s.clients[fd].unsent != nil {
			s.clients[fd].unsent = append(s.clients[fd].unsent, b...)
		} else if n := send(fd, b); n < len(b) {
			s.keep(s.clients[fd], b[n:])
		}
	}
}

// send returns how many bytes the socket accepted. An error counts as none: a broken connection is noticed at its next read.
func send(fd int32, b []byte) int {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return 0
	}
	return int(n)
}

// write sends b to one client, after what already waits for it.
func (s *server) write(c *client, b []byte) {
	if c.unsent != nil {
		c.unsent = append(c.unsent, b...)
	} else if n := send(c.fd, b); n < len(b) {
		s.keep(c, b[n:])
	}
}

// keep stores what a full socket did not accept, and waits until it is writable.
func (s *server) keep(c *client, rest []byte) {
	c.unsent = append([]byte(nil), rest...)
	s.full++
	s.watch(c, unix.EPOLLIN|unix.EPOLLRDHUP|unix.EPOLLOUT)
}

// flush writes what keep has stored.
func (s *server) flush(c *client) {
	if c.unsent == nil {
		return
	}
	if c.unsent = c.unsent[send(c.fd, c.unsent):]; len(c.unsent) == 0 {
		c.unsent = nil
		s.full--
		s.watch(c, unix.EPOLLIN|unix.EPOLLRDHUP)
	}
}

func (s *server) watch(c *client, events uint32) {
	_ = unix.EpollCtl(s.epoll, unix.EPOLL_CTL_MOD, int(c.fd), &unix.EpollEvent{Events: events, Fd: c.fd}) // a member of this epoll, so it cannot fail
}

func (s *server) join(c *client, name []byte) {
	g := s.groups[string(name)]
	if g == nil {
		g = &group{}
		s.groups[string(name)] = g
	}
	for _, at := range c.seats {
		if at.group == g {
			return
		}
	}
	s.settle(g) // earlier messages are not for the new member
	c.seats = append(c.seats, seat{g, int32(len(g.fds))})
	g.fds = append(g.fds, c.fd)
}

func (s *server) leave(c *client, at int) {
	gone := c.seats[at]
	s.settle(gone.group) // earlier messages are for the leaving member, too
	c.seats = append(c.seats[:at], c.seats[at+1:]...)
	last := gone.group.fds[len(gone.group.fds)-1]
	gone.group.fds[gone.place] = last
	gone.group.fds = gone.group.fds[:len(gone.group.fds)-1]
	for i := range s.clients[last].seats {
		if moved := &s.clients[last].seats[i]; moved.group == gone.group {
			moved.place = gone.place
		}
	}
}

func (s *server) close(c *client) {
	for len(c.seats) > 0 {
		s.leave(c, len(c.seats)-1)
	}
	if c.unsent != nil {
		s.full--
	}
	s.clients[c.fd] = nil
	unix.Close(int(c.fd))
}
