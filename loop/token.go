package loop

import (
	"errors"

	"ringcast/dialect"
	"ringcast/loop/door"
	"ringcast/wsproto"
)

// This file is how tokens come in: with a handshake or a connect, by an auth or a refresh, and for one group with an add_group. They
// are checked on the loop: a check takes some 5 µs, or 60 to 100 where keys are public, which is less than it takes to hand the question
// to another goroutine and the client's later commands with it; and a loop that is busy with them acts on what it has read as often as
// with anything else (deferral.go). How much of a loop's time the tokens of one client may take is bounded. A token is kept nowhere but in
// what it says, and no log line, error and list has it.

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
	nanos int64
	tick  uint32
	n     uint32
}

// check is verify for a client that is connected, within what its tokens may take.
func (s *shard) check(c *client, text []byte) (token *door.Token, code dialect.ErrorCode) {
	checks := &s.known(c).checks
	if checks.tick != s.tick {
		checks.nanos, checks.tick, checks.n = 0, s.tick, 0
	}
	if checks.n >= checksPerTickMin && checks.nanos >= checkNanosPerTick {
		count(&s.count.RefusedBy, refusedRate)
		return nil, dialect.ErrRateLimited
	}
	began := s.env.now()
	token, code = s.verify(text)
	checks.n++
	checks.nanos += s.env.now() - began
	return token, code
}

// verify is a token that is good at this moment, or the error code that says what it is not.
func (s *shard) verify(text []byte) (token *door.Token, code dialect.ErrorCode) {
	if s.bounds.Tokens == nil {
		count(&s.count.Tokens, tokenBad)
		return nil, dialect.ErrBadToken
	}
	now := s.hub.wall()
	token, err := s.bounds.Tokens.Verify(text, now)
	switch {
	case errors.Is(err, door.ErrTokenExpired):
		count(&s.count.Tokens, tokenExpired)
		return nil, dialect.ErrTokenExpired
	case err != nil:
		count(&s.count.Tokens, tokenBad)
		return nil, dialect.ErrBadToken
	}
	s.hub.revoked.Saw(token, now.Unix())
	if s.hub.revoked.Refuses(token.User, token.IssuedAt) {
		count(&s.count.Tokens, tokenRevoked)
		return nil, dialect.ErrBadToken
	}
	return token, ""
}

// refuseToken counts a bad token of a client, and closes it after too many. One that has expired was good once, and does not count:
// who was away for long joins all its groups with such. Nor does one that was not looked at.
func (s *shard) refuseToken(c *client, code dialect.ErrorCode) dialect.ErrorCode {
	if code == dialect.ErrTokenExpired || code == dialect.ErrRateLimited {
		return code
	}
	b := s.known(c)
	if b.bad++; b.bad == badTokensMax {
		s.close(c, dialect.CauseBadToken)
	}
	return code
}

// show takes the token of a client's connection. Who has shown one is its user for good, and so is nobody who has connected without one.
func (s *shard) show(c *client, text []byte) dialect.ErrorCode {
	token, code := s.check(c, text)
	if code == "" && (token.Group != "" || s.isAnotherUser(c, token)) {
		count(&s.count.Tokens, tokenOther)
		code = dialect.ErrOtherToken
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
		s.answer(c, dialect.Outcome{What: dialect.OK, Verb: dialect.Auth, ID: cmd.ID, TTL: s.ttl(&s.bearer(c).grant)})
	}
	return ""
}

// showFor is what a client gets for a group for which it shows a token; text nil: it shows none, and gets nil. The token must be for
// that group, and of the client's own user.
func (s *shard) showFor(c *client, group, text []byte) (in *grant, code dialect.ErrorCode) {
	if text == nil {
		return nil, ""
	}
	token, code := s.check(c, text)
	b := s.bearer(c)
	if code == "" && (token.Group != string(group) || token.User != b.user()) {
		count(&s.count.Tokens, tokenOther)
		code = dialect.ErrOtherToken
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
	if s.bounds.Tokens == nil || s.hub.dialects[s.hub.formOf(req.Path, req.Subprotocol)].Connects {
		return nil, true
	}
	text, rejection := req.Token()
	if text == nil && rejection == nil {
		return nil, true
	}
	if rejection == nil {
		var code dialect.ErrorCode
		switch token, code = s.verify(text); {
		case code == dialect.ErrTokenExpired:
			rejection = wsproto.RejectTokenExpired
		case code != "":
			rejection = wsproto.RejectToken
		case token.Group != "":
			count(&s.count.Tokens, tokenOther)
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
