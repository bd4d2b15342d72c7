package dialect

import (
	"iter"

	"ringcast/wsproto"
)

// Dialect is one client protocol. Its methods are called by the one loop that the value belongs to, for all clients of that loop
// that speak it. So it may keep scratch memory between calls, but nothing of a client.
type Dialect interface {
	// Next reads the first command of a message; rest is what follows it, empty when that was all. payload is not empty after
	// the first call for a message. It is borrowed until the callback ends; cmd may point into it, and into memory that the next
	// call of Next uses again. With an error code, cmd.Verb and cmd.ID say what was asked, as far as that is known; the client is
	// told by an answer if the ID is not nil. binary: the message was a binary one.
	Next(payload []byte, binary bool) (cmd Command, rest []byte, code ErrorCode)

	// Answer appends the frames that tell a client of an outcome to dst; none if the dialect has no such answer. For a gap they
	// are at most GapBytesMax bytes. The slices of o are borrowed.
	Answer(dst []byte, o Outcome) []byte

	// Encode is the frame, or frames, of a message for members. All clients of the dialect, on all loops, are sent these bytes, so
	// nobody may write them again. Empty: clients of this dialect are not sent the message. It is not called for the first dialect
	// of a table, whose members are sent Message.Wire as it is.
	Encode(m *Message) []byte

	// Close is the code and the reason of the Close frame for a cause (RFC 6455 §7.4). The reason is cut to 123 bytes (§5.5.1) when
	// it is sent; it may be empty.
	Close(cause Cause) (code wsproto.StatusCode, reason string)
}

// Entry is a dialect's line in a table.
type Entry struct {
	Name   string                 // for people: in the log, where a client is closed
	Serves func(path string) bool // whether a client that requests this path speaks it; called by any goroutine
	New    func() Dialect         // makes the value of one loop

	Subprotocols []string // a client that offers one of these, and is given it, speaks the dialect on any path

	// Connects: its clients say Connect before anything else, once. A client that has not within the time of a handshake is closed
	// with CauseNoConnect, one that says something else first with CauseNotConnected.
	Connects bool
	// JoinsOnce: to join a group that one is in, or has asked to be in, is refused with ErrAlreadyJoined.
	JoinsOnce bool
	// Positions: its clients are told positions in the history of a group that they join, and what they have missed.
	Positions bool
	// Named: who has said a message is kept with it, see Message.Sender.
	Named bool
	// Soon: its clients wait for an answer for less than 5 s, so each gets one within 4.
	Soon bool
	// Hears: its clients can be told who comes and goes.
	Hears bool
	// Heals: a client that is told Parted joins again from its position, by itself.
	Heals bool
	// Renews: its clients are told when what their tokens allow ends, and have RenewGraceSeconds more to show newer ones.
	Renews bool
	// TokenCause is the cause to close a client for what is wrong with a token that it has shown with a command; closes is false where it
	// is told by an answer instead. nil: it always is.
	TokenCause func(verb Verb, code ErrorCode) (why Cause, closes bool)
	// Pings says whether a client that requests its path with this query wants to be pinged by WebSocket's own pings (RFC 6455 §5.5.2)
	// and not by the dialect's; nil: none does. Called by any goroutine.
	Pings func(query string) bool

	// NeedsApp: it is spoken only where apps are configured, and each of its clients belongs to one.
	NeedsApp bool
	// DeflatesAnswers: answers to clients that have negotiated compression are compressed, and not messages alone.
	DeflatesAnswers bool
	// Channels: its groups are channels, of the kinds that their names say (see ChannelOf). Who joins one that needs a signature shows it.
	Channels bool
	// Lists: who joins a group with presence is told who is there, in the answer.
	Lists bool
	// HeartbeatSeconds is after how many seconds of silence a client is pinged, and how many later it is closed, where the operator has
	// configured so many between two pings; 0: none is, whatever was configured. nil: it is done as configured. Called by any goroutine.
	HeartbeatSeconds func(configured uint64) (silence, wait uint64)
	// RefusalCause is the cause to close a client for whose command was refused with a code; closes is false where it is told by an answer
	// instead. nil: it always is.
	RefusalCause func(verb Verb, code ErrorCode) (why Cause, closes bool)
}

// Table is the dialects that every server speaks. A client speaks the last entry that serves its path, or else the first.
var Table = []Entry{
	{Name: "plain", Serves: AnyPath, New: func() Dialect { return &Plain{} }},
}

// RenewGraceSeconds is for how long a client of a dialect that Renews is served beyond the end of its token: some 25 s pass at most until an SDK
// that was asleep has fetched a newer one.
const RenewGraceSeconds = 25

// AnyPath is an Entry's Serves for every path.
func AnyPath(string) bool { return true }

