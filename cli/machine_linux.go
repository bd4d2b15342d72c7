package cli

import (
	"encoding/binary"
	"math"
	"os"
	"syscall"
)

// memoryOfMachine is the machine's memory in bytes; the largest number where that is unknown.
func memoryOfMachine() int64 {
	var info syscall.Sysinfo_t
	if err := syscall.Sysinfo(&info); err != nil {
		return math.MaxInt64
	}
	return int64(info.Totalram) * int64(info.Unit)
}

const descriptorsDir = "/proc/self/fd"

// countDescriptors counts the open descriptors. Since Linux 6.2 the size of /proc/self/fd is their number
// (proc_pid_fd(5)); before, it is zero.
func countDescriptors() int {
	if info, err := os.Stat(descriptorsDir); err == nil && info.Size() > 0 {
		return int(info.Size())
	}
	return countDescriptorsByName()
}

// countDescriptorsByName goes through the names. With a million of them that takes seconds, and would take 100 MB if they
// were kept, so it reads the entries as the kernel writes them (getdents64(2)): inode and offset of 8 bytes each, the
// entry's length in 2, a type in 1, the name.
func countDescriptorsByName() int {
	const lengthAt, nameAt = 16, 19
	d, err := os.Open(descriptorsDir)
	if err != nil {
		return 0
	}
	defer d.Close()
	open := -1 // the descriptor of the directory itself does not count
	buf := make([]byte, 32<<10)
	for {
		n, err := syscall.ReadDirent(int(d.Fd()), buf)
		if err == syscall.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			return max(0, open)
		}
		for entries := buf[:n]; len(entries) > nameAt; {
			if entries[nameAt] != '.' {
				open++
			}
			length := int(binary.NativeEndian.Uint16(entries[lengthAt:]))
			entries = entries[min(max(length, 1), len(entries)):]
		}
	}
}
