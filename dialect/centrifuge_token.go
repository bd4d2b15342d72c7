package dialect

import (
	"bytes"
	"strconv"

	"ringcast/wsproto"
)

// This file has tokens: how clients show them, and what they are told of their ends.

// shown completes a command that is about no group by the token that it has.
func (c *centrifuge) shown(cmd Command, request []byte) (Command, ErrorCode) {
	r := c.requested(request)
	if !c.shows(&cmd, &r) || cmd.Verb == Auth && cmd.Token == nil || cmd.Verb == Connect && !c.resumes(&cmd, r.subs) {
		return badRequest, ""
	}
	return cmd, ""
}

// shows completes a command by the token that the client shows; false: what it shows is no text. An empty text is as good as none.
func (c *centrifuge) shows(cmd *Command, r *requested) (ok bool) {
	switch {
	case isMissing(r.token) || cmd.Verb != Connect && cmd.Verb != Auth && cmd.Verb != AddGroup && cmd.Verb != AuthGroup:
		return true
	case !isString(r.token):
		return false
	}
	if text := c.text(r.token); len(text) > 0 {
		cmd.Token = text
	}
	return true
}

// centrifugeTokenCause does as the server library does: a token that is not valid ends the client where it comes with connect or a
// refresh, and so does one that is somebody else's anywhere. A subscription is refused for what is wrong with a token of its own. After a
// token that has expired an SDK fetches another one: with connect and subscribe by itself, with refresh when it has connected again.
func centrifugeTokenCause(verb Verb, code ErrorCode) (why Cause, closes bool) {
	switch code {
	case ErrBadToken:
		return CauseBadToken, verb != AddGroup
	case ErrOtherToken:
		return CauseBadToken, true
	case ErrTokenExpired:
		return CauseTokenEnded, verb == Auth
	}
	return 0, false
}

// appendExpiry appends the members "expires":true,"ttl":5, of an answer, or none.
func appendExpiry(text []byte, ttl uint32) []byte {
	if ttl == 0 {
		return text
	}
	text = append(text, `"expires":true,"ttl":`...)
	text = strconv.AppendUint(text, uint64(ttl), 10)
	return append(text, ',')
}

// pushRemoved and pushLapsed have the server library's codes and reasons. From 2500 on an SDK subscribes again, with another token.
const (
	pushRemoved = `,"unsubscribe":{"code":2000,"reason":"server unsubscribe"}`
	pushLapsed  = `,"unsubscribe":{"code":2501,"reason":"subscription expired"}`
	pushJoined  = `,"subscribe":{`
	pushRefresh = `{"push":{"refresh":{`
)

// appendJoined appends the frame that tells a client that a server has subscribed it. There is nothing of the past in it but a position.
func (c *centrifuge) appendJoined(dst []byte, o *Outcome) []byte {
	var members []byte
	if o.Past != nil {
		members = c.appendSubscribed(nil, &Past{Top: o.Past.Top})
	}
	c.group = append(c.group[:0], o.Group...)
	dst = c.appendPush(dst, len(pushChannel)+quotedBytes(c.group)+len(pushJoined)+len(members)+1+len(pushEnd))
	dst = append(dst, pushJoined...)
	dst = append(dst, members...)
	dst = append(dst, '}')
	return append(dst, pushEnd...)
}

// appendRenewed appends the frame that tells a client when what its token allows ends.
func appendRenewed(dst []byte, ttl uint32) []byte {
	text := append([]byte(nil), pushRefresh...)
	text = bytes.TrimSuffix(appendExpiry(text, ttl), comma)
	return wsproto.AppendFrame(dst, wsproto.OpText, append(text, `}}}`...))
}
