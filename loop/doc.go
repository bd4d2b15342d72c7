// Package loop is the server's heart: gnet event loops that each own a shard of the clients and exchange group messages
// through lock-free lanes.
//
// The rule of the package: everything mutable has one owner. A shard and all that hangs on it (clients, groups, backlog)
// belongs to its loop's goroutine; a home to the loop that holds it. Only five things are touched by two goroutines, each
// made for it: lanes (lane.go), bells (bell.go), a home's words (home.go), counters (stats.go) and the call list of a
// shard (shard.go).
//
//	socket bytes                                             socket bytes
//	     │                                                        ▲
//	handler.go ── traffic ──► shard.go ──► dispatch.go            │ outbox.go
//	     ▲                                      │ request         │
//	     │ gnet                                 ▼                 │
//	server.go                        up lane ──► home.go ──► down lane ──► group.go
//	                                 (lane.go)   numbers     (lane.go)     one pass, one send per member
//
// Shard code takes bytes and time as arguments and reaches the world through an env, so that the simulation in
// sim_test.go runs many shards without a socket. gnet is imported by server.go, boot.go, handler.go and accept.go alone.
package loop
