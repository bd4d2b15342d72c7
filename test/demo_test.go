package test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/gobwas/ws"
)

// The demo page as a visitor meets it.

// tab is a window of a browser that shows the demo page.
type tab struct {
	t   *testing.T
	ctx context.Context
}

// openPage opens the demo page of s in a browser of its own.
func openPage(t *testing.T, s *server) *tab {
	t.Helper()
	v := &tab{t, browser(t)}
	v.open("http://" + s.addr + "/")
	return v
}

func (v *tab) open(url string) {
	v.t.Helper()
	do(v.t, v.ctx, "navigate", chromedp.Navigate(url))
	v.state("open")
}

// window is a further window. A further tab would hide the first.
func (v *tab) window() *tab {
	v.t.Helper()
	ctx, cancel := chromedp.NewContext(v.ctx, chromedp.WithNewWindow(true))
	v.t.Cleanup(cancel)
	must(v.t, chromedp.Do(ctx, chromedp.Navigate("about:blank")))
	return &tab{v.t, ctx}
}

func (v *tab) until(condition string) {
	v.t.Helper()
	until(v.t, v.ctx, condition)
}

func (v *tab) js(what, script string) {
	v.t.Helper()
	do(v.t, v.ctx, what, chromedp.Evaluate[chromedp.Void](script))
}

// Clicks and typing are done inside the page: events of a real mouse and keyboard wait forever while headless Chromium
// shows a list of suggestions over the page.
func (v *tab) click(selector string) {
	v.t.Helper()
	v.js("click "+selector, `{ const e = document.querySelector(`+quote(selector)+`);
		if (e.disabled || !e.checkVisibility()) throw new Error("nobody could press it");
		e.focus(); e.click(); }`)
}

func (v *tab) fill(selector, text string) {
	v.t.Helper()
	v.js("type into "+selector, `{ const e = document.querySelector(`+quote(selector)+`);
		e.focus(); e.select(); document.execCommand("insertText", false, `+quote(text)+`); }`)
}

func (v *tab) join(group string) {
	v.t.Helper()
	v.fill("#group", group)
	v.click("#join")
	v.until(number("#groups "+chip(group)+"[data-joined=true]") + " === 1")
}

func (v *tab) send(group, text string) {
	v.t.Helper()
	v.fill("#send-group", group)
	v.fill("#message", text)
	v.click("#send")
}

func (v *tab) state(want string) {
	v.t.Helper()
	v.until(`document.querySelector("#state").dataset.state === ` + quote(want))
}

// says waits for words that a visitor can see.
func (v *tab) says(selector, words string) {
	v.t.Helper()
	v.until(number(selector) + " > 0 && " + seen(selector) + ".some(e => e.innerText.includes(" + quote(words) + "))")
}

func (v *tab) emulate(features map[string]string) {
	v.t.Helper()
	var list []map[string]string
	for name, value := range features {
		list = append(list, map[string]string{"name": name, "value": value})
	}
	do(v.t, v.ctx, "emulate media", chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		return t.Call(ctx, "Emulation.setEmulatedMedia", map[string]any{"features": list}, nil)
	}))
}

func (v *tab) phone() {
	v.t.Helper()
	do(v.t, v.ctx, "become a phone", chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile))
}

func seen(selector string) string {
	return `[...document.querySelectorAll(` + quote(selector) + `)].filter(e => e.checkVisibility())`
}

func number(selector string) string {
	return `document.querySelectorAll(` + quote(selector) + `).length`
}

func chip(group string) string { return `[data-group=` + quote(group) + `]` }

// shown is the number of rows of a class whose text contains words and that have a time.
func shown(class, text string) string {
	return `[...document.querySelectorAll("#log .entry` + class + `")].filter(e => e.querySelector(".text").textContent.includes(` +
		quote(text) + `) && /\d/.test(e.querySelector(".time").textContent)).length`
}

// kill ends the server as a crash would.
func (s *server) kill() {
	s.t.Helper()
	s.signal(syscall.SIGKILL)
	s.exit()
}

