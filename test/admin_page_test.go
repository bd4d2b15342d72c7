package test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// The admin page as an operator meets it.

// openAdmin opens a view of the admin page in a browser of its own.
func openAdmin(t *testing.T, url, view string) *tab {
	t.Helper()
	v := &tab{t, browser(t)}
	v.view(url, view)
	return v
}

// view opens a view and waits until the page has been answered.
func (v *tab) view(url, view string) {
	v.t.Helper()
	do(v.t, v.ctx, "leave", chromedp.Navigate("about:blank")) // a change of the hash alone opens nothing
	do(v.t, v.ctx, "navigate", chromedp.Navigate(url+"/#"+view))
	v.state("ok")
}

// onTile waits until a tile shows a number.
func (v *tab) onTile(name, number string) {
	v.t.Helper()
	v.until(`[...document.querySelectorAll(".tile")].some(e => e.querySelector("h3").textContent === ` + quote(name) +
		` && e.querySelector(".big").textContent === ` + quote(number) + `)`)
}

// slowClient is a member that reads nothing any more, once it has missed something.
func slowClient(t *testing.T, s *server, group string) {
	t.Helper()
	c := dial(t, s, dialing{readBytes: 4 << 10})
	must(t, c.join(group))
	sender := dial(t, s)
	s.eventually("the slow client misses messages", func() error {
		for range 10 {
			if _, err := sender.publish(group, strings.Repeat("x", 20_000)); err != nil {
				return err
			}
		}
		if s.status().Total.SlowDropped == 0 {
			return fmt.Errorf("it has missed none yet")
		}
		return nil
	})
}

func TestTheAdminPageShowsWhatGoesOnAndWhyASlowClientHasMissedAMessage(t *testing.T) {
	t.Parallel()
	const clients, groups = 50, 5
	s, url := startAdmin(t, "--slow-client", "drop", "--outbox-max", "64KiB", "--history", "10", "--memory-limit", "1GiB")
	for i := range clients {
		go member(t, s, fmt.Sprint("room:", i%groups)).discard() // else they would be slow too
	}
	slowClient(t, s, "room:3")

	v := &tab{t, browser(t)}
	problems, stop := context.WithCancel(v.ctx)
	defer stop()
	messages := chromedp.Console(problems)
	v.view(url, "now")
	v.onTile("Connections", fmt.Sprint(clients+2))
	v.says(".tile .more", "1 slow client")
	v.says(".tile .more", "% of 1")
	v.until(number("#loops tbody tr") + " === 8")

	v.click(`nav a[href="#groups"]`)
	v.until(number("#groups tbody tr") + " === " + fmt.Sprint(groups))
	v.says("#groups tbody tr:first-child", "room:3") // it has one more than the others
	v.says("#groups-sum", "51 memberships")
	v.fill("#groups-match", "*:4")
	v.until(number("#groups tbody tr") + " === 1")
	v.fill("#groups-match", "")
	v.until(number("#groups tbody tr") + " === " + fmt.Sprint(groups))
	v.click("#groups tbody tr:first-child button")
	v.says("#group", "10 of 10")
	v.until(number("#members tbody tr") + " === 11")

	v.click(`nav a[href="#clients"]`)
	v.until(number("#clients tbody tr") + " === 1")
	v.click("#clients tbody button")
	v.says("#why-head", "Client ")
	v.fill("#why-group", "room:3")
	v.click("#why-form button")
	v.says("#verdict", "It is a member and slow")
	v.says("#verdict", "there was no room for a message of this group")
	v.says("#verdict", "It has missed")
	v.says("#why-traces", "its outbox was full")

	// It is found again by the trouble that it had.
	v.click(`nav a[href="#now"]`)
	v.says("#trouble", "its outbox was full")
	v.click("#trouble button.link")
	v.says("#why-head", "room:3")

	v.js("mark the end", `console.log("the end")`)
	for entry, err := range messages {
		if err != nil || entry.Text == "the end" {
			break
		}
		if entry.IsException() || entry.Type == chromedp.ConsoleError {
			t.Errorf("console of the admin page: got %v, want no error", entry)
		}
	}
}

