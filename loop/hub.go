package loop

import (
	"context"
	"slices"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"ringcast/dialect"
	"ringcast/loop/door"
	"ringcast/loop/order"
)

// The lanes' items and ends, of this package's groups and clients. Port and Feed are for goroutines that are no loop.
type (
	request     = order.Request[*group, *client]
	delivery    = order.Delivery[*group, *client]
	message     = order.Message
	form        = order.Form
	Port        = order.Port[*group, *client] // the way in
	Feed        = order.Feed[*group, *client] // the way out
	Publication = order.Publication           // what a feed hears
)

// Errors of ports and feeds, see order.
var (
	ErrBusy         = order.ErrBusy
	ErrStopping     = order.ErrStopping
	ErrBadGroup     = order.ErrBadGroup
	ErrBadMessage   = order.ErrBadMessage
	ErrTooManyPorts = order.ErrTooManyPorts
	ErrClosed       = order.ErrClosed
	ErrFeedTaken    = order.ErrFeedTaken
)

// NewPort makes a port, see order.Homes.NewPort.
func (h *Hub) NewPort() (*Port, error) { return h.homes.NewPort() }

// NewFeed makes the hub's feed, see order.Homes.NewFeed.
func (h *Hub) NewFeed() (*Feed, error) { return h.homes.NewFeed() }

// formOf is that of a client that asks for a path.
func (h *Hub) formOf(path string) form {
	for f := len(h.dialects) - 1; f > 0; f-- {
		if h.dialects[f].Serves(path) {
			return form(f)
		}
	}
	return order.PlainForm
}

// Hub is the table of shards and the homes beside them: what a group message passes through between two sockets. It
// knows no sockets itself; Server gives it some, the simulation gives it others.
type Hub struct {
	// Immutable after start.
	shards   []*shard
	page     []byte
	homes    *order.Homes[*group, *client]
	local    string          // listening address, for ClientInfo
	dialects []dialect.Entry // by form

	// Any goroutine.
	bounds        atomic.Pointer[bounds] // loops have copies of the pointer, see Apply
	clock         atomic.Uint32          // ticks since the start
	connections   atomic.Int64           // admitted and not gone
	clientsMax    atomic.Int64
	descriptors   atomic.Int64 // that connections may have
	addresses     *door.Addresses
	handshakes    door.Pace
	failedAccepts acceptFailures
	ending
	pressure    atomic.Uint32 // of memory: a pressure
	outboxesMax atomic.Int64  // what outboxes may be at this moment
	memory      memory
	started     time.Time

	// Any goroutine: sums that change with every write to a slow client, and every piece of a message. What stands above is
	// looked at with every publish and turn.
	_        [order.CacheLine]byte
	outboxes atomic.Int64 // bytes that wait for all clients
	partials partialSums
	_        [order.CacheLine]byte
}

// newHub makes loops shards and all their lanes. The shards' rims are the caller's to fill.
func newHub(loops int, b bounds, page []byte, more ...dialect.Entry) *Hub {
	h := &Hub{shards: make([]*shard, loops), page: page, failedAccepts: newAcceptFailures(), ending: newEnding(), started: time.Now()}
	h.dialects = append(slices.Clip(dialect.Table), more...)
	h.addresses = door.NewAddresses()
	h.bounds.Store(&b)
	h.outboxesMax.Store(b.outboxesMax())
	h.homes = order.New[*group, *client](order.Config{Loops: loops, LaneSlots: b.laneSlots, LaneBytes: b.laneBytes}, order.Env{
		Wake: h.wake, Bounds: h.groupBounds, Admit: h.admitPublish, Busy: h.portBusy, Accepts: h.accepts, Ended: h.ended,
	})
	for i := range h.shards {
		h.shards[i] = newShard(h, i)
	}
	return h
}

// wake wakes a loop by its bell, unless that is under way already.
func (h *Hub) wake(loop int) {
	if s := h.shards[loop]; s.lanes.MustWake() && !h.deaf.Load() {
		s.env.wake()
	}
}

// What the homes and ports need of the hub.

// groupBounds is how many members a group may have, and how many groups there may be.
func (h *Hub) groupBounds(group string) (membersMax, groupsMax int) {
	b := h.bounds.Load()
	return b.kindOf(group).MembersMax, b.GroupsMax
}

// admitPublish says whether a port may publish now.
func (h *Hub) admitPublish(home int) error {
	switch {
	case h.stopping.Load():
		return ErrStopping
	case h.pressure.Load() != pressureNone:
		h.refusePublish(home, refusedMemory)
		return ErrBusy
	}
	return nil
}

// portBusy hears that a port was refused at a full lane.
func (h *Hub) portBusy(home int) { h.refusePublish(home, refusedBusy) }

func (h *Hub) refusePublish(home int, why refusal) {
	count(&h.shards[home].count.RefusedBy, why)
	h.shards[home].count.RefusedPublishes.Add(1)
}

// accepts says whether a port's publish is fit to be sent.
func (h *Hub) accepts(group string, message []byte) error {
	b := h.bounds.Load()
	switch {
	case len(group) == 0 || len(group) > b.GroupBytesMax || !utf8.ValidString(group):
		return ErrBadGroup
	case len(message) > b.MessageBytesMax || !utf8.Valid(message):
		return ErrBadMessage
	}
	return nil
}

// beat moves the clock on by a tick and wakes the loops for whose clients time means something.
func (h *Hub) beat() {
	h.clock.Add(1)
	for i, s := range h.shards {
		if s.count.Clients.Load()+s.count.Pending.Load() > 0 {
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
	snap.MemoryLimit, snap.MemoryUsed = h.bounds.Load().MemoryMax, h.memory.used.Load()
	snap.MemoryPressure = pressureNames[h.pressure.Load()]
	for i, s := range h.shards {
		row := s.count.read()
		row.OutboxBytes = s.relief.outboxes.Load()
		row.LaneDepth = int64(h.homes.Depth(i))
		row.Homes, row.Published = h.homes.Home(i).Groups(), h.homes.Home(i).Published()
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
