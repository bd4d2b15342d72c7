package api

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"ringcast/dialect"
	"ringcast/loop"
)

func fakeMessage(s Said, offset uint64) *loop.Message {
	m := &loop.Message{}
	m.Wire, m.JSON, m.Offset, m.Kept = fmt.Sprintf("\x81%c%s", len(s.Payload), s.Payload), s.JSON, offset, true
	switch offset {
	case 1:
		m.SenderLoop, m.SenderSerial = 1, 1
	case 3:
		m.SenderLoop, m.SenderSerial, m.More = 1, 1, &dialect.More{Client: "another node's"}
	case 2:
		m.More = &dialect.More{Who: dialect.WhoIs{User: "ann"}.Who(), Tags: []byte(`{"a":"b"}`)}
	}
	return m
}

const testKey = "a key of the tests"

// newTestServer is a server on which the one key is testKey.
func newTestServer() (*Server, *fakeBackend) {
	b, keys := newFakeBackend(), &Keys{}
	keys.Set([]string{"another", testKey})
	return NewServer(ServerConfig{Backend: b, Keys: keys, Name: "here", UID: "this-one", Version: "1.2", RecoveryMax: func() int { return 500 }}), b
}

// ask posts a body, and returns the status and the answer.
func ask(s http.Handler, path, body string, headers ...string) (int, string) {
	status, answer, _ := askFor(s, path, body, headers...)
	return status, answer
}

func askFor(s http.Handler, path, body string, headers ...string) (int, string, http.Header) {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("X-API-Key", testKey)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w.Code, w.Body.String(), w.Header()
}

// unavailable is the answer to what a cluster without a majority has not taken.
const unavailable = `{"error":{"code":111,"message":"too many requests: too few machines of the cluster can be reached, and nothing was sent","temporary":true}}`

