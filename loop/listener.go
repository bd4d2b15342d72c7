package loop

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// This file opens the sockets on which a server listens. They listen from here on, but nothing is accepted from them before they
// take their berths in gnet (berth.go): who comes while the server boots waits in the kernel's queue, costs no descriptor, and is
// not refused. To listen only when all is ready would be no better for the server, worse for clients, and wrong for a unix socket:
// another start would take one that does not answer yet for the remains of a dead server.

// listener is a socket on which a server listens.
//
// Owner: whoever opened it, then the berths.
type listener struct {
	addr   net.Addr // with the real port where 0 was asked for
	fd     int      // -1: closed, or only gnet's number for it is left
	berth  int      // gnet's number for it, see berth.go; -1: it has none, or has given it up
	handed bool     // it is somebody else's too: it goes on listening when this server stops
	secure bool     // TLS is spoken on it

	file  string      // the path of its file, which goes when it does; empty: none, or somebody else's
	inode fs.FileInfo // of that file: another one is left alone
}

// listeners are all sockets of a server.
type listeners []*listener

// openListeners opens a socket or more for each address, or takes over the sockets of somebody else if there are any.
func openListeners(cfg *Config) (all listeners, err error) {
	defer func() {
		if err != nil {
			all.close()
		}
	}()
	if err := all.add(cfg.Listen, cfg.Sockets); err != nil {
		return all, err
	}
	var secure listeners // apart, as an address that is plain already does not cover one for TLS
	err = secure.add(cfg.TLSListen, cfg.TLSSockets)
	for _, l := range secure {
		l.secure = true
	}
	if all = append(all, secure...); err != nil {
		return all, err
	}
	for _, l := range all {
		if err := l.set(cfg); err != nil {
			return all, err
		}
	}
	return all, nil
}

// add opens sockets for addresses, or takes over those that are handed in if there are any.
func (all *listeners) add(addresses []string, sockets []*os.File) error {
	for i, file := range sockets {
		l, err := handIn(file)
		if err != nil {
			return fmt.Errorf("socket %d that was handed in: %w", i, err)
		}
		*all = append(*all, l)
	}
	if len(sockets) > 0 {
		return nil
	}
	for _, text := range addresses {
		a, err := ParseListen(text)
		if err == nil {
			err = all.open(&a, openTCP)
		}
		if err != nil {
			return &ListenError{text, err}
		}
	}
	return nil
}

// handedIn says whether all of them are: then nobody has to be refused when this server stops, see stop.go.
func (all listeners) handedIn() bool {
	return !slices.ContainsFunc(all, func(l *listener) bool { return !l.handed })
}

// ListenError is why a server cannot listen on an address.
type ListenError struct {
	Address string // as it was written
	Err     error
}

// Error has the address and the reason.
func (e *ListenError) Error() string { return fmt.Sprintf("listen on %s: %v", e.Address, e.Err) }

// Unwrap is the reason.
func (e *ListenError) Unwrap() error { return e.Err }

// open opens the sockets of one address, those of TCP each by tcp.
func (all *listeners) open(a *ListenAddress, tcp func(netip.AddrPort) (*listener, error)) error {
	if a.path != "" {
		l, err := openUnix(a)
		if err == nil {
			*all = append(*all, l)
		}
		return err
	}
	hosts, port, err := resolve(a.text)
	if err != nil {
		return err
	}
	for try := 0; ; try++ {
		opened, err := all.openTCP(hosts, port, tcp)
		if err == nil {
			*all = append(*all, opened...)
			return nil
		}
		opened.close()
		if port != 0 || try == freePortTries || !errors.Is(err, syscall.EADDRINUSE) {
			return err
		}
	}
}

// freePortTries bounds the search for a port that is free for every address of a host: the kernel chooses one for the first of
// them only.
const freePortTries = 16

// resolve gives the addresses of HOST:PORT. No host stands for all addresses of the machine, and so does [::], which is both
// families (RFC 3493 §5.3). A name stands for each of its addresses.
func resolve(text string) (hosts []netip.Addr, port uint16, err error) {
	host, portText, err := net.SplitHostPort(text)
	if err != nil {
		return nil, 0, err
	}
	n, err := net.LookupPort("tcp", portText)
	if err != nil {
		return nil, 0, err
	}
	if host == "" || host == "::" {
		return []netip.Addr{netip.IPv4Unspecified(), netip.IPv6Unspecified()}, uint16(n), nil
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{ip.Unmap()}, uint16(n), nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookUpTimeout)
	defer cancel()
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	for _, ip := range found {
		hosts = append(hosts, ip.Unmap())
	}
	return hosts, uint16(n), err
}

// lookUpTimeout bounds the look-up of a name that a server listens on, most often localhost.
const lookUpTimeout = 10 * time.Second

// openTCP opens a socket for each of a host's addresses by open, all with one port. An IPv6 socket takes no IPv4 connections: there is
// another socket for them, so that no address appears mapped, and gnet's address of an IPv4 client stays small. A family that this
// machine does not have is left out, unless it is the only one.
func (all *listeners) openTCP(hosts []netip.Addr, port uint16, open func(netip.AddrPort) (*listener, error)) (opened listeners, err error) {
	var missing error
	for _, host := range hosts {
		address := netip.AddrPortFrom(host, port)
		if covered, err := all.covers(address); err != nil {
			return opened, err
		} else if covered {
			missing = nil
			continue
		}
		l, err := open(address)
		switch {
		case err == nil:
			opened = append(opened, l)
			port = l.addr.(*net.TCPAddr).AddrPort().Port()
		case len(hosts) > 1 && isMissing(err):
			missing = err
		default:
			return opened, err
		}
	}
	if len(opened) == 0 {
		return nil, missing
	}
	return opened, nil
}

