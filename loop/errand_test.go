package loop

import (
	"context"
	"testing"
	"time"
)

// send has a hub do something that waits for its loops, which the stage lets run meanwhile.
func (st *bearerStage) send(do func(context.Context) (int, error)) (int, error) {
	type result struct {
		n   int
		err error
	}
	done := make(chan result, 1)
	wakes := make([]func(), len(st.hub.shards)) // another goroutine would write what settle reads: each loop runs all the time instead
	for i, s := range st.hub.shards {
		wakes[i], s.env.wake = s.env.wake, func() {}
	}
	run := func() {
		for i := range st.hub.shards {
			st.wakes[i] = true
		}
		st.settle()
	}
	go func() {
		n, err := do(context.Background())
		done <- result{n, err}
	}()
	for {
		run()
		select {
		case r := <-done:
			for i, s := range st.hub.shards {
				s.env.wake = wakes[i]
			}
			run()
			return r.n, r.err
		default:
		}
	}
}

func TestBackendsDisconnectClientsByUserAndByNumber(t *testing.T) {
	st := newBearerStage(2, nil)
	ann1, ann2, bob, nobody := st.auth(st.enter(0), `{"sub":"ann"}`), st.page(1, `{"sub":"ann"}`), st.auth(st.enter(1), `{"sub":"bob"}`), st.enter(0)
	if n := st.hub.Users(); n != 2 {
		t.Errorf("got %d users, want 2", n)
	}
	disconnect := func(to Target, code uint16, reason string, want int, wantErr error) {
		t.Helper()
		n, err := st.send(func(ctx context.Context) (int, error) { return st.hub.Disconnect(ctx, to, code, reason) })
		if n != want || err != wantErr {
			t.Errorf("got %d clients, %v, want %d, %v", n, err, want, wantErr)
		}
	}
	disconnect(Target{}, 0, "", 0, ErrNoTarget)
	disconnect(Target{User: "ann"}, 1000, "", 0, ErrCloseCode)
	disconnect(Target{User: "bob", Client: ann1.client.Number()}, 0, "", 0, nil)
	disconnect(Target{User: "nobody"}, 0, "", 0, nil)
	disconnect(Target{Client: 1<<40 + 63}, 0, "", 0, nil)
	disconnect(Target{User: "ann", Client: ann2.client.Number()}, 0, `{"a":1}`, 1, nil)
	ann2.heard(t, "\x0d\xafforce disconnect")
	ann1.isOpen(t, true)
	disconnect(Target{Client: nobody.client.Number()}, 0, "for good", 1, nil)
	nobody.heard(t, "\x11\x33for good")
	ann3 := st.page(0, `{"sub":"ann"}`)
	disconnect(Target{User: "ann"}, 4501, "you", 2, nil)
	ann1.heard(t, "\x11\x33you")
	ann3.heard(t, "\x11\x95you")
	bob.isOpen(t, true)
	st.noBearers(t)
}

func TestBackendsRevokeTokens(t *testing.T) {
	st := newBearerStage(2, nil)
	old, undated, newer, other := st.auth(st.enter(0), `{"sub":"ann","iat":1799999000}`), st.page(1, `{"sub":"ann"}`), st.page(0, `{"sub":"ann","iat":1799999900}`), st.auth(st.enter(0), `{"sub":"bob","iat":1799999000}`)
	n, err := st.send(func(ctx context.Context) (int, error) { return st.hub.Revoke(ctx, "ann", 1799999500) })
	if n != 2 || err != nil {
		t.Errorf("got %d clients, %v, want 2", n, err)
	}
	old.heard(t, "\x11\x33the token was revoked")
	undated.heard(t, closed3500+"invalid token: revoked")
	newer.isOpen(t, true)
	other.isOpen(t, true)
	again := st.auth(st.enter(0), `{"sub":"ann","iat":1799999000}`)
	again.heard(t, `"bad_token"`)
	again = st.page(1, `{"sub":"ann"}`)
	again.heard(t, closed3500+"invalid token")
	st.ask(newer, `{"id":2,"subscribe":{"channel":"0g","token":%q}}`, tokenOf(`{"sub":"ann","channel":"0g"}`))
	newer.heard(t, `{"id":2,"error":{"code":103,`)
	if got := st.tokens()["revoked"]; got != 3 {
		t.Errorf("got %d tokens refused as revoked, want 3", got)
	}
	st.noBearers(t)
}

