package test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// consoleLines are the lines that the original's documentation tells users to type into a browser's console.
const consoleLines = `ws = new WebSocket('ws://127.0.0.1:1234');
ws.onmessage = function(data){console.log(data.data)};
ws.onopen = function() {
  ws.send('{"cmd":"add_group", "group_id":"123"}');
  ws.send('{"cmd":"send_to_group", "group_id":"123", "message":"這個是消息"}');
};`

const consoleMessage = "這個是消息"

// pollEvery is how often a condition in the page is checked.
const pollEvery = 50 * time.Millisecond

// browser starts a headless Chromium with an empty profile and returns a tab. Without a browser in the PATH the test is
// skipped, unless RINGCAST_BROWSER=require.
func browser(t *testing.T) context.Context {
	t.Helper()
	var at string
	names := []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"}
	for _, name := range names {
		if found, err := exec.LookPath(name); err == nil {
			at = found
			break
		}
	}
	if at == "" {
		why := fmt.Sprintf("no browser: none of %s is in the PATH", strings.Join(names, ", "))
		if os.Getenv("RINGCAST_BROWSER") == "require" {
			t.Fatal(why + ", and RINGCAST_BROWSER=require")
		}
		t.Skip(why)
	}
	// The user data dir is a fresh one that chromedp makes and removes.
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(at), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("no-proxy-server", true))
	ctx, cancelBrowser := chromedp.NewExecAllocator(t.Context(), options...)
	ctx, cancelTab := chromedp.NewContext(ctx)
	t.Cleanup(func() { cancelTab(); cancelBrowser() })
	must(t, chromedp.Do(ctx, chromedp.Navigate("about:blank"))) // the first step starts the browser and may have no deadline
	return ctx
}

// do runs one step in the tab, bounded.
func do[T any](t *testing.T, ctx context.Context, what string, step chromedp.Action[T]) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	v, err := chromedp.Run(ctx, step)
	if err != nil && !errors.Is(err, chromedp.ErrJSUndefined) && !errors.Is(err, chromedp.ErrJSNull) {
		t.Fatalf("%s: %v", what, err)
	}
	return v
}

// until waits for a condition in the page.
func until(t *testing.T, ctx context.Context, condition string) {
	t.Helper()
	bounded, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	step := chromedp.Poll[chromedp.Void]("!!("+condition+")", chromedp.WithPollingInterval(pollEvery), chromedp.WithPollingTimeout(patience))
	if _, err := chromedp.Run(bounded, step); err != nil {
		page, _ := chromedp.Run(ctx, chromedp.Evaluate[string]("document.body ? document.body.innerText : ''"))
		t.Fatalf("waited for %s: %v; the page reads:\n%s", condition, err, page)
	}
}

func TestConsoleLinesOfTheOriginalPrintTheMessage(t *testing.T) {
	t.Parallel()
	ctx := browser(t)
	// Typed on a page of the server's own and on one of another site. Not on about:blank: a current Chromium asks its user
	// before a page that is not from a loopback address may connect to one.
	elsewhere := httptest.NewServer(http.NotFoundHandler())
	defer elsewhere.Close()
	listen := "127.0.0.1:0"
	if free, err := net.Listen("tcp", "127.0.0.1:1234"); err == nil {
		free.Close()
		listen = "127.0.0.1:1234" // the lines as documented
	} else {
		t.Logf("port 1234 is taken (%v): the lines run with another port in its place", err)
	}
	s := start(t, "--listen", listen)
	for _, page := range []string{"http://" + s.addr + "/", elsewhere.URL} {
		do(t, ctx, "navigate", chromedp.Navigate(page))
		watching, stop := context.WithTimeout(ctx, patience)
		messages := chromedp.Console(watching)
		do(t, ctx, "the console lines", chromedp.EvaluateAsDevTools[chromedp.Void](strings.ReplaceAll(consoleLines, "1234", port(s.addr))))
		printed := false
		for m, err := range messages {
			if err != nil {
				t.Fatalf("at %s, waiting for console.log: %v", page, err)
			}
			if m.Type == chromedp.ConsoleLog {
				equal(t, "first text logged", m.Text, consoleMessage)
				printed = true
				break
			}
			t.Logf("console: %v", m)
		}
		stop()
		equal(t, "the message was printed", printed, true)
		// Members outside get what the tab sends, and the other way round.
		m := member(t, s, "123")
		do(t, ctx, "send", chromedp.EvaluateAsDevTools[chromedp.Void](`ws.send('{"cmd":"send_to_group","group_id":123,"message":"from the tab"}')`))
		m.expect(t, "from the tab")
		do(t, ctx, "close", chromedp.EvaluateAsDevTools[chromedp.Void](`ws.close()`))
	}
}

// A browser fails the connection if it asks for subprotocols and none of them is answered (RFC 6455 §4.1).
func TestAPageThatAsksForASubprotocolGetsItsOwn(t *testing.T) {
	t.Parallel()
	ctx := browser(t)
	s := start(t, "--subprotocols", "superchat,chat")
	do(t, ctx, "navigate", chromedp.Navigate("http://"+s.addr+"/healthz"))
	for asked, want := range map[string]string{`["x", "chat", "superchat"]`: "open chat", `"superchat"`: "open superchat", `[]`: "open ", `["x"]`: "failed"} {
		do(t, ctx, "connect", chromedp.Evaluate[chromedp.Void](`{ window.became = "";
			const ws = new WebSocket("ws://" + location.host, `+asked+`);
			ws.onopen = () => window.became = "open " + ws.protocol; ws.onerror = () => window.became = "failed"; }`))
		until(t, ctx, `window.became !== ""`)
		if got := do(t, ctx, "what became of it", chromedp.Evaluate[string](`window.became`)); got != want {
			t.Errorf("new WebSocket(url, %s): got %q, want %q", asked, got, want)
		}
	}
}

