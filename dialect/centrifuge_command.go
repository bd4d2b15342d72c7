package dialect

import (
	"bytes"
	"unicode/utf8"
)

// badRequest closes a client that does not speak the protocol. It is what the server library does, too: an error would need an id.
var badRequest = Command{Verb: Close, Code: centrifugeBadRequest, Reason: "bad request"}

// Next reads the command of the first line that is not blank. A message of blank lines alone is read as a pong.
func (c *centrifuge) Next(payload []byte, binary bool) (cmd Command, rest []byte, code ErrorCode) {
	if binary {
		return Command{Verb: Close, Code: centrifugeBadRequest, Reason: "bad request: JSON in text frames is spoken here"}, nil, ""
	}
	line := payload[skipSpace(payload, 0):]
	if end := bytes.IndexByte(line, '\n'); end >= 0 {
		line, rest = line[:end], line[end+1:]
		rest = rest[skipSpace(rest, 0):] // a line break at the end is no further command
	}
	if len(line) == 0 {
		return Command{Verb: Respond}, nil, ""
	}
	cmd, code = c.command(line)
	return cmd, rest, code
}

// command reads one command: an object with an id and one method, whose value is an object with what that method needs. As in the
// server library an empty object is a pong, null and an id of 0 are as good as nothing, and members that are not known are ignored;
// but one beside which there is no method is taken for the method of a newer protocol, which gets an error and no closing.
func (c *centrifuge) command(line []byte) (cmd Command, code ErrorCode) {
	if !utf8.Valid(line) {
		return badRequest, ""
	}
	c.reset()
	var id, request []byte
	var asked method
	methods, strange := 0, false
	o := c.object(line)
	for o.next() {
		if string(o.key) == "id" {
			id = o.value
			continue
		}
		if isNull(o.value) {
			continue
		}
		if m, known := methodOf(o.key); known {
			asked, request = m, o.value
			methods++
		} else {
			strange = true
		}
	}
	id, ok := centrifugeID(id)
	switch {
	case !o.valid() || !ok || methods > 1:
		return badRequest, ""
	case methods == 0 && id == nil && !strange:
		return Command{Verb: Respond}, ""
	case methods == 0 && id != nil && strange:
		return Command{ID: id}, ErrUnknownCmd
	case methods == 0 || request[0] != '{':
		return badRequest, ""
	case asked.verb == Close:
		return Command{Verb: Close, Code: centrifugeNotAvailable, Reason: "not available"}, ""
	case id == nil:
		return badRequest, ""
	}
	cmd = Command{Verb: asked.verb, ID: id}
	switch {
	case asked.channel:
		return c.request(cmd, request)
	case asked.token:
		return c.shown(cmd, request)
	}
	return cmd, asked.code
}

// request completes a command by what its method was given.
func (c *centrifuge) request(cmd Command, request []byte) (Command, ErrorCode) {
	r := c.requested(request)
	if !c.past(&cmd, &r) || !hears(&cmd, &r) || !c.shows(&cmd, &r) {
		return badRequest, ""
	}
	group, ok := c.name(r.channel)
	if !ok {
		return cmd, ErrBadGroupID
	}
	switch {
	case cmd.Verb == SendToGroup && r.data == nil, cmd.Verb == AuthGroup && cmd.Token == nil:
		return cmd, ErrBadMessage
	case cmd.Verb == SendToGroup:
		cmd.Message, cmd.JSON = c.message(r.data)
	}
	cmd.Group = group
	return cmd, ""
}

// requested are the JSON texts of the values that a method was given, or the since of one; nil: the key is missing.
type requested struct {
	channel, data          []byte
	recover, offset, epoch []byte
	limit, reverse, since  []byte
	joinLeave, flag, token []byte
	subs                   []byte
}

// requested reads what is known to be a valid object.
func (c *centrifuge) requested(request []byte) (r requested) {
	o := c.object(request)
	for o.next() {
		if at := r.find(o.key); at != nil {
			*at = o.value
		}
	}
	return r
}

// find is the value of a key; nil: no method knows it.
func (r *requested) find(key []byte) *[]byte {
	switch string(key) {
	case "channel":
		return &r.channel
	case "data":
		return &r.data
	case "recover":
		return &r.recover
	case "offset":
		return &r.offset
	case "epoch":
		return &r.epoch
	case "limit":
		return &r.limit
	case "reverse":
		return &r.reverse
	case "since":
		return &r.since
	case "join_leave":
		return &r.joinLeave
	case "flag":
		return &r.flag
	case "token":
		return &r.token
	case "subs":
		return &r.subs
	}
	return nil
}

// method is what a method of the protocol asks for.
type method struct {
	verb    Verb // VerbNone: it is refused with code
	code    ErrorCode
	channel bool // it is about a channel
	token   bool // it is not, and may have a token
}

// methodOf is the method of a name.
func methodOf(name []byte) (m method, known bool) {
	switch string(name) {
	case "connect":
		return method{verb: Connect, token: true}, true
	case "subscribe":
		return method{verb: AddGroup, channel: true}, true
	case "unsubscribe":
		return method{verb: LeaveGroup, channel: true}, true
	case "publish":
		return method{verb: SendToGroup, channel: true}, true
	case "presence":
		return method{verb: Presence, channel: true}, true
	case "presence_stats":
		return method{verb: Stats, channel: true}, true
	case "ping":
		return method{verb: Respond}, true
	case "history":
		return method{verb: History, channel: true}, true
	case "refresh":
		return method{verb: Auth, token: true}, true
	case "sub_refresh":
		return method{verb: AuthGroup, channel: true}, true
	case "rpc": // of procedures, which there are none of
		return method{code: ErrNotAvailable}, true
	case "send": // it has no id, so only a close tells that nobody hears it
		return method{verb: Close}, true
	}
	return method{}, false
}

// centrifugeIDMax is the largest id. An id is a number of 32 bits in the protocol.
const centrifugeIDMax = "4294967295"

// centrifugeID is the id to repeat in a reply: the digits as they were sent; nil for a missing one, null and 0.
func centrifugeID(value []byte) (id []byte, ok bool) {
	switch {
	case value == nil || isNull(value) || string(value) == "0":
		return nil, true
	case skipDigits(value, 0) != len(value) || len(value) > len(centrifugeIDMax):
		return nil, false
	}
	return value, len(value) < len(centrifugeIDMax) || string(value) <= centrifugeIDMax
}
