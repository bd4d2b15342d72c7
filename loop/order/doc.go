// Package order is who is next: the lanes between loops, the homes that put each group's messages in order, and the ways
// in and out for those who are no loop.
//
//	loop ──► up lane ──► ┌──────┐ ──► down lane ──► loop
//	loop ──► up lane ──► │ home │ ──► down lane ──► loop
//	Port ──► up lane ──► └──────┘ ──► feed's lane ─► Feed
//
// The rule of the package: it knows no client, no socket, no gnet and no metrics. What a loop hands in of its own (G, its
// part of a group; C, whoever waits for an answer) is handed back to that loop and never looked into. Everything mutable has
// one owner: a ring's slots the producer or the consumer, a home the loop that holds it, a loop's Lanes that loop, a port's
// lane whoever holds its lock. What others may touch are atomics, each made for it.
package order
