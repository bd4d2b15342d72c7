package test

import (
	"fmt"
	"os"
	"strconv"
	"syscall"
	"testing"
)

// These tests run centrifuge-js in Node against groups that have a history.

// saidWhileAway has a plain client say messages of a name, counted from 1, each after the one before it was accepted.
func saidWhileAway(t *testing.T, from *client, group, name string, n int) (texts []string) {
	t.Helper()
	for i := range n {
		texts = append(texts, fmt.Sprintf("%s %d", name, i+1))
		must1(t, from.askOK)(sendCommand(group, texts[i]))
	}
	return texts
}

// hearsAll checks that messages come in order, and before any other.
func (p *nodePage) hearsAll(texts ...string) {
	p.t.Helper()
	for i, text := range texts {
		equal(p.t, fmt.Sprintf("message %d of %d", i+1, len(texts)), p.hear(), quote(text))
	}
}

// inChannel waits until the page is in a group, maybe again.
func (p *nodePage) inChannel(channel string) nodeStep {
	p.t.Helper()
	return p.take("subscribed to "+channel, func(step nodeStep) bool { return step.Step == "subscribed" && step.Channel == channel })
}

// listensWithHistory connects a client that is in a group and gives where the group stands.
func (p *nodePage) listensWithHistory(group, options string) streamPosition {
	p.t.Helper()
	p.do(`client = newClient(url, ` + options + `); group = listen(client, ` + quote(group) + `); client.connect()`)
	p.step("connecting")
	p.step("connected")
	in := p.inChannel(group)
	if !in.Recoverable || in.WasRecovering || in.Recovered || in.StreamPosition.Epoch == "" {
		p.t.Fatalf("the first time in the group: got %+v, want it recoverable and nothing recovered", in)
	}
	return in.StreamPosition
}

// away has the page's client go, for as long as f takes, and come again.
func (p *nodePage) away(f func()) {
	p.t.Helper()
	p.do(`client.disconnect()`)
	p.step("disconnected")
	f()
	p.do(`client.connect()`)
	p.step("connecting")
	p.step("connected")
}

func TestACentrifugePageThatWasCutOffHearsWhatItMissedOnceInOrderAndThenGoesOn(t *testing.T) {
	t.Parallel()
	for name, c := range cuts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, "--heartbeat", "1s", "--history", "100")
			proxy := startCutter(t, s.addr)
			p := openNodePage(t, proxy.Addr().String())
			first := p.listensWithHistory("room", "{maxServerPingDelay: 1000}")
			p.hears(dial(t, s), "room", "before")
			all := 1
			for life, missed := range []int{20, 0, 1} {
				proxy.door.Lock()
				proxy.each(c.cut)
				texts := saidWhileAway(t, dial(t, s), "room", fmt.Sprintf("missed in life %d:", life), missed)
				proxy.door.Unlock()
				equal(t, "code", p.step("connecting").Code, c.code)
				p.step("connected")
				in := p.inChannel("room")
				equal(t, "asked for what it missed", in.WasRecovering, true)
				equal(t, "recovered", in.Recovered, true)
				equal(t, "from where", in.StreamPosition, streamPosition{all, first.Epoch})
				live := saidWhileAway(t, dial(t, s), "room", fmt.Sprintf("live in life %d:", life), 5)
				p.hearsAll(append(texts, live...)...)
				all += missed + len(live)
			}
			p.do("")
			equal(t, "further messages", p.untaken("publication"), 0)
			equal(t, "ended subscriptions", p.untaken("unsubscribed"), 0)
		})
	}
}

