package loop

import (
	"sync"
	"sync/atomic"

	"ringcast/dialect"
	"ringcast/loop/assert"
	"ringcast/loop/door"
	"ringcast/loop/order"
	"ringcast/loop/shrink"
	"ringcast/wsproto"
)

// shard is what one loop owns: its clients and its members of every group.
//
// A callback appends (a request to a lane, a reply to the replies, a client to the doomed) and most often ends with a turn,
// which does what has gathered (turn.go). There is no turn at the end of opened, of a read that is deferred, and of closed
// inside another callback. No socket is cut and no client buried but by a turn's sweep, so no list of members changes while a
// pass walks over it.
//
// Owner: who holds it, except where a paragraph says otherwise. Its own loop does in each callback; what only that loop touches, as
// another one that borrows the shard does not, is marked as loop only.
type shard struct {
	// Immutable after start.
	index   int
	hub     *Hub
	env     env
	lanes   *order.Lanes[*group, *client]
	methods methods

	// In part any goroutine; each type says which.
	count    counters
	calls    callList
	callback callback
	hold     hold
	relief   relief

	// Who holds it; a borrower reads what it needs of these, and changes none: clients and groups.
	bounds    *bounds
	dialects  dialects
	clients   []*client
	heartbeat heartbeat // by slot, as clients
	rates     rates     // likewise, while there is a bound
	watch
	groups  shrink.Map[string, *group]
	bearers bearers
	newcomers

	// Who holds it; of these a borrower touches passes alone, and looks whether the others are empty: work that has gathered.
	passes   passes
	backlog  backlog
	owed     owed
	ends     ends
	replies  replies
	replays  replays
	kicked   bool // a kick is under way; if it is for passes, its turn alone runs them
	deferral deferral
	stop     shardStop

	// Loop only: clients that are slow, or whose input is partial.
	slow     slowClients
	partials partials

	// Loop only: time.
	tick uint32
	periodic
	publishesTried uint64 // publishes that its clients tried, of which a sample is timed

	// Loop only: memory kept for the next use.
	kept

	// Who holds it.
	culprit *client // the client that a panic closes, nil: none
}

// newcomers are the clients that have come last.
type newcomers struct {
	serial      uint32 // of the last
	handshaking int    // those that are in the handshake
	hellos      hellos // their TLS handshakes
}

// kept is memory that a loop keeps for the next use.
type kept struct {
	readers readers
	sealing sealing
}

// watch is what operators see of a shard.
type watch struct {
	listings listings
	traces   traces
}

// periodic is what a shard looks at in each tick.
type periodic struct {
	deadlines  deadlines
	headcounts headcounts
}

// methods are the shard's own as func values, as a value that is made once allocates once.
type methods struct {
	takeDown  func(delivery) bool // deliver
	serve     func(loop int) bool
	mayBorrow func(*delivery) bool
}

// dialects are a shard's values of them.
type dialects struct {
	of   []dialect.Dialect // by index
	gaps uint8             // bit per dialect that can tell of a gap
}

// env is what a shard needs of sockets, clock and log. The server has the real ones, the simulation its own.
type env struct {
	now    func() int64                           // monotonic nanoseconds
	wake   func()                                 // any goroutine: have the loop call woken soon
	kick   func()                                 // have the loop call kickedAwake, after it has looked at its other sockets
	yield  func()                                 // let other loops have the processor
	send   func(int, []byte) sent                 // non-blocking send to a descriptor; nil: use conn.Write only
	cut    func(conn)                             // close now; calls shard.closed before it returns
	secure func(hello []byte, tell func()) cipher // begin a TLS handshake, see secure.Server.Begin. nil: TLS is not spoken
	hand   func(conn, departure) bool             // have an HTTP server go on with it, and close it here as cut does; false: nothing was done, for want of a descriptor. nil: there is no HTTP server
	shut   func(fd int)                           // shut our direction of the stream down
	names  func(conn) (l, r string)               // local and remote address; nil: none is known
	panic  func(any)                              // report a panic; called while its stack can still be printed

	ended  func(c *client, code wsproto.StatusCode, reason string) // log that the server closes this client; nil: it is not logged
	faulty func(c *client, fault door.Fault, why string)           // log what is wrong with a token that it has shown; nil: it is not logged
}

// callList is functions that other goroutines want called on the loop.
//
// Owner: any goroutine; it has a lock.
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

