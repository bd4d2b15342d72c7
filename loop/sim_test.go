package loop

import (
	"flag"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/netip"
	"syscall"
	"testing"

	"ringcast/loop/order"

	"ringcast/loop/assert"
	"ringcast/loop/door"
)

// The simulation runs a whole hub in one goroutine: shards are called back one at a time, in an order that a seed
// chooses, on sockets and a clock that are made up. Between two callbacks anything may happen that may happen between
// two real ones: bytes arrive in any portions, peers stall, read, break off, wake-ups come late, lanes are full. What
// peers receive is held against the promises (sim_actor_test.go). A seed is a whole world: the same seed, the same run.

var (
	simSeed  = flag.Uint64("sim.seed", 0, "replay the simulation of this seed alone")
	simSeeds = flag.Int("sim.seeds", 1000, "how many seeds the simulation runs (a quarter under the race detector)")
)

func TestPromisesHoldInSimulatedWorlds(t *testing.T) {
	if *simSeed != 0 {
		newWorld(t, *simSeed).run()
		return
	}
	seeds := *simSeeds
	if assert.On {
		seeds = (seeds + 3) / 4
	}
	var sum simSum
	for seed := uint64(1); seed <= uint64(seeds) && !t.Failed(); seed++ {
		w := newWorld(t, seed)
		w.run()
		sum.add(w)
	}
	if !t.Failed() {
		sum.check(t)
	}
}

// world is one simulated process with its peers.
type world struct {
	t         *testing.T
	seed      uint64
	rng       *rand.Rand
	hub       *Hub
	port      *Port
	nanos     int64
	step      int
	wakes     []bool // by shard: a wake-up is under way
	kicks     []bool
	fds       map[int]*socket // open descriptors; numbers are used again at once, as a kernel does
	actors    []*actor
	groups    []string
	order     map[string][][]int // per group: what each actor saw, for the total order
	sent      []*simMessage
	before    []kickState
	kickRan   bool
	feed      *simFeed // nil: this world has none
	patient   *simWaiter
	stranger  bool   // somebody who is no actor may publish
	exactGaps uint64 // messages that were dropped, in a world where every client has told how many
	calm      bool   // no client ends of its own will
	missed    uint64 // by the gaps that earlier lives heard
	uncounted bool   // some life ended without hearing all that there was to hear
	tight     bool   // bounds so small that refusals are expected
	loud      bool   // half of the clients are of another dialect
	changing  bool   // an operator changes bounds on groups, members and rates now and then

	awayAtOnce uint64 // connections refused before they were clients
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{
		t: t, seed: seed, rng: rand.New(rand.NewPCG(seed, 2206)),
		fds: map[int]*socket{}, order: map[string][][]int{},
	}
	pick := func(of ...int) int { return of[w.rng.IntN(len(of))] }
	b := defaultBounds()
	b.laneSlots = pick(2, 4, 16, 256)
	b.laneBytes = pick(600, 4000, 1<<20)
	b.backlogBytes = pick(400, 3000, 1<<20)
	b.gatherBytes = pick(300, 5000, 4<<20)
	b.batchBytes = pick(100, 1000, 256<<10)
	b.OutboxBytesMax = pick(1500, 20000, 1<<20)
	b.MessageBytesMax = 2000
	b.GroupsPerClient = pick(2, 4, 1024)
	w.changing = w.rng.IntN(4) == 0
	w.chooseBounds(&b)
	b.passNanos = int64(pick(3000, 50_000, 1_000_000))
	b.handshakeTicks, b.closeTicks = 40, 5
	b.heartbeatTicks = uint32(pick(0, 6, 300))
	b.HandshakesMax = pick(2, 10, 10_000)
	b.addresses.PerAddress = pick(0, 0, 1, 3)
	b.addresses.Proxies = simProxies[:pick(0, 1)]
	b.addresses.ProxyProtocol = w.chance(50)
	b.OutboxesBytesMax = int64(pick(0, 0, 0, 3000, 30_000))
	b.DropSlow = w.chance(60)
	b.FragmentsBytesMax = int64(pick(0, 0, 0, 2000))
	b.messageTicks = uint32(pick(0, 6))
	if w.calm = w.chance(30); w.calm { // clients may miss messages, and stay to count them
		b.OutboxesBytesMax, b.DropSlow, b.FragmentsBytesMax, b.messageTicks = 0, true, 0, 0
		b.OutboxBytesMax = pick(1500, 5000)
	}
	w.tight = b.laneSlots < 256 || b.laneBytes < 1<<20 || b.backlogBytes < 1<<20 || b.gatherBytes < 4<<20
	loops := pick(1, 2, 3, 8)
	w.hub = newHub(loops, b, []byte("page"), loud)
	w.loud = w.chance(50)
	w.hub.homes.Hash = func(group string) uint64 {
		h := fnv.New64a()
		h.Write([]byte(group))
		return h.Sum64()
	}
	w.hub.clientsMax.Store(1 << 20)
	w.wakes, w.kicks = make([]bool, loops), make([]bool, loops)
	portable := w.rng.IntN(4) == 0
	for i, s := range w.hub.shards {
		s.env = env{
			now:   func() int64 { w.nanos += 50; return w.nanos },
			wake:  func() { w.wakes[i] = true },
			kick:  func() { w.must(!w.kicks[i], "two kicks under way on loop %d", i); w.kicks[i] = true },
			yield: func() {},
			send:  w.send,
			cut:   func(c conn) { c.(*socket).close() },
			shut:  func(fd int) { w.fds[fd].shut = true },
			names: func(c conn) (string, string) { return "local", fmt.Sprint(c.Fd()) },
			panic: func(p any) { panic(fmt.Sprintf("seed %d step %d: %v", w.seed, w.step, p)) },
		}
		if portable {
			s.env.send = nil
		}
	}
	w.port, _ = w.hub.NewPort()
	if w.chance(50) {
		w.feed = w.newFeed()
	}
	for i := range pick(1, 3, 6) {
		w.groups = append(w.groups, fmt.Sprintf("group-%d", i))
	}
	for i := range pick(2, 5, 20) {
		w.actors = append(w.actors, w.newActor(i))
	}
	return w
}

