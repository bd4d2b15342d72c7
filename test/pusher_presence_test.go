package test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// members is who is there as pusher-js has it, by id.
func (p *pusherPage) members(tab, channel string) string {
	p.t.Helper()
	return p.do(fmt.Sprintf(`return Object.fromEntries(Object.entries(%s.channel(%q).members.members).sort())`, tab, channel))
}

// A user is there as long as one of its tabs is, and the others are told of its first and of its last.
func TestAUserOfThreeTabsComesOnceAndGoesOnce(t *testing.T) {
	t.Parallel()
	s := startPusher(t)
	p := openPusherPage(t, s.addr)
	const room = "presence-room"
	p.connect("o", "olga")
	equal(t, "who is there", p.subscribe("o", room), `{"members":{"olga":{"name":"OLGA"}},"count":1,"myID":"olga","me":{"id":"olga","info":{"name":"OLGA"}}}`)
	tabs := []string{"a", "b", "c"}
	for _, tab := range tabs {
		p.connect(tab, "ann")
		equal(t, "who is there for "+tab, p.subscribe(tab, room), `{"members":{"ann":{"name":"ANN"},"olga":{"name":"OLGA"}},"count":2,"myID":"ann","me":{"id":"ann","info":{"name":"ANN"}}}`)
		p.hears(room, tab+" is there", append([]string{"o"}, tabs[:strings.Index("abc", tab)+1]...)...)
	}
	equal(t, "who has come", string(p.of("o", room, "pusher:member_added").Data), `{"id":"ann","info":{"name":"ANN"}}`)
	p.do(`a.unsubscribe("` + room + `")`)
	s.hasMembers(3)
	p.do(`b.disconnect()`)
	s.hasMembers(2)
	p.hears(room, "two have gone", "o", "c")
	equal(t, "told of her coming again, and of her going", p.has("o", room, "pusher:member_added")+p.has("o", room, "pusher:member_removed"), 0)
	equal(t, "told of herself", p.has("a", room, "pusher:member_added")+p.has("b", room, "pusher:member_added")+p.has("c", room, "pusher:member_added"), 0)
	p.do(`c.disconnect()`)
	equal(t, "who has gone", string(p.of("o", room, "pusher:member_removed").Data), `{"id":"ann","info":{"name":"ANN"}}`)
	p.hears(room, "she has gone", "o")
	equal(t, "told twice", p.has("o", room, "pusher:member_removed"), 0)
	equal(t, "who is left", p.members("o", room), `{"olga":{"name":"OLGA"}}`)

	// And back.
	p.subscribe("a", room)
	p.of("o", room, "pusher:member_added")
	p.hears(room, "she is back", "o", "a")
}

func TestMembersAreToldAsTheApplicationSignedThem(t *testing.T) {
	t.Parallel()
	s := startPusher(t)
	p := openPusherPage(t, s.addr)
	const room = "presence-odd"
	p.do(`Object.assign(users, {number: {user_id: 7, user_info: {n: 1}}, big: {user_id: 12345678901234, user_info: "text"}, bare: {user_id: "bare"},
		true: {user_id: "t", user_info: true}, null: {user_id: "n", user_info: null}, list: {user_id: "l", user_info: [1, {"é": "\u2028/"}]}, odd: {user_id: "a b/\"é\" 😀", user_info: {}}}); 0`)
	p.connect("o", "olga")
	p.subscribe("o", room)
	added := map[string]string{"number": `{"id":7,"info":{"n":1}}`, "big": `{"id":12345678901234,"info":"text"}`, "bare": `{"id":"bare"}`, "true": `{"id":"t","info":true}`,
		"null": `{"id":"n","info":null}`, "list": `{"id":"l","info":[1,{"é":"\u2028/"}]}`, "odd": `{"id":"a b/\"é\" 😀","info":{}}`}
	for _, as := range []string{"number", "big", "bare", "true", "null", "list", "odd"} {
		p.connect(as+"Tab", as)
		p.subscribe(as+"Tab", room)
		got, want := string(p.of("o", room, "pusher:member_added").Data), added[as]
		if as == "bare" && got == `{"id":"bare","info":null}` {
			continue // without and with null are the same to a page
		}
		if got = strings.ReplaceAll(got, "\u2028", `\u2028`); got != want {
			t.Errorf("%s came: got %s, want %s", as, got, want)
		}
	}
	// Who comes later has the same list: pusher-js makes it from the hash in the answer.
	p.connect("z", "zoe")
	p.subscribe("z", room)
	p.of("o", room, "pusher:member_added")
	want := `{"12345678901234":"text","7":{"n":1},"a b/\"é\" 😀":{},"bare":null,"l":[1,{"é":"\u2028/"}],"n":null,"olga":{"name":"OLGA"},"t":true,"zoe":{"name":"ZOE"}}`
	canonical := func(text string) string {
		var v map[string]any
		must(t, json.Unmarshal([]byte(text), &v))
		b, err := json.Marshal(v)
		must(t, err)
		return string(b)
	}
	equal(t, "list of the last", canonical(p.members("z", room)), canonical(want))
	equal(t, "its count", p.do(`return z.channel("`+room+`").members.count`), "9")
	p.do(`numberTab.disconnect(); bareTab.disconnect()`)
	for range 2 {
		p.of("z", room, "pusher:member_removed")
	}
	equal(t, "count", p.do(`return z.channel("`+room+`").members.count`), "7")
}

