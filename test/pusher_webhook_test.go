package test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pusher/pusher-http-go/v5"
)

// hookedBackend is a backend that is told what becomes of channels, and reads that with Pusher's own library.
type hookedBackend struct {
	t      testing.TB
	http   *httptest.Server
	mu     sync.Mutex
	fails  int      // so many requests are refused
	events []string // in short, without those that were looked at
}

func openHookedBackend(t testing.TB) *hookedBackend {
	t.Helper()
	b := &hookedBackend{t: t}
	reader := pusher.Client{AppID: pusherID, Key: pusherKey, Secret: pusherSecret}
	b.http = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		b.mu.Lock()
		defer b.mu.Unlock()
		if b.fails > 0 {
			b.fails--
			http.Error(w, "not now", http.StatusServiceUnavailable)
			return
		}
		hook, err2 := reader.Webhook(r.Header, text)
		if err != nil || err2 != nil || r.Method != http.MethodPost || r.URL.Path != "/hook" || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("a webhook %s %s with %v and %s: %v, %v", r.Method, r.URL, r.Header, text, err, err2)
			return
		}
		for _, e := range hook.Events {
			b.events = append(b.events, strings.Join(strings.Fields(strings.Join([]string{e.Name, e.Channel, e.UserID, e.Event, e.Data, e.SocketID}, " ")), " "))
		}
	}))
	t.Cleanup(b.http.Close)
	return b
}

// app is the app of the tests, for --pusher, with the backend as its webhook.
func (b *hookedBackend) app() string {
	return fmt.Sprintf(`{"id": %q, "key": %q, "secret": %q, "webhook": "%s/hook"}`, pusherID, pusherKey, pusherSecret, b.http.URL)
}

// hears waits for events, in this order among those of the same channel, and nothing else of these channels.
func (b *hookedBackend) hears(want ...string) {
	b.t.Helper()
	channelOf := func(event string) string { return strings.Fields(event)[1] }
	order := func(x, y string) int { return strings.Compare(channelOf(x), channelOf(y)) }
	slices.SortStableFunc(want, order)
	eventually(b.t, "the webhook is told", func() error {
		b.mu.Lock()
		defer b.mu.Unlock()
		got := slices.Clone(b.events)
		slices.SortStableFunc(got, order)
		if !slices.Equal(got, want) {
			return fmt.Errorf("got %q, want %q", got, want)
		}
		b.events = nil
		return nil
	})
}

func TestABackendIsToldByWebhooksWhatBecomesOfItsChannels(t *testing.T) {
	t.Parallel()
	b := openHookedBackend(t)
	b.fails = 1 // the first request is made again
	s, url := startAdmin(t, "--pusher", b.app())
	c, socket := dialPusher(t, s.addr)
	subscribe := func(channel, data string) {
		t.Helper()
		must(t, c.text(pusherSubscribe(socket, channel, data)))
		c.expectPusher(t, "pusher_internal:subscription_succeeded", channel, "*")
	}
	subscribe("private-a", "")
	subscribe("presence-a", `{"user_id":"ann"}`)
	subscribe("cache-a", "")
	c.expectPusher(t, "pusher:cache_miss", "cache-a", "")
	must(t, c.text(`{"event":"client-x","channel":"presence-a","data":{"m":1}}`))
	must(t, c.text(`{"event":"client-y","channel":"private-a","data":"text"}`))
	b.hears("channel_occupied private-a", "client_event private-a client-y text "+socket, "channel_occupied presence-a", "member_added presence-a ann",
		`client_event presence-a ann client-x {"m":1} `+socket, "channel_occupied cache-a", "cache_miss cache-a")
	// A second tab: the user is there all the time.
	again, err := enterPusher(s.addr, "presence-a", "ann")
	must(t, err)
	defer again.hangUp()
	must(t, c.closeWith(1000, ""))
	b.hears("channel_vacated private-a", "channel_vacated cache-a")
	other, err := enterPusher(s.addr, "presence-a", "bob")
	must(t, err)
	b.hears("member_added presence-a bob")
	must(t, other.closeWith(1000, ""))
	b.hears("member_removed presence-a bob")
	s.eventually("it is counted", func() error { // which it is once the backend's answer has been read
		metrics := scrape(t, url)
		told, failed := metrics[`ringcast_webhook_events_total{outcome="told"}`], metrics[`ringcast_webhook_requests_total{result="failed"}`]
		if told != 11 || failed != 1 {
			return fmt.Errorf("got %v events told and %v requests refused, want 11 and 1", told, failed)
		}
		return nil
	})
	// Who has been closed has gone when the next server comes.
	stopped := make(chan result, 1)
	go func() { stopped <- run("stop", "--run-dir", s.dir) }()
	for err == nil {
		_, err = again.next()
	}
	_ = again.closeWith(1000, "") // as pages answer at once
	equal(t, "exit status of stop", (<-stopped).exit, 0)
	b.hears("member_removed presence-a ann", "channel_vacated presence-a")
}

