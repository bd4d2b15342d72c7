// Package assert checks the program's own invariants. In builds with the tag invariants or with the race detector a broken one
// panics; in release builds a check costs no more than its argument.
//
// What a peer or an operator does is never asserted: that is answered with close codes, error replies and messages.
package assert
