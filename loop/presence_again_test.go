package loop

import (
	"strings"
	"testing"

	"ringcast/dialect"
)

// Who joins may ask again, and limits may change, before the home's answer has made a member of it.

// reload gives all loops other bounds, in their next turn.
func (st *stage) reload(change func(*bounds)) {
	b := *st.hub.bounds.Load()
	change(&b)
	st.hub.complete(&b)
	st.hub.bounds.Store(&b)
	st.hub.homes.KindsChanged()
	for _, s := range st.hub.shards {
		st.hub.call(s, func(s *shard) { s.adopt(&b) })
	}
}

// What a client asks for last is what holds, also where its home has not answered the first time yet.
func TestWhoJoinsAgainBeforeTheAnswerHearsWhatItHasAskedForLast(t *testing.T) {
	for _, history := range []int{0, 10} {
		for i, asks := range []string{"", `,"join_leave":true`} {
			st := newPresenceStage(2, func(b *bounds) { b.History = history })
			c := st.connect(0)
			c.out = nil
			letGo := st.hold(0)
			c.say(`{"id":2,"subscribe":{"channel":"0g"%s}}`, []string{`,"join_leave":true`, ""}[i])
			c.say(`{"id":3,"unsubscribe":{"channel":"0g"}}`)
			c.say(`{"id":4,"subscribe":{"channel":"0g"%s}}`, asks)
			letGo()
			st.settle()
			c.out = nil
			st.subscribe(t, st.connect(1), "0g", "")
			if got := strings.Count(string(c.out), `"join":`); got != i {
				t.Errorf("history %d, asked last for %q: heard of %d, want %d", history, asks, got, i)
			}
		}
	}
}

// A replay waits while a kind loses presence and gets it again.
func TestAReloadThatFindsAJoinBetweenHomeAndAnswerListsItToo(t *testing.T) {
	st := newPresenceStage(2, func(b *bounds) { b.History = 10 })
	stays, name := st.name(t, 1)
	st.subscribe(t, stays, "0g", "")
	c, other := st.name(t, 0)
	c.out = nil
	s := st.hub.shards[0]
	s.kicked = true // replays rest
	c.say(`{"id":2,"subscribe":{"channel":"0g"}}`)
	if len(s.replays.queue) != 1 {
		t.Fatal("no replay waits")
	}
	for _, on := range []bool{false, true} {
		st.reload(func(b *bounds) { b.Presence = on })
		for i, s := range st.hub.shards {
			st.wakes[i] = false
			s.woken()
		}
		stays.say(`{"id":5,"publish":{"channel":"0g","data":1}}`)
	}
	s.kicked = false
	st.kicks[0] = true
	st.settle()
	if got := st.present(t, stays, "0g"); got != sorted(name, other) {
		t.Errorf("present: got %s, want %s", got, sorted(name, other))
	}
}

// badAnswers panics when it is to tell a client that it has joined.
type badAnswers struct{ dialect.Dialect }

func (d badAnswers) Answer(dst []byte, o dialect.Outcome) []byte {
	if o.What == dialect.OK && o.Verb == dialect.AddGroup {
		panic("an answer that panics")
	}
	return d.Dialect.Answer(dst, o)
}

// The answer to a join carries the news that somebody comes.
func TestAPanicOverAnAnswerLosesNoNews(t *testing.T) {
	bad := dialect.Centrifuge([16]byte{2})
	inner := bad.New
	bad.Name, bad.Subprotocols, bad.Positions = "bad", nil, false
	bad.Serves = func(path string) bool { return path == "/bad" }
	bad.New = func() dialect.Dialect { return badAnswers{inner()} }
	st := newStage(2, func(is *bounds) { is.Presence = true }, dialect.Centrifuge([16]byte{1}), bad)
	hears := st.connect(0)
	st.subscribe(t, hears, "0g", `,"join_leave":true`)
	hears.out = nil
	c := st.enterAt(0, "/bad")
	c.say(`{"id":1,"connect":{}}`)
	c.say(`{"id":2,"subscribe":{"channel":"0g"}}`)
	st.settle()
	c.shard.closed(c.client)
	st.settle()
	if got := string(hears.out); strings.Count(got, `"join":`) != 1 || strings.Count(got, `"leave":`) != 1 {
		t.Errorf("heard %q, want that one has come and gone", got)
	}
}

// What is for members alone is not for one that was refused, though it has asked behind its subscribe.
func TestWhoIsRefusedIsToldNothingOfTheGroup(t *testing.T) {
	st := newPresenceStage(2, func(b *bounds) { b.MembersMax, b.History = 1, 5 })
	in, out := st.connect(0), st.connect(1)
	st.subscribe(t, in, "0g", "")
	in.say(`{"id":5,"publish":{"channel":"0g","data":"for members"}}`)
	out.out = nil
	out.say(`{"id":2,"subscribe":{"channel":"0g"}}` + "\n" + `{"id":3,"presence":{"channel":"0g"}}` + "\n" + `{"id":4,"history":{"channel":"0g","limit":5}}`)
	st.settle()
	out.heardExactly(t, `{"id":2,"error":{"code":106,…`, `{"id":3,"error":{"code":103,…`, `{"id":4,"error":{"code":103,…`)
}

// A loop that always has somebody to bury keeps no list of all whom it ever had.
func TestTheListOfTheDeadDoesNotGrowWithThoseWhoAreBuried(t *testing.T) {
	st := newPresenceStage(1, func(b *bounds) { b.burialsPerTurn = 1 })
	st.hub.clientsMax.Store(2000)
	s := st.hub.shards[0]
	var conns []*stageConn
	for range 1003 {
		conns = append(conns, st.enter(0))
	}
	for i, c := range conns {
		s.calls.add(func(s *shard) { s.gone(c.client) })
		if i < 3 {
			continue
		}
		if s.woken(); len(s.ends.dead)-s.ends.buried < 2 {
			t.Fatal("nobody is left to bury, want some always")
		}
	}
	if n := cap(s.ends.dead); n > 64 {
		t.Errorf("the list has room for %d, want a few", n)
	}
}

// The home's answer to one client may come down in the callback of another.
func TestAPanicOverAJoinClosesTheClientThatJoins(t *testing.T) {
	bad := dialect.Centrifuge([16]byte{2})
	inner := bad.New
	bad.Name, bad.Subprotocols, bad.Positions = "bad", nil, false
	bad.Serves = func(path string) bool { return path == "/bad" }
	bad.New = func() dialect.Dialect { return badAnswers{inner()} }
	st := newStage(1, nil, bad)
	good, c := st.enter(0), st.enterAt(0, "/bad")
	good.say(`{"cmd":"add_group","group_id":"0other"}`)
	c.say(`{"id":1,"connect":{}}`)
	end, _ := st.hub.homes.Home(0).Hold()
	c.say(`{"id":2,"subscribe":{"channel":"0g"}}`)
	end()
	good.say(`{"cmd":"send_to_group","group_id":"0other","message":"hi"}`)
	st.settle()
	if good.client.state != stateOpen || c.client.state == stateOpen {
		t.Errorf("states %d and %d, want the one that joins closed alone", good.client.state, c.client.state)
	}
}
