package loop

import "testing"

// Who asks who is there together with its add_group, and is refused, is no member, and learns nothing.
func TestWhoIsRefusedIsNotToldWhoIsThere(t *testing.T) {
	for _, taken := range []bool{true, false} { // the group has its one member; or there is none, and no room for another group
		st := newStage(2, func(b *bounds) { b.Presence, b.anyPresence, b.MembersMax, b.GroupsMax = true, true, 1, 1 }, loud)
		member, other := st.enter(0), st.enterAt(1, "/loud")
		group := "0g"
		if !taken {
			group = "0other"
		}
		st.ask(member, `{"cmd":"add_group","group_id":"0g"}`)
		letGo := st.hold(0)
		other.say(`{"cmd":"add_group","group_id":"%s","id":1}`, group)
		other.say(`{"cmd":"presence","group_id":"%s","hears":true,"id":2}`, group)
		letGo()
		st.settle()
		other.heard(t, `{"id":1,"error":`)
		other.heard(t, `{"id":2,"error":{"code":"not_member"`)
	}
}
