package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"ringcast/dialect"
	"ringcast/loop"
	"ringcast/loop/order"
)

// Ticks of nodes in these tests: they are silent for too long after 15 of them, and are then taken for gone, though a busy machine has only held them up.
const (
	quickTick = 100 * time.Millisecond // where silence is waited for, and nothing depends on who is there meanwhile
	testTick  = 300 * time.Millisecond // where something that takes some ticks is waited for
	slowTick  = time.Second            // where nothing is
)

// coreServer is a NATS server without a log.
func coreServer(t *testing.T) string {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(30 * time.Second) {
		t.Fatal("the NATS server is not ready")
	}
	u, err := url.Parse(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	return "nats://" + u.Host
}

// fakeHub is a hub whose clients are numbers, each of a user, and members of groups.
type fakeHub struct {
	boot string

	mu      sync.Mutex
	users   map[uint64]string
	groups  map[string]int
	done    []string
	revoked map[string]int64
	fail    error
	company loop.Company
}

func (h *fakeHub) act(t loop.Target, what string, args ...any) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.fail != nil {
		return 0, h.fail
	}
	if t.Name != "" {
		var known bool
		if t.Client, known = h.ClientNumber(t.Name); !known {
			return 0, nil
		}
	}
	n := 0
	for client, user := range h.users {
		if (t.User == "" || t.User == user) && (t.Client == 0 || t.Client == client) {
			n++
		}
	}
	h.done = append(h.done, strings.TrimSpace(what+" "+t.User+" "+fmt.Sprint(args...)))
	return n, nil
}

func (h *fakeHub) Disconnect(_ context.Context, t loop.Target, code uint16, reason string) (int, error) {
	return h.act(t, "disconnect", code, " ", reason)
}

func (h *fakeHub) Unsubscribe(_ context.Context, t loop.Target, group string) (int, error) {
	return h.act(t, "unsubscribe", group)
}

func (h *fakeHub) Subscribe(_ context.Context, t loop.Target, group string, info []byte) (int, error) {
	return h.act(t, "subscribe", group, " ", string(info))
}

func (h *fakeHub) Refresh(_ context.Context, t loop.Target, ends int64) (int, error) {
	return h.act(t, "refresh", ends)
}

func (h *fakeHub) Revoke(_ context.Context, user string, before int64) (int, error) {
	n, err := h.act(loop.Target{User: user}, "revoke", before)
	if err == nil {
		h.mu.Lock()
		h.revoked[user] = max(h.revoked[user], before)
		h.mu.Unlock()
	}
	return n, err
}

func (h *fakeHub) Revocations() iter.Seq2[string, int64] {
	h.mu.Lock()
	defer h.mu.Unlock()
	return maps.All(maps.Clone(h.revoked))
}

func (h *fakeHub) RevokedBefore(user string) int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.revoked[user]
}

func (h *fakeHub) Groups(_ context.Context, match string, most int) (groups []loop.GroupInfo, more bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(h.groups)) {
		if match != "" && !loop.Matches(match, name) {
			continue
		}
		if len(groups) == most {
			return groups, true, nil
		}
		groups = append(groups, loop.GroupInfo{Name: name, Members: h.groups[name], Loops: 1})
	}
	return groups, false, h.fail
}

// A client's name has its node and its number.
func (h *fakeHub) ClientName(client uint64) string {
	return fmt.Sprintf("%08x-0000-4000-8000-%012x", h.boot[len(h.boot)-1], client)
}

func (h *fakeHub) ClientNumber(name string) (client uint64, ok bool) {
	var node byte
	_, err := fmt.Sscanf(name, "%08x-0000-4000-8000-%012x", &node, &client)
	return client, err == nil && node == h.boot[len(h.boot)-1]
}

func (h *fakeHub) Users() int { return 2 }

func (h *fakeHub) Snapshot() loop.Snapshot {
	return loop.Snapshot{Started: time.Now().Add(-time.Minute), Loops: []loop.LoopStats{{Clients: 5, Members: 9, Homes: 3}}}
}

