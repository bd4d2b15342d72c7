package client

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// sourceAddresses: with one source address the kernel has 28,000 ports towards one target. Clients go round robin over
// this many addresses of 127/8, which needs no configuration because all of 127/8 is local.
const sourceAddresses = 200

// Target is the server that clients connect to. Immutable.
type Target struct {
	Addr    netip.AddrPort
	Host    string // for the Host header
	Path    string
	Dialect Dialect // that it speaks
	App     App     // of the clients, in the dialect Pusher
	TLS     TLS

	Compression bool // clients offer permessage-deflate and insist on it
}

// Loopback says that the server is on this machine.
func (t Target) Loopback() bool { return t.Addr.Addr().IsLoopback() }

// dial opens a non-blocking socket and starts to connect it. The caller owns the descriptor. Client number n chooses
// the source address. receive is the size of its receive buffer, 0 what the kernel gives.
func (t Target) dial(n, receive int) (int, error) {
	family, to := t.sockaddr()
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	// Publishers must not wait for Nagle's algorithm; an error would only be visible in the latency, so it is not ignored.
	if err = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err == nil && t.Loopback() && t.Addr.Addr().Is4() {
		// Without this option bind reserves a port for all targets, and the address runs out of ports early.
		if err = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err == nil {
			err = unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, byte(1 + n%sourceAddresses)}})
		}
	}
	if err == nil && receive > 0 { // before the connect, which negotiates the window
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receive)
	}
	if err == nil {
		err = unix.Connect(fd, to)
	}
	if err != nil && !errors.Is(err, unix.EINPROGRESS) {
		unix.Close(fd)
		return -1, fmt.Errorf("connect: %w", err)
	}
	return fd, nil
}

func (t Target) sockaddr() (int, unix.Sockaddr) {
	port := int(t.Addr.Port())
	if a := t.Addr.Addr(); a.Is4() {
		return unix.AF_INET, &unix.SockaddrInet4{Addr: a.As4(), Port: port}
	}
	return unix.AF_INET6, &unix.SockaddrInet6{Addr: t.Addr.Addr().As16(), Port: port}
}
