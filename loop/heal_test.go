package loop

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"ringcast/dialect"
	"ringcast/loop/order"
	"ringcast/wsproto"
)

// How slow clients heal, step by step. The groups keep messages, but for those whose names end in "x"; a frame of the loud dialect with
// a message of 100 bytes has some 105.

// newHealStage is a stage with a loud member of some groups, that takes nothing from here on, and a plain sender.
func newHealStage(loops int, change func(*bounds), groups ...string) (st *stage, member, sender *stageConn) {
	st = newStage(loops, func(b *bounds) {
		b.OutboxBytesMax, b.History, b.HistoryTTL, b.Kinds = 1000, 100, 1000*tickPeriod, []Kind{{Match: "*x"}}
		if change != nil {
			change(b)
		}
	}, loud)
	member, sender = st.enterAt(loops-1, "/loud"), st.enter(0)
	for i, group := range groups {
		member.say(`{"cmd":"add_group","group_id":%q,"id":%d}`, group, i)
		st.settle()
	}
	member.out, member.stuck = nil, true
	return st, member, sender
}

func publishTo(c *stageConn, group string, from, to int) {
	for i := from; i <= to; i++ {
		c.say(`{"cmd":"send_to_group","group_id":%q,"message":"%0100d"}`, group, i)
	}
}

// events are what a loud client has heard: messages as group's number|message, without zeros, and all else as it is.
func (c *stageConn) events(t *testing.T) (events []string) {
	t.Helper()
	for _, line := range c.lines(t) {
		if number, text, is := strings.Cut(line, "|"); is {
			line = number + "|" + strings.TrimLeft(text, "0")
		} else if len(line) == 100 {
			line = strings.TrimLeft(line, "0")
		}
		events = append(events, line)
	}
	return events
}

func parted(group string) string { return fmt.Sprintf(`{"event":"parted","group_id":%q}`, group) }

// rejoin is what a loud client says that comes back from an offset, whatever the epoch.
func rejoin(c *stageConn, group string, offset int) {
	c.say(`{"cmd":"add_group","group_id":%q,"id":99,"past":{"offset":%d,"epoch":"%016x"}}`, group, offset, 0)
}

func TestASlowClientHealsFromHistoryAndHearsEachMessageOnce(t *testing.T) {
	st, member, sender := newHealStage(1, func(b *bounds) { b.OutboxBytesMax = 2000 }, "0g")
	publishTo(sender, "0g", 1, 20) // 18 fit
	member.take(600)
	publishTo(sender, "0g", 21, 21) // more than half still waits
	st.ticks(1)
	member.take(600)
	st.ticks(1)
	publishTo(sender, "0g", 22, 23) // it is no member
	member.take(1 << 20)
	var want []string
	for i := range 18 {
		want = append(want, fmt.Sprintf("K%d|%d", i+1, i+1))
	}
	want = append(want, parted("0g"))
	if got := member.events(t); !slices.Equal(got, want) {
		t.Fatalf("heard %q, want %q", got, want)
	}
	if g := member.shard.groups.Get("0g"); g != nil {
		t.Errorf("it is still among the %d members", g.size())
	}
	rejoin(member, "0g", 18)
	publishTo(sender, "0g", 24, 24)
	st.settle()
	got := member.events(t)
	if len(got) != 2 || !strings.Contains(got[0], `"Recovered":true`) || strings.Count(got[0], `"Text"`) != 5 || got[1] != "K24|24" {
		t.Errorf("heard %.200q, want the 5 messages that it has lost, and then the next", got)
	}
	total := st.hub.Snapshot().Total()
	if total.SlowHealed != 1 || total.SlowSkipped != 3 || total.SlowClosed != 0 || total.SlowDropped != 0 || total.Deliveries != 18+5+1 || total.Slow != 0 {
		t.Errorf("got healed %d, skipped %d, closed %d, dropped %d, deliveries %d, slow %d; want 1, 3, 0, 0, 24 and 0",
			total.SlowHealed, total.SlowSkipped, total.SlowClosed, total.SlowDropped, total.Deliveries, total.Slow)
	}
}

