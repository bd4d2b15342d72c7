package loop

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"ringcast/dialect"
	"ringcast/loop/order"
	"ringcast/wsproto"
)

// Single situations that the simulation meets too seldom to rely on, step by step on made-up sockets.

// stage is a hub whose wake-ups and kicks a test lets through when it wants.
type stage struct {
	nanos        int64
	busy         bool // time stands still: no loop has slept
	hub          *Hub
	wakes, kicks []bool
}

// newStage makes loops loops; a group's home is the loop that its first digit names.
func newStage(loops int, change func(*bounds), more ...dialect.Entry) *stage {
	b := defaultBounds()
	if change != nil {
		change(&b)
	}
	st := &stage{hub: newHub(loops, b, nil, more...), wakes: make([]bool, loops), kicks: make([]bool, loops)}
	st.hub.clientsMax.Store(100)
	st.hub.homes.Hash = func(group string) uint64 { return uint64(group[0] - '0') }
	for i, s := range st.hub.shards {
		s.env = env{
			now: st.now, yield: func() {}, shut: func(int) {}, panic: func(any) {},
			wake: func() { st.wakes[i] = true },
			kick: func() { st.kicks[i] = true },
			cut: func(c conn) {
				a := c.(*stageConn)
				a.closed = true
				a.shard.closed(a.client)
			},
		}
	}
	return st
}

// now is of a world in which loops have slept before each callback, unless the test says that they are busy.
func (st *stage) now() int64 {
	if !st.busy {
		st.nanos += busyGap
	}
	return st.nanos
}

// settle lets all wake-ups and kicks through.
func (st *stage) settle() {
	for moved := true; moved; {
		moved = false
		for i, s := range st.hub.shards {
			if st.wakes[i] {
				st.wakes[i], moved = false, true
				s.woken()
			}
			if st.kicks[i] {
				st.kicks[i], moved = false, true
				s.kickedAwake()
			}
		}
	}
}

// stageConn takes everything; it can be told to panic at its next write, or to take nothing for a while.
type stageConn struct {
	most   int // bytes of the largest write
	shard  *shard
	client *client
	out    []byte
	queued []byte // what waits while it is stuck
	stuck  bool
	closed bool
	boom   bool
}

func (c *stageConn) Write(p []byte) (int, error) {
	if c.boom {
		c.boom = false
		panic("a write that panics")
	}
	if c.stuck {
		c.queued = append(c.queued, p...)
		return len(p), nil
	}
	c.out = append(c.out, p...)
	c.most = max(c.most, len(p))
	return len(p), nil
}

// take has a stuck connection take n of the bytes that wait.
func (c *stageConn) take(n int) {
	n = min(n, len(c.queued))
	c.out, c.queued = append(c.out, c.queued[:n]...), c.queued[n:]
	c.stuck = len(c.queued) > 0
}

func (c *stageConn) OutboundBuffered() int { return len(c.queued) }
func (c *stageConn) Fd() int               { return 9 }

func (st *stage) enter(loop int) *stageConn { return st.enterAt(loop, "/") }

func (st *stage) enterAt(loop int, path string) *stageConn {
	c := &stageConn{shard: st.hub.shards[loop]}
	st.hub.admit()
	c.client = c.shard.opened(c)
	c.shard.traffic(c.client, []byte(strings.Replace(simRequest, "GET / ", "GET "+path+" ", 1)))
	c.out = nil
	return c
}

// hold has another loop hold a home, until the function it returns is called; that loop then looks again.
func (st *stage) hold(home int) (letGo func()) {
	s := st.hub.shards[home]
	h := st.hub.homes.Home(home)
	h.TryHold()
	return func() {
		h.LetGo()
		s.woken()
	}
}

func (c *stageConn) say(format string, args ...any) {
	c.shard.traffic(c.client, wsproto.AppendMaskedFrame(nil, wsproto.OpText, [4]byte{}, fmt.Appendf(nil, format, args...)))
}