func TestEveryMethodAnswersAsTheLibrariesNeedIt(t *testing.T) {
	s, b := newTestServer()
	for _, c := range []struct{ method, params, want string }{
		{"publish", `{"channel":"kept","data":{"n": 1}}`, `{"result":{"offset":1,"epoch":"24c","members":3}}`},
		{"publish", `{"channel":"kept","data":"hi","skip_history":false,"delta":true,"odd":[{}]}`, `{"result":{"offset":2,"epoch":"24c","members":3}}`},
		{"publish", `{"channel":"123","data":"hi"}`, `{"result":{"members":3}}`},
		{"publish", `{"channel":"kept","data":3,"skip_history":true}`, `{"result":{"members":3}}`},
		{"broadcast", `{"channels":["123","kept","loud","busy"],"data":null}`, `{"result":{"responses":[{"result":{"members":3}},` +
			`{"result":{"offset":4,"epoch":"24c","members":3}},` +
			`{"error":{"code":111,"message":"too many requests: the server is too busy to accept this now","temporary":true}},` +
			`{"error":{"code":111,"message":"too many requests: the server is too busy to accept this now","temporary":true}}]}}`},
		{"presence", `{"channel":"here"}`, `{"result":{"presence":{"client-65":{"user":"ann","client":"client-65","conn_info":{"name":"Ann"},"chan_info":1},` +
			`"client-66":{"user":"","client":"client-66"}}}}`},
		{"presence_stats", `{"channel":"here"}`, `{"result":{"num_clients":2,"num_users":2}}`},
		{"presence_stats", `{"channel":"crowd"}`, `{"result":{"num_clients":5000,"num_users":400}}`},
		{"presence_stats", `{"channel":"123"}`, `{"result":{"num_clients":7}}`},
		{"history", `{"channel":"kept"}`, `{"result":{"publications":[],"epoch":"24c","offset":4}}`},
		{"history", `{"channel":"kept","limit":2}`, `{"result":{"publications":[{"data":{"n": 1},"info":{"user":"","client":"client-65"},"offset":1},` +
			`{"data":"hi","info":{"user":"ann","client":""},"offset":2,"tags":{"a":"b"}}],"epoch":"24c","offset":4}}`},
		{"history", `{"channel":"kept","limit":3}`, `{"result":{"publications":[{"data":{"n": 1},"info":{"user":"","client":"client-65"},"offset":1},` +
			`{"data":"hi","info":{"user":"ann","client":""},"offset":2,"tags":{"a":"b"}},{"data":3,"info":{"user":"","client":"another node's"},"offset":3}],"epoch":"24c","offset":4}}`},
		{"history_remove", `{"channel":"kept"}`, `{"result":{}}`},
		{"channels", `{"pattern":"*"}`, `{"result":{"channels":{"123":{"num_clients":3},"kept":{"num_clients":3},"loud":{"num_clients":3}}}}`},
		{"channels", `{"pattern":"more"}`, `{"result":{"channels":{"123":{"num_clients":3},"kept":{"num_clients":3},"loud":{"num_clients":3}},"more":true}}`},
		{"info", `{}`, `{"result":{"nodes":[{"uid":"this-one","name":"here","version":"1.2","num_clients":5,"num_users":4,"num_subs":9,"num_channels":3,"uptime":3600}]}}`},
		{"subscribe", `{"channel":"123","user":"ann"}`, `{"result":{"clients":2}}`},
		{"unsubscribe", `{"channel":"123","user":"ann"}`, `{"result":{"clients":2}}`},
		{"disconnect", `{"user":"ann"}`, `{"result":{"clients":2}}`},
		{"disconnect", `{"user":"ann","client":"one of another process"}`, `{"result":{"clients":0}}`},
		{"refresh", `{"user":"ann","expire_at":1900000000}`, `{"result":{"clients":2}}`},
		{"revoke", `{"user":"ann","before":1700000000}`, `{"result":{"clients":2}}`},
		{"batch", `{"commands":[{"publish":{"channel":"123","data":1}},{"info":{}},{"nothing":{}},{"publish":{"channel":"loud","data":1}},{"history_remove":{"channel":"x"}}],"parallel":true}`,
			`{"replies":[{"publish":{"members":3}},{"info":{"nodes":[{"uid":"this-one","name":"here","version":"1.2","num_clients":5,"num_users":4,"num_subs":9,"num_channels":3,"uptime":3600}]}},` +
				`{"error":{"code":104,"message":"method not found"}},{"error":{"code":111,"message":"too many requests: the server is too busy to accept this now","temporary":true}},{"history_remove":{}}]}`},
		{"batch", ` {"parallel":false, "commands" : [ ] } `, `{"replies":[]}`},
		{"broadcast", `{"channels":["123","minority","no word"],"data":null}`, `{"result":{"responses":[{"result":{"members":3}},` + unavailable + `,{"error":{"code":100,"message":"unknown"}}]}}`},
		{"batch", `{"commands":[{"publish":{"channel":"no word","data":1}},{"publish":{"channel":"minority","data":1}},{"publish":{"channel":"123","data":1}}]}`,
			`{"replies":[{"error":{"code":100,"message":"unknown"}},` + unavailable + `,{"publish":{"members":3}}]}`},
		{"", `{"id":1,"method":"publish","params":{"channel":"no word","data":"x"}}{"method":"publish","params":{"channel":"apart","data":"x"}}`,
			`{"id":1,"error":{"code":100,"message":"unknown"}}` + "\n" + unavailable + "\n"},
		{"", `{"method":"publish","params":{"channel":"kept","data":"x"}}` + "\n" + `{"id":7,"method":"info"}{"method":"history_remove","params":{"channel":"x"}}` + "\n\n" + `{"method":"rpc","id":8}`,
			`{"result":{"offset":5,"epoch":"24c","members":3}}` + "\n" +
				`{"id":7,"result":{"nodes":[{"uid":"this-one","name":"here","version":"1.2","num_clients":5,"num_users":4,"num_subs":9,"num_channels":3,"uptime":3600}]}}` + "\n" +
				`{"result":{}}` + "\n" + `{"id":8,"error":{"code":104,"message":"method not found"}}` + "\n"},
	} {
		path := strings.TrimSuffix("/api/"+c.method, "/")
		status, got, header := askFor(s, path, c.params)
		if status != http.StatusOK || got != c.want {
			t.Errorf("%s %s:\ngot  %d %s\nwant     %s", c.method, c.params, status, got, c.want)
		}
		if kind := header.Get("Content-Type"); kind != "application/json" {
			t.Errorf("%s: content type: got %q", c.method, kind)
		}
		for line := range strings.Lines(got) {
			if !json.Valid([]byte(line)) {
				t.Errorf("%s: this line is no JSON: %s", c.method, line)
			}
		}
	}
	want := []Said{{Payload: []byte(`{"n": 1}`), JSON: true}, {Payload: []byte("hi")}, {Payload: []byte("3"), JSON: true, Unkept: true},
		{Payload: []byte("null"), JSON: true}, {Payload: []byte("x")}}
	if !reflect.DeepEqual(b.said["kept"], want) {
		t.Errorf("said:\ngot  %+v\nwant %+v", b.said["kept"], want)
	}
}