func TestBrowserJoinsSendsShowsLeavesAndReconnects(t *testing.T) {
	t.Parallel()
	s := start(t)
	v := &tab{t, browser(t)}
	problems, stop := context.WithCancel(v.ctx)
	defer stop()
	messages := chromedp.Console(problems)
	v.open("http://" + s.addr + "/")

	for _, group := range []string{"news", "組 & <b>"} {
		v.join(group)
	}
	s.eventually("the page's groups have a member", func() error {
		if got := s.status().Total.Members; got != 2 {
			return fmt.Errorf("got %d members, want 2", got)
		}
		return nil
	})

	// What the page sends reaches it and all other members, and is shown once.
	m := member(t, s, "news")
	v.send("news", "hello <i>組</i>")
	m.expect(t, "hello <i>組</i>")
	v.until(shown(".msg.own[data-state=accepted]:not(.pending)", "hello <i>組</i>") + " === 1")
	v.until(shown(".msg", "hello <i>組</i>") + " === 1")
	must(t, m.text(sendCommand("news", "from outside")))
	m.expect(t, "from outside")
	v.until(shown(".msg:not(.own)", "from outside") + " === 1")
	v.until(number("#log i, #groups b") + " === 0") // text stays text

	// After leaving nothing comes; the other group still does.
	v.click("#groups " + chip("news") + " button.leave")
	v.until(number("#groups "+chip("news")) + " === 0")
	s.eventually("the page has left", func() error {
		if got := s.status().Total.Members; got != 2 {
			return fmt.Errorf("got %d members, want 2: the other client and the page's other group", got)
		}
		return nil
	})
	must1(t, m.askOK)(sendCommand("news", "after the leave"))
	must1(t, m.askOK)(sendCommand("組 & <b>", "in the other group"))
	v.until(shown(".msg", "in the other group") + " === 1")
	v.until(shown(".msg", "after the leave") + " === 0")
	// The last group is left by a command: its connection stays.
	v.click("#groups button.leave")
	v.until(shown(".note", "You left") + " === 2")
	s.eventually("the page has left all groups", func() error {
		if got := s.status().Total; got.Members != 1 || got.Clients != 2 {
			return fmt.Errorf("got %d members and %d clients, want 1 and 2", got.Members, got.Clients)
		}
		return nil
	})

	v.click("#clear")
	v.until(number("#log .entry") + " === 0")

	// Disconnected, it says so and is gone from the server; connected again, it works.
	v.click("#connect")
	v.state("off")
	s.eventually("the page's client is gone", func() error {
		if got := s.status().Total.Clients; got != 1 {
			return fmt.Errorf("got %d clients, want 1", got)
		}
		return nil
	})
	v.click("#connect")
	v.state("open")
	s.eventually("the page's client is back", func() error {
		if got := s.status().Total.Clients; got != 2 {
			return fmt.Errorf("got %d clients, want 2", got)
		}
		return nil
	})
	v.join("again")
	v.send("again", "welcome back")
	v.until(shown(".msg:not(.pending)", "welcome back") + " === 1")

	// The page itself has caused no error.
	v.js("mark the end", `console.log("the end")`)
	for entry, err := range messages {
		if err != nil || entry.Text == "the end" {
			break
		}
		if entry.IsException() || entry.Type == chromedp.ConsoleError {
			t.Errorf("console of the demo page: got %v, want no error", entry)
		}
	}
}