func (h *fakeHub) SetCompany(c loop.Company) { h.company = c }

func (h *fakeHub) SetElsewhere(loop.Elsewhere) {}

func (h *fakeHub) NewPort() (*loop.Port, error) { return nil, errors.New("a fake has no ports") }

func (h *fakeHub) log() (done []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	done, h.done = h.done, nil
	return done
}

// farHomes is what the homes of a node know of clients elsewhere.
type farHomes struct {
	mu    sync.Mutex
	there map[string]farOne // by node, group and client
	told  map[string]int    // how often it was told that one came, less how often that it went
	news  []string
}

type farOne struct {
	p    dialect.Present
	node uint16
	roll uint32
}

func (h *farHomes) There(_ context.Context, group string, node uint16, roll uint32, p dialect.Present, told bool) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	key := fmt.Sprint(node, " ", group, " ", p.Client)
	if _, is := h.there[key]; !is && told {
		h.news = append(h.news, "came "+p.Name)
	}
	h.there[key] = farOne{p, node, roll}
	return nil
}

func (h *farHomes) Away(_ context.Context, group string, node uint16, client uint64, told bool) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.away(fmt.Sprint(node, " ", group, " ", client), told)
	return nil
}

func (h *farHomes) away(key string, told bool) {
	if one, is := h.there[key]; is && told {
		h.news = append(h.news, "went "+one.p.Name)
	}
	delete(h.there, key)
}

func (h *farHomes) Sweep(_ context.Context, node uint16, roll uint32, told bool) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for key, one := range h.there {
		if one.node == node && one.roll != roll {
			h.away(key, told)
		}
	}
	return nil
}

// known is who is known to be elsewhere, by group and name.
func (h *farHomes) known() map[string]string {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := map[string]string{}
	for key, one := range h.there {
		all[strings.Fields(key)[1]+" "+one.p.Name] = userOf(one.p.Who)
	}
	return all
}

func userOf(who *dialect.Who) string {
	if who == nil {
		return ""
	}
	return fmt.Sprintf("%s %v %q %q", who.User(), who.NumberID(), who.Info(), who.GroupInfo())
}

// testNode is a node of these tests.
type testNode struct {
	*Everywhere
	hub   *fakeHub
	homes *farHomes
	conn  *nats.Conn
	lose  atomic.Int32 // of the news that it hears, one of so many is lost; 0: none
}

func joinNode(t *testing.T, url string, tick time.Duration, name, boot string) *testNode {
	t.Helper()
	conn, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	n := &testNode{conn: conn, homes: &farHomes{there: map[string]farOne{}, told: map[string]int{}}}
	n.hub = &fakeHub{boot: boot, users: map[uint64]string{}, groups: map[string]int{}, revoked: map[string]int64{}}
	n.Everywhere, err = joinOthers(conn, Config{Node: name, Version: "7"}, boot, n.hub, n.homes, tick, func() bool {
		one := n.lose.Load()
		return one > 0 && rand.Int32N(one) == 0
	})
	if err != nil {
		t.Fatal(err)
	}
	n.counting, n.acting = time.Minute, time.Minute // machines may be busy
	t.Cleanup(func() { n.Close(); conn.Close() })
	return n
}

// threeNodes are three that know each other.
func threeNodes(t *testing.T, tick time.Duration) (url string, nodes []*testNode) {
	t.Helper()
	url = coreServer(t)
	for _, name := range []string{"a", "b", "c"} {
		nodes = append(nodes, joinNode(t, url, tick, "node-"+name, "boot-"+name))
	}
	for _, n := range nodes {
		until(t, "all know each other", func() bool { return len(n.roster.boots()) == 2 })
	}
	return url, nodes
}

func states(fellows []Fellow) string {
	var all []string
	for _, f := range fellows {
		all = append(all, fmt.Sprint(f.Name, " ", f.Up))
	}
	return strings.Join(all, ", ")
}

