package client

import "strconv"

// Dialect is the protocol that clients and a server speak, by the name that it has on the command line. The zero value is Plain.
type Dialect string

const (
	// Plain is the seed protocol: a message is delivered as its text alone, and only commands with an id are answered.
	Plain Dialect = "plain"
	// Centrifuge is version 2 of the Centrifuge protocol, in JSON: a message is delivered within a line that names its group.
	Centrifuge Dialect = "centrifuge"
	// Pusher is version 7 of the Pusher protocol: a message is delivered as an event that names its group, and clients send texts as
	// events of their own.
	Pusher Dialect = "pusher"
)

// Names of groups and texts are inserted into commands unchanged: the caller owes that they need no escapes.

// Path is where servers of the dialect are, unless their operator says otherwise. Of an app it has the key.
func (d Dialect) Path(app App) string {
	switch d {
	case Centrifuge:
		return "/connection/websocket"
	case Pusher:
		return "/app/" + app.Key
	}
	return "/"
}

// Answers says that every command is answered, also one that sends a text.
func (d Dialect) Answers() bool { return d == Centrifuge }

// AnswersJoins says that every join is answered, whether it asks for that or not.
func (d Dialect) AnswersJoins() bool { return d == Centrifuge || d == Pusher }

// AnswersLeaves says that a leave that asks for it is answered.
func (d Dialect) AnswersLeaves() bool { return d != Pusher }

// SendersJoin says that only members may send to a group, and do not hear what they have sent.
func (d Dialect) SendersJoin() bool { return d == Pusher }

// Join is the command by which a client joins a group; withID asks for the reply that proves it. It is not for the dialect Pusher, in
// which it may have to be signed: see Generator.AskJoin.
func (d Dialect) Join(group string, id int, withID bool) []byte {
	if d == Centrifuge {
		return centrifugeCommand("subscribe", group, id)
	}
	return plainCommand("add_group", group, id, withID)
}

// Leave is the command by which it leaves.
func (d Dialect) Leave(group string, id int, withID bool) []byte {
	switch d {
	case Centrifuge:
		return centrifugeCommand("unsubscribe", group, id)
	case Pusher:
		return pusherUnsubscribe(group)
	}
	return plainCommand("leave_group", group, id, withID)
}

// What a reply may be to.
const (
	OfConnect = "connect"
	OfJoin    = "join"
	OfLeave   = "leave"
	OfSend    = "publish"
)

// CheckReply says whether text is the reply that accepts what was asked for with this id, or for this group in a dialect without ids.
func (d Dialect) CheckReply(what, group string, text []byte, id int) error {
	switch d {
	case Centrifuge:
		return checkCentrifugeReply(what, text, id)
	case Pusher:
		return checkPusherReply(what, group, text)
	}
	return checkPlainReply(what, text, id)
}

// NoReply is the cause when the reply to a join does not come.
func (d Dialect) NoReply() string {
	if d.AnswersJoins() {
		return "join: no reply in time"
	}
	return "join: no reply in time (a server that answers no ids needs --join-proof probe)"
}

// AnyID is the id of CheckReply for commands of which several may be under way.
const AnyID = -1

// Send is the command that sends texts to a group: what is before and after a text.
type Send struct {
	numbered      bool // it begins with an id
	before, after string
}

// Send makes the command for a group.
func (d Dialect) Send(group string) Send {
	switch d {
	case Centrifuge:
		return Send{true, centrifugeSend(group), centrifugeSendEnd}
	case Pusher:
		return Send{false, pusherSend(group), pusherSendEnd}
	}
	return Send{false, plainSend(group), plainSendEnd}
}

// Numbered says that the command has an id.
func (s *Send) Numbered() bool { return s.numbered }

// Len is the length of the command with a text of so many bytes.
func (s *Send) Len(id, text int) int {
	n := len(s.before) + text + len(s.after)
	if s.numbered {
		for n += len(idKey) + 1; id >= 10; id /= 10 {
			n++
		}
	}
	return n
}

// IDMax is the longest id: they are below 2^32 in every dialect.
const IDMax = 1<<32 - 1

// AppendStart appends the command up to the text.
func (s *Send) AppendStart(dst []byte, id int) []byte {
	if s.numbered {
		dst = strconv.AppendInt(append(dst, idKey...), int64(id), 10)
	}
	return append(dst, s.before...)
}

// AppendEnd appends what follows the text.
func (s *Send) AppendEnd(dst []byte) []byte { return append(dst, s.after...) }

// idKey is how a command with an id begins.
const idKey = `{"id":`
