package loop

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"slices"
	"unicode/utf8"

	"ringcast/dialect"
	"ringcast/wsproto"
)

// This file is what backends want done with clients that are there: to disconnect them, to take them out of a group or into one, to let
// them stay for longer, to revoke their tokens. The loops look for the clients and do it, some in each turn.

// Target is the clients that are meant: those of a user, or one alone.
type Target struct {
	User   string // empty: whoever the client is
	Client uint64 // its number; 0: all clients of User, or the one of Name
	Name   string // its name, in place of its number; one that no client of this process can have is nobody's
}

// Why nothing was done.
var (
	ErrNoTarget  = errors.New("neither a user nor a client is named")
	ErrCloseCode = errors.New("a close code is a number from 3000 to 4999")
)

// errandsMax bounds the errands of all loops together, so of as many targets at a time as an eighth of it with 8 loops.
const errandsMax = 8192

// What a turn does of errands: clients for which something is done, each of which may be a system call, and clients that are looked at.
const (
	errandActsPerTurn  = closesPerTurn
	errandLooksPerTurn = 2048
)

// errand is what is to be done with the clients of a target on one loop. Clients of a user are known, and gone through; one that is named
// by its number alone is looked for among all, from the last slot downwards: what fills the gap of one that goes comes from above.
//
// Owner: the loop.
type errand struct {
	target  Target
	do      func(*shard, *client) (done bool)
	waits   bool    // for what was said before it
	begun   uint32  // the tick
	next    *bearer // target.User: the next of its clients
	slot    int     // else: clients below this one are still to be looked at
	clients int     // for which it was done
	result  chan<- int
}

// errandWaitTicks is how long an errand waits for what was said before it: a loop that is never through with its passes does it all
// the same.
const errandWaitTicks = 2

// passOver has an errand not look at a bearer that is about to be forgotten.
func (e *errand) passOver(b *bearer) {
	if e.next == b {
		e.next = b.next
	}
}

// beginErrand begins an errand.
func (s *shard) beginErrand(e *errand) {
	e.begun = s.tick
	if e.target.User != "" {
		e.next = s.bearers.users.Get(e.target.User)
	} else {
		e.slot = len(s.clients)
	}
	s.bearers.errands = append(s.bearers.errands, e)
}

// runErrands goes on with errands, oldest first, within what a turn may do, and reports whether it did anything. Those that wait are done
// when what was said before is sent: a backend that publishes and then disconnects means the client to hear it. They are done all the
// same if passed is true, the turn has made passes, and they have waited for errandWaitTicks.
func (s *shard) runErrands(sent, passed bool) (any bool) {
	b := &s.bearers
	at := s.nextErrand(sent, passed)
	if at < 0 {
		return false
	}
	was := s.culprit
	for at >= 0 && b.acts > 0 && b.looks > 0 {
		e := b.errands[at]
		c, more := e.look(s)
		any = true
		if b.looks--; c != nil {
			b.acts--
			if s.culprit = c; e.do(s, c) {
				e.clients++
			}
		}
		if !more {
			b.errands = slices.Delete(b.errands, at, at+1)
			e.result <- e.clients
			s.hub.errands.Add(-1)
			at = s.nextErrand(sent, passed) // not for each client: many may wait before this one
		}
	}
	if s.culprit = was; at >= 0 {
		s.kick()
	}
	return any
}

// nextErrand is the place of the oldest errand that may be done; -1: there is none. Those that wait are done in their order.
func (s *shard) nextErrand(sent, passed bool) int {
	return slices.IndexFunc(s.bearers.errands, func(e *errand) bool {
		return sent || !e.waits || passed && s.tick-e.begun >= errandWaitTicks
	})
}

// allSent says whether nothing that has come down waits for a turn. If not, a kick or a wake-up is under way. What waits for a client that
// is slow does not count.
func (s *shard) allSent() bool {
	return len(s.passes.queue)+len(s.passes.awaiting) == 0 && len(s.replays.queue) <= s.replays.unready
}

