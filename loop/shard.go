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

	// Any goroutine, in part; what is the loop's alone is said there.
	count    counters
	calls    callList
	callback callback
	relief   relief

	// Loop only: whom it serves.
	bounds     *bounds
	dialects   []dialect.Dialect // by form
	clients    []*client
	heartbeat  heartbeat // beside clients
	rates      rates     // beside clients, where there is a bound
	groups     shrink.Map[string, *group]
	serial     uint32 // of the last client
	unfinished int    // clients in the handshake

	// Loop only: work that has gathered.
	passes   passes
	backlog  backlog
	owed     owed
	ends     ends
	replies  replies
	kicked   bool // a kick is under way: it, and no other callback, runs passes
	deferral deferral
	resting  bool // this turn makes no passes, or no more
	stop     shardStop

	// Loop only: clients that are slow, or whose input is partial.
	slow     slowClients
	partials partials

	// Loop only: time.
	tick      uint32
	deadlines deadlines
	accepted  uint64 // publishes that clients sent, of which a sample is timed

	// Loop only: memory kept for the next use.
	readers readers
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
	s := &shard{index: index, hub: h, lanes: h.homes.Lanes(index), bounds: h.bounds.Load()}
	s.backlog.requests, s.backlog.bytesMax = make([][]request, len(h.shards)), s.bounds.backlogBytes
	s.relief.hub = h
	s.slow.relief, s.slow.count = &s.relief, &s.count.Slow
	s.partials.sums, s.partials.mine = &h.partials, &s.count.FragmentBytes
	s.readers.adopt(s.bounds.MessageBytesMax)
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
	s.beginCallback(nil)
	defer s.endCallback()
	if len(s.clients) == 0 {
		s.tick = s.hub.clock.Load() // a loop without clients is not woken by the clock
		if s.rates.on {
			s.rates.start(s.env.now())
		}
	}
	s.serial++
	c = &client{shard: s, conn: conn, fd: int32(conn.Fd()), serial: s.serial, slot: uint32(len(s.clients))}
	s.clients = append(s.clients, c)
	s.heartbeat.add(s.tick)
	s.rates.add()
	s.culprit = c
	s.count.Accepted.Add(1)
	s.count.Pending.Add(1)
	s.unfinished++
	s.deadlines.add(c, s.tick, s.bounds.handshakeTicks)
	return c
}

// traffic takes bytes that a client sent. p is only borrowed, and is overwritten.
//
// A loop that had been asleep acts on them at once. One that is busy goes on reading and acts by a kick, when it has seen
// all sockets that were ready (deferral.go).
func (s *shard) traffic(c *client, p []byte) {
	s.beginCallback(c)
	defer s.endCallback()
	now := s.env.now()
	busy := s.deferral.busy(now)
	s.input(c, p)
	if assert.On {
		mangle(p)
	}
	switch {
	case !busy || s.backlog.bytes > 0: // lanes are full: who only goes on reading would have to refuse
		s.turn()
	case !s.kicked:
		s.deferral.begin(now)
		s.kick()
	case s.deferral.over(now):
		s.act(s.deferral.on)
		s.deferral.on, s.deferral.since = s.deferral.on && len(s.passes.queue) == 0, now // passes that are left are the kick's
	}
	s.deferral.heardAt = s.env.now()
}

// woken answers the bell: somebody put something into a lane or the call list, or the clock has moved.
func (s *shard) woken() {
	s.beginCallback(nil)
	defer s.endCallback()
	s.lanes.Woken()
	s.turn()
}

// kickedAwake goes on with what waits until the sockets were looked at: a pass that ran out of budget, for the most.
func (s *shard) kickedAwake() {
	s.beginCallback(nil)
	defer s.endCallback()
	s.kicked, s.deferral.on = false, false
	s.turn()
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
	s.readers.replace() // the old one may hold a part of a message
	s.replies.drop(c)
	s.close(c, dialect.CauseInternal)
}

// mangle overwrites bytes that were only borrowed, so that who kept them is found out.
func mangle(p []byte) {
	for i := range p {
		p[i] = 0xDB
	}
}
