package api

import (
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
	"testing"

	pusher "github.com/pusher/pusher-http-go/v5"

	"ringcast/dialect"
)

// The library that backends in Go use, unmodified, over HTTP to the port for WebSockets, and each of its calls.
func TestPusherHTTPGo(t *testing.T) {
	test := newPusherTest(t)
	test.Pusher = NewPusher(test.cfg) // with the clock of the library
	test.here["presence-room"] = presentUsers("13", "90", "13")
	p := servePublic(t, PublicConfig{Pusher: test.Pusher, Keyed: test.Keyed, PublicBounds: PublicBounds{BodyBytesMax: 1 << 20}})
	client := &pusher.Client{AppID: pusherTestApps[0].ID, Key: pusherTestApps[0].Key, Secret: pusherTestApps[0].Secret,
		Host: p.listener.Addr().String(), EncryptionMasterKeyBase64: "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="}
	client.HTTPClient = &http.Client{Timeout: patient, Transport: &http.Transport{}}
	defer client.HTTPClient.CloseIdleConnections()
	names := dialect.NewNames([16]byte{1})
	socket, info, both := names.SocketID(65), "user_count", "user_count,subscription_count"
	said := func(channel, event, payload string, except bool) {
		t.Helper()
		test.mu.Lock()
		defer test.mu.Unlock()
		all := test.said[channel]
		if len(all) == 0 {
			t.Fatalf("%s: got nothing said", channel)
		}
		last := all[len(all)-1]
		if string(last.Tags) != `{"event":"`+event+`"}` || string(last.Payload) != payload || (last.Except == names.Of(65)) != except {
			t.Errorf("%s: got %+v, want event %s, %s", channel, last, event, payload)
		}
	}
	good := func(err error) {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
	}
	equal := func(got, want any) {
		t.Helper()
		if !reflect.DeepEqual(got, want) {
			text, _ := json.Marshal(got)
			t.Errorf("got %s, want %+v", text, want)
		}
	}
	number := func(n int) *int { return &n }

	good(client.Trigger("greeting", "say-hello", map[string]string{"hello": "world ü+ &%"}))
	said("greeting", "say-hello", `{"hello":"world ü+ \u0026%"}`, false)
	good(client.TriggerMulti([]string{"a", "b=@,.;_-"}, "e", "text"))
	said("a", "e", "text", false)
	said("b=@,.;_-", "e", "text", false)
	list, err := client.TriggerWithParams("presence-room", "e", []int{1, 2}, pusher.TriggerParams{SocketID: &socket, Info: &both})
	good(err)
	equal(list.Channels, map[string]pusher.TriggerChannelListItem{"presence-room": {UserCount: number(2), SubscriptionCount: number(3)}})
	said("presence-room", "e", "[1,2]", true)
	list, err = client.TriggerMultiWithParams([]string{"a", "presence-room"}, "e", "x", pusher.TriggerParams{Info: &info})
	good(err)
	equal(list.Channels, map[string]pusher.TriggerChannelListItem{"a": {}, "presence-room": {UserCount: number(2)}})
	//lint:ignore SA1019 backends call it still
	good(client.TriggerExclusive("a", "e", "exclusive", socket))
	said("a", "e", "exclusive", true)
	//lint:ignore SA1019 backends call it still
	good(client.TriggerMultiExclusive([]string{"a", "b"}, "e", "exclusive", socket))
	said("b", "e", "exclusive", true)
	good(client.SendToUser("ann", "e", "for you"))
	said("#server-to-user-ann", "e", "for you", false)
	good(client.Trigger("private-encrypted-a", "e", "secret"))
	if sealed := test.said["private-encrypted-a"][0]; !sealed.JSON || !strings.Contains(string(sealed.Payload), `"ciphertext"`) || strings.Contains(string(sealed.Payload), "secret") {
		t.Errorf("encrypted: got %s", sealed.Payload)
	}
	batch, err := client.TriggerBatch([]pusher.Event{{Channel: "a", Name: "one", Data: "1"}, {Channel: "a", Name: "two", Data: map[string]int{"n": 2}, SocketID: &socket}})
	good(err)
	equal(len(batch.Batch), 0)
	said("a", "two", `{"n":2}`, true)
	batch, err = client.TriggerBatch([]pusher.Event{{Channel: "a", Name: "e", Data: "1"}, {Channel: "presence-room", Name: "e", Data: "2", Info: &both}})
	good(err)
	equal(batch.Batch, []pusher.TriggerBatchChannelListItem{{}, {UserCount: number(2), SubscriptionCount: number(3)}})

	channels, err := client.Channels(pusher.ChannelsParams{})
	good(err)
	if len(channels.Channels) != 7 {
		t.Errorf("channels: got %v, want 7", channels.Channels)
	}
	prefix := "presence-"
	channels, err = client.Channels(pusher.ChannelsParams{FilterByPrefix: &prefix, Info: &info})
	good(err)
	equal(channels.Channels, map[string]pusher.ChannelListItem{"presence-room": {UserCount: 2}})
	prefix = "b=@,.;"
	channels, err = client.Channels(pusher.ChannelsParams{FilterByPrefix: &prefix})
	good(err)
	equal(channels.Channels, map[string]pusher.ChannelListItem{"b=@,.;_-": {}})
	channel, err := client.Channel("presence-room", pusher.ChannelParams{Info: &both})
	good(err)
	equal(*channel, pusher.Channel{Name: "presence-room", Occupied: true, UserCount: 2, SubscriptionCount: 3})
	users, err := client.GetChannelUsers("presence-room")
	good(err)
	equal(users.List, []pusher.User{{ID: "13"}, {ID: "90"}})

	if _, err := client.GetChannelUsers("a"); err == nil || !strings.Contains(err.Error(), "Status Code: 400") {
		t.Errorf("users of a channel without presence: got %v, want 400", err)
	}
	if err := client.Trigger("busy", "e", "x"); err == nil || !strings.Contains(err.Error(), "Status Code: 503") {
		t.Errorf("a server that is busy: got %v, want 503", err)
	}
	wrong := *client
	wrong.Secret = "another"
	if err := wrong.Trigger("never", "e", "x"); err == nil || !strings.Contains(err.Error(), "Status Code: 401") || len(test.said["never"]) > 0 {
		t.Errorf("another secret: got %v, want 401", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.given > 3 {
		t.Errorf("got %d connections, want one that is kept", p.given)
	}
}

// What its webhooks and signatures for clients are checked by is package door's; here is that both sign the same.
func TestPusherHTTPGoSignsForClientsAsWeCheck(t *testing.T) {
	test := newPusherTest(t)
	app := test.apps.First()
	client := &pusher.Client{AppID: app.ID, Key: app.Key, Secret: app.Secret}
	var auth struct {
		Auth        string
		ChannelData *string `json:"channel_data"`
		UserData    *string `json:"user_data"`
	}
	read := func(response []byte, err error) {
		t.Helper()
		auth.ChannelData, auth.UserData = nil, nil
		if err == nil {
			err = json.Unmarshal(response, &auth)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	read(client.AuthorizePrivateChannel([]byte("socket_id=12.34&channel_name=private-a")))
	if !app.SignsChannel([]byte(auth.Auth), "12.34", "private-a", nil) {
		t.Errorf("private: got %s, want it signed", auth.Auth)
	}
	read(client.AuthorizePresenceChannel([]byte("socket_id=12.34&channel_name=presence-a"), pusher.MemberData{UserID: "1", UserInfo: map[string]string{"a": "ü/"}}))
	if !app.SignsChannel([]byte(auth.Auth), "12.34", "presence-a", []byte(*auth.ChannelData)) {
		t.Errorf("presence: got %s, want it signed", auth.Auth)
	}
	if app.SignsChannel([]byte(auth.Auth), "12.35", "presence-a", []byte(*auth.ChannelData)) {
		t.Error("presence: another socket's is signed, want not")
	}
	read(client.AuthenticateUser([]byte("socket_id=12.34"), map[string]any{"id": "1", "watchlist": []string{"2"}}))
	if !app.SignsUser([]byte(auth.Auth), "12.34", []byte(*auth.UserData)) {
		t.Errorf("signin: got %s, want it signed", auth.Auth)
	}
}
