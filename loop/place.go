package loop

import (
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
// sockets that nobody knows, and when all is ready each of our sockets takes the place of one:
//
//	gnet.Rotate      gnet opens the bell and the placeholders, starts its loops and waits for all of them
//	find             in OnBoot: which number has each of them?
//	(boot.go)        loops are bound by ringing the bell, kicks are enrolled, descriptors are counted
//	findPoller       which descriptor is the poller that waits for the placeholders?
//	take             placeholder out of the poller; our socket over its number
//	letIn            the number into the poller: clients come in
//	again            after a failed accept: the poller is to report a listener anew, as it reports changes only
//	give up          the number out of the poller; something harmless over it; the socket is closed, or left to whoever has it too.
//	                 The loops go on
//
// Nobody comes in before letIn, so nothing has to be kept for whoever is early, and the crowd of a restart takes no descriptor
// before they are counted. All this stands on three facts: pollers report numbers, gnet looks its listeners up by them, and a
// number can be given another socket. A start that finds them false fails.
//
// Owner: listeners, poller and shut have a lock; the rest is immutable once gnet has booted.
type places struct {
	bell string // the address of the socket that is always a placeholder: ringing it gives a loop a callback
	dir  string // of the placeholders' files, where they need files; empty: none

	mu        sync.Mutex
	listeners listeners
	harmless  int  // a descriptor that takes the place of a listener that is given up
	poller    int  // of gnet's acceptor; -1: not known yet
	shut      bool // gnet closes its descriptors: they are not touched any more
}

var errNoPlace = errors.New("the event library has no place for a listening socket: it does not work as it is expected to")

// newPlaces prepares places for listeners. The caller closes them with shutDown.
func newPlaces(all listeners) (*places, error) {
	p := &places{listeners: all, poller: -1, harmless: -1}
	var secret [8]byte
	_, _ = rand.Read(secret[:])
	base := "ringcast-" + strconv.Itoa(os.Getpid()) + "-" + fmt.Sprintf("%x", secret)
	if abstractSockets {
		p.bell = "@" + base
		return p, nil
	}
	var err error
	if p.dir, err = os.MkdirTemp("", base); err != nil {
		return nil, err
	}
	p.bell = filepath.Join(p.dir, "s")
	return p, nil
}

// name is the unix address of the placeholder of a listener.
func (p *places) name(i int) string { return p.bell + "." + strconv.Itoa(i) }

// addresses are what gnet is to listen on: the bell and the placeholders. "." is the directory in gnet's form of a name that is
// no path, which it removes before it listens, as if it were one.
func (p *places) addresses() []string {
	prefix := "unix://"
	if abstractSockets {
		prefix += "./"
	}
	all := []string{prefix + p.bell}
	for i := range p.listeners {
		all = append(all, prefix+p.name(i))
	}
	return all
}

// find finds the numbers of the placeholders. gnet has opened them, and has no connections yet that would have the same names.
func (p *places) find() error {
	open, err := descriptors()
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, fd := range open {
		sa, err := unix.Getsockname(fd)
		if sa, ok := sa.(*unix.SockaddrUnix); err == nil && ok {
			for i, l := range p.listeners {
				if sa.Name == p.name(i) {
					l.place = fd
				}
			}
		}
	}
	if slices.ContainsFunc(p.listeners, func(l *listener) bool { return l.place < 0 }) {
		return errNoPlace
	}
	return nil
}

// take puts the listeners into their places; nothing is accepted from them before letIn. harmless is a descriptor that is open
// until gnet ends, and that nobody can connect to.
func (p *places) take(harmless int) error {
	open, err := descriptors()
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shut {
		return errEnded
	}
	for _, l := range p.listeners {
		if l.file != "" && !l.isOurs() { // another server was started at the same moment
			return &ListenError{unixName(l.file), unix.EADDRINUSE}
		}
	}
	p.harmless = harmless
	for _, fd := range open {
		if len(p.listeners) > 0 && pollsFor(fd, p.listeners[0].place) {
			p.poller = fd
		}
	}
	if p.poller < 0 {
		return errNoPlace
	}
	for _, l := range p.listeners {
		if err := pollDelete(p.poller, l.place); err != nil {
			return fmt.Errorf("%w (%w)", errNoPlace, err)
		}
		if err := replace(l.fd, l.place); err != nil {
			return fmt.Errorf("descriptor of a listening socket: %w", err)
		}
		_ = unix.Close(l.fd)
		l.fd = -1
	}
	return nil
}

// letIn has the poller wait for the listeners: clients come in from now on.
func (p *places) letIn() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shut {
		return errEnded
	}
	for _, l := range p.listeners {
		if err := pollAdd(p.poller, l.place); err != nil {
			return fmt.Errorf("%w (%w)", errNoPlace, err)
		}
	}
	return nil
}

// again has gnet look once more at what waits in the kernel's queues.
func (p *places) again() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.listeners {
		if p.mayTouch(l) {
			_ = pollAgain(p.poller, l.place)
		}
	}
}

// giveUp closes the listening sockets; with handed, only those that somebody else has too, and that go on listening there. gnet's
// loops go on.
func (p *places) giveUp(handed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, l := range p.listeners {
		if handed && !l.handed || !p.mayTouch(l) {
			continue
		}
		l.unlink()
		_ = pollDelete(p.poller, l.place) // whoever has the socket too keeps it in the poller
		_ = replace(p.harmless, l.place)  // gnet closes the number in the end
		l.place = -1
	}
}

// mayTouch says whether a listener is in its place, which gnet has not closed. The caller has the lock.
func (p *places) mayTouch(l *listener) bool { return !p.shut && p.poller >= 0 && l.place >= 0 }

// shutDown is called when gnet is about to close its descriptors, or has ended. From its return on they are not touched.
func (p *places) shutDown() {
	p.giveUp(false)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.shut = true
	p.listeners.close()
	if p.dir != "" {
		_ = os.RemoveAll(p.dir)
	}
}

// ring gives a loop a callback that is no client's: each time the next loop.
func (p *places) ring() error {
	c, err := net.DialTimeout("unix", p.bell, dialTimeout)
	if err != nil {
		return err
	}
	return c.Close()
}

// isBell says whether a connection was accepted at the bell, by the local address that gnet has for it.
func (p *places) isBell(local net.Addr) bool {
	a, ok := local.(*net.UnixAddr)
	return ok && a.Name == p.bell
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
