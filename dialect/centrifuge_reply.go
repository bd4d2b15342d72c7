package dialect

import (
	"bytes"
	"math"
	"strconv"

	"ringcast/wsproto"
)

// Answer appends one text frame with one reply or push. A greeting is not told, as the client speaks first. Nor is a gap: a client that
// has missed messages is taken out of the group or closed, comes back and so learns of it.
func (c *centrifuge) Answer(dst []byte, o Outcome) []byte {
	switch o.What {
	case Ping:
		return wsproto.AppendFrame(dst, wsproto.OpText, centrifugePing)
	case OK, Published, Refused, Members, Read, Listed:
		if o.ID != nil {
			return c.appendReplyFrame(dst, &o)
		}
	case Parted:
		return c.appendUnsubscribed(dst, o.Group, pushParted)
	case Removed:
		return c.appendUnsubscribed(dst, o.Group, pushRemoved)
	case Lapsed:
		return c.appendUnsubscribed(dst, o.Group, pushLapsed)
	case Joined:
		return c.appendJoined(dst, &o)
	case Renewed:
		return appendRenewed(dst, o.TTL)
	}
	return dst
}

// centrifugePing is a ping, which the client answers with the same. Read only.
var centrifugePing = []byte("{}")

// appendReplyFrame writes the reply where it is to stay, behind room for the longest header, and moves it once its length is known:
// it may be of half a mebibyte, for which no scratch memory should be kept.
func (c *centrifuge) appendReplyFrame(dst []byte, o *Outcome) []byte {
	start := len(dst)
	dst = wsproto.AppendTextHeader(dst, math.MaxInt)
	room := len(dst)
	dst = c.appendReply(dst, o)
	text := dst[room:]
	frame := wsproto.AppendTextHeader(dst[:start], len(text)) // in place
	return append(frame, text...)                             // likewise
}

// appendReply appends {"id":7,"method":{…}} or {"id":7,"error":{…}}.
func (c *centrifuge) appendReply(text []byte, o *Outcome) []byte {
	text = append(text, replyID...)
	text = append(text, o.ID...)
	switch {
	// A client that is refused to unsubscribe connects anew. That is too much where a name was wrong: it is in no such group, so it
	// is told what is true. But where the group was not left, for want of rate, it is right: told that it has left, the client
	// would hear nothing of what it is still sent, and be refused for good when it subscribes again.
	case o.What == Refused && !(o.Verb == LeaveGroup && o.Code == ErrBadGroupID):
		return appendCentrifugeError(text, o.Code)
	case o.What == Members:
		text = append(text, `,"presence_stats":{`...)
		text = appendMembers(text, o)
	case o.What == Listed:
		text = append(text, `,"presence":{`...)
		text = c.appendPresent(text, o.Present)
	case o.Verb == Connect:
		text = append(text, `,"connect":{"client":"`...)
		text = c.clientName(text, o.Client)
		text = append(text, `","version":"ringcast",`...)
		text = appendExpiry(text, o.TTL)
		if o.Number > 0 { // else the client expects no pings
			text = append(text, `"ping":`...)
			text = strconv.AppendUint(text, o.Number, 10)
			text = append(text, `,"pong":true,`...)
		}
		text = c.appendServed(text, o.Served)
		text = bytes.TrimSuffix(text, comma)
	case o.Verb == Auth:
		text = append(text, `,"refresh":{"client":"`...)
		text = c.clientName(text, o.Client)
		text = append(text, `",`...)
		text = bytes.TrimSuffix(appendExpiry(text, o.TTL), comma)
	case o.Verb == AuthGroup:
		text = append(text, `,"sub_refresh":{`...)
		text = bytes.TrimSuffix(appendExpiry(text, o.TTL), comma)
	case o.Verb == AddGroup:
		text = append(text, `,"subscribe":{`...)
		text = appendExpiry(text, o.TTL)
		if o.Past != nil {
			text = c.appendSubscribed(text, o.Past)
		}
		text = bytes.TrimSuffix(text, comma)
	case o.Verb == History:
		text = append(text, `,"history":{`...)
		if o.Past != nil {
			text = c.appendRead(text, o.Past)
		}
	case o.Verb == LeaveGroup:
		text = append(text, `,"unsubscribe":{`...)
	case o.Verb == SendToGroup:
		text = append(text, `,"publish":{`...)
	default:
		text = append(text, `,"ping":{`...)
	}
	return append(text, `}}`...)
}

