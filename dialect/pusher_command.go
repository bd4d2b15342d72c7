package dialect

import (
	"bytes"
	"unicode/utf8"
)

// This file reads what clients say: {"event":"pusher:subscribe","data":{"channel":"news","auth":"…"}}.

// pusherID is the id of every command: none has one of its own, and each is answered where the protocol has an answer. Read only.
var pusherID = []byte{}

// eventBytesMax bounds the name of an event, in bytes.
const eventBytesMax = 200

// clientEvent begins the names of the events that clients may send.
var clientEvent = []byte("client-")

// Next reads the one event that a message is.
func (p *pusher) Next(payload []byte, binary bool) (cmd Command, rest []byte, code ErrorCode) {
	p.reset()
	if binary || !utf8.Valid(payload) {
		return Command{ID: pusherID}, nil, ErrBadJSON
	}
	var event, channel, data []byte
	o := p.object(payload)
	for o.next() {
		switch string(o.key) {
		case "event":
			event = o.value
		case "channel":
			channel = o.value
		case "data":
			data = o.value
		}
	}
	if !o.valid() {
		return Command{ID: pusherID}, nil, ErrBadJSON
	}
	cmd, code = p.command(event, channel, data)
	return cmd, nil, code
}

// command is the command that an event stands for.
func (p *pusher) command(event, channel, data []byte) (Command, ErrorCode) {
	name, ok := p.short(event, eventBytesMax)
	switch {
	case !ok && isString(event) && bytes.HasPrefix(event[1:], clientEvent): // too long; with escapes it is any unknown event
		return Command{Verb: SendToGroup, ID: pusherID}, ErrBadEvent
	case ok && bytes.HasPrefix(name, clientEvent):
		return p.send(name, channel, data)
	}
	switch string(name) {
	case "pusher:ping":
		return Command{Verb: Respond, ID: pusherID}, ""
	case "pusher:pong": // that it was sent is all there is to it
		return Command{}, ""
	case "pusher:subscribe":
		return p.asked(AddGroup, data)
	case "pusher:unsubscribe":
		return p.asked(LeaveGroup, data)
	case "pusher:signin":
		return p.asked(SignIn, data)
	}
	return Command{ID: pusherID}, ErrUnknownCmd
}

// asked is a command that has what it needs in the data of its event. That is an object, or a JSON text of one, in a string.
//
// A value of another type than the protocol gives it is as good as none, but for what a signature covers: what it signs must be known.
func (p *pusher) asked(verb Verb, data []byte) (Command, ErrorCode) {
	cmd := Command{Verb: verb, ID: pusherID}
	if isString(data) {
		data = p.text(data)
	}
	var channel, auth, signed []byte
	o := p.object(data)
	for o.next() {
		switch string(o.key) {
		case "channel":
			channel = o.value
		case "auth":
			auth = o.value
		case "channel_data":
			if verb == AddGroup {
				signed = o.value
			}
		case "user_data":
			if verb == SignIn {
				signed = o.value
			}
		}
	}
	if !o.valid() {
		return cmd, ErrBadMessage
	}
	if isString(auth) {
		cmd.Auth = p.text(auth)
	}
	if isString(signed) {
		cmd.Data = p.text(signed)
	}
	code := ErrorCode("")
	if verb != SignIn {
		cmd.Group, code = p.named(channel)
	}
	switch {
	case code != "":
		return cmd, code
	case verb == SignIn && cmd.Data == nil, cmd.Data == nil && !isMissing(signed):
		return cmd, ErrBadUser
	case verb == AddGroup && len(cmd.Data) == 0: // libraries that sign do not tell it from none
		cmd.Data = nil
	}
	return cmd, ""
}

// named is the name of a channel. Where no channel may have it, it is what the client is told of, if it is not too long even for that.
func (p *pusher) named(channel []byte) (name []byte, code ErrorCode) {
	name, ok := p.name(channel)
	switch {
	case !ok:
		return nil, ErrBadChannel
	case !IsChannel(name, ChannelBytesMax):
		return name, ErrBadChannel
	}
	return name, ""
}

// send is a client event. Its data is passed on as it is: a string as text, anything else as JSON, and nothing as null.
func (p *pusher) send(event, channel, data []byte) (cmd Command, code ErrorCode) {
	cmd = Command{Verb: SendToGroup, ID: pusherID}
	if cmd.Group, code = p.named(channel); code != "" {
		return cmd, code
	}
	if !hearsClients(cmd.Group) {
		return cmd, ErrForbidden
	}
	if data == nil {
		data = jsonNull
	}
	cmd.Event = event
	cmd.Message, cmd.JSON = p.message(data)
	return cmd, ""
}

// hearsClients says whether members of a channel may send events to it: each has shown a signature, and the server can read them.
func hearsClients(channel []byte) bool {
	private, isPrivate := bytes.CutPrefix(channel, privatePrefix)
	return isPrivate && !bytes.HasPrefix(private, encryptedPrefix) || bytes.HasPrefix(channel, presencePrefix)
}

// Read only.
var privatePrefix, encryptedPrefix, presencePrefix = []byte(privateChannel), []byte(encryptedChannel), []byte(presenceChannel)
