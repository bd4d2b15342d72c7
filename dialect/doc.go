// Package dialect is what clients say and hear: one client protocol each, bytes ⇄ commands and outcomes ⇄ bytes.
//
//	          Next                                             Answer
//	bytes ───────► Command ──► a shard carries it out ──► Outcome ────► frames to the one who asked
//	                                  │                    Close ─────► a code and a reason, where that is the answer
//	                                  ▼
//	                               Message ── Encode ──► the frame that every member of this dialect hears
//
// The rule of the package: it is pure, as wsproto is. A dialect reads and writes memory that it is given; it knows no
// client, no group's members, no socket, clock or log, and it keeps nothing of any client. A loop has one value of each, so
// scratch memory needs no lock; only Encode is called for messages that other loops hold as well, which it must not write.
//
// Whoever adds a dialect writes a file here and a line in Table.
package dialect
