package test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/gobwas/ws"
)

// These tests run the real thing against ringcast: centrifuge-js as npm has it, in Node and in a browser. What a page does is said
// in JavaScript here, and judged here; the folder centrifuge has what is around it.

const centrifugePath = "/connection/websocket"

// npmWanted says of each folder of npm packages whether tests may not be skipped for want of them. It is read before TestMain takes the
// variables away from the servers under test.
var npmWanted = map[string]bool{
	"centrifuge": os.Getenv("RINGCAST_CENTRIFUGE_JS") == "require",
	"pusher":     os.Getenv("RINGCAST_PUSHER_JS") == "require",
}

// npmPackage is the folder of an npm package, and its version, once all that its folder names are installed. Where they are not the test is
// skipped, unless RINGCAST_CENTRIFUGE_JS or RINGCAST_PUSHER_JS says require.
func npmPackage(t *testing.T, of, name string) (folder, version string) {
	t.Helper()
	missing := func(why string) {
		t.Helper()
		if npmWanted[of] {
			t.Fatalf("%s, and RINGCAST_%s_JS=require", why, strings.ToUpper(of))
		}
		t.Skip(why)
	}
	if _, err := exec.LookPath("node"); err != nil {
		missing("no node in the PATH")
	}
	var wanted struct{ Dependencies map[string]string }
	must(t, json.Unmarshal([]byte(document(t, "test/"+of+"/package.json")), &wanted))
	for each, version := range wanted.Dependencies {
		var is struct{ Version string }
		text, err := os.ReadFile(filepath.Join(of, "node_modules", each, "package.json"))
		if err == nil {
			err = json.Unmarshal(text, &is)
		}
		if err != nil || is.Version != version {
			missing(fmt.Sprintf("%s %s is not in test/%s/node_modules (%q, %v); `make %s-js` installs it", each, version, of, is.Version, err, of))
		}
	}
	return filepath.Join(of, "node_modules", name), wanted.Dependencies[name]
}

// centrifugePackage is the folder of centrifuge-js, and its version.
func centrifugePackage(t *testing.T) (folder, version string) {
	t.Helper()
	return npmPackage(t, "centrifuge", "centrifuge")
}

// nodePage is a page in Node that has npm packages. Its methods belong to the test's goroutine.
type nodePage struct {
	t     *testing.T
	in    io.Writer
	out   *output // standard error
	steps chan nodeStep
	early []nodeStep // those that came while another was waited for
}

// nodeStep is what a page says of one step of a script, of a client or of a subscription.
type nodeStep struct {
	Step    string          `json:"step"`
	Tab     string          `json:"tab"` // the client, where a page has several
	Channel string          `json:"channel"`
	Code    int             `json:"code"`
	Reason  string          `json:"reason"`
	Client  string          `json:"client"`
	Data    json.RawMessage `json:"data"`
	Value   json.RawMessage `json:"value"` // of a script
	Info    struct {
		Client string `json:"client"`
	} `json:"info"`
	Error struct {
		Code int `json:"code"`
	} `json:"error"`
	Recoverable    bool           `json:"recoverable"`
	WasRecovering  bool           `json:"wasRecovering"`
	Recovered      bool           `json:"recovered"`
	StreamPosition streamPosition `json:"streamPosition"`
}

type streamPosition struct {
	Offset int    `json:"offset"`
	Epoch  string `json:"epoch"`
}

// stepsMax is how many steps may wait to be taken. A page that makes more waits.
const stepsMax = 10_000

// openNodePage starts a page with centrifuge-js, whose scripts find the server's address as url.
func openNodePage(t *testing.T, addr string, env ...string) *nodePage {
	t.Helper()
	centrifugePackage(t)
	p := startNode(t, "centrifuge", env...)
	p.do("url = " + quote("ws://"+addr+centrifugePath))
	return p
}

