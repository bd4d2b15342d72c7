package webhook

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"ringcast/loop"
	"ringcast/loop/door"
)

func TestABackendIsToldWhatBecomesOfItsChannels(t *testing.T) {
	shop := door.App{ID: "shop", Key: "shop-key", Secret: "other", Webhook: "http://shop.example"}
	quiet := door.App{ID: "quiet", Key: "quiet-key", Secret: "third"}
	hooked(t, nil, func(t *testing.T, hub *fakeHub, h *Hooks, b *backend) {
		hub.sees(loop.Occupied, "presence-a", "")
		hub.sees(loop.UserCame, "presence-a", "ann")
		hub.says("presence-a", `client-"x"`, `{"m": [1, "<&>"]}`, "ann")
		hub.says("private-a", "client-y", "typing", "ann")
		hub.sees(loop.CacheMiss, "cache-a", "")
		hub.sees(loop.Occupied, "shop/news", "")
		for _, nobodys := range []string{"quiet/news", "a/b", "gro up", "#server-to-user-1", "shop/#server-to-user-1", strings.Repeat("x", 165), ""} {
			hub.sees(loop.Occupied, nobodys, "")
		}
		hub.sees(loop.UserCame, "room", "ann") // a group may have presence too
		pass(2 * gatherTime)
		b.mu.Lock()
		if len(b.bodies) != 2 {
			t.Fatalf("got %d requests, want one of each app", len(b.bodies))
		}
		of := 0
		if b.heads[1].Get("X-Pusher-Key") == "key" {
			of = 1
		}
		head, body, other := b.heads[of], b.bodies[of], b.bodies[1-of]
		b.mu.Unlock()
		now := time.Now().Add(-gatherTime).UnixMilli()
		want := fmt.Sprintf(`{"time_ms":%d,"events":[{"name":"channel_occupied","channel":"presence-a"},{"name":"member_added","channel":"presence-a","user_id":"ann"},`+
			`{"name":"client_event","channel":"presence-a","user_id":"ann","event":"client-\"x\"","data":"{\"m\": [1, \"<&>\"]}","socket_id":"1.2"},`+
			`{"name":"client_event","channel":"private-a","event":"client-y","data":"typing","socket_id":"1.2"},{"name":"cache_miss","channel":"cache-a"}]}`, now)
		if body != want {
			t.Errorf("got  %s\nwant %s", body, want)
		}
		if got, want := head.Get("X-Pusher-Signature"), hookedApp.Sign([]byte(body)); got != want || head.Get("Content-Type") != "application/json" {
			t.Errorf("got %v, want the signature %s, and JSON", head, want)
		}
		if want := fmt.Sprintf(`{"time_ms":%d,"events":[{"name":"channel_occupied","channel":"news"}]}`, now); other != want {
			t.Errorf("got %s, want %s", other, want)
		}
	}, hookedApp, shop, quiet)
}

func TestWhatAllHomesTellAtOnceIsToldAndOfEachChannelInItsOrder(t *testing.T) {
	const events = 40
	hooked(t, nil, func(t *testing.T, hub *fakeHub, h *Hooks, b *backend) {
		var homes sync.WaitGroup
		for home := range inboxesMax {
			homes.Go(func() {
				for n := range events {
					h.Observe(home, loop.Observation{What: loop.UserCame, Group: fmt.Sprintf("presence-%d", home), User: fmt.Sprint(n)})
				}
			})
		}
		homes.Wait()
		pass(time.Second)
		b.mu.Lock()
		defer b.mu.Unlock()
		next := make(map[string]int)
		for _, e := range b.taken {
			var channel string
			var n int
			if _, err := fmt.Sscanf(e, "member_added %s %d", &channel, &n); err != nil || n != next[channel] {
				t.Fatalf("got %q, want number %d of its channel (%v)", e, next[channel], err)
			}
			next[channel]++
		}
		if len(b.taken) != inboxesMax*events {
			t.Errorf("%d events were told, want %d", len(b.taken), inboxesMax*events)
		}
	}, hookedApp)
}

