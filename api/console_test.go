package api

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"ringcast/loop"
	"ringcast/web"
)

// watched is a fake hub that has groups, and nothing else.
type watched struct {
	*fakeHub
	Watched // nil: what is not asked here
	groups  []loop.GroupInfo
	asked   chan struct{}
	goOn    chan struct{}
}

func (h *watched) Snapshot() loop.Snapshot     { return h.snap }
func (h *watched) Histograms() loop.Histograms { return h.hists }

func (h *watched) EachGroup(_ context.Context, _ string, take func([]loop.GroupInfo) bool) error {
	if h.asked != nil {
		h.asked <- struct{}{}
		<-h.goOn
	}
	for i := 0; i < len(h.groups); i += 2 {
		take(h.groups[i:min(i+2, len(h.groups))])
	}
	return nil
}

func consoleConfig(h Watched) Config {
	cfg := config(h)
	cfg.Console = h
	return cfg
}

// Who may see the page and what it asks, by Host and by what browsers say of where a request comes from. What programs ask, such as
// Prometheus, is there for everybody as before.
func TestThePageIsForTheOperatorsBrowserAlone(t *testing.T) {
	cfg := consoleConfig(&watched{fakeHub: someHub()})
	cfg.Hosts = func() []string { return []string{"ringcast.internal"} }
	cfg.API = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { plain(w, 200, "api\n") })
	h := handler(tcp("127.0.0.1"), &Admin{ready: &readiness{hub: cfg.Hub, now: time.Now}, over: make(chan struct{})}, cfg)
	guarded := []string{"GET /", "GET /admin.js", "GET /admin.css", "GET /console/now", "GET /console/groups", "GET /console/tail?kind=x", "POST /api/publish", "POST /api"}
	open := []string{"GET /metrics", "GET /healthz", "GET /readyz", "GET /dashboard.json"}
	for _, c := range []struct {
		name, host string
		head       map[string]string
		may        bool
	}{
		{"loopback", "127.0.0.1:1235", nil, true},
		{"IPv6 loopback", "[::1]:1235", nil, true},
		{"IPv6 without a port", "[::1]", nil, true},
		{"localhost", "LocalHost:1235", nil, true},
		{"an address of the machine, or of a gateway before it", "192.0.2.7:80", nil, true},
		{"a name that was set", "ringcast.internal:1235", nil, true},
		{"likewise, as a whole name", "Ringcast.Internal.", nil, true},
		{"a stranger's name, by rebinding", "rebind.example.org:1235", nil, false},
		{"a name that begins like one that was set", "ringcast.internal.example.org", nil, false},
		{"a name that begins like an address", "127.0.0.1.example.org", nil, false},
		{"no name", "", nil, false},
		{"its own page", "localhost:1235", map[string]string{"Origin": "http://localhost:1235", "Sec-Fetch-Site": "same-origin"}, true},
		{"its own page behind TLS", "ringcast.internal", map[string]string{"Origin": "https://ringcast.internal"}, true},
		{"a page of another site", "localhost:1235", map[string]string{"Origin": "https://example.org"}, false},
		{"another port of this machine", "localhost:1235", map[string]string{"Origin": "http://localhost:8080", "Sec-Fetch-Site": "same-site"}, false},
		{"a page without an origin", "localhost:1235", map[string]string{"Origin": "null"}, false},
		{"not the web", "localhost:1235", map[string]string{"Origin": "ws://localhost:1235"}, false},
		{"an image on another site", "localhost:1235", map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}, false},
		{"typed by the operator", "localhost:1235", map[string]string{"Sec-Fetch-Site": "none"}, true},
	} {
		for _, path := range append(guarded, open...) {
			method, target, _ := strings.Cut(path, " ")
			r := httptest.NewRequest(method, target, nil)
			r.Host = c.host
			for name, value := range c.head {
				r.Header.Set(name, value)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			want := c.may || slices.Contains(open, path)
			if got := w.Code != http.StatusForbidden; got != want {
				t.Errorf("%s: %s: got status %d, want allowed %v", c.name, path, w.Code, want)
			}
		}
	}
	// A link from a wiki leads to the page, and to nothing else.
	for path, want := range map[string]int{"/": 200, "/console/now": 403, "/admin.js": 403} {
		r := httptest.NewRequest("GET", path, nil)
		r.Host = "localhost:1235"
		for name, value := range map[string]string{"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"} {
			r.Header.Set(name, value)
		}
		w := httptest.NewRecorder()
		if h.ServeHTTP(w, r); w.Code != want {
			t.Errorf("a link to %s: got %d, want %d", path, w.Code, want)
		}
	}
}

