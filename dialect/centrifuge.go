package dialect

import (
	"strconv"
	"strings"

	"ringcast/wsproto"
)

// centrifugePath is where the Centrifuge SDKs connect to if nobody says otherwise.
const centrifugePath = "/connection/websocket"

// Centrifuge makes the entry of the Centrifuge protocol, version 2, in JSON: a frame has a command a line, and every command has
// an id. docs/protocol.md describes what of it is spoken. Its clients see each other's names; a key that only this process
// knows makes them of the clients' numbers, so that nobody stores them and nobody reads from them how many clients there are.
//
// What is not said in the protocol's definition (client.proto of github.com/centrifugal/protocol) is done as the server library
// does it (client.go, disconnect.go and errors.go of github.com/centrifugal/centrifuge), because that is what SDKs were tried with.
func Centrifuge(key [16]byte) Entry {
	names := NewNames(key)
	return Entry{
		Name: "centrifuge",
		Serves: func(path string) bool {
			path, _, _ = strings.Cut(path, "?")
			return path == centrifugePath
		},
		New: func() Dialect { return &centrifuge{names: names} },
		// Who offers the second speaks what we do not, and is closed at its first message, which is binary: an SDK then stays away.
		// Were it not given the name, WebSocket itself would fail the connection, and the SDK try again for ever.
		Subprotocols: []string{"centrifuge-json", "centrifuge-protobuf"},
		Connects:     true,
		JoinsOnce:    true,
		Positions:    true,
		Named:        true,
		Soon:         true,
		Hears:        true,
		Heals:        true,
		Renews:       true,
		TokenCause:   centrifugeTokenCause,
		Pings:        wantsFramePings,
	}
}

// wantsFramePings is for tools that answer WebSocket's own pings and no others. They write it so, without escapes.
func wantsFramePings(query string) bool {
	for parameter := range strings.SplitSeq(query, "&") {
		if parameter == "cf_ws_frame_ping_pong=true" {
			return true
		}
	}
	return false
}

// centrifuge is the dialect's value of one loop.
//
// Owner: one loop, see Dialect; names is shared by all and only read.
type centrifuge struct {
	objectReader
	names Names
	block nameBlock // a name while it is made; a field because the cipher would move a variable to the heap
	group []byte    // a message's group, as bytes
	user  []byte    // a user's name, likewise
	named []byte    // a client's name
}

const (
	pushChannel = `{"push":{"channel":`
	pushPub     = `,"pub":`
	pushEnd     = `}}`
	pubData     = `{"data":`
	pubInfo     = `,"info":`
	pubOffset   = `,"offset":`
	pubTags     = `,"tags":`
	pubEnd      = `}`
)

// Encode is one text frame with {"push":{"channel":"g","pub":{…}}} on one line.
func (c *centrifuge) Encode(m *Message) []byte {
	if m.Sort != Said {
		if m.More != nil && m.More.Still { // no client comes or goes
			return nil
		}
		return c.encodeMove(m)
	}
	c.group = append(c.group[:0], m.Group...)
	n := len(pushChannel) + quotedBytes(c.group) + len(pushPub) + c.publicationBytes(m) + len(pushEnd)
	frame := c.appendPush(make([]byte, 0, wsproto.TextFrameBytes(n)), n)
	frame = append(frame, pushPub...)
	frame = c.appendPublication(frame, m)
	return append(frame, pushEnd...)
}

// appendPush appends the beginning of a push to c.group, whose text has n bytes in the end.
func (c *centrifuge) appendPush(dst []byte, n int) []byte {
	dst = wsproto.AppendTextHeader(dst, n)
	dst = append(dst, pushChannel...)
	return appendQuoted(dst, c.group)
}

// publicationBytes is the length of what appendPublication appends.
func (c *centrifuge) publicationBytes(m *Message) int {
	n := len(pubData) + len(pubEnd)
	if m.JSON {
		n += oneLineBytes(m.Payload())
	} else {
		n += quotedBytes(m.Payload())
	}
	if name := c.senderBytes(m); name > 0 || m.Who() != nil {
		n += len(pubInfo) + c.infoBytes(m.Who()) + name
	}
	if m.Kept {
		n += len(pubOffset) + decimalBytes(m.Offset)
	}
	if m.More != nil && m.More.Tags != nil {
		n += len(pubTags) + len(m.More.Tags)
	}
	return n
}

