//go:build race

package assert

// Race says whether the race detector is in this build. It makes a simulation ten times slower, and finds nothing there, as that is one goroutine.
const Race = true
