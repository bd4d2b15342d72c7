package order

import (
	"sort"
	"unsafe"

	"ringcast/dialect"
)

// history is what a home keeps of a group whose kind has history: its newest messages, without a gap, up to the one that was
// numbered last.
//
//	offsets   1 … │ dropped │ oldest … kept … offset │
//
// Messages are dropped from the oldest on: when there are more than the kind keeps, when their time is over, when all
// histories together are too large. The numbers go on whatever is dropped, so who needs what has gone can be told.
//
// It keeps the messages that the loops send, and their plain form with them. Their other forms are cleared soon, see cool.
//
// Owner: who holds the home.
type history[G Part] struct {
	group   *homeGroup[G] // nil: this history has ended
	name    string
	epoch   Epoch
	ring    []kept      // by offset, as many as a power of two; nil: nothing is kept
	bytes   int64       // booked for messages and ring
	count   uint32      // messages kept, of the offsets up to the group's
	most    uint32      // messages that the kind keeps
	ttl     uint32      // ticks for which the kind keeps them
	touched uint32      // tick of the last publish, or of the last member's leaving
	at      int32       // place in its ages, or absent
	warm    uint32      // of the newest messages so many may have forms
	behind  *history[G] // the next in the home's queue of the warm; itself: it is the last; nil: it is not in it
}

// absent is the place in ages of a history that is in none.
const absent = -1

// kept is a message in a history.
type kept struct {
	message *Message
	tick    uint32 // when it was published
	bytes   uint32 // booked for it
}

// What a history is booked with in bytes is what it takes, as near as one can tell without the allocator, so that a bound on the
// sum holds for the memory of the process (TestHistoriesTakeWhatIsBooked). A group that has neither messages nor is known for its
// history alone is booked with nothing: its members pay for it.
const keptBytes = int(unsafe.Sizeof(kept{}))

// bookedFor is what a message takes in a history, of whose buffer the sender's command id takes a part. A user is booked with each message
// that names it, though they share it: one that has gone lives on for them, and which will be the last cannot be told.
func bookedFor(m *Message, id int) uint32 {
	bytes := messageBytes + allocated(len(m.Wire)+len(m.Group)+id)
	if m.More != nil {
		bytes += allocated(moreBytes) + allocated(len(m.More.Tags)) + allocated(len(m.More.Client)) + allocated(len(m.More.ExceptName))
		if who := m.More.Who; who != nil {
			bytes += allocated(whoBytes) + allocated(who.Bytes())
		}
	}
	return uint32(bytes)
}

const whoBytes = int(unsafe.Sizeof(dialect.Who{}))

// groupBytes is what a group in a history takes beside its messages: its own memory, its name, its place in ages, and its entry in
// the home's table, of which 7 in 16 slots are full when it has just grown; and what allocator and collector have beside so many
// small objects (TestAMillionHistoriesStayWithinTheirBoundByMemory).
func (y *history[G]) groupBytes() int64 {
	const fixed = unsafe.Sizeof(homeGroup[anyPart]{}) + unsafe.Sizeof(history[anyPart]{}) + ageBytes + 25*16/7 + 16
	return int64(fixed) + int64(allocated(len(y.name)))
}

// allocated is about what Go's allocator takes for so many bytes without pointers. Its sizes are 16 bytes apart at first, then at
// most an eighth, of which half is lost on average, then whole pages.
func allocated(n int) int {
	switch {
	case n <= 256:
		return (n + 15) &^ 15
	case n <= 32<<10:
		return n + n/16
	default:
		return (n + 8<<10 - 1) &^ (8<<10 - 1)
	}
}

// oldest is the offset of the oldest message kept; with none, that of the next one.
func (y *history[G]) oldest() uint64 { return y.group.offset - uint64(y.count) + 1 }

// slot is that of an offset.
func (y *history[G]) slot(offset uint64) *kept { return &y.ring[offset&uint64(len(y.ring)-1)] }

// add appends the message that has the group's offset.
func (y *history[G]) add(k kept) {
	if int(y.count) == len(y.ring) {
		y.count++
		y.resize(max(1, 2*len(y.ring)), 1)
	} else {
		y.count++
	}
	*y.slot(y.group.offset) = k
	y.bytes += int64(k.bytes)
	y.warm++
}

