package loop

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"ringcast/loop/order"
)

// Who is in a group, as clients of the Centrifuge protocol hear it. All groups have presence.

func newPresenceStage(loops int, change func(*bounds)) *stage {
	return newCentrifugeStage(loops, func(b *bounds) {
		b.Presence = true
		if change != nil {
			change(b)
		}
	})
}

// name is that of a client on the wire.
func (st *stage) name(t *testing.T, loop int) (c *stageConn, name string) {
	t.Helper()
	c = st.enterAt(loop, centrifugePath)
	c.say(`{"id":1,"connect":{}}`)
	return c, field(c.lines(t)[0], "client")
}

// present is who a client is told is in a group, or the answer if it is an error.
func (st *stage) present(t *testing.T, c *stageConn, group string) string {
	t.Helper()
	c.out = nil
	c.say(`{"id":9,"presence":{"channel":%q}}`, group)
	st.settle()
	lines := c.lines(t)
	if len(lines) != 1 {
		t.Fatalf("got %q, want one answer", lines)
	}
	list, is := strings.CutPrefix(lines[0], `{"id":9,"presence":{"presence":{`)
	if !is {
		return lines[0]
	}
	var names []string
	for _, entry := range strings.SplitAfter(list, "},") {
		if name := strings.Split(entry, `"`); len(name) > 1 {
			names = append(names, name[1])
		}
	}
	return sorted(names...)
}

func sorted(names ...string) string { return strings.Join(slices.Sorted(slices.Values(names)), " ") }

func TestMembersHearWhoComesAndGoesIfTheyHaveAsked(t *testing.T) {
	for loops := 1; loops <= 3; loops++ {
		st := newPresenceStage(loops, nil)
		hears, hearer := st.name(t, 0)
		deaf, deafName := st.name(t, loops-1)
		push := func(what, name string) string {
			return fmt.Sprintf(`{"push":{"channel":"0g",%q:{"info":{"user":"","client":%q}}}}`, what, name)
		}
		hears.say(`{"id":2,"subscribe":{"channel":"0g","join_leave":true}}`)
		st.settle()
		hears.heardExactly(t, `{"id":2,"subscribe":{}}`, push("join", hearer))
		st.subscribe(t, deaf, "0g", "")
		plain := st.enter(loops / 2)
		plain.say(`{"cmd":"add_group","group_id":"0g"}`)
		plain.say(`{"cmd":"send_to_group","group_id":"0g","message":"hi"}`)
		st.settle()
		plain.shard.closed(plain.client)
		deaf.shard.closed(deaf.client)
		st.settle()
		got := hears.lines(t)
		for i, want := range []string{push("join", deafName), push("join", "…"), `"data":"hi"`, push("leave", "…"), push("leave", deafName)} {
			before, after, _ := strings.Cut(want, "…")
			if len(got) != 5 || !strings.Contains(got[i], before) || !strings.Contains(got[i], after) {
				t.Fatalf("%d loops: heard %q, want %s at %d", loops, got, want, i)
			}
		}
		if field(got[1], "client") != field(got[3], "client") {
			t.Errorf("%d loops: %s has come, %s has gone", loops, got[1], got[3])
		}
		if strings.Contains(string(deaf.out), "join") || strings.Contains(string(plain.out), "join") || strings.Contains(string(deaf.out), "leave") {
			t.Errorf("%d loops: who has not asked heard %q, %q", loops, deaf.out, plain.out)
		}
	}
}

func TestAKindSaysWhoHearsOfComingsAndGoings(t *testing.T) {
	for is, want := range map[JoinLeave][2]int{HearAsked: {0, 1}, HearNone: {0, 0}, HearAll: {2, 1}} {
		st := newPresenceStage(2, func(b *bounds) { b.JoinLeave = is })
		quiet, asking := st.connect(0), st.connect(1)
		st.subscribe(t, quiet, "0g", "")
		st.subscribe(t, asking, "0g", `,"join_leave":true`)
		other := st.connect(1)
		st.subscribe(t, other, "0g", "")
		for i, c := range []*stageConn{quiet, asking} {
			if got := strings.Count(string(c.out), `"join":`); got != want[i] {
				t.Errorf("join-leave %d, client %d: heard of %d, want %d", is, i, got, want[i])
			}
		}
	}
}

