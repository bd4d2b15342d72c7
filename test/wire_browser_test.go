package test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// Browsers and Node come by wss, with certificates that they check, and with compression where the server has it: both offer it unasked.

// forceTLS is how the clients of Pusher's in a page find a server by TLS, as Laravel's page for Reverb says it.
func forceTLS(wss string) string {
	return fmt.Sprintf(`where = {wsHost: "127.0.0.1", wsPort: %s, wssPort: %[1]s, forceTLS: true, enabledTransports: ["ws", "wss"], cluster: ""}`, port(wss))
}

// tookUp checks how many clients have agreed on compression: all of them, where the server has it.
func (s *server) tookUp(on bool, clients int64) {
	s.t.Helper()
	got, want := s.wire(), clients
	if !on {
		want = 0
	}
	if got.DeflateClients != want || got.TLSClients < clients || got.Handshakes["ok"] < uint64(clients) || (got.Compressions > 0) != on {
		s.t.Errorf("figures: got %+v, want %d clients by TLS, %d with compression, and messages compressed only for these", got, clients, want)
	}
}

func TestBrowserPagesOfAllProtocolsComeByTLS(t *testing.T) {
	t.Parallel()
	centrifuges := serveCentrifuge(t, `<script>const heard = [], steps = [];
		function say(step, about) { step === "publication" ? heard.push(about.data) : steps.push(step); }</script>
		<script src="{centrifuge-js}"></script><script src="/page.js"></script>`)
	pushers := servePusher(t)
	seed := &tab{t, browser(t, browserTrust(t))}
	own, pusher := seed.window(), seed.window()
	for _, compression := range []string{"on", "off"} {
		s := startTLS(t, "--pusher", pusherApp, "--api-key", apiKey, "--compression", compression, "--hsts", "24h")
		seed.open("https://" + s.wss + "/")
		seed.join("room")
		do(t, own.ctx, "navigate", chromedp.Navigate(centrifuges.URL))
		own.js("subscribe", `client = newClient("wss://`+s.wss+centrifugePath+`"); group = listen(client, "room"); client.connect()`)
		own.until(`steps.includes("subscribed")`)
		do(t, pusher.ctx, "navigate", chromedp.Navigate(pushers.URL))
		pusher.js("pusher-js and Echo", forceTLS(s.wss)+`; a = newPusher("a", "ann"); listen(a, "a", "room");
			const Made = Echo.default ?? Echo; echo = new Made({broadcaster: "reverb", key, ...where}); telling(echo.connector.pusher, "b");
			echo.channel("room").subscribed(() => say("in", {tab: "b"})).listenToAll((name, data) => say("heard", {tab: "b", data})); 0`)
		pusher.until(`count("pusher:subscription_succeeded", "a") === 1 && count("in", "b") === 1`)
		equal(t, "protocol of the sockets", do(t, pusher.ctx, "read", chromedp.Evaluate[string](`new URL(a.connection.connection.transport.socket.url).protocol`)), "wss:")

		// Each is heard by all, what is long and what is short.
		long := strings.Repeat("a long one 組 ", 60)
		hear := func(text string) {
			t.Helper()
			seed.until(shown(".msg", text) + " === 1")
			own.until(`heard.at(-1) === ` + quote(text))
			for _, c := range []string{`"message", "a"`, `"heard", "b"`} {
				pusher.until(`last(` + c + `) === ` + quote(quote(text)))
			}
		}
		seed.send("room", "from the seed's page")
		hear("from the seed's page")
		own.js("publish", `group.publish(`+quote("own: "+strings.TrimSpace(long))+`)`)
		hear("own: " + strings.TrimSpace(long))
		s.asksAPI(t, "publish", `{"channel":"room","data":`+quote("backend: "+strings.TrimSpace(long))+`}`)
		hear("backend: " + strings.TrimSpace(long))
		s.tookUp(compression == "on", 4)
		do(t, seed.ctx, "elsewhere", chromedp.Navigate("about:blank")) // before the server ends: it would try again
		pusher.js("disconnect", `a.disconnect(); echo.disconnect()`)
		own.js("disconnect", `client.disconnect()`)
		s.wireIs("pages are gone", func(w wireFigures) bool { return w.Clients == 0 && w.DeflateClients == 0 })
	}
}

func TestNodeComesByTLS(t *testing.T) {
	t.Parallel()
	cert, _ := localCertificate(t)
	env := []string{"NODE_EXTRA_CA_CERTS=" + cert, "NODE_OPTIONS=--experimental-websocket"}
	for _, compression := range []string{"on", "off"} {
		t.Run("compression "+compression, func(t *testing.T) {
			t.Parallel()
			s := startTLS(t, "--pusher", pusherApp, "--compression", compression)
			cf, p := openNodePage(t, s.wss, env...), openPusherPage(t, s.wss, env...)
			cf.do(`url = "wss://` + s.wss + centrifugePath + `"`)
			cf.listens("room", "{}")
			p.do(forceTLS(s.wss) + `; backend = newBackend({useTLS: true}); plain = [];
				socket = new globalThis.WebSocket("wss://` + s.wss + `/"); socket.onmessage = (message) => plain.push(message.data);
				await new Promise((open, fail) => { socket.onopen = open; socket.onerror = (event) => fail(event.error); }); socket.send(` + quote(joinCommand("room")) + `)`)
			p.connect("a", "ann")
			p.subscribe("a", "room")
			p.echoes("b", "bob")
			p.do(`bEcho.channel("room").subscribed(` + tells("b", "in") + `).listen(".heard", ` + tells("b", "heard") + `)`)
			p.of("b", "echo", "in")
			s.hasMembers(4)
			for _, text := range []string{"short", strings.Repeat("a long one 組 ", 100), deflateKinds[0].of(9000), ""} {
				p.hears("room", text, "a") // by the backend, which asks by https
				equal(t, "Echo", string(p.of("b", "echo", "heard").Data), quote(text))
				equal(t, "centrifuge-js", cf.hear(), quote(text))
				s.eventually("the socket of Node's own hears", func() error {
					if got := p.do(`return plain.at(-1)`); got != quote(text) {
						return fmt.Errorf("got %.100s", got)
					}
					return nil
				})
			}
			cf.do(`await group.publish({a: "` + strings.Repeat("from the page ", 100) + `"})`)
			equal(t, "heard", len(p.of("a", "room", "message").Data), len(cf.hear()))
			got := s.wire()
			t.Logf("with compression %s: %d of %d", compression, got.DeflateClients, got.Clients)
			if got.TLSClients < 4 || got.Clients != 4 || (got.DeflateClients > 0) != (compression == "on") || (got.Inflated > 0) != (compression == "on") {
				t.Errorf("figures: got %+v, want all 4 clients by TLS, and compression for who has it", got)
			}
			// A certificate that nobody vouches for is not believed: what was seen above is a check.
			stranger := startNode(t, "centrifuge")
			equal(t, "what comes of it without the certificate", stranger.do(`return await new Promise((known) => {
				const socket = new WebSocket("wss://`+s.wss+`/"); socket.onopen = () => known("open"); socket.onerror = (event) => known(event.error.code); })`), `"DEPTH_ZERO_SELF_SIGNED_CERT"`)
			p.do(`socket.close(); bEcho.disconnect(); a.disconnect()`)
			cf.do(`client.disconnect()`)
			s.hasMembers(0)
		})
	}
}
