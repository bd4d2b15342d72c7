package loop

import (
	"cmp"
	"fmt"
	"strings"
	"testing"

	"ringcast/dialect"
)

// sleeper is a stage of two loops on which the second one sleeps, with members of the group "0g" there, and somebody on the first
// loop, which hosts the group's home.
func newSleeper(t *testing.T, members int, change func(*bounds), more ...dialect.Entry) (st *stage, sender *stageConn, asleep []*stageConn) {
	t.Helper()
	st = newStage(2, change, more...).raw()
	sender = st.enter(0)
	for range members {
		c := st.enter(1)
		c.say(`{"cmd":"add_group","group_id":"0g"}`)
		asleep = append(asleep, c)
	}
	st.settle()
	return st, sender, asleep
}

func (c *stageConn) publish(text string) {
	c.say(`{"cmd":"send_to_group","group_id":"0g","message":%q}`, text)
}

// heardOnce is that a client has heard these texts, each once, in this order and nothing else.
func (c *stageConn) heardOnce(t *testing.T, texts ...string) {
	t.Helper()
	want := ""
	for _, text := range texts {
		want += fmt.Sprintf("\x81%c%s", len(text), text)
	}
	if got := string(c.out); got != want {
		t.Errorf("client %d heard %q, want %q", c.fd, got, want)
	}
}

func TestWhoHasSomethingForASleepingLoopsClientsSendsIt(t *testing.T) {
	st, sender, asleep := newSleeper(t, borrowedSendsMax, nil)
	before := asleep[0].client.bytesOut
	sender.publish("one")
	sender.publish("two")
	for _, c := range asleep {
		c.heardOnce(t, "one", "two")
	}
	if got := asleep[0].client.bytesOut - before; got != 10 {
		t.Errorf("a client was sent %d bytes by its own count, want 10", got)
	}
	got := st.hub.Snapshot().Loops[1]
	s := st.hub.shards[1]
	if inFlight := s.lanes.InFlight(); inFlight != 0 || s.passes.deadline != 0 {
		t.Errorf("%d bytes are in flight to the loop, the next turn's budget is set to %d; want neither", inFlight, s.passes.deadline)
	}
	if st.wakes[1] || got.Borrows != 2 || got.Deliveries != 2*borrowedSendsMax {
		t.Errorf("got woken %v, %d borrows, %d deliveries; want none, 2, %d", st.wakes[1], got.Borrows, got.Deliveries, 2*borrowedSendsMax)
	}
}

// Each case is something that a borrower may not do. It leaves it to the loop, and nothing is lost, doubled or out of order.
func TestABorrowerLeavesToTheLoopWhatOnlyThatMayDo(t *testing.T) {
	for name, made := range map[string]struct {
		members int
		before  func(st *stage, asleep []*stageConn)
		after   func(asleep []*stageConn) // before the loop is called
		want    string
	}{
		"a group that is large":                 {members: borrowedSendsMax + 1, before: func(st *stage, _ []*stageConn) { st.enter(0).say(`{"cmd":"add_group","group_id":"0g"}`) }},
		"a group of many, as its home says":     {members: borrowedSendsMax + 1},
		"a client that is slow":                 {members: 3, before: func(st *stage, asleep []*stageConn) { st.makeSlow(asleep[1]) }, after: unstick},
		"a kernel that takes nothing":           {members: 3, before: func(_ *stage, asleep []*stageConn) { asleep[1].part = -1 }},
		"a kernel that takes a part":            {members: 3, before: func(_ *stage, asleep []*stageConn) { asleep[1].part = 2 }},
		"the last member's, likewise":           {members: 3, before: func(_ *stage, asleep []*stageConn) { asleep[2].part = 2 }},
		"a stop":                                {members: 1, before: func(st *stage, _ []*stageConn) { st.hub.shards[1].stop.begun = true }},
		"a message that is gathered already":    {members: 1, before: func(st *stage, asleep []*stageConn) { asleep[0].part = -1; st.conns[0].publish("earlier") }},
		"an answer to the loop's own client":    {members: 1, before: func(st *stage, asleep []*stageConn) { st.askBehindAHold(asleep[0]) }, want: "\x81\x04last\x81\x1a{\"id\":1,\"ok\":true,\"seq\":2}\x81\x03own"},
		"a platform on which gnet sends":        {members: 1, before: func(st *stage, _ []*stageConn) { st.hub.shards[1].env.send = nil }},
		"a turn that has sent much to others":   {members: 1, before: func(st *stage, _ []*stageConn) { st.sendMuchElsewhere() }},
		"more items than may wait for a borrow": {members: 1, before: func(st *stage, _ []*stageConn) { st.fillTheLane(borrowedItemsMax) }},
	} {
		t.Run(name, func(t *testing.T) {
			st, sender, asleep := newSleeper(t, made.members, nil)
			for _, c := range asleep {
				c.out = nil
			}
			if made.before != nil {
				made.before(st, asleep)
			}
			sender.publish("last")
			if !st.wakes[1] {
				t.Error("the loop was not woken")
			}
			if made.after != nil {
				made.after(asleep)
			}
			st.settle()
			for _, c := range asleep {
				if want := cmp.Or(made.want, "\x81\x04last"); !strings.HasSuffix(string(c.out), want) || strings.Count(string(c.out), "last") != 1 {
					t.Errorf("client %d of %d heard %q, want %q at its end, once", c.fd, len(asleep), c.out, want)
				}
			}
		})
	}
}

