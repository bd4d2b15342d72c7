package loop

import "testing"

// A client of very many groups goes while the way to their home is full. What its loop owes the home takes no room from
// others, and all of it is said in the end.
func TestWhatAGoneClientLeavesBehindRefusesNobody(t *testing.T) {
	st := newStage(2, func(b *bounds) { b.laneSlots, b.backlogBytes = 2, 2000 })
	member, sender := st.enter(0), st.enter(0)
	const groups = 500
	for i := range groups {
		member.say(`{"cmd":"add_group","group_id":"1g%d"}`, i)
		st.settle()
	}
	letGo := st.hold(1)
	st.hub.shards[0].closed(member.client)
	if got := st.hub.shards[0].backlog.bytes; got != 0 {
		t.Errorf("the backlog has %d bytes of leaves, want none", got)
	}
	if got := st.hub.shards[0].owed.total; got < groups-2 {
		t.Fatalf("%d groups are owed, want nearly all of %d", got, groups)
	}
	sender.say(`{"cmd":"send_to_group","group_id":"1x","message":"x","id":1}`)
	sender.say(`{"cmd":"send_to_group","group_id":"0x","message":"x","id":2}`)
	letGo()
	st.settle()
	sender.heard(t, `{"id":1,"ok":true,"seq":0}`)
	sender.heard(t, `{"id":2,"ok":true,"seq":0}`)
	if total := st.hub.Snapshot().Total(); total.Homes != 0 || total.Refused != 0 || st.hub.shards[0].owed.total != 0 {
		t.Errorf("left over: homes %d, refused %d, owed %d; want none", total.Homes, total.Refused, st.hub.shards[0].owed.total)
	}
}

// A home that is held up holds up no other.
func TestWhatIsOwedToOneHomeWaitsForNoOther(t *testing.T) {
	st := newStage(3, func(b *bounds) { b.laneSlots = 2 })
	member := st.enter(0)
	member.say(`{"cmd":"add_group","group_id":"2g"}`) // the first of its memberships is the last that is owed
	st.settle()
	for i := range 20 {
		member.say(`{"cmd":"add_group","group_id":"1g%d"}`, i)
		st.settle()
	}
	letGo := st.hold(1)
	st.hub.shards[0].closed(member.client)
	if got := st.hub.homes.Home(2).Groups(); got != 0 {
		t.Errorf("home 2 knows %d groups, want none: it is free", got)
	}
	letGo()
	st.settle()
	if got := st.hub.Snapshot().Total().Homes; got != 0 {
		t.Errorf("left over: %d groups", got)
	}
}

// However much is owed to a home that is full, a turn looks at no more of it than there is room for, and one.
func TestATurnDoesNotGoThroughAllThatIsOwed(t *testing.T) {
	st := newStage(2, func(b *bounds) { b.laneSlots = 2 })
	member, sender := st.enter(0), st.enter(0)
	const groups = 200
	for i := range groups {
		member.say(`{"cmd":"add_group","group_id":"1g%d"}`, i)
		st.settle()
	}
	letGo := st.hold(1)
	s := st.hub.shards[0]
	s.closed(member.client)
	owed := s.owed.homes[1]
	looked := owed[len(owed)-1]
	looked.asked = -1 // a look at it would take it for a group that somebody waits to join, and forget that it is owed
	sender.say(`{"cmd":"send_to_group","group_id":"0x","message":"x"}`)
	if !looked.owed {
		t.Error("a turn has gone through the whole list while the lane was full")
	}
	looked.asked = 0
	letGo()
	st.settle()
	if got := st.hub.Snapshot().Total().Homes; got != 0 || s.owed.total != 0 {
		t.Errorf("left over: %d groups, %d owed", got, s.owed.total)
	}
}