// Clients that came by other protocols, or as nobody, are members, and no Pusher page is told of them.
func TestMembersWithoutAUserAreNotListedForPusherPages(t *testing.T) {
	t.Parallel()
	s, _ := configured(t, `{"groups": [{"match": "presence-open", "join": "anyone", "publish": "anyone"}]}`, "--pusher", pusherApp)
	p := openPusherPage(t, s.addr)
	p.connect("o", "olga")
	p.subscribe("o", "presence-open")
	plain := member(t, s, "presence-open")
	p.connect("a", "ann")
	p.subscribe("a", "presence-open")
	equal(t, "first of whom it is told", string(p.of("o", "presence-open", "pusher:member_added").Data), `{"id":"ann","info":{"name":"ANN"}}`)
	must(t, plain.leave("presence-open"))
	p.hears("presence-open", "now", "o", "a")
	equal(t, "others", p.has("o", "presence-open", "pusher:member_added")+p.has("o", "presence-open", "pusher:member_removed"), 0)
	s.hasMembers(2)
}

func TestClientEventsReachAllOthers(t *testing.T) {
	t.Parallel()
	s := startPusher(t)
	p := openPusherPage(t, s.addr)
	for tab, as := range map[string]string{"a": "ann", "a2": "ann", "b": "bob"} {
		p.connect(tab, as)
		for _, channel := range []string{"presence-room", "private-room", "news"} {
			p.subscribe(tab, channel)
		}
	}
	// On the way an object stays an object, and text is a string: pages could not tell the two.
	wire, socket := dialPusher(t, s.addr)
	must(t, wire.text(pusherSubscribe(socket, "private-wire", "")))
	wire.expectPusher(t, "pusher_internal:subscription_succeeded", "private-wire", "{}")
	p.connect("w", "wes")
	p.subscribe("w", "private-wire")
	for said, data := range map[string]string{`{m: [1, "é"]}`: `{"m":[1,"é"]}`, `"str"`: `"str"`, `7`: `7`} {
		p.do(`w.channel("private-wire").trigger("client-x", ` + said + `)`)
		text, err := wire.next()
		must(t, err)
		equal(t, said+" on the way", text, `{"event":"client-x","channel":"private-wire","data":`+data+`}`)
	}
	for _, channel := range []string{"presence-room", "private-room"} {
		for said, heard := range map[string]string{`{m: 1}`: `{"m":1}`, `"str"`: `"str"`, `"\"é\" 😀"`: `"\"é\" 😀"`, `[1, null]`: `[1,null]`, `7`: `7`} {
			p.do(fmt.Sprintf(`a.channel(%q).trigger("client-x", %s)`, channel, said))
			for _, tab := range []string{"a2", "b"} {
				equal(t, said+" for "+tab, string(p.of(tab, channel, "client-x").Data), heard)
			}
		}
		p.hears(channel, "marker", "a", "a2", "b")
		equal(t, "own events", p.has("a", channel, "client-x"), 0)
	}
	equal(t, "who says it", p.do(`return ["presence-room", "private-room"].map((name) => b.frames.filter((f) => f.event === "client-x" && f.channel === name && f.user_id === "ann").length)`), "[5,0]")

	// Not in public channels, not by who is not in, and not faster than ten a second.
	p.do(`a.channel("news").trigger("client-x", {})`)
	equal(t, "code", p.of("a", "", "error").Code, 4301)
	p.do(`a.send_event("client-x", {}, "private-elsewhere")`)
	equal(t, "code", p.of("a", "", "error").Code, 4301)
	p.do(`for (let n = 0; n < 60; n++) b.channel("private-room").trigger("client-n", n)`)
	equal(t, "code", p.of("b", "", "error").Code, 4301)
	for range 10 {
		p.of("a", "private-room", "client-n")
	}
	p.hears("private-room", "behind them", "a", "a2", "b")
	// A fast machine lets ten through, and the next second may begin meanwhile: so up to the same place in the order.
	var heard []int
	must(t, json.Unmarshal([]byte(p.do(`return [a, a2].map((tab) => {
		const events = tab.frames.filter((f) => f.channel === "private-room");
		return events.slice(0, events.findIndex((f) => f.data === "behind them")).filter((f) => f.event === "client-n").length;
	})`)), &heard))
	if heard[0] < 10 || heard[0] >= 60 || heard[0] != heard[1] {
		t.Errorf("heard of 60 client events at once: got %d, want as many by both, at least ten and not all", heard)
	}
	equal(t, "public client events", p.has("b", "news", "client-x"), 0)
	equal(t, "reconnects", p.has("a", "", "connecting")+p.has("b", "", "connecting"), 0)
}

