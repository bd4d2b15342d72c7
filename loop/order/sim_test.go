package order

import (
	"cmp"
	"flag"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"

	"ringcast/dialect"
	"ringcast/loop/assert"
)

// The simulation runs a table of homes in one goroutine, without clients and sockets: loops that do as package loop does with
// their lanes, ports, a feed. A seed chooses who does what when, which homes are held by a loop that is in the middle of serving
// them, and how far a lane is drained. Wake-ups are flags, so one that is lost leaves something in a lane.

var simSeed = flag.Uint64("sim.seed", 0, "replay the simulation of this seed alone")

func TestGroupsKeepOneOrderInSimulatedTables(t *testing.T) {
	for _, shape := range []simShape{
		{name: "one-loop", loops: 1, slots: 2, bytes: 1 << 20, groups: 2, seeds: 150},
		{name: "few-slots", loops: 3, slots: 2, bytes: 1 << 20, groups: 3, ports: 2, seeds: 300},
		{name: "few-bytes", loops: 3, slots: 64, bytes: 500, groups: 3, ports: 1, feed: true, seeds: 300},
		{name: "bounds", loops: 4, slots: 4, bytes: 2000, groups: 5, ports: 1, feed: true, membersMax: 3, groupsMax: 3, seeds: 300},
		{name: "loud", loops: 3, slots: 16, bytes: 1 << 20, groups: 4, ports: 2, feed: true, flight: 1500, least: 300, gather: 3000, seeds: 200},
		{name: "loud-by-each", loops: 2, slots: 4, bytes: 1000, groups: 3, ports: 1, flight: 100, least: 1, gather: 100, seeds: 200},
		{name: "history", loops: 3, slots: 4, bytes: 1 << 20, groups: 4, ports: 1, feed: true, history: true, seeds: 400},
		{name: "history-alone", loops: 1, slots: 2, bytes: 1 << 20, groups: 3, history: true, seeds: 300},
		{name: "history-bounds", loops: 4, slots: 4, bytes: 2000, groups: 6, membersMax: 2, groupsMax: 3, history: true, historyMax: 2000, seeds: 400},
		{name: "history-loud", loops: 3, slots: 16, bytes: 1 << 20, groups: 3, ports: 2, flight: 1500, least: 300, gather: 3000, history: true, historyMax: 2500, seeds: 200},
		{name: "presence", loops: 3, slots: 4, bytes: 1 << 20, groups: 3, ports: 1, feed: true, presentMax: 1000, seeds: 400},
		{name: "presence-crowds", loops: 2, slots: 16, bytes: 1 << 20, groups: 2, presentMax: 10, seeds: 300},
		{name: "presence-few", loops: 4, slots: 2, bytes: 700, groups: 4, ports: 1, membersMax: 4, groupsMax: 3, presentMax: 2, seeds: 300},
		{name: "presence-history", loops: 3, slots: 4, bytes: 1 << 20, groups: 4, ports: 1, history: true, historyMax: 4000, presentMax: 3, seeds: 300},
		{name: "presence-loud", loops: 3, slots: 16, bytes: 1 << 20, groups: 3, ports: 2, flight: 1500, least: 300, gather: 3000, presentMax: 1000, seeds: 300},
		{name: "cache", loops: 3, slots: 4, bytes: 1 << 20, groups: 3, ports: 2, cache: true, seeds: 300},
		{name: "cache-presence", loops: 2, slots: 2, bytes: 1 << 20, groups: 3, ports: 1, feed: true, cache: true, history: true, presentMax: 1000, seeds: 300},
		{name: "cache-bounds", loops: 3, slots: 4, bytes: 1 << 20, groups: 5, ports: 1, cache: true, history: true, historyMax: 3000, seeds: 300},
		{name: "keys", loops: 3, slots: 4, bytes: 1 << 20, groups: 3, ports: 2, feed: true, presentMax: 1000, history: true, seeds: 300},
		{name: "keys-bounds", loops: 2, slots: 4, bytes: 1 << 20, groups: 2, ports: 2, keysMax: 600, seeds: 200},
		{name: "most-loops", loops: 64, slots: 1, bytes: 1 << 20, groups: 100, ports: 2, feed: true, seeds: 3},
	} {
		if shape.flight == 0 {
			shape.flight, shape.least, shape.gather = 1<<20, 1<<20, 1<<20
		}
		t.Run(shape.name, func(t *testing.T) {
			refused, heldBack, served, kept, trimmed := 0, 0, 0, 0, 0
			pasts, company, said, caches := map[string]int{}, simCompany{}, simPorts{}, simCaches{}
			for seed := uint64(1); seed <= uint64(simSeeds(shape.seeds)); seed++ {
				if *simSeed == 0 || *simSeed == seed {
					s := newSim(t, shape, seed)
					s.run()
					refused, heldBack, served = refused+s.refused, heldBack+s.heldBack, served+s.served
					kept, trimmed = kept+s.kept, trimmed+s.trimmed
					company.add(s.company)
					said.add(s.said)
					caches.add(s.caches)
					for what, n := range s.pasts {
						pasts[what] += n
					}
				}
			}
			if served == 0 && shape.loops > 1 && simWhole() {
				t.Error("no loop has served another")
			}
			if simWhole() && (shape.history != (kept > 0) || (shape.historyMax > 0) != (trimmed > 0) || shape.history && len(pasts) < simPasts) {
				t.Errorf("%d messages in histories, %d dropped as all together were too large, answers %v", kept, trimmed, pasts)
			}
			if simWhole() && shape.presentMax > 0 {
				company.check(t, shape)
			}
			if simWhole() && shape.cache {
				caches.check(t, shape)
			}
			if simWhole() && shape.ports > 1 && shape.seeds > 100 {
				said.check(t, shape)
			}
			if quiet := refused == 0 || heldBack == 0; quiet != (shape.flight == 1<<20) && simWhole() {
				t.Errorf("refused as too much was in flight: %d; held back, by looks at it: %d", refused, heldBack)
			}
		})
	}
}

