//go:build !linux

package cli

import (
	"errors"
	"syscall"
	"time"
)

// process is another process, which may end at any time.
type process struct{ pid int }

func openProcess(pid int) process { return process{pid} }

func (process) close() {}

func (p process) signal(sig syscall.Signal) error { return syscall.Kill(p.pid, sig) }

// ended says whether it ends within a time.
func (p process) ended(within time.Duration) bool {
	for deadline := time.Now().Add(within); ; time.Sleep(pause) {
		if errors.Is(syscall.Kill(p.pid, 0), syscall.ESRCH) {
			return true
		}
		if !time.Now().Before(deadline) {
			return false
		}
	}
}
