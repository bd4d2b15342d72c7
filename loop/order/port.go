package order

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
)

// Port is by what a goroutine that is no loop publishes, such as an HTTP handler or a bus. It has up lanes of its own, so its
// messages are put in order as those of clients are. What one goroutine publishes to a group stays in its order. It hosts the home itself
// if nobody does at that moment, see hosting.go.
//
// Owner: any goroutine may call every method. Each lane has a lock, so publishes to groups of different homes do not contend.
type Port[G Part, C Client] struct {
	all    *Homes[G, C]
	bit    int
	inlet  bool             // an Inlet's
	up     []portLane[G, C] // by home
	closed atomic.Bool      // written with all lanes locked
	gone   chan struct{}    // closed when closed is set
}

// portLane is a port's lane to one home.
type portLane[G Part, C Client] struct {
	mu   sync.Mutex
	lane *lane[Request[G, C]] // its producer is the goroutine that has locked mu
	room chan struct{}        // gets a token when room was made that a publish waits for; capacity 1
}

// PortsMax bounds the open ports of a table: a home has a 64-bit set of them. Beyond it NewPort returns ErrTooManyPorts.
const PortsMax = 64

// Errors of a port's methods. Nothing was accepted when one is returned, except where a method says so.
var (
	ErrBusy         = errors.New("busy: the lane to the group's home is full, too much of the group is on its way, or memory is short; try again")
	ErrStopping     = errors.New("the server is stopping or has stopped")
	ErrBadGroup     = errors.New("a group's name has 1 to 255 bytes of UTF-8, or as many as the server allows")
	ErrBadMessage   = errors.New("a message is UTF-8, of at most the server's message bound")
	ErrBadKey       = errors.New("a key has at most 255 bytes")
	ErrTooManyPorts = errors.New("all ports of this hub are taken")
	ErrClosed       = errors.New("the port is closed")
)

// NewPort opens a port; the caller closes it. There are at most PortsMax, and each costs some 25 KB a loop, so a program has one
// for each part of it that publishes (the HTTP side, a bus), not one for each request. A closed port makes room for another when
// its lanes are empty. The error is ErrTooManyPorts.
func (hs *Homes[G, C]) NewPort() (*Port[G, C], error) { return hs.newPort(false) }

func (hs *Homes[G, C]) newPort(inlet bool) (*Port[G, C], error) {
	p := &Port[G, C]{all: hs, inlet: inlet, up: make([]portLane[G, C], len(hs.homes)), gone: make(chan struct{})}
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

// over says whether a port is closed and its lanes are empty: no home will look into them again.
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

// Close closes the port. What was accepted is still put in order. Publishes that wait for room return ErrClosed, as do all from
// now on. A second Close does nothing.
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

// PublishWait publishes a text to a group. It waits for room where the lane is full, and not for the home: nil says that the message was
// accepted, and from then on it is in the group's order and reaches every member that is not slow. While too much of the group is in
// flight (flow.go) it waits in the lane, and what was published through this port to groups of the same home waits behind it. Its errors
// are ErrBusy, only where memory is short, ErrBadGroup, ErrBadMessage, ctx's error when that ends first, ErrClosed, and ErrStopping.
// token comes out of the feed with the message; nil: none. No other argument is kept.
func (p *Port[G, C]) PublishWait(ctx context.Context, group string, message []byte, token any) error {
	w, err := p.Waiter(group, message, token)
	if err != nil {
		return err
	}
	return p.wait(ctx, w.home, &w.request)
}

// wait sends a request, for which it waits for room.
func (p *Port[G, C]) wait(ctx context.Context, home int, r *Request[G, C]) error {
	sent, err := p.offer(home, r, true)
	if sent || err != nil {
		return err
	}
	lane := &p.up[home]
	defer lane.roomMade() // one token was given, and more publishes may wait
	for !sent && err == nil {
		select {
		case <-lane.room:
			sent, err = p.offer(home, r, true)
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

// Waiter is a publish that may have to wait for room, for a caller that waits for other things too. After each token of Room the
// caller calls Offer, until it was sent.
//
// Owner: one goroutine.
type Waiter[G Part, C Client] struct {
	port    *Port[G, C]
	home    int
	request Request[G, C]
}

// Waiter makes a publish, which its caller then offers. The error is that of Env.Accepts; arguments are those of PublishWait.
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

// Room gets a token when there may be room again. All waiters of a port and home share it, so each token is for one of them.
func (w *Waiter[G, C]) Room() <-chan struct{} { return w.port.up[w.home].room }

// Offer sends the publish if there is room; if not, Room gets a token when there is. Errors are those of PublishWait.
func (w *Waiter[G, C]) Offer() (sent bool, err error) { return w.port.offer(w.home, &w.request, true) }

// request is the request of a publish, or the error of Env.Accepts.
func (p *Port[G, C]) request(group string, message []byte) (r Request[G, C], err error) {
	if err := p.all.env.Accepts(group, message); err != nil {
		return r, err
	}
	r.Op = OpPublish
	r.Message, _ = NewMessage(borrowBytes(group), message, nil, false)
	return r, nil
}

// offer sends r if there is room, and has the home serve it. waits: if there is none, room gets a token when there is.
func (p *Port[G, C]) offer(home int, r *Request[G, C], waits bool) (sent bool, err error) {
	if sent, err = p.put(home, r, waits); sent {
		if r.Op == OpPublish && p.all.env.Offered != nil {
			p.all.env.Offered(r.Message)
		}
		p.all.host(home)
	}
	return sent, err
}

// put puts r into the lane if there is room.
func (p *Port[G, C]) put(home int, r *Request[G, C], waits bool) (sent bool, err error) {
	bytes, l := r.Bytes(), &p.up[home]
	l.mu.Lock()
	defer l.mu.Unlock()
	if p.closed.Load() {
		return false, ErrClosed
	}
	if err := p.admit(home, r); err != nil {
		return false, err
	}
	if !l.lane.fits(bytes) && (!waits || !l.lane.await(bytes)) {
		return false, nil
	}
	l.lane.send(*r, bytes)
	note(&p.all.homes[home].freshPort, p.bit)
	return true, nil
}

// admit is why the port may not say something now. What an inlet says has been put in order already.
func (p *Port[G, C]) admit(home int, r *Request[G, C]) error {
	switch {
	case !p.inlet:
		return p.all.env.Admit(home, r.Op == OpPublish)
	case p.all.sealed.Load():
		return ErrStopping
	}
	return nil
}

// roomMade wakes one of the publishes that wait for room in the lane; that one wakes the next. Any goroutine.
func (l *portLane[G, C]) roomMade() {
	select {
	case l.room <- struct{}{}:
	default:
	}
}

// quiesce returns when no offer is under way that began before the call.
func (p *Port[G, C]) quiesce() {
	for i := range p.up {
		p.up[i].mu.Lock()
		p.up[i].mu.Unlock() //lint:ignore SA2001 an offer that had locked it is over
	}
}
