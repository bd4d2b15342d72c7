package loop

import "ringcast/loop/assert"

// bearersOf is a shard's table of bearers, by slot as shard.clients. It lies in pages, and one without bearers takes a pointer: where there
// are none that is nothing, and where all clients are bearers it is 8.5 bytes each, while a map takes 20 to 40. No step is long.
//
// Owner: the loop.
type bearersOf struct {
	pages []*bearerPage // the last has a bearer
	len   int
}

// bearerPage is small: a bearer among many clients that are none takes one.
type bearerPage [16]*bearer

const bearersPerPage = uint32(len(bearerPage{}))

// get is the bearer at a slot, or nil.
func (t *bearersOf) get(slot uint32) *bearer {
	if at := slot / bearersPerPage; at < uint32(len(t.pages)) {
		if page := t.pages[at]; page != nil {
			return page[slot%bearersPerPage]
		}
	}
	return nil
}

// set has b be at a slot; nil: none is.
func (t *bearersOf) set(slot uint32, b *bearer) {
	was := t.get(slot)
	if was == b {
		return
	}
	at := slot / bearersPerPage
	for at >= uint32(len(t.pages)) {
		t.pages = append(t.pages, nil)
	}
	if t.pages[at] == nil {
		t.pages[at] = &bearerPage{}
	}
	page := t.pages[at]
	page[slot%bearersPerPage] = b
	if was == nil {
		t.len++
	}
	if b != nil {
		return
	}
	if t.len--; *page == (bearerPage{}) {
		t.pages[at] = nil
		t.trim()
	}
}

// trim drops pages behind the last that has a bearer.
func (t *bearersOf) trim() {
	last := len(t.pages)
	for last > 0 && t.pages[last-1] == nil {
		last--
	}
	if t.pages = t.pages[:last]; last == 0 {
		t.pages = nil
	} else if cap(t.pages) > clientsKeptMin && last < cap(t.pages)/4 {
		t.pages = append(make([]*bearerPage, 0, cap(t.pages)/2), t.pages...)
	}
}

// move is for a client that goes to another slot.
func (t *bearersOf) move(from, to uint32) {
	t.set(to, t.get(from))
	t.set(from, nil)
}

// all gives each.
func (t *bearersOf) all(take func(*bearer)) {
	for _, page := range t.pages {
		if page != nil {
			for _, b := range page {
				if b != nil {
					take(b)
				}
			}
		}
	}
}

// bearer is what is known of a client; nil: nothing, as of most.
func (s *shard) bearer(c *client) *bearer {
	if !c.is(markBearer) {
		return nil
	}
	b := s.bearers.of.get(c.slot)
	assert.That(b != nil && b.client == c, "bearers: a client's slot has another's")
	return b
}

// known is that of a client that is to be known from now on. It is not buried.
func (s *shard) known(c *client) *bearer {
	if b := s.bearer(c); b != nil {
		return b
	}
	assert.That(s.clients[c.slot] == c, "bearers: a client without a slot is to be known")
	b := &bearer{client: c}
	s.bearers.of.set(c.slot, b)
	c.marks |= markBearer
	return b
}
