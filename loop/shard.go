package loop

import (
	"math/bits"
	"sync"
	"sync/atomic"

	"ringcast/wsproto"
)

// shard is what one loop owns: its clients, its members of every group, and the home of its share of the groups.
//
// Nothing is acted upon at once. A callback appends (a request to a lane, a reply to the out buffer, a client to the
// doomed) and ends with a turn, which does what has gathered, in one order:
//
//	sweep    cut the doomed, bury the dead
//	release  tell homes of groups that have no members here any more
//	work     drain up lanes (as home), down lanes (gather), parking
//	ring     wake the loops that were given something
//	passes   send what has gathered, within the budget
//
// so that a client is never closed while a members slice is walked, and a message that comes during a pass joins the
// next batch instead of making a pass of its own.
//
// Owner: the loop's goroutine, except where a paragraph says otherwise.
type shard struct {
	// Immutable after start.
	index int
	hub   *Hub
	rim   rim
	up    []*lane[request]  // to each home, this shard being the only producer
	down  []*lane[delivery] // from each home, this shard being the only consumer

	// Any goroutine.
	bell   bell
	count  counters
	calls  callList
	inside atomic.Bool // a callback is running; read by others only to assert

	// Loop only: whom it serves.
	clients  []*client
	lastSeen []uint32 // beside clients: tick of the last sign of life << 1 | a ping is out
	groups   map[string]*group
	nextID   uint64
	home     home

	// Loop only: work that has gathered.
	passes      []*group // wait for a pass, oldest first
	gathered    int      // bytes in the waiting lists of all groups
	parked      [][]request
	parkedBytes int
	idle        []*group // without members, their homes not told yet
	doomed      []*client
	dead        []*client
	out         []byte // replies to outClient, not sent yet
	outClient   *client
	rouse       uint64 // bit per loop to wake at the end of work
	stalled     uint64 // up lanes whose front waits for room further down
	stalledPort uint64
	held        uint64 // down lanes not drained because enough has gathered
	kicked      bool   // a kick is under way: it, and no other callback, runs passes
	stopping    bool   // close everybody, a slice per turn

	// Loop only: time.
	tick     uint32
	timed    []*client // clients with a deadline
	beatFrom int       // heartbeat: where the scan goes on
	sends    uint32    // since the clock was last read
	deadline int64     // end of this turn's budget, 0: not set yet
	closeAt  int       // stopping: clients below this place are still to be closed

	// Loop only: memory kept for the next use.
	parser  wsproto.CommandParser
	reader  *wsproto.Reader // idle between callbacks; serves every client that has nothing unfinished
	readers []*wsproto.Reader
	spare   []byte  // the last batch's buffer
	culprit *client // whom a panic would be blamed on
}

// rim is where a shard touches the world. The server fills it with sockets and clocks, the simulation with its own.
type rim struct {
	now   func() int64             // monotonic nanoseconds
	wake  func()                   // any goroutine: have the loop call woken soon
	kick  func()                   // have the loop call kickedAwake, after it has looked at its other sockets
	yield func()                   // let other loops have the processor
	send  func(int, []byte) sent   // non-blocking send to a descriptor; nil: use conn.Write only
	cut   func(conn)               // close now; calls shard.closed before it returns
	shut  func(fd int)             // end our direction of the stream
	names func(conn) (l, r string) // local and remote address
	panic func(any)                // a panic was caught; called while its stack can still be printed
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
	s := &shard{index: index, hub: h, groups: map[string]*group{}, parked: make([][]request, len(h.shards))}
	s.reader = s.newReader()
	return s
}

// The callbacks, each one entry from outside. Each is a rim of recovery: whatever panics below closes the client that
// was being served, is counted and logged, and the loop lives on.

// opened takes a new connection; the client it returns stands for it in all later calls.
func (s *shard) opened(conn conn) (c *client) {
	s.enter(nil)
	defer s.leave()
	s.advance() // a loop without clients is not woken by the clock
	s.nextID++
	c = &client{shard: s, conn: conn, fd: int32(conn.Fd()), slot: uint32(len(s.clients))}
	c.id = s.nextID*LoopsMax + uint64(s.index)
	s.clients = append(s.clients, c)
	s.lastSeen = append(s.lastSeen, s.tick<<1)
	s.count.pending.Add(1)
	s.time(c, s.hub.bounds.handshakeTicks)
	return c
}

// traffic takes bytes that a client sent. p is only borrowed, and is overwritten.
func (s *shard) traffic(c *client, p []byte) {
	s.enter(c)
	defer s.leave()
	s.input(c, p)
	if invariants {
		mangle(p)
	}
	s.turn()
}

