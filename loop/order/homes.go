package order

import (
	"hash/maphash"
	"sync/atomic"
	"time"
)

// Homes is the table of all homes, with the lanes between them and the loops. There are as many homes as loops; see Home for its
// owner.
type Homes[G Part, C Client] struct {
	// Immutable after start.
	Hash   func(group string) uint64 // chooses a group's home; New sets it, and a test may set another before the first use
	env    Env
	homes  []*Home[G, C]
	lanes  []*Lanes[G, C]
	config Config

	// Any goroutine (atomic).
	_        [CacheLine]byte
	Census   Census
	_        [CacheLine]byte
	ports    [PortsMax]atomic.Pointer[Port[G, C]]
	feed     atomic.Pointer[Feed[G, C]] // nil: none
	kinds    atomic.Uint32              // grows when Env.Kind may say something else
	others   atomic.Pointer[Company]    // nil: none, see SetCompany
	observer atomic.Pointer[Observer]   // nil: none, see SetObserver
	_        [CacheLine]byte

	historyBytes atomic.Int64
	historyMax   atomic.Int64
	cacheBytes   atomic.Int64 // of which are in historyBytes
	keyBytes     [keyClasses]atomic.Int64
	farRefused   atomic.Uint64
	sealed       atomic.Bool // inlets take nothing any more
}

// Config is the size of a table. New does not check it.
type Config struct {
	Loops     int // number of loops, 1 to 64, as there is a 64-bit set of them in many places
	LaneSlots int // bound on the items of a lane, a power of two
	LaneBytes int // bound on the bytes of a lane; a single larger item is taken by a lane that is empty

	// In flight to a loop, bytes; see flow.go.
	FlightBytes int // what loud groups may have together, of which a part stays free for all others
	FlightMin   int // what each group may always have

	FewMembers int // as many as that on a loop, on average, are few: another loop may serve them, see WakeOthers

	PresentMax int // members of a group with presence up to which they are listed, and comings and goings are told

	FarMax int // members of other nodes, each counted in each of its groups, of which a home may know; 0: none

	KeyTicks     uint32 // for which the key of a publish is remembered, see keys.go
	KeysBytesMax int    // what the keys of clients together may take, and those of all others

	Tick time.Duration // how long a tick of Env.Now is, where there is an orderer

	EpochBase uint64 // random, of the process: no epoch is likely to be one of another process too
}

// Env is what a table needs of the program around it. Every function may be called by any goroutine, and must not block.
type Env struct {
	Wake    func(loop int)                                 // have a loop call Host and Drain soon
	Bounds  func(group string) (membersMax, groupsMax int) // on a group's members, and on groups with members; 0: none
	Admit   func(home int, publishes bool) error           // why no port may publish now, or ask something, such as ErrStopping. nil: it may
	Busy    func(home int)                                 // a port was refused because its lane to a home is full
	TooLoud func(home int, m *Message)                     // a publish was refused because too much of its group is in flight
	Refused func(home int, why Refusal)                    // a publish was refused that was, or could not be, offered to the orderer; nil: nobody wants to know
	Offered func(m *Message)                               // a port's publish is on its way to its home, which may still refuse it; nil: nobody wants to know
	Accepts func(group string, message []byte) error       // why this may not be published, such as ErrBadMessage. nil: it may
	Kind    func(group string) Kind                        // what holds for a group; nil: the zero Kind for each. Asked for each publish to a group that its home does not know
	Now     func() uint32                                  // the time in ticks, which may wrap around; with Kind, and for keys
	Ended   <-chan struct{}                                // closed when no loop runs any more

	ClientNumber func(name string) (client uint64, ok bool) // the number of the client of this process that has a name; nil: none has

	Panicked func(home int, p any) // a home has panicked that a port has hosted; called while the stack can still be printed. nil: the panic goes on
}

// Kind is what holds for a group.
type Kind struct {
	Messages int    // that are kept; 0: none
	TTL      uint32 // ticks for which they are kept
	Cache    uint32 // ticks for which the last message is kept for who joins, whatever else is; 0: it is not
	Presence bool   // who is there is known
	Fast     bool   // where there is an orderer: homes number its messages all the same, and other machines get them as it can. No messages are kept then
}

// New makes a table, with the lanes between every loop and every home. The caller has each loop serve its Lanes.
func New[G Part, C Client](c Config, env Env) *Homes[G, C] {
	hs := &Homes[G, C]{Hash: newHash(), env: env, config: c}
	for i := range c.Loops {
		hs.homes = append(hs.homes, &Home[G, C]{index: i, all: hs})
		hs.lanes = append(hs.lanes, &Lanes[G, C]{index: i, all: hs})
	}
	for _, l := range hs.lanes {
		for _, h := range hs.homes {
			up, down := newLane[Request[G, C]](c.LaneSlots, c.LaneBytes), newLane[Delivery[G, C]](c.LaneSlots, c.LaneBytes)
			l.up, h.up = append(l.up, up), append(h.up, up)
			l.down, h.down = append(l.down, down), append(h.down, down)
		}
	}
	return hs
}

// newHash is the hash that chooses homes. It is seeded for each process: else a client could choose names that all have one
// home.
func newHash() func(string) uint64 {
	seed := maphash.MakeSeed()
	return func(group string) uint64 { return maphash.String(seed, group) }
}

// Of is the index of a group's home. Any goroutine.
func (hs *Homes[G, C]) Of(group string) int { return int(hs.Hash(group) % uint64(len(hs.homes))) }

// Home is the home of an index, from 0.
func (hs *Homes[G, C]) Home(index int) *Home[G, C] { return hs.homes[index] }

// Lanes is a loop's ends of its lanes. Only who holds that loop's shard may call its methods, but for those that say otherwise.
func (hs *Homes[G, C]) Lanes(loop int) *Lanes[G, C] { return hs.lanes[loop] }

// Depth is the number of items that wait in the down lanes to a loop, in the up lanes of loops and ports to the home of the same
// index, and in that home's lane to the feed, at about this moment. Any goroutine.
func (hs *Homes[G, C]) Depth(loop int) (items int) {
	for _, l := range hs.lanes {
		items += l.up[loop].len()
	}
	for _, h := range hs.homes {
		items += h.down[loop].len()
	}
	for i := range hs.ports {
		if p := hs.ports[i].Load(); p != nil {
			items += p.up[loop].lane.len()
		}
	}
	if feed := hs.feed.Load(); feed != nil {
		items += feed.lanes[loop].len()
	}
	return items
}

// Bytes is the memory of the lanes at about this moment, slots included, in bytes. The down lanes of a home mostly share their
// messages, so of each home only the fullest down lane counts. Histories are not in it, see HistoryBytes. Any goroutine.
func (hs *Homes[G, C]) Bytes() int64 {
	loops := int64(len(hs.homes))
	sum := loops * loops * int64(hs.config.LaneSlots) * int64(requestBytes+deliveryBytes)
	for i, h := range hs.homes {
		var down int64
		for loop := range hs.lanes {
			sum += h.up[loop].waiting()
			down = max(down, h.down[loop].waiting())
		}
		sum += down
		for p := range hs.ports {
			if port := hs.ports[p].Load(); port != nil {
				sum += port.up[i].lane.waiting()
			}
		}
	}
	return sum
}

// Quiesce returns when no offer of a port is under way that began before the call. Any goroutine that is no loop.
func (hs *Homes[G, C]) Quiesce() {
	for i := range hs.ports {
		if p := hs.ports[i].Load(); p != nil {
			p.quiesce()
		}
	}
}