// makeSlow has a client's outbox hold a message.
func (st *stage) makeSlow(c *stageConn) {
	c.stuck = true
	c.shard.beginCallback(nil)
	c.shard.push(c.client, []byte("\x81\x04slow"), cargo{})
	c.shard.endCallback()
}

func unstick(asleep []*stageConn) {
	for _, c := range asleep {
		c.take(1000)
	}
}

// askBehindAHold has a client publish with an id while another loop holds the home, so that its answer comes from there.
func (st *stage) askBehindAHold(c *stageConn) {
	end, _ := st.hub.homes.Home(0).Hold()
	c.say(`{"cmd":"send_to_group","group_id":"0g","message":"own","id":1}`)
	end()
	st.hub.shards[0].lanes.ToHost(0)
}

func (st *stage) sendMuchElsewhere() {
	s := st.hub.shards[0]
	serve := s.methods.serve
	s.methods.serve = func(loop int) bool {
		s.passes.elsewhere = borrowedTurnMax
		return serve(loop)
	}
}

// fillTheLane has so many messages lie in the sleeping loop's lane.
func (st *stage) fillTheLane(n int) {
	s := st.hub.shards[0]
	serve := s.methods.serve
	s.methods.serve = func(int) bool { return true }
	for i := range n {
		st.conns[0].publish(fmt.Sprint(i))
	}
	s.methods.serve = serve
}

// What counts is what a borrower sends in all.
func TestABorrowersSendsAndBytesAreCountedOverAllItems(t *testing.T) {
	for name, made := range map[string]struct{ members, size int }{
		"sends": {borrowedSendsMax/2 + 1, 1},
		"bytes": {2, borrowedBytesMax / 4}, // of one message to two members a little more than half
		"large": {1, borrowedBytesMax},
	} {
		t.Run(name, func(t *testing.T) {
			st, sender, asleep := newSleeper(t, made.members, nil)
			for _, c := range asleep {
				c.say(`{"cmd":"add_group","group_id":"0h"}`)
			}
			st.settle()
			s := st.hub.shards[0]
			serve := s.methods.serve
			s.methods.serve = func(int) bool { return true }
			text := strings.Repeat("x", made.size)
			sender.say(`{"cmd":"send_to_group","group_id":"0g","message":%q}`, text)
			sender.say(`{"cmd":"send_to_group","group_id":"0h","message":%q}`, text)
			s.methods.serve = serve
			sender.say(`{"cmd":"send_to_group","group_id":"0h","message":%q}`, text)
			first := 1
			if name == "large" {
				first = 0
			}
			if got := int(st.hub.Snapshot().Loops[1].Deliveries); got != first*made.members || !st.wakes[1] {
				t.Errorf("got %d deliveries, woken %v; want those of %d messages, and a wake-up", got, st.wakes[1], first)
			}
			st.settle()
			if got := int(st.hub.Snapshot().Loops[1].Deliveries); got != 3*made.members {
				t.Errorf("got %d deliveries in the end, want %d", got, 3*made.members)
			}
		})
	}
}

