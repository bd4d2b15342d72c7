package order

import (
	"sync/atomic"
	"unsafe"

	"ringcast/dialect"
	"ringcast/wsproto"
)

// Message is what somebody said to a group, on its way through the lanes and to the sockets. It is kept as a text frame,
// which is its plain form: what plain clients are sent, built once, in the sender's copy. Other forms are made by whoever
// needs one first, and shared by all loops.
//
// Its size is that of a cache line; what only few messages have belongs behind a pointer.
//
// Owner: the sender until it is in a lane, then the group's home, which writes the offset; from then on nobody writes it
// but for forms.
type Message struct {
	dialect.Message
	forms atomic.Pointer[forms] // nil: nobody has needed one but the plain
}

// Form is how one kind of client hears a message: the index of its dialect in the table of those that are spoken.
type Form uint8

// PlainForm is the form that every message has from the beginning.
const PlainForm Form = 0

// forms are a message's forms but for the plain one. nil: not made; a pointer to claimed: somebody is at it.
type forms [dialect.FormsMax - 1]atomic.Pointer[[]byte]

// claimed is what a form points to while it is being made, and no form is what it is when that has failed, so that nobody
// waits for it for ever.
var claimed, noForm []byte

// In is the message in a form, made by d if nobody has made it yet. ready is false while another loop is making it: the
// work is done once, so there is nothing to do but to look again. It is empty where clients of this form hear nothing.
func (m *Message) In(f Form, d dialect.Dialect) (p []byte, ready bool) {
	if f == PlainForm {
		return m.Frame, true
	}
	return m.shared(f, d)
}

// shared is In for the forms that are made when they are needed. Claiming first matters: where all who come made the form
// and one of them won, a form of 50 µs was made 1.7 times a message on two cores.
func (m *Message) shared(f Form, d dialect.Dialect) (p []byte, ready bool) {
	all := m.forms.Load()
	if all == nil {
		m.forms.CompareAndSwap(nil, new(forms))
		all = m.forms.Load()
	}
	slot := &all[f-1]
	for !slot.CompareAndSwap(nil, &claimed) {
		if made := slot.Load(); made != nil {
			return *made, made != &claimed
		}
	}
	made := &noForm
	defer func() { slot.Store(made) }() // also when d panics: the message is lost to these clients, and to them only
	frame := d.Encode(&m.Message)
	made = &frame
	return frame, true
}

// Bytes is what the message counts against bounds of lanes and backlogs. It does not depend on forms: it is asked when an
// item is put into a lane and again when it is taken out.
func (m *Message) Bytes() int { return messageBytes + len(m.Frame) + len(m.Group) }

const messageBytes = int(unsafe.Sizeof(Message{}))

// NewMessage copies a message, and the id of the command, out of borrowed memory. The frame is encoded in the same stroke,
// and all bytes are one allocation:
//
//	[ frame header | payload | group | id ]
func NewMessage(group, payload, id []byte, json bool) (m *Message, idCopy string) {
	frameBytes := wsproto.TextFrameBytes(len(payload))
	memory := make([]byte, 0, frameBytes+len(group)+len(id))
	memory = wsproto.AppendTextHeader(memory, len(payload))
	memory = append(memory, payload...)
	memory = append(memory, group...)
	memory = append(memory, id...)
	m = &Message{}
	m.Frame = memory[:frameBytes:frameBytes]
	m.Group = borrowString(memory[frameBytes : frameBytes+len(group)])
	m.JSON = json
	return m, borrowString(memory[frameBytes+len(group):])
}

// borrowString is a string over bytes that nobody will write again.
func borrowString(p []byte) string { return unsafe.String(unsafe.SliceData(p), len(p)) }

// borrowBytes is a view of a string that nobody may write through.
func borrowBytes(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }
