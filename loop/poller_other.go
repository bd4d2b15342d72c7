//go:build !linux

package loop

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// What berth.go does with gnet's poller, where it is a kqueue. This builds; it has not been run.

// abstractSockets: the name of a unix socket is a path.
const abstractSockets = false

// pollsFor says whether a descriptor is a kqueue that waits for another. If it is none, or does not wait for it, it does not change.
func pollsFor(poller, fd int) bool { return change(poller, fd, unix.EV_ENABLE) == nil }

func pollAdd(poller, fd int) error { return change(poller, fd, unix.EV_ADD|unix.EV_CLEAR) }

// pollAgain has what is ready reported once more.
func pollAgain(poller, fd int) error {
	if err := pollDelete(poller, fd); err != nil {
		return err
	}
	return pollAdd(poller, fd)
}

func pollDelete(poller, fd int) error { return change(poller, fd, unix.EV_DELETE) }

func change(poller, fd, what int) error {
	var event unix.Kevent_t
	unix.SetKevent(&event, fd, unix.EVFILT_READ, what)
	_, err := unix.Kevent(poller, []unix.Kevent_t{event}, nil, nil)
	return err
}

// replace gives a number to the socket of another descriptor, which stays open.
func replace(with, number int) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := unix.Dup2(with, number); err != nil {
		return err
	}
	unix.CloseOnExec(number)
	return nil
}
