package order

import "sync/atomic"

// bell tells a consumer, a loop or a feed, that its lanes have items. A producer first puts an item into a lane, then sets the
// lane's bit, then wakes the consumer if mustWake says so. At most one wake-up is under way to a consumer, however many
// producers there are: waking a sleeping loop is the most expensive step of a message (about 15 µs in a prototype), the
// rest is memory.
//
// Owner: any goroutine (atomic).
type bell struct {
	down atomic.Uint64 // bit per home whose lane to this consumer has items
	_    [CacheLine - 8]byte

	waking atomic.Bool // a wake-up was sent, and the consumer has not begun to act on it
}

// note sets the bit of a producer. Most often it is set already, and then a load is all it costs.
func note(bits *atomic.Uint64, bit int) {
	if m := uint64(1) << bit; bits.Load()&m == 0 {
		bits.Or(m)
	}
}

// take returns the bits that are set and clears them. The cheap load comes first, as most turns find nothing.
func take(bits *atomic.Uint64) uint64 {
	if bits.Load() == 0 {
		return 0
	}
	return bits.Swap(0)
}

// mustWake reports whether the caller has to send the wake-up. It is called after note: the consumer clears waking before it
// takes the bits, so either it sees the bit or the caller sees waking clear.
func (b *bell) mustWake() bool {
	return !b.waking.Load() && b.waking.CompareAndSwap(false, true)
}

// woken is called by the consumer before it takes the bits. From then on a producer sends a wake-up again.
func (b *bell) woken() { b.waking.Store(false) }
