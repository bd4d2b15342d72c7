package loop

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"ringcast/loop/assert"
)

// This file lists all clients, for an operator. There may be a million: all rows at once would be some 250 MB, and a loop that made
// its part in one callback would serve nobody meanwhile. So a loop makes some rows a call, and the next when those were taken.

// listing is one walk over all clients, loop by loop.
//
// Owner: the goroutine that walks; while it waits for a loop, that loop.
type listing struct {
	left int          // of the loop that it is at: clients in slots below this one are still to be listed; notBegun: all
	rows []ClientInfo // the slice that was made last
}

// notBegun is listing.left before the first slice of a loop.
const notBegun = -1

// listings are the walks that are at a shard.
//
// A walk goes from the last slot downwards. What is above its border has been listed, or has come since:
//
//	clients   [ to list │ listed, or come since ]
//	           0       left                      len
//
// A client that comes is appended, above all borders. For one that goes, the last client of its region fills the gap, the last of
// the next region that one's place, and so on, as in an audience (group.go). So no client crosses a border but by being listed:
// who is there from the first slice of its loop to the last is listed exactly once, and who comes meanwhile is not. The last client
// of all in every gap, as without walks, would be listed twice if the gap is below the border; in a walk upwards, never.
//
// Owner: the loop.
type listings []*listing

// add begins a walk over so many clients.
func (ls *listings) add(l *listing, clients int) {
	l.left = clients
	*ls = append(*ls, l)
}

// drop ends a walk, if it is here.
func (ls *listings) drop(l *listing) {
	if at := slices.Index(*ls, l); at >= 0 {
		*ls = slices.Delete(*ls, at, at+1)
	}
}

// lower lowers the nearest border above a slot by one; to is the slot that was just below it. False: there is none.
func (ls listings) lower(slot uint32) (to uint32, any bool) {
	nearest := 0
	for _, l := range ls {
		if l.left > int(slot) && (nearest == 0 || l.left < nearest) {
			nearest = l.left
		}
	}
	if nearest == 0 {
		return slot, false
	}
	for _, l := range ls {
		if l.left == nearest {
			l.left--
		}
	}
	return uint32(nearest - 1), true
}

// fillGap fills the slot of a client that goes from its own region and those above, but for the last; gap is the slot that is then
// to be filled.
func (s *shard) fillGap(slot uint32) (gap uint32) {
	for gap = slot; ; {
		from, any := s.listings.lower(gap)
		if !any {
			return gap
		}
		if from != gap {
			s.clients[gap] = s.clients[from]
			s.clients[gap].slot = gap
			s.heartbeat.move(from, gap)
			s.bearers.of.move(from, gap)
			s.rates.move(from, gap)
		}
		gap = from
	}
}

// list makes the next slice of a walk, and says whether there is another.
func (s *shard) list(l *listing) (more bool) {
	if l.left == notBegun {
		s.listings.add(l, len(s.clients))
	}
	assert.That(l.left <= len(s.clients), "listing: its border is beyond the clients")
	l.rows = l.rows[:0]
	var all []string // the rows' kinds, one behind the other
	for spent := 0; spent < s.bounds.listRows && l.left > 0; spent++ {
		l.left--
		c := s.clients[l.left]
		if c.state >= stateDoomed {
			continue
		}
		info := s.infoOf(c)
		kinds, steps := s.appendKinds(all, c)
		info.Kinds, all = slices.Clip(kinds[len(all):]), kinds
		spent += steps / listStepsPerRow
		l.rows = append(l.rows, info)
	}
	if l.left == 0 {
		s.listings.drop(l)
	}
	return l.left > 0
}

// infoOf is a client's row, but for the kinds of its groups.
func (s *shard) infoOf(c *client) ClientInfo {
	info := ClientInfo{
		Loop: s.index, ID: c.Number(), State: c.state.String(), Groups: c.groupCount(),
		SendQ: c.conn.OutboundBuffered(), BytesIn: c.bytesIn, BytesOut: c.bytesOut,
	}
	info.Local, _ = s.env.names(c.socket())
	info.Remote = c.remote()
	info.User = s.bearer(c).user()
	if t := c.tunnel(); t != nil && t.isOpen() {
		info.TLS = t.cipher.Version()
	}
	if c.is(markUpgraded) {
		info.Dialect, info.Deflate = s.entry(c).Name, c.deflates()
	}
	return info
}

// Bounds on what a row says of kinds. A client may have 100,000 groups, each of a kind of its own.
const (
	listedGroupsMax = 64 // groups of a client that are looked at
	listedKindsMax  = 4  // kinds that are named
	listStepsPerRow = 16 // groups looked at, and patterns compared, that take a loop as long as a row
)

// appendKinds appends the patterns of the kinds that c's groups are of, each once, and says what it took.
func (s *shard) appendKinds(kinds []string, c *client) (all []string, steps int) {
	mine, most := len(kinds), min(listedKindsMax, len(s.bounds.Kinds)+1)
	for at := 0; at < min(c.groupCount(), listedGroupsMax) && len(kinds)-mine < most; at++ {
		index, compared := s.kindOf(c.membership(at).group)
		if kind := s.bounds.kindAt(index).Match; !slices.Contains(kinds[mine:], kind) {
			kinds = append(kinds, kind)
		}
		steps += 1 + compared
	}
	return kinds, steps
}

// ErrTooManyListings says that as many lists of clients as there may be at a time are being made.
var ErrTooManyListings = fmt.Errorf("%d lists of connections are being made already; end one of them, or ask again later", listingsMax)

// listingsMax bounds the lists that are made at a time. Each costs a loop a move for every client that goes meanwhile.
const listingsMax = 4

// Clients lists every connection, loop by loop, and gives the rows to take, some at a time; take may use them until it returns. The
// loops work on the next ones only then. A connection that is there all the time is listed exactly once; one that comes or goes
// meanwhile, at most once. A row names the kinds of its first groups, and few of them. Rows come in the order of arrival within a
// slice, later slices of a loop before earlier ones. Errors are ctx's, take's, ErrStopping and ErrTooManyListings. Any goroutine that
// is no loop.
func (h *Hub) Clients(ctx context.Context, take func([]ClientInfo) error) error {
	if h.listings.Add(1) > listingsMax {
		h.listings.Add(-1)
		return ErrTooManyListings
	}
	l := &listing{}
	for _, s := range h.shards {
		if err := h.listLoop(ctx, s, l, take); err != nil {
			h.call(s, func(s *shard) { // behind a call that is still to come
				s.listings.drop(l)
				h.listings.Add(-1)
			})
			return err
		}
	}
	h.listings.Add(-1)
	return nil
}

// listLoop lists the clients of one loop.
func (h *Hub) listLoop(ctx context.Context, s *shard, l *listing, take func([]ClientInfo) error) error {
	l.left = notBegun
	for more := true; more; {
		done := make(chan bool, 1)
		h.call(s, func(s *shard) {
			if ctx.Err() == nil {
				done <- s.list(l)
			}
		})
		select {
		case more = <-done:
		case <-ctx.Done():
			return ctx.Err()
		case <-h.ended:
			return ErrStopping
		}
		if len(l.rows) == 0 {
			continue
		}
		slices.SortFunc(l.rows, func(a, b ClientInfo) int { return cmp.Compare(a.ID, b.ID) })
		if err := take(l.rows); err != nil {
			return err
		}
	}
	return nil
}
