package dialect

import "ringcast/wsproto"

// Dialect is one client protocol. Every method is called by the loop that the value belongs to, so it may keep scratch
// memory between calls, but nothing of any client: there is one value for all clients of a loop.
type Dialect interface {
	// Next reads the first command of a message; rest is what is left of the message, empty when that was all. payload is
	// borrowed until the callback ends, and cmd may point into it and into memory that the next call of Next uses again.
	// With an error code cmd says whether, and by which id, the client is to be told. binary: the message was a binary one.
	Next(payload []byte, binary bool) (cmd Command, rest []byte, code ErrorCode)

	// Answer appends the frames that tell a client of an outcome; none where this dialect says nothing of it. A gap takes at
	// most GapBytesMax bytes.
	Answer(dst []byte, o Outcome) []byte

	// Encode is the frame, or frames, by which members hear a message, in memory that nobody will write again: all clients of
	// the dialect, on all loops, are sent the same bytes. Empty where this dialect's clients do not hear of such a message. It
	// is called for the first dialect of a table never: that one hears Message.Frame as it is.
	Encode(m *Message) []byte

	// Close is the code and the reason by which a client is closed for a cause, RFC 6455 §7.4. The reason goes out cut to 123
	// bytes (§5.5.1); it may be empty.
	Close(cause Cause) (code wsproto.StatusCode, reason string)
}

// Entry is a dialect's line in a table.
type Entry struct {
	Name   string                 // for logs and statistics
	Serves func(path string) bool // whether a client that asks for this path speaks it
	New    func() Dialect         // a value for one loop
}

// Table is every dialect that the server speaks. The last entry that serves a path has it; the first serves any.
var Table = []Entry{
	{Name: "plain", Serves: AnyPath, New: func() Dialect { return &Plain{} }},
}

// AnyPath serves every path.
func AnyPath(string) bool { return true }

// FormsMax bounds a table: a client keeps the index of its dialect in three bits.
const FormsMax = 8

// GapBytesMax is the most that any dialect takes to tell of a gap, in bytes. So much room is kept in the outbox of a client
// that has one coming.
const GapBytesMax = 2 + len(eventGap) + 20 + 1 // that of plain

// Message is what somebody said to a group. Its home writes the offset; from then on nobody writes it, so that all loops
// may share it.
type Message struct {
	Group  string
	Frame  []byte // a text frame of RFC 6455 whose payload is the message: how it is kept, and what plain clients hear
	Offset uint64 // its number in the group, from 1; 0: there is nobody in the group
	JSON   bool   // the payload is the text of a JSON value, else plain text
}

// Payload is what was said, without a frame around it. It shares the frame's memory.
func (m *Message) Payload() []byte { return wsproto.TextPayload(m.Frame) }

// Verb is what a command asks for.
type Verb uint8

// The verbs and, in quotes, the words that statistics and the plain dialect have for them.
const (
	VerbNone    Verb = iota // no command: Next gave an error code
	AddGroup                // "add_group"
	LeaveGroup              // "leave_group"
	SendToGroup             // "send_to_group"
	Respond                 // nothing but an answer is wanted, at once: a ping of the protocol's own, an echo
)

// String is the verb's word.
func (v Verb) String() string {
	if int(v) < len(verbNames) {
		return verbNames[v]
	}
	return "unknown"
}

var verbNames = [...]string{"none", "add_group", "leave_group", "send_to_group", "respond"}

// Command is what a client's message asks for. Its slices are borrowed, see Dialect.Next. They are to be read, not written.
type Command struct {
	Verb    Verb
	JSON    bool   // SendToGroup: Message is the text of a JSON value, else plain text
	Group   []byte // the name, decoded: 1 to GroupBytesMax bytes of UTF-8
	Message []byte // SendToGroup: what members receive, UTF-8; may be empty
	ID      []byte // by what the answer is matched to the command, as Answer needs it; nil: never answer
}

// What is an outcome's kind.
type What uint8

// The kinds of outcomes.
const (
	OK       What = iota // the command Verb with ID was carried out
	Position             // likewise, a publish: its message has the number Number
	Refused              // it was not, for the reason Code
	Gap                  // no answer: in this place Number messages are missing that the client was too slow for
	Greeting             // no answer: the handshake is done, and this is the first that the client hears
	Ping                 // no answer: the client was silent for too long, and is asked for a sign of life
)

// Outcome is what a client is told beside messages.
type Outcome struct {
	What   What
	Verb   Verb      // OK, Position, Refused: what was asked for
	ID     []byte    // likewise, the command's
	Code   ErrorCode // Refused
	Number uint64    // Position, Gap
}

// Cause is why we close a client. What is wrong with its frames has codes of RFC 6455 and is no dialect's to say.
type Cause uint8

// The causes.
const (
	CauseSlow          Cause = iota // its outbox is full
	CauseSlowest                    // all outboxes together are full, and its own is among the largest; no reason is sent
	CauseSilent                     // no sign of life for two heartbeats
	CauseStopping                   // the server stops
	CauseInternal                   // something of ours panicked while serving it
	CausePartialMemory              // no room for the rest of its message
	CausePartialTime                // its message took too long
	CauseByteRate                   // more bytes than it may send
	CauseCommandRate                // more commands than it may send; one that was refused had no id, as with all that follow
	CauseBusy                       // a command was refused, as queues were full or memory short
	CauseTooManyGroups              // it is in as many groups as it may be
	CauseGroupFull                  // the group has as many members as it may have
	CauseGroupsFull                 // the server has as many groups as it may have
)

// Causes is the number of causes.
const Causes = int(CauseGroupsFull) + 1
