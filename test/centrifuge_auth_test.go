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
	p.do(`tokens = [` + quote(tokenFor(-60, ann)) + `,` + quote(tokenFor(soon, ann)) + `,` + quote(tokenText(ann)) + `];
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
	p.do(`locks = [` + quote(tokenFor(-60, locked)) + `,` + quote(tokenFor(soon, locked)) + `,` + quote(tokenText(locked)) + `];
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

// What the token names the page is in without a subscription of its own: the client itself hears it, and recovers it.
func TestACentrifugePageIsInTheGroupsThatItsTokenNames(t *testing.T) {
	t.Parallel()
	s := start(t, "--token-secret", tokenSecret, "--history", "100", "--history-ttl", "1m")
	proxy := startCutter(t, s.addr)
	p := openNodePage(t, proxy.Addr().String())
	p.do(`client = newClient(url, {token: ` + quote(tokenText(`{"sub":"ann","channels":["news"],"subs":{"room":{"info":{"seat":7},"data":{"title":"Room"}}}}`)) + `});
		for (const step of ["subscribed", "unsubscribed", "publication"]) client.on(step, about => say(step, about));
		own = listen(client, "own"); client.connect()`)
	p.step("connected")
	first := p.inChannel("room")
	equal(t, "data", string(first.Data), `{"title":"Room"}`)
	if news := p.inChannel("news"); !first.Recoverable || !news.Recoverable || first.WasRecovering {
		t.Fatalf("got %+v and %+v, want both recoverable", first, news)
	}
	p.inChannel("own")
	p.hears(dial(t, s), "room", "before")
	p.do(`await client.publish("room", "of the page")`)
	equal(t, "heard", p.hear(), `"of the page"`)
	equal(t, "who it is there", p.do(`return heard.filter(frame => frame.includes('"chan_info":{"seat":7}') && frame.includes('"pub"')).length`), "1")

	all := 2
	for life, missed := range []int{20, 0, 1} {
		proxy.door.Lock()
		proxy.each(cuts["by a reset"].cut)
		texts := saidWhileAway(t, dial(t, s), "room", fmt.Sprintf("missed in life %d:", life), missed)
		proxy.door.Unlock()
		p.step("connected")
		in := p.inChannel("room")
		equal(t, "asked for what it missed", in.WasRecovering, true)
		equal(t, "recovered", in.Recovered, true)
		equal(t, "from where", in.StreamPosition, streamPosition{all, first.StreamPosition.Epoch})
		equal(t, "the other", p.inChannel("news").Recovered, true)
		equal(t, "its own", p.inChannel("own").Recovered, true)
		live := saidWhileAway(t, dial(t, s), "room", fmt.Sprintf("live in life %d:", life), 5)
		p.hearsAll(append(texts, live...)...)
		all += missed + len(live)
	}
	equal(t, "ended subscriptions", p.untaken("unsubscribed"), 0)

	// Another token does not name the group any more.
	p.do(`client.setToken(` + quote(tokenText(`{"sub":"ann","channels":["news"]}`)) + `); client.disconnect(); client.connect()`)
	p.take("the end of a subscription", func(step nodeStep) bool { return step.Step == "unsubscribed" && step.Channel == "room" })
	equal(t, "recovered", p.inChannel("news").Recovered, true)
	p.do("")
	equal(t, "further messages", p.untaken("publication"), 0)
}
