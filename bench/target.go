package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

const (
	dialTimeout = 3 * time.Second // one look whether anybody listens, before thousands of clients are sent

	// sourceAddresses: with one source address the kernel has 28,000 ports towards one target. Clients go round robin
	// over this many addresses of 127/8, which needs no configuration because all of 127/8 is local.
	sourceAddresses = 200

	descriptorReserve = 64 // descriptors for epoll, /proc files, the runtime and the result file
)

// target is the server under measurement. Immutable.
type target struct {
	addr     netip.AddrPort
	host     string // for the Host header
	path     string
	loopback bool
	receive  int // bytes of a client's receive buffer (SO_RCVBUF); 0: what the kernel gives
}

// parseTarget reads a ws:// URL and resolves it once. A target outside loopback needs allowRemote: a load generator
// aimed at the wrong machine by a slip of the hand is an attack.
func parseTarget(raw string, allowRemote bool) (target, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return target{}, fmt.Errorf("--url: %w", err)
	}
	if u.Scheme != "ws" || u.Hostname() == "" {
		return target{}, fmt.Errorf("--url %q: want ws://host:port/path (TLS is not spoken here)", raw)
	}
	port := 80
	if text := u.Port(); text != "" {
		if port, err = strconv.Atoi(text); err != nil || port < 1 || port > 65535 {
			return target{}, fmt.Errorf("--url %q: port must be 1 to 65535", raw)
		}
	}
	addrs, err := net.LookupIP(u.Hostname())
	if err != nil {
		return target{}, fmt.Errorf("--url %q: %w", raw, err)
	}
	chosen := addrs[0]        // LookupIP returns an error rather than nothing
	for _, a := range addrs { // v4 first: only 127/8 offers many source addresses
		if a.To4() != nil {
			chosen = a
			break
		}
	}
	ip, _ := netip.AddrFromSlice(chosen)
	t := target{addr: netip.AddrPortFrom(ip.Unmap(), uint16(port)), host: u.Host, path: u.RequestURI()}
	t.loopback = t.addr.Addr().IsLoopback()
	if !t.loopback && !allowRemote {
		return target{}, fmt.Errorf("%s is not on this machine: add --allow-remote if you may load it", t.addr)
	}
	return t, nil
}

// reach dials once, so that a missing server is one clear sentence and not ten thousand failures.
func (t target) reach() error {
	c, err := net.DialTimeout("tcp", t.addr.String(), dialTimeout)
	if errors.Is(err, unix.ECONNREFUSED) {
		return fmt.Errorf("nobody listens on %s: start a server first, for example with `go run . start`", t.addr)
	}
	if err != nil {
		return fmt.Errorf("cannot reach the server: %w", err)
	}
	return c.Close()
}

// dial opens a non-blocking socket and starts to connect it. The caller owns the descriptor. Client number n chooses
// the source address.
func (t target) dial(n int) (int, error) {
	family, to := t.sockaddr()
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", err)
	}
	// Publishers must not wait for Nagle's algorithm; an error would only show in the latency, so it is not ignored.
	if err = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err == nil && t.loopback && t.addr.Addr().Is4() {
		// Without this option bind takes a port for every target, and the ports of the address end early.
		if err = unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1); err == nil {
			err = unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, byte(1 + n%sourceAddresses)}})
		}
	}
	if err == nil && t.receive > 0 { // before the connect, where the window is agreed
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, t.receive)
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

func (t target) sockaddr() (int, unix.Sockaddr) {
	port := int(t.addr.Port())
	if a := t.addr.Addr(); a.Is4() {
		return unix.AF_INET, &unix.SockaddrInet4{Addr: a.As4(), Port: port}
	}
	return unix.AF_INET6, &unix.SockaddrInet6{Addr: t.addr.Addr().As16(), Port: port}
}

// needDescriptors checks RLIMIT_NOFILE for so many clients, and raises the soft limit to the hard one where that is
// enough. Running into EMFILE in the middle would look like the server's failure.
func needDescriptors(clients int) error {
	want := uint64(clients + descriptorReserve)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("getrlimit: %w", err)
	}
	if limit.Cur >= want {
		return nil
	}
	if limit.Max >= want {
		return unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: limit.Max, Max: limit.Max})
	}
	return fmt.Errorf("%d clients need %d file descriptors, this process may open %d: raise the hard limit "+
		"(as root: `ulimit -n %d`, or LimitNOFILE= / limits.conf)",
		clients, want, limit.Max, want)
}
