package loop

import "testing"

// What a client asks of a group behind its subscribe is for members, and so it waits for that to be decided, though it could be answered
// sooner: passes are cut before the audience that the client is about to be in.
func TestWhatIsAskedBehindAJoinIsAnsweredBehindIt(t *testing.T) {
	for name, of := range map[string]struct {
		more, then string
		want       []string
	}{
		"joins":   {want: []string{`{"id":2,"subscribe":{…`, `{"id":3,"history":{"publications":[…`}},
		"refused": {more: `,"recover":true,"epoch":"x","flag":2`, want: []string{`{"id":2,"error":{"code":112,…`, `{"id":3,"error":{"code":103,…`}},
		"leaves": {then: `{"id":4,"unsubscribe":{"channel":"0g"}}`,
			want: []string{`{"id":4,"unsubscribe":{}}`, `{"id":3,"error":{"code":103,…`, `{"id":2,"subscribe":{…`}},
	} {
		st := newHistoryStage(1, func(b *bounds) { b.passNanos = 1 })
		sender := st.enter(0)
		for range 40 {
			st.enter(0).say(`{"cmd":"add_group","group_id":"0g"}`)
		}
		st.subscribe(t, st.connect(0), "0g", "")
		c, s := st.connect(0), st.hub.shards[0]
		st.settle()
		c.out = nil
		s.kicked = true // passes and replays rest
		sender.say(`{"cmd":"send_to_group","group_id":"0g","message":"for members"}`)
		c.say(`{"id":2,"subscribe":{"channel":"0g"%s}}`+"\n"+`{"id":3,"history":{"channel":"0g","limit":5}}`+"\n%s", of.more, of.then)
		if len(s.replays.queue) != 2 {
			t.Fatalf("%s: %d replays wait, want those of both commands", name, len(s.replays.queue))
		}
		s.kicked, st.kicks[0] = false, true
		st.settle()
		c.heardExactly(t, of.want...)
		if g := s.groups.Get("0g"); g.asked != 0 || g.log != nil {
			t.Errorf("%s: %d questions are under way at rest", name, g.asked)
		}
	}
}

// Whether a page wants to join without what it has missed is what it has said last, also where it has left and come back in one breath.
func TestWhoAsksAgainForAllOrNothingIsRefusedOrJoinsAsItHasAskedLast(t *testing.T) {
	none, all := `,"recover":true,"epoch":"x","flag":2`, `,"recover":true`
	for _, of := range []struct {
		first, last string
		joins       bool
	}{{none, ``, true}, {none, all, true}, {``, all + `,"flag":2`, false}, {all, all + `,"flag":2`, false}, {none, none, false}} {
		st := newHistoryStage(1, nil)
		c, s := st.connect(0), st.hub.shards[0]
		c.out = nil
		s.kicked = true // replays rest
		c.say(`{"id":2,"subscribe":{"channel":"0g"%s}}`+"\n"+`{"id":3,"unsubscribe":{"channel":"0g"}}`+"\n"+`{"id":4,"subscribe":{"channel":"0g"%s}}`, of.first, of.last)
		s.kicked, st.kicks[0] = false, true
		st.settle()
		want := []string{`{"id":3,"unsubscribe":{}}`, `{"id":2,"error":{"code":112,…`, `{"id":4,"error":{"code":112,…`}
		if of.joins {
			want = []string{`{"id":3,"unsubscribe":{}}`, `{"id":2,"subscribe":{…`, `{"id":4,"subscribe":{…`}
		}
		c.heardExactly(t, want...)
		if joined := c.client.groupCount() == 1; joined != of.joins || s.backlog.bytes != 0 {
			t.Errorf("%q, then %q: a member: %v, want %v", of.first, of.last, joined, of.joins)
		}
	}
}
