package cli

import (
	"net"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"ringcast/cli/settings"
	"ringcast/loop"
)

// handedIn are listening sockets that a service manager has opened and hands to this process (sd_listen_fds(3)). They stay
// the manager's: it keeps them while no server runs, so that nobody who connects during a restart is refused.
type handedIn struct {
	sockets                  []*os.File // for WebSockets, in the manager's order
	secure                   []*os.File // for TLS, likewise
	admin, channel, redirect net.Listener
}

// Names by which a manager says what a socket is for. Every other name, and none, is for WebSockets.
const (
	adminSocket    = "admin"
	channelSocket  = "channel"
	redirectSocket = "redirect"
	tlsSocket      = "tls"
)

// firstHandedIn is the number of the first such descriptor; the others follow it.
const firstHandedIn = 3

// readHandedIn takes the sockets that the environment tells of, and takes that out of there: a process that this one starts
// must not take them for its own. The error is a UsageError: the unit is wrong.
func readHandedIn() (h handedIn, err error) {
	pid, fds, names := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS"), os.Getenv("LISTEN_FDNAMES")
	for _, name := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID"} {
		os.Unsetenv(name)
	}
	if pid != strconv.Itoa(os.Getpid()) { // they are another's, mostly our parent's
		return h, nil
	}
	n, err := strconv.Atoi(fds)
	if err != nil || n < 0 {
		return h, settings.Usagef("LISTEN_FDS %q is not a number of sockets; leave it to the service manager to set it", fds)
	}
	for fd := firstHandedIn; fd < firstHandedIn+n; fd++ {
		unix.CloseOnExec(fd)
	}
	named := strings.Split(names, ":")
	for i := range n {
		s := handedSocket{fd: firstHandedIn + i, name: "unknown"} // as systemd calls one without a name
		if i < len(named) && named[i] != "" {
			s.name = named[i]
		}
		if err := s.check(); err != nil {
			return h, err
		}
		if err := h.take(s); err != nil {
			return h, err
		}
	}
	return h, nil
}

// handedSocket is one of them.
type handedSocket struct {
	fd   int
	name string
}

// wrong is a UsageError about a socket.
func (s handedSocket) wrong(format string, args ...any) error {
	return settings.Usagef("LISTEN_FDS: descriptor %d, named %q, "+format, append([]any{s.fd, s.name}, args...)...)
}

// check refuses what cannot be accepted from.
func (s handedSocket) check() error {
	kind, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_TYPE)
	switch {
	case err == unix.EBADF:
		return s.wrong("is not open; let the service manager start this process itself, without a shell or a wrapper that closes it")
	case err != nil:
		return s.wrong("is not a socket; in the socket unit use ListenStream= alone")
	case kind != unix.SOCK_STREAM:
		return s.wrong("is a socket without a stream; in the socket unit write ListenStream= for it")
	}
	if listens, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil || listens == 0 {
		return s.wrong("does not listen; in the socket unit write Accept=no, so that the server gets the listening socket and not one connection")
	}
	switch at, err := unix.Getsockname(s.fd); at.(type) {
	case *unix.SockaddrInet4, *unix.SockaddrInet6, *unix.SockaddrUnix:
		return nil
	default:
		return s.wrong("is neither a TCP nor a unix socket (%T, %v); in the socket unit write a port, an address or a path behind ListenStream=", at, err)
	}
}

// take puts a socket where its name says.
func (h *handedIn) take(s handedSocket) error {
	file := os.NewFile(uintptr(s.fd), s.name)
	into := &h.admin
	switch s.name {
	case channelSocket:
		into = &h.channel
	case redirectSocket:
		into = &h.redirect
	case adminSocket:
	case tlsSocket:
		h.secure = append(h.secure, file)
		return nil
	default:
		h.sockets = append(h.sockets, file)
		return nil
	}
	if *into != nil {
		return s.wrong("is the second of this name; give it another, FileDescriptorName= in the socket unit, or leave it out")
	}
	defer file.Close() // FileListener has made a descriptor of its own
	listener, err := net.FileListener(file)
	if err != nil {
		return s.wrong("cannot be used: %v", err)
	}
	*into = listener
	return nil
}

// none says whether nothing was handed in.
func (h *handedIn) none() bool {
	return len(h.sockets)+len(h.secure) == 0 && h.admin == nil && h.channel == nil && h.redirect == nil
}

// fits refuses sockets for what the settings switch off.
func (h *handedIn) fits(s *settings.Settings) error {
	switch {
	case s.Daemon && !h.none():
		return settings.Usagef("--daemon does not go together with sockets that a service manager hands in (LISTEN_FDS): " +
			"a process in the background would not have them; leave --daemon off")
	case len(h.sockets)+len(h.secure) > loop.ListenMax:
		return settings.Usagef("LISTEN_FDS hands in %d sockets for WebSockets; hand in at most %d", len(h.sockets)+len(h.secure), loop.ListenMax)
	case len(h.secure) > 0 && !s.TLS.On():
		return settings.Usagef("LISTEN_FDNAMES has a socket %q, but --tls-listen is off; set --tls-listen to the address of that socket, and name a certificate, or leave it out", tlsSocket)
	case len(h.sockets) > 0 && len(s.Loop.Listen) == 0:
		return settings.Usagef("LISTEN_FDS hands in a socket for WebSockets without TLS, but --listen is off; call it %q, by FileDescriptorName= in the socket unit, or set --listen to its address", tlsSocket)
	case h.redirect != nil && s.TLS.Redirect == "":
		return settings.Usagef("LISTEN_FDNAMES has a socket %q, but --http-redirect is off; set it to the address of that socket, or leave it out", redirectSocket)
	case h.admin != nil && s.Admin == "":
		return settings.Usagef("LISTEN_FDNAMES has a socket %q, but --admin is off; leave out one of them", adminSocket)
	case h.channel != nil && s.Channel.Listen == "":
		return settings.Usagef("LISTEN_FDNAMES has a socket %q, but --channel is off; set --channel to the address of that socket, or leave it out", channelSocket)
	}
	return nil
}

// instead names the options whose addresses are not used, as sockets were handed in for them.
func (h *handedIn) instead() (flags []string) {
	for _, of := range []struct {
		flag   string
		unused bool
	}{{"--listen", len(h.sockets) > 0}, {"--tls-listen", len(h.secure) > 0}, {"--http-redirect", h.redirect != nil}, {"--admin", h.admin != nil}, {"--channel", h.channel != nil}} {
		if of.unused {
			flags = append(flags, of.flag)
		}
	}
	return flags
}