func TestTheAdminPageShowsWhatHappensAndWhatClientsSayIsText(t *testing.T) {
	t.Parallel()
	s, url := startAdmin(t)
	v := openAdmin(t, url, "live")
	v.says("#live-state", "Listening")
	const hostile = `<img src=x onerror=window.hit=1>`
	live := func(kind, words string) string {
		return `[...document.querySelectorAll("#live li")].some(e => e.querySelector(".kind").textContent === ` + quote(kind) +
			` && e.textContent.includes(` + quote(words) + `))`
	}
	c := member(t, s, hostile)
	v.until(live("connect", "plain"))
	v.until(live("join", hostile))
	if _, err := c.publish(hostile, "hi"); err != nil {
		t.Fatal(err)
	}
	v.until(live("publish", hostile))
	v.click("#live-kinds input[value=publish]")
	v.says("#live-state", "Listening")
	_, err := c.publish(hostile, "again")
	must(t, err)
	must(t, c.closeWith(1000, hostile))
	v.until(live("close", "1000"))
	equal(t, "publishes that are shown though they are not wanted", do(t, v.ctx, "count", chromedp.Evaluate[bool](live("publish", ""))), false)
	v.click("#live-go")
	v.says("#live-state", "Paused")

	other := member(t, s, hostile)
	v.click(`nav a[href="#groups"]`)
	v.says("#groups tbody", hostile)
	v.click("#groups tbody button")
	v.says("#group-name", hostile)
	must(t, other.closeWith(1000, ""))
	equal(t, "markup that clients have put into the page", do(t, v.ctx, "look", chromedp.Evaluate[bool](`window.hit === 1 || document.querySelector("img") !== null`)), false)

	// Without a server API there is nothing to act with.
	v.click(`nav a[href="#act"]`)
	v.says("#act-off", "--api-key")
	v.until(`!document.querySelector("#act-on").checkVisibility()`)
}

// From a phone to a desktop, in light and in dark: nothing is wider than the window, and all text can be read.
func TestTheAdminPageFitsItsWindowAndCanBeRead(t *testing.T) {
	t.Parallel()
	s, url := startAdmin(t, "--slow-client", "drop", "--outbox-max", "64KiB", "--history", "10")
	member(t, s, "a group with a long name "+strings.Repeat("x", 200))
	slowClient(t, s, "room:3")
	v := openAdmin(t, url, "now")
	id := do(t, v.ctx, "find it", chromedp.Evaluate[string](`(async () => String((await (await fetch("/console/clients")).json()).rows[0].id))()`, chromedp.EvalAwaitPromise))
	for _, size := range [][2]int64{{390, 844}, {768, 1024}, {1440, 900}} {
		do(t, v.ctx, "resize", chromedp.EmulateViewport(size[0], size[1]))
		for _, scheme := range []string{"light", "dark"} {
			v.emulate(map[string]string{"prefers-color-scheme": scheme})
			for view, there := range map[string]string{
				"now": "#trouble li", "groups?name=room:3": "#members tbody tr", "clients": "#clients tbody tr", "live": "#live-kinds span",
				"why?client=" + id + "&group=room:3": "#verdict li", "act": "#act-off",
			} {
				v.view(url, view)
				v.until(number(there) + " > 0")
				if wide := do(t, v.ctx, "measure", chromedp.Evaluate[int](`document.documentElement.scrollWidth - innerWidth`)); wide > 0 {
					t.Errorf("%s at %d: got a page that is %d too wide", view, size[0], wide)
				}
				if bad := do(t, v.ctx, "compute", chromedp.Evaluate[string](contrastBelow)); bad != "" {
					t.Errorf("%s, %s: got too little contrast, want 4.5:1 at least:\n%s", view, scheme, bad)
				}
			}
		}
	}
}

// What is wrong with a certificate stands above everything; where nothing is, there is no such line.
func TestTheAdminPageShowsWhatIsWrongWithCertificates(t *testing.T) {
	t.Parallel()
	cert, key := certificateFor(t, t.TempDir(), "push.example.org")
	args := []string{"--tls-listen", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key}
	_, url := startAdmin(t, args...)
	v := openAdmin(t, url, "now")
	v.until(number("#loops tbody tr") + " === 8")
	v.until(`!document.querySelector("#notes").checkVisibility()`)
	must(t, os.Chmod(key, 0o644))
	_, url = startAdmin(t, args...)
	v = openAdmin(t, url, "now")
	v.says("#notes", "can be read by every user of this machine")
}

