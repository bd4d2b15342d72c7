package loop

import (
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strings"
	"syscall"
	"testing"

	"ringcast/dialect"
	"ringcast/wsproto"
)

// fill has some bytes wait for clients, by messages to a group of each one's own.
func fill(c *stageConn, group string, bytes int) {
	c.say(`{"cmd":"add_group","group_id":%q}`, group)
	c.stuck = true
	c.say(`{"cmd":"send_to_group","group_id":%q,"message":%q}`, group, strings.Repeat("x", bytes))
}

func TestOverTheSumOfOutboxesTheLargestGoAndTheSmallStay(t *testing.T) {
	st := newStage(1, func(b *bounds) { b.OutboxesBytesMax = 100_000 })
	var clients []*stageConn
	for i, bytes := range []int{30_000, 1000, 50_000, 2000, 10_000} {
		c := st.enter(0)
		fill(c, fmt.Sprint("0", i), bytes)
		clients = append(clients, c)
	}
	healthy := st.enter(0)
	fill(healthy, "0h", 20_000) // this makes it too much, with more than the average
	var closed []bool
	for _, c := range append(clients, healthy) {
		closed = append(closed, c.closed)
	}
	if want := []bool{false, false, true, false, false, false}; !slices.Equal(closed, want) {
		t.Errorf("cut off: got %v, want %v", closed, want)
	}
	total := st.hub.Snapshot().Total()
	if total.SlowClosed != 1 || total.Closes["4008"] != 1 || total.Slow != 5 || total.OutboxBytes > 100_000 || total.OutboxBytes < 63_000 {
		t.Errorf("got %d closed slow, %d with 4008, %d slow with %d bytes; want 1, 1, 5 and their 63,000 bytes",
			total.SlowClosed, total.Closes["4008"], total.Slow, total.OutboxBytes)
	}
}

func TestTheLargestGoFirstWhereverTheyStand(t *testing.T) {
	st := newStage(1, func(b *bounds) { b.OutboxesBytesMax = 180_000 })
	largest := st.enter(0)
	fill(largest, "0l", 25_000)
	cut := 0
	var others []*stageConn
	for i := range 8 {
		c := st.enter(0)
		fill(c, fmt.Sprint("0", i), 20_000)
		others = append(others, c)
	}
	for _, c := range others {
		if c.closed {
			cut++
		}
	}
	if !largest.closed || cut != 1 { // 185,000 bytes; an eighth below the bound is 157,500
		t.Errorf("cut off: the largest %v, of the others %d; want true and 1", largest.closed, cut)
	}
}

// A client is cut off for what it has, not for what it had when it was last looked at.
func TestWhoHasCaughtUpUnseenIsNotCutOff(t *testing.T) {
	st := newStage(1, func(b *bounds) { b.OutboxesBytesMax = 100_000 })
	drained, stuck := st.enter(0), st.enter(0)
	fill(drained, "0d", 60_000)
	fill(stuck, "0s", 30_000)
	drained.take(60_004)
	last := st.enter(0)
	fill(last, "0l", 20_000)
	if drained.closed || stuck.closed || last.closed {
		t.Errorf("cut off: drained %v, stuck %v, last %v; want none", drained.closed, stuck.closed, last.closed)
	}
}

func TestALoopBelowItsShareHasTheOthersMakeRoom(t *testing.T) {
	st := newStage(2, func(b *bounds) { b.OutboxesBytesMax = 100_000 })
	var large []*stageConn
	for i := range 6 {
		c := st.enter(0)
		fill(c, fmt.Sprint("0", i), 16_000)
		large = append(large, c)
	}
	small := st.enter(1)
	fill(small, "1", 20_000)
	if !st.wakes[0] {
		t.Error("the loop that holds the most was not woken")
	}
	st.settle()
	cut := 0
	for _, c := range large {
		if c.closed {
			cut++
		}
	}
	if all := st.hub.outboxes.Load(); small.closed || cut == 0 || all > 100_000 {
		t.Errorf("the one below its share: closed %v, of the others %d; %d bytes wait; want false, some, at most 100,000",
			small.closed, cut, all)
	}
}

func TestCutsInATurnAreBounded(t *testing.T) {
	st := newStage(1, nil)
	const clients = 2*cutsPerTurn + 100
	st.hub.clientsMax.Store(clients)
	for i := range clients {
		fill(st.enter(0), fmt.Sprint("0", i), 100)
	}
	st.hub.outboxesMax.Store(0)
	s := st.hub.shards[0]
	for turns, before := 1, clients; len(s.clients) > 0; turns++ {
		s.woken()
		if cut := before - len(s.clients); cut == 0 || cut > cutsPerTurn {
			t.Fatalf("turn %d: cut %d clients, want some and at most %d", turns, cut, cutsPerTurn)
		}
		before = len(s.clients)
	}
	if all := st.hub.outboxes.Load(); all != 0 {
		t.Errorf("%d bytes are still counted, want 0", all)
	}
}

