package dialect

import (
	"bytes"

	"ringcast/wsproto"
)

// This file has the frames of messages, and what all frames are made with.

const (
	eventName    = `{"event":`
	eventChannel = `,"channel":`
	eventData    = `,"data":`
	eventUser    = `,"user_id":`
	eventEnd     = `}`
)

// eventUnnamed is the name of what was said without one.
var eventUnnamed = []byte(`"message"`)

// Encode is one text frame with an event. A message is told under the name in its tags; that somebody has come or gone only in a channel
// with presence, of a user, and if it is the first of the user's clients or the last.
func (p *pusher) Encode(m *Message) []byte {
	if m.Sort != Said {
		return p.encodeMove(m)
	}
	return p.appendMessage(nil, m)
}

// appendMessage appends the frame of what was said. The data is a string that stands for what was said, byte for byte, whether that is JSON
// or text; but that of a client event is what the client has sent: JSON as it is.
func (p *pusher) appendMessage(dst []byte, m *Message) []byte {
	name, said, user := p.nameOf(m), m.Payload(), p.user[:0]
	isClient := m.More != nil && m.More.ClientEvent
	raw := isClient && m.JSON
	p.channel = append(p.channel[:0], ChannelName(m.Group)...)
	n := len(eventName) + len(name) + len(eventChannel) + quotedBytes(p.channel) + len(eventData) + len(eventEnd)
	if raw {
		n += len(said)
	} else {
		n += quotedBytes(said)
	}
	if who := m.Who(); isClient && who != nil && who.User() != "" && ChannelOf(m.Group).Presence {
		user = append(user, who.User()...)
		n += len(eventUser) + quotedBytes(user)
		p.user = user
	}
	if dst == nil {
		dst = make([]byte, 0, wsproto.TextFrameBytes(n))
	}
	dst = wsproto.AppendTextHeader(dst, n)
	dst = append(dst, eventName...)
	dst = append(dst, name...)
	dst = append(dst, eventChannel...)
	dst = appendQuoted(dst, p.channel)
	dst = append(dst, eventData...)
	if raw {
		dst = append(dst, said...)
	} else {
		dst = appendQuoted(dst, said)
	}
	if len(user) > 0 {
		dst = append(dst, eventUser...)
		dst = appendQuoted(dst, user)
	}
	return append(dst, eventEnd...)
}

// The names of events that the protocol itself uses begin so. A backend that speaks another protocol might use them unawares, and pages would
// take them for the server's; so here they are none.
var (
	eventOfProtocol = []byte("pusher:")
	eventInternal   = []byte("pusher_internal:")
)

// nameOf is the JSON string of the name under which a message is told: its tag "event".
func (p *pusher) nameOf(m *Message) []byte {
	if m.More == nil || m.More.Tags == nil {
		return eventUnnamed
	}
	p.tags.reset()
	var event []byte
	for o := p.tags.object(m.More.Tags); o.next(); {
		if string(o.key) == "event" {
			event = o.value
		}
	}
	if !isString(event) {
		return eventUnnamed
	}
	if name := p.tags.text(event); len(name) == 0 || bytes.HasPrefix(name, eventOfProtocol) || bytes.HasPrefix(name, eventInternal) {
		return eventUnnamed
	}
	return event
}

// appendEvent appends the frame {"event":"…","channel":"…","data":"…"} of an event of the protocol itself; without a channel if that is nil,
// and without data if that is empty.
func appendEvent(dst []byte, event string, channel, data []byte) []byte {
	n := len(eventName) + len(`""`) + len(event) + len(eventEnd)
	if channel != nil {
		n += len(eventChannel) + quotedBytes(channel)
	}
	if len(data) > 0 {
		n += len(eventData) + quotedBytes(data)
	}
	if dst == nil {
		dst = make([]byte, 0, wsproto.TextFrameBytes(n))
	}
	dst = wsproto.AppendTextHeader(dst, n)
	dst = append(dst, eventName...)
	dst = append(dst, '"')
	dst = append(dst, event...)
	dst = append(dst, '"')
	if channel != nil {
		dst = append(dst, eventChannel...)
		dst = appendQuoted(dst, channel)
	}
	if len(data) > 0 {
		dst = append(dst, eventData...)
		dst = appendQuoted(dst, data)
	}
	return append(dst, eventEnd...)
}
