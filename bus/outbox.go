package bus

import (
	"net"
	"sync"
	"sync/atomic"
)

// outbox is what waits to be written to one connection, bounded in bytes. Any goroutine puts, one writes. What is being
// written still counts, and is still there should the write fail.
type outbox struct {
	bytesMax int
	all      *atomic.Int64 // what waits in this outbox and in others that are bounded with it
	ready    chan struct{} // something was put, or the end has come; capacity 1

	mu     sync.Mutex
	frames [][]byte // from first on; a frame may stand in many outboxes, so nobody writes it
	first  int
	bytes  int
	ended  bool
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

// frameBytes is what a frame counts: itself and its place in the list.
func frameBytes(frame []byte) int { return len(frame) + 24 }

// put appends a frame. An empty outbox takes one of any size.
func (o *outbox) put(frame []byte) placed {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.ended:
		return placedEnded
	case o.bytes > 0 && o.bytes+frameBytes(frame) > o.bytesMax:
		return placedFull
	}
	o.frames = append(o.frames, frame)
	o.count(frameBytes(frame))
	o.wake()
	return placedIn
}

// count notes that so many bytes more wait.
func (o *outbox) count(bytes int) {
	o.bytes += bytes
	o.all.Add(int64(bytes))
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
		o.count(-o.bytes)
		o.frames, o.first = nil, 0
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
	end := min(len(o.frames), o.first+writeBatchMax)
	return append([][]byte(nil), o.frames[o.first:end]...)
}

// drop takes out the frames that n bytes cover.
func (o *outbox) drop(n int64, done func(frames int)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	frames := 0
	for o.first < len(o.frames) && n >= int64(len(o.frames[o.first])) {
		frame := o.frames[o.first]
		o.frames[o.first] = nil
		o.first++
		n -= int64(len(frame))
		o.count(-frameBytes(frame))
		frames++
	}
	if done != nil {
		done(frames)
	}
	if o.first*2 >= len(o.frames) {
		rest := copy(o.frames, o.frames[o.first:])
		clear(o.frames[rest:])
		o.frames, o.first = o.frames[:rest], 0
		if rest == 0 && cap(o.frames) > framesKeptMax {
			o.frames = nil
		}
	}
}

// framesKeptMax is the capacity above which an empty outbox gives its list back.
const framesKeptMax = 1024

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
