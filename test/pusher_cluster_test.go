package test

import (
	"fmt"
	"maps"
	"net/http"
	"testing"
	"time"
)

// One user on two nodes is one member for all nodes, and goes with the last of its clients, also when that one's node is killed.
func TestFaultClusterPusherUserOnTwoNodesGoesWithTheLast(t *testing.T) {
	fault(t)
	if raceDetector {
		t.Skip("three nodes take minutes under the race detector")
	}
	c := startCluster(t, clustering{wait: patience, args: []string{"--pusher", pusherApp}})
	const room = "presence-room"
	enter := func(n *node, user string) *pusherUsers {
		t.Helper()
		u, err := enterPusher(n.listen, room, user)
		must(t, err)
		t.Cleanup(u.hangUp)
		return u
	}
	here, first, last := c.nodes[0], c.nodes[1], c.nodes[2]
	observer, one, two := enter(here, "olga"), enter(first, "ann"), enter(last, "ann")
	all := []*pusherUsers{observer, one, two}
	next := func(u *pusherUsers, event string) (frame pusherFrame) {
		t.Helper()
		frame, err := u.said()
		if err != nil || frame.Event != event {
			t.Fatalf("got %+v, %v; want %s", frame, err, event)
		}
		return frame
	}
	// A backend may ask any node, and leave out a socket of any.
	trigger := func(n *node, event, except string) {
		t.Helper()
		n.s.asksPusher(t, "events", fmt.Sprintf(`{"name":%q,"channels":[%q],"data":"{}","socket_id":%q}`, event, room, except))
	}
	eventually(t, "all nodes know of all, each once", func() error {
		trigger(here, "tick", "1.1")
		for _, u := range all {
			next(u, "tick")
			if want := map[string]bool{"olga": true, "ann": true}; !maps.Equal(u.there, want) {
				return fmt.Errorf("got %v, want %v", u.there, want)
			}
		}
		return nil
	})
	for _, n := range c.nodes {
		if answer := n.s.asksPusher(t, "events", `{"name":"count","channels":["`+room+`"],"data":"{}","info":"user_count,subscription_count"}`); answer !=
			`{"channels":{"`+room+`":{"user_count":2,"subscription_count":3}}}` {
			t.Errorf("%s counts %s, want two users and three subscriptions", n.name(), answer)
		}
	}
	for range c.nodes {
		for _, u := range all {
			next(u, "count")
		}
	}
	trigger(here, "but one", two.socket)
	trigger(first, "all", "1.1")
	for _, u := range []*pusherUsers{observer, one} {
		next(u, "but one")
		next(u, "all")
	}
	next(two, "all")
	must(t, two.text(`{"event":"client-x","channel":"`+room+`","data":{"m":1}}`))
	for _, u := range []*pusherUsers{observer, one} {
		if frame := next(u, "client-x"); string(frame.Data) != `{"m":1}` || frame.UserID != "ann" {
			t.Errorf("a client event of another node: got %+v", frame)
		}
	}

	// Her first client goes; she is still there.
	must(t, one.closeWith(1000, ""))
	trigger(first, "still", "1.1")
	next(observer, "still")
	if !observer.there["ann"] || len(observer.moves) != 1 {
		t.Errorf("when one of two had gone: got %v", observer.moves)
	}
	killed := time.Now()
	last.kill(t)
	for observer.there["ann"] {
		if frame, moved, err := observer.hear(); err != nil || !moved {
			t.Fatalf("when the node of the last was killed: got %+v, %v; want her removed", frame, err)
		}
	}
	t.Logf("removed %v after the kill", time.Since(killed).Round(100*time.Millisecond))
	eventually(t, "an event is accepted when those that are left have agreed", func() error { // it may be unknown, and then be heard twice
		if status, answer := first.s.postPusher(t, "events", `{"name":"after","channels":["`+room+`"],"data":"{}"}`); status != http.StatusOK {
			return fmt.Errorf("got %d %s", status, answer)
		}
		return nil
	})
	next(observer, "after")
	equal(t, "moves", fmt.Sprint(observer.moves), "[true ann false ann]")
}
