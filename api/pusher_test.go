package api

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"ringcast/dialect"
	"ringcast/loop"
	"ringcast/loop/door"
)

// pusherTest is a Pusher with two apps, at the time of the examples in Pusher's documents.
type pusherTest struct {
	*Pusher
	*fakeBackend
	apps *door.Apps
}

const pusherTestTime = 1353088179

var pusherTestApps = []door.App{
	{ID: "3", Key: "278d425bdf160c739803", Secret: "7ad3773142a6692b25b8"},
	{ID: "shop", Key: "shop-key", Secret: "shop-secret", EventBytesMax: 10},
}

func newPusherTest(t testing.TB) *pusherTest {
	apps, err := door.NewApps(pusherTestApps)
	if err != nil {
		t.Fatal(err)
	}
	p := &pusherTest{fakeBackend: newFakeBackend(), apps: apps}
	p.here, p.cached = map[string][]loop.Present{}, map[string]*loop.Message{}
	p.Pusher = NewPusher(PusherConfig{Backend: p.fakeBackend, Apps: func() *door.Apps { return p.apps }})
	p.now = func() time.Time { return time.Unix(pusherTestTime, 0) }
	return p
}

// pusherRequest is a request as an app signs it. Values of its query are as they are signed, which is not how they are sent.
type pusherRequest struct {
	method, path, body string
	query              map[string]string
	app                door.App
	at                 int64 // when it is signed
	unhashed           bool  // the body's MD5 is left out
}

// pusherAsks is what an app asks.
func pusherAsks(app door.App, method, target, body string) *pusherRequest {
	path, raw, _ := strings.Cut(target, "?")
	r := &pusherRequest{method: method, path: path, body: body, app: app, at: pusherTestTime, query: map[string]string{}}
	for pair := range strings.SplitSeq(raw, "&") {
		if name, value, is := strings.Cut(pair, "="); is {
			r.query[name] = value
		}
	}
	return r
}

// sign completes the query.
func (r *pusherRequest) sign() *pusherRequest {
	r.query["auth_key"], r.query["auth_timestamp"], r.query["auth_version"] = r.app.Key, fmt.Sprint(r.at), "1.0"
	if r.body != "" && !r.unhashed {
		sum := md5.Sum([]byte(r.body))
		r.query["body_md5"] = hex.EncodeToString(sum[:])
	}
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(r.query)) {
		pairs = append(pairs, name+"="+r.query[name])
	}
	mac := hmac.New(sha256.New, []byte(r.app.Secret))
	fmt.Fprintf(mac, "%s\n%s\n%s", r.method, r.path, strings.Join(pairs, "&"))
	r.query["auth_signature"] = hex.EncodeToString(mac.Sum(nil))
	return r
}

// http is the request on the wire.
func (r *pusherRequest) http() *http.Request {
	var pairs []string
	for name, value := range r.query {
		pairs = append(pairs, url.PathEscape(name)+"="+url.PathEscape(value))
	}
	return httptest.NewRequest(r.method, (&url.URL{Path: r.path}).EscapedPath()+"?"+strings.Join(pairs, "&"), strings.NewReader(r.body))
}

func (p *pusherTest) answer(r *pusherRequest) (int, string, http.Header) {
	return p.serve(r.sign().http())
}

func (p *pusherTest) serve(r *http.Request) (int, string, http.Header) {
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	return w.Code, w.Body.String(), w.Header()
}

// ask has the first app ask.
func (p *pusherTest) ask(method, target, body string) (int, string) {
	status, answer, _ := p.answer(pusherAsks(pusherTestApps[0], method, target, body))
	return status, answer
}

func (p *pusherTest) nothingSaid(t *testing.T, what string) {
	t.Helper()
	if len(p.said) > 0 || len(p.calls) > 0 {
		t.Errorf("%s: got %v, %v, want that nothing is done", what, p.said, p.calls)
	}
}

func presentUsers(users ...string) (all []loop.Present) {
	for i, user := range users {
		one := loop.Present{Client: uint64(65 + i)}
		if user != "" {
			one.Who = dialect.WhoIs{User: user}.Who()
		}
		all = append(all, one)
	}
	return all
}

