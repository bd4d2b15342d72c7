package loop

import (
	"context"
	"sync/atomic"
	"time"
)

// Hub is the table of shards and the lanes between them: what a group message passes through between two sockets. It
// knows no sockets itself; Server gives it some, the simulation gives it others.
type Hub struct {
	// Immutable after start.
	shards []*shard
	page   []byte
	hash   func(group string) uint64
	local  string // listening address, for ClientInfo
	echo   bool   // messages are sent back, not read as commands

	// Any goroutine.
	bounds       atomic.Pointer[bounds] // loops have copies of the pointer, see Apply
	ports        [portsMax]atomic.Pointer[Port]
	portCount    atomic.Int32
	feed         atomic.Pointer[Feed] // nil: none
	clock        atomic.Uint32        // ticks since the start
	connections  atomic.Int64         // admitted and not gone
	clientsMax   atomic.Int64
	descriptors  atomic.Int64 // that connections may have
	addresses    *addresses
	handshakes   pace
	acceptFails  atomic.Uint64
	acceptFailed atomic.Int64 // when the last one was, Unix seconds; 0: never
	census       census
	stopping     atomic.Bool
	drained      chan struct{} // gets a token when the last connection goes
	ended        chan struct{} // closed when no loop runs any more
	pressure     atomic.Uint32 // of memory: a pressure
	outboxesMax  atomic.Int64  // what outboxes may be at this moment
	memory       memory
	deaf         atomic.Bool // no loop must be woken any more
	started      time.Time

	// Any goroutine: sums that change with every write to a slow client, and every piece of a message. What stands above is
	// looked at with every publish and turn.
	_        [cacheLine]byte
	outboxes atomic.Int64 // bytes that wait for all clients
	partials partialSums
	_        [cacheLine]byte
}

// newHub makes loops shards and all their lanes. The shards' rims are the caller's to fill.
func newHub(loops int, b bounds, page []byte) *Hub {
	h := &Hub{shards: make([]*shard, loops), page: page, hash: newHomeHash(),
		ended:   make(chan struct{}),
		drained: make(chan struct{}, 1), started: time.Now()}
	h.addresses = newAddresses()
	h.bounds.Store(&b)
	h.outboxesMax.Store(b.outboxesMax())
	bells := make([]*bell, loops)
	for i := range h.shards {
		h.shards[i] = newShard(h, i)
		bells[i] = &h.shards[i].bell
	}
	for _, from := range h.shards {
		for range h.shards {
			from.up = append(from.up, newLane[request](b.laneSlots, b.laneBytes))
			from.home.down = append(from.home.down, newLane[delivery](b.laneSlots, b.laneBytes))
		}
		from.home.index, from.home.bells, from.home.count, from.home.ports = from.index, bells, &from.count, &h.ports
		from.home.bounds, from.home.census = &h.bounds, &h.census
		from.home.groups = newTable[string, *homeGroup]()
	}
	for _, to := range h.shards {
		for _, from := range h.shards {
			to.down = append(to.down, from.home.down[to.index])
			to.home.up = append(to.home.up, from.up[to.index])
		}
	}
	return h
}

// wake wakes a loop by its bell, unless that is under way already.
func (h *Hub) wake(loop int) {
	if s := h.shards[loop]; s.bell.mustWake() && !h.deaf.Load() {
		s.env.wake()
	}
}

// admit counts a new connection, or refuses it at the bound; see limitConnections.
func (h *Hub) admit() bool {
	if h.connections.Add(1) > h.clientsMax.Load() {
		h.gone()
		return false
	}
	return true
}

// gone is the opposite of admit.
func (h *Hub) gone() {
	if h.connections.Add(-1) == 0 {
		select {
		case h.drained <- struct{}{}:
		default:
		}
	}
}

// beat moves the clock on by a tick and wakes the loops for whose clients time means something.
func (h *Hub) beat() {
	h.clock.Add(1)
	for i, s := range h.shards {
		if s.count.clients.Load()+s.count.pending.Load() > 0 {
			h.wake(i)
		}
	}
}

