package order

import (
	"sync/atomic"

	"ringcast/loop/assert"
)

// CacheLine is the distance in bytes between variables that two cores write. It is 128 and not 64 because x86 prefetches cache
// lines in pairs.
const CacheLine = 128

// ring is a bounded queue for one producer goroutine and one consumer goroutine, without locks.
//
//	slots   [ . . . F F F F F . . ]      F: an item, owned by the consumer; the rest is owned by the producer
//	              ▲         ▲
//	            head       tail          both only grow; slot = position & mask
//
// A slot passes to the consumer when tail is stored, and back to the producer when head is stored. Go's atomics are
// sequentially consistent, so what was written to a slot before the store is seen after the load. Each side keeps a copy of
// the other's position and loads it again only when the copy says full or empty: without the copies every push and pop would
// fetch a cache line that the other core has just written.
type ring[T any] struct {
	// Immutable.
	slots []T
	mask  uint64
	_     [CacheLine - 32]byte

	// Written by the producer.
	tail     atomic.Uint64
	headSeen uint64
	_        [CacheLine - 16]byte

	// Written by the consumer.
	head     atomic.Uint64
	tailSeen uint64
	_        [CacheLine - 16]byte
}

// init makes room for slots items; slots must be a power of two.
func (r *ring[T]) init(slots int) {
	assert.That(slots > 0 && slots&(slots-1) == 0, "ring: slots must be a power of two")
	r.slots = make([]T, slots)
	r.mask = uint64(slots - 1)
}

// room says whether a push would succeed. It stays so until the producer pushes. Producer only.
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

// front is the oldest item, which stays in the ring until pop; nil: there is none. Consumer only.
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

// pop drops the item that front has returned. It clears the slot: else the ring would keep a message of a megabyte in memory
// until the slot is used again. Consumer only.
func (r *ring[T]) pop() {
	head := r.head.Load()
	assert.That(head != r.tail.Load(), "ring: pop of an empty ring")
	var zero T
	r.slots[head&r.mask] = zero
	r.head.Store(head + 1)
}

// len is the number of items at a moment during the call. Any goroutine.
func (r *ring[T]) len() int {
	head := r.head.Load() // head first: tail may grow meanwhile, so the difference is never negative
	return int(r.tail.Load() - head)
}
