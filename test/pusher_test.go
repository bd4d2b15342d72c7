package test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// These tests run the real thing against ringcast: pusher-js and laravel-echo as pages have them, and pusher as backends in Node have it.
// What a page does is said in JavaScript here, and judged here; the folder pusher has what is around it.

const (
	pusherID     = "3"
	pusherKey    = "app-key"
	pusherSecret = "b3f1c8f2a1d94d0c9f0e9a6f52a7c0de"
	pusherApp    = pusherID + ":" + pusherKey + ":" + pusherSecret
	pusherPath   = "/app/" + pusherKey + "?protocol=7&client=js&version=8.6.0&flash=false"
)

// masterKey is that of the encrypted channels, which only pages and backends have.
const masterKey = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="

// startPusher starts a server with an app.
func startPusher(t testing.TB, args ...string) *server {
	t.Helper()
	return start(t, append([]string{"--pusher", pusherApp}, args...)...)
}

// pusherPage is a page in Node with any number of clients, each a variable of the name of its tab. Beside it there are a backend, as backend,
// and what an application does for its pages.
type pusherPage struct{ *nodePage }

func openPusherPage(t *testing.T, addr string, env ...string) *pusherPage {
	t.Helper()
	npmPackage(t, "pusher", "pusher-js")
	p := &pusherPage{startNode(t, "pusher", env...)}
	p.connectTo(addr)
	p.do(fmt.Sprintf(`key = %q; backend = newBackend(); authority = await laravel(backend);
		function newBackend(options) {
			return new Backend({appId: %q, key: %q, secret: %q, host: "127.0.0.1", port: %s, useTLS: false, encryptionMasterKeyBase64: %q, ...options});
		}
		globalThis.newBackend = newBackend`, pusherKey, pusherID, pusherKey, pusherSecret, port(addr), masterKey))
	return p
}

// connectTo says where clients connect from now on, as the options of Laravel's page for Reverb do.
func (p *pusherPage) connectTo(addr string) {
	p.t.Helper()
	p.do(fmt.Sprintf(`where = {wsHost: "127.0.0.1", wsPort: %s, wssPort: %[1]s, forceTLS: false, enabledTransports: ["ws", "wss"], cluster: ""}`, port(addr)))
}

// open makes a client and does not wait. as is who the application takes it for, "" for nobody.
func (p *pusherPage) open(tab, as, options string) {
	p.t.Helper()
	p.do(fmt.Sprintf(`%s = newPusher(%q, %q, %s)`, tab, tab, as, options))
}

// connect makes a client and gives the id of its socket.
func (p *pusherPage) connect(tab, as string) (id string) {
	p.t.Helper()
	p.open(tab, as, "{}")
	return p.of(tab, "", "connected").Client
}

// of waits for a step of a tab: of the connection if channel is empty.
func (p *pusherPage) of(tab, channel, step string) nodeStep {
	p.t.Helper()
	return p.take(fmt.Sprintf("%s of %s %s", step, tab, channel), func(s nodeStep) bool {
		return s.Tab == tab && s.Channel == channel && s.Step == step
	})
}

// has says how many such steps were not taken.
func (p *pusherPage) has(tab, channel, step string) (n int) {
	for _, s := range p.early {
		if s.Tab == tab && s.Channel == channel && s.Step == step {
			n++
		}
	}
	return n
}

// ask subscribes, and subscribe waits for the answer too and gives what it has.
func (p *pusherPage) ask(tab, channel string) {
	p.t.Helper()
	p.do(fmt.Sprintf(`listen(%s, %q, %s)`, tab, tab, quote(channel)))
}

func (p *pusherPage) subscribe(tab, channel string) (data string) {
	p.t.Helper()
	p.ask(tab, channel)
	return string(p.of(tab, channel, "pusher:subscription_succeeded").Data)
}

// hears checks that what a backend triggers reaches tabs, and nothing else does that is in the order of the channel before it.
func (p *pusherPage) hears(channel, text string, tabs ...string) {
	p.t.Helper()
	p.do(fmt.Sprintf(`await backend.trigger(%s, "heard", %s)`, quote(channel), quote(text)))
	for _, tab := range tabs {
		equal(p.t, "heard by "+tab, string(p.of(tab, channel, "heard").Data), quote(text))
	}
	p.do("")
}

// pusherFrame is a frame of the server.
type pusherFrame struct {
	Event   string          `json:"event"`
	Channel string          `json:"channel"`
	Data    json.RawMessage `json:"data"`
	UserID  string          `json:"user_id"`
}

