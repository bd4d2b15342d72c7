package test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// These tests run centrifuge-js in Node and in a browser against groups that tell who is there.

// listensToAll connects a client that is in a group and hears who comes and goes, and gives its id.
func (p *nodePage) listensToAll(group string) (id string) {
	p.t.Helper()
	p.do(`client = newClient(url); group = listen(client, ` + quote(group) + `, {joinLeave: true}); client.connect()`)
	p.step("connecting")
	id = p.step("connected").Client
	first := p.take("the first of the group", func(step nodeStep) bool { return step.Step == "subscribed" || step.Step == "join" })
	equal(p.t, "first of the group", first.Step, "subscribed")
	equal(p.t, "its own join", p.step("join").Info.Client, id)
	return id
}

// sees checks who is in a group by every way to ask, in a script's words.
func (p *nodePage) sees(group string, ids ...string) {
	p.t.Helper()
	var clients map[string]struct {
		Client *string `json:"client"`
		User   *string `json:"user"`
	}
	must(p.t, json.Unmarshal([]byte(p.do(`return (await `+group+`.presence()).clients`)), &clients))
	var got []string
	for id, about := range clients {
		got = append(got, id)
		if about.Client == nil || *about.Client != id || about.User == nil || *about.User != "" {
			p.t.Errorf("%s in %s: got another id or another user, want both as they are", id, group)
		}
	}
	slices.Sort(got)
	slices.Sort(ids)
	equalTexts(p.t, "who is there", got, ids)
	equal(p.t, "how many are there, and users", p.do(`const {numClients, numUsers} = await `+group+`.presenceStats(); return [numClients, numUsers]`),
		fmt.Sprintf("[%d,1]", len(ids)))
}

// comes waits for the next who comes, and goes for the one who goes.
func (p *nodePage) comes() (id string) {
	p.t.Helper()
	id = p.step("join").Info.Client
	equal(p.t, "length of an id", len(id), 36)
	return id
}

func (p *nodePage) goes(id string) {
	p.t.Helper()
	equal(p.t, "who goes", p.step("leave").Info.Client, id)
}

// With one loop who did not ask is beside who did, and is left out all the same.
func TestACentrifugePageSeesWhoIsThereAndWhoComesAndGoes(t *testing.T) {
	t.Parallel()
	s := start(t, "--presence", "on", "--loops", "1")
	p := openNodePage(t, s.addr)
	own := p.listensToAll("組")
	p.sees("group", own)

	// A plain client is nobody else's, but one of them.
	m := member(t, s, "組")
	plain := p.comes()
	p.sees("group", own, plain)
	other := openNodePage(t, s.addr)
	quiet := other.listens("組", "{}")
	equal(t, "who comes", p.comes(), quiet)
	p.sees("group", own, plain, quiet)
	other.sees("group", own, plain, quiet)
	p.sees(`{presence: () => client.presence("組"), presenceStats: () => client.presenceStats("組")}`, own, plain, quiet)

	// They go in each way there is, and who comes again is another.
	must(t, m.leave("組"))
	p.goes(plain)
	must(t, m.join("組"))
	again := p.comes()
	m.die()
	p.goes(again)
	m = member(t, s, "組")
	again = p.comes()
	m.hangUp()
	p.goes(again)
	p.sees("group", own, quiet)
	other.do(`group.unsubscribe()`)
	p.goes(quiet)
	other.do(`group.subscribe()`)
	equal(t, "who comes back", p.comes(), quiet)
	other.do(`client.disconnect()`)
	p.goes(quiet)
	other.do(`client.connect()`)
	next := p.comes()
	if next == quiet || next != other.take("another connect", func(step nodeStep) bool { return step.Step == "connected" }).Client {
		t.Errorf("who comes with a new connection: got %s, want it by its new id", next)
	}
	p.sees("group", own, next)

	// Comings and goings have their place among what is said. The other did not ask for them, and hears what is said.
	m = member(t, s, "組")
	must1(t, m.askOK)(sendCommand("組", "hello"))
	must(t, m.leave("組"))
	var order []string
	for range 3 {
		order = append(order, p.take("what the plain client does", func(step nodeStep) bool {
			return step.Step == "join" || step.Step == "publication" || step.Step == "leave"
		}).Step)
	}
	equal(t, "order", strings.Join(order, " "), "join publication leave")
	equal(t, "heard by the other", other.hear(), `"hello"`)
	equal(t, "comings and goings heard by the other", other.untaken("join")+other.untaken("leave"), 0)
	p.do("")
	equal(t, "further comings and goings", p.untaken("join")+p.untaken("leave"), 0)
	equal(t, "reconnects", p.untaken("connecting"), 0)
}

