// Package bus joins ringcast's groups with the processes of a Workerman system: it speaks the protocol of Workerman's
// Channel (port 2206), as its server or as a client of one. Its rule: it is one publisher among others. Its messages
// enter through a port of the hub like every publish, and it receives messages from the hub's feed; it knows nothing of
// loops, clients and WebSockets. Everything read from the wire is bounded before memory is allocated for it, and is only
// parsed, never turned into objects.
//
//	PHP workers ◄─► peers ─┐ server, or                ┌── port ──►┐
//	                       ├─────────────── bridge ────┤           │ groups
//	PHP Channel ◄─► remote ┘ client                    └◄── feed ───┘
//
// An event of the bridge's channel that comes from a peer goes to the groups first, and comes back by the feed before it
// goes to any peer. So a group's messages have one order in PHP workers and in ringcast alike.
package bus
