package order

import (
	"context"
	"errors"
	"testing"
)

// An inlet waits for room as long as its caller wants to, and holds up nobody else.
func TestAnInletWaitsForRoom(t *testing.T) {
	c, _ := clustered(t, 1, 0, 10, 0)
	ctx, cancel := context.WithCancel(context.Background())
	c.hs.homes[0].held.Store(true) // nobody serves its lanes
	for range 256 {                // slots
		c.say("0g", "x")
	}
	said := make(chan error)
	say := func(ctx context.Context) {
		said <- c.inlet.Ordered(ctx, Ordered{Offset: 257, Message: NewOrderedMessage([]byte("0g"), []byte("last"), false, nil)})
	}
	go say(ctx)
	cancel()
	if err := <-said; !errors.Is(err, context.Canceled) {
		t.Errorf("given up: got %v", err)
	}
	go say(context.Background())
	if n := c.hs.Unserved(); n != 0 {
		t.Errorf("got %d requests that are not of inlets, want none", n)
	}
	c.hs.homes[0].held.Store(false)
	c.hs.Lanes(0).Host()
	if err := <-said; err != nil {
		t.Errorf("with room: got %v", err)
	}
	c.hs.Lanes(0).Host()
	if got := c.hs.Home(0).Published(); got != 257 {
		t.Errorf("got %d, want all", got)
	}
}

func TestAnInletEnds(t *testing.T) {
	c, _ := clustered(t, 1, 0, 10, 0)
	c.hs.env.Admit = func(int, bool) error { return ErrStopping }
	c.say("0g", "while the server stops")
	other, err := c.hs.NewInlet()
	c.must(err)
	other.Close()
	other.Close()
	if err := other.Refused(context.Background(), 0, 1, ErrBusy); err != ErrClosed {
		t.Errorf("closed: got %v", err)
	}
	c.hs.Seal()
	if err := c.inlet.Epoch(context.Background(), 0, 9, 9); err != ErrStopping {
		t.Errorf("sealed: got %v", err)
	}
	if got := c.hs.Home(0).Published(); got != 1 {
		t.Errorf("got %d, want what was said before", got)
	}
}

func TestWhatAnInletSaysCountsWhatItHolds(t *testing.T) {
	bytes := func(word any) int {
		r := Request[*part, *asker]{Op: OpRecalled, via: &via{token: word}}
		return r.Bytes()
	}
	m := inLog("0g", 7)
	if got := bytes(&Recalled{Group: "0g", Messages: []*Message{m, m}}) - bytes(&Recalled{}); got != 2+2*m.Bytes() {
		t.Errorf("got %d bytes for two messages of %d", got, m.Bytes())
	}
	if got := bytes(&Ordered{Key: "key"}) - bytes(&Ordered{}); got != 3 {
		t.Errorf("got %d bytes for 3 of a key", got)
	}
}