func TestEveryCallOfPusherAnswersAsTheLibrariesNeedIt(t *testing.T) {
	p := newPusherTest(t)
	p.here["presence-room"] = presentUsers("bob", "ann", "", "ann")
	p.here["presence-lone"] = presentUsers("bob")
	p.here["presence-empty"] = []loop.Present{}
	p.cached["cache-a"] = loop.NewOrderedMessage([]byte("cache-a"), []byte(`{"a": "\u00e9"}`), true, nil)
	p.said["shop/x"], p.said["a:b"], p.said["presence-room"], p.said["presence-lone"] = nil, nil, nil, nil
	for _, c := range []struct{ method, target, body, want string }{
		{"POST", "/apps/3/events", `{"name":"e","channels":["a"],"data":"{\"n\":1}"}`, `{}`},
		{"POST", "/apps/3/events", `{"name":"e","channel":"a","data":"text"}`, `{}`},
		{"POST", "/apps/3/events", `{"name":"e","channel":"other","channels":["a","b","a"],"data":"","socket_id":null,"info":null,"tags":[{}]}`, `{}`},
		{"POST", "/apps/3/events", `{"name":"e","channels":["a","presence-room"],"data":"x","info":"subscription_count,user_count,other"}`,
			`{"channels":{"a":{"subscription_count":7},"presence-room":{"user_count":2,"subscription_count":4}}}`},
		{"POST", "/apps/3/events", `{"name":"e","channels":["a","presence-lone"],"data":"x","info":"user_count"}`, `{"channels":{"a":{},"presence-lone":{"user_count":1}}}`},
		{"POST", "/apps/3/events", `{"name":"e","channels":["#server-to-user-ann"],"data":"x"}`, `{}`},
		{"POST", "/apps/3/batch_events", `{"batch":[{"channel":"a","name":"e","data":"1"},{"channel":"b","name":"e","data":"2"}]}`, `{}`},
		{"POST", "/apps/3/batch_events", `{"batch":[]}`, `{}`},
		{"POST", "/apps/3/batch_events", `{"batch":[{"channel":"a","name":"e","data":"1","info":"subscription_count"},{"channel":"b","name":"e","data":"2"},` +
			`{"channel":"presence-lone","name":"e","data":"2","info":"user_count"}]}`, `{"batch":[{"subscription_count":7},{},{"user_count":1}]}`},
		{"GET", "/apps/3/channels", "", `{"channels":{"#server-to-user-ann":{},"a":{},"b":{},"presence-lone":{},"presence-room":{}}}`},
		{"GET", "/apps/3/channels?info=subscription_count", "", `{"channels":{"#server-to-user-ann":{"subscription_count":3},"a":{"subscription_count":3},"b":{"subscription_count":3},` +
			`"presence-lone":{"subscription_count":3},"presence-room":{"subscription_count":3}}}`},
		{"GET", "/apps/3/channels?filter_by_prefix=presence-&info=user_count", "", `{"channels":{"presence-lone":{"user_count":1},"presence-room":{"user_count":2}}}`},
		{"GET", "/apps/3/channels?filter_by_prefix=presence-r", "", `{"channels":{"presence-room":{}}}`},
		{"GET", "/apps/3/channels?filter_by_prefix=none", "", `{"channels":{}}`},
		{"GET", "/apps/3/channels?filter_by_prefix=*", "", `{"channels":{}}`},
		{"GET", "/apps/3/channels?filter_by_prefix=#", "", `{"channels":{"#server-to-user-ann":{}}}`},
		{"GET", "/apps/3/channels/a", "", `{"occupied":true}`},
		{"GET", "/apps/3/channels/presence-empty", "", `{"occupied":false}`},
		{"GET", "/apps/3/channels/presence-empty?info=user_count,subscription_count", "", `{"occupied":false,"user_count":0,"subscription_count":0}`},
		{"GET", "/apps/3/channels/presence-room?info=user_count,subscription_count", "", `{"occupied":true,"user_count":2,"subscription_count":4}`},
		{"GET", "/apps/3/channels/presence-crowd?info=user_count", "", `{"occupied":true,"user_count":400}`},
		{"GET", "/apps/3/channels/a?info=user_count", "", `{"occupied":true}`},
		{"GET", "/apps/3/channels/#server-to-user-a,b;c@d=e?info=subscription_count", "", `{"occupied":true,"subscription_count":7}`},
		{"GET", "/apps/3/channels/cache-a?info=cache", "", `{"occupied":true,"cache":{"data":"{\"a\": \"\\u00e9\"}","ttl":59}}`},
		{"GET", "/apps/3/channels/cache-b?info=subscription_count,cache", "", `{"occupied":true,"subscription_count":7,"cache":null}`},
		{"GET", "/apps/3/channels/users", "", `{"occupied":true}`},
		{"GET", "/apps/3/channels/presence-room/users", "", `{"users":[{"id":"ann"},{"id":"bob"}]}`},
		{"GET", "/apps/3/channels/presence-empty/users", "", `{"users":[]}`},
		{"POST", "/apps/3/users/ann/terminate_connections", `{}`, `{}`},
		{"POST", "/apps/3/users/ann/terminate_connections", ``, `{}`},
		{"POST", "/apps/3/users/Änn 1/2?/terminate_connections", `{}`, `{}`},
		{"GET", "/apps/3/connections", "", `{"connections":5}`},
		{"GET", "/up", "", `{"health":"OK"}`},
		{"HEAD", "/up", "", `{"health":"OK"}`},
	} {
		r := pusherAsks(pusherTestApps[0], c.method, c.target, c.body)
		if i := strings.LastIndex(c.target, "?/"); i >= 0 { // no query begins with a slash
			r.path = c.target
		}
		status, answer, header := p.answer(r)
		if status != http.StatusOK || answer != c.want || header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s %s: got %d %s, want %s", c.method, c.target, c.body, status, answer, c.want)
		}
	}
	if want := []string{`disconnect "ann" 0 0`, `disconnect "ann" 0 0`, `disconnect "Änn 1/2?" 0 0`}; !slices.Equal(p.calls, want) {
		t.Errorf("done: got %q, want %q", p.calls, want)
	}
}