// client-events and event-max are what an app allows.
func TestAnAppMayAllowNoClientEventsAndSmallerOnes(t *testing.T) {
	t.Parallel()
	s, _ := configured(t, fmt.Sprintf(`{"pusher": [{"id": %q, "key": %q, "secret": %q, "client-events": "off", "event-max": "1KiB"},
		{"id": "4", "key": "second", "secret": %[3]q, "client-events": 1000, "event-max": "1KiB"}]}`, pusherID, pusherKey, pusherSecret))
	p := openPusherPage(t, s.addr)
	p.connect("a", "ann")
	p.subscribe("a", "private-a")
	p.do(`a.channel("private-a").trigger("client-x", {})`)
	equal(t, "code", p.of("a", "", "error").Code, 4301)
	p.do(`key = "second"; authority = await laravel(newBackend({appId: "4", key}))`)
	p.connect("b", "bob")
	p.connect("c", "cid")
	for _, tab := range []string{"b", "c"} {
		p.subscribe(tab, "private-a")
	}
	p.do(`for (let n = 0; n < 100; n++) b.channel("private-a").trigger("client-n", n); b.channel("private-a").trigger("client-long", "x".repeat(1100))`)
	equal(t, "code", p.of("b", "", "error").Code, 4301)
	for n := range 100 {
		equal(t, "event", string(p.of("c", "private-a", "client-n").Data), fmt.Sprint(n))
	}
	// Apps are apart: a channel of one is not that of the other.
	p.do(`await newBackend({appId: "4", key}).trigger("private-a", "of the second", 1); await backend.trigger("private-a", "of the first", 2)`)
	equal(t, "heard", string(p.of("c", "private-a", "of the second").Data), "1")
	equal(t, "heard", string(p.of("a", "private-a", "of the first").Data), "2")
	p.do(`await newBackend({appId: "4", key}).trigger("private-a", "of the second, again", 3)`) // behind both, were they in one channel
	equal(t, "heard", string(p.of("c", "private-a", "of the second, again").Data), "3")
	p.do("")
	equal(t, "of the other", p.has("c", "private-a", "of the first")+p.has("a", "private-a", "of the second")+p.has("c", "private-a", "client-long"), 0)
	// Nor is a user of one that of another.
	p.connect("d", "ann")
	p.signsIn("a", "ann")
	p.signsIn("d", "ann")
	p.do(`await newBackend({appId: "4", key}).sendToUser("ann", "hello", 4); await newBackend({appId: "4", key}).terminateUserConnections("ann")`)
	equal(t, "heard by its user", string(p.of("d", "user", "hello").Data), "4")
	p.of("d", "", "disconnected")
	p.do(`await backend.sendToUser("ann", "hello", 3)`)
	equal(t, "heard by the user of the first", string(p.of("a", "user", "hello").Data), "3")
	equal(t, "ended", p.has("a", "", "disconnected"), 0)
	if end := p.run(`await backend.trigger("private-a", "long", "x".repeat(1025))`); end.Code != 413 {
		t.Errorf("an event over the bound: got %d %s, want 413", end.Code, end.Reason)
	}
}

