package loop

import (
	"testing"

	"ringcast/loop/order"
)

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
	if err := insist(port, "1g", []byte("waits for room")); err != nil {
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
