package order

import (
	"context"
	"errors"
	"math/bits"
	"unsafe"
)

// Feed receives every publish that is accepted, from clients and ports alike, each group's in the order that its members
// see. It is for a bus that carries groups to other programs. It is a Port too: what is published through it with a token comes
// out of it with that token, by which its owner recognizes its own messages.
//
//	home ──► feed's lane from that home ──► Take
//
// The feed's lanes are down lanes in the sense of lane.go: serving one must never need room in any lane. So the goroutine
// that calls Take must not wait for room between two calls. A home that finds a lane of the feed full leaves the request in
// its up lane, so a feed from which nobody takes blocks every publish on the server; a closed feed blocks none.
//
// One goroutine calls Take and Collect; any goroutine may call Close and the port's methods.
type Feed[G Part, C Client] struct {
	*Port[G, C]

	lanes []*lane[heard] // from each home
	bell  bell
	awake chan struct{} // the wake-up; capacity 1

	// The goroutine that calls Take only.
	left uint64 // bit per home whose lane was not drained to its end
	next int    // the home whose lane is drained first
}

// Publication is one accepted publish, as a feed receives it.
type Publication struct {
	Group   string
	Message []byte // the payload that members receive; shared with them, so the caller must not write it
	Seq     uint64 // its number in the group, from 1; 0 when the group has neither members on this server nor history
	Token   any    // as given to PublishWait; nil if it was published without one, or by a client
}

// heard is one item of a feed's lane.
type heard struct {
	message *Message
	token   any
}

// bytes is what the item counts against its lane's bound.
func (h *heard) bytes() int { return heardBytes + h.message.Bytes() }

const heardBytes = int(unsafe.Sizeof(heard{}))

// ErrFeedTaken is NewFeed's error when there is a feed already. A second one would be another that can block all publishes.
var ErrFeedTaken = errors.New("the hub has a feed already")

// NewFeed opens the feed, which receives what is accepted from now on. The caller takes from it until it calls Close. The error
// is ErrFeedTaken, or ErrTooManyPorts as the feed needs a port.
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

// Close closes the feed and its port. What Take has not returned yet is dropped, and no publish waits for the feed any more. A
// second Close does nothing.
func (t *Feed[G, C]) Close() {
	t.Port.Close()
	if !t.all.feed.CompareAndSwap(t, nil) {
		return
	}
	for i, h := range t.all.homes {
		h.roomMade.Store(true) // a request may wait for room in a lane of the feed
		t.all.env.Wake(i)
	}
}

// Take appends publications to into, at most 256 of them, and waits while there is none. The error is ctx's, ErrClosed after
// Close, or ErrStopping when the loops have ended; then nothing was appended.
func (t *Feed[G, C]) Take(ctx context.Context, into []Publication) ([]Publication, error) {
	for {
		if got := t.Collect(into, takeMax); len(got) > len(into) {
			return got, nil
		}
		var err error
		select {
		case <-t.awake:
			continue
		case <-t.gone:
			err = ErrClosed
		case <-ctx.Done():
			err = ctx.Err()
		case <-t.all.env.Ended:
			err = ErrStopping
		}
		// Publications may have come before the end, and after the Collect above: of two ready cases select takes either.
		if got := t.Collect(into, takeMax); len(got) > len(into) {
			return got, nil
		}
		return into, err
	}
}

// takeMax bounds the publications that one Take returns.
const takeMax = 256

// Awake gets a token when something may have come since the last Collect.
func (t *Feed[G, C]) Awake() <-chan struct{} { return t.awake }

// Collect appends at most max publications to into, and does not wait for any. If it returns max of them there may be more, for
// which Awake gets no token: the caller calls again.
func (t *Feed[G, C]) Collect(into []Publication, max int) []Publication {
	t.bell.woken()
	todo := take(&t.bell.down) | t.left
	t.left = 0
	// Start at another home each time: one that fills its lane as fast as it is emptied would leave the others nothing.
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
			t.all.homes[from].roomMade.Store(true)
			t.all.env.Wake(from)
		}
	}
	return into
}

// The rest is called by who holds a home.

// hearing is what the feed receives of r.
func hearing[G Part, C Client](r *Request[G, C]) heard {
	h := heard{message: r.Message}
	if r.via != nil {
		h.token = r.via.token
	}
	return h
}

// fits says whether a home's lane to the feed has room for p. If not, the home is called when it has.
func (t *Feed[G, C]) fits(home int, p *heard) bool {
	return t.lanes[home].fits(p.bytes()) || t.lanes[home].await(p.bytes())
}

// hear sends a publication that fits, and wakes the goroutine that takes.
func (t *Feed[G, C]) hear(home int, p heard) {
	t.lanes[home].send(p, p.bytes())
	note(&t.bell.down, home)
	if t.bell.mustWake() {
		select {
		case t.awake <- struct{}{}:
		default: // an earlier token is still there, and wakes it as well
		}
	}
}
