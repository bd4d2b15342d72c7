package order

import (
	"math/bits"
	"sync/atomic"

	"ringcast/loop/assert"
	"ringcast/loop/shrink"
)

// Home puts the messages of its groups in order: it numbers each and hands it to every loop that has members. A group
// has exactly one home, chosen by a hash of its name, so all members everywhere see one order, as they did when one
// Channel server process carried everything.
//
// A home has no thread. The loop that has something for it hosts it: takes hold of it, serves what there is, lets go
// (Lanes.Host). So a message goes from its sender's loop to the members' loops with one wake-up each, and the home costs
// none; when it always ran on one loop, that loop had to be woken too, the dearest step of a message between two clients.
// What is held is passed over, never waited for: whoever holds it looks again after letting go.
//
// Owner: the loop that holds it. It leaves in toWake whom to wake.
type Home[G Part, C comparable] struct {
	// Immutable after start.
	index int
	all   *Homes[G, C]
	up    []*lane[Request[G, C]]  // from each loop, this home being the only consumer
	down  []*lane[Delivery[G, C]] // to each loop, this home being the only producer

	// Any goroutine: what there is to do. Set it, then host the home or wake a loop that will.
	fresh     atomic.Uint64 // bit per loop whose up lane to this home has items
	freshPort atomic.Uint64 // bit per port, likewise
	drained   atomic.Bool   // a down lane, or the feed's, that was full has room again
	_         [CacheLine]byte

	// Any goroutine: who holds it owns what follows.
	held atomic.Bool

	groups      shrink.Map[string, *homeGroup[G]]
	serving     *lane[Request[G, C]] // whose front is being served, for DropServing
	stalled     uint64               // bit per loop whose up lane's front waits for room in a down lane
	stalledPort uint64
	next        int    // loop whose lane is served first
	toWake      uint64 // bit per loop that was given something, or waits for room that was made
	groupCount  atomic.Int64
	published   atomic.Uint64
	_           [CacheLine]byte
}

// Groups is the number of groups that the home knows. Any goroutine.
func (h *Home[G, C]) Groups() int64 { return h.groupCount.Load() }

// Published is the number of publishes that it has put in order. Any goroutine.
func (h *Home[G, C]) Published() uint64 { return h.published.Load() }

// TryHold takes hold of the home, unless somebody has it.
func (h *Home[G, C]) TryHold() bool { return h.held.CompareAndSwap(false, true) }

// LetGo is the opposite. Whoever lets go looks at Called once more: what came meanwhile was left to it.
func (h *Home[G, C]) LetGo() { h.held.Store(false) }

// Called says whether there is something to do. Any goroutine.
func (h *Home[G, C]) Called() bool { return h.fresh.Load()|h.freshPort.Load() != 0 || h.drained.Load() }

// Work serves every up lane that has something, once, and reports whether anything was done.
func (h *Home[G, C]) Work() (moved bool) {
	todo, ports := take(&h.fresh), take(&h.freshPort)
	if h.drained.Load() && h.drained.Swap(false) {
		todo, ports = todo|h.stalled, ports|h.stalledPort
		h.stalled, h.stalledPort = 0, 0
	}
	// Another loop comes first each time: where room is scarce, the first would take all of it.
	h.next = (h.next + 1) % len(h.up)
	for todo = bits.RotateLeft64(todo, -h.next); todo != 0; todo &= todo - 1 {
		from := (bits.TrailingZeros64(todo) + h.next) % 64
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
		port := h.all.ports[from].Load()
		served, stalled, awaited := h.drain(port.up[h.index].lane, portOrigin)
		if stalled {
			h.stalledPort |= 1 << from
		}
		if awaited {
			port.up[h.index].roomMade()
		}
		moved = moved || served > 0
	}
	return moved
}

// takeWake empties toWake.
func (h *Home[G, C]) takeWake() uint64 {
	toWake := h.toWake
	h.toWake = 0
	return toWake
}

// homeGroup is a group that some loop has members of, or will hear that it may have.
type homeGroup[G Part] struct {
	headcount Headcount     // loops have pointers to it
	offset    uint64        // number of the last message; counts since the group's first member joined
	locals    []localRef[G] // one per loop with members
}

// localRef leads back to a loop's own part of a group.
type localRef[G Part] struct {
	loop int
	part G
}