// pusherSign signs as an application does.
func pusherSign(text string) string {
	sum := hmac.New(sha256.New, []byte(pusherSecret))
	sum.Write([]byte(text))
	return pusherKey + ":" + hex.EncodeToString(sum.Sum(nil))
}

// pusherSubscribe is the frame by which the client of a socket subscribes, signed. data is "" where there is none.
func pusherSubscribe(socket, channel, data string) string {
	if data == "" {
		return fmt.Sprintf(`{"event":"pusher:subscribe","data":{"auth":"%s","channel":%s}}`, pusherSign(socket+":"+channel), quote(channel))
	}
	return fmt.Sprintf(`{"event":"pusher:subscribe","data":{"auth":"%s","channel":%s,"channel_data":%s}}`,
		pusherSign(socket+":"+channel+":"+data), quote(channel), quote(data))
}

// dialPusher is a client of the test's own, which may say what no library would, and the id of its socket.
func dialPusher(t testing.TB, addr string, d ...dialing) (c *client, socket string) {
	t.Helper()
	how := append(d, dialing{})[0]
	if how.path == "" {
		how.path = pusherPath
	}
	c, err := open(addr, how)
	must(t, err)
	t.Cleanup(c.hangUp)
	text, err := c.next()
	must(t, err)
	greeting := regexp.MustCompile(`^{"event":"pusher:connection_established","data":"{\\"socket_id\\":\\"(\d+\.\d+)\\",\\"activity_timeout\\":120}"}$`).FindStringSubmatch(text)
	if greeting == nil {
		t.Fatalf("greeting: got %s", text)
	}
	return c, greeting[1]
}

// nextPusher reads the next frame.
func (c *client) nextPusher(t testing.TB) pusherFrame {
	t.Helper()
	text, err := c.next()
	must(t, err)
	var frame pusherFrame
	if err := json.Unmarshal([]byte(text), &frame); err != nil {
		t.Fatalf("frame %s: %v", text, err)
	}
	return frame
}

// expectPusher checks the next frame, whose data is a string; any if data is "*".
func (c *client) expectPusher(t testing.TB, event, channel, data string) {
	t.Helper()
	frame := c.nextPusher(t)
	var text string
	if len(frame.Data) > 0 {
		if err := json.Unmarshal(frame.Data, &text); err != nil {
			t.Fatalf("data of %s: got %s, want a string", frame.Event, frame.Data)
		}
	}
	if frame.Event != event || frame.Channel != channel || data != "*" && text != data {
		t.Fatalf("got %s of %q with %s, want %s of %q with %s", frame.Event, frame.Channel, text, event, channel, data)
	}
}

func TestAPusherPageConnectsSubscribesHearsAndLeaves(t *testing.T) {
	t.Parallel()
	s := startPusher(t)
	p := openPusherPage(t, s.addr)
	id := p.connect("a", "")
	if !regexp.MustCompile(`^\d+\.\d+$`).MatchString(id) {
		t.Errorf("socket id: got %q, want two numbers with a dot between", id)
	}
	equal(t, "seconds of silence before it pings", p.do(`return a.connection.activityTimeout`), "120000")
	equal(t, "subscription", p.subscribe("a", "news.2-x=@,;_A"), "{}")
	p.subscribe("a", "other")
	for said, heard := range map[string]string{`{a: [1, "é"]}`: `{"a":[1,"é"]}`, `"hi \u4f60"`: `"hi 你"`, `17`: `17`, `null`: `null`, `""`: `""`, `'{"b": 2}'`: `{"b":2}`, `'[1'`: `"[1"`} {
		p.do(`await backend.trigger("news.2-x=@,;_A", "App\\Events\\Said", ` + said + `)`)
		equal(t, said, string(p.of("a", "news.2-x=@,;_A", `App\Events\Said`).Data), heard)
	}
	p.do(`a.unsubscribe("news.2-x=@,;_A")`)
	s.hasMembers(1)
	p.do(`await backend.trigger(["news.2-x=@,;_A", "other"], "last", {})`)
	p.of("a", "other", "last")
	p.subscribe("a", "news.2-x=@,;_A")
	p.hears("news.2-x=@,;_A", "here again", "a")
	equal(t, "frames after it has left", p.do(`return a.frames.filter((frame) => frame.event === "last").length`), "1")
	p.do(`a.disconnect()`)
	p.of("a", "", "disconnected")
	s.hasMembers(0)
	equal(t, "reconnects", p.has("a", "", "connecting"), 0)
	equal(t, "errors", p.has("a", "", "error"), 0)
}

