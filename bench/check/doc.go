// Package check decides whether every delivery was right: that each member got each message once, in order, unaltered,
// and nothing that was not for it.
//
// The rule of this package: it is pure. It opens no socket, starts no goroutine and reads no clock: whoever receives the
// messages calls it with what came, to whom, and where it matters when. So its verdicts can be tested with histories that
// no server would produce twice, and do not depend on how the messages were received. Like all of the bench it shares
// no code with the server.
//
//	text ─► Stamp ─► Ledger ─► order ─┐            Faults: counts, examples, notes
//	        who, which    each member │ between publishers
//	                                  └► Digest ─► CompareOrders: between processes
//
// A Ledger has the members of one group; News is for clients that stay too briefly to have a place in it.
package check