// Where the server is several nodes, and not all have answered, the result is that of the others and says so.
func TestResultsSayWhetherAllNodesHaveAnswered(t *testing.T) {
	s, b := newTestServer()
	b.some = &loop.Partly{Nodes: 3, Answered: 2}
	b.nodes = []loop.NodeInfo{{UID: "one", Name: "here", Version: "1.2", Clients: 6}, {UID: "other", Name: "there", Version: "1.1", Clients: 1, Users: 2, Members: 3, Groups: 4, Uptime: 5}}
	for _, c := range []struct{ method, params, want string }{
		{"disconnect", `{"user":"ann"}`, `{"result":{"clients":2,"nodes":3,"answered":2}}`},
		{"subscribe", `{"channel":"123","user":"ann"}`, `{"result":{"clients":2,"nodes":3,"answered":2}}`},
		{"unsubscribe", `{"channel":"123","user":"ann"}`, `{"result":{"clients":2,"nodes":3,"answered":2}}`},
		{"refresh", `{"user":"ann"}`, `{"result":{"clients":2,"nodes":3,"answered":2}}`},
		{"revoke", `{"user":"ann"}`, `{"result":{"clients":2,"nodes":3,"answered":2}}`},
		{"revoke", `{"user":"busy"}`, `{"error":{"code":111,"message":"too many requests: the server is too busy to accept this now","temporary":true}}`},
		{"channels", `{}`, `{"result":{"channels":{},"nodes":3,"answered":2}}`},
		{"presence", `{"channel":"123"}`, `{"error":{"code":108,"message":"not available: channels of this kind have no presence"}}`},
		{"presence_stats", `{"channel":"123"}`, `{"result":{"num_clients":7,"nodes":3,"answered":2}}`},
		{"info", `{}`, `{"result":{"nodes":[{"uid":"one","name":"here","version":"1.2","num_clients":6,"num_users":0,"num_subs":0,"num_channels":0,"uptime":0},` +
			`{"uid":"other","name":"there","version":"1.1","num_clients":1,"num_users":2,"num_subs":3,"num_channels":4,"uptime":5}],"num_nodes":3}}`},
	} {
		if status, got := ask(s, "/api/"+c.method, c.params); status != http.StatusOK || got != c.want {
			t.Errorf("%s %s:\ngot  %d %s\nwant     %s", c.method, c.params, status, got, c.want)
		}
	}
}

