//go:build !linux

package loop

// rawSend is nil where the raw send was not tested; everything goes through gnet's Conn.Write.
var rawSend func(fd int, p []byte) sent

// limitUnsent does nothing where the kernel has no such bound, or was not tested.
func limitUnsent(int) error { return nil }
