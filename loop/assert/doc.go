// Package assert is for our own mistakes. In builds with the tag invariants or with the race detector a broken promise
// panics where it is broken; in release builds a check costs no more than its argument.
//
// What a peer or an operator does is never asserted: theirs are close codes, error answers and messages.
package assert