// startNode starts the page of a folder, which has its npm packages. env is added to the environment.
func startNode(t *testing.T, folder string, env ...string) *nodePage {
	t.Helper()
	node := exec.Command("node", "node.js")
	node.Dir = folder
	node.Env = append(os.Environ(), env...)
	p := &nodePage{t: t, out: &output{}, steps: make(chan nodeStep, stepsMax)}
	node.Stderr = p.out
	in, err := node.StdinPipe()
	must(t, err)
	p.in = in
	lines, err := node.StdoutPipe()
	must(t, err)
	must(t, node.Start())
	over := make(chan struct{})
	go func() {
		defer close(over)
		defer close(p.steps)
		for in := bufio.NewReader(lines); ; {
			line, err := in.ReadBytes('\n')
			if err != nil {
				return
			}
			var step nodeStep
			if err := json.Unmarshal(line, &step); err != nil {
				step = nodeStep{Step: "no JSON", Reason: string(line)}
			}
			p.steps <- step
		}
	}()
	t.Cleanup(func() {
		in.Close()
		end := time.AfterFunc(patience, func() { node.Process.Kill() })
		defer end.Stop()
		<-over
		if err := node.Wait(); err != nil {
			t.Errorf("Node ended with %v: %s", err, p.out)
		}
	})
	return p
}

// take waits for a step and takes it out of those that have come.
func (p *nodePage) take(what string, is func(nodeStep) bool) nodeStep {
	p.t.Helper()
	if at := slices.IndexFunc(p.early, is); at >= 0 {
		step := p.early[at]
		p.early = slices.Delete(p.early, at, at+1)
		return step
	}
	for late := time.After(patience); ; {
		select {
		case step, more := <-p.steps:
			if !more {
				p.t.Fatalf("waiting for %s: Node has ended: %s", what, p.out)
			}
			if is(step) {
				return step
			}
			p.early = append(p.early, step)
		case <-late:
			p.t.Fatalf("waited for %s; there are only %s", what, p.rest())
		}
	}
}

// rest tells of the steps that have come and that nobody has taken.
func (p *nodePage) rest() string {
	var texts []string
	for _, step := range p.early {
		texts = append(texts, fmt.Sprintf("%s %s %s %d %s %s", step.Tab, step.Step, step.Channel, step.Code, step.Reason, step.Data))
	}
	return brief(texts)
}

// step waits for the next step of a name.
func (p *nodePage) step(name string) nodeStep {
	p.t.Helper()
	return p.take(name, func(step nodeStep) bool { return step.Step == name })
}

// untaken is how many steps of a name have come and were not taken, before the last script was done.
func (p *nodePage) untaken(name string) (n int) {
	for _, step := range p.early {
		if step.Step == name {
			n++
		}
	}
	return n
}

func (p *nodePage) run(script string) nodeStep {
	p.t.Helper()
	_, err := io.WriteString(p.in, quote(script)+"\n")
	must(p.t, err)
	return p.take("the end of "+script, func(step nodeStep) bool { return step.Step == "done" || step.Step == "failed" })
}

// do runs a script to its end and gives what it returns, as JSON.
func (p *nodePage) do(script string) string {
	p.t.Helper()
	end := p.run(script)
	if end.Step == "failed" {
		p.t.Fatalf("%s: failed with %d %q", script, end.Code, end.Reason)
	}
	return string(end.Value)
}

// hear waits for the next publication and gives its data, as JSON.
func (p *nodePage) hear() string {
	p.t.Helper()
	return string(p.step("publication").Data)
}

// listens connects a client that is in a group and gives its id.
func (p *nodePage) listens(group, options string) (id string) {
	p.t.Helper()
	p.do(`client = newClient(url, ` + options + `); group = listen(client, ` + quote(group) + `); client.connect()`)
	p.step("connecting")
	id = p.step("connected").Client
	p.step("subscribed")
	return id
}

// hears checks that what others publish reaches the page, once.
func (p *nodePage) hears(from *client, group, text string) {
	p.t.Helper()
	must1(p.t, from.askOK)(sendCommand(group, text))
	equal(p.t, "heard", p.hear(), quote(text))
}

func (s *server) hasMembers(n int64) {
	s.t.Helper()
	s.eventually(fmt.Sprintf("there are %d members", n), func() error {
		if got := s.status().Total.Members; got != n {
			return fmt.Errorf("got %d", got)
		}
		return nil
	})
}

