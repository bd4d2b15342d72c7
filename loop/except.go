package loop

import (
	"cmp"
	"slices"
)

// This file is how a message leaves one client out, such as who has said it: More.Except is that client's number. Everybody else hears it in
// its place, and so the excepted client is sent another batch, at its place in the pass:
//
//	the batch   ├─ m1 ─┼─── m2 ───┼ m3 ┼─ m4 ─┤    m1 and m4 leave out client 5, m3 leaves out client 9
//	client 5           ├─── m2 ───┼ m3 ┤
//	client 9    ├─ m1 ─┼─── m2 ───┼─ m4 ─┤
//
// There is no index of clients by their numbers, and none is needed: a pass meets every member and compares. Who has left, or is dead, is not
// met. A pass without exceptions pays a test of a nil pointer for each member.

// exceptions is what of a pass's batch is not for everybody, by the clients of this loop that are excepted.
//
// Owner: who holds the shard.
type exceptions struct {
	filter uint64      // a bit for each excepted serial, by its lowest six: most members are told by it that they are not meant
	list   []exception // by serial, and those of one in the order of the batch
}

// exception is a frame of a batch that one client is not sent.
type exception struct {
	serial   uint32
	unkept   bool // see cargo
	from, to int  // its bytes
}

// excepted says whether a message leaves c out.
func (c *client) excepted(m *message) bool { return m.More != nil && m.More.Except == c.Number() }

// noteExcept adds a message that leaves a client out, and that is at a place in the batch, if that client is one of the loop's. A pass
// that has no exceptions yet has nil.
func (s *shard) noteExcept(e *exceptions, m *message, from, to int) *exceptions {
	if m.More.Except%LoopsMax != uint64(s.index) {
		return e
	}
	if e == nil {
		if e, s.passes.exceptions = s.passes.exceptions, nil; e == nil {
			e = &exceptions{}
		}
	}
	x := exception{uint32(m.More.Except / LoopsMax), !holds(m), from, to}
	e.filter |= 1 << (x.serial % 64)
	e.list = append(e.list, x)
	return e
}

// exceptionsKeptMax bounds the list that is kept for the next pass with exceptions.
const exceptionsKeptMax = 1 << 10

// keep keeps the exceptions of a pass that ends for the next use.
func (ps *passes) keep(e *exceptions) {
	if cap(e.list) <= exceptionsKeptMax {
		e.filter, e.list = 0, e.list[:0]
		ps.exceptions = e
	}
}

// sort is called when all are noted.
func (e *exceptions) sort() {
	slices.SortFunc(e.list, func(a, b exception) int {
		return cmp.Or(cmp.Compare(a.serial, b.serial), cmp.Compare(a.from, b.from))
	})
}

// of is those for a client.
func (e *exceptions) of(serial uint32) []exception {
	if e.filter&(1<<(serial%64)) == 0 {
		return nil
	}
	from, _ := slices.BinarySearchFunc(e.list, serial, func(x exception, serial uint32) int { return cmp.Compare(x.serial, serial) })
	to := from
	for to < len(e.list) && e.list[to].serial == serial {
		to++
	}
	return e.list[from:to]
}

// excepted is what a pass does not send to a client, of its batch.
func (p *pass) excepted(c *client) []exception {
	if p.except == nil {
		return nil
	}
	return p.except.of(c.serial)
}

// without is the batch of a pass without exceptions, and how many messages are in it; unkept is as in pass. It is good until the next call.
func (ps *passes) without(p *pass, but []exception) (rest []byte, messages, unkept int) {
	ps.rest, messages, unkept = ps.rest[:0], p.messages-len(but), p.unkept
	from := 0
	for _, x := range but {
		ps.rest = append(ps.rest, p.batch[from:x.from]...)
		if from = x.to; x.unkept {
			unkept--
		}
	}
	ps.rest = append(ps.rest, p.batch[from:]...)
	return ps.rest, messages, unkept
}

// pushWithout sends a member the batch of a pass that has exceptions without those that are for it. False: none is. Who is sent
// something else than the others is counted here.
func (s *shard) pushWithout(c *client, g *group, p *pass) bool {
	but := p.except.of(c.serial)
	if len(but) == 0 {
		return false
	}
	rest, messages, unkept := s.passes.without(p, but)
	if messages == 0 {
		return true
	}
	before := s.passes.undelivered
	s.push(c, rest, cargo{g, messages, unkept > 0})
	if s.passes.undelivered == before {
		s.countWithout(messages, len(rest))
	}
	s.passes.undelivered = before
	return true
}

func (s *shard) countWithout(messages, bytes int) {
	s.count.Deliveries.Add(uint64(messages))
	s.count.BytesOut.Add(uint64(bytes))
}