func TestWhoGoesIsToldOnlyIfItIsNotBackSoon(t *testing.T) {
	hooked(t, nil, func(t *testing.T, hub *fakeHub, h *Hooks, b *backend) {
		hub.sees(loop.UserWent, "presence-a", "ann")
		hub.sees(loop.UserWent, "presence-a", "bob")
		hub.sees(loop.Vacated, "presence-a", "")
		pass(holdTime - time.Millisecond)
		b.took(t)
		hub.sees(loop.Occupied, "presence-a", "")
		hub.sees(loop.UserCame, "presence-a", "ann")
		hub.sees(loop.UserCame, "presence-a", "eve")
		pass(gatherTime + time.Millisecond)
		b.took(t, "member_added presence-a eve", "member_removed presence-a bob")
		hub.sees(loop.UserWent, "presence-a", "ann") // again: its time begins anew
		pass(holdTime - time.Millisecond)
		b.took(t)
		pass(time.Second)
		b.took(t, "member_removed presence-a ann")
		hub.sees(loop.Vacated, "presence-a", "")
		hub.sees(loop.Vacated, "presence-a", "") // as what came between was dropped
		pass(holdTime + time.Second)
		b.took(t, "channel_vacated presence-a")
		hub.sees(loop.Occupied, "presence-a", "")
		pass(time.Second)
		b.took(t, "channel_occupied presence-a")
	}, hookedApp)
}

func TestAnAppIsToldWhatItWantsToBeTold(t *testing.T) {
	app := hookedApp
	app.WebhookEvents = "channel_vacated, client_event"
	hooked(t, nil, func(t *testing.T, hub *fakeHub, h *Hooks, b *backend) {
		hub.sees(loop.Occupied, "a", "")
		hub.sees(loop.UserCame, "presence-a", "ann")
		hub.sees(loop.CacheMiss, "cache-a", "")
		hub.says("private-a", "client-x", "1", "")
		hub.sees(loop.Vacated, "a", "")
		hub.sees(loop.Vacated, "b", "")
		hub.sees(loop.Occupied, "b", "") // which is known, so that it is not told that it went
		pass(2 * holdTime)
		b.took(t, "client_event private-a client-x 1 1.2", "channel_vacated a")
	}, app)
	app.WebhookEvents = "channel_occupied"
	hooked(t, nil, func(t *testing.T, hub *fakeHub, h *Hooks, b *backend) {
		hub.sees(loop.Vacated, "a", "")
		hub.sees(loop.Occupied, "a", "") // likewise: it is not told to come, as it was there
		hub.sees(loop.Vacated, "b", "")
		pass(2 * holdTime)
		b.took(t)
		hub.sees(loop.Occupied, "b", "")
		pass(time.Second)
		b.took(t, "channel_occupied b")
	}, app)
}

// A request is full at 100 events or 1 MiB; what does not come with others does not wait for them for long.
func TestEventsGoInRequestsOfSomeInTheirOrder(t *testing.T) {
	hooked(t, nil, func(t *testing.T, hub *fakeHub, h *Hooks, b *backend) {
		var want []string
		for i := range 250 {
			hub.sees(loop.Occupied, fmt.Sprintf("c%03d", i), "")
			want = append(want, fmt.Sprintf("channel_occupied c%03d", i))
		}
		pass(time.Second)
		b.took(t, want...)
		if got := len(b.asked); got != 3 {
			t.Errorf("got %d requests, want 3", got)
		}
		large := strings.Repeat("x", 600<<10)
		hub.says("private-a", "client-a", large, "")
		hub.says("private-a", "client-b", large, "")
		pass(time.Second)
		if got := len(b.asked); got != 5 {
			t.Errorf("got %d requests, want 5", got)
		}
		b.taken = nil
	}, hookedApp)
}

func TestWhatIsNotTakenIsToldAgainInItsOrderForFiveMinutes(t *testing.T) {
	hooked(t, nil, func(t *testing.T, hub *fakeHub, h *Hooks, b *backend) {
		answers := []int{500, 404, 302, 0, 204}
		b.refuses = func(n int) (int, error) {
			if n >= len(answers) {
				return 200, nil
			}
			if answers[n] == 0 {
				return 0, errors.New("connection refused")
			}
			return answers[n], nil
		}
		hub.sees(loop.Occupied, "a", "")
		pass(time.Second)
		hub.sees(loop.Occupied, "b", "")
		pass(20 * time.Second)
		b.took(t, "channel_occupied a", "channel_occupied b")
		for i, want := range []time.Duration{1, 2, 4, 8} {
			if got := b.asked[i+1].Sub(b.asked[i]); got != want*time.Second {
				t.Errorf("request %d came after %v, want %d s", i+2, got, want)
			}
		}
		for _, text := range b.bodies[:5] {
			if text != b.bodies[0] {
				t.Errorf("got %s, want always %s", text, b.bodies[0])
			}
		}
		b.is(func(b *backend) { b.refuses = func(int) (int, error) { return 503, nil } })
		hub.sees(loop.Occupied, "c", "")
		pass(4 * time.Minute)
		hub.sees(loop.Occupied, "d", "") // has a minute less behind it
		pass(2 * time.Minute)
		if got := h.lost.Load(); got != 1 {
			t.Errorf("got %d lost, want 1", got)
		}
		b.is(func(b *backend) { b.refuses = nil })
		pass(pauseMax)
		b.took(t, "channel_occupied d")
		if got := h.told.Load(); got != 3 {
			t.Errorf("got %d told, want 3", got)
		}
	}, hookedApp)
}

