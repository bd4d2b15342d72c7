package order

import (
	"sort"
	"time"
)

// This file is how far back what a home keeps of a group goes, where an orderer's log may have more, and what the home does when that is
// not far enough: it sets the request aside, asks the log for the group, and goes on with the request when the answer has come.
//
//	offsets   1 … │ trimmed │ in the log … floor │ in the ring, if it is of the group │ tip
//
// Offsets in the ring ascend and have holes. So a message has a place in the ring beside its offset: places are counted by the home, without
// holes. They mean nothing outside of it.

// places is where the places of a history begin: far enough from 0 for all that may be merged in front of what has come.
const places = 1 << 40

// reach is how far back a history goes.
type reach struct {
	floor uint64 // everything of the group behind this offset, up to the partition's tip, is in the ring
	life  uint32 // of the partition, when the history began
	whole bool   // the log has nothing older either
}

// setReach says how far back a history goes, which is of the partition's present life.
func (h *Home[G, C]) setReach(y *history[G], floor uint64, whole bool) {
	h.ordering.reaches.Put(y, reach{floor: floor, whole: whole, life: h.ordering.of(y.name).life})
}

// isOfBefore says whether a history is of a life of its partition that is over.
func (o *ordering[G, C]) isOfBefore(y *history[G]) bool {
	return o.reaches.Get(y).life != o.of(y.name).life
}

// reachBytes is what a history takes for it in ordering.reaches, of which 7 in 16 slots are full when it has just grown.
const reachBytes = (8 + 16 + 1) * 16 / 7

// groupBytes is that of a history, with its reach.
func (h *Home[G, C]) groupBytes(y *history[G]) int64 {
	if h.ordering == nil {
		return y.groupBytes()
	}
	return y.groupBytes() + reachBytes
}

// reachFromNow is for a history that has just begun, without any message. y may be nil.
func (h *Home[G, C]) reachFromNow(y *history[G]) {
	if h.ordering != nil && y != nil {
		tip := h.ordering.of(y.name).tip
		h.setReach(y, tip, tip == 0)
	}
}

// raiseFloor is called before so many of the oldest messages of a history are dropped, of which there are as many.
func (h *Home[G, C]) raiseFloor(y *history[G], n uint32) {
	if h.ordering != nil {
		r := h.ordering.reaches.Get(y)
		r.floor = y.slot(y.oldest() + uint64(n) - 1).message.Offset
		h.ordering.reaches.Put(y, r)
	}
}

// isWhole says whether the log has nothing older than the history has that it would keep.
func (h *Home[G, C]) isWhole(y *history[G]) bool {
	return y.count >= y.most || h.ordering.reaches.Get(y).whole
}

// placeBehind is the place of the oldest message that is kept and has a larger offset, or that of the next one to come.
func (y *history[G]) placeBehind(offset uint64) uint64 {
	oldest := y.oldest()
	return oldest + uint64(sort.Search(int(y.count), func(i int) bool { return y.slot(oldest+uint64(i)).message.Offset > offset }))
}

// asked is a group that the log was asked for.
type asked[G Part, C Client] struct {
	floor  uint64 // of the group's history when the log was asked
	life   uint32 // of its partition, likewise
	aside  []aside[G, C]
	over   bool // the log's answer has come
	failed bool // it is no good
	doing  bool // the first of aside is being done
}

// aside is a request that was set aside, in the order in which they came.
type aside[G Part, C Client] struct {
	request Request[G, C]
	origin  int
}

// asideMax bounds the requests that a home has set aside. Beyond it they are refused as busy.
const asideMax = 1024

// isAhead says whether a request, an OpJoin or an OpHistory, names a position that the partition has not reached here. The client has heard it
// from another node, as a log that goes back has another epoch: so it is this node that is behind, and will not be for long. hg is nil if the
// home does not know the group.
func (h *Home[G, C]) isAhead(hg *homeGroup[G], name string, r *Request[G, C]) bool {
	a, p := r.Past, h.ordering.of(name)
	if a == nil || r.Op == OpJoin && !a.Recover || a.Since.Offset <= p.tip || a.Since.Epoch == 0 || a.Since.Epoch != p.epoch {
		return false
	}
	return hg != nil && hg.history != nil || hg == nil && h.kind(name).Messages > 0
}

