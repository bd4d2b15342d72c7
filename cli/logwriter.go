package cli

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// logWriter stands between those who log and the file, pipe or terminal that the log goes to. A full pipe that nobody reads, a
// terminal stopped with ^S and a file system that hangs hold a write up for as long as they like, and with it every loop and
// every lock that logs. So who logs only appends a line to a buffer, and one goroutine, the hand, writes:
//
//	loggers ──Write──► lines that wait ──hand──► file, pipe, terminal
//	                   full: dropped,            fails: dropped,
//	                   counted, said later       counted, said later
//
// Lines keep their order. Those that are taken in and not yet written are lost in a crash, mostly none: the hand writes at once.
//
// Any goroutine.
type logWriter struct {
	// Immutable.
	missing  func(lines uint64, err error) []byte // the line that stands where others were dropped; nil: none does
	patience time.Duration                        // logPatience; tests have their own

	dropped [logLosses]atomic.Uint64 // lines

	mu     sync.Mutex
	some   sync.Cond // there is something for a hand to do
	hand   *hand     // who writes now
	lines  []byte    // whole lines that wait, from first on
	first  int
	put    uint64        // bytes taken in
	done   uint64        // bytes of those that were written, dropped or given up
	moved  chan struct{} // closed when a hand has done something; nil: nobody waits for that
	full   uint64        // lines that did not fit since that was last said
	failed uint64        // lines that could not be written since that was last said
	why    error         // the last time
	ended  bool          // no more is taken in
}

const (
	// logBytesMax bounds the lines that wait: some ten thousand, a burst at level debug.
	logBytesMax = 1 << 20
	// logMissingBytes is as much as the line takes that says how many are missing.
	logMissingBytes = 256
	// logBytesKept is the capacity above which an empty buffer is released.
	logBytesKept = 64 << 10
	// logPieceBytes is PIPE_BUF: so much goes into a pipe in one go (pipe(7)), which keeps the lines of several processes apart. A
	// longer line is written by itself.
	logPieceBytes = 4096
	// logPatience is how long an end and a reload wait for a log that takes nothing; one that takes something, however slowly, is
	// waited for logPatienceTimes as long. In that time they look at it logLooks times.
	logPatience      = time.Second
	logPatienceTimes = 5
	logLooks         = 5
	// logRetry is the pause before another try where somebody else has made the descriptor non-blocking.
	logRetry = 10 * time.Millisecond
)

// logLoss is why a line was dropped.
type logLoss uint8

const (
	lossFull   logLoss = iota // too many lines waited, because the log takes them too slowly or not at all
	lossFailed                // the write failed
	logLosses
)

var logLossNames = [logLosses]string{"full", "failed"}

// newLogWriter makes a writer to a place that it does not close: standard error is there for the stack of a crash too.
func newLogWriter(to io.Writer, missing func(lines uint64, err error) []byte) *logWriter {
	w := &logWriter{missing: missing, patience: logPatience}
	w.some.L = &w.mu
	w.mu.Lock()
	defer w.mu.Unlock()
	w.begin(to)
	return w
}

// Write takes whole lines in, or drops them. It waits for nobody but others who call it, and never fails.
func (w *logWriter) Write(lines []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.say(); w.ended || w.full > 0 || !w.take(lines) {
		n := uint64(bytes.Count(lines, []byte("\n")))
		w.full += n
		w.dropped[lossFull].Add(n)
	}
	return len(lines), nil
}

// take appends lines to those that wait. false: they do not fit. Under the lock.
func (w *logWriter) take(lines []byte) bool {
	if len(w.lines)-w.first+len(lines) > logBytesMax {
		return false
	}
	w.lines = append(w.lines, lines...)
	w.put += uint64(len(lines))
	w.some.Broadcast()
	return true
}

// say puts a line where others did not fit, once it fits itself. Under the lock.
func (w *logWriter) say() {
	switch {
	case w.full == 0:
	case w.missing == nil:
		w.full = 0
	case logBytesMax-(len(w.lines)-w.first) >= logMissingBytes && w.take(w.missing(w.full, nil)): // a flood does not make it for nothing
		w.full = 0
	}
}

// turnTo has all lines that still wait, and those to come, written to another place, and waits until the hand at the old one has
// let go of it and called then. A hand that is held up there is left alone with its piece.
func (w *logWriter) turnTo(to io.Writer, then func()) {
	w.mu.Lock()
	old := w.hand
	old.then = then
	w.finish(old)
	w.begin(to)
	w.some.Broadcast()
	w.mu.Unlock()
	w.await(func() bool { return old.gone })
}

// catchUp waits until all that was taken in before has been written or dropped, or the log takes no more.
func (w *logWriter) catchUp() {
	w.mu.Lock()
	until := w.put
	w.mu.Unlock()
	w.await(func() bool { return w.done >= until })
}

// close writes what waits. all: the log took it in time. What is logged afterwards is dropped.
func (w *logWriter) close() (all bool) {
	w.mu.Lock()
	w.ended = true
	w.some.Broadcast()
	h := w.hand
	w.mu.Unlock()
	return w.await(func() bool { return h.gone })
}

