package cli

import (
	"math"
	"syscall"
)

// memoryOfMachine is what the machine has, in bytes; the largest number where that is unknown.
func memoryOfMachine() int64 {
	var info syscall.Sysinfo_t
	if err := syscall.Sysinfo(&info); err != nil {
		return math.MaxInt64
	}
	return int64(info.Totalram) * int64(info.Unit)
}
