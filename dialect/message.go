package dialect

import (
	"unsafe"

	"ringcast/wsproto"
)

// Message is one message to a group. The group's home writes the offset; from then on nobody writes it, so that all loops may
// share it.
//
// With a pointer beside it, it has the size of a cache line. Hence its frame is a string, which has no capacity, and what only few
// messages have is behind a pointer.
type Message struct {
	Group  string
	Wire   string // one unmasked text frame (RFC 6455 §5.6) with the message as its payload, as plain clients are sent it; see Frame
	More   *More  // nil: it has nothing of that
	Offset uint64 // its number in the group, from 1 since its history began, or without one since the group's first member joined; 0: it has neither
	JSON   bool   // the payload is the text of a JSON value; else it is plain text
	Kept   bool   // it is in the group's history, where Offset is its place
	Sort   Sort   // of others than Said the frame is empty, and they have no offset

	// Who has said it, or comes or goes, see Sender. Like Kept and Sort they lie where there was padding.
	SenderLoop   uint8  // below SenderLoopsMax
	SenderSerial uint32 // 0: no client is to be named
}

// More is what only few messages have. Nobody writes it once the message is in a lane.
type More struct {
	Who    *Who   // the user that has said it, or comes or goes; nil: none is named
	Tags   []byte // a JSON object on one line, which goes with the message; nil: none
	Client string // UTF-8: the name of who has said it, or comes or goes, where that is a client of another node; empty: Sender says who
	Unkept bool   // it does not enter the history, and has no offset

	// ClientEvent: it is a Pusher client event: a client has said it to the other members alone, and it is not what the group said last.
	ClientEvent bool

	// Still: the client was a member before, or is one still: its user alone comes or goes, as it has said who it is. It has Edge.
	Still bool

	Edge       bool   // Came: nobody of the user was there before; Went: nobody of the user is left
	Except     uint64 // the number of the one client of this process that is not sent it, as in Outcome.Client; 0: all are sent it
	ExceptName string // that client's name, see Names, for other nodes; empty: all are sent it
}

// TextBytesMax is more than what a text of the message has for it, in bytes; of nil it is 0.
func (m *More) TextBytesMax() int {
	if m == nil {
		return 0
	}
	return m.Who.TextBytesMax() + len(m.Tags) + 6*len(m.Client) + whoMembersBytes
}

// Sort is what a message is.
type Sort uint8

// The sorts.
const (
	Said Sort = iota // somebody has said it
	Came             // its sender has become a member
	Went             // its sender is a member no more
)

// SenderLoopsMax is how many loops a client's number tells apart: it is that of the client on its loop times this, plus that of
// the loop.
const SenderLoopsMax = 64

// Sender is the number of the client that has said the message, as in Outcome.Client. named is false if no client is to be named:
// the server said it, or a client whose Entry is not Named and that is no user.
func (m *Message) Sender() (client uint64, named bool) {
	return uint64(m.SenderSerial)*SenderLoopsMax + uint64(m.SenderLoop), m.SenderSerial != 0
}

// Frame is Wire as bytes. It shares its memory, so the caller must not write it.
func (m *Message) Frame() []byte { return borrowed(m.Wire) }

// borrowed is a text as bytes that nobody may write; nil if it is empty.
func borrowed(text string) []byte {
	if text == "" {
		return nil
	}
	return unsafe.Slice(unsafe.StringData(text), len(text))
}

// Payload is the message without a frame around it. It shares the frame's memory, so the caller must not write it.
func (m *Message) Payload() []byte { return wsproto.TextPayload(m.Frame()) }

// Who is the user that has said the message, or comes or goes; nil: none is named.
func (m *Message) Who() *Who {
	if m.More == nil {
		return nil
	}
	return m.More.Who
}

// Unkept says whether the message is not to enter the history of its group.
func (m *Message) Unkept() bool { return m.More != nil && m.More.Unkept }
