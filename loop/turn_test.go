package loop

import "testing"

// Whenever a loop takes a message out of a down lane another loop publishes once more, as one that runs beside would.
func TestALoopThatOthersKeepBusyStopsAfterSoManyRounds(t *testing.T) {
	const messages = 10 * workRoundsMax
	st := newStage(2, nil)
	member, sender := st.enter(0), st.enter(1)
	member.say(`{"cmd":"add_group","group_id":"1"}`)
	st.settle()
	s, sent, gathered := st.hub.shards[0], 0, 0
	publish := func() {
		sent++
		sender.say(`{"cmd":"send_to_group","group_id":"1","message":"m"}`)
	}
	s.methods.takeDown = func(d delivery) bool {
		if gathered++; sent < messages {
			publish()
		}
		return s.deliver(d)
	}
	publish()

	s.beginCallback(nil)
	s.work()
	s.endCallback()
	if gathered != workRoundsMax || !st.kicks[0] {
		t.Errorf("got %d rounds, kick %v; want %d and a kick", gathered, st.kicks[0], workRoundsMax)
	}
	st.settle()
	if gathered != messages || s.passes.gathered != 0 {
		t.Errorf("after the kick: got %d messages, %d bytes left; want %d and none", gathered, s.passes.gathered, messages)
	}
}
