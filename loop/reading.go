package loop

import (
	"ringcast/dialect"
	"ringcast/loop/order"
)

// This file is how clients read what is kept of a group, and how they ask its home about it at all. The answers are replays.

// history asks the home to read what is kept of a group.
func (s *shard) history(c *client, cmd *dialect.Command) dialect.ErrorCode {
	return s.askHome(c, cmd, order.OpHistory, &order.Ask{HasSince: cmd.HasSince, Reverse: cmd.Reverse, Limit: cmd.Limit, Since: order.Position{Offset: cmd.Since.Offset, Epoch: order.Epoch(cmd.Since.Epoch)},
		MessagesMax: s.bounds.RecoveryMax, BytesMax: s.bounds.OutboxBytesMax / 2})
}

// askHome asks the home about a group, which only members may.
func (s *shard) askHome(c *client, cmd *dialect.Command, op order.RequestOp, ask *order.Ask) dialect.ErrorCode {
	g := s.groups.Get(string(cmd.Group))
	if g == nil {
		return dialect.ErrNotMember
	}
	if at := c.memberOf(g); at < 0 || c.membership(at).standing == standingRenounced { // who has asked to join may be a member by then, see asked
		return dialect.ErrNotMember
	}
	if s.hub.stopping.Load() {
		count(&s.count.RefusedBy, refusedStopping)
		return dialect.ErrStopping
	}
	r := request{Op: op, Local: g, Asks: cmd.ID != nil, Client: c, ID: string(cmd.ID), Past: ask}
	if !s.request(int(g.home), r) {
		count(&s.count.RefusedBy, refusedBusy)
		return dialect.ErrBusy
	}
	g.asked++ // it is not given up before the home has answered
	return ""
}

// asked is what becomes of a question about a group, whatever it was: an error code, if it is not answered.
func (s *shard) asked(r *replay, late bool) dialect.ErrorCode {
	r.Local.asked--
	s.giveUpIfEmpty(r.Local)
	at := r.Client.memberOf(r.Local)
	switch {
	case at < 0 || r.Client.membership(at).standing == standingRenounced: // it had asked to join, and was refused; or it has left
		return dialect.ErrNotMember
	case late, r.Past.Busy:
		count(&s.count.RefusedBy, refusedBusy)
		return dialect.ErrBusy
	case r.Past.None && r.Op != order.OpCounted:
		return dialect.ErrNotAvailable
	}
	return ""
}

// answerHistory answers who has asked to read a group's history.
func (s *shard) answerHistory(r *replay, late bool) {
	code := s.asked(r, late)
	switch {
	case code != "":
	case r.Past.Lost:
		code = dialect.ErrUnrecoverable
	default:
		o := dialect.Outcome{What: dialect.Read, Verb: dialect.History, ID: borrowBytes(r.ID)}
		for n := len(r.Past.Messages); ; n /= 2 { // fewer are no error
			o.Past = &dialect.Past{Top: position{Offset: r.Past.Top.Offset, Epoch: uint64(r.Past.Top.Epoch)}, Messages: each(r.Past.Messages[:n], nil)}
			if n == 0 || s.fits(r.Client, o) {
				break
			}
		}
		s.answer(r.Client, o)
		return
	}
	s.answer(r.Client, dialect.Outcome{What: dialect.Refused, Verb: dialect.History, Group: r.Local.name, ID: borrowBytes(r.ID), Code: code})
}
