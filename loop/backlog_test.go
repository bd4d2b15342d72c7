package loop

import "testing"

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

func TestAGroupGivenUpWhileTheBacklogIsFullIsReleasedAfterwards(t *testing.T) {
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
