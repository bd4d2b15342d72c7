package order

import (
	"unsafe"

	"ringcast/dialect"
)

// Epoch is the life of a group's numbering: another one begins when the group is known anew after it was forgotten, and when its
// kind begins to have history. 0 is none.
type Epoch uint64

// Position is a place in what was said to a group: behind the message of this offset.
type Position struct {
	Offset uint64
	Epoch  Epoch
}

// Ask is what a request wants to know of a group's past. Nobody writes it once it is sent.
//
// In a join it asks for what was missed if Recover is set: all messages behind Since, or none, see Past. An epoch of 0 stands for
// any. Without Recover a join gets the position alone, as it does without an Ask.
//
// In an OpHistory: up to Limit messages, the oldest first, or with Reverse the newest first; with HasSince, or an offset in Since,
// only those behind Since, or with Reverse those before it, going down.
type Ask struct {
	Recover  bool     // OpJoin
	OrNone   bool     // OpJoin, with Recover: see Past.OrNone
	HasSince bool     // OpHistory: Since counts though its offset is 0
	Reverse  bool     // OpHistory
	Limit    int      // OpHistory: messages; 0: the position alone, below 0: all
	Since    Position // both

	Lists  bool // OpJoin: who is there, the client itself too, which is not sent its own coming; or it is refused, see RefusedCrowded
	Cached bool // OpJoin: the last message, where the kind has it kept, see cache.go

	// What may come back: so many messages, and so many bytes as Message.Bytes counts them. A recovery of more is none; a reading
	// of more is cut there, which is no error. 0: none.
	MessagesMax, BytesMax int
}

// Past is what a home says of a group's past, or of who is there. Its messages are shared with the group's history and with whoever else has asked, and
// count in no bound of a lane: an Ask's bounds hold for them. Nobody writes it once it is sent.
type Past struct {
	Top       Position   // behind the newest message, whether that is kept or not
	Messages  []*Message // in the order that was asked for
	Recovered bool       // a join has asked for what it missed: that is Messages, all of it
	WasAsked  bool       // a join has asked for what it missed
	OrNone    bool       // as in the Ask, in a group with history: who is not given it is no member, and its loop gives the place back
	Lost      bool       // OpHistoryRead: Since is of another epoch, or messages behind it are kept no more
	Busy      bool       // OpHistoryRead: the log of a cluster could not be asked, or is behind here, so the rest is zero
	None      bool       // OpHistoryRead, OpPresent, OpCounted: groups of this kind have none, so the rest is zero too, but for Members

	// OpPresent, and OpJoined where Ask.Lists; OpCounted has the numbers alone.
	Present []dialect.Present // the clients that are there, in no order; OpJoined: nil where groups of this kind have no presence
	Crowded bool              // they are too many to be listed
	Members int               // how many are there; where groups of this kind have no presence, how many places are taken
	Users   int               // how many users they are; those without a name are one

	// OpJoined where Ask.Cached.
	HasCached bool     // groups of this kind have their last message kept
	Cached    *Message // that message; nil: there is none. Nobody keeps its forms
	left      uint32   // ticks for which it is kept; of a port's question alone
}

// askBytes is what an Ask counts among the bytes of its request.
const askBytes = int(unsafe.Sizeof(Ask{}))

// past is what a client that joins is told of the group's past.
func (h *Home[G, C]) past(hg *homeGroup[G], a *Ask) *Past {
	recovers, y := a != nil && a.Recover, hg.history
	switch {
	case y == nil && recovers:
		return &Past{WasAsked: true}
	case y == nil:
		return nil
	case recovers:
		p := h.missed(y, a)
		p.WasAsked, p.OrNone = true, a.OrNone
		return p
	default:
		return &Past{Top: h.top(y)}
	}
}

// top is the position behind the newest message.
func (y *history[G]) top() Position { return Position{y.group.offset, y.epoch} }

// top is the position behind the newest message, as clients are told it.
func (h *Home[G, C]) top(y *history[G]) Position {
	if h.ordering != nil {
		return Position{h.ordering.of(y.name).tip, y.epoch}
	}
	return y.top()
}

