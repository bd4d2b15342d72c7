package loop

import (
	"math"

	"ringcast/dialect"
	"ringcast/loop/door"
	"ringcast/wsproto"
)

// This file is how tokens come in: with a handshake or a connect, by an auth or a refresh, and for one group with an add_group. They
// are checked on the loop: a check takes some 5 µs, or 60 to 100 where keys are public, which is less than it takes to hand the question
// to another goroutine and the client's later commands with it; and a loop that is busy with them acts on what it has read as often as
// with anything else (deferral.go). How much of a loop's time the tokens of one client may take is bounded. A token is kept nowhere but in
// what it says, and no log line, error and list has it: of one that is refused operators are told what is wrong with it.

// badTokensMax is the number of bad tokens with which a client is closed: each costs a check.
const badTokensMax = 3

// What the checks of a client's tokens may take of a loop's time within a tick. Beyond it further ones are refused unseen: one message has
// room for some thousand tokens, of which each may take 3 ms (ES512), and others would wait for all of them.
const (
	checkNanosPerTick = 10_000_000 // after which none is checked any more
	checksPerTickMin  = 8          // that are checked in any case: the loop's time is also what others have taken of its processor
)

// checks is what a client's tokens have taken in a tick.
//
// Owner: the loop.
type checks struct {
	nanos uint32 // as many as it has room for
	tick  uint32
	n     uint32
}

// check is verify for a client that is connected, within what its tokens may take.
func (s *shard) check(c *client, group, text []byte) (token *door.Token, code dialect.ErrorCode) {
	checks := &s.known(c).extend().checks
	if checks.tick != s.tick {
		checks.nanos, checks.tick, checks.n = 0, s.tick, 0
	}
	if checks.n >= checksPerTickMin && checks.nanos >= checkNanosPerTick {
		count(&s.count.RefusedBy, refusedRate)
		return nil, dialect.ErrRateLimited
	}
	began := s.env.now()
	token, code = s.verify(c, group, text)
	checks.n++
	checks.nanos = uint32(min(int64(checks.nanos)+s.env.now()-began, math.MaxUint32))
	return token, code
}

// verify is a token that c shows and that is good at this moment, or the error code that says what it is not. group is the one for which it
// is shown, or nil.
func (s *shard) verify(c *client, group, text []byte) (token *door.Token, code dialect.ErrorCode) {
	now := s.hub.wall()
	token, err := s.bounds.Tokens.Verify(text, now)
	if err != nil {
		fault, why := door.FaultOf(err)
		return nil, s.faultyToken(c, group, fault, why)
	}
	s.hub.revoked.Saw(token, now.Unix())
	if s.hub.revoked.Refuses(token.User, token.IssuedAt) {
		return nil, s.faultyToken(c, group, door.FaultRevoked, "its user's tokens were revoked after it was issued (iat)")
	}
	return token, ""
}

// faultyToken counts a token that is refused, tells operators why, and returns what its client is told. why has nothing of the token.
func (s *shard) faultyToken(c *client, group []byte, fault door.Fault, why string) dialect.ErrorCode {
	s.note(c, Trace{Kind: TraceToken, Group: string(group), Code: fault.String(), Reason: why, Remote: s.remoteOf(c)})
	if s.env.faulty != nil {
		s.env.faulty(c, fault, why)
	}
	switch fault {
	case door.FaultExpired:
		count(&s.count.Tokens, tokenExpired)
		return dialect.ErrTokenExpired
	case door.FaultRevoked:
		count(&s.count.Tokens, tokenRevoked)
	case door.FaultOtherUser, door.FaultOtherUse:
		count(&s.count.Tokens, tokenOther)
		return dialect.ErrOtherToken
	default:
		count(&s.count.Tokens, tokenBad)
	}
	return dialect.ErrBadToken
}

// What is wrong with tokens that are good elsewhere.
const (
	whyForAGroup      = "it is for a group (channel), and was shown for a connection"
	whyForAConnection = "it is for a connection, and was shown for a group: it has no channel"
	whyForAnother     = "it is for another group (channel)"
	whyOfAnother      = "it is of another user (sub) than the connection"
)

// refuseToken counts a bad token of a client, and closes it after too many. One that has expired was good once, and does not count:
// who was away for long joins all its groups with such. Nor does one that was not looked at.
func (s *shard) refuseToken(c *client, code dialect.ErrorCode) dialect.ErrorCode {
	if code == dialect.ErrTokenExpired || code == dialect.ErrRateLimited {
		return code
	}
	b := s.known(c).extend()
	if b.bad++; b.bad == badTokensMax {
		s.close(c, dialect.CauseBadToken)
	}
	return code
}

// show takes the token of a client's connection. Who has shown one is its user for good, and so is nobody who has connected without one.
func (s *shard) show(c *client, text []byte) dialect.ErrorCode {
	token, code := s.check(c, nil, text)
	switch {
	case code != "":
	case token.Group != "":
		code = s.faultyToken(c, nil, door.FaultOtherUse, whyForAGroup)
	case s.isAnotherUser(c, token):
		code = s.faultyToken(c, nil, door.FaultOtherUser, whyOfAnother)
	}
	if code != "" {
		return s.refuseToken(c, code)
	}
	count(&s.count.Tokens, tokenAccepted)
	s.take(c, token)
	return ""
}