func TestACentrifugePageJoinsSendsHearsCountsAndLeaves(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := openNodePage(t, s.addr)
	id := p.listens("組", "{}")
	p.do(`await group.publish({n: [1, "é"]})`)
	own := p.step("publication")
	equal(t, "data", string(own.Data), `{"n":[1,"é"]}`)
	equal(t, "who has said it", own.Info.Client, id)
	equal(t, "length of an id", len(id), 36)
	equal(t, "alone", p.do(`return client.presenceStats("組")`), `{"numClients":1}`)
	m := member(t, s, "組")
	equal(t, "with another", p.do(`return group.presenceStats()`), `{"numClients":2}`)

	// Nothing comes after the leave, on the wire either. A group has one order, so what follows shows that nothing is on its way.
	p.do(`group.unsubscribe()`)
	p.step("unsubscribed")
	s.hasMembers(1)
	must1(t, m.askOK)(sendCommand("組", "to those who are there"))
	p.do(`group.subscribe()`)
	p.step("subscribed")
	p.hears(m, "組", "to the page too")
	equal(t, "frames after the leave", p.do(`return heard.filter(frame => frame.includes("who are there")).length`), "0")

	p.do(`client.disconnect()`)
	p.step("disconnected")
	s.hasMembers(1)
	equal(t, "reconnects", p.untaken("connecting"), 0)
}