// chooseBounds sets those that an operator may change under way.
func (w *world) chooseBounds(b *bounds) {
	pick := func(of ...int) int { return of[w.rng.IntN(len(of))] }
	b.GroupsMax = pick(0, 0, 1, 2, 5)
	b.MembersMax = pick(0, 0, 1, 2, 4, 8)
	b.Kinds = [][]Kind{nil, nil, {{Match: "*-0", MembersMax: pick(0, 1, 3)}, {Match: "gr*p-1*", MembersMax: pick(0, 2)}}}[w.rng.IntN(3)]
	b.CommandsPerSecond = pick(0, 0, 0, 10, 50)
	b.BytesPerSecond = pick(0, 0, 0, 2_000, 20_000)
}

// changeBounds has every loop go over to other bounds, each when it next looks.
func (w *world) changeBounds() {
	b := *w.hub.bounds.Load()
	w.chooseBounds(&b)
	w.hub.bounds.Store(&b)
	for i, s := range w.hub.shards {
		s.calls.add(func(s *shard) { s.adopt(&b) })
		w.hub.wake(i)
	}
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
	for w.step = 0; w.step < 1500; w.step++ {
		w.noteKicks()
		if w.chance(60) { // all loops have slept since the last event
			w.nanos += busyGap
		}
		if w.chance(10) {
			w.heldElsewhere(w.event)
		} else {
			w.event()
		}
		w.checkKicks()
		w.checkBounds()
		w.checkHeadcounts()
	}
	for _, a := range w.actors {
		a.stalled = false
	}
	w.feed.wakeUp()
	w.settle()
	w.hub.beat() // a client that has nothing else to hear is told of its gap by the next tick
	w.settle()
	w.checkEnd()
	w.checkMembers()
	for _, a := range w.actors {
		if w.chance(50) {
			a.leaveAll()
		} else {
			a.hangUp()
		}
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
	case n < 94 && w.changing:
		w.changeBounds()
	case n < 95:
		w.hub.beat()
		if w.hub.shards[0].rates.on {
			w.nanos += int64(tickPeriod)
		}
		if w.chance(50) {
			w.checkOutboxes()
		}
	case n < 96:
		w.publishByPort()
	case n < 97:
		w.publishPatiently()
	case n < 98 && w.chance(95):
		w.feed.event()
	case n < 98:
		w.limitAddresses(w.rng.IntN(4))
	case n < 99 && !w.calm && w.chance(30):
		a.die()
	default:
		if a.sock.gone() {
			a.connect()
		}
	}
}

