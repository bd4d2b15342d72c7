package order

import "math/bits"

// This file is how a goroutine that is no loop hosts a home. It has put something into a lane of its own, and serves the home at once if
// nobody holds it: so a publish is in order, and its caller knows, before any loop was woken. Then those loops are woken that were sent
// something. Whoever holds the home at that moment looks again when it has let go, and serves what was put there.
//
// What a loop is to do beside hosting, such as to serve the shards of loops that sleep, such a goroutine cannot. Where loops were given
// something for few members each, and there are several of them, it leaves them to the loop of the home's number, which can.

// host serves a home, unless somebody does at this moment. Any goroutine that is no loop.
func (hs *Homes[G, C]) host(home int) {
	h := hs.homes[home]
	for round := 1; h.called() && h.tryHold(); round++ {
		if goesOn := h.hostedByPort(); !goesOn || round == hostRoundsMax { // in the second case others keep it busy
			hs.env.Wake(home)
			return
		}
	}
}

// hostedByPort serves the home once, lets go of it, and wakes who was sent something. goesOn is false if the rest is left to the loop of
// its number.
func (h *Home[G, C]) hostedByPort() (goesOn bool) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		h.dropServing()
		h.letGo()
		if h.all.env.Panicked == nil {
			panic(p)
		}
		h.all.env.Panicked(h.index, p)
	}()
	h.serve()
	toWake, given := h.takeWake()
	given &^= toWake
	if goesOn = given&(given-1) == 0; !goesOn {
		h.given = given
		h.roomMade.Store(true) // so it is called
	}
	h.letGo()
	if goesOn {
		toWake |= given
	}
	for ; toWake != 0; toWake &= toWake - 1 {
		h.all.env.Wake(bits.TrailingZeros64(toWake))
	}
	return goesOn
}
