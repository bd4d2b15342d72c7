package test

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// apiKey is the key of the servers of these tests.
const apiKey = "b7e23ec29af22b0b4e41da31e868d572"

// startAPI starts a server on which backends may show apiKey.
func startAPI(t testing.TB, args ...string) *server {
	return start(t, append([]string{"--api-key", apiKey}, args...)...)
}

// callAPI posts a body with the key, and gives the status and the answer.
func (s *server) callAPI(t testing.TB, path, body string) (int, string) {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, "http://"+s.addr+path, strings.NewReader(body))
	must(t, err)
	r.Header.Set("X-API-Key", apiKey)
	answer, err := http.DefaultClient.Do(r)
	must(t, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	must(t, err)
	return answer.StatusCode, string(text)
}

// asksAPI is callAPI for a command that has a result, which it gives.
func (s *server) asksAPI(t testing.TB, method, params string) string {
	t.Helper()
	status, answer := s.callAPI(t, "/api/"+method, params)
	result, is := strings.CutPrefix(answer, `{"result":`)
	if status != http.StatusOK || !is {
		t.Fatalf("%s %s: got %d %s, want a result", method, params, status, answer)
	}
	return strings.TrimSuffix(result, "}")
}

func TestABackendsPublishReachesEveryMember(t *testing.T) {
	t.Parallel()
	s := startAPI(t)
	plain, page := member(t, s, "123"), dial(t, s, dialing{path: centrifugePath})
	must(t, page.text(`{"id":1,"connect":{}}`+"\n"+`{"id":2,"subscribe":{"channel":"123"}}`))
	for range 2 {
		_, err := page.next()
		must(t, err)
	}
	for _, c := range []struct{ data, plain, page string }{
		{`"hi"`, "hi", `"data":"hi"`},
		{`{"a": [1,2]}`, `{"a": [1,2]}`, `"data":{"a": [1,2]}`},
		{`"two\nlines"`, "two\nlines", `"data":"two\nlines"`},
	} {
		equal(t, "result", s.asksAPI(t, "publish", `{"channel":"123","data":`+c.data+`,"tags":{"x":"y"}}`), `{"members":2}`)
		plain.expect(t, c.plain)
		got, err := page.next()
		must(t, err)
		if !strings.Contains(got, c.page) || !strings.Contains(got, `"tags":{"x":"y"}`) {
			t.Errorf("a page hears %s, want %s and the tags", got, c.page)
		}
	}
	equal(t, "a group without members", s.asksAPI(t, "publish", `{"channel":"nobody","data":1}`), `{"members":0}`)
}

func TestWithoutAKeyThereIsNoServerAPI(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, path := range []string{"/api", "/api/", "/api/publish", "/api/publish?api_key=" + apiKey} {
		if status, answer := s.callAPI(t, path, `{"channel":"123","data":"hi"}`); status != http.StatusNotFound {
			t.Errorf("%s: got %d %s, want 404", path, status, answer)
		}
	}
}

func TestAThousandPublishesDownOneConnectionArriveInOrder(t *testing.T) {
	t.Parallel()
	s := startAPI(t)
	m := member(t, s, "order")
	c, err := net.Dial("tcp", s.addr)
	must(t, err)
	defer c.Close()
	must(t, c.SetDeadline(time.Now().Add(patience)))
	in := bufio.NewReader(c)
	const many = 1000
	var want []string
	for n := range many {
		body := fmt.Sprintf(`{"channel":"order","data":%d}`, n)
		fmt.Fprintf(c, "POST /api/publish HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\nContent-Length: %d\r\n\r\n%s", apiKey, len(body), body)
		answer, err := http.ReadResponse(in, nil)
		must(t, err)
		text, err := io.ReadAll(answer.Body)
		must(t, err)
		if answer.StatusCode != http.StatusOK || string(text) != `{"result":{"members":1}}` {
			t.Fatalf("publish %d: got %s %s", n, answer.Status, text)
		}
		want = append(want, fmt.Sprint(n))
	}
	got, err := m.collect(many)
	must(t, err)
	equalTexts(t, "what the member heard", got, want)
}

