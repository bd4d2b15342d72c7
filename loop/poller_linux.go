package loop

import "golang.org/x/sys/unix"

// What berth.go does with gnet's poller, where it is an epoll.

// abstractSockets: the name of a unix socket may be no path.
const abstractSockets = true

// listenerEvents is what gnet waits for at a listener: changes only (EPOLLET).
const listenerEvents = unix.EPOLLIN | unix.EPOLLPRI | unix.EPOLLRDHUP | unix.EPOLLET

// pollsFor says whether a descriptor is an epoll that waits for another. If it is none, or does not wait for it, it does not change.
func pollsFor(poller, fd int) bool { return pollAgain(poller, fd) == nil }

func pollAdd(poller, fd int) error { return control(poller, unix.EPOLL_CTL_ADD, fd) }

// pollAgain has what is ready reported once more.
func pollAgain(poller, fd int) error { return control(poller, unix.EPOLL_CTL_MOD, fd) }

func pollDelete(poller, fd int) error { return control(poller, unix.EPOLL_CTL_DEL, fd) }

func control(poller, op, fd int) error {
	return unix.EpollCtl(poller, op, fd, &unix.EpollEvent{Events: listenerEvents, Fd: int32(fd)})
}

// replace gives a number to the socket of another descriptor, which stays open.
func replace(with, number int) error { return unix.Dup3(with, number, unix.O_CLOEXEC) }