func TestACentrifugePageThatMissedTooMuchIsToldSoAndGetsNothingOld(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"more than is kept":             {"--history", "5"},
		"more than a recovery may have": {"--history", "100", "--recovery-max", "5"},
		"more than may wait for it":     {"--history", "100", "--outbox-max", "64KiB"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, args...)
			proxy := startCutter(t, s.addr)
			p := openNodePage(t, proxy.Addr().String())
			first := p.listensWithHistory("room", "{}")
			p.do(`group.on("subscribed", about => { if (about.wasRecovering && !about.recovered) say("loads anew", about) })`)
			p.hears(dial(t, s), "room", "before")
			proxy.door.Lock()
			proxy.each(cuts["by a reset"].cut)
			long := fmt.Sprintf("%02000d missed:", 0)
			saidWhileAway(t, dial(t, s), "room", long, 20)
			proxy.door.Unlock()
			in := p.inChannel("room")
			equal(t, "asked for what it missed", in.WasRecovering, true)
			equal(t, "recovered", in.Recovered, false)
			equal(t, "where the group stands", in.StreamPosition, streamPosition{21, first.Epoch})
			p.step("loads anew")
			p.hears(dial(t, s), "room", "after")

			// From there on it is as before.
			var missed []string
			p.away(func() { missed = saidWhileAway(t, dial(t, s), "room", "few:", 3) })
			in = p.inChannel("room")
			equal(t, "recovered", in.Recovered, true)
			p.hearsAll(missed...)
			p.do("")
			equal(t, "further messages", p.untaken("publication"), 0)
		})
	}
}

// As many messages are said after the restart as before, so it is the epoch alone that tells. With one loop the group has one home for
// certain, before and after.
func TestACentrifugePageIsToldThatARestartHasForgottenWhatWasSaid(t *testing.T) {
	t.Parallel()
	args := []string{"--history", "100", "--loops", "1", "--listen", freeAddr(t)}
	s := start(t, args...)
	proxy := startCutter(t, s.addr)
	p := openNodePage(t, proxy.Addr().String())
	first := p.listensWithHistory("room", "{maxReconnectDelay: 1000}")
	p.hearsAll(saidWhileAway(t, dial(t, s), "room", "before the restart", 3)...)
	proxy.door.Lock()
	s.signal(os.Interrupt)
	equal(t, "exit status", s.exit(), 0)
	again := startWith(t, starting{args: args})
	saidWhileAway(t, dial(t, again), "room", "unheard", 3)
	proxy.door.Unlock()
	p.step("connected")
	in := p.inChannel("room")
	equal(t, "asked for what it missed", in.WasRecovering, true)
	equal(t, "recovered", in.Recovered, false)
	equal(t, "offset", in.StreamPosition.Offset, 3)
	if epoch := in.StreamPosition.Epoch; epoch == "" || epoch == first.Epoch {
		t.Fatalf("epoch: got %q, want another than %q", epoch, first.Epoch)
	}
	p.hears(dial(t, again), "room", "after the restart")
	var missed []string
	p.away(func() { missed = saidWhileAway(t, dial(t, again), "room", "missed", 3) })
	equal(t, "recovered", p.inChannel("room").Recovered, true)
	p.hearsAll(missed...)
}

func TestACentrifugePageReadsAGroupsHistory(t *testing.T) {
	t.Parallel()
	s, _ := configured(t, `{"history": 5, "recovery-max": 3, "groups": [{"match": "log:*", "history": "off"}]}`)
	p := openNodePage(t, s.addr)
	at := p.listensWithHistory("room", "{}")
	p.do(`none = listen(client, "log:1")`)
	if in := p.inChannel("log:1"); in.Recoverable || in.StreamPosition != (streamPosition{}) {
		t.Fatalf("in a group without history: got %+v, want no position", in)
	}
	p.do(`epoch = ` + quote(at.Epoch))
	p.do(`read = async about => { const {publications, offset, epoch} = await group.history(about);
		return publications.map(p => p.data + "@" + p.offset).join(" ") + " of " + offset + " " + epoch }`)
	c := dial(t, s)
	for i := range 5 {
		must1(t, c.askOK)(sendCommand("room", strconv.Itoa(i+1)))
	}
	p.do(`await group.publish("6")`)
	for _, read := range []struct{ about, want string }{
		{`{}`, ""},
		{`{limit: 0}`, ""},
		{`{limit: 2}`, "2@2 3@3"},
		{`{limit: -1}`, "2@2 3@3 4@4"}, // as many as one reply may have
		{`{limit: -1, since: {offset: 4, epoch}}`, "5@5 6@6"},
		{`{limit: -1, since: {offset: 1, epoch}}`, "2@2 3@3 4@4"},
		{`{limit: 1, since: {offset: 4, epoch: ""}}`, "5@5"},
		{`{limit: -1, since: {offset: 6, epoch}}`, ""},
		{`{limit: 2, reverse: true}`, "6@6 5@5"},
		{`{limit: -1, reverse: true}`, "6@6 5@5 4@4"},
		{`{limit: 2, reverse: true, since: {offset: 4, epoch}}`, "3@3 2@2"},
		{`{limit: 2, reverse: true, since: {offset: 2, epoch}}`, ""},
	} {
		equal(t, read.about, p.do(`return read(`+read.about+`)`), quote(read.want+" of 6 "+at.Epoch))
	}
	equal(t, "page by page", p.do(`const all = []; for (let since = {offset: 1, epoch}; ;) {
		const {publications} = await group.history({limit: -1, since});
		if (publications.length === 0) return all.join(" ");
		for (const p of publications) { all.push(p.data); since = {offset: p.offset, epoch} } }`), `"2 3 4 5 6"`)
	equal(t, "who has said them", p.do(`const {publications} = await group.history({limit: 2, reverse: true});
		return publications.map(p => p.info?.client === undefined ? "plain" : p.info.client.length).join(" ")`), `"36 plain"`)
	for script, code := range map[string]int{
		`await group.history({limit: -1, since: {offset: 4, epoch: "another"}})`:                112,
		`await group.history({limit: -1, since: {offset: 4, epoch: "another"}, reverse: true})`: 112,
		`await group.history({limit: -1, since: {offset: 0, epoch}})`:                           112, // kept no more
		`await none.history({limit: 1})`:                                                        108,
		`await client.history("elsewhere", {limit: 1})`:                                         103,
	} {
		end := p.run(script)
		if end.Step != "failed" || end.Code != code || end.Reason == "" {
			t.Errorf("%s: got %s with %d %q, want it refused with %d and a reason", script, end.Step, end.Code, end.Reason, code)
		}
	}
	equal(t, "reconnects", p.untaken("connecting"), 0)
}

