// Package check decides whether every delivery was right: that each member got each message once, in order, unaltered,
// and no other message.
//
// The rule of this package: it is pure. It opens no socket, starts no goroutine and reads no clock: the code that
// receives messages calls it with the message, the member and, where needed, the time. So its verdicts can be tested with
// any history, and do not depend on how the messages were received. Like all of the bench it shares no code with the
// server.
//
//	text ─► Stamp ─► Ledger ─► order ─┐            Faults: counts, examples, notes
//	        who, which    each member │ between publishers
//	                                  └► Digest ─► CompareOrders: between processes
//
// A Ledger has the members of one group, a Course those that are cut off and come back; News is for clients that stay too briefly
// to have a place in either.
package check
