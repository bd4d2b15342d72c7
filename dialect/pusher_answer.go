package dialect

import (
	"strconv"

	"ringcast/wsproto"
)

// This file has what clients are told beside events: that a connection or a subscription stands, or why not.

// The events of the protocol itself, and their data where it is always the same.
const (
	eventEstablished = "pusher:connection_established"
	eventSubscribed  = "pusher_internal:subscription_succeeded"
	eventRefused     = "pusher:subscription_error"
	eventMiss        = "pusher:cache_miss"
	eventSignedIn    = "pusher:signin_success"
	eventCount       = "pusher_internal:subscription_count"
	eventError       = "pusher:error"
)

// Read only.
var (
	noData     = []byte(`{}`)
	pusherPing = wsproto.AppendFrame(nil, wsproto.OpText, []byte(`{"event":"pusher:ping","data":"{}"}`))
	pusherPong = wsproto.AppendFrame(nil, wsproto.OpText, []byte(`{"event":"pusher:pong","data":"{}"}`))
)

// Answer appends the frames of an outcome. There is none for what has gone well but for a subscribe, a signin and a ping; none for a gap,
// which the protocol has no word for; and none where a server has made the client a member, since its page does not know the channel.
func (p *pusher) Answer(dst []byte, o Outcome) []byte {
	switch o.What {
	case Greeting:
		return p.appendEstablished(dst, &o)
	case Ping:
		return append(dst, pusherPing...)
	case OK:
		switch o.Verb {
		case AddGroup:
			return p.appendSubscribed(dst, &o)
		case SignIn:
			return p.appendSignedIn(dst, &o)
		case Respond:
			return append(dst, pusherPong...)
		}
	case Refused:
		return p.appendRefused(dst, &o)
	case Counted:
		return p.appendCount(dst, &o)
	case Removed:
		return p.appendSubscriptionError(dst, ChannelName(o.Group), refusedAuth, "a server has taken this connection out of the channel")
	case Lapsed:
		return p.appendSubscriptionError(dst, ChannelName(o.Group), refusedAuth, "what allowed this connection to be in the channel has ended")
	}
	return dst
}

// appendEstablished appends the frame that must be a client's first, or it waits for ever.
func (p *pusher) appendEstablished(dst []byte, o *Outcome) []byte {
	data := append(p.data[:0], `{"socket_id":"`...)
	data = p.names.appendSocketID(data, o.Client, &p.block)
	data = append(data, `","activity_timeout":`...)
	data = strconv.AppendUint(data, pusherActivity(o.Number), 10)
	data = append(data, '}')
	p.keepData(data)
	return appendEvent(dst, eventEstablished, nil, data)
}

// appendSubscribed appends the frame that a subscription stands, with who is there in a channel with presence, without which a client would
// fail. The last event of a channel that keeps it, or that there is none, follows.
func (p *pusher) appendSubscribed(dst []byte, o *Outcome) []byte {
	var past Past
	if o.Past != nil {
		past = *o.Past
	}
	data := noData
	if ChannelOf(o.Group).Presence {
		data = p.appendPresence(p.data[:0], past.Present)
		p.keepData(data)
	}
	p.channel = append(p.channel[:0], ChannelName(o.Group)...)
	dst = appendEvent(dst, eventSubscribed, p.channel, data)
	switch {
	case past.HasCached && past.Cached != nil:
		return p.appendMessage(dst, past.Cached)
	case past.HasCached:
		return appendEvent(dst, eventMiss, p.channel, nil)
	}
	return dst
}

// appendSignedIn appends the frame that a client is signed in, with what was signed.
func (p *pusher) appendSignedIn(dst []byte, o *Outcome) []byte {
	data := append(p.data[:0], `{"user_data":`...)
	data = appendQuoted(data, o.Data)
	data = append(data, '}')
	p.keepData(data)
	return appendEvent(dst, eventSignedIn, nil, data)
}

// appendCount appends the frame of how many subscribers a channel has.
func (p *pusher) appendCount(dst []byte, o *Outcome) []byte {
	data := append(p.data[:0], `{"subscription_count":`...)
	data = strconv.AppendUint(data, o.Number, 10)
	data = append(data, '}')
	p.keepData(data)
	p.channel = append(p.channel[:0], ChannelName(o.Group)...)
	return appendEvent(dst, eventCount, p.channel, data)
}

// refusal is what a page is told of a subscribe that was refused, beside a sentence.
type refusal struct {
	kind   string // stands between JSON quotes as it is
	status uint64
}

// The kinds are those that SDKs and other servers know, where they know any, and so are their numbers.
var (
	refusedAuth    = refusal{"AuthError", 401}
	refusedLimit   = refusal{"LimitReached", 4004}
	refusedChannel = refusal{"ChannelError", 400}
	refusedServer  = refusal{"ServerError", 503}
)