func TestThePageLoadsNothingFromElsewhereAndNothingInline(t *testing.T) {
	a := serve(t, consoleConfig(&watched{fakeHub: someHub()}))
	res, err := http.Get("http://" + a.addr + "/")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	for name, want := range map[string]string{
		"Content-Security-Policy": "default-src 'none'", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer",
	} {
		if got := res.Header.Get(name); !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	for _, want := range []string{"frame-ancestors 'none'", "script-src 'self';", "style-src 'self';", "base-uri 'none'", "form-action 'none'"} {
		if got := res.Header.Get("Content-Security-Policy"); !strings.Contains(got, want) {
			t.Errorf("Content-Security-Policy: got %q, want %q in it", got, want)
		}
	}
	page := string(web.AdminPage)
	for _, wrong := range []string{"<style", " style=", " onclick=", "<script>", "//cdn", "<iframe"} {
		if strings.Contains(page, wrong) {
			t.Errorf("the page has %q", wrong)
		}
	}
	for _, wrong := range []string{"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "localStorage", "sessionStorage"} {
		if strings.Contains(string(web.AdminScript), wrong) {
			t.Errorf("the script has %q: what clients say must come in as text, and a key must not be kept", wrong)
		}
	}
	for _, body := range [][]byte{web.AdminPage, web.AdminStyle, web.AdminScript} {
		for _, link := range regexp.MustCompile(`https?://[^"'\s)]+`).FindAllString(string(body), -1) {
			if link != "http://www.w3.org/2000/svg" {
				t.Errorf("the page names %s, want nothing from elsewhere", link)
			}
		}
	}
}

func TestThePageLeadsToEverything(t *testing.T) {
	a := serve(t, consoleConfig(&watched{fakeHub: someHub()}))
	_, page := get(t, a, "/")
	links := regexp.MustCompile(`(?:href|src)="(/?[a-z][^":]*)"`).FindAllStringSubmatch(page, -1)
	if len(links) < 7 {
		t.Errorf("links on the page: got %v, want seven", links)
	}
	for _, link := range links {
		if status, _ := get(t, a, "/"+strings.TrimPrefix(link[1], "/")); status != 200 {
			t.Errorf("%s: got %d, want 200", link[1], status)
		}
	}
	for _, path := range []string{"/no-such", "/console/no-such", "/api/info"} {
		if status, _ := get(t, a, path); status != 404 {
			t.Errorf("%s: got %d, want 404", path, status)
		}
	}
	without := serve(t, config(someHub()))
	if status, _ := get(t, without, "/"); status != 404 {
		t.Errorf("without a page: got %d, want 404", status)
	}
}

func TestTheGroupsOfMostMembersAndOfMostMessagesComeFirst(t *testing.T) {
	h := &watched{fakeHub: someHub()}
	for i := range 200 {
		h.groups = append(h.groups, loop.GroupInfo{Name: fmt.Sprint("g", i), Members: i * 7 % 200, Offset: uint64(i)})
	}
	s := newRates(h)
	top := func(match string, byRate bool, most int) groupsAnswer {
		a, err := s.top(t.Context(), match, byRate, most)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	a := top("", false, 3)
	if len(a.Rows) != 3 || a.Rows[0].Members != 199 || a.Rows[1].Members != 198 || a.Rows[2].Members != 197 || a.Groups != 200 || a.Rated != 0 || a.Rows[0].Rate != nil {
		t.Errorf("by members: got %+v", a)
	}
	s.readings[1].at = s.readings[1].at.Add(-2 * time.Second)
	for i := range h.groups {
		h.groups[i].Offset += uint64((i * 13) % 200)
	}
	a = top("g*", true, 50)
	if len(a.Rows) != 50 || a.Rated != 200 {
		t.Fatalf("by rate: got %d rows of %d, want 50 of 200", len(a.Rows), a.Rated)
	}
	for i := 1; i < len(a.Rows); i++ {
		if *a.Rows[i].Rate > *a.Rows[i-1].Rate {
			t.Errorf("by rate: row %d has %v behind %v", i, *a.Rows[i].Rate, *a.Rows[i-1].Rate)
		}
	}
	if got := *a.Rows[0].Rate; got > 199./2 || got < 199./60 {
		t.Errorf("the highest rate: got %v, want 199 in two seconds or some more", got)
	}
	if a = top("g17", false, 50); len(a.Rows) != 1 || a.Groups != 1 || a.Members != 119 {
		t.Errorf("by name: got %+v", a)
	}
	if a = top("none*", false, 50); len(a.Rows) != 0 || a.Groups != 0 {
		t.Errorf("of no name: got %+v", a)
	}
	// One that has begun anew has no rate.
	h.groups = []loop.GroupInfo{{Name: "g199", Offset: 1}}
	if a = top("", true, 50); a.Rows[0].Rate != nil {
		t.Errorf("a group that has begun anew: got %v", *a.Rows[0].Rate)
	}
}

// Of so many groups numbers are remembered, and no more.
func TestRatesAreRememberedOfSoManyGroups(t *testing.T) {
	h := &watched{fakeHub: someHub(), groups: make([]loop.GroupInfo, ratedMax+10)}
	for i := range h.groups {
		h.groups[i].Name = fmt.Sprint(i)
	}
	s := newRates(h)
	if _, err := s.top(t.Context(), "", false, 1); err != nil || len(s.readings[1].offsets) != ratedMax {
		t.Errorf("got %d (%v), want %d", len(s.readings[1].offsets), err, ratedMax)
	}
}

func TestQuestionsBeyondTheBoundAreRefused(t *testing.T) {
	h := &watched{fakeHub: someHub(), asked: make(chan struct{}), goOn: make(chan struct{})}
	c := newConsole(consoleConfig(h), make(chan struct{}))
	c.rates.token = make(chan struct{}, questionsMax) // all walk at once
	statuses := make(chan int, questionsMax)
	ask := func() int {
		w := httptest.NewRecorder()
		c.question(c.groups).ServeHTTP(w, httptest.NewRequest("GET", "/console/groups", nil))
		return w.Code
	}
	for range questionsMax {
		go func() { statuses <- ask() }()
		<-h.asked
	}
	if got := ask(); got != 503 {
		t.Errorf("one more: got %d, want 503", got)
	}
	close(h.goOn)
	for range questionsMax {
		if got := <-statuses; got != 200 {
			t.Errorf("within the bound: got %d, want 200", got)
		}
	}
}

func TestWrongQuestionsAreToldWhatIsWrong(t *testing.T) {
	a := serve(t, consoleConfig(&watched{fakeHub: someHub()}))
	for path, want := range map[string]string{
		"groups?match=" + strings.Repeat("x", 256): "longer", "groups?most=many": "whole number", "group?name=" + strings.Repeat("x", 256): "longer",
		"group?from=-1": "whole number", "clients?most=x": "whole number", "why?group=g": "client is missing", "why?client=x": "whole number",
		"journal?kind=sneeze": "kind", "tail?kind=sneeze": "kind", "tail?client=1.5": "whole number",
	} {
		if status, body := get(t, a, "/console/"+path); status != 400 || !strings.Contains(body, want) {
			t.Errorf("%.40s: got %d %q, want 400 and %q", path, status, body, want)
		}
	}
}

// From here on a real hub, and clients with sockets.

// open starts a server and the page of it.
func open(t *testing.T, change func(*loop.Config)) (s *loop.Server, a served) {
	t.Helper()
	cfg := loop.Config{Loops: 2}
	if change != nil {
		change(&cfg)
	}
	s, err := loop.Start(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		s.Stop(ctx, nil)
	})
	return s, serve(t, consoleConfig(s.Hub()))
}

// talker is a plain client.
type talker struct {
	net.Conn
	in *bufio.Reader
}

func enter(t *testing.T, s *loop.Server) *talker {
	t.Helper()
	c, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(60 * time.Second))
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
	in := bufio.NewReader(c)
	if _, err := http.ReadResponse(in, nil); err != nil {
		t.Fatal(err)
	}
	return &talker{c, in}
}

