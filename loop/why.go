package loop

import (
	"cmp"
	"context"
	"slices"
	"time"

	"ringcast/loop/door"
)

// This file answers why a client has, or has not, got what was said to a group: from what its loop has of it now, and from the journal
// (trace.go) for what was.

// Why is all that is known of a client and a group.
type Why struct {
	At     int64       `json:"at"`     // Unix milliseconds
	Client *ClientInfo `json:"client"` // nil: it is not connected
	Group  GroupDetail `json:"group"`

	// Of a client that is connected.
	Standing string `json:"standing"` // "member"; "asked": its add_group waits for the home; "": it is not a member
	Waiting  int    `json:"waiting"`  // messages of the group that wait for the next pass over it
	Losing   bool   `json:"losing"`   // it has lost messages of the group, and will be told to come back for them
	Missed   uint64 `json:"missed"`   // messages of its groups that it has missed, of which it is yet to be told
	Slow     bool   `json:"slow"`     // bytes wait in its outbox

	Traces []Trace `json:"traces"` // of the journal: what concerns the client, and no other group; the oldest first
	More   bool    `json:"more"`   // there are older ones
	Since  int64   `json:"since"`  // the journal goes back to here, Unix milliseconds
}

// tracesOfWhy bounds the traces in an answer.
const tracesOfWhy = 200

// Why says what is known of a client, by its number, and a group. It goes through the clients of the client's loop, in slices, so it
// costs as much as a list of them. Errors are ctx's, ErrStopping and ErrTooManyListings. Any goroutine that is no loop.
func (h *Hub) Why(ctx context.Context, number uint64, group string) (Why, error) {
	of, err := h.Group(ctx, group)
	if err != nil {
		return Why{}, err
	}
	w := &Why{Group: of} // a loop may fill it in when nobody waits for that any more
	if number%LoopsMax >= uint64(len(h.shards)) {
		return *w, nil // there is no such loop, and never was
	}
	s := h.shards[number%LoopsMax]
	if h.listings.Add(1) > listingsMax {
		h.listings.Add(-1)
		return *w, ErrTooManyListings
	}
	defer h.listings.Add(-1)
	l := &listing{left: notBegun}
	for more := true; more; {
		var c *client
		if err = h.on(ctx, s, func(s *shard) {
			if c, more = s.lookFor(l, number); c != nil {
				s.explainTo(w, c, group)
			}
		}); err != nil {
			h.call(s, func(s *shard) { s.listings.drop(l) })
			return Why{}, err
		}
	}
	if err = h.on(ctx, s, func(s *shard) {
		w.Since = h.millis(s.traces.journal.oldest())
		w.Traces, w.More = h.newest(&s.traces.journal, tracesOfWhy, func(t *Trace) bool {
			return t.Client == number && (t.Group == "" || t.Group == group)
		})
	}); err != nil {
		return Why{}, err
	}
	slices.Reverse(w.Traces)
	w.At = time.Now().UnixMilli()
	return *w, nil
}

// lookFor looks for a client among the next clients of a walk; more: there are others to be looked at.
func (s *shard) lookFor(l *listing, number uint64) (c *client, more bool) {
	if l.left == notBegun {
		s.listings.add(l, len(s.clients))
	}
	for n := min(l.left, soughtPerSlice); n > 0 && c == nil; n-- {
		l.left--
		if other := s.clients[l.left]; other.Number() == number && other.state < stateDoomed {
			c = other
		}
	}
	if more = c == nil && l.left > 0; !more {
		s.listings.drop(l)
	}
	return c, more
}

// soughtPerSlice is how many clients a loop looks at in one call, of which each may cost a cache miss.
const soughtPerSlice = 4096

// explainTo says what is known of a client that is connected.
func (s *shard) explainTo(w *Why, c *client, group string) {
	info := s.infoOf(c)
	w.Client, w.Slow = &info, c.isSlow()
	if entry := s.slow.of(c); entry != nil {
		w.Missed = entry.missed
	}
	g := s.groups.Get(group)
	if g == nil {
		return
	}
	at := c.memberOf(g)
	if at < 0 {
		return
	}
	switch m := c.membership(at); m.standing {
	case standingMember:
		w.Standing, w.Losing, w.Waiting = "member", m.recall == recallLost, g.waiting(c)
	case standingAsked:
		w.Standing = "asked"
	}
}

// newest is up to so many traces of a journal that f wants, the newest first; more: it has others.
func (h *Hub) newest(j *journal, most int, f func(*Trace) bool) (traces []Trace, more bool) {
	j.each(func(t *Trace) bool {
		if !f(t) {
			return true
		}
		if more = len(traces) >= most; more {
			return false
		}
		out := *t
		out.At = h.millis(t.At)
		traces = append(traces, out)
		return true
	})
	return traces, more
}

// Journal gives the newest traces of trouble on all loops that a filter wants, up to so many, the newest first. since: everything that
// there was from then on is in it, Unix milliseconds. Errors are ctx's and ErrStopping. Any goroutine that is no loop.
func (h *Hub) Journal(ctx context.Context, f TailFilter, most int) (traces []Trace, since int64, err error) {
	since = h.started.UnixMilli()
	for _, s := range h.shards {
		var all journal
		var oldest int64
		err := h.on(ctx, s, func(s *shard) { // a copy takes 0.1 ms; to compare all names with a pattern may take longer
			all = journal{slices.Clone(s.traces.journal.traces), s.traces.journal.next}
			oldest = h.millis(all.oldest())
		})
		if err != nil {
			return nil, 0, err
		}
		since = max(since, oldest)
		here, _ := h.newest(&all, most, func(t *Trace) bool {
			return (f.Client == 0 || t.Client == f.Client) && (f.Group == "" || door.Matches(f.Group, t.Group)) &&
				(len(f.Kinds) == 0 || slices.Contains(f.Kinds, t.Kind.String()))
		})
		traces = append(traces, here...)
	}
	slices.SortStableFunc(traces, func(a, b Trace) int { return cmp.Compare(b.At, a.At) })
	return traces[:min(len(traces), most)], since, nil
}

// sortByOutbox sorts rows, the largest outbox first.
func sortByOutbox(rows []ClientInfo) {
	slices.SortFunc(rows, func(a, b ClientInfo) int { return cmp.Or(cmp.Compare(b.SendQ, a.SendQ), cmp.Compare(a.ID, b.ID)) })
}
