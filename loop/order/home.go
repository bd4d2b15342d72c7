package order

import (
	"math/bits"
	"sync/atomic"

	"ringcast/loop/assert"
	"ringcast/loop/shrink"
)

// Home puts the messages of its groups in order: it numbers each and sends it to every loop that has members. A group has
// exactly one home, chosen by a hash of its name, so all members everywhere see one order, as they did in the original,
// where one Channel server process carried all messages.
//
// A home has no goroutine. A loop that has a request for it hosts it (Lanes.Host), as a port's goroutine does: holds it, serves what lies in
// its up lanes, lets go. So a message goes from its sender's loop to the members' loops with one wake-up each, and the home costs none. When
// each home ran on one loop, that loop had to be woken too, the most expensive step of a message between two clients. A loop
// never waits for a home that another loop holds: the other one looks at the up lanes again after letting go.
//
// Owner: who holds it: most often a loop, for a moment a port's goroutine (hosting.go).
type Home[G Part, C Client] struct {
	// Immutable after start.
	index int
	all   *Homes[G, C]
	up    []*lane[Request[G, C]]  // from each loop, this home being the only consumer
	down  []*lane[Delivery[G, C]] // to each loop, this home being the only producer

	// Any goroutine (atomic): what there is to do. Who sets it then hosts the home, or wakes a loop that does.
	fresh     atomic.Uint64 // bit per loop whose up lane to this home has items
	freshPort atomic.Uint64 // bit per port, likewise
	roomMade  atomic.Bool   // a down lane, or the feed's, that was full has room again
	_         [CacheLine]byte

	// Any goroutine (atomic).
	held atomic.Bool

	// Who has set held only.
	ordering    *ordering[G, C] // nil: the home numbers what is published; immutable once there are requests
	groups      shrink.Map[string, *homeGroup[G]]
	serving     *lane[Request[G, C]] // whose front is being served, for dropServing
	stalled     uint64               // bit per loop whose up lane's front waits for room in a down lane
	stalledPort uint64
	next        int    // loop whose lane is served first
	toWake      uint64 // bit per loop that was sent something for many members, or whose up lane has room again that it waits for
	given       uint64 // bit per loop that was sent something
	histories   histories[G]
	presences   shrink.Map[*homeGroup[G], *presence] // of groups whose kind has it: others take no room for that
	far         farMembers
	keys        [keyClasses]keys
	caches      caches
	groupCount  atomic.Int64
	published   atomic.Uint64
	_           [CacheLine]byte

	// Written by who has set held, read by any goroutine.
	keptGroups   atomic.Int64 // histories that have messages, or are alone
	keptMessages atomic.Int64
	keptBytes    atomic.Int64
	warmGroups   atomic.Int64 // in histories.warm
	cachedGroups atomic.Int64 // in caches
	offered      atomic.Int64 // in ordering.waiting
	setAsideNow  atomic.Int64 // in ordering.asked
	asideRefused atomic.Uint64
	full         atomic.Bool // a port's publish, which cannot be refused, waits in its lane for room at the orderer
	_            [CacheLine]byte
}

// Groups is the number of groups with members that the home knows of. Any goroutine.
func (h *Home[G, C]) Groups() int64 { return h.groupCount.Load() }

// Published is the number of publishes that the home has put in order since the start. Any goroutine.
func (h *Home[G, C]) Published() uint64 { return h.published.Load() }

// tryHold holds the home; false: another loop does.
func (h *Home[G, C]) tryHold() bool { return h.held.CompareAndSwap(false, true) }

// letGo is the opposite. Its caller then looks at called once more: what came while it held the home was left to it.
func (h *Home[G, C]) letGo() { h.held.Store(false) }

// called says whether there is something to do. Any goroutine.
func (h *Home[G, C]) called() bool {
	return h.fresh.Load()|h.freshPort.Load() != 0 || h.roomMade.Load()
}

