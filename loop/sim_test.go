package loop

import (
	"flag"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"testing"

	"ringcast/dialect"
	"ringcast/loop/assert"
)

// The simulation runs a whole hub in one goroutine: shards are called back one at a time, in an order that a seed
// chooses, on sockets and a clock that are made up. Between two callbacks anything may happen that may happen between
// two real ones: bytes arrive in any portions, peers stall, read, break off, wake-ups come late, lanes are full. What
// peers receive is held against the promises (sim_hear_test.go, sim_end_test.go). A seed is a whole world: the same seed, the same run.

var (
	simSeed  = flag.Uint64("sim.seed", 0, "replay the simulation of this seed alone")
	simFrom  = flag.Uint64("sim.from", 1, "the first seed that the simulation runs")
	simSeeds = flag.Int("sim.seeds", 500, "how many seeds the simulation runs (half with assertions, a twentieth under the race detector)")
)

func TestPromisesHoldInSimulatedWorlds(t *testing.T) {
	if *simSeed != 0 {
		newWorld(t, *simSeed).run()
		return
	}
	seeds := *simSeeds
	switch {
	case assert.Race:
		seeds = (seeds + 19) / 20
	case assert.On:
		seeds = (seeds + 1) / 2
	}
	var sum simSum
	for seed := *simFrom; seed < *simFrom+uint64(seeds) && !t.Failed(); seed++ {
		w := newWorld(t, seed)
		w.run()
		sum.add(w)
	}
	if !t.Failed() && !assert.Race { // so few worlds do not have everything
		sum.check(t)
	}
}