func TestWhoIsThereIsListedOnceWhateverItsDialectAndLoop(t *testing.T) {
	st := newPresenceStage(3, nil)
	var conns []*stageConn
	var names []string
	for i := range 6 {
		c, name := st.name(t, i%3)
		conns, names = append(conns, c), append(names, name)
		st.subscribe(t, c, "0g", "")
	}
	if got := st.present(t, conns[0], "0g"); got != sorted(names...) {
		t.Errorf("six: got %s, want %s", got, sorted(names...))
	}
	conns[5].say(`{"id":3,"unsubscribe":{"channel":"0g"}}`)
	conns[4].shard.closed(conns[4].client)
	conns[3].say(`{"id":3,"unsubscribe":{"channel":"0g"}}` + "\n" + `{"id":4,"subscribe":{"channel":"0g"}}`) // away and back in one breath
	st.settle()
	if got := st.present(t, conns[0], "0g"); got != sorted(names[:4]...) {
		t.Errorf("four: got %s, want %s", got, sorted(names[:4]...))
	}
	plain := st.enter(1)
	plain.say(`{"cmd":"add_group","group_id":"0g"}`)
	st.settle()
	if got := st.present(t, conns[0], "0g"); len(strings.Fields(got)) != 5 {
		t.Errorf("with a plain client: got %s, want five", got)
	}
	conns[0].say(`{"id":8,"presence_stats":{"channel":"0g"}}`)
	conns[0].heardExactly(t, `{"id":8,"presence_stats":{"num_clients":5,"num_users":1}}`)
	if got := st.present(t, conns[5], "0g"); !strings.Contains(got, `"code":103`) {
		t.Errorf("who is no member: got %s, want error 103", got)
	}
}

func TestPresenceIsAskedOnlyWhereTheKindHasIt(t *testing.T) {
	st := newPresenceStage(2, func(b *bounds) { b.Kinds = []Kind{{Match: "0quiet"}} })
	c := st.connect(0)
	st.subscribe(t, c, "0quiet", `,"join_leave":true`)
	if got := st.present(t, c, "0quiet"); !strings.Contains(got, `"code":108`) {
		t.Errorf("got %s, want error 108", got)
	}
	c.say(`{"id":8,"presence_stats":{"channel":"0quiet"}}`)
	c.heardExactly(t, `{"id":8,"presence_stats":{"num_clients":1}}`)
}

func TestOfMoreThanMayBeListedTheNumberIsSaidAlone(t *testing.T) {
	st := newPresenceStage(2, func(b *bounds) { b.presentMax = 3 })
	var conns []*stageConn
	for i := range 4 {
		conns = append(conns, st.connect(i%2))
		st.subscribe(t, conns[i], "0g", "")
	}
	if got := st.present(t, conns[0], "0g"); !strings.Contains(got, `"code":106`) {
		t.Errorf("got %s, want error 106", got)
	}
	conns[0].say(`{"id":8,"presence_stats":{"channel":"0g"}}`)
	conns[0].heardExactly(t, `{"id":8,"presence_stats":{"num_clients":4,"num_users":1}}`)
	small := newPresenceStage(1, func(b *bounds) { b.OutboxBytesMax = 200 })
	c := small.connect(0)
	small.subscribe(t, c, "0g", "")
	if got := small.present(t, c, "0g"); !strings.Contains(got, `"code":106`) {
		t.Errorf("a list of more than half of an outbox: got %s, want error 106", got)
	}
}

// A client asks to join and is gone before its home has said yes: the home has it among those who are present.
func TestWhoIsGoneBeforeItsJoinIsDecidedIsNotPresent(t *testing.T) {
	for _, gone := range []func(c *stageConn){
		func(c *stageConn) { c.shard.closed(c.client) },
		func(c *stageConn) { c.say(`{"id":3,"unsubscribe":{"channel":"0g"}}`) },
	} {
		st := newPresenceStage(2, nil)
		stays, name := st.name(t, 1)
		st.subscribe(t, stays, "0g", `,"join_leave":true`)
		c := st.connect(0)
		letGo := st.hold(0)
		c.say(`{"id":2,"subscribe":{"channel":"0g"}}`)
		gone(c)
		letGo()
		st.settle()
		if got := strings.Join(stays.lines(t), "\n"); strings.Count(got, `"join":`) != 1 || strings.Count(got, `"leave":`) != 1 {
			t.Errorf("heard %s, want that one has come and gone", got)
		}
		if got := st.present(t, stays, "0g"); got != name {
			t.Errorf("present: got %s, want %s", got, name)
		}
	}
}

