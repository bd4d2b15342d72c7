package order

import (
	"math/bits"
	"sync/atomic"
)

// Lanes is one loop's ends of its lanes, and what it has to do with homes.
//
// Owner: who holds the loop's shard, except for the bell: most often the loop, for a moment another one that serves what lies in its
// down lanes.
type Lanes[G Part, C Client] struct {
	// Immutable after start.
	index int
	all   *Homes[G, C]
	up    []*lane[Request[G, C]]  // to each home, this loop being the only producer
	down  []*lane[Delivery[G, C]] // from each home, this loop being the only consumer

	// Any goroutine.
	bell bell
	_    [CacheLine]byte

	// Any goroutine (atomic); who holds the loop's shard alone writes through.
	through atomic.Uint64 // bytes of deliveries that were drained and are not gathered any more, since the start
	awaited atomic.Uint64 // bit per home that waits for through to grow, see Home.await
	_       [CacheLine]byte

	// Who holds the loop's shard only.
	drained uint64      // bytes of deliveries, since the start
	toHost  uint64      // bit per home to which this loop has sent a request, or whose down lane it has made room in
	toWake  uint64      // bit per loop for WakeOthers: it has to be woken
	given   uint64      // likewise: it has something in a down lane
	left    uint64      // bit per down lane that was not drained to its end
	hosted  *Home[G, C] // the home that this loop holds, nil: none
}

// Offer sends a request to a home, which the next Host serves. False: the lane has no room, nothing was sent, and the loop is
// woken when there is. The caller offers again then, or refuses what was asked; it keeps requests to one home in order.
func (l *Lanes[G, C]) Offer(home int, r Request[G, C]) bool {
	bytes, lane := r.Bytes(), l.up[home]
	if !lane.fits(bytes) && !lane.await(bytes) {
		return false
	}
	lane.send(r, bytes)
	note(&l.all.homes[home].fresh, l.index)
	l.toHost |= 1 << home
	return true
}

// Host serves the homes that this loop has sent something to, and the home of its own index, for which ports wake this loop.
// moved: something was done. busy: other loops kept one of the homes busy, which is left to a later call that the caller owes.
func (l *Lanes[G, C]) Host() (moved, busy bool) {
	todo := l.toHost
	l.toHost = 0
	if l.all.homes[l.index].called() {
		todo |= 1 << l.index
	}
	for ; todo != 0; todo &= todo - 1 {
		home := bits.TrailingZeros64(todo)
		m, b := l.host(home)
		if moved = moved || m; b {
			l.toHost |= 1 << home
			busy = true
		}
	}
	return moved, busy
}

// host serves a home on this loop, unless another loop does at this moment. That one looks for requests again after it has let
// go, so none is left lying: a loop first notes its request, then tries to hold; the other first lets go, then looks.
func (l *Lanes[G, C]) host(index int) (moved, busy bool) {
	h := l.all.homes[index]
	for round := 1; h.called() && h.tryHold(); round++ {
		l.hosted = h
		moved = h.serve() || moved
		toWake, given := h.takeWake()
		l.toWake, l.given = l.toWake|toWake, l.given|given
		l.letGo()
		if round == hostRoundsMax { // other loops keep it busy, and this one has clients of its own
			return moved, h.called()
		}
	}
	return moved, false
}

// hostRoundsMax bounds the rounds for which a loop serves one home while other loops send it more.
const hostRoundsMax = 8

func (l *Lanes[G, C]) letGo() {
	h := l.hosted
	l.hosted = nil
	h.letGo()
}

// Drain takes what lies in the down lanes and calls deliver with each item, once even if deliver panics. It stops when deliver
// returns false, or in front of an item to which may says no; nil: it is not asked. The rest is left to the next call, which the
// caller owes. deliver must not call Offer, see lane. moved: deliver was called.
func (l *Lanes[G, C]) Drain(may func(*Delivery[G, C]) bool, deliver func(Delivery[G, C]) (more bool)) (moved bool) {
	todo, more := take(&l.bell.down)|l.left, true
	l.left = 0
	for ; todo != 0; todo &= todo - 1 {
		from := bits.TrailingZeros64(todo)
		if !more {
			l.left |= 1 << from
			continue
		}
		lane, drained := l.down[from], 0
		for n := lane.len(); n > 0; n-- {
			if !more {
				l.left |= 1 << from
				break
			}
			front := lane.front()
			if may != nil && !may(front) {
				l.left |= 1 << from
				more = false
				break
			}
			d := *front
			bytes := d.Bytes()
			l.drained += uint64(bytes)
			lane.done(bytes) // before it is acted on: should that panic, it must not be done twice
			more = deliver(d)
			drained++
		}
		if drained > 0 && lane.takeAwaited() {
			l.all.homes[from].roomMade.Store(true)
			l.toHost |= 1 << from
		}
		moved = moved || drained > 0
	}
	return moved
}

// WakeOthers wakes the loops to which the homes that this loop has hosted have sent something, and those that wait for room in
// an up lane. For a loop that was sent something for few members, and no more, it asks serve first, which may see to it that no wake-up
// is needed.
// This loop is not woken: its caller repeats Host and Drain until nothing moves.
func (l *Lanes[G, C]) WakeOthers(serve func(loop int) (served bool)) {
	todo, given := l.toWake&^(1<<l.index), l.given&^(1<<l.index)
	l.toWake, l.given = 0, 0
	given &^= todo
	for ; todo != 0; todo &= todo - 1 {
		l.all.env.Wake(bits.TrailingZeros64(todo))
	}
	for ; given != 0; given &= given - 1 {
		if loop := bits.TrailingZeros64(given); !serve(loop) {
			l.all.env.Wake(loop)
		}
	}
}

// Called says whether something lies in the down lanes that nobody has looked at. Any goroutine.
func (l *Lanes[G, C]) Called() bool { return l.bell.down.Load() != 0 }

// Waiting is the number of items that lie there.
func (l *Lanes[G, C]) Waiting() (items int) {
	for todo := l.bell.down.Load(); todo != 0; todo &= todo - 1 {
		items += l.down[bits.TrailingZeros64(todo)].len()
	}
	return items
}

// Idle says whether the loop has no home to host and has drained every lane to its end.
func (l *Lanes[G, C]) Idle() bool { return l.toHost == 0 && l.left == 0 }

// Survive is called after a panic in Host or Drain. It drops the request that was being served. Which bits of the bell had been
// taken is not known any more, so the next Host and Drain, which the caller owes, look at all lanes.
func (l *Lanes[G, C]) Survive() {
	if l.hosted != nil {
		l.hosted.dropServing()
		l.letGo()
	}
	l.left = uint64(1)<<len(l.all.homes) - 1 // also right for 64
	l.toHost = l.left
	for _, h := range l.all.homes { // a home's note that it waits for room may be among what was lost
		h.roomMade.Store(true)
	}
}

// MustWake says whether a caller that wants the loop woken has to send the wake-up; false: one is under way. Any goroutine.
func (l *Lanes[G, C]) MustWake() bool { return l.bell.mustWake() }

// Waking says whether a wake-up is under way to the loop, which looks at its lanes then. Any goroutine.
func (l *Lanes[G, C]) Waking() bool { return l.bell.waking.Load() }

// Woken is called by the loop when a wake-up has come, before it calls Host and Drain.
func (l *Lanes[G, C]) Woken() { l.bell.woken() }
