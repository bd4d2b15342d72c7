package loop

import "ringcast/loop/assert"

// backlog is the requests of a shard's clients that have to wait: those for an up lane that is full, in order, and repeated
// add_groups, which wait for the answer to an earlier one (they are in client.extra). bytesMax bounds both together; what would
// exceed it is refused.
//
// Owner: the loop.
type backlog struct {
	requests [][]request // for each home, oldest first
	bytes    int         // of requests and repeats
	bytesMax int
}

// take counts so many bytes; false: they would exceed the bound, and are not counted.
func (b *backlog) take(bytes int) bool {
	if b.bytes+bytes > b.bytesMax {
		return false
	}
	b.bytes += bytes
	return true
}

// release is the opposite of take.
func (b *backlog) release(bytes int) {
	b.bytes -= bytes
	assert.That(b.bytes >= 0, "backlog: more released than taken")
}

// waits says whether requests to a home wait, which a later one must not overtake.
func (b *backlog) waits(home int) bool { return len(b.requests[home]) > 0 }

// add keeps a request after the others to a home; false: it would exceed the bound.
func (b *backlog) add(home int, r request, bytes int) bool {
	if !b.take(bytes) {
		return false
	}
	b.requests[home] = append(b.requests[home], r)
	return true
}

// drop takes out the first n requests to a home, whose bytes have been released.
func (b *backlog) drop(home, n int) {
	waiting := b.requests[home]
	rest := copy(waiting, waiting[n:])
	clear(waiting[rest:])
	b.requests[home] = waiting[:rest]
	if rest == 0 {
		b.requests[home] = nil
	}
}

// request sends a request to a home: into the up lane, or into the backlog if the lane is full or others wait already. False: it
// is refused, and nothing is kept.
func (s *shard) request(home int, r request) bool {
	return !s.backlog.waits(home) && s.lanes.Offer(home, r) || s.backlog.add(home, r, r.Bytes())
}

// sendBacklog sends requests of the backlog as far as up lanes have room.
func (s *shard) sendBacklog() (moved bool) {
	if s.backlog.bytes == 0 {
		return false
	}
	for home, waiting := range s.backlog.requests {
		n := 0
		for n < len(waiting) && s.lanes.Offer(home, waiting[n]) {
			s.backlog.release(waiting[n].Bytes())
			n++
		}
		if n > 0 {
			s.backlog.drop(home, n)
			moved = true
		}
	}
	return moved
}
