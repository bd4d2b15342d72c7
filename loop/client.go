package loop

import "ringcast/wsproto"

// client is one WebSocket as its shard sees it. A server holds very many of them, so every field counts: what only a
// few clients need at a time hangs behind a pointer. 96 bytes are a size class of Go's allocator; the next is 112, which
// TestAClientFitsItsSizeClass guards.
//
// Owner: the loop of its shard.
type client struct {
	shard    *shard
	conn     conn
	groups   []membership
	in       *inbound // unfinished input; nil for all but a few
	bytesIn  uint64
	bytesOut uint64
	fd       int32
	serial   uint32 // see id
	slot     uint32 // place in shard.clients and shard.lastSeen
	deadline uint32 // tick at which handshake or close must be over
	state    state
	behind   bool // its outbox holds bytes: send nothing past it
	timed    bool // in shard.timed
	linger   bool // our direction of the stream is shut
	peerDone bool // the peer has said its last word
	upgraded bool // the handshake is done: it counts as a client
}

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

// membership is the client's side of a member entry.
type membership struct {
	group *group
	pos   int // place in group.members
}

// inbound is what a client has sent so far of a request head or a message.
type inbound struct {
	head   []byte          // handshake: the bytes so far, at most wsproto.HandshakeBytesMax
	reader *wsproto.Reader // open: the reader that holds the unfinished message
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

// memberOf finds the client's membership in g, -1 when there is none. Linear: a client has few groups, at most
// groupsPerClientMax.
func (c *client) memberOf(g *group) int {
	for i := range c.groups {
		if c.groups[i].group == g {
			return i
		}
	}
	return -1
}
