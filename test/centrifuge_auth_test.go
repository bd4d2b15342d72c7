package test

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// Tokens with the real centrifuge-js, unmodified: it fetches, shows and renews them as it does with the server that it is made for.

// tokenFor is a token that is good for so long from now, in seconds; below 0 it has expired.
func tokenFor(seconds int, claims string) string {
	return tokenText(fmt.Sprintf(`{"exp":%d,%s`, time.Now().Unix()+int64(seconds), claims[1:]))
}

func TestACentrifugePageFetchesShowsAndRenewsItsTokens(t *testing.T) {
	t.Parallel()
	s, _ := configured(t, `{"groups": [{"match": "chat", "join": "user", "publish": "user", "presence": true}, {"match": "locked", "join": "token"}]}`, "--token-secret", tokenSecret)
	p := openNodePage(t, s.addr)
	const ann = `{"sub":"ann","info":{"name":"Ann"}}`
	// The first has expired; the second is good for a moment; the third for ever.
	p.do(`tokens = [` + quote(tokenFor(-60, ann)) + `,` + quote(tokenFor(3, ann)) + `,` + quote(tokenText(ann)) + `];
		next = async () => { say("fetched"); return tokens.shift() };
		client = newClient(url, {token: tokens.shift(), getToken: next});
		group = listen(client, "chat", {joinLeave: true}); client.connect()`)
	p.step("fetched")
	p.step("connected")
	p.step("subscribed")
	equal(t, "who is there", p.do(`return Object.values((await group.presence()).clients).map(c => c.user + JSON.stringify(c.connInfo)).join()`), `"ann{\"name\":\"Ann\"}"`)
	p.do(`await group.publish("hi")`)
	equal(t, "heard", p.hear(), `"hi"`)
	equal(t, "of whom", p.do(`return heard.filter(frame => frame.includes('"conn_info":{"name":"Ann"}') && frame.includes('"pub"')).length`), "1")
	p.step("fetched") // when the second is about to end
	s.eventually("the page has renewed its token", func() error {
		if n := p.do(`return heard.filter(frame => frame.includes('"refresh":{')).length`); n != "1" {
			return fmt.Errorf("got %s answers to a refresh", n)
		}
		return nil
	})
	equal(t, "disconnected", p.untaken("disconnected"), 0)
	p.do(`await group.publish("still here")`)
	equal(t, "heard", p.hear(), `"still here"`)

	// Likewise a token for one channel.
	const locked = `{"sub":"ann","channel":"locked","info":{"seat":7}}`
	p.do(`locks = [` + quote(tokenFor(-60, locked)) + `,` + quote(tokenFor(3, locked)) + `,` + quote(tokenText(locked)) + `];
		lock = listen(client, "locked", {token: locks.shift(), getToken: async () => { say("fetched for one"); return locks.shift() }})`)
	p.step("fetched for one")
	p.take("the subscription", func(step nodeStep) bool { return step.Step == "subscribed" && step.Channel == "locked" })
	p.step("fetched for one")
	s.eventually("the page has renewed it", func() error {
		if n := p.do(`return heard.filter(frame => frame.includes('"sub_refresh":{')).length`); n != "1" {
			return fmt.Errorf("got %s answers to a sub_refresh", n)
		}
		return nil
	})
	p.do(`await lock.publish("seat")`)
	equal(t, "heard", p.hear(), `"seat"`)
	equal(t, "unsubscribed", p.untaken("unsubscribed"), 0)
	equal(t, "tokens of expired", s.status().Total.Tokens.Expired, 2)
}

func TestACentrifugePageWithoutAGoodTokenStaysAway(t *testing.T) {
	t.Parallel()
	s := start(t, "--token-secret", tokenSecret)
	for name, test := range map[string]struct {
		options string
		code    int
	}{
		"none":             {`{}`, 101},
		"a wrong one":      {`{token: "x.y.z"}`, 3500},
		"another's secret": {`{token: ` + quote(tokenText(`{"sub":"ann"}`)+"x") + `}`, 3500},
	} {
		t.Run(name, func(t *testing.T) {
			p := openNodePage(t, s.addr)
			p.do(`client = newClient(url, ` + test.options + `); group = listen(client, "g"); client.connect()`)
			equal(t, "code", p.step("disconnected").Code, test.code)
			equal(t, "connected", p.untaken("connected"), 0)
		})
	}
	// A subscription with what is somebody else's.
	p := openNodePage(t, s.addr)
	p.do(`client = newClient(url, {token: ` + quote(tokenText(`{"sub":"ann"}`)) + `}); client.connect();
		group = listen(client, "g", {token: ` + quote(tokenText(`{"sub":"bob","channel":"g"}`)) + `})`)
	equal(t, "code", p.step("disconnected").Code, 3500)
	if log := s.out.String(); strings.Contains(log, "eyJ") {
		t.Errorf("got a token in the log: %s", log)
	}
}
