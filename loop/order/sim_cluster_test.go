package order

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"
)

// The simulation of a cluster runs several tables of homes, each a machine, and a log in which they put what is published in order: late,
// never, or though they have said that they did not. All in one goroutine, as the simulation of one table; a seed is a whole world.

func TestGroupsKeepOneOrderOnSimulatedMachines(t *testing.T) {
	history := Kind{Messages: 1000, TTL: 1 << 20}
	present := history
	present.Presence = true
	for _, shape := range []clusterShape{
		{name: "one", machines: 1, loops: 1, slots: 4, partitions: 1, kinds: []Kind{{}, history}, seeds: 150},
		{name: "plain", machines: 3, loops: 3, slots: 4, partitions: 3, kinds: make([]Kind, 4), feeds: true, seeds: 150},
		{name: "few-slots", machines: 3, loops: 2, slots: 1, partitions: 4, kinds: []Kind{{}, history, {Presence: true}, present, history}, feeds: true, seeds: 150},
		{name: "refused", machines: 2, loops: 3, slots: 4, partitions: 2, kinds: []Kind{{}, history, {}}, refusing: 25, full: 20, seeds: 150},
		{name: "resumes", machines: 2, loops: 2, slots: 8, partitions: 2, kinds: []Kind{history, present, history}, restarts: 8, forgetting: 10, sure: true, seeds: 200},
		{name: "recalls", machines: 3, loops: 2, slots: 4, partitions: 2, kinds: []Kind{history, {Messages: 3, TTL: 1 << 20}, {Messages: 20, TTL: 4}}, restarts: 8, failing: 20, partial: true, logMax: 12, forgetting: 10, seeds: 200},
		{name: "keys", machines: 3, loops: 2, slots: 8, partitions: 2, kinds: []Kind{{}, history, history}, keyed: 60, refusing: 15, restarts: 2, seeds: 200},
		{name: "epochs", machines: 2, loops: 2, slots: 4, partitions: 2, kinds: []Kind{{}, history, history}, losses: 40, restarts: 6, failing: 5, refusing: 5, seeds: 200},
		{name: "loud", machines: 2, loops: 3, slots: 16, partitions: 3, kinds: []Kind{{}, history, {}}, flight: 1500, least: 300, gather: 3000, feeds: true, seeds: 150},
		{name: "fast", machines: 3, loops: 2, slots: 4, partitions: 2, kinds: []Kind{{Fast: true}, history, {Fast: true}}, feeds: true, seeds: 150},
		{name: "bytes", machines: 2, loops: 2, slots: 8, bytes: 500, partitions: 3, kinds: []Kind{history, history, history, {Messages: 5, TTL: 1 << 20}}, historyMax: 2500, restarts: 4, seeds: 200},
		{name: "all", machines: 3, loops: 3, slots: 4, partitions: 3, kinds: []Kind{{}, present, {Messages: 4, TTL: 6}, {Fast: true, Presence: true}, history}, restarts: 4, losses: 3, failing: 10, partial: true,
			logMax: 20, forgetting: 10, keyed: 30, refusing: 10, full: 5, changing: true, historyMax: 6000, feeds: true, flight: 3000, least: 300, gather: 4000, seeds: 200},
	} {
		shape.logMax, shape.bytes = cmp.Or(shape.logMax, 1<<20), cmp.Or(shape.bytes, 1<<20)
		shape.flight, shape.least, shape.gather = cmp.Or(shape.flight, 1<<20), cmp.Or(shape.least, 1<<20), cmp.Or(shape.gather, 1<<20)
		t.Run(shape.name, func(t *testing.T) {
			sum := clusterCounts{refused: map[error]int{}}
			for seed := uint64(1); seed <= uint64(cmp.Or(*simMore, simSeeds(shape.seeds))); seed++ {
				if *simSeed == 0 || *simSeed == seed {
					c := newCluster(t, shape, seed)
					c.run()
					sum.add(&c.count)
				}
			}
			if simWhole() {
				sum.check(t, &shape)
			}
		})
	}
}

