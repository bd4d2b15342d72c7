package loop

import (
	"fmt"
	"slices"
	"testing"

	"ringcast/wsproto"
)

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

// Whoever finds the loop in a callback leaves what it has to the loop's look, which is a kick; that may come late too.
func TestWhatComesFromOtherLoopsDoesNotWaitForALateKickEither(t *testing.T) {
	st := newStage(2, nil)
	member, reader, sender := st.enter(1), st.enter(1), st.enter(0)
	member.say(`{"cmd":"add_group","group_id":"0g"}`)
	st.settle()
	st.busy = true
	s := st.hub.shards[1]
	s.beginCallback(nil)
	s.lanes.MustWake() // a wake-up would be a look too
	sender.say(`{"cmd":"send_to_group","group_id":"0g","message":"from afar"}`)
	s.lanes.Woken()
	s.endCallback()
	if !st.kicks[1] {
		t.Fatal("the loop did not kick itself")
	}
	for range deferMax/(busyGap-1) + 2 { // the kick does not come
		st.nanos += busyGap - 1
		reader.say(`{"cmd":"nothing"}`)
	}
	member.heard(t, "from afar")
}

func TestALoopThatIsAboutToBeWokenDoesNotKickItself(t *testing.T) {
	st := newStage(2, nil)
	member, sender := st.enter(1), st.enter(0)
	member.say(`{"cmd":"add_group","group_id":"0g"}`)
	st.settle()
	s := st.hub.shards[1]
	s.beginCallback(nil)
	sender.say(`{"cmd":"send_to_group","group_id":"0g","message":"m"}`)
	s.endCallback()
	if !st.wakes[1] || st.kicks[1] {
		t.Errorf("got woken %v, kicked %v, want a wake-up alone", st.wakes[1], st.kicks[1])
	}
}
