package loop

import (
	"sync"
	"sync/atomic"

	"ringcast/dialect"
	"ringcast/loop/assert"
	"ringcast/loop/order"
	"ringcast/loop/shrink"
	"ringcast/wsproto"
)

// shard is what one loop owns: its clients and its members of every group.
//
// Nothing is acted upon at once: a callback appends (a request to a lane, a reply to the out buffer, a client to the
// doomed) and ends with a turn, which does what has gathered (turn.go).
//
// Owner: the loop's goroutine, except where a paragraph says otherwise.
type shard struct {
	// Immutable after start.
	index    int
	hub      *Hub
	env      env
	lanes    *order.Lanes[*group, *client]
	takeDown func(delivery) bool // deliver, made once

	// Any goroutine.
	count    counters
	calls    callList
	outboxes atomic.Int64  // bytes that wait for its clients; the loop writes
	entries  atomic.Uint64 // odd: a callback is running; one more at the beginning and at the end of each. For the watchdog

	// Loop only: whom it serves.
	bounds   *bounds
	dialects []dialect.Dialect // by form
	clients  []*client
	lastSeen []uint32 // beside clients: tick of the last sign of life << 1 | a ping is out
	rates    rates    // beside clients, where there is a bound
	groups   shrink.Map[string, *group]
	serial   uint32 // of the last client

	// Loop only: work that has gathered.
	passes      passes
	parked      [][]request
	parkedBytes int
	idle        []*group // without members, their homes not told yet
	doomed      []*client
	dead        []*client
	out         []byte // replies to outClient, not sent yet
	outClient   *client
	kicked      bool // a kick is under way: it, and no other callback, runs passes
	deferred    bool // that kick is for what was read since deferredAt and not acted upon, not for passes
	resting     bool // this turn makes no passes, or no more
	stopping    bool // close everybody, a slice per turn

	// Loop only: clients that are slow, or have something unfinished.
	slow     []slow
	slowFrom int  // lookAtSlow goes on below this place
	relieved bool // this turn has cut off clients for the sake of all
	halves   []half

	// Loop only: time.
	tick       uint32
	timed      []deadline
	overdue    bool  // some deadlines have passed and wait for the next turn
	unfinished int   // clients in the handshake
	beatFrom   int   // heartbeat: where the scan goes on
	heardAt    int64 // end of the last callback that brought bytes
	deferredAt int64
	enteredAt  int64  // beginning of this callback, if its turn is timed
	timedTurn  bool   // this callback is one of the sample
	accepted   uint64 // publishes that clients sent, of which a sample is timed

	// Loop only: the end.
	stop shardStop

	// Loop only: memory kept for the next use.
	reader  *wsproto.Reader // idle between callbacks; serves every client that has nothing unfinished
	readers []*wsproto.Reader
	culprit *client // whom a panic would be blamed on
}

// env is where a shard touches the world. The server fills it with sockets and clocks, the simulation with its own.
type env struct {
	now   func() int64             // monotonic nanoseconds
	wake  func()                   // any goroutine: have the loop call woken soon
	kick  func()                   // have the loop call kickedAwake, after it has looked at its other sockets
	yield func()                   // let other loops have the processor
	send  func(int, []byte) sent   // non-blocking send to a descriptor; nil: use conn.Write only
	cut   func(conn)               // close now; calls shard.closed before it returns
	shut  func(fd int)             // end our direction of the stream
	names func(conn) (l, r string) // local and remote address
	panic func(any)                // a panic was caught; called while its stack can still be printed

	ended func(c *client, code wsproto.StatusCode, reason string) // for the log: we end this client; nil: nobody reads it
}

// callList is a list of functions that other goroutines want run on the loop. Any goroutine.
type callList struct {
	mu    sync.Mutex
	calls []func(*shard)
	some  atomic.Bool
}

func (l *callList) add(f func(*shard)) {
	l.mu.Lock()
	l.calls = append(l.calls, f)
	l.some.Store(true)
	l.mu.Unlock()
}

