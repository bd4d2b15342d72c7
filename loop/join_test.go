package loop

import (
	"fmt"
	"strings"
	"testing"
)

// apply has all loops go over to other bounds.
func (st *stage) apply(change func(*bounds)) {
	b := *st.hub.bounds.Load()
	change(&b)
	st.hub.complete(&b)
	st.hub.bounds.Store(&b)
	for i, s := range st.hub.shards {
		s.calls.add(func(s *shard) { s.adopt(&b) })
		st.hub.wake(i)
	}
	st.settle()
}

// ask says something and lets all that follows happen.
func (st *stage) ask(c *stageConn, format string, args ...any) {
	c.say(format, args...)
	st.settle()
}

func (c *stageConn) heardNot(t *testing.T, what string) {
	t.Helper()
	if strings.Contains(string(c.out), what) {
		t.Errorf("heard %q, want no %q in it", c.out, what)
	}
}

// nothingLeft ends all clients and looks for what is left of their groups.
func (st *stage) nothingLeft(t *testing.T) {
	t.Helper()
	for _, s := range st.hub.shards {
		for len(s.clients) > 0 {
			s.closed(s.clients[0])
		}
	}
	st.settle()
	total := st.hub.Snapshot().Total()
	if total.Members != 0 || total.Homes != 0 || st.hub.homes.Census.Groups() != 0 {
		t.Errorf("left over: members %d, homes %d, groups counted %d, want none", total.Members, total.Homes, st.hub.homes.Census.Groups())
	}
	for i, s := range st.hub.shards {
		if s.groups.Len() != 0 || s.backlog.bytes != 0 {
			t.Errorf("left over on loop %d: groups %d, backlog %d bytes", i, s.groups.Len(), s.backlog.bytes)
		}
	}
}

func TestAGroupHasAsManyMembersAsItMayOnAllLoopsTogether(t *testing.T) {
	st := newStage(3, func(b *bounds) { b.MembersMax = 4 })
	var in []*stageConn
	for i := range 4 {
		c := st.enter(i % 3)
		st.ask(c, `{"cmd":"add_group","group_id":"1g","id":1}`)
		c.heard(t, `{"id":1,"ok":true}`)
		in = append(in, c)
	}
	for loop := range 3 {
		asking, silent := st.enter(loop), st.enter(loop)
		st.ask(asking, `{"cmd":"add_group","group_id":"1g","id":2}`)
		asking.heard(t, `{"id":2,"error":{"code":"group_full"`)
		st.ask(silent, `{"cmd":"add_group","group_id":"1g"}`)
		silent.heard(t, "\x03\xf0") // 1008
		st.ask(in[0], `{"cmd":"send_to_group","group_id":"1g","message":"for members"}`)
		asking.heardNot(t, "for members")
	}
	st.ask(in[1], `{"cmd":"add_group","group_id":"1g","id":3}`)
	in[1].heard(t, `{"id":3,"ok":true}`) // a member may say so again
	st.ask(in[2], `{"cmd":"leave_group","group_id":"1g"}`)
	late := st.enter(0)
	st.ask(late, `{"cmd":"add_group","group_id":"1g","id":4}`)
	late.heard(t, `{"id":4,"ok":true}`)
	if got := st.hub.Snapshot().Total().RefusedBy["group_full"]; got != 6 {
		t.Errorf("refused: got %d, want 6", got)
	}
	st.nothingLeft(t)
}

// Two ask in one breath and one place is left: who does not get it hears nothing of the group, not even for a moment.
func TestWhoIsRefusedByTheHomeHearsNothingMeanwhile(t *testing.T) {
	for _, id := range []string{"", `,"id":1`} {
		st := newStage(2, func(b *bounds) { b.MembersMax = 1 })
		first, second := st.enter(0), st.enter(0)
		letGo := st.hold(1)
		first.say(`{"cmd":"add_group","group_id":"1g"}`)
		first.say(`{"cmd":"send_to_group","group_id":"1g","message":"to myself"}`)
		second.say(`{"cmd":"add_group","group_id":"1g"%s}`, id)
		second.say(`{"cmd":"send_to_group","group_id":"1g","message":"to others"}`)
		letGo()
		st.settle()
		first.heard(t, "to myself")
		first.heard(t, "to others")
		second.heardNot(t, "to myself")
		second.heardNot(t, "to others")
		if id == "" {
			second.heard(t, "\x03\xf0") // 1008
		} else {
			second.heard(t, `{"id":1,"error":{"code":"group_full"`)
		}
		st.nothingLeft(t)
	}
}

