package loop

import (
	"sync/atomic"

	"ringcast/loop/assert"
)

// cacheLine keeps what two cores write apart. 128 rather than 64: x86 prefetches lines in pairs.
const cacheLine = 128

// ring is a bounded queue for one producer goroutine and one consumer goroutine, without locks.
//
//	slots   [ . . . F F F F F . . ]      F: full, owned by the consumer. The rest is owned by the producer.
//	              ▲         ▲
//	            head       tail          both only grow; slot = position & mask
//
// A slot passes to the consumer when tail is stored, and back to the producer when head is stored. Go's atomics are
// sequentially consistent, so what was written to a slot before the store is seen after the load. Each side keeps a
// copy of the other's position and reloads it only when the copy says full or empty: without the copies every push and
// pop would fetch a cache line that the other core has just written.
type ring[T any] struct {
	// Immutable.
	slots []T
	mask  uint64
	_     [cacheLine - 32]byte

	// Written by the producer.
	tail     atomic.Uint64
	headSeen uint64
	_        [cacheLine - 16]byte

	// Written by the consumer.
	head     atomic.Uint64
	tailSeen uint64
	_        [cacheLine - 16]byte
}

// init makes room for slots items; slots must be a power of two.
func (r *ring[T]) init(slots int) {
	assert.That(slots > 0 && slots&(slots-1) == 0, "ring: slots must be a power of two")
	r.slots = make([]T, slots)
	r.mask = uint64(slots - 1)
}

// room says whether a push would succeed now. Producer only: nobody else can take the room away.
func (r *ring[T]) room() bool {
	tail := r.tail.Load()
	if tail-r.headSeen <= r.mask {
		return true
	}
	r.headSeen = r.head.Load()
	return tail-r.headSeen <= r.mask
}

// push appends v and reports true, or reports false when the ring is full. Producer only.
func (r *ring[T]) push(v T) bool {
	if !r.room() {
		return false
	}
	tail := r.tail.Load()
	r.slots[tail&r.mask] = v
	r.tail.Store(tail + 1)
	return true
}

// front is the oldest item, still in the ring, or nil when there is none. Consumer only; valid until pop.
func (r *ring[T]) front() *T {
	head := r.head.Load()
	if head == r.tailSeen {
		r.tailSeen = r.tail.Load()
		if head == r.tailSeen {
			return nil
		}
	}
	return &r.slots[head&r.mask]
}

// pop drops the front. Consumer only, after front has returned an item. The slot is cleared first: a ring must not keep
// a megabyte message alive until its slot is used again.
func (r *ring[T]) pop() {
	head := r.head.Load()
	assert.That(head != r.tail.Load(), "ring: pop of an empty ring")
	var zero T
	r.slots[head&r.mask] = zero
	r.head.Store(head + 1)
}

// len is the number of items at some moment during the call. Any goroutine.
func (r *ring[T]) len() int {
	head := r.head.Load() // head first: tail may grow meanwhile, so the difference is never negative
	return int(r.tail.Load() - head)
}
