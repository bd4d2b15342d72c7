package loop

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"ringcast/loop/door"
	"ringcast/wsproto"
)

// This file is who listens to what happens to clients. Loops make traces for it only then, and so many that they do not notice:
// those that its filter takes, up to a number a tick; the others are counted. Nobody waits for who listens: what finds no room is
// counted too.

// TailFilter says which traces are wanted. Zero values want all.
type TailFilter struct {
	Group  string   // a pattern, see Kind.Match; traces without a group are then not wanted
	Client uint64   // a client's number
	Kinds  []string // names of kinds
}

// Tail gives the traces of all loops as they come.
//
// Owner: any goroutine; one takes.
type Tail struct {
	// Immutable after start.
	hub    *Hub
	filter TailFilter
	kinds  uint32 // bit per kind that is wanted

	compares bool // groups with a pattern

	// Any goroutine.
	traces chan Trace
	left   atomic.Uint64
	ports  portTail
	close  func()
}

// tailEnd is a loop's part of a tail: what it may still give in this tick.
//
// Owner: who holds the shard.
type tailEnd struct {
	tail  *Tail
	tick  uint32
	given [2]int // publishes; all else
	seen  int    // compared with a pattern
}

// portTail is likewise for what servers publish by ports.
//
// Owner: who holds its lock.
type portTail struct {
	mu    sync.Mutex
	tick  uint32
	given int
}

// Bounds on tails.
const (
	tailsMax       = 4   // at a time
	tailTracesMax  = 512 // that wait for who takes them
	tracesPerTick  = 40  // of a loop, beside publishes: 200 a second
	publishPerTick = 20  // of a loop, or of all ports together: 100 a second

	// A comparison with a pattern takes up to some microseconds; with a whole name it costs nothing, and has no bound.
	comparedPerTick = 2000 // of a loop; what comes beyond it is counted as left out, wanted or not
)

// ErrTooManyTails says that as many as may listen do.
var ErrTooManyTails = fmt.Errorf("%d listen to what happens already; end one of them, or try again later", tailsMax)

// NewTail begins to listen. The caller takes from Next, and ends it with Close. Errors: ctx's, ErrStopping, ErrTooManyTails, and one
// for a kind that there is not. Any goroutine that is no loop.
func (h *Hub) NewTail(ctx context.Context, f TailFilter) (*Tail, error) {
	t := &Tail{hub: h, filter: f, traces: make(chan Trace, tailTracesMax), compares: strings.Contains(f.Group, "*")}
	for _, name := range f.Kinds {
		k := slices.Index(traceNames, name)
		if k < 0 {
			return nil, fmt.Errorf("%q is none of the kinds %s", name, strings.Join(traceNames, ", "))
		}
		t.kinds |= 1 << k
	}
	if len(f.Kinds) == 0 {
		t.kinds = 1<<len(traceNames) - 1
	}
	if !h.tails.add(t) {
		return nil, ErrTooManyTails
	}
	t.close = sync.OnceFunc(func() {
		h.tails.remove(t)
		for _, s := range h.shards {
			h.call(s, func(s *shard) { s.traces.drop(t) })
		}
	})
	err := h.each(ctx, func(s *shard) {
		s.traces.tails = append(s.traces.tails, &tailEnd{tail: t, tick: s.hub.clock.Load()})
		s.traces.on = true
	})
	if err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

// Next is where traces come out, about in the order in which they have happened.
func (t *Tail) Next() <-chan Trace { return t.traces }

// Left is how many traces that the filter takes were left out so far. Any goroutine.
func (t *Tail) Left() uint64 { return t.left.Load() }

// Close ends it; loops may still give some traces.
func (t *Tail) Close() { t.close() }

func (ts *traces) drop(t *Tail) {
	for i, l := range ts.tails {
		if l.tail == t {
			ts.tails = append(ts.tails[:i:i], ts.tails[i+1:]...)
			break
		}
	}
	ts.on = len(ts.tails) > 0
}

// wants says whether a trace is wanted.
func (t *Tail) wants(x *Trace) bool {
	return t.kinds&(1<<x.Kind) != 0 && (t.filter.Client == 0 || t.filter.Client == x.Client) &&
		(t.filter.Group == "" || x.Group != "" && door.Matches(t.filter.Group, x.Group))
}

// give gives a trace, or counts it as left out.
func (t *Tail) give(x Trace) {
	x.Group = strings.Clone(x.Group) // it may be a part of a message, which would be kept with it
	x.At = t.hub.millis(x.At)
	select {
	case t.traces <- x:
	default:
		t.left.Add(1)
	}
}

// tell tells a trace to who listens and wants it. It is called while somebody does.
func (s *shard) tell(c *client, x Trace) {
	x.At, x.Loop, x.Client = s.env.now(), s.index, c.Number()
	now := s.hub.clock.Load()
	for _, l := range s.traces.tails {
		if l.tick != now {
			*l = tailEnd{tail: l.tail, tick: now}
		}
		if l.tail.compares {
			if l.seen++; l.seen > comparedPerTick {
				l.tail.left.Add(1)
				continue
			}
		}
		if !l.tail.wants(&x) {
			continue
		}
		of, most := &l.given[0], publishPerTick
		if x.Kind != TracePublish {
			of, most = &l.given[1], tracesPerTick
		}
		if *of >= most {
			l.tail.left.Add(1)
			continue
		}
		*of++
		if x.Kind == TraceConnect && x.Remote == "" {
			x.Remote = s.remoteOf(c)
		}
		l.tail.give(x)
	}
}

// tellPort tells what a server publishes by a port, to who listens.
func (h *Hub) tellPort(m *message) {
	for _, t := range h.tails.list() {
		x := Trace{At: int64(time.Since(h.started)), Kind: TracePublish, Loop: -1, Group: m.Group, Number: uint64(len(m.Payload()))}
		if !t.wants(&x) {
			continue
		}
		t.ports.mu.Lock()
		if now := h.clock.Load(); t.ports.tick != now {
			t.ports.tick, t.ports.given = now, 0
		}
		t.ports.given++
		over := t.ports.given > publishPerTick
		t.ports.mu.Unlock()
		if over {
			t.left.Add(1)
		} else {
			t.give(x)
		}
	}
}

// tails is all who listen.
//
// Owner: any goroutine: what changes the list has the lock, and puts another in its place.
type tails struct {
	mu  sync.Mutex
	all atomic.Pointer[[]*Tail] // nil: none
}

func (ts *tails) list() []*Tail {
	if all := ts.all.Load(); all != nil {
		return *all
	}
	return nil
}

func (ts *tails) add(t *Tail) (ok bool) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	was := ts.list()
	if len(was) >= tailsMax {
		return false
	}
	all := append(was[:len(was):len(was)], t)
	ts.all.Store(&all)
	return true
}

func (ts *tails) remove(t *Tail) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	var all []*Tail
	for _, other := range ts.list() {
		if other != t {
			all = append(all, other)
		}
	}
	if len(all) == 0 {
		ts.all.Store(nil)
		return
	}
	ts.all.Store(&all)
}

// millis is a time of the loops' clock in Unix milliseconds.
func (h *Hub) millis(nanos int64) int64 { return h.started.Add(time.Duration(nanos)).UnixMilli() }

// codeText is a close code, or an HTTP status.
func codeText(code wsproto.StatusCode) string { return strconv.Itoa(int(code)) }