// simSeeds is fewer seeds where assertions are on, and very few under the race detector, see simWhole.
func simSeeds(seeds int) int {
	switch {
	case assert.Race:
		seeds = (seeds + 19) / 20
	case assert.On:
		seeds = (seeds + 1) / 2
	}
	return seeds
}

// simWhole says whether all seeds of a shape are run that are to show everything that may happen in it.
func simWhole() bool { return *simSeed == 0 && !assert.Race }

type simShape struct {
	name                  string
	loops, slots, bytes   int
	groups, ports         int
	feed                  bool
	membersMax, groupsMax int
	history               bool
	historyMax            int64
	presentMax            int // 0: no kind has presence
	cache                 bool
	keysMax               int // bytes; 0: enough for all
	flight, least, gather int // bytes: FlightBytes, FlightMin, gathered on a loop before it drains no more
	seeds                 int
}

// sim is one simulated table.
type sim struct {
	simShape
	t        *testing.T
	rng      *rand.Rand
	seed     uint64
	step     int
	hs       *Homes[*simPart, *simAsk]
	loops    []*simLoop
	ports    []*Port[*simPart, *simAsk]
	feed     *Feed[*simPart, *simAsk]
	feedMore bool          // the feed may hold more, for which no token comes
	held     []func() bool // by home that is in the middle of being served
	sent     []*simMessage
	orders   map[*Headcount][]*simMessage // of a group, from its first member to its last: its messages by number - 1
	refused  int                          // publishes, as too much was in flight
	heldBack int                          // looks at which a loop was awaited for that reason
	served   int                          // deliveries that came out of a lane of a loop that sleeps

	now         uint32
	kinds       []simKind // by group
	kindChanges uint32
	lives       map[string]*simLife
	pending     *Message       // a publish that is being served
	positions   []Position     // that clients were told
	epochs      map[Epoch]bool // likewise
	kept        int            // publishes that a history has kept
	trimmed     int            // messages dropped as all histories were too large
	pasts       map[string]int // answers about the past, by what they say
	presences   []simPresence  // by group
	serving     *simServing    // the last request about who is there that a home has begun to serve
	company     simCompany
	clients     uint64 // that there were
	whos        []*dialect.Who

	keys      map[keyName]simKeyed // what homes should remember
	keying    *simKeying           // the last publish under a key that a home has begun to serve; nil: it was served
	questions []*simQuestion       // of ports, not answered
	paths     map[*Headcount][]*simPath
	said      simPorts

	lasts   []simLast // by group
	putting *simPut   // the last publish that a home has begun to serve; nil: it was served
	caches  simCaches
}