// centrifugeError is an error of the protocol.
type centrifugeError struct {
	code      uint64
	message   string // stands between JSON quotes as it is
	temporary bool   // the client tries again by itself, slower each time; else a subscription is refused for good
}

var (
	errorInternal     = centrifugeError{100, "internal server error", true}
	errorUnavailable  = centrifugeError{100, "unavailable", true}
	errorUnconfirmed  = centrifugeError{100, "unknown", false} // who repeats it may be heard twice
	errorUnauthorized = centrifugeError{101, "unauthorized", false}
	errorPermission   = centrifugeError{103, "permission denied", false}
	errorMethod       = centrifugeError{104, "method not found", false}
	errorSubscribed   = centrifugeError{105, "already subscribed", false}
	errorLimit        = centrifugeError{106, "limit exceeded", false}
	errorBadRequest   = centrifugeError{107, "bad request", false}
	errorNotAvailable = centrifugeError{108, "not available", false}
	errorTokenExpired = centrifugeError{109, "token expired", false}
	errorTooMany      = centrifugeError{111, "too many requests", true}
	errorLostPosition = centrifugeError{112, "unrecoverable position", false}
)

// centrifugeErrors has every error code. One that is missing would be errorInternal.
var centrifugeErrors = map[ErrorCode]*centrifugeError{
	ErrBadJSON:       &errorBadRequest,
	ErrUnknownCmd:    &errorMethod,
	ErrBadGroupID:    &errorBadRequest,
	ErrBadMessage:    &errorBadRequest,
	ErrBadKey:        &errorBadRequest,
	ErrBadID:         &errorBadRequest,
	ErrTooManyGroups: &errorLimit,
	ErrGroupFull:     &errorLimit,
	ErrGroupsFull:    &errorTooMany,
	ErrForbidden:     &errorPermission,
	ErrRateLimited:   &errorTooMany,
	ErrBusy:          &errorTooMany,
	ErrStopping:      &errorTooMany,
	ErrAlreadyJoined: &errorSubscribed,
	ErrNotMember:     &errorPermission,
	ErrNotAvailable:  &errorNotAvailable,
	ErrUnrecoverable: &errorLostPosition,

	ErrTooManyMembers: &errorLimit,

	ErrBadChannel: &errorBadRequest, // of this and the next three its clients hear nothing
	ErrBadEvent:   &errorBadRequest,
	ErrBadUser:    &errorBadRequest,
	ErrTooBig:     &errorLimit,

	ErrUnavailable: &errorUnavailable,
	ErrUnconfirmed: &errorUnconfirmed,

	ErrBadToken:     &errorPermission,
	ErrTokenExpired: &errorTokenExpired,
	ErrOtherToken:   &errorPermission,
	ErrUnauthorized: &errorUnauthorized,
}

// appendCentrifugeError appends the rest of {"id":7,"error":{"code":111,"message":"too many requests","temporary":true}}.
func appendCentrifugeError(text []byte, code ErrorCode) []byte {
	e, ok := centrifugeErrors[code]
	if !ok {
		e = &errorInternal
	}
	text = append(text, `,"error":{"code":`...)
	text = strconv.AppendUint(text, e.code, 10)
	text = append(text, `,"message":"`...)
	text = append(text, e.message...)
	text = append(text, '"')
	if e.temporary {
		text = append(text, `,"temporary":true`...)
	}
	return append(text, `}}`...)
}