// Words to a home that is held wait; the same client's later join must not overtake the word that it is gone.
func TestWordsAreSaidInTheirOrderAndBeforeRequests(t *testing.T) {
	st := newPresenceStage(2, func(b *bounds) { b.laneSlots = 1 })
	stays, name := st.name(t, 1)
	st.subscribe(t, stays, "0g", `,"join_leave":true`)
	var conns []*stageConn
	names := []string{name}
	for i := range 4 {
		c, other := st.name(t, 0)
		conns, names = append(conns, c), append(names, other)
		st.subscribe(t, conns[i], "0g", "")
	}
	letGo := st.hold(0)
	for _, c := range conns {
		c.say(`{"id":3,"unsubscribe":{"channel":"0g"}}` + "\n" + `{"id":4,"subscribe":{"channel":"0g"}}`)
	}
	if s := st.hub.shards[0]; s.owed.said == 0 {
		t.Error("no word waits, want some where the lane has one place")
	}
	letGo()
	st.settle()
	if got := st.present(t, stays, "0g"); got != sorted(names...) {
		t.Errorf("present: got %s, want %s", got, sorted(names...))
	}
	if s := st.hub.shards[0]; s.owed.said != 0 || s.backlog.bytes != 0 {
		t.Errorf("%d words and %d bytes of requests are left", s.owed.said, s.backlog.bytes)
	}
}

// When presence is switched on, who is there already is listed too, and nobody hears of it.
func TestAReloadThatSwitchesPresenceOnListsWhoIsThereAlready(t *testing.T) {
	st := newPresenceStage(2, func(b *bounds) { b.Presence = false })
	var conns []*stageConn
	var names []string
	for i := range 8 {
		c, name := st.name(t, i%2)
		conns, names = append(conns, c), append(names, name)
		for group := range 3 {
			st.subscribe(t, c, fmt.Sprintf("%dg", group%2), `,"join_leave":true`)
		}
	}
	b := *st.hub.bounds.Load()
	b.Presence = true
	st.hub.complete(&b)
	for range 2 { // the second time nothing changes
		st.hub.bounds.Store(&b)
		st.hub.homes.KindsChanged()
		for _, s := range st.hub.shards {
			st.hub.call(s, func(s *shard) { s.adopt(&b) })
		}
		st.settle()
	}
	for group := range 2 {
		if got := st.present(t, conns[group], fmt.Sprintf("%dg", group)); got != sorted(names...) {
			t.Errorf("group %d: got %s, want %s", group, got, sorted(names...))
		}
	}
	for _, c := range conns {
		c.heardExactly(t)
		c.shard.closed(c.client)
	}
	st.settle()
	for home := range 2 {
		st.hub.homes.Home(home).Each(func(name string, _ *order.Headcount, _ []*group) { t.Errorf("group %s is known still", name) })
	}
}

// With the connection of a proxy very many clients go at once. Each turn buries some, and others are served between.
func TestManyClientsThatGoAtOnceAreBuriedInSlices(t *testing.T) {
	const clients, groups = 40, 300
	st := newPresenceStage(2, func(b *bounds) { b.laneSlots = 16 })
	st.hub.clientsMax.Store(1000)
	var conns []*stageConn
	stays, name := st.name(t, 1)
	st.subscribe(t, stays, "0g7", "")
	for range clients {
		c := st.connect(0)
		conns = append(conns, c)
		for g := range groups {
			c.say(`{"id":2,"subscribe":{"channel":"%dg%d"}}`, g%2, g)
			st.settle()
		}
	}
	s := st.hub.shards[0]
	letGo := st.hold(1)
	for _, c := range conns {
		s.calls.add(func(s *shard) { s.gone(c.client) })
	}
	turns, most := 0, 0
	for before := s.count.Members.Load(); before > 0 && turns < 1000; turns++ {
		if turns == 20 {
			if s.owed.said < s.bounds.wordsEnough/4 || s.owed.said > s.bounds.wordsEnough || before == 0 {
				t.Errorf("while a home is held: %d words wait, %d members are left", s.owed.said, before)
			}
			letGo()
		}
		st.kicks[0] = false
		if turns == 0 {
			s.woken()
		} else {
			s.kickedAwake()
		}
		now := s.count.Members.Load()
		most, before = max(most, int(before-now)), now
	}
	if most > s.bounds.burialsPerTurn || turns < clients*groups/s.bounds.burialsPerTurn {
		t.Errorf("got %d turns, of which one has buried %d memberships, want at most %d each", turns, most, s.bounds.burialsPerTurn)
	}
	st.settle()
	if len(s.clients) != 0 || s.owed.said != 0 || len(s.ends.dead) != 0 || s.groups.Len() != 0 {
		t.Errorf("left: %d clients, %d words, %d dead, %d groups", len(s.clients), s.owed.said, len(s.ends.dead), s.groups.Len())
	}
	if got := st.present(t, stays, "0g7"); got != name {
		t.Errorf("present: got %s, want %s", got, name)
	}
}