func TestBackendsTakeClientsOutOfGroupsAndIntoThem(t *testing.T) {
	st := newBearerStage(2, ofKinds(Kind{Match: "1*", Join: Tokens}))
	plain, page, silent := st.auth(st.enter(0), `{"sub":"ann"}`), st.page(1, `{"sub":"ann"}`), st.enter(1)
	plain.out, page.out = nil, nil
	subscribe := func(to Target, want int) {
		t.Helper()
		n, err := st.send(func(ctx context.Context) (int, error) { return st.hub.Subscribe(ctx, to, "1g", []byte(`{"a":1}`)) })
		if n != want || err != nil {
			t.Errorf("subscribe: got %d clients, %v, want %d", n, err, want)
		}
	}
	unsubscribe := func(to Target, want int) {
		t.Helper()
		n, err := st.send(func(ctx context.Context) (int, error) { return st.hub.Unsubscribe(ctx, to, "1g") })
		if n != want || err != nil {
			t.Errorf("unsubscribe: got %d clients, %v, want %d", n, err, want)
		}
	}
	unsubscribe(Target{User: "ann"}, 0)
	subscribe(Target{User: "ann"}, 2)
	subscribe(Target{User: "ann"}, 2) // again
	subscribe(Target{Client: silent.client.Number()}, 1)
	page.heardExactly(t, `{"push":{"channel":"1g","subscribe":{}}}`)
	if len(plain.out)+len(silent.out) > 0 {
		t.Errorf("heard %q and %q, want nothing", plain.out, silent.out)
	}
	st.ask(plain, `{"cmd":"send_to_group","group_id":"1g","message":"hi"}`)
	for _, c := range []*stageConn{plain, page, silent} {
		c.heard(t, "hi")
		c.out = nil
	}
	unsubscribe(Target{User: "ann"}, 2)
	plain.heard(t, `{"event":"removed","group_id":"1g","reason":"server"}`)
	page.heardExactly(t, `{"push":{"channel":"1g","unsubscribe":{"code":2000,"reason":"server unsubscribe"}}}`)
	unsubscribe(Target{Client: silent.client.Number()}, 1)
	if len(silent.out) > 0 {
		t.Errorf("heard %q, want nothing: it would take it for a message", silent.out)
	}
	st.nothingOf(t, "1g")
	st.noBearers(t)
}

// Who has asked to be a member, and is not yet, is answered and then taken out.
func TestWhoIsTakenOutBeforeItIsAMemberIsAnsweredFirst(t *testing.T) {
	st := newBearerStage(2, nil)
	c := st.page(0, `{"sub":"ann"}`)
	c.out = nil
	letGo := st.hold(1)
	c.say(`{"id":2,"subscribe":{"channel":"1g"}}`)
	if n, err := st.send(func(ctx context.Context) (int, error) { return st.hub.Unsubscribe(ctx, Target{User: "ann"}, "1g") }); n != 1 || err != nil {
		t.Errorf("got %d clients, %v, want 1", n, err)
	}
	letGo()
	st.settle()
	c.heardExactly(t, `{"id":2,"subscribe":{}}`, `{"push":{"channel":"1g","unsubscribe":{"code":2000,"reason":"server unsubscribe"}}}`)
	st.nothingOf(t, "1g")
	st.noBearers(t)
}

func TestBackendsChangeWhenTokensEnd(t *testing.T) {
	st := newBearerStage(1, nil)
	const ends = `{"sub":"ann","exp":1800000100}`
	plain, page := st.auth(st.enter(0), ends), st.page(0, ends)
	refresh := func(ends int64) {
		t.Helper()
		page.out = nil
		if n, err := st.send(func(ctx context.Context) (int, error) { return st.hub.Refresh(ctx, Target{User: "ann"}, ends) }); n != 2 || err != nil {
			t.Errorf("got %d clients, %v, want 2", n, err)
		}
	}
	refresh(wallStart + 1000)
	page.heardExactly(t, `{"push":{"refresh":{"expires":true,"ttl":1000}}}`)
	st.pass(200 * time.Second)
	plain.isOpen(t, true)
	page.isOpen(t, true)
	refresh(0)
	page.heardExactly(t, `{"push":{"refresh":{}}}`)
	st.pass(2000 * time.Second)
	plain.isOpen(t, true)
	page.isOpen(t, true)
	refresh(wallStart)
	plain.heard(t, closed4401)
	page.heard(t, closed3005)
	st.noBearers(t)
}