// look looks at the next client; c is nil if it is not meant. more is false when there is no other.
func (e *errand) look(s *shard) (c *client, more bool) {
	if e.target.User != "" {
		b := e.next
		if b == nil {
			return nil, false
		}
		e.next, c = b.next, b.client
	} else if e.slot = min(e.slot, len(s.clients)); e.slot > 0 {
		e.slot--
		c = s.clients[e.slot]
	}
	if more = e.next != nil || e.slot > 0; c != nil && e.target.Client != 0 {
		if c.Number() != e.target.Client {
			return nil, more
		}
		more = false
	}
	if c != nil && (c.state != stateOpen || !c.is(markConnected)) {
		c = nil
	}
	return c, more
}

// dispatch has all loops that may have clients of a target do something with them. So many results come, each the number of a loop's
// clients for which that was done. With waits it is done behind what was said before. ErrBusy, ErrNoTarget: nothing is done.
func (h *Hub) dispatch(t Target, waits bool, do func(*shard, *client) bool) (results chan int, n int, err error) {
	shards := h.shards
	if t.Name != "" && t.Client == 0 {
		var known bool
		if t.Client, known = h.ClientNumber(t.Name); !known || t.Client == 0 {
			return nil, 0, nil
		}
	}
	switch loop := t.Client % LoopsMax; {
	case t.User == "" && t.Client == 0:
		return nil, 0, ErrNoTarget
	case t.Client != 0 && loop >= uint64(len(shards)):
		return nil, 0, nil
	case t.Client != 0:
		shards = shards[loop : loop+1]
	}
	n = len(shards)
	if h.errands.Add(int32(n)) > errandsMax {
		h.errands.Add(int32(-n))
		return nil, 0, ErrBusy
	}
	results = make(chan int, n)
	for _, s := range shards {
		h.call(s, func(s *shard) { s.beginErrand(&errand{target: t, waits: waits, do: do, result: results}) })
	}
	return results, n, nil
}

// send is dispatch for one who waits. The error is ctx's, or ErrStopping: then it may have been done for some clients, or be done later;
// or one of dispatch.
func (h *Hub) send(ctx context.Context, t Target, waits bool, do func(*shard, *client) bool) (clients int, err error) {
	results, n, err := h.dispatch(t, waits, do)
	for range n {
		select {
		case of := <-results:
			clients += of
		case <-ctx.Done():
			return clients, ctx.Err()
		case <-h.ended:
			return clients, ErrStopping
		}
	}
	return clients, err
}

// Disconnect closes clients. code is for those of the Centrifuge protocol, 3000 to 4999, or 0 for 3503; plain ones get 4403, those of the Pusher protocol 4009. An empty
// reason, or one that a client would take for more than a text, stands for the usual one. It returns how many were closed; errors are
// those of all errands: ctx's, ErrStopping, ErrBusy and ErrNoTarget, and ErrCloseCode. Any goroutine that is no loop.
func (h *Hub) Disconnect(ctx context.Context, t Target, code uint16, reason string) (clients int, err error) {
	if code != 0 && (code < 3000 || code > 4999) {
		return 0, ErrCloseCode
	}
	return h.send(ctx, t, true, disconnecting(code, reason))
}

// disconnecting is what is done with a client that is to be disconnected.
func disconnecting(code uint16, reason string) func(*shard, *client) bool {
	return func(s *shard, c *client) bool {
		as, usual := s.dialect(c).Close(dialect.CauseDisconnected)
		if code != 0 && s.entry(c).Connects {
			as = wsproto.StatusCode(code)
		}
		if reason != "" && utf8.ValidString(reason) && !json.Valid([]byte(reason)) { // from one that is JSON SDKs take advice
			usual = reason
		}
		s.closeWith(c, as, usual)
		return true
	}
}

// Unsubscribe takes clients out of a group, and tells them. It returns how many were members, or had asked to be. Any goroutine that is no
// loop.
func (h *Hub) Unsubscribe(ctx context.Context, t Target, group string) (clients int, err error) {
	return h.send(ctx, t, true, unsubscribing(group))
}

// unsubscribing is what is done with a client that is to be taken out of a group.
func unsubscribing(group string) func(*shard, *client) bool {
	return func(s *shard, c *client) bool {
		g := s.groups.Get(group)
		if g == nil || !c.joins(g) {
			return false
		}
		if m := c.membership(c.memberOf(g)); m.standing == standingAsked { // it is answered first
			m.traits |= traitOusted
		} else {
			s.oust(c, g, dialect.Removed)
		}
		return true
	}
}

