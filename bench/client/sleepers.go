package client

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Sleepers are the connections of a generator while nobody reads them: it is only looked whether the server has ended
// one. Owner: the generator's thread during a phase.
type Sleepers struct {
	g   *Generator
	fds []unix.PollFd // by place; negative once the end of the connection was seen
}

// wakeReceiveBytes is the receive buffer of a sleeper that reads again; a small one would take a while for megabytes.
const wakeReceiveBytes = 128 << 10

// Sleep takes all connections out of epoll, which would report forever what nobody reads.
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

// Glance hands over the place of each connection that has ended since the last glance. Those are not looked at again, for
// poll would report them at once.
func (s *Sleepers) Glance(ended func(place int)) {
	if n, err := unix.Poll(s.fds, 0); n <= 0 || err != nil {
		return // an interrupted look is made up for by the next
	}
	for i := range s.fds {
		if s.fds[i].Revents != 0 {
			s.fds[i].Fd = -1
			ended(i)
		}
	}
}

// Wake has the connections read again, with all that waits for them.
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