// signsIn waits until a tab has signed in and hears what is sent to its user.
func (p *pusherPage) signsIn(tab, user string) {
	p.t.Helper()
	p.do(tab + `.signin(); await ` + tab + `.user.signinDonePromise`)
	eventually(p.t, tab+" is in the channel of its user", func() error {
		if p.do(`return `+tab+`.frames.some((f) => f.event === "pusher_internal:subscription_succeeded" && f.channel === "#server-to-user-`+user+`")`) != "true" {
			return fmt.Errorf("got %s", p.do(`return `+tab+`.frames.slice(-3)`))
		}
		return nil
	})
}

func TestAPusherPageThatSignsInHearsWhatIsSentToItsUser(t *testing.T) {
	t.Parallel()
	s := startPusher(t)
	p := openPusherPage(t, s.addr)
	for tab, as := range map[string]string{"a": "ann", "a2": "ann", "b": "bob"} {
		p.connect(tab, as)
		p.signsIn(tab, as)
		equal(t, "who "+tab+" is", p.do(`return `+tab+`.user.user_data`), fmt.Sprintf(`{"id":%q,"user_info":{"name":%q}}`, as, strings.ToUpper(as)))
	}
	s.hasMembers(3) // of #server-to-user-ann and -bob
	p.do(`await backend.sendToUser("ann", "hello", {n: 1}); await backend.sendToUser("bob", "hello", {n: 2})`)
	for tab, heard := range map[string]string{"a": `{"n":1}`, "a2": `{"n":1}`, "b": `{"n":2}`} {
		equal(t, "heard by "+tab, string(p.of(tab, "user", "hello").Data), heard)
	}
	p.do("")
	equal(t, "heard twice", p.has("a", "user", "hello")+p.has("b", "user", "hello"), 0)
	// Nobody else may hear it.
	other, _ := dialPusher(t, s.addr)
	must(t, other.text(`{"event":"pusher:subscribe","data":{"auth":"","channel":"#server-to-user-ann"}}`))
	other.expectPusher(t, "pusher:subscription_error", "#server-to-user-ann", "*")
	plain := dial(t, s)
	plain.expectError(t, joinCommand("#server-to-user-ann"), "forbidden")
	plain.expectError(t, sendCommand("#server-to-user-ann", "hi"), "forbidden")

	// The signature of the user does for a presence channel.
	p.do(`for (const tab of [a, b]) tab.config.channelAuthorizer = ({channelName, socketId}, done) => done(null, backend.authorizeChannel(socketId, channelName))`)
	p.subscribe("a", "presence-room")
	p.subscribe("b", "presence-room")
	equal(t, "who is there", p.members("b", "presence-room"), `{"ann":{"name":"ANN"},"bob":{"name":"BOB"}}`)
	equal(t, "who has come", string(p.of("a", "presence-room", "pusher:member_added").Data), `{"id":"bob","info":{"name":"BOB"}}`)

	// All connections of a user end, for good, and those of no other.
	p.do(`await backend.terminateUserConnections("ann")`)
	for _, tab := range []string{"a", "a2"} {
		equal(t, tab+": code", p.of(tab, "", "error").Code, 4009)
		p.of(tab, "", "disconnected")
	}
	p.of("b", "presence-room", "pusher:member_removed")
	p.hears("presence-room", "still here", "b")
	equal(t, "of who was ended", p.has("a", "", "connecting")+p.has("a2", "", "connecting")+p.has("b", "", "error"), 0)
}