type simMessage struct {
	index    int
	group    string
	byPort   bool
	said     Said     // by a port; else its key, and whether it is kept
	event    bool     // it is a client event
	accepted bool     // into a lane
	refused  bool     // by its home
	repeats  bool     // another one, whose key it has: it is not sent
	heard    int      // how often it came down
	life     *simLife // that has kept it; nil: none has
	told     *told    // the home's word, where that was waited for
	seq      uint64   // as the order says; 0: the group had no members
	taken    int      // how often it came out of the feed
	pending  *Pending // of who waits for the home's word
	ask      *simAsk
}

func newSim(t *testing.T, shape simShape, seed uint64) *sim {
	s := &sim{simShape: shape, t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, uint64(shape.slots))),
		held: make([]func() bool, shape.loops), orders: map[*Headcount][]*simMessage{},
		now: 1<<32 - 30, lives: map[string]*simLife{}, epochs: map[Epoch]bool{}, pasts: map[string]int{},
		keys: map[keyName]simKeyed{}, paths: map[*Headcount][]*simPath{}, whos: simUsers()}
	env := Env{
		Wake: func(loop int) { s.loops[loop].woken = s.hs.Lanes(loop).MustWake() || s.loops[loop].woken },
		Bounds: func(string) (int, int) {
			s.onServe()
			s.onPresence()
			s.onCache()
			return shape.membersMax, shape.groupsMax
		},
		Admit:        func(int, bool) error { return nil },
		Busy:         func(int) {},
		TooLoud:      func(home int, m *Message) { s.tooLoud(home, m) },
		Accepts:      func(string, []byte) error { return nil },
		Now:          func() uint32 { s.onServe(); s.onCache(); return s.now },
		ClientNumber: func(name string) (uint64, bool) { return 7, name == farName(1, 7) },
	}
	s.kinds = make([]simKind, shape.groups)
	s.presences, s.lasts = make([]simPresence, shape.groups), make([]simLast, shape.groups)
	if shape.history || shape.presentMax > 0 || shape.cache {
		env.Kind = func(name string) Kind {
			s.onServe()
			s.onPresence()
			s.onCache()
			k := s.kinds[s.group(name)]
			s.presences[s.group(name)].adopt(k)
			if k.cache == 0 { // what it lets pass is not cached, and what was before was not the last
				s.lasts[s.group(name)] = simLast{}
			}
			return Kind{Messages: k.messages, TTL: k.ttl, Cache: k.cache, Presence: k.presence}
		}
		for i := range s.kinds {
			s.kinds[i] = s.kindOf()
		}
	}
	s.hs = New[*simPart, *simAsk](Config{Loops: shape.loops, LaneSlots: shape.slots, LaneBytes: shape.bytes, FlightBytes: shape.flight, FlightMin: shape.least, FewMembers: 1 + int(seed)%3, PresentMax: shape.presentMax,
		KeyTicks: simKeyTicks, KeysBytesMax: cmp.Or(shape.keysMax, 1<<20), EpochBase: -uint64(3 * shape.loops)}, env)
	s.hs.SetHistoryMax(shape.historyMax)
	s.hs.Hash = func(group string) uint64 { n, _ := strconv.ParseUint(group, 10, 64); return n }
	for i := range shape.loops {
		s.loops = append(s.loops, &simLoop{lanes: s.hs.Lanes(i), parts: make([]*simPart, shape.groups), words: make([][]Request[*simPart, *simAsk], shape.loops),
			announce: make([]bool, shape.groups), away: make([][]uint64, shape.groups), due: make([][]simNews, shape.groups)})
	}
	for range shape.ports {
		port, err := s.hs.NewPort()
		s.must(err == nil, "port: %v", err)
		s.ports = append(s.ports, port)
	}
	if shape.feed {
		s.feed, _ = s.hs.NewFeed()
	}
	return s
}