// What a backend says in data reaches members byte for byte, in a string.
func TestDataOfAPusherEventIsPassedAsItIs(t *testing.T) {
	t.Parallel()
	s := startPusher(t)
	p := openPusherPage(t, s.addr)
	c, _ := dialPusher(t, s.addr)
	must(t, c.text(`{"event":"pusher:subscribe","data":{"auth":"","channel":"news"}}`))
	c.expectPusher(t, "pusher_internal:subscription_succeeded", "news", "{}")
	for _, data := range []string{`{"a":1}`, `{ "a" : 1 ,"b":[ 1.50, 1e3 ]}`, `text`, ``, `"quoted"`, `{"half":`, "lines\nand\ttabs \"and\" \\", "\u2028 é 😀", `  {"spaces":1} `, `[]`, `0`} {
		p.do(`await backend.trigger("news", "ev", ` + quote(data) + `)`)
		c.expectPusher(t, "ev", "news", data)
	}
	c.expectNothing(t)
}

func TestAPusherPageIsToldWhatIsRefusedAndStays(t *testing.T) {
	t.Parallel()
	s := startPusher(t, "--client-groups-max", "4")
	p := openPusherPage(t, s.addr)
	p.connect("a", "ann")
	p.subscribe("a", "news")
	// Signed by another, and for another socket.
	p.do(`forger = await laravel(newBackend({secret: "another"})); [mine, authority] = [authority, forger]; b = newPusher("b", "bob"); authority = mine`)
	p.of("b", "", "connected")
	for _, channel := range []string{"private-a", "presence-a", "private-encrypted-a"} {
		p.ask("b", channel)
		p.isRefused("b", channel, "AuthError", 401)
	}
	p.do(`b.config.channelAuthorizer = ({channelName}, done) => done(null, backend.authorizeChannel(a.connection.socket_id, channelName))`)
	p.ask("b", "private-b")
	p.isRefused("b", "private-b", "AuthError", 401)
	p.do(`b.config.channelAuthorizer = (about, done) => done(null, {auth: "no"})`)
	p.ask("b", "private-c")
	p.isRefused("b", "private-c", "AuthError", 401)
	// What the application itself refuses is not asked of the server.
	p.ask("a", "private-x.forbidden")
	p.of("a", "private-x.forbidden", "pusher:subscription_error")
	// Beyond a limit.
	for _, channel := range []string{"private-1", "private-2", "3"} {
		p.subscribe("a", channel)
	}
	p.ask("a", "4")
	refused := p.of("a", "4", "pusher:subscription_error")
	if !strings.Contains(string(refused.Data), `"type":"LimitReached"`) {
		t.Errorf("a fifth channel: got %s, want LimitReached", refused.Data)
	}
	p.ask("b", "news")
	p.of("b", "news", "pusher:subscription_succeeded")
	p.hears("news", "still here", "a", "b")
	equal(t, "reconnects", p.has("a", "", "connecting")+p.has("b", "", "connecting"), 0)
}

func (p *pusherPage) isRefused(tab, channel, kind string, status int) {
	p.t.Helper()
	var about struct {
		Type, Error string
		Status      int
	}
	must(p.t, json.Unmarshal(p.of(tab, channel, "pusher:subscription_error").Data, &about))
	if about.Type != kind || about.Status != status || about.Error == "" {
		p.t.Errorf("%s of %s: got %+v, want %s %d with a sentence", channel, tab, about, kind, status)
	}
}

func TestAPusherPagePingsAndStays(t *testing.T) {
	t.Parallel()
	s := startPusher(t)
	p := openPusherPage(t, s.addr)
	p.open("a", "", "{activityTimeout: 300, pongTimeout: 20000}")
	p.of("a", "", "connected")
	p.subscribe("a", "news")
	s.eventually("three pings were answered", func() error {
		if got := p.do(`return a.frames.filter((frame) => frame.event === "pusher:pong").length >= 3`); got != "true" {
			return fmt.Errorf("got %s", p.do(`return a.frames.map((frame) => frame.event)`))
		}
		return nil
	})
	p.hears("news", "still here", "a")
	equal(t, "reconnects", p.has("a", "", "connecting"), 0)
}

