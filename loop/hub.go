package loop

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"ringcast/dialect"
	"ringcast/loop/door"
	"ringcast/loop/order"
)

// The types of package order with this package's groups and clients. Port and Feed are for goroutines that are no loop.
type (
	request     = order.Request[*group, *client]
	delivery    = order.Delivery[*group, *client]
	message     = order.Message
	form        = order.Form
	Port        = order.Port[*group, *client] // to publish by
	Feed        = order.Feed[*group, *client] // to receive all accepted publishes
	Publication = order.Publication           // what a feed receives
	Company     = order.Company               // the other nodes of a cluster, as homes see them
	Observer    = order.Observer              // who tells backends what becomes of groups
	Observation = order.Observation           // what it is told
	Observed    = order.Observed              // and what that is

	// What a port says and is told.
	Said     = order.Said
	Receipt  = order.Receipt
	Pending  = order.Pending
	Ask      = order.Ask
	Past     = order.Past
	Position = order.Position
	Epoch    = order.Epoch
	Message  = order.Message

	// How a cluster puts publishes in order.
	Inlet    = order.Inlet[*group, *client]
	Orderer  = order.Orderer
	Offer    = order.Offer
	Ordered  = order.Ordered
	Recalled = order.Recalled

	Who     = dialect.Who
	Present = dialect.Present
)

// Errors of ports and feeds, see package order.
var (
	ErrBusy         = order.ErrBusy
	ErrStopping     = order.ErrStopping
	ErrBadGroup     = order.ErrBadGroup
	ErrBadMessage   = order.ErrBadMessage
	ErrTooManyPorts = order.ErrTooManyPorts
	ErrClosed       = order.ErrClosed
	ErrFeedTaken    = order.ErrFeedTaken
	ErrBadKey       = order.ErrBadKey
	ErrNoHistory    = order.ErrNoHistory
	ErrUnknown      = order.ErrUnknown

	ErrUnavailable = order.ErrUnavailable
	ErrUnconfirmed = order.ErrUnconfirmed
	ErrTooLarge    = order.ErrTooLarge

	ErrRevokedFull = door.ErrRevokedFull // of Revoke
)

// NewPort opens a port, which the caller closes; see order.Homes.NewPort. Any goroutine.
func (h *Hub) NewPort() (*Port, error) { return h.homes.NewPort() }

// NewFeed opens the hub's feed, from which the caller takes until it closes it; see order.Homes.NewFeed. Any goroutine.
func (h *Hub) NewFeed() (*Feed, error) { return h.homes.NewFeed() }

// SetCompany has homes tell a company of who is there; see order.Homes.SetCompany. It is called before clients are let in. Any goroutine.
func (h *Hub) SetCompany(c Company) { h.homes.SetCompany(c) }

// What is observed of groups, see package order.
const (
	Occupied   = order.Occupied
	Vacated    = order.Vacated
	UserCame   = order.UserCame
	UserWent   = order.UserWent
	CacheMiss  = order.CacheMiss
	ClientSaid = order.ClientSaid
)

// SetObserver has homes tell an observer what becomes of groups; nil: nobody. See order.Homes.SetObserver. Any goroutine.
func (h *Hub) SetObserver(o Observer) { h.homes.SetObserver(o) }

// NewInlet opens an inlet, which the caller closes; see order.Homes.NewInlet. Any goroutine.
func (h *Hub) NewInlet() (*Inlet, error) { return h.homes.NewInlet() }

// SetOrderer has an orderer put publishes in order in place of this process, once, before clients are let in and anybody publishes; see
// order.Homes.SetOrderer.
func (h *Hub) SetOrderer(o Orderer, partition func(group string) int, partitions int) {
	h.homes.SetOrderer(o, partition, partitions)
}

// NewOrderedMessage makes a message of one that another machine has put into the log, see order.NewOrderedMessage.
func NewOrderedMessage(group, payload []byte, json bool, more *dialect.More) *Message {
	return order.NewOrderedMessage(group, payload, json, more)
}

// formOf is the form of a client that requests a path and has been given a subprotocol, or none.
func (s *shard) formOf(path, subprotocol string) form {
	for f := len(s.hub.dialects) - 1; f > 0; f-- {
		e := &s.hub.dialects[f]
		if e.NeedsApp && s.bounds.Apps == nil {
			continue
		}
		if e.Serves(path) || slices.Contains(e.Subprotocols, subprotocol) {
			return form(f)
		}
	}
	return order.PlainForm
}