// say sends a command of less than 64 KiB; with an id its answer is waited for.
func (c *talker) say(t *testing.T, command string) {
	t.Helper()
	frame := []byte{0x81, 0x80 | byte(len(command))}
	if len(command) > 125 {
		frame = binary.BigEndian.AppendUint16([]byte{0x81, 0x80 | 126}, uint16(len(command)))
	}
	frame = append(append(frame, 0, 0, 0, 0), command...)
	if _, err := c.Write(frame); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(command, `"id":`) {
		return
	}
	for head := []byte{0, 0}; ; {
		if _, err := io.ReadFull(c.in, head); err != nil {
			t.Fatal(err)
		}
		n := int(head[1])
		if n == 126 {
			io.ReadFull(c.in, head)
			n = int(binary.BigEndian.Uint16(head))
		}
		text := make([]byte, n)
		if _, err := io.ReadFull(c.in, text); err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(string(text), `{"id":`) {
			return
		}
	}
}

// ask decodes an answer.
func fetch[T any](t *testing.T, a served, path string) (answer T) {
	t.Helper()
	status, body := get(t, a, "/console/"+path)
	if status != 200 {
		t.Fatalf("%s: got %d %s", path, status, body)
	}
	if err := json.Unmarshal([]byte(body), &answer); err != nil {
		t.Fatalf("%s: %v in %s", path, err, body)
	}
	return answer
}