// waitsForLog says whether a request, an OpJoin or an OpHistory, cannot be answered now: then it is set aside or refused, if there is room for that.
func (h *Home[G, C]) waitsForLog(hg *homeGroup[G], name string, r *Request[G, C], origin int) (waits, done bool) {
	switch {
	case h.isAhead(hg, name, r):
		return true, h.refuseAside(r, origin)
	case h.missesLog(hg, name, r):
		return true, h.setAside(hg, name, r, origin)
	}
	return false, false
}

// missesLog says whether what a request, an OpJoin or an OpHistory, asks of the past is not there and may be in the log. hg is nil if the
// home does not know the group.
func (h *Home[G, C]) missesLog(hg *homeGroup[G], name string, r *Request[G, C]) bool {
	a, p := r.Past, h.ordering.of(name)
	joins := r.Op == OpJoin
	switch {
	case joins && (a == nil || !a.Recover || a.Since.Offset >= p.tip), !joins && a.Limit == 0 && !a.HasSince && a.Since.Offset == 0:
		return false
	case (joins || a.HasSince || a.Since.Offset > 0) && a.Since.Epoch != 0 && a.Since.Epoch != p.epoch:
		return false // it is lost
	case hg == nil:
		return p.tip > 0 && h.kind(name).Messages > 0 && (joins || a.Reverse || !a.HasSince && a.Since.Offset == 0 || a.Since.Offset < p.tip)
	case hg.history == nil || h.isWhole(hg.history), joins && int(hg.history.count) > a.MessagesMax:
		return false
	}
	forward := joins || !a.Reverse && (a.HasSince || a.Since.Offset > 0)
	return !forward || a.Since.Offset < h.floor(hg.history)
}

// setAside keeps a request until the log has said what it has of the group, or refuses it. hg is nil if the home does not know the group.
func (h *Home[G, C]) setAside(hg *homeGroup[G], name string, r *Request[G, C], origin int) bool {
	s := h.ordering
	a := s.asked.Get(name)
	if a != nil && a.over || h.setAsideNow.Load() >= asideMax {
		return h.refuseAside(r, origin)
	}
	if a == nil {
		if hg == nil { // what comes from now on is kept
			hg = h.remember(name)
		}
		if hg == nil { // its kind has become another one at this moment
			return h.refuseAside(r, origin)
		}
		if !s.orderer.Recall(h.index, hg.history.name) {
			return h.refuseAside(r, origin)
		}
		a = &asked[G, C]{floor: h.floor(hg.history), life: s.reaches.Get(hg.history).life}
		s.asked.Put(hg.history.name, a)
	}
	a.aside = append(a.aside, aside[G, C]{*r, origin})
	h.setAsideNow.Add(1)
	return true
}

// refuseAside refuses a request since the log cannot be asked, or was not, or is behind here.
func (h *Home[G, C]) refuseAside(r *Request[G, C], origin int) bool {
	d := Delivery[G, C]{Op: OpHistoryRead, Asks: r.Asks, Local: r.Local, Client: r.Client, ID: r.ID}
	if r.Op == OpJoin {
		d.Op, d.Why = OpRefused, RefusedBusy
	} else {
		d.Past = &Past{Busy: true}
	}
	if !h.mayAnswer(&d, origin) {
		return false
	}
	h.answer(r, &d, origin)
	h.asideRefused.Add(1)
	return true
}

// recalled does an OpRecalled. It is done in parts where lanes are full.
func (h *Home[G, C]) recalled(r *Request[G, C]) bool {
	rc := r.via.token.(*Recalled)
	a := h.ordering.asked.Get(rc.Group)
	if a == nil {
		return true
	}
	if !a.over {
		a.over = true // should what follows panic, all who need it are refused
		a.failed = !h.learn(a, rc)
	}
	for len(a.aside) > 0 {
		q := &a.aside[0]
		a.doing = true
		if !h.resume(q, a.failed) {
			a.doing = false
			return false
		}
		h.asideDone(a)
	}
	h.ordering.asked.Delete(rc.Group)
	return true
}

// resume goes on with a request that was set aside.
func (h *Home[G, C]) resume(q *aside[G, C], failed bool) bool {
	switch {
	case failed:
		return h.refuseAside(&q.request, q.origin)
	case q.request.Op == OpJoin:
		return h.join(&q.request, q.origin)
	default:
		return h.read(&q.request, q.origin)
	}
}

func (h *Home[G, C]) asideDone(a *asked[G, C]) {
	a.aside[0] = aside[G, C]{}
	a.aside, a.doing = a.aside[1:], false
	h.setAsideNow.Add(-1)
}

