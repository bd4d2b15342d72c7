package test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
)

// observer is a Centrifuge client that is in a group from the beginning and has asked to hear who comes and goes. One goroutine reads.
type observer struct {
	*client
	group, id string

	mu     sync.Mutex
	there  map[string]bool // who has come and not gone
	wrong  string          // the first news that cannot be
	asked  int             // ids of its commands
	answer chan observed
}

// observed is what the server says to an observer, one line of it.
type observed struct {
	ID    int
	Error struct{ Code int }
	Push  struct {
		Join, Leave *struct{ Info struct{ Client string } }
	}
	Presence *struct {
		Presence map[string]struct{ Client string }
	}
	Stats *struct {
		Clients int `json:"num_clients"`
		Users   int `json:"num_users"`
	} `json:"presence_stats"`
}

// webSocketPings is the path of Centrifuge clients that are pinged by WebSocket, as client answers those while it reads.
const webSocketPings = centrifugePath + "?cf_ws_frame_ping_pong=true"

// connected connects a Centrifuge client and gives its id.
func (c *client) connected() (id string, err error) {
	if err := c.text(`{"id":1,"connect":{}}`); err != nil {
		return "", err
	}
	text, err := c.next()
	if err != nil {
		return "", err
	}
	var reply struct{ Connect struct{ Client string } }
	err = json.Unmarshal([]byte(text), &reply)
	return reply.Connect.Client, err
}

func observe(t *testing.T, s *server, group string) *observer {
	t.Helper()
	o := &observer{client: dial(t, s, dialing{path: webSocketPings}), group: group, there: map[string]bool{}, asked: 2, answer: make(chan observed, 1)}
	var err error
	o.id, err = o.connected()
	must(t, err)
	o.answers(t, `{"id":2,"subscribe":{"channel":`+quote(group)+`,"join_leave":true}}`, `{"id":2,"subscribe":`)
	go func() {
		defer close(o.answer)
		for {
			text, err := o.next()
			if err != nil {
				return
			}
			for line := range strings.Lines(text) {
				o.hear(line)
			}
		}
	}()
	return o
}

func (o *observer) hear(line string) {
	var said observed
	err := json.Unmarshal([]byte(line), &said)
	o.mu.Lock()
	defer o.mu.Unlock()
	is := func(wrong bool, what string) {
		if wrong && o.wrong == "" {
			o.wrong = what + ": " + line
		}
	}
	is(err != nil, "no JSON")
	if join := said.Push.Join; join != nil {
		is(o.there[join.Info.Client], "who is there comes")
		o.there[join.Info.Client] = true
	}
	if leave := said.Push.Leave; leave != nil {
		is(!o.there[leave.Info.Client], "who is not there goes")
		delete(o.there, leave.Info.Client)
	}
	if said.ID > 0 {
		o.answer <- said
	}
}

func (o *observer) ask(t *testing.T, method string) observed {
	t.Helper()
	o.asked++
	must(t, o.text(fmt.Sprintf(`{"id":%d,%q:{"channel":%s}}`, o.asked, method, quote(o.group))))
	said, more := <-o.answer
	if !more || said.ID != o.asked {
		t.Fatalf("%s of %s: got %+v, want it answered", method, o.group, said)
	}
	return said
}

// lists asks who is there, and fails the test if that is not as many as the server counts.
func (o *observer) lists(t *testing.T) (ids map[string]bool) {
	t.Helper()
	list, stats := o.ask(t, "presence").Presence, o.ask(t, "presence_stats").Stats
	if list == nil || stats == nil {
		t.Fatalf("observer of %s: got no list or no number", o.group)
	}
	ids = map[string]bool{}
	for id, about := range list.Presence {
		ids[id] = about.Client == id
	}
	if stats.Clients != len(ids) || stats.Users != 1 {
		ids["not counted"] = true // maybe it has changed meanwhile
	}
	return ids
}

// sees compares who is listed, and who is there by all that was heard. known are the Centrifuge clients, by their ids; beside them there are
// as many plain ones, whose ids nobody knows.
func (o *observer) sees(t *testing.T, known map[string]bool, plain int) error {
	t.Helper()
	ids := o.lists(t)
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.wrong != "" {
		t.Fatalf("observer of %s: %s", o.group, o.wrong)
	}
	if !maps.Equal(ids, o.there) {
		return fmt.Errorf("%s: got %d by what was heard, want the %d that are listed", o.group, len(o.there), len(ids))
	}
	return areAll(ids, known, plain)
}

// areAll compares who is listed with the truth.
func areAll(ids, known map[string]bool, plain int) error {
	for id := range known {
		if !ids[id] {
			return fmt.Errorf("%s is not listed", id)
		}
	}
	if len(ids) != len(known)+plain {
		return fmt.Errorf("got %d listed, want %d, of which %d are plain", len(ids), len(known)+plain, plain)
	}
	return nil
}

// visitor is a client that comes, and what becomes of it.
type visitor struct {
	*client
	id     string // of a Centrifuge client, else ""
	groups []string
}

func comes(addr string, plain bool) (v *visitor, err error) {
	v = &visitor{}
	d := dialing{small: true}
	if !plain {
		d.path = webSocketPings
	}
	if v.client, err = open(addr, d); err != nil {
		return nil, err
	}
	if !plain {
		v.id, err = v.connected()
	}
	return v, err
}

// inAll makes commands of one kind for all its groups, in the words of its protocol.
func (v *visitor) inAll(method, cmd string) (commands []string) {
	for _, group := range v.groups {
		v.idsUsed++
		text := fmt.Sprintf(`{"id":%d,"cmd":%q,"group_id":%s,"message":1}`, v.idsUsed, cmd, quote(group))
		if v.id != "" {
			text = fmt.Sprintf(`{"id":%d,%q:{"channel":%s,"data":1}}`, 1+v.idsUsed, method, quote(group))
		}
		commands = append(commands, text)
	}
	return commands
}