func (s *sim) must(ok bool, format string, args ...any) {
	if !ok {
		s.t.Helper()
		s.t.Fatalf("seed %d, step %d: %s\nreplay: go test ./loop/order -run 'Simulated/%s' -sim.seed %d",
			s.seed, s.step, fmt.Sprintf(format, args...), s.name, s.seed)
	}
}

func (s *sim) run() {
	for s.step = range 600 {
		s.event()
		for h := range s.orders {
			s.must(s.membersMax == 0 || h.Members() <= s.membersMax, "%d members, bound %d", h.Members(), s.membersMax)
		}
		s.must(s.groupsMax == 0 || s.hs.Census.Groups() <= s.groupsMax, "%d groups, bound %d", s.hs.Census.Groups(), s.groupsMax)
	}
	s.settle()
	s.checkMessages()
	s.checkWhoIsThere()
	s.checkPaths()
	for _, l := range s.loops {
		for _, p := range l.parts {
			for p != nil && p.members > 0 {
				s.leave(p)
			}
		}
		l.woken = true
	}
	s.settle()
	s.forgetAll()
	for i := range s.loops {
		s.must(s.hs.Home(i).Groups() == 0, "home %d knows %d groups without members", i, s.hs.Home(i).Groups())
	}
	s.must(s.hs.Census.Groups() == 0, "%d groups are counted, none has members", s.hs.Census.Groups())
}

// event is one thing that happens somewhere.
func (s *sim) event() {
	loop, group := s.rng.IntN(len(s.loops)), s.rng.IntN(s.groups)
	l := s.loops[loop]
	switch n := s.rng.IntN(100); {
	case n < 15:
		s.join(loop, group)
	case n < 25:
		if p := l.parts[group]; p != nil && p.members > 0 {
			s.leave(p)
			l.woken = true
		}
	case n < 50:
		s.publish(loop, group)
	case n < 60 && len(s.ports) > 0:
		s.publishByPort(s.ports[s.rng.IntN(len(s.ports))], group)
	case n < 61 && len(s.ports) > 0: // a port ends, and another takes its place or one beside it
		at := s.rng.IntN(len(s.ports))
		s.ports[at].Close()
		_, err := s.ports[at].Offer("0", Said{})
		s.must(err == ErrClosed, "a closed port accepts: %v", err)
		next, err := s.hs.NewPort()
		s.must(err == nil, "a port after others were closed: %v", err)
		s.ports[at] = next
	case n < 63:
		if home := s.rng.IntN(len(s.loops)); s.held[home] == nil {
			s.held[home], _ = s.hs.Home(home).Hold()
		} else {
			s.letGo(home)
		}
	case n < 67 && (s.history || s.presentMax > 0 || s.cache || len(s.ports) > 0):
		s.passTime(loop)
	case n < 69 && s.history:
		s.read(loop, group)
	case n < 70 && s.presentMax > 0:
		s.askWho(loop, group)
	case n < 71 && s.presentMax > 0:
		if p := l.parts[group]; p != nil && p.members > 0 {
			s.says(p)
		}
	case n < 72 && len(s.ports) > 0:
		s.question(s.ports[s.rng.IntN(len(s.ports))], group)
	case n < 75 && s.feed != nil:
		s.takeFromFeed(1 + s.rng.IntN(4))
	default:
		if l.woken {
			s.turn(loop, s.rng.IntN(5))
		}
	}
}

func (s *sim) letGo(home int) {
	called := s.held[home]()
	s.held[home] = nil
	if called { // the loop that held it looks again
		host := s.loops[s.rng.IntN(len(s.loops))]
		host.lanes.ToHost(home)
		host.woken = true
	}
}