// heldElsewhere has an event happen while another loop, of those that are not called meanwhile, holds a home, and has
// that loop look again as it lets go. In truth the two run at the same time.
func (w *world) heldElsewhere(event func()) {
	home := w.rng.IntN(len(w.hub.shards))
	h := w.hub.homes.Home(home)
	w.must(h.TryHold(), "home %d is held at rest", home)
	before := h.Waiting()
	event()
	h.LetGo()
	w.must(h.Waiting() >= before, "home %d was served while another loop held it", home)
	if h.Called() {
		host := w.hub.shards[w.rng.IntN(len(w.hub.shards))]
		host.lanes.ToHost(home)
		w.wakes[host.index] = false
		host.woken()
	}
}

func (w *world) wake(loop int) {
	if w.wakes[loop] {
		w.wakes[loop] = false
		w.hub.shards[loop].woken()
	}
}

func (w *world) kick(loop int) {
	if w.kicks[loop] {
		w.kicks[loop], w.kickRan = false, true
		w.hub.shards[loop].kickedAwake()
	}
}

// settle lets everything that is under way arrive. Time does not pass: nothing may depend on a timeout to get through.
func (w *world) settle() {
	for quiet := 0; quiet < 3; {
		before := w.progress()
		w.round()
		w.must(w.step < 1_000_000, "the world does not come to rest")
		if w.progress() == before {
			quiet++
		} else {
			quiet = 0
		}
	}
}

// round does whatever can be done, once.
func (w *world) round() {
	w.step++
	for i := range w.hub.shards {
		w.wake(i)
		w.kick(i)
	}
	w.retryPatiently()
	w.feed.take(1 << 20)
	for _, a := range w.actors {
		a.deliver(1 << 20)
		a.sock.writable()
		a.read(1 << 20)
	}
}

// progress is a number that changes whenever anything moves.
func (w *world) progress() (n uint64) {
	for i, r := range w.hub.Snapshot().Loops {
		n += r.BytesIn + r.BytesOut + r.Published + r.Deliveries + r.MessagesIn
		if w.wakes[i] || w.kicks[i] {
			n += uint64(w.step) << 32
		}
	}
	for _, a := range w.actors {
		n += uint64(a.readBytes)
	}
	return n + w.feed.taken()
}

func (w *world) publishByPort() {
	group := w.groups[w.rng.IntN(len(w.groups))]
	m := w.newMessage(nil, group)
	switch err := w.port.Publish(group, []byte(m.text)); err {
	case nil:
		m.accepted = true
	case ErrBusy:
		w.must(w.tight, "a port was refused though lanes are large")
	default:
		w.must(false, "port: %v", err)
	}
}

// checkBounds holds what each shard keeps against its bounds.
func (w *world) checkBounds() {
	b := w.hub.bounds.Load()
	for i, s := range w.hub.shards {
		w.must(s.backlog.bytes <= b.backlogBytes, "loop %d: backlog %d bytes, bound %d", i, s.backlog.bytes, b.backlogBytes)
		w.must(s.passes.gathered >= 0 && s.passes.gathered <= b.gatherBytes+len(w.hub.dialects)*(200+b.MessageBytesMax),
			"loop %d: gathered %d bytes, bound %d", i, s.passes.gathered, b.gatherBytes)
		w.must(!s.callback.running(), "loop %d: still inside", i)
	}
	w.checkSeats()
	w.checkPartials()
	for fd, sock := range w.fds {
		most := b.OutboxBytesMax + max(b.batchBytes, b.MessageBytesMax+4, replyBytesMax+512) + 200
		w.must(len(sock.outbound) <= most, "descriptor %d: %d bytes in the outbox, bound %d", fd, len(sock.outbound), most)
	}
}

