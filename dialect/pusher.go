package dialect

import (
	"strings"

	"ringcast/wsproto"
)

// Pusher makes the entry of the Pusher protocol, version 7 and what of 5 and 6 is the same: each frame is an event with a name, most have a
// channel, and their data is a JSON text in a string. docs/protocol.md describes what of it is spoken. A key that only this process knows
// makes the socket ids of its clients of their numbers, see Names.
//
// A channel is a group. One of an app that is not the first has the app's id before it, which clients are not told: whose they are, all
// their channels are. So one form does for the clients of all apps.
//
// What is not said in the protocol's public description is done as pusher-js needs it, which was tried.
func Pusher(key [16]byte) Entry {
	names := NewNames(key)
	return Entry{
		Name:             "pusher",
		Serves:           func(path string) bool { return strings.HasPrefix(path, pusherPath) },
		New:              func() Dialect { return &pusher{names: names} },
		Soon:             true,
		Hears:            true,
		NeedsApp:         true,
		Channels:         true,
		Lists:            true,
		HeartbeatSeconds: pusherHeartbeat,
		RefusalCause:     pusherRefusalCause,
	}
}

// pusher is the dialect's value of one loop.
//
// Owner: one loop, see Dialect; names is shared by all and only read.
type pusher struct {
	objectReader
	names   Names
	block   nameBlock    // a socket id while it is made; a field because the cipher would move a variable to the heap
	tags    objectReader // reads what a message has beside its text, which may be while a command is still in use
	channel []byte       // the channel of a frame
	data    []byte       // the data of a frame, as the text that it is once the string is decoded
	user    []byte       // a user's name
	members []*Who       // who is there, each once
}

// pusherActivitySeconds is after how many seconds of silence clients are told to ping. Then they wait for pusherPongSeconds.
const (
	pusherActivitySeconds = 120
	pusherPongSeconds     = 30
)

// pusherActivity is after how many seconds of silence a client pings, where the operator has configured so many for others.
func pusherActivity(configured uint64) uint64 { return max(configured, pusherActivitySeconds) }

// pusherHeartbeat leaves it to clients to ping, as they do, and pings who has let that time pass twice.
func pusherHeartbeat(configured uint64) (silence, wait uint64) {
	if configured == 0 {
		return 0, 0
	}
	return 2 * pusherActivity(configured), pusherPongSeconds
}

// pusherRefusalCause closes a client for what will have passed when it comes back, after a second: an SDK that was told of a failed
// subscribe or signin does not try again on the same connection, and one whose unsubscribe was not done is still a member without knowing.
// What else is wrong will be wrong again.
func pusherRefusalCause(verb Verb, code ErrorCode) (why Cause, closes bool) {
	if verb != AddGroup && verb != LeaveGroup && verb != SignIn {
		return 0, false
	}
	switch code {
	case ErrBusy, ErrRateLimited:
		return CauseBusy, true
	case ErrUnavailable, ErrUnconfirmed:
		return CauseUnavailable, true
	case ErrStopping:
		return CauseStopping, true
	}
	return 0, false
}

// The protocol's close codes. Up to 4099 a client never comes back, up to 4199 it does after a second, up to 4299 at once. Codes of others
// mean the same to it as these, and so never come: 4008 would send who is too slow away for good.
const (
	pusherUnknownApp      wsproto.StatusCode = 4001
	pusherAppOff          wsproto.StatusCode = 4003
	pusherBadPath         wsproto.StatusCode = 4005
	pusherVersionFormat   wsproto.StatusCode = 4006
	pusherVersionUnspoken wsproto.StatusCode = 4007
	pusherVersionMissing  wsproto.StatusCode = 4008
	pusherUnauthorized    wsproto.StatusCode = 4009
	pusherLater           wsproto.StatusCode = 4100
	pusherNow             wsproto.StatusCode = 4200
	pusherSilent          wsproto.StatusCode = 4201
)

// Close has the protocol's own codes. Who was too slow or too loud is let in again after a second, and so is who would panic the server
// again: at once it could do so hundreds of times a second. After a stop it comes back at once, to another process or to the same address.
// A refused command is always answered, so the causes from CauseTooManyGroups to CauseForbidden never come.
func (p *pusher) Close(cause Cause) (wsproto.StatusCode, string) { return pusherCloses.of(cause) }

var pusherCloses = closes{
	CauseSlow:          {pusherLater, "too slow"},
	CauseSlowest:       {pusherLater, "too slow"},
	CauseSilent:        {pusherSilent, "no pong in time"},
	CauseStopping:      {pusherNow, "the server is stopping"},
	CauseInternal:      {pusherLater, "internal error"},
	CausePartialMemory: {pusherLater, "the server has no room for the rest of the message"},
	CausePartialTime:   {pusherLater, "the message took too long"},
	CauseByteRate:      {pusherLater, "too many bytes a second"},
	CauseCommandRate:   {pusherLater, "too many messages a second"},
	CauseBusy:          {pusherLater, "the server is busy"},
	CauseTooManyGroups: {pusherLater, "too many channels"},
	CauseGroupFull:     {pusherLater, "the channel is full"},
	CauseForbidden:     {pusherUnauthorized, "not allowed"},
	CauseGroupsFull:    {pusherLater, "the server has as many channels as it may"},
	CauseUnavailable:   {pusherLater, "the cluster cannot be reached"},
	CauseUnconfirmed:   {pusherLater, "the cluster does not answer"},
	CauseNotConnected:  {pusherUnauthorized, "not connected"}, // this and the next never come: its clients need not connect
	CauseNoConnect:     {pusherLater, "not connected in time"},
	CauseTooBig:        {pusherLater, "the message is over the limit"},
	CauseBadToken:      {pusherUnauthorized, "not authorized"},
	CauseTokenEnded:    {pusherUnauthorized, "the authorization has ended"},
	CauseRevoked:       {pusherUnauthorized, "the authorization was revoked"},
	CauseDisconnected:  {pusherUnauthorized, "disconnected by the server"},
	CauseFull:          {pusherLater, "the server is full"},
	CauseUnknownApp:    {pusherUnknownApp, "no app has this key"},
	CauseAppOff:        {pusherAppOff, "the app is switched off"},
	CauseBadPath:       {pusherBadPath, "the path must be /app/KEY"},
	CauseNoVersion:     {pusherVersionMissing, "the query must say protocol=7"},
	CauseVersionFormat: {pusherVersionFormat, "the protocol's version must be an integer"},
	CauseBadVersion:    {pusherVersionUnspoken, "versions 5 to 7 of the protocol are spoken here"},
}