// floor is the offset behind which everything is there, and its time is not over.
func (h *Home[G, C]) floor(y *history[G]) uint64 {
	from := y.from(h.histories.now)
	switch {
	case h.ordering == nil:
		return from - 1
	case from > y.oldest():
		return y.slot(from - 1).message.Offset
	}
	return h.ordering.reaches.Get(y).floor
}

// behind is the place of the oldest message that is kept and has a larger offset, or that of the next one to come. The offset is one that
// the group has reached, and not before the floor.
func (h *Home[G, C]) behind(y *history[G], offset uint64) uint64 {
	if h.ordering == nil {
		return offset + 1
	}
	return y.placeBehind(offset)
}

// missed is all that was said behind a position, or nothing.
func (h *Home[G, C]) missed(y *history[G], a *Ask) *Past {
	p := &Past{Top: h.top(y)}
	since := a.Since.Offset
	if a.Since.Epoch != 0 && a.Since.Epoch != y.epoch || since > p.Top.Offset || since < p.Top.Offset && since < h.floor(y) {
		return p
	}
	from, newest := h.behind(y, since), y.group.offset
	n := newest + 1 - from
	if n > uint64(max(a.MessagesMax, 0)) {
		return p
	}
	bytes := 0
	for place := from; place <= newest; place++ {
		if bytes += y.slot(place).message.Bytes(); bytes > a.BytesMax {
			return p
		}
	}
	p.Recovered = true
	p.Messages = y.messages(from, int(n), 1)
	return p
}

// messages gives so many of the messages that are kept, from a place on upwards (step 1) or downwards (-1).
func (y *history[G]) messages(place uint64, n, step int) (m []*Message) {
	if n > 0 {
		m = make([]*Message, n)
	}
	for i := range m {
		m[i] = y.slot(place).message
		place += uint64(step)
	}
	return m
}

// read answers an OpHistory.
func (h *Home[G, C]) read(r *Request[G, C], origin int) bool {
	d := Delivery[G, C]{Op: OpHistoryRead, Asks: r.Asks, Local: r.Local, Client: r.Client, ID: r.ID}
	if !h.mayAnswer(&d, origin) {
		return false
	}
	name := r.Group()
	hg := h.find(name)
	if h.ordering != nil {
		if waits, done := h.waitsForLog(hg, name, r, origin); waits {
			return done
		}
	}
	if hg == nil {
		hg = h.remember(name)
	}
	if hg == nil || hg.history == nil {
		d.Past = &Past{None: true}
	} else {
		d.Past = h.page(hg.history, r.Past)
	}
	h.answer(r, &d, origin)
	return true
}

// mayAnswer says whether there is room for the answer to a question; at a port there always is.
func (h *Home[G, C]) mayAnswer(d *Delivery[G, C], origin int) bool {
	return origin < 0 || h.fits(origin, d.Bytes())
}

// answer answers a question.
func (h *Home[G, C]) answer(r *Request[G, C], d *Delivery[G, C], origin int) {
	if origin < 0 {
		word := told{past: d.Past}
		if d.Past.Busy {
			word = told{err: ErrBusy}
		}
		r.via.told <- word
		return
	}
	h.send(origin, *d)
}

// page is that of a history that is asked for.
func (h *Home[G, C]) page(y *history[G], a *Ask) *Past {
	p := &Past{Top: h.top(y)}
	oldest, newest := y.from(h.histories.now), y.group.offset
	if a.HasSince || a.Since.Offset > 0 {
		switch since := a.Since.Offset; {
		case a.Since.Epoch != 0 && a.Since.Epoch != y.epoch, !a.Reverse && since < h.floor(y):
			p.Lost = true
			return p
		case a.Reverse:
			newest = min(newest, h.behind(y, max(since, 1)-1)-1)
		default:
			oldest = max(oldest, h.behind(y, min(since, p.Top.Offset)))
		}
	}
	n := a.MessagesMax
	if a.Limit >= 0 {
		n = min(n, a.Limit)
	}
	n = min(max(n, 0), int(newest+1-min(oldest, newest+1)))
	start, step := oldest, 1
	if a.Reverse {
		start, step = newest, -1
	}
	bytes := 0
	for i := range n {
		if bytes += y.slot(start + uint64(i*step)).message.Bytes(); bytes > a.BytesMax {
			n = i
			break
		}
	}
	p.Messages = y.messages(start, n, step)
	return p
}