func TestAHundredThousandCommandsInOneRequestArriveInOrder(t *testing.T) {
	t.Parallel()
	s := startAPI(t, "--outbox-max", "64MiB") // the member is not to be closed for being slower than the rest
	m := member(t, s, "g")
	const many = 100_000
	heard := make(chan error, 1)
	go func() {
		for n := 0; n < many; n++ {
			text, err := m.nextFresh()
			if err == nil && text != fmt.Sprint(n) {
				err = fmt.Errorf("message %d: got %q", n, text)
			}
			if err != nil {
				heard <- err
				return
			}
		}
		heard <- nil
	}()
	before := s.memory(t)
	body, write := io.Pipe()
	go func() {
		w := bufio.NewWriter(write)
		for n := range many {
			fmt.Fprintf(w, `{"method":"publish","params":{"channel":"g","data":%d}}`+"\n", n)
		}
		w.Flush()
		write.Close()
	}()
	r, err := http.NewRequest(http.MethodPost, "http://"+s.addr+"/api", body)
	must(t, err)
	r.Header.Set("X-API-Key", apiKey)
	answer, err := http.DefaultClient.Do(r)
	must(t, err)
	defer answer.Body.Close()
	n := 0
	for lines := bufio.NewScanner(answer.Body); lines.Scan(); n++ {
		if lines.Text() != `{"result":{"members":1}}` {
			t.Fatalf("answer %d: got %s", n, lines.Text())
		}
	}
	equal(t, "answers", n, many)
	must(t, <-heard)
	if grown := s.memory(t) - before; grown > 64<<20 {
		t.Errorf("the process grew by %d bytes for a request of some megabytes, want less", grown)
	}
}

// memory is the most memory that the process has had, bytes.
func (s *server) memory(t testing.TB) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.pid))
	must(t, err)
	for line := range strings.Lines(string(text)) {
		if rest, is := strings.CutPrefix(line, "VmHWM:"); is {
			var kilobytes int64
			_, err := fmt.Sscan(rest, &kilobytes)
			must(t, err)
			return kilobytes << 10
		}
	}
	t.Fatal("no VmHWM in /proc")
	return 0
}

func TestKeysAreRotatedByAReloadAndShownNowhere(t *testing.T) {
	t.Parallel()
	const second = "cd42404d52ad55ccfa9aca4adc828aa5"
	file := filepath.Join(t.TempDir(), "ringcast.json")
	write := func(text string) { must(t, os.WriteFile(file, []byte(text), 0o600)) }
	write(`{"api-key": "` + apiKey + `"}`)
	s := start(t, "--config", file, "--admin", "127.0.0.1:0", "--log-level", "debug")
	status := func(key string) int {
		r, err := http.NewRequest(http.MethodPost, "http://"+s.addr+"/api/info", strings.NewReader("{}"))
		must(t, err)
		r.Header.Set("Authorization", "apikey "+key)
		answer, err := http.DefaultClient.Do(r)
		must(t, err)
		answer.Body.Close()
		return answer.StatusCode
	}
	var shown []string
	for _, step := range []struct {
		file          string
		first, second int
	}{
		{"", 200, 401},
		{`{"api-key": ["` + apiKey + `", "` + second + `"]}`, 200, 200},
		{`{"api-key": "` + second + `"}`, 401, 200},
		{`{}`, 404, 404},
		{`{"api-key": "` + apiKey + `"}`, 200, 401},
	} {
		if step.file != "" {
			write(step.file)
			done := run("reload", "--run-dir", s.dir)
			equal(t, "exit of reload", done.exit, 0)
			shown = append(shown, done.all())
		}
		equal(t, "with the first key", status(apiKey), step.first)
		equal(t, "with the second key", status(second), step.second)
		shown = append(shown, run("status", "--run-dir", s.dir, "--json").all(), run("status", "--run-dir", s.dir).all())
	}
	admin := s.status().Admin
	for _, path := range []string{"/debug/pprof/cmdline", "/metrics", "/readyz"} {
		answer, err := http.Get("http://" + admin + path)
		must(t, err)
		text, err := io.ReadAll(answer.Body)
		must(t, err)
		answer.Body.Close()
		shown = append(shown, string(text))
	}
	shown = append(shown, s.out.String())
	for _, text := range shown {
		if strings.Contains(text, apiKey) || strings.Contains(text, second) {
			t.Errorf("a key is shown: %.2000s", text)
		}
	}
	if all := strings.Join(shown, "\n"); !strings.Contains(all, "api-key: 1 secret → 2 secrets") || !strings.Contains(all, `ringcast_api_commands_total{method="info"}`) {
		t.Errorf("a reload says nothing of keys, or /metrics of commands: %.3000s", all)
	}
}

