package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzPusherHTTP asks anything in the name of an app that signs it, and once with a signature of another text. Every answer is a JSON
// object of a status that the protocol has; what is not signed does nothing; and encoding/json, reading the same body, finds in it what
// was said.
func FuzzPusherHTTP(f *testing.F) {
	for _, seed := range []struct {
		post              bool
		path, query, body string
	}{
		{true, "events", "", `{"name":"e","channels":["a","b"],"data":"{\"a\":1}","socket_id":"1.2","info":"subscription_count"}`},
		{true, "events", "", `{"name":"\u00e9","channel":"presence-a","data":"x","info":"user_count"}`},
		{true, "events", "", `{"name":"e","channels":["a","b","a"],"data":"one in each"}`},
		{true, "batch_events", "", `{"batch":[{"channel":"a","name":"e","data":"1"},{"channel":"busy","name":"e","data":"\ud800"}]}`},
		{true, "users/a%2Fb/terminate_connections", "", `{}`},
		{false, "channels", "filter_by_prefix=presence-&info[0]=user_count&info[1]=x", ``},
		{false, "channels/cache-a", "info=cache,%", ``},
		{false, "channels/presence-here/users", "a=1&a=2", ``},
		{false, "connections", "auth_key=", ``},
	} {
		f.Add(seed.post, seed.path, seed.query, seed.body)
	}
	f.Fuzz(func(t *testing.T, post bool, path, query, body string) {
		p := newPusherTest(t)
		method := http.MethodGet
		if post {
			method = http.MethodPost
		}
		r := pusherAsks(pusherTestApps[0], method, "/apps/3/"+path, body)
		r.query = map[string]string{}
		for pair := range strings.SplitSeq(query, "&") {
			name, value, _ := strings.Cut(strings.ToLower(pair), "=")
			if name != "" && name != "body_md5" && name != "auth_signature" && !strings.Contains(name, "[") { // a name with a [ is signed as another, see package door
				r.query[name] = value
			}
		}
		status, answer, _ := p.serve(r.sign().http())
		var object map[string]json.RawMessage
		if err := json.Unmarshal([]byte(answer), &object); err != nil || object == nil {
			t.Fatalf("%d is answered with %q, want an object", status, answer)
		}
		if status != 200 && (object["error"] == nil || !slices.Contains(pusherStatuses[:], status)) {
			t.Fatalf("got %d %s, want an error of a known status", status, answer)
		}
		if status == http.StatusUnauthorized {
			t.Fatalf("got %s, want it to count as signed", answer)
		}
		if status == 200 && post && (path == "events" || path == "batch_events") {
			p.agrees(t, body, path == "batch_events")
		}
		p = newPusherTest(t)
		r.query["auth_timestamp"] = fmt.Sprint(pusherTestTime + 1)
		if status, answer, _ := p.serve(r.http()); status == 200 {
			t.Fatalf("what is not signed is answered %s", answer)
		}
		p.nothingSaid(t, "what is not signed")
	})
}

// agrees checks that of each event that encoding/json finds in a body something was said.
func (p *pusherTest) agrees(t *testing.T, body string, isBatch bool) {
	var all map[string]json.RawMessage // of names that differ in their case encoding/json would take any for a field's
	var batch []json.RawMessage
	var channels []string
	if err := json.Unmarshal([]byte(body), &all); err != nil {
		t.Fatalf("done, and encoding/json says %v", err)
	}
	want, said := 1, 0
	if isBatch {
		if err := json.Unmarshal(all["batch"], &batch); err != nil {
			t.Fatalf("done, and encoding/json says %v", err)
		}
		want = len(batch)
	} else if err := json.Unmarshal(all["channels"], &channels); err == nil && channels != nil {
		slices.Sort(channels)
		want = len(slices.Compact(channels))
	}
	for _, in := range p.said {
		for _, s := range in {
			said++
			var tags struct{ Event string }
			if err := json.Unmarshal(s.Tags, &tags); err != nil || tags.Event == "" {
				t.Fatalf("tags %q of an event: %v", s.Tags, err)
			}
			if s.JSON && !json.Valid(s.Payload) || !utf8.Valid(s.Payload) {
				t.Fatalf("said %q, JSON %v", s.Payload, s.JSON)
			}
		}
	}
	if said != want {
		t.Fatalf("said %d, want %d", said, want)
	}
}
