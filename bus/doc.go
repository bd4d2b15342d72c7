// Package bus joins ringcast's groups with the processes of a Workerman system: it speaks the protocol of Workerman's
// Channel (port 2206), as its server or as a client of one. Its rule: it is one way in among others. What it brings goes
// through a port of the hub and takes the road of every publish, what it carries away it hears from the hub's feed; of
// loops, clients and WebSockets it knows nothing. Whatever comes off the wire is bounded before memory is taken for it,
// and is read, never brought to life.
//
//	PHP workers ◄─► peers ─┐ server, or                ┌── port ──►┐
//	                       ├─────────────── bridge ────┤           │ groups
//	PHP Channel ◄─► remote ┘ client                    └◄── feed ───┘
//
// An event of the bridge's channel that comes from a peer goes to the groups first, and comes back by the feed before it
// goes to any peer. So a group's messages have one order in PHP workers and in ringcast alike.
package bus
