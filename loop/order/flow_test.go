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
	member.Offer(1, Request[*part, *asker]{Op: OpJoin, Local: &group})
	member.Host()
	heardBy(member)
	tooLoud := 0
	hs.OnTooLoud(func(int, *Message) { tooLoud++ })
	const messages, size = 12, 100 << 10
	for i := range messages {
		if err := insist(p, "1g", fmt.Appendf(nil, "%02d%s", i, strings.Repeat("x", size))); err != nil {
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
	if err := insist(p, "1g", make([]byte, hs.config.FlightBytes/2)); err != nil {
		t.Fatal(err)
	}
	go func() {
		_, err := p.Say(context.Background(), "1g", Said{Payload: make([]byte, size)})
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
	member.Offer(1, Request[*part, *asker]{Op: OpJoin, Local: &group})
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
	if !home.holdBack(hg, bytes, portOrigin(0)) {
		t.Error("the home waits for what the loop has taken already, and will not be called")
	}
}

// Clients' small publishes take what becomes free, one after the other, and each time a large one of a port would find too little.
// It goes before them all the same, and so does what waits behind it, for groups that are not loud.
func TestWhatIsHeldBackGoesBeforeAllOthersOfItsGroup(t *testing.T) {
	hs := newTable(2, 256)
	ports := [2]*Port[*part, *asker]{}
	for i := range ports {
		var err error
		if ports[i], err = hs.NewPort(); err != nil {
			t.Fatal(err)
		}
	}
	group := part{name: "1g"}
	member, sender := hs.Lanes(0), hs.Lanes(1)
	member.Offer(1, Request[*part, *asker]{Op: OpJoin, Local: &group})
	member.Host()
	heardBy(member)
	const small, large = 10 << 10, 100 << 10
	flight := []int{} // of each message that waits at the member
	step := func(take bool) (texts []string) {
		sender.Offer(1, publishTo("1g", strings.Repeat("s", small)))
		sender.Host()
		heardBy(sender) // that it is refused
		for _, text := range heardBy(member) {
			m, _ := NewMessage([]byte("1g"), []byte(text), nil, false)
			flight = append(flight, m.Bytes())
			texts = append(texts, text)
		}
		if take && len(flight) > 0 { // one for each that is offered
			group.flow.Taken(flight[0])
			flight = flight[1:]
		}
		gathered := 0
		for _, bytes := range flight {
			gathered += bytes
		}
		member.Through(gathered)
		member.Host()
		return texts
	}
	for range hs.config.FlightBytes / small {
		step(false)
	}
	for i, p := range ports { // two that are held back: the second waits for the first
		for _, to := range []string{"1g", "1stranger"} {
			if err := insist(p, to, []byte(strings.Repeat(string(rune('A'+i)), large))); err != nil {
				t.Fatal(err)
			}
		}
	}
	before := hs.Home(1).Published()
	heard := map[byte]bool{}
	for round := 0; len(heard) < len(ports); round++ {
		if round == 1000 {
			t.Fatalf("after %d publishes of clients: got %d of %d that were held back", hs.Home(1).Published()-before, len(heard), len(ports))
		}
		for _, text := range step(true) {
			if len(text) == large {
				heard[text[0]] = true
			}
		}
	}
	for round := 0; ports[0].up[1].lane.len()+ports[1].up[1].lane.len() > 0; round++ {
		if step(true); round == 1000 {
			t.Fatal("what was published behind them does not go on")
		}
	}
	if hg := hs.Home(1).groups.Get("1g"); hg.heldBack != 0 {
		t.Errorf("got origin %d as held back, want none any more", hg.heldBack)
	}
}

// insist publishes what cannot be refused once there is room for it in the lane.
func insist(p *Port[*part, *asker], group string, text []byte) error {
	w, err := p.Waiter(group, text, nil)
	if err == nil {
		_, err = w.Offer()
	}
	return err
}
