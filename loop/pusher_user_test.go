package loop

import (
	"fmt"
	"strings"
	"testing"

	"ringcast/loop/door"
)

// Clients of the Pusher protocol that show who they are: in presence channels, and by signing in.

func listOf(channel, ids, hash string, n int) string {
	return fmt.Sprintf(`{"event":"pusher_internal:subscription_succeeded","channel":%q,"data":%q}`, channel, fmt.Sprintf(`{"presence":{"ids":[%s],"hash":{%s},"count":%d}}`, ids, hash, n))
}

func memberAdded(channel, member string) string {
	return fmt.Sprintf(`{"event":"pusher_internal:member_added","channel":%q,"data":%q}`, channel, member)
}

func memberRemoved(channel, member string) string {
	return fmt.Sprintf(`{"event":"pusher_internal:member_removed","channel":%q,"data":%q}`, channel, member)
}

func TestAUserOfSeveralTabsComesAndGoesOnce(t *testing.T) {
	for _, app := range []*door.App{&stageApp, &furtherApp} {
		st := newPusherStage(2, nil)
		const room = "presence-room"
		ann := st.app(t, 0, app.Key)
		st.subscribes(ann, app, room, `{"user_id":"ann","user_info":{"n": "A"}}`)
		ann.heardFrames(t, listOf(room, `"ann"`, `"ann":{"n": "A"}`, 1))
		tabs := []*stageConn{st.app(t, 1, app.Key), st.app(t, 0, app.Key), st.app(t, 1, app.Key)}
		for _, tab := range tabs {
			st.subscribes(tab, app, room, `{"user_id":7}`)
			tab.heardFrames(t, listOf(room, `"7","ann"`, `"7":null,"ann":{"n": "A"}`, 2))
		}
		ann.heardFrames(t, memberAdded(room, `{"user_id":7,"user_info":null}`))
		st.unsubscribes(tabs[0], room)
		tabs[1].shard.closed(tabs[1].client)
		st.settle()
		ann.heardFrames(t)
		tabs[2].shard.closed(tabs[2].client)
		st.settle()
		ann.heardFrames(t, memberRemoved(room, `{"user_id":7}`))
		for _, tab := range tabs {
			tab.heardFrames(t)
		}
	}
}

// A second subscribe is answered with who is there, and the member stays the one user that it is.
func TestASecondSubscribeToAPresenceChannelIsAnsweredWithTheList(t *testing.T) {
	st := newPusherStage(1, nil)
	ann, bob := st.app(t, 0, "key"), st.app(t, 0, "key")
	st.subscribes(ann, &stageApp, "presence-a", `{"user_id":"ann"}`)
	st.subscribes(bob, &stageApp, "presence-a", `{"user_id":"bob"}`)
	ann.out, bob.out = nil, nil
	st.subscribes(bob, &stageApp, "presence-a", `{"user_id":"mallory"}`)
	bob.heardFrames(t, listOf("presence-a", `"ann","bob"`, `"ann":null,"bob":null`, 2))
	bob.say(`{"event":"client-x","channel":"presence-a","data":{"a":1}}`)
	st.settle()
	ann.heardFrames(t, `{"event":"client-x","channel":"presence-a","data":{"a":1},"user_id":"bob"}`)
}

// Who has left before the home has said who is there asked for nothing that it could still want.
func TestASecondSubscribeThatIsTakenBackIsNotAnswered(t *testing.T) {
	st := newPusherStage(1, nil)
	ann := st.app(t, 0, "key")
	st.subscribes(ann, &stageApp, "presence-a", `{"user_id":"ann"}`)
	ann.out = nil
	letGo := st.hold(int(st.hub.homes.Of("presence-a")))
	st.subscribes(ann, &stageApp, "presence-a", `{"user_id":"ann"}`)
	st.unsubscribes(ann, "presence-a")
	letGo()
	st.settle()
	ann.heardFrames(t)
}

