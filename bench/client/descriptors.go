package client

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// DescriptorReserve is what a process needs besides its clients: for epoll, /proc files, the runtime and the result file.
const DescriptorReserve = 64

// NeedDescriptors checks RLIMIT_NOFILE for so many clients, and raises the soft limit to the hard one where that is
// enough. EMFILE during the run would look like a fault of the server.
func NeedDescriptors(clients int) error {
	want := uint64(clients + DescriptorReserve)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("getrlimit: %w", err)
	}
	if limit.Cur >= want {
		return nil
	}
	if limit.Max >= want {
		return unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: limit.Max, Max: limit.Max})
	}
	return fmt.Errorf("%d clients need %d file descriptors, this process may open %d: raise the hard limit "+
		"(as root: `ulimit -n %d`, or LimitNOFILE= / limits.conf)",
		clients, want, limit.Max, want)
}
