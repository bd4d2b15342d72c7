package main

import (
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// generator is one thread with an epoll of its own and the connections that it alone serves. While a phase runs, only
// the phase's thread touches it; between phases the verb's goroutine does. The exceptions are the atomics.
type generator struct {
	target  target
	upgrade upgrade
	proof   string // reply or probe
	roster  roster
	play    play
	bell    *bell // nil without helpers

	conns   []conn
	epoll   int
	events  [eventsPerTurn]unix.EpollEvent
	buf     []byte // what is read, for all connections one after the other
	scratch []byte // what is about to be written, likewise
	keys    uint32 // state of the mask key generator

	opening  opening
	pendings int            // of its own at a time: pendingMax, or a share of it
	causes   map[string]int // why connections were refused or ended
	pings    uint64         // answered

	// Any goroutine, for the progress line and for stopping.
	joined, failed, delivered atomic.Int64
	p99                       atomic.Int64 // of the latency so far, in nanoseconds
	halt                      *atomic.Bool
}

// play is what a verb does with what its connections hear. Called on the generator's thread.
type play interface {
	opened(c *conn, now int64)                   // it is ready: joined, or through the handshake if it joins nothing
	heard(c *conn, text []byte, now int64)       // one text message; text is only valid during the call
	ponged(c *conn, payload []byte, now int64)   // likewise
	drained(c *conn)                             // what was waiting to be written has been
	cut(c *conn, cause string, stillOpened bool) // the connection ended before the bench ended it
}

// step is a phase's part of a turn. It returns when it wants to be called next at the latest, or that the phase is over.
type step func(now int64) (wake int64, done bool)

const (
	// eventsPerTurn is small so that publishing on time does not wait behind many reads.
	eventsPerTurn = 128
	// turnMax is the longest sleep: halt and deadlines are looked at after it.
	turnMax = 100 * time.Millisecond
	// readBytes takes what a server sends in one batch of a turn in one read; it must hold a whole frame.
	readBytes = 256 << 10
)

var (
	started = time.Now()
	shift   int64 // of a helper, from its own start to that of the bench; set before anything asks for the time
)

// clock is nanoseconds since the start of the bench, in all of its processes: monotonic, and small enough for a stamp.
func clock() int64 { return int64(time.Since(started)) + shift }

func newGenerator(t target, proof string, r roster, halt *atomic.Bool) (*generator, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create: %w", err)
	}
	return &generator{target: t, upgrade: newUpgrade(t), proof: proof, roster: r, play: idle{}, epoll: epoll, pendings: pendingMax,
		buf: make([]byte, readBytes), keys: 0x9E3779B9, causes: map[string]int{}, halt: halt}, nil
}

// run turns until the step is done or the run is halted.
func (g *generator) run(s step) error {
	for {
		now := clock()
		wake, done := s(now)
		if done || g.halt.Load() {
			return nil
		}
		n, err := g.wait(time.Duration(wake - now))
		if err != nil {
			return fmt.Errorf("epoll_wait: %w", err)
		}
		for i := range n {
			if g.events[i].Fd == bellAt {
				g.bell.hush()
				continue
			}
			g.event(&g.conns[g.events[i].Fd], g.events[i].Events)
		}
	}
}

// wait is epoll_pwait2 because a timeout in whole milliseconds, as epoll_wait has it, would send an open loop's
// messages up to a millisecond late. Kernels before 5.11 lack it and get the coarse one, rounded up.
func (g *generator) wait(timeout time.Duration) (int, error) {
	timeout = max(0, min(timeout, turnMax))
	ts := unix.NsecToTimespec(int64(timeout))
	r, _, errno := unix.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(g.epoll), uintptr(unsafe.Pointer(&g.events[0])),
		eventsPerTurn, uintptr(unsafe.Pointer(&ts)), 0, 0)
	n, err := int(r), error(nil)
	switch errno {
	case 0:
	case unix.EINTR:
		return 0, nil
	case unix.ENOSYS:
		n, err = unix.EpollWait(g.epoll, g.events[:], int(math.Ceil(float64(timeout)/1e6)))
		if errors.Is(err, unix.EINTR) {
			return 0, nil
		}
	default:
		return 0, errno
	}
	return n, err
}

// maskKey is a xorshift: a mask key of a bench must vary, it need not be a secret.
func (g *generator) maskKey() [4]byte {
	g.keys ^= g.keys << 13
	g.keys ^= g.keys >> 17
	g.keys ^= g.keys << 5
	return [4]byte{byte(g.keys), byte(g.keys >> 8), byte(g.keys >> 16), byte(g.keys >> 24)}
}

// close ends all connections politely, so that a server that logs rude clients stays quiet.
func (g *generator) close() {
	g.dismiss()
	g.bell.close()
	unix.Close(g.epoll)
}

// dismiss ends all connections, and the generator's part in what they would still bring.
func (g *generator) dismiss() {
	g.play = idle{} // what fails from here on is no finding
	for i := range g.conns {
		c := &g.conns[i]
		if c.state == stateReady && len(c.out) == 0 {
			g.send(c, opClose, []byte{0x03, 0xE8}) // 1000, RFC 6455, 7.4.1
		}
		if c.state != stateIdle && c.state != stateDead {
			unix.Close(int(c.fd))
			c.state = stateDead
		}
	}
}

// idle is the play of a phase in which nothing is measured.
type idle struct{}

func (idle) opened(*conn, int64)         {}
func (idle) heard(*conn, []byte, int64)  {}
func (idle) ponged(*conn, []byte, int64) {}
func (idle) drained(*conn)               {}
func (idle) cut(*conn, string, bool)     {}