// complete gives bounds, before loops get them, a generation, what follows from their kinds, and the subprotocols by which dialects
// are asked for.
func (h *Hub) complete(b *bounds) {
	b.subprotocols = slices.Clip(b.Subprotocols)
	for _, e := range h.dialects {
		b.subprotocols = append(b.subprotocols, e.Subprotocols...)
	}
	b.generation = h.generations.Add(1)
	b.anyPresence, b.anyCounts = b.mayHavePresence(), b.tellsCounts()
	b.guardsJoin, b.guardsPublish = b.Apps != nil, b.Apps != nil
	for _, kind := range b.AllKinds() {
		b.guardsJoin = b.guardsJoin || kind.Join != Anyone
		b.guardsPublish = b.guardsPublish || kind.Publish != Anyone
	}
	b.beats = b.beatsOf(h.dialects)
}

// Hub is all shards, the homes and lanes between them, and what shards share. It knows no sockets: Server gives it real ones, and
// the simulation its own.
type Hub struct {
	// Immutable after start.
	shards   []*shard
	homes    *order.Homes[*group, *client]
	dialects []dialect.Entry  // by index
	deflater *order.Deflater  // makes the deflated forms of messages
	names    dialect.Names    // of clients, for backends and in the Centrifuge protocol
	wall     func() time.Time // the wall clock, in which tokens say when they end
	handedIn bool             // its listening sockets are: nobody is refused for a stop, see stop.go

	// Any goroutine (atomic, or with locks of their own), but for memory and started.
	bounds        atomic.Pointer[bounds] // loops have copies of the pointer, see Apply
	generations   atomic.Uint32          // of bounds that there have been
	clock         atomic.Uint32          // ticks since the start
	connections   atomic.Int64           // admitted and not gone
	departed      atomic.Int64           // of these, those that have left their loops
	guests        atomic.Int64           // of these, those that are to be closed soon, see guest.go
	clientsMax    atomic.Int64
	descriptors   atomic.Int64 // that connections may have
	addresses     *door.Addresses
	handshakes    door.Pace
	users         *door.Users               // that are connected
	revoked       *door.Revoked             // whose tokens are refused, up to some time
	errands       atomic.Int32              // that loops have begun, or are to begin
	elsewhere     atomic.Pointer[Elsewhere] // nil: there are no other nodes
	countings     atomic.Int32              // clients that wait for it
	listings      atomic.Int32              // lists of clients that are being made
	groupWalks    chan struct{}             // a token for each walk over all groups
	tails         tails
	failedAccepts acceptFailures
	busiest       atomic.Int64 // see Busy; the watchdog writes it
	ending
	pressure    atomic.Uint32 // on memory, one of the levels in memory.go
	outboxesMax atomic.Int64  // bound on all outboxes together at this moment, bytes
	memory      memory
	started     time.Time

	// Any goroutine (atomic): sums that change with every write to a slow client and with every part of a message. They are cache
	// lines apart from the fields above, which every publish and turn read.
	_        [order.CacheLine]byte
	outboxes atomic.Int64 // bytes in all outboxes
	partials partialSums
	_        [order.CacheLine]byte
}

// newHub makes a hub of so many loops. The caller sets the env of each shard.
func newHub(loops int, b bounds, more ...dialect.Entry) *Hub {
	h := &Hub{shards: make([]*shard, loops), failedAccepts: newAcceptFailures(), ending: newEnding(), started: time.Now()}
	h.dialects = append(slices.Clip(dialect.Table), more...)
	h.addresses, h.users, h.revoked, h.wall = door.NewAddresses(), door.NewUsers(), door.NewRevoked(), time.Now
	h.groupWalks = make(chan struct{}, groupWalksMax)
	h.complete(&b)
	h.bounds.Store(&b)
	h.outboxesMax.Store(b.outboxesMax())
	h.homes = order.New[*group, *client](order.Config{Loops: loops, LaneSlots: b.laneSlots, LaneBytes: b.laneBytes,
		FlightBytes: b.flightBytes, FlightMin: b.flightMin, FewMembers: borrowedSendsMax, PresentMax: b.presentMax, FarMax: b.farMax, KeyTicks: b.keyTicks, KeysBytesMax: b.keysBytes, Tick: tickPeriod, EpochBase: rand.Uint64()}, order.Env{
		Wake: h.wake, Bounds: h.groupBounds, Kind: h.kindOf, Now: h.clock.Load, Admit: h.admitPort, Busy: h.portBusy, TooLoud: h.tooLoud, Refused: h.notOrdered, Offered: h.tellPort, Accepts: h.accepts, ClientNumber: h.ClientNumber, Ended: h.ended, Panicked: h.panickedFor,
	})
	h.homes.SetHistoryMax(b.HistoryBytesMax)
	h.deflater = order.NewDeflater(h.formMade, h.compressed, h.panickedFor)
	for i := range h.shards {
		h.shards[i] = newShard(h, i)
	}
	return h
}