func (c *stageConn) heard(t *testing.T, want string) {
	t.Helper()
	if !strings.Contains(string(c.out), want) {
		t.Errorf("heard %q, want %q in it", c.out, want)
	}
}

// A million clients with 16 bytes more are 16 MB, and a field is added in a second.
func TestAClientFitsItsSizeClass(t *testing.T) {
	if got := unsafe.Sizeof(client{}); got > 80 {
		t.Errorf("a client has %d bytes, want at most 80", got)
	}
}

// See the comment of group.
func TestAGroupsInlineAudienceIsACacheLine(t *testing.T) {
	if got := unsafe.Sizeof(audience{}); got != 64 {
		t.Errorf("an audience has %d bytes, want 64", got)
	}
	if got := unsafe.Sizeof(group{}); got != 128 {
		t.Errorf("a group has %d bytes, want 128", got)
	}
}

// What a membership costs beyond the client itself, averaged over joins: the growth of the group's list.
func TestAClientOfOneGroupIsOneAllocation(t *testing.T) {
	s := fakeHub(1).shards[0]
	join := wsproto.AppendMaskedFrame(nil, wsproto.OpText, [4]byte{}, []byte(`{"cmd":"add_group","group_id":"g"}`))
	in := make([]byte, len(simRequest)+len(join))
	allocs := testing.AllocsPerRun(10_000, func() {
		copy(in[copy(in, simRequest):], join)
		s.hub.connections.Add(1)
		s.traffic(s.opened(nullConn{}), in)
	})
	if allocs != 1 { // an integer: the few that grow lists are rounded away
		t.Errorf("allocations of a client that connects and joins: got %v, want 1", allocs)
	}
	for _, c := range s.clients {
		if c.groupCount() != 1 || c.extra != nil {
			t.Fatalf("client %d: got %d groups, extra %v, want one and nothing beside", c.id(), c.groupCount(), c.extra)
		}
	}
}

func TestARefusedSecondJoinKeepsTheFirst(t *testing.T) {
	st := newStage(2, func(b *bounds) { b.laneSlots, b.backlogBytes = 2, 10 })
	c := st.enter(0)
	letGo := st.hold(1)
	c.say(`{"cmd":"add_group","group_id":"1g","id":1}`)
	c.say(`{"cmd":"send_to_group","group_id":"1g","message":"fills the lane","id":2}`)
	c.say(`{"cmd":"add_group","group_id":"1g","id":3}`)
	c.heard(t, `{"id":3,"error":{"code":"busy"`)
	letGo()
	st.settle()
	c.heard(t, `{"id":1,"ok":true}`)
	c.say(`{"cmd":"send_to_group","group_id":"1g","message":"still a member"}`)
	st.settle()
	c.heard(t, "still a member")
}

func TestAGroupGivenUpWhileParkingIsFullIsReleasedAfterwards(t *testing.T) {
	st := newStage(2, func(b *bounds) { b.laneSlots, b.backlogBytes = 2, 300 })
	member, sender := st.enter(0), st.enter(0)
	member.say(`{"cmd":"add_group","group_id":"1g"}`)
	st.settle()
	letGo := st.hold(1)
	for i := range 3 {
		sender.say(`{"cmd":"send_to_group","group_id":"1x","message":"%150d"}`, i)
	}
	if st.hub.shards[0].backlog.bytes == 0 {
		t.Fatal("the backlog is empty; the test does not test")
	}
	st.hub.shards[0].closed(member.client)
	st.hub.shards[0].closed(sender.client)
	letGo()
	st.settle()
	if total := st.hub.Snapshot().Total(); total.Homes != 0 || st.hub.shards[0].groups.Len() != 0 {
		t.Errorf("left over: homes %d, groups %d, want none", total.Homes, st.hub.shards[0].groups.Len())
	}
}