// What other dialects hear of an event: see the table of one message that all hear.
func TestAnEventIsSaidAsItWasHandedOver(t *testing.T) {
	p := newPusherTest(t)
	names := dialect.NewNames([16]byte{1, 2, 3})
	socket := names.SocketID(65)
	for _, c := range []struct {
		body string
		want Said
	}{
		{`{"name":"App\\Events\\Shipped","channels":["g"],"data":"{\"a\": 1, \"b\":\"\\u00e9\"}"}`, Said{Payload: []byte(`{"a": 1, "b":"\u00e9"}`), JSON: true, Tags: []byte(`{"event":"App\\Events\\Shipped"}`)}},
		{`{"name":"e","channel":"g","data":" [1,\n2]"}`, Said{Payload: []byte(" [1,\n2]"), JSON: true, Tags: []byte(`{"event":"e"}`)}},
		{`{"name":"e","channel":"g","data":"\"text\""}`, Said{Payload: []byte(`"text"`), Tags: []byte(`{"event":"e"}`)}},
		{`{"name":"\u00e9\"","channel":"g","data":"{no json"}`, Said{Payload: []byte(`{no json`), Tags: []byte(`{"event":"é\""}`)}},
		{`{"name":"client-e","channel":"g","data":"12","socket_id":"` + socket + `"}`, Said{Payload: []byte(`12`), Tags: []byte(`{"event":"client-e"}`), Except: names.Of(65)}},
		{`{"name":"e","channel":"g","data":"","socket_id":""}`, Said{Payload: []byte(``), Tags: []byte(`{"event":"e"}`)}},
	} {
		for _, batch := range []bool{false, true} {
			path, body := "/apps/3/events", c.body
			if batch {
				path, body = "/apps/3/batch_events", `{"batch":[`+strings.Replace(c.body, `"channels":["g"]`, `"channel":"g"`, 1)+`]}`
			}
			clear(p.said)
			if status, answer := p.ask("POST", path, body); status != 200 || len(p.said["g"]) != 1 || !reflect.DeepEqual(p.said["g"][0], c.want) {
				t.Errorf("%s: got %d %s, said %+v, want %+v", body, status, answer, p.said, c.want)
			}
		}
	}
}

func TestAFurtherAppHasGroupsAndUsersOfItsOwn(t *testing.T) {
	p := newPusherTest(t)
	p.here["shop/presence-a"] = presentUsers("ann")
	p.here["presence-a"] = presentUsers("bob", "cid")
	p.said["presence-a"], p.said["z"], p.said["shopping"] = nil, nil, nil
	for _, c := range []struct{ method, target, body, want string }{
		{"POST", "/apps/shop/events", `{"name":"e","channels":["presence-a","c"],"data":"x","info":"user_count"}`, `{"channels":{"presence-a":{"user_count":1},"c":{}}}`},
		{"GET", "/apps/shop/channels", "", `{"channels":{"c":{},"presence-a":{}}}`},
		{"GET", "/apps/shop/channels?filter_by_prefix=c", "", `{"channels":{"c":{}}}`},
		{"GET", "/apps/shop/channels/presence-a/users", "", `{"users":[{"id":"ann"}]}`},
		{"POST", "/apps/shop/users/ann/terminate_connections", `{}`, `{}`},
	} {
		if status, answer, _ := p.answer(pusherAsks(pusherTestApps[1], c.method, c.target, c.body)); status != http.StatusOK || answer != c.want {
			t.Errorf("%s %s %s: got %d %s, want %s", c.method, c.target, c.body, status, answer, c.want)
		}
	}
	if len(p.said["shop/c"]) != 1 || len(p.said["shop/presence-a"]) != 1 || len(p.said["presence-a"]) != 0 {
		t.Errorf("said: got %v, want it in the groups of shop", p.said)
	}
	if want := []string{`disconnect "shop/ann" 0 0`}; !slices.Equal(p.calls, want) {
		t.Errorf("done: got %q, want %q", p.calls, want)
	}
	if status, answer, _ := p.answer(pusherAsks(pusherTestApps[1], "GET", "/apps/shop/connections", "")); status != http.StatusNotFound {
		t.Errorf("connections of a further app: got %d %s, want 404", status, answer)
	}
}

