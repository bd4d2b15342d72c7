//go:build invariants || race

package assert

// On is true in builds with the tag invariants or with the race detector.
const On = true

// That panics if ok is false. what says which invariant is broken, and begins with the name of its owner.
func That(ok bool, what string) {
	if !ok {
		panic("ringcast invariant: " + what)
	}
}
