package test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// balancer is one TCP address for all nodes of a cluster, as docs/cluster.md has it: it asks each node's /readyz, and gives a connection to a node
// that is ready. It knows nothing of what goes through it.
type balancer struct {
	net.Listener
	c     *cluster
	ready []atomic.Bool
	next  atomic.Int64

	mu    sync.Mutex
	given map[*node][]net.Conn // connections to each node
}

func startBalancer(t *testing.T, c *cluster) *balancer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	b := &balancer{Listener: l, c: c, ready: make([]atomic.Bool, len(c.nodes)), given: map[*node][]net.Conn{}}
	ctx, over := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for i, n := range c.nodes {
		check := func() { code, _ := n.readyz(); b.ready[i].Store(code == http.StatusOK) }
		check()
		running.Go(func() {
			for again := time.NewTicker(100 * time.Millisecond); ; check() {
				select {
				case <-again.C:
				case <-ctx.Done():
					again.Stop()
					return
				}
			}
		})
	}
	running.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { b.serve(in) })
		}
	})
	t.Cleanup(func() {
		over()
		l.Close()
		b.mu.Lock()
		for _, list := range b.given {
			for _, conn := range list {
				conn.Close()
			}
		}
		b.mu.Unlock()
		running.Wait()
	})
	return b
}

// serve gives a connection to a ready node, the next one in turn, and passes bytes until either end goes.
func (b *balancer) serve(in net.Conn) {
	defer in.Close()
	for range b.c.nodes {
		i := int(b.next.Add(1)) % len(b.c.nodes)
		if !b.ready[i].Load() {
			continue
		}
		out, err := net.DialTimeout("tcp", b.c.nodes[i].listen, time.Second)
		if err != nil {
			continue
		}
		b.mu.Lock()
		b.given[b.c.nodes[i]] = append(b.given[b.c.nodes[i]], in, out)
		b.mu.Unlock()
		go func() { io.Copy(out, in); out.Close(); in.Close() }()
		io.Copy(in, out)
		out.Close()
		return
	}
}

// pageIsElsewhere has an unmodified centrifuge-js behind one address: its node is killed, and it goes on at another one by itself, nothing missed,
// nothing twice. This is done until it has been on every node.
func pageIsElsewhere(t *testing.T, c *cluster) {
	centrifugePackage(t)
	b := startBalancer(t, c)
	page := openNodePage(t, b.Addr().String())
	group := "a page on " + t.Name()
	first := page.listensWithHistory(group, "{minReconnectDelay: 100, maxReconnectDelay: 1000}")
	var want []string
	say := func(n *node, count int) {
		t.Helper()
		s := &clusterPublisher{p: &clusterPlay{t: t, c: c}, group: &clusterGroup{name: group}, number: len(want), at: n}
		s.group.p = s.p
		for range count {
			text := fmt.Sprintf("message %d", len(want))
			said, err := s.insist(text)
			must(t, err)
			if code := said.answers[len(said.answers)-1].code; code != saidOK {
				t.Fatalf("%s: got %s", text, code)
			}
			want = append(want, text)
		}
	}
	say(c.nodes[0], 3)
	page.hearsAll(want...)
	for round := range size(1, 3) {
		had := len(want)
		at := c.holder(t, group)
		at.kill(t)
		say(at.others()[0], 5) // while the page is away, or on its way back
		page.step("connected")
		in := page.inChannel(group)
		if !in.WasRecovering || !in.Recovered || in.StreamPosition.Epoch != first.Epoch {
			t.Fatalf("round %d: the page came back and got %+v, want it recovered in the epoch %s", round, in, first.Epoch)
		}
		say(at.others()[1], 5)
		page.hearsAll(want[had:]...)
		at.comeBack(t)
	}
	page.do("")
	equal(t, "further messages", page.untaken("publication"), 0)
	equal(t, "ended subscriptions", page.untaken("unsubscribed"), 0)
}

// holder is the node on which a group has its only member.
func (c *cluster) holder(t *testing.T, group string) (holder *node) {
	t.Helper()
	eventually(t, "one node has the member", func() error {
		var with []string
		for _, n := range c.up() {
			s := *n.s
			s.t = t
			if s.status().Total.Members > 0 {
				with, holder = append(with, n.name()), n
			}
		}
		if len(with) != 1 {
			return fmt.Errorf("%s: got members on %v, want them on one node", group, with)
		}
		return nil
	})
	return holder
}

// channelEvents has PHP workers on every node: an event of one reaches members of all nodes once, in one order with what members say.
func channelEvents(t *testing.T, c *cluster) {
	group := "events of " + t.Name()
	var members []*client
	var subscribers []*channelClient
	for _, n := range c.nodes {
		s := *n.s
		s.t = t
		for range 2 {
			members = append(members, member(t, &s, group))
		}
		subscribers = append(subscribers, subscriber(t, &s))
	}
	const each = 50
	texts := map[string]bool{}
	for _, n := range c.nodes {
		s := *n.s
		s.t = t
		php, page := dialChannel(t, &s), dial(t, &s)
		for k := range each {
			fromPHP, fromPage := fmt.Sprintf("php on %s: %d", n.name(), k), fmt.Sprintf("page on %s: %d", n.name(), k)
			php.say(t, said("publish", "send_to_group", groupEvent(group, fromPHP)))
			must1(t, page.askOK)(sendCommand(group, fromPage))
			texts[fromPHP], texts[fromPage] = true, true
		}
	}
	first, err := members[0].collect(len(texts))
	must(t, err)
	sorted := slices.Compact(slices.Sorted(slices.Values(first)))
	equal(t, "different messages", len(sorted), len(texts))
	for _, text := range first {
		if !texts[text] {
			t.Fatalf("heard %q, which nobody said", text)
		}
	}
	for _, m := range members[1:] {
		got, err := m.collect(len(first))
		must(t, err)
		equalTexts(t, "what members got", got, first)
	}
	for _, sub := range subscribers {
		for _, text := range first {
			sub.expectEvent(t, "send_to_group", groupEvent(group, text))
		}
	}
	// Nothing was doubled: what is said now is what comes next.
	s := *c.nodes[0].s
	s.t = t
	must1(t, dial(t, &s).askOK)(sendCommand(group, lastText))
	for _, m := range members {
		m.expect(t, lastText)
	}
	for _, sub := range subscribers {
		sub.expectEvent(t, "send_to_group", groupEvent(group, lastText))
	}
}

// presenceOverNodes asks each node who is in a group that has members on all.
func presenceOverNodes(t *testing.T, c *cluster) {
	group := "presence of " + t.Name()
	for _, n := range c.nodes {
		s := *n.s
		s.t = t
		page := dial(t, &s, dialing{path: centrifugePath})
		must(t, page.text(`{"id":1,"connect":{}}`+"\n"+`{"id":2,"subscribe":{"channel":`+quote(group)+`}}`))
		for range 2 {
			_, err := page.next()
			must(t, err)
		}
	}
	for _, n := range c.nodes {
		eventually(t, "each node knows the members of all", func() error {
			stats, err := n.post("/api/presence_stats", `{"channel":`+quote(group)+`}`)
			if err != nil {
				return err
			}
			list, err := n.post("/api/presence", `{"channel":`+quote(group)+`}`)
			if err != nil {
				return err
			}
			if got := strings.Count(list, `"client":`); got != clusterNodes || !strings.Contains(stats, `"num_clients":3`) {
				return fmt.Errorf("%s: got %s and %s, want %d members", n.name(), stats, list, clusterNodes)
			}
			return nil
		})
	}
}
