package order

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
)

// Port is the way into the lanes for a goroutine that is no loop: an HTTP handler, a bus. It has up lanes of its own,
// so what comes through a port takes the same road as a client's publish, and is put in the same order. A port is safe
// for use by many goroutines; what one goroutine publishes to a group stays in its order. Those who publish to groups of
// different homes do not meet.
type Port[G Part, C comparable] struct {
	all    *Homes[G, C]
	bit    int
	up     []portLane[G, C] // by home
	closed atomic.Bool      // changes with all locks held
	gone   chan struct{}    // closed with the port
}

// portLane is a port's lane to one home.
type portLane[G Part, C comparable] struct {
	mu   sync.Mutex
	lane *lane[Request[G, C]] // whoever holds mu is the producer
	room chan struct{}        // room was made, and somebody waits for it; capacity 1
}

// PortsMax bounds the open ports of a table; a home has one word of bits for them.
const PortsMax = 64

// Errors of a port's methods. Nothing was accepted when one is returned, with the one exception of a context's error
// from PublishSeq.
var (
	ErrBusy         = errors.New("busy: the lane to the group's home is full, or memory is short; try again")
	ErrStopping     = errors.New("the server is stopping or has stopped")
	ErrBadGroup     = errors.New("a group's name has 1 to 255 bytes of UTF-8, or as many as the server allows")
	ErrBadMessage   = errors.New("a message is UTF-8, of at most the server's message bound")
	ErrTooManyPorts = errors.New("all ports of this hub are taken")
	ErrClosed       = errors.New("the port is closed")
)

// NewPort makes a port. There are at most 64 open ones; they cost some 25 KB a loop, so make one per role (the HTTP side, a
// bus), not one per request. The place of one that is closed is free when its lanes have been emptied.
func (hs *Homes[G, C]) NewPort() (*Port[G, C], error) {
	p := &Port[G, C]{all: hs, up: make([]portLane[G, C], len(hs.homes)), gone: make(chan struct{})}
	for i := range p.up {
		p.up[i].lane = newLane[Request[G, C]](hs.config.LaneSlots, hs.config.LaneBytes)
		p.up[i].room = make(chan struct{}, 1)
	}
	for bit := range hs.ports {
		p.bit = bit
		if old := hs.ports[bit].Load(); (old == nil || old.over()) && hs.ports[bit].CompareAndSwap(old, p) {
			return p, nil
		}
	}
	return nil, ErrTooManyPorts
}

// over says whether a port is closed and nothing lies in its lanes: no home will look into them again.
func (p *Port[G, C]) over() bool {
	if !p.closed.Load() {
		return false
	}
	for i := range p.up {
		if p.up[i].lane.len() > 0 {
			return false
		}
	}
	return true
}

// Close ends the port. What was accepted is still put in order; whoever waits for room gets ErrClosed, as does everybody
// from now on. A second Close does nothing.
func (p *Port[G, C]) Close() {
	for i := range p.up {
		p.up[i].mu.Lock()
	}
	if !p.closed.Swap(true) {
		close(p.gone)
	}
	for i := range p.up {
		p.up[i].mu.Unlock()
	}
}

// Publish sends message to every member of group and returns once it is accepted: from then on it is in the group's
// order and reaches every member that keeps up. ErrBusy is an answer for the caller's own client (HTTP 503), not a
// fault. Neither argument is kept.
func (p *Port[G, C]) Publish(group string, message []byte) error {
	return p.publish(group, message, nil)
}

// PublishWait is Publish for who would rather wait than be told that a lane is full: it returns once there was room, or
// with ctx's error; with ErrBusy only where memory is short. token comes out of the feed with the message; nil: none.
func (p *Port[G, C]) PublishWait(ctx context.Context, group string, message []byte, token any) error {
	w, err := p.Waiter(group, message, token)
	if err != nil {
		return err
	}
	sent, err := w.Offer()
	if sent || err != nil {
		return err
	}
	lane := &p.up[w.home]
	defer lane.roomMade() // there was one wake-up, and more may wait
	for !sent && err == nil {
		select {
		case <-lane.room:
			sent, err = w.Offer()
		case <-ctx.Done():
			err = ctx.Err()
		case <-p.gone:
			err = ErrClosed
		case <-p.all.env.Ended:
			err = ErrStopping
		}
	}
	return err
}

// Waiter is a publish that waits for room, for who has other things to wait for too.
type Waiter[G Part, C comparable] struct {
	port    *Port[G, C]
	home    int
	request Request[G, C]
}

// Waiter makes a publish that nobody has offered yet. Errors and arguments are those of PublishWait.
func (p *Port[G, C]) Waiter(group string, message []byte, token any) (*Waiter[G, C], error) {
	r, err := p.request(group, message)
	if err != nil {
		return nil, err
	}
	if token != nil {
		r.via = &via{token: token}
	}
	return &Waiter[G, C]{port: p, home: p.all.Of(group), request: r}, nil
}

// Room has a token when there may be room again, for one of those who wait.
func (w *Waiter[G, C]) Room() <-chan struct{} { return w.port.up[w.home].room }

// Offer sends the publish if there is room.
func (w *Waiter[G, C]) Offer() (sent bool, err error) { return w.port.offer(w.home, &w.request, true) }

// PublishSeq is Publish that waits for the message's number in the group: 1 for the first since the group's first
// member joined, 0 when the group has no members anywhere. A context's error means that the message was accepted and
// only its number is unknown.
func (p *Port[G, C]) PublishSeq(ctx context.Context, group string, message []byte) (uint64, error) {
	result := make(chan uint64, 1)
	if err := p.publish(group, message, &via{result: result}); err != nil {
		return 0, err
	}
	select {
	case seq := <-result:
		return seq, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-p.all.env.Ended:
		return 0, ErrStopping
	}
}

func (p *Port[G, C]) publish(group string, message []byte, via *via) error {
	r, err := p.request(group, message)
	if err != nil {
		return err
	}
	r.via = via
	home := p.all.Of(group)
	sent, err := p.offer(home, &r, false)
	if err == nil && !sent {
		p.all.env.Busy(home)
		return ErrBusy
	}
	return err
}

// request is a publish that is fit to be sent.
func (p *Port[G, C]) request(group string, message []byte) (r Request[G, C], err error) {
	if err := p.all.env.Accepts(group, message); err != nil {
		return r, err
	}
	r.Op = OpPublish
	r.Message, _ = NewMessage(borrowBytes(group), message, nil, false)
	return r, nil
}

// offer sends r if there is room. waits: if not, room is given a token when there is.
func (p *Port[G, C]) offer(home int, r *Request[G, C], waits bool) (sent bool, err error) {
	bytes, l := r.Bytes(), &p.up[home]
	l.mu.Lock()
	defer l.mu.Unlock()
	if p.closed.Load() {
		return false, ErrClosed
	}
	if err := p.all.env.Admit(home); err != nil {
		return false, err
	}
	if !l.lane.fits(bytes) && (!waits || !l.lane.await(bytes)) {
		return false, nil
	}
	l.lane.send(*r, bytes)
	note(&p.all.homes[home].freshPort, p.bit)
	p.all.env.Wake(home)
	return true, nil
}

// roomMade wakes one of those who wait for room in the lane; it wakes the next. Any goroutine.
func (l *portLane[G, C]) roomMade() {
	select {
	case l.room <- struct{}{}:
	default:
	}
}

// quiesce returns when no publish is under way that began before the call.
func (p *Port[G, C]) quiesce() {
	for i := range p.up {
		p.up[i].mu.Lock()
		p.up[i].mu.Unlock() //lint:ignore SA2001 whoever held it is through
	}
}