// drain serves what an up lane held at the time of the call, in order. stalled: the front request found no room in a
// down lane and stays where it is, nothing lost and nothing overtaken; the home is called when that down lane has been
// drained. awaited: the lane's producer waits for the room just made.
func (h *Home[G, C]) drain(up *lane[Request[G, C]], origin int) (served int, stalled, awaited bool) {
	for n := up.len(); served < n; served++ {
		r := up.front()
		bytes := r.Bytes()
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

// DropServing drops the request in whose service something panicked: served again it would panic again, for ever. Which
// lanes had been taken off the words is not known any more, so all are to be looked at.
func (h *Home[G, C]) DropServing() {
	if up := h.serving; up != nil {
		h.serving = nil
		up.done(up.front().Bytes())
	}
	h.stalled = uint64(1)<<len(h.up) - 1 // also right for 64
	for i := range h.all.ports {
		if h.all.ports[i].Load() != nil {
			h.stalledPort |= 1 << i
		}
	}
	h.drained.Store(true)
}

// serve does one request, whole or not at all. origin is the loop it came from, portOrigin for a port's.
func (h *Home[G, C]) serve(r *Request[G, C], origin int) bool {
	assert.That(h.held.Load(), "home: served by who does not hold it")
	switch r.Op {
	case OpPublish:
		return h.publish(r, origin)
	case OpJoin:
		return h.join(r, origin)
	default:
		h.leave(r, origin)
		return true
	}
}

// portOrigin stands in for a loop's index where a request came through a port.
const portOrigin = -1

func (h *Home[G, C]) publish(r *Request[G, C], origin int) bool {
	hg := h.groups.Get(r.Message.Group)
	message := Delivery[G, C]{Op: OpMessage, At: r.At, Message: r.Message}
	answer := Delivery[G, C]{Op: OpMessage, Message: r.Message, Client: r.Client, ID: r.ID}
	var nobody C
	answers := r.Client != nobody // cleared when the answer travels with the message

	// Room everywhere first, so that no loop gets a message that another is refused.
	roomy, travels := true, false
	if hg != nil {
		for _, l := range hg.locals {
			roomy = h.fits(l.loop, answer.Bytes()) && roomy
			travels = travels || l.loop == origin // the answer goes with the message
		}
	}
	if answers && !travels {
		roomy = h.fits(origin, answer.Bytes()) && roomy
	}
	feed, heard := h.all.feed.Load(), heard{}
	if feed != nil {
		heard = hearing(r)
		roomy = feed.fits(h.index, &heard) && roomy
	}
	if !roomy {
		return false
	}

	if hg != nil {
		hg.offset++
		r.Message.Offset = hg.offset
		for _, l := range hg.locals {
			d := message
			d.Local = l.part
			if answers && l.loop == origin {
				d.Client, d.ID = r.Client, r.ID
				answers = false
			}
			h.send(l.loop, d)
		}
	}
	offset := r.Message.Offset // the message is shared from here on
	if answers {
		h.send(origin, answer)
	}
	if feed != nil {
		feed.hear(h.index, heard)
	}
	if r.via != nil && r.via.result != nil {
		r.via.result <- offset
	}
	h.published.Add(1)
	return true
}

// join takes a place for a client, learns that its loop has members now, and tells it so; or it refuses. A loop asks
// several times when further clients join before the first answer is there.
func (h *Home[G, C]) join(r *Request[G, C], origin int) bool {
	name, d := r.Local.GroupName(), Delivery[G, C]{Op: OpJoined, Local: r.Local, Client: r.Client, ID: r.ID}
	if !h.fits(origin, d.Bytes()) {
		return false
	}
	hg := h.groups.Get(name)
	isNew := hg == nil
	if isNew {
		hg = &homeGroup[G]{}
	}
	membersMax, groupsMax := h.all.env.Bounds(name)
	why, ok := h.all.Census.take(&hg.headcount, membersMax, groupsMax)
	if !ok {
		d.Op, d.Why = OpRefused, why
		h.send(origin, d)
		return true
	}
	d.Headcount = &hg.headcount
	if isNew {
		h.groups.Put(name, hg)
		h.groupCount.Add(1)
	}
	known := false
	for i := range hg.locals {
		if hg.locals[i].loop == origin {
			hg.locals[i].part, known = r.Local, true
		}
	}
	if !known {
		hg.locals = append(hg.locals, localRef[G]{loop: origin, part: r.Local})
	}
	h.send(origin, d)
	return true
}

// leave forgets a loop's members, and the group when it was the last loop: a group without members is no group, which
// is what keeps the tables from growing for ever.
func (h *Home[G, C]) leave(r *Request[G, C], origin int) {
	name := r.Local.GroupName()
	hg := h.groups.Get(name)
	if hg == nil {
		return
	}
	for i, l := range hg.locals {
		if l.loop == origin {
			assert.That(l.part == r.Local, "home: a loop leaves with another group than it joined with")
			last := len(hg.locals) - 1
			hg.locals[i] = hg.locals[last]
			hg.locals[last] = localRef[G]{}
			hg.locals = hg.locals[:last]
			break
		}
	}
	if len(hg.locals) == 0 {
		assert.That(hg.headcount.members.Load() == 0, "home: a group ends that has members")
		h.groups.Delete(name)
		h.groupCount.Add(-1)
	}
}

// fits asks for room towards a loop, and asks to be called when there is none.
func (h *Home[G, C]) fits(loop, bytes int) bool {
	return h.down[loop].fits(bytes) || h.down[loop].await(bytes)
}

// send hands a delivery to a loop that has room.
func (h *Home[G, C]) send(loop int, d Delivery[G, C]) {
	h.down[loop].send(d, d.Bytes())
	note(&h.all.lanes[loop].bell.down, h.index)
	h.toWake |= 1 << loop
}
