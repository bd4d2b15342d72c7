package dialect

import (
	"slices"
	"unicode/utf8"
)

const (
	// GroupBytesMax bounds a group's name in bytes, decoded. A longer one is ErrBadGroupID.
	GroupBytesMax = 255
	// IDBytesMax bounds an id in bytes of its JSON text, quotes included, and so the replies that repeat it. A longer one is
	// ErrBadID.
	IDBytesMax = 128

	keyBytesMax = len("group_id")
	cmdBytesMax = len("send_to_group")

	// scratchBytesKept is the largest scratch memory that the next Parse uses again. Only texts with escapes need any, and a large
	// one must not keep memory for ever.
	scratchBytesKept = 64 << 10
)

// CommandParser parses the commands of the plain dialect. The zero value is ready for use. It keeps bounded scratch memory
// between calls.
//
// Owner: one goroutine at a time.
type CommandParser struct {
	scratch []byte
	scanner jsonScanner
}

// Parse reads one command: a JSON object (RFC 8259) in UTF-8 with cmd, group_id and, for send_to_group, message. Unknown keys are
// ignored, and the last of equal keys counts. cmd points into payload and into memory that the next Parse uses again. An empty
// code means that cmd is complete; else only cmd.ID is set, and not nil if the error is to be answered.
//
// The whole payload must be valid JSON before any of it counts. Then id, cmd, group_id and message are checked, in this
// order, and the first that is wrong gives the code. Parse allocates nothing but scratch memory.
func (p *CommandParser) Parse(payload []byte) (cmd Command, code ErrorCode) {
	if cap(p.scratch) > scratchBytesKept {
		p.scratch = nil
	}
	p.scratch = p.scratch[:0]

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
	group, ok := p.group(m.group)
	if !ok {
		return Command{ID: id}, ErrBadGroupID
	}
	cmd = Command{Verb: verb, Group: group, ID: id}
	if verb == SendToGroup {
		if m.message == nil {
			return Command{ID: id}, ErrBadMessage
		}
		cmd.Message, cmd.JSON = p.message(m.message)
	}
	return cmd, ""
}

// members are the JSON texts of the values that a command has; nil: the key is missing.
type members struct {
	cmd, group, message, id []byte
}

// members checks that b is one JSON object and nothing else, and finds its members.
func (p *CommandParser) members(b []byte) (m members, ok bool) {
	if !utf8.Valid(b) {
		return m, false
	}
	i := skipSpace(b, 0)
	if i >= len(b) || b[i] != '{' {
		return m, false
	}
	p.scanner.depth = 0
	p.scanner.open(true)
	i = skipSpace(b, i+1)
	if i < len(b) && b[i] == '}' {
		return m, skipSpace(b, i+1) == len(b)
	}
	for {
		key := i
		end, escaped := scanString(b, key)
		if i = scanColon(b, end); i == bad {
			return m, false
		}
		start := skipSpace(b, i)
		if i = p.scanner.value(b, start); i == bad {
			return m, false
		}
		// A key that is too long to be one of a command's even if all of it were \u escapes is not decoded, so that keys cannot
		// fill the scratch.
		if end-key <= 6*keyBytesMax+2 {
			if at := m.find(p.inside(b[key:end], escaped)); at != nil {
				*at = b[start:i:i]
			}
		}
		i = skipSpace(b, i)
		if i >= len(b) {
			return m, false
		}
		switch b[i] {
		case '}':
			return m, skipSpace(b, i+1) == len(b)
		case ',':
			i = skipSpace(b, i+1)
		default:
			return m, false
		}
	}
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
	}
	return nil
}

// idText is the id to repeat in a reply: nil for a missing or null one.
func idText(value []byte) (id []byte, ok bool) {
	if value == nil || string(value) == "null" {
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
	// Every byte of a name takes at most six bytes of JSON text (a \u escape), and the
	// quotes two: more cannot fit, and need not be decoded to know.
	if !isString(value) || len(value) > 6*GroupBytesMax+2 {
		return nil, false
	}
	group = p.text(value)
	return group, len(group) >= 1 && len(group) <= GroupBytesMax
}

// message is what members receive: the text of a string, the JSON text of anything else.
func (p *CommandParser) message(value []byte) (message []byte, json bool) {
	if isString(value) {
		return p.text(value), false
	}
	return value, true
}

// text decodes a JSON string.
func (p *CommandParser) text(value []byte) []byte {
	return p.inside(value, plainPrefix(value[1:]) < len(value)-2)
}

// inside is the text of a JSON string: the bytes between the quotes if there are no
// escapes, else their decoded form in the scratch. What it returned before stays valid
// until the next Parse even if the scratch grows, because growing copies.
func (p *CommandParser) inside(value []byte, escaped bool) []byte {
	raw := value[1 : len(value)-1]
	if !escaped {
		return raw
	}
	start := len(p.scratch)
	p.scratch = slices.Grow(p.scratch, len(raw)) // decoding never lengthens
	p.scratch = appendUnescaped(p.scratch, raw)
	return p.scratch[start:len(p.scratch):len(p.scratch)]
}

// isString and isInteger look at valid JSON text only, or at nil.
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