func TestABackendThatHangsHoldsUpItsOwnAppAlone(t *testing.T) {
	other := door.App{ID: "shop", Key: "shop-key", Secret: "other", Webhook: "http://shop.example"}
	hooked(t, nil, func(t *testing.T, hub *fakeHub, h *Hooks, b *backend) {
		b.is(func(b *backend) { b.hangs = true })
		hub.sees(loop.Occupied, "a", "")
		pass(time.Second)
		b.is(func(b *backend) { b.hangs = false })
		hub.sees(loop.Occupied, "shop/a", "")
		hub.sees(loop.Occupied, "b", "")
		pass(time.Second)
		b.took(t, "channel_occupied a")
		if h.failed.Load() != 0 {
			t.Error("a request is given up too early")
		}
		pass(tellTime)
		b.took(t, "channel_occupied a", "channel_occupied b")
		if h.failed.Load() != 1 {
			t.Errorf("got %d failed, want 1", h.failed.Load())
		}
	}, hookedApp, other)
}

// What comes and goes has room when what clients say has none left.
func TestWhatWaitsIsBoundedAndWhatIsBeyondIsDropped(t *testing.T) {
	hooked(t, nil, func(t *testing.T, hub *fakeHub, h *Hooks, b *backend) {
		b.is(func(b *backend) { b.refuses = func(int) (int, error) { return 500, nil } })
		for range 2 * eventsMax {
			hub.says("private-a", "client-x", "1", "")
		}
		if got := h.dropped.Load(); got < eventsMax {
			t.Errorf("got %d dropped, want most", got)
		}
		before := h.dropped.Load()
		hub.says("private-a", "client-x", "1", "")
		hub.sees(loop.Occupied, "private-a", "")
		if got := h.dropped.Load(); got != before+1 {
			t.Errorf("got %d dropped, want one more than %d", got, before)
		}
		for range 4 * eventsMax {
			hub.sees(loop.Occupied, "private-a", "")
		}
		target := h.config.Load().targets["3"]
		if n, bytes := target.events.Load(), target.bytes.Load(); n > eventsMax || bytes > bytesMax || bytes < bytesMax*9/10 {
			t.Errorf("got %d events of %d bytes, want at most %d of %d", n, bytes, eventsMax, bytesMax)
		}
	}, hookedApp)
}

func TestAReloadChangesWhoIsToldWhereAndHowItIsSigned(t *testing.T) {
	hooked(t, nil, func(t *testing.T, hub *fakeHub, h *Hooks, b *backend) {
		b.is(func(b *backend) { b.refuses = func(int) (int, error) { return 500, nil } })
		hub.sees(loop.Occupied, "a", "")
		pass(time.Minute)
		b.is(func(b *backend) { b.refuses = nil })
		moved := hookedApp
		moved.Key, moved.Secret, moved.Webhook = "key2", "secret2", "https://new.example"
		h.Apply(appsOf(t, moved))
		pass(0) // it waits no longer for the end of the pause
		b.took(t, "channel_occupied a")
		last := len(b.heads) - 1
		if got, want := b.heads[last].Get("X-Pusher-Signature"), moved.Sign([]byte(b.bodies[last])); got != want || b.heads[last].Get("X-Pusher-Key") != "key2" {
			t.Errorf("got the signature %s, want %s", got, want)
		}
		b.is(func(b *backend) { b.refuses = func(int) (int, error) { return 500, nil } })
		hub.sees(loop.Occupied, "b", "")
		pass(time.Second)
		silent := hookedApp
		silent.Webhook = ""
		h.Apply(appsOf(t, silent))
		pass(time.Second)
		if hub.observer != nil || h.dropped.Load() != 1 || h.bytes.Load() != 0 {
			t.Errorf("got %d dropped and %d bytes, want one, none and no observer", h.dropped.Load(), h.bytes.Load())
		}
		b.is(func(b *backend) { b.refuses = nil })
		h.Apply(appsOf(t, hookedApp))
		hub.sees(loop.Occupied, "c", "")
		pass(time.Second)
		b.took(t, "channel_occupied c")
	}, hookedApp)
}