// KeyBytesMax bounds a key under which a publish may be repeated, in bytes, decoded. A longer one is ErrBadKey.
const KeyBytesMax = 255

// FormsMax bounds the entries of a table: a client keeps its entry's index in three bits.
const FormsMax = 8

// GapBytesMax bounds the bytes by which a dialect tells of a gap. So much room is kept in the outbox of a client that is to
// be told of one.
const GapBytesMax = 2 + len(eventGap) + 20 + 1 // those of plain

// Position is a place in what was said to a group: behind the message of this offset.
type Position struct {
	Offset uint64
	Epoch  uint64 // the life of the group's numbering, since offsets may begin anew; 0: none, or in a question any
}

// EpochUnknown is the epoch of no group: a client has named one that the server never gave.
const EpochUnknown uint64 = 1<<64 - 1

// Past is what a client is told of a group's past. It and its messages are borrowed, see Outcome.
type Past struct {
	Top      Position           // behind the group's newest message; of Epoch 0: the group has no history
	Messages iter.Seq[*Message] // from its history, in the order that was asked for; nil: none. It is ranged over once

	// AddGroup alone.
	WasRecovering bool     // the client has asked for what it missed
	Recovered     bool     // that is Messages, all of it
	Since         Position // Recovered: the position that it has asked from

	// AddGroup of a dialect that Lists alone.
	Present   []Present // who is there, the client itself too, in no order; nil: nothing is known of it
	HasCached bool      // the group keeps its last message for who joins
	Cached    *Message  // HasCached: that message; nil: there is none
}

// Verb is what a command asks for.
type Verb uint8

// The verbs and, in quotes, what String says.
const (
	VerbNone    Verb = iota // no command: Next returned an error code
	AddGroup                // "add_group"
	LeaveGroup              // "leave_group"
	SendToGroup             // "send_to_group"
	Respond                 // answer at once, and do nothing else: for a ping of the dialect's own, or an echo
	Close                   // the client is to be closed with Code and Reason, for a fault that this protocol has a code of its own for
	Connect                 // "connect": the client says who it is, see Entry.Connects
	Stats                   // "stats": how many members a group has
	History                 // "history": what was said to a group, as far as that is kept
	Presence                // "presence": who the members of a group are
	Auth                    // "auth": the client shows the token of its connection, for the first time or a newer one
	AuthGroup               // "auth_group": it shows a newer token for a group that it is a member of
	SignIn                  // "sign_in": the client says who it is, which its app has signed
)

// String is the verb's name in the plain dialect, where it has one.
func (v Verb) String() string {
	if int(v) < len(verbNames) {
		return verbNames[v]
	}
	return "unknown"
}

var verbNames = [...]string{"none", "add_group", "leave_group", "send_to_group", "respond", "close", "connect", "stats", "history", "presence", "auth", "auth_group", "sign_in"}

// Command is what a client asks for. Its slices are borrowed, see Dialect.Next; they may be read and not written.
type Command struct {
	Verb    Verb
	JSON    bool   // SendToGroup: Message is the text of a JSON value; else it is plain text
	Group   []byte // a group's name, decoded: 1 to GroupBytesMax bytes of UTF-8
	Message []byte // SendToGroup: what members receive, UTF-8; may be empty
	ID      []byte // the client's id of the command, in the form that Answer takes; nil: the command is not answered
	Token   []byte // Connect, Auth, AddGroup, AuthGroup: the token that the client shows, which nobody else is told; nil: none
	Auth    []byte // AddGroup, SignIn: the signature that the client shows, KEY:HEX; empty: none
	Data    []byte // AddGroup: what it signs of the member; SignIn: of the user; a JSON text, exactly as it was signed; nil: none
	Event   []byte // SendToGroup: the name of a client event, which other members alone are sent; nil: it is none
	Key     []byte // SendToGroup: the client may say the same again under this key, and it is heard once; nil: it is said anew each time

	Hears    bool     // AddGroup: who comes and goes is wanted as well
	Recover  bool     // AddGroup: what was missed since Since is wanted as well
	OrNone   bool     // Recover: if it cannot be had, the client does not want to join; it is refused with ErrUnrecoverable
	HasSince bool     // History: only messages behind Since are wanted, or with Reverse only those before it
	Reverse  bool     // History: the newest first; else the oldest
	Limit    int      // History: messages; 0: the position alone, below 0: all
	Since    Position // Recover, HasSince

	Resume map[string]Position // Connect: groups of which what was missed is wanted, if the client becomes a member, and since when; nil: none

	Code   wsproto.StatusCode // Close
	Reason string             // Close
}

// What is the kind of an outcome.
type What uint8

