package test

import (
	"fmt"
	"testing"
)

// Echo of Laravel, unmodified, as Laravel's own page for Reverb makes it.

// echoes makes an Echo that says its steps under the name of a tab, and waits until it is connected. An Echo is a variable of its own.
func (p *pusherPage) echoes(tab, as string) {
	p.t.Helper()
	p.do(fmt.Sprintf(`%[1]sEcho = new Echo({broadcaster: "reverb", Pusher, key, ...where, bearerToken: %[2]q,
		authEndpoint: authority + "/broadcasting/auth", userAuthentication: {endpoint: authority + "/broadcasting/user-auth", headers: {}}, auth: {headers: {}}});
		%[1]s = telling(%[1]sEcho.connector.pusher, %[1]q)`, tab, as))
	p.of(tab, "", "connected")
}

// tells is an expression that says what a listener of Echo's is called with.
func tells(tab, step string) string {
	return fmt.Sprintf(`(data) => say(%q, {tab: %q, channel: "echo", data})`, step, tab)
}

func TestEchoOfLaravelWorks(t *testing.T) {
	t.Parallel()
	s := startPusher(t)
	p := openPusherPage(t, s.addr)
	p.echoes("a", "ann")
	p.echoes("b", "bob")
	for _, tab := range []string{"a", "b"} {
		p.do(fmt.Sprintf(`%[1]sEcho.channel("orders").subscribed(%[2]s).listen("OrderShipped", %[3]s).listen(".order.paid", %[4]s).listenToAll((name) => say("all", {tab: %[1]q, channel: "echo", data: name}));
			%[1]sEcho.private("App.Models.User." + (%[1]q === "a" ? 1 : 2)).subscribed(%[2]s).notification(%[5]s).error(%[6]s);
			%[1]sEcho.join("chat.1").here(%[7]s).joining(%[8]s).leaving(%[9]s).listenForWhisper("typing", %[10]s).listen(".said", %[11]s)`,
			tab, tells(tab, "in"), tells(tab, "shipped"), tells(tab, "paid"), tells(tab, "notified"), tells(tab, "failed"), tells(tab, "here"), tells(tab, "joining"), tells(tab, "leaving"),
			tells(tab, "typing"), tells(tab, "said")))
		for range 2 {
			p.of(tab, "echo", "in")
		}
		here := string(p.of(tab, "echo", "here").Data)
		if want := map[string]string{"a": `[{"name":"ANN"}]`, "b": `[{"name":"ANN"},{"name":"BOB"}]`}[tab]; here != want && here != `[{"name":"BOB"},{"name":"ANN"}]` {
			t.Errorf("here for %s: got %s, want %s", tab, here, want)
		}
	}
	equal(t, "joining", string(p.of("a", "echo", "joining").Data), `{"name":"BOB"}`)
	p.do(`await backend.trigger("orders", "App\\Events\\OrderShipped", {order: {id: 7}}); await backend.trigger("orders", "order.paid", {paid: true})`)
	for _, tab := range []string{"a", "b"} {
		equal(t, "shipped", string(p.of(tab, "echo", "shipped").Data), `{"order":{"id":7}}`)
		equal(t, "paid", string(p.of(tab, "echo", "paid").Data), `{"paid":true}`)
		equal(t, "all", string(p.of(tab, "echo", "all").Data), `"OrderShipped"`)
		equal(t, "all", string(p.of(tab, "echo", "all").Data), `".order.paid"`)
	}
	p.do(`await backend.trigger("private-App.Models.User.1", "Illuminate\\Notifications\\Events\\BroadcastNotificationCreated", {id: "x", type: "Paid"})`)
	equal(t, "notified", string(p.of("a", "echo", "notified").Data), `{"id":"x","type":"Paid"}`)
	p.do(`aEcho.join("chat.1").whisper("typing", {who: "ann"})`)
	equal(t, "whisper", string(p.of("b", "echo", "typing").Data), `{"who":"ann"}`)
	// toOthers: the page names its socket by X-Socket-ID, which Laravel hands on.
	p.do(`await backend.trigger("presence-chat.1", "said", {text: "hi"}, {socket_id: aEcho.socketId()}); await backend.trigger("presence-chat.1", "said", {text: "all"})`)
	equal(t, "said to others", string(p.of("b", "echo", "said").Data), `{"text":"hi"}`)
	equal(t, "said to all", string(p.of("b", "echo", "said").Data), `{"text":"all"}`)
	equal(t, "said to all", string(p.of("a", "echo", "said").Data), `{"text":"all"}`)
	p.do(`bEcho.leave("chat.1")`)
	equal(t, "leaving", string(p.of("a", "echo", "leaving").Data), `{"name":"BOB"}`)

	// What the application refuses, and what it signs wrongly, is told by error.
	p.do(`aEcho.private("x.forbidden").error(` + tells("a", "failed") + `)`)
	p.of("a", "echo", "failed")
	p.do(`mine = authority; authority = await laravel(newBackend({secret: "another"}))`)
	p.echoes("c", "cid")
	p.do(`cEcho.private("orders.7").error(` + tells("c", "failed") + `)`)
	p.of("c", "echo", "failed")
	p.do(`authority = mine`)

	// An encrypted channel, and a sign-in.
	p.do(`aEcho.encryptedPrivate("safe").subscribed(` + tells("a", "in") + `).listen(".secret", ` + tells("a", "secret") + `)`)
	p.of("a", "echo", "in")
	p.do(`await backend.trigger("private-encrypted-safe", "secret", {x: 1})`)
	equal(t, "secret", string(p.of("a", "echo", "secret").Data), `{"x":1}`)
	p.signsIn("a", "ann") // as Echo's own signin does
	p.do(`await backend.sendToUser("ann", "hello", 1)`)
	equal(t, "to the user", string(p.of("a", "user", "hello").Data), "1")
	p.do(`aEcho.disconnect(); bEcho.disconnect()`)
	p.of("a", "", "disconnected")
	equal(t, "heard by who it was not for", p.has("a", "echo", "typing")+p.has("b", "echo", "notified")+p.has("a", "echo", "said"), 0)
	equal(t, "connection errors", p.has("a", "", "error")+p.has("b", "", "error"), 0)
}

// While the server cannot be had Echo says so and goes on, and its channels are there again by themselves.
func TestEchoIsBackInItsChannelsAfterACut(t *testing.T) {
	t.Parallel()
	s := startPusher(t)
	proxy := startCutter(t, s.addr)
	p := openPusherPage(t, s.addr)
	p.connectTo(proxy.Addr().String())
	p.echoes("a", "ann")
	p.do(`aEcho.join("room").here(` + tells("a", "here") + `).listen(".said", ` + tells("a", "said") + `); states = []; aEcho.connector.onConnectionChange((state) => states.push(state))`)
	p.of("a", "echo", "here")
	proxy.each(cuts["by a reset"].cut)
	p.of("a", "", "connected")
	equal(t, "who is there", string(p.of("a", "echo", "here").Data), `[{"name":"ANN"}]`)
	p.do(`await backend.trigger("presence-room", "said", "again")`)
	equal(t, "heard", string(p.of("a", "echo", "said").Data), `"again"`)
	equal(t, "last state", p.do(`return [...new Set(states)]`), `["connecting","connected"]`)
}