// world is one simulated process with its peers.
type world struct {
	t            *testing.T
	seed         uint64
	rng          *rand.Rand
	hub          *Hub
	port         *Port
	nanos        int64
	step         int
	wakes, kicks []bool // by shard: one is under way
	departures   simDepartures
	fds          map[int]*socket // open descriptors; numbers are used again at once, as a kernel does
	actors       []*actor
	groups       []string
	order        map[string][][]int // per group: what each actor saw, for the total order
	sent         []*simMessage
	before       []kickState
	kickRan      bool
	borrowing    simBorrowing
	feed         *simFeed // nil: this world has none
	orderer      *simOrderer
	patient      *simWaiter
	stranger     bool   // somebody who is no actor may publish
	exactGaps    uint64 // messages that were dropped, in a world where every client has told how many
	calm         bool   // no client ends of its own will
	missed       uint64 // by the gaps that earlier lives heard
	uncounted    bool   // some life ended without hearing all that there was to hear
	tight        bool   // bounds so small that refusals are expected
	loud         bool   // half of the clients are of another dialect
	hasty        int    // ticks that pass at once
	choking      bool   // kernels take little
	returning    bool   // most of what ends a client or refuses it is off, but that clients end and come back
	bearing      bool   // clients may show tokens, and backends reach them
	bearers      simBearers
	restless     int // percent of the ends that clients think of that they make
	past         simPasts
	company      simCompanies
	excepts      simExcepts
	pages        simPages
	deflating    simDeflating
	secured      bool // some peers speak TLS
	tunnels      uint64
	changing     bool // an operator changes bounds on groups, members and rates now and then

	repeats    uint64      // publishes of ports that repeat another
	unkept     uint64      // that are not kept, and were heard
	tooLoud    map[int]int // how often a home has refused each message, by its number
	heldBack   uint64      // looks at which a loop was awaited by a home that holds a request back
	awayAtOnce uint64      // connections refused before they were clients

	walks  []*simWalk // by loop; nil: none is under way
	listed uint64     // walks that are complete

	indexed              map[*client]bool // clients with an index of their groups, at the last look
	indexes, indexesGone uint64           // made, and dropped while their clients lived
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{
		t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 2206)),
		fds: map[int]*socket{}, order: map[string][][]int{}, indexed: map[*client]bool{},
	}
	pick := func(of ...int) int { return of[w.rng.IntN(len(of))] }
	b := defaultBounds()
	b.laneSlots = pick(2, 4, 16, 256)
	b.laneBytes = pick(600, 4000, 1<<20)
	b.backlogBytes = pick(400, 3000, 1<<20)
	b.gatherBytes = pick(300, 5000, 12<<20)
	b.flightBytes, b.flightMin = pick(300, 5000, 8<<20), pick(1, 300, 16<<10)
	b.batchBytes = pick(100, 1000, 256<<10)
	b.OutboxBytesMax = pick(1500, 20000, 1<<20)
	b.MessageBytesMax = 2000
	b.GroupsPerClient = pick(2, 4, 1024)
	b.listRows, b.scannedMax = pick(1, 3, 1000), pick(1, 2, 64)
	w.returning = w.chance(40)
	w.changing = w.rng.IntN(4) == 0 && !w.returning
	b.RecoveryMax = pick(1, 3, 1000, 1000)
	b.HistoryBytesMax = int64(pick(0, 0, 0, 2000, 20_000))
	w.deflating.begin(seed)
	w.chooseFixed(&b)
	w.chooseBounds(&b)
	b.passNanos = int64(pick(3000, 50_000, 1_000_000))
	b.handshakeTicks, b.closeTicks = 40, 5
	b.heartbeatTicks = uint32(pick(0, 6, 300))
	b.HandshakesMax = pick(2, 10, 10_000)
	b.addresses.PerAddress = pick(0, 0, 1, 3)
	b.addresses.Proxies = simProxies[:pick(0, 1)]
	b.addresses.ProxyProtocol = w.chance(50)
	b.OutboxesBytesMax = int64(pick(0, 0, 0, 3000, 30_000))
	b.SlowClient = []SlowClient{SlowHeal, SlowHeal, SlowDrop, SlowDrop, SlowClose}[w.rng.IntN(5)]
	b.FragmentsBytesMax = int64(pick(0, 0, 0, 2000))
	b.messageTicks = uint32(pick(0, 6))
	if w.calm = w.chance(30) && !w.returning; w.calm { // clients may miss messages, and stay to count them
		b.OutboxesBytesMax, b.SlowClient, b.FragmentsBytesMax, b.messageTicks = 0, SlowDrop, 0, 0
		b.OutboxBytesMax = pick(1500, 5000)
	}
	if w.returning {
		b.GroupsPerClient, b.HandshakesMax, b.OutboxesBytesMax, b.FragmentsBytesMax, b.messageTicks, b.heartbeatTicks = 1024, 10_000, 0, 0, 0, 300
		b.addresses.PerAddress, b.HistoryBytesMax, b.RecoveryMax = 0, int64(pick(0, 0, 0, 20_000)), pick(5, 1000)
		w.chooseHealing(&b)
	}
	w.tight = b.laneSlots < 256 || b.laneBytes < 1<<20 || b.backlogBytes < 1<<20 || b.gatherBytes < 12<<20 || b.mayBeTooLoud()
	if w.bearing = w.chance(25) && !w.calm; w.bearing {
		withTokens(&b)
	}
	w.secured = w.chance(40) && b.FragmentsBytesMax == 0
	b.tlsHandshakes = pick(1, 2, 1000)
	pages := 0
	if w.chance(30) {
		pages = pick(2, 5, 9)
		b.withPages()
	}
	loops := pick(1, 2, 3, 8)
	w.hub = newHub(loops, b, loud, dialect.Pusher([16]byte{1}))
	w.loud, w.hasty, w.past, w.restless = w.chance(70) || w.returning, pick(1, 1, 1, 8), newSimPasts(), pick(20, 90)
	w.excepts.are, w.hub.names = w.chance(50), dialect.NewNames([16]byte{1})
	w.hub.homes.Hash = func(group string) uint64 {
		h := fnv.New64a()
		h.Write([]byte(group))
		return h.Sum64()
	}
	w.deflate()
	w.hub.homes.OnTooLoud(w.checkTooLoud)
	w.hub.clientsMax.Store(1 << 20)
	w.hub.wall = w.wall
	w.wakes, w.kicks, w.walks = make([]bool, loops), make([]bool, loops), make([]*simWalk, loops)
	w.borrowing.held, w.borrowing.cruel = make([]*heldShard, loops), w.chance(30)
	portable := w.rng.IntN(4) == 0
	for i, s := range w.hub.shards {
		s.env = env{
			now:   func() int64 { w.nanos += 50; return w.nanos },
			wake:  func() { w.wakes[i] = true },
			kick:  func() { w.must(!w.kicks[i], "two kicks under way on loop %d", i); w.kicks[i] = true },
			yield: func() {}, send: w.send,
			cut: func(c conn) { c.(*socket).close() }, hand: w.hand, secure: w.secure,
			shut:  func(fd int) { w.fds[fd].shut = true },
			names: func(c conn) (string, string) { return "local", fmt.Sprint(c.Fd()) },
			panic: func(p any) {
				if _, made := p.(simPanic); !made {
					panic(fmt.Sprintf("seed %d step %d: %v", w.seed, w.step, p))
				}
			},
		}
		if portable {
			s.env.send = nil
		}
	}
	if w.chance(30) {
		w.orderer = w.newOrderer()
	}
	w.port, _ = w.hub.NewPort()
	w.tooLoud = map[int]int{}
	if w.chance(50) {
		w.feed = w.newFeed()
	}
	for i := range pick(1, 3, 6) {
		w.groups = append(w.groups, fmt.Sprintf("group-%d", i))
	}
	actors := pick(2, 5, 20)
	if w.returning {
		actors = min(actors, 6)
	}
	for i := range actors {
		w.actors = append(w.actors, w.newActor(i))
	}
	for i := range pages {
		w.pages.all = append(w.pages.all, w.newPage(i))
	}
	return w
}

