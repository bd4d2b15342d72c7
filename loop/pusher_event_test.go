package loop

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"ringcast/loop/door"
)

// Client events, and the last events of cache channels.

func TestAClientEventIsForTheOtherMembersAlone(t *testing.T) {
	for _, app := range []*door.App{&stageApp, &furtherApp} {
		st := newPusherStage(2, func(b *bounds) { b.History = 10 })
		said, heard, stranger := st.app(t, 0, app.Key), st.app(t, 1, app.Key), st.app(t, 1, app.Key)
		for _, c := range []*stageConn{said, heard} {
			st.subscribes(c, app, "private-a", "")
			c.heardFrames(t, subscribed("private-a"))
		}
		said.say(`{"event":"client-x","data":{"m": [1]},"channel":"private-a"}`)
		said.say(`{"event":"client-\"y\"","data":"{}","channel":"private-a"}`)
		st.settle()
		heard.heardFrames(t, `{"event":"client-x","channel":"private-a","data":{"m": [1]}}`, `{"event":"client-\"y\"","channel":"private-a","data":"{}"}`)
		said.heardFrames(t)
		if kept := st.hub.homes.HistoryBytes(); kept != 0 {
			t.Errorf("%d bytes of client events are kept", kept)
		}
		stranger.say(`{"event":"client-x","data":1,"channel":"private-a"}`)
		st.unsubscribes(said, "private-a")
		said.say(`{"event":"client-x","data":1,"channel":"private-a"}`)
		st.settle()
		for _, c := range []*stageConn{stranger, said} {
			c.heardFrames(t, `{"event":"pusher:error","data":"{\"code\":4301,…}"}`)
		}
		heard.heardFrames(t)
	}
}

func TestOtherDialectsHearAClientEventWithItsName(t *testing.T) {
	st := newPusherStage(1, func(b *bounds) { b.Kinds = []Kind{{Match: "private-a", JoinSaid: true}} })
	page, seed := st.app(t, 0, "key"), st.enter(0)
	st.subscribes(page, &stageApp, "private-a", "")
	seed.say(`{"cmd":"add_group","group_id":"private-a"}`)
	page.say(`{"event":"client-x","data":"typing","channel":"private-a"}`)
	st.settle()
	seed.heard(t, "\x81\x06typing")
}

func TestAnAppBoundsClientEvents(t *testing.T) {
	st := newPusherStage(1, nil)
	st.busy = true
	said, heard := st.app(t, 0, "key4"), st.app(t, 0, "key4")
	for _, c := range []*stageConn{said, heard} {
		st.subscribes(c, &furtherApp, "private-a", "")
		c.out = nil
	}
	said.say(`{"event":"client-x","data":%q,"channel":"private-a"}`, strings.Repeat("x", 21))
	st.settle()
	said.heardFrames(t, `{"event":"pusher:error","data":"{\"code\":4301,…}"}`)
	for i := range 3 { // two a second
		said.say(`{"event":"client-x","data":%d,"channel":"private-a"}`, i)
	}
	st.settle()
	said.heardFrames(t, `{"event":"pusher:error","data":"{\"code\":4301,…}"}`)
	heard.heardFrames(t, `{"event":"client-x","channel":"private-a","data":0}`, `{"event":"client-x","channel":"private-a","data":1}`)
	st.nanos += int64(time.Second / 2)
	said.say(`{"event":"client-x","data":3,"channel":"private-a"}`)
	st.settle()
	heard.heardFrames(t, `{"event":"client-x","channel":"private-a","data":3}`)
	s := said.shard
	s.closed(said.client)
	st.settle()
	if n := s.rates.events.due.Len(); n != 0 {
		t.Errorf("%d clients are remembered that have gone", n)
	}
}

func TestAnAppMayHaveNoClientEvents(t *testing.T) {
	quiet := stageApp
	quiet.ClientEventsPerSecond = 0
	st := newPusherStage(1, func(b *bounds) { withApps(b, quiet) })
	page := st.app(t, 0, "key")
	st.subscribes(page, &quiet, "private-a", "")
	page.say(`{"event":"client-x","data":1,"channel":"private-a"}`)
	st.settle()
	page.heardFrames(t, subscribed("private-a"), `{"event":"pusher:error","data":"{\"code\":4301,…}"}`)
}

func TestWhoJoinsACacheChannelHearsItsLastEvent(t *testing.T) {
	for _, app := range []*door.App{&stageApp, &furtherApp} {
		st := newPusherStage(2, nil)
		for _, channel := range []string{"cache-a", "private-cache-a", "private-encrypted-cache-a"} {
			first, second := st.app(t, 0, app.Key), st.app(t, 1, app.Key)
			st.subscribes(first, app, channel, "")
			first.heardFrames(t, subscribed(channel), fmt.Sprintf(`{"event":"pusher:cache_miss","channel":%q}`, channel))
			st.backendSays(t, groupOf(app, channel), event("one", "1"))
			st.backendSays(t, groupOf(app, channel), event("two", `{"n":2}`))
			first.heardFrames(t, fmt.Sprintf(`{"event":"one","channel":%q,"data":"1"}`, channel), fmt.Sprintf(`{"event":"two","channel":%q,"data":"{\"n\":2}"}`, channel))
			if channel == "private-cache-a" {
				first.say(`{"event":"client-x","data":1,"channel":%q}`, channel)
			}
			st.subscribes(second, app, channel, "")
			second.heardFrames(t, subscribed(channel), fmt.Sprintf(`{"event":"two","channel":%q,"data":"{\"n\":2}"}`, channel))
		}
	}
}

func TestAPresenceCacheChannelHasBoth(t *testing.T) {
	st := newPusherStage(1, nil)
	st.backendSays(t, "presence-cache-a", event("e", "before anybody"))
	page := st.app(t, 0, "key")
	st.subscribes(page, &stageApp, "presence-cache-a", `{"user_id":"ann"}`)
	page.heardFrames(t, listOf("presence-cache-a", `"ann"`, `"ann":null`, 1), `{"event":"e","channel":"presence-cache-a","data":"before anybody"}`)
}

// What is in no place where an outbox would have room is left out, and a list that has none refuses the subscribe.
func TestWhatDoesNotFitIsNotTold(t *testing.T) {
	st := newPusherStage(1, func(b *bounds) { b.OutboxBytesMax = 2000 })
	st.backendSays(t, "cache-a", event("e", strings.Repeat("x", 1500)))
	page := st.app(t, 0, "key")
	st.subscribes(page, &stageApp, "cache-a", "")
	page.heardFrames(t, subscribed("cache-a"))
	for i := range 3 {
		member := st.app(t, 0, "key")
		st.subscribes(member, &stageApp, "presence-a", fmt.Sprintf(`{"user_id":"%d","user_info":%q}`, i, strings.Repeat("y", 400)))
		want := `{"event":"pusher_internal:subscription_succeeded",…}`
		if i == 2 {
			want = `{"event":"pusher:subscription_error","channel":"presence-a","data":"{\"type\":\"LimitReached\",…}"}`
		}
		if got := member.frames(); len(got) == 0 || !strings.HasPrefix(got[0], want[:strings.Index(want, "…")]) {
			t.Errorf("member %d heard %q, want %s", i, got, want)
		}
	}
}
