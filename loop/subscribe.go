package loop

import (
	"ringcast/dialect"
	"ringcast/loop/door"
	"ringcast/loop/order"
)

// This file is how clients of the Pusher protocol show that their app's backend has let them into a channel, or has said who they are: by
// a signature over their socket id, the channel and what it says of them. It is checked on the loop, for a microsecond or two. Nothing of
// it is kept but what it says of the user: a member of a channel that needs a signature has shown one.

const (
	// signedBytesMax bounds what a signature may cover, in bytes: hashing takes a loop some 5 µs a KiB where the processor has no
	// instructions for it.
	signedBytesMax = 32 << 10
	// userInfoBytesMax bounds what is signed of a user, in bytes, as of one with a token: every member of its channels is told it.
	userInfoBytesMax = 4 << 10
)

// signature is what has become of a signature that a client has shown.
type signature uint8

var signatureNames kinds

var (
	signatureGood    = kind[signature](&signatureNames, "accepted")
	signatureMissing = kind[signature](&signatureNames, "missing") // the channel needs one
	signatureBad     = kind[signature](&signatureNames, "bad")     // it is not the app's, or not of this socket, channel and data
	signatureNoUser  = kind[signature](&signatureNames, "no_user") // it is good, and what it is of names no user where one is needed
	signatureOther   = kind[signature](&signatureNames, "other")   // it is of another user than the client has signed in as
)

// socketID is the name by which an app's backend knows a client.
func (s *shard) socketID(c *client) string { return s.hub.names.SocketID(c.Number()) }

// unsigned counts a signature that is refused, tells operators why, and returns what its client is told. group is nil for that of a user. No
// client is closed for it: a page whose signatures are made with an old secret would lose the channels that need none as well.
func (s *shard) unsigned(c *client, group []byte, what signature, code dialect.ErrorCode) dialect.ErrorCode {
	count(&s.count.Signatures, what)
	s.note(c, Trace{Kind: TraceToken, Group: string(group), Code: signatureNames[what], Reason: unsignedReasons[what], Remote: s.remoteOf(c)})
	return code
}

var unsignedReasons = map[signature]string{
	signatureMissing: "the channel needs a signature, and none was shown",
	signatureBad:     "the signature is not by the app's key and secret over this socket id, channel and data",
	signatureNoUser:  "what was signed names no user, or says too much of it",
	signatureOther:   "the client has signed in as another user before",
}

// subscribe has a client join a channel, whose group the command names.
func (s *shard) subscribe(c *client, app *door.App, cmd *dialect.Command) dialect.ErrorCode {
	channel := dialect.ChannelOf(borrowString(cmd.Group))
	in, code := s.signedFor(c, app, &channel, cmd)
	if code != "" {
		return code
	}
	g := s.groups.Get(string(cmd.Group))
	if g != nil {
		if at := c.memberOf(g); at >= 0 {
			return s.subscribeAgain(c, at, cmd, in, channel.Presence)
		}
	}
	if channel.Private || channel.User { // then the backend has said that it may, whatever its kind asks of others
		if !s.mayJoinMore(c) {
			return dialect.ErrTooManyGroups
		}
	} else if code := s.mayJoin(c, cmd.Group, false); code != "" {
		return code
	}
	return s.seek(c, g, cmd, in, 0)
}

// signedFor says why a client has not shown what a channel needs; empty: it has. in is what it gets for the channel: its user there.
func (s *shard) signedFor(c *client, app *door.App, channel *dialect.Channel, cmd *dialect.Command) (in *grant, code dialect.ErrorCode) {
	switch {
	case channel.User:
		if user := s.bearer(c).user(); channel.UserID == "" || user != app.User(channel.UserID) {
			count(&s.count.RefusedBy, refusedForbidden)
			return nil, dialect.ErrForbidden
		}
		return nil, ""
	case !channel.Private:
		return nil, ""
	case len(cmd.Auth) == 0:
		return nil, s.unsigned(c, cmd.Group, signatureMissing, dialect.ErrForbidden)
	case len(cmd.Data) > signedBytesMax:
		return nil, s.unsigned(c, cmd.Group, signatureNoUser, dialect.ErrBadUser)
	case !app.SignsChannel(cmd.Auth, s.socketID(c), dialect.ChannelName(string(cmd.Group)), cmd.Data):
		return nil, s.unsigned(c, cmd.Group, signatureBad, dialect.ErrBadToken)
	case !channel.Presence:
		count(&s.count.Signatures, signatureGood)
		return nil, ""
	}
	who := s.memberAs(c, cmd.Data)
	if who == nil {
		return nil, s.unsigned(c, cmd.Group, signatureNoUser, dialect.ErrBadUser)
	}
	count(&s.count.Signatures, signatureGood)
	return &grant{who: who}, ""
}