type clusterShape struct {
	name                          string
	machines, loops, slots, bytes int // loops: at most, of a machine
	partitions                    int
	kinds                         []Kind // by group
	feeds                         bool
	refusing, full                int  // of 100 publishes: so many the log refuses in each way, so many the orderer does not take
	failing                       int  // of 100 recalls
	partial                       bool // recalls have not all
	logMax                        int  // messages of a group that the log keeps
	restarts, losses              int  // of 10,000 events
	keyed, forgetting             int  // of 100 publishes, of 100 questions
	changing                      bool // kinds change
	sure                          bool // nothing is lost, so all that can be recovered must be
	historyMax                    int64
	flight, least, gather         int // as in simShape
	seeds                         int
}

// simLogKeyTicks is for how long the log knows a key: not as long as homes do.
const simLogKeyTicks = simKeyTicks / 2

// simTick is how long a tick is.
const simTick = time.Second

// simCluster is a simulated cluster.
type simCluster struct {
	clusterShape
	t    *testing.T
	rng  *rand.Rand
	seed uint64
	step int
	now  uint32
	fair bool // nothing is refused any more

	machines   []*simMachine
	partitions []*simPartition
	groups     map[string][]*simEntry // what was put in order, of all epochs
	publishes  []*simPublish
	asks       []*nodeAsk // of clients
	clients    uint64
	positions  map[string][]Position // that clients of a group were told
	lastOf     map[senderIn]int      // the last publish of each that was put in order
	count      clusterCounts
}

func newCluster(t *testing.T, shape clusterShape, seed uint64) *simCluster {
	c := &simCluster{clusterShape: shape, t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 16)), now: 1<<32 - 40,
		groups: map[string][]*simEntry{}, positions: map[string][]Position{}, lastOf: map[senderIn]int{}, count: clusterCounts{refused: map[error]int{}}}
	c.kinds = append([]Kind(nil), shape.kinds...)
	for i := range c.kinds {
		c.kinds[i].Cache = uint32(seed%2) << 20
	}
	for i := range shape.partitions {
		c.partitions = append(c.partitions, &simPartition{number: i, epoch: Epoch(100*i + 1), ids: map[keyName]*simEntry{}, tip: uint64(c.rng.IntN(2))})
	}
	c.machines = make([]*simMachine, shape.machines)
	for i := range c.machines {
		c.machines[i] = c.newMachine(i, 0)
	}
	return c
}

func (c *simCluster) must(ok bool, format string, args ...any) {
	if !ok {
		c.t.Helper()
		c.t.Fatalf("seed %d, step %d: %s\nreplay: go test ./loop/order -run 'SimulatedMachines/%s$' -sim.seed %d",
			c.seed, c.step, fmt.Sprintf(format, args...), c.name, c.seed)
	}
}

func (c *simCluster) number(group string) int { n, _ := strconv.Atoi(group); return n }

func (c *simCluster) partitionOf(group string) int { return c.number(group) % len(c.partitions) }

func (c *simCluster) run() {
	for c.step = range 800 {
		c.event()
	}
	c.settle()
	c.checkPublishes()
	for _, a := range c.asks {
		c.must(a.answers == 1 || a.m != c.machines[a.m.number], "%s, loop %d: request %d of group %s is answered %d times", a.m, a.loop, a.op, a.group, a.answers)
	}
	for _, m := range c.machines {
		m.checkHeard()
		m.checkPresent()
		m.checkCached()
		for i, l := range m.loops {
			for group, p := range l.parts {
				for p != nil && p.members > 0 {
					m.leave(l, group)
				}
			}
			m.loops[i].woken = true
		}
	}
	c.settle()
	for _, m := range c.machines {
		m.checkForgotten()
	}
}

