package dialect

import (
	"strconv"

	"ringcast/wsproto"
)

// This file has who is there: who the members of a group are, who comes and goes, and that the client itself is there no more.

// hears completes a subscribe by whether the client wants to hear who comes and goes; ok is that of boolean.
func hears(cmd *Command, r *requested) (ok bool) {
	if cmd.Verb != AddGroup {
		return true
	}
	cmd.Hears, ok = boolean(r.joinLeave)
	return ok
}

const (
	pushJoin  = `,"join":{"info":`
	pushLeave = `,"leave":{"info":`
	moveEnd   = `}`
)

// encodeMove is the frame of a message of another sort than Said: {"push":{"channel":"g","join":{"info":{…}}}}, or with "leave".
func (c *centrifuge) encodeMove(m *Message) []byte {
	move := pushJoin
	if m.Sort == Went {
		move = pushLeave
	}
	c.group = append(c.group[:0], m.Group...)
	n := len(pushChannel) + quotedBytes(c.group) + len(move) + c.infoBytes(m.Who()) + c.senderBytes(m) + len(moveEnd) + len(pushEnd)
	frame := c.appendPush(make([]byte, 0, wsproto.TextFrameBytes(n)), n)
	frame = append(frame, move...)
	c.named = c.appendSender(c.named[:0], m)
	frame = c.appendInfo(frame, c.named, m.Who())
	frame = append(frame, moveEnd...)
	return append(frame, pushEnd...)
}

// appendPresent appends the members of {"presence":{"…":{"user":"","client":"…"},…}}: each client by its name, which stands in what is
// told of it, too. The inner object is there even if it is empty: without it an SDK's promise fails.
func (c *centrifuge) appendPresent(text []byte, present []Present) []byte {
	text = append(text, `"presence":{`...)
	for i, p := range present {
		if i > 0 {
			text = append(text, ',')
		}
		text = append(text, '"')
		at := len(text)
		if p.Name != "" {
			text = append(text, p.Name...)
		} else {
			text = c.clientName(text, p.Client)
		}
		text = append(text, `":`...)
		text = c.appendInfo(text, text[at:at+clientNameBytes], p.Who)
	}
	return append(text, '}')
}

// appendMembers appends the members of {"num_clients":3,"num_users":2}. The second is left out where it is not known.
func appendMembers(text []byte, o *Outcome) []byte {
	text = append(text, `"num_clients":`...)
	text = strconv.AppendUint(text, o.Number, 10)
	if o.Users > 0 {
		text = append(text, `,"num_users":`...)
		text = strconv.AppendUint(text, o.Users, 10)
	}
	return text
}

// pushParted has the server library's code and reason for a client that has lost messages. From 2500 on an SDK subscribes again at
// once, on the same connection and from its position; below it would stay away.
const pushParted = `,"unsubscribe":{"code":2500,"reason":"insufficient state"}`

// appendUnsubscribed appends the frame that tells a client that it was taken out of a group, and why.
func (c *centrifuge) appendUnsubscribed(dst []byte, group, why string) []byte {
	c.group = append(c.group[:0], group...)
	dst = c.appendPush(dst, len(pushChannel)+quotedBytes(c.group)+len(why)+len(pushEnd))
	dst = append(dst, why...)
	return append(dst, pushEnd...)
}
