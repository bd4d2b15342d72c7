package loop

import (
	"hash/maphash"
	"math/bits"
	"sync/atomic"
)

// home puts the messages of its groups in order: it numbers each and hands it to every loop that has members. A group
// has exactly one home, chosen by a hash of its name, so all members everywhere see one order, as they did when one
// Channel server process carried everything.
//
// A home has no thread. The loop that has something for it hosts it: takes hold of it, serves what there is, lets go
// (shard.host). So a message goes from its sender's loop to the members' loops with one wake-up each, and the home costs
// none; when it always ran on one loop, that loop had to be woken too, the dearest step of a message between two clients.
// What is held is passed over, never waited for: whoever holds it looks again after letting go.
//
// Owner: the loop that holds it. Home code touches nothing of that loop's shard: what it needs are its lanes, and it
// leaves in toWake whom to wake.
type home struct {
	// Immutable after start.
	index int
	up    []*lane[request] // from each loop, this home being the only consumer
	ports *[portsMax]atomic.Pointer[Port]
	down  []*lane[delivery] // to each loop, this home being the only producer
	bells []*bell           // of each loop

	bounds *atomic.Pointer[bounds] // of the hub
	census *census

	// Any goroutine: what there is to do. Set it, then host the home or wake a loop that will.
	fresh     atomic.Uint64 // bit per loop whose up lane to this home has items
	freshPort atomic.Uint64 // bit per port, likewise
	room      atomic.Bool   // a down lane that was full has room again
	feed      atomic.Pointer[Feed]
	_         [cacheLine]byte

	// Any goroutine: who holds it owns what follows.
	held atomic.Bool

	groups      table[string, *homeGroup]
	serving     *lane[request] // whose front is being served, for abandon
	stalled     uint64         // bit per loop whose up lane's front waits for room in a down lane
	stalledPort uint64
	first       int    // loop whose lane is served first
	toWake      uint64 // bit per loop that was given something, or waits for room that was made

	// Whoever holds it writes, any goroutine reads.
	published  atomic.Uint64 // publishes that it has numbered
	groupCount atomic.Int64  // groups that it has
	_          [cacheLine]byte
}

// called says whether there is something to do. Any goroutine.
func (h *home) called() bool { return h.fresh.Load()|h.freshPort.Load() != 0 || h.room.Load() }

// work serves every up lane that has something, once, and reports whether anything was done.
func (h *home) work() (moved bool) {
	todo, ports := take(&h.fresh), take(&h.freshPort)
	if h.room.Load() && h.room.Swap(false) {
		todo, ports = todo|h.stalled, ports|h.stalledPort
		h.stalled, h.stalledPort = 0, 0
	}
	// Another loop comes first each time: where room is scarce, the first would take all of it.
	h.first = (h.first + 1) % len(h.up)
	for todo = bits.RotateLeft64(todo, -h.first); todo != 0; todo &= todo - 1 {
		from := (bits.TrailingZeros64(todo) + h.first) % 64
		served, stalled, awaited := h.drain(h.up[from], from)
		if stalled {
			h.stalled |= 1 << from
		}
		if awaited {
			h.toWake |= 1 << from
		}
		moved = moved || served > 0
	}
	for ; ports != 0; ports &= ports - 1 {
		from := bits.TrailingZeros64(ports)
		port := h.ports[from].Load()
		served, stalled, awaited := h.drain(port.up[h.index], portOrigin)
		if stalled {
			h.stalledPort |= 1 << from
		}
		if awaited {
			port.roomMade(h.index)
		}
		moved = moved || served > 0
	}
	return moved
}

// takeWake empties toWake.
func (h *home) takeWake() uint64 {
	toWake := h.toWake
	h.toWake = 0
	return toWake
}

// homeGroup is a group that some loop has members of, or will hear that it may have.
type homeGroup struct {
	headcount headcount  // loops have pointers to it
	seq       uint64     // number of the last message; counts since the group's first member joined
	locals    []localRef // one per loop with members
}

// localRef leads back to a loop's own part of a group. The home never looks into g; it hands it back to the loop it
// came from, which saves that loop the map look-up.
type localRef struct {
	loop int
	g    *group
}

// newHomeHash is the hash that chooses homes. It is different in each process: else a client could work out names that
// all fall to one home.
func newHomeHash() func(string) uint64 {
	seed := maphash.MakeSeed()
	return func(group string) uint64 { return maphash.String(seed, group) }
}

// homeOf is the index of a group's home.
func (h *Hub) homeOf(group string) int { return int(h.hash(group) % uint64(len(h.shards))) }

// drain serves what an up lane held at the time of the call, in order. stalled: the front request found no room in a
// down lane and stays where it is, nothing lost and nothing overtaken; the home is called when that down lane has been
// drained. awaited: the lane's producer waits for the room just made.
func (h *home) drain(up *lane[request], origin int) (served int, stalled, awaited bool) {
	for n := up.len(); served < n; served++ {
		r := up.front()
		bytes := r.bytes()
		h.serving = up
		if !h.serve(r, origin) {
			stalled = true
			break
		}
		h.serving = nil
		up.done(bytes)
	}
	h.serving = nil
	return served, stalled, up.takeAwaited()
}