func TestAfterAPanicNothingStaysInTheLanes(t *testing.T) {
	st := newStage(3, nil)
	a, b, other := st.enter(0), st.enter(0), st.enter(0)
	letGo1, letGo2 := st.hold(1), st.hold(2)
	a.say(`{"cmd":"send_to_group","group_id":"1g","message":"x","id":1}`)
	b.say(`{"cmd":"send_to_group","group_id":"1g","message":"x","id":2}`)
	other.say(`{"cmd":"send_to_group","group_id":"2g","message":"x","id":3}`)
	a.boom = true
	letGo1()
	letGo2()
	st.settle()
	st.hub.beat()
	st.settle()
	other.heard(t, `{"id":3,"ok":true,"seq":0}`) // from another lane; what was in hand is lost with the panic
	total := st.hub.Snapshot().Total()
	if total.LaneDepth != 0 || total.Panics != 1 {
		t.Errorf("got lane depth %d, panics %d, want 0 and 1", total.LaneDepth, total.Panics)
	}
}

func TestARequestThatPanicsIsDroppedNotServedForEver(t *testing.T) {
	st := newStage(2, nil)
	c := st.enter(0)
	c.say(`{"cmd":"add_group","group_id":"1g"}`)
	st.settle()
	c.shard.request(1, request{Op: order.OpPublish}) // of no message: its home panics over it
	c.say(`{"cmd":"send_to_group","group_id":"1g","message":"whole"}`)
	st.settle()
	c.heard(t, "whole")
	if got := st.hub.Snapshot().Total(); got.Panics != 1 || got.LaneDepth != 0 {
		t.Errorf("got panics %d, lane depth %d, want 1 and 0", got.Panics, got.LaneDepth)
	}
}

func TestAPanicInABurialBuriesNobodyTwice(t *testing.T) {
	st := newStage(1, nil)
	first, broken, last, stays := st.enter(0), st.enter(0), st.enter(0), st.enter(0)
	for _, c := range []*stageConn{first, broken, last, stays} {
		c.say(`{"cmd":"add_group","group_id":"0g"}`)
	}
	st.settle()
	broken.client.inline.pos = 1 << 30 // a place that is none
	s := st.hub.shards[0]
	s.callback.steps.Add(1) // as inside another's callback, in which three connections break
	for _, c := range []*stageConn{first, broken, last} {
		s.closed(c.client)
	}
	s.callback.steps.Add(1)
	s.woken()
	st.settle()
	if got := st.hub.connections.Load(); got != 2 || s.clients[stays.client.slot] != stays.client { // the broken one is not accounted for
		t.Errorf("got %d connections, and %v in the place of the one that stays; want 2 and it", got, s.clients[stays.client.slot])
	}
	stays.say(`{"cmd":"send_to_group","group_id":"0g","message":"still here"}`)
	stays.heard(t, "still here")
}

func TestThePanickingClientIsTold1011(t *testing.T) {
	st := newStage(1, nil)
	c := st.enter(0)
	c.shard.readers.shared = nil // its next bytes meet it
	c.say(`{}`)
	c.heard(t, "\x03\xf3")
}

func TestWhoDoesNotEndItsSideIsCutAndCounted(t *testing.T) {
	st := newStage(1, nil)
	c := st.enter(0)
	c.shard.traffic(c.client, []byte("\xff\xff"))
	st.ticks(int(st.hub.bounds.Load().closeTicks) - 1)
	if got := st.hub.Snapshot().Total().EndsCut; got != 0 || c.closed {
		t.Errorf("before its time: got %d cut, closed %v, want 0 and not closed", got, c.closed)
	}
	st.ticks(2)
	if got := st.hub.Snapshot().Total().EndsCut; got != 1 || !c.closed {
		t.Errorf("after its time: got %d cut, closed %v, want 1 and closed", got, c.closed)
	}
}

