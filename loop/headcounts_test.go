package loop

import (
	"fmt"
	"testing"

	"ringcast/loop/door"
)

// Members of channels are told how many they are, where their app wants it.

// The apps of these tests: the first wants it, the further one does not.
var countingApp = func() door.App {
	app := stageApp
	app.SubscriptionCount = true
	return app
}()

func counting(b *bounds) { withApps(b, countingApp, furtherApp) }

func toldOf(channel string, n int) string {
	return fmt.Sprintf(`{"event":"pusher_internal:subscription_count","channel":%q,"data":"{\"subscription_count\":%d}"}`, channel, n)
}

func TestMembersOfAChannelAreToldHowManyTheyAre(t *testing.T) {
	st := newPusherStage(2, counting)
	first, second, seed := st.app(t, 0, "key"), st.app(t, 1, "key"), st.enter(1)
	for _, channel := range []string{"news", "private-a", "private-encrypted-b", "cache-c"} {
		miss := []string{}
		if channel == "cache-c" {
			miss = append(miss, `{"event":"pusher:cache_miss","channel":"cache-c"}`)
		}
		st.subscribes(first, &stageApp, channel, "")
		first.heardFrames(t, append([]string{subscribed(channel)}, miss...)...)
		st.ticks(1)
		first.heardFrames(t, toldOf(channel, 1))
		st.subscribes(second, &stageApp, channel, "")
		seed.say(`{"cmd":"add_group","group_id":%q}`, "news")
		st.settle()
		st.ticks(1)
		n := 2
		if channel == "news" {
			n = 3 // of whatever dialect
		}
		first.heardFrames(t, toldOf(channel, n))
		second.heardFrames(t, append([]string{subscribed(channel)}, append(miss, toldOf(channel, n))...)...)
		st.ticks(30)
		st.unsubscribes(second, channel)
		st.ticks(1)
		first.heardFrames(t, toldOf(channel, n-1))
	}
	if second.heardFrames(t); len(seed.out) > 0 {
		t.Errorf("a client of another dialect heard %q, want nothing", seed.out)
	}
}

func TestChangesWithinATickAreToldOnce(t *testing.T) {
	st := newPusherStage(2, counting)
	first, second := st.app(t, 0, "key"), st.app(t, 1, "key")
	st.subscribes(first, &stageApp, "news", "")
	st.ticks(1)
	first.frames()
	for range 3 {
		st.subscribes(second, &stageApp, "news", "")
		st.unsubscribes(second, "news")
	}
	st.ticks(2)
	first.heardFrames(t) // they are as many as before
	st.subscribes(second, &stageApp, "news", "")
	st.ticks(1)
	first.heardFrames(t, toldOf("news", 2))
	second.frames()
	// One goes and one comes, and they are as many as before: who has come has not heard so.
	third := st.app(t, 0, "key")
	st.unsubscribes(second, "news")
	st.subscribes(third, &stageApp, "news", "")
	st.ticks(1)
	first.heardFrames(t, toldOf("news", 2))
	third.heardFrames(t, subscribed("news"), toldOf("news", 2))
}

func TestANumberGoesOutBehindTheMessagesThatWaitAndLeavesNobodyOut(t *testing.T) {
	for _, large := range []bool{false, true} {
		st := newPusherStage(2, func(b *bounds) {
			if counting(b); large {
				b.batchBytes = 1
			}
		}).raw()
		first, second, third := st.app(t, 0, "key"), st.app(t, 0, "key"), st.app(t, 1, "key")
		for _, c := range []*stageConn{first, second, third} {
			st.subscribes(c, &stageApp, "private-a", "")
			c.frames()
		}
		before := first.shard.count.Passes.Load()
		st.together(func() {
			st.backendSays(t, "private-a", event("e", "x"))
			second.say(`{"event":"client-x","channel":"private-a","data":"y"}`)
			st.settle()
			st.hub.beat()
		})
		said := []string{`{"event":"e","channel":"private-a","data":"x"}`, `{"event":"client-x","channel":"private-a","data":"y"}`, toldOf("private-a", 3)}
		first.heardFrames(t, said...)
		third.heardFrames(t, said...)
		second.heardFrames(t, said[0], said[2])
		if got := first.shard.count.Passes.Load() - before; large != (got == 3) || large == (got == 1) {
			t.Errorf("got %d passes, want one, or three where a message is large already", got)
		}
	}
}