// checkHeadcounts holds every headcount against the bound, and against the places that somebody has: a member, or a client that is
// still to be told. It is so at every moment, not only at rest.
func (w *world) checkHeadcounts() {
	b := w.hub.bounds.Load()
	places, headcounts := map[string]int{}, map[string]int{}
	for _, s := range w.hub.shards {
		for name, g := range s.groups.All() {
			places[name] += g.size()
			w.must(g.empty() || g.headcount != nil, "group %s has members on loop %d and no headcount", name, s.index)
		}
		s.lanes.EachWaiting(func(d *delivery) {
			if d.Op == order.OpJoined {
				places[d.Local.name]++
			}
		})
	}
	begun := 0
	for _, s := range w.hub.shards {
		w.hub.homes.Home(s.index).Each(func(name string, count *order.Headcount, parts []*group) {
			n := count.Members()
			headcounts[name] = n
			w.must(n == places[name], "group %s: %d on the headcount, %d places taken", name, n, places[name])
			most := b.kindOf(name).MembersMax
			w.must(w.changing || most == 0 || n <= most, "group %s: %d members, bound %d", name, n, most)
			if n > 0 {
				begun++
			}
			for _, g := range parts {
				w.must(g.headcount == nil || g.headcount == count, "group %s: a loop has another headcount", name)
			}
		})
	}
	for name, n := range places {
		w.must(headcounts[name] == n, "group %s: %d places taken, %d on the headcount", name, n, headcounts[name])
	}
	w.must(w.hub.homes.Census.Groups() == begun, "%d groups counted, %d have members", w.hub.homes.Census.Groups(), begun)
	w.must(w.changing || b.GroupsMax == 0 || begun <= b.GroupsMax, "%d groups, bound %d", begun, b.GroupsMax)
	for i, s := range w.hub.shards {
		for _, r := range []*rate{&s.rates.commands, &s.rates.bytes} {
			w.must(r.perSecond == 0 && r.due == nil || len(r.due) == len(s.clients),
				"loop %d: %d rates for %d clients", i, len(r.due), len(s.clients))
		}
	}
}

// checkMembers holds what peers were told against what is so, at rest.
func (w *world) checkMembers() {
	for _, s := range w.hub.shards {
		for name, g := range s.groups.All() {
			w.must(g.asked == 0, "group %s: loop %d waits for the home's word at rest", name, s.index)
		}
	}
	for _, a := range w.actors {
		if a.sock.closed || a.closing || a.killed || a.said || !a.upgraded || len(a.toServer) > 0 {
			continue
		}
		for name, m := range a.joined {
			g, member := a.sock.shard.groups.Get(name), false
			if g != nil {
				if at := a.sock.client.memberOf(g); at >= 0 {
					member = true
					pos := a.sock.client.membership(at).pos
					w.must(g.audience(a.sock.client.form()).members[pos] == a.sock.client, "actor %d: not among the members of %s", a.index, name)
				}
			}
			w.must(member || m.unsure || m.ackedAt == 0, "actor %d was told that it is in %s, and is not", a.index, name)
			w.must(member || !m.silent, "actor %d was not told that it is not in %s", a.index, name)
			w.must(!member || !m.out(), "actor %d was told that it is not in %s, and is", a.index, name)
		}
	}
}

// checkOutboxes has all loops notice a tick, in which each looks at its slow clients: behind it the books are right.
func (w *world) checkOutboxes() {
	all := int64(0)
	for i, s := range w.hub.shards {
		w.wakes[i] = false
		s.woken()
		held := int64(0)
		for _, sock := range w.fds {
			if n := len(sock.outbound); sock.shard == s && n > 0 {
				held += int64(n)
				x := sock.client.extra
				w.must(x != nil && x.slow > 0 && s.slow.list[x.slow-1].client == sock.client && sock.client.slow,
					"descriptor %d: %d bytes in the outbox, and no loop knows", sock.fd, n)
			}
		}
		w.must(s.relief.outboxes.Load() == held, "loop %d: outboxes hold %d bytes, its books say %d", i, held, s.relief.outboxes.Load())
		w.must(s.count.Slow.Load() == int64(len(s.slow.list)), "loop %d: %d clients are slow, counted %d", i, len(s.slow.list), s.count.Slow.Load())
		all += held
	}
	w.must(w.hub.outboxes.Load() == all, "all outboxes hold %d bytes, the books say %d", all, w.hub.outboxes.Load())
}

// checkPartials holds the books of partial input against what clients really hold.
func (w *world) checkPartials() {
	all, clients := int64(0), int64(0)
	for i, s := range w.hub.shards {
		held := int64(0)
		for _, c := range s.clients {
			if x := c.extra; x != nil && (x.reader != nil || x.head != nil) {
				n := cap(x.head)
				if x.reader != nil {
					n = readerBytes + x.reader.Held()
				}
				w.must(x.partial > 0 && s.partials.list[x.partial-1] == partial{c, n, s.partials.list[x.partial-1].since},
					"loop %d: client %d holds %d bytes unfinished, its books say otherwise", i, c.id(), n)
				held += int64(n)
				clients++
			}
		}
		w.must(s.count.FragmentBytes.Load() == held, "loop %d: %d bytes unfinished, its books say %d", i, held, s.count.FragmentBytes.Load())
		all += held
	}
	w.must(w.hub.partials.bytes.Load() == all && w.hub.partials.clients.Load() == clients, "%d bytes of %d clients unfinished, the books say %d of %d",
		all, clients, w.hub.partials.bytes.Load(), w.hub.partials.clients.Load())
}

