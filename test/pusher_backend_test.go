package test

import (
	"crypto/md5"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// The library pusher of Node as a backend, unmodified: every call that it has.

// answers runs a call of the backend and gives the answer's body.
func (p *pusherPage) answers(call string) string {
	p.t.Helper()
	var text string
	must(p.t, json.Unmarshal([]byte(p.do(`const answer = await backend.`+call+`; return answer.status + " " + await answer.text()`)), &text))
	return text
}

func TestABackendOfPusherHasEveryCall(t *testing.T) {
	t.Parallel()
	s := startPusher(t)
	p := openPusherPage(t, s.addr)
	// Nobody is there.
	for call, want := range map[string]string{
		`trigger("news", "ev", {})`: `200 {}`,
		`trigger(["news", "presence-a"], "ev", {}, {info: "subscription_count,user_count"})`: `200 {"channels":{"news":{"subscription_count":0},"presence-a":{"subscription_count":0,"user_count":0}}}`,
		`get({path: "/channels"})`:                  `200 {"channels":{}}`,
		`get({path: "/channels/news"})`:             `200 {"occupied":false}`,
		`get({path: "/channels/presence-a/users"})`: `200 {"users":[]}`,
		`terminateUserConnections("nobody")`:        `200 {}`,
		`sendToUser("nobody", "ev", {})`:            `200 {}`,
	} {
		sameJSON(t, call, p.answers(call), want)
	}
	for tab, as := range map[string]string{"a": "ann", "a2": "ann", "b": "bob"} {
		p.connect(tab, as)
		p.subscribe(tab, "presence-a")
		p.subscribe(tab, "news")
	}
	p.subscribe("b", "private-b")
	p.subscribe("b", "cache-b")
	for _, c := range []struct{ call, want string }{
		{`trigger("news", "ev", {n: 1})`, `200 {}`},
		{`trigger(["news", "presence-a"], "ev", {n: 2}, {info: "subscription_count"})`, `200 {"channels":{"news":{"subscription_count":3},"presence-a":{"subscription_count":3}}}`},
		{`trigger("presence-a", "ev", {n: 3}, {info: "user_count"})`, `200 {"channels":{"presence-a":{"user_count":2}}}`},
		{`triggerBatch([{channel: "news", name: "ev", data: {n: 4}}, {channel: "private-b", name: "ev", data: "text"}])`, `200 {}`},
		{`triggerBatch([{channel: "news", name: "ev", data: 5, info: "subscription_count"}, {channel: "presence-a", name: "ev", data: 6, info: "user_count"}, {channel: "private-b", name: "ev", data: 7}])`,
			`200 {"batch":[{"subscription_count":3},{"user_count":2},{}]}`},
		{`get({path: "/channels"})`, `200 {"channels":{"cache-b":{},"news":{},"presence-a":{},"private-b":{}}}`},
		{`get({path: "/channels", params: {filter_by_prefix: "presence-", info: "user_count"}})`, `200 {"channels":{"presence-a":{"user_count":2}}}`},
		{`get({path: "/channels", params: {filter_by_prefix: "p"}})`, `200 {"channels":{"presence-a":{},"private-b":{}}}`},
		{`get({path: "/channels", params: {filter_by_prefix: "x"}})`, `200 {"channels":{}}`},
		{`get({path: "/channels/news"})`, `200 {"occupied":true}`},
		{`get({path: "/channels/news", params: {info: "subscription_count"}})`, `200 {"occupied":true,"subscription_count":3}`},
		{`get({path: "/channels/presence-a", params: {info: "user_count,subscription_count"}})`, `200 {"occupied":true,"user_count":2,"subscription_count":3}`},
		{`get({path: "/channels/presence-a/users"})`, `200 {"users":[{"id":"ann"},{"id":"bob"}]}`},
	} {
		got := p.answers(c.call)
		if strings.Contains(c.call, "/users") {
			got = strings.Replace(got, `{"id":"bob"},{"id":"ann"}`, `{"id":"ann"},{"id":"bob"}`, 1) // in any order
		}
		sameJSON(t, c.call, got, c.want)
	}
	for tab, all := range map[string][]string{"a": {`{"n":1}`, `{"n":2}`, `{"n":4}`, `5`}, "b": {`{"n":1}`, `{"n":2}`, `{"n":4}`, `5`}} {
		for _, want := range all {
			equal(t, "heard by "+tab, string(p.of(tab, "news", "ev").Data), want)
		}
	}
	for _, want := range []string{`{"n":2}`, `{"n":3}`, `6`} {
		equal(t, "heard in presence-a", string(p.of("a2", "presence-a", "ev").Data), want)
	}
	for _, want := range []string{`"text"`, `7`} {
		equal(t, "heard in private-b", string(p.of("b", "private-b", "ev").Data), want)
	}

	// toOthers: all but one socket.
	for _, channel := range []string{"news", "presence-a"} {
		p.do(`await backend.trigger("` + channel + `", "others", {}, {socket_id: a.connection.socket_id})`)
		p.do(`await backend.triggerBatch([{channel: "` + channel + `", name: "others", data: {}, socket_id: a.connection.socket_id}])`)
		p.hears(channel, "marker", "a", "a2", "b")
		equal(t, "others have heard", p.has("a2", channel, "others")+p.has("b", channel, "others"), 4)
		equal(t, "and not who it is from", p.has("a", channel, "others"), 0)
	}
	// A socket that nobody has: all hear.
	p.do(`await backend.trigger("news", "all", {}, {socket_id: "1234.5678"})`)
	for _, tab := range []string{"a", "a2", "b"} {
		p.of(tab, "news", "all")
	}
	// What Reverb has beside it.
	sameJSON(t, "connections", p.answers(`get({path: "/connections"})`), `200 {"connections":3}`)
	equal(t, "up", httpGet(t, "http://"+s.addr+"/up"), `{"health":"OK"}`)
	// What a cache has.
	p.do(`await backend.trigger("cache-b", "ev", {c: 1})`)
	var about struct {
		Occupied bool
		Cache    *struct {
			Data string
			TTL  int
		}
	}
	must(t, json.Unmarshal([]byte(strings.TrimPrefix(p.answers(`get({path: "/channels/cache-b", params: {info: "cache"}})`), "200 ")), &about))
	if !about.Occupied || about.Cache == nil || about.Cache.Data != `{"c":1}` || about.Cache.TTL < 1700 || about.Cache.TTL > 1800 {
		t.Errorf("cache: got %+v %+v, want the data and up to 1,800 s", about, about.Cache)
	}
	equal(t, "errors", p.has("a", "", "error")+p.has("b", "", "error"), 0)
}

func httpGet(t *testing.T, url string) string {
	t.Helper()
	answer, err := http.Get(url)
	must(t, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	must(t, err)
	return string(text)
}

// sameJSON compares a status and a body whatever the order of its keys.
func sameJSON(t *testing.T, what, got, want string) {
	t.Helper()
	canonical := func(text string) string {
		status, body, _ := strings.Cut(text, " ")
		var v any
		if err := json.Unmarshal([]byte(body), &v); err != nil {
			return text
		}
		b, err := json.Marshal(v)
		must(t, err)
		return status + " " + string(b)
	}
	if canonical(got) != canonical(want) {
		t.Errorf("%s: got %s, want %s", what, got, want)
	}
}

func TestABackendOfPusherIsToldWhatIsWrong(t *testing.T) {
	t.Parallel()
	s := startPusher(t)
	p := openPusherPage(t, s.addr)
	for call, code := range map[string]int{
		`newBackend({secret: "another"}).trigger("news", "ev", {})`:                                                           401,
		`newBackend({key: "another"}).trigger("news", "ev", {})`:                                                              401,
		`newBackend({appId: "nobody"}).trigger("news", "ev", {})`:                                                             404,
		`backend.trigger("news", "ev", "x".repeat(100 * 1024 + 1))`:                                                           413,
		`backend.get({path: "/channels", params: {info: "user_count"}})`:                                                      400,
		`backend.get({path: "/channels/news/users"})`:                                                                         400,
		`backend.get({path: "/channels/" + "c".repeat(300)})`:                                                                 400,
		`backend.get({path: "/nothing"})`:                                                                                     404,
		`backend.post({path: "/events", body: {name: "ev", data: "d", channels: []}})`:                                        400,
		`backend.post({path: "/events", body: {name: "ev", data: "d", channels: ["a b"]}})`:                                   400,
		`backend.post({path: "/events", body: {name: "ev", data: "d"}})`:                                                      400,
		`backend.post({path: "/events", body: {data: "d", channels: ["a"]}})`:                                                 400,
		`backend.post({path: "/events", body: {name: "ev", channels: ["a"]}})`:                                                400,
		`backend.post({path: "/events", body: [1]})`:                                                                          400,
		`backend.post({path: "/events", body: {name: "ev", data: "d", channels: Array(101).fill("a").map((c, i) => c + i)}})`: 400,
		`backend.post({path: "/events", body: {name: "e".repeat(201), data: "d", channels: ["a"]}})`:                          400,
		`backend.post({path: "/events", body: {name: "ev", data: "d", channels: ["a"], socket_id: "x"}})`:                     400,
		`backend.post({path: "/events", body: {name: "ev", data: "d", channels: ["private-encrypted-a", "b"]}})`:              400,
		`backend.triggerBatch(Array(11).fill(0).map(() => ({channel: "a", name: "ev", data: "d"})))`:                          400,
		`backend.triggerBatch([{channel: "a", name: "ev", data: "d"}, {channel: "a b", name: "ev", data: "d"}])`:              400,
	} {
		end := p.run(`await ` + call)
		if end.Step != "failed" || end.Code != code || end.Reason == "" {
			t.Errorf("%s: got %s %d %q, want %d and a reason", call, end.Step, end.Code, end.Reason, code)
		}
	}
	// A request that is said again later, or of which something was changed.
	p.do(`mine = Date.now; Date.now = () => mine() - 700000`)
	if end := p.run(`await backend.trigger("news", "ev", {})`); end.Code != 401 {
		t.Errorf("a request of 700 s ago: got %d %s, want 401", end.Code, end.Reason)
	}
	p.do(`Date.now = mine`)
	var query string
	must(t, json.Unmarshal([]byte(p.do(`return backend.createSignedQueryString({method: "POST", path: "/apps/`+pusherID+`/events", body: '{"name":"ev","data":"d","channels":["a"]}'})`)), &query))
	for what, c := range map[string]struct {
		method, path, query, body string
		code                      int
	}{
		"as signed":          {"POST", "events", query, `{"name":"ev","data":"d","channels":["a"]}`, 200},
		"another body":       {"POST", "events", query, `{"name":"ev","data":"D","channels":["a"]}`, 401},
		"no body":            {"POST", "events", query, ``, 401},
		"another path":       {"POST", "batch_events", query, `{"name":"ev","data":"d","channels":["a"]}`, 401},
		"another method":     {"GET", "events", query, ``, 401},
		"one parameter more": {"POST", "events", query + "&info=x", `{"name":"ev","data":"d","channels":["a"]}`, 401},
		"no signature":       {"POST", "events", query[:strings.Index(query, "&auth_signature")], `{"name":"ev","data":"d","channels":["a"]}`, 401},
		"nothing":            {"POST", "events", "", `{}`, 401},
	} {
		r, err := http.NewRequest(c.method, fmt.Sprintf("http://%s/apps/%s/%s?%s", s.addr, pusherID, c.path, c.query), strings.NewReader(c.body))
		must(t, err)
		answer, err := http.DefaultClient.Do(r)
		must(t, err)
		body, err := io.ReadAll(answer.Body)
		must(t, err)
		answer.Body.Close()
		if answer.StatusCode != c.code && (c.code == 200 || answer.StatusCode != http.StatusMethodNotAllowed) {
			t.Errorf("%s: got %d %s, want %d", what, answer.StatusCode, body, c.code)
		}
	}
	if log := s.out.String(); strings.Contains(log, pusherSecret) || strings.Contains(log, "auth_signature") {
		t.Errorf("got a secret or a signature in the log: %s", log)
	}
}

// Without an app there is no such API.
func TestWithoutAnAppItsAPIIsNotThere(t *testing.T) {
	t.Parallel()
	s := start(t)
	answer, err := http.Get("http://" + s.addr + "/apps/" + pusherID + "/channels")
	must(t, err)
	answer.Body.Close()
	equal(t, "status", answer.StatusCode, http.StatusNotFound)
}

// postPusher posts a call as a backend does, of the test's own.
func (s *server) postPusher(t testing.TB, call, body string) (status int, answer string) {
	t.Helper()
	path := "/apps/" + pusherID + "/" + call
	r, err := http.Post("http://"+s.addr+path+"?"+signedQuery(http.MethodPost, path, body), "application/json", strings.NewReader(body))
	must(t, err)
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	must(t, err)
	return r.StatusCode, string(text)
}

// asksPusher is postPusher for a call that has to be answered.
func (s *server) asksPusher(t testing.TB, call, body string) (answer string) {
	t.Helper()
	status, answer := s.postPusher(t, call, body)
	if status != http.StatusOK {
		t.Fatalf("%s %s: got %d %s", call, body, status, answer)
	}
	return answer
}

// signedQuery signs a request as a backend does.
func signedQuery(method, path, body string) string {
	query := fmt.Sprintf("auth_key=%s&auth_timestamp=%d&auth_version=1.0", pusherKey, time.Now().Unix())
	if body != "" {
		query += fmt.Sprintf("&body_md5=%x", md5.Sum([]byte(body)))
	}
	_, signature, _ := strings.Cut(pusherSign(method+"\n"+path+"\n"+query), ":")
	return query + "&auth_signature=" + signature
}
