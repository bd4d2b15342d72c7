// Command bench tests and measures a server that speaks the seed protocol, the Centrifuge protocol or the Pusher protocol: it opens clients, counts
// what they receive, and relies only on what it has seen on a socket. Run it as `go run ./bench VERB`.
//
// The rule of this package: it shares no code with the server. It has its own frame parser, its own epoll loop and its
// own check of what is right, because with shared code it would share the server's mistakes.
//
//	connect ─┐                       ┌─ generator 0 (thread, epoll, its conns) ─┐
//	         ├─► fleet ── phases ───►│                                          ├─► server
//	fanout ──┘     ▲                 └─ generator n                             ┘
//	               │ play: Heard, Drained, Cut
//	             crew ► publisher, check.Ledger ► check.Faults          victim, usage ► result
//
// A verb gives a fleet its seats (which client is in which group), runs it through phases (open, publish, linger), and lets
// a play handle what arrives. A generator owns its connections alone while a phase runs; between phases the verb's
// goroutine owns everything, so that nothing here needs a lock.
//
// If one process may not open enough connections, its helpers hold the rest of the members:
//
//	bench ─ fleet ─ generators: publishers, some members ──────────────────┐
//	          │ stdin, stdout: see talk                                    ├─► server
//	          └────► helper ─ fleet ─ generators: members, their ledgers ──┘
//
// A helper is this program again. Each process checks its own members; the numbers of published messages are sent at the end.
//
// Package client has everything that speaks to the server's port, package check decides whether every delivery was right,
// and neither imports the other: the plays use both. Package report has the results and their presentation, package ceiling
// is the yardstick, and servers with other libraries are modules of their own in peers. The files here, by subject:
//
//	verbs       main, connect, fanout, churn, slow, resume, sizes, cluster, ceiling, compare (suite, peer, front), report
//	what to do  load, share: where clients are and what they publish; common flags and the server: target, app, session, status
//	clients     fleet; further processes: team as the first one sees them, helper from inside, talk, acks
//	plays       crew (publisher), bystander, lives, sleepers, returners (returner); chat: the bystanders of resume
//	cluster     cluster_load, cluster_nodes (cluster_status), cluster_mishaps: what is done to nodes, cluster_voices: who publishes,
//	            cluster_roamers: who listens and roams between nodes, cluster_figures, cluster_engine: the ceiling, in ceiling/nats
//	figures     figures, result, victim, usage, progress; child: servers that the bench starts itself
package main