// An errand goes over more clients than a turn looks at, while some go and others come.
func TestErrandsAreDoneInSlices(t *testing.T) {
	st := newBearerStage(1, nil)
	st.hub.clientsMax.Store(10_000)
	var all []*stageConn
	for i := range errandLooksPerTurn + 500 {
		c := st.enter(0)
		if i < errandActsPerTurn+50 {
			st.auth(c, `{"sub":"ann"}`)
		}
		all = append(all, c)
	}
	s := st.hub.shards[0]
	results := make(chan int, 2)
	nothing := func(*shard, *client) bool { return true }
	st.hub.errands.Add(2)
	s.beginErrand(&errand{target: Target{Client: all[0].client.Number()}, do: nothing, result: results})
	s.beginErrand(&errand{target: Target{User: "ann"}, do: nothing, result: results})
	s.turn()
	if len(results) != 0 {
		t.Fatal("one turn has looked at all clients")
	}
	for _, c := range all[10:50] { // the gaps are filled by others
		s.closed(c.client)
	}
	s.closed(s.bearers.users.Get("ann").client) // the next to be looked at
	st.settle()
	if one, user := <-results, <-results; one != 1 || user < errandActsPerTurn || user > errandActsPerTurn+50 {
		t.Errorf("got %d clients of a number and %d of a user, want 1 and those that are there", one, user)
	}
	st.noBearers(t)
}

// farewell has a backend say something to a group, with the home's word on it, and then disconnect the clients of a user.
func (st *bearerStage) farewell(t *testing.T, group, user string) {
	t.Helper()
	port, err := st.hub.NewPort()
	if err != nil {
		t.Fatal(err)
	}
	defer port.Close()
	said, err := port.Offer(group, Said{Payload: []byte("farewell")})
	if err == nil {
		_, err = said.Wait(context.Background())
	}
	if err == nil {
		_, _, err = st.hub.dispatch(Target{User: user}, true, disconnecting(0, ""))
	}
	if err != nil {
		t.Fatal(err)
	}
}

const farewellAndClose = "farewell\x88"

// What a backend has said before it disconnects a client the client hears, though its loop has not come to its member yet, or not even
// taken the message, since others are before it.
func TestWhatIsSaidBeforeAnErrandIsHeard(t *testing.T) {
	for name, bound := range map[string]func(*bounds){
		"a turn sends to some":     func(b *bounds) { b.passNanos = 1 },
		"a turn takes one message": func(b *bounds) { b.gatherBytes = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			st := newBearerStage(2, bound)
			var members []*stageConn
			for i := range 4 * sendsPerClock {
				c := st.auth(st.enter(i%2), `{"sub":"ann"}`)
				st.ask(c, `{"cmd":"add_group","group_id":"0g"}`)
				members = append(members, c)
			}
			st.ask(st.enter(0), `{"cmd":"add_group","group_id":"0a"}`)
			port, err := st.hub.NewPort()
			if err == nil {
				err = offer(port, "0a", []byte("another"))
			}
			if err != nil {
				t.Fatal(err)
			}
			defer port.Close()
			st.farewell(t, "0g", "ann")
			st.settle()
			for _, c := range members {
				c.heard(t, farewellAndClose)
			}
			st.noBearers(t)
		})
	}
}

// It is heard behind the past, by who has just been let in.
func TestWhatIsSaidBeforeAnErrandIsHeardByWhoIsAboutToBeAnswered(t *testing.T) {
	st := newBearerStage(1, func(b *bounds) { b.History = 10 })
	ann := st.page(0, `{"sub":"ann"}`)
	ann.out = nil
	s := st.hub.shards[0]
	s.kick()
	ann.say(`{"id":2,"subscribe":{"channel":"0g","recover":true}}`)
	s.woken()
	if len(s.replays.queue) == 0 {
		t.Fatal("the answer is no replay that waits for the kick")
	}
	st.farewell(t, "0g", "ann")
	s.woken()
	st.settle()
	ann.heard(t, "farewell")
	ann.heard(t, "\x0d\xafforce disconnect")
	st.noBearers(t)
}