// What reads again without anything being said finds its outbox empty and is told all the same.
func TestAHealingClientIsPartedWithoutFurtherTraffic(t *testing.T) {
	st, member, sender := newHealStage(1, nil, "0g", "0h")
	publishTo(sender, "0g", 1, 12)
	publishTo(sender, "0h", 1, 1) // lost too: its outbox is full
	member.take(1 << 20)
	st.ticks(1)
	got := member.events(t)
	if len(got) != 11 || !slices.Contains(got[9:], parted("0g")) || !slices.Contains(got[9:], parted("0h")) {
		t.Errorf("heard %q, want 9 messages and that it was taken out of both groups", got)
	}
	if member.client.groupCount() != 0 || member.client.isSlow() || len(st.hub.shards[0].slow.list) != 0 {
		t.Errorf("it is in %d groups, slow %v; want none, and not slow", member.client.groupCount(), member.client.isSlow())
	}
}

func TestOnlyGroupsThatHaveLostSomethingAreLeft(t *testing.T) {
	_, member, sender := newHealStage(1, nil, "0a", "0x", "0g", "0h", "0i")
	publishTo(sender, "0g", 1, 9)
	publishTo(sender, "0h", 1, 1)
	member.take(600)
	publishTo(sender, "0a", 1, 1) // half has gone
	publishTo(sender, "0x", 2, 2)
	publishTo(sender, "0g", 10, 10)
	member.take(1 << 20)
	got := member.events(t)[9:]
	if want := []string{"K1|1", parted("0h"), "2", "K10|10"}; !slices.Equal(got, want) {
		t.Errorf("heard %q, want %q", got, want)
	}
}

// It is due when half of its outbox has gone, and is sent more before its turn has come.
func TestAClientThatIsSentMoreIsPartedWhenHalfHasGoneAgain(t *testing.T) {
	_, member, sender := newHealStage(1, nil, "0g", "0h")
	publishTo(sender, "0g", 1, 10) // 9 fit
	member.take(560)
	sender.say(`{"cmd":"send_to_group","group_id":"0h","message":"%0540d"}`, 1)
	if n := len(member.queued); n > 1000 || member.client.groupCount() != 2 {
		t.Errorf("%d bytes wait for it, of 1000, and it is in %d groups, want both", n, member.client.groupCount())
	}
	member.take(1 << 20)
	publishTo(sender, "0h", 2, 2)
	member.heard(t, parted("0g"))
}

// While its outbox is full a client that heals goes on to hear groups without a history, as far as there is room.
func TestAGroupWithoutHistoryLosesNothingOrClosesTheClient(t *testing.T) {
	st, member, sender := newHealStage(1, nil, "0g", "0x")
	publishTo(sender, "0g", 1, 9)
	sender.say(`{"cmd":"send_to_group","group_id":"0g","message":"%0200d"}`, 10) // lost
	sender.say(`{"cmd":"send_to_group","group_id":"0x","message":"%020d"}`, 11)
	publishTo(sender, "0x", 12, 12) // has no room
	member.take(1 << 20)
	member.heard(t, "00011")
	member.heard(t, "TOO SLOW")
	if total := st.hub.Snapshot().Total(); total.SlowClosed != 1 || strings.Contains(string(member.out), "parted") {
		t.Errorf("closed %d, heard %q; want it closed and not told of groups", total.SlowClosed, member.out)
	}
}

func TestAThirdHealWithinAMinuteClosesTheClient(t *testing.T) {
	for _, wait := range []int{0, 298, 299} {
		st, member, sender := newHealStage(1, nil, "0g")
		heal := func() {
			publishTo(sender, "0g", 1, 20)
			member.take(1 << 20)
			st.ticks(1)
			rejoin(member, "0g", 0)
			st.settle()
			member.heard(t, parted("0g"))
			member.out, member.stuck = nil, true
		}
		heal()
		st.ticks(wait - 1)
		member.out = nil
		heal()
		publishTo(sender, "0g", 1, 20)
		member.take(1 << 20)
		if closed := strings.Contains(string(member.out), "TOO SLOW"); closed != (wait+1 < 300) {
			t.Errorf("%d ticks after the first: closed %v", wait+1, closed)
		}
	}
}

