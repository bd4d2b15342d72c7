package loop

import (
	"math"
	"time"

	"ringcast/dialect"
	"ringcast/loop/door"
	"ringcast/loop/order"
)

// This file is how what tokens allow comes to an end. A token says in seconds of the wall clock when that is. How long it has is found
// out once, when it is shown, and then counted on the monotonic clock: whoever moves the wall clock ends nobody, and keeps nobody any
// longer. A server that was stopped by SIGSTOP has its tokens end all the same, unlike its deadlines.

// grant is what a token allows its bearer, and for how long.
//
// Owner: the loop.
type grant struct {
	token  *door.Token  // nil: there is none
	who    *dialect.Who // the bearer as others are told of it; nil: it is nobody
	bearer *bearer
	group  *group // nil: it is that of a connection
	at     int64  // when it ends, grace included, in nanoseconds of env.now; 0: never
	place  int    // in bearers.ending, counted from 1; 0: it is not there
}

// ttlMax bounds what a client is told of how long it has, in seconds: a year. If it has longer it may ask again by then.
const ttlMax = 365 * 24 * 60 * 60

// endAt has a grant end at a time of the wall clock, in Unix seconds; 0: never. Clients that renew their tokens have some time more.
func (s *shard) endAt(in *grant, ends int64) {
	at := int64(0)
	if ends != 0 {
		left := float64(ends) - float64(s.hub.wall().UnixNano())/float64(time.Second)
		at = max(1, s.env.now()+s.grace(in.bearer.client)+int64(min(left, grantSecondsMax)*float64(time.Second)))
	}
	s.bearers.ending.put(in, at)
}

// grantSecondsMax is the longest time in seconds that is counted: a hundred years, which nanoseconds have room for.
const grantSecondsMax = 100 * ttlMax

// grace is for how long a client is served beyond the end of its token, in nanoseconds.
func (s *shard) grace(c *client) int64 {
	if s.entry(c).Renews {
		return int64(dialect.RenewGraceSeconds * time.Second)
	}
	return 0
}

// ttl is for how many seconds from now a grant is good, rounded up; 0: it does not end. nil is one that does not.
func (s *shard) ttl(in *grant) uint32 {
	if in == nil || in.at == 0 {
		return 0
	}
	left := in.at - s.grace(in.bearer.client) - s.env.now()
	return uint32(min(max(1, math.Ceil(float64(left)/float64(time.Second))), ttlMax))
}

// ttlIn is likewise what a client has for a group.
func (s *shard) ttlIn(c *client, g *group) uint32 {
	if b := s.bearer(c); b != nil {
		return s.ttl(b.in(g))
	}
	return 0
}

// endGrants ends what tokens allow no longer. It is called once a tick, and those that end together are ended in several turns.
func (s *shard) endGrants() {
	ending := &s.bearers.ending
	s.bearers.late = false
	if len(*ending) == 0 {
		return
	}
	was, now := s.culprit, s.env.now()
	for n := 0; len(*ending) > 0 && (*ending)[0].at <= now; n++ {
		if n == closesPerTurn {
			s.bearers.late = true
			s.kick()
			break
		}
		in := (*ending)[0]
		ending.drop(in)
		s.culprit = in.bearer.client
		s.endGrant(in, now)
	}
	s.culprit = was // not deferred: who is to be closed for a panic must be known behind it
}

// endGrant ends one: its client is closed, or is taken out of the group.
func (s *shard) endGrant(in *grant, now int64) {
	c := in.bearer.client
	switch {
	case c.state != stateOpen:
	case in.group == nil:
		s.close(c, dialect.CauseTokenEnded)
	case c.hasAsked(in.group): // it is answered first
		s.bearers.ending.put(in, now+int64(time.Second))
	default:
		s.oust(c, in.group, dialect.Lapsed)
	}
}

// oust takes a member out of a group and tells it. Who has never used an id and shown no token takes whatever it hears for a message, and
// is not told.
func (s *shard) oust(c *client, g *group, why dialect.What) {
	s.part(c, c.memberOf(g))
	if c.dialect() != int(order.PlainForm) || c.is(markAsks) || s.hasToken(c) {
		s.answer(c, dialect.Outcome{What: why, Group: g.name})
	}
}
