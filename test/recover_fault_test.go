package test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// lives is what a client has heard of a group in all its lives.
type lives struct {
	group int
	began bool
	from  int // offset at its first subscription
	heard []string
	ended bool // it has heard the last message
}

func TestFaultCentrifugeClientsThatAreCutAtRandomHearEachMessageOnceAndInOrder(t *testing.T) {
	fault(t)
	const groups, publishers = 5, 3
	clients, duration := size(12, 60), size(5*time.Second, 20*time.Second)
	perPublisher, cutsMost := int(duration/(10*time.Millisecond)), int(duration/(100*time.Millisecond))
	room := func(g int) string { return fmt.Sprintf("room %d", g) }
	s := start(t, "--heartbeat", "1s", "--history", "100000", "--recovery-max", "10000")
	proxy := startCutter(t, s.addr)
	p := openNodePage(t, proxy.Addr().String())

	// A plain client of each group, which nobody cuts, says what there is to hear.
	var all sync.WaitGroup
	failed := make(chan error, 2*groups+publishers+1)
	want := make([][]string, groups)
	for g := range groups {
		c := member(t, s, room(g))
		all.Go(func() {
			var err error
			if want[g], err = c.collectUntil(lastText); err != nil {
				failed <- err
			}
		})
	}
	begun, over := make(chan struct{}), make(chan struct{}) // begun: each client is in its groups for the first time
	stop := sync.OnceFunc(func() { close(over) })
	defer stop()
	var published atomic.Int64
	var storm sync.WaitGroup
	for i := range publishers {
		c, rng := dial(t, s), rand.New(rand.NewPCG(uint64(i), 1))
		storm.Go(func() {
			pace := time.NewTicker(10 * time.Millisecond)
			defer pace.Stop()
			for n := range perPublisher {
				if n == perPublisher/10 {
					select {
					case <-begun:
					case <-over:
						return
					}
				}
				select {
				case <-pace.C:
				case <-proxy.said: // maybe by one who comes back: now is when something could be left out or doubled
				case <-over:
					return
				}
				if _, err := c.publish(room(rng.IntN(groups)), fmt.Sprintf("publisher %d: %d", i, n)); err != nil {
					failed <- err
					return
				}
				published.Add(1)
			}
		})
	}
	made := map[string]int{}
	storm.Go(func() {
		rng, pace := rand.New(rand.NewPCG(7, 7)), time.NewTicker(100*time.Millisecond)
		defer pace.Stop()
		names := slices.Sorted(maps.Keys(cuts))
		select {
		case <-begun: // who began behind the last message would hear nothing
		case <-over:
			return
		}
		for range cutsMost {
			select {
			case <-pace.C:
			case <-over:
				return
			}
			if name := names[rng.IntN(len(names))]; proxy.cutOne(rng, cuts[name].cut) {
				made[name]++
			}
		}
	})
	lastSaid := make(chan struct{})
	go func() {
		defer close(lastSaid)
		storm.Wait()
		c, err := open(s.addr, dialing{})
		if err != nil {
			failed <- err
			return
		}
		defer c.hangUp()
		for g := range groups {
			if _, err := c.publish(room(g), lastText); err != nil {
				failed <- err
			}
		}
	}()

	p.do(fmt.Sprintf(`for (let i = 0; i < %d; i++) {
		const client = new Centrifuge(url, {minReconnectDelay: 100, maxReconnectDelay: 1000, maxServerPingDelay: 2000});
		for (const g of i %% 3 === 0 ? [i %% %d, (i + 1) %% %[2]d] : [i %% %[2]d]) {
			const group = client.newSubscription("room " + g);
			for (const step of ["subscribed", "publication", "unsubscribed"])
				group.on(step, about => say(step, {...about, client: String(i), channel: "room " + g}));
			group.subscribe();
		}
		client.connect();
	}`, clients, groups))
	log := map[[2]string]*lives{} // by client and group
	for i := range clients {
		in := []int{i % groups}
		if i%3 == 0 {
			in = append(in, (i+1)%groups)
		}
		for _, g := range in {
			log[[2]string{strconv.Itoa(i), room(g)}] = &lives{group: g}
		}
	}
	began, recovered, ended := 0, 0, 0 // of the subscriptions
	note := func(step nodeStep) {
		l := log[[2]string{step.Client, step.Channel}]
		if l == nil {
			t.Fatalf("a step of nobody: %+v", step)
		}
		switch {
		case step.Step == "unsubscribed":
			t.Fatalf("client %s in %s: unsubscribed with %d %s", step.Client, step.Channel, step.Code, step.Reason)
		case step.Step == "subscribed" && !l.began:
			l.began, l.from = true, step.StreamPosition.Offset
			if began++; began == len(log) {
				close(begun)
			}
		case step.Step == "subscribed" && !step.Recovered:
			t.Fatalf("client %s in %s: came back and got %+v, want it recovered", step.Client, step.Channel, step)
		case step.Step == "subscribed":
			recovered++
		default:
			var text string
			must(t, json.Unmarshal(step.Data, &text))
			if l.ended {
				t.Fatalf("client %s in %s: heard %q behind the last message", step.Client, step.Channel, text)
			}
			if text == lastText {
				l.ended = true
				ended++
				return
			}
			l.heard = append(l.heard, text)
		}
	}
	for _, step := range p.early {
		note(step)
	}
	p.early = nil
	for late := time.After(duration + 4*patience); ended < len(log); {
		select {
		case step, more := <-p.steps:
			if !more {
				t.Fatalf("Node has ended: %s", p.out)
			}
			note(step)
		case err := <-failed:
			t.Fatal(err)
		case <-late:
			t.Fatalf("%d of %d have not heard the last message", len(log)-ended, len(log))
		}
	}
	all.Wait()
	<-lastSaid
	p.do("")
	for _, step := range p.early {
		note(step)
	}
	sum := 0
	for _, texts := range want {
		sum += len(texts)
	}
	equal(t, "messages", sum, int(published.Load()))
	for who, l := range log {
		g := l.group
		if l.from > len(want[g]) {
			t.Fatalf("client %s in %s: began at %d of %d", who[0], who[1], l.from, len(want[g]))
		}
		rest := want[g][l.from:]
		for i := range max(len(rest), len(l.heard)) {
			if i >= len(rest) || i >= len(l.heard) || rest[i] != l.heard[i] {
				t.Fatalf("client %s in %s: heard %s at its place %d of %d, want %s of %d", who[0], who[1],
					brief(l.heard[min(i, len(l.heard)):min(i+3, len(l.heard))]), i, len(l.heard), brief(rest[min(i, len(rest)):min(i+3, len(rest))]), len(rest))
			}
		}
	}
	t.Logf("%d messages, %d clients, %d comings back, cut %v", sum, clients, recovered, made)
	for name := range cuts {
		if made[name] == 0 {
			t.Errorf("cut %s: got none", name)
		}
	}
	if recovered < clients {
		t.Errorf("recovered subscriptions: got %d, want each client back once on average", recovered)
	}
}

// cutOne cuts one of the connections that are not cut yet.
func (c *cutter) cutOne(rng *rand.Rand, cut func(*cutPair)) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	var there []*cutPair
	for _, pair := range c.pairs {
		if !pair.over {
			there = append(there, pair)
		}
	}
	if len(there) == 0 {
		return false
	}
	pair := there[rng.IntN(len(there))]
	pair.over = true
	cut(pair)
	return true
}