func TestWhatIsSaidIsKeptByteForByte(t *testing.T) {
	for _, c := range []struct {
		params string
		want   Said
	}{
		{`"data":{ "a" : [1,2 ,3],"b":"\u00e9" }`, Said{Payload: []byte(`{ "a" : [1,2 ,3],"b":"\u00e9" }`), JSON: true}},
		{`"data":"two\nlines \u00e9 \ud83d\ude00"`, Said{Payload: []byte("two\nlines é 😀")}},
		{`"data":1.50`, Said{Payload: []byte("1.50"), JSON: true}},
		{`"data":""`, Said{Payload: []byte{}}},
		{`"data":null,"b64data":"eyJhIjoxfQ=="`, Said{Payload: []byte(`{"a":1}`), JSON: true}},
		{`"b64data":"aGkgdGhlcmU="`, Said{Payload: []byte("hi there")}},
		{`"b64data":"Imhp4oKsIg=="`, Said{Payload: []byte("hi€")}},
		{`"b64data":"ICJoaSIK"`, Said{Payload: []byte("hi")}},
		{`"b64data":"ICJo"`, Said{Payload: []byte(` "h`)}},
		{`"b64data":"","data":1`, Said{Payload: []byte("1"), JSON: true}},
		{`"data":1,"tags":{"a": "b",` + "\n" + `"c":""}`, Said{Payload: []byte("1"), JSON: true, Tags: []byte(`{"a": "b","c":""}`)}},
		{`"data":1,"tags":{}`, Said{Payload: []byte("1"), JSON: true}},
		{`"data":1,"tags":[ ]`, Said{Payload: []byte("1"), JSON: true}},
		{`"data":1,"tags":null,"skip_history":true,"idempotency_key":"k\u0031"`, Said{Payload: []byte("1"), JSON: true, Unkept: true, Key: "k1"}},
		{`"data":1,"d\u0061ta":2`, Said{Payload: []byte("2"), JSON: true}},
	} {
		s, b := newTestServer()
		status, answer := ask(s, "/api/publish", `{"channel":"g",`+c.params+`}`)
		if status != http.StatusOK || len(b.said["g"]) != 1 || !reflect.DeepEqual(b.said["g"][0], c.want) {
			t.Errorf("%s:\ngot  %+v, %s\nwant %+v", c.params, b.said["g"], answer, c.want)
		}
	}
}

func TestARepeatedPublishIsAnsweredAsTheFirst(t *testing.T) {
	s, b := newTestServer()
	body := `{"channel":"kept","data":1,"idempotency_key":"k"}`
	_, first := ask(s, "/api/publish", body)
	_, second := ask(s, "/api/publish", body)
	if first != second || len(b.said["kept"]) != 1 {
		t.Errorf("got %s and %s, and said %d times", first, second, len(b.said["kept"]))
	}
}

