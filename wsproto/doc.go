// Package wsproto turns bytes into frames and frames into bytes: the opening handshake and
// WebSocket's framing. What messages mean is dialect's.
//
//	           ReadRequest          Reader.Next
//	bytes ───► Request ── 101 ───►  Event ── text, binary ─────► a dialect
//	           Rejection            EventPing, Close, Fail          │
//	              │                     │                           │
//	bytes ◄─── AppendTo ◄────────── AppendPong, AppendClose ◄─── AppendFrame, AppendTextHeader
//
// The rule of the package: it is pure. Nothing here opens a socket, starts a goroutine,
// reads a clock or writes a log. Bytes come in as arguments, events and bytes go out as
// results, and every result depends on the bytes alone: however a peer's bytes are split,
// the same events come out in the same order. That is what the fuzz targets check, and what
// lets a simulation run the server without a network.
//
// Before the request a trusted proxy may name the client's address, which ReadProxy reads.
//
// Memory is allocated for what a peer has sent, never for what it has announced, and every
// buffer has a bound with a name. The paths of a broadcast (a whole frame in one read, an
// encoded frame) allocate nothing.
//
// A message may be compressed (RFC 7692), each for itself: what inflates one belongs to the caller,
// and what compresses one to a pool, so no client has either.
//
// It is the only package that imports the WebSocket library, of which it uses the header
// rules and the masking; everything that would block on a reader is implemented here. So it is
// with the library that compresses.
package wsproto