func TestAPusherPageThatIsCutOffComesBackByItselfAndHears(t *testing.T) {
	t.Parallel()
	for name, c := range cuts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startPusher(t)
			proxy := startCutter(t, s.addr)
			p := openPusherPage(t, s.addr)
			p.connectTo(proxy.Addr().String())
			p.open("a", "ann", "{activityTimeout: 2000, pongTimeout: 2000}")
			id := p.of("a", "", "connected").Client
			for _, channel := range []string{"news", "private-a", "presence-a"} {
				p.subscribe("a", channel)
			}
			for life := range 2 {
				proxy.each(c.cut)
				p.of("a", "", "connecting")
				again := p.of("a", "", "connected").Client
				if again == id {
					t.Errorf("life %d: got the socket id of the one before", life)
				}
				id = again
				for _, channel := range []string{"news", "private-a", "presence-a"} {
					p.of("a", channel, "pusher:subscription_succeeded")
					p.hears(channel, fmt.Sprintf("after cut %d", life+1), "a")
				}
			}
			equal(t, "tries that were given up", p.has("a", "", "unavailable")+p.has("a", "", "disconnected"), 0)
		})
	}
}

// A restart tells pages to come back at once. With a socket that somebody keeps they wait in its queue, so none tries a second time,
// which would be 15 s later.
func TestAPusherPageIsBackAtOnceAfterARestartUnderLoad(t *testing.T) {
	t.Parallel()
	socket := handedIn(t, "tcp", "127.0.0.1:0")
	o := starting{dir: runDir(t), sockets: socket.files(), args: []string{"--pusher", pusherApp}}
	s := startWith(t, o)
	p := openPusherPage(t, socket.addr)
	tabs := []string{"a", "b", "c"}
	for _, tab := range tabs {
		p.connect(tab, "ann")
		p.subscribe(tab, "presence-room")
		p.do(fmt.Sprintf(`%[1]s.lives = [[]]; %[1]s.channel("presence-room").bind("n", (n) => %[1]s.lives.at(-1).push(n))
			.bind("pusher:subscription_succeeded", () => %[1]s.lives.push([]))`, tab))
	}
	// A backend triggers one behind the other and notes what was accepted, also while nobody serves.
	p.do(`accepted = []; over = false; load = (async () => {
		for (let n = 0; !over; n++) await backend.trigger("presence-room", "n", n).then(() => accepted.push(n), () => new Promise((again) => setTimeout(again, 50)));
	})(); 0`)
	manyHeard := func(life int) {
		t.Helper()
		s.eventually(fmt.Sprintf("all have heard many events in life %d", life), func() error {
			if got := p.do(fmt.Sprintf(`return [a, b, c].map((tab) => tab.lives[%d]?.length ?? 0)`, life)); p.do(`return [a, b, c].every((tab) => tab.lives.at(-1).length > 100)`) != "true" {
				return fmt.Errorf("got %s", got)
			}
			return nil
		})
	}
	manyHeard(0)
	s.signal(os.Interrupt)
	equal(t, "exit status", s.exit(), 0)
	s = startWith(t, o)
	for _, tab := range tabs {
		equal(t, tab+": code", p.of(tab, "", "error").Code, 4200)
		p.of(tab, "", "connected")
		p.of(tab, "presence-room", "pusher:subscription_succeeded")
	}
	manyHeard(1)
	p.do(`over = true; await load; last = accepted.at(-1)`)
	for _, tab := range tabs {
		s.eventually(tab+" has heard the last", func() error {
			if got := p.do(`return [` + tab + `.lives.at(-1).at(-1), last]`); p.do(`return `+tab+`.lives.at(-1).at(-1) === last`) != "true" {
				return fmt.Errorf("got %s", got)
			}
			return nil
		})
		// What was heard and not answered may be between: the connection of the backend ended too.
		equal(t, tab+": lives, each of all that was accepted, once and in order", p.do(fmt.Sprintf(`return %s.lives.map((heard) => {
			const known = heard.filter((n) => accepted.includes(n)), from = accepted.indexOf(known[0]);
			return known.every((n, i) => n === accepted[from + i]) && heard.every((n, i) => i === 0 || heard[i - 1] < n) && heard.length - known.length < 3;
		})`, tab)), "[true,true]")
		equal(t, tab+": tries that found nobody", p.has(tab, "", "unavailable")+p.has(tab, "", "disconnected"), 0)
	}
	s.hasMembers(3)
}

