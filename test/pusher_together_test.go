package test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// One group heard by all: each said in one dialect is heard by members of every other in its own form, in one order.
func TestOneMessageIsHeardByClientsOfAllProtocols(t *testing.T) {
	t.Parallel()
	s := startPusher(t, "--channel", "127.0.0.1:0", "--api-key", apiKey)
	p, cf := openPusherPage(t, s.addr), openNodePage(t, s.addr)
	p.connect("a", "ann")
	p.subscribe("a", "room")
	cf.do(`tags = []; client = newClient(url, {}); group = listen(client, "room"); group.on("publication", (about) => tags.push(about.tags ?? null)); client.connect()`)
	cf.step("subscribed")
	plain, php := member(t, s, "room"), subscriber(t, s)
	all := []struct {
		what                    string
		say                     func()
		plain, centrifuge, tags string
		event, data             string // of the page: data as pusher-js gives it
		channel                 any    // what Channel clients get; nil: not compared
	}{
		{"text of a plain client", func() { must1(t, plain.askOK)(sendCommand("room", "hi")) }, "hi", `"hi"`, "null", "message", `"hi"`, "hi"},
		{"JSON of a plain client", func() { must1(t, plain.askOK)(`{"cmd":"send_to_group","group_id":"room","message":{"a": 1}}`) }, `{"a": 1}`, `{"a":1}`, "null", "message", `{"a":1}`, `{"a": 1}`},
		{"a text that looks like JSON, of a plain client", func() { must1(t, plain.askOK)(sendCommand("room", `{"a":1}`)) }, `{"a":1}`, `"{\"a\":1}"`, "null", "message", `{"a":1}`, `{"a":1}`},
		{"JSON of a Centrifuge client", func() { cf.do(`await group.publish({a: [1, "é"]})`) }, `{"a":[1,"é"]}`, `{"a":[1,"é"]}`, "null", "message", `{"a":[1,"é"]}`, `{"a":[1,"é"]}`},
		{"text of a Centrifuge client", func() { cf.do(`await group.publish("text")`) }, `text`, `"text"`, "null", "message", `"text"`, "text"},
		{"the server API, with tags", func() { s.asksAPI(t, "publish", `{"channel":"room","data":{"n":1},"tags":{"event":"named","x":"y"}}`) }, `{"n":1}`, `{"n":1}`, `{"event":"named","x":"y"}`, "named", `{"n":1}`, nil},
		{"an object of a backend of Pusher", func() { p.do(`await backend.trigger("room", "App\\Events\\E", {b: 2})`) }, `{"b":2}`, `{"b":2}`, `{"event":"App\\Events\\E"}`, `App\Events\E`, `{"b":2}`, nil},
		{"text of a backend of Pusher", func() { p.do(`await backend.trigger("room", "ev", "text")`) }, `text`, `"text"`, `{"event":"ev"}`, "ev", `"text"`, nil},
		{"a number of a backend of Pusher", func() { p.do(`await backend.trigger("room", "ev", "17")`) }, `17`, `"17"`, `{"event":"ev"}`, "ev", `17`, nil},
		{"PHP by the Channel", func() {
			dialChannel(t, s).say(t, said("publish", "send_to_group", groupEvent("room", "這個是消息")))
		}, "這個是消息", `"這個是消息"`, "null", "message", `"這個是消息"`, "這個是消息"},
	}
	for _, c := range all {
		c.say()
		got, err := plain.next()
		must(t, err)
		equal(t, c.what+" for a plain client", got, c.plain)
		equal(t, c.what+" for a Centrifuge page", cf.hear(), c.centrifuge)
		equal(t, c.what+": tags for a Centrifuge page", cf.do(`return tags.at(-1)`), c.tags)
		equal(t, c.what+" for a Pusher page", string(p.of("a", "room", c.event).Data), c.data)
		if c.channel != nil {
			php.expectEvent(t, "send_to_group", groupEvent("room", c.channel.(string)))
		} else if _, err := php.next(); err != nil {
			t.Fatalf("%s for PHP: %v", c.what, err)
		}
	}
}

