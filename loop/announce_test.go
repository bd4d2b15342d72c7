package loop

import "testing"

// A home forgets who is in a group whose kind loses presence. Who has joined before that, and becomes a member when the kind has it
// again, is told to the home then.
func TestWhoJoinsBeforeAKindLosesPresenceIsThereWhenItHasItAgain(t *testing.T) {
	st := newStage(2, func(b *bounds) { b.Presence, b.anyPresence = true, true })
	sender, member := st.enter(0), st.enter(1)
	letGo := st.hold(0)
	member.say(`{"cmd":"add_group","group_id":"0g","id":1}`)
	letGo() // the answer waits for loop 1
	for _, presence := range []bool{false, true} {
		b := *st.hub.bounds.Load()
		b.Presence, b.anyPresence = presence, presence
		st.hub.bounds.Store(&b)
		st.hub.homes.KindsChanged()
		for _, s := range st.hub.shards {
			s.calls.add(func(s *shard) { s.adopt(&b) })
		}
		sender.say(`{"cmd":"send_to_group","group_id":"0g","message":"hello"}`) // the home looks at the kind
	}
	if len(member.out) > 0 {
		t.Fatalf("heard %q before its loop was woken", member.out)
	}
	st.wakes[1] = true
	st.settle()
	member.heard(t, `{"id":1,"ok":true}`)
	known := false
	st.hub.homes.Home(0).EachPresent(func(_ string, present map[uint64]bool, _ bool) { known = len(present) == 1 })
	if !known {
		t.Error("the home does not know that it is there")
	}
	member.say(`{"cmd":"leave_group","group_id":"0g"}`)
	st.settle()
	st.hub.homes.Home(0).EachPresent(func(_ string, present map[uint64]bool, _ bool) { t.Errorf("%v are there, and nobody is", present) })
}
