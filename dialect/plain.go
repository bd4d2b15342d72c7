package dialect

import "ringcast/wsproto"

// Plain is the protocol of Workerman's example: commands are JSON objects, members are sent the bare message, and a command
// without an id is not answered. docs/protocol.md describes it. The zero value is ready for use.
//
// Owner: one loop, see Dialect.
type Plain struct{ parser CommandParser }

// Next reads the one command that a message is.
func (p *Plain) Next(payload []byte, _ bool) (cmd Command, rest []byte, code ErrorCode) {
	cmd, code = p.parser.Parse(payload)
	return cmd, nil, code
}

// Answer appends one text frame, a ping frame for Ping, and nothing for Greeting, Joined and Renewed.
func (p *Plain) Answer(dst []byte, o Outcome) []byte {
	switch o.What {
	case OK:
		return AppendOK(dst, o.ID)
	case Published:
		if o.Repeated {
			return AppendRepeated(dst, o.ID, o.Number)
		}
		return AppendSeq(dst, o.ID, o.Number)
	case Refused:
		return AppendError(dst, o.ID, o.Code)
	case Gap:
		return AppendGap(dst, o.Number)
	case Ping:
		return wsproto.AppendPing(dst, nil)
	case Removed:
		return AppendRemoved(dst, o.Group, removedByServer)
	case Lapsed:
		return AppendRemoved(dst, o.Group, removedByEnd)
	default:
		return dst
	}
}

// Encode is the message's frame as it is.
func (p *Plain) Encode(m *Message) []byte { return m.Frame() }

// Close has the codes of RFC 6455, 4008 for clients that are too slow, 4401 for an ended token and 4403 for who is not wanted.
func (p *Plain) Close(cause Cause) (wsproto.StatusCode, string) { return plainCloses.of(cause) }

var plainCloses = closes{
	CauseSlow:          {wsproto.CloseSlowClient, "too slow: the outbox is full"},
	CauseSlowest:       {wsproto.CloseSlowClient, "too slow: all outboxes together are full, and its own is among the largest"},
	CauseSilent:        {wsproto.CloseGoingAway, "no sign of life"},
	CauseStopping:      {wsproto.CloseGoingAway, "the server is stopping"},
	CauseInternal:      {wsproto.CloseInternalError, "internal error"},
	CausePartialMemory: {wsproto.CloseTryAgainLater, "the server has no room for the rest of the message"},
	CausePartialTime:   {wsproto.ClosePolicyViolation, "the message took too long"},
	CauseByteRate:      {wsproto.ClosePolicyViolation, "too many bytes a second"},
	CauseCommandRate:   {wsproto.ClosePolicyViolation, "too many commands a second"},
	CauseBusy:          {wsproto.CloseTryAgainLater, "the server is busy, try again"},
	CauseTooManyGroups: {wsproto.ClosePolicyViolation, "too many groups"},
	CauseGroupFull:     {wsproto.ClosePolicyViolation, "the group has as many members as it may"},
	CauseForbidden:     {wsproto.ClosePolicyViolation, "not allowed to join the group, or to publish to it"},
	CauseGroupsFull:    {wsproto.CloseTryAgainLater, "the server has as many groups as it may"},
	CauseUnavailable:   {wsproto.CloseTryAgainLater, "unavailable: too few machines of the cluster can be reached, and the message was not sent"},
	CauseUnconfirmed:   {wsproto.CloseTryAgainLater, "unknown: the message was sent, and no word of it came; it may still be heard"},
	CauseNotConnected:  {wsproto.ClosePolicyViolation, "not connected"}, // its clients need not connect: this and the next never come
	CauseNoConnect:     {wsproto.ClosePolicyViolation, "not connected in time"},
	CauseTooBig:        {wsproto.CloseMessageTooBig, "the message is over the limit"},
	CauseBadToken:      {wsproto.ClosePolicyViolation, "the token is not valid"},
	CauseTokenEnded:    {wsproto.CloseTokenEnded, "the token has ended"},
	CauseRevoked:       {wsproto.CloseDisconnected, "the token was revoked"},
	CauseDisconnected:  {wsproto.CloseDisconnected, "disconnected by the server"},
	CauseFull:          {wsproto.CloseTryAgainLater, "the server is full"}, // it is refused with 503: this and the rest never come, as its clients are of no app
	CauseUnknownApp:    {wsproto.ClosePolicyViolation, "no app has this key"},
	CauseAppOff:        {wsproto.ClosePolicyViolation, "the app is switched off"},
	CauseBadPath:       {wsproto.ClosePolicyViolation, "the path names no key"},
	CauseNoVersion:     {wsproto.ClosePolicyViolation, "no version of the protocol"},
	CauseVersionFormat: {wsproto.ClosePolicyViolation, "the version of the protocol is no integer"},
	CauseBadVersion:    {wsproto.ClosePolicyViolation, "this version of the protocol is not spoken"},
}
