package loop

import (
	"context"
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"ringcast/loop/door"
	"ringcast/wsproto"
)

// Limits is every bound that an operator may change while the server runs. A bound is one line here. Its comment says what
// happens at it, and its tags say
//
//	default  what zero means, with its unit; without this tag zero is off
//	min      the least that it may be. Where there is none a negative value is off
//	max      the most that it may be
//	share    of MemoryMax, where there is one: what zero means, and the most that it comes to
//
// ARCHITECTURE.md §7 has the whole table.
type Limits struct {
	// What one client may ask for.
	MessageBytesMax   int           `default:"1 MiB" min:"1"`             // its largest message, bytes; over it: close 1009
	MessageTimeout    time.Duration `default:"2m"`                        // from a message's first byte to its last; over it: close 1008
	GroupBytesMax     int           `default:"255" min:"1" max:"255"`     // longest name of a group, bytes; over it: error bad_group_id
	GroupsPerClient   int           `default:"1024" min:"1" max:"100000"` // memberships of one client; over it: error too_many_groups.
	CommandsPerSecond int           `min:"0"`                             // commands, pings and pongs of one client; over it: error rate_limited, or close 1008
	BytesPerSecond    int           `min:"0"`                             // bytes that one client sends; likewise

	// What all together may have.
	GroupsMax  int    `min:"0"` // groups with a member; over it: error groups_full
	MembersMax int    `min:"0"` // members of one group that no kind matches; over it: error group_full
	Kinds      []Kind // of groups, by the pattern of their names; the first that matches counts, and what it says is complete

	// What groups remember. A loop makes room in a history, and an answer to a resume, in one go, hence the most messages of each.
	// In less than a second nobody comes back; and what is to last for longer than a day belongs in a database, since histories
	// end with the process.
	History         int           `min:"0" max:"100000"`               // messages kept of a group that no kind matches; over it the oldest goes
	HistoryTTL      time.Duration `default:"5m" min:"1s" max:"24h"`    // for which such a message is kept, and such a group after its last member, if it has a history
	HistoryBytesMax int64         `min:"0" share:"1/8 1/4"`            // histories of all groups, bytes; over it the oldest messages of all go
	RecoveryMax     int           `default:"1000" min:"1" max:"10000"` // messages in the answer to one resume or history read; over it a resume is told so and gets none

	// Who is there, and who may do what, in groups that no kind matches. The fields of Kind with these names say more.
	Presence  bool      // who the members are can be asked
	JoinLeave JoinLeave // with Presence: who hears of comings and goings
	Join      Access    // who may become a member; others: error forbidden
	Publish   Access    // who may publish; others: error forbidden
	Fast      bool      // in a cluster: messages are put in order on each machine alone, and not kept

	// Who clients say they are.
	Tokens      *door.Verifier // what checks tokens; nil: none are configured, and every token is refused
	NoAnonymous bool           // where a dialect has clients connect first they have to bring a token
	TokensOnly  bool           // clients of every dialect may do nothing until a good token has come
	Apps        *door.Apps     // of the Pusher protocol; nil: there are none, and nobody speaks it

	// Connections that are admitted.
	ClientsMax          int            `min:"0"`                  // connections; 0: as many as descriptors allow, which no value exceeds; over it: 503
	ClientsPerAddress   int            `min:"0"`                  // connections from one IPv4 address or IPv6 /64; over it: 503, or 429 where a proxy names the address. A trusted proxy's own address is not counted
	HandshakeBytesMax   int            `default:"16 KiB" min:"1"` // a request head; nginx lets one have 32 KiB, in lines of up to 8; over it: 431, or 414
	HandshakeTimeout    time.Duration  `default:"10s" min:"0"`    // for a request head to be complete; over it: 408
	HandshakesMax       int            `default:"100000" min:"1"` // handshakes under way; never more than half of the connections; over it the oldest is answered 408 and cut
	HandshakesPerSecond int            `min:"0"`                  // handshakes a second; over it: 503 with Retry-After
	AllowedOrigins      []string       // such as https://example.org or https://*.example.org; none: all; others: 403
	Subprotocols        []string       // names for pages that ask for one of them; over subprotocolsBytesMax in all: refused with the mend
	Compression         bool           // clients that offer permessage-deflate as they connect may compress, and are sent compressed messages
	CompressionMin      int            `default:"256" min:"1"` // the smallest message that they are sent compressed, bytes; below it: as it is
	TrustedProxies      []netip.Prefix // proxies that are believed when they name a client's address
	ProxyProtocol       bool           // trusted proxies begin with a PROXY protocol header; without one: 400

	// Memory.
	OutboxBytesMax    int        `default:"1 MiB" min:"1"` // bytes that wait for one client; over it: see SlowClient
	OutboxesBytesMax  int64      `min:"0" share:"1/4 1/2"` // bytes that wait for all clients; over it the clients with the largest outboxes are cut off
	SlowClient        SlowClient // what becomes of a client whose outbox is full
	FragmentsBytesMax int64      `min:"0" share:"1/8 1/4"` // partial messages and request heads of all clients, bytes; over it: close 1013
	MemoryMax         int64      `min:"0"`                 // memory of the process, bytes. Near it clients and publishes are refused, then the largest outboxes are cut off

	// Time.
	Heartbeat time.Duration `default:"60s"`   // ping after this idle time, close 1001 after twice of it
	SlowTurn  time.Duration `default:"100ms"` // a callback of a loop that takes longer is logged with its stack
}