func TestBrowserFirstMessageIsToldThatNobodyIsThereAndJoins(t *testing.T) {
	t.Parallel()
	s := start(t)
	v := openPage(t, s)
	v.says("#hint", "You are not in this group")
	v.fill("#message", "is anybody there?")
	v.click("#send")
	v.says("#log .own", "Nobody is in this group yet")
	v.click("#log .own button")
	v.until(number(`#groups [data-group="123"][data-joined=true]`) + " === 1")
	v.until(shown(".own[data-state=accepted]:not(.pending)", "is anybody there?") + " === 1")
	v.until(number("#log .own button") + " === 0")
	// A group that others are in takes the message, and nothing is claimed beyond that.
	m := member(t, s, "elsewhere")
	v.send("elsewhere", "to you")
	m.expect(t, "to you")
	v.until(shown(".own[data-state=accepted]:not(.pending)", "to you") + " === 1")
	// Without words or a group nothing is sent.
	v.send("elsewhere", "")
	v.says("#hint", "Type a message first")
	v.send("", "x")
	v.says("#hint", "Type the name of a group first")
	equal(t, "what stays in the field", do(t, v.ctx, "read", chromedp.Evaluate[string](`document.querySelector("#message").value`)), "x")
}

// What may have been sent or not can be sent again: the group hears it once.
func TestBrowserSendsAgainWhatIsHeardOnce(t *testing.T) {
	t.Parallel()
	s := start(t)
	v := openPage(t, s)
	m := member(t, s, "g")
	v.join("g")
	// Of the first the answer gets lost on its way, and the second does not reach the server: both times the page is told that it is not known.
	const unknown = `{ const [id, c] = [...lines[0].asked].pop(); lines[0].asked.delete(id); answered(lines[0], c, { id, error: { code: "unknown", message: "" } }); }`
	for _, c := range []struct{ text, before, then string }{
		{"it went out", `const ws = lines[0].ws; ws.send(JSON.stringify({ cmd: "send_to_group", group_id: "g", message: text, key: "k" })); ws.send = () => {}; `, "it was accepted the first time"},
		{"it did not", `lines[0].ws.send = () => {}; `, "accepted, no."},
	} {
		key := `"k"`
		if c.then == "accepted, no." {
			key = `"l"`
		}
		v.js("send, and hear nothing of it", `{ const text = `+quote(c.text)+`; `+c.before+`send("g", text, `+key+`); `+unknown+` delete lines[0].ws.send; }`)
		row := "#log .own[data-state=unconfirmed]"
		v.says(row, "have not said in time whether it was sent")
		v.click(row + " button")
		v.says("#log .own[data-state=accepted]:not(.pending)", c.then)
		m.expect(t, c.text)
	}
	must1(t, dial(t, s).askOK)(sendCommand("g", "the last"))
	m.expect(t, "the last") // and so nothing was heard twice
}

func TestBrowserIsToldForHowLongItWasAway(t *testing.T) {
	t.Parallel()
	s := start(t, "--listen", freeAddr(t))
	v := openPage(t, s)
	v.join("one")
	v.join("two")
	s.kill()
	v.state("waiting")
	v.until(number("#groups [data-joined=false]") + " === 2")
	again := startWith(t, starting{args: []string{"--listen", s.addr}})
	// By itself, without a click, and once for all groups.
	v.state("open")
	v.until(shown(".note.warn", "You were away for ") + " === 1")
	v.until(`/away for (\d+ s|less than a second)\..*one.*and.*two.* not kept/.test(document.querySelector("#log .note.warn").textContent)`)
	v.until(number("#groups [data-joined=true]") + " === 2")
	again.eventually("the page is back", func() error {
		if got := again.status().Total; got.Members != 2 || got.Clients != 2 {
			return fmt.Errorf("got %d members and %d clients, want 2 and 2", got.Members, got.Clients)
		}
		return nil
	})
	must1(t, dial(t, again).askOK)(sendCommand("two", "news"))
	v.until(shown(".msg", "news") + " === 1")
}