// refusals has why a subscribe may be refused. Of what is missing a client is told without the channel.
var refusals = map[ErrorCode]refusal{
	ErrForbidden:      refusedAuth,
	ErrBadToken:       refusedAuth,
	ErrTokenExpired:   refusedAuth,
	ErrOtherToken:     refusedAuth,
	ErrUnauthorized:   refusedAuth,
	ErrBadUser:        refusedAuth,
	ErrTooManyGroups:  refusedLimit,
	ErrGroupFull:      refusedLimit,
	ErrGroupsFull:     refusedLimit,
	ErrTooManyMembers: refusedLimit,
	ErrBadChannel:     refusedChannel,
	ErrBadGroupID:     refusedChannel,
	ErrNotAvailable:   refusedChannel,
	ErrBusy:           refusedServer, // this and the rest close the client, see pusherRefusalCause
	ErrRateLimited:    refusedServer,
	ErrStopping:       refusedServer,
	ErrUnavailable:    refusedServer,
	ErrUnconfirmed:    refusedServer,
}

// The codes of errors that do not end a connection. What has none is told with null.
const (
	errorUnsigned    = 4009
	errorClientEvent = 4301
)

// appendRefused appends the frame of a command that was refused.
func (p *pusher) appendRefused(dst []byte, o *Outcome) []byte {
	switch why, known := refusals[o.Code]; {
	case o.Verb == AddGroup && o.Group != "" && known:
		name := o.Group
		if o.Code != ErrBadChannel { // else it is what the client has said, and no group's
			name = ChannelName(name)
		}
		return p.appendSubscriptionError(dst, name, why, pusherSentence(o.Verb, o.Code))
	case o.Verb == SendToGroup:
		return p.appendError(dst, errorClientEvent, pusherSentence(o.Verb, o.Code))
	case o.Verb == SignIn:
		return p.appendError(dst, errorUnsigned, pusherSentence(o.Verb, o.Code))
	}
	return p.appendError(dst, 0, pusherSentence(o.Verb, o.Code))
}

// appendSubscriptionError appends the frame that a channel is not the client's, or no longer.
func (p *pusher) appendSubscriptionError(dst []byte, channel string, why refusal, sentence string) []byte {
	data := append(p.data[:0], `{"type":"`...)
	data = append(data, why.kind...)
	data = append(data, `","error":"`...)
	data = append(data, sentence...)
	data = append(data, `","status":`...)
	data = strconv.AppendUint(data, why.status, 10)
	data = append(data, '}')
	p.keepData(data)
	p.channel = append(p.channel[:0], channel...)
	return appendEvent(dst, eventRefused, p.channel, data)
}

// appendError appends the frame of an error that ends nothing; code 0 is told as null.
func (p *pusher) appendError(dst []byte, code uint64, sentence string) []byte {
	data := append(p.data[:0], `{"code":`...)
	if code == 0 {
		data = append(data, jsonNull...)
	} else {
		data = strconv.AppendUint(data, code, 10)
	}
	data = append(data, `,"message":"`...)
	data = append(data, sentence...)
	data = append(data, `"}`...)
	p.keepData(data)
	return appendEvent(dst, eventError, nil, data)
}

// pusherSentences are for codes whose own sentences speak of another protocol. They stand between JSON quotes as they are.
var pusherSentences = map[ErrorCode]string{
	ErrBadJSON:        "a message must be one JSON object in UTF-8, nested at most 512 deep, in a text frame",
	ErrUnknownCmd:     "clients may send pusher:subscribe, pusher:unsubscribe, pusher:signin, pusher:ping, pusher:pong and client events",
	ErrBadMessage:     "the data must be an object, or its JSON text in a string",
	ErrBadGroupID:     "the name of the channel is longer than the server allows",
	ErrForbidden:      "a signature for this is missing, or it is not for this connection",
	ErrBadToken:       "the signature is not valid: it must be the app's, for this socket id, channel and data",
	ErrOtherToken:     "this connection has signed in as another user",
	ErrNotMember:      "only who is subscribed to the channel may send client events to it",
	ErrTooManyGroups:  "this connection has as many channels as it may have",
	ErrGroupFull:      "the channel has as many subscribers as it may have",
	ErrGroupsFull:     "the server has as many channels as it may have",
	ErrTooManyMembers: "the presence channel has as many members as it may have",
	ErrRateLimited:    "too much was sent within a second, and this was not heard",
	ErrNotAvailable:   "the server does not offer this for the channel",
}

// eventSentences are for a client event, where its codes mean something else than for the rest.
var eventSentences = map[ErrorCode]string{
	ErrForbidden:  "client events are for private and presence channels that are not encrypted, of apps that allow them",
	ErrBadMessage: "the data of the event is longer than the server allows",
}

func pusherSentence(verb Verb, code ErrorCode) string {
	if s, ok := eventSentences[code]; ok && verb == SendToGroup {
		return s
	}
	if s, ok := pusherSentences[code]; ok {
		return s
	}
	return code.Sentence()
}
