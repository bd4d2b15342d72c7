package loop

import (
	"context"
	"errors"
	"sync"
	"unicode/utf8"
)

// Port is the way into the lanes for a goroutine that is no loop: an HTTP handler, a bus. It has up lanes of its own,
// so what comes through a port takes the same road as a client's publish, and is put in the same order. A port is safe
// for use by many goroutines, one at a time; what one goroutine publishes to a group stays in its order.
type Port struct {
	hub *Hub
	bit int

	mu sync.Mutex
	up []*lane[request] // mu: whoever holds it is the producer

	room []chan struct{} // by home: room was made in a lane that somebody waits for; capacity 1
}

// portsMax bounds the ports of a hub; a bell has one word of bits for them.
const portsMax = 64

// Errors of a port's methods. Nothing was accepted when one is returned, with the one exception of a context's error
// from PublishSeq.
var (
	ErrBusy         = errors.New("busy: the lane to the group's home is full, or memory is short; try again")
	ErrStopping     = errors.New("the server is stopping or has stopped")
	ErrBadGroup     = errors.New("a group's name has 1 to 255 bytes of UTF-8, or as many as the server allows")
	ErrBadMessage   = errors.New("a message is UTF-8, of at most the server's message bound")
	ErrTooManyPorts = errors.New("all ports of this hub are taken")
)

// NewPort makes a port, for as long as the hub lives. A hub has at most 64; they cost some 25 KB a loop, so make one per
// role (the HTTP side, a bus), not one per request.
func (h *Hub) NewPort() (*Port, error) {
	bit := int(h.portCount.Add(1)) - 1
	if bit >= portsMax {
		h.portCount.Add(-1)
		return nil, ErrTooManyPorts
	}
	p := &Port{hub: h, bit: bit}
	b := h.bounds.Load()
	for range h.shards {
		p.up = append(p.up, newLane[request](b.laneSlots, b.laneBytes))
		p.room = append(p.room, make(chan struct{}, 1))
	}
	h.ports[bit].Store(p)
	return p, nil
}

// Publish sends message to every member of group and returns once it is accepted: from then on it is in the group's
// order and reaches every member that keeps up. ErrBusy is an answer for the caller's own client (HTTP 503), not a
// fault. Neither argument is kept.
func (p *Port) Publish(group string, message []byte) error {
	return p.publish(group, message, nil)
}

// PublishWait is Publish for who would rather wait than be told that a lane is full: it returns once there was room, or
// with ctx's error; with ErrBusy only where memory is short. token comes out of the hub's feed with the message; nil: none.
func (p *Port) PublishWait(ctx context.Context, group string, message []byte, token any) error {
	r, err := p.request(group, message)
	if err != nil {
		return err
	}
	if token != nil {
		r.via = &via{token: token}
	}
	home := p.hub.homeOf(group)
	sent, err := p.offer(home, &r, true)
	if sent || err != nil {
		return err
	}
	defer p.roomMade(home) // there was one wake-up, and more may wait
	for !sent && err == nil {
		select {
		case <-p.room[home]:
			sent, err = p.offer(home, &r, true)
		case <-ctx.Done():
			err = ctx.Err()
		case <-p.hub.ended:
			err = ErrStopping
		}
	}
	return err
}

// PublishSeq is Publish that waits for the message's number in the group: 1 for the first since the group's first
// member joined, 0 when the group has no members anywhere. A context's error means that the message was accepted and
// only its number is unknown.
func (p *Port) PublishSeq(ctx context.Context, group string, message []byte) (uint64, error) {
	result := make(chan uint64, 1)
	if err := p.publish(group, message, &via{result: result}); err != nil {
		return 0, err
	}
	select {
	case seq := <-result:
		return seq, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-p.hub.ended:
		return 0, ErrStopping
	}
}

func (p *Port) publish(group string, message []byte, via *via) error {
	r, err := p.request(group, message)
	if err != nil {
		return err
	}
	r.via = via
	home := p.hub.homeOf(group)
	sent, err := p.offer(home, &r, false)
	if err == nil && !sent {
		count(&p.hub.shards[home].count.RefusedBy, refusedBusy)
		p.hub.shards[home].count.RefusedPublishes.Add(1)
		return ErrBusy
	}
	return err
}

// request is a publish that is fit to be sent.
func (p *Port) request(group string, message []byte) (request, error) {
	if len(group) == 0 || len(group) > p.hub.bounds.Load().GroupBytesMax || !utf8.ValidString(group) {
		return request{}, ErrBadGroup
	}
	if len(message) > p.hub.bounds.Load().MessageBytesMax || !utf8.Valid(message) {
		return request{}, ErrBadMessage
	}
	return newPublish(borrowBytes(group), message, nil), nil
}

// offer sends r if there is room. waits: if not, room is given a token when there is.
func (p *Port) offer(home int, r *request, waits bool) (sent bool, err error) {
	bytes := r.bytes()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.hub.stopping.Load() {
		return false, ErrStopping
	}
	if p.hub.pressure.Load() != pressureNone {
		count(&p.hub.shards[home].count.RefusedBy, refusedMemory)
		p.hub.shards[home].count.RefusedPublishes.Add(1)
		return false, ErrBusy
	}
	if !p.up[home].fits(bytes) && (!waits || !p.up[home].await(bytes)) {
		return false, nil
	}
	p.up[home].send(*r, bytes)
	note(&p.hub.shards[home].home.freshPort, p.bit)
	p.hub.wake(home)
	return true, nil
}

// roomMade wakes one of those who wait for room in a lane; it wakes the next. Any goroutine.
func (p *Port) roomMade(home int) {
	select {
	case p.room[home] <- struct{}{}:
	default:
	}
}

// quiesce returns when no publish is under way that began before the call.
func (p *Port) quiesce() {
	p.mu.Lock()
	defer p.mu.Unlock()
}
