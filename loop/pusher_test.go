package loop

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"ringcast/dialect"
	"ringcast/loop/door"
	"ringcast/wsproto"
)

// What loops do for clients of the Pusher protocol: the way in, and what is heard on channels that everybody may join.

// The apps of a stage: the first, and a further one.
var (
	stageApp   = door.App{ID: "3", Key: "key", Secret: "secret", ClientEventsPerSecond: 10}
	furtherApp = door.App{ID: "four", Key: "key4", Secret: "secret4", ClientEventsPerSecond: 2, EventBytesMax: 20}
)

func withApps(b *bounds, apps ...door.App) {
	all, err := door.NewApps(apps)
	if err != nil {
		panic(err)
	}
	b.Apps = all
}

// groupOf is the name of a channel's group, and of a user.
func groupOf(app *door.App, channel string) string {
	if app == &furtherApp {
		return "four/" + channel
	}
	return channel
}

func newPusherStage(loops int, change func(*bounds), more ...dialect.Entry) *stage {
	key := [16]byte{1}
	st := newStage(loops, func(b *bounds) {
		withApps(b, stageApp, furtherApp)
		if change != nil {
			change(b)
		}
	}, append(more, dialect.Pusher(key))...)
	st.hub.names = dialect.NewNames(key)
	return st
}

// request is a client that requests a path; what it hears is the answer's body on.
func (st *stage) request(loop int, path string) *stageConn {
	c := &stageConn{shard: st.hub.shards[loop], fd: len(st.conns)}
	st.conns = append(st.conns, c)
	st.hub.admit()
	c.client = c.shard.opened(c)
	c.shard.traffic(c.client, []byte(strings.Replace(simRequest, "GET / ", "GET "+path+" ", 1)))
	st.settle()
	_, after, _ := strings.Cut(string(c.out), "\r\n\r\n")
	if strings.HasPrefix(string(c.out), "HTTP/1.1 101 ") {
		c.out = []byte(after)
	}
	return c
}

const pusherQuery = "?protocol=7&client=js&version=8.6.0&flash=false"

// app is a client of the app with a key that has heard its greeting.
func (st *stage) app(t *testing.T, loop int, key string) *stageConn {
	t.Helper()
	c := st.request(loop, "/app/"+key+pusherQuery)
	c.heardFrames(t, `{"event":"pusher:connection_established","data":"{\"socket_id\":\"`+st.socketID(c)+`\",\"activity_timeout\":120}"}`)
	return c
}

func (st *stage) socketID(c *stageConn) string { return st.hub.names.SocketID(c.client.Number()) }

// frames are what a client has heard: texts as they are, and Close frames as "close 4001".
func (c *stageConn) frames() (all []string) {
	for in := c.out; len(in) > 0; {
		n, at := int(in[1]), 2
		if n == 126 {
			n, at = int(binary.BigEndian.Uint16(in[2:])), 4
		}
		text := string(in[at : at+n])
		if in[0] == 0x80|byte(wsproto.OpClose) {
			text = fmt.Sprintf("close %d", binary.BigEndian.Uint16(in[at:]))
		}
		all, in = append(all, text), in[at+n:]
	}
	c.out = nil
	return all
}

// heardFrames says that exactly these were heard; an … stands for anything.
func (c *stageConn) heardFrames(t *testing.T, want ...string) {
	t.Helper()
	got := c.frames()
	if len(got) != len(want) {
		t.Fatalf("heard %q, want %q", got, want)
	}
	for i, text := range got {
		if before, after, some := strings.Cut(want[i], "…"); text != want[i] && (!some || !strings.HasPrefix(text, before) || !strings.HasSuffix(text, after)) {
			t.Errorf("heard %s\nwant  %s", text, want[i])
		}
	}
}

func signatureOf(app *door.App, text string) string {
	mac := hmac.New(sha256.New, []byte(app.Secret))
	mac.Write([]byte(text))
	return app.Key + ":" + hex.EncodeToString(mac.Sum(nil))
}

// subscribes has a client subscribe to a channel, with the signature that its backend would give; data are channel_data, empty for none.
func (st *stage) subscribes(c *stageConn, app *door.App, channel, data string) {
	switch text := st.socketID(c) + ":" + channel; {
	case strings.HasPrefix(channel, "presence-") && data != "":
		c.say(`{"event":"pusher:subscribe","data":{"auth":%q,"channel_data":%q,"channel":%q}}`, signatureOf(app, text+":"+data), data, channel)
	case strings.HasPrefix(channel, "private-"), strings.HasPrefix(channel, "presence-"):
		c.say(`{"event":"pusher:subscribe","data":{"auth":%q,"channel":%q}}`, signatureOf(app, text), channel)
	default:
		c.say(`{"event":"pusher:subscribe","data":{"auth":"","channel":%q}}`, channel)
	}
	st.settle()
}