// settles waits until nodes that have just met tell of all who come: at first they learn of each other by whole lists, and of what these have
// nothing is told. Twice in a row everybody was told of, at each of the nodes.
func (b *hookedBackend) settles(c *cluster) {
	b.t.Helper()
	told := func(want []string) bool {
		again := time.NewTicker(20 * time.Millisecond)
		defer again.Stop()
		for range 150 {
			b.mu.Lock()
			missing := slices.ContainsFunc(want, func(event string) bool { return !slices.Contains(b.events, event) })
			b.mu.Unlock()
			if !missing {
				return true
			}
			<-again.C
		}
		return false
	}
	for round, inARow := 0, 0; inARow < 2; round++ {
		if round == 20 {
			b.t.Fatal("nodes do not settle: again and again some who come are told of by none")
		}
		var want []string
		for i := range 12 {
			room := fmt.Sprintf("presence-round-%d-%d", round, i)
			u, err := enterPusher(c.nodes[i%2].listen, room, "early") // who stay, so not at the third, which dies
			must(b.t, err)
			b.t.Cleanup(u.hangUp)
			want = append(want, "member_added "+room+" early")
		}
		if inARow++; !told(want) {
			inARow = 0
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.events = nil
}

// All nodes know who is in a presence channel, and one of them tells; also of who was on a node that is killed.
func TestFaultClusterWebhooksTellOfPresenceOnce(t *testing.T) {
	fault(t)
	if raceDetector {
		t.Skip("three nodes take minutes under the race detector")
	}
	b := openHookedBackend(t)
	c := startCluster(t, clustering{wait: patience, args: []string{"--pusher", b.app()}})
	rooms := []string{"presence-a", "presence-b", "presence-c", "presence-d", "presence-e", "presence-f"} // which of the nodes tell of, each of some
	enter := func(n *node, user string) (all []*pusherUsers) {
		t.Helper()
		for _, room := range rooms {
			u, err := enterPusher(n.listen, room, user)
			must(t, err)
			t.Cleanup(u.hangUp)
			all = append(all, u)
		}
		return all
	}
	of := func(texts ...string) (all []string) {
		for _, room := range rooms {
			for _, text := range texts {
				all = append(all, strings.Replace(text, "ROOM", room, 1))
			}
		}
		return all
	}
	b.settles(c)
	enter(c.nodes[0], "olga")
	b.hears(of("channel_occupied ROOM", "member_added ROOM olga")...)
	first := enter(c.nodes[1], "ann")
	b.hears(of("member_added ROOM ann")...)
	must(t, first[0].text(`{"event":"client-x","channel":"presence-a","data":"once"}`))
	b.hears("client_event presence-a ann client-x once " + first[0].socket)
	enter(c.nodes[2], "ann")
	for _, u := range first {
		must(t, u.closeWith(1000, ""))
	}
	enter(c.nodes[1], "bob")
	b.hears(of("member_added ROOM bob")...)
	c.nodes[2].kill(t)
	b.hears(of("member_removed ROOM ann")...)
}