func TestTimesOfHealsAreForgotten(t *testing.T) {
	h := &healers{}
	clients := make([]client, 1000)
	for i := range clients {
		if !h.mayBegin(&clients[i], uint32(i), 100) {
			t.Fatalf("client %d may not heal for the first time", i)
		}
	}
	if n := h.times.Len(); n > 2*100+healTimesKeptMin {
		t.Errorf("%d times are kept, of which 100 count", n)
	}
	st, member, sender := newHealStage(1, nil, "0g")
	publishTo(sender, "0g", 1, 20)
	member.shard.closed(member.client)
	if n := st.hub.shards[0].slow.healers.times.Len(); n != 0 {
		t.Errorf("%d times are kept of clients that are gone", n)
	}
}

// Comings and goings are in no history, and need not be: who comes back asks who is there.
func TestWhatMayBeLost(t *testing.T) {
	for _, of := range []struct {
		kept bool
		sort dialect.Sort
		want bool
	}{{kept: true, want: true}, {}, {sort: dialect.Came, want: true}, {sort: dialect.Went, want: true}} {
		if got := holds(&order.Message{Message: dialect.Message{Kept: of.kept, Sort: of.sort}}); got != of.want {
			t.Errorf("%+v: got %v", of, got)
		}
	}
}

func TestClientsThatCannotHealAreClosed(t *testing.T) {
	for name, of := range map[string]struct {
		change func(*bounds)
		path   string
		join   string
	}{
		"another dialect":      {path: "/", join: `{"cmd":"add_group","group_id":"0g","id":1}`},
		"close":                {change: func(b *bounds) { b.SlowClient = SlowClose }, path: "/loud", join: `{"cmd":"add_group","group_id":"0g","id":1}`},
		"no position was told": {path: "/loud", join: `{"cmd":"add_group","group_id":"0g"}`},
		"no history":           {change: func(b *bounds) { b.History = 0 }, path: "/loud", join: `{"cmd":"add_group","group_id":"0g","id":1}`},
	} {
		st, _, sender := newHealStage(1, of.change)
		c := st.enterAt(0, of.path)
		c.say("%s", of.join)
		st.settle()
		c.stuck = true
		publishTo(sender, "0g", 1, 12)
		c.take(1 << 20)
		if got := st.hub.Snapshot().Total(); got.SlowClosed != 1 || got.SlowHealed != 0 || !strings.Contains(strings.ToLower(string(c.out)), "too slow") {
			t.Errorf("%s: closed %d, healed %d, heard %q; want it closed", name, got.SlowClosed, got.SlowHealed, c.out)
		}
	}
}

// A reload may leave messages that nobody keeps behind those that were lost, or behind a position.
func TestAGroupWhoseHistoryEndsMeanwhileClosesTheClient(t *testing.T) {
	for kept, more := range map[int]int{0: 10, 12: 1} {
		st, member, sender := newHealStage(1, nil, "0g")
		publishTo(sender, "0g", 1, kept)
		b := *st.hub.bounds.Load()
		b.History = 0
		st.hub.bounds.Store(&b)
		st.hub.homes.KindsChanged()
		st.hub.shards[0].adopt(&b)
		member.take(300) // there is room
		member.stuck = true
		publishTo(sender, "0g", 1, more)
		member.take(1 << 20)
		member.heard(t, "TOO SLOW")
	}
}

// Notices are sent as far as there is room, however many groups there are and however long their names.
func TestAClientOfManyGroupsIsPartedAsRoomPermits(t *testing.T) {
	const groups = 1024
	st, member, sender := newHealStage(1, func(b *bounds) { b.OutboxBytesMax = 20_000 })
	var names []string
	member.stuck = false
	for i := range groups {
		names = append(names, fmt.Sprintf("0%0200d", i))
		member.say(`{"cmd":"add_group","group_id":%q,"id":1}`, names[i])
	}
	st.settle()
	member.out, member.stuck = nil, true
	publishTo(sender, names[0], 1, 200)
	for _, name := range names[1:] {
		publishTo(sender, name, 1, 1)
	}
	for rounds := 0; member.client.groupCount() > 0; rounds++ {
		if n := len(member.queued); n > 20_000 || rounds > 100 {
			t.Fatalf("%d bytes wait for it after %d rounds, bound 20,000", n, rounds)
		}
		member.take(10_000)
		st.ticks(1)
	}
	member.take(1 << 20)
	told := map[string]int{}
	for _, event := range member.events(t) {
		told[event]++
	}
	for _, name := range names {
		if n := told[parted(name)]; n != 1 {
			t.Fatalf("it was told %d times that it was taken out of %s, want once", n, name)
		}
	}
}

