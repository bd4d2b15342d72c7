//go:build !linux

package loop

// rawSend is nil where the fast send path is not known to be right; everything goes through gnet's Conn.Write.
var rawSend func(fd int, p []byte) sent

// limitUnsent does nothing where the kernel's buffers are not known to need it.
func limitUnsent(int) error { return nil }