func TestCentrifugePagesAndPlainClientsHearEachOtherInOneOrder(t *testing.T) {
	t.Parallel()
	s := start(t)
	pages := []*nodePage{openNodePage(t, s.addr), openNodePage(t, s.addr)}
	plain := []*client{member(t, s, "room"), member(t, s, "room")}
	for _, p := range pages {
		p.listens("room", "{}")
	}
	// What each says is heard by all, each in its own form.
	for said, heard := range map[string]string{`"hi \u00e9"`: `"hi é"`, `{"a": 1}`: `{"a":1}`, `"{\"a\":1}"`: `"{\"a\":1}"`, `[1, null]`: `[1,null]`, `""`: `""`} {
		must1(t, plain[0].askOK)(`{"cmd":"send_to_group","group_id":"room","message":` + said + `}`)
		for _, p := range pages {
			equal(t, said+" of a plain client", p.hear(), heard)
		}
		for _, c := range plain {
			must1(t, c.collect)(1)
		}
	}
	for said, heard := range map[string]string{`"hi é"`: "hi é", `{a: [1, "b"]}`: `{"a":[1,"b"]}`, `'{"a":1}'`: `{"a":1}`, `17`: `17`, `null`: `null`} {
		pages[0].do(`await group.publish(` + said + `)`)
		for _, c := range plain {
			c.expect(t, heard)
		}
		for _, p := range pages {
			p.hear()
		}
	}
	// All at once.
	const each = 150
	var plainDone sync.WaitGroup
	failed := make(chan error, len(plain))
	for i, c := range plain {
		plainDone.Go(func() {
			for n := range each {
				if err := c.text(sendCommand("room", fmt.Sprintf("plain %d: %d", i, n))); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	for i, p := range pages {
		p.do(fmt.Sprintf(`for (let n = 0; n < %d; n++) group.publish("page %d: " + n).catch(error => say("refused", error))`, each, i))
	}
	plainDone.Wait()
	select {
	case err := <-failed:
		t.Fatal(err)
	default:
	}
	const all = 4 * each
	first := must1(t, plain[0].collect)(all)
	once := slices.Clone(first)
	slices.Sort(once)
	equal(t, "different messages", len(slices.Compact(once)), all)
	for from, next := range map[string]int{"plain 0": 0, "plain 1": 0, "page 0": 0, "page 1": 0} {
		for _, text := range first {
			if n, ours := strings.CutPrefix(text, from+": "); ours {
				equal(t, from, n, fmt.Sprint(next))
				next++
			}
		}
	}
	equalTexts(t, "the other plain client", must1(t, plain[1].collect)(all), first)
	for i, p := range pages {
		var texts []string
		for range all {
			var text string
			must(t, json.Unmarshal([]byte(p.hear()), &text))
			texts = append(texts, text)
		}
		equalTexts(t, fmt.Sprintf("page %d", i), texts, first)
		equal(t, "refused", p.untaken("refused"), 0)
	}
}

func TestACentrifugePageJoinsAllItsGroupsWithOneFrame(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := openNodePage(t, s.addr)
	const groups = 140
	p.do(fmt.Sprintf(`client = newClient(url); for (let i = 0; i < %d; i++) listen(client, "room " + i); client.connect()`, groups))
	for range groups {
		p.step("subscribed")
	}
	equal(t, "frames", p.do(`return said.length`), "1")
	equal(t, "commands in it", p.do(`return said[0].split("\n").length`), fmt.Sprint(1+groups))
	equal(t, "members", s.status().Total.Members, groups)
	m := dial(t, s)
	for _, i := range []int{0, 70, groups - 1} {
		p.hears(m, fmt.Sprintf("room %d", i), fmt.Sprintf("to %d", i))
	}
}

func TestACentrifugePageIsToldWhatIsRefusedAndStays(t *testing.T) {
	t.Parallel()
	s := start(t, "--client-groups-max", "2", "--members-max", "2")
	p := openNodePage(t, s.addr)
	p.listens("in", "{}")
	long := `"x".repeat(256)`
	for script, code := range map[string]int{
		`await group.presence()`:                     108,
		`await group.history({limit: 1})`:            108,
		`await client.rpc("method", {})`:             108,
		`await client.presenceStats("elsewhere")`:    103,
		`await client.publish(` + long + `, "data")`: 107,
		`client.newSubscription("in")`:               0, // by the library
	} {
		end := p.run(script)
		if end.Step != "failed" || end.Code != code || end.Reason == "" {
			t.Errorf("%s: got %s with %d %q, want it refused with %d and a reason", script, end.Step, end.Code, end.Reason, code)
		}
	}
	for range 2 {
		must(t, dial(t, s).join("full"))
	}
	for _, refused := range []struct {
		name string
		code int
	}{{long, 107}, {`"full"`, 106}} {
		p.do(`listen(client, ` + refused.name + `)`)
		equal(t, "code for "+refused.name, p.step("unsubscribed").Code, refused.code)
	}
	p.do(`listen(client, "second")`)
	p.step("subscribed")
	p.do(`listen(client, "third")`)
	equal(t, "code for the third group", p.step("unsubscribed").Code, 106)
	p.do(`await group.publish("still here")`)
	equal(t, "heard", p.hear(), `"still here"`)
	equal(t, "reconnects", p.untaken("connecting"), 0)
}

// A page that joins more groups at once than it may send commands is refused for the time being, and the library goes on by itself.
func TestACentrifugePageTriesAgainWhatIsRefusedForTheTimeBeing(t *testing.T) {
	t.Parallel()
	s := start(t, "--command-rate", "4")
	p := openNodePage(t, s.addr)
	const groups = 8
	p.do(fmt.Sprintf(`client = newClient(url); for (let i = 0; i < %d; i++) listen(client, "room " + i); client.connect()`, groups))
	equal(t, "code", p.step("subscription error").Error.Code, 111)
	for range groups {
		p.step("subscribed")
	}
	equal(t, "members", s.status().Total.Members, groups)
	p.step("connecting")
	equal(t, "reconnects", p.untaken("connecting"), 0)
	equal(t, "ended subscriptions", p.untaken("unsubscribed"), 0)
}

func TestACentrifugePageAnswersPingsAndComesBackWhenItCouldNot(t *testing.T) {
	t.Parallel()
	s := start(t, "--heartbeat", "5s") // a page that the machine holds up for longer is taken for gone
	p := openNodePage(t, s.addr)
	p.listens("room", "{}")
	equal(t, "ping and pong", p.do(`const {ping, pong} = JSON.parse(heard[0].split("\n")[0]).connect; return [ping, pong]`), "[5,true]")
	s.eventually("three pings have come and were answered", func() error {
		if got := p.do(`return Math.min(...[said, heard].map(frames => frames.filter(frame => frame === "{}").length)) >= 3`); got != "true" {
			return fmt.Errorf("got %s pings", p.do(`return heard.filter(frame => frame === "{}").length`))
		}
		return nil
	})
	equal(t, "closed as silent", s.status().Total.HeartbeatClosed, 0)
	equal(t, "reconnects", p.untaken("connecting"), 0)
	p.do(`WebSocket.mute = true`)
	equal(t, "code for the silent", p.step("connecting").Code, 3012)
	p.do(`WebSocket.mute = false`)
	p.step("connected")
	p.step("subscribed")
	p.hears(dial(t, s), "room", "after all")
	equal(t, "closed as silent", s.status().Total.HeartbeatClosed, 1)
}

// cutter is a proxy that can cut what goes through it.
type cutter struct {
	net.Listener
	door  sync.Mutex    // who holds it lets nobody through anew
	said  chan struct{} // has something soon after a client has said something, if somebody takes it
	mu    sync.Mutex
	pairs []*cutPair
}

// cutPair is a connection through it. Once frozen nothing that it is sent arrives.
type cutPair struct {
	ends   [2]*net.TCPConn
	frozen atomic.Bool
	over   bool // it was cut at random
}

func (c *cutPair) pass(from, to *net.TCPConn, said chan<- struct{}) {
	defer func() {
		if !c.frozen.Load() {
			to.CloseWrite()
		}
	}()
	for b := make([]byte, 32<<10); ; {
		n, err := from.Read(b)
		if err != nil {
			return
		}
		if !c.frozen.Load() {
			to.Write(b[:n]) // if it fails, the peer has gone and reading fails next
		}
		select {
		case said <- struct{}{}:
		default:
		}
	}
}

func startCutter(t *testing.T, to string) *cutter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	c := &cutter{Listener: l, said: make(chan struct{})}
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			c.door.Lock()
			out, err := net.Dial("tcp", to)
			c.door.Unlock()
			if err != nil {
				in.Close()
				continue
			}
			pair := &cutPair{ends: [2]*net.TCPConn{in.(*net.TCPConn), out.(*net.TCPConn)}}
			c.mu.Lock()
			c.pairs = append(c.pairs, pair)
			c.mu.Unlock()
			go pair.pass(pair.ends[0], pair.ends[1], c.said)
			go pair.pass(pair.ends[1], pair.ends[0], nil)
		}
	}()
	t.Cleanup(func() {
		l.Close()
		c.each(func(pair *cutPair) { pair.ends[0].Close(); pair.ends[1].Close() })
	})
	return c
}

// each does something to all connections that have come so far.
func (c *cutter) each(do func(*cutPair)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, pair := range c.pairs {
		do(pair)
	}
}

// cuts are the ways in which a connection ends unsaid.
var cuts = map[string]struct {
	cut  func(*cutPair)
	code int // why the library connects again: transport closed, no ping
}{
	"by a reset": {func(c *cutPair) {
		for _, end := range c.ends {
			end.SetLinger(0)
			end.Close()
		}
	}, 1},
	"by an end": {func(c *cutPair) {
		for _, end := range c.ends {
			end.Close()
		}
	}, 1},
	"by silence": {func(c *cutPair) { c.frozen.Store(true) }, 2},
}

func TestACentrifugePageThatIsCutOffComesBackByItselfAndHears(t *testing.T) {
	t.Parallel()
	for name, c := range cuts {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, "--heartbeat", "1s")
			proxy := startCutter(t, s.addr)
			p := openNodePage(t, proxy.Addr().String())
			p.listens("room", "{maxServerPingDelay: 1000}")
			p.hears(dial(t, s), "room", "before")
			for life := range 2 {
				proxy.each(c.cut)
				equal(t, "code", p.step("connecting").Code, c.code)
				p.step("connected")
				p.step("subscribed")
				s.hasMembers(1) // the server has noticed, too
				p.hears(dial(t, s), "room", fmt.Sprintf("after cut %d", life+1))
			}
			equal(t, "ended subscriptions", p.untaken("unsubscribed"), 0)
		})
	}
}