// A client that leaves and comes back before the home has answered is a member, and is told so once, with who is there.
func TestASubscribeThatIsTakenBackAndSaidAgainIsAnsweredOnce(t *testing.T) {
	st := newPusherStage(1, nil)
	bob, ann := st.app(t, 0, "key"), st.app(t, 0, "key")
	st.subscribes(bob, &stageApp, "presence-a", `{"user_id":"bob"}`)
	letGo := st.hold(int(st.hub.homes.Of("presence-a")))
	st.subscribes(ann, &stageApp, "presence-a", `{"user_id":"ann"}`)
	st.unsubscribes(ann, "presence-a")
	st.subscribes(ann, &stageApp, "presence-a", `{"user_id":"ann"}`)
	letGo()
	st.settle()
	ann.heardFrames(t, listOf("presence-a", `"ann","bob"`, `"ann":null,"bob":null`, 2))
	bob.out = nil
	ann.say(`{"event":"client-x","channel":"presence-a","data":"d"}`)
	st.unsubscribes(ann, "presence-a")
	bob.heardFrames(t, `{"event":"client-x","channel":"presence-a","data":"d","user_id":"ann"}`, memberRemoved("presence-a", `{"user_id":"ann"}`))
}

func TestChannelsThatNeedASignatureRefuseAnyOther(t *testing.T) {
	st := newPusherStage(1, nil)
	page := st.app(t, 0, "key")
	id, other := st.socketID(page), "1.1"
	for what, said := range map[string]string{
		"none":               `"channel":"private-a"`,
		"empty":              `"channel":"private-a","auth":""`,
		"nonsense":           `"channel":"private-a","auth":"key:zz"`,
		"another socket":     fmt.Sprintf(`"channel":"private-a","auth":%q`, signatureOf(&stageApp, other+":private-a")),
		"another channel":    fmt.Sprintf(`"channel":"private-a","auth":%q`, signatureOf(&stageApp, id+":private-b")),
		"another app":        fmt.Sprintf(`"channel":"private-a","auth":%q`, signatureOf(&furtherApp, id+":private-a")),
		"the group's name":   fmt.Sprintf(`"channel":"private-a","auth":%q`, signatureOf(&stageApp, id+":four/private-a")),
		"encrypted, none":    `"channel":"private-encrypted-a"`,
		"presence, none":     `"channel":"presence-a","channel_data":"{\"user_id\":\"a\"}"`,
		"other data":         fmt.Sprintf(`"channel":"presence-a","auth":%q,"channel_data":"{\"user_id\": \"a\"}"`, signatureOf(&stageApp, id+`:presence-a:{"user_id":"a"}`)),
		"no data":            fmt.Sprintf(`"channel":"presence-a","auth":%q`, signatureOf(&stageApp, id+`:presence-a`)),
		"no user":            fmt.Sprintf(`"channel":"presence-a","auth":%q,"channel_data":"{}"`, signatureOf(&stageApp, id+`:presence-a:{}`)),
		"too much of a user": fmt.Sprintf(`"channel":"presence-a","auth":%q,"channel_data":%q`, signatureOf(&stageApp, id+`:presence-a:`+largeUser), largeUser),
		"not signed in":      `"channel":"#server-to-user-ann","auth":""`,
		"of nobody":          `"channel":"#server-to-user-","auth":""`,
	} {
		page.say(`{"event":"pusher:subscribe","data":{%s}}`, said)
		st.settle()
		for _, heard := range page.frames() {
			if !strings.HasPrefix(heard, `{"event":"pusher:subscription_error",`) || !strings.Contains(heard, `\"status\":401}`) {
				t.Errorf("%s: heard %s", what, heard)
			}
		}
	}
	total := st.hub.Snapshot().Total()
	if total.Members != 0 || total.Signatures["missing"] != 4 || total.Signatures["bad"] != 6 || total.Signatures["no_user"] != 3 || total.Signatures["accepted"] != 0 {
		t.Errorf("got %d members and signatures %v", total.Members, total.Signatures)
	}
	st.subscribes(page, &stageApp, "private-a", "")
	page.heardFrames(t, subscribed("private-a"))
}

var largeUser = `{"user_id":"a","user_info":"` + strings.Repeat("x", userInfoBytesMax) + `"}`

func (st *stage) signsIn(c *stageConn, app *door.App, data string) {
	c.say(`{"event":"pusher:signin","data":{"auth":%q,"user_data":%q}}`, signatureOf(app, st.socketID(c)+"::user::"+data), data)
	st.settle()
}

