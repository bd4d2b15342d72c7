package cli

import (
	"errors"
	"math"
	"os"
	"strconv"
	"strings"

	"github.com/KimMachineGun/automemlimit/memlimit"
)

// memoryOfCgroup is the memory that the process's cgroup may have, in bytes: the least bound of its own and of all cgroups above
// it that can be seen, of version 1 or 2, whichever has the memory controller. The largest number where there is none. Only
// memory.max counts, and not memory.high (systemd's MemoryHigh): above that the kernel slows the process down, at a place that
// the operator has chosen for it.
//
// The library's root package would set Go's own limit on import; this one only reads.
func memoryOfCgroup() int64 {
	limit, err := memlimit.FromCgroup()
	switch {
	case err == nil && limit > 0 && limit < math.MaxInt64:
		return int64(limit)
	case err == nil, errors.Is(err, memlimit.ErrNoLimit):
		return math.MaxInt64
	}
	// The own cgroup cannot be found below what is mounted: the process has been moved out of its namespace, or the mount is older
	// than the namespace. What is mounted is then mostly that of the container.
	least := int64(math.MaxInt64)
	for _, path := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		if text, err := os.ReadFile(path); err == nil {
			if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil && n > 0 {
				least = min(least, n)
			}
		}
	}
	return least
}