// fill puts defaults in place of zeros, and bounds shares of the memory limit. The error names the first limit that is wrong.
func (l *Limits) fill() error {
	v := reflect.ValueOf(l).Elem()
	for i := range v.NumField() {
		bound, name, tag := v.Field(i), v.Type().Field(i).Name, v.Type().Field(i).Tag
		if !bound.CanInt() {
			continue
		}
		share, most := l.share(tag.Get("share"))
		if bound.IsZero() {
			bound.SetInt(max(share, amount(tag.Get("default"))))
		}
		if err := checkBound(bound, tag); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if most > 0 { // cuts by the limit come once a tick, and much can be sent in one
			bound.SetInt(min(bound.Int(), most))
		}
	}
	others := l.otherGroups()
	if err := others.checkAccess(); err != nil {
		return err
	}
	if len(l.Kinds) > KindsMax {
		return fmt.Errorf("kinds: %d are more than %d", len(l.Kinds), KindsMax)
	}
	for i := range l.Kinds {
		if err := l.Kinds[i].check(); err != nil {
			return fmt.Errorf("kinds: %w", err)
		}
	}
	if err := CheckSubprotocols(l.Subprotocols); err != nil {
		return err
	}
	_, err := door.ReadOrigins(l.AllowedOrigins)
	return err
}

// checkBound says whether a bound is below the least that its tags allow, or above the most.
func checkBound(bound reflect.Value, tag reflect.StructTag) error {
	if least, is := tag.Lookup("min"); is && bound.Int() < amount(least) {
		return fmt.Errorf("%v is less than %s", bound, least)
	}
	if top, is := tag.Lookup("max"); is && bound.Int() > amount(top) {
		return fmt.Errorf("%v is more than %s", bound, top)
	}
	return nil
}

// IsOrigin says whether AllowedOrigins may have a text: whatever Start and Apply accept, and nothing else.
func IsOrigin(text string) bool {
	_, err := door.ReadOrigins([]string{text})
	return err == nil
}

// subprotocolsBytesMax bounds the names of all subprotocols together, bytes: each name in a request is compared with them.
const subprotocolsBytesMax = 1 << 10

// CheckSubprotocols says which of the names is not one, or stands twice, or that they are too long, and how to mend it.
func CheckSubprotocols(names []string) error {
	bytes := 0
	for i, name := range names {
		switch bytes += len(name); {
		case !wsproto.IsToken(name):
			return fmt.Errorf("subprotocol %q is not a name such as chat or v1.chat.example.org; use letters, digits and !#$%%&'*+-.^_`|~", name)
		case slices.Contains(names[:i], name):
			return fmt.Errorf("subprotocol %q stands twice; name it once", name)
		case bytes > subprotocolsBytesMax:
			return fmt.Errorf("subprotocols have more than %d bytes together; name fewer, or shorter ones", subprotocolsBytesMax)
		}
	}
	return nil
}

