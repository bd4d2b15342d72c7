package loop

import (
	"fmt"
	"testing"

	"ringcast/loop/order"
)

func TestAShardThatAnotherLoopHoldsIsLeftToThatOne(t *testing.T) {
	st, sender, asleep := newSleeper(t, 1, nil)
	s := st.hub.shards[1]
	if !s.hold.try() {
		t.Fatal("held at rest")
	}
	sender.publish("meanwhile")
	if len(asleep[0].out) > 0 || st.wakes[1] {
		t.Fatalf("heard %q, woken %v, want neither while another loop holds the shard", asleep[0].out, st.wakes[1])
	}
	s.hold.letGo()
	if !st.hub.shards[0].serve(1) { // its look
		t.Error("the loop has to be woken")
	}
	asleep[0].heardOnce(t, "meanwhile")
}

func TestALoopSeesWhatCameDuringItsCallback(t *testing.T) {
	st, sender, asleep := newSleeper(t, 1, nil)
	s := st.hub.shards[1]
	s.beginCallback(nil)
	sender.publish("meanwhile")
	s.endCallback()
	if st.wakes[1] || !st.kicks[1] {
		t.Errorf("got woken %v, kicked %v, want a kick alone", st.wakes[1], st.kicks[1])
	}
	sender.publish("while kicked")
	if len(asleep[0].out) > 0 || st.wakes[1] {
		t.Errorf("heard %q, woken %v, want all left to the kick", asleep[0].out, st.wakes[1])
	}
	st.settle()
	asleep[0].heardOnce(t, "meanwhile", "while kicked")
}

func TestALoopWaitsForItsBorrower(t *testing.T) {
	st := newStage(2, nil)
	s, done := st.hub.shards[1], make(chan struct{})
	for round := range 20_000 {
		if !s.hold.try() {
			t.Fatal("held at rest")
		}
		go func() {
			s.woken()
			done <- struct{}{}
		}()
		for spin := 0; spin < round%300 || round%2 == 0 && !s.hold.awaited.Load(); spin++ { // every other one lets go when the loop waits already
		}
		s.hold.letGo()
		<-done
		if s.hold.awaited.Load() {
			t.Fatalf("round %d: the loop waits no more, and the note says that it does", round)
		}
	}
}

// Whenever a borrower sends something yet another message comes, as from a loop that runs beside.
func TestABorrowerThatOthersKeepBusyWakesTheLoop(t *testing.T) {
	st, sender, asleep := newSleeper(t, 1, nil)
	third := newStageLoop(st)
	s, more := st.hub.shards[1], 10
	send := s.env.send
	s.env.send = func(fd int, p []byte) sent {
		if more--; more > 0 {
			third(more)
		}
		return send(fd, p)
	}
	sender.publish("first")
	if !st.wakes[1] || more != 8 {
		t.Errorf("got woken %v after %d rounds, want a wake-up after 2", st.wakes[1], 10-more)
	}
	st.settle()
	if got := st.hub.Snapshot().Loops[1]; got.Deliveries != 10 || got.LaneDepth != 0 {
		t.Errorf("got %d deliveries, lane depth %d, want 10 and 0: %q", got.Deliveries, got.LaneDepth, asleep[0].out)
	}
}

// newStageLoop publishes to the group as a third loop would, which finds the shard held.
func newStageLoop(st *stage) func(n int) {
	s := st.hub.shards[0]
	return func(n int) {
		m, _ := order.NewMessage([]byte("0g"), fmt.Append(nil, n), nil, false)
		s.lanes.Offer(0, request{Op: order.OpPublish, Message: m, Client: st.conns[0].client})
		s.lanes.Host()
	}
}