func (st *stage) unsubscribes(c *stageConn, channel string) {
	c.say(`{"event":"pusher:unsubscribe","data":{"channel":%q}}`, channel)
	st.settle()
}

func subscribed(channel string) string {
	return fmt.Sprintf(`{"event":"pusher_internal:subscription_succeeded","channel":%q,"data":"{}"}`, channel)
}

// backendSays has a backend publish to a group.
func (st *stage) backendSays(t *testing.T, group string, said Said) {
	t.Helper()
	p, err := st.hub.NewPort()
	if err == nil {
		_, err = p.Offer(group, said)
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range st.hub.shards {
		s.woken()
	}
	st.settle()
	p.Close()
}

func event(name, payload string) Said {
	return Said{Payload: []byte(payload), JSON: payload[0] == '{', Tags: fmt.Appendf(nil, `{"event":%q}`, name)}
}

func TestAPusherClientSubscribesAndHearsWhatAllDialectsSay(t *testing.T) {
	st := newPusherStage(2, nil)
	page, seed := st.app(t, 0, "key"), st.enter(1)
	page.say(`{"event":"pusher:ping","data":{}}`)
	page.say(`{"event":"pusher:pong","data":{}}`)
	st.subscribes(page, &stageApp, "news", "")
	page.heardFrames(t, `{"event":"pusher:pong","data":"{}"}`, subscribed("news"))
	seed.say(`{"cmd":"add_group","group_id":"news"}`)
	st.settle()
	st.backendSays(t, "news", event(`App\Events\Shipped`, `{"a": "1"}`))
	seed.say(`{"cmd":"send_to_group","group_id":"news","message":"hi \"you\""}`)
	st.settle()
	page.heardFrames(t, `{"event":"App\\Events\\Shipped","channel":"news","data":"{\"a\": \"1\"}"}`, `{"event":"message","channel":"news","data":"hi \"you\""}`)
	seed.heard(t, `{"a": "1"}`)
	seed.heard(t, `hi "you"`)
	st.unsubscribes(page, "news")
	seed.say(`{"cmd":"send_to_group","group_id":"news","message":"gone"}`)
	st.settle()
	page.heardFrames(t)
	if total := st.hub.Snapshot().Total(); total.Members != 1 || total.CommandErrors != 0 {
		t.Errorf("got %d members, %d errors; want one, and none", total.Members, total.CommandErrors)
	}
}

func TestAPusherRequestThatNamesNoAppIsClosedAndNotGreeted(t *testing.T) {
	for path, want := range map[string]string{
		"/app/nobody" + pusherQuery: "close 4001",
		"/app/" + pusherQuery:       "close 4005",
		"/app/key/x" + pusherQuery:  "close 4005",
		"/app/key":                  "close 4008",
		"/app/key?protocol=4":       "close 4007",
		"/app/key?protocol=seven":   "close 4006",
	} {
		st := newPusherStage(1, nil)
		c := st.request(0, path)
		st.settle()
		c.heardFrames(t, want)
		if c.client.state != stateClosing {
			t.Errorf("%s: in state %d, want it closing", path, c.client.state)
		}
	}
}

func TestWithoutAppsThePusherPathIsTheSeeds(t *testing.T) {
	st := newPusherStage(1, func(b *bounds) { b.Apps = nil })
	c := st.enterAt(0, "/app/key"+pusherQuery)
	c.say(`{"cmd":"add_group","group_id":"private-a","id":1}`)
	st.settle()
	c.heard(t, `{"id":1,"ok":true}`)
}

func TestGroupsOfAFurtherAppAreItsOwn(t *testing.T) {
	st := newPusherStage(1, nil)
	first, other, seed := st.app(t, 0, "key"), st.app(t, 0, "key4"), st.enter(0)
	for c, app := range map[*stageConn]*door.App{first: &stageApp, other: &furtherApp} {
		st.subscribes(c, app, "news", "")
		st.subscribes(c, app, "private-a", "")
		c.heardFrames(t, subscribed("news"), subscribed("private-a"))
	}
	st.subscribes(other, &stageApp, "private-b", "")
	other.heardFrames(t, `{"event":"pusher:subscription_error","channel":"private-b","data":"{\"type\":\"AuthError\",…,\"status\":401}"}`)
	st.backendSays(t, "news", event("a", "to the first"))
	st.backendSays(t, "four/news", event("b", "to the other"))
	first.heardFrames(t, `{"event":"a","channel":"news","data":"to the first"}`)
	other.heardFrames(t, `{"event":"b","channel":"news","data":"to the other"}`)
	first.say(`{"event":"client-x","channel":"private-a","data":{}}`)
	st.settle()
	other.heardFrames(t)
	for _, group := range []string{"four/news", "four/private-a", "#server-to-user-1", "private-a", "private-a/b", "presence-a"} {
		seed.out = nil
		seed.say(`{"cmd":"add_group","group_id":%q,"id":1}`, group)
		seed.say(`{"cmd":"send_to_group","group_id":%q,"id":2,"message":"m"}`, group)
		st.settle()
		seed.heard(t, `{"id":1,"error":{"code":"forbidden"`)
		seed.heard(t, `{"id":2,"error":{"code":"forbidden"`)
	}
	seed.out = nil
	seed.say(`{"cmd":"add_group","group_id":"five/news","id":1}`) // no app's
	st.settle()
	seed.heard(t, `{"id":1,"ok":true}`)
	st.unsubscribes(other, "news")
	st.backendSays(t, "four/news", event("b", "to the other"))
	other.heardFrames(t)
}

func TestAKindOpensChannelsOnlyByNamingWhoMayJoin(t *testing.T) {
	st := newPusherStage(1, func(b *bounds) {
		b.Kinds = []Kind{{Match: "private-open-*", JoinSaid: true}, {Match: "private-loud-*", PublishSaid: true}, {Match: "private-*"}, {Match: "presence-locked", PublishSaid: true, Publish: Servers}}
	})
	seed, page := st.enter(0), st.app(t, 0, "key")
	for group, want := range map[string][2]string{
		"private-open-a": {`"ok":true`, `"forbidden"`}, "private-loud-a": {`"forbidden"`, `"ok":true`}, "private-a": {`"forbidden"`, `"forbidden"`},
	} {
		seed.out = nil
		seed.say(`{"cmd":"add_group","group_id":%q,"id":1}`, group)
		st.settle()
		seed.heard(t, want[0])
		seed.out = nil
		seed.say(`{"cmd":"send_to_group","group_id":%q,"id":2,"message":"m"}`, group)
		st.settle()
		seed.heard(t, want[1])
	}
	page.say(`{"event":"pusher:subscribe","data":{"channel":"private-open-a"}}`)
	st.settle()
	page.heardFrames(t, `{"event":"pusher:subscription_error","channel":"private-open-a",…}`)
	st.subscribes(page, &stageApp, "presence-locked", `{"user_id":"a"}`)
	page.say(`{"event":"client-x","channel":"presence-locked","data":1}`)
	st.settle()
	page.heardFrames(t, `{"event":"pusher_internal:subscription_succeeded","channel":"presence-locked",…}`, `{"event":"pusher:error","data":"{\"code\":4301,…}"}`)
}

func TestMalformedFramesEndNothing(t *testing.T) {
	st := newPusherStage(1, nil)
	page, other := st.app(t, 0, "key"), st.app(t, 0, "key")
	st.subscribes(other, &stageApp, "news", "")
	for _, text := range []string{
		`nonsense`, `{}`, `[]`, `{"event":7}`, `{"event":"pusher:subscribe"}`, `{"event":"pusher:subscribe","data":"text"}`, `{"event":"pusher:subscribe","data":{"channel":7}}`,
		`{"event":"pusher:subscribe","data":{"channel":"a/b"}}`, `{"event":"pusher:subscribe","data":{"channel":"private-a","auth":{}}}`, `{"event":"pusher:signin","data":{}}`,
		`{"event":"client-a"}`, `{"event":"client-a","channel":"news","data":1}`, `{"event":"client-a","channel":"private-a","data":1}`, `{"event":"pusher:unsubscribe","data":{"channel":"never"}}`,
	} {
		page.say("%s", text)
	}
	st.settle()
	for _, heard := range page.frames() {
		if !strings.HasPrefix(heard, `{"event":"pusher:error",`) && !strings.HasPrefix(heard, `{"event":"pusher:subscription_error",`) {
			t.Errorf("heard %s", heard)
		}
	}
	st.subscribes(page, &stageApp, "news", "")
	page.heardFrames(t, subscribed("news"))
	st.backendSays(t, "news", event("e", "x"))
	other.heardFrames(t, subscribed("news"), `{"event":"e","channel":"news","data":"x"}`)
	if page.client.state != stateOpen {
		t.Errorf("in state %d, want it open", page.client.state)
	}
}

// 80 bytes are a client's, and a member of a channel of the first app is nothing else.
func TestAMemberOfAPrivateChannelTakesNoMoreRoomThanOneOfAGroup(t *testing.T) {
	st := newPusherStage(1, nil)
	page := st.app(t, 0, "key")
	st.subscribes(page, &stageApp, "private-a", "")
	page.heardFrames(t, subscribed("private-a"))
	if page.client.is(markBearer) || page.client.extra != nil {
		t.Errorf("it is known as a bearer, or has more than a client has")
	}
}
