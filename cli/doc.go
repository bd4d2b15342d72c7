// Package cli is the operator's side of ringcast: a file per verb, and in start.go the composition root, the one place
// that puts the parts of the program together.
//
// The rule of the package: what an operator typed is checked, in cli/settings, before anything is started or stopped. A
// wrong value is answered with a message that names the flag, the value and how to mend it, and exit status 78; a failure
// while running has exit status 1. The verbs find a running server by its run dir alone: a lock says whether it runs, a
// control socket gives its state. A pid in a file alone is never trusted.
//
// A server that was asked to stop gives the run dir and all addresses to the next one while its own slow clients still take
// their last bytes (ending.go), so two processes of one run dir may run at a time; only one of them serves.
package cli