// kickState is what checkKicks needs to know from before an event.
type kickState struct {
	kicked     bool // for passes: one that is for what was deferred may be overtaken
	deliveries uint64
}

func (w *world) noteKicks() {
	w.before = w.before[:0]
	for _, s := range w.hub.shards {
		w.before = append(w.before, kickState{s.kicked && !s.deferral.on, s.count.Deliveries.Load()})
	}
}

// checkKicks: while a kick is under way only that kick runs passes; else each callback would spend a budget of its own
// and the sockets would wait for all of them.
func (w *world) checkKicks() {
	for i, was := range w.before {
		s := w.hub.shards[i]
		stillUnderWay := was.kicked && w.kicks[i] && !w.kickRan
		w.must(!stillUnderWay || s.count.Deliveries.Load() == was.deliveries, "loop %d: a pass ran before its kick", i)
	}
	w.kickRan = false
}

// socket is a made-up connection: what the kernel and gnet keep of it, and the peer's end.
type socket struct {
	w        *world
	shard    *shard
	fd       int
	client   *client
	kernel   []byte // sent, not read by the peer yet
	outbound []byte // gnet's outbound buffer
	room     int    // of the kernel's buffer
	broken   bool   // writes fail
	closed   bool   // gnet has closed it
	shut     bool   // our direction has ended
	lost     bool   // closed with bytes queued that the peer would not take
}

// simProxies are trusted in some worlds.
var simProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}

// limitAddresses changes the bound on connections from one address as a reload would.
func (w *world) limitAddresses(most int) {
	b := *w.hub.bounds.Load()
	b.addresses.PerAddress = most
	w.hub.bounds.Store(&b)
	for _, s := range w.hub.shards {
		s.adopt(&b)
	}
}

// checkSeats: the table of addresses counts those clients who have a seat, and no others.
func (w *world) checkSeats() {
	want := map[door.Address]int{}
	for _, s := range w.hub.shards {
		for _, c := range s.clients {
			if a, seated := c.source().Seat(); seated {
				want[a]++
			}
		}
	}
	seats := w.hub.addresses.Seats()
	for a, n := range seats {
		w.must(n == want[a], "address %x: %d seats are taken, %d clients have one", a, n, want[a])
	}
	w.must(len(seats) == len(want), "%d addresses in the table, %d with clients", len(seats), len(want))
}

// peerAddress is where the next connection comes from: one of few, or the proxy that some worlds trust.
func (w *world) peerAddress() netip.Addr {
	if w.chance(30) {
		return netip.AddrFrom4([4]byte{10, 0, 0, 1})
	}
	return netip.AddrFrom4([4]byte{192, 0, 2, byte(w.rng.IntN(8))})
}

// openSocket connects from somewhere; a second time if it is refused at once.
func (w *world) openSocket() *socket {
	fd := 3
	for w.fds[fd] != nil {
		fd++
	}
	room := []int{64, 700, 1 << 20}[w.rng.IntN(3)]
	sock := &socket{w: w, fd: fd, room: room, shard: w.hub.shards[w.rng.IntN(len(w.hub.shards))]}
	w.fds[fd] = sock
	from, ok := sock.shard.arrive(w.peerAddress())
	if !ok { // then from one that nobody else is from
		w.awayAtOnce++
		from, ok = sock.shard.arrive(netip.AddrFrom4([4]byte{198, 51, byte(w.awayAtOnce >> 8), byte(w.awayAtOnce)}))
		w.must(ok, "the first connection from an address was refused")
	}
	w.must(w.hub.admit(), "admission refused")
	sock.client = sock.shard.opened(sock)
	sock.client.comesFrom(from)
	return sock
}

// send is the raw send: it knows a descriptor, not a connection.
func (w *world) send(fd int, p []byte) sent {
	sock := w.fds[fd]
	w.must(sock != nil, "send to descriptor %d, which is closed", fd)
	w.must(len(sock.outbound) == 0, "send to descriptor %d past its outbox", fd)
	w.must(!sock.shut, "send to descriptor %d after its end", fd)
	w.must(len(p) > 0, "empty send")
	return sock.take(p)
}