// userToken is a token by which a client is a user, signed with a secret.
func userToken(secret, user string) string {
	part := base64.RawURLEncoding.EncodeToString
	text := part([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + part(fmt.Appendf(nil, `{"sub":%q,"info":{"of":%q}}`, user, user))
	sign := hmac.New(sha256.New, []byte(secret))
	sign.Write([]byte(text))
	return text + "." + part(sign.Sum(nil))
}

// userPage connects a Centrifuge client that is a user, and gives the name that it is told.
func userPage(t testing.TB, s *server, user string) (page *client, name string) {
	t.Helper()
	page = dial(t, s, dialing{path: centrifugePath})
	must(t, page.text(`{"id":1,"connect":{"token":"`+userToken(tokenSecret, user)+`"}}`))
	text, err := page.next()
	must(t, err)
	var reply struct{ Connect struct{ Client string } }
	must(t, json.Unmarshal([]byte(text), &reply))
	if reply.Connect.Client == "" {
		t.Fatalf("connect: got %s", text)
	}
	return page, reply.Connect.Client
}

// gocentProgram builds the backend in test/gocent, for which gocent is fetched if this machine has it not.
func gocentProgram(t testing.TB) string {
	t.Helper()
	path := filepath.Join(built, "gocent")
	build := exec.Command("go", "build", "-o", path, ".")
	build.Dir = "gocent"
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("test/gocent does not build; its module gocent comes from the module proxy (cd test/gocent && go mod download): %v\n%s", err, out)
	}
	return path
}

// gocentBackend makes calls of gocent.
type gocentBackend struct {
	t   testing.TB
	in  io.Writer
	out *bufio.Scanner
}

func startGocent(t testing.TB, s *server) *gocentBackend {
	t.Helper()
	cmd := exec.Command(gocentProgram(t), "http://"+s.addr+"/api", apiKey)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	in, err := cmd.StdinPipe()
	must(t, err)
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	t.Cleanup(func() {
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("gocent ended with %v: %s", err, errs.String())
		}
	})
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 8<<20)
	return &gocentBackend{t, in, lines}
}

// call makes one call, and gives what the library has returned.
func (g *gocentBackend) call(line string, into any) error {
	g.t.Helper()
	_, err := io.WriteString(g.in, line+"\n")
	must(g.t, err)
	if !g.out.Scan() {
		g.t.Fatalf("%s: no answer: %v", line, g.out.Err())
	}
	var answer struct {
		Result json.RawMessage
		Error  string
	}
	must(g.t, json.Unmarshal(g.out.Bytes(), &answer))
	if answer.Error != "" {
		return errors.New(answer.Error)
	}
	if into != nil {
		must(g.t, json.Unmarshal(answer.Result, into))
	}
	return nil
}

