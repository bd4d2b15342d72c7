// Package dialect has the protocols that clients speak on top of WebSocket messages: bytes to commands, and outcomes and group
// messages to frames.
//
//	         Next                                           Answer
//	bytes ─────────► Command ──► a shard carries it out ──► Outcome ──► frames for the client that asked
//	                                      │           └───► Cause ────► Close: a code and a reason, if it is closed
//	                                      ▼
//	                                   Message ──► Encode: the frames for all members that speak the dialect
//
// The rule of the package: it is pure, as wsproto is. A dialect reads and writes memory that it is given. It knows no client, no
// members, no socket, clock or log, and keeps nothing of a client between calls. Each loop has one value of each dialect, so
// scratch memory needs no lock; but messages are shared by all loops, so Encode must not write them.
//
// A dialect is added by a file here and a line in Table.
package dialect