// All at once, in one order for everyone.
func TestPagesOfAllProtocolsHearOneOrder(t *testing.T) {
	t.Parallel()
	s := startPusher(t, "--channel", "127.0.0.1:0")
	p, cf := openPusherPage(t, s.addr), openNodePage(t, s.addr)
	for _, tab := range []string{"a", "b"} {
		p.connect(tab, "ann")
		p.subscribe(tab, "room")
		p.do(fmt.Sprintf(`%[1]s.texts = []; %[1]s.channel("room").bind_global((event, data) => %[1]s.texts.push(data))`, tab))
	}
	p.echoes("e", "bob")
	p.do(`e.texts = []; eEcho.channel("room").subscribed(` + tells("e", "in") + `).listenToAll((event, data) => e.texts.push(data))`)
	p.of("e", "echo", "in")
	cf.listens("room", "{}")
	plain, php := member(t, s, "room"), dialChannel(t, s)
	const each = 150
	cf.do(fmt.Sprintf(`for (let n = 0; n < %d; n++) group.publish("centrifuge: " + n).catch((error) => say("refused", error))`, each))
	p.do(fmt.Sprintf(`load = (async () => { for (let n = 0; n < %d; n++) await backend.trigger("room", "ev", "backend: " + n); })(); 0`, each))
	for n := range each {
		must(t, plain.text(sendCommand("room", fmt.Sprintf("plain: %d", n))))
		php.say(t, said("publish", "send_to_group", groupEvent("room", fmt.Sprintf("php: %d", n))))
	}
	p.do(`await load`)
	const all = 4 * each
	first := must1(t, plain.collect)(all)
	once := slices.Clone(first)
	slices.Sort(once)
	equal(t, "different messages", len(slices.Compact(once)), all)
	for from, next := range map[string]int{"plain": 0, "centrifuge": 0, "php": 0, "backend": 0} {
		for _, text := range first {
			if n, ours := strings.CutPrefix(text, from+": "); ours {
				equal(t, from, n, fmt.Sprint(next))
				next++
			}
		}
	}
	for _, tab := range []string{"a", "b", "e"} {
		s.eventually(tab+" has heard all", func() error {
			if n := p.do(`return ` + tab + `.texts.length`); n != fmt.Sprint(all) {
				return fmt.Errorf("got %s of %d", n, all)
			}
			return nil
		})
		var texts []string
		must(t, json.Unmarshal([]byte(p.do(`return `+tab+`.texts`)), &texts))
		equalTexts(t, tab, texts, first)
	}
	var texts []string
	for range all {
		var text string
		must(t, json.Unmarshal([]byte(cf.hear()), &text))
		texts = append(texts, text)
	}
	equalTexts(t, "the Centrifuge page", texts, first)
}

// Client events are heard by members of other protocols too; toOthers leaves out a Pusher socket alone.
func TestClientEventsAndToOthersAmongAllProtocols(t *testing.T) {
	t.Parallel()
	s, _ := configured(t, `{"groups": [{"match": "private-open", "join": "anyone", "publish": "anyone", "history": 10}]}`, "--pusher", pusherApp, "--api-key", apiKey)
	p, cf := openPusherPage(t, s.addr), openNodePage(t, s.addr)
	p.connect("a", "ann")
	p.connect("b", "bob")
	for _, tab := range []string{"a", "b"} {
		p.subscribe(tab, "private-open")
	}
	cf.listens("private-open", "{}")
	plain := member(t, s, "private-open")
	p.do(`a.channel("private-open").trigger("client-x", {m: 1})`)
	equal(t, "heard by b", string(p.of("b", "private-open", "client-x").Data), `{"m":1}`)
	equal(t, "heard by a Centrifuge page", cf.hear(), `{"m":1}`)
	plain.expect(t, `{"m":1}`)
	p.do(`await backend.trigger("private-open", "ev", "others", {socket_id: a.connection.socket_id}); await backend.trigger("private-open", "ev", "all")`)
	equal(t, "heard by a", string(p.of("a", "private-open", "ev").Data), `"all"`)
	plain.expect(t, "others", "all")
	equal(t, "heard by a Centrifuge page", cf.hear(), `"others"`)
	equal(t, "heard by a Centrifuge page", cf.hear(), `"all"`)
	// Events are in the history, client events are not.
	history := s.asksAPI(t, "history", `{"channel":"private-open","limit":10}`)
	if strings.Count(history, `"data":`) != 2 || strings.Contains(history, "client-x") || !strings.Contains(history, `"tags":{"event":"ev"}`) {
		t.Errorf("history: got %s, want the two events with their names", history)
	}
}