func TestDemoPageJoinsSendsShowsLeavesAndReconnects(t *testing.T) {
	t.Parallel()
	ctx := browser(t)
	s := start(t)
	problems, stop := context.WithCancel(ctx)
	defer stop()
	messages := chromedp.Console(problems)
	// Clicks and typing are done inside the page: events of a real mouse and keyboard wait forever while headless Chromium
	// shows a list of suggestions over the page.
	click := func(selector string) {
		do(t, ctx, "click "+selector, chromedp.Evaluate[chromedp.Void](`{ const e = document.querySelector(`+quote(selector)+`);
			if (e.disabled || !e.checkVisibility()) throw new Error("nobody could press it");
			e.focus(); e.click(); }`))
	}
	fill := func(selector, text string) {
		do(t, ctx, "type into "+selector, chromedp.Evaluate[chromedp.Void](`{ const e = document.querySelector(`+quote(selector)+`);
			e.focus(); e.select(); document.execCommand("insertText", false, `+quote(text)+`); }`))
	}
	count := func(selector string) string { return `document.querySelectorAll(` + quote(selector) + `).length` }
	shown := func(class, text string) string {
		return `[...document.querySelectorAll("#log .entry` + class + `")].filter(e => e.querySelector(".text").textContent.includes(` +
			quote(text) + `) && /\d/.test(e.querySelector(".time").textContent)).length`
	}
	state := func(want string) {
		until(t, ctx, `document.querySelector("#state").textContent.toLowerCase().includes(`+quote(want)+`)`)
	}
	chip := func(group string) string { return `[data-group=` + quote(group) + `]` }

	do(t, ctx, "navigate", chromedp.Navigate("http://"+s.addr+"/"))
	state("open")

	for _, group := range []string{"news", "組 & <b>"} {
		fill("#group", group)
		click("#join")
		until(t, ctx, count("#groups "+chip(group))+" === 1")
	}
	s.eventually("the page's groups have a member", func() error {
		if got := s.status().Total.Members; got != 2 {
			return fmt.Errorf("got %d members, want 2", got)
		}
		return nil
	})

	// What the page sends reaches it and all other members.
	m := member(t, s, "news")
	fill("#send-group", "news")
	fill("#message", "hello <i>組</i>")
	click("#send")
	m.expect(t, "hello <i>組</i>")
	until(t, ctx, shown(".msg", "hello <i>組</i>")+" === 1")
	must(t, m.text(sendCommand("news", "from outside")))
	m.expect(t, "from outside")
	until(t, ctx, shown(".msg", "from outside")+" === 1")
	until(t, ctx, count("#log i, #groups b")+" === 0") // text stays text

	// After leaving nothing comes; the other group still does.
	click("#groups " + chip("news") + " button.leave")
	until(t, ctx, count("#groups "+chip("news"))+" === 0")
	s.eventually("the page has left", func() error {
		if got := s.status().Total.Members; got != 2 {
			return fmt.Errorf("got %d members, want 2: the other client and the page's other group", got)
		}
		return nil
	})
	must1(t, m.askOK)(sendCommand("news", "after the leave"))
	must1(t, m.askOK)(sendCommand("組 & <b>", "in the other group"))
	until(t, ctx, shown(".msg", "in the other group")+" === 1")
	until(t, ctx, shown(".msg", "after the leave")+" === 0")

	click("#clear")
	until(t, ctx, count("#log .entry.msg")+" === 0")

	// Disconnected, it says so and is gone from the server; connected again, it works.
	click("#connect")
	state("closed")
	s.eventually("the page's client is gone", func() error {
		if got := s.status().Total.Clients; got != 1 {
			return fmt.Errorf("got %d clients, want 1", got)
		}
		return nil
	})
	click("#connect")
	state("open")
	s.eventually("the page's client is back", func() error {
		if got := s.status().Total.Clients; got != 2 {
			return fmt.Errorf("got %d clients, want 2", got)
		}
		return nil
	})
	fill("#group", "again")
	click("#join")
	until(t, ctx, count("#groups "+chip("again"))+" === 1")
	fill("#send-group", "again")
	fill("#message", "welcome back")
	click("#send")
	until(t, ctx, shown(".msg", "welcome back")+" === 1")

	// The page itself has caused no error.
	do(t, ctx, "mark the end", chromedp.Evaluate[chromedp.Void](`console.log("the end")`))
	for entry, err := range messages {
		if err != nil || entry.Text == "the end" {
			break
		}
		if entry.IsException() || entry.Type == chromedp.ConsoleError {
			t.Errorf("console of the demo page: got %v, want no error", entry)
		}
	}
}

func TestDemoPageReconnectsByItselfWhenTheServerComesBack(t *testing.T) {
	t.Parallel()
	ctx := browser(t)
	s := start(t)
	do(t, ctx, "navigate", chromedp.Navigate("http://"+s.addr+"/"))
	is := func(want string) string {
		return `document.querySelector("#state").textContent.toLowerCase().includes(` + quote(want) + `)`
	}
	until(t, ctx, is("open"))
	must(t, s.cmd.Process.Signal(os.Interrupt))
	equal(t, "exit status", s.exit(), 0)
	until(t, ctx, "!"+is("open"))
	// By itself, without a click.
	again := startWith(t, starting{args: []string{"--listen", s.addr}})
	until(t, ctx, is("open"))
	equal(t, "clients", again.status().Total.Clients, 1)
}
