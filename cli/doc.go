// Package cli is the operator's side of ringcast: a file per verb, and in start.go the composition root, the one place
// where the parts of the program meet.
//
// The rule of the package: what an operator typed is checked, in cli/settings, before anything is started or stopped. A
// wrong value is answered with a message that names the flag, the value and the mend, and exit status 2; what fails while
// running has exit status 1. The verbs find a running server by its run dir alone: a lock says whether it
// lives, a control socket says how it is. A number in a file is never believed by itself.
package cli