// covers says whether a socket listens on this very address already, as for 0.0.0.0:80 beside [::]:80. It is an error if one
// listens on all addresses of the machine, or on one of them while this is for all: the kernel would only say "in use".
func (all listeners) covers(address netip.AddrPort) (bool, error) {
	for _, l := range all {
		other, ok := l.addr.(*net.TCPAddr)
		if !ok || address.Port() == 0 || address.Port() != other.AddrPort().Port() {
			continue
		}
		theirs := other.AddrPort().Addr().Unmap()
		switch {
		case theirs == address.Addr():
			return true, nil
		case theirs.Is4() == address.Addr().Is4() && (theirs.IsUnspecified() || address.Addr().IsUnspecified()):
			return false, fmt.Errorf("%s and %s, which is also listened on, are the same port of one address; leave one of them out", address, other)
		}
	}
	return false, nil
}

// isMissing says whether an error is that the machine does not have an address, or a whole family of them.
func isMissing(err error) bool {
	for _, errno := range []error{syscall.EAFNOSUPPORT, syscall.EADDRNOTAVAIL, syscall.EPROTONOSUPPORT} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// openTCP listens on one address. Package net sets SO_REUSEADDR, without which a restart waits for the old connections' TIME_WAIT,
// IPV6_V6ONLY, and the longest queue that the kernel allows.
func openTCP(address netip.AddrPort) (*listener, error) {
	network := "tcp4"
	if address.Addr().Is6() {
		network = "tcp6"
	}
	var config net.ListenConfig
	config.SetMultipathTCP(false) // its sockets do not have all of the options that set sets
	opened, err := config.Listen(context.Background(), network, address.String())
	if err != nil {
		return nil, err
	}
	defer opened.Close()
	return takeOver(opened.(*net.TCPListener))
}

const dialTimeout = 500 * time.Millisecond // for a connection to the own host

// handIn takes over a listening socket that somebody else has opened.
func handIn(file *os.File) (*listener, error) {
	defer file.Close()
	l, err := takeOver(file)
	if err != nil {
		return nil, err
	}
	l.handed = true
	kind, err := unix.GetsockoptInt(l.fd, unix.SOL_SOCKET, unix.SO_TYPE)
	listens, err2 := unix.GetsockoptInt(l.fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err = errors.Join(err, err2); err == nil && (kind != unix.SOCK_STREAM || listens == 0) {
		err = errors.New("it does not listen for streams; use ListenStream= with Accept=no in the socket unit")
	}
	if err == nil {
		err = unix.SetNonblock(l.fd, true)
	}
	if err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// takeOver makes a listener of a descriptor of its own of a socket that is open.
func takeOver(from syscall.Conn) (*listener, error) {
	raw, err := from.SyscallConn()
	if err != nil {
		return nil, err
	}
	l := &listener{fd: -1, berth: -1}
	var dupErr error
	if err := raw.Control(func(fd uintptr) { l.fd, dupErr = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) }); err != nil {
		return nil, err
	}
	if dupErr != nil {
		return nil, dupErr
	}
	sa, err := unix.Getsockname(l.fd)
	if l.addr = netAddr(sa); l.addr == nil {
		l.close()
		return nil, errors.Join(errors.New("its address is neither of TCP nor of a unix socket"), err)
	}
	return l, nil
}

// set sets the options that accepted connections inherit. A socket that was handed in may be of a kind that does not have all of
// them, such as MPTCP: its connections do without.
func (l *listener) set(cfg *Config) error {
	if _, ok := l.addr.(*net.TCPAddr); !ok {
		return nil
	}
	for _, err := range []error{
		unix.SetsockoptInt(l.fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1),
		limitUnsent(l.fd),
		setKeepAlive(l.fd, cfg.TCPKeepAlive, cfg.TCPUserTimeout),
	} {
		if err != nil && !(l.handed && errors.Is(err, syscall.ENOPROTOOPT)) {
			return fmt.Errorf("kernel settings of connections: %w", err)
		}
	}
	return nil
}

// close closes a listener that has no berth.
func (l *listener) close() {
	l.unlink()
	if l.fd >= 0 {
		_ = unix.Close(l.fd)
		l.fd = -1
	}
}

func (all listeners) close() {
	for _, l := range all {
		l.close()
	}
}

// netAddr is a socket's address as package net has it; nil: it is neither of TCP nor of a unix socket.
func netAddr(sa unix.Sockaddr) net.Addr {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port)))
	case *unix.SockaddrInet6:
		ip := netip.AddrFrom16(sa.Addr).Unmap()
		if sa.ZoneId != 0 {
			zone := strconv.Itoa(int(sa.ZoneId))
			if i, err := net.InterfaceByIndex(int(sa.ZoneId)); err == nil {
				zone = i.Name
			}
			ip = ip.WithZone(zone)
		}
		return net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip, uint16(sa.Port)))
	case *unix.SockaddrUnix:
		return &net.UnixAddr{Net: "unix", Name: sa.Name}
	}
	return nil
}

// AddrText is how an address is shown to people.
func AddrText(a net.Addr) string {
	if u, ok := a.(*net.UnixAddr); ok {
		return unixName(u.Name)
	}
	return a.String()
}
