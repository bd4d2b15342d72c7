//go:build !race

package shrink

import "testing"

// The race detector's builds inline less, and there the string is made.
func TestALookUpOfBytesAllocatesNothing(t *testing.T) {
	name := []byte("a name that is longer than what the compiler would put on the stack for a string")
	var m Map[string, int]
	m.Put(string(name), 1)
	found := 0
	if got := testing.AllocsPerRun(100, func() { found += m.Get(string(name)) }); got != 0 || found == 0 {
		t.Errorf("allocations of a look-up: got %v, want none; found %d times", got, found)
	}
}
