package api

import (
	"bufio"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	pusher "github.com/pusher/pusher-http-go/v5"

	"ringcast/loop"
	"ringcast/loop/door"
)

// pusherHub is a real hub on a real port, with the two apps of the tests.
type pusherHub struct {
	*loop.Server
	t *testing.T
}

func openPusherHub(t *testing.T) *pusherHub {
	apps, err := door.NewApps(pusherTestApps)
	if err != nil {
		t.Fatal(err)
	}
	var public *Public
	ready := make(chan struct{})
	s, _ := open(t, func(cfg *loop.Config) {
		cfg.Apps = apps
		cfg.HTTP = func(c net.Conn) { <-ready; public.Serve(c) }
	})
	backend := NewHubBackend(s.Hub())
	p := NewPusher(PusherConfig{Backend: backend, Apps: func() *door.Apps { return apps }})
	public = NewPublic(PublicConfig{Pusher: p, Keyed: p.Keyed, AnyKey: p.Any, Log: slog.New(slog.DiscardHandler),
		PublicBounds: PublicBounds{ConnectionsMax: 100, BodyBytesMax: 1 << 20, HeaderTimeout: patient, BodyTimeout: patient}})
	close(ready)
	t.Cleanup(func() {
		public.Close()
		backend.Close()
	})
	return &pusherHub{s, t}
}

func (h *pusherHub) backend(app door.App) *pusher.Client {
	c := &pusher.Client{AppID: app.ID, Key: app.Key, Secret: app.Secret, Host: h.Addr().String()}
	c.HTTPClient = &http.Client{Timeout: patient, Transport: &http.Transport{}}
	h.t.Cleanup(c.HTTPClient.CloseIdleConnections)
	return c
}

// page is a client with a socket.
type page struct {
	*talker
	t      *testing.T
	app    door.App
	socket string // its id, of one of the Pusher protocol
}

func (h *pusherHub) page(path string) *page {
	h.t.Helper()
	c, err := net.Dial("tcp", h.Addr().String())
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(patient))
	fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n", path)
	in := bufio.NewReader(c)
	if res, err := http.ReadResponse(in, nil); err != nil || res.StatusCode != http.StatusSwitchingProtocols {
		h.t.Fatal(res, err)
	}
	return &page{talker: &talker{c, in}, t: h.t}
}

// pusherPage is one of an app.
func (h *pusherHub) pusherPage(app door.App) *page {
	h.t.Helper()
	p := h.page("/app/" + app.Key + "?protocol=7&client=js&version=8.6.0")
	p.app = app
	var welcome struct {
		SocketID string `json:"socket_id"`
	}
	_, _, data := p.hear()
	if err := json.Unmarshal([]byte(data), &welcome); err != nil || welcome.SocketID == "" {
		h.t.Fatalf("the first frame has %s, want a socket_id", data)
	}
	p.socket = welcome.SocketID
	return p
}

