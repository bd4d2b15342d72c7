package loop

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"ringcast/dialect"
	"ringcast/loop/door"
)

// wallStart is the wall clock's time at the beginning of tests that need one, in Unix seconds.
const wallStart = 1_800_000_000

// tokenOf is a token with these claims, signed with "secret".
func tokenOf(claims string) string {
	text := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
	mac := hmac.New(sha256.New, []byte("secret"))
	mac.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// withTokens has a hub take tokens that are signed with "secret".
func withTokens(b *bounds) {
	v, err := door.NewVerifier(door.TokenRules{Secrets: [][]byte{[]byte("secret")}})
	if err != nil {
		panic(err)
	}
	b.Tokens = v
}

// bearerStage is a stage that takes tokens, with both dialects and a wall clock that the test moves together with the others.
type bearerStage struct {
	*stage
	wall time.Time
}

func newBearerStage(loops int, change func(*bounds)) *bearerStage {
	st := &bearerStage{wall: time.Unix(wallStart, 0)}
	st.stage = newCentrifugeStage(loops, func(b *bounds) {
		withTokens(b)
		if change != nil {
			change(b)
		}
	})
	st.hub.wall = func() time.Time { return st.wall }
	st.hub.names = dialect.NewNames([16]byte{1})
	return st
}

// pass lets time pass, and loops look at it.
func (st *bearerStage) pass(d time.Duration) {
	st.wall = st.wall.Add(d)
	st.nanos += int64(d)
	st.hub.beat()
	st.settle()
}

// page is a Centrifuge client that connects with a token, or without one if there are no claims.
func (st *bearerStage) page(loop int, claims string) *stageConn {
	c := st.enterAt(loop, centrifugePath)
	token := ""
	if claims != "" {
		token = tokenOf(claims)
	}
	c.say(`{"id":1,"connect":{"token":%q}}`, token)
	st.settle()
	return c
}

// auth has a plain client show a token.
func (st *bearerStage) auth(c *stageConn, claims string) *stageConn {
	st.ask(c, `{"cmd":"auth","token":%q,"id":"auth"}`, tokenOf(claims))
	return c
}

// noBearers fails if something is left of clients that have shown tokens.
func (st *bearerStage) noBearers(t *testing.T) {
	t.Helper()
	for _, c := range st.conns {
		c.shard.closed(c.client)
	}
	st.settle()
	for i, s := range st.hub.shards {
		if of, users, ending := s.bearers.of.Len(), s.bearers.users.Len(), len(s.bearers.ending); of+users+ending+len(s.bearers.errands) != 0 {
			t.Errorf("loop %d: %d bearers, %d users, %d grants and %d errands are left", i, of, users, ending, len(s.bearers.errands))
		}
	}
	if n := st.hub.Users(); n != 0 {
		t.Errorf("got %d users, want none", n)
	}
}

func (st *bearerStage) tokens() map[string]uint64 { return st.hub.Snapshot().Total().Tokens }

func (c *stageConn) isOpen(t *testing.T, want bool) {
	t.Helper()
	if c.client.state == stateOpen != want {
		t.Errorf("got state %s, want it open: %v; heard %q", c.client.state, want, c.out)
	}
}

const closed1008, closed3500, closed3005, closed4401 = "\x03\xf0", "\x0d\xac", "\x0b\xbd", "\x11\x31"

func TestAPlainClientShowsATokenByACommand(t *testing.T) {
	st := newBearerStage(2, ofKinds(Kind{Match: "1*", Join: Users, Publish: Users}))
	c := st.enter(0)
	st.ask(c, `{"cmd":"add_group","group_id":"1g","id":1}`)
	c.heard(t, `{"id":1,"error":`+forbidden)
	for _, text := range []string{`,"token":"a.b.c"`, ``} {
		st.ask(c, `{"cmd":"auth","id":2%s}`, text)
		c.heard(t, `{"id":2,"error":{"code":"bad_token","message":"the token is not valid here"}}`)
		c.out = nil
	}
	st.ask(c, `{"cmd":"auth","token":%q,"id":3}`, tokenOf(`{"sub":"ann","exp":1799999999}`))
	c.heard(t, `{"id":3,"error":{"code":"bad_token","message":"the token has expired; fetch a new one"}}`)
	st.auth(c, `{"sub":"ann"}`)
	c.heard(t, `{"id":"auth","ok":true}`)
	st.ask(c, `{"cmd":"add_group","group_id":"1g","id":4}`)
	c.heard(t, `{"id":4,"ok":true}`)
	st.ask(c, `{"cmd":"send_to_group","group_id":"1g","message":"hi","id":5}`)
	c.heard(t, `{"id":5,"ok":true`)
	if n := st.hub.Users(); n != 1 {
		t.Errorf("got %d users, want 1", n)
	}
	c.out = nil
	st.auth(c, `{"sub":"bob"}`) // the third bad one
	c.heard(t, closed1008+"the token is not valid")
	if got := st.tokens(); got["accepted"] != 1 || got["bad"] != 2 || got["expired"] != 1 || got["other"] != 1 {
		t.Errorf("got %v, want one accepted, two bad, one expired and one of another user", got)
	}
	st.noBearers(t)
}

func TestABadTokenWithoutAnIDClosesAPlainClient(t *testing.T) {
	st := newBearerStage(1, nil)
	for _, said := range []string{`{"cmd":"auth","token":"x"}`, `{"cmd":"auth"}`, `{"cmd":"add_group","group_id":"0g","token":"x"}`} {
		c := st.enter(0)
		c.say("%s", said)
		c.heard(t, closed1008)
		c.isOpen(t, false)
	}
	c := st.enter(0)
	c.say(`{"cmd":"auth","token":%q}`, tokenOf(`{"sub":"ann"}`))
	c.isOpen(t, true)
	if len(c.out) > 0 || !c.shard.hasToken(c.client) {
		t.Errorf("heard %q, want nothing, and a token that is known", c.out)
	}
	st.noBearers(t)
}

func TestUntilATokenHasComeNothingElseIsDone(t *testing.T) {
	st := newBearerStage(1, func(b *bounds) { b.TokensOnly, b.NoAnonymous = true, true })
	c, silent := st.enter(0), st.enter(0)
	for i, command := range []string{"add_group", "leave_group", "send_to_group"} {
		st.ask(c, `{"cmd":%q,"group_id":"0g","message":"x","id":%d}`, command, i)
		c.heard(t, fmt.Sprintf(`{"id":%d,"error":%s`, i, forbidden))
	}
	silent.say(`{"cmd":"send_to_group","group_id":"0g","message":"x"}`)
	silent.heard(t, closed1008)
	st.auth(c, `{"sub":""}`)
	st.ask(c, `{"cmd":"add_group","group_id":"0g","id":9}`)
	c.heard(t, `{"id":9,"ok":true}`)
	st.noBearers(t)
}

func TestACentrifugeClientIsRefusedAsTheServerLibraryDoes(t *testing.T) {
	const ann = `{"sub":"ann","exp":1800000100,"info":{"name":"Ann"}}`
	for name, test := range map[string]struct {
		connect string // claims; "-": none, "x": garbage
		said    string // then
		want    string // last that is heard
	}{
		"no token":                  {"-", "", `{"id":1,"error":{"code":101,"message":"unauthorized"}}`},
		"nothing is heard behind":   {"-", `{"id":2,"subscribe":{"channel":"0g"}}`, `{"id":1,"error":{"code":101,"message":"unauthorized"}}`},
		"an expired one":            {`{"sub":"ann","exp":1799999999}`, "", `{"id":1,"error":{"code":109,"message":"token expired"}}`},
		"a wrong one":               {"x", "", closed3500 + "invalid token"},
		"one for a channel":         {`{"sub":"ann","channel":"0g"}`, "", closed3500 + "invalid token"},
		"refresh":                   {ann, `{"id":2,"refresh":{"token":"` + tokenOf(`{"sub":"ann","exp":1800000200}`) + `"}}`, `{"id":2,"refresh":{"client":"…","expires":true,"ttl":200}}`},
		"refresh for ever":          {ann, `{"id":2,"refresh":{"token":"` + tokenOf(`{"sub":"ann"}`) + `"}}`, `{"id":2,"refresh":{"client":"…"}}`},
		"refresh, wrong":            {ann, `{"id":2,"refresh":{"token":"x"}}`, closed3500 + "invalid token"},
		"refresh, another user":     {ann, `{"id":2,"refresh":{"token":"` + tokenOf(`{"sub":"bob"}`) + `"}}`, closed3500 + "invalid token"},
		"refresh, expired":          {ann, `{"id":2,"refresh":{"token":"` + tokenOf(`{"sub":"ann","exp":1799999999}`) + `"}}`, closed3005 + "connection expired"},
		"refresh without":           {ann, `{"id":2,"refresh":{}}`, "\x0d\xadbad request"},
		"subscribe":                 {ann, `{"id":2,"subscribe":{"channel":"0g","token":"` + tokenOf(`{"sub":"ann","channel":"0g","exp":1800000050}`) + `"}}`, `{"id":2,"subscribe":{"expires":true,"ttl":50}}`},
		"subscribe, wrong":          {ann, `{"id":2,"subscribe":{"channel":"0g","token":"x"}}`, `{"id":2,"error":{"code":103,"message":"permission denied"}}`},
		"subscribe, expired":        {ann, `{"id":2,"subscribe":{"channel":"0g","token":"` + tokenOf(`{"sub":"ann","channel":"0g","exp":1799999999}`) + `"}}`, `{"id":2,"error":{"code":109,"message":"token expired"}}`},
		"subscribe, other channel":  {ann, `{"id":2,"subscribe":{"channel":"0g","token":"` + tokenOf(`{"sub":"ann","channel":"0h"}`) + `"}}`, closed3500 + "invalid token"},
		"subscribe, another user":   {ann, `{"id":2,"subscribe":{"channel":"0g","token":"` + tokenOf(`{"sub":"bob","channel":"0g"}`) + `"}}`, closed3500 + "invalid token"},
		"subscribe, a connection's": {ann, `{"id":2,"subscribe":{"channel":"0g","token":"` + tokenOf(ann) + `"}}`, closed3500 + "invalid token"},
		"sub_refresh, no member":    {ann, `{"id":2,"sub_refresh":{"channel":"0g","token":"x"}}`, `{"id":2,"error":{"code":103,"message":"permission denied"}}`},
		"sub_refresh without":       {ann, `{"id":2,"sub_refresh":{"channel":"0g"}}`, `{"id":2,"error":{"code":107,"message":"bad request"}}`},
		"sub_refresh": {ann, `{"id":2,"subscribe":{"channel":"0g"}}` + "\n" + `{"id":3,"sub_refresh":{"channel":"0g","token":"` + tokenOf(`{"sub":"ann","channel":"0g","exp":1800000050}`) + `"}}`,
			`{"id":3,"sub_refresh":{"expires":true,"ttl":50}}`},
		"sub_refresh, wrong":   {ann, `{"id":2,"subscribe":{"channel":"0g"}}` + "\n" + `{"id":3,"sub_refresh":{"channel":"0g","token":"x"}}`, closed3500 + "invalid token"},
		"sub_refresh, expired": {ann, `{"id":2,"subscribe":{"channel":"0g"}}` + "\n" + `{"id":3,"sub_refresh":{"channel":"0g","token":"` + tokenOf(`{"sub":"ann","channel":"0g","exp":1799999999}`) + `"}}`, `{"id":3,"error":{"code":109,"message":"token expired"}}`},
		"no text":              {ann, `{"id":2,"subscribe":{"channel":"0g","token":1}}`, "\x0d\xadbad request"},
		"a third bad one":      {ann, strings.Repeat(`{"id":2,"subscribe":{"channel":"0g","token":"x"}}`+"\n", 3), closed3500 + "invalid token"},
		"nobody's refresh":     {`{"sub":""}`, `{"id":2,"refresh":{"token":"` + tokenOf(ann) + `"}}`, closed3500 + "invalid token"},
	} {
		t.Run(name, func(t *testing.T) {
			st := newBearerStage(1, func(b *bounds) { b.NoAnonymous = true })
			c := st.enterAt(0, centrifugePath)
			switch test.connect {
			case "-":
				c.say(`{"id":1,"connect":{}}`)
			case "x":
				c.say(`{"id":1,"connect":{"token":"x"}}`)
			default:
				c.say(`{"id":1,"connect":{"token":%q}}`, tokenOf(test.connect))
			}
			st.settle()
			for line := range strings.SplitSeq(test.said, "\n") {
				if line != "" {
					c.say("%s", line)
					st.settle()
				}
			}
			heard := c.lines(t)
			last := heard[len(heard)-1]
			if before, after, some := strings.Cut(test.want, "…"); last != test.want && (!some || !strings.HasPrefix(last, before) || !strings.HasSuffix(last, after)) {
				t.Errorf("heard %q, want %q in the end", heard, test.want)
			}
			st.noBearers(t)
		})
	}
}

func TestWhoIsRefusedAtItsConnectIsClosedWhenItDoesNotGo(t *testing.T) {
	st := newBearerStage(1, func(b *bounds) { b.NoAnonymous, b.handshakeTicks = true, 5 })
	c := st.page(0, "")
	c.say(`{}`)
	c.say(`{"id":2,"connect":{"token":%q}}`, tokenOf(`{"sub":"ann"}`))
	c.isOpen(t, true)
	for range 5 {
		st.pass(tickPeriod)
	}
	c.heard(t, "\x0d\xaestale")
	c.heardNot(t, `"client"`)
	st.noBearers(t)
}

func TestATokenEndsWhenItSaysUnlessANewerOneHasCome(t *testing.T) {
	st := newBearerStage(1, nil)
	const ends, later = `{"sub":"ann","exp":1800000100}`, `{"sub":"ann","exp":1800000200}`
	plain, page := st.auth(st.enter(0), ends), st.page(0, ends)
	plainRenewed, pageRenewed := st.auth(st.enter(0), ends), st.page(0, ends)
	page.heard(t, `"expires":true,"ttl":100,`)
	st.wall = st.wall.Add(time.Hour) // moved by hand: nobody minds
	st.hub.beat()
	st.settle()
	st.wall = st.wall.Add(-time.Hour)
	st.pass(99 * time.Second)
	plain.isOpen(t, true)
	page.isOpen(t, true)
	st.auth(plainRenewed, later)
	st.pass(2 * time.Second)
	plain.isOpen(t, false)
	plain.heard(t, closed4401+"the token has ended")
	page.isOpen(t, true)
	pageRenewed.say(`{"id":2,"refresh":{"token":%q}}`, tokenOf(later))
	pageRenewed.heard(t, `"ttl":99}}`)
	st.pass(25 * time.Second)
	page.isOpen(t, false)
	page.heard(t, closed3005+"connection expired")
	plainRenewed.isOpen(t, true)
	pageRenewed.isOpen(t, true)
	st.auth(plainRenewed, `{"sub":"ann"}`)
	st.pass(time.Hour)
	plainRenewed.isOpen(t, true)
	pageRenewed.isOpen(t, false)
	st.noBearers(t)
}

func TestATokenForAGroupEndsTheMembership(t *testing.T) {
	st := newBearerStage(2, ofKinds(Kind{Match: "1*", Join: Tokens, Publish: Tokens}))
	const claims = `{"sub":"ann","channel":"1g","exp":1800000100}`
	plain, page := st.auth(st.enter(0), `{"sub":"ann"}`), st.page(0, `{"sub":"ann"}`)
	st.ask(plain, `{"cmd":"add_group","group_id":"1g","token":%q,"id":1}`, tokenOf(claims))
	plain.heard(t, `{"id":1,"ok":true}`)
	st.ask(page, `{"id":2,"subscribe":{"channel":"1g","token":%q}}`, tokenOf(claims))
	page.heard(t, `{"id":2,"subscribe":{"expires":true,"ttl":100}}`)
	st.ask(plain, `{"cmd":"send_to_group","group_id":"1g","message":"x","id":2}`)
	plain.heard(t, `{"id":2,"ok":true`)
	st.pass(101 * time.Second)
	plain.heard(t, `{"event":"removed","group_id":"1g","reason":"token_expired"}`)
	st.ask(plain, `{"cmd":"send_to_group","group_id":"1g","message":"x","id":3}`)
	plain.heard(t, `{"id":3,"error":`+forbidden)
	page.heardNot(t, "unsubscribe")
	st.pass(25 * time.Second)
	page.heard(t, `{"push":{"channel":"1g","unsubscribe":{"code":2501,"reason":"subscription expired"}}}`)
	for _, c := range []*stageConn{plain, page} {
		c.isOpen(t, true)
		if n := c.client.groupCount(); n != 0 {
			t.Errorf("got %d groups, want none", n)
		}
	}
	st.nothingOf(t, "1g")
	st.noBearers(t)
}

// nothingOf fails if a loop knows a group.
func (st *bearerStage) nothingOf(t *testing.T, group string) {
	t.Helper()
	for i, s := range st.hub.shards {
		if s.groups.Get(group) != nil {
			t.Errorf("loop %d knows %s", i, group)
		}
	}
}

// A newer token, by sub_refresh or by a second add_group, or a leave and a join without a token, keep the membership.
func TestAMembershipGoesOnWithANewerToken(t *testing.T) {
	st := newBearerStage(1, nil)
	const claims, later = `{"channel":"0g","exp":1800000100}`, `{"channel":"0g","exp":1800000500}`
	plain, left, page := st.enter(0), st.enter(0), st.page(0, "")
	for _, c := range []*stageConn{plain, left} {
		st.ask(c, `{"cmd":"add_group","group_id":"0g","token":%q,"id":1}`, tokenOf(claims))
		c.heard(t, `{"id":1,"ok":true}`)
	}
	st.ask(page, `{"id":2,"subscribe":{"channel":"0g","token":%q}}`, tokenOf(claims))
	st.ask(plain, `{"cmd":"add_group","group_id":"0g","token":%q,"id":2}`, tokenOf(later))
	plain.heard(t, `{"id":2,"ok":true}`)
	st.ask(left, `{"cmd":"leave_group","group_id":"0g","id":2}`)
	st.ask(left, `{"cmd":"add_group","group_id":"0g","id":3}`)
	st.ask(page, `{"id":3,"sub_refresh":{"channel":"0g","token":%q}}`, tokenOf(later))
	page.heard(t, `{"id":3,"sub_refresh":{"expires":true,"ttl":500}}`)
	st.pass(200 * time.Second)
	for _, c := range []*stageConn{plain, left, page} {
		if n := c.client.groupCount(); n != 1 {
			t.Errorf("got %d groups, want 1; heard %q", n, c.out)
		}
	}
	st.pass(400 * time.Second)
	if left.client.groupCount() != 1 || plain.client.groupCount() != 0 || page.client.groupCount() != 0 {
		t.Errorf("got %d, %d and %d groups, want only that without a token", left.client.groupCount(), plain.client.groupCount(), page.client.groupCount())
	}
	st.noBearers(t)
}

func TestManyTokensThatEndTogetherEndInSeveralTurns(t *testing.T) {
	st := newBearerStage(1, nil)
	st.hub.clientsMax.Store(10_000)
	var all []*stageConn
	for range 2*closesPerTurn + 10 {
		all = append(all, st.auth(st.enter(0), `{"sub":"ann","exp":1800000100}`))
	}
	open := func() (n int) {
		for _, c := range all {
			if c.client.state == stateOpen {
				n++
			}
		}
		return n
	}
	st.nanos += int64(101 * time.Second)
	st.hub.beat()
	for turn, want := range []int{closesPerTurn + 10, 10, 0} {
		s := st.hub.shards[0]
		st.wakes[0], st.kicks[0] = false, false
		if turn == 0 {
			s.woken()
		} else {
			s.kickedAwake()
		}
		if got := open(); got != want {
			t.Errorf("turn %d: got %d open, want %d", turn, got, want)
		}
	}
	st.settle()
	st.noBearers(t)
}

// send has a hub do something that waits for its loops, which the stage lets run meanwhile.
func (st *bearerStage) send(do func(context.Context) (int, error)) (int, error) {
	type result struct {
		n   int
		err error
	}
	done := make(chan result, 1)
	called := make(chan struct{})
	go func() {
		n, err := do(context.Background())
		done <- result{n, err}
		close(called)
	}()
	for {
		for i := range st.hub.shards {
			st.wakes[i] = true
		}
		st.settle()
		select {
		case r := <-done:
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

func TestNamesOfClientsLeadBackToThem(t *testing.T) {
	st := newBearerStage(2, nil)
	c := st.page(1, `{"sub":"ann"}`)
	name := st.hub.ClientName(c.client.Number())
	c.heard(t, `"client":"`+name+`"`)
	if n, ok := st.hub.ClientNumber(name); !ok || n != c.client.Number() {
		t.Errorf("got %d, %v, want %d", n, ok, c.client.Number())
	}
}
