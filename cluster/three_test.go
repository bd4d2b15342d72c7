package cluster

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

// sayAll has each node say many messages at once to a few groups, and returns what was answered to each, by its text. pace is called before
// each message of a node, with its number; nil: they are said as fast as they can be.
func sayAll(t *testing.T, nodes []*node, what string, many int, pace func(i int)) map[string]string {
	t.Helper()
	answers := map[string]string{}
	var mu sync.Mutex
	var all sync.WaitGroup
	for _, n := range nodes {
		all.Add(1)
		go func() {
			defer all.Done()
			tokens := map[string]uint64{}
			for i := range many {
				if pace != nil {
					pace(i)
				}
				text := fmt.Sprintf("%s %s %d", what, n.config.Node, i)
				tokens[text] = n.say(fmt.Sprintf("room %d", i%7), text)
			}
			for text, token := range tokens {
				is, err := n.answer(token)
				if err != nil {
					t.Errorf("%q: %v", text, err)
					return
				}
				mu.Lock()
				answers[text] = is
				mu.Unlock()
			}
		}()
	}
	all.Wait()
	return answers
}

// agree checks that nodes have the same messages in the same order, from the time on when the last of them began, and in the order in which each sender said them.
func agree(t *testing.T, nodes []*node) {
	t.Helper()
	for p := range nodes[0].parts {
		tip := uint64(0)
		for _, n := range nodes {
			tip = max(tip, n.parts[p].tip.Load())
		}
		for _, n := range nodes {
			until(t, "all nodes to have read the same", func() bool { return n.parts[p].tip.Load() >= tip })
		}
		var first []said2
		for i, n := range nodes {
			n.f.mu.Lock()
			all := slices.Clone(n.f.said[p])
			n.f.mu.Unlock()
			for j := range all {
				all[j].prev = 0 // what was fetched does not know it
			}
			if i == 0 {
				first = all
				continue
			}
			if len(first) > 0 && len(all) > 0 && (len(all) != len(first) || !slices.Equal(first, all)) {
				t.Errorf("partition %d: %s has heard %d messages and %s %d, want the same in the same order", p, nodes[0].config.Node, len(first), n.config.Node, len(all))
			}
		}
		last := map[string]int{}
		seen := map[string]bool{}
		for _, s := range first {
			var what, sender string
			var i int
			if _, err := fmt.Sscanf(s.text, "%s %s %d", &what, &sender, &i); err != nil {
				continue
			}
			if seen[s.text] {
				t.Errorf("partition %d: %q was heard twice", p, s.text)
			}
			seen[s.text] = true
			key := what + sender + s.group
			if before, is := last[key]; is && i < before {
				t.Errorf("partition %d: %s said %d to %s before %d, and it was heard behind it", p, sender, i, s.group, before)
			}
			last[key] = i
		}
	}
}

func TestThreeNodesHearOneOrder(t *testing.T) {
	t.Parallel()
	configs := threeConfigs(t)
	for i := range configs {
		configs[i].Wait = 20 * time.Second
	}
	nodes := startAll(t, configs, func(_ int, offset uint64) bool { return offset%10 == 0 && rand.IntN(2) == 0 })
	for text, is := range sayAll(t, nodes, "first", 500, nil) {
		if is[:2] != "ok" {
			t.Errorf("%q: got %q, want ok", text, is)
		}
	}
	agree(t, nodes)
	filled := uint64(0)
	for _, n := range nodes {
		filled += n.Status().HoleMessages
	}
	if filled == 0 {
		t.Error("messages that were dropped on purpose: got none fetched, want some")
	}

	// Whoever has heard a message finds it in the log, also where its own replica does not have it yet.
	for i := range 30 {
		n := nodes[i%3]
		text := fmt.Sprint("just now ", i)
		nodes[0].answerTo(t, nodes[0].say("recent", text))
		until(t, "a message on "+n.config.Node, func() bool { return len(n.heard("recent")) > i })
		if r := n.recallGroup(t, "recent"); r.Failed || !slices.Equal(texts(r), n.heard("recent")) {
			t.Fatalf("recalled by %s at once: got %v, want %v", n.config.Node, texts(r), n.heard("recent"))
		}
	}

	// All end at once and come back: the log has everything from the beginning, in the same epoch.
	said, epoch := nodes[0].heard("room 1"), nodes[0].parts[0].epoch()
	for _, n := range nodes {
		n.server.Shutdown()
	}
	for _, n := range nodes {
		n.Close()
	}
	nodes = startAll(t, configs, nil)
	for _, n := range nodes {
		if r := n.recallGroup(t, "room 1"); r.Failed || r.Floor != 0 && len(said) <= n.config.HistoryMax || !slices.Equal(texts(r), said[len(said)-len(r.Messages):]) {
			t.Errorf("recalled by %s: got %d messages from floor %d, want %d", n.config.Node, len(r.Messages), r.Floor, len(said))
		}
		if r := n.recallGroup(t, "room nobody"); r.Failed || r.Floor != 0 {
			t.Errorf("recalled by %s of a group without messages: got floor %d, want 0", n.config.Node, r.Floor)
		}
		if is := n.parts[0].epoch(); is != epoch {
			t.Errorf("the epoch on %s: got %d, want %d", n.config.Node, is, epoch)
		}
	}
}