// take moves bytes into the kernel's buffer.
func (s *socket) take(p []byte) sent {
	s.w.nanos += 2000 + int64(len(p))
	if s.broken {
		return sent{errno: syscall.EPIPE}
	}
	n := min(len(p), s.room-len(s.kernel))
	if n == 0 {
		return sent{errno: syscall.EAGAIN}
	}
	s.kernel = append(s.kernel, p[:n]...)
	return sent{n: n}
}

// Write does what gnet's does: queue behind what is queued, else send, queue the rest, and close on an error before it
// returns.
func (s *socket) Write(p []byte) (int, error) {
	s.w.must(!s.closed, "write to descriptor %d after its close", s.fd)
	if len(s.outbound) == 0 {
		r := s.take(p)
		if r.errno != 0 && r.errno != syscall.EAGAIN {
			s.close()
			return 0, r.errno
		}
		p = p[r.n:]
	}
	s.outbound = append(s.outbound, p...)
	return len(p), nil
}

func (s *socket) OutboundBuffered() int { return len(s.outbound) }
func (s *socket) Fd() int               { return s.fd }

// writable is gnet's answer to EPOLLOUT.
func (s *socket) writable() {
	if s == nil || s.closed || len(s.outbound) == 0 {
		return
	}
	r := s.take(s.outbound)
	if r.errno != 0 && r.errno != syscall.EAGAIN {
		s.close()
		return
	}
	s.outbound = append([]byte(nil), s.outbound[r.n:]...)
}

// close is gnet's: callback first, then one try to get rid of what is queued.
func (s *socket) close() {
	if s.closed {
		return
	}
	s.closed = true
	s.shard.closed(s.client)
	if n := len(s.outbound); n > 0 {
		s.lost = s.take(s.outbound).n < n
	}
	s.outbound = nil
	delete(s.w.fds, s.fd)
}

func (s *socket) gone() bool { return s == nil || s.closed && len(s.kernel) == 0 }

// simSum shows that the worlds together did what they are meant to: a simulation that never fills a lane tests little.
type simSum struct {
	refused, slow, deliveries, shared, evicted, away uint64
	gaps, dropped, exact, fragments, late            uint64
	tapped, waited                                   uint64
	refusedBy                                        map[string]uint64
}

func (s *simSum) add(w *world) {
	t := w.hub.Snapshot().Total()
	s.refused += t.Refused
	addTo(&s.refusedBy, t.RefusedBy)
	s.slow += t.SlowClosed
	s.deliveries += t.Deliveries
	s.shared += t.Published
	s.tapped += w.feed.taken()
	if w.patient != nil {
		s.waited += uint64(w.patient.waits)
	}
	s.evicted += t.Handshakes["evicted"]
	s.away += t.RefusedClientsBy["address"] + w.awayAtOnce
	s.gaps += t.SlowGaps
	s.dropped += t.SlowDropped
	s.exact += w.exactGaps
	s.fragments += t.FragmentsClosed
	s.late += t.MessageTimeouts
}

func (s *simSum) check(t *testing.T) {
	t.Logf("deliveries %d, publishes %d, refused %v, slow clients closed %d, handshakes evicted %d, refused by address %d",
		s.deliveries, s.shared, s.refusedBy, s.slow, s.evicted, s.away)
	t.Logf("gaps %d for %d messages, %d of them counted by all clients; closed for unfinished messages: %d large, %d late",
		s.gaps, s.dropped, s.exact, s.fragments, s.late)
	t.Logf("feeds heard %d, waits for room %d", s.tapped, s.waited)
	if s.tapped == 0 || s.waited == 0 {
		t.Errorf("the worlds were too quiet: feeds heard %d, waits for room %d", s.tapped, s.waited)
	}
	if s.evicted == 0 || s.away == 0 {
		t.Errorf("the worlds were too roomy: handshakes evicted %d, refused by address %d", s.evicted, s.away)
	}
	if s.gaps == 0 || s.exact == 0 || s.fragments == 0 || s.late == 0 {
		t.Error("the worlds were too kind to slow clients and unfinished messages")
	}
	if s.refused == 0 || s.slow == 0 || s.deliveries < s.shared {
		t.Errorf("the worlds were too quiet: refused %d, slow %d, deliveries %d, publishes %d",
			s.refused, s.slow, s.deliveries, s.shared)
	}
	for _, why := range []refusal{refusedBusy, refusedRate, refusedGroupsPerClient, refusedGroups, refusedMembers} {
		if name := refusalNames[why]; s.refusedBy[name] == 0 {
			t.Errorf("the worlds were too quiet: nothing was refused by %s", name)
		}
	}
}
