package loop

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"testing"

	"ringcast/loop/order"
)

func TestAFeedHearsWhatMembersHearInTheirOrder(t *testing.T) {
	s := startServer(t, Config{Loops: 3})
	feed, err := s.Hub().NewFeed()
	if err != nil {
		t.Fatal(err)
	}
	defer feed.Close()
	if _, err := s.Hub().NewFeed(); err != ErrFeedTaken {
		t.Errorf("a second feed: got %v, want ErrFeedTaken", err)
	}
	const each = 300
	members := joinAll(t, s, 4)
	go members[0].sendNumbered(0, each)
	go func() {
		for i := range each {
			feed.PublishWait(context.Background(), "g", fmt.Appendf(nil, "1 %d", i), i+1)
		}
	}()
	var heard []string
	var seq uint64
	tokens := 0
	for len(heard) < 2*each {
		got, err := feed.Take(within(t), nil)
		if err != nil {
			t.Fatalf("after %d: %v", len(heard), err)
		}
		for _, p := range got {
			if p.Token != nil {
				tokens++
				if p.Token != tokens {
					t.Fatalf("token: got %v, want %d", p.Token, tokens)
				}
			}
			if seq++; p.Group != "g" || p.Seq != seq {
				t.Fatalf("got group %q and number %d, want g and %d", p.Group, p.Seq, seq)
			}
			heard = append(heard, string(p.Message))
		}
	}
	for _, got := range hear(t, members, 2*each) {
		if !slices.Equal(got, heard) {
			t.Fatalf("a member and the feed heard different things: %q and %q", got, heard)
		}
	}
	if tokens != each {
		t.Errorf("tokens: got %d, want %d", tokens, each)
	}
}

func TestWhoWaitsForRoomIsWokenOrGivesUp(t *testing.T) {
	s := startServer(t, Config{Loops: 1})
	feed, err := s.Hub().NewFeed() // nobody takes from it, so publishes come to a halt
	if err != nil {
		t.Fatal(err)
	}
	port, err := s.Hub().NewPort()
	if err != nil {
		t.Fatal(err)
	}
	for full := int64(2 * defaultBounds().laneSlots); s.Hub().Snapshot().Total().LaneDepth < full; { // the port's and the feed's
		if err := insist(port, "g", []byte("x")); err != nil && err != ErrBusy {
			t.Fatal(err)
		}
	}
	if err := insist(port, "g", []byte("x")); err != ErrBusy {
		t.Fatalf("got %v, want ErrBusy", err)
	}
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	if err := port.PublishWait(canceled, "g", []byte("x"), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want the context's error", err)
	}
	if err := port.PublishWait(canceled, "", nil, nil); err != ErrBadGroup {
		t.Errorf("got %v, want ErrBadGroup", err)
	}
	const waiters = 10
	done := make(chan error, waiters)
	for range waiters {
		go func() { done <- port.PublishWait(within(t), "g", []byte("y"), nil) }()
	}
	if s.Hub().Snapshot().Total().LaneDepth == 0 {
		t.Error("lane depth with a feed that nobody takes from: got 0")
	}
	feed.Close()
	feed.Close()
	for range waiters {
		if err := <-done; err != nil {
			t.Errorf("a waiter: got %v", err)
		}
	}
	for err = nil; err == nil; { // what had come before the end may still be taken
		_, err = feed.Take(within(t), nil)
	}
	if err != ErrClosed {
		t.Errorf("a feed that is closed: got %v, want ErrClosed", err)
	}
	again, err := s.Hub().NewFeed()
	if err != nil {
		t.Fatalf("a feed after the first was closed: got %v", err)
	}
	again.Close()
}

// Ports and feeds come and go, more of them than there are places, while others publish and with something still in their lanes.
func TestPortsThatAreClosedUnderLoadGiveTheirPlacesBack(t *testing.T) {
	s := startServer(t, Config{Loops: 3})
	ctx := within(t)
	accepted, over := make(chan uint64), make(chan struct{})
	others, err := s.Hub().NewPort()
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		var n uint64
		for i := 0; ; i++ {
			select {
			case <-over:
				accepted <- n
				return
			default:
				if insist(others, fmt.Sprint("g", i%7), []byte("load")) == nil {
					n++
				}
			}
		}
	}()
	var said uint64
	publish := func(p *Port, i int) {
		for j := range 20 {
			if err := insist(p, fmt.Sprint("g", (i+j)%7), []byte("x")); err == nil {
				said++
			} else if err != ErrBusy {
				t.Fatal(err)
			}
		}
	}
	for i := range 3 * order.PortsMax {
		if i%4 == 0 {
			feed, err := s.Hub().NewFeed()
			for ; err == ErrTooManyPorts && ctx.Err() == nil; feed, err = s.Hub().NewFeed() {
				runtime.Gosched() // what was closed before is put in order now
			}
			if err != nil {
				t.Fatalf("feed %d: %v", i, err)
			}
			publish(feed.Port, i)
			feed.Close() // nothing was taken from it
			continue
		}
		p, err := s.Hub().NewPort()
		for ; err == ErrTooManyPorts && ctx.Err() == nil; p, err = s.Hub().NewPort() {
			runtime.Gosched()
		}
		if err != nil {
			t.Fatalf("port %d: %v", i, err)
		}
		publish(p, i)
		p.Close()
	}
	close(over)
	said += <-accepted
	for s.Hub().Snapshot().Total().Published < said && ctx.Err() == nil {
		runtime.Gosched()
	}
	if got := s.Hub().Snapshot().Total().Published; got != said {
		t.Errorf("put in order: got %d, want all %d that were accepted", got, said)
	}
}

func TestAFeedAndItsWaitersEndWithTheServer(t *testing.T) {
	s := startServer(t, Config{Loops: 2})
	feed, err := s.Hub().NewFeed()
	if err != nil {
		t.Fatal(err)
	}
	if err := offer(feed.Port, "g", []byte("last")); err != nil {
		t.Fatal(err)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- s.Stop(within(t), nil) }()
	got, err := feed.Take(within(t), nil)
	if err != nil || len(got) != 1 || string(got[0].Message) != "last" {
		t.Errorf("got %+v, %v", got, err)
	}
	if err := <-stopped; err != nil {
		t.Errorf("stop: got %v", err)
	}
	if _, err := feed.Take(within(t), nil); err != ErrStopping {
		t.Errorf("got %v, want ErrStopping", err)
	}
	if err := feed.PublishWait(within(t), "g", []byte("x"), nil); err != ErrStopping {
		t.Errorf("got %v, want ErrStopping", err)
	}
}
