package client

import (
	"encoding/binary"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// bell lets other goroutines wake a generator that sleeps in epoll. Any goroutine.
type bell struct {
	mu sync.Mutex
	fd int // negative once it is closed
}

// bellAt is epoll's value for the bell; for all others it is the place of a connection.
const bellAt = -1

// hangBell adds a bell to g.
func (g *Generator) hangBell() error {
	fd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		return fmt.Errorf("eventfd: %w", err)
	}
	g.bell = &bell{fd: fd}
	if err := unix.EpollCtl(g.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: bellAt}); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

func (b *bell) ring() {
	if b == nil {
		return
	}
	b.mu.Lock() // against close: the descriptor could have been reused by then
	defer b.mu.Unlock()
	if b.fd >= 0 {
		_, _ = unix.Write(b.fd, binary.NativeEndian.AppendUint64(nil, 1)) // fails only after 2^64 rings
	}
}

// hush resets the bell; the generator calls it when it wakes up.
func (b *bell) hush() {
	var count [8]byte
	_, _ = unix.Read(b.fd, count[:])
}

func (b *bell) close() {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	unix.Close(b.fd)
	b.fd = -1
}