func (v *visitor) join() []string  { return v.inAll("subscribe", "add_group") }
func (v *visitor) send() []string  { return v.inAll("publish", "send_to_group") }
func (v *visitor) leave() []string { return v.inAll("unsubscribe", "leave_group") }

// says sends commands at once and waits until all were answered.
func (v *visitor) says(parts ...[]string) error {
	commands := slices.Concat(parts...)
	if err := v.commands(commands...); err != nil {
		return err
	}
	for left := len(commands); left > 0; {
		text, err := v.nextFresh()
		if err != nil {
			return err
		}
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, `{"id":`) {
				left--
				if strings.Contains(line, `"error"`) {
					return fmt.Errorf("got %s, want no error", line)
				}
			}
		}
	}
	return nil
}

// stays reads until the server or the client itself has ended it, so that pings are answered, and ends the other side too.
func (v *visitor) stays() {
	defer v.hangUp()
	for {
		if _, err := v.read(); err != nil {
			return
		}
	}
}

// goings are the ways to be in a group no more that a client has by itself.
var goings = map[string]func(*visitor) error{
	"leaves":   func(v *visitor) error { return v.commands(v.leave()...) },
	"hangs up": func(v *visitor) error { v.hangUp(); return nil },
	"resets":   func(v *visitor) error { v.die(); return nil },
	"closes":   func(v *visitor) error { return v.closeWith(1000, "") },
}

func TestFaultWhoIsThereIsTheTruthWhenManyHaveComeGoneAndDied(t *testing.T) {
	fault(t)
	const groups, workers = 6, 30
	visitors := size(300, 1200)
	s := start(t, "--loops", "8", "--presence", "on", "--heartbeat", "2s")
	freezing, dying := startCutter(t, s.addr), startCutter(t, s.addr) // proxies, of which all that goes through will end at once
	observers := make([]*observer, groups)
	for g := range observers {
		observers[g] = observe(t, s, fmt.Sprintf("room %d", g))
	}

	ways := append(slices.Sorted(maps.Keys(goings)), "stays", "leaves one", "comes again", "is not answered", "freezes", "dies")
	var mu sync.Mutex
	var there []*visitor // those that are in groups for long
	connected, silent := groups, 0
	// life is the life of a client, as far as it goes by itself.
	life := func(n int) error {
		way, rng := ways[n%len(ways)], rand.New(rand.NewPCG(uint64(n), 1))
		addr := s.addr
		switch way {
		case "freezes":
			addr = freezing.Addr().String()
		case "dies":
			addr = dying.Addr().String()
		}
		v, err := comes(addr, n/len(ways)%2 == 0)
		if err != nil {
			return err
		}
		t.Cleanup(v.hangUp)
		for _, g := range rng.Perm(groups)[:1+rng.IntN(3)] {
			v.groups = append(v.groups, observers[g].group)
		}
		if way == "is not answered" {
			defer v.die()
			return v.commands(v.join()...)
		}
		if err := v.says(v.join(), v.send()); err != nil {
			return err
		}
		switch way {
		case "leaves":
			err = v.says(v.leave())
			v.groups = nil
		case "leaves one":
			all := v.groups
			v.groups = all[:1]
			err = v.says(v.leave())
			v.groups = all[1:]
		case "comes again":
			err = v.says(v.leave(), v.join(), v.send(), v.leave(), v.join())
		case "hangs up", "resets", "closes":
			err = goings[way](v)
		}
		go v.stays()
		mu.Lock()
		defer mu.Unlock()
		switch way {
		case "freezes":
			silent++
		case "leaves", "leaves one", "comes again", "stays":
			connected++
			there = append(there, v)
		}
		return err
	}
	var all sync.WaitGroup
	failed := make(chan error, workers)
	for w := range workers {
		all.Go(func() {
			for n := w; n < visitors; n += workers {
				if err := life(n); err != nil {
					failed <- fmt.Errorf("client %d, which %s: %w", n, ways[n%len(ways)], err)
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
	freezing.each(cuts["by silence"].cut)
	dying.each(cuts["by a reset"].cut)

	// truth waits until every observer knows who is there.
	truth := func(when string) {
		t.Helper()
		for _, o := range observers {
			known, plain := map[string]bool{o.id: true}, 0
			for _, v := range there {
				if slices.Contains(v.groups, o.group) {
					if v.id == "" {
						plain++
					} else {
						known[v.id] = true
					}
				}
			}
			s.eventually(when+", who is there is the truth", func() error { return o.sees(t, known, plain) })
		}
	}
	s.eventually("the dead are gone", func() error {
		if got := s.status().Total.Clients; got != int64(connected) {
			return fmt.Errorf("got %d clients, want %d", got, connected)
		}
		return nil
	})
	equal(t, "closed as silent", s.status().Total.HeartbeatClosed, uint64(silent))
	truth("at rest")

	how := slices.Sorted(maps.Keys(goings))
	for n, v := range there {
		must(t, goings[how[n%len(how)]](v))
	}
	there = nil
	truth("alone")
	for _, o := range observers {
		o.hangUp()
	}
	s.eventually("no group is left", func() error {
		if sum := s.status().Total; sum.Groups != 0 || sum.Members != 0 || sum.Homes != 0 {
			return fmt.Errorf("got %d groups, %d members, %d homes", sum.Groups, sum.Members, sum.Homes)
		}
		return nil
	})
}