func TestJoinLeaveJoinInOneBreathTakesOnePlace(t *testing.T) {
	st := newStage(2, func(b *bounds) { b.MembersMax = 1 })
	c := st.enter(0)
	letGo := st.hold(1)
	for i := range 3 {
		c.say(`{"cmd":"add_group","group_id":"1g","id":%d}`, 10+i)
		c.say(`{"cmd":"leave_group","group_id":"1g","id":%d}`, 20+i)
	}
	c.say(`{"cmd":"add_group","group_id":"1g","id":13}`)
	c.say(`{"cmd":"send_to_group","group_id":"1g","message":"to myself"}`)
	letGo()
	st.settle()
	for i := range 4 {
		c.heard(t, fmt.Sprintf(`{"id":%d,"ok":true}`, 10+i))
	}
	c.heard(t, "to myself")
	st.nothingLeft(t)
}

// What one client says again and again takes no places that others want; and all of it is answered.
func TestOneWhoJoinsManyTimesTakesOnePlace(t *testing.T) {
	st := newStage(3, func(b *bounds) { b.MembersMax = 2 })
	many, other, third := st.enter(0), st.enter(2), st.enter(0)
	letGo := st.hold(1)
	for i := range 50 {
		many.say(`{"cmd":"add_group","group_id":"1g","id":%d}`, 100+i)
	}
	other.say(`{"cmd":"add_group","group_id":"1g","id":1}`)
	letGo()
	st.settle()
	for i := range 50 {
		many.heard(t, fmt.Sprintf(`{"id":%d,"ok":true}`, 100+i))
	}
	other.heard(t, `{"id":1,"ok":true}`)
	st.ask(third, `{"cmd":"add_group","group_id":"1g","id":1}`)
	third.heard(t, "group_full")
	st.nothingLeft(t)
}

func TestAllRepeatsOfARefusedJoinAreRefused(t *testing.T) {
	st := newStage(2, func(b *bounds) { b.MembersMax = 1 })
	member, c := st.enter(1), st.enter(0)
	st.ask(member, `{"cmd":"add_group","group_id":"1g"}`)
	letGo := st.hold(1)
	for i := range 3 {
		c.say(`{"cmd":"add_group","group_id":"1g","id":%d}`, i)
	}
	letGo()
	st.settle()
	for i := range 3 {
		c.heard(t, fmt.Sprintf(`{"id":%d,"error":{"code":"group_full"`, i))
	}
	if got := st.hub.Snapshot().Total().RefusedBy["group_full"]; got != 3 {
		t.Errorf("refused: got %d, want 3", got)
	}
	st.nothingLeft(t)
}

func TestRepeatsAreBoundedWithTheBacklog(t *testing.T) {
	st := newStage(2, func(b *bounds) { b.backlogBytes = 300 })
	asking, silent := st.enter(0), st.enter(0)
	letGo := st.hold(1)
	for i := range 30 {
		asking.say(`{"cmd":"add_group","group_id":"1g","id":%d}`, i)
	}
	asking.heard(t, `{"id":29,"error":{"code":"busy"`)
	for range 30 {
		silent.say(`{"cmd":"add_group","group_id":"1g"}`) // keeps nothing, and needs no bound
	}
	if got := st.hub.shards[0].backlog.bytes; got > 300 {
		t.Errorf("backlog: got %d bytes, want at most 300", got)
	}
	letGo()
	st.settle()
	asking.heard(t, `{"id":1,"ok":true}`)
	silent.heardNot(t, "\x03")
	st.nothingLeft(t)
}

func TestAClientThatEndsBeforeTheHomesAnswerGivesItsPlaceBack(t *testing.T) {
	st := newStage(2, func(b *bounds) { b.MembersMax, b.GroupsMax = 1, 1 })
	c := st.enter(0)
	letGo := st.hold(1)
	c.say(`{"cmd":"add_group","group_id":"1g","id":1}`)
	c.say(`{"cmd":"add_group","group_id":"1g","id":2}`)
	c.shard.closed(c.client)
	letGo()
	st.settle()
	next := st.enter(0)
	st.ask(next, `{"cmd":"add_group","group_id":"1h","id":1}`)
	next.heard(t, `{"id":1,"ok":true}`)
	st.nothingLeft(t)
}

// The home would take the loop's farewell for everybody's, and the loop lose a group that somebody is in.
func TestAGroupIsNotGivenUpWhileSomebodyWaitsToJoinIt(t *testing.T) {
	st := newStage(2, nil)
	fleeting, lasting := st.enter(0), st.enter(0)
	letGo := st.hold(1)
	fleeting.say(`{"cmd":"add_group","group_id":"1g"}`)
	fleeting.say(`{"cmd":"leave_group","group_id":"1g"}`)
	letGo()
	letGo = st.hold(1)
	lasting.say(`{"cmd":"add_group","group_id":"1g","id":1}`) // and the answer to the first comes down
	letGo()
	st.settle()
	lasting.heard(t, `{"id":1,"ok":true}`)
	st.ask(st.enter(1), `{"cmd":"send_to_group","group_id":"1g","message":"to who stays"}`)
	lasting.heard(t, "to who stays")
	st.nothingLeft(t)
}