// amount reads a number in a tag: a duration, or bytes or things with or without a unit. None is 0.
func amount(text string) int64 {
	if text == "" {
		return 0
	}
	if d, err := time.ParseDuration(text); err == nil {
		return int64(d)
	}
	number, unit, _ := strings.Cut(text, " ")
	n, err := strconv.ParseInt(number, 10, 64)
	shift, known := map[string]int{"": 0, "KiB": 10, "MiB": 20}[unit]
	if err != nil || !known {
		panic("not an amount: " + text)
	}
	return n << shift
}

// share reads two parts of the memory limit.
func (l *Limits) share(text string) (usual, most int64) {
	if text == "" {
		return 0, 0
	}
	var a, b int64
	if _, err := fmt.Sscanf(text, "1/%d 1/%d", &a, &b); err != nil {
		panic("no shares: " + text)
	}
	return l.MemoryMax / a, l.MemoryMax / b
}

// bounds is every bound of a hub: those that an operator may change, what follows from them in the units of shards, and
// fixed ones. What happens at each is said where it is checked. Immutable: a change of limits makes another bounds.
type bounds struct {
	Limits // filled

	// Follows from them.
	origins        door.Origins
	subprotocols   []string // Subprotocols, and those of dialects; these and the next three are the hub's, see complete
	generation     uint32   // not 0; that of other bounds is another
	guardsJoin     bool     // not everyone may join all groups
	guardsPublish  bool     // not everyone may publish to all groups
	addresses      door.AddressRules
	handshakeTicks uint32 // for the request head to be complete
	messageTicks   uint32 // for a message to be complete; 0: any time
	heartbeatTicks uint32 // silence after which a client is pinged; 0: never
	slowTurnNanos  int64  // 0: never
	anyPresence    bool   // there is a kind of groups that has presence
	anyCounts      bool   // there is an app whose clients are told how many subscribers a channel has
	beats          beats  // of clients of each dialect

	// Fixed.
	laneSlots     int    // items in a lane: with 256 all lanes of 8 loops are under 3 MB; with 4,096 a prototype collected garbage too seldom
	laneBytes     int    // bytes in a lane that has more than one item
	backlogBytes  int    // bytes in the backlog of a loop; one group has at most half of it
	flightBytes   int    // bytes in flight to a loop that its loud groups share with all others; one alone has at most half of it
	flightMin     int    // bytes in flight to a loop that a group may have however loud others are
	gatherBytes   int    // bytes gathered on a loop before it stops draining down lanes: room for flightBytes and for the least of 256 groups
	batchBytes    int    // bytes sent to a member at once, unless one message is larger
	passNanos     int64  // a turn's budget for passes
	tlsHandshakes int    // TLS handshakes under way on all loops: each has a goroutine, and takes some 30 KB
	closeTicks    uint32 // for the peer to end after our last bytes
	listRows      int    // clients that a loop lists in one call: about a millisecond of its time
	presentMax    int    // members of a group up to which they are listed, and comings and goings are told
	farMax        int    // members on other nodes, each in each of its groups, of which a home may know
	keysBytes     int    // keys of publishes that may be repeated, in all groups together
	keyTicks      uint32 // for which each is remembered
	scannedMax    int    // groups of a client beyond which it has an index of them
	healTicks     uint32 // within which a slow client may heal twice
	partsPerTurn  int    // memberships that a turn ends for clients that heal: a client may have many thousands, and each takes a microsecond or two

	burialsPerTurn   int // clients that a turn buries, and groups that they leave: each costs a quarter of a microsecond, or one where it has to be fetched from memory
	wordsEnough      int // words owed to homes with which no more is begun that leads to others: as many as the lanes of eight homes take at a time
	announcesPerTurn int // memberships that announce looks at in a turn; each pattern of a kind takes a while
}