func TestKindsSayWhetherACentrifugePageSeesWhoIsThere(t *testing.T) {
	t.Parallel()
	s, _ := configured(t, `{"presence": "on", "groups": [{"match": "dark:*", "presence": false}, {"match": "all:*", "join-leave": "all"},
		{"match": "none:*", "join-leave": "off"}]}`)
	p := openNodePage(t, s.addr)
	own := p.listensToAll("room")
	for _, name := range []string{"dark:1", "all:1", "none:1"} {
		p.do(`groups = {...globalThis.groups, ` + quote(name) + `: listen(client, ` + quote(name) + `, {joinLeave: ` + fmt.Sprint(name != "all:1") + `})}`)
		p.inChannel(name)
	}
	m := dial(t, s)
	for _, name := range []string{"dark:1", "none:1", "all:1"} {
		must(t, m.join(name))
		p.hears(m, name, "in "+name)
	}
	for range 2 {
		equal(t, "where it hears who comes", p.step("join").Channel, "all:1")
	}
	must(t, m.leave("none:1"))
	must(t, m.leave("all:1"))
	equal(t, "where it hears who goes", p.step("leave").Channel, "all:1")
	p.sees("group", own)
	p.sees(`groups["none:1"]`, own)
	p.sees(`groups["all:1"]`, own)
	equal(t, "how many are in a group without presence", p.do(`return groups["dark:1"].presenceStats()`), `{"numClients":2}`)
	for script, code := range map[string]int{
		`await groups["dark:1"].presence()`:        108,
		`await client.presence("elsewhere")`:       103,
		`await client.presenceStats("elsewhere")`:  103,
		`await client.presence("dark:elsewhere")`:  103,
		`await client.presence("x".repeat(256))`:   107,
		`await client.presence("").then(() => {})`: 107,
	} {
		end := p.run(script)
		if end.Step != "failed" || end.Code != code || end.Reason == "" {
			t.Errorf("%s: got %s with %d %q, want it refused with %d and a reason", script, end.Step, end.Code, end.Reason, code)
		}
	}
	p.do("")
	equal(t, "further comings and goings", p.untaken("join")+p.untaken("leave"), 0)
	equal(t, "reconnects", p.untaken("connecting"), 0)
}

func TestWhoWasThereBeforeAReloadSwitchedPresenceOnIsListedSoonAfter(t *testing.T) {
	t.Parallel()
	const without, with = `{"groups": [{"match": "room"}]}`, `{"groups": [{"match": "room", "presence": true}]}`
	s, write := configured(t, without, "--loops", "8")
	reload := func(text string) {
		t.Helper()
		write(text)
		equal(t, "exit status of the reload", run("reload", "--run-dir", s.dir).exit, 0)
	}
	early := observe(t, s, "room")
	known := map[string]bool{early.id: true}
	var there []*visitor
	for n := range 50 {
		v, err := comes(s.addr, n%2 == 0)
		must(t, err)
		t.Cleanup(v.hangUp)
		v.groups = []string{"room"}
		must(t, v.says(v.join()))
		if v.id != "" {
			known[v.id] = true
		}
		there = append(there, v)
		go v.stays()
	}
	countsAlone := func(all int) {
		t.Helper()
		equal(t, "code without presence", early.ask(t, "presence").Error.Code, 108)
		stats := early.ask(t, "presence_stats").Stats
		equal(t, "how many are there", stats.Clients, all)
		equal(t, "how many users are there", stats.Users, 0)
	}
	countsAlone(51)

	reload(with)
	s.eventually("all are listed", func() error { return areAll(early.lists(t), known, 25) })
	late := observe(t, s, "room")
	known[late.id] = true
	ids := late.lists(t)
	must(t, areAll(ids, known, 25))
	late.mu.Lock()
	equal(t, "who has come since", len(late.there), 1) // itself
	late.there = ids
	late.mu.Unlock()

	// They go as those go that have come since.
	ways := slices.Sorted(maps.Keys(goings))
	for n, v := range there[:40] {
		must(t, goings[ways[n%len(ways)]](v))
		delete(known, v.id)
	}
	s.eventually("who has gone is not there", func() error { return late.sees(t, known, 5) })
	early.mu.Lock()
	equal(t, "heard by who asked for it before there was presence", len(early.there), 0)
	equal(t, "wrong for it", early.wrong, "")
	early.mu.Unlock()

	reload(without)
	countsAlone(12)
}