// What an errand waits for ends some time, even if an older one has waited for long; what is to be done at once does not wait.
func TestALoopThatIsNeverWithoutPassesDoesErrandsAllTheSame(t *testing.T) {
	st := newBearerStage(1, func(b *bounds) { b.passNanos = 1 })
	var loud *stageConn
	for range 4 * sendsPerClock {
		loud = st.enter(0)
		st.ask(loud, `{"cmd":"add_group","group_id":"0g"}`)
	}
	s, ann, bob, cid := st.hub.shards[0], st.auth(st.enter(0), `{"sub":"ann"}`), st.auth(st.enter(0), `{"sub":"bob"}`), st.auth(st.enter(0), `{"sub":"cid"}`)
	turns := func() {
		for range 50 {
			loud.say(`{"cmd":"send_to_group","group_id":"0g","message":"la"}`)
			s.kickedAwake()
		}
	}
	disconnect := func(user string, waits bool) {
		t.Helper()
		if _, _, err := st.hub.dispatch(Target{User: user}, waits, disconnecting(0, "")); err != nil {
			t.Fatal(err)
		}
		s.woken()
	}
	turns()
	disconnect("ann", true)
	disconnect("cid", false)
	turns()
	ann.isOpen(t, true)
	cid.isOpen(t, false)
	st.hub.beat()
	turns()
	disconnect("bob", true)
	st.hub.beat()
	turns()
	ann.isOpen(t, false)
	bob.isOpen(t, true)
	st.hub.beat()
	turns()
	bob.isOpen(t, false)
	st.settle()
	st.noBearers(t)
}

func TestNamesOfClientsLeadBackToThem(t *testing.T) {
	st := newBearerStage(2, nil)
	c := st.page(1, `{"sub":"ann"}`)
	name := st.hub.ClientName(c.client.Number())
	c.heard(t, `"client":"`+name+`"`)
	if n, ok := st.hub.ClientNumber(name); !ok || n != c.client.Number() {
		t.Errorf("got %d, %v, want %d", n, ok, c.client.Number())
	}
}

// What a backend has wanted of a membership that a client then gave up is not done to the one that it has asked for since.
func TestWhoLeavesAndJoinsAnewIsNotTakenOutForWhatWasBefore(t *testing.T) {
	st := newBearerStage(2, nil)
	c := st.auth(st.enter(0), `{"sub":"ann"}`)
	c.out = nil
	letGo := st.hold(1)
	c.say(`{"cmd":"add_group","group_id":"1g","id":1}`)
	if n, err := st.send(func(ctx context.Context) (int, error) { return st.hub.Unsubscribe(ctx, Target{User: "ann"}, "1g") }); n != 1 || err != nil {
		t.Errorf("got %d clients, %v, want 1", n, err)
	}
	c.say(`{"cmd":"leave_group","group_id":"1g","id":2}`)
	c.say(`{"cmd":"add_group","group_id":"1g","id":3}`)
	letGo()
	st.settle()
	c.heard(t, `{"id":3,"ok":true}`)
	c.heardNot(t, "removed")
	st.ask(c, `{"cmd":"send_to_group","group_id":"1g","message":"to myself"}`)
	c.heard(t, "to myself")
	st.noBearers(t)
}

// The last word of backends holds, also on a client that is not a member yet.
func TestOfTakenOutAndLetInTheLastHolds(t *testing.T) {
	for name, first := range map[string]string{"asked": `{"id":2,"subscribe":{"channel":"1g"}}`, "left": `{"id":2,"subscribe":{"channel":"1g"}}` + "\n" + `{"id":3,"unsubscribe":{"channel":"1g"}}`} {
		t.Run(name, func(t *testing.T) {
			st := newBearerStage(2, nil)
			c := st.page(0, `{"sub":"ann"}`)
			letGo := st.hold(1)
			c.say("%s", first)
			reach := func(do func(context.Context) (int, error), want int) {
				t.Helper()
				if n, err := st.send(do); n != want || err != nil {
					t.Errorf("got %d clients, %v, want %d", n, err, want)
				}
			}
			if name == "asked" {
				reach(func(ctx context.Context) (int, error) { return st.hub.Unsubscribe(ctx, Target{User: "ann"}, "1g") }, 1)
			}
			reach(func(ctx context.Context) (int, error) {
				return st.hub.Subscribe(ctx, Target{User: "ann"}, "1g", []byte(`{"a":1}`))
			}, 1)
			letGo()
			st.settle()
			c.heardNot(t, "server unsubscribe")
			c.out = nil
			st.ask(c, `{"id":4,"publish":{"channel":"1g","data":"to myself"}}`)
			c.heard(t, `"data":"to myself"`)
			if name == "left" {
				c.heard(t, `"chan_info":{"a":1}`)
			}
			st.noBearers(t)
		})
	}
}