// dropAside is called when something has panicked over an OpRecalled: the request that was being done is dropped, if one was, and the others go on. last: there
// is none.
func (h *Home[G, C]) dropAside(group string) (last bool) {
	a := h.ordering.asked.Get(group)
	if a == nil {
		return true
	}
	if a.doing {
		tellUnknown(&a.aside[0].request)
		h.asideDone(a)
	}
	return false
}

// learn takes what the log has of a group into its history, as far as the home has asked for that; false: it cannot be used.
func (h *Home[G, C]) learn(a *asked[G, C], rc *Recalled) bool {
	if rc.Failed {
		return false
	}
	hg := h.find(rc.Group)
	if hg == nil || hg.history == nil {
		return true // its kind is another now, or nothing is kept any more: who asks is told so
	}
	y := hg.history
	switch r := h.ordering.reaches.Get(y); {
	case a.life != r.life, rc.Epoch != 0 && rc.Epoch != y.epoch:
		return false
	case r.whole:
		return true
	case r.floor > max(rc.Upto, a.floor): // something has come and gone since the log was asked
		return h.isWhole(y)
	default:
		h.merge(y, r.floor, rc)
		return true
	}
}

// merge puts what the log has in front of what a history has, which goes back to a floor: as much as its kind keeps.
func (h *Home[G, C]) merge(y *history[G], floor uint64, rc *Recalled) {
	now, older := h.tick(), make([]kept, 0, len(rc.Messages))
	reached := min(rc.Floor, floor)
	for i, m := range rc.Messages {
		if m.Offset > floor {
			break // the ring has it, or it is to come
		}
		if m.Unkept() {
			continue
		}
		age := uint32(0)
		if i < len(rc.Ages) {
			age = h.ticks(rc.Ages[i])
		}
		if age >= y.ttl {
			older, reached = older[:0], m.Offset
			continue
		}
		m.Kept = true
		m.clearForms()
		older = append(older, kept{message: m, tick: now - age, bytes: bookedFor(m, 0)})
	}
	if room := int(y.most - y.count); len(older) > room {
		reached = older[len(older)-room-1].message.Offset
		older = older[len(older)-room:]
	}
	h.setReach(y, reached, true)
	if len(older) == 0 {
		return
	}
	next := now
	if y.count > 0 {
		next, _ = y.age()
	}
	for i := len(older) - 1; i >= 0; i-- { // none is younger than one behind it
		if before(next, older[i].tick) {
			older[i].tick = next
		}
		next = older[i].tick
	}
	if last := older[len(older)-1].tick; before(y.touched, last) {
		y.touched = last
	}
	bytes, count := y.bytes, y.count
	h.unshelve(y) // what goes next is older now
	added := y.prepend(older)
	h.rebook(y, bytes, count)
	h.shelve(y)
	h.makeRoom(added)
}

// prepend puts messages in front of the oldest, and says what they take.
func (y *history[G]) prepend(older []kept) (bytes int) {
	size := max(1, len(y.ring))
	for size < int(y.count)+len(older) {
		size *= 2
	}
	if size != len(y.ring) {
		y.resize(size, 0)
	}
	y.count += uint32(len(older))
	for i, oldest := 0, y.oldest(); i < len(older); i++ {
		*y.slot(oldest + uint64(i)) = older[i]
		bytes += int(older[i].bytes)
	}
	y.bytes += int64(bytes)
	return bytes
}

// ticks is a time in ticks, rounded down.
func (h *Home[G, C]) ticks(d time.Duration) uint32 {
	if h.all.config.Tick <= 0 || d <= 0 {
		return 0
	}
	return uint32(min(d/h.all.config.Tick, 1<<30))
}

// Unordered is what waits for an orderer.
type Unordered struct {
	Offered  int64  // publishes that were offered, and of which no word has come
	SetAside int64  // requests that wait for what the log has of their groups
	Refused  uint64 // resumes and readings, since the start, that were refused as too many were set aside, as the log could not be asked, or as this node was behind them
}

// Unordered is that of all homes at about this moment. Any goroutine.
func (hs *Homes[G, C]) Unordered() (u Unordered) {
	for _, h := range hs.homes {
		u.Offered += h.offered.Load()
		u.SetAside += h.setAsideNow.Load()
		u.Refused += h.asideRefused.Load()
	}
	return u
}
