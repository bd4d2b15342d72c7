package loop

import (
	"ringcast/loop/door"
	"ringcast/loop/order"
	"ringcast/loop/shrink"
	"ringcast/wsproto"
)

// client is one connection as its shard sees it. A server has very many of them, so every field counts: what only a few
// clients need at a time is in extra. 80 bytes are a size class of Go's allocator, and the next is 96;
// TestAClientFitsItsSizeClass checks the size.
//
// Owner: who holds its shard.
type client struct {
	shard    *shard
	conn     conn
	inline   membership // its first; the others are in extra, see membership.go
	extra    *extra     // nil for all but a few
	bytesIn  uint64
	bytesOut uint64
	fd       int32
	serial   uint32 // see Number
	slot     uint32 // place in shard.clients, and in the arrays of heartbeat and rates
	state    state
	end      end
	detour   detour // why nothing may be sent past queue
	marks    marks
}

// detour is why bytes for a client go the longer way, through queue and write, and not straight to the kernel: one test for all
// reasons, as there is one for each message and member. Beside them, where there was room, is a bit of the client's form.
type detour uint8

const (
	detourSlow   detour = 1 << iota // its outbox has bytes, or it is to be told of a gap: nothing may be sent past the outbox
	detourSecure                    // it speaks TLS: what it is sent has to be encrypted, see tunnel.go
	detourAny    = detourSlow | detourSecure

	deflates = detour(order.Deflated) // no detour: it has negotiated compression
)

func (c *client) isSlow() bool { return c.detour&detourSlow != 0 }

func (c *client) isSecure() bool { return c.detour&detourSecure != 0 }

// marks are facts about a client that stay true, and its form.
type marks uint8

const (
	markUpgraded   marks = 1 << iota // the handshake is done: it counts as a client
	markAsks                         // it has used an id: it understands replies, so it can be told of a gap
	markConnected                    // it has said who it is, or its dialect asks for no such thing
	markFramePings                   // it is pinged by WebSocket's own pings, not by those of its dialect
	markBearer                       // it has shown a token, good or bad: more is known of it, see bearer.go
)

const formShift = 5 // the upper three bits are the client's dialect

func (c *client) is(m marks) bool { return c.marks&m != 0 }

// form is the encoding of messages that it is sent. It is set in the handshake, before it can join a group.
func (c *client) form() form { return form(c.marks>>formShift) | form(c.detour&deflates) }

// dialect is the index of its dialect.
func (c *client) dialect() int { return int(c.marks >> formShift) }

// deflates says whether it may be sent compressed messages, and may send such.
func (c *client) deflates() bool { return c.detour&deflates != 0 }

// Number is unique in this process, until a loop has had 2³² clients. Any goroutine.
func (c *client) Number() uint64 { return uint64(c.serial)*LoopsMax + uint64(c.shard.index) }

// state only grows.
type state uint8

const (
	stateHandshake state = iota // bytes are an HTTP request head
	stateOpen                   // bytes are frames
	stateClosing                // our Close frame or HTTP answer is sent: nothing more goes out, and of the input only a Close frame is heeded
	stateDoomed                 // to be cut by the turn's next sweep
	stateDead                   // the connection is gone
)

// String is the state as `ringcast connections` shows it.
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

// end is how far the end of a closing client has come, see end.go, or that it has left the loop. It only grows.
type end uint8

const (
	endNone   end = iota // both directions of the stream are open
	endOurs              // our direction is shut down
	endTheirs            // the peer has answered our Close frame
	endLeft              // it has left the loop, with its seat and its place among the connections, see departure.go
)

// extra is what only few clients have: partial input, more than one membership, repeated add_groups, a source, and a place in the
// shard's lists of slow clients and of partial input. 80 bytes are a size class, and the next is 96: many clients are in two groups.
type extra struct {
	head    *partialHead    // handshake: what has come of the request head
	reader  *wsproto.Reader // open: the reader that has the partial message
	further []membership    // from the second on
	source  *door.Source    // nil: only its socket's address is known
	slow    uint32          // place in shard.slow, counted from 1; 0: it is not in the list
	partial uint32          // place in shard.partials, counted from 1; 0: it is not in the list
	guest   bool            // it is to be closed soon, see guest.go

	renounced uint32                      // memberships in further that are standingRenounced
	index     *shrink.Map[*group, uint32] // the places of further; nil: it has few, or the client is dead
	repeats   map[*group][]repeat         // what waits for the answer to an earlier add_group
}

// more is the client's extra, which it makes if there is none.
func (c *client) more() *extra {
	if c.extra == nil {
		c.extra = &extra{}
	}
	return c.extra
}

// reader is the one that has c's partial message; nil: there is none.
func (c *client) reader() *wsproto.Reader {
	if c.extra == nil {
		return nil
	}
	return c.extra.reader
}

// shed drops an extra in which nothing is set.
func (c *client) shed() {
	if x := c.extra; x.head == nil && x.reader == nil && len(x.further) == 0 && len(x.repeats) == 0 && x.source == nil && x.slow == 0 && x.partial == 0 && !x.guest {
		c.extra = nil
	}
}

// conn is what a shard needs of a connection; gnet.Conn has it, and so has the simulation's socket.
type conn interface {
	// Write sends or queues all of p. If the connection is broken it calls shard.closed before it returns.
	Write(p []byte) (int, error)
	// OutboundBuffered is the number of queued bytes.
	OutboundBuffered() int
	// Fd is the descriptor.
	Fd() int
}
