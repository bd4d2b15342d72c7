package test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// pusherUsers is who a Pusher client knows to be in a presence channel, by the list that it was given and by what it has heard since.
type pusherUsers struct {
	*client
	channel string
	socket  string
	there   map[string]bool
	moves   []string // who came and went, in order
	over    chan error
}

// openPusher connects a client as dialPusher does, from any goroutine.
func openPusher(addr string) (c *client, socket string, err error) {
	c, err = open(addr, dialing{path: pusherPath, small: true})
	if err != nil {
		return nil, "", err
	}
	text, err := c.next()
	if err != nil {
		return nil, "", err
	}
	var frame struct{ Data string }
	var data struct {
		Socket string `json:"socket_id"`
	}
	if err := json.Unmarshal([]byte(text), &frame); err != nil {
		return nil, "", err
	}
	err = json.Unmarshal([]byte(frame.Data), &data)
	return c, data.Socket, err
}

// enterPusher subscribes a user to a presence channel and gives who is there, the user among them.
func enterPusher(addr, channel, user string) (u *pusherUsers, err error) {
	c, socket, err := openPusher(addr)
	if err != nil {
		return nil, err
	}
	u = &pusherUsers{client: c, channel: channel, socket: socket, there: map[string]bool{}, over: make(chan error, 1)}
	return u, u.subscribe(user)
}

func (u *pusherUsers) subscribe(user string) error {
	if err := u.text(pusherSubscribe(u.socket, u.channel, fmt.Sprintf(`{"user_id":%q}`, user))); err != nil {
		return err
	}
	text, err := u.next()
	if err != nil {
		return err
	}
	var frame pusherFrame
	var data string
	var list struct {
		Presence struct {
			IDs   []string
			Hash  map[string]json.RawMessage
			Count int
		}
	}
	if err := json.Unmarshal([]byte(text), &frame); err != nil {
		return err
	}
	if err := json.Unmarshal(frame.Data, &data); err != nil {
		return fmt.Errorf("answer %s: %w", text, err)
	}
	if err := json.Unmarshal([]byte(data), &list); err != nil {
		return fmt.Errorf("answer %s: %w", text, err)
	}
	for _, id := range list.Presence.IDs {
		u.there[id] = true
	}
	if p := list.Presence; frame.Event != "pusher_internal:subscription_succeeded" || !u.there[user] || len(u.there) != p.Count || len(p.IDs) != p.Count ||
		len(p.Hash) != p.Count || p.Hash[user] == nil {
		return fmt.Errorf("answer to %s: got %s, want a list with it, each once", user, text)
	}
	return nil
}

// hear takes the next frame. What says who has come or gone it takes into account, and it must be news.
func (u *pusherUsers) hear() (frame pusherFrame, moved bool, err error) {
	text, err := u.next()
	if err != nil {
		return frame, false, err
	}
	if err := json.Unmarshal([]byte(text), &frame); err != nil {
		return frame, false, err
	}
	came := frame.Event == "pusher_internal:member_added"
	if !came && frame.Event != "pusher_internal:member_removed" {
		return frame, false, nil
	}
	var data string
	var move struct {
		User string `json:"user_id"`
	}
	if err := json.Unmarshal(frame.Data, &data); err != nil {
		return frame, true, err
	}
	if err := json.Unmarshal([]byte(data), &move); err != nil {
		return frame, true, err
	}
	if u.there[move.User] == came {
		return frame, true, fmt.Errorf("got %s; who is there is %v already", text, u.there)
	}
	if came {
		u.there[move.User] = true
	} else {
		delete(u.there, move.User)
	}
	u.moves = append(u.moves, fmt.Sprint(came, " ", move.User))
	return frame, true, nil
}

// said takes frames up to the first that does not say who has come or gone.
func (u *pusherUsers) said() (frame pusherFrame, err error) {
	for moved := true; moved && err == nil; {
		frame, moved, err = u.hear()
	}
	return frame, err
}