// text is the next text frame.
func (p *page) text() string {
	p.t.Helper()
	head := make([]byte, 2)
	if _, err := io.ReadFull(p.in, head); err != nil || head[0] != 0x81 {
		p.t.Fatalf("a frame: got %x, %v, want text", head, err)
	}
	n := int(head[1])
	if n == 126 {
		if _, err := io.ReadFull(p.in, head); err != nil {
			p.t.Fatal(err)
		}
		n = int(binary.BigEndian.Uint16(head))
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(p.in, text); err != nil {
		p.t.Fatal(err)
	}
	return string(text)
}

// hear is the next event.
func (p *page) hear() (event, channel, data string) {
	p.t.Helper()
	var e struct{ Event, Channel, Data string }
	if text := p.text(); json.Unmarshal([]byte(text), &e) != nil {
		p.t.Fatalf("got %s, want an event", text)
	}
	return e.Event, e.Channel, e.Data
}

// hears checks it.
func (p *page) hears(event, channel, data string) {
	p.t.Helper()
	if e, c, d := p.hear(); e != event || c != channel || d != data {
		p.t.Errorf("got %s in %s with %s, want %s in %s with %s", e, c, d, event, channel, data)
	}
}

// subscribe joins a channel, as user where that is one of users.
func (p *page) subscribe(channel, user string) {
	p.t.Helper()
	said := map[string]string{"channel": channel}
	text := p.socket + ":" + channel
	if user != "" {
		said["channel_data"] = `{"user_id":"` + user + `"}`
		text += ":" + said["channel_data"]
	}
	mac := hmac.New(sha256.New, []byte(p.app.Secret))
	io.WriteString(mac, text)
	said["auth"] = p.app.Key + ":" + hex.EncodeToString(mac.Sum(nil))
	data, _ := json.Marshal(said)
	p.say(p.t, `{"event":"pusher:subscribe","data":`+string(data)+`}`)
	if e, c, d := p.hear(); e != "pusher_internal:subscription_succeeded" || c != channel {
		p.t.Fatalf("subscribing to %s: got %s in %s with %s", channel, e, c, d)
	}
}

func TestABackendOfPusherReachesWhoIsThere(t *testing.T) {
	h := openPusherHub(t)
	first, shop := h.backend(pusherTestApps[0]), h.backend(pusherTestApps[1])
	good := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	a, b, other, plain := h.pusherPage(pusherTestApps[0]), h.pusherPage(pusherTestApps[0]), h.pusherPage(pusherTestApps[1]), h.page("/")
	plain.say(t, `{"cmd":"add_group","group_id":"news","id":1}`)
	a.subscribe("news", "")
	b.subscribe("news", "")
	other.subscribe("news", "")

	good(first.Trigger("news", "e", map[string]int{"n": 1}))
	for _, p := range []*page{a, b} {
		p.hears("e", "news", `{"n":1}`)
	}
	if got := plain.text(); got != `{"n":1}` {
		t.Errorf("a plain client: got %s", got)
	}
	list, err := first.TriggerWithParams("news", "e", "to others", pusher.TriggerParams{SocketID: &a.socket})
	good(err)
	if len(list.Channels) > 0 {
		t.Errorf("without info: got %v, want nothing", list.Channels)
	}
	good(first.Trigger("news", "e", "to all"))
	a.hears("e", "news", "to all")
	b.hears("e", "news", "to others")
	b.hears("e", "news", "to all")
	good(shop.Trigger("news", "e", "of shop"))
	other.hears("e", "news", "of shop") // and nothing of the first app's

	both := "user_count,subscription_count"
	list, err = first.TriggerWithParams("news", "e", "", pusher.TriggerParams{Info: &both})
	good(err)
	if n := list.Channels["news"]; n.UserCount != nil || n.SubscriptionCount == nil || *n.SubscriptionCount != 3 {
		t.Errorf("news: got %+v, want 3 subscriptions", n)
	}
	a.hears("e", "news", "")
	b.hears("e", "news", "")

	a.subscribe("presence-room", "ann")
	b.subscribe("presence-room", "bob")
	a.hears("pusher_internal:member_added", "presence-room", `{"user_id":"bob","user_info":null}`)
	other.subscribe("presence-room", "cid")
	users, err := first.GetChannelUsers("presence-room")
	good(err)
	if fmt.Sprint(users.List) != "[{ann} {bob}]" {
		t.Errorf("users: got %v, want ann and bob", users.List)
	}
	if users, err = shop.GetChannelUsers("presence-room"); err != nil || fmt.Sprint(users.List) != "[{cid}]" {
		t.Errorf("users of the other app: got %v, %v, want cid", users, err)
	}
	channels, err := first.Channels(pusher.ChannelsParams{})
	good(err)
	if fmt.Sprint(channels.Channels) != "map[news:{0} presence-room:{0}]" {
		t.Errorf("channels: got %v", channels.Channels)
	}

	good(first.Trigger("cache-a", "first", "1"))
	good(first.Trigger("cache-a", "last", "2"))
	a.subscribe("cache-a", "")
	a.hears("last", "cache-a", "2")
	r := pusherAsks(pusherTestApps[0], "GET", "/apps/3/channels/cache-a?info=cache", "")
	r.at = time.Now().Unix()
	res, err := first.HTTPClient.Get("http://" + h.Addr().String() + r.sign().http().URL.String())
	good(err)
	var cached struct {
		Occupied bool
		Cache    struct {
			Data string
			TTL  int
		}
	}
	good(json.NewDecoder(res.Body).Decode(&cached))
	res.Body.Close()
	if !cached.Occupied || cached.Cache.Data != "2" || cached.Cache.TTL < 1 || cached.Cache.TTL > 1800 {
		t.Errorf("the last event of a cache channel: got %+v", cached)
	}
	if err := first.Trigger(strings.Repeat("a", 200), "e", "x"); err != nil {
		t.Errorf("the longest name: %v", err)
	}
}

// signIn has a page be a user's.
func (p *page) signIn(user string) {
	p.t.Helper()
	data := `{"id":"` + user + `"}`
	mac := hmac.New(sha256.New, []byte(p.app.Secret))
	io.WriteString(mac, p.socket+"::user::"+data)
	said, _ := json.Marshal(map[string]string{"user_data": data, "auth": p.app.Key + ":" + hex.EncodeToString(mac.Sum(nil))})
	p.say(p.t, `{"event":"pusher:signin","data":`+string(said)+`}`)
	if e, _, d := p.hear(); e != "pusher:signin_success" {
		p.t.Fatalf("signing in: got %s with %s", e, d)
	}
	p.say(p.t, `{"event":"pusher:subscribe","data":{"auth":"","channel":"#server-to-user-`+user+`"}}`)
	if e, c, d := p.hear(); e != "pusher_internal:subscription_succeeded" {
		p.t.Fatalf("the channel of %s: got %s in %s with %s", user, e, c, d)
	}
}

// closed checks with which code the server closes.
func (p *page) closed(code int) {
	p.t.Helper()
	frame := make([]byte, 4)
	if _, err := io.ReadFull(p.in, frame); err != nil || frame[0] != 0x88 || int(binary.BigEndian.Uint16(frame[2:])) != code {
		p.t.Errorf("got %x, %v, want a close frame with %d", frame, err, code)
	}
}

func TestABackendOfPusherReachesItsUsersAndSendsThemAway(t *testing.T) {
	h := openPusherHub(t)
	terminate := func(app door.App, user string) {
		t.Helper()
		r := pusherAsks(app, "POST", "/apps/"+app.ID+"/users/"+user+"/terminate_connections", "{}")
		r.at = time.Now().Unix()
		to := "http://" + h.Addr().String() + r.sign().http().URL.String()
		res, err := h.backend(app).HTTPClient.Post(to, "application/json", strings.NewReader(r.body))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if body, _ := io.ReadAll(res.Body); res.StatusCode != 200 || string(body) != "{}" {
			t.Errorf("got %s %s, want {}", res.Status, body)
		}
	}
	one, two, bob, other := h.pusherPage(pusherTestApps[0]), h.pusherPage(pusherTestApps[0]), h.pusherPage(pusherTestApps[0]), h.pusherPage(pusherTestApps[1])
	one.signIn("ann")
	two.signIn("ann")
	bob.signIn("bob")
	other.signIn("ann")
	for i, app := range pusherTestApps {
		if err := h.backend(app).SendToUser("ann", "e", fmt.Sprint(i)); err != nil {
			t.Error(err)
		}
	}
	one.hears("e", "#server-to-user-ann", "0")
	two.hears("e", "#server-to-user-ann", "0")
	other.hears("e", "#server-to-user-ann", "1")
	terminate(pusherTestApps[0], "ann")
	one.closed(4009)
	two.closed(4009)
	if err := h.backend(pusherTestApps[0]).SendToUser("bob", "e", "still here"); err != nil {
		t.Error(err)
	}
	bob.hears("e", "#server-to-user-bob", "still here")
	terminate(pusherTestApps[1], "ann")
	other.closed(4009)
}