// Without such a socket pages are told to come back after a second, when the next server listens.
func TestAPusherPageIsBackAfterAnOrdinaryRestart(t *testing.T) {
	t.Parallel()
	o := starting{dir: runDir(t), args: []string{"--pusher", pusherApp, "--listen", freeAddr(t)}}
	s := startWith(t, o)
	p := openPusherPage(t, s.addr)
	p.connect("a", "ann")
	p.subscribe("a", "presence-room")
	o.verb = "restart"
	told := time.Now()
	next := launch(t, o)
	equal(t, "code", p.of("a", "", "error").Code, 4100)
	p.of("a", "", "connected")
	p.of("a", "presence-room", "pusher:subscription_succeeded")
	t.Logf("back %v after the command", time.Since(told).Round(100*time.Millisecond))
	p.hears("presence-room", "again", "a")
	equal(t, "exit status of the old server", s.exit(), 0)
	next.hasMembers(1)
}

// What is wrong with an address will be wrong next time: the code says so, and pages do not come back.
func TestAPusherPageOfAnUnknownAppDoesNotComeBack(t *testing.T) {
	t.Parallel()
	s := startPusher(t)
	p := openPusherPage(t, s.addr)
	p.do(`key = "nobody"`)
	p.open("a", "", "{}")
	equal(t, "code", p.of("a", "", "error").Code, 4001)
	p.of("a", "", "disconnected")
	p.do(`key = ` + quote(pusherKey))
	p.connect("b", "")
	equal(t, "further tries", p.has("a", "", "connecting")+p.has("a", "", "unavailable"), 0)
}

func TestAWrongAddressOfThePusherProtocolIsClosedWithoutAGreeting(t *testing.T) {
	t.Parallel()
	s := startPusher(t)
	for path, code := range map[string]int{
		"/app/nobody?protocol=7":                           4001,
		"/app/" + pusherKey:                                4008,
		"/app/" + pusherKey + "?client=js":                 4008,
		"/app/" + pusherKey + "?protocol=":                 4008,
		"/app/" + pusherKey + "?protocol=seven":            4006,
		"/app/" + pusherKey + "?protocol=7.5":              4006,
		"/app/" + pusherKey + "?protocol=4":                4007,
		"/app/" + pusherKey + "?protocol=8":                4007,
		"/app/" + pusherKey + "/more?protocol=7":           4005,
		"/app/?protocol=7":                                 4005,
		"/app/" + strings.Repeat("k", 300) + "?protocol=7": 4001,
	} {
		c, err := open(s.addr, dialing{path: path})
		must(t, err)
		e, err := c.read()
		c.hangUp()
		if path == "/app/"+pusherKey+"?protocol=" && e.code == 4006 {
			continue // no number either
		}
		if err != nil || e.op != ws.OpClose || e.code != code {
			t.Errorf("%.60s: got %+v, %v; want the close frame %d first", path, e, err, code)
		}
	}
	for _, version := range []string{"5", "6", "7"} {
		dialPusher(t, s.addr, dialing{path: "/app/" + pusherKey + "?protocol=" + version})
	}
}

// A reload changes apps as it changes limits: who is there stays, unless its app has gone.
func TestAReloadChangesAppsOfThePusherProtocol(t *testing.T) {
	t.Parallel()
	app := func(secret string) string { return pusherID + ":" + pusherKey + ":" + secret }
	s, write := configured(t, `{"pusher": ["`+app(pusherSecret)+`", "4:second:`+pusherSecret+`"]}`)
	p := openPusherPage(t, s.addr)
	p.connect("a", "ann")
	p.subscribe("a", "private-a")
	p.do(`key = "second"`)
	p.connect("b", "bob")
	write(`{"pusher": ["` + app("another secret of the app") + `"]}`)
	r := run("reload", "--run-dir", s.dir)
	if r.exit != 0 || strings.Contains(r.all(), pusherSecret) || strings.Contains(r.all(), "another secret") {
		t.Fatalf("reload: got %d %s, want it done and no secret told", r.exit, r.all())
	}
	equal(t, "code for who has lost its app", p.of("b", "", "error").Code, 4003)
	p.of("b", "", "disconnected")
	// Signatures by the old secret are good no more, of pages and of backends.
	p.ask("a", "private-b")
	p.isRefused("a", "private-b", "AuthError", 401)
	if end := p.run(`await backend.trigger("private-a", "ev", {})`); end.Code != 401 {
		t.Errorf("a trigger by the old secret: got %d %s, want 401", end.Code, end.Reason)
	}
	p.do(`backend = newBackend({secret: "another secret of the app"}); authority = await laravel(backend); a.config.channelAuthorizer = ({channelName, socketId}, done) => done(null, backend.authorizeChannel(socketId, channelName))`)
	p.subscribe("a", "private-c")
	p.hears("private-c", "by the new secret", "a")
	p.hears("private-a", "and there still", "a")
	equal(t, "reconnects", p.has("a", "", "connecting")+p.has("b", "", "connecting"), 0)
	if list := run("connections", "--run-dir", s.dir).stdout; !strings.Contains(list, "pusher") {
		t.Errorf("connections: got %s, want the protocol", list)
	}
	write(`{}`)
	equal(t, "exit status of a reload that takes all apps", run("reload", "--run-dir", s.dir).exit, 0)
	equal(t, "code", p.of("a", "", "error").Code, 4003)
}

