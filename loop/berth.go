package loop

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// This file puts the listening sockets into gnet. gnet opens its listeners by address, as the first thing that it does, and cannot be
// given one; to enroll each accepted connection instead would cost ten system calls and memory for every client. But what its
// pollers report is the number of a descriptor, and by the number it finds the listener. So it is started on placeholders, unix
// sockets that no client is told of, and when all is ready each of our sockets takes the number of one, its berth. Any process on
// this machine can find a placeholder or the gong; all that it gets there is the end of its connection, and it is counted nowhere.
//
//	gnet.Rotate      gnet opens the gong and the placeholders, starts its loops and waits for all of them
//	find             in OnBoot: which number has each of them?
//	(boot.go)        loops are bound by striking the gong, kicks are enrolled, descriptors are counted
//	take             which descriptor is the poller that waits for the placeholders? They leave it, and our sockets get their numbers
//	letIn            the numbers come into the poller, and clients come in
//	again            after a failed accept the poller is to report the listeners anew, as it reports changes only
//	giveUp           a number leaves the poller and is given something harmless: the socket is closed, or left to whoever has it
//	                 too. The loops go on
//
// Nobody comes in before letIn, so nothing has to be kept for whoever is early, and the crowd of a restart takes no descriptor
// before they are counted. All this stands on three facts: pollers report numbers, gnet looks its listeners up by them, and a
// number can be given another socket. A start fails where a number or the poller is not found; every test with a server shows that
// the rest holds. It does not in a build of gnet with the tag poll_opt, whose poller reports pointers.
//
// Owner: listeners, poller and shut have a lock; the rest is immutable once gnet has booted.
type berths struct {
	gong   string          // the address of the socket that is always a placeholder: striking it gives a loop a callback
	secure map[string]bool // the addresses of the placeholders of listeners for TLS
	dir    string          // of the placeholders' files, where they need files; empty: none

	mu        sync.Mutex
	listeners listeners
	harmless  int  // a descriptor that gets the number of a listener that is given up
	poller    int  // of gnet's acceptor; -1: not known yet
	shut      bool // gnet closes its descriptors: they are not touched any more
}

var errNoBerth = errors.New("the event library has no number for a listening socket, or no poller that waits for it: it does not work as this program expects")

// newBerths prepares berths for listeners. The caller closes them with shutDown.
func newBerths(all listeners) (*berths, error) {
	b := &berths{listeners: all, poller: -1, harmless: -1}
	var secret [8]byte
	_, _ = rand.Read(secret[:])
	base := "ringcast-" + strconv.Itoa(os.Getpid()) + "-" + fmt.Sprintf("%x", secret)
	if abstractSockets {
		b.gong = "@" + base
	} else {
		var err error
		if b.dir, err = os.MkdirTemp("", base); err != nil {
			return nil, err
		}
		b.gong = filepath.Join(b.dir, "s")
	}
	b.secure = map[string]bool{}
	for i, l := range all {
		if l.secure {
			b.secure[b.name(i)] = true
		}
	}
	return b, nil
}

// name is the unix address of the placeholder of a listener.
func (b *berths) name(i int) string { return b.gong + "." + strconv.Itoa(i) }

// addresses are what gnet is to listen on: the gong and the placeholders. gnet takes every name for a path, and removes what is
// there before it listens: for a name that is none, "./" makes a path of it that is not there.
func (b *berths) addresses() []string {
	prefix := "unix://"
	if abstractSockets {
		prefix += "./"
	}
	all := []string{prefix + b.gong}
	for i := range b.listeners {
		all = append(all, prefix+b.name(i))
	}
	return all
}

// find finds the numbers of the placeholders. gnet has opened them, and has no connections yet that would have the same names.
func (b *berths) find() error {
	open, err := descriptors()
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, fd := range open {
		sa, err := unix.Getsockname(fd)
		if sa, ok := sa.(*unix.SockaddrUnix); err == nil && ok {
			for i, l := range b.listeners {
				if sa.Name == b.name(i) {
					l.berth = fd
				}
			}
		}
	}
	if slices.ContainsFunc(b.listeners, func(l *listener) bool { return l.berth < 0 }) {
		return errNoBerth
	}
	return nil
}

