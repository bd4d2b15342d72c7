package api

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// noticed is a body that says whether it was read.
type noticed struct {
	io.Reader
	read *bool
}

// Read is part of io.Reader.
func (n noticed) Read(p []byte) (int, error) {
	*n.read = true
	return n.Reader.Read(p)
}

func TestOnlyWhatAnAppHasSignedIsDoneAndNoOtherBodyIsRead(t *testing.T) {
	type change func(r *pusherRequest)
	set := func(name, value string) change { return func(r *pusherRequest) { r.query[name] = value } }
	remove := func(name string) change { return func(r *pusherRequest) { delete(r.query, name) } }
	at := func(seconds int64) change { return func(r *pusherRequest) { r.at = pusherTestTime + seconds } }
	none := change(func(*pusherRequest) {})
	for _, c := range []struct {
		what          string
		before, after change // it is signed
		signed        bool   // as far as its head tells
		done          bool
	}{
		{"as it is", none, none, true, true},
		{"a signature in capitals", none, func(r *pusherRequest) { r.query["auth_signature"] = strings.ToUpper(r.query["auth_signature"]) }, true, true},
		{"ten minutes old", at(-600), none, true, true},
		{"ten minutes early", at(600), none, true, true},
		{"repeated after more than ten minutes", at(-601), none, false, false},
		{"from the future", at(601), none, false, false},
		{"no time", none, remove("auth_timestamp"), false, false},
		{"another time", none, set("auth_timestamp", fmt.Sprint(pusherTestTime-1)), false, false},
		{"another signature", none, set("auth_signature", strings.Repeat("0", 64)), false, false},
		{"no signature", none, remove("auth_signature"), false, false},
		{"half a signature", none, func(r *pusherRequest) { r.query["auth_signature"] = r.query["auth_signature"][:32] }, false, false},
		{"no key", none, remove("auth_key"), false, false},
		{"another app's key", none, set("auth_key", pusherTestApps[1].Key), false, false},
		{"another app's secret", func(r *pusherRequest) { r.app.Secret = pusherTestApps[1].Secret }, none, false, false},
		{"another app", func(r *pusherRequest) { r.app = pusherTestApps[1] }, none, false, false},
		{"another app's path", none, func(r *pusherRequest) { r.path = "/apps/shop/events" }, false, false},
		{"another call", none, func(r *pusherRequest) { r.path = "/apps/3/batch_events" }, false, false},
		{"another method", none, func(r *pusherRequest) { r.method = "GET" }, false, false},
		{"a parameter more", none, set("info", "user_count"), false, false},
		{"another body", none, func(r *pusherRequest) { r.body = strings.Replace(r.body, "x", "y", 1) }, true, false},
		{"a longer body", none, func(r *pusherRequest) { r.body += " " }, true, false},
		{"the body left out", none, func(r *pusherRequest) { r.body = "" }, true, false},
		{"another MD5", none, set("body_md5", strings.Repeat("0", 32)), false, false},
		{"no MD5", func(r *pusherRequest) { r.unhashed = true }, none, true, false},
	} {
		p := newPusherTest(t)
		r := pusherAsks(pusherTestApps[0], "POST", "/apps/3/events", `{"name":"e","channels":["a"],"data":"x"}`)
		c.before(r)
		r.sign()
		c.after(r)
		request, read := r.http(), false
		request.Body = io.NopCloser(noticed{request.Body, &read})
		if signed := p.Keyed(request); signed != c.signed {
			t.Errorf("%s: counts as signed %v, want %v", c.what, signed, c.signed)
		}
		status, answer, _ := p.serve(request)
		switch {
		case c.done && (status != 200 || len(p.said["a"]) != 1):
			t.Errorf("%s: got %d %s, said %v, want it said", c.what, status, answer, p.said)
		case !c.done && r.method == "POST" && status != 401:
			t.Errorf("%s: got %d %s, want 401", c.what, status, answer)
		case read != c.signed:
			t.Errorf("%s: got its body read %v, want %v", c.what, read, c.signed)
		}
		if !c.done {
			p.nothingSaid(t, c.what)
		}
	}
}