func TestManyMembersAreToldEveryFiveSeconds(t *testing.T) {
	st := newPusherStage(2, counting)
	st.hub.clientsMax.Store(1000)
	page := st.app(t, 0, "key")
	st.subscribes(page, &stageApp, "news", "")
	var others []*stageConn
	come := func() {
		seed := st.enter(1)
		seed.say(`{"cmd":"add_group","group_id":"news"}`)
		st.settle()
		others = append(others, seed)
	}
	for range headcountOften - 1 {
		come()
	}
	st.ticks(1)
	page.heardFrames(t, subscribed("news"), toldOf("news", headcountOften))
	come()
	st.ticks(int(headcountPause) - 1)
	page.heardFrames(t)
	come()
	st.ticks(1)
	page.heardFrames(t, toldOf("news", headcountOften+2))
	for _, seed := range others[:2] {
		seed.say(`{"cmd":"leave_group","group_id":"news"}`)
		st.settle()
	}
	st.ticks(1)
	page.heardFrames(t, toldOf("news", headcountOften)) // as few as that are told at once
}

func TestNobodyIsToldWhoKnowsWhoIsThereOrHasNotAskedForIt(t *testing.T) {
	st := newPusherStage(2, counting)
	page, further := st.app(t, 0, "key"), st.app(t, 1, "key4")
	const ann = `{"id":"ann"}`
	st.signsIn(page, &stageApp, ann)
	st.subscribes(page, &stageApp, "presence-a", "")
	st.subscribes(page, &stageApp, "#server-to-user-ann", "")
	st.subscribes(further, &furtherApp, "news", "")
	page.frames()
	further.frames()
	st.ticks(30)
	page.heardFrames(t)
	further.heardFrames(t)
	for i, s := range st.hub.shards {
		if n := len(s.headcounts.list); n != 0 {
			t.Errorf("loop %d looks at %d channels, want none", i, n)
		}
	}
}

func TestAReloadBeginsAndEndsToTellHowManyThereAre(t *testing.T) {
	st := newPusherStage(2, nil)
	pages := []*stageConn{st.app(t, 0, "key"), st.app(t, 0, "key"), st.app(t, 1, "key")}
	for _, page := range pages {
		st.subscribes(page, &stageApp, "news", "")
		st.subscribes(page, &stageApp, "private-a", "")
		page.frames()
	}
	st.ticks(2)
	st.reload(counting)
	st.settle()
	st.ticks(1)
	for _, page := range pages {
		if got := page.frames(); len(got) != 2 {
			t.Errorf("heard %q, want two numbers", got)
		}
	}
	st.reload(func(b *bounds) { withApps(b, stageApp, furtherApp) })
	st.settle()
	st.unsubscribes(pages[2], "news")
	st.unsubscribes(pages[1], "private-a")
	st.ticks(2)
	for _, page := range pages {
		page.heardFrames(t)
	}
	for i, s := range st.hub.shards {
		if n := len(s.headcounts.list); n != 0 {
			t.Errorf("loop %d looks at %d channels still, want none", i, n)
		}
	}
	if n := st.hub.errands.Load(); n != 0 {
		t.Errorf("%d errands are under way", n)
	}
}

func TestAServerThatStopsTellsNobodyHowManyAreLeft(t *testing.T) {
	st := newPusherStage(1, counting)
	page, other := st.app(t, 0, "key"), st.app(t, 0, "key")
	st.subscribes(page, &stageApp, "news", "")
	st.subscribes(other, &stageApp, "news", "")
	st.ticks(1)
	page.frames()
	st.hub.stopping.Store(true)
	st.unsubscribes(other, "news")
	st.ticks(2)
	page.heardFrames(t)
}

// What is looked at is what there is, however much has come and gone.
func TestChannelsThatEndAreLookedAtNoLonger(t *testing.T) {
	st := newPusherStage(1, counting)
	page, seed := st.app(t, 0, "key"), st.enter(0)
	s := page.shard
	check := func(want int) {
		t.Helper()
		for i := range s.headcounts.list {
			if e := s.headcounts.list[i]; int(e.group.counted) != i+1 || s.groups.Get(e.group.name) != e.group {
				t.Errorf("place %d has %s, which knows place %d", i, e.group.name, e.group.counted)
			}
		}
		if n := len(s.headcounts.list); n != want {
			t.Errorf("got %d channels that are looked at, want %d", n, want)
		}
	}
	name := func(n int) string { return fmt.Sprint("c", n) }
	for n := range 90 {
		st.subscribes(page, &stageApp, name(n), "")
		seed.say(`{"cmd":"add_group","group_id":"c%d"}`, n%10)
		st.settle()
	}
	check(90)
	st.ticks(1)
	for n := range 30 {
		st.unsubscribes(page, name(n*3))
	}
	check(60 + 4) // of which c0, c3, c6 and c9 have other members still
	st.ticks(1)
	check(60)
	page.frames()
	st.subscribes(page, &stageApp, "c0", "")
	st.ticks(1)
	page.heardFrames(t, subscribed("c0"), toldOf("c0", 2))
	page.goAway()
	st.settle()
	st.ticks(1)
	check(0)
}