func TestAPanicOfABorrowerOverAnItemLosesNoOther(t *testing.T) {
	st, sender, asleep := newSleeper(t, 1, nil)
	asleep[0].say(`{"cmd":"add_group","group_id":"1g"}`)
	st.settle()
	s, first := st.hub.shards[1], true
	s.methods.takeDown = func(d delivery) bool {
		if first {
			first = false
			panic("an item that panics")
		}
		return s.deliver(d)
	}
	st.conns[0].shard.methods.serve = func(int) bool { return true }
	sender.publish("lost")
	st.conns[0].shard.methods.serve = st.hub.shards[0].serve
	sender.say(`{"cmd":"send_to_group","group_id":"1g","message":"stays"}`)
	st.settle()
	asleep[0].heardOnce(t, "stays")
	if got := st.hub.Snapshot().Total(); got.Panics != 1 || got.LaneDepth != 0 || asleep[0].client.state != stateOpen {
		t.Errorf("got panics %d, lane depth %d, client in state %d; want 1, 0, open", got.Panics, got.LaneDepth, asleep[0].client.state)
	}
}

// What a borrower has left is the loop's to go on with, also where the wake-up that it sends is late.
func TestAShardThatABorrowerHasLeftSomethingInIsNotBorrowed(t *testing.T) {
	for name, leave := range map[string]func(st *stage, asleep []*stageConn){
		"the rest of a batch": func(_ *stage, asleep []*stageConn) { asleep[0].part = 3 },
		"a pass":              func(_ *stage, asleep []*stageConn) { asleep[0].part = -1 },
		"an item": func(st *stage, asleep []*stageConn) {
			st.enter(1).say(`{"cmd":"add_group","group_id":"0g"}`) // whose answer is left, as its home is held meanwhile
		},
	} {
		t.Run(name, func(t *testing.T) {
			st, sender, asleep := newSleeper(t, borrowedSendsMax, nil)
			s := st.hub.shards[1]
			leave(st, asleep)
			st.settle()
			sender.publish("first")
			heard := ""
			for _, c := range asleep {
				heard += string(c.out)
			}
			if show := s.count.gatheredBytes.Load(); show != int64(s.passes.gathered) {
				t.Errorf("%d bytes are gathered, %d shown", s.passes.gathered, show)
			}
			st.wakes[1] = false
			s.lanes.Woken() // the wake-up is on its way, and nobody knows
			sender.publish("second")
			after := ""
			for _, c := range asleep {
				after += string(c.out)
			}
			if after != heard || !st.wakes[1] {
				t.Errorf("the second message was sent, or the loop not woken (%v)", st.wakes[1])
			}
			s.woken()
			st.settle()
			for _, c := range asleep {
				c.heardOnce(t, "first", "second")
			}
		})
	}
}

func TestATurnSendsSoMuchToOthersAndNoMore(t *testing.T) {
	const loops = 8
	st := newStage(loops, nil).raw()
	sender := st.enter(0)
	for loop := 1; loop < loops; loop++ {
		for range borrowedSendsMax - 1 {
			st.enter(loop).say(`{"cmd":"add_group","group_id":"0g"}`)
		}
	}
	st.settle()
	sender.publish("to all")
	sends, woken := uint64(0), 0
	for i, row := range st.hub.Snapshot().Loops {
		sends += row.Deliveries
		if st.wakes[i] {
			woken++
		}
	}
	if want := uint64(borrowedTurnMax / (borrowedSendsMax - 1) * (borrowedSendsMax - 1)); sends != want || woken != loops-1-int(want)/(borrowedSendsMax-1) {
		t.Errorf("got %d sends and %d loops woken, want %d and the others", sends, woken, want)
	}
	st.settle()
	if got := st.hub.Snapshot().Total().Deliveries; got != (loops-1)*(borrowedSendsMax-1) {
		t.Errorf("got %d deliveries in the end, want all", got)
	}
	sender.publish("again") // another turn
	if got := st.hub.Snapshot().Total().Deliveries; got == (loops-1)*(borrowedSendsMax-1) {
		t.Error("the next turn sends nothing to others")
	}
}

func TestABorrowerAllocatesNothing(t *testing.T) {
	st, sender, asleep := newSleeper(t, 3, nil)
	none := testing.AllocsPerRun(1000, func() { sender.say(`{"cmd":"send_to_group","group_id":"0x","message":"m"}`) })
	for _, c := range asleep {
		c.out = make([]byte, 0, 1<<20)
	}
	if got := testing.AllocsPerRun(1000, func() { sender.publish("m") }); got > none+2 { // publish formats its text
		t.Errorf("got %v allocations a message to a sleeping loop's clients, %v for one to nobody", got, none)
	}
	if st.hub.Snapshot().Loops[1].Borrows < 1000 {
		t.Error("nothing was borrowed")
	}
}