func TestEveryCallOfGocentDoesWhatItSays(t *testing.T) {
	t.Parallel()
	s := startAPI(t, "--token-secret", tokenSecret, "--history", "100", "--presence", "on")
	g := startGocent(t, s)
	ann, name := userPage(t, s, "ann")
	hears := func(want ...string) {
		t.Helper()
		for {
			text, err := ann.next()
			must(t, err)
			missing := false
			for _, part := range want {
				missing = missing || !strings.Contains(text, part)
			}
			if !missing {
				return
			}
		}
	}
	type position struct {
		Offset uint64
		Epoch  string
	}

	must(t, g.call(`{"call":"Subscribe","channel":"g","user":"ann","data":{"seat":1}}`, nil))
	hears(`"subscribe":{`, `"channel":"g"`)
	var first position
	must(t, g.call(`{"call":"Publish","channel":"g","data":{"n":1}}`, &first))
	hears(`"data":{"n":1}`, `"offset":1`)
	equal(t, "offset", first.Offset, 1)
	if first.Epoch == "" {
		t.Error("a publish to a group with history has no epoch")
	}
	must(t, g.call(`{"call":"Publish","channel":"g","data":"unkept","skip":true}`, nil))
	hears(`"data":"unkept"`)
	var broadcast struct{ Responses []struct{ Result *position } }
	must(t, g.call(`{"call":"Broadcast","channels":["g","other"],"data":"both"}`, &broadcast))
	hears(`"data":"both"`, `"offset":2`)
	if r := broadcast.Responses; len(r) != 2 || r[0].Result == nil || r[0].Result.Offset != 2 || r[1].Result == nil || r[1].Result.Offset != 1 {
		t.Errorf("a broadcast to two groups: got %+v", r)
	}

	var presence struct {
		Presence map[string]struct {
			User, Client string
			ConnInfo     json.RawMessage `json:"conn_info"`
			ChanInfo     json.RawMessage `json:"chan_info"`
		}
	}
	must(t, g.call(`{"call":"Presence","channel":"g"}`, &presence))
	if one := presence.Presence[name]; len(presence.Presence) != 1 || one.User != "ann" || one.Client != name ||
		string(one.ConnInfo) != `{"of":"ann"}` || string(one.ChanInfo) != `{"seat":1}` {
		t.Errorf("presence: got %+v, want ann as %s", presence.Presence, name)
	}
	var stats struct {
		Clients int `json:"num_clients"`
		Users   int `json:"num_users"`
	}
	must(t, g.call(`{"call":"PresenceStats","channel":"g"}`, &stats))
	equal(t, "num_clients", stats.Clients, 1)
	equal(t, "num_users", stats.Users, 1)

	var history struct {
		Publications []struct {
			Offset uint64
			Data   json.RawMessage
		}
		Offset uint64
		Epoch  string
	}
	must(t, g.call(`{"call":"History","channel":"g","limit":-1}`, &history))
	if p := history.Publications; len(p) != 2 || string(p[0].Data) != `{"n":1}` || p[1].Offset != 2 || history.Offset != 2 || history.Epoch != first.Epoch {
		t.Errorf("history: got %+v", history)
	}
	must(t, g.call(`{"call":"History","channel":"g","limit":1,"reverse":true}`, &history))
	if p := history.Publications; len(p) != 1 || string(p[0].Data) != `"both"` {
		t.Errorf("history from the end: got %+v", history)
	}
	must(t, g.call(`{"call":"History","channel":"g","limit":10,"offset":1,"epoch":"`+first.Epoch+`"}`, &history))
	if p := history.Publications; len(p) != 1 || p[0].Offset != 2 {
		t.Errorf("history behind a position: got %+v", history)
	}
	must(t, g.call(`{"call":"HistoryRemove","channel":"g"}`, nil))
	if err := g.call(`{"call":"History","channel":"g","limit":10,"offset":1,"epoch":"`+first.Epoch+`"}`, nil); err == nil || !strings.Contains(err.Error(), "112") {
		t.Errorf("history behind a position that is gone: got %v, want 112", err)
	}

	var channels struct{ Channels map[string]any }
	must(t, g.call(`{"call":"Channels","pattern":"g*"}`, &channels))
	if _, is := channels.Channels["g"]; len(channels.Channels) != 1 || !is {
		t.Errorf("channels: got %v, want g", channels.Channels)
	}
	var info struct {
		Nodes []struct {
			UID, Name, Version string
			Clients            int `json:"num_clients"`
			Users              int `json:"num_users"`
			Channels           int `json:"num_channels"`
		}
	}
	must(t, g.call(`{"call":"Info"}`, &info))
	if n := info.Nodes; len(n) != 1 || n[0].UID == "" || n[0].Name == "" || n[0].Version == "" || n[0].Clients != 1 || n[0].Users != 1 || n[0].Channels < 1 {
		t.Errorf("info: got %+v", n)
	}

	must(t, g.call(`{"call":"Unsubscribe","channel":"g","user":"ann","client":"`+name+`"}`, nil))
	hears(`"unsubscribe":{`, `"channel":"g"`)

	var pipe []struct {
		Error  *struct{ Code int }
		Result json.RawMessage
	}
	must(t, g.call(`{"call":"SendPipe","channel":"p","channels":["p","q"],"data":7,"user":"nobody","times":2000,"limit":1}`, &pipe))
	equal(t, "answers to a pipe", len(pipe), 2010)
	for i, one := range pipe {
		if one.Error != nil || one.Result == nil {
			t.Errorf("answer %d of a pipe: got %+v", i, one.Error)
		}
	}

	must(t, g.call(`{"call":"Disconnect","user":"ann","code":4321}`, nil))
	ann.expectClose(t, 4321)
	if err := g.call(`{"call":"Publish","channel":"","data":1}`, nil); err == nil || !strings.Contains(err.Error(), "107") {
		t.Errorf("a publish without a channel: got %v, want 107", err)
	}
}
