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
	None      bool       // OpHistoryRead, OpPresent, OpCounted: groups of this kind have none, so the rest is zero too, but for Members

	// OpPresent; OpCounted has the numbers alone.
	Present []dialect.Present // the clients that are there, in no order
	Crowded bool              // they are too many to be listed
	Members int               // how many are there; where groups of this kind have no presence, how many places are taken
	Users   int               // how many users they are; those without a name are one
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
		p := y.missed(a, h.histories.now)
		p.WasAsked, p.OrNone = true, a.OrNone
		return p
	default:
		return &Past{Top: y.top()}
	}
}

// top is the position behind the newest message.
func (y *history[G]) top() Position { return Position{y.group.offset, y.epoch} }

// missed is all that was said behind a position, or nothing.
func (y *history[G]) missed(a *Ask, now uint32) *Past {
	p := &Past{Top: y.top()}
	since, top := a.Since.Offset, p.Top.Offset
	if a.Since.Epoch != 0 && a.Since.Epoch != y.epoch || since > top || since < top && since+1 < y.from(now) || top-since > uint64(max(a.MessagesMax, 0)) {
		return p
	}
	bytes := 0
	for offset := since + 1; offset <= top; offset++ {
		if bytes += y.slot(offset).message.Bytes(); bytes > a.BytesMax {
			return p
		}
	}
	p.Recovered = true
	p.Messages = y.messages(since+1, int(top-since), 1)
	return p
}

// messages gives so many of the messages that are kept, from an offset on upwards (step 1) or downwards (-1).
func (y *history[G]) messages(offset uint64, n, step int) (m []*Message) {
	if n > 0 {
		m = make([]*Message, n)
	}
	for i := range m {
		m[i] = y.slot(offset).message
		offset += uint64(step)
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
	if hg == nil {
		hg = h.remember(name)
	}
	if hg == nil || hg.history == nil {
		d.Past = &Past{None: true}
	} else {
		d.Past = hg.history.read(r.Past, h.histories.now)
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
		r.via.told <- told{past: d.Past}
		return
	}
	h.send(origin, *d)
}

// read is the page of a history that is asked for.
func (y *history[G]) read(a *Ask, now uint32) *Past {
	p := &Past{Top: y.top()}
	oldest, newest := y.from(now), p.Top.Offset
	if a.HasSince || a.Since.Offset > 0 {
		switch since := a.Since.Offset; {
		case a.Since.Epoch != 0 && a.Since.Epoch != y.epoch, !a.Reverse && since < newest && since+1 < oldest:
			p.Lost = true
			return p
		case a.Reverse:
			newest = min(newest, max(since, 1)-1)
		default:
			oldest = max(oldest, min(since, newest)+1)
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