// abandon drops the request in whose service something panicked: served again it would panic again, for ever. Which
// lanes had been taken off the words is not known any more, so all are to be looked at.
func (h *home) abandon() {
	if up := h.serving; up != nil {
		h.serving = nil
		up.done(up.front().bytes())
	}
	h.stalled = uint64(1)<<len(h.up) - 1 // also right for 64
	for i := range h.ports {
		if h.ports[i].Load() != nil {
			h.stalledPort |= 1 << i
		}
	}
	h.room.Store(true)
}

// serve does one request, whole or not at all. origin is the loop it came from, portOrigin for a port's.
func (h *home) serve(r *request, origin int) bool {
	assert(h.held.Load(), "home: served by who does not hold it")
	switch r.op {
	case opPublish:
		return h.publish(r, origin)
	case opJoin:
		return h.join(r, origin)
	default:
		h.leave(r, origin)
		return true
	}
}

// portOrigin stands in for a loop's index where a request came through a port.
const portOrigin = -1

func (h *home) publish(r *request, origin int) bool {
	hg := h.groups.m[r.group]
	message := delivery{op: opMessage, at: r.at, frame: r.frame}
	answer := delivery{op: opMessage, client: r.client, id: r.id}
	answers := r.client != nil // cleared when the answer travels with the message

	// Room everywhere first, so that no loop gets a message that another is refused.
	roomy, travels := true, false
	if hg != nil {
		for _, l := range hg.locals {
			roomy = h.fits(l.loop, message.bytes()+len(r.id)) && roomy
			travels = travels || l.loop == origin // the answer goes with the message
		}
	}
	if answers && !travels {
		roomy = h.fits(origin, answer.bytes()) && roomy
	}
	feed, heard := h.feed.Load(), Publication{}
	if feed != nil {
		heard = publication(r)
		roomy = feed.fits(h.index, &heard) && roomy
	}
	if !roomy {
		return false
	}

	var seq uint64
	if hg != nil {
		hg.seq++
		seq = hg.seq
		for _, l := range hg.locals {
			d := message
			d.local, d.seq = l.g, seq
			if answers && l.loop == origin {
				d.client, d.id = r.client, r.id
				answers = false
			}
			h.send(l.loop, d)
		}
	}
	if answers {
		answer.seq = seq
		h.send(origin, answer)
	}
	if feed != nil {
		heard.Seq = seq
		feed.hear(h.index, heard)
	}
	if r.via != nil && r.via.result != nil {
		r.via.result <- seq
	}
	h.published.Add(1)
	return true
}

// join takes a place for a client, learns that its loop has members now, and tells it so; or it refuses. A loop asks
// several times when further clients join before the first answer is there.
func (h *home) join(r *request, origin int) bool {
	d := delivery{op: opJoined, local: r.local, client: r.client, id: r.id}
	if !h.fits(origin, d.bytes()) {
		return false
	}
	hg := h.groups.m[r.group]
	isNew := hg == nil
	if isNew {
		hg = &homeGroup{}
	}
	why, ok := h.census.enter(&hg.headcount, h.bounds.Load())
	if !ok {
		d.op, d.why = opRefused, why
		h.send(origin, d)
		return true
	}
	d.headcount = &hg.headcount
	if isNew {
		h.groups.put(r.group, hg)
		h.groupCount.Add(1)
	}
	known := false
	for i := range hg.locals {
		if hg.locals[i].loop == origin {
			hg.locals[i].g, known = r.local, true
		}
	}
	if !known {
		hg.locals = append(hg.locals, localRef{loop: origin, g: r.local})
	}
	h.send(origin, d)
	return true
}

// leave forgets a loop's members, and the group when it was the last loop: a group without members is no group, which
// is what keeps the tables from growing for ever.
func (h *home) leave(r *request, origin int) {
	hg := h.groups.m[r.group]
	if hg == nil {
		return
	}
	for i, l := range hg.locals {
		if l.loop == origin {
			assert(l.g == r.local, "home: a loop leaves with another group than it joined with")
			last := len(hg.locals) - 1
			hg.locals[i] = hg.locals[last]
			hg.locals[last] = localRef{}
			hg.locals = hg.locals[:last]
			break
		}
	}
	if len(hg.locals) == 0 {
		assert(hg.headcount.members.Load() == 0, "home: a group ends that has members")
		h.groups.drop(r.group)
		h.groupCount.Add(-1)
	}
}

// fits asks for room towards a loop, and asks to be called when there is none.
func (h *home) fits(loop, bytes int) bool {
	return h.down[loop].fits(bytes) || h.down[loop].await(bytes)
}

// send hands a delivery to a loop that has room.
func (h *home) send(loop int, d delivery) {
	h.down[loop].send(d, d.bytes())
	note(&h.bells[loop].down, h.index)
	h.toWake |= 1 << loop
}
