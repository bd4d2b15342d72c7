//go:build !linux

package bus

import "syscall"

// setUntaken does nothing where the kernel has no such bound; there a link is given up when the kernel does so.
func setUntaken(string, string, syscall.RawConn) error { return nil }
