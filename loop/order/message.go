package order

import (
	"sync/atomic"
	"unsafe"

	"ringcast/dialect"
	"ringcast/wsproto"
)

// Message is a group's message on its way through the lanes and to the sockets. It is kept as a text frame, its plain form, which
// is built when the sender's message is copied and is what plain clients are sent. Other forms are made when a loop first needs
// one, and all loops share them.
//
// It has the size of a cache line. What only few messages have belongs in a pointer's target.
//
// Owner: the sender until it is in a lane, then the group's home, which writes the offset. From then on nobody writes it, except
// for forms (atomic).
type Message struct {
	dialect.Message
	forms atomic.Pointer[forms] // nil: no loop has needed one but the plain form; &unkept: none is kept
}

// Form is one encoding of messages: the index of a dialect in the table of those that the server speaks, and whether it is compressed.
type Form uint8

// PlainForm is the form that every message has from its beginning, dialect.Message.Wire.
const PlainForm Form = 0

// forms are a message's forms but for the plain one. nil: not made; &claimed: a loop is making it. The pointer lies where the allocator
// rounds up.
type forms struct {
	of       [dialect.FormsMax - 1]atomic.Pointer[[]byte]
	deflated atomic.Pointer[deflatedForms] // nil: no loop has needed one
}

// claimed is what a form points to while a loop makes it. noForm is an empty form: what it points to when that has panicked, so
// that no loop waits for it for ever.
var claimed, noForm []byte

// unkept stands for the forms of a message that keeps none, as it is old and stays in a history.
var unkept forms

// In is the message in a form that is not deflated (see Deflater.In), which d, the caller's value of that form's dialect, encodes if no loop has done so yet. ready is
// false while another loop encodes it: the caller asks again later. Of a message that keeps no forms any more (see clearForms) each
// caller gets one of its own. It is empty where clients of this form are sent nothing. The
// caller must not write it. Any goroutine, of a message that has its offset.
func (m *Message) In(f Form, d dialect.Dialect) (p []byte, ready bool) {
	if f == PlainForm {
		return m.Frame(), true
	}
	return m.shared(f, d)
}

// shared is In for the forms that are made when they are needed. A loop claims a form before it makes it: when each loop made it
// and the first won, a form of 50 µs was made 1.7 times a message on two cores.
func (m *Message) shared(f Form, d dialect.Dialect) (p []byte, ready bool) {
	all := m.allForms()
	if all == &unkept {
		return d.Encode(&m.Message), true
	}
	slot := &all.of[f-1]
	for !slot.CompareAndSwap(nil, &claimed) {
		if made := slot.Load(); made != nil {
			return *made, made != &claimed
		}
	}
	made := &noForm
	defer func() { slot.Store(made) }() // also when d panics: the message is lost to the clients of this form, and to no others
	frame := d.Encode(&m.Message)
	made = &frame
	return frame, true
}

// allForms is the message's forms, or &unkept.
func (m *Message) allForms() *forms {
	all := m.forms.Load()
	if all == nil {
		m.forms.CompareAndSwap(nil, new(forms))
		all = m.forms.Load()
	}
	return all
}

// clearForms lets go of the forms that were made. Whoever has one keeps it, and a loop that is making one ends that. From now on a
// form is made for each who needs it, and not kept. Any goroutine.
func (m *Message) clearForms() { m.forms.Store(&unkept) }

// Bytes is what the message counts against the bounds of lanes and backlogs. Forms do not count: Bytes is called when an item is
// put into a lane and again when it is taken out, and must be the same.
//
// The user that it names is not counted: it is that of a client, and of all that this one says.
func (m *Message) Bytes() int {
	bytes := messageBytes + len(m.Wire) + len(m.Group)
	if m.More != nil {
		bytes += moreBytes + len(m.More.Tags) + len(m.More.Client) + len(m.More.ExceptName)
	}
	return bytes
}

const (
	messageBytes = int(unsafe.Sizeof(Message{}))
	moreBytes    = int(unsafe.Sizeof(dialect.More{}))
)

// NewMessage makes a message of a payload, and a copy of the command's id. It keeps none of its arguments. json: the payload is
// the text of a JSON value. The frame is encoded in the same step, so that all bytes are one allocation:
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
	m.Wire = borrowString(memory[:frameBytes])
	m.Group = borrowString(memory[frameBytes : frameBytes+len(group)])
	m.JSON = json
	return m, borrowString(memory[frameBytes+len(group):])
}

// NewOrderedMessage makes a message of one that another machine has put into the log, and keeps more alone. json is that of NewMessage.
func NewOrderedMessage(group, payload []byte, json bool, more *dialect.More) *Message {
	m, _ := NewMessage(group, payload, nil, json)
	m.More = more
	return m
}

// borrowString is a string that shares the memory of p, which nobody may write any more.
func borrowString(p []byte) string { return unsafe.String(unsafe.SliceData(p), len(p)) }

// borrowBytes shares the memory of a string. Nobody may write it.
func borrowBytes(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }
