//go:build !linux

package bus

import "syscall"

// setUntaken does nothing where the kernel has no such bound; there a connection ends when the kernel gives it up.
func setUntaken(string, string, syscall.RawConn) error { return nil }