func TestAKindGivesItsGroupsHistoryAndAReloadTakesItAwayAndClosesNobody(t *testing.T) {
	t.Parallel()
	const with, without = `{"groups": [{"match": "chat:*", "history": 100}]}`, `{}`
	s, write := configured(t, with)
	p := openNodePage(t, s.addr)
	first := p.listensWithHistory("chat:1", "{}")
	p.do(`other = listen(client, "news")`)
	equal(t, "recoverable, of another kind", p.inChannel("news").Recoverable, false)
	c := dial(t, s)
	var missed []string
	p.away(func() {
		missed = saidWhileAway(t, c, "chat:1", "missed", 3)
		saidWhileAway(t, c, "news", "missed for good", 3)
	})
	equal(t, "recovered", p.inChannel("chat:1").Recovered, true)
	if in := p.inChannel("news"); in.WasRecovering || in.Recovered || in.Recoverable {
		t.Fatalf("in a group without history: got %+v, want nothing recovered", in)
	}
	p.hearsAll(missed...)
	p.hears(c, "news", "live")

	write(without)
	equal(t, "exit status of the reload", run("reload", "--run-dir", s.dir).exit, 0)
	p.hears(c, "chat:1", "after the reload")
	p.do("")
	equal(t, "reconnects", p.untaken("connecting")+p.untaken("disconnected"), 0)
	end := p.run(`await group.history({limit: 1})`)
	equal(t, "code of a history", end.Code, 108)
	p.away(func() { saidWhileAway(t, c, "chat:1", "missed for good", 3) })
	if in := p.inChannel("chat:1"); !in.WasRecovering || in.Recovered || in.Recoverable {
		t.Fatalf("after the reload: got %+v, want that it cannot be recovered any more", in)
	}
	p.inChannel("news")
	p.hears(c, "chat:1", "live")

	write(with)
	must(t, syscall.Kill(s.pid, syscall.SIGHUP))
	s.eventually("groups have history again", func() error {
		var got string
		p.away(func() {})
		in := p.inChannel("chat:1")
		p.inChannel("news")
		if got = in.StreamPosition.Epoch; !in.Recoverable || got == first.Epoch {
			return fmt.Errorf("got recoverable %v, epoch %q", in.Recoverable, got)
		}
		return nil
	})
	p.away(func() { missed = saidWhileAway(t, c, "chat:1", "missed again", 3) })
	equal(t, "recovered", p.inChannel("chat:1").Recovered, true)
	p.hearsAll(missed...)
	p.do("")
	equal(t, "further messages", p.untaken("publication"), 0)
	equal(t, "ended subscriptions", p.untaken("unsubscribed"), 0)
}