func TestSilenceIsMeasuredAcrossTheClocksWrap(t *testing.T) {
	st := newStage(1, func(b *bounds) { b.heartbeatTicks = 10 })
	st.hub.clock.Store(1<<31 - 5)
	c := st.enter(0)
	for range 9 {
		st.hub.beat()
		st.settle()
	}
	if len(c.out) != 0 {
		t.Errorf("after 9 ticks of silence: got %x, want no ping yet", c.out)
	}
	for range 8 {
		st.hub.beat()
		st.settle()
	}
	c.heard(t, "\x89\x00")
	for range 15 {
		st.hub.beat()
		st.settle()
	}
	c.heard(t, "\x03\xe9")
}

// Clients that came together fall silent together.
func TestPingsAreSpreadOverTicks(t *testing.T) {
	const clients = 2*pingsPerTickMax + 1
	st := newStage(1, func(b *bounds) { b.heartbeatTicks = 4 }) // so short that a tick scans the whole table
	st.hub.clientsMax.Store(clients)
	conns := make([]*stageConn, clients)
	for i := range conns {
		conns[i] = st.enter(0)
	}
	pinged, ticks := 0, 0
	for before := 0; pinged < clients; before = pinged {
		if ticks++; ticks > 20 {
			t.Fatalf("pinged after %d ticks: got %d of %d clients, want all", ticks-1, pinged, clients)
		}
		st.hub.beat()
		st.settle()
		pinged = 0
		for _, c := range conns {
			if strings.Contains(string(c.out), "\x89\x00") {
				pinged++
			}
		}
		if pinged-before > pingsPerTickMax {
			t.Fatalf("one tick pinged %d clients, want at most %d", pinged-before, pingsPerTickMax)
		}
	}
}

// A turn's passes end with their budget, however the groups are cut: many of one member as well as one of many.
func TestATurnsPassesKeepTheirBudget(t *testing.T) {
	const sendNanos, budget = 10_000, 1_000_000
	for _, groups := range []int{1, 2000} {
		for start := range uint32(sendsPerClock) {
			h := fakeHub(1)
			s := h.shards[0]
			var nanos int64
			s.env.send = func(_ int, p []byte) sent { nanos += sendNanos; return sent{n: len(p)} }
			s.bounds.GroupsPerClient = 1 << 20
			for i := range 2000 {
				say(s, h.openFake(0), fmt.Sprintf(`{"cmd":"add_group","group_id":"%d"}`, i%groups))
			}
			kicks := 0
			s.env.kick, s.env.now = func() { kicks++ }, func() int64 { return nanos }
			for _, g := range s.groups.All() {
				s.passes.gather(g, messageOf("x"))
			}
			nanos, s.passes.sends, s.passes.deadline = 0, start, 0
			s.woken()
			if most := int64(budget + 2*sendsPerClock*sendNanos); nanos > most || kicks != 1 {
				t.Errorf("%d groups, %d sends before: a turn took %d ns with %d kicks, want at most %d and one kick",
					groups, start, nanos, kicks, most)
			}
		}
	}
}

// A client that pipelines without end is answered in portions.
func TestRepliesAreSentInPortions(t *testing.T) {
	st := newStage(1, nil)
	c := st.enter(0)
	var in []byte
	for range 5000 {
		in = wsproto.AppendMaskedFrame(in, wsproto.OpText, [4]byte{}, []byte(`{"cmd":"leave_group","group_id":"1","id":1}`))
	}
	c.shard.traffic(c.client, in)
	if len(c.out) != 5000*len(dialect.AppendOK(nil, []byte("1"))) {
		t.Errorf("replies: got %d bytes", len(c.out))
	}
	if most := replyBytesMax + 512; c.most > most {
		t.Errorf("largest write: got %d bytes, want at most %d", c.most, most)
	}
}

