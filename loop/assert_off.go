//go:build !invariants && !race

package loop

// invariants is false in release builds: assertions cost nothing, see assert_on.go.
const invariants = false

func assert(bool, string) {}

func mangle([]byte) {}