// appendPublication appends {"data":…,"info":{…},"offset":7,"tags":{…}} on one line. Text becomes a JSON string. There is an offset only where
// the client may come back to it: a page moves its position to whatever offset it is told.
func (c *centrifuge) appendPublication(dst []byte, m *Message) []byte {
	dst = append(dst, pubData...)
	if m.JSON {
		dst = appendOneLine(dst, m.Payload())
	} else {
		dst = appendQuoted(dst, m.Payload())
	}
	if c.named = c.appendSender(c.named[:0], m); len(c.named) > 0 || m.Who() != nil {
		dst = append(dst, pubInfo...)
		dst = c.appendInfo(dst, c.named, m.Who())
	}
	if m.Kept {
		dst = append(dst, pubOffset...)
		dst = strconv.AppendUint(dst, m.Offset, 10)
	}
	if m.More != nil && m.More.Tags != nil {
		dst = append(dst, pubTags...)
		dst = append(dst, m.More.Tags...)
	}
	return append(dst, pubEnd...)
}

// clientName appends the client's name on the wire, see Names.
func (c *centrifuge) clientName(dst []byte, client uint64) []byte {
	return c.names.append(dst, client, &c.block)
}

// The protocol's close codes. A client that is closed with one from 3500 on, and a reason, never comes back; without a reason, or
// with a smaller code, it does. A reason must not be JSON: clients would take their advice from it.
const (
	centrifugeShutdown     wsproto.StatusCode = 3001
	centrifugeServerError  wsproto.StatusCode = 3004
	centrifugeExpired      wsproto.StatusCode = 3005
	centrifugeSlow         wsproto.StatusCode = 3008
	centrifugeNoPong       wsproto.StatusCode = 3012
	centrifugeTooMany      wsproto.StatusCode = 3013
	centrifugeInvalidToken wsproto.StatusCode = 3500
	centrifugeBadRequest   wsproto.StatusCode = 3501
	centrifugeStale        wsproto.StatusCode = 3502
	centrifugeForced       wsproto.StatusCode = 3503
	centrifugeChannelLimit wsproto.StatusCode = 3505
	centrifugePermission   wsproto.StatusCode = 3507
	centrifugeNotAvailable wsproto.StatusCode = 3508
)

// Close has the protocol's own codes. Only clients that will do no better the next time are sent away for good: those that do not
// speak the protocol, and those over a limit, whose subscriptions are refused for good as well.
func (c *centrifuge) Close(cause Cause) (wsproto.StatusCode, string) {
	return centrifugeCloses.of(cause)
}

var centrifugeCloses = closes{
	CauseSlow:          {centrifugeSlow, "slow"},
	CauseSlowest:       {centrifugeSlow, "slow"},
	CauseSilent:        {centrifugeNoPong, "no pong"},
	CauseStopping:      {centrifugeShutdown, "shutdown"},
	CauseInternal:      {centrifugeServerError, "internal server error"},
	CausePartialMemory: {centrifugeTooMany, "too many requests: no room for the rest of the message"}, // as the error of a busy server
	CausePartialTime:   {centrifugeSlow, "slow: the message took too long"},                           // the fault of its line: it may come back
	CauseByteRate:      {centrifugeTooMany, "too many requests: bytes"},
	CauseCommandRate:   {centrifugeTooMany, "too many requests"},
	CauseBusy:          {centrifugeTooMany, "too many requests: the server is busy"},
	CauseTooManyGroups: {centrifugeChannelLimit, "channel limit"},
	CauseGroupFull:     {centrifugeChannelLimit, "channel limit: the channel is full"},
	CauseForbidden:     {centrifugePermission, "permission denied"},
	CauseGroupsFull:    {centrifugeTooMany, "too many requests: the server has as many channels as it may"},
	CauseUnavailable:   {centrifugeTooMany, "too many requests: the cluster cannot be reached"}, // this and the next never come: each publish has an id
	CauseUnconfirmed:   {centrifugeTooMany, "too many requests: unknown"},
	CauseNotConnected:  {centrifugeBadRequest, "bad request"},
	CauseNoConnect:     {centrifugeStale, "stale"},
	CauseTooBig:        {centrifugeTooMany, "too many requests: the message is over the limit"}, // with 1009 it would never come back
	CauseBadToken:      {centrifugeInvalidToken, "invalid token"},
	CauseTokenEnded:    {centrifugeExpired, "connection expired"},
	CauseRevoked:       {centrifugeInvalidToken, "invalid token: revoked"},
	CauseDisconnected:  {centrifugeForced, "force disconnect"},
	CauseFull:          {centrifugeTooMany, "too many requests: the server is full"}, // it is refused with 503: this and the rest never come
	CauseUnknownApp:    {centrifugeBadRequest, "bad request: app"},
	CauseAppOff:        {centrifugeNotAvailable, "not available: app"},
	CauseBadPath:       {centrifugeBadRequest, "bad request: path"},
	CauseNoVersion:     {centrifugeBadRequest, "bad request: version"},
	CauseVersionFormat: {centrifugeBadRequest, "bad request: version"},
	CauseBadVersion:    {centrifugeBadRequest, "bad request: version"},
}
