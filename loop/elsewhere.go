package loop

import (
	"bytes"
	"context"
	"time"

	"ringcast/dialect"
)

// This file is how a client is told how many members a group has on all nodes of a cluster, where the group has no presence: homes know only
// those here. The other nodes are asked beside the loops, and the loop answers when they have.

// Elsewhere says how many members a group has on other nodes. Any goroutine calls it, and it may wait. With an error the number is that
// of those that have answered.
type Elsewhere func(ctx context.Context, group string) (members int, err error)

const (
	countingsMax = 1024                   // clients that wait for such an answer at a time, on all loops; further ones are told busy
	countingTime = 500 * time.Millisecond // then they are told what is known
)

// SetElsewhere has members on other nodes be counted from now on, once, before clients are let in. Any goroutine.
func (h *Hub) SetElsewhere(e Elsewhere) { h.elsewhere.Store(&e) }

// answerMembers answers how many members a group has, at once or when the other nodes have said how many they have.
func (s *shard) answerMembers(c *client, group string, o dialect.Outcome) dialect.ErrorCode {
	e := s.hub.elsewhere.Load()
	if e == nil {
		s.answer(c, o)
		return ""
	}
	if s.hub.countings.Add(1) > countingsMax {
		s.hub.countings.Add(-1)
		count(&s.count.RefusedBy, refusedBusy)
		return dialect.ErrBusy
	}
	o.ID = bytes.Clone(o.ID)
	number := c.Number()
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), countingTime)
		defer cancel()
		members, _ := (*e)(ctx, group) // a client is told what is known: its protocol has no place for more
		o.Number += uint64(members)
		s.hub.call(s, func(s *shard) {
			s.hub.countings.Add(-1)
			if c.state == stateOpen && c.Number() == number {
				s.answer(c, o)
			}
		})
	}()
	return ""
}