func TestTheRestOfABatchIsSentBeforeAnythingElse(t *testing.T) {
	for name, call := range map[string]func(st *stage, c *stageConn){
		"a message": func(_ *stage, c *stageConn) { c.publish("own") },
		"a leave":   func(_ *stage, c *stageConn) { c.say(`{"cmd":"leave_group","group_id":"0g","id":1}`) },
		"a ping":    func(_ *stage, c *stageConn) { c.shard.traffic(c.client, []byte("\x89\x80\x00\x00\x00\x00")) },
		"an end":    func(_ *stage, c *stageConn) { c.shard.traffic(c.client, []byte("\x88\x80\x00\x00\x00\x00")) },
		"a fault":   func(_ *stage, c *stageConn) { c.shard.traffic(c.client, []byte("\xff")) },
		"others":    func(st *stage, _ *stageConn) { st.hub.shards[1].woken() },
	} {
		t.Run(name, func(t *testing.T) {
			st, sender, asleep := newSleeper(t, 1, nil)
			asleep[0].part = 3
			sender.publish("first")
			sender.publish("second")
			call(st, asleep[0])
			st.settle()
			if got := string(asleep[0].out); !strings.HasPrefix(got, "\x81\x05first") {
				t.Errorf("heard %q, want the whole first message before anything else", got)
			}
			if got := st.hub.Snapshot().Total(); got.Panics != 0 || got.LaneDepth != 0 {
				t.Errorf("got panics %d, lane depth %d, want none", got.Panics, got.LaneDepth)
			}
		})
	}
}

func TestARestForAClientThatIsGoneIsDropped(t *testing.T) {
	st, sender, asleep := newSleeper(t, 2, nil)
	asleep[0].part = 3
	sender.publish("first")
	asleep[0].shard.closed(asleep[0].client)
	st.settle()
	if got := string(asleep[0].out); got != "\x81\x05f" {
		t.Errorf("the one that is gone was sent %q, want nothing more than what a borrower had sent", got)
	}
	asleep[1].heardOnce(t, "first")
	if total := st.hub.Snapshot().Total(); total.Members != 1 {
		t.Errorf("got %d members, want 1", total.Members)
	}
}

func TestAPanicOfABorrowerClosesTheClientItWasServing(t *testing.T) {
	st, sender, asleep := newSleeper(t, 3, nil)
	asleep[1].boom = true
	sender.publish("message")
	if !st.wakes[1] {
		t.Fatal("the loop was not woken")
	}
	st.settle()
	asleep[0].heardOnce(t, "message")
	asleep[2].heardOnce(t, "message")
	asleep[1].heard(t, "\x03\xf3")
	sender.publish("next")
	st.settle()
	asleep[2].heardOnce(t, "message", "next")
	if got := st.hub.Snapshot().Total(); got.Panics != 1 || got.LaneDepth != 0 || sender.client.state != stateOpen {
		t.Errorf("got panics %d, lane depth %d, sender in state %d; want 1, 0, and open", got.Panics, got.LaneDepth, sender.client.state)
	}
}

// A dialect that panics harms nobody's connection, whoever encodes.
func TestAFormThatPanicsForABorrowerIsLostToItsClientsAlone(t *testing.T) {
	st, sender, asleep := newSleeper(t, 1, nil, loud)
	far := st.enterAt(1, "/loud")
	far.say(`{"cmd":"add_group","group_id":"0g"}`)
	st.settle()
	far.out = nil
	st.hub.shards[1].dialects.of[1] = fragile{st.hub.shards[1].dialects.of[1]}
	sender.publish("x")
	st.settle()
	asleep[0].heardOnce(t, "x")
	if len(far.out) > 0 || far.client.state != stateOpen || st.hub.Snapshot().Total().Panics != 1 {
		t.Errorf("heard %q, in state %d, %d panics; want nothing, open, 1", far.out, far.client.state, st.hub.Snapshot().Total().Panics)
	}
}

// fragile panics over every message.
type fragile struct{ dialect.Dialect }

func (fragile) Encode(*dialect.Message) []byte { panic("a message that panics") }