// The clock goes on while a machine sleeps, and its pages do not.
func TestBrowserCountsTheSleepOfItsMachine(t *testing.T) {
	t.Parallel()
	s := start(t, "--listen", freeAddr(t))
	v := openPage(t, s)
	v.join("g")
	sleep := func() { v.js("sleep", `tickedAt -= 600000; tick()`) }
	sleep() // the connection outlives it
	v.send("g", "awake")
	v.until(shown(".own[data-state=accepted]:not(.pending)", "awake") + " === 1")
	s.signal(syscall.SIGSTOP)
	v.until("now() - lines[0].heardAt > 500") // nothing is on its way any more: what comes behind a sleep has outlived it
	sleep()                                   // and does not
	s.kill()
	v.state("waiting")
	startWith(t, starting{args: []string{"--listen", s.addr}})
	v.says("#log .note.warn", "You were away for 10 min")
	v.until(number("#log .note.warn") + " === 1")
}

func TestBrowserShowsThatMessagesWereMissed(t *testing.T) {
	t.Parallel()
	s := start(t)
	v := openPage(t, s)
	v.join("g")
	// The frame that the server sends in place of what it left out, byte for byte.
	must1(t, dial(t, s).askOK)(sendCommand("g", `{"event":"gap","messages":1200}`))
	v.says("#log .note.warn", "the server left out 1,200 messages")
	v.until(number("#log .msg") + " === 0")
	// An own message whose copy was left out does not wait for it for ever, and one whose copy comes is shown once.
	v.js("send, with the copy left out", `send("g", "left out"); lines[0].copies[0].text = "the copy is another"`)
	v.until(number("#log .own.pending[data-state=accepted]") + " === 1")
	must1(t, dial(t, s).askOK)(sendCommand("g", `{"event":"gap","messages":1}`))
	v.until(shown(".own:not(.pending)", "left out") + " === 1")
	must1(t, dial(t, s).askOK)(sendCommand("g", "the copy is another"))
	v.send("g", "the last")
	v.until(shown(".own:not(.pending)", "the last") + " === 1")
	v.until(shown(".msg", "the copy is another") + " === 0")
}

func TestBrowserNoticesAServerThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	s := start(t, "--stop-timeout", "1s")
	v := openPage(t, s)
	v.join("g")
	s.signal(syscall.SIGSTOP)
	defer s.cmd.Process.Signal(syscall.SIGCONT)
	v.state("silent") // nobody has sent anything: the page asks by itself
	v.says("#state", "The server does not answer")
	v.says("#detail", "No answer for")
	v.until(seen("#try") + ".length === 1")
	v.send("g", "are you there?")
	v.says("#detail", "1 message not confirmed")
	v.says("#log .own.pending", "not confirmed: the server does not answer")
	if size(false, true) {
		// Given up: a new connection is tried, which finds a frozen server too, and what had no answer may have been sent or not.
		v.says("#log .own", "it may have been sent or not")
		v.until(seen("#log .own button") + ".length === 1")
		v.says("#detail", "The server did not answer")
		s.signal(syscall.SIGCONT)
		v.state("open")
		v.says("#log .note.warn", "You were away for ")
		return
	}
	s.signal(syscall.SIGCONT)
	v.state("open")
	v.says("#log .note", "The server answers again after")
	v.until(shown(".own[data-state=accepted]:not(.pending)", "are you there?") + " === 1")
	v.until(shown(".note", "away") + " === 0")
}

func TestBrowserTriesAgainInPeace(t *testing.T) {
	t.Parallel()
	s := start(t, "--listen", freeAddr(t))
	v := openPage(t, s)
	v.join("g")
	s.signal(os.Interrupt)
	equal(t, "exit status", s.exit(), 0)
	// A countdown that moves by itself, and tries that are counted.
	v.until(`/Try [4-9] in \d+ s/.test(document.querySelector("#detail").textContent)`)
	v.says("#detail", "No server takes connections at "+s.addr)
	v.js("remember", `window.first = document.querySelector("#detail").textContent`)
	v.until(`document.querySelector("#detail").textContent !== window.first`)
	v.says("#connect", "Stop trying")
	v.until(`!document.body.innerText.includes("1006")`)
	v.until(number("#log .error") + " === 0")
	v.says("#hint", "Not connected")

	v.click("#connect")
	v.state("off")
	v.says("#connect", "Connect")
	v.until(number("#try:not([hidden])") + " === 0")
	v.click("#connect")
	v.state("waiting")
	// With half a minute to wait a click tries at once, and so does the network's return.
	v.js("make the wait long", `retryAt = now() + 1e9`)
	v.says("#detail", "in 1000000 s")
	v.click("#try")
	v.says("#detail", "Try 2 in")
	again := startWith(t, starting{args: []string{"--listen", s.addr}})
	v.js("the network is back", `retryAt = now() + 1e9; dispatchEvent(new Event("online"))`)
	v.state("open")
	v.until(number("#groups [data-joined=true]") + " === 1")
	equal(t, "clients", again.status().Total.Clients, 1)
}

