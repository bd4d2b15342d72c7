package bus

import (
	"net"
	"sync"
	"sync/atomic"
)

// parcel is a frame that waits in outboxes. One that waits in many needs its memory once, and is counted once in the sum of
// all outboxes. Any goroutine; the frame is immutable.
type parcel struct {
	frame    []byte
	outboxes atomic.Int32 // in which it waits
}

// bytes is what a parcel counts for in one outbox: its frame and its place in the list.
func (x *parcel) bytes() int { return frameBytes(x.frame) }

// more is the memory that it needs if it waits in one more outbox.
func (x *parcel) more() int {
	if x.outboxes.Load() > 0 {
		return placeBytes
	}
	return x.bytes()
}

func (x *parcel) enter(all *atomic.Int64) {
	if all.Add(placeBytes); x.outboxes.Add(1) == 1 {
		all.Add(int64(len(x.frame)))
	}
}

func (x *parcel) leave(all *atomic.Int64) {
	if all.Add(-placeBytes); x.outboxes.Add(-1) == 0 {
		all.Add(-int64(len(x.frame)))
	}
}

// frameBytes is what a waiting frame counts for.
func frameBytes(frame []byte) int { return len(frame) + placeBytes }

// placeBytes is a place in a list, and a parcel.
const placeBytes = 48

// outbox holds what waits to be written to one connection, bounded in bytes. Any goroutine puts, one writes. What is being
// written still counts, and is still there if the write fails.
type outbox struct {
	bytesMax int
	all      *atomic.Int64 // bytes in this outbox and in those that share its bound
	ready    chan struct{} // something was put, or the outbox was ended; capacity 1

	mu      sync.Mutex
	parcels []*parcel // from first on
	first   int
	bytes   int
	ended   bool
}

func newOutbox(bytesMax int, all *atomic.Int64) *outbox {
	return &outbox{bytesMax: bytesMax, all: all, ready: make(chan struct{}, 1)}
}

// placed is the result of put.
type placed uint8

const (
	placedIn placed = iota
	placedFull
	placedEnded
)

// put appends a frame. An empty outbox accepts one of any size.
func (o *outbox) put(x *parcel) placed {
	o.mu.Lock()
	defer o.mu.Unlock()
	would := o.place(x)
	if would == placedIn {
		o.parcels = append(o.parcels, x)
		o.bytes += x.bytes()
		x.enter(o.all)
		o.wake()
	}
	return would
}

// would returns what put would return now.
func (o *outbox) would(x *parcel) placed {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.place(x)
}

func (o *outbox) place(x *parcel) placed {
	switch {
	case o.ended:
		return placedEnded
	case o.bytes > 0 && o.bytes+x.bytes() > o.bytesMax:
		return placedFull
	}
	return placedIn
}

func (o *outbox) wake() {
	select {
	case o.ready <- struct{}{}:
	default:
	}
}

// end makes put refuse everything. drop: what waits is dropped too, and dropped says how many bytes of frames that is.
func (o *outbox) end(drop bool) (dropped int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = true
	if drop {
		for _, x := range o.parcels[o.first:] {
			x.leave(o.all)
			dropped += len(x.frame)
		}
		o.parcels, o.first, o.bytes = nil, 0, 0
	}
	o.wake()
	return dropped
}

// writeBatchMax bounds the frames of one system call.
const writeBatchMax = 256

// flush writes what waits, and returns when nothing does. A frame is done when all of it has been written: one that was
// written in part is of no use to the other side, so it stays. done, unless it is nil, is called with the number of frames
// that are done, before they leave the outbox: while there is always more, flush does not return.
func (o *outbox) flush(conn net.Conn, done func(frames int)) error {
	for {
		batch := o.front()
		if len(batch) == 0 {
			return nil
		}
		left := net.Buffers(batch)
		n, err := left.WriteTo(conn)
		o.drop(n, done)
		if err != nil {
			return err
		}
	}
}

func (o *outbox) front() [][]byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	end := min(len(o.parcels), o.first+writeBatchMax)
	batch := make([][]byte, 0, end-o.first)
	for _, x := range o.parcels[o.first:end] {
		batch = append(batch, x.frame)
	}
	return batch
}

// drop removes the frames that n bytes cover.
func (o *outbox) drop(n int64, done func(frames int)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	frames := 0
	for o.first < len(o.parcels) && n >= int64(len(o.parcels[o.first].frame)) {
		x := o.parcels[o.first]
		o.parcels[o.first] = nil
		o.first++
		n -= int64(len(x.frame))
		o.bytes -= x.bytes()
		x.leave(o.all)
		frames++
	}
	if done != nil {
		done(frames)
	}
	if o.first*2 >= len(o.parcels) {
		rest := copy(o.parcels, o.parcels[o.first:])
		clear(o.parcels[rest:])
		o.parcels, o.first = o.parcels[:rest], 0
		if rest == 0 && cap(o.parcels) > parcelsKeptMax {
			o.parcels = nil
		}
	}
}

// parcelsKeptMax is the capacity above which an empty outbox releases its list.
const parcelsKeptMax = 1024

// waiting is how many bytes wait.
func (o *outbox) waiting() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.bytes
}

// over says that the outbox was ended and nothing waits.
func (o *outbox) over() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.ended && o.bytes == 0
}
