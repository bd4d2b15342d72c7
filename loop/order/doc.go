// Package order puts the messages of each group in one order. It has the lanes between loops, the homes that number messages,
// distribute them and keep them where a group has history, and the ports and the feed, which are the lanes of goroutines that are no loop.
//
//	loop ──► up lane ──► ┌──────┐ ──► down lane ───► loop
//	loop ──► up lane ──► │ home │ ──► down lane ───► loop
//	Port ──► up lane ──► └──────┘ ──► feed's lane ─► Feed
//
// There is a home for each loop, and a lane in each direction between every loop and every home. A loop calls, in each of its
// turns, Offer for what its clients ask, Host to serve homes, Drain to take what homes have sent it, and WakeOthers.
//
// The rule of the package: it knows no client, no socket, no gnet and no metrics. Two types are the loop's own: G, its part of
// a group, and C, a client that waits for an answer. They are handed back to the loop that they came from, and are never looked
// into. Everything mutable has one owner: a ring's slot the producer or the consumer, a home who holds it, Lanes
// who holds their loop's shard, a port's lanes the goroutine that has the lane's lock. The rest are atomics.
package order