// Close codes in words. A server of our own closes with each; the page is the real one.
func TestBrowserExplainsCloseCodes(t *testing.T) {
	t.Parallel()
	s := start(t)
	_, page := request(t, s, "GET", "/", "")
	fake := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			fmt.Fprint(w, page)
			return
		}
		// The page's WebSocket has the query that the page has.
		code, _ := strconv.Atoi(r.URL.Query().Get("code"))
		conn, _, _, err := ws.UpgradeHTTP(r, w)
		if err != nil {
			return
		}
		ws.WriteFrame(conn, ws.NewCloseFrame(ws.NewCloseFrameBody(ws.StatusCode(code), r.URL.Query().Get("reason"))))
		conn.Read(make([]byte, 1024)) // its Close frame
		conn.Close()
	}))
	defer fake.Close()
	v := &tab{t, browser(t)}
	for _, c := range []struct {
		code          int
		reason, words string
	}{
		{1001, "the server is stopping", "The server is stopping or restarting (1001)."},
		{1001, "no sign of life", "heard nothing from this page for too long (1001)."},
		{1008, "too many commands a second", "one of its limits: too many commands a second (1008)."},
		{1009, "", "larger than the server takes (1009)."},
		{1011, "", "internal error (1011)."},
		{1013, "the server is busy, try again", "it asks to try later (1013)."},
		{4008, "too slow", "too slow to take all that was sent to it (4008)."},
		{4321, "for a reason", "closed: for a reason (4321)."},
	} {
		query := url.Values{"code": {strconv.Itoa(c.code)}, "reason": {c.reason}}
		do(t, v.ctx, "navigate", chromedp.Navigate(fake.URL+"/?"+query.Encode()))
		v.says("#detail", c.words)
	}
}

func TestBrowserRowsNameTheirGroup(t *testing.T) {
	t.Parallel()
	s := start(t)
	v := openPage(t, s)
	v.join("one")
	v.join("two")
	other := dial(t, s)
	for _, group := range []string{"one", "two", "one"} {
		must1(t, other.askOK)(sendCommand(group, "to "+group))
	}
	v.send("two", "mine")
	v.until(number("#log .msg:not(.pending)") + " === 4")
	v.until(`[...document.querySelectorAll("#log .msg:not(.own)")].every(e => e.querySelector(".text").textContent === "to " + e.querySelector(".group").textContent)`)
	v.until(seen("#log .own .meta") + `.every(e => e.innerText.startsWith("You to two"))`)
	// Other people's equal words are not lost.
	for range 3 {
		must1(t, other.askOK)(sendCommand("two", "mine"))
	}
	v.until(shown(".msg", "mine") + " === 4")
}

func TestBrowserTwoWindowsShowOneOrder(t *testing.T) {
	t.Parallel()
	s := start(t)
	v := openPage(t, s)
	w := v.window()
	w.open("http://" + s.addr + "/")
	v.join("g")
	w.join("g")
	const each = 20
	for i := range each {
		v.send("g", fmt.Sprint("v", i))
		w.send("g", fmt.Sprint("w", i))
	}
	var order []string
	for _, x := range []*tab{v, w} {
		x.until(number("#log .msg:not(.pending)") + fmt.Sprintf(" === %d", 2*each))
		x.until(number("#log .own[data-state=accepted]") + fmt.Sprintf(" === %d", each))
		order = append(order, do(t, x.ctx, "read the rows", chromedp.Evaluate[string](
			`[...document.querySelectorAll("#log .msg .text")].map(e => e.textContent).join(" ")`)))
	}
	equal(t, "rows of the two windows", order[0], order[1])
}