func TestANodeThatFallsLosesNothingThatWasAnswered(t *testing.T) {
	t.Parallel()
	configs := threeConfigs(t)
	patient := slices.Clone(configs) // as long as an election can take on a busy machine
	for i := range patient {
		patient[i].Wait = 40 * time.Second
	}
	nodes := startAll(t, patient, nil)
	sayAll(t, nodes, "before", 50, nil)
	room1 := nodes[0].parts[nodes[0].hash("room 1")].stream
	leads := slices.IndexFunc(nodes, func(n *node) bool { return n.server.JetStreamIsStreamLeader("$G", room1) })
	if leads < 0 {
		t.Fatal("nobody leads a partition to which something was said")
	}
	configs[0], configs[leads] = configs[leads], configs[0]
	nodes[0], nodes[leads] = nodes[leads], nodes[0]

	// One that leads falls while the two others speak; it does so without a word to anybody.
	fallen, down := nodes[0], make(chan struct{})
	go func() {
		defer close(down)
		if !waited(func() bool { return nodes[1].Status().Ordered > 200 }) {
			t.Error("waited for some messages: they have not come")
		}
		fallen.server.Shutdown() // it takes the connection of the node with it
	}()
	answers := sayAll(t, nodes[1:], "fall", 300, func(i int) {
		if i == 200 {
			<-down // the last are said behind it, however long it takes
		}
		pause(context.Background(), 2*time.Millisecond)
	})
	fallen.Close()
	agree(t, nodes[1:])
	heard := map[string]int{}
	for p := range nodes[1].parts {
		for _, s := range nodes[1].f.said[p] {
			heard[s.text]++
		}
	}
	for text, is := range answers {
		if is[:2] != "ok" || heard[text] != 1 {
			t.Errorf("%q was answered %q and heard %d times, want ok and once", text, is, heard[text])
		}
	}

	// It comes back, and knows what was said while it was away.
	nodes[0] = start(t, configs[0], nil)
	for group := range 7 {
		name := fmt.Sprintf("room %d", group)
		a, b := nodes[0].recallGroup(t, name), nodes[1].recallGroup(t, name)
		if a.Failed || !slices.Equal(texts(a), texts(b)) || a.Floor != b.Floor {
			t.Errorf("%s recalled: got %d messages from floor %d on the node that was away, and %d from %d on another", name, len(a.Messages), a.Floor, len(b.Messages), b.Floor)
		}
		said := nodes[1].heard(name)
		if want := said[max(0, len(said)-101):]; !slices.Equal(texts(b)[max(0, len(b.Messages)-101):], want) {
			t.Errorf("%s recalled: got %v, want %v", name, texts(b), want)
		}
	}
	if nodes[0].parts[0].epoch() != nodes[1].parts[0].epoch() {
		t.Error("the epoch is another one after a node came back")
	}
	sayAll(t, nodes, "after", 50, nil)

	// A planned stop: the lead is handed over first, so nobody waits for an election.
	led := func() (all []int) {
		for _, p := range nodes[2].parts {
			if nodes[2].server.JetStreamIsStreamLeader("$G", p.stream) {
				all = append(all, p.number)
			}
		}
		return all
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	began := time.Now()
	nodes[2].Drain(ctx)
	if took, all := time.Since(began), led(); len(all) > 0 && took < askTimeout {
		t.Errorf("partitions %v: a node leads them after it has drained", all)
	}
	until(t, "all to be handed over, also where the servers took longer than they are waited for", func() bool { return len(led()) == 0 })
	if nodes[2].Trouble() == "" {
		t.Error("trouble of a node that leaves: got none")
	}
	nodes[2].Close()

	// Alone it has no majority: whatever is offered is answered within the wait, and nothing is lost silently.
	nodes[1].Close()
	var tokens []uint64
	for i := range 300 {
		if token, taken := nodes[0].offer("room 1", fmt.Sprint("alone ", i), func(o *offer) { o.Soon = i%2 == 0 }); taken {
			tokens = append(tokens, token)
		}
	}
	causes := map[string]int{}
	for _, token := range tokens {
		causes[nodes[0].answerTo(t, token)]++
	}
	if len(tokens) != 300 || causes["unavailable"] == 0 || causes["unavailable"]+causes["unknown"] != 300 || causes["unknown"] > flightMax {
		t.Errorf("answers without a majority: got %v to %d offers, want unavailable, and at most %d unknown", causes, len(tokens), flightMax)
	}
	until(t, "trouble", func() bool { return nodes[0].Trouble() != "" })
	if s := nodes[0].Status(); s.Resends > 200 {
		t.Errorf("sent again: got %d, want a few, with pauses between", s.Resends)
	}
}