// bounds is the bounds that follow from limits, which are filled.
func (l *Limits) bounds() *bounds {
	origins, _ := door.ReadOrigins(l.AllowedOrigins)
	return &bounds{
		Limits:         *l,
		origins:        origins,
		addresses:      door.AddressRules{PerAddress: l.ClientsPerAddress, Proxies: l.TrustedProxies, ProxyProtocol: l.ProxyProtocol},
		handshakeTicks: ticks(l.HandshakeTimeout),
		messageTicks:   ticksOrOff(l.MessageTimeout),
		heartbeatTicks: ticksOrOff(l.Heartbeat),
		slowTurnNanos:  max(0, int64(l.SlowTurn)),

		laneSlots:     256,
		laneBytes:     1 << 20,
		backlogBytes:  2 << 20,
		flightBytes:   8 << 20,
		flightMin:     16 << 10,
		gatherBytes:   12 << 20,
		batchBytes:    256 << 10,
		passNanos:     int64(time.Millisecond),
		tlsHandshakes: tlsHandshakesMax,
		closeTicks:    ticks(5 * time.Second),
		listRows:      1000,
		presentMax:    1000,
		farMax:        1 << 20,
		keysBytes:     16 << 20,
		keyTicks:      uint32(5 * time.Minute / tickPeriod),
		scannedMax:    64,
		healTicks:     uint32(time.Minute / tickPeriod),
		partsPerTurn:  256,

		burialsPerTurn:   2048,
		wordsEnough:      2048,
		announcesPerTurn: 512,
	}
}

// outboxesMax is OutboxesBytesMax as a number to compare with.
func (b *bounds) outboxesMax() int64 {
	if b.OutboxesBytesMax == 0 {
		return math.MaxInt64
	}
	return b.OutboxesBytesMax
}

// heartbeatSeconds is the time after which clients that are silent are pinged, in whole seconds; 0: never.
func (b *bounds) heartbeatSeconds() uint64 {
	if b.heartbeatTicks == 0 {
		return 0
	}
	return uint64((b.Heartbeat + time.Second - 1) / time.Second)
}

// tickPeriod is the resolution of handshake, message, close and heartbeat timeouts, and of histories' ages.
const tickPeriod = 200 * time.Millisecond

// ticks rounds a duration up to ticks, and adds one because the current tick has begun already.
func ticks(d time.Duration) uint32 { return uint32((d+tickPeriod-1)/tickPeriod) + 1 }

func ticksOrOff(d time.Duration) uint32 {
	if d <= 0 {
		return 0
	}
	return ticks(d)
}

// Apply changes the server's limits, and returns when every loop has them. What exceeds a new limit already is kept: no
// client loses a group or a connection by it, but none gets another either. An error that names a limit means that nothing
// was changed; ctx's error, or ErrStopping, that some loops may not have the new limits yet. Any goroutine.
func (s *Server) Apply(ctx context.Context, l Limits) error {
	if err := l.fill(); err != nil {
		return err
	}
	limitGo(l.MemoryMax)
	return s.hub.apply(ctx, l.bounds())
}

func (h *Hub) apply(ctx context.Context, b *bounds) error {
	h.complete(b)
	h.bounds.Store(b)
	h.homes.SetHistoryMax(b.HistoryBytesMax)
	h.homes.KindsChanged()
	h.limitConnections()
	h.outboxesMax.Store(b.outboxesMax())
	return h.each(ctx, func(s *shard) { s.adopt(b) })
}

// adopt changes the shard's bounds.
func (s *shard) adopt(b *bounds) {
	s.announceAll(s.bounds, b)
	s.dismiss(s.bounds, b)
	s.countAll(s.bounds, b)
	s.bounds = b
	s.backlog.bytesMax = b.backlogBytes
	s.readers.adopt(b.MessageBytesMax)
	if !s.rates.on {
		s.rates.start(s.env.now())
	}
	s.rates.adopt(b, len(s.clients))
}
