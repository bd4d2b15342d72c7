package dialect

import "unicode/utf8"

const (
	// GroupBytesMax bounds a group's name in bytes, decoded. A longer one is ErrBadGroupID.
	GroupBytesMax = 255
	// IDBytesMax bounds an id in bytes of its JSON text, quotes included, and so the replies that repeat it. A longer one is
	// ErrBadID.
	IDBytesMax = 128

	cmdBytesMax = len("send_to_group")
)

// CommandParser parses the commands of the plain dialect. The zero value is ready for use. It keeps bounded scratch memory
// between calls.
//
// Owner: one goroutine at a time.
type CommandParser struct{ objectReader }

// Parse reads one command: a JSON object (RFC 8259) in UTF-8 with cmd, group_id and, for send_to_group, message; add_group may have a
// token, send_to_group a key, and auth has a token alone. Unknown keys of the object are ignored, and the last of equal ones counts. cmd
// points into payload and into memory that the next Parse uses again. An empty code means that cmd is complete; else only cmd.ID is set,
// and not nil if the error is to be answered.
//
// The whole payload must be valid JSON before any of it counts. Then id, cmd, group_id, message and key are checked, in
// this order, and the first that is wrong gives the code. Parse allocates nothing but scratch memory.
func (p *CommandParser) Parse(payload []byte) (cmd Command, code ErrorCode) {
	p.reset()
	m, ok := p.members(payload)
	if !ok {
		return Command{}, ErrBadJSON
	}
	id, ok := idText(m.id)
	if !ok {
		return Command{ID: jsonNull}, ErrBadID
	}
	verb := p.verb(m.cmd)
	if verb == VerbNone {
		return Command{ID: id}, ErrUnknownCmd
	}
	if verb == Auth {
		return Command{Verb: verb, ID: id, Token: p.token(m.token, true)}, ""
	}
	group, ok := p.group(m.group)
	if !ok {
		return Command{ID: id}, ErrBadGroupID
	}
	cmd = Command{Verb: verb, Group: group, ID: id}
	switch verb {
	case SendToGroup:
		if m.message == nil {
			return Command{ID: id}, ErrBadMessage
		}
		cmd.Message, cmd.JSON = p.message(m.message)
		if cmd.Key, ok = p.key(m.key); !ok {
			return Command{ID: id}, ErrBadKey
		}
	case AddGroup:
		cmd.Token = p.token(m.token, false)
	}
	return cmd, ""
}

// members are the JSON texts of the values that a command has; nil: the key is missing.
type members struct {
	cmd, group, message, id, token, key []byte
}

// members checks that b is one JSON object in UTF-8 and nothing else, and finds its members.
func (p *CommandParser) members(b []byte) (m members, ok bool) {
	if !utf8.Valid(b) {
		return m, false
	}
	o := p.object(b)
	for o.next() {
		if at := m.find(o.key); at != nil {
			*at = o.value
		}
	}
	return m, o.valid()
}

// find is the member of a key; nil: the key is unknown.
func (m *members) find(key []byte) *[]byte {
	switch string(key) {
	case "cmd":
		return &m.cmd
	case "group_id":
		return &m.group
	case "message":
		return &m.message
	case "id":
		return &m.id
	case "token":
		return &m.token
	case "key":
		return &m.key
	}
	return nil
}

// noToken stands for what is no token at all, as it is not even a string. Read only.
var noToken = []byte{}

// token is the token that a value stands for; nil: there is none, and none is needed.
func (p *CommandParser) token(value []byte, needed bool) []byte {
	switch {
	case isString(value):
		return p.text(value)
	case needed || !isMissing(value):
		return noToken
	}
	return nil
}

// key is the key that a value stands for; nil: there is none.
func (p *CommandParser) key(value []byte) (key []byte, ok bool) {
	if isMissing(value) {
		return nil, true
	}
	return p.short(value, KeyBytesMax)
}

// idText is the id to repeat in a reply: nil for a missing or null one.
func idText(value []byte) (id []byte, ok bool) {
	if value == nil || isNull(value) {
		return nil, true
	}
	if len(value) > IDBytesMax || !isString(value) && !isInteger(value) {
		return nil, false
	}
	return value, true
}

func (p *CommandParser) verb(value []byte) Verb {
	if !isString(value) || len(value) > 6*cmdBytesMax+2 {
		return VerbNone
	}
	switch string(p.text(value)) {
	case "add_group":
		return AddGroup
	case "leave_group":
		return LeaveGroup
	case "send_to_group":
		return SendToGroup
	case "auth":
		return Auth
	}
	return VerbNone
}

// group is the name that a group_id stands for. A number is the string of its digits, as
// PHP's array keys make of it, so 123 and "123" are one group.
func (p *CommandParser) group(value []byte) (group []byte, ok bool) {
	if isInteger(value) {
		if string(value) == "-0" {
			return value[1:], true
		}
		return value, isInt64(value)
	}
	return p.name(value)
}

// isNull, isString and isInteger look at valid JSON text only, or at nil.
func isNull(value []byte) bool { return string(value) == "null" }

func isString(value []byte) bool { return len(value) > 0 && value[0] == '"' }

func isInteger(value []byte) bool {
	end, integer := scanNumber(value, 0)
	return integer && end == len(value)
}

// isInt64 reports whether an integer literal is between -2⁶³ and 2⁶³-1. Literals have no
// leading zeros, so of two the longer is larger, and equal lengths compare as text.
func isInt64(literal []byte) bool {
	limit := "9223372036854775807"
	if literal[0] == '-' {
		literal, limit = literal[1:], "9223372036854775808"
	}
	return len(literal) < len(limit) || len(literal) == len(limit) && string(literal) <= limit
}