// Where there is no app its path is like any other.
func TestWithoutAnAppItsPathIsLikeAnyOther(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := dial(t, s, dialing{path: pusherPath})
	c.expectError(t, `{"event":"pusher:ping"}`, "unknown_cmd")
	must(t, c.join("room"))
}

// Who is refused a place is let in and told, as pages would come back late after a 503.
func TestAPusherPageThatFindsTheServerFullComesIn(t *testing.T) {
	t.Parallel()
	s := startPusher(t, "--clients-max", "8")
	p := openPusherPage(t, s.addr)
	var all []*client
	for len(all) < 8 {
		all = append(all, dial(t, s))
	}
	p.open("a", "", "{}")
	for range 2 { // it goes on trying
		equal(t, "code", p.of("a", "", "error").Code, 4100)
	}
	if _, err := open(s.addr, dialing{}); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("a plain client: got %v, want 503", err)
	}
	all[0].hangUp()
	all[1].hangUp()
	p.of("a", "", "connected")
	p.subscribe("a", "news")
	p.hears("news", "in", "a")
	equal(t, "given up", p.has("a", "", "unavailable")+p.has("a", "", "disconnected"), 0)
}

func TestAPusherClientThatIsTooSlowOrAtAStopIsClosedSoThatItComesBack(t *testing.T) {
	t.Parallel()
	s := startPusher(t, "--outbox-max", "64KiB", "--api-key", apiKey)
	slow, _ := dialPusher(t, s.addr, dialing{readBytes: slowBytes})
	quick, _ := dialPusher(t, s.addr)
	must(t, slow.text(`{"event":"pusher:subscribe","data":{"auth":"","channel":"news"}}`))
	slow.expectPusher(t, "pusher_internal:subscription_succeeded", "news", "{}")
	data := quote(strings.Repeat("x", 32<<10))
	s.eventually("it was closed as too slow", func() error {
		s.asksAPI(t, "publish", `{"channel":"news","data":`+data+`}`)
		if s.status().Total.SlowClosed != 1 {
			return fmt.Errorf("got %+v", s.status().Total)
		}
		return nil
	})
	code, err := slow.closeCode()
	if code != 4100 {
		t.Errorf("too slow: got close %d, %v; want 4100", code, err)
	}
	must(t, quick.text(`{"event":"pusher:ping","data":{}}`))
	quick.expectPusher(t, "pusher:pong", "", "{}")
	s.signal(os.Interrupt)
	quick.expectClose(t, 4100) // nobody keeps the socket: at once would be too early, and then it waits for 15 s
	equal(t, "exit status", s.exit(), 0)
}

// A plain port has to refuse TLS at once: pages try both.
func TestAPlainPortClosesATLSHello(t *testing.T) {
	t.Parallel()
	s := startPusher(t)
	c := bare(t, s)
	must(t, c.raw([]byte{0x16, 0x03, 0x01, 0x00, 0x05, 0x01, 0x00, 0x00, 0x01, 0x03})) // RFC 8446 §5.1
	_, err := c.discard()
	must(t, err)
	if l, err := net.Dial("tcp", s.addr); err != nil {
		t.Errorf("after it: %v", err)
	} else {
		l.Close()
	}
}

// A page subscribes to all its channels at once, and again after each connection: a rate below their number would never let it in for good.
func TestAPusherPageWithMoreChannelsThanTheRateComesIn(t *testing.T) {
	t.Parallel()
	s := startPusher(t, "--command-rate", "4")
	p := openPusherPage(t, s.addr)
	p.open("a", "ann", "{}")
	p.do(`for (let n = 0; n < 12; n++) listen(a, "a", "news-" + n)`)
	for n := range 12 {
		p.of("a", fmt.Sprint("news-", n), "pusher:subscription_succeeded")
	}
	s.hasMembers(12)
}