// Subscribe makes clients members of a group, whoever may join it. Those of the Centrifuge protocol are told; plain ones just hear what is
// said there. info, which is JSON on one line or nil, is told others of them there. It returns how many are members then, or will be when
// the group's home has let them in, as far as bounds allow. ErrBadGroup: the name is none. Any goroutine that is no loop.
func (h *Hub) Subscribe(ctx context.Context, t Target, group string, info []byte) (clients int, err error) {
	if err := h.accepts(group, nil); err != nil {
		return 0, err
	}
	return h.send(ctx, t, true, func(s *shard, c *client) bool {
		g, at := s.groups.Get(group), -1
		if g != nil {
			at = c.memberOf(g)
		}
		if at >= 0 && c.membership(at).standing != standingRenounced {
			c.membership(at).traits &^= traitOusted // if it was to be taken out, this is the later word
			return true
		}
		if !s.mayJoinMore(c) {
			return false
		}
		var in *grant
		if info != nil {
			in = &grant{who: whoOf(s.tokenOf(c), info)}
		}
		if at >= 0 { // its home is being asked, and it has left since
			s.keep(c, g, in)
			c.stand(at, standingAsked)
			c.membership(at).traits |= traitServed
			return true
		}
		return s.bring(c, g, &dialect.Command{Verb: dialect.AddGroup, Group: []byte(group)}, in) == ""
	})
}

// Refresh has what clients' tokens allow end at another time, in Unix seconds; 0: never. Those for which that is over are closed. Any
// goroutine that is no loop.
func (h *Hub) Refresh(ctx context.Context, t Target, ends int64) (clients int, err error) {
	return h.send(ctx, t, false, func(s *shard, c *client) bool {
		if ends != 0 && ends <= h.wall().Unix() {
			s.close(c, dialect.CauseTokenEnded)
			return true
		}
		b := s.known(c).extend()
		s.endAt(&b.grant, ends)
		if b.welcome == nil { // else its reply says so
			s.answer(c, dialect.Outcome{What: dialect.Renewed, TTL: s.ttl(&b.grant)})
		}
		return true
	})
}

// Revoke refuses a user's tokens that were issued before a time, in Unix seconds, from now on, and closes the clients that have shown
// such. A token that does not say when it was issued is one of them. It returns how many were closed; errors are those of errands, and
// door.ErrRevokedFull. Any goroutine that is no loop.
func (h *Hub) Revoke(ctx context.Context, user string, before int64) (clients int, err error) {
	if user == "" {
		return 0, ErrNoTarget
	}
	if err := h.revoked.Revoke(user, before, h.wall().Unix()); err != nil {
		return 0, err
	}
	return h.send(ctx, Target{User: user}, false, func(s *shard, c *client) bool {
		if !s.bearer(c).issuedBefore(before) {
			return false
		}
		s.close(c, dialect.CauseRevoked)
		return true
	})
}

// issuedBefore says whether one of b's tokens was issued before a time, or does not say when.
func (b *bearer) issuedBefore(before int64) bool {
	old := func(in *grant) bool { return in != nil && in.token != nil && in.token.IssuedAt < before }
	if b.bearerMore == nil {
		return false
	}
	if old(&b.grant) || old(b.only) {
		return true
	}
	for _, in := range b.groups {
		if old(in) {
			return true
		}
	}
	return false
}

// Revocations are the users whose tokens are refused, each with the time before which these were issued, in Unix seconds: for who tells
// another server of them. Any goroutine; it may change them meanwhile.
func (h *Hub) Revocations() iter.Seq2[string, int64] { return h.revoked.All() }

// RevokedBefore is that time of one user; 0: its tokens are not refused. Any goroutine.
func (h *Hub) RevokedBefore(user string) int64 { return h.revoked.Before(user) }

// Users is how many users with a name are connected. Any goroutine.
func (h *Hub) Users() int { return h.users.Len() }

// ClientName is the name by which backends, and clients of the Centrifuge protocol, know the client of a number. Any goroutine.
func (h *Hub) ClientName(client uint64) string { return h.names.Of(client) }

// ClientNumber is the number of the client that has a name; false: no client of this process can have it. Any goroutine.
func (h *Hub) ClientNumber(name string) (uint64, bool) { return h.names.Number(name) }

// SocketID is the name by which the Pusher protocol knows the client of a number. Any goroutine.
func (h *Hub) SocketID(client uint64) string { return h.names.SocketID(client) }