func TestTicksRoundUp(t *testing.T) {
	for _, c := range []struct {
		d    time.Duration
		want uint32
	}{{tickPeriod, 2}, {tickPeriod + 1, 3}, {10 * time.Second, 51}} {
		if got := ticks(c.d); got != c.want {
			t.Errorf("ticks(%v): got %d, want %d", c.d, got, c.want)
		}
	}
}

func TestABusyLoopActsOnAllThatIsReadyAtOnce(t *testing.T) {
	st := newStage(1, nil)
	member, sender := st.enter(0), st.enter(0)
	member.say(`{"cmd":"add_group","group_id":"0g"}`)
	st.busy = true
	for i := range 3 {
		sender.say(`{"cmd":"send_to_group","group_id":"0g","message":"%d"}`, i)
	}
	if len(member.out) > 0 || !st.kicks[0] {
		t.Fatalf("a busy loop sent %q before its kick (kicked: %v)", member.out, st.kicks[0])
	}
	st.settle()
	member.heard(t, "\x81\x010\x81\x011\x81\x012")
	if got := st.hub.Snapshot().Total().Passes; got != 1 {
		t.Errorf("got %d passes, want 1 for all three messages", got)
	}
	st.busy = false
	sender.say(`{"cmd":"send_to_group","group_id":"0g","message":"at once"}`)
	member.heard(t, "at once")
}

// One who only goes on reading while the lanes are full would have to refuse what a turn makes room for.
func TestABusyLoopDoesNotRefuseWhatATurnMakesRoomFor(t *testing.T) {
	st := newStage(1, nil)
	clients := make([]*stageConn, 40)
	for i := range clients {
		clients[i] = st.enter(0)
	}
	var in []byte
	for i := 0; len(in) < 60_000; i++ {
		in = wsproto.AppendMaskedFrame(in, wsproto.OpText, [4]byte{}, fmt.Appendf(nil, `{"cmd":"send_to_group","group_id":"0g","message":"%d"}`, i))
	}
	st.busy = true
	for _, c := range clients {
		c.shard.traffic(c.client, slices.Clone(in))
	}
	st.settle()
	if got := st.hub.Snapshot().Total().Refused; got != 0 {
		t.Errorf("got %d refused, want none", got)
	}
}

func TestABusyLoopPutsItsKickOffNoLongerThanItsBound(t *testing.T) {
	st := newStage(1, nil)
	member, sender := st.enter(0), st.enter(0)
	member.say(`{"cmd":"add_group","group_id":"0g"}`)
	st.busy = true
	for round := range 3 { // the kick does not come: there are ever more sockets ready
		for range deferMax/(busyGap-1) + 2 {
			st.nanos += busyGap - 1
			sender.say(`{"cmd":"send_to_group","group_id":"0g","message":"%d"}`, round)
		}
		member.heard(t, fmt.Sprintf("\x81\x01%d", round))
	}
}

func TestAPanicInADeliveryLosesNoHomesNoteThatItWaitsForRoom(t *testing.T) {
	st := newStage(2, func(b *bounds) { b.laneSlots = 2 })
	port, err := st.hub.NewPort()
	if err != nil {
		t.Fatal(err)
	}
	a, b, member := st.enter(0), st.enter(0), st.enter(0)
	member.say(`{"cmd":"add_group","group_id":"1g"}`)
	st.settle()
	letGo := st.hold(1)
	a.say(`{"cmd":"send_to_group","group_id":"1x","message":"","id":1}`) // the two answers fill the down lane
	b.say(`{"cmd":"send_to_group","group_id":"1x","message":"","id":2}`)
	if err := port.Publish("1g", []byte("waits for room")); err != nil {
		t.Fatal(err)
	}
	a.boom = true // when b's answer drives a's out
	letGo()
	st.settle()
	member.heard(t, "waits for room")
	if total := st.hub.Snapshot().Total(); total.LaneDepth != 0 || total.Panics != 1 {
		t.Errorf("got lane depth %d, panics %d, want 0 and 1", total.LaneDepth, total.Panics)
	}
}
