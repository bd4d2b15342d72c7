//go:build !linux

package cli

import "math"

// memoryOfMachine is unknown here: an operator who wants a memory limit has to set one.
func memoryOfMachine() int64 { return math.MaxInt64 }

// countDescriptors is unknown here.
func countDescriptors() int { return 0 }
