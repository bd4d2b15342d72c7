package cli

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is another process, which may end at any time.
type process struct {
	pid int
	fd  int // its pidfd, which stays its own when the pid is another's (pidfd_open(2)); -1 where the kernel has none, before 5.3, or does not let us
}

func openProcess(pid int) process {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		fd = -1
	}
	return process{pid, fd}
}

func (p process) close() {
	if p.fd >= 0 {
		unix.Close(p.fd)
	}
}

func (p process) signal(sig syscall.Signal) error {
	if p.fd >= 0 {
		return unix.PidfdSendSignal(p.fd, sig, nil, 0)
	}
	return syscall.Kill(p.pid, sig)
}

// ended says whether it ends within a time.
func (p process) ended(within time.Duration) bool {
	for deadline := time.Now().Add(within); ; {
		left := max(0, time.Until(deadline))
		if p.fd < 0 {
			if errors.Is(syscall.Kill(p.pid, 0), syscall.ESRCH) || zombie(p.pid) {
				return true
			}
			time.Sleep(min(left, pause))
		} else {
			ready, err := unix.Poll([]unix.PollFd{{Fd: int32(p.fd), Events: unix.POLLIN}}, int(left.Milliseconds()))
			if err == nil && ready > 0 {
				return true
			}
		}
		if left == 0 {
			return false
		}
	}
}

// zombie says whether a process has ended and nobody has asked for its status yet, as in a container whose first process does
// not (proc_pid_stat(5), field 3).
func zombie(pid int) bool {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && strings.HasPrefix(string(text[strings.LastIndexByte(string(text), ')')+1:]), " Z")
}
