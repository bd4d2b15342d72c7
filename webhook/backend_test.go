package webhook

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"ringcast/dialect"
	"ringcast/loop"
	"ringcast/loop/door"
)

// fakeHub is a hub that notes its observer.
type fakeHub struct {
	mu       sync.Mutex
	observer loop.Observer
}

func (f *fakeHub) SetObserver(o loop.Observer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.observer = o
}

func (f *fakeHub) SocketID(client uint64) string { return fmt.Sprintf("%d.%d", client/10, client%10) }

// tell has a home tell of a group, if anybody wants to know: the same home of all groups, as what several tell is in no order.
func (f *fakeHub) tell(o loop.Observation) {
	f.mu.Lock()
	to := f.observer
	f.mu.Unlock()
	if to != nil {
		to.Observe(0, o)
	}
}

func (f *fakeHub) sees(what loop.Observed, group, user string) {
	f.tell(loop.Observation{What: what, Group: group, User: user})
}

// says has client 12 say a client event, as a user if that is not empty.
func (f *fakeHub) says(group, event, data, user string) {
	more := &dialect.More{ClientEvent: true, Except: 12, Tags: fmt.Appendf(nil, `{"event":%q}`, event)}
	if user != "" {
		more.Who = dialect.WhoIs{User: user}.Who()
	}
	m := loop.NewOrderedMessage([]byte(group), []byte(data), strings.HasPrefix(data, "{"), more)
	f.tell(loop.Observation{What: loop.ClientSaid, Group: group, Message: m})
}

// backend takes requests in place of the network, so that time can be made up.
type backend struct {
	refuses func(n int) (status int, err error) // what becomes of request n, from 0; nil: all are taken
	hangs   bool                                // no request is answered

	mu     sync.Mutex
	asked  []time.Time
	heads  []http.Header
	bodies []string
	taken  []string // the events of requests that were taken, in short
}

func (b *backend) RoundTrip(r *http.Request) (*http.Response, error) {
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	hangs := b.hangs
	b.mu.Unlock()
	if hangs {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	n, status := len(b.asked), http.StatusOK
	b.asked, b.heads, b.bodies = append(b.asked, time.Now()), append(b.heads, r.Header), append(b.bodies, string(text))
	if b.refuses != nil {
		if status, err = b.refuses(n); err != nil {
			return nil, err
		}
	}
	if status/100 == 2 {
		b.taken = append(b.taken, short(text)...)
	}
	return &http.Response{StatusCode: status, Body: http.NoBody, Request: r, Header: http.Header{"Location": {"https://elsewhere.example"}}}, nil
}

// is has the backend answer otherwise from now on.
func (b *backend) is(how func(*backend)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	how(b)
}

// short is the events of a request, each in a few words.
func short(text []byte) (all []string) {
	var r struct{ Events []map[string]string }
	if json.Unmarshal(text, &r) != nil {
		return []string{"no JSON: " + string(text)}
	}
	for _, e := range r.Events {
		all = append(all, strings.TrimSpace(strings.Join([]string{e["name"], e["channel"], e["user_id"], e["event"], e["data"], e["socket_id"]}, " ")))
	}
	return all
}

// took says that exactly these events were taken since the last call.
func (b *backend) took(t *testing.T, want ...string) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	squeeze := func(all []string) (text string) {
		for _, one := range all {
			text += strings.Join(strings.Fields(one), " ") + "\n"
		}
		return text
	}
	if got, want := squeeze(b.taken), squeeze(want); got != want {
		t.Errorf("taken:\n%swant:\n%s", got, want)
	}
	b.taken = nil
}

var hookedApp = door.App{ID: "3", Key: "key", Secret: "secret", Webhook: "https://backend.example/hook?token=x"}

func appsOf(t *testing.T, all ...door.App) *door.Apps {
	t.Helper()
	apps, err := door.NewApps(all)
	if err != nil {
		t.Fatal(err)
	}
	return apps
}

// hooked runs a test in made-up time, with Hooks of some apps that tell a backend.
func hooked(t *testing.T, change func(*Config), test func(t *testing.T, hub *fakeHub, h *Hooks, b *backend), apps ...door.App) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		hub, b := &fakeHub{}, &backend{}
		c := Config{Hub: hub, Log: slog.New(slog.DiscardHandler), Transport: b}
		if change != nil {
			change(&c)
		}
		h := New(c)
		h.Apply(appsOf(t, apps...))
		test(t, hub, h, b)
		h.Close(t.Context())
		if events := h.told.Load() + h.lost.Load(); h.bytes.Load() != 0 {
			t.Errorf("in the end %d bytes are booked; %d events were told or lost", h.bytes.Load(), events)
		}
	})
}

// pass lets made-up time pass, and all be done that is to be done until then.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}
