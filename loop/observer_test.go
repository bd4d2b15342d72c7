package loop

import (
	"fmt"
	"strings"
	"sync"
	"testing"
)

// seen is an observer that notes what it is told.
type seen struct {
	mu  sync.Mutex
	all []string
}

func (s *seen) Observe(_ int, o Observation) {
	text := [...]string{"occupied", "vacated", "came", "went", "miss", "said"}[o.What] + " " + o.Group
	if o.User != "" {
		text += " " + o.User
	}
	if o.Message != nil {
		text += fmt.Sprintf(" %s %s by %d", o.Message.More.Tags, o.Message.Payload(), o.Message.More.Except)
	}
	if o.Everywhere {
		text += " everywhere"
	}
	s.mu.Lock()
	s.all = append(s.all, text)
	s.mu.Unlock()
}

// sees says that exactly this was observed since the last call.
func (s *seen) sees(t *testing.T, want ...string) {
	t.Helper()
	if got := strings.Join(s.all, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
	s.all = nil
}

func TestAnObserverIsToldWhatBecomesOfChannels(t *testing.T) {
	st, s := newPusherStage(2, nil), &seen{}
	a, b, seed := st.app(t, 0, "key"), st.app(t, 1, "key4"), st.enter(0)
	st.subscribes(a, &stageApp, "before", "") // there is no observer yet
	st.hub.SetObserver(s)
	st.subscribes(a, &stageApp, "news", "")
	s.sees(t, "occupied news")
	seed.say(`{"cmd":"add_group","group_id":"news"}`)
	st.subscribes(b, &furtherApp, "news", "")
	s.sees(t, "occupied four/news")
	st.subscribes(a, &stageApp, "cache-a", "")
	st.backendSays(t, "cache-a", event("e", "x"))
	st.unsubscribes(a, "cache-a")
	st.subscribes(a, &stageApp, "cache-a", "")
	s.sees(t, "occupied cache-a", "miss cache-a", "vacated cache-a", "occupied cache-a")
	st.subscribes(b, &furtherApp, "presence-b", `{"user_id":"ann"}`)
	st.subscribes(b, &furtherApp, "private-b", "")
	s.sees(t, "occupied four/presence-b everywhere", "came four/presence-b ann everywhere", "occupied four/private-b")
	b.say(`{"event":"client-x","data":{"m":1},"channel":"presence-b"}`)
	st.settle()
	s.sees(t, fmt.Sprintf(`said four/presence-b {"event":"client-x"} {"m":1} by %d`, b.client.Number()))
	st.backendSays(t, "four/presence-b", event("client-x", "no client's"))
	seed.say(`{"cmd":"send_to_group","group_id":"news","message":"no client event"}`)
	st.unsubscribes(a, "news")
	s.sees(t)
	seed.say(`{"cmd":"leave_group","group_id":"news"}`)
	st.settle()
	s.sees(t, "vacated news")
}

func TestAnObserverIsToldOfAUserOfSeveralTabsOnce(t *testing.T) {
	st, s := newPusherStage(2, nil), &seen{}
	st.hub.SetObserver(s)
	tabs := []*stageConn{st.app(t, 0, "key"), st.app(t, 1, "key"), st.app(t, 1, "key")}
	for i, tab := range tabs {
		st.subscribes(tab, &stageApp, "presence-a", fmt.Sprintf(`{"user_id":%d}`, 1+i/2))
	}
	s.sees(t, "occupied presence-a everywhere", "came presence-a 1 everywhere", "came presence-a 2 everywhere")
	for _, tab := range tabs {
		st.unsubscribes(tab, "presence-a")
	}
	s.sees(t, "went presence-a 1 everywhere", "went presence-a 2 everywhere", "vacated presence-a everywhere")
	st.hub.SetObserver(nil)
	st.subscribes(tabs[0], &stageApp, "presence-a", `{"user_id":"1"}`)
	s.sees(t)
}
