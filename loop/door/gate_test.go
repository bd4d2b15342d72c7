package door

import "testing"

// Every access, for every thing that a client may have shown.
func TestTheGateLetsThroughWhoHasShownWhatAKindAsksFor(t *testing.T) {
	const group = "room:1"
	named := &Token{User: "ann"}
	nameless := &Token{Info: []byte(`{}`)}
	granted := &Token{Groups: map[string][]byte{group: nil}}
	patterns := &Token{User: "ann", Join: []string{"room:*"}, Publish: []string{"other:*"}}
	publisher := &Token{Join: []string{"other"}, Publish: []string{"room:1"}}
	for name, test := range map[string]struct {
		shown         Shown
		join, publish string // of Anyone, Users, Members, Tokens, Servers: + or -
	}{
		"nothing":              {Shown{}, "+----", "+----"},
		"nothing, a member":    {Shown{Member: true}, "+----", "+-+--"},
		"a user":               {Shown{Token: named}, "++---", "++---"},
		"a user, a member":     {Shown{Token: named, Member: true}, "++---", "+++--"},
		"a token without user": {Shown{Token: nameless}, "+----", "+----"},
		"a token of the group": {Shown{Group: true}, "+--+-", "+--+-"},
		"likewise, a user":     {Shown{Token: named, Group: true}, "++-+-", "++-+-"},
		"the group by name":    {Shown{Token: granted}, "+--+-", "+--+-"},
		"joins by a pattern":   {Shown{Token: patterns}, "++-+-", "++---"},
		"publishes by one":     {Shown{Token: publisher}, "+----", "+--+-"},
	} {
		for access := ForAnyone; access <= ForServers; access++ {
			if got, want := test.shown.MayJoin(access, group), test.join[access] == '+'; got != want {
				t.Errorf("%s, access %d: got join %v, want %v", name, access, got, want)
			}
			if got, want := test.shown.MayPublish(access, group), test.publish[access] == '+'; got != want {
				t.Errorf("%s, access %d: got publish %v, want %v", name, access, got, want)
			}
		}
	}
	if !(Shown{}).MayConnect(false) || (Shown{}).MayConnect(true) || !(Shown{Token: nameless}).MayConnect(true) {
		t.Error("who has a token may connect, and who has none if none is needed")
	}
}
