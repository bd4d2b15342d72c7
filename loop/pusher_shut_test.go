package loop

import (
	"context"
	"strings"
	"testing"

	"ringcast/dialect"
)

// Groups of an app are for its own clients: who has been in one of that name before, or is brought in by a backend, hears nothing of it.

func TestAReloadTakesOthersOutOfTheGroupsOfANewApp(t *testing.T) {
	st := newPusherStage(2, func(b *bounds) { b.Apps = nil }, dialect.Centrifuge([16]byte{}))
	send := (&bearerStage{stage: st}).send
	plain, page := st.enter(0), st.connect(1)
	const before = `{"cmd":"add_group","group_id":%q,"id":1}`
	for _, group := range []string{"four/private-a", "#server-to-user-ann", "four", "five/a", "private-a"} {
		plain.say(before, group)
	}
	page.say(`{"id":2,"subscribe":{"channel":"four/private-a"}}`)
	st.settle()
	plain.out, page.out = nil, nil
	letGo := st.hold(0) // of what is asked at the reload nothing may come of either
	letGoToo := st.hold(1)
	plain.say(before, "four/asked")
	st.reload(func(b *bounds) { withApps(b, stageApp, furtherApp) })
	st.settle()
	letGo()
	letGoToo()
	st.settle()
	for _, group := range []string{"four/private-a", "#server-to-user-ann", "four/asked"} {
		plain.heard(t, `{"event":"removed","group_id":"`+group+`"`)
		if g := plain.shard.groups.Get(group); g != nil {
			t.Errorf("%s: got %+v, want nobody in it", group, g)
		}
	}
	for _, group := range []string{"four", "five/a", "private-a"} {
		if strings.Contains(string(plain.out), `"`+group+`"`) || plain.shard.groups.Get(group) == nil {
			t.Errorf("%s: heard %q, want it to stay", group, plain.out)
		}
	}
	page.heard(t, `{"push":{"channel":"four/private-a","unsubscribe":{"code":2000,`)
	plain.out, page.out = nil, nil
	member := st.app(t, 0, furtherApp.Key)
	st.subscribes(member, &furtherApp, "private-a", "")
	member.heardFrames(t, subscribed("private-a"))
	for c, want := range map[*stageConn]int{plain: 0, page: 0, member: 1, st.app(t, 1, stageApp.Key): 0} {
		n, err := send(func(ctx context.Context) (int, error) {
			return st.hub.Subscribe(ctx, Target{Client: c.client.Number()}, "four/private-a", nil)
		})
		if n != want || err != nil {
			t.Errorf("a backend brings in %d clients (%v), want %d", n, err, want)
		}
	}
	member.say(`{"event":"client-x","channel":"private-a","data":"secret"}`)
	st.settle()
	for _, c := range []*stageConn{plain, page, member} {
		if strings.Contains(string(c.out), "secret") || c == member && len(c.out) > 0 {
			t.Errorf("heard %q, want nothing of another app", c.out)
		}
	}
	if n := st.hub.errands.Load(); n != 0 {
		t.Errorf("%d errands are under way", n)
	}
}

// Who connects without a signature may publish to public channels, as to any group, unless the operator leaves these to backends.
func TestPublicChannelsCanBeLeftToBackends(t *testing.T) {
	st := newPusherStage(1, func(b *bounds) {
		b.Publish = Servers
		b.Kinds = []Kind{{Match: "private-*", Publish: Tokens, PublishSaid: true}, {Match: "presence-*", Publish: Tokens, PublishSaid: true}}
	})
	page, other, plain := st.app(t, 0, "key"), st.app(t, 0, "key"), st.enter(0)
	for _, c := range []*stageConn{page, other} {
		st.subscribes(c, &stageApp, "private-a", "")
		st.subscribes(c, &stageApp, "news", "")
		c.heardFrames(t, subscribed("private-a"), subscribed("news"))
	}
	plain.say(`{"cmd":"send_to_group","group_id":"news","message":"mine","id":1}`)
	st.settle()
	plain.heard(t, `"code":"forbidden"`)
	page.say(`{"event":"client-x","channel":"private-a","data":1}`)
	st.settle()
	page.heardFrames(t)
	other.heardFrames(t, `{"event":"client-x","channel":"private-a","data":1}`)
}

// Nor does a client become another app's user, whom that app's backend may end, by an id with a slash.
func TestAUserOfOneAppIsNoUserOfAnother(t *testing.T) {
	st := newPusherStage(1, nil)
	first, further := st.app(t, 0, stageApp.Key), st.app(t, 0, furtherApp.Key)
	st.signsIn(first, &stageApp, `{"id":"four/ann"}`)
	first.heardFrames(t, `{"event":"pusher:error","data":"{\"code\":4009,…}"}`)
	st.signsIn(first, &stageApp, `{"id":"five/ann"}`)
	first.heardFrames(t, `{"event":"pusher:signin_success",…}`)
	st.signsIn(further, &furtherApp, `{"id":"four/ann"}`)
	further.heardFrames(t, `{"event":"pusher:signin_success",…}`)
	if n := st.hub.Users(); n != 2 {
		t.Errorf("got %d users, want two", n)
	}
}
