package loop

import "testing"

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