func TestWhoSignsInIsThatUser(t *testing.T) {
	for _, app := range []*door.App{&stageApp, &furtherApp} {
		st := newPusherStage(1, nil)
		page, bob := st.app(t, 0, app.Key), st.app(t, 0, app.Key)
		const data = `{"id":"ann","user_info":{"n":1},"watchlist":["bob"]}`
		st.signsIn(page, app, data)
		page.heardFrames(t, fmt.Sprintf(`{"event":"pusher:signin_success","data":%q}`, fmt.Sprintf(`{"user_data":%q}`, data)))
		st.subscribes(page, app, "#server-to-user-ann", "")
		st.subscribes(page, app, "#server-to-user-bob", "")
		page.heardFrames(t, subscribed("#server-to-user-ann"), `{"event":"pusher:subscription_error","channel":"#server-to-user-bob",…}`)
		st.backendSays(t, groupOf(app, "#server-to-user-ann"), event("note", "to ann"))
		page.heardFrames(t, `{"event":"note","channel":"#server-to-user-ann","data":"to ann"}`)
		st.subscribes(page, app, "presence-a", "") // its user is the one that it has signed in as
		page.heardFrames(t, listOf("presence-a", `"ann"`, `"ann":{"n":1}`, 1))
		st.signsIn(page, app, data)
		st.signsIn(page, app, `{"id":"bob"}`)
		bob.say(`{"event":"pusher:signin","data":{"auth":%q,"user_data":"{\"id\":\"ann\"}"}}`, signatureOf(app, st.socketID(page)+`::user::{"id":"ann"}`))
		st.settle()
		bob.heardFrames(t, `{"event":"pusher:error","data":"{\"code\":4009,…}"}`)
		page.heardFrames(t, `{"event":"pusher:signin_success",…}`, `{"event":"pusher:error","data":"{\"code\":4009,…}"}`)
		if n := st.hub.Users(); n != 1 {
			t.Errorf("%s: got %d users, want one", app.ID, n)
		}
		_, n, err := st.hub.dispatch(Target{User: groupOf(app, "ann")}, true, disconnecting(4009, ""))
		st.settle()
		if err != nil || n != 1 {
			t.Fatalf("got %d loops (%v)", n, err)
		}
		page.heardFrames(t, "close 4009")
		if bob.client.state != stateOpen {
			t.Error("bob was closed too")
		}
	}
}

func TestWhereOnlyBearersMaySpeakASignatureIsEnough(t *testing.T) {
	st := newPusherStage(1, func(b *bounds) {
		withTokens(b)
		b.TokensOnly = true
	})
	page := st.app(t, 0, "key")
	st.subscribes(page, &stageApp, "news", "")
	page.heardFrames(t, `{"event":"pusher:subscription_error","channel":"news",…}`)
	st.subscribes(page, &stageApp, "private-a", "")
	page.say(`{"event":"client-x","channel":"private-a","data":1}`)
	page.say(`{"event":"pusher:ping","data":{}}`)
	st.unsubscribes(page, "private-a")
	page.heardFrames(t, subscribed("private-a"), `{"event":"pusher:pong","data":"{}"}`)
	st.signsIn(page, &stageApp, `{"id":"ann"}`)
	st.subscribes(page, &stageApp, "news", "")
	page.heardFrames(t, `{"event":"pusher:signin_success",…}`, subscribed("news"))
}

func TestAServerTakesAPusherClientOutOfAChannel(t *testing.T) {
	st := newPusherStage(1, nil)
	page := st.app(t, 0, "key")
	st.subscribes(page, &stageApp, "private-a", "")
	page.out = nil
	if _, _, err := st.hub.dispatch(Target{Client: page.client.Number()}, true, unsubscribing("private-a")); err != nil {
		t.Fatal(err)
	}
	st.settle()
	page.heardFrames(t, `{"event":"pusher:subscription_error","channel":"private-a",…}`)
	if _, _, err := st.hub.dispatch(Target{Client: page.client.Number()}, true, disconnecting(3500, "")); err != nil {
		t.Fatal(err)
	}
	st.settle()
	page.heardFrames(t, "close 4009")
}