func TestACentrifugePageKeepsTryingUntilTheServerIsBack(t *testing.T) {
	t.Parallel()
	s := start(t, "--listen", freeAddr(t))
	p := openNodePage(t, s.addr)
	p.listens("room", "{}")
	s.signal(os.Interrupt)
	equal(t, "exit status", s.exit(), 0)
	told := p.step("connecting")
	equal(t, "code of the stop", told.Code, 3001)
	equal(t, "reason of the stop", told.Reason, "shutdown")
	for range 3 {
		p.step("error") // a try that failed
	}
	again := startWith(t, starting{args: []string{"--listen", s.addr}})
	p.step("connected")
	p.step("subscribed")
	p.hears(dial(t, again), "room", "after the restart")
	equal(t, "other ends", p.untaken("connecting")+p.untaken("disconnected")+p.untaken("unsubscribed"), 0)
}

// What will be wrong again next time ends a page for good: a code from 3500 on with a reason.
func TestACentrifugePageThatIsWrongDoesNotComeBack(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := openNodePage(t, s.addr)
	for _, wrong := range []struct {
		what, script string
		code         int
	}{
		{"a pong first", `WebSocket.instead = "{}"; client = newClient(url); client.connect()`, 3501},
		{"no JSON", `WebSocket.instead = "nonsense"; client = newClient(url); client.connect()`, 3501},
		{"a binary message", `WebSocket.instead = Buffer.from('{"id":1,"connect":{}}'); client = newClient(url); client.connect()`, 3501},
		{"protobuf", `WebSocket.instead = undefined; client = newClient(url, {protocol: "protobuf"}, Protobuf); client.connect()`, 3501},
		{"what cannot be answered", `client = newClient(url); client.connect(); await client.ready(); await client.send("data")`, 3508},
	} {
		p.do(wrong.script)
		end := p.step("disconnected")
		equal(t, "code for "+wrong.what, end.Code, wrong.code)
		equal(t, "state after "+wrong.what, p.do(`return client.state`), `"disconnected"`)
		if end.Reason == "" {
			t.Errorf("%s: got no reason", wrong.what)
		}
		p.step("connecting")
		equal(t, "further tries after "+wrong.what, p.untaken("connecting"), 0)
	}
	s.eventually("no client is left", func() error {
		if got := s.status().Total.Clients; got != 0 {
			return fmt.Errorf("got %d", got)
		}
		return nil
	})
}