func TestEveryRefusalSaysWhatItIs(t *testing.T) {
	long := strings.Repeat("x", 2000)
	for _, c := range []struct {
		method, params string
		code           int
		status         int // in transport error mode
		says           string
	}{
		{"publish", `{"channel":"busy","data":1}`, 111, 503, "busy"},
		{"publish", `{"channel":"loud","data":1}`, 111, 503, "busy"},
		{"publish", `{"channel":"stopping","data":1}`, 111, 503, "stopping"},
		{"publish", `{"channel":"closed","data":1}`, 111, 503, "stopping"},
		{"publish", `{"channel":"slow","data":1}`, 100, 504, "not known"},
		{"publish", `{"channel":"stopped","data":1}`, 100, 504, "not known"},
		{"publish", `{"channel":"broken","data":1}`, 100, 500, "internal"},
		{"publish", `{"channel":"apart","data":1}`, 111, 503, "nothing was sent"},
		{"publish", `{"channel":"minority","data":1}`, 111, 503, "nothing was sent"},
		{"publish", `{"channel":"no word","data":1}`, 100, 504, "unknown"},
		{"history_remove", `{"channel":"apart"}`, 111, 503, "nothing was sent"},
		{"history_remove", `{"channel":"no word"}`, 100, 504, "unknown"},
		{"publish", `{"channel":"bad","data":1}`, 107, 400, "name"},
		{"publish", `{"channel":"long","data":1}`, 107, 400, "--message-max"},
		{"publish", `{"channel":"g"}`, 107, 400, "data"},
		{"publish", `{"data":1}`, 107, 400, "channel"},
		{"publish", `{"channel":5,"data":1}`, 107, 400, "channel"},
		{"publish", `{"channel":"","data":1}`, 107, 400, "channel"},
		{"publish", `{"channel":"g","b64data":"*"}`, 107, 400, "b64data"},
		{"publish", `{"channel":"g","b64data":"/w=="}`, 107, 400, "b64data"},
		{"publish", `{"channel":"g","data":1,"tags":{"a":1}}`, 107, 400, "tags"},
		{"publish", `{"channel":"g","data":1,"tags":["a"]}`, 107, 400, "tags"},
		{"publish", `{"channel":"g","data":1,"tags":"a"}`, 107, 400, "tags"},
		{"publish", `{"channel":"g","data":1,"tags":{"a":"` + strings.Repeat(long, 9) + `"}}`, 107, 400, "tags"},
		{"publish", `{"channel":"g","data":1,"idempotency_key":5}`, 107, 400, "idempotency_key"},
		{"publish", `{"channel":"g","data":1,"idempotency_key":"` + long + `"}`, 107, 400, "idempotency_key"},
		{"publish", `{"channel":"g","data":1,"skip_history":"yes"}`, 107, 400, "skip_history"},
		{"publish", `{"channel":"g","data":1,"version":3}`, 108, 400, "version"},
		{"broadcast", `{"channels":[],"data":1}`, 107, 400, "channels"},
		{"broadcast", `{"channels":["g",""],"data":1}`, 107, 400, "channels"},
		{"broadcast", `{"channels":"g","data":1}`, 107, 400, "channels"},
		{"broadcast", `{"channels":["g"]}`, 107, 400, "data"},
		{"broadcast", `{"data":1,"channels":[` + strings.Repeat(`"g",`, broadcastMax) + `"g"]}`, 106, 400, "100000"},
		{"presence", `{"channel":"crowd"}`, 106, 400, "members"},
		{"presence", `{"channel":"g"}`, 108, 400, "presence"},
		{"presence", `{"channel":"busy"}`, 111, 503, "busy"},
		{"presence_stats", `{"channel":"stopping"}`, 111, 503, "stopping"},
		{"history", `{"channel":"g"}`, 108, 400, "history"},
		{"history", `{"channel":"kept","since":{"offset":1,"epoch":"no"}}`, 112, 416, "unrecoverable position"},
		{"history", `{"channel":"kept","since":7}`, 107, 400, "since"},
		{"history", `{"channel":"kept","since":{"offset":"1"}}`, 107, 400, "since"},
		{"history", `{"channel":"kept","limit":1.5}`, 107, 400, "limit"},
		{"history", `{"channel":"kept","reverse":1}`, 107, 400, "reverse"},
		{"history_remove", `{}`, 107, 400, "channel"},
		{"history_remove", `{"channel":"plain"}`, 108, 400, "history"},
		{"history_remove", `{"channel":"panic"}`, 100, 504, "not known"},
		{"channels", `{"pattern":5}`, 107, 400, "pattern"},
		{"channels", `{"pattern":"` + long + `"}`, 107, 400, "pattern"},
		{"channels", `{"pattern":"busy"}`, 111, 503, "busy"},
		{"subscribe", `{"channel":"g"}`, 107, 400, "user"},
		{"subscribe", `{"channel":"g","user":5}`, 107, 400, "user"},
		{"subscribe", `{"user":"ann"}`, 107, 400, "channel"},
		{"subscribe", `{"channel":"g","user":"ann","expire_at":1900000000}`, 108, 400, "expire_at"},
		{"subscribe", `{"channel":"g","user":"ann","data":{}}`, 108, 400, "data"},
		{"subscribe", `{"channel":"g","user":"ann","recover_since":{"offset":1}}`, 108, 400, "recover_since"},
		{"subscribe", `{"channel":"g","user":"ann","b64info":"bm8="}`, 107, 400, "b64info"},
		{"subscribe", `{"channel":"g","user":"ann","info":"` + long + long + long + `"}`, 107, 400, "info"},
		{"unsubscribe", `{"channel":"g","client":7}`, 107, 400, "client"},
		{"disconnect", `{}`, 107, 400, "user or client"},
		{"disconnect", `{"user":"ann","session":"s"}`, 108, 400, "session"},
		{"disconnect", `{"user":"ann","whitelist":["client-1"]}`, 108, 400, "whitelist"},
		{"disconnect", `{"user":"ann","disconnect":{"code":1000}}`, 107, 400, "3000"},
		{"disconnect", `{"user":"ann","disconnect":{"code":4000,"reason":"` + long + `"}}`, 107, 400, "reason"},
		{"disconnect", `{"user":"ann","disconnect":[]}`, 107, 400, "disconnect"},
		{"disconnect", `{"user":"stopping"}`, 100, 504, "not known"},
		{"refresh", `{"user":"ann","expire_at":"soon"}`, 107, 400, "expire_at"},
		{"refresh", `{"user":"ann","info":{}}`, 108, 400, "info"},
		{"revoke", `{}`, 107, 400, "user"},
		{"revoke", `{"user":"revoked"}`, 106, 400, "revoked"},
		{"revoke", `{"user":"ann","before":"now"}`, 107, 400, "before"},
		{"revoke", `{"user":"ann","before":1900000000000}`, 107, 400, "before"}, // milliseconds
		{"revoke", `{"user":"` + long + long + `"}`, 107, 400, "user"},
		{"refresh", `{"user":"ann","expire_at":1900000000000}`, 107, 400, "expire_at"},
	} {
		s, b := newTestServer()
		var answer struct {
			Result json.RawMessage
			Error  struct {
				Code      int
				Message   string
				Temporary bool
			}
		}
		status, text := ask(s, "/api/"+c.method, c.params)
		what := fmt.Sprintf("%s %.60s: got %d %.300s", c.method, c.params, status, text)
		if err := json.Unmarshal([]byte(text), &answer); err != nil || status != http.StatusOK || answer.Result != nil ||
			answer.Error.Code != c.code || !strings.Contains(answer.Error.Message, c.says) || answer.Error.Temporary != (c.code == 111) {
			t.Errorf("%s, want %d that says %q", what, c.code, c.says)
		}
		status, bare, header := askFor(s, "/api/"+c.method, c.params, "X-Centrifugo-Error-Mode", "transport")
		if status != c.status || `{"error":`+bare+`}` != text || (header.Get("Retry-After") != "") != (status == http.StatusServiceUnavailable) {
			t.Errorf("%s; in transport mode %d %s with Retry-After %q, want %d", what, status, bare, header.Get("Retry-After"), c.status)
		}
		if c.code == 107 && c.method != "history_remove" && (len(b.said) > 0 || slices.ContainsFunc(b.calls, func(call string) bool { return !strings.HasPrefix(call, "history ") })) {
			t.Errorf("%s, but something was done: %v %v", what, b.said, b.calls)
		}
	}
}