// A server that is a node of a cluster shows it; one that is none does not speak of any.
func TestTheAdminPageShowsTheClusterWhereThereIsOne(t *testing.T) {
	t.Parallel()
	s, url := startAdmin(t, "--cluster-name", "chat", "--cluster-node", "n1", "--store-dir", t.TempDir(), "--cluster-partitions", "5")
	c := member(t, s, "g")
	if _, err := c.publish("g", "hi"); err != nil {
		t.Fatal(err)
	}
	v := openAdmin(t, url, "now")
	v.until(`document.querySelector("#cluster-link").checkVisibility()`)
	v.click("#cluster-link")
	v.until(number("#partitions tbody tr") + " === 5")
	v.until(number("#nodes tbody tr") + " === 1")
	v.says("#nodes tbody tr", "this one")
	v.says("#cluster-sum", "1 of 1 nodes up")
	v.until(`[...document.querySelectorAll("#cluster-facts div")].some(e => e.textContent.startsWith("Ordered, of all nodes1"))`)
	v.until(`!document.querySelector("#cluster-trouble").checkVisibility()`)
	for _, size := range [][2]int64{{390, 844}, {768, 1024}, {1440, 900}} {
		do(t, v.ctx, "resize", chromedp.EmulateViewport(size[0], size[1]))
		for _, scheme := range []string{"light", "dark"} {
			v.emulate(map[string]string{"prefers-color-scheme": scheme})
			if wide := do(t, v.ctx, "measure", chromedp.Evaluate[int](`document.documentElement.scrollWidth - innerWidth`)); wide > 0 {
				t.Errorf("at %d: got a page that is %d too wide", size[0], wide)
			}
			if bad := do(t, v.ctx, "compute", chromedp.Evaluate[string](contrastBelow)); bad != "" {
				t.Errorf("%s: got too little contrast, want 4.5:1 at least:\n%s", scheme, bad)
			}
		}
	}
	_, other := startAdmin(t)
	v.view(other, "cluster")
	v.says("#cluster-none", "--cluster-name")
	v.until(`!document.querySelector("#cluster-link").checkVisibility() && !document.querySelector("#cluster-on").checkVisibility()`)
}

// A key is typed in for the page alone: with it the operator publishes and disconnects, without it or with a wrong one nothing happens.
func TestTheAdminPageActsWithAnAPIKey(t *testing.T) {
	t.Parallel()
	const key = "k-0123456789abcdef0123456789"
	s, url := startAdmin(t, "--api-key", key)
	c := member(t, s, "g")
	v := openAdmin(t, url, "act")
	v.until(`!document.querySelector("#acts").checkVisibility()`)
	v.fill("#key", "a wrong one")
	v.fill("#publish-group", "g")
	v.fill("#publish-data", "hello")
	v.click("#publish-form button")
	v.until(`document.querySelector("#publish-done").className === "bad"`)
	v.fill("#key", key)
	v.click("#publish-form button")
	c.expect(t, "hello")
	v.says("#publish-done", `"members":1`)
	v.fill("#publish-data", `{"a": 1`)
	v.click("#publish-json")
	v.click("#publish-form button")
	v.says("#publish-done", "not JSON")
	v.fill("#publish-data", `{"a": 1}`)
	v.click("#publish-form button")
	c.expect(t, `{"a":1}`)

	// A client that was asked about is the one that is offered.
	id := do(t, v.ctx, "find it", chromedp.Evaluate[string](`(async () => String((await (await fetch("/console/group?name=g")).json()).rows[0].id))()`, chromedp.EvalAwaitPromise))
	v.js("ask why", `location.hash = "#why?client=`+id+`&group=g"`)
	v.says("#why-facts", "Name in the API")
	v.click(`nav a[href="#act"]`)
	v.click("#disconnect-form button")
	code, err := c.closeCode()
	must(t, err)
	equal(t, "close code of who was disconnected", code, 4403)
	v.says("#disconnect-done", "Done")
	for _, store := range []string{"localStorage", "sessionStorage"} {
		equal(t, "what the page keeps in "+store, do(t, v.ctx, "count", chromedp.Evaluate[int](store+".length")), 0)
	}
	v.view(url, "act")
	equal(t, "the key when the page is opened anew", do(t, v.ctx, "read", chromedp.Evaluate[string](`document.querySelector("#key").value`)), "")
}