// putBack is add for calls that were taken and not made.
func (l *callList) putBack(calls []func(*shard)) {
	l.mu.Lock()
	l.calls = append(calls, l.calls...)
	l.some.Store(true)
	l.mu.Unlock()
}

// runCalls makes the calls. If one panics, those behind it are left to the next turn: they may be the last words of others.
func (s *shard) runCalls() {
	calls := s.calls.take()
	defer func() {
		if len(calls) > 0 {
			s.calls.putBack(calls)
		}
	}()
	for len(calls) > 0 {
		f := calls[0]
		calls = calls[1:]
		f(s)
	}
}

func newShard(h *Hub, index int) *shard {
	s := &shard{index: index, hub: h, lanes: h.homes.Lanes(index), bounds: h.bounds.Load()}
	s.backlog.requests, s.backlog.bytesMax = make([][]request, len(h.shards)), s.bounds.backlogBytes
	s.owed.homes, s.owed.words = make([][]*group, len(h.shards)), make([][]word, len(h.shards))
	s.relief.hub = h
	s.slow.relief, s.slow.count = &s.relief, &s.count.Slow
	s.partials.sums, s.partials.mine = &h.partials, &s.count.FragmentBytes
	s.readers.adopt(s.bounds.MessageBytesMax)
	s.rates.adopt(s.bounds, 0)
	s.methods = methods{takeDown: s.deliver, serve: s.serve, mayBorrow: s.mayBorrow}
	s.hold.freed = make(chan struct{}, 1)
	for _, entry := range h.dialects {
		d := entry.New()
		if len(d.Answer(nil, dialect.Outcome{What: dialect.Gap, Number: 1})) > 0 {
			s.dialects.gaps |= 1 << len(s.dialects.of)
		}
		s.dialects.of = append(s.dialects.of, d)
	}
	return s
}

// The callbacks follow. Each recovers from panics: a panic closes the client that was being served, is counted and logged,
// and the loop goes on.

// opened takes a new connection, which was admitted. The client that it returns stands for it in all later calls; nil: there
// was a panic, and the connection was not taken.
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
	s.handshaking++
	s.deadlines.add(c, s.tick, s.handshakeTicks())
	return c
}

// traffic takes bytes that a client sent. p is borrowed until it returns, and is overwritten.
//
// A loop that was asleep acts on them at once. One that is busy goes on reading and acts after a kick, when it has read all
// sockets that were ready (deferral.go).
func (s *shard) traffic(c *client, p []byte) {
	s.beginCallback(c)
	defer s.endCallback()
	now := s.env.now()
	busy := s.deferral.busy(now)
	if c.isSecure() {
		s.arrived(c, p)
	} else {
		s.input(c, p)
	}
	if assert.On {
		mangle(p)
	}
	switch {
	case !busy || s.backlog.bytes > 0: // a lane is full: a loop that went on reading would have to refuse requests
		s.turn()
	case !s.kicked:
		s.deferral.begin(now)
		s.kick()
	case s.deferral.over(now):
		s.act(s.deferral.on)
		s.deferral.on, s.deferral.since = s.deferral.on && len(s.passes.queue) == 0, now // the kick is for passes if some are left
	}
	s.deferral.heardAt = s.env.now()
}

// woken is called after env.wake: there is something in a lane or in the call list, or the clock has advanced.
func (s *shard) woken() {
	s.beginCallback(nil)
	defer s.endCallback()
	s.lanes.Woken()
	s.turn()
}

// kickedAwake is called after a kick. It goes on with what was left until the sockets were looked at, most often a pass
// whose budget was used up.
func (s *shard) kickedAwake() {
	s.beginCallback(nil)
	defer s.endCallback()
	s.kicked, s.deferral.on = false, false
	s.turn()
}

// survive is called after a panic in a callback. It closes the client that was being served, and has the next turn do what
// this one has left, see order.Lanes.Survive.
func (s *shard) survive(p any) {
	s.count.Panics.Add(1)
	s.env.panic(p)
	s.passes.undelivered = 0 // that pass is not counted
	s.lanes.Survive()
	if c := s.culprit; c != nil && c.state != stateDead {
		s.condemn(c)
	}
	s.kick()
}

// condemn closes the client for which something has panicked, with 1011; or it cuts it, if the close panics too.
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

// mangle overwrites bytes that were borrowed, so that tests fail if any were kept.
func mangle(p []byte) {
	for i := range p {
		p[i] = 0xDB
	}
}
