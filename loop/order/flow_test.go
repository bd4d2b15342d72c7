package order

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// Who waits for the number of its message is refused; whoever was accepted already is held back until passes have taken enough, and
// all that it has published comes in its order.
func TestAPortsPublishToALoudGroupIsHeldBackOrRefused(t *testing.T) {
	hs := newTable(2, 256)
	p, err := hs.NewPort()
	if err != nil {
		t.Fatal(err)
	}
	group := part{name: "1g"}
	member := hs.Lanes(0)
	member.Offer(1, Request[*part, *int]{Op: OpJoin, Local: &group})
	member.Host()
	heardBy(member)
	tooLoud := 0
	hs.OnTooLoud(func(int, *Message) { tooLoud++ })
	const messages, size = 12, 100 << 10
	for i := range messages {
		if err := p.Publish("1g", fmt.Appendf(nil, "%02d%s", i, strings.Repeat("x", size))); err != nil {
			t.Fatal(err)
		}
		hs.Lanes(1).Host()
	}
	bytes, _ := NewMessage([]byte("1g"), make([]byte, size+2), nil, false)
	var texts []string
	gathered := 0
	for round := 0; len(texts) < messages; round++ {
		got := heardBy(member)
		if n := len(got) * bytes.Bytes(); n > hs.config.FlightBytes/2 {
			t.Errorf("round %d: got %d bytes in flight, bound %d", round, n, hs.config.FlightBytes/2)
		}
		texts, gathered = append(texts, got...), gathered+len(got)*bytes.Bytes()
		if round == 0 { // nothing was taken yet
			member.Through(gathered)
			member.Host()
			if got := heardBy(member); len(got) > 0 {
				t.Errorf("got %d messages beyond what may be in flight", len(got))
			}
		}
		group.flow.Taken(gathered)
		if gathered = 0; !member.Through(0) && len(texts) < messages {
			t.Fatal("passes took all that there was, and the home that holds the rest back was not called")
		}
		member.Host()
	}
	for i, text := range texts {
		if text[:2] != fmt.Sprintf("%02d", i) {
			t.Errorf("message %d: got number %s", i, text[:2])
		}
	}
	if tooLoud != 0 {
		t.Errorf("%d publishes were refused, want none", tooLoud)
	}

	// Now nothing is in flight, and one message has all that may be.
	refused := make(chan error, 1)
	if err := p.Publish("1g", make([]byte, hs.config.FlightBytes/2)); err != nil {
		t.Fatal(err)
	}
	go func() {
		_, err := p.PublishSeq(context.Background(), "1g", make([]byte, size))
		refused <- err
	}()
	for len(refused) == 0 {
		hs.Lanes(1).Host()
		runtime.Gosched()
	}
	if err := <-refused; err != ErrBusy || tooLoud != 1 {
		t.Errorf("got %v and %d refused, want ErrBusy and one", err, tooLoud)
	}
}

// Between the look that says that too much is in flight and the note that the home waits, the loop may have taken it all. It then
// calls nobody, so the home must look once more.
func TestAHomeThatWaitsForLessInFlightLooksOnceMore(t *testing.T) {
	hs := newTable(2, 256)
	group := part{name: "1g"}
	member := hs.Lanes(0)
	member.Offer(1, Request[*part, *int]{Op: OpJoin, Local: &group})
	member.Host()
	heardBy(member)
	big := publishTo("1g", strings.Repeat("x", hs.config.FlightBytes/2))
	member.Offer(1, big)
	member.Host()
	heardBy(member)
	home, bytes := hs.Home(1), big.Message.Bytes()
	hg := home.groups.Get("1g")
	if home.open(hg, bytes) {
		t.Fatal("a second message is admitted; two are more than may be in flight")
	}
	group.flow.Taken(bytes)
	if member.Through(0) {
		t.Fatal("the loop calls a home that does not wait")
	}
	if !home.await(hg, bytes) {
		t.Error("the home waits for what the loop has taken already, and will not be called")
	}
}
