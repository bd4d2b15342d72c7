//go:build invariants || race

package assert

// On is true in builds with the tag invariants or with the race detector.
const On = true

// That panics when a promise that the program makes to itself is broken. what says which, and begins with whose it is.
func That(ok bool, what string) {
	if !ok {
		panic("ringcast invariant: " + what)
	}
}
