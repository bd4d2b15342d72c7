package order

import "math/bits"

// Lanes is one loop's ends of its lanes: what it sends up, what comes down, and the homes that it hosts.
//
// Owner: the loop, except for the bell.
type Lanes[G Part, C comparable] struct {
	// Immutable after start.
	index int
	all   *Homes[G, C]
	up    []*lane[Request[G, C]]  // to each home, this loop being the only producer
	down  []*lane[Delivery[G, C]] // from each home, this loop being the only consumer

	// Any goroutine.
	bell bell
	_    [CacheLine]byte

	// Loop only.
	toHost uint64      // bit per home that was given something by this loop
	toWake uint64      // bit per loop to wake at the end of work
	left   uint64      // bit per down lane that was not drained to its end
	hosted *Home[G, C] // the home that this loop holds, nil: none
}

// Offer puts a request into the up lane to a home. False: it has no room; the loop is woken when it has.
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

// Host serves the homes that this loop has given something, and the one with its index, which is where ports ring. busy:
// other loops have kept one of them busy for so long that the rest is left to a later call.
func (l *Lanes[G, C]) Host() (moved, busy bool) {
	todo := l.toHost
	l.toHost = 0
	if l.all.homes[l.index].Called() {
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

// host serves a home on this loop, unless another loop does so at this moment; that one looks again after it has let
// go, so nothing stays behind. The order of the two looks is what loses nothing: note, then try to hold; let go, then look.
func (l *Lanes[G, C]) host(index int) (moved, busy bool) {
	h := l.all.homes[index]
	for round := 0; h.Called() && h.TryHold(); round++ {
		l.hosted = h
		moved = h.Work() || moved
		l.toWake |= h.takeWake()
		l.letGo()
		if round == hostRoundsMax { // other loops keep it busy, and this one has clients of its own
			return moved, h.Called()
		}
	}
	return moved, false
}

// hostRoundsMax bounds the rounds for which a loop serves one home while others bring it more.
const hostRoundsMax = 8

func (l *Lanes[G, C]) letGo() {
	h := l.hosted
	l.hosted = nil
	h.LetGo()
}

// Drain takes what has come down off its lanes and hands it to deliver, each item once even if deliver panics. It stops
// when deliver wants no more; the rest stays for the next call. Serving a down lane never needs room in any lane: deliver
// must not Offer.
func (l *Lanes[G, C]) Drain(deliver func(Delivery[G, C]) (more bool)) (moved bool) {
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
			d := *lane.front()
			lane.done(d.Bytes()) // before it is acted on: should that panic, it must not be done twice
			more = deliver(d)
			drained++
		}
		if drained > 0 && lane.takeAwaited() {
			l.all.homes[from].drained.Store(true)
			l.toHost |= 1 << from
		}
		moved = moved || drained > 0
	}
	return moved
}

// WakeOthers wakes the loops that were given something. This one needs no bell: it works until nothing moves.
func (l *Lanes[G, C]) WakeOthers() {
	todo := l.toWake &^ (1 << l.index)
	l.toWake = 0
	for ; todo != 0; todo &= todo - 1 {
		l.all.env.Wake(bits.TrailingZeros64(todo))
	}
}

// Survive is called after a panic in Host or Drain: what was being served is dropped, and which lanes had been taken off the
// bell is not known any more, so all are looked at in the next calls.
func (l *Lanes[G, C]) Survive() {
	if l.hosted != nil {
		l.hosted.DropServing()
		l.letGo()
	}
	l.left = uint64(1)<<len(l.all.homes) - 1 // also right for 64
	l.toHost = l.left
	for _, h := range l.all.homes { // a home's note that it waits for room may be among what was lost
		h.drained.Store(true)
	}
}

// MustWake says whether the loop has to be woken by whoever has noted something for it. Any goroutine.
func (l *Lanes[G, C]) MustWake() bool { return l.bell.mustWake() }

// Answer is said by the loop when it has been woken.
func (l *Lanes[G, C]) Answer() { l.bell.answer() }

// ToHost notes a home that this loop is to host. For checks.
func (l *Lanes[G, C]) ToHost(home int) { l.toHost |= 1 << home }

// Idle says whether the loop has nothing to host and nothing left to drain. For checks.
func (l *Lanes[G, C]) Idle() bool { return l.toHost == 0 && l.left == 0 }
