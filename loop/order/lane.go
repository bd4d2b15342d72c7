package order

import (
	"sync/atomic"

	"ringcast/loop/assert"
)

// lane is a queue from one producer to one consumer, bounded in items and in bytes. Every loop and every home have two between
// them:
//
//	up     loop ──► home     publishes, joins, leaves
//	down   home ──► loop     numbered messages, and answers
//
// A port has an up lane to every home, and the feed a lane from every home, which is a down lane in what follows.
//
// Why there are two, and why no loops can wait for each other in a circle: a home that finds no room in a down lane takes
// nothing more from the up lane that it was serving, and from that one only. What comes down a down lane goes to sockets;
// serving one never needs room in any lane. So each down lane drains as long as its loop runs, so each home gets room in it,
// so each up lane drains. What a home holds back (flow.go) waits for passes, which need no lane. A step that sends into a lane
// while it serves a down lane would break this argument, and the server could stop for ever.
//
// A producer does not wait at a full lane. A loop keeps the request in its backlog, or refuses it; a port refuses it; a home
// leaves it in its up lane (home.go). With await each of them has the consumer wake it when there is room.
type lane[T any] struct {
	ring[T]

	// Immutable.
	bytesMax uint64

	// Written by the producer, read by any goroutine.
	bytesIn atomic.Uint64

	// Written by the consumer, read by any goroutine.
	bytesOut atomic.Uint64

	// Set by the producer that found the lane full, cleared by the consumer that then wakes it.
	awaited atomic.Bool
}

func newLane[T any](slots, bytesMax int) *lane[T] {
	l := &lane[T]{bytesMax: uint64(bytesMax)}
	l.ring.init(slots)
	return l
}

// fits says whether an item of so many bytes can be sent now. An empty lane takes an item of any size, else a message larger
// than the bound would wait for ever. Producer only.
func (l *lane[T]) fits(bytes int) bool {
	if !l.room() {
		return false
	}
	waiting := l.bytesIn.Load() - l.bytesOut.Load()
	return waiting == 0 || waiting+uint64(bytes) <= l.bytesMax
}

// send appends an item that fits. Producer only.
func (l *lane[T]) send(v T, bytes int) {
	l.bytesIn.Store(l.bytesIn.Load() + uint64(bytes))
	ok := l.push(v)
	assert.That(ok, "lane: send without asking fits")
}

// waiting is the bytes in the lane at about this moment. Any goroutine.
func (l *lane[T]) waiting() int64 {
	out := l.bytesOut.Load() // this one first: the other may grow meanwhile, so the difference is never negative
	return int64(l.bytesIn.Load() - out)
}

// done drops the front item, which has so many bytes. Consumer only.
func (l *lane[T]) done(bytes int) {
	l.bytesOut.Add(uint64(bytes))
	l.pop()
}

// await notes that the producer wants to know when there is room, and reports whether an item of so many bytes fits already. The
// note stays even then, as it may be that of an earlier item; a wake-up too many costs little. The producer first sets the
// note, then looks for room; the consumer first makes room, then looks for the note. So one of the two sees what the other
// did, and no wake-up is lost. Producer only.
func (l *lane[T]) await(bytes int) (fits bool) {
	l.awaited.Store(true)
	return l.fits(bytes)
}

// takeAwaited says whether the consumer, which has made room, must wake the producer. Consumer only.
func (l *lane[T]) takeAwaited() bool {
	return l.awaited.Load() && l.awaited.Swap(false)
}
