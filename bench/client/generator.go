package client

import (
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Generator is one thread with an epoll of its own and the connections that it alone serves. While a phase runs, only
// the phase's thread touches it; between phases the fleet's owner does. The exceptions are the atomics.
type Generator struct {
	target  Target   // of all clients, unless Serve has named others
	servers []server // by Conn.Server
	receive int      // bytes of a client's receive buffer (SO_RCVBUF); 0: what the kernel gives
	roster  Roster
	play    Play
	bell    *bell // nil in a fleet that is not divided
	shapes  shapes

	conns    []Conn
	epoll    int
	events   [eventsPerTurn]unix.EpollEvent
	buf      []byte // what is read, for all connections one after the other
	frameMax int    // bytes of a server's payload
	cipher   []byte // likewise, of clients with TLS; nil without
	scratch  []byte // what is about to be written, likewise
	sealed   []byte // what crypto/tls has written, and the socket was not given yet
	keys     uint32 // state of the mask key generator

	opening  opening
	pendings int            // of its own at a time: pendingMax, or its share of it
	causes   map[string]int // why connections were refused or ended
	pings    uint64         // answered
	received uint64         // bytes, as the sockets gave them
	vigil    vigil
	sessions sessions
	secures  secures
	inflated inflated
	packer   packer

	// Any goroutine, for the progress line and for stopping.
	joined, failed atomic.Int64
	halt           *atomic.Bool
}

// Play handles what connections receive. Called on the generator's thread.
type Play interface {
	Opened(c *Conn, now int64)                          // it is ready: joined, or through the handshake if it joins nothing
	Heard(c *Conn, text []byte, from Origin, now int64) // one message, and where it came from; text is only valid during the call
	Replied(c *Conn, text []byte, now int64)            // a reply, where replies can be told from messages, also one that proved a join; likewise
	Ponged(c *Conn, payload []byte, now int64)          // likewise
	Drained(c *Conn)                                    // what waited to be written has been written
	Cut(c *Conn, cause string, stillOpened bool)        // the connection ended before the bench ended it
}

// Origin is what a message says about where it comes from.
type Origin struct {
	Group  int    // by whose channel it came; AnyGroup, NoGroup
	Offset uint64 // its number in the group's history; 0: it has none
}

// Groups of a message that are none.
const (
	// AnyGroup is that of a message in a dialect that does not say by which group it came.
	AnyGroup = -1
	// NoGroup is that of a message by a channel that has no group's name.
	NoGroup = -2
)

// Step is a phase's part of a turn. It returns the latest time of its next call, or that the phase is over.
type Step func(now int64) (wake int64, done bool)

const (
	// eventsPerTurn is small so that publishing on time does not wait behind many reads.
	eventsPerTurn = 128
	// TurnMax is the longest sleep: halt and deadlines are checked after it.
	TurnMax = 100 * time.Millisecond
	// readBytes is enough to read in one go what a server sends in one batch of a turn.
	readBytes = 256 << 10
)

func newGenerator(t Target, r Roster, halt *atomic.Bool) (*Generator, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create: %w", err)
	}
	frameMax := frameBytesMax
	if t.Dialect != Plain && t.Dialect != "" { // Centrifuge joins lines, and Pusher says who is there
		frameMax = batchBytesMax
	}
	g := &Generator{target: t, roster: r, play: Idle{}, epoll: epoll, pendings: pendingMax,
		buf: make([]byte, frameMax+readBytes), frameMax: frameMax, keys: 0x9E3779B9, causes: map[string]int{}, halt: halt}
	g.Serve([]Target{t})
	return g, nil
}