// wake wakes a loop, unless a wake-up is under way already. Any goroutine.
func (h *Hub) wake(loop int) {
	if s := h.shards[loop]; s.lanes.MustWake() {
		s.env.wake()
	}
}

// The next functions are for order.Env.

// groupBounds is how many members a group may have, and how many groups there may be.
func (h *Hub) groupBounds(group string) (membersMax, groupsMax int) {
	b := h.bounds.Load()
	return b.kindOf(group).MembersMax, b.GroupsMax
}

// kindOf is what holds for a group.
func (h *Hub) kindOf(group string) order.Kind {
	return h.bounds.Load().orderKind(group)
}

// admitPort is nil if a port may publish now, or ask something.
func (h *Hub) admitPort(home int, publishes bool) error {
	switch {
	case h.stopping.Load():
		return ErrStopping
	case publishes && h.pressure.Load() != pressureNone:
		h.refusePublish(home, refusedMemory)
		return ErrBusy
	}
	return nil
}

// portBusy counts a publish of a port that a full lane refused.
func (h *Hub) portBusy(home int) { h.refusePublish(home, refusedBusy) }

// tooLoud counts a publish that was refused as too much of its group is in flight.
func (h *Hub) tooLoud(home int, _ *message) { h.refusePublish(home, refusedTooLoud) }

// notOrdered counts a publish that a cluster did not put in order, or of which no word came.
func (h *Hub) notOrdered(home int, why order.Refusal) {
	switch why {
	case order.RefusedUnavailable:
		h.refusePublish(home, refusedUnavailable)
	case order.RefusedUnconfirmed:
		h.refusePublish(home, refusedUnconfirmed)
	case order.RefusedTooLarge:
		h.refusePublish(home, refusedTooLarge)
	default:
		h.refusePublish(home, refusedBusy)
	}
}

func (h *Hub) refusePublish(home int, why refusal) {
	count(&h.shards[home].count.RefusedBy, why)
	h.shards[home].count.RefusedPublishes.Add(1)
}

// accepts is nil if a port's publish has a valid group and message.
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

// panickedFor counts and logs a panic that was no loop's, with the figures of one: in its home, which a port has hosted, or in a compression that it
// has asked for. Any goroutine.
func (h *Hub) panickedFor(loop int, p any) {
	h.shards[loop].count.Panics.Add(1)
	h.shards[loop].env.panic(p)
}

// beat advances the clock by a tick and wakes the loops that have clients, or whose home has a history.
func (h *Hub) beat() {
	h.clock.Add(1)
	for i, s := range h.shards {
		if s.count.Clients.Load()+s.count.Pending.Load() > 0 || s.lanes.Keeps() {
			h.wake(i)
		}
	}
}

// call has a loop call f soon, after what it is to call already.
func (h *Hub) call(s *shard, f func(*shard)) {
	s.calls.add(f)
	h.wake(s.index)
}

// each calls f on every loop and waits for all of them. The error is ctx's, or ErrStopping when the loops have ended; some
// loops may then not have called f, or call it later.
func (h *Hub) each(ctx context.Context, f func(*shard)) error {
	done := make(chan struct{}, len(h.shards))
	for _, s := range h.shards {
		h.call(s, func(s *shard) {
			f(s)
			done <- struct{}{}
		})
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

// Busy is for how long the loop that is in one callback for longest has been so, as the watchdog has last seen it. Time for which
// the process was stopped does not count. Any goroutine.
func (h *Hub) Busy() time.Duration { return time.Duration(h.busiest.Load()) }

// Kinds is every kind of group as it is in force, see Limits.AllKinds. Any goroutine.
func (h *Hub) Kinds() []Kind { return h.bounds.Load().AllKinds() }

// Snapshot reads all counters, one by one. Any goroutine, at any time; no loop waits for it.
func (h *Hub) Snapshot() Snapshot {
	snap := Snapshot{
		Started:      h.started,
		ClientsMax:   int(h.clientsMax.Load()),
		AcceptErrors: h.failedAccepts.total.Load(),
		AcceptFailed: h.failedAccepts.last(),
		Stopping:     h.stopping.Load(),
	}
	snap.MemoryLimit, snap.MemoryUsed = h.bounds.Load().MemoryMax, h.memory.used.Load()
	snap.Departed = h.departed.Load()
	snap.Users = int64(h.Users())
	snap.Histories, snap.HistoryMessages = h.homes.Histories()
	snap.HistoryBytes = h.homes.HistoryBytes()
	waits := h.homes.Unordered()
	snap.Offered, snap.SetAside, snap.SetAsideRefused = waits.Offered, waits.SetAside, waits.Refused
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
