package wsproto

import (
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// EventKind is the kind of an Event.
type EventKind uint8

// The kinds of Event. A message that came in fragments is one event, at its last one.
const (
	EventNone   EventKind = iota // nothing yet: all bytes are consumed, more are needed
	EventText                    // a whole text message, valid UTF-8 (RFC 6455 §5.6)
	EventBinary                  // a whole binary message (§5.6)
	EventPing                    // to be answered by a pong of the same payload (§5.5.2)
	EventPong                    // §5.5.3
	EventClose                   // to be answered by a close of the same code (§5.5.1)
	EventFail                    // the peer broke a rule: send Code, then close (§7.1.7)
)

// String names the kind for logs and tests.
func (k EventKind) String() string {
	names := [...]string{"none", "text", "binary", "ping", "pong", "close", "fail"}
	if int(k) < len(names) {
		return names[k]
	}
	return "unknown"
}

// Event is one message or control frame of a client, or its fault.
type Event struct {
	Kind     EventKind
	Deflated bool       // EventText, EventBinary: it came compressed; Payload is what was in it
	Code     StatusCode // EventClose: the code to echo, 0 if there was none. EventFail: the code to close with.
	// WireBytes: of a Deflated one, the bytes that came, without headers. Tables take time to build and may yield
	// nothing, so a message can cost more than its inflated size says: a peer can make some 200 ns of each of these.
	WireBytes uint32
	Payload   []byte // borrowed until the next call of Next, Inflate or Reset. EventClose: the reason.
	Reason    string // EventFail: a sentence, short enough for a close frame
}

// Reader turns the bytes of one client into events (RFC 6455 §5 and §6.2, server side). A
// frame that is complete in the caller's bytes is returned from there; only what is partial
// at the end of a read is copied and kept. So a reader that is Idle has no state of its
// client, and one reader can serve all clients of an owner until one of them leaves
// partial input.
//
// One goroutine at a time. The zero value is not usable.
type Reader struct {
	messageBytesMax int
	inflater        *Inflater // nil: the client may not compress

	// The header so far, if it is partial.
	head    [frameHeaderBytesMax]byte
	headLen int

	// The frame whose payload is being read.
	inFrame bool
	fin     bool
	op      OpCode
	mask    [maskBytes]byte
	maskPos int // where in mask the next payload byte falls, 0 to 3
	left    int // payload bytes yet to come

	// The message that is being assembled. Control frames may come between its fragments
	// (§5.4), so they have a buffer of their own.
	messageOp OpCode // OpText, OpBinary; OpContinuation: no message is open
	deflated  bool   // it is compressed: message has the compressed bytes
	message   []byte
	text      textChecker
	control   []byte // the front of a control payload; allocated by the first partial one

	spent    bool // message, or the inflater's, was returned by the last call and is free at the next
	finished bool // a close or a fault was returned
}

const (
	// messageBytesFirst is the first allocation for a partial message: commands are
	// small, and a partial one must not cost a page.
	messageBytesFirst = 256
	// messageBytesKept is the largest buffer that outlives its message. A larger one
	// is dropped: one large message must not stay allocated for the life of a client.
	messageBytesKept = 4 << 10
)

// fault is a broken rule: the code to close with and a sentence for the peer.
type fault struct {
	code   StatusCode
	reason string
}

var (
	faultCloseCode     = fault{CloseProtocolError, "the close code may not be sent"}
	faultCloseReason   = fault{CloseInvalidPayload, "the close reason is not UTF-8"}
	faultCloseSize     = fault{CloseProtocolError, "a close payload of one byte cannot hold a code"}
	faultLengthTopBit  = fault{CloseProtocolError, "the top bit of a 64-bit length must be 0"}
	faultLengthMinimal = fault{CloseProtocolError, "the length is not in its shortest form"}
	faultText          = fault{CloseInvalidPayload, "the text is not UTF-8"}
	faultTooBig        = fault{CloseMessageTooBig, "the message is over the limit"}
	faultCompressedBit = fault{CloseProtocolError, "RSV1 may only be set in the first frame of a text or binary message"}
	faultDeflate       = fault{CloseInvalidPayload, "the compressed message is not valid deflate data"}
)

// NewReader returns a reader that refuses messages of more than messageBytesMax bytes,
// the sum of all fragments, with 1009. The caller owes messageBytesMax ≥ 1.
func NewReader(messageBytesMax int) *Reader {
	if messageBytesMax < 1 {
		panic("wsproto: NewReader needs a message bound of at least one byte")
	}
	return &Reader{messageBytesMax: messageBytesMax}
}

// Inflate says whether the client that is served next may send compressed messages (RFC 7692), and lends
// what to inflate them with; nil: RSV1 is a fault of the client. The bound on messages is then one on the
// inflated ones. It must stay the same while the reader is not Idle.
func (r *Reader) Inflate(in *Inflater) {
	if r.inflater == in {
		return
	}
	if r.spent {
		r.release()
	}
	r.inflater = in
}

// Next consumes the first n bytes of p and returns at most one event. The bytes it consumes
// are unmasked in place. With EventNone n is len(p); with any other the caller handles the
// event and calls again with p[n:]. Whenever p is not empty n is at least 1.
//
// EventClose and EventFail are the last event: they consume all of p, since nothing after
// them counts (RFC 6455 §5.5.1, §7.1.7), and from then on Next consumes everything and
// returns EventNone until Reset.
func (r *Reader) Next(p []byte) (n int, ev Event) {
	if r.spent {
		r.release()
	}
	for n < len(p) {
		if r.finished {
			return len(p), Event{}
		}
		if !r.inFrame {
			used, f := r.readHead(p[n:])
			if f != nil {
				return r.fail(len(p), f)
			}
			n += used
			if !r.inFrame {
				return n, Event{}
			}
		}
		payload := p[n:]
		if len(payload) > r.left {
			payload = payload[:r.left]
		}
		n += len(payload)
		r.left -= len(payload)
		whole := r.left == 0
		r.inFrame = !whole
		ws.Cipher(payload, r.mask, r.maskPos)
		r.maskPos = (r.maskPos + len(payload)) % maskBytes

		var f *fault
		if r.op.IsControl() {
			ev, f = r.readControl(payload, whole)
		} else {
			ev, f = r.readData(payload, whole)
		}
		if f != nil {
			return r.fail(len(p), f)
		}
		if ev.Kind == EventClose {
			r.finish()
			return len(p), ev
		}
		if ev.Kind != EventNone {
			return n, ev
		}
	}
	return n, Event{}
}

// Idle reports whether the reader has no partial input of the client: no part of a header, a
// payload or a fragmented message, and no end. An idle reader may serve another client as
// soon as the payload of its last event is no longer needed.
func (r *Reader) Idle() bool {
	return !r.inFrame && r.headLen == 0 && r.messageOp == OpContinuation && !r.finished
}

// Reset drops everything but the bound, the inflater too, and makes a finished reader usable for another
// client. Small buffers are kept, large ones dropped.
func (r *Reader) Reset() {
	r.release()
	*r = Reader{messageBytesMax: r.messageBytesMax, message: r.message, control: r.control[:0]}
}

// MessageBytesMax is the bound that this reader was made with.
func (r *Reader) MessageBytesMax() int { return r.messageBytesMax }

// Held is the number of bytes in the buffers of this reader.
func (r *Reader) Held() int { return cap(r.message) + cap(r.control) }

// Abandon ends the client's input, as after a fault: what is partial is dropped, and until
// Reset Next consumes everything and returns no event.
func (r *Reader) Abandon() { r.finish() }

// readData consumes a piece of a data frame's payload, already unmasked; whole says that it
// is the frame's last.
func (r *Reader) readData(payload []byte, whole bool) (ev Event, f *fault) {
	if r.deflated {
		return r.readDeflated(payload, whole)
	}
	isText := r.messageOp == OpText
	if whole && r.fin && len(r.message) == 0 {
		// The fast path: all of the message is in the caller's bytes.
		if isText && !utf8.Valid(payload) {
			return Event{}, &faultText
		}
		r.messageOp = OpContinuation
		return Event{Kind: dataKind(isText), Payload: payload}, nil
	}
	if isText && !r.text.add(payload) {
		return Event{}, &faultText
	}
	r.keep(payload)
	if !whole || !r.fin {
		return Event{}, nil
	}
	if isText && !r.text.atBorder() {
		return Event{}, &faultText
	}
	r.messageOp = OpContinuation
	r.spent = true
	return Event{Kind: dataKind(isText), Payload: r.message}, nil
}

// readControl consumes a piece of a control frame's payload, already unmasked.
func (r *Reader) readControl(payload []byte, whole bool) (ev Event, f *fault) {
	if !whole || len(r.control) > 0 {
		if r.control == nil {
			r.control = make([]byte, 0, controlBytesMax)
		}
		r.control = append(r.control, payload...)
		payload = r.control
	}
	if r.op == OpClose {
		if f := closeFault(payload, whole); f != nil {
			return Event{}, f
		}
	}
	if !whole {
		return Event{}, nil
	}
	r.control = r.control[:0]
	switch r.op {
	case OpPing:
		return Event{Kind: EventPing, Payload: payload}, nil
	case OpPong:
		return Event{Kind: EventPong, Payload: payload}, nil
	}
	if len(payload) == 0 {
		return Event{Kind: EventClose}, nil
	}
	return Event{Kind: EventClose, Code: closeCode(payload), Payload: payload[closeCodeBytes:]}, nil
}

// keep adds a piece to the message, doubling the buffer when it is full: it grows with what
// has arrived, not with what was announced, so that 14 bytes cannot allocate a megabyte.
func (r *Reader) keep(payload []byte) {
	have, tail := len(r.message), 0
	if r.deflated {
		tail = len(inflateTail)
	}
	need := have + len(payload)
	if r.fin && r.left == 0 { // the tail comes behind the last piece
		need += tail
	}
	if need > cap(r.message) {
		room := max(2*cap(r.message), need, messageBytesFirst)
		if r.fin {
			room = min(room, need+r.left+tail) // no more than this can arrive
		}
		room = min(room, r.bound(r.deflated)+tail)
		grown := make([]byte, have, room)
		copy(grown, r.message)
		r.message = grown
	}
	r.message = append(r.message, payload...)
}

// release makes the buffers free for the next message, or drops large ones.
func (r *Reader) release() {
	r.spent = false
	if r.inflater != nil {
		r.inflater.release()
	}
	r.dropMessage()
}

func (r *Reader) dropMessage() {
	if cap(r.message) > messageBytesKept {
		r.message = nil
	}
	r.message = r.message[:0]
}

// finish ends the reader. Partial input is dropped at once: a client that is being closed
// may stay for a while, and its memory should not.
func (r *Reader) finish() {
	r.finished = true
	r.inFrame, r.headLen, r.messageOp = false, 0, OpContinuation
	if r.spent {
		r.release()
	}
	r.message, r.deflated = nil, false
}

func (r *Reader) fail(n int, f *fault) (int, Event) {
	r.finish()
	return n, Event{Kind: EventFail, Code: f.code, Reason: f.reason}
}

func dataKind(isText bool) EventKind {
	if isText {
		return EventText
	}
	return EventBinary
}
