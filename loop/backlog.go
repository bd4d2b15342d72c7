package loop

import (
	"ringcast/loop/assert"
	"ringcast/loop/shrink"
)

// backlog is the requests of a shard's clients that have to wait: those for an up lane that is full, in order, and repeated
// add_groups, which wait for the answer to an earlier one (they are in client.extra). bytesMax bounds both together, and a group
// may have as much of it as is free: so what is left when one group has all that it may is as much again. What would exceed
// either bound is refused.
//
// Owner: the loop.
type backlog struct {
	requests [][]request // for each home, oldest first
	bytes    int         // of requests and repeats
	bytesMax int
	groups   shrink.Map[string, int] // of bytes, those of each group that has any
}

// take counts so many bytes of a group; false: they would exceed a bound, and are not counted.
func (b *backlog) take(group string, bytes int) bool {
	of := b.groups.Get(group)
	if of+bytes > b.bytesMax-b.bytes {
		return false
	}
	b.groups.Put(group, of+bytes)
	b.bytes += bytes
	return true
}

// release is the opposite of take.
func (b *backlog) release(group string, bytes int) {
	of := b.groups.Get(group) - bytes
	assert.That(of >= 0, "backlog: more released than taken")
	if b.bytes -= bytes; of > 0 {
		b.groups.Put(group, of)
	} else {
		b.groups.Delete(group)
	}
}

// waits says whether requests to a home wait, which a later one must not overtake.
func (b *backlog) waits(home int) bool { return len(b.requests[home]) > 0 }

// add keeps a request after the others to a home; false: it would exceed the bound.
func (b *backlog) add(home int, r request, bytes int) bool {
	if !b.take(r.Group(), bytes) {
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

// request sends a request to a home: into the up lane, or into the backlog if the lane is full, or others wait already, or words
// that are owed. False: it
// is refused, and nothing is kept.
func (s *shard) request(home int, r request) bool {
	return !s.backlog.waits(home) && !s.owed.waits(home) && s.lanes.Offer(home, r) || s.backlog.add(home, r, r.Bytes())
}

// sendBacklog sends requests of the backlog as far as up lanes have room.
func (s *shard) sendBacklog() (moved bool) {
	if s.backlog.bytes == 0 {
		return false
	}
	for home, waiting := range s.backlog.requests {
		n := 0
		for n < len(waiting) && !s.owed.waits(home) && s.lanes.Offer(home, waiting[n]) {
			s.backlog.release(waiting[n].Group(), waiting[n].Bytes())
			n++
		}
		if n > 0 {
			s.backlog.drop(home, n)
			moved = true
		}
	}
	return moved
}