// Where there is an app its private and presence channels are for who is signed, whatever it speaks.
func TestPrivateChannelsAreClosedToOtherProtocols(t *testing.T) {
	t.Parallel()
	s, _ := configured(t, `{"groups": [{"match": "private-open", "join": "anyone", "publish": "anyone"}, {"match": "private-*", "history": 5}]}`,
		"--pusher", pusherApp, "--pusher", "4:second:"+pusherSecret)
	plain := dial(t, s)
	for _, group := range []string{"private-a", "presence-a", "private-encrypted-a", "private-cache-a", "presence-cache-a", "#server-to-user-a", "4/news", "4/private-a"} {
		plain.expectError(t, joinCommand(group), "forbidden")
		plain.expectError(t, sendCommand(group, "hi"), "forbidden")
	}
	for _, group := range []string{"private-open", "news", "cache-a", "private", "5/news", "x/private-a"} {
		must(t, plain.join(group))
	}
	without := start(t)
	must(t, dial(t, without).join("private-a"))
}

// Who a token or a signature names is a user for all.
func TestUsersOfOtherProtocolsAreThereForPusherPagesAndTheOtherWay(t *testing.T) {
	t.Parallel()
	s := startPusher(t, "--token-secret", tokenSecret, "--api-key", apiKey)
	p, cf := openPusherPage(t, s.addr), openNodePage(t, s.addr)
	const room = "presence-room"
	p.connect("a", "ann")
	p.subscribe("a", room)
	cf.do(`client = newClient(url, {token: ` + quote(tokenText(`{"sub":"cid","info":{"name":"Cid"},"channels":[],"join":["presence-*"]}`)) + `});
		group = listen(client, "` + room + `", {joinLeave: true}); client.connect()`)
	cf.step("subscribed")
	equal(t, "who has come", string(p.of("a", room, "pusher:member_added").Data), `{"id":"cid","info":{"name":"Cid"}}`)
	equal(t, "who is there for the other", cf.do(`return Object.values((await group.presence()).clients).map((c) => c.user).sort()`), `["ann","cid"]`)
	p.connect("b", "bob")
	p.subscribe("b", room)
	equal(t, "who is there for the next", p.members("b", room), `{"ann":{"name":"ANN"},"bob":{"name":"BOB"},"cid":{"name":"Cid"}}`)
	cf.take("bob's coming", func(step nodeStep) bool { return step.Step == "join" })
	p.do(`b.disconnect()`)
	cf.take("bob's going", func(step nodeStep) bool { return step.Step == "leave" })
	p.of("a", room, "pusher:member_removed")
	// By her signature a user is known to backends of both kinds.
	equal(t, "users", strings.TrimPrefix(p.answers(`get({path: "/channels/`+room+`/users"})`), "200 "), `{"users":[{"id":"ann"},{"id":"cid"}]}`)
	cf.do(`client.disconnect()`)
	equal(t, "who has gone", string(p.of("a", room, "pusher:member_removed").Data), `{"id":"cid","info":{"name":"Cid"}}`)
}

// The server API acts on Pusher clients as on all others: each is told in its own way.
func TestTheServerAPIActsOnPusherClients(t *testing.T) {
	t.Parallel()
	s := startPusher(t, "--api-key", apiKey)
	p := openPusherPage(t, s.addr)
	for tab, as := range map[string]string{"a": "ann", "b": "bob"} {
		p.connect(tab, as)
		p.signsIn(tab, as)
		p.subscribe(tab, "private-a")
		p.subscribe(tab, "news")
	}
	s.asksAPI(t, "unsubscribe", `{"user":"ann","channel":"private-a"}`)
	p.isRefused("a", "private-a", "AuthError", 401)
	p.hears("private-a", "without her", "b")
	p.do(`a.unsubscribe("private-a")`) // else pusher-js takes it for subscribed
	p.subscribe("a", "private-a")
	p.hears("private-a", "with her", "a", "b") // the first that she hears
	s.asksAPI(t, "disconnect", `{"user":"ann"}`)
	equal(t, "code", p.of("a", "", "error").Code, 4009)
	p.of("a", "", "disconnected")
	p.hears("news", "still here", "b")
	equal(t, "of the others", p.has("b", "", "error")+p.has("b", "", "connecting"), 0)
}
