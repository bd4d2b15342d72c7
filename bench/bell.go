package main

import (
	"encoding/binary"
	"fmt"
	"sync"

	"golang.org/x/sys/unix"
)

// bell lets other goroutines wake a generator that sleeps in epoll, and leave it what helpers said. Only generators of
// a run with helpers have one. Any goroutine.
type bell struct {
	fd   int
	mu   sync.Mutex
	acks []ackFrom
}

// ackFrom is what a helper acknowledged, or that a member there was cut off.
type ackFrom struct {
	process int
	floors  []ack
	saidAt  int64
	cut     bool
}

// bellAt is what epoll gives for the bell, where it gives the place of a connection for all else.
const bellAt = -1

// hangBell gives g a bell.
func (g *generator) hangBell() error {
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
	b.mu.Lock() // against close: the descriptor could be another's by then
	defer b.mu.Unlock()
	if b.fd >= 0 {
		_, _ = unix.Write(b.fd, binary.NativeEndian.AppendUint64(nil, 1)) // fails only when it rings since 2^64 times
	}
}

// hush is called by the generator that woke.
func (b *bell) hush() {
	var count [8]byte
	_, _ = unix.Read(b.fd, count[:])
}

// leave lays down what a helper said, and rings.
func (b *bell) leave(a ackFrom) {
	b.mu.Lock()
	b.acks = append(b.acks, a)
	b.mu.Unlock()
	b.ring()
}

// take returns what was left since the last time.
func (b *bell) take() []ackFrom {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	acks := b.acks
	b.acks = nil
	return acks
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