func TestPartingsAreSpreadOverTurns(t *testing.T) {
	st, member, sender := newHealStage(1, func(b *bounds) { b.partsPerTurn, b.OutboxBytesMax = 10, 4000 })
	member.stuck = false
	for i := range 25 {
		member.say(`{"cmd":"add_group","group_id":"0%d","id":1}`, i)
	}
	member.out, member.stuck = nil, true
	publishTo(sender, "00", 1, 50)
	for i := range 25 {
		publishTo(sender, fmt.Sprint("0", i), 1, 1)
	}
	member.take(1 << 20)
	st.hub.beat()
	s := st.hub.shards[0]
	s.woken()
	for _, want := range []int{15, 5, 0} {
		if n := member.client.groupCount(); n != want || s.kicked != (want > 0) {
			t.Fatalf("it is in %d groups, kicked %v; want %d", n, s.kicked, want)
		}
		st.kicks[0] = false
		s.kickedAwake()
	}
}

// It leaves by itself before it is told: that is no reason to tell it, nor to keep it among the slow.
func TestWhoLeavesAGroupThatHasLostSomethingHasHealed(t *testing.T) {
	st, member, sender := newHealStage(1, nil, "0g")
	publishTo(sender, "0g", 1, 12)
	member.say(`{"cmd":"leave_group","group_id":"0g"}`)
	member.take(1 << 20)
	st.ticks(1)
	if got := member.events(t); len(got) != 9 || member.client.isSlow() {
		t.Errorf("heard %q, slow %v; want 9 messages, and it not slow", got, member.client.isSlow())
	}
}

func TestAHealingClientEndsAsAnyOther(t *testing.T) {
	st, member, sender := newHealStage(1, nil, "0g")
	publishTo(sender, "0g", 1, 12)
	s := st.hub.shards[0]
	s.beginStop()
	s.woken()
	member.take(1 << 20)
	st.ticks(1)
	if !strings.HasSuffix(string(member.out), string(wsproto.AppendClose(nil, 4100+wsproto.StatusCode(dialect.CauseStopping), "THE SERVER IS STOPPING"))) ||
		strings.Contains(string(member.out), "parted") || member.client.end != endOurs || s.slow.list != nil {
		t.Errorf("heard %q, end %d; want the Close frame and nothing of its group, and our direction shut down", member.out, member.client.end)
	}
}

func TestAPanicWhileAClientIsPartedIsItsAlone(t *testing.T) {
	st, member, sender := newHealStage(1, nil, "0g")
	publishTo(sender, "0g", 1, 12)
	member.take(1 << 20)
	member.boom = true
	st.ticks(1)
	if member.client.state < stateClosing || sender.client.state != stateOpen || st.hub.Snapshot().Total().Panics != 1 {
		t.Errorf("got states %v and %v, want the one closed and the other open", member.client.state, sender.client.state)
	}
}

// A borrower sends nothing to a client that heals, also when nothing waits for it: it is to hear first that it was taken out.
func TestABorrowerLeavesAHealingClientToItsLoop(t *testing.T) {
	st, member, sender := newHealStage(2, nil, "0g", "0h")
	publishTo(sender, "0g", 1, 9)
	st.settle()
	publishTo(sender, "0g", 10, 12)
	st.settle()
	st.raw()
	member.take(1 << 20)
	member.out = nil
	publishTo(sender, "0h", 1, 1)
	if len(member.out) > 0 || !st.wakes[1] {
		t.Errorf("heard %q from a borrower, its loop called: %v", member.out, st.wakes[1])
	}
	st.settle()
	if got, want := member.events(t), []string{"K1|1", parted("0g")}; !slices.Equal(got, want) {
		t.Errorf("heard %q, want %q", got, want)
	}
}