func TestWhoIsHeldBackTakesNoRoomForEver(t *testing.T) {
	hooked(t, nil, func(t *testing.T, hub *fakeHub, h *Hooks, b *backend) {
		back, now, to := newHold(), time.Now(), h.config.Load().targets["3"]
		for i := range 100_000 { // one goes and one comes back each millisecond
			e := event{what: vacated, to: to, channel: fmt.Sprint(i)}
			if !to.book(&e) || back.take(e, now.Add(time.Duration(i)*time.Millisecond)) {
				t.Fatal("it is told at once, or dropped")
			}
			if e.what = occupied; i%2 == 0 {
				if !to.book(&e) || back.take(e, now) {
					t.Fatal("who is back is told to come, or dropped")
				}
			}
			if e, any := back.over(now.Add(time.Duration(i)*time.Millisecond), false); any {
				to.release(&e)
			}
			if most := int(2*holdTime/time.Millisecond) + queueSpare; len(back.queue) > most || len(back.by) > most {
				t.Fatalf("got room for %d and %d, want at most %d", len(back.queue), len(back.by), most)
			}
		}
		for e, any := back.over(now, true); any; e, any = back.over(now, true) {
			to.release(&e)
		}
	}, hookedApp)
}

func TestWhoGoesInAHurryIsToldAtOnce(t *testing.T) {
	hooked(t, nil, func(t *testing.T, hub *fakeHub, h *Hooks, b *backend) {
		hub.sees(loop.Vacated, "a", "")
		pass(time.Second)
		b.took(t)
		h.Hurry()
		pass(0)
		b.took(t, "channel_vacated a")
		hub.sees(loop.Vacated, "b", "")
		pass(0)
		b.took(t, "channel_vacated b")
	}, hookedApp)
}

// Who has gone is told to have gone, whether or not its time is over, as far as there is time for that.
func TestTheEndTellsWhatWaits(t *testing.T) {
	hooked(t, nil, func(t *testing.T, hub *fakeHub, h *Hooks, b *backend) {
		hub.sees(loop.Occupied, "a", "")
		hub.sees(loop.Vacated, "b", "")
		hub.sees(loop.UserWent, "presence-b", "ann")
		hub.sees(loop.UserCame, "presence-b", "ann")
		began := time.Now()
		h.Close(t.Context())
		b.took(t, "channel_occupied a", "channel_vacated b")
		if took := time.Since(began); took != 0 {
			t.Errorf("it took %v, want no time", took)
		}
		hub.sees(loop.Occupied, "c", "")
		h.Apply(appsOf(t, hookedApp))
		pass(time.Second)
		b.took(t)
	}, hookedApp)
	for name, away := range map[string]func(b *backend){
		"refuses": func(b *backend) { b.refuses = func(int) (int, error) { return 500, nil } },
		"hangs":   func(b *backend) { b.hangs = true },
	} {
		hooked(t, nil, func(t *testing.T, hub *fakeHub, h *Hooks, b *backend) {
			away(b)
			for i := range 1000 {
				hub.sees(loop.Occupied, fmt.Sprint(i), "")
			}
			began := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			h.Close(ctx)
			if took := time.Since(began); took > 5*time.Second || h.told.Load() != 0 || h.lost.Load()+h.dropped.Load() != 1000 {
				t.Errorf("%s: ended after %v with %d lost and %d dropped, want 1000", name, took, h.lost.Load(), h.dropped.Load())
			}
		}, hookedApp)
	}
}

func TestOfWhatAllNodesKnowOneTells(t *testing.T) {
	hooked(t, func(c *Config) { c.Tells = func(group string) bool { return group == "presence-mine" } }, func(t *testing.T, hub *fakeHub, h *Hooks, b *backend) {
		hub.tell(loop.Observation{What: loop.UserCame, Group: "presence-mine", User: "ann", Everywhere: true})
		hub.tell(loop.Observation{What: loop.UserCame, Group: "presence-others", User: "ann", Everywhere: true})
		hub.sees(loop.Occupied, "news", "")
		pass(time.Second)
		b.took(t, "member_added presence-mine ann", "channel_occupied news")
	}, hookedApp)
}

func TestAnAddressIsNotFollowedElsewhere(t *testing.T) {
	if err := newClient(nil).CheckRedirect(nil, nil); !errors.Is(err, http.ErrUseLastResponse) {
		t.Errorf("got %v, want the answer itself", err)
	}
}

func TestWhoTellsIsFollowedFromTheFirstWebhookOn(t *testing.T) {
	begun := 0
	h := New(Config{Hub: &fakeHub{}, Begin: func() { begun++ }})
	defer h.Close(context.Background())
	silent := hookedApp
	silent.Webhook = ""
	for i, step := range []struct {
		app  door.App
		want int
	}{{silent, 0}, {hookedApp, 1}, {silent, 1}, {hookedApp, 1}} {
		if h.Apply(appsOf(t, step.app)); begun != step.want {
			t.Errorf("step %d: begun %d times, want %d", i, begun, step.want)
		}
	}
}
