package loop

import (
	"time"

	"ringcast/dialect"
	"ringcast/wsproto"
)

// heartbeat is the tick at which each of a shard's clients last sent anything. It is a dense array, so that a scan of a million
// clients costs a millisecond and no timer wheel is needed; each tick scans a slice of it.
//
// Owner: the loop.
type heartbeat struct {
	lastSeen []uint32 // by slot, as shard.clients: tick of the last bytes << 1 | a ping was sent since
	from     int      // the slot at which the scan goes on
}

const (
	heartbeatSlices = 5     // ticks in which the whole table is scanned once
	pingsPerTickMax = 2_000 // per loop, so that a million clients that connected together are not pinged in one burst
)

// add makes room for a new client at the end.
func (h *heartbeat) add(tick uint32) { h.lastSeen = append(h.lastSeen, tick<<1) }

// heard notes that a client has sent something.
func (h *heartbeat) heard(slot, tick uint32) { h.lastSeen[slot] = tick << 1 }

// move is for a client that goes to another slot.
func (h *heartbeat) move(from, to uint32) { h.lastSeen[to] = h.lastSeen[from] }

// drop moves the last client to the slot of one that has gone.
func (h *heartbeat) drop(slot uint32) {
	last := len(h.lastSeen) - 1
	h.lastSeen[slot] = h.lastSeen[last]
	h.lastSeen = h.lastSeen[:last]
	if cap(h.lastSeen) > clientsKeptMin && last < cap(h.lastSeen)/4 {
		h.lastSeen = append(make([]uint32, 0, cap(h.lastSeen)/2), h.lastSeen...)
	}
}

// next is the slot to look at next.
func (h *heartbeat) next() (slot int) {
	if h.from >= len(h.lastSeen) {
		h.from = 0
	}
	h.from++
	return h.from - 1
}

// silence is the ticks since a client has sent anything, and whether it was pinged since.
func (h *heartbeat) silence(slot int, tick uint32) (ticks uint32, pinged bool) {
	seen := h.lastSeen[slot]
	return (tick - seen>>1) & (1<<31 - 1), seen&1 != 0
}

// pinged notes that a client was pinged.
func (h *heartbeat) pinged(slot int) { h.lastSeen[slot] |= 1 }

// beat is after how many ticks of silence a client is pinged, and closed; 0: it is not.
type beat struct{ ping, close uint32 }

// beats are those of clients of each dialect.
type beats struct {
	of    [dialect.FormsMax]beat // by dialect
	first uint32                 // the least silence after which any is pinged; 0: none ever is
}

// beatsOf are the beats of clients of dialects, in order of their forms. What is said of the heartbeat holds as it is for dialects that
// have no other measure: a client is pinged when it was silent for that, and closed after twice of it.
func (b *bounds) beatsOf(dialects []dialect.Entry) (all beats) {
	if b.heartbeatTicks == 0 {
		return all
	}
	for form, e := range dialects {
		beat := &all.of[form]
		*beat = beatOf(e.HeartbeatSeconds, b)
		if beat.ping > 0 && (all.first == 0 || beat.ping < all.first) {
			all.first = beat.ping
		}
	}
	return all
}

func beatOf(seconds func(uint64) (silence, wait uint64), b *bounds) beat {
	if seconds == nil {
		return beat{ping: b.heartbeatTicks, close: 2 * b.heartbeatTicks}
	}
	silence, wait := seconds(b.heartbeatSeconds())
	if silence == 0 {
		return beat{}
	}
	return beat{ping: ticks(time.Duration(silence) * time.Second), close: ticks(time.Duration(silence+wait) * time.Second)}
}

// pingSilent pings clients that were silent for long, and closes those that were for longer.
func (s *shard) pingSilent() {
	interval := s.bounds.beats.first
	if interval == 0 || len(s.clients) == 0 {
		return
	}
	slices := min(max(interval/4, 1), heartbeatSlices)
	todo := len(s.clients)/int(slices) + 1
	for pings := 0; todo > 0 && pings < pingsPerTickMax; todo-- {
		at := s.heartbeat.next()
		silent, pinged := s.heartbeat.silence(at, s.tick)
		if silent < interval {
			continue
		}
		c := s.clients[at]
		beat := &s.bounds.beats.of[c.dialect()]
		if c.state != stateOpen || !c.is(markConnected) || beat.ping == 0 || silent < beat.ping {
			continue
		}
		switch {
		case silent >= beat.close && pinged:
			s.count.HeartbeatClosed.Add(1)
			s.close(c, dialect.CauseSilent)
			pings++
		case !pinged:
			s.heartbeat.pinged(at)
			s.ping(c)
			s.count.Pings.Add(1)
			pings++
		}
	}
}

// ping has a client show a sign of life: by what its dialect has for it, or by WebSocket's own ping, which its library answers.
func (s *shard) ping(c *client) {
	if c.is(markFramePings) {
		s.replyTo(c, wsproto.AppendPing(s.outFor(c), nil))
		return
	}
	s.answer(c, dialect.Outcome{What: dialect.Ping})
}