func TestBrowserErrorsAreInWords(t *testing.T) {
	t.Parallel()
	s := start(t, "--members-max", "1", "--group-name-max", "20")
	member(t, s, "full")
	v := openPage(t, s)
	v.fill("#group", "full")
	v.click("#join")
	v.says("#log .note.error .text", "the group is full")
	v.says("#log .note.error small", "group_full")
	v.until(number("#groups .chip") + " === 0")
	v.fill("#group", strings.Repeat("n", 21))
	v.click("#join")
	v.says("#log .note.error .text", "does not take this name")
	v.fill("#group", strings.Repeat("組", 100))
	v.click("#join")
	v.says("#hint", "300 bytes in UTF-8, and at most 255 are possible")
}

func TestBrowserAsksAgainForAJoinThatWasRefusedForTheMoment(t *testing.T) {
	t.Parallel()
	s := start(t, "--command-rate", "1")
	v := openPage(t, s)
	v.js("two commands at once", `send("x", "first"); join("g")`)
	v.says("#log .note.error .text", "that was too much at once")
	v.until(number(`#groups [data-group=g][data-joined=true]`) + " === 1")
	v.until(number("#log .note.error") + " === 1")
}

func TestBrowserOnAPhoneShowsTheListAboveTheComposer(t *testing.T) {
	t.Parallel()
	s := start(t)
	v := &tab{t, browser(t)}
	v.phone()
	v.open("http://" + s.addr + "/")
	const top = `document.querySelector("main").getBoundingClientRect().top`
	v.js("remember where the list begins", "window.begin = "+top)
	long := strings.Repeat("Donaudampfschifffahrt", 12)
	v.join(long)
	v.join("مجموعة")
	other := dial(t, s)
	for range 20 {
		must1(t, other.askOK)(sendCommand(long, long+long))
		must1(t, other.askOK)(sendCommand("مجموعة", "שלום"))
	}
	v.until(number("#log .msg") + " === 40")
	v.send(long, "short")
	v.until(shown(".own:not(.pending)", "short") + " === 1")
	fits := func() {
		v.t.Helper()
		v.until(`document.documentElement.scrollWidth <= innerWidth && document.documentElement.scrollHeight <= innerHeight`)
		v.until(`[...document.querySelectorAll("#log, #log *, #groups *")].every(e => e.getBoundingClientRect().right <= innerWidth)`)
		v.until(`document.querySelector("#send").getBoundingClientRect().bottom <= innerHeight`)
		v.until(`document.querySelector("#log").getBoundingClientRect().bottom <= document.querySelector("#message").getBoundingClientRect().top`)
		v.until(`document.querySelector("#log").clientHeight > 200`)
		// The newest row is in sight.
		v.until(`document.querySelector("#log").lastElementChild.getBoundingClientRect().bottom <= document.querySelector("#log").getBoundingClientRect().bottom`)
		v.until(top + " === window.begin") // the lines of the state are there in every state
	}
	fits()
	s.signal(syscall.SIGSTOP)
	v.send(long, "short again")
	v.state("silent")
	fits()
	s.signal(syscall.SIGCONT)
	s.kill()
	v.state("waiting")
	fits()
	v.click("#connect")
	v.state("off")
	fits()
}

