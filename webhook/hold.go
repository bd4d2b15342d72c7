package webhook

import "time"

// holdTime is for how long it is held back that somebody has gone: a page that loads anew, or has lost its connection, is back by then, and
// nobody is told that it was away.
const holdTime = 3 * time.Second

// hold is who has gone and may come back, as of all it is for equally long: in that order.
//
// Owner: the collector.
type hold struct {
	queue []*goer // those that were taken back too, until their time is over
	first int     // in queue
	by    map[who]*goer
}

// who it is that has gone: a user of a channel, or if that is empty all its members.
type who struct {
	to            *target
	channel, user string
}

// goer is one that has gone.
type goer struct {
	event event
	until time.Time
	back  bool
}

// queueSpare is how many places at the front of the queue may be empty.
const queueSpare = 1024

func newHold() hold { return hold{by: make(map[who]*goer)} }

// take is given an event. told: it is to be told now; else its time is to come, or it takes back one whose time would have.
func (h *hold) take(e event, now time.Time) (tell bool) {
	of := who{e.to, e.channel, e.user}
	switch {
	case e.what.goes() && h.by[of] == nil:
		g := &goer{event: e, until: now.Add(holdTime)}
		h.queue, h.by[of] = append(h.queue, g), g
		return false
	case e.what.goes(): // twice, as one coming between was dropped: once is enough
		e.to.release(&e)
		return false
	case e.what.comes() && h.by[of] != nil:
		h.by[of].back = true
		delete(h.by, of)
		e.to.release(&e)
		return false
	}
	return true
}

// over takes out those whose time is over, or with all everybody, and returns the first that is to be told; false: there is none.
func (h *hold) over(now time.Time, all bool) (e event, any bool) {
	for h.first < len(h.queue) {
		g := h.queue[h.first]
		if !all && g.until.After(now) {
			return event{}, false
		}
		h.queue[h.first] = nil
		switch h.first++; {
		case h.first == len(h.queue):
			*h = newHold() // no map shrinks by itself
		case h.first > len(h.queue)/2 && h.first > queueSpare: // or it would grow for as long as somebody goes
			h.queue, h.first = append([]*goer(nil), h.queue[h.first:]...), 0
		}
		if !g.back {
			delete(h.by, who{g.event.to, g.event.channel, g.event.user})
			return g.event, true
		}
		g.event.to.release(&g.event)
	}
	return event{}, false
}

// next is when the next one's time is over; false: nobody is held back.
func (h *hold) next() (until time.Time, any bool) {
	if h.first == len(h.queue) {
		return until, false
	}
	return h.queue[h.first].until, true
}
