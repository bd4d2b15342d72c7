package loop

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"time"

	"ringcast/wsproto"
)

// Limits is every bound that an operator may change while the server runs. Of those with a default, zero means it; the
// others are off at zero. What happens at each is said beside it; ARCHITECTURE.md §7 has the whole table.
type Limits struct {
	// What one client may ask for.
	MessageBytesMax   int           // its largest message, bytes. Default 1 MiB; over it: close 1009
	MessageTimeout    time.Duration // from a message's first byte to its last. Default 2 m, negative: off; over it: close 1008
	GroupBytesMax     int           // longest name of a group, bytes, 1 to GroupBytesMax, the default; over it: error bad_group_id
	GroupsPerClient   int           // memberships of one client. Default 1,024; over it: error too_many_groups
	CommandsPerSecond int           // commands, pings and pongs of one client; over it: error rate_limited, or close 1008
	BytesPerSecond    int           // bytes that one client sends; likewise

	// What all together may have.
	GroupsMax  int // groups with a member; over it: error groups_full
	MembersMax int // members of one group; over it: error group_full

	// Who may come in.
	ClientsMax          int            // connections; 0: as many as descriptors allow, which no value exceeds; over it: 503
	ClientsPerAddress   int            // connections from one IPv4 address or IPv6 /64; over it: 503, or 429 where a proxy names the address. A trusted proxy's own is not counted
	HandshakeBytesMax   int            // a request head. Default 8 KiB; over it: 431
	HandshakeTimeout    time.Duration  // for a request head to be complete. Default 10 s; over it: 408
	HandshakesMax       int            // unfinished handshakes; never more than half of the connections. Default 100,000; over it the oldest is answered 408 and cut
	HandshakesPerSecond int            // finished handshakes; over it: 503 with Retry-After
	AllowedOrigins      []string       // such as https://example.org or https://*.example.org; none: all; others: 403
	TrustedProxies      []netip.Prefix // whose word on a client's address counts
	ProxyProtocol       bool           // trusted proxies begin with a PROXY protocol header; without one: 400

	// Memory.
	OutboxBytesMax    int   // most bytes that wait for one client. Default 1 MiB; over it: see DropSlow
	OutboxesBytesMax  int64 // most bytes that wait for all clients; 0: a quarter of MemoryMax, which allows no more than half; over it the largest outboxes are cut off
	DropSlow          bool  // a slow client that uses ids loses messages, and is told how many, rather than its connection (4008)
	FragmentsBytesMax int64 // all unfinished messages together; 0: an eighth of MemoryMax, which allows no more than a quarter; over it: close 1013
	MemoryMax         int64 // of the process, bytes; 0: no limit. Near it clients and publishes are refused, then the largest outboxes cut off

	// Time.
	Heartbeat time.Duration // ping after this idle time, close 1001 after twice of it. Default 60 s; negative: off
	SlowTurn  time.Duration // a callback of a loop that takes longer is logged with its stack. Default 100 ms; negative: off
}

// GroupBytesMax bounds Limits.GroupBytesMax: the parser reads no longer names.
const GroupBytesMax = wsproto.GroupBytesMax

func (l *Limits) fill() error {
	b := defaultBounds()
	setDefault(&l.MessageBytesMax, b.messageBytes)
	setDefault(&l.MessageTimeout, 2*time.Minute)
	setDefault(&l.GroupBytesMax, b.groupBytes)
	setDefault(&l.GroupsPerClient, b.groupsPerClient)
	setDefault(&l.HandshakeBytesMax, b.handshakeBytes)
	setDefault(&l.HandshakeTimeout, 10*time.Second)
	setDefault(&l.HandshakesMax, b.handshakes)
	setDefault(&l.OutboxBytesMax, b.outboxBytes)
	setDefault(&l.OutboxesBytesMax, l.MemoryMax/4)
	setDefault(&l.FragmentsBytesMax, l.MemoryMax/8)
	setDefault(&l.Heartbeat, 60*time.Second)
	setDefault(&l.SlowTurn, 100*time.Millisecond)
	for _, bound := range []int{l.MessageBytesMax, l.GroupsPerClient, l.HandshakeBytesMax, l.HandshakesMax, l.OutboxBytesMax} {
		if bound < 1 {
			return errors.New("a bound must be positive")
		}
	}
	for _, bound := range []int64{int64(l.CommandsPerSecond), int64(l.BytesPerSecond), int64(l.GroupsMax), int64(l.MembersMax),
		int64(l.ClientsMax), int64(l.ClientsPerAddress), int64(l.HandshakesPerSecond), int64(l.HandshakeTimeout),
		l.OutboxesBytesMax, l.FragmentsBytesMax, l.MemoryMax} {
		if bound < 0 {
			return errors.New("a bound must not be negative")
		}
	}
	if _, err := readOrigins(l.AllowedOrigins); err != nil {
		return err
	}
	if l.GroupBytesMax < 1 || l.GroupBytesMax > GroupBytesMax {
		return fmt.Errorf("the bound on a group's name: %d is not within 1 to %d bytes", l.GroupBytesMax, GroupBytesMax)
	}
	return nil
}