// pop takes the oldest message out, and keeps the ring for the next one.
func (y *history[G]) pop() {
	slot := y.slot(y.oldest())
	y.bytes -= int64(slot.bytes)
	*slot = kept{}
	y.count--
	y.warm = min(y.warm, y.count)
}

// drop takes the oldest message out, and gives memory back.
func (y *history[G]) drop() {
	switch y.pop(); {
	case y.count == 0:
		y.resize(0, 0)
	case len(y.ring) > ringKept && int(y.count) <= len(y.ring)/4:
		y.resize(len(y.ring)/2, 0)
	}
}

// ringKept is the size of a ring, in messages, that is kept as it is while there are any.
const ringKept = 8

// resize gives the ring another size, where all that is kept has room, but for so many of the newest that are not in it yet. It
// moves 65,536 slots at most, which takes 0.3 ms (BenchmarkALongHistoryComesAndExpires).
func (y *history[G]) resize(size, coming int) {
	old := *y
	y.ring = nil
	if size > 0 {
		y.ring = make([]kept, size)
	}
	for offset := y.oldest(); offset+uint64(coming) <= y.group.offset; offset++ {
		*y.slot(offset) = *old.slot(offset)
	}
	y.bytes += int64((len(y.ring) - len(old.ring)) * keptBytes)
}

// limit drops the oldest of what is more than so many messages, at once: all of the rest moves to a smaller ring.
func (y *history[G]) limit(most uint32) {
	y.most = most
	if y.count <= most {
		return
	}
	y.count, y.warm = most, min(y.warm, most)
	size := 1
	for size < int(most) {
		size *= 2
	}
	y.resize(size, 0)
	y.bytes = int64(size * keptBytes)
	for offset := y.oldest(); offset <= y.group.offset; offset++ {
		y.bytes += int64(y.slot(offset).bytes)
	}
}

// from is the offset of the oldest message whose time is not over at now; with none, that of the next one. Those before it may not
// have been dropped yet.
func (y *history[G]) from(now uint32) uint64 {
	oldest := y.oldest()
	return oldest + uint64(sort.Search(int(y.count), func(i int) bool { return now-y.slot(oldest+uint64(i)).tick < y.ttl }))
}

// alone says whether the group is known for its history alone.
func (y *history[G]) alone() bool { return len(y.group.locals) == 0 }

// over says whether the group is to be forgotten: it has been alone, and nothing has happened, for as long as a message is kept.
func (y *history[G]) over(now uint32) bool { return y.alone() && now-y.touched >= y.ttl }

// age is the tick of what goes next, the oldest message, or else the group itself; ok: there is such a thing.
func (y *history[G]) age() (tick uint32, ok bool) {
	if y.count > 0 {
		return y.slot(y.oldest()).tick, true
	}
	return y.touched, y.alone()
}

// cool clears the forms of messages that were published two ticks ago or before, of so many at most: passes have most probably
// sent them, and forms are in no books.
func (y *history[G]) cool(now uint32, most int) (cleared int) {
	for ; y.warm > 0 && cleared < most; cleared++ {
		k := y.slot(y.group.offset - uint64(y.warm) + 1)
		if now-k.tick < coolTicks {
			break
		}
		k.message.clearForms()
		y.warm--
	}
	return cleared
}

// coolTicks is how old a message is when its forms are cleared, so it had one whole tick at least.
const coolTicks = 2

// warm is a queue of the histories with messages that may have forms, in the order of the oldest of those, but for a tick or two.
// They are linked, so it takes no memory of its own, and nothing is copied however many there are.
//
// Owner: who holds the home.
type warm[G Part] struct {
	first, last *history[G] // nil: it is empty
}

// put adds a history that is not in the queue.
func (w *warm[G]) put(y *history[G]) {
	if w.first == nil {
		w.first = y
	} else {
		w.last.behind = y
	}
	w.last, y.behind = y, y
}

// pop takes the first one out.
func (w *warm[G]) pop() {
	y := w.first
	if w.first = y.behind; y == w.last {
		w.first, w.last = nil, nil
	}
	y.behind = nil
}
