package order

import (
	"fmt"
	"testing"
)

// part is a loop's part of a group, of which there is nothing but what a home asks for.
type part struct {
	name string
	flow Flow
}

func (p *part) GroupName() string { return p.name }
func (p *part) Flow() *Flow       { return &p.flow }

// asker is a client, of which there is nothing but its number.
type asker uint64

func (a *asker) Number() uint64 { return uint64(*a) }

type table = Homes[*part, *asker]

// newTable has small lanes; a group's home is the loop that its first digit names.
func newTable(loops, laneSlots int) *table {
	hs := New[*part, *asker](Config{Loops: loops, LaneSlots: laneSlots, LaneBytes: 1 << 20, FlightBytes: 1 << 20, FlightMin: 1 << 10, PresentMax: 10}, Env{
		Wake:    func(int) {},
		Bounds:  func(string) (int, int) { return 0, 0 },
		Admit:   func(int, bool) error { return nil },
		Busy:    func(int) {},
		TooLoud: func(int, *Message) {},
		Accepts: func(string, []byte) error { return nil },
		Ended:   make(chan struct{}),
	})
	hs.Hash = func(group string) uint64 { return uint64(group[0] - '0') }
	return hs
}

func publishTo(group, text string) Request[*part, *asker] {
	m, _ := NewMessage([]byte(group), []byte(text), nil, false)
	return Request[*part, *asker]{Op: OpPublish, Message: m}
}

// heardBy drains what has come down to a loop.
func heardBy(l *Lanes[*part, *asker]) (texts []string) {
	l.Drain(nil, func(d Delivery[*part, *asker]) bool {
		if d.Op == OpMessage && d.Local != nil {
			texts = append(texts, string(d.Message.Payload()))
		}
		return true
	})
	return texts
}

// Where room is scarce, the loop that is served first would take all of it.
func TestAHomeServesAnotherLoopFirstEachTime(t *testing.T) {
	hs := newTable(3, 2)
	group := part{name: "1g"}
	member := hs.Lanes(0)
	member.Offer(1, Request[*part, *asker]{Op: OpJoin, Local: &group})
	member.Host()
	heardBy(member)
	h := hs.Home(1)
	before := h.next
	for loop := range 3 {
		for range 2 {
			if !hs.Lanes(loop).Offer(1, publishTo("1g", fmt.Sprint(loop))) {
				t.Fatal("the up lane is full, want room for two")
			}
		}
	}
	var got []string
	for range 6 {
		member.ToHost(1)
		member.Host()
		got = append(got, heardBy(member)...)
	}
	var want []string
	for i := range 3 {
		loop := fmt.Sprint((before + 1 + i) % 3)
		want = append(want, loop, loop)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// While a home's requests are served another loop sends one more each time, as one that runs beside would.
func TestALoopLetsGoOfAHomeThatOthersKeepBusy(t *testing.T) {
	const requests = 10 * hostRoundsMax
	hs := newTable(2, 256)
	l, other, busy := hs.Lanes(0), hs.Lanes(1), hs.Home(1)
	group, sent := part{name: "1g"}, 0
	send := func() {
		if sent++; !other.Offer(1, Request[*part, *asker]{Op: OpJoin, Local: &group}) {
			t.Fatal("the up lane is full, want room")
		}
	}
	hs.env.Bounds = func(string) (int, int) { // asked for each join that is served
		if sent < requests {
			send()
		}
		return 0, 0
	}
	send()
	l.ToHost(1)
	if _, left := l.Host(); !left || sent != 1+hostRoundsMax {
		t.Fatalf("got left %v after %d requests, want it to break off after %d rounds", left, sent-1, hostRoundsMax)
	}
	if l.toHost != 1<<1 || busy.held.Load() {
		t.Errorf("after it has broken off: got homes to host %b and held %v, want the busy one noted and free", l.toHost, busy.held.Load())
	}
}

// offer publishes a text, and does not wait for the home's word.
func offer(p *Port[*part, *asker], group string, text []byte) error {
	_, err := p.Offer(group, Said{Payload: text})
	return err
}
