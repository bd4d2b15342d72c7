package bus

import (
	"net"
	"sync"
	"sync/atomic"
)

// parcel is a frame on its way into outboxes. One that waits in many takes its memory once, and is counted once in what
// all of them hold. Any goroutine; nobody writes the frame.
type parcel struct {
	frame    []byte
	outboxes atomic.Int32 // it waits in
}

// bytes is what a parcel counts in one outbox: its frame and its place in the list.
func (x *parcel) bytes() int { return frameBytes(x.frame) }

// more is what one outbox more that it waits in takes of memory.
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

// frameBytes is what a frame counts where it waits.
func frameBytes(frame []byte) int { return len(frame) + placeBytes }

// placeBytes is a place in a list, and a parcel.
const placeBytes = 48

// outbox is what waits to be written to one connection, bounded in bytes. Any goroutine puts, one writes. What is being
// written still counts, and is still there should the write fail.
type outbox struct {
	bytesMax int
	all      *atomic.Int64 // what this outbox and others that are bounded with it hold
	ready    chan struct{} // something was put, or the end has come; capacity 1

	mu      sync.Mutex
	parcels []*parcel // from first on
	first   int
	bytes   int
	ended   bool
}

func newOutbox(bytesMax int, all *atomic.Int64) *outbox {
	return &outbox{bytesMax: bytesMax, all: all, ready: make(chan struct{}, 1)}
}

// placed is what became of a frame.
type placed uint8

const (
	placedIn placed = iota
	placedFull
	placedEnded
)

// put appends a frame. An empty outbox takes one of any size.
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

// would says what put would do now.
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

// end has put take nothing more. drop: what waits is forgotten too.
func (o *outbox) end(drop bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = true
	if drop {
		for _, x := range o.parcels[o.first:] {
			x.leave(o.all)
		}
		o.parcels, o.first, o.bytes = nil, 0, 0
	}
	o.wake()
}

// writeBatchMax bounds the frames that one system call takes.
const writeBatchMax = 256

// flush writes what waits, and returns when nothing does. A frame is done when all of it has been written: of one that
// was written in part the other side makes nothing, so it stays. done is told how many are, before they stop waiting:
// where there is always more, flush does not return. nil: nobody asks.
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

// drop takes out the frames that n bytes cover.
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

// parcelsKeptMax is the capacity above which an empty outbox gives its list back.
const parcelsKeptMax = 1024

// waiting is how many bytes wait.
func (o *outbox) waiting() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.bytes
}

// over says that the end has come and nothing waits.
func (o *outbox) over() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.ended && o.bytes == 0
}