// event is one thing that happens somewhere.
func (c *simCluster) event() {
	m := c.machines[c.rng.IntN(len(c.machines))]
	p := c.partitions[c.rng.IntN(len(c.partitions))]
	loop, group := c.rng.IntN(len(m.loops)), c.rng.IntN(len(c.kinds))
	l := m.loops[loop]
	switch n := c.rng.IntN(100); {
	case n < 8:
		m.join(loop, group)
	case n < 12:
		m.leave(l, group)
	case n < 24:
		m.publish(loop, group)
	case n < 30:
		m.publishByPort(group)
	case n < 33:
		m.question(group)
	case n < 35:
		m.readHistory(loop, group)
	case n < 37:
		if home := c.rng.IntN(len(m.held)); m.held[home] == nil {
			m.held[home], _ = m.hs.Home(home).Hold()
		} else {
			m.letGo(home)
		}
	case n < 39:
		c.passTime(m, loop)
	case n < 41:
		m.takeFromFeed(1 + c.rng.IntN(4))
	case n < 54:
		for range 1 + c.rng.IntN(4) {
			m.advance(p)
		}
	case n < 55 && c.refusing > 0:
		m.unconfirm(p)
	case n < 66:
		m.read(p, 1+c.rng.IntN(8))
	case n < 71:
		m.recall()
	case n < 75:
		m.say()
	case n < 78:
		m.readFast()
	case n < 80:
		m.answers()
	case n < 81:
		switch n := c.rng.IntN(100); {
		case n < c.restarts:
			c.restart(m.number)
		case n < c.restarts+c.losses:
			c.lose(p)
		}
	default:
		if l.woken {
			m.turn(loop, c.rng.IntN(5))
		}
	}
	m.checkHomes()
}

// passTime has time go on, or kinds change, or a loop expire what is over.
func (c *simCluster) passTime(m *simMachine, loop int) {
	switch n := c.rng.IntN(12); {
	case n == 0 && c.changing:
		if group := c.rng.IntN(len(c.kinds)); !c.kinds[group].Fast {
			c.kinds[group].Messages, c.kinds[group].TTL = []int{0, 1, 3, 1000}[c.rng.IntN(4)], []uint32{1, 4, 1 << 20}[c.rng.IntN(3)]
			for _, m := range c.machines {
				m.hs.KindsChanged()
			}
		}
	case n < 3:
		c.now += uint32(c.rng.IntN(3))
	default:
		m.loops[loop].lanes.Expire(1 + c.rng.IntN(4))
		m.loops[loop].woken = true
	}
}

// settle lets everything that is under way arrive, and nothing be refused any more.
func (c *simCluster) settle() {
	c.fair = true
	for quiet := 0; quiet < 2; quiet++ {
		for _, m := range c.machines {
			moved := m.turnAll()
			for _, p := range c.partitions {
				for m.advance(p) {
					moved = true
				}
				moved = m.read(p, 1<<20) || moved
			}
			for _, step := range []func() bool{m.say, m.recall, m.readFast} {
				for step() {
					moved = true
				}
			}
			if moved {
				quiet = 0
			}
		}
	}
	c.fair = false
	for _, m := range c.machines {
		c.must(len(m.tells)+len(m.recalls)+len(m.fast) == 0, "%s: at rest %d words, %d recalls and %d fast messages wait", m, len(m.tells), len(m.recalls), len(m.fast))
		for i, l := range m.loops {
			c.must(m.hs.Depth(i) == 0 && m.hs.Home(i).Idle() && l.lanes.Idle(), "%s, loop %d: %d items are left, home idle %v, loop idle %v",
				m, i, m.hs.Depth(i), m.hs.Home(i).Idle(), l.lanes.Idle())
			c.must(l.lanes.inFlight() == 0 && l.gathered == 0, "%s, loop %d: at rest %d bytes are in flight, %d gathered", m, i, l.lanes.inFlight(), l.gathered)
		}
		for _, p := range c.partitions {
			r := m.readers[p.number]
			c.must(r.epoch == p.epoch && r.at == len(p.entries) && len(m.queues[p.number]) == 0, "%s: at rest it has %d of %d entries", m, r.at, len(p.entries))
		}
	}
}
