package loop

import (
	"sync/atomic"

	"ringcast/loop/assert"
	"ringcast/loop/order"
)

// hold says who may touch a shard: who holds it. Its own loop does during each of its callbacks. For a moment another loop may, one
// that has put something into the shard's down lanes and finds the shard free, most often because its loop sleeps: it borrows the
// shard and serves what lies there (borrow.go). That costs a few system calls; to wake a loop costs a switch of threads as well.
//
// Nothing is left lying, for the same reason as with homes: who has something notes it first and then tries to hold; who holds lets
// go first and then looks. In detail, for an item in a down lane of shard S:
//
//	note    its bit is set in S's bell, after the item is in the lane
//	try     held is read, and swapped if it is clear. It is set: somebody held S at that moment, and lets go after it, so its look
//	        comes after the note and finds the bit. It is not: this one is the holder now, and the next line is about it
//	let go  held is cleared; then the bell is looked at once more, and what is found is seen to: a borrower borrows again or
//	        wakes the loop, the loop holds again and kicks itself (if it cannot hold, another one does, and looks)
//
// All of these are Go's atomics, which are sequentially consistent, a swap that fails too; a mutex would not do, as an attempt to lock
// one that fails orders nothing. A kick or a wake-up that is under way stands for a look: its callback
// comes, and drains the lanes. So does a loop that waits for its shard: its callback is about to begin, and looks when it ends. What a borrower finds that only the loop may do it leaves, marked in what it holds, and wakes the loop
// as it lets go; that goes by the bell's own argument (order/bell.go).
//
// Nobody waits in a circle: a loop waits for its own shard alone, before it holds anything, and a borrower, which holds two, waits for
// nothing. A loop that waits does so for one borrower, which makes no more than borrowedSendsMax sends: nobody borrows a shard whose loop
// waits for it, but for one that looked just before.
//
// Owner: any goroutine (atomic), but for borrowed.
type hold struct {
	held    atomic.Bool
	awaited atomic.Bool   // the shard's loop waits for a borrower, in take
	freed   chan struct{} // its capacity is 1: the borrower has let go
	_       [order.CacheLine]byte

	borrowed borrowed // who holds the shard only
}

// try holds the shard; false: another loop does.
func (h *hold) try() bool { return !h.held.Load() && h.held.CompareAndSwap(false, true) }

// borrow is try for another loop than the shard's own, which goes first.
func (h *hold) borrow() bool { return !h.awaited.Load() && h.try() }

// take holds the shard for its own loop, which waits for a borrower. It notes that it waits, then tries once more; a borrower lets go,
// then looks for the note: so one of the two sees what the other did. A word that the shard is free may be left from an earlier time,
// so it tries until it holds.
func (h *hold) take() {
	for !h.try() {
		h.awaited.Store(true)
		if h.try() {
			h.awaited.Store(false)
			return
		}
		<-h.freed
	}
}

// letGo is the opposite of all three. Its caller then looks whether the shard's lanes are called, unless the shard's loop was waiting:
// it does when its callback ends.
func (h *hold) letGo() (awaited bool) {
	assert.That(h.held.Load(), "hold: let go by one that does not hold")
	h.held.Store(false)
	if !h.awaited.Load() || !h.awaited.Swap(false) {
		return false
	}
	select {
	case h.freed <- struct{}{}:
	default: // such a word is there already
	}
	return true
}

// mustHold asserts that somebody holds the shard who may touch it. Which of two holders it is, the race detector sees.
func (s *shard) mustHold() {
	assert.That(s.hold.held.Load(), "shard: touched by one that does not hold it")
}
