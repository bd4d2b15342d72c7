// Package client speaks to a server's port: it opens clients of the seed protocol by the thousand, brings them into their
// groups, writes what they have to say, and hands on what they hear.
//
// The rule of this package: it moves bytes and judges none of them. It knows the wire, which is RFC 6455 with the commands
// and replies of the protocol, and it knows why a connection ended. What a message means, whether it came in order and
// what follows from that is the business of whoever plays (Play), and so are flags, results and the server's processes.
// Nothing here is shared with the server, the frame parser least of all: a mistake that both sides made would be seen by
// neither.
//
//	         ┌─ Generator 0 (thread, epoll, its Conns) ─┐
//	Fleet ───┤    Step: what to do in each turn         ├─► server
//	         │    Play: heard, drained, cut             │
//	         └─ Generator n ────────────────────────────┘
//
// A Fleet has its Generators run a Step each, on threads of their own: that is a phase. While it lasts, a Generator and
// its Conns belong to that thread, and its Play is called there; between phases they belong to the Fleet's owner. So
// nothing here needs a lock. A client is a few dozen bytes and a descriptor; all of a thread share one read buffer.
package client
