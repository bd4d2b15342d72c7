package order

import (
	"sync/atomic"

	"ringcast/loop/assert"
)

// A lane carries items between two loops, in order, bounded in slots and in bytes. Every ordered pair of loops has two:
//
//	up     sender's loop ──► home     publishes, and which loops have members
//	down   home ──► member's loop     numbered messages, and answers
//
// Why two, and why nothing can wait in a circle: a home that finds no room in a down lane takes nothing more from the
// up lane that it was serving, and only from that one. Down lanes end in sockets. Serving one never needs room in any
// lane, so each down lane drains as long as its loop runs, so each home gets its room, so each up lane drains. Whoever
// adds a step that pushes into a lane while serving a down lane breaks this argument, and with it the server.
//
// Full is an answer, not a wait: the up lane's producer keeps the item back and then refuses it, the down lane's
// producer leaves the request where it is (home.go). Both say so with await, and the consumer wakes them when it has made
// room.
type lane[T any] struct {
	ring[T]

	// Immutable.
	bytesMax uint64

	// Producer only.
	bytesIn atomic.Uint64 // atomic for whoever asks what waits

	// Written by the consumer, read by the producer.
	bytesOut atomic.Uint64

	// Set by the producer that found the lane full, cleared by the consumer that wakes it.
	awaited atomic.Bool
}

func newLane[T any](slots, bytesMax int) *lane[T] {
	l := &lane[T]{bytesMax: uint64(bytesMax)}
	l.ring.init(slots)
	return l
}

// fits says whether an item of this many bytes can be pushed now. An empty lane takes an item of any size, else one
// message above the bound would wait for ever. Producer only.
func (l *lane[T]) fits(bytes int) bool {
	if !l.room() {
		return false
	}
	waiting := l.bytesIn.Load() - l.bytesOut.Load()
	return waiting == 0 || waiting+uint64(bytes) <= l.bytesMax
}

// send pushes an item that fits. Producer only.
func (l *lane[T]) send(v T, bytes int) {
	l.bytesIn.Store(l.bytesIn.Load() + uint64(bytes))
	ok := l.push(v)
	assert.That(ok, "lane: send without asking fits")
}

// waiting is how many bytes lie in the lane at about this moment. Any goroutine.
func (l *lane[T]) waiting() int64 {
	out := l.bytesOut.Load() // this one first: the other may grow meanwhile, so the difference is never negative
	return int64(l.bytesIn.Load() - out)
}

// done releases the front item and its bytes. Consumer only.
func (l *lane[T]) done(bytes int) {
	l.bytesOut.Add(uint64(bytes))
	l.pop()
}

// await notes that the producer wants to know when there is room, and reports whether there is room already. The note
// stays even then: it may be that of an earlier request which did not fit, and one word too many costs a look. The order
// matters: first the note, then the look. The consumer does it the other way round (first makes room, then looks for
// the note), so one of the two sees the other and no wake-up is lost.
func (l *lane[T]) await(bytes int) (fits bool) {
	l.awaited.Store(true)
	return l.fits(bytes)
}

// takeAwaited tells the consumer, after it made room, whether the producer must be woken.
func (l *lane[T]) takeAwaited() bool {
	return l.awaited.Load() && l.awaited.Swap(false)
}