func TestThereAreAsManyGroupsAsThereMayBe(t *testing.T) {
	st := newStage(3, func(b *bounds) { b.GroupsMax = 2 })
	a, b := st.enter(0), st.enter(1)
	st.ask(a, `{"cmd":"add_group","group_id":"1g","id":1}`)
	st.ask(b, `{"cmd":"add_group","group_id":"2g","id":1}`)
	for loop := range 3 {
		asking, silent := st.enter(loop), st.enter(loop)
		st.ask(asking, `{"cmd":"add_group","group_id":"0g","id":2}`)
		asking.heard(t, `{"id":2,"error":{"code":"groups_full"`)
		st.ask(silent, `{"cmd":"add_group","group_id":"0g"}`)
		silent.heard(t, "\x03\xf5") // 1013
		st.ask(asking, `{"cmd":"add_group","group_id":"1g","id":3}`)
		asking.heard(t, `{"id":3,"ok":true}`) // a group that is there is open to all
		st.ask(asking, `{"cmd":"leave_group","group_id":"1g","id":4}`)
	}
	if got := st.hub.Snapshot().Total().RefusedBy["groups_full"]; got != 6 {
		t.Errorf("refused: got %d, want 6", got)
	}
	// Its last member makes room by leaving, though the home has not heard of it yet.
	letGo := st.hold(1)
	a.say(`{"cmd":"leave_group","group_id":"1g"}`)
	a.say(`{"cmd":"add_group","group_id":"0g","id":5}`)
	a.heard(t, `{"id":5,"ok":true}`)
	letGo()
	st.settle()
	st.nothingLeft(t)
}

func TestBoundsOnGroupsChangeUnderWay(t *testing.T) {
	st := newStage(2, nil)
	var in []*stageConn
	for range 3 {
		c := st.enter(0)
		st.ask(c, `{"cmd":"add_group","group_id":"1g","id":1}`)
		in = append(in, c)
	}
	st.apply(func(b *bounds) { b.MembersMax, b.GroupsMax, b.GroupBytesMax, b.GroupsPerClient = 2, 1, 1, 1 })
	st.ask(in[0], `{"cmd":"send_to_group","group_id":"1","message":"x","id":2}`)
	in[0].heard(t, `{"id":2,"ok":true,"seq":0}`)
	for _, verb := range []string{"add_group", "send_to_group"} {
		st.ask(in[0], `{"cmd":"%s","group_id":"1g","message":"x","id":3}`, verb)
		in[0].heard(t, `{"id":3,"error":{"code":"bad_group_id"`)
		in[0].out = nil
	}
	st.apply(func(b *bounds) { b.GroupBytesMax = 255 })
	for _, c := range in { // who was in a group has stayed in it
		c.out = nil
		st.ask(c, `{"cmd":"add_group","group_id":"1g","id":4}`)
		c.heard(t, `{"id":4,"ok":true}`)
		st.ask(c, `{"cmd":"add_group","group_id":"1h","id":5}`)
		c.heard(t, `{"id":5,"error":{"code":"too_many_groups"`)
	}
	late := st.enter(1)
	st.apply(func(b *bounds) { b.GroupBytesMax = 1 })
	st.ask(in[0], `{"cmd":"leave_group","group_id":"1g","id":6}`) // is always possible
	in[0].heard(t, `{"id":6,"ok":true}`)
	st.apply(func(b *bounds) { b.GroupBytesMax = 255 })
	st.ask(late, `{"cmd":"add_group","group_id":"1g","id":1}`)
	late.heard(t, `{"id":1,"error":{"code":"group_full"`)
	st.apply(func(b *bounds) { b.MembersMax = 3 })
	st.ask(late, `{"cmd":"add_group","group_id":"1g","id":2}`)
	late.heard(t, `{"id":2,"ok":true}`)
	st.nothingLeft(t)
}

func TestAGroupThatWasLeftBeforeTheHomesAnswerCountsNoMore(t *testing.T) {
	st := newStage(2, func(b *bounds) { b.GroupsPerClient = 1 })
	c := st.enter(0)
	letGo := st.hold(1)
	c.say(`{"cmd":"add_group","group_id":"1a","id":1}`)
	c.say(`{"cmd":"add_group","group_id":"1b","id":2}`)
	c.heard(t, `{"id":2,"error":{"code":"too_many_groups"`)
	c.say(`{"cmd":"leave_group","group_id":"1a","id":3}`)
	c.say(`{"cmd":"add_group","group_id":"1b","id":4}`)
	c.say(`{"cmd":"add_group","group_id":"1a","id":5}`)
	c.heard(t, `{"id":5,"error":{"code":"too_many_groups"`)
	letGo()
	st.settle()
	c.heard(t, `{"id":1,"ok":true}`)
	c.heard(t, `{"id":4,"ok":true}`)
	if got := c.client.groupCount(); got != 1 {
		t.Errorf("memberships: got %d, want 1", got)
	}
	st.nothingLeft(t)
}