func TestACentrifugeClientThatDoesNotConnectOrIsNotUnderstoodIsClosed(t *testing.T) {
	t.Parallel()
	hasty, s := start(t, "--handshake-timeout", "5s"), start(t, "--heartbeat", "1s")
	for what, want := range map[string]struct {
		to   *server
		op   ws.OpCode
		said string
		code int
	}{
		"nothing":          {hasty, ws.OpPing, "", 3502},
		"a pong":           {s, ws.OpText, "{}", 3501},
		"a binary message": {s, ws.OpBinary, `{"id":1,"connect":{}}`, 3501},
		"no pong":          {s, ws.OpText, `{"id":1,"connect":{}}`, 3012},
	} {
		c := dial(t, want.to, dialing{path: centrifugePath + "?format=json"})
		must(t, c.frame(want.op, true, want.said))
		if code, err := c.closeCode(); code != want.code {
			t.Errorf("%s: got %d, %v; want close %d", what, code, err, want.code)
		}
	}
}

// Many tools, and clients that are no SDK, answer WebSocket's pings by themselves and not the protocol's.
func TestACentrifugeToolMayHavePingsOfWebSocket(t *testing.T) {
	t.Parallel()
	s := start(t, "--heartbeat", "5s")
	c := dial(t, s, dialing{path: centrifugePath + "?cf_ws_frame_ping_pong=true"})
	must(t, c.text(`{"id":1,"connect":{"name":"tool"}}`))
	connected, err := c.next()
	must(t, err)
	if !regexp.MustCompile(`^{"id":1,"connect":{"client":"[0-9a-f-]{36}","version":"ringcast"}}$`).MatchString(connected) {
		t.Errorf("got the reply %s, want neither ping nor pong in it", connected)
	}
	for range 3 { // later than two heartbeats: so the answers count
		e, err := c.read()
		must(t, err)
		equal(t, "frame to the silent", e, event{op: ws.OpPing})
	}
	c.silent = true
	code, err := c.closeCode()
	must(t, err)
	equal(t, "code for who does not answer", code, 3012)
	equal(t, "closed as silent", s.status().Total.HeartbeatClosed, 1)
}

func TestWithoutTheCentrifugeProtocolItsPathIsLikeAnyOther(t *testing.T) {
	t.Parallel()
	s := start(t, "--centrifuge", "off")
	c := dial(t, s, dialing{path: centrifugePath})
	c.expectError(t, `{"connect":{}}`, "unknown_cmd")
	must(t, c.join("room"))
}

// serveCentrifuge serves pages: html, and centrifuge-js under the path that a CDN has it at.
func serveCentrifuge(t *testing.T, html string) *httptest.Server {
	t.Helper()
	folder, version := centrifugePackage(t)
	mux := http.NewServeMux()
	at := "/centrifuge@" + version + "/"
	mux.Handle(at, http.StripPrefix(at, http.FileServer(http.Dir(folder))))
	mux.HandleFunc("/page.js", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, filepath.Join("centrifuge", "page.js"))
	})
	mux.HandleFunc("/{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		io.WriteString(w, "<!doctype html>\n"+strings.ReplaceAll(html, "{centrifuge-js}", at+"dist/centrifuge.js"))
	})
	pages := httptest.NewServer(mux)
	t.Cleanup(pages.Close)
	return pages
}