// The kinds of outcomes.
const (
	OK        What = iota // the command was carried out
	Published             // likewise a publish, whose message has the offset Number
	Refused               // the command was not carried out, for the reason Code
	Gap                   // not an answer: at this point Number messages are missing for which the client was too slow
	Greeting              // not an answer: the handshake is done, and nothing else was sent yet
	Ping                  // not an answer: the client was silent for too long, and should send anything
	Members               // Stats was carried out: the group has Number members
	Read                  // History was carried out: Past is what it has found
	Listed                // Presence was carried out: the members are Present
	Parted                // not an answer: messages of Group were lost on the way to the client, so it was taken out of it
	Removed               // not an answer: a server has taken the client out of Group
	Lapsed                // not an answer: the client was taken out of Group, as its token for it has ended
	Joined                // not an answer: a server has made the client a member of Group
	Renewed               // not an answer: a server has changed when what the client's token allows ends, see TTL
	Counted               // not an answer: Group has Number members now. Only clients of a dialect that has Channels are told
)

// Outcome is what a client is told beside messages. What is borrowed is good until Answer returns.
type Outcome struct {
	What     What
	Verb     Verb      // OK, Published, Refused, Members, Read, Listed: that of the command
	Repeated bool      // Published: it was said before under the same key, as Number, and was not heard again
	TTL      uint32    // OK of Connect, Auth, AddGroup and AuthGroup, Renewed: seconds until what the client's token allows ends; 0: it does not
	Client   uint64    // the client's number, unique in this process
	Group    string    // of AddGroup and LeaveGroup: OK, Refused; Parted, Removed, Lapsed, Joined, Counted; borrowed
	ID       []byte    // OK, Published, Refused, Members, Read, Listed: that of the command, borrowed
	Code     ErrorCode // Refused
	Past     *Past     // Read, Joined, and OK of AddGroup; nil: nothing is known of it; borrowed
	Number   uint64    // Published: the message's offset; Gap: messages; Members, Counted: members; OK of Connect: seconds between the dialect's pings, 0: none

	Present []Present // Listed: the members, in no order; borrowed
	Served  []Served  // OK of Connect: the groups that the client has become a member of; borrowed
	Data    []byte    // OK of SignIn: what was signed, as Command.Data; borrowed
	Users   uint64    // Members: how many users they are, where that is known; else 0
}

// Served is a group of which a client has become a member because its token says so.
type Served struct {
	Group string
	Past  *Past  // nil: nothing is known of it
	Data  []byte // JSON on one line: what the token has for the client of it; nil: nothing
}

// Cause is why the server closes a client. Errors in its frames are not among them: RFC 6455 has their codes.
type Cause uint8

// The causes.
const (
	CauseSlow          Cause = iota // its outbox is full
	CauseSlowest                    // all outboxes together are full, and its own is among the largest; its Close frame has no reason
	CauseSilent                     // it has sent nothing for two heartbeats
	CauseStopping                   // the server stops
	CauseInternal                   // the server panicked while serving it
	CausePartialMemory              // no memory for the rest of its message
	CausePartialTime                // its message took too long
	CauseByteRate                   // more bytes than it may send
	CauseCommandRate                // more commands than it may send; from this to CauseUnconfirmed: the refused command had no id
	CauseBusy                       // queues were full or memory short
	CauseTooManyGroups              // it is in as many groups as it may be
	CauseGroupFull                  // the group has as many members as it may have
	CauseForbidden                  // its kind of group is not for the client
	CauseGroupsFull                 // the server has as many groups as it may have
	CauseUnavailable                // too few machines of the cluster can be reached: its message was not sent
	CauseUnconfirmed                // its message was sent, and no word of it came in time
	CauseNotConnected               // it has said something else before Connect, see Entry.Connects
	CauseNoConnect                  // it has not said Connect in time
	CauseTooBig                     // its message is over the limit
	CauseBadToken                   // its token is not valid, or is not its own
	CauseTokenEnded                 // what its token allows has ended
	CauseRevoked                    // its token was revoked
	CauseDisconnected               // a server wants it so
	CauseFull                       // there are as many clients as there may be, or too many come at once
	CauseUnknownApp                 // no app has the key that its path names; this and the next five: see PusherRequest
	CauseAppOff                     // the app was taken away
	CauseBadPath                    // its path names no key
	CauseNoVersion                  // its request does not say which version of the protocol it speaks
	CauseVersionFormat              // that version is not an integer
	CauseBadVersion                 // that version is not spoken here
)

// Causes is the number of causes.
const Causes = int(CauseBadVersion) + 1

// closes has what a dialect's Close returns for each cause.
type closes [Causes]struct {
	code   wsproto.StatusCode
	reason string
}

func (c *closes) of(cause Cause) (wsproto.StatusCode, string) { return c[cause].code, c[cause].reason }