// contrastBelow finds visible text whose colour differs too little from what is behind it (WCAG 2.1 §1.4.3 wants 4.5:1).
const contrastBelow = `(() => {
	const context = Object.assign(document.createElement("canvas"), { width: 1, height: 1 }).getContext("2d", { willReadFrequently: true });
	const rgba = (colour) => { context.clearRect(0, 0, 1, 1); context.fillStyle = colour; context.fillRect(0, 0, 1, 1); return [...context.getImageData(0, 0, 1, 1).data]; };
	const over = (a, b) => a.slice(0, 3).map((v, i) => v * a[3] / 255 + b[i] * (1 - a[3] / 255));
	const light = (c) => { const [r, g, b] = c.map((v) => { v /= 255; return v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4; }); return .2126 * r + .7152 * g + .0722 * b; };
	const ratio = (a, b) => { const [x, y] = [light(a), light(b)]; return (Math.max(x, y) + .05) / (Math.min(x, y) + .05); };
	const behind = (e) => {
		const layers = [];
		for (; e; e = e.parentElement) { if (getComputedStyle(e).opacity !== "1") throw new Error("opacity"); layers.push(rgba(getComputedStyle(e).backgroundColor)); }
		return layers.reduceRight((ground, layer) => over(layer, ground), [255, 255, 255]);
	};
	const bad = [];
	const check = (e, style, what) => {
		const ground = behind(e), r = ratio(over(rgba(style.color), ground), ground);
		if (r < 4.5) bad.push(what + " of " + e.outerHTML.slice(0, 80) + ": " + r.toFixed(2) + ":1");
	};
	for (const e of document.body.querySelectorAll("*")) {
		if (!e.checkVisibility()) continue;
		if ([...e.childNodes].some((n) => n.nodeType === Node.TEXT_NODE && n.data.trim()) || e.value) check(e, getComputedStyle(e), "text");
		if (e.placeholder) check(e, getComputedStyle(e, "::placeholder"), "placeholder");
		if (!["none", "normal", '""'].includes(getComputedStyle(e, "::after").content)) check(e, getComputedStyle(e, "::after"), "::after");
	}
	return bad.join("\n");
})()`

func TestBrowserTextHasContrastInLightAndDark(t *testing.T) {
	t.Parallel()
	s := start(t, "--members-max", "2")
	v := openPage(t, s)
	readable := func(when string) {
		t.Helper()
		for _, scheme := range []string{"light", "dark"} {
			v.emulate(map[string]string{"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"})
			if bad := do(t, v.ctx, "compute", chromedp.Evaluate[string](contrastBelow)); bad != "" {
				t.Errorf("%s, %s: got too little contrast, want 4.5:1 at least:\n%s", when, scheme, bad)
			}
			if got := do(t, v.ctx, "read", chromedp.Evaluate[string](
				`document.getAnimations().map(a => a.animationName).join()`)); got != "" {
				t.Errorf("%s: got animation %s for a visitor who wants none", when, got)
			}
		}
	}
	readable("first visit")
	v.send("123", "nobody")
	v.says("#log .own", "Nobody is in this group yet")
	v.join("g")
	must1(t, dial(t, s).askOK)(sendCommand("g", "from outside"))
	v.send("g", "mine")
	v.until(number("#log .own[data-state=accepted]") + " === 1")
	must1(t, dial(t, s).askOK)(sendCommand("g", `{"event":"gap","messages":1}`))
	for range 2 {
		member(t, s, "full")
	}
	v.fill("#group", "full")
	v.click("#join")
	v.says("#log .note.error", "full")
	readable("rows of every kind")
	v.send("", "x")
	readable("a hint that something is missing")
	s.signal(syscall.SIGSTOP)
	v.send("g", "unanswered")
	v.state("silent")
	readable("silent")
	s.kill()
	v.state("waiting")
	readable("waiting")
	v.click("#connect")
	v.state("off")
	readable("off")
}