func TestBrowserPagesOfBothProtocolsHearEachOtherInOneOrder(t *testing.T) {
	t.Parallel()
	pages := serveCentrifuge(t, `<script>const heard = [], steps = [];
		function say(step, about) { step === "publication" ? heard.push(about.data) : steps.push(step); }</script>
		<script src="{centrifuge-js}"></script><script src="/page.js"></script>`)
	s := start(t)
	own := &tab{t, browser(t)}
	do(t, own.ctx, "navigate", chromedp.Navigate(pages.URL))
	seed := own.window()
	do(t, seed.ctx, "navigate", chromedp.Navigate("http://"+s.addr+"/"))
	own.js("subscribe", `client = newClient("ws://`+s.addr+centrifugePath+`"); group = listen(client, "123"); client.connect()`)
	own.until(`steps.includes("subscribed")`)
	// The lines of the original, but for what is done with what is heard.
	seed.js("join", `heard = []; `+strings.ReplaceAll(strings.ReplaceAll(consoleLines, "1234", port(s.addr)), "console.log(data.data)", "heard.push(data.data)"))
	for _, v := range []*tab{own, seed} {
		v.until(`heard.length === 1 && heard[0] === ` + quote(consoleMessage))
	}
	const each = 100
	for range 2 { // alternately, so that neither is done before the other begins
		seed.js("send", fmt.Sprintf(`for (let n = 0; n < %d; n++) ws.send(JSON.stringify({cmd: "send_to_group", group_id: 123, message: "seed " + n}))`, each))
		own.js("publish", fmt.Sprintf(`for (let n = 0; n < %d; n++) group.publish("own " + n)`, each))
	}
	order := map[*tab]string{}
	for _, v := range []*tab{own, seed} {
		v.until(fmt.Sprintf(`heard.length === %d`, 1+4*each))
		order[v] = do(t, v.ctx, "read", chromedp.Evaluate[string](`heard.join("\n")`))
	}
	equal(t, "order in the seed's page", order[seed], order[own])
	for _, from := range []string{"seed ", "own "} {
		equal(t, "messages of "+from, strings.Count(order[own], from), 2*each)
	}
}

// README's page does what README says, but for the addresses, with a server that is started as README says.
func TestBrowserRunsThePageInReadme(t *testing.T) {
	t.Parallel()
	_, section, _ := strings.Cut(document(t, "README.md"), "\n## From a page, with a client library\n")
	section, _, _ = strings.Cut(section, "\n## ")
	html := regexp.MustCompile("(?s)```html\n(.*?)```").FindStringSubmatch(section)
	command := regexp.MustCompile("`go run \\. start (--.*)`").FindStringSubmatch(section)
	if html == nil || command == nil {
		t.Fatal("README.md: got no block of HTML, or no command that starts a server with flags, in the section of a page with a client library")
	}
	_, version := centrifugePackage(t)
	s := start(t, strings.Fields(command[1])...)
	proxy := startCutter(t, s.addr)
	page := html[1]
	for from, to := range map[string]string{"https://unpkg.com/centrifuge@" + version + "/dist/centrifuge.js": "{centrifuge-js}", "ws://127.0.0.1:1234/": "ws://" + proxy.Addr().String() + "/"} {
		if strings.Count(page, from) != 1 {
			t.Fatalf("README.md: want %s once in\n%s", from, page)
		}
		page = strings.Replace(page, from, to, 1)
	}
	pages := serveCentrifuge(t, `<script>const logged = [], listed = [];
		console.log = (text, more) => text === "here:" ? listed.push(more) : logged.push(text)</script>`+page)
	v := &tab{t, browser(t)}
	m := member(t, s, "123")
	do(t, v.ctx, "navigate", chromedp.Navigate(pages.URL))
	m.expect(t, "hello from a page")
	v.until(`logged.join() === "hello from a page" && listed.at(-1)?.length === 2`)
	must(t, m.leave("123"))
	v.until(`listed.at(-1).length === 1`)
	must(t, m.join("123"))
	v.until(`listed.at(-1).length === 2`)

	want := []string{"hello from a page"}
	for round, missed := range []int{3, 0, 101} {
		proxy.door.Lock()
		proxy.each(cuts["by a reset"].cut)
		s.hasMembers(1)
		texts := saidWhileAway(t, m, "123", fmt.Sprintf("missed in round %d:", round), missed)
		proxy.door.Unlock()
		s.hasMembers(2)
		if missed > 100 {
			texts = []string{"I have missed too much"}
		}
		want = append(append(want, texts...), consoleMessage)
		must1(t, m.askOK)(sendCommand("123", consoleMessage))
		v.until(`logged.join() === ` + quote(strings.Join(want, ",")))
	}
}