// The answer of a home whose cluster has no majority comes when its Wait is over; a request must live for longer.
func TestAClusterIsWaitedFor(t *testing.T) {
	for _, wait := range []time.Duration{0, 5 * time.Minute} {
		s, b := newTestServer()
		s.cfg.Wait = wait
		began := time.Now()
		for _, path := range []string{"/api/publish", "/api/batch"} {
			body := `{"channel":"g","data":1}`
			if path == "/api/batch" {
				body = `{"commands":[{"publish":` + body + `}]}`
			}
			ask(s, path, body)
			if got, most := b.until.Sub(began), wait+callTimeout+time.Minute; got < wait+callTimeout || got > most {
				t.Errorf("%s with a cluster's wait of %v: got %v, want %v to %v", path, wait, got, wait+callTimeout, most)
			}
		}
		log := slog.New(slog.DiscardHandler)
		public := NewPublic(PublicConfig{Log: log, Wait: wait, PublicBounds: PublicBounds{HeaderTimeout: 10 * time.Second, BodyTimeout: time.Minute}})
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		admin := Serve(listener, Config{Log: log, Wait: wait})
		for name, got := range map[string]time.Duration{"the public port": public.server.http.WriteTimeout, "the admin address": admin.http.WriteTimeout} {
			if got < wait+callTimeout+time.Second {
				t.Errorf("%s: got answers cut after %v, want them waited for", name, got)
			}
		}
		public.Close()
		admin.Close(t.Context())
	}
}

func TestWhoIsMeantIsPassedOn(t *testing.T) {
	s, b := newTestServer()
	for _, c := range []struct{ method, params, want string }{
		{"subscribe", `{"channel":"g","user":"ann","info":{"a":` + "\n" + `1},"presence":true,"override":{}}`, `subscribe "ann" 0 g {"a":1}`},
		{"subscribe", `{"channel":"g","user":"ann","client":"client-65","b64info":"eyJhIjoxfQ=="}`, `subscribe "ann" 65 g {"a":1}`},
		{"unsubscribe", `{"channel":"g","client":"client-65"}`, `unsubscribe "" 65 g`},
		{"disconnect", `{"user":"ann","Disconnect":null,"ClientWhitelist":null,"client":"","session":"","whitelist":[]}`, `disconnect "ann" 0 0`},
		{"disconnect", `{"user":"ann","disconnect":{"code":4500,"reason":"so","reconnect":false}}`, `disconnect "ann" 0 4500 so`},
		{"disconnect", `{"user":"ann","Disconnect":{"code":4501,"reason":"so"}}`, `disconnect "ann" 0 4501 so`},
		{"refresh", `{"user":"ann"}`, `refresh "ann" 0 0`},
		{"refresh", `{"user":"ann","expired":true}`, `refresh "ann" 0 1`},
		{"revoke", `{"user":"ann"}`, `revoke "ann" 0 0`},
		{"history", `{"channel":"kept","limit":-1,"since":{"epoch":"24c"},"reverse":true}`, fmt.Sprintf("history kept %+v",
			Ask{Limit: -1, Reverse: true, HasSince: true, Since: Position{Epoch: fakeEpoch}, MessagesMax: 500, BytesMax: historyBytesMax})},
	} {
		b.calls = nil
		if status, answer := ask(s, "/api/"+c.method, c.params); status != http.StatusOK || len(b.calls) != 1 || b.calls[0] != c.want {
			t.Errorf("%s %s: got %q, %s, want %q", c.method, c.params, b.calls, answer, c.want)
		}
	}
}

func TestWithoutAGoodKeyNothingIsAnswered(t *testing.T) {
	s, b := newTestServer()
	const body = `{"channel":"g","data":1}`
	for _, c := range []struct {
		what, path, header, value string
		want                      int
	}{
		{"the header", "/api/publish", "X-API-Key", testKey, 200},
		{"the other key", "/api/publish", "X-API-Key", "another", 200},
		{"Authorization", "/api/publish", "Authorization", "apikey " + testKey, 200},
		{"Authorization in other letters", "/api/publish", "Authorization", "ApiKey  another", 200},
		{"the parameter", "/api/publish?a=b&api_key=another", "", "", 200},
		{"the parameter beside a wrong header", "/api/publish?api_key=another", "X-API-Key", "wrong", 200},
		{"none", "/api/publish", "", "", 401},
		{"none, and no such method", "/api/nothing", "", "", 401},
		{"a wrong one", "/api/publish", "X-API-Key", testKey + "x", 401},
		{"a part of one", "/api/publish", "X-API-Key", testKey[1:], 401},
		{"another scheme", "/api/publish", "Authorization", "Bearer " + testKey, 401},
		{"an empty one", "/api/publish?api_key=", "Authorization", "apikey ", 401},
	} {
		headers := []string{"X-API-Key", ""}
		if c.header != "" {
			headers = append(headers, c.header, c.value)
		}
		b.said = map[string][]Said{}
		status, answer := ask(s, c.path, body, headers...)
		if status != c.want || (len(b.said) > 0) != (status == http.StatusOK) || strings.Contains(answer, testKey) {
			t.Errorf("%s: got %d %s, want %d", c.what, status, answer, c.want)
		}
	}
}

func TestKeysChangeAtOnceAndWithoutAnyThereIsNoAPI(t *testing.T) {
	s, _ := newTestServer()
	keys := s.cfg.Keys
	const body = `{"channel":"g","data":1}`
	for _, c := range []struct {
		keys []string
		want int
	}{{[]string{"x"}, 401}, {nil, 404}, {[]string{"x", testKey}, 200}, {[]string{}, 404}} {
		keys.Set(c.keys)
		for _, path := range []string{"/api/publish", "/api"} {
			body := body
			if path == "/api" {
				body = `{"method":"publish","params":` + body + `}`
			}
			if status, answer := ask(s, path, body); status != c.want {
				t.Errorf("%s with keys %q: got %d %s, want %d", path, c.keys, status, answer, c.want)
			}
		}
	}
	r := httptest.NewRequest(http.MethodPost, "/api", nil)
	r.Header.Set("X-API-Key", testKey)
	if (&Keys{}).Any() || (&Keys{}).Has(r) {
		t.Error("keys that nobody has set count")
	}
}