func TestBrowserKeyboardAndScreenReader(t *testing.T) {
	t.Parallel()
	s := start(t)
	v := openPage(t, s)
	v.join("g")
	// Everything that can be used has a name, and the order of focus is that of the document, which is that of reading.
	v.until(`[...document.querySelectorAll("input, button")].every(e => e.labels?.length || e.textContent.trim() || e.id === "hint-join" || e.getAttribute("aria-label"))`)
	v.until(`![...document.querySelectorAll("[tabindex]")].some(e => e.tabIndex > 0)`)
	v.until(`[...document.querySelectorAll("#connect, #group, #join, .chip button, #log, #send-group, #message, #send")].filter(e => e.checkVisibility()).
		every((e, i, all) => { if (e.tabIndex < 0) return false; if (i === 0) return true;
			const a = all[i - 1].getBoundingClientRect(), b = e.getBoundingClientRect(); return b.top > a.top || b.left > a.left; })`)
	// The state is read aloud when it changes; the countdown, which changes each second, is not.
	v.until(`document.querySelector("#state").getAttribute("role") === "status" && !document.querySelector("#detail").closest("[role], [aria-live]")`)
	v.until(`document.querySelector("#log").getAttribute("role") === "log"`)
	// Enter sends, and the field keeps the focus.
	v.fill("#message", "by Enter")
	do(t, v.ctx, "Enter", chromedp.KeyEvent("\r"))
	v.until(shown(".own:not(.pending)", "by Enter") + " === 1")
	equal(t, "focus", do(t, v.ctx, "read", chromedp.Evaluate[string](`document.activeElement.id`)), "message")
	// Who presses a button that goes away does not fall to the top of the page.
	s.kill()
	v.state("waiting")
	v.js("press", `document.querySelector("#try").focus(); document.querySelector("#try").click()`)
	v.until(`document.activeElement.id === "connect" || document.activeElement.id === "try"`)
}

func TestBrowserKeepsABoundedListAndSaysSo(t *testing.T) {
	t.Parallel()
	s := start(t)
	v := openPage(t, s)
	v.join("g")
	sender := dial(t, s)
	const all = 700
	for i := range all {
		must1(t, sender.askOK)(sendCommand("g", fmt.Sprintf("message %d.", i)))
	}
	v.until(shown(".msg", fmt.Sprintf("message %d.", all-1)) + " === 1")
	v.until(number("#log > *") + " === 500")
	v.says("#count", "700 messages received; the last 500 rows are kept")
	must1(t, sender.askOK)(sendCommand("g", strings.Repeat("long ", 10_000)))
	v.says("#log .msg .text", "… (50,000 characters in all)")
	// A reader who has scrolled back stays, and is told of what is new.
	v.js("scroll", `document.querySelector("#log").scrollTop = 0`)
	v.until(`atEnd === false`)
	must1(t, sender.askOK)(sendCommand("g", "the newest"))
	v.until(seen("#newer") + ".length === 1")
	v.until(`document.querySelector("#log").scrollTop < 200`)
	v.click("#newer")
	v.until(number("#newer:not([hidden])") + " === 0")
}

// Behind a proxy that speaks TLS and puts the server under a path the page's WebSockets go where the page came from.
func TestBrowserWorksBehindAProxysPathAndTLS(t *testing.T) {
	t.Parallel()
	s := start(t)
	to := &url.URL{Scheme: "http", Host: s.addr}
	proxy := httptest.NewTLSServer(http.StripPrefix("/push/demo", httputil.NewSingleHostReverseProxy(to)))
	defer proxy.Close()
	v := &tab{t, browser(t, chromedp.Flag("ignore-certificate-errors", true))}
	v.open(proxy.URL + "/push/demo/?a=b#c")
	v.join("g")
	v.send("g", "through the proxy")
	v.until(shown(".own[data-state=accepted]:not(.pending)", "through the proxy") + " === 1")
	v.says("#detail", "/push/demo/")
}

func TestBrowserReconnectsByItselfWhenTheServerComesBack(t *testing.T) {
	t.Parallel()
	s := start(t, "--listen", freeAddr(t))
	v := openPage(t, s)
	s.signal(os.Interrupt)
	equal(t, "exit status", s.exit(), 0)
	v.until(`document.querySelector("#state").dataset.state !== "open"`)
	// By itself, without a click.
	again := startWith(t, starting{args: []string{"--listen", s.addr}})
	v.state("open")
	equal(t, "clients", again.status().Total.Clients, 1)
}