func TestLooksAtSlowClientsAreSpreadOverTicks(t *testing.T) {
	st := newStage(1, nil)
	const clients = looksPerTickMax + 10
	st.hub.clientsMax.Store(clients)
	for i := range clients {
		c := st.enter(0)
		fill(c, fmt.Sprint("0", i), 100)
		c.take(len(c.queued)) // and gnet does not tell
	}
	s := st.hub.shards[0]
	for _, want := range []int{10, 0} {
		st.ticks(1)
		if got := len(s.slow.list); got != want {
			t.Errorf("still counted as slow after a tick: got %d clients, want %d", got, want)
		}
	}
}

func TestSizeClassesAreInOrderAndNarrow(t *testing.T) {
	before := 0
	for bytes := range 1 << 16 {
		class := sizeClass(bytes)
		if class != before && class != before+1 {
			t.Fatalf("class of %d: got %d after %d", bytes, class, before)
		}
		before = class
	}
	if got := sizeClass(math.MaxInt); got >= sizeClasses {
		t.Errorf("largest class: got %d, want less than %d", got, sizeClasses)
	}
	if a, b := sizeClass(100_000), sizeClass(113_000); a == b {
		t.Errorf("100,000 and 113,000 bytes: both of class %d, want them told apart", a)
	}
}

// missing is a stage where slow clients miss messages, with a member that uses ids and a sender.
func missing(t *testing.T) (st *stage, member, sender *stageConn) {
	st = newStage(1, func(b *bounds) { b.SlowClient, b.OutboxBytesMax = SlowDrop, 1000 })
	member, sender = st.enter(0), st.enter(0)
	member.say(`{"cmd":"add_group","group_id":"0g","id":1}`)
	member.heard(t, `{"id":1,"ok":true}`)
	member.out, member.stuck = nil, true
	return st, member, sender
}

func publish(c *stageConn, from, to int) {
	for i := from; i <= to; i++ {
		c.say(`{"cmd":"send_to_group","group_id":"0g","message":"%0100d"}`, i)
	}
}

// texts are the text frames that a connection has taken: a message's number, or an event as it is.
func (c *stageConn) texts(t *testing.T) (texts []string) {
	t.Helper()
	for p := c.out; len(p) > 0; {
		n := int(p[1])
		if p[0] != 0x81 || n > 125 || len(p) < 2+n {
			t.Fatalf("frame %x", p)
		}
		text := string(p[2 : 2+n])
		if n == 100 {
			text = strings.TrimLeft(text, "0")
		}
		texts, p = append(texts, text), p[2+n:]
	}
	return texts
}

func TestASlowClientThatUsesIDsIsToldWhatItMissedInItsPlace(t *testing.T) {
	st, member, sender := missing(t)
	publish(sender, 1, 14) // 9 of 102 bytes fit
	member.take(300)
	publish(sender, 15, 15) // more than half still waits
	member.take(300)
	publish(sender, 16, 17)
	member.take(1 << 20)
	want := []string{"1", "2", "3", "4", "5", "6", "7", "8", "9", `{"event":"gap","messages":6}`, "16", "17"}
	if got := member.texts(t); !slices.Equal(got, want) {
		t.Errorf("heard %q, want %q", got, want)
	}
	total := st.hub.Snapshot().Total()
	if total.SlowDropped != 6 || total.SlowGaps != 1 || total.SlowClosed != 0 || total.Deliveries != 11 {
		t.Errorf("got dropped %d, gaps %d, closed %d, deliveries %d; want 6, 1, 0 and 11",
			total.SlowDropped, total.SlowGaps, total.SlowClosed, total.Deliveries)
	}
}

func TestAGapIsToldWithoutFurtherTrafficOnceHalfHasGone(t *testing.T) {
	st, member, sender := missing(t)
	publish(sender, 1, 20)
	member.take(400)
	st.hub.beat()
	st.settle()
	if got := len(member.queued); got != 518 {
		t.Errorf("with more than half waiting: %d bytes wait, want the 518 that did before", got)
	}
	member.take(200)
	st.hub.beat()
	st.settle()
	member.take(1 << 20)
	if got := member.texts(t); len(got) != 10 || got[9] != `{"event":"gap","messages":11}` {
		t.Errorf("heard %q, want 9 messages and a gap of 11", got)
	}
}

// A client with a gap to be told of is not overtaken by what would go straight to the kernel.
func TestAGapIsToldBeforeARestThatFindsTheOutboxEmpty(t *testing.T) {
	_, member, sender := missing(t)
	publish(sender, 1, 12)
	member.take(1 << 20)
	member.say(`{"cmd":"leave_group","group_id":"0g","id":2}`)
	if got := member.texts(t); len(got) != 11 || got[9] != `{"event":"gap","messages":3}` || got[10] != `{"id":2,"ok":true}` {
		t.Errorf("heard %q, want 9 messages, the gap, and then the reply", got)
	}
}

