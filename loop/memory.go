package loop

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync/atomic"
	"time"
)

// This file keeps the process within its memory limit, which Go's collector alone cannot do, as it frees nothing that is in use.
// Each tick the hub compares two figures: the sum of its own counters, which is of this moment, and the bytes that the last
// collection found in use, which miss nothing. The larger counts. From four fifths of the limit on, new connections and publishes
// are refused, so that memory is left for the clients that are there. From nine tenths on, the largest outboxes are cut off until
// it is back at four fifths.

// memory is what the hub knows of the process's memory.
//
// Owner: the goroutine that calls weigh, except where a line says otherwise.
type memory struct {
	used      atomic.Int64  // as of the last tick; any goroutine reads
	cycles    uint64        // number of collections at the last tick
	trusted   uint64        // the first collection after which the heap is without what was cut off
	collected time.Time     // end of the last collection that weigh asked for
	rest      time.Duration // least time from then to the next
}

// The levels of pressure.
const (
	pressureNone   uint32 = iota
	pressureRefuse        // no new connections, no publishes
	pressureCut           // and the largest outboxes are cut off
)

var pressureNames = []string{"none", "refuse", "cut"}

// pressureOf is the level at so many bytes used of a limit. It falls later than it rises, as at a border it would else
// change with every message.
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

// heap is what Go's runtime reports.
type heap struct {
	live   int64  // bytes of objects that the last collection found in use
	beside int64  // bytes outside the heap: stacks, the runtime's own
	cycles uint64 // number of collections
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

// weigh determines how much memory is used and sets the pressure. One goroutine calls it, each tick. collect empties pools too,
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
	// What an old collection found in use may be free by now, and while all is refused nothing is allocated that would start
	// another.
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
		level = pressureRefuse // no client is cut off for memory that may be free by now
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

// owned is the memory that the hub knows of. Loops mostly share the messages that they have gathered, so of all loops only the
// largest sum of these counts.
func (h *Hub) owned() int64 {
	sum := idleBytes + h.homes.Bytes() + h.homes.HistoryBytes() + h.homes.KeyBytes() + h.connections.Load()*clientBytes + h.outboxes.Load() + h.partials.bytes.Load()
	var gathered int64
	for _, s := range h.shards {
		sum += s.count.backlogBytes.Load() + s.count.replayBytes.Load()
		sum += s.count.TLSClients.Load()*tlsBytes + s.count.TLSRunning.Load()*shakingBytes
		gathered = max(gathered, s.count.gatheredBytes.Load())
	}
	return sum + gathered
}

const (
	// clientBytes is what a client in one group takes, as measured: resident memory of a server with a million of them.
	clientBytes = 600
	// tlsBytes is what a client over TLS takes beyond that, likewise: crypto/tls's connection and its keys.
	tlsBytes = 3500
	// shakingBytes is what a TLS handshake takes while it is under way, its goroutine's stack included.
	shakingBytes = 30 << 10
	// idleBytes is the heap of a server without clients, apart from its lanes.
	idleBytes = 2 << 20
)

// keepMemory calls weigh each tick, on a goroutine of its own, because the clock must not wait for a collection.
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

// collect frees all that can be freed. Two collections empty sync.Pools.
func collect() {
	runtime.GC()
	runtime.GC()
}

// limitGo sets the limit of Go's collector. There is one for the process: with several servers in it the last call counts.
// Without a memory limit it is GOMEMLIMIT's.
func limitGo(memoryMax int64) {
	if memoryMax == 0 {
		memoryMax = goLimit
	}
	debug.SetMemoryLimit(memoryMax)
}

// goLimit is GOMEMLIMIT, the largest number where it is not set.
var goLimit = debug.SetMemoryLimit(-1)
