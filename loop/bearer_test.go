package loop

import (
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
		if of, users, ending := s.bearers.of.len, s.bearers.users.Len(), len(s.bearers.ending); of+users+ending+len(s.bearers.errands) != 0 {
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
		"what it allows has ended":  {`{"sub":"ann","exp":1800000100,"expire_at":1799999999}`, "", `{"id":1,"error":{"code":109,"message":"token expired"}}`},
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
		"subscribe, for longer":     {ann, `{"id":2,"subscribe":{"channel":"0g","token":"` + tokenOf(`{"sub":"ann","channel":"0g","exp":1800000050,"expire_at":1800000500}`) + `"}}`, `{"id":2,"subscribe":{"expires":true,"ttl":500}}`},
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

// Who says who it is when it has joined already is a user there from then on.
func TestWhoJoinsBeforeItsTokenComesIsListedAsItsUser(t *testing.T) {
	for _, early := range []bool{false, true} {
		st := newBearerStage(2, func(b *bounds) { b.Presence = true })
		page, plain := st.page(1, `{"sub":"bob"}`), st.enter(0)
		st.ask(page, `{"id":2,"subscribe":{"channel":"1g"}}`)
		letGo := func() {}
		if early { // before it is a member
			letGo = st.hold(1)
		}
		plain.say(`{"cmd":"add_group","group_id":"1g","id":1}`)
		if !early {
			st.settle()
		}
		plain.say(`{"cmd":"auth","token":%q,"id":2}`, tokenOf(`{"sub":"ann"}`))
		letGo()
		st.settle()
		page.out = nil
		st.ask(page, `{"id":3,"presence":{"channel":"1g"}}`)
		page.heard(t, `"user":"ann"`)
		st.ask(page, `{"id":4,"presence_stats":{"channel":"1g"}}`)
		page.heard(t, `{"num_clients":2,"num_users":2}`)
		st.noBearers(t)
		st.nothingOf(t, "1g")
	}
}