// run does turns until the step is done or the run is halted.
func (g *Generator) run(s Step) error {
	defer g.abandon()
	g.vigil.begin(Clock())
	for {
		now := Clock()
		wake, done := s(now)
		if done || g.halt.Load() {
			return nil
		}
		n, err := g.wait(time.Duration(wake - now))
		if err != nil {
			return fmt.Errorf("epoll_wait: %w", err)
		}
		g.vigil.turn(now)
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
// messages up to a millisecond late. Kernels before 5.11 lack it; there epoll_wait is used, rounded up.
func (g *Generator) wait(timeout time.Duration) (int, error) {
	timeout = max(0, min(timeout, TurnMax))
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

// MaskKey is the next key, from a xorshift generator: a bench's mask keys must vary but need not be unpredictable.
func (g *Generator) MaskKey() [4]byte {
	g.keys ^= g.keys << 13
	g.keys ^= g.keys >> 17
	g.keys ^= g.keys << 5
	return [4]byte{byte(g.keys), byte(g.keys >> 8), byte(g.keys >> 16), byte(g.keys >> 24)}
}

// server is one of several that the clients of a generator connect to.
type server struct {
	target  Target
	upgrade upgrade
	config  *tls.Config // nil without TLS
}

// Serve names the servers of clients that are begun by BeginAt, by number. All speak the generator's dialect.
func (g *Generator) Serve(targets []Target) {
	g.servers = nil
	for _, t := range targets {
		at := server{target: t, upgrade: newUpgrade(t)}
		if t.TLS.On {
			at.config = t.TLS.config(&g.sessions)
			g.cipher = make([]byte, readBytes)
		}
		g.servers = append(g.servers, at)
	}
}

// SetPlay sets the play that receives everything from now on.
func (g *Generator) SetPlay(p Play) { g.play = p }

// SetReceiveBuffer is for the clients that are begun from now on.
func (g *Generator) SetReceiveBuffer(bytes int) { g.receive = bytes }

// Dialect is what its clients speak.
func (g *Generator) Dialect() Dialect { return g.target.Dialect }

// Len is how many places for clients there are.
func (g *Generator) Len() int { return len(g.conns) }

// Conn is the client at a place. The pointer is valid until seats are added.
func (g *Generator) Conn(place int) *Conn { return &g.conns[place] }

// Received is how many bytes the sockets of its clients gave: those of TLS records, where that is spoken, and those of frames with
// their headers and compressed payloads.
func (g *Generator) Received() uint64 { return g.received }

// Joined is how many clients are ready now. Any goroutine.
func (g *Generator) Joined() int64 { return g.joined.Load() }

// Failed is how many clients could not connect or join, or were cut off. Any goroutine.
func (g *Generator) Failed() int64 { return g.failed.Load() }

// Causes are why they were, and how many for each cause.
func (g *Generator) Causes() map[string]int { return g.causes }

// Ring wakes the generator, in a fleet that was divided. Any goroutine.
func (g *Generator) Ring() { g.bell.ring() }

// close ends all connections with a close frame, so that a server does not log them as errors.
func (g *Generator) close() {
	g.Dismiss()
	g.bell.close()
	unix.Close(g.epoll)
}

// Dismiss ends all connections; what they still receive is ignored.
func (g *Generator) Dismiss() {
	g.play = Idle{} // errors from here on do not count
	for i := range g.conns {
		c := &g.conns[i]
		if c.state == stateReady && len(c.out) == 0 {
			g.send(c, opClose, goodbye)
		}
		if c.state != stateIdle && c.state != stateDead {
			unix.Close(int(c.fd))
			c.state = stateDead
		}
	}
}

// Idle is the play of a phase in which nothing is measured.
type Idle struct{}

// Opened does nothing.
func (Idle) Opened(*Conn, int64) {}

// Heard does nothing.
func (Idle) Heard(*Conn, []byte, Origin, int64) {}

// Replied does nothing.
func (Idle) Replied(*Conn, []byte, int64) {}

// Ponged does nothing.
func (Idle) Ponged(*Conn, []byte, int64) {}

// Drained does nothing.
func (Idle) Drained(*Conn) {}

// Cut does nothing.
func (Idle) Cut(*Conn, string, bool) {}
