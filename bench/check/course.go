package check

import "slices"

// Course checks what clients of one group hear over all their lives: they are cut off and come back to a position in the group's
// history, which is an offset in an epoch. Of each publisher a client must hear every message once and in order, as if it had never
// been away (a Ledger checks that, and knows nothing of offsets); and in one epoch an offset is one message, for whoever hears it,
// so that all clients agree on the order between publishers.
//
//	join ─► saw saw saw ─ cut ─ recovered: saw saw (missed) ─► saw saw ─ cut ─ not recovered: anew ─► saw …
//	└─────────────────── one row of numbers a publisher ──────────────────┘                  └─ others
//
// A client that comes back and is not given what it missed begins anew behind the position that it is told.
//
// Pure. Owner: the generator that has the clients.
type Course struct {
	ledger  *Ledger
	faults  *Faults
	epochs  map[string]*epoch
	members []positioned
	first   []uint32 // as the ledger's cells, of who began anew: its first message of a publisher, or none yet; nil until somebody does
}

// positioned is where a client is.
type positioned struct {
	at     *epoch // nil: it is in no history
	offset uint64 // of the last message that it heard, or where it began
	anew   bool   // it began anew, behind began
	began  uint64
}

// epoch is the messages of one numbering, by offset. Offsets ascend, and may begin anywhere and have gaps: so they lie in pages.
type epoch struct {
	name    string
	pages   map[uint64]*page // by offset divided by offsetsOfPage
	numbers []uint64         // of the pages, ascending
	last    uint64           // number of the page that was looked at last
	at      *page            // that one; nil: none was
	beyond  bool             // a message had no room in a page
}

// page is the messages of so many offsets; 0 for one that nobody has heard, else 1 more than publisher<<32 | sequence.
type page [offsetsOfPage]uint64

const (
	noFirst = 1<<32 - 1 // SequenceMax is below
	// offsetMax is the largest that a client may be told: beyond it the numbers of JavaScript have gaps.
	offsetMax     = 1 << 53
	offsetsOfPage = 512
	// pagesMax bounds the memory of an epoch, to 128 MiB.
	pagesMax = 32 << 10
	// epochsMax bounds how many there are: a group has a new one only when its history is lost.
	epochsMax = 1000
)

// NewCourse is for so many clients of a group with so many publishers. called names a client.
func NewCourse(members, pubs int, called func(member int) string, f *Faults) *Course {
	return &Course{ledger: NewRows(members, pubs, called, f), faults: f, epochs: map[string]*epoch{}, members: make([]positioned, members)}
}

// Join begins the first life of a client, before anything is published. epoch is empty for a group without history.
func (c *Course) Join(member int, epoch string, offset uint64) {
	c.members[member] = positioned{at: c.epoch(epoch), offset: offset}
}

// Anew begins a life that was not given what it missed: it must hear all that has a higher offset.
func (c *Course) Anew(member int, epoch string, offset uint64) {
	c.settle(member)
	if c.first == nil {
		c.first = make([]uint32, len(c.ledger.next))
	}
	for pub := range c.ledger.pubs {
		c.ledger.Settle(member, pub)
		c.first[member*c.ledger.pubs+pub] = noFirst
	}
	c.members[member] = positioned{at: c.epoch(epoch), offset: offset, anew: true, began: offset}
}

func (c *Course) epoch(name string) *epoch {
	if name == "" {
		return nil
	}
	e := c.epochs[name]
	if e == nil {
		if len(c.epochs) == epochsMax {
			c.faults.Note("a group has had %d epochs: the order is no longer checked", epochsMax)
			clear(c.epochs)
		}
		e = &epoch{name: name, pages: map[uint64]*page{}}
		c.epochs[name] = e
	}
	return e
}

// Position is from where a client wants what it has missed.
func (c *Course) Position(member int) (offset uint64, epoch string) {
	p := &c.members[member]
	if p.at == nil {
		return 0, ""
	}
	return p.offset, p.at.name
}

// Saw notes that a client heard message seq of a publisher, with an offset. It returns false for a message that it had heard before.
func (c *Course) Saw(member, pub int, seq uint32, offset uint64) bool {
	late := seq < c.ledger.Next(member, pub) // and so its offset is no second fault
	if !c.row(member, pub, seq) {
		return false
	}
	p := &c.members[member]
	switch {
	case p.at == nil || late:
	case offset == 0 || offset > offsetMax:
		c.faults.Add(Altered, 1, "%s got publisher %d's #%d with the offset %d", c.ledger.Name(member), pub, seq, offset)
	case offset <= p.offset:
		c.faults.Add(Disordered, 1, "%s got publisher %d's #%d with the offset %d, after the offset %d", c.ledger.Name(member), pub, seq, offset, p.offset)
	default:
		p.offset = offset
		if other, yes := p.at.say(offset, pub, seq, c.faults); !yes {
			c.faults.Add(Disordered, 1, "%s got publisher %d's #%d with the offset %d, which others got with publisher %d's #%d",
				c.ledger.Name(member), pub, seq, offset, other>>32, uint32(other))
		}
	}
	return true
}