func TestACentrifugePageIsPresentInAllGroupsThatItJoinsWithOneFrame(t *testing.T) {
	t.Parallel()
	s := start(t, "--presence", "on", "--history", "10")
	p := openNodePage(t, s.addr)
	const groups = 140
	p.do(fmt.Sprintf(`client = newClient(url); groups = []; for (let i = 0; i < %d; i++) groups.push(listen(client, "room " + i, {joinLeave: true})); client.connect()`, groups))
	id := p.step("connected").Client
	for i := range groups {
		channel := fmt.Sprintf("room %d", i)
		p.inChannel(channel)
		own := p.take("its own join", func(step nodeStep) bool { return step.Step == "join" && step.Channel == channel })
		equal(t, "who comes to "+channel, own.Info.Client, id)
	}
	equal(t, "frames", p.do(`return said.length`), "1")
	equal(t, "groups in which it alone is", p.do(`const all = await Promise.all(groups.map(group => group.presence()));
		return all.filter(({clients}) => Object.keys(clients).join() === `+quote(id)+`).length`), fmt.Sprint(groups))
	p.do(`client.disconnect()`)
	s.hasMembers(0)
	p.do(`client.connect()`)
	id = p.take("another connect", func(step nodeStep) bool { return step.Step == "connected" && step.Client != id }).Client
	for i := range groups {
		equal(t, "recovered", p.inChannel(fmt.Sprintf("room %d", i)).Recovered, true)
		equal(t, "who comes", p.comes(), id)
	}
	p.do("")
	equal(t, "further comings and goings", p.untaken("join")+p.untaken("leave"), 0)
}

func TestACentrifugePageThatAsksInOneBreathWithItsJoinAsksAsAMember(t *testing.T) {
	t.Parallel()
	s := start(t, "--presence", "on", "--history", "10")
	p := openNodePage(t, s.addr)
	id := p.listens("room", "{}")
	for i := range 50 {
		equal(t, "how many are there, and who", p.do(`const name = "room `+fmt.Sprint(i)+`", group = client.newSubscription(name);
			for (let i = 0; i < 10; i++) { group.subscribe(); group.unsubscribe(); }
			group.subscribe();
			const [{numClients}, {clients}] = await Promise.all([client.presenceStats(name), client.presence(name)]);
			return numClients + " " + Object.keys(clients)`), quote("1 "+id))
	}
	equal(t, "reconnects", p.untaken("connecting"), 0)
}

func TestACentrifugePageMayHavePingsOfWebSocket(t *testing.T) {
	t.Parallel()
	s := start(t, "--heartbeat", "5s", "--presence", "on")
	p := openNodePage(t, s.addr)
	p.do(`url += "?cf_ws_frame_ping_pong=true"`)
	id := p.listensToAll("room")
	equal(t, "ping and pong", p.do(`const {ping, pong} = JSON.parse(heard[0].split("\n")[0]).connect; return [ping, pong]`), "[null,null]")
	s.eventually("three pings have come", func() error { // later than two heartbeats: so the answers count
		if got := p.do(`return WebSocket.pings >= 3`); got != "true" {
			return fmt.Errorf("got %s", p.do(`return WebSocket.pings`))
		}
		return nil
	})
	equal(t, "closed as silent", s.status().Total.HeartbeatClosed, 0)
	equal(t, "pings of the protocol", p.do(`return heard.filter(frame => frame === "{}").length`), "0")
	p.sees("group", id)
	p.hears(dial(t, s), "room", "still here")
	equal(t, "reconnects", p.untaken("connecting"), 0)
}

func TestBrowserPageSeesWhoIsThereAndWhoComesAndGoes(t *testing.T) {
	t.Parallel()
	pages := serveCentrifuge(t, `<script>const news = [];
		function say(step, about) { if (["subscribed", "join", "leave", "publication"].includes(step)) news.push(step + " " + (about.info?.client ?? "")); }</script>
		<script src="{centrifuge-js}"></script><script src="/page.js"></script>`)
	s := start(t, "--presence", "on")
	own := &tab{t, browser(t)}
	do(t, own.ctx, "navigate", chromedp.Navigate(pages.URL))
	seed := own.window()
	do(t, seed.ctx, "navigate", chromedp.Navigate("http://"+s.addr+"/"))
	own.js("subscribe", `id = ""; client = newClient("ws://`+s.addr+centrifugePath+`"); client.on("connected", about => id = about.client);
		group = listen(client, "123", {joinLeave: true}); client.connect()`)
	own.until(`news.join() === "subscribed ,join " + id`)
	own.js("ask", `there = ""; ask = () => group.presence().then(({clients}) => there = Object.keys(clients).sort().join()); ask()`)
	own.until(`there === id`)

	seed.js("join", strings.ReplaceAll(consoleLines, "1234", port(s.addr)))
	own.until(`news.length === 4 && /^join [0-9a-f-]{36}$/.test(news[2]) && news[3] === "publication "`)
	own.js("ask", `ask()`)
	own.until(`there === [id, news[2].slice(5)].sort().join()`)
	seed.js("go to another page", `location = "about:blank"`)
	own.until(`news.length === 5 && news[4] === "leave " + news[2].slice(5)`)
	own.js("ask", `ask()`)
	own.until(`there === id`)
}

func TestBrowserPageIsPresentInManyGroupsAndIsPingedByWebSocket(t *testing.T) {
	t.Parallel()
	pages := serveCentrifuge(t, `<script>const steps = {}, codes = [];
		function say(step) { steps[step] = (steps[step] ?? 0) + 1; }</script><script src="{centrifuge-js}"></script><script src="/page.js"></script>`)
	s, _ := configured(t, `{"heartbeat": "5s", "presence": true, "groups": [{"match": "dark", "presence": false}]}`)
	v := &tab{t, browser(t)}
	do(t, v.ctx, "navigate", chromedp.Navigate(pages.URL))
	v.js("subscribe", `client = newClient("ws://`+s.addr+webSocketPings+`"); groups = [];
		for (let i = 0; i < 140; i++) groups.push(listen(client, "room " + i, {joinLeave: true}));
		dark = listen(client, "dark", {joinLeave: true}); client.connect()`)
	v.until(`steps.subscribed === 141 && steps.join === 140`)
	v.js("ask", `alone = 0; for (const group of groups) group.presence().then(({clients}) => alone += Object.keys(clients).length);
		for (const ask of [dark.presence(), client.presence("elsewhere"), client.presenceStats("elsewhere")]) ask.catch(error => codes.push(error.code))`)
	v.until(`alone === 140 && codes.sort().join() === "103,103,108"`)
	s.eventually("three pings were sent", func() error { // later than two heartbeats: so the answers count
		if got := s.status().Total.Pings; got < 3 {
			return fmt.Errorf("got %d", got)
		}
		return nil
	})
	equal(t, "closed as silent", s.status().Total.HeartbeatClosed, 0)
	v.until(`steps.connecting === 1 && steps.connected === 1 && steps.join === 140 && !steps.leave`)
}
