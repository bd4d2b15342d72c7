package loop

import (
	"testing"

	"ringcast/dialect"
)

// neverJoins panics when it is to tell a client that it has joined with the id 1.
type neverJoins struct{ loudly }

func (d *neverJoins) Answer(dst []byte, o dialect.Outcome) []byte {
	if o.Verb == dialect.AddGroup && string(o.ID) == "1" {
		panic("an answer that panics")
	}
	return d.loudly.Answer(dst, o)
}

// The news that somebody comes travel with its answer. If that panics they are heard all the same, as is that it goes, and they are not
// in flight for ever.
func TestThatSomebodyComesIsHeardThoughItsAnswerPanics(t *testing.T) {
	broken := loud
	broken.New = func() dialect.Dialect { return &neverJoins{} }
	st := newStage(1, func(b *bounds) { b.Presence, b.anyPresence, b.JoinLeave = true, true, HearAll }, broken)
	good, bad := st.enterAt(0, "/loud"), st.enterAt(0, "/loud")
	st.ask(good, `{"cmd":"add_group","group_id":"0g","id":2}`)
	st.ask(bad, `{"cmd":"add_group","group_id":"0g","id":1}`)
	bad.shard.closed(bad.client)
	st.settle()
	good.heard(t, "C|0g|128|")
	good.heard(t, "W|0g|128|")
	if s := st.hub.shards[0]; s.count.Panics.Load() != 1 || bad.client.state != stateDead {
		t.Errorf("got %d panics, state %d; want one, and its client dead", s.count.Panics.Load(), bad.client.state)
	}
	st.hub.homes.Home(0).EachFlight(func(name string, _ int, _ *group, inFlight int) {
		if inFlight != 0 {
			t.Errorf("group %s: %d bytes are in flight, want none", name, inFlight)
		}
	})
}