func TestThePageIsToldWhatIsThere(t *testing.T) {
	s, a := open(t, nil)
	for i := range 7 {
		enter(t, s).say(t, fmt.Sprintf(`{"cmd":"add_group","group_id":"g%d","id":1}`, i%2))
	}
	enter(t, s).say(t, `{"cmd":"send_to_group","group_id":"g0","id":2}`)
	n := fetch[struct {
		Total struct {
			Clients, Members int
		}
		Server struct{ Loops []any }
		API    bool
		Waits  [][2]float64 `json:"lane_waits"`
	}](t, a, "now")
	if n.Total.Clients != 8 || n.Total.Members != 7 || len(n.Server.Loops) != 2 || n.API || len(n.Waits) < 10 || n.Waits[0][0] >= n.Waits[1][0] {
		t.Errorf("now: got %+v", n)
	}
	g := fetch[groupsAnswer](t, a, "groups?by=members")
	if len(g.Rows) != 2 || g.Rows[0].Name != "g0" || g.Rows[0].Members != 4 || g.Rows[1].Members != 3 {
		t.Errorf("groups: got %+v", g)
	}
	d := fetch[struct {
		Members int
		Rows    []struct{ Dialect, Remote string }
	}](t, a, "group?name=g0&from=1")
	if d.Members != 4 || len(d.Rows) != 3 || d.Rows[0].Dialect != "plain" || !strings.HasPrefix(d.Rows[0].Remote, "127.0.0.1:") {
		t.Errorf("group: got %+v", d)
	}
	j := fetch[struct {
		Traces []struct{ Kind, Code string }
	}](t, a, "journal?kind=refuse")
	if len(j.Traces) != 1 || j.Traces[0].Kind != "refuse" || j.Traces[0].Code != "bad_message" {
		t.Errorf("journal: got %+v", j)
	}
}

// A client that reads nothing is found among the others, and so is the reason for what it has missed, also when it is gone.
func TestThePageSaysWhyASlowClientHasMissedAMessage(t *testing.T) {
	s, a := open(t, func(cfg *loop.Config) { cfg.OutboxBytesMax, cfg.SlowClient = 64<<10, loop.SlowDrop })
	slow, sender := enter(t, s), enter(t, s)
	slow.say(t, `{"cmd":"add_group","group_id":"g","id":1}`)
	slow.Conn.(*net.TCPConn).SetReadBuffer(4096)
	command := fmt.Sprintf(`{"cmd":"send_to_group","group_id":"g","message":%q,"id":2}`, strings.Repeat("x", 30_000))
	for deadline := time.Now().Add(60 * time.Second); s.Hub().Snapshot().Total().SlowDropped == 0; {
		if sender.say(t, command); time.Now().After(deadline) {
			t.Fatal("the slow client misses nothing")
		}
	}
	rows := fetch[struct {
		Rows []struct {
			ID    uint64
			SendQ int `json:"send_q"`
		}
	}](t, a, "clients").Rows
	if len(rows) != 1 || rows[0].SendQ == 0 {
		t.Fatalf("slow clients: got %+v, want one", rows)
	}
	why := func() (texts string) {
		answer := fetch[struct {
			Verdict []struct{ Text string }
			Traces  []struct{ Kind string }
		}](t, a, fmt.Sprint("why?group=g&client=", rows[0].ID))
		for _, v := range answer.Verdict {
			texts += v.Text + "\n"
		}
		return fmt.Sprint(texts, answer.Traces)
	}
	for _, want := range []string{"member and slow", "has missed", "no room for a message of this group", "{slow}"} {
		if got := why(); !strings.Contains(got, want) {
			t.Errorf("while it is there: got %s, want %q in it", got, want)
		}
	}
	slow.Close()
	for deadline := time.Now().Add(60 * time.Second); s.Hub().Snapshot().Total().Clients > 1; {
		if time.Now().After(deadline) {
			t.Fatal("the slow client does not go")
		}
	}
	for _, want := range []string{"not connected", "no room for a message of this group"} {
		if got := why(); !strings.Contains(got, want) {
			t.Errorf("when it is gone: got %s, want %q in it", got, want)
		}
	}
}

