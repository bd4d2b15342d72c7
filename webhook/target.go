package webhook

import (
	"sync"
	"sync/atomic"
	"time"

	"ringcast/loop/door"
)

// Bounds on what waits to be told: that is much only if a backend is slow or away.
const (
	eventsMax    = 100_000  // of an app
	bytesMax     = 16 << 20 // of an app
	allBytesMax  = 64 << 20 // of all apps
	batchMax     = 100      // events of a request
	batchBytes   = 1 << 20  // of a request; a single event may be more
	lessUrgentBy = 2        // what clients say, and who misses an event, may take this part of each bound: what comes and goes has the rest
)

// target is an app whose backend is told.
type target struct {
	id    string // immutable
	hooks *Hooks // immutable

	// Any goroutine (atomic).
	app    atomic.Pointer[door.App] // nil: it is told nothing any more
	wishes atomic.Uint32
	events atomic.Int64 // that wait, wherever
	bytes  atomic.Int64 // that they take

	changed chan struct{} // gets a token when the app is another; capacity 1

	mu      sync.Mutex
	queue   []event
	telling bool // a goroutine does
}

// book books an event; false: it is one too many, and dropped.
func (t *target) book(e *event) bool {
	size, part := int64(e.size()), int64(1)
	if e.what == clientEvent || e.what == cacheMiss {
		part = lessUrgentBy
	}
	switch {
	case !add(&t.events, 1, eventsMax/part):
	case !add(&t.bytes, size, bytesMax/part):
		t.events.Add(-1)
	case !add(&t.hooks.bytes, size, allBytesMax/part):
		t.events.Add(-1)
		t.bytes.Add(-size)
	default:
		e.bytes = int32(size)
		return true
	}
	t.hooks.dropped.Add(1)
	return false
}

// add adds to a sum that may be so much at most; false: it would be more.
func add(sum *atomic.Int64, n, most int64) bool {
	if sum.Add(n) > most {
		sum.Add(-n)
		return false
	}
	return true
}

// release is for an event that waits no more.
func (t *target) release(e *event) {
	t.events.Add(-1)
	t.bytes.Add(-int64(e.bytes))
	t.hooks.bytes.Add(-int64(e.bytes))
}

// put queues an event, whose turn it is.
func (t *target) put(e event) {
	if !wishes(t.wishes.Load()).has(e.what) {
		t.release(&e)
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	e.since = time.Now()
	t.queue = append(t.queue, e)
	if !t.telling {
		t.telling = true
		t.hooks.tellers.Go(t.tell)
	}
}

// isFull says whether there is enough for a request.
func (t *target) isFull() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.queue) >= batchMax
}

// next takes what the next request tells out of the queue. If that is nothing the teller has to end.
func (t *target) next() (batch []event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n, bytes := 0, 0
	for n < len(t.queue) && n < batchMax && (n == 0 || bytes+int(t.queue[n].bytes) <= batchBytes) {
		bytes += int(t.queue[n].bytes)
		n++
	}
	if n == 0 {
		t.queue, t.telling = nil, false
		return nil
	}
	batch, t.queue = t.queue[:n:n], t.queue[n:]
	return batch
}