// must ends the test with all that is needed to see the failure again.
func (w *world) must(ok bool, format string, args ...any) {
	if !ok {
		w.t.Helper() // only here: it takes half of the simulation's time
		w.t.Fatalf("seed %d, step %d: %s\nreplay: go test ./loop -run Simulated -sim.seed %d",
			w.seed, w.step, fmt.Sprintf(format, args...), w.seed)
	}
}

func (w *world) chance(percent int) bool { return w.rng.IntN(100) < percent }

// run is a life: some thousand random events, then peace, then everybody leaves.
func (w *world) run() {
	for w.step = 1; w.step <= 1500; w.step++ { // 0 is no step: who has joined knows when
		w.noteKicks()
		if w.chance(60) { // all loops have slept since the last event
			w.nanos += busyGap
		}
		w.borrowSomewhere()
		w.orderer.event()
		if w.chance(10) {
			w.heldElsewhere(w.event)
		} else {
			w.event()
		}
		w.pageEvent()
		if w.deflating.chance(30) {
			w.compress(false)
		}
		w.choke()
		if w.returning && w.chance(5) {
			w.letAllGo()
			w.round()
		}
		w.checkKicks()
		w.checkBounds()
		w.checkHeadcounts()
		w.checkFlights()
		w.checkIndexes()
		w.checkReplays()
		w.checkPresence()
	}
	for _, a := range w.actors {
		a.stalled = false
	}
	w.feed.wakeUp()
	w.letAllGo()
	w.settle()
	for ticks := 0; ticks == 0 || w.replaysWait() && ticks < 100; ticks++ {
		w.hub.beat() // a client that has nothing else to hear is told of its gap by the next tick, and of the past of its next group
		w.settle()
	}
	w.checkFlights()
	w.checkBorrowing()
	numbers := w.checkSaid()
	w.checkPages()
	w.checkEnd()
	w.checkMembers()
	w.checkNoReplays()
	w.checkLacks(numbers)
	w.checkCompany()
	for _, a := range w.actors {
		if w.chance(50) {
			a.leaveAll()
		} else {
			a.hangUp()
		}
	}
	for _, p := range w.pages.all {
		p.hangUp()
	}
	w.settle()
	for _, a := range w.actors {
		a.hangUp()
	}
	w.settle()
	w.checkEmpty()
}

// event is one thing that happens somewhere.
func (w *world) event() {
	a := w.actors[w.rng.IntN(len(w.actors))]
	loop := w.rng.IntN(len(w.hub.shards))
	switch n := w.rng.IntN(100); {
	case n < 22:
		a.act()
	case n < 45:
		a.deliver(1 + w.rng.IntN(200))
	case n < 60:
		w.wake(loop)
	case n < 68:
		w.kick(loop)
	case n < 82:
		if !a.stalled {
			a.read(1 + w.rng.IntN(400))
		}
	case n < 90:
		a.sock.writable()
	case n < 93:
		a.stalled = !a.stalled
	case n < 94 && w.bearing && w.chance(50):
		w.reach(a)
	case n < 94 && w.changing:
		w.changeBounds()
	case n < 94 && w.restless > 50 && !w.calm:
		if a.sock.gone() {
			a.connect()
		} else if len(a.places) > 0 {
			a.die()
		}
	case n < 95:
		for range w.hasty {
			w.hub.beat()
		}
		if w.hub.shards[0].rates.on || w.bearing {
			w.nanos += int64(tickPeriod)
		}
		if w.chance(50) {
			w.checkOutboxes()
		}
		w.list(loop)
		w.endDeparted(50)
	case n < 96:
		w.publishByPort(w.groups[w.rng.IntN(len(w.groups))])
	case n < 97:
		w.publishPatiently()
	case n < 98 && w.chance(95):
		w.feed.event()
	case n < 98:
		w.limitAddresses(w.rng.IntN(4))
	case n < 99 && !w.calm && w.chance(10+w.restless):
		a.die()
	default:
		if a.sock.gone() {
			a.connect()
		}
	}
}

func (w *world) wake(loop int) {
	if w.wakes[loop] {
		w.wakes[loop] = false
		w.enter(w.hub.shards[loop]).woken()
	}
}

func (w *world) kick(loop int) {
	if w.kicks[loop] {
		w.kicks[loop], w.kickRan = false, true
		w.enter(w.hub.shards[loop]).kickedAwake()
	}
}