// Users come and go with several clients each and in every way; who is there by what was heard is the truth in the end, and was told in one
// order to all.
func TestFaultPusherUsersAreTheTruthWhenManyHaveComeGoneAndDied(t *testing.T) {
	fault(t)
	const channels, workers, users = 3, 24, 5
	visits := size(25, 250)
	s := startPusher(t, "--loops", "8")
	name := func(n int) string { return fmt.Sprintf("presence-%d", n) }
	var observers []*pusherUsers
	for n := range 2 * channels {
		u, err := enterPusher(s.addr, name(n/2), fmt.Sprintf("observer %d", n%2))
		must(t, err)
		t.Cleanup(u.hangUp)
		observers = append(observers, u)
	}
	for _, u := range observers {
		go func() {
			frame, err := u.said()
			if err == nil && frame.Event != "over" {
				err = fmt.Errorf("got %+v, want who comes and goes", frame)
			}
			u.over <- err
		}()
	}
	var mu sync.Mutex
	stay := map[string]map[string]bool{} // who is left in each channel
	staying := 0
	var all sync.WaitGroup
	failed := make(chan error, workers)
	for worker := range workers {
		all.Go(func() {
			random := rand.New(rand.NewPCG(uint64(worker), 1))
			for visit := range visits {
				channel, user := name(random.IntN(channels)), fmt.Sprintf("user %d", random.IntN(users))
				u, err := enterPusher(s.addr, channel, user)
				if err != nil {
					failed <- fmt.Errorf("worker %d, visit %d: %w", worker, visit, err)
					return
				}
				if visit == visits-1 && worker%2 == 0 {
					mu.Lock()
					if stay[channel] == nil {
						stay[channel] = map[string]bool{}
					}
					stay[channel][user] = true
					staying++
					mu.Unlock()
					t.Cleanup(u.hangUp)
					continue
				}
				switch random.IntN(4) {
				case 0:
					err = u.commands(`{"event":"pusher:unsubscribe","data":{"channel":"`+channel+`"}}`, `{"event":"pusher:ping","data":{}}`)
					for text := ""; err == nil && !strings.Contains(text, "pusher:pong"); {
						text, err = u.next()
					}
					u.hangUp()
				case 1:
					err = u.closeWith(1000, "")
					u.hangUp()
				case 2:
					u.die()
				case 3:
					u.hangUp()
				}
				if err != nil {
					failed <- fmt.Errorf("worker %d, visit %d: %w", worker, visit, err)
					return
				}
			}
		})
	}
	all.Wait()
	select {
	case err := <-failed:
		t.Fatal(err)
	default:
	}
	s.hasMembers(int64(staying + len(observers)))
	left := func(channel string) map[string]bool {
		users := map[string]bool{"observer 0": true, "observer 1": true}
		maps.Copy(users, stay[channel])
		return users
	}
	for n := range channels {
		path, want := "/apps/"+pusherID+"/channels/"+name(n)+"/users", left(name(n))
		s.eventually(name(n)+" has told of all who are gone", func() error { // loops say so a moment after they have forgotten them
			answer := httpGet(t, "http://"+s.addr+path+"?"+signedQuery(http.MethodGet, path, ""))
			var list struct{ Users []struct{ ID string } }
			if err := json.Unmarshal([]byte(answer), &list); err != nil {
				return fmt.Errorf("got %s: %w", answer, err)
			}
			got := map[string]bool{}
			for _, user := range list.Users {
				got[user.ID] = true
			}
			if !maps.Equal(got, want) {
				return fmt.Errorf("got %v there, want %v", got, want)
			}
			return nil
		})
		body := `{"name":"over","data":"","channels":["` + name(n) + `"]}`
		s.asksPusher(t, "events", body)
	}
	for n, u := range observers {
		select {
		case err := <-u.over:
			if err != nil {
				t.Fatalf("observer %d of %s: %v", n%2, u.channel, err)
			}
		case <-time.After(patience):
			t.Fatalf("observer %d of %s has not heard the last event", n%2, u.channel)
		}
		want := left(u.channel)
		if !maps.Equal(u.there, want) {
			t.Errorf("observer %d of %s: got %v there, want %v", n%2, u.channel, u.there, want)
		}
		last, err := enterPusher(s.addr, u.channel, "observer 0")
		must(t, err)
		if !maps.Equal(last.there, want) {
			t.Errorf("list of %s: got %v, want %v", u.channel, last.there, want)
		}
		last.hangUp()
	}
	for n := range channels {
		first, second := observers[2*n].moves, observers[2*n+1].moves
		first = first[1:] // the coming of the second
		if !slices.Equal(first, second) {
			t.Errorf("%s: two observers heard %d and %d moves, want the same in the same order", name(n), len(first), len(second))
		}
		if len(first) < 2*users {
			t.Errorf("%s: got %d moves, want many", name(n), len(first))
		}
	}
}

// Beyond a thousand members nobody could be told who is there, so no more are let in, and those that are there stay.
func TestAPresenceChannelHasAThousandMembersAtMost(t *testing.T) {
	t.Parallel()
	s := startPusher(t)
	const room, most, users = "presence-full", 1000, 10 // of a hundred clients each, as members are counted, and users are told
	all := make([]*pusherUsers, most)
	for i := range all {
		u, err := enterPusher(s.addr, room, fmt.Sprintf("user %d", i%users))
		must(t, err)
		t.Cleanup(u.hangUp)
		all[i] = u
	}
	equal(t, "users in the list of the last", len(all[most-1].there), users)
	late, socket := dialPusher(t, s.addr)
	must(t, late.text(pusherSubscribe(socket, room, `{"user_id":"late"}`)))
	if frame := late.nextPusher(t); frame.Event != "pusher:subscription_error" || !strings.Contains(string(frame.Data), "LimitReached") {
		t.Errorf("one more: got %+v, want it refused", frame)
	}
	s.hasMembers(most)
	s.asksPusher(t, "events", `{"name":"over","data":"","channels":["`+room+`"]}`)
	for i, u := range all {
		frame, err := u.said()
		if err != nil || frame.Event != "over" || len(u.there) != users {
			t.Fatalf("member %d: got %+v, %v with %d users there, want the event and %d", i, frame, err, len(u.there), users)
		}
	}
	// There is room again when some have gone.
	for _, u := range all[:200] {
		must(t, u.closeWith(1000, ""))
	}
	s.hasMembers(most - 200)
	u, err := enterPusher(s.addr, room, "late")
	must(t, err)
	u.hangUp()
}
