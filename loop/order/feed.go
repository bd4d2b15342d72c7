package order

import (
	"context"
	"errors"
	"math/bits"
	"unsafe"
)

// Feed hears of every publish that is accepted, from clients and ports alike, each group's in the order that its members
// see: for a bus that carries groups to other programs. It is a port too; what is published through it with a token comes
// out of it with that token, so that its owner knows its own again.
//
//	home ──► feed's lane from that home ──► Take
//
// These are down lanes in the sense of lane.go: serving one never needs room in any lane, as long as whoever calls Take
// waits for none between two calls. A home that finds one full leaves the request where it is, so a feed that is not
// taken from holds up every publish; a feed that is closed none.
//
// One goroutine calls Take; the port's methods and Close are any goroutine's.
type Feed[G Part, C comparable] struct {
	*Port[G, C]

	lanes []*lane[heard] // from each home
	bell  bell           // whose word has a bit per home whose lane has items
	awake chan struct{}  // the wake-up; capacity 1

	// Take only.
	left uint64 // bit per home whose lane was not taken from to its end
	next int    // the home whose lane comes first
}

// Publication is one accepted publish, as a feed hears it.
type Publication struct {
	Group   string
	Message []byte // what members receive; shared with them, so it must not be written
	Seq     uint64 // its number in the group, 0 where nobody on this server is in the group
	Token   any    // as given to PublishWait, nil for what came another way
}

// heard is what lies in a feed's lanes.
type heard struct {
	message *Message
	token   any
}

// bytes is what it counts against its lane's bound.
func (h *heard) bytes() int { return heardBytes + h.message.Bytes() }

const heardBytes = int(unsafe.Sizeof(heard{}))

// ErrFeedTaken says that there is a feed already. One is enough: each more would be one more that can hold up all publishes.
var ErrFeedTaken = errors.New("the hub has a feed already")

// NewFeed makes the feed, which hears of what is accepted from now on. It has to be taken from until it is closed.
func (hs *Homes[G, C]) NewFeed() (*Feed[G, C], error) {
	if hs.feed.Load() != nil {
		return nil, ErrFeedTaken
	}
	port, err := hs.NewPort()
	if err != nil {
		return nil, err
	}
	t := &Feed[G, C]{Port: port, awake: make(chan struct{}, 1)}
	for range hs.homes {
		t.lanes = append(t.lanes, newLane[heard](hs.config.LaneSlots, hs.config.LaneBytes))
	}
	if !hs.feed.CompareAndSwap(nil, t) {
		port.Close()
		return nil, ErrFeedTaken
	}
	return t, nil
}

// Close ends the feed and its port: what it has not given out yet is forgotten, and no publish waits for it any more.
func (t *Feed[G, C]) Close() {
	t.Port.Close()
	if !t.all.feed.CompareAndSwap(t, nil) {
		return
	}
	for i, h := range t.all.homes {
		h.drained.Store(true) // a request may wait for room in a lane that there is no more
		t.all.env.Wake(i)
	}
}

// Take appends what was published to into, and waits while there is nothing. The error is ctx's, or ErrStopping when the
// loops have ended.
func (t *Feed[G, C]) Take(ctx context.Context, into []Publication) ([]Publication, error) {
	for {
		if got := t.Collect(into, takeMax); len(got) > len(into) {
			return got, nil
		}
		var err error
		select {
		case <-t.awake:
			continue
		case <-ctx.Done():
			err = ctx.Err()
		case <-t.all.env.Ended:
			err = ErrStopping
		}
		// The last may have come after the look above and before the end: where both are there, select takes either.
		if got := t.Collect(into, takeMax); len(got) > len(into) {
			return got, nil
		}
		return into, err
	}
}

// takeMax bounds the publications that one Take returns.
const takeMax = 256

// Awake has a token when something may have come since the last look.
func (t *Feed[G, C]) Awake() <-chan struct{} { return t.awake }

// Collect appends at most max of what lies in the lanes, and does not wait. What is left is for the next call, which nobody
// is woken for. Called by the goroutine that calls Take.
func (t *Feed[G, C]) Collect(into []Publication, max int) []Publication {
	t.bell.answer()
	todo := take(&t.bell.down) | t.left
	t.left = 0
	// Another home comes first each time: one that fills its lane as fast as it is emptied would leave the others nothing.
	t.next = (t.next + 1) % len(t.lanes)
	for todo = bits.RotateLeft64(todo, -t.next); todo != 0; todo &= todo - 1 {
		from := (bits.TrailingZeros64(todo) + t.next) % 64
		lane, drained := t.lanes[from], 0
		for n := lane.len(); n > 0; n-- {
			if max == 0 {
				t.left |= 1 << from
				break
			}
			h := *lane.front()
			lane.done(h.bytes())
			into = append(into, Publication{Group: h.message.Group, Message: h.message.Payload(), Seq: h.message.Offset, Token: h.token})
			drained, max = drained+1, max-1
		}
		if drained > 0 && lane.takeAwaited() {
			t.all.homes[from].drained.Store(true)
			t.all.env.Wake(from)
		}
	}
	return into
}

// The home's side. A home without a feed has none of this.

// hearing is what the feed is to hear of r.
func hearing[G Part, C comparable](r *Request[G, C]) heard {
	h := heard{message: r.Message}
	if r.via != nil {
		h.token = r.via.token
	}
	return h
}

// fits asks for room in a home's lane to the feed, and asks to be called when there is none.
func (t *Feed[G, C]) fits(home int, p *heard) bool {
	return t.lanes[home].fits(p.bytes()) || t.lanes[home].await(p.bytes())
}

// hear hands over a publish for which there is room, and wakes who takes.
func (t *Feed[G, C]) hear(home int, p heard) {
	t.lanes[home].send(p, p.bytes())
	note(&t.bell.down, home)
	if t.bell.mustWake() {
		select {
		case t.awake <- struct{}{}:
		default: // one of before is still there, and does as well
		}
	}
}
