package loop

import (
	"ringcast/loop/door"
	"ringcast/wsproto"
)

// client is one WebSocket as its shard sees it. A server holds very many of them, so every field counts: what only a
// few clients need at a time hangs behind a pointer. 80 bytes are a size class of Go's allocator; the next is 96, which
// TestAClientFitsItsSizeClass guards.
//
// Owner: the loop of its shard.
type client struct {
	shard    *shard
	conn     conn
	inline   membership // the first; the others are in extra; see membership.go
	extra    *extra     // nil for all but a few
	bytesIn  uint64
	bytesOut uint64
	fd       int32
	serial   uint32 // see id
	slot     uint32 // place in shard.clients and what stands beside them
	state    state
	end      end
	slow     bool // its outbox holds bytes, or it has a gap to be told of: send nothing past that
	marks    marks
}

// marks are facts about a client that stay true, and its form.
type marks uint8

const (
	markUpgraded marks = 1 << iota // the handshake is done: it counts as a client
	markAsks                       // it has used an id: it reads what is no message, so it can be told of a gap
)

const formShift = 5 // the uppermost bits are the client's form

func (c *client) is(m marks) bool { return c.marks&m != 0 }

// form is how it hears messages. It is chosen in the handshake, before it can join anything.
func (c *client) form() form { return form(c.marks >> formShift) }

// id is unique in this process, until a loop has had four thousand million clients.
func (c *client) id() uint64 { return uint64(c.serial)*LoopsMax + uint64(c.shard.index) }

// state only grows.
type state uint8

const (
	stateHandshake state = iota // bytes are an HTTP request head
	stateOpen                   // bytes are frames
	stateClosing                // our Close frame or HTTP answer is sent: nothing more goes out, input is dropped
	stateDoomed                 // to be cut at the end of the turn
	stateDead                   // the connection is gone
)

// String is the word that `ringcast connections` shows.
func (s state) String() string {
	switch s {
	case stateHandshake:
		return "handshake"
	case stateOpen:
		return "open"
	default:
		return "closing"
	}
}

// end is how far the end of a closing client has come. It only grows.
type end uint8

const (
	endNone   end = iota // both directions of the stream are open
	endOurs              // our direction is shut
	endTheirs            // the peer has answered our Close frame
)

// extra is what a client has beside a single membership: partial input, further memberships, joins said twice, where it
// comes from if connections are counted by address or a proxy has named it, and its places in lists of its shard that few
// clients are in.
type extra struct {
	head    []byte          // handshake: the request head so far, a PROXY protocol header before it
	reader  *wsproto.Reader // open: the reader that holds the partial message
	further []membership    // from the second on
	repeats []repeat        // add_groups that wait for the answer to an earlier one
	source  *door.Source    // nil: its socket's address is all there is to know
	slow    uint32          // place in shard.slow, counted from 1; 0: it is not slow
	partial uint32          // place in shard.partials, likewise; 0: none of its input is partial
}

// more is the client's extra, made where there is none.
func (c *client) more() *extra {
	if c.extra == nil {
		c.extra = &extra{}
	}
	return c.extra
}

// reader is the one that holds c's partial message, nil when there is none.
func (c *client) reader() *wsproto.Reader {
	if c.extra == nil {
		return nil
	}
	return c.extra.reader
}

// shed lets go of an extra that holds nothing.
func (c *client) shed() {
	if x := c.extra; x.head == nil && x.reader == nil && len(x.further) == 0 && len(x.repeats) == 0 && x.source == nil && x.slow == 0 && x.partial == 0 {
		c.extra = nil
	}
}

// conn is what a shard needs of a connection; gnet.Conn has it, and so has the simulation's socket.
type conn interface {
	// Write sends or queues all of p; it may find the connection broken and then closes it before it returns.
	Write(p []byte) (int, error)
	// OutboundBuffered is the number of queued bytes.
	OutboundBuffered() int
	// Fd is the descriptor.
	Fd() int
}