// The examples of Pusher's documents, and of its libraries.
func TestTheSignaturesOfTheLibrariesAreGood(t *testing.T) {
	const head = "auth_key=278d425bdf160c739803&auth_timestamp=1353088179&auth_version=1.0"
	for _, c := range []struct{ method, target, body string }{
		{"POST", "/apps/3/events?" + head + "&body_md5=ec365a775a4cd0599faeb73354201b6f&auth_signature=da454824c97ba181a32ccc17a72625ba02771f50b50e1e7430e47a1f3f457e6c",
			`{"name":"foo","channels":["project-3"],"data":"{\"some\":\"data\"}"}`},
		{"GET", "/apps/3/channels?" + head + "&filter_by_prefix=presence-&info=user_count&auth_signature=16819168891cb5dfd72b5c7a5d3d602605b26c6ba1930033b5e2eeeb65010291", ""},
		{"GET", "/apps/3/channels/presence-foobar?" + head + "&info=user_count%2Csubscription_count&auth_signature=377ee9260ea002a70c0d40cd887d55cb36db9f7f821297f5efacbcce66be356d", ""},
		{"GET", "/apps/3/channels/presence-foobar?auth_signature=377ee9260ea002a70c0d40cd887d55cb36db9f7f821297f5efacbcce66be356d&info=user_count,subscription_count&" + head, ""},
		{"POST", "/apps/3/users/u1/terminate_connections?" + head + "&body_md5=99914b932bd37a50b983c5e7c90ae93b&auth_signature=61efad5e9fe693a686a71ff197d9770bd2c257d87ce961f4efda2dae952c4345", "{}"},
	} {
		p := newPusherTest(t)
		status, answer, _ := p.serve(httptest.NewRequest(c.method, c.target, strings.NewReader(c.body)))
		if status != http.StatusOK {
			t.Errorf("%s %s: got %d %s, want 200", c.method, c.target, status, answer)
		}
	}
}

// What libraries hand to an HTTP client is escaped by some of these and by others not, behind the signature.
func TestAPathIsSignedAsItWasOrAsItCame(t *testing.T) {
	for _, c := range []struct{ signed, sent, user string }{
		{"/apps/3/users/ä b/terminate_connections", "/apps/3/users/%C3%A4%20b/terminate_connections", "ä b"},
		{"/apps/3/users/%C3%A4%20b/terminate_connections", "/apps/3/users/%C3%A4%20b/terminate_connections", "ä b"},
		{"/apps/3/users/a@b,c/terminate_connections", "/apps/3/users/a@b,c/terminate_connections", "a@b,c"},
		{"/apps/3/users/a@b,c/terminate_connections", "/apps/3/users/a%40b%2Cc/terminate_connections", "a@b,c"},
	} {
		p := newPusherTest(t)
		r := pusherAsks(pusherTestApps[0], "POST", c.signed, "{}").sign().http()
		_, query, _ := strings.Cut(r.URL.String(), "?")
		status, answer, _ := p.serve(httptest.NewRequest("POST", c.sent+"?"+query, strings.NewReader("{}")))
		if want := fmt.Sprintf("disconnect %q 0 0", c.user); status != 200 || len(p.calls) != 1 || p.calls[0] != want {
			t.Errorf("%s sent as %s: got %d %s, done %q, want %q", c.signed, c.sent, status, answer, p.calls, want)
		}
	}
}

// A connection is kept by a backend whose requests are answered, and ended where a body was not read.
func TestABackendOfPusherKeepsItsConnectionAndItsPlace(t *testing.T) {
	test := newPusherTest(t)
	test.now = time.Now
	p := servePublic(t, PublicConfig{Pusher: test.Pusher, Keyed: test.Keyed, PublicBounds: PublicBounds{HeaderTimeout: time.Hour, BodyTimeout: time.Hour}})
	c := p.dial()
	post := func(app string) string {
		r := pusherAsks(pusherTestApps[0], "POST", "/apps/3/events", `{"name":"e","channels":["a"],"data":"x"}`)
		r.at = time.Now().Unix()
		r.app.Secret = app
		h := r.sign().http()
		return fmt.Sprintf("POST %s HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", h.URL.RequestURI(), len(r.body))
	}
	body := `{"name":"e","channels":["a"],"data":"x"}`
	for i := range 3 {
		c.say("%s%s", post(pusherTestApps[0].Secret), body)
		res, answer := c.hear("POST")
		if res.StatusCode != 200 || answer != "{}" || res.Close || p.Stats().Keyed != 1 {
			t.Fatalf("request %d: got %s %s, close %v, %d places of who has signed; want 200, and one", i, res.Status, answer, res.Close, p.Stats().Keyed)
		}
	}
	if got := c.answered(request("/up")); got != 200 {
		t.Errorf("/up: got %d, want 200", got)
	}
	if got := c.answered(request("/apps")); got != 404 {
		t.Errorf("/apps: got %d, want 404", got)
	}
	c.say("%s", post("another secret")) // and no body
	if res, answer := c.hear("POST"); res.StatusCode != 401 || !strings.Contains(answer, "auth_signature") {
		t.Errorf("not signed: got %s %s, want 401 at once", res.Status, answer)
	}
	c.over("not signed")
	if len(test.said["a"]) != 3 {
		t.Errorf("said: got %v, want three", test.said)
	}
	large := p.dial()
	r := pusherAsks(pusherTestApps[0], "POST", "/apps/3/events", `{"name":"e","channels":["a"],"data":"`+strings.Repeat("x", 2000)+`"}`)
	r.at = time.Now().Unix()
	h := r.sign().http()
	large.say("POST %s HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", h.URL.RequestURI(), len(r.body), r.body)
	if res, answer := large.hear("POST"); res.StatusCode != 413 {
		t.Errorf("a body over the bound: got %s %s, want 413", res.Status, answer)
	}
}