// take puts the listeners into their berths; nothing is accepted from them before letIn. harmless is a descriptor that is open
// until gnet ends, and that nobody can connect to.
func (b *berths) take(harmless int) error {
	open, err := descriptors()
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.shut {
		return errEnded
	}
	for _, l := range b.listeners {
		if l.file != "" && !l.isOurs() { // another server was started at the same moment
			return &ListenError{unixName(l.file), unix.EADDRINUSE}
		}
	}
	b.harmless = harmless
	for _, fd := range open {
		if len(b.listeners) > 0 && pollsFor(fd, b.listeners[0].berth) {
			b.poller = fd
		}
	}
	if b.poller < 0 {
		return errNoBerth
	}
	for _, l := range b.listeners {
		if err := pollDelete(b.poller, l.berth); err != nil {
			return fmt.Errorf("%w (%w)", errNoBerth, err)
		}
		if err := replace(l.fd, l.berth); err != nil {
			return fmt.Errorf("descriptor of a listening socket: %w", err)
		}
		_ = unix.Close(l.fd)
		l.fd = -1
	}
	return nil
}

// letIn has the poller wait for the listeners: clients come in from now on.
func (b *berths) letIn() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.shut {
		return errEnded
	}
	for _, l := range b.listeners {
		if err := pollAdd(b.poller, l.berth); err != nil {
			return fmt.Errorf("%w (%w)", errNoBerth, err)
		}
	}
	return nil
}

// again has gnet look once more at what waits in the kernel's queues.
func (b *berths) again() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range b.listeners {
		if b.mayTouch(l) {
			_ = pollAgain(b.poller, l.berth)
		}
	}
}

// giveUp closes the listening sockets; with handed, only those that somebody else has too, and that go on listening there. gnet's
// loops go on.
func (b *berths) giveUp(handed bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range b.listeners {
		if handed && !l.handed {
			continue
		}
		if b.mayTouch(l) {
			l.unlink()
			_ = pollDelete(b.poller, l.berth) // whoever has the socket too keeps it in the poller
			_ = replace(b.harmless, l.berth)  // gnet closes the number in the end
			l.berth = -1
		}
		l.close() // if clients were never let in
	}
}

// mayTouch says whether a listener is in its berth, which gnet has not closed. The caller has the lock.
func (b *berths) mayTouch(l *listener) bool { return !b.shut && b.poller >= 0 && l.berth >= 0 }

// shutDown is called when gnet is about to close its descriptors, or has ended. From its return on they are not touched.
func (b *berths) shutDown() {
	b.giveUp(false)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.shut = true
	if b.dir != "" {
		_ = os.RemoveAll(b.dir)
	}
}

// strike gives a loop a callback that is no client's: each time the next loop, which then ends the connection.
func (b *berths) strike(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "unix", b.gong)
}

// isGong says whether a connection was accepted at the gong, by the local address that gnet has for it.
func (b *berths) isGong(local net.Addr) bool {
	a, ok := local.(*net.UnixAddr)
	return ok && a.Name == b.gong
}

// isSecure says whether a connection was accepted by a listener for TLS, likewise.
func (b *berths) isSecure(local net.Addr) bool {
	a, ok := local.(*net.UnixAddr)
	return ok && b.secure[a.Name]
}

// descriptors are the numbers of the process's open descriptors, and perhaps one that was open only to find them.
func descriptors() ([]int, error) {
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		open, err = os.ReadDir("/dev/fd")
	}
	if err != nil {
		return nil, fmt.Errorf("open descriptors: %w", err)
	}
	var numbers []int
	for _, entry := range open {
		if n, err := strconv.Atoi(entry.Name()); err == nil {
			numbers = append(numbers, n)
		}
	}
	return numbers, nil
}