func TestWhatIsNoRequestOfTheAPIIsAnHTTPError(t *testing.T) {
	s, b := newTestServer()
	for _, c := range []struct {
		path, body string
		want       int
	}{
		{"/api/nothing", `{}`, 404},
		{"/api/publish/", `{}`, 404},
		{"/api/publish", ``, 400},
		{"/api/publish", ` `, 400},
		{"/api/publish", `[]`, 400},
		{"/api/publish", `null`, 400},
		{"/api/publish", `"x"`, 400},
		{"/api/publish", `{"channel":"g","data":1}x`, 400},
		{"/api/publish", `{"channel":"g","data":1`, 400},
		{"/api/publish", "{\"channel\":\"g\",\"data\":\"\xff\"}", 400},
		{"/api/batch", `{}`, 400},
		{"/api/batch", ``, 400},
		{"/api/batch", `[]`, 400},
		{"/api/batch", `{"commands":{}}`, 400},
		{"/api/batch", `{"commands"}`, 400},
		{"/api", ``, 400},
		{"/api", `[]`, 400},
		{"/api", `{"method":"publish"`, 400},
		{"/api", `x{"method":"publish"}`, 400},
	} {
		if status, answer := ask(s, c.path, c.body); status != c.want {
			t.Errorf("%s %q: got %d %s, want %d", c.path, c.body, status, answer, c.want)
		}
	}
	for _, method := range []string{"GET", "PUT", "OPTIONS"} {
		r := httptest.NewRequest(method, "/api/publish", nil)
		r.Header.Set("X-API-Key", testKey)
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "POST" {
			t.Errorf("%s: got %d, want 405", method, w.Code)
		}
	}
	if len(b.said) > 0 {
		t.Errorf("something was done: %v", b.said)
	}
}

// test answers on real connections.
func (s *Server) test(t testing.TB) (url string) { return "http://" + testServer(t, s) }

func testServer(t testing.TB, h http.Handler) (address string) {
	ts := httptest.NewServer(h)
	t.Cleanup(ts.Close)
	return strings.TrimPrefix(ts.URL, "http://")
}

// post sends a body of unknown length, and gives what comes back.
func post(t testing.TB, url string, body io.Reader) *http.Response {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, url, body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-API-Key", testKey)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { answer.Body.Close() })
	return answer
}

func TestCommandsErrorsAndWrongKeysAreCounted(t *testing.T) {
	s, _ := newTestServer()
	ask(s, "/api/publish", `{"channel":"g","data":1}`)
	ask(s, "/api/publish", `{"channel":"loud","data":1}`)
	ask(s, "/api/broadcast", `{"channels":["g","busy"],"data":1}`)
	ask(s, "/api", oldLine("g", 1)+oldLine("busy", 1)+oldLine("", 1)+`{"method":"no"}`)
	ask(s, "/api/batch", `{"commands":[{"info":{}},{"publish":{"channel":"slow","data":1}}]}`)
	ask(s, "/api/nothing", `{}`)
	ask(s, "/api/info", `{}`, "X-API-Key", "wrong")
	want := `ringcast_api_commands_total{method="broadcast"} 1
ringcast_api_commands_total{method="info"} 1
ringcast_api_commands_total{method="publish"} 6
ringcast_api_errors_total{code="100"} 1
ringcast_api_errors_total{code="104"} 2
ringcast_api_errors_total{code="107"} 1
ringcast_api_errors_total{code="111"} 2
ringcast_api_unauthorized_total 1
`
	got := ""
	all := prometheus.NewRegistry()
	all.MustRegister(s)
	families, err := all.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, one := range family.Metric {
			if one.Counter.GetValue() == 0 {
				continue
			}
			got += family.GetName()
			for _, l := range one.Label {
				got += fmt.Sprintf("{%s=%q}", l.GetName(), l.GetValue())
			}
			got += fmt.Sprintln("", one.Counter.GetValue())
		}
	}
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}
