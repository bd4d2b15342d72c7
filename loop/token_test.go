package loop

import (
	"fmt"
	"strings"
	"testing"
)

// enterWith is a plain client that connects at a path with more header lines; what it is answered is in out.
func (st *stage) enterWith(path, header string) *stageConn {
	c := &stageConn{shard: st.hub.shards[0], fd: len(st.conns)}
	st.conns = append(st.conns, c)
	st.hub.admit()
	c.client = c.shard.opened(c)
	request := strings.Replace(simRequest, "GET / ", "GET "+path+" ", 1)
	c.shard.traffic(c.client, []byte(strings.TrimSuffix(request, "\r\n")+header+"\r\n"))
	return c
}

func TestATokenMayComeWithTheHandshake(t *testing.T) {
	good, expired, grouped := tokenOf(`{"sub":"ann","exp":1800000100}`), tokenOf(`{"sub":"ann","exp":1799999999}`), tokenOf(`{"sub":"ann","channel":"0g"}`)
	for name, test := range map[string]struct {
		path, header string
		want         string // what it is answered begins so
		user         string
	}{
		"none":               {"/", "", "HTTP/1.1 101 ", ""},
		"in the query":       {"/any?a=b&token=" + good, "", "HTTP/1.1 101 ", "ann"},
		"escaped":            {"/?token=" + strings.ReplaceAll(good, ".", "%2E"), "", "HTTP/1.1 101 ", "ann"},
		"in a header":        {"/", "Authorization: Bearer " + good + "\r\n", "HTTP/1.1 101 ", "ann"},
		"twice":              {"/?token=" + good, "Authorization: Bearer " + good + "\r\n", "HTTP/1.1 400 ", ""},
		"wrong":              {"/?token=" + good + "x", "", "HTTP/1.1 401 ", ""},
		"empty":              {"/?token=", "", "HTTP/1.1 401 ", ""},
		"expired":            {"/?token=" + expired, "", "HTTP/1.1 401 ", ""},
		"for a group":        {"/?token=" + grouped, "", "HTTP/1.1 401 ", ""},
		"a Centrifuge's":     {centrifugePath + "?token=x", "", "HTTP/1.1 101 ", ""},
		"of another scheme":  {"/", "Authorization: Basic eDp5\r\n", "HTTP/1.1 101 ", ""},
		"wrong, in a header": {"/", "Authorization: Bearer x\r\n", "HTTP/1.1 401 ", ""},
	} {
		t.Run(name, func(t *testing.T) {
			st := newBearerStage(1, nil)
			c := st.enterWith(test.path, test.header)
			if !strings.HasPrefix(string(c.out), test.want) || strings.Contains(string(c.out), "eyJ") {
				t.Errorf("got %q, want %s and no token in it", c.out, test.want)
			}
			if got := c.shard.bearer(c.client).user(); got != test.user {
				t.Errorf("got user %q, want %q", got, test.user)
			}
			refused := st.hub.Snapshot().Total().Handshakes["token"]
			if want := strings.HasPrefix(test.want, "HTTP/1.1 4"); (refused == 1) != want {
				t.Errorf("got %d handshakes refused for their token, want that it is %v", refused, want)
			}
			st.noBearers(t)
		})
	}
}

// What stands in a request is somebody else's where no tokens are configured, as a proxy's in front of the server.
func TestWithoutKeysATokenInTheHandshakeIsNobodysAndAnyOtherIsBad(t *testing.T) {
	st := newBearerStage(1, func(b *bounds) { b.Tokens = nil })
	c := st.enterWith("/?token=x", "Authorization: Bearer x\r\n")
	c.heard(t, "HTTP/1.1 101 ")
	st.auth(c, `{"sub":"ann"}`)
	c.heard(t, `{"id":"auth","error":{"code":"bad_token"`)
	page := st.page(0, `{"sub":"ann"}`)
	page.heard(t, closed3500)
	st.noBearers(t)
}

// A user who may be told of is told of wherever its token is shown; who has none costs nothing.
func TestAListOfConnectionsNamesUsersAndNoTokens(t *testing.T) {
	st := newBearerStage(1, nil)
	s := st.hub.shards[0]
	s.env.names = func(conn) (string, string) { return "", "" }
	st.auth(st.enter(0), `{"sub":"ann"}`)
	st.enter(0)
	l := &listing{left: notBegun}
	s.list(l)
	if len(l.rows) != 2 || l.rows[1].User != "ann" && l.rows[0].User != "ann" {
		t.Errorf("got %+v, want ann and nobody", l.rows)
	}
}

// What a connection's token says of its bearer is told also where that has a token for the group, whether either of them names a user.
func TestATokenForAGroupHidesNothingOfTheConnections(t *testing.T) {
	for sub, want := range map[string]string{"": `"user":""`, "ann": `"user":"ann"`} {
		st := newBearerStage(1, nil)
		c := st.page(0, fmt.Sprintf(`{"sub":%q,"info":{"n":1}}`, sub))
		st.ask(c, `{"id":2,"subscribe":{"channel":"0g","token":%q}}`, tokenOf(fmt.Sprintf(`{"sub":%q,"channel":"0g"}`, sub)))
		st.ask(c, `{"id":3,"publish":{"channel":"0g","data":1}}`)
		c.heard(t, want)
		c.heard(t, `"conn_info":{"n":1}`)
		st.noBearers(t)
	}
}

// Whoever sends many tokens at once, good ones or such as have expired, has others wait for a while and not for all of them.
func TestTheTokensOfAClientTakeSoMuchOfALoopsTime(t *testing.T) {
	for name, said := range map[string]string{
		"refresh":   `{"id":%d,"refresh":{"token":"` + tokenOf(`{"sub":"ann"}`) + `"}}`,
		"subscribe": `{"id":%d,"subscribe":{"channel":"0g","token":"` + tokenOf(`{"sub":"ann","channel":"0g","exp":1799999999}`) + `"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			st := newBearerStage(1, nil)
			c, s := st.page(0, `{"sub":"ann"}`), st.hub.shards[0]
			now := s.env.now
			s.env.now = func() int64 { st.nanos += 2_000_000; return now() } // a check takes as long as one of ES512
			flood := func(n, want int) {
				t.Helper()
				st.pass(tickPeriod)
				c.out = nil
				var all []string
				for i := range n {
					all = append(all, fmt.Sprintf(said, i+2))
				}
				before := int(st.tokens()["accepted"] + st.tokens()["expired"])
				c.say("%s", strings.Join(all, "\n"))
				st.settle()
				checked := int(st.tokens()["accepted"]+st.tokens()["expired"]) - before
				if refused := strings.Count(string(c.out), `"code":111,`); checked != want || refused != n-want {
					t.Errorf("of %d: got %d checked and %d refused, want %d and %d", n, checked, refused, want, n-want)
				}
				c.isOpen(t, true)
			}
			flood(1000, checksPerTickMin)
			flood(checksPerTickMin, checksPerTickMin)
			st.noBearers(t)
		})
	}
}

func BenchmarkPublishOfABearer(b *testing.B) {
	st := newBearerStage(1, ofKinds(Kind{Match: "0*", Publish: Users}))
	c := st.auth(st.enter(0), `{"sub":"ann"}`)
	for b.Loop() {
		if !c.shard.mayPublish(c.client, []byte("0g")) {
			b.Fatal("refused")
		}
	}
}
