package loop

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"ringcast/dialect"
	"ringcast/wsproto"
)

// Single situations that the simulation meets too seldom to rely on, step by step on made-up sockets.

// stage is a hub whose wake-ups and kicks a test lets through when it wants.
type stage struct {
	nanos        int64
	busy         bool // time stands still: no loop has slept
	hub          *Hub
	wakes, kicks []bool
	conns        []*stageConn
}

// newStage makes loops loops; a group's home is the loop that its first digit names.
func newStage(loops int, change func(*bounds), more ...dialect.Entry) *stage {
	b := defaultBounds()
	if change != nil {
		change(&b)
	}
	st := &stage{hub: newHub(loops, b, more...), wakes: make([]bool, loops), kicks: make([]bool, loops)}
	st.hub.clientsMax.Store(100)
	st.hub.homes.Hash = func(group string) uint64 { return uint64(group[0] - '0') }
	for i, s := range st.hub.shards {
		s.env = env{
			now: st.now, yield: func() {}, shut: func(int) {}, panic: func(any) {},
			wake: func() { st.wakes[i] = true },
			kick: func() { st.kicks[i] = true },
			cut: func(c conn) {
				a := c.(*stageConn)
				a.closed = true
				a.shard.closed(a.client)
			},
			hand: st.hand,
		}
	}
	return st
}

// raw has the stage's loops use the raw send.
func (st *stage) raw() *stage {
	for _, s := range st.hub.shards {
		s.env.send = func(fd int, p []byte) sent {
			c := st.conns[fd]
			n := c.part
			switch c.part = 0; {
			case n < 0 || c.stuck:
				return sent{errno: syscall.EAGAIN}
			case n > 0:
				p = p[:n]
			}
			n, _ = c.Write(p)
			return sent{n: n}
		}
	}
	return st
}

// now is of a world in which loops have slept before each callback, unless the test says that they are busy.
func (st *stage) now() int64 {
	if !st.busy {
		st.nanos += busyGap
	}
	return st.nanos
}

// settle lets all wake-ups and kicks through.
func (st *stage) settle() {
	for moved := true; moved; {
		moved = false
		for i, s := range st.hub.shards {
			if st.wakes[i] {
				st.wakes[i], moved = false, true
				s.woken()
			}
			if st.kicks[i] {
				st.kicks[i], moved = false, true
				s.kickedAwake()
			}
		}
	}
}

// stageConn takes everything; it can be told to panic at its next write, or to take nothing for a while.
type stageConn struct {
	most   int // bytes of the largest write
	fd     int
	shard  *shard
	client *client
	out    []byte
	part   int    // the next raw send takes so many bytes; 0: all, -1: none
	queued []byte // what waits while it is stuck
	stuck  bool
	closed bool
	boom   bool
	left   *departed // it has left its loop
	stays  bool      // there is no descriptor for it to leave by
}

func (c *stageConn) Write(p []byte) (int, error) {
	if c.boom {
		c.boom = false
		panic("a write that panics")
	}
	if c.stuck {
		c.queued = append(c.queued, p...)
		return len(p), nil
	}
	c.out = append(c.out, p...)
	c.most = max(c.most, len(p))
	return len(p), nil
}

// take has a stuck connection take n of the bytes that wait.
func (c *stageConn) take(n int) {
	n = min(n, len(c.queued))
	c.out, c.queued = append(c.out, c.queued[:n]...), c.queued[n:]
	c.stuck = len(c.queued) > 0
}

func (c *stageConn) OutboundBuffered() int { return len(c.queued) }
func (c *stageConn) Fd() int               { return c.fd }

func (st *stage) enter(loop int) *stageConn { return st.enterAt(loop, "/") }

func (st *stage) enterAt(loop int, path string) *stageConn {
	c := &stageConn{shard: st.hub.shards[loop], fd: len(st.conns)}
	st.conns = append(st.conns, c)
	st.hub.admit()
	c.client = c.shard.opened(c)
	c.shard.traffic(c.client, []byte(strings.Replace(simRequest, "GET / ", "GET "+path+" ", 1)))
	c.out = nil
	return c
}

// hold has another loop hold a home, until the function it returns is called; that loop then looks again.
func (st *stage) hold(home int) (letGo func()) {
	st.wakes[home] = true // in a tick that it has not seen yet its loop would look again and again whether it may drop what is old, until letGo
	st.settle()
	end, _ := st.hub.homes.Home(home).Hold()
	return func() {
		end()
		st.hub.shards[home].woken()
	}
}

func (c *stageConn) say(format string, args ...any) {
	c.shard.traffic(c.client, wsproto.AppendMaskedFrame(nil, wsproto.OpText, [4]byte{}, fmt.Appendf(nil, format, args...)))
}

func (c *stageConn) heard(t *testing.T, want string) {
	t.Helper()
	if !strings.Contains(string(c.out), want) {
		t.Errorf("heard %q, want %q in it", c.out, want)
	}
}

// offer publishes a text, and does not wait for the home's word.
func offer(p *Port, group string, text []byte) error {
	_, err := p.Offer(group, Said{Payload: text})
	return err
}

// insist publishes what cannot be refused once there is room for it in the lane.
func insist(p *Port, group string, text []byte) error {
	w, err := p.Waiter(group, text, nil)
	if err != nil {
		return err
	}
	sent, err := w.Offer()
	if err == nil && !sent {
		err = ErrBusy
	}
	return err
}