func TestWhatABackendSaysWrongIsRefusedAndNothingIsDone(t *testing.T) {
	channels := func(n int) string {
		var all []string
		for i := range n {
			all = append(all, fmt.Sprintf(`"c%d"`, i))
		}
		return strings.Join(all, ",")
	}
	events := func(n int) string {
		return strings.TrimSuffix(strings.Repeat(`{"channel":"a","name":"e","data":"1"},`, n), ",")
	}
	long := strings.Repeat("a", 201)
	for _, c := range []struct {
		method, target, body string
		status               int
		says                 string
	}{
		{"POST", "/apps/3/events", ``, 400, "one JSON object"},
		{"POST", "/apps/3/events", `[]`, 400, "one JSON object"},
		{"POST", "/apps/3/events", `{"name":"e","channels":["a"],"data":"x"`, 400, "one JSON object"},
		{"POST", "/apps/3/events", `{"name":"e","channels":["a"],"data":"x"} x`, 400, "one JSON object"},
		{"POST", "/apps/3/events", "{\"name\":\"e\xff\",\"channels\":[\"a\"],\"data\":\"x\"}", 400, "UTF-8"},
		{"POST", "/apps/3/events", strings.Repeat(`{"a":`, 600) + `1` + strings.Repeat(`}`, 600), 400, "one JSON object"},
		{"POST", "/apps/3/events", `{"channels":["a"],"data":"x"}`, 400, "name must"},
		{"POST", "/apps/3/events", `{"name":7,"channels":["a"],"data":"x"}`, 400, "name must"},
		{"POST", "/apps/3/events", `{"name":"` + long + `","channels":["a"],"data":"x"}`, 400, "name must"},
		{"POST", "/apps/3/events", `{"name":"pusher:error","channels":["a"],"data":"x"}`, 400, "is the server's"},
		{"POST", "/apps/3/events", `{"name":"pusher_internal:member_added","channels":["a"],"data":"x"}`, 400, "is the server's"},
		{"POST", "/apps/3/events", `{"name":"e","channels":["a"]}`, 400, "data must"},
		{"POST", "/apps/3/events", `{"name":"e","channels":["a"],"data":null}`, 400, "data must"},
		{"POST", "/apps/3/events", `{"name":"e","channels":["a"],"data":{"a":1}}`, 400, "data must"},
		{"POST", "/apps/3/events", `{"name":"e","data":"x"}`, 400, "a channel must"},
		{"POST", "/apps/3/events", `{"name":"e","channel":["a"],"data":"x"}`, 400, "a channel must"},
		{"POST", "/apps/3/events", `{"name":"e","channels":"a","data":"x"}`, 400, "channels must"},
		{"POST", "/apps/3/events", `{"name":"e","channels":[],"data":"x"}`, 400, "channels must"},
		{"POST", "/apps/3/events", `{"name":"e","channels":[7],"data":"x"}`, 400, "a channel must"},
		{"POST", "/apps/3/events", `{"name":"e","channels":["a","shop/a"],"data":"x"}`, 400, `a channel must`},
		{"POST", "/apps/3/events", `{"name":"e","channels":["` + long + `"],"data":"x"}`, 400, "a channel must"},
		{"POST", "/apps/3/events", `{"name":"e","channels":["a b"],"data":"x"}`, 400, `\"a b\"`},
		{"POST", "/apps/3/events", `{"name":"e","channels":["#"],"data":"x"}`, 400, "a channel must"},
		{"POST", "/apps/3/events", `{"name":"e","channels":[` + channels(101) + `],"data":"x"}`, 400, "1 to 100"},
		{"POST", "/apps/3/events", `{"name":"e","channels":["a","private-encrypted-b"],"data":"x"}`, 400, "encrypted"},
		{"POST", "/apps/3/events", `{"name":"e","channels":["a"],"data":"x","socket_id":7}`, 400, "socket_id"},
		{"POST", "/apps/3/events", `{"name":"e","channels":["a"],"data":"x","socket_id":"1234"}`, 400, "socket_id"},
		{"POST", "/apps/3/events", `{"name":"e","channels":["a"],"data":"x","socket_id":"1.2:private-a"}`, 400, "socket_id"},
		{"POST", "/apps/3/events", `{"name":"e","channels":["a"],"data":"x","info":[]}`, 400, "info"},
		{"POST", "/apps/3/events", `{"name":"e","channels":["a"],"data":"` + strings.Repeat("x", door.AppEventBytes+1) + `"}`, 413, "at most 102400"},
		{"POST", "/apps/3/batch_events", `{}`, 400, "array"},
		{"POST", "/apps/3/batch_events", `{"batch":{}}`, 400, "array"},
		{"POST", "/apps/3/batch_events", `{"batch":[` + events(2) + `,7]}`, 400, "event 3 of the batch"},
		{"POST", "/apps/3/batch_events", `{"batch":[` + events(2) + `,{"channel":"a","name":"e"}]}`, 400, "event 3 of the batch: data"},
		{"POST", "/apps/3/batch_events", `{"batch":[` + events(11) + `]}`, 400, "10 events"},
		{"POST", "/apps/3/batch_events", `{"batch":[` + events(2) + `,{"channel":"a","name":"e","data":"` + strings.Repeat("x", door.AppEventBytes+1) + `"}]}`, 413, "event 3"},
		{"GET", "/apps/3/channels?info=user_count", "", 400, "presence-"},
		{"GET", "/apps/3/channels?info=user_count&filter_by_prefix=private-", "", 400, "presence-"},
		{"GET", "/apps/3/channels/a b", "", 400, "a channel must"},
		{"GET", "/apps/3/channels/" + long, "", 400, "a channel must"},
		{"GET", "/apps/3/channels/a/users", "", 400, "only presence channels"},
		{"GET", "/apps/3/channels/presence-crowd/users", "", 400, "more members than"},
		{"POST", "/apps/3", ``, 404, "an app has no"},
		{"POST", "/apps/3/", ``, 404, "an app has no"},
		{"POST", "/apps/3/event", `{}`, 404, "an app has no"},
		{"POST", "/apps/3/events/", `{}`, 404, "an app has no"},
		{"GET", "/apps/3/channels/", "", 404, "an app has no"},
		{"GET", "/apps/3/channels//users", "", 404, "an app has no"},
		{"GET", "/apps/3/channels/a/b", "", 404, "an app has no"},
		{"POST", "/apps/3/users/terminate_connections", "", 404, "an app has no"},
		{"POST", "/apps/3/users//terminate_connections", "", 404, "an app has no"},
		{"POST", "/apps/3/users/shop/ann/terminate_connections", "{}", 400, "another app"},
		{"POST", "/apps/4/events", ``, 404, "no such app"},
		{"POST", "/apps/", ``, 404, "no such app"},
		{"GET", "/apps/3/events", "", 405, "POST is"},
		{"POST", "/apps/3/channels", "{}", 405, "GET is"},
		{"HEAD", "/apps/3/channels", "", 405, ""},
		{"OPTIONS", "/apps/3/events", "", 405, ""},
		{"DELETE", "/apps/3/channels/a", "", 405, "GET is"},
		{"POST", "/up", "", 405, "GET is"},
	} {
		p := newPusherTest(t)
		status, answer, header := p.answer(pusherAsks(pusherTestApps[0], c.method, c.target, c.body))
		var why struct{ Error string }
		if err := json.Unmarshal([]byte(answer), &why); err != nil || status != c.status || !strings.Contains(answer, c.says) {
			t.Errorf("%s %.60s %.100s: got %d %s, want %d %q", c.method, c.target, c.body, status, answer, c.status, c.says)
		}
		if (header.Get("Allow") != "") != (c.status == 405) {
			t.Errorf("%s %s: got Allow %q", c.method, c.target, header.Get("Allow"))
		}
		p.nothingSaid(t, c.method+" "+c.target)
	}
}

func TestWithoutAppsThePathsOfPusherDoNotExist(t *testing.T) {
	p := newPusherTest(t)
	p.apps = nil
	for _, path := range []string{"/up", "/apps/3/channels"} {
		if status, answer := p.ask("GET", path, ""); status != http.StatusNotFound {
			t.Errorf("%s: got %d %s, want 404", path, status, answer)
		}
	}
	if p.Any() || p.Keyed(pusherAsks(pusherTestApps[0], "GET", "/apps/3/channels", "").sign().http()) {
		t.Error("a request counts as signed, want none")
	}
}
