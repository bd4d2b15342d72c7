// Package loop is the server: gnet event loops, each of which owns a shard of the clients and exchanges group messages with the
// others through package order.
//
//	bytes in                                                  bytes out
//	   │ gnet                                                     ▲
//	handler.go                                                    │ outbox.go
//	   │ traffic                                                  │
//	shard.go ──► dispatch.go ──► backlog.go     turn.go ──► group.go, pass.go
//	               ▲    │            │ request     ▲ gathers   one pass over the members, one send to each
//	               │    ▼            ▼             │
//	             dialect      up lane ──► home ──► down lane
//	                          └────── loop/order ──────┘
//
// The rule of the package: everything mutable has one owner. A shard and all that belongs to it (clients, groups, backlog)
// belongs to whoever holds it: its loop in each callback, and for a moment between two of them another loop that borrows it (hold.go,
// borrow.go). A home belongs to who holds it (loop/order). What several goroutines touch is atomic or has a lock, and
// the comment of its type says so: what all loops share (the hub in hub.go, with the sums of relief.go and partial.go and the
// seats of loop/door), what of a shard is read or asked for from outside (counters, callback, callList), and what is the server's
// (the loops while it starts in boot.go, the berths, failed accepts, the watchdog).
//
// Shard code takes bytes and time as arguments and reaches everything else through an env (shard.go), so that the simulation in
// sim_test.go runs many shards without a socket. gnet is imported by server.go, boot.go, handler.go and accept.go alone.
package loop