func TestAReplyForWhichThereIsNoRoomClosesAlsoWhereMessagesAreMissed(t *testing.T) {
	st, member, sender := missing(t)
	publish(sender, 1, 12)
	for id := range 5 {
		member.say(`{"cmd":"add_group","group_id":"0g","id":%d}`, 100+id)
	}
	member.take(1 << 20)
	member.heard(t, `{"event":"gap","messages":3}`)
	member.heard(t, "\x0f\xa8too slow")
	if got := st.hub.Snapshot().Total(); got.SlowClosed != 1 {
		t.Errorf("closed slow: got %d, want 1", got.SlowClosed)
	}
}

func TestACloseTellsOfTheGapFirst(t *testing.T) {
	st, member, sender := missing(t)
	publish(sender, 1, 12)
	s := st.hub.shards[0]
	s.beginStop()
	s.woken()
	member.take(1 << 20)
	member.heard(t, string(wsproto.AppendClose(dialect.AppendGap(nil, 3), wsproto.CloseGoingAway, "the server is stopping")))
}

func TestASlowClientWithoutIDsIsClosedWhereOthersMissMessages(t *testing.T) {
	st, _, sender := missing(t)
	c := st.enter(0)
	c.say(`{"cmd":"add_group","group_id":"0g"}`)
	c.stuck = true
	publish(sender, 1, 12)
	c.take(1 << 20)
	c.heard(t, "\x0f\xa8too slow")
}

func TestAReplyBehindAGapIsHeardBehindIt(t *testing.T) {
	_, member, sender := missing(t)
	publish(sender, 1, 12)
	member.say(`{"cmd":"add_group","group_id":"0g","id":2}`) // more than half still waits
	member.take(1 << 20)
	if got := member.texts(t); len(got) != 11 || got[9] != `{"event":"gap","messages":3}` || got[10] != `{"id":2,"ok":true}` {
		t.Errorf("heard %q, want 9 messages, the gap, and then the reply", got)
	}
}

// roundingConn keeps what it is given as gnet does: in buffers whose sizes are powers of two, the first a ring.
type roundingConn struct {
	stageConn
	held int
}

func (c *roundingConn) Write(p []byte) (int, error) {
	c.held += 1 << bits.Len(uint(len(p)-1))
	c.queued = append(c.queued, p...)
	return len(p), nil
}

func TestAnOutboxTakesLittleMoreThanItCounts(t *testing.T) {
	st := newStage(1, nil)
	s := st.hub.shards[0]
	s.env.send = func(int, []byte) sent { return sent{errno: syscall.EAGAIN} }
	for _, bytes := range []int{5000, 66_000, 130_000, 1<<20 + 10} {
		c := &roundingConn{}
		c.client = &client{shard: s, conn: c, state: stateOpen}
		s.push(c.client, make([]byte, bytes), cargo{messages: 1})
		s.push(c.client, make([]byte, bytes/4), cargo{messages: 1})
		if counted := c.client.conn.OutboundBuffered(); c.held > counted+counted/4+2*portionBytesMin {
			t.Errorf("message of %d bytes: %d bytes taken, %d counted", bytes, c.held, counted)
		}
	}
}

func TestAPanicWhileSomebodyIsCutOffForOthersIsHisAlone(t *testing.T) {
	st := newStage(1, func(b *bounds) { b.OutboxesBytesMax = 50_000 })
	largest, innocent := st.enter(0), st.enter(0)
	fill(largest, "0l", 40_000)
	largest.boom = true
	fill(innocent, "0i", 20_000) // this makes it too much
	st.settle()
	if innocent.client.state != stateOpen || !largest.closed && largest.client.state != stateClosing {
		t.Errorf("got state %v of the one who was not cut off, and %v of the other; want it open, and the other's end",
			innocent.client.state, largest.client.state)
	}
}

func TestDeliveriesAreCountedRightAfterAPanicInAPass(t *testing.T) {
	st := newStage(1, func(b *bounds) { b.SlowClient, b.OutboxBytesMax = SlowDrop, 1000 })
	slow, panics, sender := st.enter(0), st.enter(0), st.enter(0)
	st.ask(slow, `{"cmd":"add_group","group_id":"0g","id":1}`)
	st.ask(panics, `{"cmd":"add_group","group_id":"0g"}`)
	slow.stuck = true
	message := strings.Repeat("x", 800)
	st.ask(sender, `{"cmd":"send_to_group","group_id":"0g","message":%q}`, message)
	panics.boom = true
	st.ask(sender, `{"cmd":"send_to_group","group_id":"0g","message":%q}`, message) // slow misses it
	total := st.hub.Snapshot().Total()
	if total.Panics != 1 || total.SlowDropped != 1 || total.Deliveries != 2 {
		t.Errorf("got %d panics, %d dropped, %d deliveries; want 1, 1 and the 2 of the first message",
			total.Panics, total.SlowDropped, total.Deliveries)
	}
}
