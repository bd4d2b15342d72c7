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

// browserWanted is "require" where a missing browser is a failure, and "off" where none is to be started.
var browserWanted = os.Getenv("RINGCAST_BROWSER")

// browser starts a headless Chromium with an empty profile and returns a tab. Without a browser in the PATH the test is
// skipped, unless RINGCAST_BROWSER=require; with RINGCAST_BROWSER=off it always is.
func browser(t *testing.T, more ...chromedp.ExecAllocatorOption) context.Context {
	t.Helper()
	if browserWanted == "off" {
		t.Skip("RINGCAST_BROWSER=off")
	}
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
		if browserWanted == "require" {
			t.Fatal(why + ", and RINGCAST_BROWSER=require")
		}
		t.Skip(why)
	}
	// The user data dir is a fresh one that chromedp makes and removes.
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(at), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("no-proxy-server", true),
		chromedp.WSURLReadTimeout(4*patience), // it is cold, and others start beside it
		// A page that was left is gone, with its connections, and not kept for the way back. The others are chromedp's own.
		chromedp.Flag("disable-features", "Translate,BlinkGenPropertyTrees,BackForwardCache"))
	options = append(options, more...)
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
	_, err := chromedp.Run(bounded, step)
	// A poll that begins while the browser still replaces the page before has lost its context, and says so.
	for err != nil && strings.Contains(err.Error(), "Cannot find context") {
		_, err = chromedp.Run(bounded, step)
	}
	if err != nil {
		page, _ := chromedp.Run(ctx, chromedp.Evaluate[string]("document.body ? document.body.innerText : ''"))
		t.Fatalf("waited for %s: %v; the page reads:\n%s", condition, err, page)
	}
}

func TestConsoleLinesOfTheOriginalPrintWhatPagesAndBackendsSay(t *testing.T) {
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
	s := startAPI(t, "--listen", listen)
	for _, page := range []string{"http://" + s.addr + "/", elsewhere.URL} {
		do(t, ctx, "navigate", chromedp.Navigate(page))
		watching, stop := context.WithTimeout(ctx, patience)
		messages := chromedp.Console(watching)
		do(t, ctx, "the console lines", chromedp.EvaluateAsDevTools[chromedp.Void](strings.ReplaceAll(consoleLines, "1234", port(s.addr))))
		var printed []string
		for m, err := range messages {
			if err != nil {
				t.Fatalf("at %s, waiting for console.log behind %q: %v", page, printed, err)
			}
			if m.Type != chromedp.ConsoleLog {
				t.Logf("console: %v", m)
				continue
			}
			if printed = append(printed, m.Text); len(printed) == 2 {
				break
			}
			s.asksAPI(t, "publish", `{"channel":"123","data":"hi"}`)
		}
		stop()
		equal(t, "what was printed", strings.Join(printed, ", "), consoleMessage+", hi")
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