func (l *callList) take() []func(*shard) {
	if !l.some.Load() {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	calls := l.calls
	l.calls = nil
	l.some.Store(false)
	return calls
}

func newShard(h *Hub, index int) *shard {
	s := &shard{index: index, hub: h, lanes: h.homes.Lanes(index), bounds: h.bounds.Load(), parked: make([][]request, len(h.shards))}
	s.reader = s.newReader()
	s.rates.adopt(s.bounds, 0)
	s.takeDown = s.deliver
	for _, entry := range h.dialects {
		s.dialects = append(s.dialects, entry.New())
	}
	return s
}

// The callbacks, each one entry from outside. Each recovers from panics: whatever panics below closes the client that
// was being served, is counted and logged, and the loop lives on.

// opened takes a new connection; the client it returns stands for it in all later calls. nil after a panic: not taken.
func (s *shard) opened(conn conn) (c *client) {
	s.enter(nil)
	defer s.leave()
	if len(s.clients) == 0 {
		s.tick = s.hub.clock.Load() // a loop without clients is not woken by the clock
		if s.rates.on {
			s.rates.start(s.env.now())
		}
	}
	s.serial++
	c = &client{shard: s, conn: conn, fd: int32(conn.Fd()), serial: s.serial, slot: uint32(len(s.clients))}
	s.clients = append(s.clients, c)
	s.lastSeen = append(s.lastSeen, s.tick<<1)
	s.rates.add()
	s.culprit = c
	s.count.Accepted.Add(1)
	s.count.Pending.Add(1)
	s.unfinished++
	s.time(c, s.bounds.handshakeTicks)
	return c
}

// traffic takes bytes that a client sent. p is only borrowed, and is overwritten.
//
// A loop that had been asleep acts on them at once. One that is busy goes on reading and acts by a kick, when it has seen
// all sockets that were ready: what comes in together is put in order, sent and rung for together.
func (s *shard) traffic(c *client, p []byte) {
	s.enter(c)
	defer s.leave()
	now := s.env.now()
	busy := now-s.heardAt < busyGap
	s.input(c, p)
	if assert.On {
		mangle(p)
	}
	switch {
	case !busy || s.parkedBytes > 0: // lanes are full: who only goes on reading would have to refuse
		s.turn()
	case !s.kicked:
		s.deferred, s.deferredAt = true, now
		s.kick()
	case now-s.deferredAt >= deferMax:
		s.act(s.deferred)
		s.deferred, s.deferredAt = s.deferred && len(s.passes.queue) == 0, now // passes that are left are the kick's
	}
	s.heardAt = s.env.now()
}

// mangle overwrites bytes that were only borrowed, so that who kept them is found out.
func mangle(p []byte) {
	for i := range p {
		p[i] = 0xDB
	}
}

const (
	// busyGap is the time between two callbacks that bring bytes, in nanoseconds, below which a loop has not slept in
	// between: a read and a look at epoll take some 3 µs, falling asleep and waking up takes longer than this.
	busyGap = 10_000
	// deferMax is how long a busy loop, in nanoseconds, goes on reading before it acts without its kick, and how long until
	// it does so again: with thousands of ready sockets the kick is far away.
	deferMax = 300_000
)

// closed hears that a connection is gone. It may be called inside any other callback, because a failing write closes;
// then it only takes note, and the turn of that callback buries the client.
func (s *shard) closed(c *client) {
	if c.state == stateDead {
		return
	}
	if c.state == stateHandshake {
		count(&s.count.Handshakes, handshakeGone)
		s.unfinished--
	}
	c.state = stateDead
	s.dead = append(s.dead, c)
	if s.inside() {
		return
	}
	s.enter(nil)
	defer s.leave()
	s.turn()
}

// woken answers the bell: somebody put something into a lane or the call list, or the clock has moved.
func (s *shard) woken() {
	s.enter(nil)
	defer s.leave()
	s.lanes.Answer()
	s.turn()
}

// kickedAwake goes on with what waits until the sockets were looked at: a pass that ran out of budget, for the most.
func (s *shard) kickedAwake() {
	s.enter(nil)
	defer s.leave()
	s.kicked, s.deferred = false, false
	s.turn()
}

// enter begins a callback, leave ends it. No two callbacks of one shard ever overlap; that is gnet's promise and our
// whole reason to need no locks, so it is asserted.
func (s *shard) enter(c *client) {
	n := s.entries.Load()
	if assert.On {
		assert.That(n%2 == 0 && s.entries.CompareAndSwap(n, n+1), "shard: two callbacks at once")
	} else {
		s.entries.Store(n + 1)
	}
	s.culprit = c
	if s.timedTurn = sampled(n / 2); s.timedTurn {
		s.enteredAt = s.env.now()
	}
}

// inside says whether a callback is running.
func (s *shard) inside() bool { return s.entries.Load()%2 != 0 }

func (s *shard) leave() {
	if p := recover(); p != nil {
		s.survive(p)
	}
	s.culprit = nil
	s.passes.deadline = 0
	if s.timedTurn {
		s.count.TurnTimes.observe(s.env.now() - s.enteredAt)
	}
	s.entries.Store(s.entries.Load() + 1)
}

// survive closes the client that was being served when something of ours panicked, and sees to it that what the broken
// turn has left is done: which lanes had been taken off the bell is not known any more, so all are looked at.
func (s *shard) survive(p any) {
	s.count.Panics.Add(1)
	s.env.panic(p)
	s.passes.undelivered = 0 // of a pass that has lost its count
	s.lanes.Survive()
	if c := s.culprit; c != nil && c.state != stateDead {
		s.condemn(c)
	}
	s.kick()
}

// condemn closes a client that something of ours panicked over; cut without a word if even that panics.
func (s *shard) condemn(c *client) {
	defer func() {
		if recover() != nil {
			s.doom(c)
		}
	}()
	s.dropInput(c)
	s.reader = s.newReader() // the old one may hold half of a message
	if s.outClient == c {
		s.out, s.outClient = s.out[:0], nil
	}
	s.close(c, dialect.CauseInternal)
}

// newReader takes an idle reader from stock, or makes one.
func (s *shard) newReader() *wsproto.Reader {
	if n := len(s.readers); n > 0 {
		r := s.readers[n-1]
		s.readers = s.readers[:n-1]
		return r
	}
	return wsproto.NewReader(s.bounds.MessageBytesMax)
}

// keepReader puts a reader back into stock. Not one of an earlier bound (see adopt): it would serve others by that.
func (s *shard) keepReader(r *wsproto.Reader) {
	if len(s.readers) < readersKeptMax && r.MessageBytesMax() == s.bounds.MessageBytesMax {
		r.Reset()
		s.readers = append(s.readers, r)
	}
}

// readersKeptMax bounds the stock of idle readers.
const readersKeptMax = 64
