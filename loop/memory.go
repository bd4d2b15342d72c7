package loop

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
	"time"
)

// This file keeps the process within its memory limit, which Go's collector alone cannot do: what is alive is alive. Each
// tick the hub looks at what it has by its own books, which are of this moment, and at what the last collection found
// alive, which misses nothing. The larger of the two counts. From four fifths of the limit on, newcomers and publishes
// are refused, which keeps what is there going; from nine tenths on, the largest outboxes are cut off until it is back
// at four fifths.

// memory is the hub's account. Owner: the goroutine that calls weigh, except where a line says otherwise.
type memory struct {
	used      atomic.Int64 // as of the last tick; any goroutine reads
	cycles    uint64       // collections when the heap was last looked at
	trusted   uint64       // the collection from which on it is without what was cut off
	collected time.Time    // end of the last collection that was asked for here
	rest      time.Duration
}

// The levels of pressure.
const (
	pressureNone   uint32 = iota
	pressureRefuse        // no newcomers, no publishes
	pressureCut           // and the largest outboxes are cut off
)

var pressureNames = []string{"none", "refuse", "cut"}

// pressureOf is the level at so much used of a limit. It falls later than it rises: at the border it would change with
// every message.
func pressureOf(before uint32, used, limit int64) uint32 {
	refuse, cut := limit/10*8, limit/10*9
	switch {
	case used >= cut, before == pressureCut && used >= refuse:
		return pressureCut
	case used >= refuse, before >= pressureRefuse && used >= limit/4*3:
		return pressureRefuse
	default:
		return pressureNone
	}
}

// heap is what Go's runtime says of itself.
type heap struct {
	live   int64 // bytes of objects that the last collection found alive
	beside int64 // bytes that are no heap: stacks, the runtime's own
	cycles uint64
}

func readHeap() heap {
	samples := []metrics.Sample{
		{Name: "/gc/heap/live:bytes"}, {Name: "/gc/cycles/total:gc-cycles"}, {Name: "/memory/classes/total:bytes"},
		{Name: "/memory/classes/heap/released:bytes"}, {Name: "/memory/classes/heap/objects:bytes"},
		{Name: "/memory/classes/heap/free:bytes"}, {Name: "/memory/classes/heap/unused:bytes"},
	}
	metrics.Read(samples)
	h := heap{live: int64(samples[0].Value.Uint64()), cycles: samples[1].Value.Uint64(), beside: int64(samples[2].Value.Uint64())}
	for _, s := range samples[3:] {
		h.beside -= int64(s.Value.Uint64())
	}
	return h
}

// weigh looks how much memory is used and sets the pressure. One goroutine calls it, each tick. collect empties pools too,
// and may take long.
func (h *Hub) weigh(read func() heap, collect func()) {
	m, b, before := &h.memory, h.bounds.Load(), h.pressure.Load()
	limit, most := b.MemoryMax, b.outboxesMax()
	if limit == 0 {
		m.used.Store(0)
		h.outboxesMax.Store(most)
		h.pressure.Store(pressureNone)
		return
	}
	now := read()
	own := h.owned() + now.beside
	// What was alive at an old collection may be gone, and while everybody is refused nothing brings about another.
	stale := now.cycles == m.cycles || now.cycles < m.trusted
	if stale && now.live+now.beside >= limit/4*3 && now.live+now.beside > own && time.Since(m.collected) >= m.rest {
		began := time.Now()
		collect()
		m.collected = time.Now()
		m.rest = max(time.Second, 10*m.collected.Sub(began)) // a tenth of one processor at the most
		now, stale = read(), false
	}
	m.cycles = now.cycles
	used := max(own, now.live+now.beside)
	level := pressureOf(before, used, limit)
	if level == pressureCut && stale && pressureOf(before, own, limit) < pressureCut {
		level = pressureRefuse // nobody is cut off for what may be gone
	}
	if level == pressureCut {
		m.trusted = now.cycles + 2 // buffers of gnet's go into pools, which it takes two collections to empty
		most = min(most, max(0, h.outboxes.Load()-(used-limit/10*8)))
	}
	m.used.Store(used)
	h.outboxesMax.Store(most)
	h.pressure.Store(level)
	if level == pressureCut {
		for i := range h.shards {
			h.wake(i)
		}
	}
}

// owned is what the hub holds by its own books. The messages that loops have gathered are the same ones, or nearly: the most
// counts, once.
func (h *Hub) owned() int64 {
	sum := idleBytes + h.homes.Bytes() + h.connections.Load()*clientBytes + h.outboxes.Load() + h.partials.bytes.Load()
	var gathered int64
	for _, s := range h.shards {
		sum += s.count.parkedBytes.Load()
		gathered = max(gathered, s.count.gatheredBytes.Load())
	}
	return sum + gathered
}

const (
	// clientBytes is what a client in one group takes, as measured: resident memory of a server with a million of them.
	clientBytes = 600
	// idleBytes is the heap of a server that has none, beside its lanes.
	idleBytes = 2 << 20
)

// keepMemory weighs at each tick, on a goroutine of its own: the clock must not wait for a collection.
func (s *Server) keepMemory() {
	ticker := time.NewTicker(tickPeriod)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			before := s.hub.pressure.Load()
			s.hub.weigh(readHeap, collect)
			if level := s.hub.pressure.Load(); level != before {
				s.log.Warn("memory pressure has changed", "pressure", pressureNames[level],
					"used", s.hub.memory.used.Load(), "limit", s.hub.bounds.Load().MemoryMax)
			}
		case <-s.done:
			return
		}
	}
}

// collect has everything collected that can be, pools included.
func collect() {
	runtime.GC()
	runtime.GC()
}

// limitGo tells Go's collector of the limit. It is the process's: of several servers in one the last word counts. Without
// a limit of ours GOMEMLIMIT holds.
func limitGo(memoryMax int64) {
	if memoryMax == 0 {
		memoryMax = goLimit
	}
	debug.SetMemoryLimit(memoryMax)
}

// goLimit is GOMEMLIMIT, the largest number where it is not set.
var goLimit = debug.SetMemoryLimit(-1)