// closed hears that a connection is gone. It may be called inside any other callback, because a failing write closes;
// then it only takes note, and the turn of that callback buries the client.
func (s *shard) closed(c *client) {
	if c.state == stateDead {
		return
	}
	c.state = stateDead
	s.dead = append(s.dead, c)
	if s.inside.Load() {
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
	s.bell.answer()
	s.turn()
}

// kickedAwake goes on with a pass that ran out of budget.
func (s *shard) kickedAwake() {
	s.enter(nil)
	defer s.leave()
	s.kicked = false
	s.turn()
}

// enter begins a callback, leave ends it. No two callbacks of one shard ever overlap; that is gnet's promise and our
// whole reason to need no locks, so it is asserted.
func (s *shard) enter(c *client) {
	if invariants {
		assert(s.inside.CompareAndSwap(false, true), "shard: two callbacks at once")
	} else {
		s.inside.Store(true)
	}
	s.culprit = c
}

func (s *shard) leave() {
	if p := recover(); p != nil {
		s.survive(p)
	}
	s.culprit = nil
	s.deadline = 0
	s.inside.Store(false)
}

// survive closes the client that was being served when something of ours panicked.
func (s *shard) survive(p any) {
	s.count.panics.Add(1)
	s.rim.panic(p)
	if c := s.culprit; c != nil && c.state != stateDead {
		s.culprit = nil
		c.in = nil
		s.out, s.outClient = s.out[:0], nil
		s.reader = s.newReader()
		s.doom(c)
	}
	s.kick() // the turn was broken off: somebody must do what it left
}

// turn does what has gathered; see the type's comment.
func (s *shard) turn() {
	s.advance()
	for _, f := range s.calls.take() {
		f(s)
	}
	if s.stopping {
		s.closeSlice()
	}
	for {
		s.flushOut()
		s.sweep()
		s.release()
		s.work()
		s.flushOut()
		s.ring()
		if !s.runPasses() && len(s.doomed) == 0 && len(s.dead) == 0 {
			break
		}
	}
	assert(len(s.doomed) == 0 && len(s.dead) == 0, "shard: a turn ended with clients unburied")
}

// work drains every lane that was noted, and parking, until nothing moves. What moves here makes at most two more steps
// on this loop (parking → up → down), so it ends; should other loops keep it busy, it breaks off and a kick goes on.
func (s *shard) work() {
	for round := 0; ; round++ {
		moved := s.drainUp()
		moved = s.drainDown() || moved
		moved = s.unpark() || moved
		if !moved {
			return
		}
		if round == workRoundsMax {
			s.kick()
			return
		}
	}
}

// workRoundsMax bounds the rounds of one work call.
const workRoundsMax = 8

// drainUp serves this loop's home.
func (s *shard) drainUp() (moved bool) {
	todo := take(&s.bell.up) | s.stalled
	s.stalled = 0
	for ; todo != 0; todo &= todo - 1 {
		from := bits.TrailingZeros64(todo)
		lane := s.hub.shards[from].up[s.index]
		served, stalled, awaited := s.home.drain(lane, from)
		if stalled {
			s.stalled |= 1 << from
		}
		if awaited {
			s.rouse |= 1 << from
		}
		moved = moved || served > 0
	}
	todo = take(&s.bell.port) | s.stalledPort
	s.stalledPort = 0
	for ; todo != 0; todo &= todo - 1 {
		from := bits.TrailingZeros64(todo)
		lane := s.hub.ports[from].Load().up[s.index]
		served, stalled, _ := s.home.drain(lane, portOrigin)
		if stalled {
			s.stalledPort |= 1 << from
		}
		moved = moved || served > 0
	}
	s.rouse |= s.home.rouse
	s.home.rouse = 0
	return moved
}

// drainDown gathers messages for their groups' next pass and sends answers. It stops while too much has gathered: then
// homes run out of room, and senders are refused, before memory grows. Passes go on meanwhile, they need no lane.
func (s *shard) drainDown() (moved bool) {
	todo := take(&s.bell.down) | s.held
	s.held = 0
	for ; todo != 0; todo &= todo - 1 {
		from := bits.TrailingZeros64(todo)
		lane := s.down[from]
		n := lane.len()
		for ; n > 0; n-- {
			if s.gathered >= s.hub.bounds.gatherBytes {
				s.held |= 1 << from
				break
			}
			d := lane.front()
			bytes := d.bytes()
			s.deliver(d)
			lane.done(bytes)
			moved = true
		}
		if lane.takeAwaited() {
			s.rouse |= 1 << from
		}
	}
	return moved
}

// deliver takes one item off a down lane.
func (s *shard) deliver(d *delivery) {
	if d.op == opJoined {
		d.local.interest = interestHeld
		if d.client != nil {
			s.replyOK(d.client, d.id)
		}
		return
	}
	if d.frame != nil && len(d.local.members) > 0 {
		s.gather(d.local, d.frame)
	}
	if d.client != nil {
		s.replySeq(d.client, d.id, d.seq)
	}
}

// request sends a request towards a home: into the up lane, or into parking when the lane is full or when others are
// parked already, which must not be overtaken. False: refused, nothing was kept.
func (s *shard) request(home int, r request) bool {
	bytes, lane := r.bytes(), s.up[home]
	if len(s.parked[home]) == 0 && (lane.fits(bytes) || lane.await(bytes)) {
		s.send(home, r, bytes)
		return true
	}
	if s.parkedBytes+bytes > s.hub.bounds.parkBytes {
		return false
	}
	s.parked[home] = append(s.parked[home], r)
	s.parkedBytes += bytes
	return true
}

func (s *shard) send(home int, r request, bytes int) {
	s.up[home].send(r, bytes)
	note(&s.hub.shards[home].bell.up, s.index)
	s.rouse |= 1 << home
}

// unpark moves parked requests on as far as there is room.
func (s *shard) unpark() (moved bool) {
	if s.parkedBytes == 0 {
		return false
	}
	for home, waiting := range s.parked {
		n := 0
		for n < len(waiting) {
			bytes, lane := waiting[n].bytes(), s.up[home]
			if !lane.fits(bytes) && !lane.await(bytes) {
				break
			}
			s.send(home, waiting[n], bytes)
			s.parkedBytes -= bytes
			n++
		}
		if n > 0 {
			rest := copy(waiting, waiting[n:])
			clear(waiting[rest:])
			s.parked[home] = waiting[:rest]
			if rest == 0 {
				s.parked[home] = nil
			}
			moved = true
		}
	}
	return moved
}

// ring wakes the loops that were given something. This loop needs no bell: work ran until nothing moved.
func (s *shard) ring() {
	todo := s.rouse &^ (1 << s.index)
	s.rouse = 0
	for ; todo != 0; todo &= todo - 1 {
		s.hub.ring(bits.TrailingZeros64(todo))
	}
}

// kick asks for another turn after the loop has looked at its sockets, once.
func (s *shard) kick() {
	if !s.kicked {
		s.kicked = true
		s.rim.kick()
	}
}

// doom has a client cut at the next sweep.
func (s *shard) doom(c *client) {
	if c.state < stateDoomed {
		c.state = stateDoomed
		s.doomed = append(s.doomed, c)
	}
}

// sweep cuts the doomed and buries the dead. Cutting calls closed, which appends to the dead.
func (s *shard) sweep() {
	for i := 0; i < len(s.doomed); i++ {
		if c := s.doomed[i]; c.state == stateDoomed {
			s.rim.cut(c.conn)
			if c.state != stateDead { // the connection was gone before gnet told us
				c.state = stateDead
				s.dead = append(s.dead, c)
			}
		}
	}
	clear(s.doomed)
	s.doomed = s.doomed[:0]
	for i := 0; i < len(s.dead); i++ {
		s.bury(s.dead[i])
	}
	clear(s.dead)
	s.dead = s.dead[:0]
}

// bury takes a dead client out of everything. This is what the original's onClose does, for the same reason: else the
// tables grow for ever.
func (s *shard) bury(c *client) {
	for i := len(c.groups) - 1; i >= 0; i-- {
		s.part(c, i)
	}
	c.groups, c.in = nil, nil
	if s.outClient == c {
		s.out, s.outClient = s.out[:0], nil
	}

	last := len(s.clients) - 1
	moved := s.clients[last]
	s.clients[c.slot], s.lastSeen[c.slot] = moved, s.lastSeen[last]
	moved.slot = c.slot
	s.clients[last] = nil
	s.clients, s.lastSeen = s.clients[:last], s.lastSeen[:last]
	if cap(s.clients) > clientsKeptMin && last < cap(s.clients)/4 {
		s.clients = append(make([]*client, 0, cap(s.clients)/2), s.clients...)
		s.lastSeen = append(make([]uint32, 0, cap(s.lastSeen)/2), s.lastSeen...)
	}

	if last == 0 { // the clock does not wake a loop without clients
		clear(s.timed)
		s.timed = s.timed[:0]
	}
	if c.upgraded {
		s.count.clients.Add(-1)
	} else {
		s.count.pending.Add(-1)
	}
	s.hub.gone()
}

// clientsKeptMin is the capacity below which the table of clients is not made smaller.
const clientsKeptMin = 1024

// newReader takes an idle reader from stock, or makes one.
func (s *shard) newReader() *wsproto.Reader {
	if n := len(s.readers); n > 0 {
		r := s.readers[n-1]
		s.readers = s.readers[:n-1]
		return r
	}
	return wsproto.NewReader(s.hub.bounds.messageBytes)
}

// keepReader puts a reader back into stock.
func (s *shard) keepReader(r *wsproto.Reader) {
	if len(s.readers) < readersKeptMax {
		r.Reset()
		s.readers = append(s.readers, r)
	}
}

// readersKeptMax bounds the stock of idle readers.
const readersKeptMax = 64
