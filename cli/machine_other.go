//go:build !linux

package cli

import "math"

// memoryOfMachine is unknown here: who wants a memory limit names one.
func memoryOfMachine() int64 { return math.MaxInt64 }

// countDescriptors is unknown here.
func countDescriptors() int { return 0 }
