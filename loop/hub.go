package loop

import (
	"context"
	"sync/atomic"
	"time"

	"ringcast/loop/door"
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
	bounds        atomic.Pointer[bounds] // loops have copies of the pointer, see Apply
	ports         [portsMax]atomic.Pointer[Port]
	portCount     atomic.Int32
	feed          atomic.Pointer[Feed] // nil: none
	clock         atomic.Uint32        // ticks since the start
	connections   atomic.Int64         // admitted and not gone
	clientsMax    atomic.Int64
	descriptors   atomic.Int64 // that connections may have
	addresses     *door.Addresses
	handshakes    door.Pace
	failedAccepts acceptFailures
	census        census
	ending
	pressure    atomic.Uint32 // of memory: a pressure
	outboxesMax atomic.Int64  // what outboxes may be at this moment
	memory      memory
	started     time.Time

	// Any goroutine: sums that change with every write to who is behind, and every piece of a message. What stands above is
	// looked at with every publish and turn.
	_         [cacheLine]byte
	outboxes  atomic.Int64 // bytes that wait for all clients
	fragments atomic.Int64 // bytes that hold what is unfinished of all clients' input
	halves    atomic.Int64 // how many clients these are of
	_         [cacheLine]byte
}

// newHub makes loops shards and all their lanes. The shards' rims are the caller's to fill.
func newHub(loops int, b bounds, page []byte) *Hub {
	h := &Hub{shards: make([]*shard, loops), page: page, hash: newHomeHash(),
		failedAccepts: newAcceptFailures(), ending: newEnding(), started: time.Now()}
	h.addresses = door.NewAddresses()
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
		AcceptErrors: h.failedAccepts.total.Load(),
		AcceptFailed: h.failedAccepts.last(),
		Stopping:     h.stopping.Load(),
	}
	snap.MemoryLimit, snap.MemoryUsed = h.bounds.Load().memoryBytes, h.memory.used.Load()
	snap.MemoryPressure = pressureNames[h.pressure.Load()]
	for i, s := range h.shards {
		row := s.count.read()
		row.OutboxBytes = s.outboxes.Load()
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