func TestAPusherPageThatSignsInWronglyIsToldAndStays(t *testing.T) {
	t.Parallel()
	s := startPusher(t)
	p := openPusherPage(t, s.addr)
	p.do(`mine = authority; authority = await laravel(newBackend({secret: "another"}))`)
	p.connect("a", "ann")
	p.do(`a.signin()`)
	equal(t, "code", p.of("a", "", "error").Code, 4009)
	p.subscribe("a", "news")
	p.hears("news", "still here", "a")
	s.hasMembers(1)
	equal(t, "reconnects", p.has("a", "", "connecting")+p.has("a", "", "disconnected"), 0)
}

func TestEncryptedChannelsPassWhatOnlyPagesCanRead(t *testing.T) {
	t.Parallel()
	s := startPusher(t)
	p := openPusherPage(t, s.addr)
	const channel = "private-encrypted-safe"
	p.connect("a", "ann")
	p.subscribe("a", channel)
	p.do(`await backend.trigger("` + channel + `", "secret", {x: [1, "é"]})`)
	equal(t, "heard", string(p.of("a", channel, "secret").Data), `{"x":[1,"é"]}`)
	equal(t, "on the way", p.do(`return Object.keys(a.frames.at(-1).data).sort()`), `["ciphertext","nonce"]`)
	p.do(`await backend.triggerBatch([{channel: "` + channel + `", name: "secret", data: 2}])`)
	equal(t, "heard", string(p.of("a", channel, "secret").Data), `2`)
	// No client events there.
	p.do(`a.send_event("client-x", {}, "` + channel + `")`)
	equal(t, "code", p.of("a", "", "error").Code, 4301)
}

func TestCacheChannelsTellTheLastEventToWhoComes(t *testing.T) {
	t.Parallel()
	s := startPusher(t)
	p := openPusherPage(t, s.addr)
	p.connect("a", "ann")
	p.connect("b", "bob")
	p.connect("w", "witness")
	for _, channel := range []string{"cache-x", "private-cache-x", "presence-cache-x", "private-encrypted-cache-x"} {
		p.subscribe("a", channel)
		p.of("a", channel, "pusher:cache_miss")
		p.do(`await backend.trigger("` + channel + `", "first", 1); await backend.trigger("` + channel + `", "last", {n: 2})`)
		p.of("a", channel, "last")
		if strings.HasPrefix(channel, "presence-") || channel == "private-cache-x" {
			p.subscribe("w", channel)
			p.do(`a.channel("` + channel + `").trigger("client-x", {})`) // not kept
			p.of("w", channel, "client-x")
		}
		p.subscribe("b", channel)
		equal(t, channel, string(p.of("b", channel, "last").Data), `{"n":2}`)
		p.hears(channel, "marker", "a", "b")
		equal(t, "missed, kept otherwise", p.has("b", channel, "pusher:cache_miss")+p.has("b", channel, "first")+p.has("b", channel, "client-x"), 0)
	}
	// What is triggered before anybody is there counts, and it outlives the last who was.
	p.do(`await backend.trigger("cache-empty", "early", "e")`)
	p.subscribe("a", "cache-empty")
	equal(t, "heard", string(p.of("a", "cache-empty", "early").Data), `"e"`)
	p.do(`a.disconnect(); b.disconnect(); w.disconnect()`)
	s.hasMembers(0)
	p.connect("c", "cid")
	p.subscribe("c", "cache-x")
	equal(t, "heard", string(p.of("c", "cache-x", "heard").Data), `"marker"`)
	// Of channels of other names nothing is kept.
	p.do(`await backend.trigger("news", "early", 1)`)
	p.subscribe("c", "news")
	p.hears("news", "first of all", "c")
	equal(t, "kept", p.has("c", "news", "early")+p.has("c", "news", "pusher:cache_miss"), 0)
}
