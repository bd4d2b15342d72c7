package order

import "sync/atomic"

// bell is how other goroutines get a loop's attention: first they put something into a lane, then they note in which,
// then they wake the loop. At most one wake-up is under way to a loop, however many wake it: waking an idle loop is the
// dearest single step on the way of a message (about 15 µs in the prototype), the rest is memory.
//
// Any goroutine.
type bell struct {
	down atomic.Uint64 // bit per home whose down lane to this loop has items
	_    [CacheLine - 8]byte

	waking atomic.Bool // a wake-up is under way and has not begun its turn
}

// note sets the bit of a producer.
func note(word *atomic.Uint64, bit int) {
	if m := uint64(1) << bit; word.Load()&m == 0 {
		word.Or(m)
	}
}

// take empties a word. The cheap load first: most turns find nothing.
func take(word *atomic.Uint64) uint64 {
	if word.Load() == 0 {
		return 0
	}
	return word.Swap(0)
}

// mustWake reports whether the caller has to send the wake-up. Call after note: the loop clears waking before it takes
// the bits, so either it sees the bit or the caller sees waking clear.
func (b *bell) mustWake() bool {
	return !b.waking.Load() && b.waking.CompareAndSwap(false, true)
}

// answer is the loop's side: it is awake, who wakes it next must wake it again.
func (b *bell) answer() { b.waking.Store(false) }
