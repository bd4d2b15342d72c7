// Command bench is the adversary: it opens clients against a server that speaks the seed protocol, counts what they
// receive, and believes nothing that it did not see on a socket. Run it as `go run ./bench VERB`.
//
// The rule of this package: it shares no code with the server. It has its own frame parser, its own epoll loop and its
// own idea of what is right, because an adversary that shares its victim's head shares its victim's mistakes.
//
//	connect ─┐                       ┌─ generator 0 (thread, epoll, its conns) ─┐
//	         ├─► fleet ── phases ───►│                                          ├─► server
//	fanout ──┘     ▲                 └─ generator n                             ┘
//	               │ play: Heard, Drained, Cut
//	             crew ► publisher, check.Ledger ► check.Faults          victim, usage ► result
//
// A verb hands a fleet its seats (who sits in which group), runs it through phases (open, publish, linger), and lets a
// play hear what arrives. A generator owns its connections alone while a phase runs; between phases the verb's
// goroutine owns everything, so that nothing here needs a lock.
//
// Where one process may not open so many connections, its helpers hold the rest of the members:
//
//	bench ─ fleet ─ generators: publishers, some members ──────────────────┐
//	          │ stdin, stdout: see talk                                    ├─► server
//	          └────► helper ─ fleet ─ generators: members, their ledgers ──┘
//
// A helper is this program again. Each process checks its own members; who published what is told at the end.
//
// Package client has everything that speaks to the server's port, package check decides whether every delivery was right,
// and neither knows the other: they meet in the plays. What was measured and what is made of it is package report, the
// yardstick package ceiling, other people's servers are modules of their own in peers. The files here, by what they are
// about:
//
//	verbs       main, connect, fanout, churn, slow, ceiling, compare (suite, peer), report
//	what to do  load, share: who is where and publishes what; common flags and the server: target, session, status
//	clients     fleet; further processes: team as the first one sees them, helper from inside, talk, acks
//	plays       crew (publisher), bystander, lives, sleepers
//	figures     figures, result, victim, usage, progress; child: servers that the bench starts itself
package main
