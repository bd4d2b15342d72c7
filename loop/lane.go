package loop

import (
	"sync/atomic"
	"unsafe"
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
// Full is an answer, not a wait: the up lane's producer keeps a backlog and then refuses (backlog.go), the down lane's
// producer leaves the request where it is (home.go). Both say so with await, and the consumer wakes them when it has
// made room.
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
	assert(ok, "lane: send without asking fits")
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

// request is one item of an up lane.
type request struct {
	op     requestOp
	at     stamp   // opPublish of a client, one of the sample: when it was accepted
	group  string  // the group's name
	frame  []byte  // opPublish: the encoded frame, immutable from here on
	local  *group  // opJoin, opLeave: the sender's own part of the group
	client *client // who joins, or waits for the answer, on the sender's loop; nil: nobody
	id     string  // the client's command id, JSON text
	via    *via    // opPublish from a port, if there is more to it, else nil
}

// via is what a publish through a port may have beside its message.
type via struct {
	result chan<- uint64 // takes the number, nil: nobody waits for it; never blocks (capacity 1)
	token  any           // for the feed
}

type requestOp uint8

const (
	opPublish requestOp = iota // number this frame and pass it on to every loop with members
	opJoin                     // a client of this loop wants to be a member; say whether it may
	opLeave                    // this loop has no members any more
)

// bytes is what the request counts against the bounds of lane and backlog: its payload, and its slot's own size so that small
// requests are not free.
func (r *request) bytes() int { return requestBytes + len(r.frame) + len(r.group) + len(r.id) }

const requestBytes = int(unsafe.Sizeof(request{}))

// stamp is a time on its way through the lanes, in units of 1,024 ns; 0 is none. 32 bits cost the items nothing, since they
// lie in padding, and come round after 73 minutes, longer than anything waits.
type stamp uint32

func stampOf(nanos int64) stamp { return max(stamp(nanos>>10), 1) }

// until is the time from the stamp to now, nanoseconds.
func (t stamp) until(now int64) int64 { return int64(int32(stampOf(now)-t)) << 10 }

// delivery is one item of a down lane.
type delivery struct {
	op        deliveryOp
	why       refusal // opRefused
	at        stamp   // as in the request
	local     *group  // the receiving loop's part of the group; the pointer came up with that loop's opJoin
	frame     []byte  // opMessage: shared by all loops; nil when only the answer is wanted
	client    *client // who joins, or waits for the answer; nil: nobody
	id        string
	seq       uint64
	headcount *headcount // opJoined
}

type deliveryOp uint8

const (
	opMessage deliveryOp = iota // a numbered frame for local's members, an answer for client, or both
	opJoined                    // client has a place in the group, and the home knows of this loop's members
	opRefused                   // it has none
)

// bytes is what the delivery counts against the lane's bound.
func (d *delivery) bytes() int { return deliveryBytes + len(d.frame) + len(d.id) }

const deliveryBytes = int(unsafe.Sizeof(delivery{}))
