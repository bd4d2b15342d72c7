// Package client speaks to a server's port: it opens thousands of clients, joins them to their groups, writes their messages,
// and passes on what they receive.
//
// The rule of this package: it moves bytes and does not judge them. It knows the wire, which is RFC 6455 with the commands
// and replies of a dialect (dialect, plain, centrifuge), over TLS (secure) and compressed (deflate) if that is asked for, and it knows why a connection ended. What a message means and whether it
// came in order is up to the implementation of Play, and flags, results and the server's processes are up to the verbs. Nothing
// here is shared with the server, least of all the frame parser: a mistake made on both sides would go unnoticed.
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
