//go:build invariants || race

package loop

// invariants is true in builds that check our own mistakes with a panic: tag invariants, or the race detector.
const invariants = true

// assert panics when a promise that this package makes to itself is broken.
func assert(ok bool, what string) {
	if !ok {
		panic("ringcast invariant: " + what)
	}
}

// mangle overwrites bytes that were only borrowed, so that who kept them is found out.
func mangle(p []byte) {
	for i := range p {
		p[i] = 0xDB
	}
}