// memberAs is the user that a client is in a presence channel: whom the signed data name, or without any the one that it has signed in as.
// nil: nobody.
func (s *shard) memberAs(c *client, data []byte) *dialect.Who {
	if data == nil {
		if b := s.bearer(c); b.user() != "" {
			return b.grant.who
		}
		return nil
	}
	who := dialect.MemberOf(data)
	if who == nil || len(who.GroupInfo()) > userInfoBytesMax {
		return nil
	}
	return who
}

// subscribeAgain is a subscribe of a client that is a member, or has asked to be. Commands of its dialect have no ids, so the home's answer
// answers all that were said before it. A member stays the user that it is.
func (s *shard) subscribeAgain(c *client, at int, cmd *dialect.Command, in *grant, presence bool) dialect.ErrorCode {
	switch m := c.membership(at); m.standing {
	case standingMember:
		if presence { // or it would take the list for empty
			return s.askHome(c, cmd, order.OpPresence, nil)
		}
		s.answerOK(c, dialect.AddGroup, cmd.Group, cmd.ID)
	case standingRenounced:
		if !s.mayJoinMore(c) {
			return dialect.ErrTooManyGroups
		}
		if c.stand(at, standingAsked); in != nil {
			s.keep(c, m.group, in)
			m.traits |= traitPresent // the home may have been asked for another user
		}
	}
	return ""
}

// listAgain answers a member of a channel that has subscribed to it again: it is told who is there.
func (s *shard) listAgain(r *replay, code dialect.ErrorCode) {
	if code == dialect.ErrNotMember {
		return // it has left since, and wants to hear nothing of the channel
	}
	o := dialect.Outcome{What: dialect.OK, Verb: dialect.AddGroup, Group: r.Local.name, ID: borrowBytes(r.ID)}
	if o.Past = pastOf(r.Client, r.Past); code == "" && (r.Past.Crowded || !s.fits(r.Client, o)) {
		code = dialect.ErrTooManyMembers
	}
	if code == "" {
		s.answer(r.Client, o)
		return
	}
	o.What, o.Code, o.Past = dialect.Refused, code, nil
	s.answerRefused(r.Client, o)
}

// signIn has a client be the user whom its app's backend has signed, from now on and for good.
func (s *shard) signIn(c *client, app *door.App, cmd *dialect.Command) dialect.ErrorCode {
	switch {
	case len(cmd.Data) > signedBytesMax:
		return s.unsigned(c, nil, signatureNoUser, dialect.ErrBadUser)
	case !app.SignsUser(cmd.Auth, s.socketID(c), cmd.Data):
		return s.unsigned(c, nil, signatureBad, dialect.ErrBadToken)
	}
	who := dialect.UserOf(cmd.Data)
	if who == nil || len(who.Info()) > userInfoBytesMax || !s.bounds.Apps.HasUser(app, who.User()) {
		return s.unsigned(c, nil, signatureNoUser, dialect.ErrBadUser)
	}
	user := app.User(who.User())
	switch token := s.tokenOf(c); {
	case token == nil:
		s.takeAs(c, &door.Token{User: user, Info: who.Info(), IssuedAt: s.hub.wall().Unix()}, who)
	case token.User != user:
		return s.unsigned(c, nil, signatureOther, dialect.ErrOtherToken)
	}
	count(&s.count.Signatures, signatureGood)
	s.answer(c, dialect.Outcome{What: dialect.OK, Verb: dialect.SignIn, ID: cmd.ID, Data: cmd.Data})
	return ""
}