// await waits for something that hands do, which is asked for under the lock, or until the log has taken nothing for logPatience.
// It looks several times in that time: where the whole process stood still, the hand runs before the next look.
func (w *logWriter) await(so func() bool) bool {
	deadline := time.After(logPatienceTimes * w.patience)
	for idle := 0; ; idle++ {
		w.mu.Lock()
		is := so()
		if w.moved == nil {
			w.moved = make(chan struct{})
		}
		moved := w.moved
		w.mu.Unlock()
		if is || idle == logLooks {
			return is
		}
		select {
		case <-moved:
			idle = -1
		case <-time.After(w.patience / logLooks):
		case <-deadline:
			idle = logLooks - 1
		}
	}
}

// hand is the goroutine that writes to one place.
type hand struct {
	to   io.Writer
	torn bool // the end of what was written last is missing. The goroutine's own

	// Under the lock.
	piece int    // bytes that it has taken and not finished
	then  func() // what it calls at its end; nil: nothing
	gone  bool   // it writes no more
}

// begin starts a hand, which is the one that writes from now on. Under the lock.
func (w *logWriter) begin(to io.Writer) {
	w.hand = &hand{to: to}
	go w.write(w.hand)
}

// write writes until another hand has taken over, or until all is written after the end.
func (w *logWriter) write(h *hand) {
	defer w.leave(h)
	var piece []byte
	for {
		var before []byte
		var failed uint64
		piece, before, failed = w.next(h, piece[:0])
		if lost, _ := h.pour(before); lost == 0 && failed > 0 {
			w.toldFailed(failed)
		}
		if len(piece) == 0 {
			return
		}
		lost, why := h.pour(piece)
		w.wrote(h, lost, why)
	}
}

// next waits for lines and copies some of them, so that loggers need not wait for who writes them. None: the hand is done. before
// is to be written before them, and says how many could not be written.
func (w *logWriter) next(h *hand, piece []byte) (_, before []byte, failed uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for w.hand == h && w.first == len(w.lines) && !w.ended {
		w.some.Wait()
	}
	if w.hand != h {
		return nil, nil, 0
	}
	waiting := w.lines[w.first:]
	if len(waiting) > logPieceBytes {
		end := bytes.LastIndexByte(waiting[:logPieceBytes], '\n')
		if end < 0 {
			end = bytes.IndexByte(waiting, '\n')
		}
		waiting = waiting[:end+1]
	}
	piece = append(piece, waiting...)
	h.piece = len(piece)
	if w.first += len(piece); w.first*2 >= len(w.lines) {
		w.lines, w.first = w.lines[:copy(w.lines, w.lines[w.first:])], 0
		if len(w.lines) == 0 && cap(w.lines) > logBytesKept {
			w.lines = nil
		}
	}
	if w.failed > 0 && w.missing != nil {
		before = w.missing(w.failed, w.why)
	}
	return piece, before, w.failed
}

// wrote notes that a hand has written its piece, but for some lines.
func (w *logWriter) wrote(h *hand, dropped uint64, why error) {
	w.dropped[lossFailed].Add(dropped)
	w.mu.Lock()
	defer w.mu.Unlock()
	if dropped > 0 {
		w.failed, w.why = w.failed+dropped, why
	}
	w.finish(h)
	w.say()
}

func (w *logWriter) toldFailed(lines uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed -= lines
}

// finish counts a hand's piece as done. Under the lock.
func (w *logWriter) finish(h *hand) {
	w.done += uint64(h.piece)
	h.piece = 0
	w.stir()
}

// leave is a hand's end.
func (w *logWriter) leave(h *hand) {
	w.mu.Lock()
	then := h.then
	w.mu.Unlock()
	if then != nil {
		then() // not under the lock: a file system that hangs holds up the closing too
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	h.gone = true
	w.stir()
}

// stir has who awaits something look again. Under the lock.
func (w *logWriter) stir() {
	if w.moved != nil {
		close(w.moved)
		w.moved = nil
	}
}

// pour writes whole lines. One that cannot be written is dropped, with the part of it that may have been written already, and the
// next is tried: the disk has room again some time. It returns how many were dropped, and why the last one was.
func (h *hand) pour(lines []byte) (dropped uint64, why error) {
	for len(lines) > 0 {
		text := lines
		if h.torn { // only so is the next line a line
			text = append([]byte("\n"), lines...)
		}
		n, err := h.put(text)
		if h.torn && n > 0 {
			h.torn, n = false, n-1
		}
		if err == nil {
			return dropped, why
		}
		why = err
		dropped++
		h.torn = h.torn || n > 0 && lines[n-1] != '\n'
		_, lines, _ = bytes.Cut(lines[n:], []byte("\n"))
	}
	return dropped, why
}

// put is Write that also waits where somebody else has made the descriptor non-blocking.
func (h *hand) put(text []byte) (n int, err error) {
	for {
		more, err := h.to.Write(text[n:])
		if n += more; !errors.Is(err, syscall.EAGAIN) {
			return n, err
		}
		time.Sleep(logRetry)
	}
}