// isAnotherUser says whether a token is not of the user that c is already.
func (s *shard) isAnotherUser(c *client, token *door.Token) bool {
	is := s.hasToken(c) || s.entry(c).Connects && c.is(markConnected)
	return is && token.User != s.bearer(c).user()
}

// auth takes the token of a client that is connected.
func (s *shard) auth(c *client, cmd *dialect.Command) dialect.ErrorCode {
	if code := s.show(c, cmd.Token); code != "" {
		return code
	}
	if cmd.ID != nil {
		s.answer(c, dialect.Outcome{What: dialect.OK, Verb: dialect.Auth, ID: cmd.ID, TTL: s.ttl(s.bearer(c).connection())})
	}
	return ""
}

// showFor is what a client gets for a group for which it shows a token; text nil: it shows none, and gets nil. The token must be for
// that group, and of the client's own user.
func (s *shard) showFor(c *client, group, text []byte) (in *grant, code dialect.ErrorCode) {
	if text == nil {
		return nil, ""
	}
	token, code := s.check(c, group, text)
	switch b := s.bearer(c); {
	case code != "":
	case token.Group == "":
		code = s.faultyToken(c, group, door.FaultOtherUse, whyForAConnection)
	case token.Group != string(group):
		code = s.faultyToken(c, group, door.FaultOtherUse, whyForAnother)
	case token.User != b.user():
		code = s.faultyToken(c, group, door.FaultOtherUser, whyOfAnother)
	}
	if code != "" {
		return nil, s.refuseToken(c, code)
	}
	count(&s.count.Tokens, tokenAccepted)
	in = &grant{token: token, who: whoOf(s.tokenOf(c), token.Info)} // without a connection's token there is no name either
	return in, ""
}

// keep has a client that has shown a token for a group keep what it got for that.
func (s *shard) keep(c *client, g *group, in *grant) {
	if in != nil {
		s.known(c).hold(g, in)
		if in.token != nil {
			s.endAt(in, in.token.Ends)
		}
	}
}

// authGroup takes a newer token for a group of which the client is a member.
func (s *shard) authGroup(c *client, cmd *dialect.Command) dialect.ErrorCode {
	g := s.groups.Get(string(cmd.Group))
	if g == nil || !c.joins(g) {
		return dialect.ErrNotMember
	}
	in, code := s.showFor(c, cmd.Group, cmd.Token)
	if code != "" {
		return code
	}
	s.keep(c, g, in)
	if cmd.ID != nil {
		s.answer(c, dialect.Outcome{What: dialect.OK, Verb: cmd.Verb, Group: g.name, ID: cmd.ID, TTL: s.ttl(in)})
	}
	return ""
}

// introduce takes the token that a client connects with, or that it has none.
func (s *shard) introduce(c *client, cmd *dialect.Command) dialect.ErrorCode {
	if cmd.Token != nil {
		return s.show(c, cmd.Token)
	}
	if !s.shown(c, nil).MayConnect(s.bounds.NoAnonymous) {
		count(&s.count.RefusedBy, refusedUnauthorized)
		return dialect.ErrUnauthorized
	}
	return ""
}

// closesFor closes a client for what is wrong with the token of a command, where its dialect has it so.
func (s *shard) closesFor(c *client, verb dialect.Verb, code dialect.ErrorCode) (closed bool) {
	causes := s.entry(c).TokenCause
	if causes == nil {
		return false
	}
	why, closed := causes(verb, code)
	if closed {
		s.close(c, why)
	}
	return closed
}

// arriving is the token that a client brings in its handshake, if it does so and its dialect has no other way; ok is false if it was
// refused, and answered. Where no tokens are configured those in a request are somebody else's, such as a proxy's.
func (s *shard) arriving(c *client, req *wsproto.Request) (token *door.Token, ok bool) {
	if s.bounds.Tokens == nil || s.hub.dialects[s.formOf(req.Path, req.Subprotocol)].Connects {
		return nil, true
	}
	text, rejection := req.Token()
	if text == nil && rejection == nil {
		return nil, true
	}
	if rejection == nil {
		var code dialect.ErrorCode
		switch token, code = s.verify(c, nil, text); {
		case code == dialect.ErrTokenExpired:
			rejection = wsproto.RejectTokenExpired
		case code != "":
			rejection = wsproto.RejectToken
		case token.Group != "":
			s.faultyToken(c, nil, door.FaultOtherUse, whyForAGroup)
			rejection = wsproto.RejectToken
		default:
			count(&s.count.Tokens, tokenAccepted)
			return token, true
		}
	}
	count(&s.count.Handshakes, handshakeToken)
	s.answerRejection(c, rejection)
	return nil, false
}