// tailStream reads the events of a tail, until one has all of some words, and gives its data.
type tailStream struct {
	body io.ReadCloser
	in   *bufio.Scanner
}

func (a served) tail(t *testing.T, query string) *tailStream {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	t.Cleanup(cancel)
	r, _ := http.NewRequestWithContext(ctx, "GET", "http://"+a.addr+"/console/tail"+query, nil)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	if got := res.Header.Get("Content-Type"); res.StatusCode != 200 || got != "text/event-stream" {
		t.Fatalf("tail: got %d %s", res.StatusCode, got)
	}
	return &tailStream{res.Body, bufio.NewScanner(res.Body)}
}

func (s *tailStream) until(t *testing.T, words ...string) string {
	t.Helper()
	for s.in.Scan() {
		found := true
		for _, word := range words {
			found = found && strings.Contains(s.in.Text(), word)
		}
		if found {
			return s.in.Text()
		}
	}
	t.Fatalf("the stream has ended without %q: %v", words, s.in.Err())
	return ""
}

func TestWhatHappensIsStreamedUntilTheEnd(t *testing.T) {
	s, a := open(t, nil)
	all, some := a.tail(t, ""), a.tail(t, "?group=a*&kind=join")
	c := enter(t, s)
	c.say(t, `{"cmd":"add_group","group_id":"b","id":1}`)
	c.say(t, "{\"cmd\":\"add_group\",\"group_id\":\"a\u2028<b>\",\"id\":1}")
	all.until(t, `"connect"`, `"remote":"127.0.0.1:`)
	all.until(t, `"join"`, `"group":"b"`)
	if line := some.until(t, `"join"`); strings.Contains(line, `"group":"b"`) || strings.Contains(line, "<b>") {
		t.Errorf("got %s, want the other group, and its name quoted", line)
	}
	c.Close()
	all.until(t, `"close"`)
	done := make(chan struct{})
	go func() { a.Withdraw(); close(done) }()
	for all.in.Scan() {
	}
	<-done
}

// Who reads nothing of a stream, or goes, makes room again; beyond the bound 503.
func TestThereAreSoManyStreamsAtATime(t *testing.T) {
	_, a := open(t, nil)
	var streams []*tailStream
	status, body := 200, ""
	for status == 200 {
		if len(streams) > 8 {
			t.Fatal("there is no bound on streams")
		}
		s := a.tailStatus(t)
		if status, body = s.status, s.text; status == 200 {
			streams = append(streams, s.tailStream)
		}
	}
	if status != 503 || !strings.Contains(body, "listen") {
		t.Errorf("one more than there may be: got %d %q, want 503", status, body)
	}
	for _, s := range streams {
		s.body.Close()
	}
	for deadline := time.Now().Add(60 * time.Second); ; {
		if a.tailStatus(t).status == 200 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("streams that have ended make no room")
		}
	}
}

type tailStatus struct {
	*tailStream
	status int
	text   string
}

// tailStatus begins a stream, or says why not.
func (a served) tailStatus(t *testing.T) tailStatus {
	t.Helper()
	res, err := http.Get("http://" + a.addr + "/console/tail")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	if res.StatusCode == 200 {
		return tailStatus{&tailStream{res.Body, nil}, 200, ""}
	}
	text, _ := io.ReadAll(res.Body)
	return tailStatus{nil, res.StatusCode, string(text)}
}

var errSome = errors.New("some error")

func TestWhatAHubRefusesIsAskedAgainLater(t *testing.T) {
	c := newConsole(consoleConfig(&watched{fakeHub: someHub()}), make(chan struct{}))
	w := httptest.NewRecorder()
	c.question(func(context.Context, *http.Request) (any, error) { return nil, errSome }).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if w.Code != 503 || w.Header().Get("Retry-After") == "" {
		t.Errorf("got %d, want 503 with Retry-After", w.Code)
	}
}

func TestTheVerdictHasWhatIsWrongWithAToken(t *testing.T) {
	w := loop.Why{Traces: []loop.Trace{
		{At: 1, Kind: loop.TraceToken, Code: "signature", Reason: "its signature is by none of the secrets"},
		{At: 2, Kind: loop.TraceClose, Code: "3500", Reason: "invalid token"},
		{At: 3, Kind: loop.TraceToken, Code: "expired", Reason: "it has expired"},
	}}
	got := verdict(&w, 65, "g")
	if len(got) != 2 || got[0].Text != "The server closed it: 3500 invalid token." || got[1].Text != "A token that it has shown is not good: it has expired (expired)." || got[1].At != 3 {
		t.Errorf("got %+v, want the close, then the last token", got)
	}
}