// each runs f on every loop and waits for all, or for ctx, or for the end of the loops.
func (h *Hub) each(ctx context.Context, f func(*shard)) error {
	done := make(chan struct{}, len(h.shards))
	for i, s := range h.shards {
		s.calls.add(func(s *shard) {
			f(s)
			done <- struct{}{}
		})
		h.wake(i)
	}
	for range h.shards {
		select {
		case <-done:
		case <-ctx.Done():
			return ctx.Err()
		case <-h.ended:
			return ErrStopping
		}
	}
	return nil
}

// Snapshot reads all counters. Any goroutine, at any time; it disturbs no loop.
func (h *Hub) Snapshot() Snapshot {
	snap := Snapshot{
		Started:      h.started,
		ClientsMax:   int(h.clientsMax.Load()),
		AcceptErrors: h.acceptFails.Load(),
		Stopping:     h.stopping.Load(),
	}
	if at := h.acceptFailed.Load(); at != 0 {
		snap.AcceptFailed = time.Unix(at, 0)
	}
	snap.MemoryLimit, snap.MemoryUsed = h.bounds.Load().memoryBytes, h.memory.used.Load()
	snap.MemoryPressure = pressureNames[h.pressure.Load()]
	for i, s := range h.shards {
		row := s.count.read()
		row.OutboxBytes = s.relief.outboxes.Load()
		for _, from := range h.shards {
			row.LaneDepth += int64(from.up[i].len() + from.home.down[i].len())
		}
		for p := range min(h.portCount.Load(), portsMax) {
			if port := h.ports[p].Load(); port != nil {
				row.LaneDepth += int64(port.up[i].len())
			}
		}
		if feed := h.feed.Load(); feed != nil {
			row.LaneDepth += int64(feed.lanes[i].len())
		}
		snap.Loops = append(snap.Loops, row)
	}
	return snap
}

// Clients lists every connection, loop by loop. Each loop makes its part in one go, so on a server with very many clients
// this holds up each loop for a moment; it is meant for an operator, not for a monitor.
func (h *Hub) Clients(ctx context.Context) ([]ClientInfo, error) {
	rows := make([][]ClientInfo, len(h.shards))
	err := h.each(ctx, func(s *shard) { rows[s.index] = s.list() })
	if err != nil {
		return nil, err
	}
	var all []ClientInfo
	for _, r := range rows {
		all = append(all, r...)
	}
	return all, nil
}

func (s *shard) list() []ClientInfo {
	infos := make([]ClientInfo, 0, len(s.clients))
	for _, c := range s.clients {
		if c.state >= stateDoomed {
			continue
		}
		info := ClientInfo{
			Loop: s.index, ID: c.id(), State: c.state.String(), Groups: c.groupCount(),
			SendQ: c.conn.OutboundBuffered(), BytesIn: c.bytesIn, BytesOut: c.bytesOut,
		}
		info.Local, _ = s.env.names(c.conn)
		info.Remote = c.remote()
		infos = append(infos, info)
	}
	return infos
}

// settleDown waits until everything that was accepted has gone out to sockets: nothing in lanes, no backlog,
// nothing gathered, and nothing moved between two looks. New publishes must be refused by now.
func (h *Hub) settleDown(ctx context.Context) error {
	var before uint64
	for quietLooks := 0; quietLooks < 2; {
		var busy, moved atomic.Uint64
		err := h.each(ctx, func(s *shard) {
			busy.Add(uint64(s.backlog.bytes + s.gathered + len(s.passes)))
			moved.Add(s.count.published.Load() + s.count.passes.Load())
		})
		if err != nil {
			return err
		}
		for _, r := range h.Snapshot().Loops {
			busy.Add(uint64(r.LaneDepth))
		}
		if busy.Load() == 0 && moved.Load() == before {
			quietLooks++
		} else {
			quietLooks = 0
		}
		before = moved.Load()
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// closeAll tells every client that the server stops, and waits until the last has gone.
func (h *Hub) closeAll(ctx context.Context) error {
	err := h.each(ctx, func(s *shard) { s.ends.stopping, s.ends.below = true, len(s.clients) })
	for err == nil && h.connections.Load() > 0 {
		select {
		case <-h.drained:
		case <-ctx.Done():
			err = ctx.Err()
		case <-h.ended:
			err = ErrStopping
		}
	}
	return err
}
