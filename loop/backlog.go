package loop

import "ringcast/loop/assert"

// backlog is what a shard keeps of its clients' requests while it cannot be done: those before an up lane that is full, in
// order, and add_groups that wait for the answer to an earlier one (client.extra has these). Its bytes bound both; beyond
// them a request is refused.
//
// Owner: the loop.
type backlog struct {
	requests [][]request // for each home, oldest first
	bytes    int         // of requests and repeats
	bytesMax int
}

// take makes room for so many bytes; false: there is none.
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

// waits says whether a request to a home waits, which a later one must not overtake.
func (b *backlog) waits(home int) bool { return len(b.requests[home]) > 0 }

// add keeps a request behind the others of a home; false: there is no room.
func (b *backlog) add(home int, r request, bytes int) bool {
	if !b.take(bytes) {
		return false
	}
	b.requests[home] = append(b.requests[home], r)
	return true
}

// drop takes the first n requests of a home out, whose bytes have been released.
func (b *backlog) drop(home, n int) {
	waiting := b.requests[home]
	rest := copy(waiting, waiting[n:])
	clear(waiting[rest:])
	b.requests[home] = waiting[:rest]
	if rest == 0 {
		b.requests[home] = nil
	}
}

// request sends a request towards a home: into the up lane, or into the backlog when the lane is full or when others wait
// there already. False: refused, nothing was kept.
func (s *shard) request(home int, r request) bool {
	return !s.backlog.waits(home) && s.lanes.Offer(home, r) || s.backlog.add(home, r, r.Bytes())
}

// sendBacklog sends requests of the backlog as far as there is room.
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