// bounds is what shards work with. The limits are filled.
func (l *Limits) bounds() *bounds {
	b := defaultBounds()
	b.messageBytes, b.outboxBytes, b.groupBytes, b.groupsPerClient = l.MessageBytesMax, l.OutboxBytesMax, l.GroupBytesMax, l.GroupsPerClient
	b.commandsPerSecond, b.bytesPerSecond = l.CommandsPerSecond, l.BytesPerSecond
	b.groups, b.members = l.GroupsMax, l.MembersMax
	b.clients, b.clientsPerAddress = l.ClientsMax, l.ClientsPerAddress
	b.handshakeBytes, b.handshakes, b.handshakesPerSecond = l.HandshakeBytesMax, l.HandshakesMax, l.HandshakesPerSecond
	b.origins, _ = readOrigins(l.AllowedOrigins)
	b.proxies, b.proxyProtocol = l.TrustedProxies, l.ProxyProtocol
	b.outboxesBytes, b.dropSlow, b.partialBytes, b.memoryBytes = l.OutboxesBytesMax, l.DropSlow, l.FragmentsBytesMax, l.MemoryMax
	if l.MemoryMax > 0 { // cuts by the limit come once a tick, and much can be sent in one
		b.outboxesBytes, b.partialBytes = min(b.outboxesBytes, l.MemoryMax/2), min(b.partialBytes, l.MemoryMax/4)
	}
	b.handshakeTicks = ticks(l.HandshakeTimeout)
	b.messageTicks = ticksOrOff(l.MessageTimeout)
	b.heartbeatTicks = ticksOrOff(l.Heartbeat)
	b.slowTurnNanos = max(0, int64(l.SlowTurn))
	return &b
}

// outboxesMax is outboxesBytes as a number to compare with.
func (b *bounds) outboxesMax() int64 {
	if b.outboxesBytes == 0 {
		return math.MaxInt64
	}
	return b.outboxesBytes
}

func ticksOrOff(d time.Duration) uint32 {
	if d <= 0 {
		return 0
	}
	return ticks(d)
}

// bounds is every limit that a hub works within: Limits in the units of shards, and what no operator may change. What
// happens at each is said where it is checked. Immutable: a change of limits is another bounds.
type bounds struct {
	laneSlots    int   // items in a lane: 256 slots keep all lanes of 8 loops under 3 MB; with 4,096 the prototype put its GC off
	laneBytes    int   // bytes in a lane that holds more than one item
	backlogBytes int   // bytes in the backlog of a loop
	gatherBytes  int   // bytes gathered on a loop before it stops draining down lanes
	batchBytes   int   // bytes sent to a member at once
	passNanos    int64 // a turn's budget for passes

	messageBytes      int // a client's message
	groupBytes        int // a group's name
	groupsPerClient   int // memberships of one client
	commandsPerSecond int // 0: any number, as with all that follow
	bytesPerSecond    int
	groups            int // groups with members
	members           int // members of a group

	clients             int
	clientsPerAddress   int
	handshakeBytes      int
	handshakes          int      // unfinished, on all loops
	handshakesPerSecond int      // on all loops
	origins             []origin // none: all
	proxies             []netip.Prefix
	proxyProtocol       bool

	outboxBytes   int   // waiting for one client
	outboxesBytes int64 // waiting for all clients
	dropSlow      bool
	partialBytes  int64 // unfinished messages of all clients
	memoryBytes   int64

	handshakeTicks uint32 // for the request head to be complete
	messageTicks   uint32 // for a message to be complete; 0: any time
	closeTicks     uint32 // for the peer to end after our last word
	heartbeatTicks uint32 // silence after which a client is pinged; 0: never
	slowTurnNanos  int64  // 0: never
}

// tickPeriod is the resolution of handshake, message, close and heartbeat timeouts.
const tickPeriod = 200 * time.Millisecond

func defaultBounds() bounds {
	return bounds{
		laneSlots:       256,
		laneBytes:       1 << 20,
		backlogBytes:    1 << 20,
		gatherBytes:     4 << 20,
		batchBytes:      256 << 10,
		messageBytes:    1 << 20,
		outboxBytes:     1 << 20,
		groupBytes:      wsproto.GroupBytesMax,
		groupsPerClient: 1024,
		handshakeBytes:  8 << 10,
		handshakes:      100_000,
		passNanos:       int64(time.Millisecond),
		handshakeTicks:  ticks(10 * time.Second),
		messageTicks:    ticks(2 * time.Minute),
		closeTicks:      ticks(5 * time.Second),
		heartbeatTicks:  ticks(60 * time.Second),
		slowTurnNanos:   int64(100 * time.Millisecond),
	}
}

// ticks rounds a duration up to ticks, and adds one because the first is already under way.
func ticks(d time.Duration) uint32 { return uint32((d+tickPeriod-1)/tickPeriod) + 1 }

// Apply has the server work within other limits from now on, and returns when every loop does. What is over a new limit
// already stays: nobody loses a group or a connection by it, but nobody gets one either. An error means that nothing was
// changed, or, of ctx, that some loops have yet to.
func (s *Server) Apply(ctx context.Context, l Limits) error {
	if err := l.fill(); err != nil {
		return err
	}
	limitGo(l.MemoryMax)
	return s.hub.apply(ctx, l.bounds())
}

func (h *Hub) apply(ctx context.Context, b *bounds) error {
	h.bounds.Store(b)
	h.limitConnections()
	h.outboxesMax.Store(b.outboxesMax())
	return h.each(ctx, func(s *shard) { s.adopt(b) })
}

// adopt goes over to other bounds.
func (s *shard) adopt(b *bounds) {
	s.bounds = b
	s.backlog.bytesMax = b.backlogBytes
	s.readers.adopt(b.messageBytes)
	if !s.rates.on {
		s.rates.start(s.env.now())
	}
	s.rates.adopt(b, len(s.clients))
}