// serve serves every up lane that has requests, once, and reports whether any was done.
func (h *Home[G, C]) serve() (moved bool) {
	todo, ports := take(&h.fresh), take(&h.freshPort)
	if h.roomMade.Load() && h.roomMade.Swap(false) {
		todo, ports = todo|h.stalled, ports|h.stalledPort
		h.stalled, h.stalledPort = 0, 0
	}
	// Start at another loop each time: where down lanes are nearly full, the first one served takes what room there is.
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
		served, stalled, awaited := h.drain(port.up[h.index].lane, portOrigin(from))
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

// takeWake empties toWake and given.
func (h *Home[G, C]) takeWake() (toWake, given uint64) {
	toWake, given = h.toWake, h.given
	h.toWake, h.given = 0, 0
	return toWake, given
}

// homeGroup is a group with members, or with clients to whom the answer that they may be members is on its way, or that is alone:
// known for its history.
type homeGroup[G Part] struct {
	headcount Headcount     // loops have pointers to it
	heldBack  int8          // the origin of the port whose publish is held back, and goes before all others; 0: none, see flow.go
	present   bool          // Home.presences has it
	kinds     kindsMark     // when its kind was looked at
	offset    uint64        // number of the last message, from 1 since the group's first member joined, or since its history began. Where there is an orderer and a history: its place, see places
	locals    []localRef[G] // one per loop with members
	history   *history[G]   // nil: groups of its kind have none
}

// drain serves the requests that lie in an up lane at the time of the call, in order. stalled: the front request found no room
// in a down lane and stays where it is, so nothing is lost or overtaken; the home is called when that lane has room. awaited:
// the up lane's producer waits for the room that was made.
func (h *Home[G, C]) drain(up *lane[Request[G, C]], origin int) (served int, stalled, awaited bool) {
	for n := up.len(); served < n; served++ {
		r := up.front()
		bytes := r.Bytes()
		h.serving = up
		if !h.do(r, origin) {
			stalled = true
			break
		}
		h.serving = nil
		up.done(bytes)
	}
	h.serving = nil
	return served, stalled, up.takeAwaited()
}

// dropServing drops the request over which something panicked: served again it would panic again, for ever. Which bits
// serve had taken is not known any more, so all up lanes are to be looked at.
func (h *Home[G, C]) dropServing() {
	if up := h.serving; up != nil {
		h.serving, h.far.sweeping = nil, nil
		r := up.front()
		if r.Message != nil {
			h.release(r.Message.Group) // it may have been this request; another one that waits will say so again
		} else if r.Op == OpThere {
			h.release(r.via.token.(*far).group)
		}
		tellUnknown(r)
		if h.ordering == nil || h.dropOrdering(r) {
			up.done(r.Bytes())
		}
	}
	h.stalled = uint64(1)<<len(h.up) - 1 // also right for 64
	for i := range h.all.ports {
		if h.all.ports[i].Load() != nil {
			h.stalledPort |= 1 << i
		}
	}
	h.roomMade.Store(true)
}

// release has whoever publishes to a group not be held back for a request that was.
func (h *Home[G, C]) release(group string) {
	if hg := h.groups.Get(group); hg != nil {
		hg.heldBack = 0
	}
}

// do does one request, whole or not at all; false: there is no room for it. origin is the loop that it came from, or a port's
// portOrigin.
func (h *Home[G, C]) do(r *Request[G, C], origin int) bool {
	assert.That(h.held.Load(), "home: served by a loop that does not hold it")
	switch r.Op {
	case OpPublish:
		return h.publish(r, origin)
	case OpJoin:
		return h.join(r, origin)
	case OpHistory:
		return h.read(r, origin)
	case OpPresence, OpCount:
		return h.list(r, origin)
	case OpCached:
		h.tellCached(r, origin)
	case OpForget:
		return h.forgetHistory(r, origin)
	case OpGone:
		return h.gone(r, origin)
	case OpHere:
		return h.here(r, origin)
	case OpThere:
		return h.there(r, origin)
	case OpAway:
		return h.away(r)
	case OpSweep:
		return h.sweep(r)
	case OpOrdered:
		return h.ordered(r, origin)
	case OpAnswer:
		return h.answered(r)
	case OpRecalled:
		return h.recalled(r)
	case OpEpoch:
		h.epochBegins(r)
	default:
		h.leave(r, origin)
	}
	return true
}

// portOrigin stands in for a loop's index where a request came through a port. It is negative.
func portOrigin(port int) int { return -1 - port }

func (h *Home[G, C]) publish(r *Request[G, C], origin int) bool {
	if key := r.key(); key != "" {
		if first := h.repeated(r.Message.Group, key); first != nil {
			return h.repeat(r, origin, first)
		}
	}
	hg := h.find(r.Message.Group)
	if h.ordering != nil {
		return h.publishOrdered(hg, r, origin)
	}
	return h.publishHere(hg, r, origin)
}

// publishHere numbers a publish and sends it, or refuses it. hg is nil if the home does not know the group.
func (h *Home[G, C]) publishHere(hg *homeGroup[G], r *Request[G, C], origin int) bool {
	hg, cache := h.meet(hg, r.Message)
	bytes := r.Message.Bytes()
	if hg != nil && (hg.heldBack != 0 && int(hg.heldBack) != origin || !h.open(hg, bytes)) {
		if origin >= 0 || r.told() != nil {
			return h.refuse(r, origin)
		}
		if !h.holdBack(hg, bytes, origin) {
			return false
		}
	}
	return h.spread(hg, r, origin, cache, nil)
}

// spread puts a publish in order, sends it to all loops with members, and answers it; false: there is no room for that. cache: it is kept
// for so many ticks as the last of its group. o is nil, or what an orderer has said of it.
func (h *Home[G, C]) spread(hg *homeGroup[G], r *Request[G, C], origin int, cache uint32, o *Ordered) bool {
	bytes := r.Message.Bytes()
	message := Delivery[G, C]{Op: OpMessage, At: r.At, Message: r.Message}
	answer := Delivery[G, C]{Op: OpMessage, Client: r.Client, ID: r.ID} // where it is sent by itself
	answers := r.Asks                                                   // cleared when the answer is sent with the message

	// All lanes must have room before the first send, so that no loop gets a message that another does not. Each is asked, so
	// that each that is full calls the home when it has room.
	roomy, travels := true, false
	if hg != nil {
		for _, l := range hg.locals {
			roomy = h.fits(l.loop, message.Bytes()+len(r.ID)) && roomy
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

	var epoch Epoch
	if hg != nil {
		hg.heldBack = 0 // if there was one it was this one
	}
	switch {
	case o != nil:
		epoch = h.numberAs(hg, r, o)
	case hg != nil:
		epoch = h.number(hg, r)
	}
	var receipt Receipt
	if r.via != nil {
		receipt = h.receipt(hg, r, epoch) // it notes a key before anything is sent: should that panic, a repeat is not heard twice
	}
	if cache > 0 {
		h.cache(r.Message, len(r.ID), cache)
	}
	if hg != nil {
		many := hg.headcount.Members() > h.all.config.FewMembers*len(hg.locals)
		for i := range hg.locals {
			l := &hg.locals[i]
			d := message
			d.Offset = r.Message.Offset
			if answers && l.loop == origin {
				d.Client, d.ID = r.Client, r.ID
				answers = false
			}
			h.sendTo(l, d, bytes, many)
		}
	}
	if answers {
		answer.Offset = r.Message.Offset
		h.send(origin, answer)
	}
	if feed != nil {
		feed.hear(h.index, heard)
	}
	h.observeEvent(r.Message)
	if to := r.told(); to != nil {
		to <- told{receipt: receipt}
	}
	h.published.Add(1)
	return true
}

// number gives a message its number in its group, if it is to have one. The epoch is that of a message that is kept, else 0.
func (h *Home[G, C]) number(hg *homeGroup[G], r *Request[G, C]) (epoch Epoch) {
	switch {
	case r.Message.Unkept():
	case hg.history != nil:
		epoch = hg.history.epoch // before it is kept: what makes room for it may end the history, if nobody is there
		h.keep(hg.history, r.Message, len(r.ID))
	default:
		hg.offset++
		r.Message.Offset = hg.offset
	}
	return epoch
}

// receipt says of a publish that it is accepted, and notes that under its key, if it has one. hg is nil if the home does not know the
// group.
func (h *Home[G, C]) receipt(hg *homeGroup[G], r *Request[G, C], epoch Epoch) (receipt Receipt) {
	receipt = Receipt{Position: Position{r.Message.Offset, epoch}, Kept: r.Message.Kept}
	if hg != nil {
		receipt.Members = hg.headcount.Members()
	}
	if key := r.key(); key != "" {
		h.noteKey(r.Message.Group, key, receipt)
	}
	return receipt
}

// refuse tells who has published that too much of the group is in flight.
func (h *Home[G, C]) refuse(r *Request[G, C], origin int) bool {
	d := Delivery[G, C]{Op: OpBusy, Asks: r.Asks, Why: RefusedBusy, Client: r.Client, ID: r.ID}
	switch {
	case origin < 0:
		r.told() <- told{err: ErrBusy}
	case !h.fits(origin, d.Bytes()):
		return false
	default:
		h.send(origin, d)
	}
	h.all.env.TooLoud(h.index, r.Message)
	return true
}

// fits says whether the down lane to a loop has room. If not, the home is called when it has.
func (h *Home[G, C]) fits(loop, bytes int) bool {
	return h.down[loop].fits(bytes) || h.down[loop].await(bytes)
}

// sendTo sends a group's message, of so many bytes, to a loop with members. many: they are not few, see Config.FewMembers.
func (h *Home[G, C]) sendTo(l *localRef[G], d Delivery[G, C], bytes int, many bool) {
	d.Local = l.part
	l.sent += uint64(bytes) // first: the loop must never have taken more than was sent
	h.send(l.loop, d)
	if many { // who sees to that loop need not look whether it may serve it
		h.toWake |= 1 << l.loop
	}
}

// send puts a delivery that fits into the down lane to a loop.
func (h *Home[G, C]) send(loop int, d Delivery[G, C]) {
	h.down[loop].send(d, d.Bytes())
	note(&h.all.lanes[loop].bell.down, h.index)
	h.given |= 1 << loop
}