func TestNodesFindEachOtherAndPartWithThoseThatAreSilent(t *testing.T) {
	url, nodes := threeNodes(t, quickTick)
	sees := func(want string) {
		t.Helper()
		until(t, want, func() bool { return states(nodes[0].Fellows()) == want })
	}
	sees("node-b true, node-c true")
	nodes[2].conn.Close() // without a word
	for _, n := range nodes[:2] {
		until(t, "the silent one is gone", func() bool { return len(n.roster.boots()) == 1 })
	}
	sees("node-b true, node-c false")
	joinNode(t, url, quickTick, "node-c", "boot-d")
	until(t, "it is back", func() bool { return len(nodes[0].roster.boots()) == 2 })
	sees("node-b true, node-c true")
	nodes[1].Close() // with a word
	until(t, "the one that says so is gone", func() bool { return !nodes[0].roster.has("boot-b") })
}

// The ticks of a process that is stopped stand still: when it goes on it finds nobody gone.
func TestSilenceIsCountedInTicksOfOnesOwn(t *testing.T) {
	conn, err := nats.Connect(coreServer(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var changes []string
	r := newRoster(conn, "a", "boot-a", slog.New(slog.DiscardHandler), func(f *fellow, arrived bool) {
		changes = append(changes, fmt.Sprint(f.boot, " ", f.number, " ", arrived))
	})
	say := func(boot string) { r.hear(&nats.Msg{Data: []byte(`{"v":1,"name":"b","boot":"` + boot + `"}`)}) }
	for _, ignored := range []string{`{"v":1,"name":"a","boot":"boot-a"}`, `{"v":2,"name":"b","boot":"x"}`, `{"v":1,"name":"b"}`, `{`, `{"v":1,"name":"b","boot":"b","gone":true}`} {
		r.hear(&nats.Msg{Data: []byte(ignored)})
	}
	say("boot-b")
	for range goneTicks {
		r.tick()
	}
	if len(r.boots()) != 1 {
		t.Error("it is gone before its time")
	}
	say("boot-b")
	r.tick()
	if len(r.boots()) != 1 {
		t.Error("it is gone although it was heard")
	}
	for range goneTicks {
		r.tick()
	}
	say("boot-b")
	if got, want := fmt.Sprint(changes), "[boot-b 1 true boot-b 1 false boot-b 2 true]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	r.release(1)
	r.last = 0
	say("boot-c")
	if got, want := changes[len(changes)-1], "boot-c 1 true"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for i := range rosterMax {
		say(fmt.Sprint("boot ", i))
	}
	if len(r.boots()) != rosterMax || r.refused != 2 {
		t.Errorf("got %d nodes and %d refused, want %d and 2", len(r.boots()), r.refused, rosterMax)
	}
}

func TestWhatBackendsWantIsDoneOnAllNodes(t *testing.T) {
	_, nodes := threeNodes(t, slowTick)
	a, b, ctx := nodes[0], nodes[1], t.Context()
	for i, n := range nodes {
		n.hub.users = map[uint64]string{65: "ann", 66: "bob", uint64(67 + i): "ann"}
	}
	ann, far := loop.Target{User: "ann"}, loop.Target{Name: b.hub.ClientName(65)}
	for _, test := range []struct {
		do    func() (int, error)
		want  int
		other string // what another node has done; empty: nothing
	}{
		{func() (int, error) { return a.Disconnect(ctx, ann, 4001, "bye") }, 6, "disconnect ann 4001 bye"},
		{func() (int, error) { return a.Unsubscribe(ctx, ann, "g") }, 6, "unsubscribe ann g"},
		{func() (int, error) { return a.Subscribe(ctx, ann, "g", []byte(`{"a":1}`)) }, 6, `subscribe ann g {"a":1}`},
		{func() (int, error) { return a.Refresh(ctx, ann, 77) }, 6, "refresh ann 77"},
		{func() (int, error) { return a.Revoke(ctx, "ann", 78) }, 6, "revoke ann 78"},
		{func() (int, error) { return a.Disconnect(ctx, far, 4001, "") }, 1, "disconnect  4001"},
		{func() (int, error) {
			return a.Disconnect(ctx, loop.Target{User: "bob", Name: b.hub.ClientName(65)}, 0, "")
		}, 0, "disconnect bob 0"},
		{func() (int, error) { return a.Disconnect(ctx, loop.Target{Name: a.hub.ClientName(65)}, 0, "") }, 1, ""}, // nobody else can have it
		{func() (int, error) { return a.Disconnect(ctx, loop.Target{User: "nobody"}, 0, "") }, 0, "disconnect nobody 0"},
	} {
		if n, err := test.do(); n != test.want || err != nil {
			t.Errorf("%s: got %d, %v, want %d", test.other, n, err, test.want)
		}
		if got := strings.Join(b.hub.log(), ", "); got != strings.TrimSpace(test.other) {
			t.Errorf("got %q, want %q", got, test.other)
		}
	}
}

func TestANodeThatDoesNotAnswerIsSaidAndTheOthersDoIt(t *testing.T) {
	_, nodes := threeNodes(t, slowTick)
	a, b, c := nodes[0], nodes[1], nodes[2]
	for _, n := range nodes {
		n.hub.users, n.hub.groups = map[uint64]string{65: "ann"}, map[string]int{"g": 1}
	}
	c.hub.mu.Lock()
	c.hub.fail = order.ErrBusy
	c.hub.mu.Unlock()
	n, err := a.Disconnect(t.Context(), loop.Target{User: "ann"}, 0, "")
	var some *loop.Partly
	if n != 2 || !errors.As(err, &some) || *some != (loop.Partly{Nodes: 3, Answered: 2}) {
		t.Errorf("got %d, %v, want 2 clients, and that one has not answered", n, err)
	}
	groups, more, err := a.Groups(t.Context(), "", 10)
	if len(groups) != 1 || groups[0].Members != 2 || more || !errors.As(err, &some) {
		t.Errorf("got %v, %v, %v, want the members of two, and that one has not answered", groups, more, err)
	}
	// One that cannot do it here is not done elsewhere.
	b.hub.log()
	a.hub.mu.Lock()
	a.hub.fail = order.ErrBusy
	a.hub.mu.Unlock()
	if n, err := a.Disconnect(t.Context(), loop.Target{User: "ann"}, 0, ""); n != 0 || err != order.ErrBusy {
		t.Errorf("got %d, %v, want ErrBusy", n, err)
	}
	if got := b.hub.log(); len(got) > 0 {
		t.Errorf("got %v done, want nothing", got)
	}
}

// A node that is gone while it is asked is not waited for.
func TestANodeThatGoesIsNotWaitedFor(t *testing.T) {
	_, nodes := threeNodes(t, slowTick)
	a, c := nodes[0], nodes[2]
	for _, sub := range c.subs {
		_ = sub.Unsubscribe() // it hears nothing any more
	}
	must(t, c.conn.Flush())
	result := make(chan int, 1)
	go func() {
		answers, _ := a.asker.ask(context.Background(), askSubject, a.roster.boots(), askInfo, []byte("{}"), time.Hour)
		result <- len(answers)
	}()
	until(t, "it is asked", func() bool { a.asker.mu.Lock(); defer a.asker.mu.Unlock(); return len(a.asker.asked) == 1 })
	c.Close()
	if got := <-result; got != 1 {
		t.Errorf("got %d answers, want that of the other", got)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestGroupsOfAllNodesAreListedAndTheirMembersAdded(t *testing.T) {
	_, nodes := threeNodes(t, slowTick)
	for i, n := range nodes {
		n.hub.groups = map[string]int{"everywhere": 2 + i, fmt.Sprint("on-", i): 1}
	}
	groups, more, err := nodes[1].Groups(t.Context(), "", 10)
	got := map[string]int{}
	for _, g := range groups {
		got[g.Name] += g.Members
	}
	if want := map[string]int{"everywhere": 9, "on-0": 1, "on-1": 1, "on-2": 1}; !maps.Equal(got, want) || more || err != nil || len(groups) != 4 {
		t.Errorf("got %v, %v, %v, want %v", groups, more, err, want)
	}
	if groups, more, err = nodes[1].Groups(t.Context(), "on-*", 10); len(groups) != 3 || more || err != nil {
		t.Errorf("got %v, %v, %v, want three", groups, more, err)
	}
	if groups, more, err = nodes[1].Groups(t.Context(), "", 3); len(groups) != 3 || !more || err != nil {
		t.Errorf("got %v, %v, %v, want three, and that there are more", groups, more, err)
	}
	// An answer of several megabytes.
	nodes[0].hub.mu.Lock()
	for i := range 10_000 {
		nodes[0].hub.groups[fmt.Sprint(strings.Repeat("n", 240), i)] = 1
	}
	nodes[0].hub.mu.Unlock()
	if groups, more, err = nodes[1].Groups(t.Context(), "n*", 10_000); len(groups) != 10_000 || more || err != nil {
		t.Errorf("got %d groups, %v, %v, want 10,000", len(groups), more, err)
	}
}

func TestMembersOfOtherNodesAreCountedAtMostOnceASecond(t *testing.T) {
	_, nodes := threeNodes(t, slowTick)
	var asked atomic.Int32
	for i, n := range nodes {
		n.members = func(context.Context, string) (int, error) {
			asked.Add(1)
			return 10 + i, nil
		}
	}
	nodes[0].counts.groups, nodes[0].counts.since = map[string]*countOf{}, time.Now().Add(time.Hour)
	var all sync.WaitGroup
	for range 100 {
		all.Go(func() {
			if n, err := nodes[0].MembersElsewhere(t.Context(), "g"); n != 23 || err != nil {
				t.Errorf("got %d, %v, want 23", n, err)
			}
		})
	}
	all.Wait()
	if got := asked.Load(); got != 2 {
		t.Errorf("the two others were asked %d times, want once each", got)
	}
	nodes[0].counts.since = time.Now().Add(-2 * countedFor)
	nodes[2].members = func(context.Context, string) (int, error) { return 0, order.ErrBusy }
	n, err := nodes[0].MembersElsewhere(t.Context(), "g")
	var some *loop.Partly
	if n != 11 || !errors.As(err, &some) || some.Answered != 2 {
		t.Errorf("got %d, %v, want 11, and that one has not answered", n, err)
	}
}

func TestNodesSayWhatTheyAre(t *testing.T) {
	_, nodes := threeNodes(t, slowTick)
	infos, err := nodes[1].Nodes(t.Context())
	if err != nil || len(infos) != 3 || infos[0].Name != "node-b" || infos[1].Name != "node-a" {
		t.Fatalf("got %v, %v, want three, the one that is asked first", infos, err)
	}
	if got, want := infos[2], (loop.NodeInfo{UID: "boot-c", Name: "node-c", Version: "7", Clients: 5, Users: 2, Members: 9, Groups: 3, Uptime: infos[1].Uptime}); got != want || got.Uptime < 60 {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestSoManyQuestionsWaitAndNoMore(t *testing.T) {
	a := joinNode(t, coreServer(t), slowTick, "node-a", "boot-a")
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	boots := []string{"boot-nobody"} // who never answers, and is not found to be gone
	for range asksMax {
		all.Go(func() { _, _ = a.asker.ask(ctx, askSubject, boots, askInfo, nil, time.Hour) })
	}
	until(t, "all wait", func() bool { a.asker.mu.Lock(); defer a.asker.mu.Unlock(); return len(a.asker.asked) == asksMax })
	if _, err := a.asker.ask(ctx, askSubject, boots, askInfo, nil, time.Hour); err != order.ErrBusy {
		t.Errorf("got %v, want ErrBusy", err)
	}
	cancel()
	all.Wait()
	if len(a.asker.asked) != 0 {
		t.Errorf("got %d questions that wait, want none", len(a.asker.asked))
	}
}

func TestRevocationsReachNodesThatFailAndNodesThatArrive(t *testing.T) {
	url, nodes := threeNodes(t, testTick)
	a, c := nodes[0], nodes[2]
	c.hub.mu.Lock()
	c.hub.fail = order.ErrBusy
	c.hub.mu.Unlock()
	_, err := a.Revoke(t.Context(), "ann", 1000)
	var some *loop.Partly
	if !errors.As(err, &some) || some.Answered != 2 {
		t.Errorf("got %v, want that one has not answered", err)
	}
	for i := range 2500 { // more than a message has
		if _, err := a.hub.Revoke(t.Context(), fmt.Sprint("user ", i), int64(i)+1); err != nil {
			t.Fatal(err)
		}
	}
	c.hub.mu.Lock()
	c.hub.fail = nil
	c.hub.mu.Unlock()
	until(t, "who has failed knows it", func() bool { return c.hub.RevokedBefore("ann") == 1000 })
	d := joinNode(t, url, testTick, "node-d", "boot-d")
	d.hub.mu.Lock()
	d.hub.revoked["bob"] = 5
	d.hub.mu.Unlock()
	until(t, "who arrives knows all", func() bool {
		for user, before := range a.hub.Revocations() {
			if d.hub.RevokedBefore(user) < before {
				return false
			}
		}
		return d.hub.RevokedBefore("user 2499") == 2500
	})
	e := joinNode(t, url, testTick, "node-e", "boot-e")
	until(t, "what one alone knows reaches who arrives", func() bool { return e.hub.RevokedBefore("bob") == 5 })
}

// here is who is there on a node, as all others should know it.
func here(n *testNode, home int, group string, client uint64, who *dialect.Who, told bool) {
	n.hub.company.Came(home, group, dialect.Present{Client: client, Who: who}, told)
}

func TestWhoIsThereIsKnownOnAllNodesAndToldOnce(t *testing.T) {
	url, nodes := threeNodes(t, testTick)
	a, b := nodes[0], nodes[1]
	ann := dialect.WhoIs{User: "ann", Info: []byte(`{"n":1}`), GroupInfo: []byte{}}.Who()
	here(a, 0, "g", 65, nil, true)
	here(a, 0, "h", 65, nil, true)
	here(a, 0, "g", 65, ann, false)
	here(a, 0, "g", 66, nil, true)
	twelve := dialect.WhoIs{User: "12", NumberID: true}.Who()
	here(a, 63, "g", 67, twelve, false)
	a.hub.company.Went(0, "g", 66, true)
	want := map[string]string{"g " + a.hub.ClientName(65): userOf(ann), "h " + a.hub.ClientName(65): "", "g " + a.hub.ClientName(67): userOf(twelve)}
	for _, n := range nodes[1:] {
		until(t, "all is known", func() bool { return maps.Equal(n.homes.known(), want) })
	}
	until(t, "all is told", func() bool { b.homes.mu.Lock(); defer b.homes.mu.Unlock(); return len(b.homes.news) >= 4 })
	if got, want := fmt.Sprint(b.homes.news), fmt.Sprintf("[came %s came %[1]s came %s went %[2]s]", a.hub.ClientName(65), a.hub.ClientName(66)); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	d := joinNode(t, url, testTick, "node-d", "boot-d")
	until(t, "who arrives knows all", func() bool { return maps.Equal(d.homes.known(), want) })
	here(d, 0, "g", 65, nil, true)
	until(t, "who was there knows who comes there", func() bool { _, is := a.homes.known()["g "+d.hub.ClientName(65)]; return is })
	a.conn.Close()
	for _, n := range nodes[1:] {
		until(t, "those of a node that is gone are gone", func() bool { return len(n.homes.known()) == 1 })
	}
}

// A user is said as it ever was but for one whose name was a number.
func TestWhatNodesOfBeforeSayOfAUserIsUnderstood(t *testing.T) {
	before := []byte("\x01\x0212\x022\x00")
	r := newsReader{left: before}
	if who := r.who(); r.bad || len(r.left) > 0 || userOf(who) != `12 false "2" ""` || who.GroupInfo() != nil {
		t.Errorf("got %s, %d bytes are left; want the user 12, whose name was no number", userOf(who), len(r.left))
	}
	if is := appendWho(nil, dialect.WhoIs{User: "12", Info: []byte("2")}.Who()); !bytes.Equal(is, before) {
		t.Errorf("got %q, want %q, which they understand", is, before)
	}
}

// However much is lost, and however many wait, all nodes come to know the same.
func TestWhoIsThereIsKnownThoughNewsAreLost(t *testing.T) {
	_, nodes := threeNodes(t, quickTick)
	for _, n := range nodes[1:] {
		n.lose.Store(10)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	want := map[string]string{}
	a := nodes[0]
	for step := range 60_000 {
		home, client := rng.IntN(8), uint64(1+rng.IntN(500))
		group := fmt.Sprintf("g%d-%d", home, rng.IntN(3))
		key := group + " " + a.hub.ClientName(client)
		if rng.IntN(2) == 0 {
			here(a, home, group, client, nil, true)
			want[key] = ""
		} else {
			a.hub.company.Went(home, group, client, true)
			delete(want, key)
		}
		if step%2000 == 0 {
			sent := a.says.wake
			until(t, "it is being said", func() bool { return len(sent) == 0 })
		}
	}
	for _, n := range nodes[1:] {
		n.lose.Store(2)
	}
	until(t, "news were lost", func() bool { return nodes[1].Heard().Holes > 0 })
	for _, n := range nodes[1:] {
		n.lose.Store(0)
	}
	for _, n := range nodes[1:] {
		until(t, "all is known", func() bool { return maps.Equal(n.homes.known(), want) })
	}
	if h := a.Heard(); h.Lists == 0 {
		t.Errorf("got %+v, want lists", h)
	}
	// What was told of each adds up to who is there.
	for _, n := range nodes[1:] {
		sums := map[string]int{}
		n.homes.mu.Lock()
		for _, one := range n.homes.news {
			what, name, _ := strings.Cut(one, " ")
			sums[name] += map[string]int{"came": 1, "went": -1}[what]
		}
		n.homes.mu.Unlock()
		for key := range want {
			_, name, _ := strings.Cut(key, " ")
			sums[name]--
		}
		for name, sum := range sums {
			if sum != 0 {
				t.Errorf("%s: told %d times too often that it came", name, sum)
			}
		}
	}
}

func TestTooManyNewsAreTakenTheirPlaceByAList(t *testing.T) {
	_, nodes := threeNodes(t, quickTick)
	a, b := nodes[0], nodes[1]
	a.says.alone.Store(false)
	w := &a.says.wards[0]
	w.mu.Lock()
	for i := range uint64(2 * pendingMax) {
		m := presentMember{"g", 1 + i}
		w.here.Put(m, nil)
		a.says.add(w, news{newsCame, m, nil})
	}
	lost := w.lost
	w.mu.Unlock()
	if !lost || a.Heard().Overflows != 1 {
		t.Errorf("got %v, %+v, want that it is lost, once", lost, a.Heard())
	}
	a.says.call()
	until(t, "all is known", func() bool { return len(b.homes.known()) == 2*pendingMax })
}

// News are of nodes that may have another version, or a fault: whatever they are, they end in an error and not in a panic.
func FuzzNews(f *testing.F) {
	a := newAnnouncer(nil, "boot-b", func(uint64) string { return "name" })
	a.begin()
	a.say(&news{what: newsBegin})
	a.say(&news{newsCame, presentMember{"g", 65}, dialect.WhoIs{User: "ann", Info: []byte("1")}.Who()})
	a.say(&news{newsWent | newsQuiet, presentMember{"g", 65}, nil})
	a.say(&news{what: newsEnd})
	f.Add(a.out)
	for n := range a.out {
		f.Add(a.out[:n])
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		h := newHearer(nil, &farHomes{there: map[string]farOne{}}, slog.New(slog.DiscardHandler), func(uint16) {})
		h.sources["boot-b"] = &source{number: 1}
		h.hear(context.Background(), text)
	})
}