// row puts a message into the row of its publisher.
func (c *Course) row(member, pub int, seq uint32) bool {
	if !c.members[member].anew {
		return c.ledger.Saw(member, pub, seq)
	}
	switch first := &c.first[member*c.ledger.pubs+pub]; {
	case *first == noFirst:
		*first = seq
		c.ledger.Begin(member, pub, seq)
	case seq < *first: // the ledger would take it for a repeat
		c.ledger.SawBefore(member, pub, seq, *first)
		*first = seq
		return true
	}
	return c.ledger.Saw(member, pub, seq)
}

// page is that of an offset; nil: there is none. made: it is made if there is room for one more.
func (e *epoch) page(offset uint64, made bool) *page {
	number := offset / offsetsOfPage
	if e.at != nil && e.last == number {
		return e.at
	}
	p := e.pages[number]
	if p == nil && made && len(e.numbers) < pagesMax {
		p = new(page)
		e.pages[number] = p
		at, _ := slices.BinarySearch(e.numbers, number)
		e.numbers = slices.Insert(e.numbers, at, number)
	}
	if p != nil {
		e.last, e.at = number, p
	}
	return p
}

// say notes which message has an offset; false with the message that has it already, if that is another.
func (e *epoch) say(offset uint64, pub int, seq uint32, f *Faults) (other uint64, yes bool) {
	p := e.page(offset, true)
	if p == nil {
		if !e.beyond {
			f.Note("a group has had messages at offsets that are too far apart: the order of some is not checked")
		}
		e.beyond = true
		return 0, true
	}
	slot := &p[offset%offsetsOfPage]
	id, was := uint64(pub)<<32|uint64(seq), *slot
	if was == 0 {
		*slot = id + 1
	}
	return was - 1, was == 0 || was == id+1
}

// firstBehind is the first message of a publisher that anybody has heard behind an offset.
func (e *epoch) firstBehind(offset uint64, pub int) (seq uint32, ok bool) {
	from := offset + 1
	at, _ := slices.BinarySearch(e.numbers, from/offsetsOfPage)
	for _, number := range e.numbers[at:] {
		first := uint64(0)
		if number == from/offsetsOfPage {
			first = from % offsetsOfPage
		}
		for _, was := range e.pages[number][first:] {
			if was > 0 && int((was-1)>>32) == pub {
				return uint32(was - 1), true
			}
		}
	}
	return 0, false
}

// settle counts as lost what a client that began anew has missed before its first message of a publisher; others have heard it.
func (c *Course) settle(member int) {
	p := &c.members[member]
	if !p.anew || p.at == nil {
		return
	}
	for pub := range c.ledger.pubs {
		first := c.first[member*c.ledger.pubs+pub]
		if seq, ok := p.at.firstBehind(p.began, pub); ok && first != noFirst && seq < first {
			c.ledger.Lost(member, pub, seq, first)
		}
	}
}

// Complete says that all clients, but for the gone, have heard all that was sent, as far as they must.
func (c *Course) Complete(sent []uint32, gone []bool) bool {
	for member := range c.members {
		for pub := range sent {
			if !gone[member] && c.owed(member, pub, sent[pub]) < sent[pub] {
				return false
			}
		}
	}
	return true
}

// owed is the number from which on a client has not heard a publisher yet.
func (c *Course) owed(member, pub int, sent uint32) uint32 {
	p := &c.members[member]
	if !p.anew || c.first[member*c.ledger.pubs+pub] != noFirst {
		return c.ledger.Next(member, pub)
	}
	if p.at == nil {
		return sent // nobody knows whether there was one
	}
	if seq, ok := p.at.firstBehind(p.began, pub); ok {
		return seq
	}
	return sent
}

// Finish counts what did not come until the end. sent[pub] is how many messages that publisher published, gone[member] says that a
// client did not come back: that fault is counted elsewhere, and what it missed is only summed up.
func (c *Course) Finish(sent []uint32, gone []bool) (missedByGone uint64) {
	for member := range c.members {
		c.settle(member)
		for pub := range sent {
			if c.members[member].anew && c.first[member*c.ledger.pubs+pub] == noFirst {
				c.ledger.Begin(member, pub, c.owed(member, pub, sent[pub]))
			}
		}
	}
	return c.ledger.Finish(sent, gone)
}
