package client

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Sleepers are the connections of a generator while they are not read: they are only checked for an end by the server.
// Owner: the generator's thread during a phase.
type Sleepers struct {
	g   *Generator
	fds []unix.PollFd // by place; negative once the end of the connection was seen
}

// wakeReceiveBytes is the receive buffer of a sleeper that reads again; a small one would take a while for megabytes.
const wakeReceiveBytes = 128 << 10

// Sleep removes all connections from epoll, which would report unread input again and again.
func (g *Generator) Sleep() *Sleepers {
	s := &Sleepers{g: g}
	for i := range g.conns {
		c := &g.conns[i]
		s.fds = append(s.fds, unix.PollFd{Fd: c.fd, Events: unix.POLLRDHUP})
		if err := unix.EpollCtl(g.epoll, unix.EPOLL_CTL_DEL, int(c.fd), nil); err != nil {
			g.Cut(c, fmt.Sprintf("epoll_ctl: %v", err))
		}
	}
	return s
}

// Glance passes on the place of each connection that has ended since the last glance. Those are not polled again, since poll
// would return at once for them.
func (s *Sleepers) Glance(ended func(place int)) {
	if n, err := unix.Poll(s.fds, 0); n <= 0 || err != nil {
		return // interrupted; the next glance finds them
	}
	for i := range s.fds {
		if s.fds[i].Revents != 0 {
			s.fds[i].Fd = -1
			ended(i)
		}
	}
}

// Wake makes the connections be read again, with all that waits for them.
func (s *Sleepers) Wake() {
	for i := range s.g.conns {
		c := &s.g.conns[i]
		if c.Dead() {
			continue
		}
		// Where it fails, reading takes longer.
		_ = unix.SetsockoptInt(int(c.fd), unix.SOL_SOCKET, unix.SO_RCVBUF, wakeReceiveBytes)
		s.g.watch(c, unix.EPOLL_CTL_ADD)
	}
}
