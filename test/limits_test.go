package test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestBeyondTheDescriptorLimitClientsAreRefusedAndMembersKeepReceiving(t *testing.T) {
	t.Parallel()
	const descriptors, burst = 300, 400
	s := startWith(t, starting{descriptors: descriptors})
	st := s.status()
	if st.ClientsMax <= 0 || st.ClientsMax >= descriptors {
		t.Fatalf("clients_max with ulimit -n %d: got %d, want less than that and more than 0", descriptors, st.ClientsMax)
	}
	members := make([]*client, 8)
	for i := range members {
		members[i] = member(t, s, "g")
	}

	// The burst, all at once, while the group is published to.
	var mu sync.Mutex
	var accepted []*client
	refused := 0
	var burstDone sync.WaitGroup
	for range burst {
		burstDone.Go(func() {
			c, err := open(s.addr, dialing{})
			if err == nil {
				_, err = c.beforePong() // a client that was let in is served
			}
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				accepted = append(accepted, c)
				return
			}
			refused++
			var answer *refusedError
			if errors.As(err, &answer) && answer.status != 503 {
				t.Errorf("refused with: got %v, want 503 or a closed connection", answer)
			}
		})
	}
	t.Cleanup(func() {
		for _, c := range accepted {
			c.hangUp()
		}
	})
	sender := members[0]
	for i := range 200 {
		text := fmt.Sprintf("during the burst %d", i)
		must(t, sender.text(sendCommand("g", text)))
		for _, m := range members {
			m.expect(t, text)
		}
	}
	burstDone.Wait()
	if got := len(accepted) + len(members); got > st.ClientsMax || len(accepted) < st.ClientsMax/2 {
		t.Errorf("accepted: got %d and %d before, want about clients_max %d and not more", len(accepted), len(members), st.ClientsMax)
	}
	equal(t, "accepted and refused", len(accepted)+refused, burst)
	s.eventually("status answers and counts the refused", func() error {
		if got := s.status(); got.Total.RefusedClients == 0 {
			return fmt.Errorf("got refused_clients %d with %d refused, want some", got.Total.RefusedClients, refused)
		}
		return nil
	})

	// One more is told, by 503 with words, when the server gets to tell it.
	if c, err := open(s.addr, dialing{}); err == nil {
		c.hangUp()
		if len(accepted)+len(members) >= st.ClientsMax {
			t.Errorf("a client beyond clients_max: got in, want it refused")
		}
	}

	// Room made is room given.
	const leaving = 50
	for _, c := range accepted[:leaving] {
		c.hangUp()
	}
	for range leaving / 2 {
		s.eventually("a new client is accepted after others have closed", func() error {
			c, err := open(s.addr, dialing{})
			if err == nil {
				accepted = append(accepted, c)
				err = c.join("g")
			}
			return err
		})
	}
	must(t, sender.text(sendCommand("g", "after the burst")))
	for _, c := range append(members, accepted[len(accepted)-leaving/2:]...) {
		c.expect(t, "after the burst")
	}
}

func TestBareConnectionsBeyondTheLimitDoNotEndTheServer(t *testing.T) {
	t.Parallel()
	const descriptors, connections = 300, 400
	s := startWith(t, starting{descriptors: descriptors, args: []string{"--handshake-timeout", "1s"}})
	m := member(t, s, "g")
	// They say nothing: all of them together must not keep others out for longer than the handshake's time.
	for range connections {
		c, err := connect(s.addr, dialing{})
		if err == nil {
			t.Cleanup(c.hangUp)
		}
		must(t, m.text(sendCommand("g", "tick")))
		m.expect(t, "tick")
	}
	var late *client
	s.eventually("a client is let in once the silent ones are cut", func() error {
		var err error
		late, err = open(s.addr, dialing{})
		return err
	})
	t.Cleanup(late.hangUp)
	must(t, late.join("g"))
	must(t, m.text(sendCommand("g", "welcome")))
	late.expect(t, "welcome")
}

func TestOutboxBoundHoldsForEachClientByItself(t *testing.T) {
	t.Parallel()
	s := start(t, "--outbox-max", "128KiB", "--message-max", "64KiB")
	const slows = 3
	for range slows {
		c := dial(t, s, dialing{readBytes: slowBytes})
		must(t, c.join("g"))
	}
	// One that pauses within its bound and then reads on is not slow: it gets all and is not closed.
	pausing := member(t, s, "g")
	sender := dial(t, s)
	var sent []string
	for i := range 3 {
		sent = append(sent, fmt.Sprintf("%d ", i)+strings.Repeat("x", 32<<10))
		must1(t, sender.askOK)(sendCommand("g", sent[i]))
	}
	pausing.expect(t, sent...)
	fast := make(chan error, 1)
	var more []string
	go func() {
		got, err := pausing.collectUntil(lastText)
		if err == nil && len(got) != len(more) {
			err = fmt.Errorf("got %d texts, want %d", len(got), len(more))
		}
		fast <- err
	}()
	for s.status().Total.SlowClosed < slows {
		if len(more) > 2048 {
			t.Fatalf("sent %d texts of 32 KiB: got slow_closed %d, want %d", len(more), s.status().Total.SlowClosed, slows)
		}
		for range 16 {
			more = append(more, sent[0])
			must1(t, sender.askOK)(sendCommand("g", sent[0]))
		}
	}
	must1(t, sender.askOK)(sendCommand("g", lastText))
	must(t, <-fast)
	s.eventually("only the slow were closed", func() error {
		got := s.status().Total
		if got.SlowClosed != slows || got.Members != 1 {
			return fmt.Errorf("got slow_closed %d and members %d, want %d and 1", got.SlowClosed, got.Members, slows)
		}
		return nil
	})
}

// A client that takes nothing from its socket is cut also when it does not answer the close: the server does not keep it.
func TestSlowClientThatNeverReadsAgainIsForgotten(t *testing.T) {
	t.Parallel()
	s := start(t, "--outbox-max", "64KiB", "--message-max", "64KiB")
	c := dial(t, s, dialing{readBytes: slowBytes})
	must(t, c.join("g"))
	sender := dial(t, s)
	text := strings.Repeat("x", 32<<10)
	deadline := time.Now().Add(patience)
	for s.status().Total.SlowClosed == 0 {
		if time.Now().After(deadline) {
			t.Fatal("the client that reads nothing is not closed")
		}
		for range 16 {
			must1(t, sender.askOK)(sendCommand("g", text))
		}
	}
	s.eventually("its connection is gone", func() error {
		if got := s.status().Total; got.Clients != 1 || got.Members != 0 {
			return fmt.Errorf("got %d clients and %d members, want 1 and 0", got.Clients, got.Members)
		}
		return nil
	})
}
