package test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// servePusher serves a page with pusher-js and Echo, as a CDN has them, and signs for it as an application does. Who asks is its bearer token.
func servePusher(t *testing.T) *httptest.Server {
	t.Helper()
	pusher, _ := npmPackage(t, "pusher", "pusher-js")
	echo, _ := npmPackage(t, "pusher", "laravel-echo")
	mux := http.NewServeMux()
	for at, file := range map[string]string{
		"/pusher.js": filepath.Join(pusher, "dist", "web", "pusher-with-encryption.min.js"),
		"/echo.js":   filepath.Join(echo, "dist", "echo.iife.js"),
		"/page.js":   filepath.Join("pusher", "page.js"),
	} {
		mux.HandleFunc(at, func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, file) })
	}
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		io.WriteString(w, `<!doctype html>
			<script>const steps = []; const authority = "", key = "`+pusherKey+`"; let where;
				const say = (step, about) => steps.push({...about, step});
				const count = (step, tab) => steps.filter((s) => s.step === step && s.tab === tab).length;
				const last = (step, tab) => JSON.stringify(steps.findLast((s) => s.step === step && s.tab === tab)?.data);</script>
			<script src="/pusher.js"></script><script src="/echo.js"></script><script src="/page.js"></script>`)
	})
	mux.HandleFunc("POST /broadcasting/{what}", func(w http.ResponseWriter, r *http.Request) {
		user := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		socket, channel := r.FormValue("socket_id"), r.FormValue("channel_name")
		answer := map[string]string{}
		switch {
		case r.PathValue("what") == "user-auth":
			answer["user_data"] = fmt.Sprintf(`{"id":%q}`, user)
			answer["auth"] = pusherSign(socket + "::user::" + answer["user_data"])
		case strings.HasPrefix(channel, "presence-"):
			answer["channel_data"] = fmt.Sprintf(`{"user_id":%q,"user_info":{"name":%q}}`, user, strings.ToUpper(user))
			answer["auth"] = pusherSign(socket + ":" + channel + ":" + answer["channel_data"])
		default:
			answer["auth"] = pusherSign(socket + ":" + channel)
		}
		json.NewEncoder(w).Encode(answer)
	})
	pages := httptest.NewServer(mux)
	t.Cleanup(pages.Close)
	return pages
}

// opens shows the page in a window, and has its clients connect to addr.
func (v *tab) opensPusher(pages *httptest.Server, addr string) {
	v.t.Helper()
	do(v.t, v.ctx, "navigate", chromedp.Navigate(pages.URL))
	v.js("where", fmt.Sprintf(`where = {wsHost: "127.0.0.1", wsPort: %s, wssPort: %[1]s, forceTLS: false, enabledTransports: ["ws", "wss"], cluster: ""}`, port(addr)))
}

func TestBrowserPagesOfPusherAndEcho(t *testing.T) {
	t.Parallel()
	pages := servePusher(t)
	s := startPusher(t, "--api-key", apiKey)
	proxy := startCutter(t, s.addr)
	one := &tab{t, browser(t)}
	two := one.window()
	one.opensPusher(pages, proxy.Addr().String())
	two.opensPusher(pages, s.addr)
	one.js("pusher-js", `a = newPusher("a", "ann"); a.signin(); for (const name of ["news", "private-a", "presence-room"]) listen(a, "a", name); 0`)
	one.until(`count("pusher:subscription_succeeded", "a") === 3 && a.user.user_data?.id === "ann"`)
	two.js("Echo", `const Made = Echo.default ?? Echo; echo = new Made({broadcaster: "reverb", key, ...where, bearerToken: "bob"}); b = telling(echo.connector.pusher, "b");
		echo.channel("news").listen("OrderShipped", (data) => say("shipped", {tab: "b", data}));
		echo.join("room").here((data) => say("here", {tab: "b", data})).joining((data) => say("joining", {tab: "b", data})).leaving((data) => say("leaving", {tab: "b", data}))
			.listenForWhisper("typing", (data) => say("typing", {tab: "b", data})); 0`)
	two.until(`count("here", "b") === 1 && last("here", "b").includes("ANN") && last("here", "b").includes("BOB")`)
	one.until(`last("pusher:member_added", "a") === '{"id":"bob","info":{"name":"BOB"}}'`)
	one.js("a client event", `a.channel("presence-room").trigger("client-typing", {who: "ann"}); 0`)
	two.until(`last("typing", "b") === '{"who":"ann"}'`)
	two.js("a whisper", `echo.join("room").whisper("typing", {who: "bob"}); 0`)
	one.until(`last("client-typing", "a") === '{"who":"bob"}'`)
	s.asksAPI(t, "publish", `{"channel":"news","data":{"id":7},"tags":{"event":"App\\Events\\OrderShipped"}}`)
	one.until(`last("App\\Events\\OrderShipped", "a") === '{"id":7}'`)
	two.until(`last("shipped", "b") === '{"id":7}'`)

	// Cut off, it comes back by itself, and its user with it.
	proxy.each(cuts["by a reset"].cut)
	two.until(`count("leaving", "b") === 1`)
	one.until(`count("connected", "a") === 2 && count("pusher:subscription_succeeded", "a") === 6`)
	two.until(`count("joining", "b") === 1`)
	s.asksAPI(t, "publish", `{"channel":"#server-to-user-ann","data":"to her","tags":{"event":"hello"}}`)
	one.until(`last("hello", "a") === '"to her"'`)

	// A tab that is closed has gone.
	do(t, one.ctx, "elsewhere", chromedp.Navigate("about:blank"))
	two.until(`count("leaving", "b") >= 2 && count("leaving", "b") === count("joining", "b") + 1`) // it may have lost its connection once more
	two.until(`count("error", "b") === 0`)
}
